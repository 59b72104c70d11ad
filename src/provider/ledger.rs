//! What an operation knows to exist so far, written down outside of it: a panic costs the
//! operation, and not the record of what it made.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Model, Stored, Value};

/// The newest state that an operation has written down; empty at its start. Read where the
/// operation has panicked, and nowhere else.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Option<Stored<Value>>>>);

impl Ledger {
    /// Writes down what exists now, in place of what was written before.
    pub fn write<M: Model>(&self, state: &Stored<M>) {
        let state = Stored {
            model: state.model.to_value(),
            private: state.private.clone(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// The last that was written.
    pub(super) fn take(&self) -> Option<Stored<Value>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.take()
    }
}

/// States hold secrets.
impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}
