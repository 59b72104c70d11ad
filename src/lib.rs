//! Terraform and OpenTofu provider for worker machines on Flatcar Container Linux. Composition only: the rooms, lowest rank first.
pub mod cloud;
pub mod flatcar;
pub mod http;
pub mod ignition;
pub mod image;
pub mod kubernetes;
pub mod protocol;
pub mod provider;
pub mod worker_group;
