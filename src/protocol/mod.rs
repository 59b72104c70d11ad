//! The wire: go-plugin's handshake and the Terraform plugin protocol, version 6, with nothing of ours in it.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod r#gen;
pub mod value;

pub use r#gen::{health, plugin, tfplugin6};

impl std::fmt::Debug for tfplugin6::DynamicValue {
    /// Sizes only: configuration and state hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamicValue")
            .field("msgpack_bytes", &self.msgpack.len())
            .field("json_bytes", &self.json.len())
            .finish()
    }
}

impl std::fmt::Debug for tfplugin6::RawState {
    /// Sizes only: state holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawState")
            .field("json_bytes", &self.json.len())
            .field("flatmap_keys", &self.flatmap.len())
            .finish()
    }
}
