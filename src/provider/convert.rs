//! Values to plain structs and back; errors carry the path. `#[derive(Serialize, Deserialize)]` and `model!(Image);` make a struct a
//! [`Model`]: a field per attribute, `Option<T>` for one that may be null, [`Attr<T>`] for one that may be unknown.

use super::{Diagnostics, Value};

/// A struct of a schema's attributes.
pub trait Model: Sized + Send + 'static {
    /// # Errors
    /// One diagnostic per value that does not fit, on its path: a bug of ours, or an unknown where none can be.
    fn from_value(value: &Value) -> Result<Self, Diagnostics>;
    /// Every attribute of the schema, null where unset.
    fn to_value(&self) -> Value;
}

/// An attribute that may be null or unknown.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub enum Attr<T> {
    #[default]
    Null,
    Unknown,
    Known(T),
}

impl<T> Attr<T> {
    /// The value, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Attr::Known(value) => Some(value),
            Attr::Null | Attr::Unknown => None,
        }
    }
    /// Whether it will be known only later.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Attr::Unknown)
    }
    /// Whether the user left it out.
    pub fn is_null(&self) -> bool {
        matches!(self, Attr::Null)
    }
}
