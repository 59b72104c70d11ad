//! A computed attribute that is only read where all of it is known: what holds an unknown anywhere
//! is passed on as it is.

use std::collections::{BTreeMap, BTreeSet};

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

/// Read only by [`Whole::filled`].
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

    /// Of a value some of which may be unknown.
    pub(crate) fn of(value: Value) -> Self
    where
        T: DeserializeOwned,
    {
        match value {
            Value::Null => Self::Null,
            Value::Unknown(_) => Self::Unknown,
            value if !value.is_wholly_known() => Self::Partly(Partly(value)),
            value => match convert::from_value(&value, &Path::root()) {
                Ok(known) => Self::Known(known),
                Err(_) => Self::Partly(Partly(value)),
            },
        }
    }

    /// What is known of this, and the rest of `actual`; `None` where maps in them have other keys.
    pub(crate) fn filled(&self, actual: &T) -> Option<T>
    where
        T: Serialize + DeserializeOwned,
    {
        let planned = convert::to_value(self);
        let filled = filled(&planned, &convert::to_value(actual))?;
        convert::from_value(&filled, &Path::root()).ok()
    }

    /// Whether some of it will be known only later.
    #[cfg(test)]
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Partly(_))
    }
}

fn filled(planned: &Value, actual: &Value) -> Option<Value> {
    match (planned, actual) {
        (Value::Unknown(_), actual) => Some(actual.clone()),
        (Value::Map(planned), Value::Map(actual)) => {
            if !planned.keys().eq(actual.keys()) {
                return None;
            }
            let pairs = planned.iter().zip(actual.values());
            let pairs =
                pairs.map(|((key, planned), actual)| Some((key.clone(), filled(planned, actual)?)));
            pairs.collect::<Option<_>>().map(Value::Map)
        }
        (planned, _) => Some(planned.clone()),
    }
}

impl<T: Serialize> Whole<BTreeMap<String, T>> {
    /// The keys that are known; values may be unknown.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        match convert::to_value(self) {
            Value::Map(entries) => entries.into_keys().collect(),
            _ => BTreeSet::new(),
        }
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
