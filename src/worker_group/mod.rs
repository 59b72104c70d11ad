//! N machines with the life of a MachineDeployment: plans (pure) and performs.
pub mod cloud;
pub(crate) mod generation;
pub(crate) mod plan;
pub(crate) mod roll;

#[cfg(test)]
mod memory;
