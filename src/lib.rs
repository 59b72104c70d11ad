//! Terraform and OpenTofu provider for worker machines on Flatcar Container Linux. Composition only: the rooms, lowest rank first.
pub mod protocol;
pub mod http;
pub mod provider;
pub mod flatcar;
pub mod ignition;
pub mod image;
pub mod kubernetes;
pub mod worker_group;
pub mod cloud;
