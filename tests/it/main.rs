//! One binary of integration tests.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what helps it is in no function that is marked as a test"
)]
#![expect(
    clippy::print_stdout,
    reason = "a test says on its output what it skipped and what it saw"
)]

mod client;
mod clouds;
mod consumers;
mod core;
mod end_to_end;
mod examples;
mod generated;
mod harness;
mod ignition;
mod ignition_bad_input;
mod ignition_bounds;
mod ignition_documents;
mod ignition_fuzz;
mod image;
mod install;
mod kubernetes;
mod modules;
mod protocol;
mod proxy;
mod registry;
mod tidy;
mod wire;
mod worker_group;
