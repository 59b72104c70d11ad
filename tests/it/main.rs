//! One binary of integration tests.

mod core;
mod end_to_end;
mod generated;
mod harness;
