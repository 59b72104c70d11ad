//! Terraform's values and types, and their two encodings (MessagePack and JSON).
//!
//! See: terraform `docs/plugin-protocol/object-wire-format.md`.

mod number;

use std::collections::BTreeMap;

pub use number::Number;

/// A Terraform type, as a schema states it: `"string"`, `["list","string"]`, `["object",{...}]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Bool,
    Number,
    String,
    Dynamic,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Tuple(Vec<Type>),
    Object(BTreeMap<String, Type>),
}

/// A value of some [`Type`]. The type is not repeated in it, except under a dynamic one.
#[derive(Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Unknown(Refinement),
    Bool(bool),
    Number(Number),
    String(String),
    /// List, set or tuple.
    List(Vec<Value>),
    /// Map or object; every attribute of an object has its key.
    Map(BTreeMap<String, Value>),
    /// What stands where the schema says `dynamic`.
    Dynamic(Box<Type>, Box<Value>),
}

/// What is known of an unknown value; the bytes of the extension as core sent them, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refinement(pub Option<Vec<u8>>);
