//! Stand-ins of cloud APIs, each in a file.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "openstack")]
pub(crate) mod openstack;

#[cfg(feature = "aws")]
pub(crate) use aws::Aws;
