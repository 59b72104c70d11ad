//! One binary of integration tests.

mod client;
mod core;
mod end_to_end;
mod generated;
mod harness;
mod ignition;
mod ignition_bad_input;
mod protocol;
mod servers;
mod tidy;
mod worker_group;
