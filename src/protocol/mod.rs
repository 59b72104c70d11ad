//! The wire: go-plugin's handshake and the Terraform plugin protocol, version 6, with nothing of ours in it.
pub mod value;
