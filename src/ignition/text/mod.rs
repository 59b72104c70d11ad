//! Text to nodes with positions: YAML as the reference's reader takes it, its plain scalars, and JSON by Go's rules. What Go
//! itself makes of texts is beside them.

pub(super) mod go;
pub(super) mod json;
pub(super) mod scalar;
pub(super) mod yaml;
