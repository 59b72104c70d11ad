//! What is one cloud's own, in a folder for each: how it is reached, and what is done and seen
//! behind the provider's back. The list of behaviours, the fault matrix, the crash points and the
//! lives know clouds by these.

pub(crate) mod aws;
#[cfg(feature = "azure")]
pub(crate) mod azure;
#[cfg(feature = "gcp")]
pub(crate) mod gcp;
#[cfg(feature = "kubevirt")]
pub(crate) mod kubevirt;
#[cfg(feature = "openstack")]
pub(crate) mod openstack;
pub(crate) mod sandbox;
#[cfg(feature = "vsphere")]
pub(crate) mod vsphere;
