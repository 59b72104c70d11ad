//! Schemas as data: an attribute is a name, a type, flags and a description; from it come the wire
//! form, the checks, the plan's mechanical part and the docs.
//!
//! ```
//! use flatcar::provider::{Attribute, Schema};
//! const CHANNELS: &[&str] = &["stable", "beta", "alpha"];
//! let schema = Schema::new(0, "An image of Flatcar.", vec![
//!     Attribute::string("platform", "Platform that the image is for.").required(),
//!     Attribute::string("channel", "Release channel.").default("stable").one_of(CHANNELS),
//!     Attribute::object("aws", "Where AWS has it.", vec![
//!         Attribute::string("owner", "Account of the publisher.").computed(),
//!     ])
//!     .computed(),
//!     Attribute::string("rendered", "Ignition JSON.").computed().sensitive(),
//! ]);
//! assert_eq!(schema.attributes[1].description, "Release channel. Defaults to `stable`. One of `stable`, `beta`, `alpha`.");
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Serialize;

use super::convert::to_value;
use super::{Diagnostic, Diagnostics, Path, Type, Value, duration};

/// A check on a known, non-null value at a path.
pub type Check = Arc<dyn Fn(&Value, &Path) -> Diagnostics + Send + Sync>;

/// The attributes of one object kind.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Schema {
    pub version: i64,
    pub description: &'static str,
    pub attributes: Vec<Attribute>,
}

impl Schema {
    /// `version` is raised when stored state changes its form; [`super::Resource::upgrade`] then
    /// lifts older states.
    pub fn new(version: i64, description: &'static str, attributes: Vec<Attribute>) -> Self {
        Self {
            version,
            description,
            attributes,
        }
    }
}

/// One attribute. Built by `Attribute::string(name, description)` and the like, then one of
/// `required`, `optional`, `computed`, `optional().computed()` or `default`, then the rest.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    /// Markdown; the builders below append default, range and accepted values to it.
    pub description: String,
    pub required: bool,
    pub optional: bool,
    pub computed: bool,
    pub sensitive: bool,
    pub write_only: bool,
    /// Filled in before validate, plan, read and open, where the configuration is null.
    pub default: Option<Value>,
    /// A change replaces the resource.
    pub requires_replace: bool,
    /// Null elements of a list, set or map are accepted, and skipped.
    pub skips_nulls: bool,
    /// Accepted words, of [`Attribute::one_of`].
    pub words: Vec<String>,
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

