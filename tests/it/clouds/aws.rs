//! EC2, load balancing and STS, on moto.

#[cfg(feature = "aws")]
mod depth;
#[cfg(feature = "aws")]
mod faults;
#[cfg(feature = "aws")]
mod server;
mod stage;
#[cfg(feature = "aws")]
mod subject;
#[cfg(feature = "aws")]
mod targets;
#[cfg(feature = "aws")]
mod world;

pub(crate) use self::stage::Moto;
