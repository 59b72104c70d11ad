//! N machines with the life of a MachineDeployment: plans (pure) and performs.
pub(crate) mod apply;
pub(crate) mod basis;
pub mod cloud;
pub(crate) mod compare;
pub(crate) mod generation;
pub mod model;
pub(crate) mod origin;
pub(crate) mod plan;
pub(crate) mod proof;
pub(crate) mod reasons;
pub mod resource;
pub(crate) mod roll;
pub(crate) mod slots;
pub(crate) mod start;
pub(crate) mod user_data;
pub(crate) mod wanted;
