//! Terraform's values and types, and their two encodings (MessagePack and JSON).
//!
//! Both encodings are read by type: of `{"a": 5}` only a [`Type`] tells whether it is an object, a
//! map or a dynamic value.
//! See: terraform `docs/plugin-protocol/object-wire-format.md`.

mod json;
mod msgpack;
mod number;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;

pub use number::Number;

/// A Terraform type, as a schema states it: `"string"`, `["list","string"]`, `["object",{...}]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `"bool"`
    Bool,
    /// `"number"`
    Number,
    /// `"string"`
    String,
    /// `"dynamic"`: any; the value brings its own type.
    Dynamic,
    /// `["list", T]`
    List(Box<Type>),
    /// `["set", T]`
    Set(Box<Type>),
    /// `["map", T]`
    Map(Box<Type>),
    /// `["tuple", [T, ...]]`
    Tuple(Vec<Type>),
    /// `["object", {"name": T, ...}]`
    Object(BTreeMap<String, Type>),
}

impl Type {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// When it is none, or one that protocol 6 does not send (optional attributes, capsules).
    pub fn from_json(bytes: &[u8]) -> Result<Self, CodecError> {
        serde_json::from_slice(bytes)
            .ok()
            .and_then(|json| Self::of(&json))
            .ok_or_else(|| CodecError::new("this is not a type"))
    }

    /// The JSON form, for schemas.
    pub fn to_json(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }

    fn of(json: &Json) -> Option<Self> {
        if let Some(name) = json.as_str() {
            return match name {
                "bool" => Some(Self::Bool),
                "number" => Some(Self::Number),
                "string" => Some(Self::String),
                "dynamic" => Some(Self::Dynamic),
                _ => None,
            };
        }
        let [kind, inner] = json.as_array()?.as_slice() else {
            return None;
        };
        let boxed = || Self::of(inner).map(Box::new);
        match kind.as_str()? {
            "list" => boxed().map(Self::List),
            "set" => boxed().map(Self::Set),
            "map" => boxed().map(Self::Map),
            "tuple" => inner
                .as_array()?
                .iter()
                .map(Self::of)
                .collect::<Option<_>>()
                .map(Self::Tuple),
            "object" => inner
                .as_object()?
                .iter()
                .map(|(name, kind)| Some((name.clone(), Self::of(kind)?)))
                .collect::<Option<_>>()
                .map(Self::Object),
            _ => None,
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Bool => Json::from("bool"),
            Self::Number => Json::from("number"),
            Self::String => Json::from("string"),
            Self::Dynamic => Json::from("dynamic"),
            Self::List(element) => Json::from(vec![Json::from("list"), element.json()]),
            Self::Set(element) => Json::from(vec![Json::from("set"), element.json()]),
            Self::Map(element) => Json::from(vec![Json::from("map"), element.json()]),
            Self::Tuple(elements) => Json::from(vec![
                Json::from("tuple"),
                Json::from(elements.iter().map(Self::json).collect::<Vec<_>>()),
            ]),
            Self::Object(attributes) => {
                let attributes = attributes
                    .iter()
                    .map(|(name, kind)| (name.clone(), kind.json()));
                Json::from(vec![
                    Json::from("object"),
                    Json::Object(attributes.collect()),
                ])
            }
        }
    }

    /// The word for an error message.
    fn word(&self) -> &'static str {
        match self {
            Self::Bool => "a bool",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Dynamic => "a value with its type",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Tuple(_) => "a tuple",
            Self::Object(_) => "an object",
        }
    }
}

/// A value of some [`Type`]. The type is not repeated in it, except under a dynamic one. Its
/// `Debug` shows the shape and no contents: any value may be a secret.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Absent.
    Null,
    /// Known only after apply.
    Unknown(Refinement),
    /// `true` or `false`.
    Bool(bool),
    /// Of any size.
    Number(Number),
    /// Text.
    String(String),
    /// List, set or tuple.
    List(Vec<Value>),
    /// Map or object; every attribute of an object has its key.
    Map(BTreeMap<String, Value>),
    /// What stands where the schema says `dynamic`, with the type that it brought.
    Dynamic(Box<Type>, Box<Value>),
}

impl Value {
    /// Reads MessagePack.
    ///
    /// # Errors
    /// When the bytes are not a value of `kind`; the path says where. Messages name keys and kinds,
    /// never contents.
    pub fn from_msgpack(bytes: &[u8], kind: &Type) -> Result<Self, CodecError> {
        msgpack::decode(bytes, kind)
    }

    /// Writes MessagePack.
    ///
    /// # Errors
    /// When this is not a value of `kind`: a bug of ours.
    pub fn to_msgpack(&self, kind: &Type) -> Result<Vec<u8>, CodecError> {
        msgpack::encode(self, kind)
    }

