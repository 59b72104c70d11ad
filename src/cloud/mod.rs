//! The table of clouds, and nothing else.
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcp")]
mod gcp;
#[cfg(feature = "kubevirt")]
mod kubevirt;
#[cfg(feature = "openstack")]
mod openstack;
mod sandbox;
#[cfg(feature = "vsphere")]
mod vsphere;

use crate::worker_group::cloud::Entry;

/// Every cloud that this build has.
pub static ALL: &[&Entry] = &[
    &sandbox::ENTRY,
    #[cfg(feature = "aws")]
    &aws::ENTRY,
    #[cfg(feature = "azure")]
    &azure::ENTRY,
    #[cfg(feature = "gcp")]
    &gcp::ENTRY,
    #[cfg(feature = "kubevirt")]
    &kubevirt::ENTRY,
    #[cfg(feature = "openstack")]
    &openstack::ENTRY,
    #[cfg(feature = "vsphere")]
    &vsphere::ENTRY,
];

#[cfg(test)]
mod tests;
