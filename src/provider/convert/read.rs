//! A value as serde's source: `Value::Map {"replicas": 3}` in, `Group { replicas: 3 }` out.

use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

use super::{ATTR, Misfit, SLOT, VALUE};
use crate::protocol::value::{Number, Value};
use crate::provider::diagnostics::Step;

/// A value as serde reads it.
pub(super) struct Source<'a>(pub(super) &'a Value);

impl<'a> Source<'a> {
    fn misfit(&self, wanted: &str) -> Misfit {
        let found = match self.0 {
            Value::Null => "null",
            Value::Unknown(_) => "unknown",
            Value::Bool(_) => "a bool",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map or object",
            Value::Dynamic(..) => "a value of any type",
        };
        Misfit {
            unknown: !self.0.is_wholly_known(),
            ..Misfit::new(format!("{wanted} is wanted here, and it is {found}"))
        }
    }
    /// What stands here, seen through `dynamic`.
    fn concrete(&self) -> &'a Value {
        match self.0 {
            Value::Dynamic(_, value) => Source(value).concrete(),
            value => value,
        }
    }
    fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Misfit> {
        match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => visitor.visit_i64(number),
            (None, Some(number)) => visitor.visit_u64(number),
            (None, None) => visitor.visit_f64(number.to_f64()),
        }
    }
    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::Number(number) if number.as_i64().is_some() || number.as_u64().is_some() => {
                Self::visit_number(number, visitor)
            }
            Value::Number(_) => Err(Misfit::new("A whole number is wanted here")),
            _ => Err(self.misfit("A whole number")),
        }
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.integer(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Source<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::Null => visitor.visit_none(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => Self::visit_number(number, visitor),
            Value::String(value) => visitor.visit_str(value),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Unknown(_) | Value::Dynamic(..) => Err(self.misfit("A known value")),
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.misfit("A bool")),
        }
    }
    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::Number(number) => Self::visit_number(number, visitor),
            _ => Err(self.misfit("A number")),
        }
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::String(value) => visitor.visit_str(value),
            _ => Err(self.misfit("A string")),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match (name, self.0) {
            (VALUE, value) => {
                SLOT.set(Some(value.clone()));
                visitor.visit_unit()
            }
            (ATTR, Value::Unknown(_)) => visitor.visit_unit(),
            _ => visitor.visit_newtype_struct(self),
        }
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::List(values) => visitor.visit_seq(Elements(values.iter().enumerate())),
            _ => Err(self.misfit("A list")),
        }
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::Map(values) => visitor.visit_map(Entries {
                entries: values.iter(),
                current: None,
                step: Step::Key,
            }),
            _ => Err(self.misfit("A map")),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let Value::Map(values) = self.concrete() else {
            return Err(self.misfit("An object"));
        };
        for field in fields {
            if !values.contains_key(*field) {
                return Err(Misfit::new(format!(
                    "`{name}` has a field `{field}`, and the schema has no such attribute"
                )));
            }
        }
        for key in values.keys() {
            if !fields.contains(&key.as_str()) {
                return Err(Misfit::new(format!(
                    "The schema has an attribute `{key}`, and `{name}` has no such field"
                )));
            }
        }
        visitor.visit_map(Entries {
            entries: values.iter(),
            current: None,
            step: Step::Attribute,
        })
    }
    /// A word of a list of words, as a unit variant.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.concrete() {
            Value::String(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            _ => Err(self.misfit("A string")),
        }
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

struct Elements<'a>(std::iter::Enumerate<std::slice::Iter<'a, Value>>);

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Misfit;
    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, value)) = self.0.next() else {
            return Ok(None);
        };
        let step = || Step::Index(i64::try_from(index).unwrap_or(i64::MAX));
        seed.deserialize(Source(value))
            .map(Some)
            .map_err(|misfit| misfit.under(step()))
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Value>,
    current: Option<(&'a str, &'a Value)>,
    step: fn(String) -> Step,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Misfit;
    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        self.current = self
            .entries
            .next()
            .map(|(key, value)| (key.as_str(), value));
        match self.current {
            Some((key, _)) => seed.deserialize(key.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }
    fn next_value_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Misfit> {
        let (key, value) = self.current.unwrap_or(("", &Value::Null));
        seed.deserialize(Source(value))
            .map_err(|misfit| misfit.under((self.step)(key.to_owned())))
    }
}