impl Attribute {
    /// `x = "text"`
    pub fn string(name: &'static str, description: &str) -> Self {
        Self::new(name, description, Kind::Plain(Type::String))
    }
    /// `x = true`
    pub fn bool(name: &'static str, description: &str) -> Self {
        Self::new(name, description, Kind::Plain(Type::Bool))
    }
    /// `x = 3`: a whole number.
    pub fn number(name: &'static str, description: &str) -> Self {
        Self::new(name, description, Kind::Plain(Type::Number)).check("", |value, path| match value
        {
            Value::Number(number) if number.as_i64().is_none() => refuse(
                path,
                "is not a whole number",
                "A whole number of at most 64 bits",
            ),
            _ => Diagnostics::none(),
        })
    }
    /// `x = [1, 2]`; `element` is a plain type.
    pub fn list(name: &'static str, description: &str, element: Type) -> Self {
        Self::new(name, description, Kind::Plain(Type::List(element.into())))
    }
    /// `x = [1, 2]` without an order; `element` is a plain type.
    pub fn set(name: &'static str, description: &str, element: Type) -> Self {
        Self::new(name, description, Kind::Plain(Type::Set(element.into())))
    }
    /// `x = { key = 1 }`; `element` is a plain type.
    pub fn map(name: &'static str, description: &str, element: Type) -> Self {
        Self::new(name, description, Kind::Plain(Type::Map(element.into())))
    }
    /// Whatever the user writes.
    pub fn dynamic(name: &'static str, description: &str) -> Self {
        Self::new(name, description, Kind::Plain(Type::Dynamic))
    }
    /// `x = { a = 1, b = "text" }`
    pub fn object(name: &'static str, description: &str, attributes: Vec<Attribute>) -> Self {
        Self::new(name, description, Kind::Object(attributes))
    }
    /// `x = [{ a = 1 }]`
    pub fn list_of(name: &'static str, description: &str, attributes: Vec<Attribute>) -> Self {
        Self::new(name, description, Kind::ListOf(attributes))
    }
    /// `x = { key = { a = 1 } }`
    pub fn map_of(name: &'static str, description: &str, attributes: Vec<Attribute>) -> Self {
        Self::new(name, description, Kind::MapOf(attributes))
    }
    fn new(name: &'static str, description: &str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            description: description.to_owned(),
            required: false,
            optional: false,
            computed: false,
            sensitive: false,
            write_only: false,
            default: None,
            requires_replace: false,
            skips_nulls: false,
            words: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// The user must write it.
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
    /// The user may write it.
    #[must_use]
    pub fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
    /// The provider fills it in; after `optional`: where the user did not write it.
    #[must_use]
    pub fn computed(self) -> Self {
        Self {
            computed: true,
            ..self
        }
    }
    /// Core hides it. State holds it in the clear all the same.
    #[must_use]
    pub fn sensitive(self) -> Self {
        Self {
            sensitive: true,
            ..self
        }
    }
    /// In no plan and no state; only [`super::Resource::create`] and `update` see it, in `config`.
    #[must_use]
    pub fn write_only(self) -> Self {
        Self {
            write_only: true,
            ..self
        }
    }
    /// A change of it replaces the resource.
    #[must_use]
    pub fn requires_replace(mut self) -> Self {
        self.says("A change replaces the resource");
        Self {
            requires_replace: true,
            ..self
        }
    }
    /// What it is when the user left it out; makes it optional and computed. For an object see
    /// [`Attribute::defaulted`].
    #[must_use]
    pub fn default(mut self, value: impl Serialize) -> Self {
        let value = to_value(&value);
        if let Some(text) = literal(&value) {
            self.says(&format!("Defaults to {text}"));
        }
        Self {
            default: Some(value),
            optional: true,
            computed: true,
            ..self
        }
    }
    /// What null stands for; it stays null. The plan of a data source that is read during apply
    /// shows nothing of it then, where a value that is filled in would be one that is *known after
    /// apply*.
    #[must_use]
    pub fn null_means(mut self, value: impl Serialize) -> Self {
        if let Some(text) = literal(&to_value(&value)) {
            self.says(&format!("Defaults to {text}"));
        }
        self.optional()
    }
    /// An object that, when the user left it out, is one of its attributes' defaults; makes it
    /// optional and computed.
    #[must_use]
    pub fn defaulted(self) -> Self {
        let default = match &self.kind {
            Kind::Object(attributes) => Some(null_object(attributes)),
            Kind::Plain(_) | Kind::ListOf(_) | Kind::MapOf(_) => None,
        };
        Self {
            default,
            optional: true,
            computed: true,
            ..self
        }
    }
    /// Null elements of a list, set or map are accepted; the author skips them.
    #[must_use]
    pub fn skips_nulls(self) -> Self {
        Self {
            skips_nulls: true,
            ..self
        }
    }
    /// Accepted words. On a list, set or map: of each element.
    #[must_use]
    pub fn one_of<S: AsRef<str>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        let words: Vec<String> = words
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self.words.clone_from(&words);
        let listed = listed(&words);
        self.check(&format!("One of {listed}"), move |value, path| {
            let Value::String(word) = value else {
                return Diagnostics::none();
            };
            if words.contains(word) {
                return Diagnostics::none();
            }
            refuse(
                path,
                "is not one of those accepted",
                &format!("One of {listed}"),
            )
        })
    }
    /// Accepted numbers, whole ones only.
    #[must_use]
    pub fn range(self, range: RangeInclusive<i64>) -> Self {
        let says = match (*range.start(), *range.end()) {
            (start, i64::MAX) => format!("A whole number of at least {start}"),
            (start, end) => format!("A whole number from {start} to {end}"),
        };
        self.check(&says.clone(), move |value, path| {
            let Value::Number(number) = value else {
                return Diagnostics::none();
            };
            match number.as_i64() {
                Some(number) if !range.contains(&number) => refuse(path, "is out of range", &says),
                // No number of ours that is not whole gets past [`Attribute::number`].
                _ => Diagnostics::none(),
            }
        })
    }
    /// Accepted length, in characters of a string, elements of a list, set or map.
    #[must_use]
    pub fn length(mut self, range: RangeInclusive<usize>) -> Self {
        let unit = match self.kind {
            Kind::Plain(Type::String) => "characters",
            _ => "elements",
        };
        let says = match (*range.start(), *range.end()) {
            (start, usize::MAX) => format!("At least {start} {unit}"),
            (start, end) if start == end => format!("Exactly {start} {unit}"),
            (0, end) => format!("At most {end} {unit}"),
            (start, end) => format!("From {start} to {end} {unit}"),
        };
        self.says(&says);
        self.checks.push(Arc::new(move |value, path| {
            let length = match value {
                Value::String(text) => text.chars().count(),
                Value::List(values) => values.len(),
                Value::Map(values) => values.len(),
                _ => return Diagnostics::none(),
            };
            if range.contains(&length) {
                return Diagnostics::none();
            }
            refuse(
                path,
                "has the wrong length",
                &format!("{says}, not {length}"),
            )
        }));
        self
    }
    /// A Go-style duration: `"1h30m"`.
    #[must_use]
    pub fn duration(self) -> Self {
        const SAYS: &str = "A duration such as `30s`, `15m` or `1h30m`";
        self.check(SAYS, |value, path| match value {
            Value::String(text) if duration::parse(text).is_none() => {
                refuse(path, "is not a duration", SAYS)
            }
            _ => Diagnostics::none(),
        })
    }
    /// Text that `accepts` takes; `says` completes the description and tells the user what is
    /// accepted: `"A name of lower-case letters"`.
    #[must_use]
    pub fn pattern(self, says: &'static str, accepts: fn(&str) -> bool) -> Self {
        self.check(says, move |value, path| match value {
            Value::String(text) if !accepts(text) => refuse(path, "has the wrong form", says),
            _ => Diagnostics::none(),
        })
    }
    /// A string that is not blank; of a list, set or map: each element.
    #[must_use]
    pub fn filled(self) -> Self {
        self.check("", |value, path| match value {
            Value::String(text) if !is_some_word(text) => refuse(path, "is blank", SOME_WORD),
            _ => Diagnostics::none(),
        })
    }
    /// Variables that say it where the user does not, in the order in which they are asked; `then`
    /// is who is asked after them: `"the profile's"`.
    #[must_use]
    pub fn environment(mut self, variables: &[&str], then: &str) -> Self {
        let variables = variables.iter().map(|name| format!("`{name}`"));
        let then = Some(then.to_owned()).filter(|then| !then.is_empty());
        let asked: Vec<String> = variables.chain(then).collect();
        self.says(&format!("Without it {}", asked.join(", then ")));
        self
    }
    /// The empty string is accepted too, whatever the checks before say: it counts as left out
    /// ([`super::without_empty`]).
    #[must_use]
    pub fn or_empty(mut self) -> Self {
        for check in &mut self.checks {
            let strict = Arc::clone(check);
            *check = Arc::new(move |value, path| match value {
                Value::String(text) if text.is_empty() => Diagnostics::none(),
                value => strict(value, path),
            });
        }
        self
    }
    /// Any check of known, non-null values; of a list, set or map of plain values: of each element.
    /// `says` is appended to the description.
    #[must_use]
    pub fn check(
        mut self,
        says: &str,
        check: impl Fn(&Value, &Path) -> Diagnostics + Send + Sync + 'static,
    ) -> Self {
        self.says(says);
        let each = matches!(
            &self.kind,
            Kind::Plain(Type::List(_) | Type::Set(_) | Type::Map(_))
        );
        let is_set = matches!(&self.kind, Kind::Plain(Type::Set(_)));
        self.checks.push(if each {
            Arc::new(move |value, path| each_element(value, path, is_set, &check))
        } else {
            Arc::new(check)
        });
        self
    }
    fn says(&mut self, sentence: &str) {
        if !sentence.is_empty() {
            let said = self.description.trim_end_matches('.').len();
            self.description.truncate(said);
            let _ = write!(self.description, ". {}.", sentence.trim_end_matches('.'));
        }
    }
    /// Whether the user may write it.
    pub fn is_configurable(&self) -> bool {
        self.required || self.optional
    }
}

