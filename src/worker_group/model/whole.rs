//! A computed attribute that is only used as a whole: what holds an unknown anywhere is passed on as it is.

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::provider::{Path, Value, convert};

/// Null, unknown, known, or known in part.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Whole<T> {
    #[default]
    Null,
    Unknown,
    Known(T),
    Partly(Partly),
}

/// Not for reading.
#[derive(Clone, PartialEq)]
pub(crate) struct Partly(Value);

impl std::fmt::Debug for Partly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Partly")
    }
}

impl<T> Whole<T> {
    /// The value, if all of it is known.
    pub(crate) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Null | Self::Unknown | Self::Partly(_) => None,
        }
    }

    /// Whether some of it will be known only later.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Partly(_))
    }
}

impl<T: Serialize> Serialize for Whole<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => Value::Null.serialize(serializer),
            Self::Unknown => Value::unknown().serialize(serializer),
            Self::Known(value) => value.serialize(serializer),
            Self::Partly(partly) => partly.0.serialize(serializer),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::Null),
            Value::Unknown(_) => Ok(Self::Unknown),
            value if !value.is_wholly_known() => Ok(Self::Partly(Partly(value))),
            value => convert::from_value(&value, &Path::root())
                .map(Self::Known)
                .map_err(|_| D::Error::custom("Machines or steps of another form are wanted")),
        }
    }
}
