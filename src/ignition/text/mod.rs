//! Text to nodes with positions: YAML as the reference's reader takes it, its plain scalars, and JSON by Go's rules.

pub(super) mod json;
pub(super) mod scalar;
pub(super) mod yaml;
