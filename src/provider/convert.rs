//! Values to plain structs and back; errors carry the path. `#[derive(Serialize, Deserialize)]`
//! makes a struct a [`Model`]: a field per attribute, `Option<T>` for one that may be null,
//! [`Attr<T>`] for one that may be unknown, [`Value`] for one that is handed on as it is. A field
//! without an attribute, or an attribute without a field, is an error.
//!
//! Unknown and dynamic values do not exist in serde's data model: they pass through it in a slot of
//! the thread, from our own (de)serializer to the `Serialize` and `Deserialize` of [`Value`] and
//! [`Attr`]. Other formats (JSON) see plain data, and refuse unknowns.

mod read;
mod write;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

use self::read::Source;
use self::write::Sink;
use super::diagnostics::Step;
use super::{Diagnostic, Diagnostics, Path, Value};
use crate::protocol::value::Number;

/// A struct of a schema's attributes; every serde struct is one.
pub trait Model: Sized + Send + 'static {
    /// # Errors
    /// The first value that does not fit, on its path: a bug of ours, or an unknown where none can
    /// be.
    fn from_value(value: &Value) -> Result<Self, Diagnostics>;
    /// Every attribute of the schema, null where unset.
    fn to_value(&self) -> Value;
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Model for T {
    fn from_value(value: &Value) -> Result<Self, Diagnostics> {
        from_value(value, &Path::root())
    }
    fn to_value(&self) -> Value {
        to_value(self)
    }
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
    /// The value, if there is one.
    pub fn into_known(self) -> Option<T> {
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

impl<T> From<Option<T>> for Attr<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Attr::Null, Attr::Known)
    }
}

/// A part of a configuration or state as a struct; problems are on paths below `at`.
///
/// # Errors
/// The first value that does not fit.
pub fn from_value<T: DeserializeOwned>(value: &Value, at: &Path) -> Result<T, Diagnostics> {
    T::deserialize(Source(value)).map_err(|error| {
        let summary = if error.unknown {
            "Value is not known yet"
        } else {
            "Could not read a value"
        };
        let detail = format!(
            "{}. This is a bug in the provider; please report it with the log.",
            error.message
        );
        let steps: Vec<Step> = error.path.into_iter().rev().collect();
        Diagnostic::error(summary, detail)
            .at(Path(steps).under(at))
            .into()
    })
}

/// A field that has its type's empty value where the attribute is null:
/// `#[serde(deserialize_with = "convert::or_empty")]`.
///
/// # Errors
/// The value does not fit.
pub fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A struct as a value. What has no form in Terraform (a map with keys that are not strings, a
/// 128-bit number) becomes null, which the service then finds to miss its schema.
pub fn to_value<T: Serialize + ?Sized>(model: &T) -> Value {
    model.serialize(Sink).unwrap_or(Value::Null)
}

/// What is the matter, and where (innermost step first).
#[derive(Debug)]
struct Misfit {
    path: Vec<Step>,
    message: String,
    unknown: bool,
}

impl Misfit {
    fn new(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
            unknown: false,
        }
    }
    fn under(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
    // The stock messages of these two print the value, which may be a secret.
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("Another value is wanted: {expected}"))
    }
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("Another type is wanted: {expected}"))
    }
    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("Not one of {}", expected.join(", ")))
    }
}

impl ser::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

thread_local! {
    /// The value that is on its way between our (de)serializer and the serde implementation of
    /// [`Value`] or [`Attr`].
    static SLOT: RefCell<Option<Value>> = const { RefCell::new(None) };
}

const VALUE: &str = "$flatcar::Value";
const ATTR: &str = "$flatcar::Attr";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SLOT.set(Some(self.clone()));
        let result = serializer.serialize_newtype_struct(VALUE, &Plain(self));
        SLOT.set(None);
        result
    }
}

