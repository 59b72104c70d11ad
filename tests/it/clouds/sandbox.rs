//! The sandbox: a directory, and so its own reference.

mod faults;
mod stage;
mod subject;
pub(crate) mod world;

pub(crate) use self::stage::{Sandbox, order};
