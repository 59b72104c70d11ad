//! Panics: a bug in one step costs that step, and never what is known to exist.
//!
//! In: the work of one step, or of a whole apply. Out: its result, or nothing where it panicked.
//! The panic's own words may hold values of the configuration: they are in the log only.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use super::Problem;
use crate::worker_group::cloud::{CloudError, Kind};

/// What the work answers; `None`: it panicked. Whatever it had written down by then stands.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// A call in which this provider failed. Whether the cloud has carried it out is not known.
pub(super) fn failed_inside(action: &'static str, object: &str) -> CloudError {
    CloudError::new(
        Kind::Bug,
        action,
        object,
        format!("nothing that could be read, for the provider failed. {BUG}"),
    )
}

/// What is said of an apply in which this provider failed.
pub(super) fn failed_apply() -> Problem {
    Problem::new(
        "The provider failed unexpectedly",
        format!("It began no further step; what exists by now is recorded. {BUG}."),
    )
}

const BUG: &str = "This is a bug in the provider; please report it with the log";
