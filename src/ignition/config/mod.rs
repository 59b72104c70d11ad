//! A config as a tree of objects whose shapes are data: Butane before translation, Ignition after
//! it.
//!
//! One tree serves both, for the two formats differ only in the spelling of names and in the sugar
//! that translation takes away. A shape's fields stand in the order in which Ignition writes them.

pub(super) mod blame;
pub(super) mod fields;
pub(super) mod from_json;
pub(super) mod keys;
pub(super) mod merge;
pub(super) mod report;
pub(super) mod tally;
pub(super) mod to_json;
mod unit;
mod url;
pub(super) mod validate;
pub(super) mod versions;

use std::fmt;

/// An object type: `Storage`, `File`, ...
pub(crate) struct Shape {
    /// The reference's name of the type, as its decoder's messages have it.
    pub(crate) name: &'static str,
    /// In Ignition's order of writing.
    pub(crate) fields: &'static [Field],
    /// The YAML name of the field that is the key of list elements of this shape; "" where there is
    /// none.
    pub(crate) key: &'static str,
}

/// One field of a shape.
pub(crate) struct Field {
    /// As in Butane's YAML: `size_mib`.
    pub(crate) name: &'static str,
    /// As in Ignition's JSON: `sizeMiB`.
    pub(crate) json: &'static str,
    pub(crate) kind: Kind,
    /// The first version of Butane that has it, as [`versions::VERSIONS`] counts them. 255 in
    /// Ignition alone.
    pub(crate) since: u8,
    /// The first minor version of Ignition 3 that has it. 255 in Butane alone.
    pub(crate) spec: u8,
    /// Written even when empty: names, paths and devices.
    pub(crate) always: bool,
    /// Elements have no key: they may repeat, and merging appends.
    pub(crate) unkeyed: bool,
    /// Shares its elements' keys with the other such lists of its object: files, directories and
    /// links.
    pub(crate) shared_keys: bool,
}

/// What a field holds.
pub(crate) enum Kind {
    Bool,
    Int,
    Text,
    /// Text that may be any bytes: `inline`.
    Bytes,
    /// A list of texts, with the reference's name of the element type.
    Texts(&'static str),
    Object(&'static Shape),
    /// A list of objects, with the reference's name of the list type where it has one of its own.
    Objects(&'static Shape, &'static str),
}

impl Field {
    /// A field of both formats, in every version.
    pub(crate) const fn new(name: &'static str, json: &'static str, kind: Kind) -> Self {
        Self {
            name,
            json,
            kind,
            since: 0,
            spec: 0,
            always: false,
            unkeyed: false,
            shared_keys: false,
        }
    }

    /// A field of Butane alone.
    pub(crate) const fn sugar(name: &'static str, kind: Kind) -> Self {
        let mut field = Self::new(name, name, kind);
        field.spec = 255;
        field
    }

    pub(crate) const fn since(mut self, version: u8) -> Self {
        self.since = version;
        self
    }

    pub(crate) const fn spec(mut self, minor: u8) -> Self {
        self.spec = minor;
        self
    }

    pub(crate) const fn always(mut self) -> Self {
        self.always = true;
        self
    }

    pub(crate) const fn unkeyed(mut self) -> Self {
        self.unkeyed = true;
        self
    }

    pub(crate) const fn shared_keys(mut self) -> Self {
        self.shared_keys = true;
        self
    }
}

/// What stands in a field. It may be a secret: no `Debug`.
#[derive(Clone, Default, PartialEq)]
pub(crate) enum Value {
    #[default]
    Unset,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
    Object(Object),
    Objects(Vec<Object>),
}

/// An object of some shape.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) shape: &'static Shape,
    values: Vec<Value>,
    /// Where it was written, when that is not where it stands.
    pub(crate) source: Option<Box<Source>>,
    /// Where single fields (or elements of lists of texts) were written, when not below `source`.
    pub(crate) field_sources: Vec<FieldSource>,
}

/// A place in a document.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) document: usize,
    pub(crate) path: Path,
    /// Everything below is blamed on this very place, for a tree or a mount unit made it.
    pub(crate) whole: bool,
}

#[derive(Clone)]
pub(crate) struct FieldSource {
    pub(crate) field: &'static str,
    pub(crate) index: Option<usize>,
    pub(crate) source: Source,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.shape, other.shape) && self.values == other.values
    }
}

impl Object {
    pub(crate) fn new(shape: &'static Shape) -> Self {
        Self {
            shape,
            values: shape.fields.iter().map(|_| Value::Unset).collect(),
            source: None,
            field_sources: Vec::new(),
        }
    }

    fn index(&self, name: &str) -> usize {
        let found = self.shape.fields.iter().position(|f| f.name == name);
        debug_assert!(found.is_some(), "{} has no {name}", self.shape.name);
        found.unwrap_or(0)
    }

    /// The fields with what stands in them, in Ignition's order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static Field, &Value)> {
        self.shape.fields.iter().zip(&self.values)
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = (&'static Field, &mut Value)> {
        self.shape.fields.iter().zip(&mut self.values)
    }

