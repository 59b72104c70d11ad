//! Text to nodes with positions: YAML as the reference's reader takes it, its plain scalars, and
//! JSON by Go's rules. What Go itself makes of texts is beside them.

pub(crate) mod go;
pub(crate) mod json;
pub(crate) mod scalar;
pub(crate) mod yaml;