/// Elements of a set have no place of their own.
fn each_element(
    value: &Value,
    path: &Path,
    is_set: bool,
    check: &dyn Fn(&Value, &Path) -> Diagnostics,
) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let mut element = |value: &Value, path: Path| {
        if !matches!(value, Value::Null | Value::Unknown(_)) {
            problems.extend(check(value, &path));
        }
    };
    match value {
        Value::List(values) => {
            for (index, value) in values.iter().enumerate() {
                element(
                    value,
                    if is_set {
                        path.clone()
                    } else {
                        path.index(index)
                    },
                );
            }
        }
        Value::Map(values) => {
            for (key, value) in values {
                element(value, path.key(key));
            }
        }
        value => element(value, path.clone()),
    }
    problems
}

/// One error on `path`; the value itself is not named, for it may be a secret.
fn refuse(path: &Path, what: &str, accepted: &str) -> Diagnostics {
    Diagnostic::error(
        format!("Value {what}"),
        format!("Accepted for `{path}`: {}.", lower_first(accepted)),
    )
    .at(path.clone())
    .into()
}

/// A word that is there at all.
pub(crate) fn is_some_word(text: &str) -> bool {
    !text.trim().is_empty()
}

/// What [`is_some_word`] takes.
pub(crate) const SOME_WORD: &str = "At least one character that is no blank";

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

