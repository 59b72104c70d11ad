//! The table of clouds, and nothing else.
use crate::worker_group::cloud::Entry;

/// Every cloud that this build has.
pub static ALL: &[&Entry] = &[];