    /// Reads JSON as state has it: keys that the type lacks are skipped, attributes that are
    /// missing are null.
    ///
    /// # Errors
    /// When the text is not JSON, or not a value of `kind`.
    pub fn from_json(text: &[u8], kind: &Type) -> Result<Self, CodecError> {
        json::decode(text, kind)
    }

    /// Writes JSON as state has it.
    ///
    /// # Errors
    /// When this is not a value of `kind`, or not wholly known.
    pub fn to_json(&self, kind: &Type) -> Result<String, CodecError> {
        json::encode(self, kind)
    }

    /// An unknown of which nothing is known.
    pub fn unknown() -> Self {
        Self::Unknown(Refinement::default())
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A field of an object: null where it has none, and unknown where the object is.
    pub fn field(&self, name: &str) -> &Self {
        match self {
            Self::Map(fields) => fields.get(name).unwrap_or(&Self::Null),
            Self::Unknown(_) => self,
            _ => &Self::Null,
        }
    }

    /// A known text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a known list; none of anything else.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }

    /// The entries of a known map; none of anything else.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        };
        let entries = entries.into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), value))
    }

    /// Whether no part of it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => true,
            Self::List(elements) => elements.iter().all(Self::is_wholly_known),
            Self::Map(entries) => entries.values().all(Self::is_wholly_known),
            Self::Dynamic(_, value) => value.is_wholly_known(),
        }
    }

    /// The word for an error message.
    fn word(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Unknown(_) => "an unknown",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Dynamic(..) => "a value with its type",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Unknown(_) => f.write_str("Unknown"),
            Self::Bool(_) => f.write_str("Bool(..)"),
            Self::Number(_) => f.write_str("Number(..)"),
            Self::String(_) => f.write_str("String(..)"),
            Self::List(elements) => f.debug_list().entries(elements).finish(),
            Self::Map(entries) => f.debug_map().entries(entries).finish(),
            Self::Dynamic(_, value) => f.debug_tuple("Dynamic").field(value).finish(),
        }
    }
}

/// What is known of an unknown value: the body of extension 12 as core sent it (a MessagePack map),
/// or nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Refinement(pub Option<Vec<u8>>);

impl Refinement {
    /// It will not be null: `{1: false}`.
    pub fn not_null() -> Self {
        Self(Some(vec![0x81, 0x01, 0xc2]))
    }
}

impl fmt::Debug for Refinement {
    /// A string prefix is content, so the bytes stay out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Refinement(..)"
        } else {
            "Refinement"
        })
    }
}

/// Bytes that are not what they should be, or a value of another type than the schema's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError {
    /// Where, from the outside in.
    pub path: Vec<CodecStep>,
    /// What is wrong: `a number is required, not a string`.
    pub message: String,
}

/// A step to where a [`CodecError`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecStep {
    /// `.name` of an object.
    Attribute(String),
    /// `[2]` of a list, set or tuple.
    Index(usize),
    /// `["key"]` of a map.
    Key(String),
}

impl CodecError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
        }
    }

    fn mismatch(kind: &Type, found: &str) -> Self {
        Self::new(format!("{} is required, not {found}", kind.word()))
    }

    fn too_deep() -> Self {
        Self::new(format!("this is nested deeper than {MAX_DEPTH} levels"))
    }

    /// The same, seen from one step further out.
    fn under(mut self, step: CodecStep) -> Self {
        self.path.insert(0, step);
        self
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.path.iter().enumerate() {
            match step {
                CodecStep::Attribute(name) if position == 0 => write!(f, "{name}")?,
                CodecStep::Attribute(name) => write!(f, ".{name}")?,
                CodecStep::Index(index) => write!(f, "[{index}]")?,
                CodecStep::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.message)
    }
}

impl std::error::Error for CodecError {}

/// What is to be written of an object: each attribute of the type with its value. One too many or
/// too few is a bug of ours.
fn attributes<'a>(
    entries: &'a BTreeMap<String, Value>,
    kinds: &'a BTreeMap<String, Type>,
) -> Result<Vec<(&'a String, &'a Value, &'a Type)>, CodecError> {
    if let Some(extra) = entries.keys().find(|name| !kinds.contains_key(*name)) {
        return Err(CodecError::new("there is no such attribute")
            .under(CodecStep::Attribute(extra.clone())));
    }
    let value =
        |(name, kind): (&'a String, &'a Type)| match entries.get(name) {
            Some(value) => Ok((name, value, kind)),
            None => Err(CodecError::new("the attribute is missing")
                .under(CodecStep::Attribute(name.clone()))),
        };
    kinds.iter().map(value).collect()
}

/// Only dynamic values can be deeper than a schema, and no configuration that a human wrote is this
/// deep.
const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
