//! Addresses that were taken and that the server does not show yet: for all groups of a provider.
//!
//! In: the name of a machine. Out: which addresses others have taken, and how often this one has
//! met another at its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::worker_group::cloud::Pool;

/// What all groups of a provider have taken, before the server shows it.
#[derive(Default)]
pub(super) struct Given {
    pub(super) pool: Pool,
    met: Mutex<BTreeMap<String, u64>>,
}

impl Given {
    /// How often a machine of this name has met another at its address.
    pub(super) fn met(&self, name: &str) -> u64 {
        self.all_met().get(name).copied().unwrap_or_default()
    }

    /// It has met one once more.
    pub(super) fn meets(&self, name: &str) {
        *self.all_met().entry(name.to_owned()).or_default() += 1;
        self.pool.settle(name, false);
    }

    fn all_met(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
