//! The sandbox: a directory, and so its own reference.

mod faults;
mod stage;
mod subject;

pub(crate) use self::stage::{Sandbox, Steps, order};