fn listed(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// A default as the docs print it; none for what needs more than a line.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(format!("`{value}`")),
        Value::Number(number) => Some(format!("`{number}`")),
        Value::String(text) if text.is_empty() => Some("the empty string".to_owned()),
        Value::String(text) => Some(format!("`{text}`")),
        Value::List(values) if values.is_empty() => Some("an empty list".to_owned()),
        Value::Map(values) if values.is_empty() => Some("an empty map".to_owned()),
        _ => None,
    }
}

impl Kind {
    /// The type of the values that stand there.
    pub fn value_type(&self) -> Type {
        match self {
            Kind::Plain(kind) => kind.clone(),
            Kind::Object(attributes) => object_type(attributes),
            Kind::ListOf(attributes) => Type::List(object_type(attributes).into()),
            Kind::MapOf(attributes) => Type::Map(object_type(attributes).into()),
        }
    }
}

/// The type of an object of these attributes.
pub fn object_type(attributes: &[Attribute]) -> Type {
    Type::Object(
        attributes
            .iter()
            .map(|attribute| (attribute.name.to_owned(), attribute.kind.value_type()))
            .collect(),
    )
}

/// An object of these attributes, all null.
pub fn null_object(attributes: &[Attribute]) -> Value {
    Value::Map(
        attributes
            .iter()
            .map(|attribute| (attribute.name.to_owned(), Value::Null))
            .collect::<BTreeMap<_, _>>(),
    )
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