/// A value as other formats see it.
struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Unknown(_) => Err(ser::Error::custom("an unknown value has no such form")),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(Number::Int(value)) => serializer.serialize_i64(*value),
            Value::Number(Number::Uint(value)) => serializer.serialize_u64(*value),
            Value::Number(Number::Float(value)) => serializer.serialize_f64(*value),
            Value::Number(Number::Decimal(value)) | Value::String(value) => {
                serializer.serialize_str(value)
            }
            Value::List(values) => serializer.collect_seq(values.iter().map(Plain)),
            Value::Map(values) => {
                serializer.collect_map(values.iter().map(|(key, value)| (key, Plain(value))))
            }
            Value::Dynamic(_, value) => Plain(value).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(VALUE, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(ValueVisitor)
    }
    /// Ours: the value is in the slot. Others: null.
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(SLOT.take().unwrap_or(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(ValueVisitor)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::Int(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(
            i64::try_from(value).map_or(Number::Uint(value), Number::Int),
        ))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(Number::Float(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((key, value)) = access.next_entry()? {
            values.insert(key, value);
        }
        Ok(Value::Map(values))
    }
}

impl<T: Serialize> Serialize for Attr<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Attr::Null => serializer.serialize_none(),
            Attr::Unknown => Value::unknown().serialize(serializer),
            Attr::Known(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Attr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttrVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AttrVisitor<T> {
            type Value = Attr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, null or unknown")
            }
            /// Only ours answers so, for an unknown.
            fn visit_unit<E>(self) -> Result<Attr<T>, E> {
                Ok(Attr::Unknown)
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Attr<T>, D::Error> {
                Option::<T>::deserialize(inner).map(Attr::from)
            }
        }
        deserializer.deserialize_newtype_struct(ATTR, AttrVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::protocol::value::Refinement;
    use crate::protocol::value::Type;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Inner {
        size: Option<u64>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Fail,
        Keep,
    }

    #[derive(Clone, PartialEq, Serialize, Deserialize)]
    struct Outer {
        name: String,
        channel: Attr<String>,
        count: i64,
        on: Word,
        disks: Vec<Inner>,
        by_name: BTreeMap<String, Attr<Inner>>,
        anything: Value,
    }

    fn object(pairs: &[(&str, Value)]) -> Value {
        let pairs = pairs.iter().cloned();
        Value::Map(pairs.map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn outer(changes: &[(&str, Value)]) -> Value {
        let disk = object(&[("size", Value::Number(Number::Uint(u64::MAX)))]);
        let Value::Map(mut attributes) = object(&[
            ("name", text("workers")),
            ("channel", Value::unknown()),
            ("count", Value::Number(Number::Float(3.0))),
            ("on", text("keep")),
            ("disks", Value::List(vec![disk.clone()])),
            (
                "by_name",
                object(&[("a", disk), ("b", Value::unknown()), ("c", Value::Null)]),
            ),
            (
                "anything",
                Value::Dynamic(Box::new(Type::String), Box::new(Value::unknown())),
            ),
        ]) else {
            unreachable!()
        };
        for (key, value) in changes {
            attributes.insert((*key).to_owned(), value.clone());
        }
        Value::Map(attributes)
    }

    #[test]
    fn a_struct_comes_back_as_the_value_that_it_was() {
        let model = Outer::from_value(&outer(&[])).unwrap();
        assert!(model.channel.is_unknown());
        assert_eq!(model.on, Word::Keep);
        assert_eq!(model.disks[0].size, Some(u64::MAX));
        assert!(model.by_name["b"].is_unknown() && model.by_name["c"].is_null());
        let three = Value::Number(Number::Int(3));
        assert!(model.to_value() == outer(&[("count", three)]));
    }

    #[test]
    fn refinements_of_an_unknown_pass_through_a_value_field() {
        let refined = Value::Unknown(Refinement(Some(vec![0x81, 0x01, 0xc2])));
        let model = Outer::from_value(&outer(&[("anything", refined.clone())])).unwrap();
        assert!(
            model.to_value() == outer(&[("anything", refined), ("count", model.count.to_value())])
        );
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_path() {
        let seven = Value::Number(Number::Int(7));
        for (attribute, value, path, says) in [
            (
                "name",
                Value::Null,
                "name",
                "A string is wanted here, and it is null",
            ),
            ("name", Value::unknown(), "name", "and it is unknown"),
            (
                "count",
                Value::Number(Number::Float(0.5)),
                "count",
                "A whole number",
            ),
            ("on", text("s3cret"), "on", "Not one of fail, keep"),
            (
                "disks",
                Value::List(vec![object(&[("size", text("s3cret"))])]),
                "disks[0].size",
                "A whole number is wanted here, and it is a string",
            ),
            (
                "by_name",
                object(&[("x", object(&[("size", seven.clone()), ("more", seven)]))]),
                "by_name[\"x\"]",
                "`Inner` has no such field",
            ),
            (
                "disks",
                Value::List(vec![object(&[])]),
                "disks[0]",
                "has a field `size`, and the schema has no such attribute",
            ),
        ] {
            let problems = Outer::from_value(&outer(&[(attribute, value)]))
                .err()
                .unwrap();
            let problem = &problems.0[0];
            assert_eq!(problem.path.as_ref().unwrap().to_string(), path);
            assert!(problem.detail.contains(says), "{}", problem.detail);
            assert!(!problem.detail.contains("s3cret"), "{}", problem.detail);
        }
    }

    #[test]
    fn other_formats_see_plain_data_and_refuse_unknowns() {
        let plain = object(&[("a", Value::List(vec![Value::Null, text("b")]))]);
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(json, r#"{"a":[null,"b"]}"#);
        assert!(serde_json::from_str::<Value>(&json).unwrap() == plain);
        assert!(serde_json::to_string(&Value::unknown()).is_err());
        let attributes: Vec<Attr<u8>> = serde_json::from_str("[1,null]").unwrap();
        assert_eq!(attributes, [Attr::Known(1), Attr::Null]);
    }
}
