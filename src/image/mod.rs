//! Channel, version, architecture and platform in; the right, signature-checked image out.

pub mod release;
mod signature;
