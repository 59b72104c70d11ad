//! Schemas as data: an attribute is a name, a type, flags and a description; from it come the wire form, the checks and the docs.
//!
//! ```ignore
//! Schema::new(0, "An image of Flatcar.", vec![
//!     Attribute::string("platform", "Platform that Flatcar publishes for").required().one_of(PLATFORMS),
//!     Attribute::string("channel", "Release channel").default("stable").one_of(CHANNELS),
//!     Attribute::object("aws", "Where AWS has it.", vec![Attribute::string("owner", "Account of the publisher.").computed()]).computed(),
//!     Attribute::string("rendered", "Ignition JSON.").computed().sensitive(),
//! ])
//! ```

use super::{Diagnostics, Path, Type, Value};

/// A check on a known, non-null value. Its second part is appended to the attribute's description ("One of ...").
pub type Check = std::sync::Arc<dyn Fn(&Value, &Path) -> Diagnostics + Send + Sync>;

/// The attributes of one object kind.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Schema {
    pub version: i64,
    pub description: &'static str,
    pub attributes: Vec<Attribute>,
}

/// One attribute. Built by `Attribute::string(name, description)` and the like, then flags.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    pub description: String,
    pub required: bool,
    pub optional: bool,
    pub computed: bool,
    pub sensitive: bool,
    pub write_only: bool,
    /// Why and what instead.
    pub deprecated: Option<&'static str>,
    /// Implies optional + computed; filled in before plan, read and open.
    pub default: Option<Value>,
    /// A change replaces the resource.
    pub requires_replace: bool,
    pub checks: Vec<Check>,
}

/// What stands in an attribute.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Kind {
    Plain(Type),
    /// `x = { ... }`
    Object(Vec<Attribute>),
    /// `x = [{ ... }]`
    ListOf(Vec<Attribute>),
    /// `x = { key = { ... } }`
    MapOf(Vec<Attribute>),
}

/// An attribute of an identity: primitive or list of primitives.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct IdentityAttribute {
    pub name: &'static str,
    pub kind: Type,
    pub description: &'static str,
    pub required_for_import: bool,
}

/// Parameters and result of a function.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Signature {
    pub summary: &'static str,
    pub description: &'static str,
    pub parameters: Vec<Parameter>,
    pub variadic: Option<Parameter>,
    pub result: Type,
}

/// A parameter of a function.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Type,
    pub description: &'static str,
    pub allow_null: bool,
}