    /// What stands in the field of this number.
    pub(crate) fn nth(&self, index: usize) -> &Value {
        &self.values[index]
    }

    pub(crate) fn field(&self, name: &str) -> &'static Field {
        &self.shape.fields[self.index(name)]
    }

    pub(crate) fn get(&self, name: &str) -> &Value {
        &self.values[self.index(name)]
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> &mut Value {
        let index = self.index(name);
        &mut self.values[index]
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        *self.get_mut(name) = value;
    }

    pub(crate) fn take(&mut self, name: &str) -> Value {
        std::mem::take(self.get_mut(name))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text, "" when unset: a name, a path, a device.
    pub(crate) fn name(&self, name: &str) -> &str {
        self.text(name).unwrap_or("")
    }

    /// The text when it is set and not "".
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.bool(name) == Some(true)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        !matches!(self.get(name), Value::Unset)
    }

    pub(crate) fn texts(&self, name: &str) -> &[String] {
        match self.get(name) {
            Value::Texts(texts) => texts,
            _ => &[],
        }
    }

    pub(crate) fn object(&self, name: &str) -> Option<&Object> {
        match self.get(name) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn objects(&self, name: &str) -> &[Object] {
        match self.get(name) {
            Value::Objects(objects) => objects,
            _ => &[],
        }
    }

    /// The object in a field, made when it is not there.
    pub(crate) fn object_mut(&mut self, name: &str) -> &mut Object {
        let shape = match self.field(name).kind {
            Kind::Object(shape) => shape,
            _ => self.shape,
        };
        object_in(self.get_mut(name), shape)
    }

    /// The list of objects in a field, made when it is not there.
    pub(crate) fn objects_mut(&mut self, name: &str) -> &mut Vec<Object> {
        objects_in(self.get_mut(name))
    }

    /// Nothing is set, all the way down.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(Value::is_empty)
    }

    /// The key of this list element: `path` of a file, number or label of a partition.
    pub(crate) fn key(&self) -> String {
        if self.shape.key != "number" {
            return match self.shape.key {
                "" => String::new(),
                key => self.name(key).to_owned(),
            };
        }
        match (self.int("number").unwrap_or(0), self.text("label")) {
            (0, Some(label)) => format!("label:{label}"),
            (0, None) => String::new(),
            (number, _) => format!("number:{number}"),
        }
    }
}

impl Value {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Unset => true,
            Self::Texts(texts) => texts.is_empty(),
            Self::Objects(objects) => objects.is_empty(),
            Self::Object(object) => object.is_empty(),
            _ => false,
        }
    }
}

/// The object that stands in `value`, made when there is none.
pub(crate) fn object_in<'a>(value: &'a mut Value, shape: &'static Shape) -> &'a mut Object {
    if !matches!(value, Value::Object(_)) {
        *value = Value::Object(Object::new(shape));
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("an object was put there above"),
    }
}

/// The list that stands in `value`, made when there is none.
pub(crate) fn objects_in(value: &mut Value) -> &mut Vec<Object> {
    if !matches!(value, Value::Objects(_)) {
        *value = Value::Objects(Vec::new());
    }
    match value {
        Value::Objects(objects) => objects,
        _ => unreachable!("a list was put there above"),
    }
}

/// The format of a document: whose names its paths have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Butane,
    Ignition,
}

/// One step of a path into a config.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A field by its name in the document's own format.
    Name(&'static str),
    Index(usize),
}

/// Where in a document: `$.storage.files.0.path`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    pub(crate) fn of(names: &[&'static str]) -> Self {
        Self(names.iter().map(|name| Step::Name(name)).collect())
    }

    pub(crate) fn name(mut self, name: &'static str) -> Self {
        self.0.push(Step::Name(name));
        self
    }

    pub(crate) fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// Whether it is that of a tree, or of a field that names a local file.
    pub(crate) fn leads_to_files(&self) -> bool {
        self.0
            .starts_with(&[Step::Name("storage"), Step::Name("trees")])
            || self.0.iter().any(|step| match step {
                Step::Name(name) => *name == "local" || name.ends_with("_local"),
                Step::Index(_) => false,
            })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Name(name) => write!(out, ".{name}")?,
                Step::Index(index) => write!(out, ".{index}")?,
            }
        }
        Ok(())
    }
}

/// Where a walk over a config stands: costs nothing until a problem is found there.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Option<Step>,
}

impl<'a> At<'a> {
    pub(crate) const ROOT: At<'static> = At {
        parent: None,
        step: None,
    };

    pub(crate) fn name(&'a self, name: &'static str) -> At<'a> {
        At {
            parent: Some(self),
            step: Some(Step::Name(name)),
        }
    }

    pub(crate) fn index(&'a self, index: usize) -> At<'a> {
        At {
            parent: Some(self),
            step: Some(Step::Index(index)),
        }
    }

    pub(crate) fn path(&self) -> Path {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(here) = at {
            steps.extend(here.step);
            at = here.parent;
        }
        steps.reverse();
        Path(steps)
    }
}
