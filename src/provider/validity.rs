//! What core (and the house) asks of schemas, and that every model fits its schema. For tests: a
//! provider in, its faults out.
//!
//! See: terraform `internal/configs/configschema/internal_validate.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::convert::to_value;
use super::schema::Kind;
use super::{Attribute, Diagnostics, IdentityAttribute, Provider, Schema, Type, Value};

/// Every fault of every schema and model, as `resource thing.disk.gb: is neither required nor
/// optional nor computed`.
pub(crate) fn faults(provider: &Provider) -> Vec<String> {
    let mut faults = Faults::default();
    faults.schema("provider", provider.schema(), Where::Provider);
    for row in &provider.data_sources {
        let at = format!("data source {}", row.name());
        faults.schema(&at, row.schema(), Where::Reader);
        faults.model(&at, row.schema(), &[config, full], &|value| {
            row.round_trip(value)
        });
    }
    for row in &provider.ephemerals {
        let at = format!("ephemeral resource {}", row.name());
        faults.schema(&at, row.schema(), Where::Reader);
        faults.model(&at, row.schema(), &[config, full], &|value| {
            row.round_trip(value)
        });
    }
    for row in &provider.resources {
        let at = format!("resource {}", row.name());
        faults.schema(&at, row.schema(), Where::Resource);
        let samples: [Sample; 5] = [config, full, unknown, unknown_inside, empty];
        faults.model(&at, row.schema(), &samples, &|value| row.round_trip(value));
        faults.identity(&at, &row.identity_schema());
    }
    for row in &provider.functions {
        let at = format!("function {}", row.name());
        let signature = row.signature();
        let parameters = signature.parameters.iter().chain(&signature.variadic);
        let names: Vec<_> = parameters.map(|parameter| parameter.name).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        faults.unless(
            unique.len() == names.len(),
            &at,
            "has two parameters of a name",
        );
        for name in names.into_iter().chain([row.name()]) {
            faults.unless(is_name(name), &at, "has a name that is none");
        }
        faults.sentence(&at, signature.description);
    }
    for (kind, names) in [
        (
            "data source",
            names(&provider.data_sources, |row| row.name()),
        ),
        ("resource", names(&provider.resources, |row| row.name())),
        (
            "ephemeral resource",
            names(&provider.ephemerals, |row| row.name()),
        ),
        ("function", names(&provider.functions, |row| row.name())),
    ] {
        let unique: BTreeSet<_> = names.iter().collect();
        faults.unless(unique.len() == names.len(), kind, "is there twice");
    }
    faults.0
}

fn names<T: ?Sized>(rows: &[Box<T>], name: fn(&T) -> &'static str) -> Vec<&'static str> {
    rows.iter().map(|row| name(row)).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Where {
    Provider,
    /// Data sources and ephemeral resources.
    Reader,
    Resource,
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, good: bool, at: &str, fault: &str) {
        if !good {
            self.0.push(format!("{at}: {fault}"));
        }
    }

    fn schema(&mut self, at: &str, schema: &Schema, place: Where) {
        self.unless(schema.version >= 0, at, "has a negative version");
        self.sentence(at, schema.description);
        let reserved = match place {
            Where::Provider => &["alias", "version"][..],
            Where::Reader | Where::Resource => META_ARGUMENTS,
        };
        for attribute in &schema.attributes {
            let free = !reserved.contains(&attribute.name);
            self.unless(
                free,
                &format!("{at}.{}", attribute.name),
                "is a word of core's",
            );
        }
        self.attributes(at, &schema.attributes, place);
    }

    fn attributes(&mut self, at: &str, attributes: &[Attribute], place: Where) {
        let unique: BTreeSet<_> = attributes.iter().map(|attribute| attribute.name).collect();
        self.unless(
            unique.len() == attributes.len(),
            at,
            "has two attributes of a name",
        );
        self.unless(!attributes.is_empty(), at, "has no attributes");
        for attribute in attributes {
            let at = format!("{at}.{}", attribute.name);
            self.attribute(&at, attribute, place);
            if let Kind::Object(inner) | Kind::ListOf(inner) | Kind::MapOf(inner) = &attribute.kind
            {
                self.attributes(&at, inner, place);
                let only_computed =
                    |attribute: &Attribute| attribute.computed && !attribute.is_configurable();
                let fits = !only_computed(attribute) || inner.iter().all(only_computed);
                self.unless(fits, &at, "is computed and holds what is not");
            }
        }
    }

    fn attribute(&mut self, at: &str, attribute: &Attribute, place: Where) {
        let name = attribute.name;
        self.unless(is_name(name), at, "has a name that is none");
        self.sentence(at, &attribute.description);
        let flags = (attribute.required, attribute.optional, attribute.computed);
        let one_way = matches!(
            flags,
            (true, false, false) | (false, true, _) | (false, false, true)
        );
        self.unless(
            one_way,
            at,
            "is not one of required, optional, computed, optional and computed",
        );
        if place == Where::Provider {
            let plain =
                attribute.is_configurable() && (!attribute.computed || attribute.default.is_some());
            self.unless(
                plain,
                at,
                "is computed, and the provider block computes nothing",
            );
        }
        if attribute.write_only {
            self.unless(
                place == Where::Resource,
                at,
                "is write-only, and not of a resource",
            );
            let configured = attribute.is_configurable() && !attribute.computed;
            self.unless(configured, at, "is write-only and computed");
        }
        if attribute.requires_replace {
            self.unless(
                place == Where::Resource,
                at,
                "replaces, and is not of a resource",
            );
        }
        if let Kind::Plain(kind) = &attribute.kind {
            self.unless(
                kind == &Type::Dynamic || !has_dynamic(kind),
                at,
                "has a dynamic type inside",
            );
            if let Some(default) = &attribute.default {
                self.unless(
                    default.to_msgpack(kind).is_ok(),
                    at,
                    "has a default of another type",
                );
            }
        }
        if let (Some(Value::String(default)), false) =
            (&attribute.default, attribute.words.is_empty())
        {
            self.unless(
                attribute.words.contains(default),
                at,
                "has a default that is not accepted",
            );
        }
    }

    fn identity(&mut self, at: &str, identity: &[IdentityAttribute]) {
        for attribute in identity {
            let at = format!("{at}, identity {}", attribute.name);
            let primitive = |kind: &Type| matches!(kind, Type::Bool | Type::Number | Type::String);
            let fits = match &attribute.kind {
                Type::List(kind) => primitive(kind),
                kind => primitive(kind),
            };
            self.unless(fits, &at, "is neither primitive nor a list of primitives");
            self.unless(is_name(attribute.name), &at, "has a name that is none");
            self.sentence(&at, attribute.description);
        }
    }

    fn sentence(&mut self, at: &str, text: &str) {
        let starts = text.starts_with(|letter: char| letter.is_uppercase() || letter == '`');
        let ends = text.ends_with('.') && !text.ends_with("..");
        let inside = !text.contains("..") || text.contains("...");
        self.unless(
            starts && ends && inside,
            at,
            "is not described in sentences",
        );
    }

    fn model(
        &mut self,
        at: &str,
        schema: &Schema,
        samples: &[Sample],
        round_trip: &dyn Fn(&Value) -> Result<Value, Diagnostics>,
    ) {
        for sample in samples {
            let value = object(&schema.attributes, *sample);
            match round_trip(&value) {
                Ok(back) => self.unless(back == value, at, "its model loses values"),
                Err(problems) => {
                    for problem in problems.0 {
                        let path = problem.path.unwrap_or_default();
                        self.0.push(format!("{at}.{path}: {}", problem.detail));
                    }
                }
            }
        }
    }
}

/// What stands in an attribute in one of the objects that a model must hold.
type Sample = fn(&Attribute) -> Value;

fn object(attributes: &[Attribute], sample: Sample) -> Value {
    let attributes = attributes.iter();
    Value::Map(
        attributes
            .map(|attribute| (attribute.name.to_owned(), sample(attribute)))
            .collect(),
    )
}

/// As little as a user may write, defaults filled in.
fn config(attribute: &Attribute) -> Value {
    match (&attribute.kind, &attribute.default) {
        (Kind::Object(inner), Some(_)) => object(inner, config),
        (_, Some(default)) => default.clone(),
        (_, None) if attribute.required => known(attribute, config),
        (_, None) => Value::Null,
    }
}

/// Everything set.
fn full(attribute: &Attribute) -> Value {
    known(attribute, full)
}

/// Everything unknown.
fn unknown(_: &Attribute) -> Value {
    Value::unknown()
}

/// Collections and objects known, and what is in them unknown.
fn unknown_inside(attribute: &Attribute) -> Value {
    match &attribute.kind {
        Kind::Plain(Type::List(_) | Type::Set(_)) => Value::List(vec![Value::unknown()]),
        Kind::Plain(Type::Map(_)) => Value::Map(one(Value::unknown())),
        Kind::Plain(_) => Value::unknown(),
        _ => known(attribute, unknown_inside),
    }
}

/// A state that an older provider wrote, with nothing in it.
fn empty(attribute: &Attribute) -> Value {
    match &attribute.kind {
        Kind::Object(_) if !attribute.required => Value::Null,
        _ if attribute.required => known(attribute, empty),
        _ => Value::Null,
    }
}

fn known(attribute: &Attribute, inside: Sample) -> Value {
    match &attribute.kind {
        Kind::Plain(kind) => plain(kind, attribute),
        Kind::Object(inner) => object(inner, inside),
        Kind::ListOf(inner) => Value::List(vec![object(inner, inside)]),
        Kind::MapOf(inner) => Value::Map(one(object(inner, inside))),
    }
}

fn plain(kind: &Type, attribute: &Attribute) -> Value {
    match kind {
        Type::Bool => Value::Bool(true),
        Type::Number => to_value(&1),
        Type::String => match attribute.words.first() {
            Some(word) => to_value(word),
            None => to_value("text"),
        },
        Type::Dynamic => Value::Dynamic(Box::new(Type::Bool), Box::new(Value::Bool(true))),
        Type::List(kind) | Type::Set(kind) => Value::List(vec![plain(kind, attribute)]),
        Type::Map(kind) => Value::Map(one(plain(kind, attribute))),
        Type::Tuple(kinds) => {
            Value::List(kinds.iter().map(|kind| plain(kind, attribute)).collect())
        }
        Type::Object(kinds) => {
            let kinds = kinds.iter();
            let attributes = kinds.map(|(name, kind)| (name.clone(), plain(kind, attribute)));
            Value::Map(attributes.collect())
        }
    }
}

fn one(value: Value) -> BTreeMap<String, Value> {
    BTreeMap::from([("key".to_owned(), value)])
}

fn has_dynamic(kind: &Type) -> bool {
    match kind {
        Type::Dynamic => true,
        Type::List(kind) | Type::Set(kind) | Type::Map(kind) => has_dynamic(kind),
        Type::Tuple(kinds) => kinds.iter().any(has_dynamic),
        Type::Object(kinds) => kinds.values().any(has_dynamic),
        Type::Bool | Type::Number | Type::String => false,
    }
}

fn is_name(name: &str) -> bool {
    let letters =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    name.starts_with(|letter: char| letter.is_ascii_lowercase()) && name.chars().all(letters)
}

const META_ARGUMENTS: &[&str] = &[
    "count",
    "for_each",
    "depends_on",
    "provider",
    "lifecycle",
    "connection",
    "provisioner",
    "enabled",
];

mod tests {
    use super::*;

    #[test]
    fn a_bad_schema_is_found_out() {
        let text = |name| Attribute::string(name, "Text.");
        for (place, attribute, fault) in [
            (Where::Resource, text("a").optional(), ""),
            (Where::Resource, text("a").optional().computed(), ""),
            (Where::Resource, text("a"), "is not one of required"),
            (
                Where::Resource,
                text("a").required().computed(),
                "is not one of required",
            ),
            (
                Where::Resource,
                text("A").optional(),
                "has a name that is none",
            ),
            (
                Where::Resource,
                text("count").optional(),
                "is a word of core's",
            ),
            (
                Where::Provider,
                text("alias").optional(),
                "is a word of core's",
            ),
            (
                Where::Provider,
                text("a").computed(),
                "the provider block computes nothing",
            ),
            (
                Where::Resource,
                text("a").computed().write_only(),
                "is write-only and computed",
            ),
            (
                Where::Reader,
                text("a").optional().write_only(),
                "and not of a resource",
            ),
            (
                Where::Resource,
                Attribute::string("a", "text").optional(),
                "not described in sentences",
            ),
            (
                Where::Resource,
                Attribute::list("a", "Text.", Type::Dynamic).optional(),
                "has a dynamic type inside",
            ),
            (
                Where::Resource,
                Attribute::bool("a", "Text.").default("yes"),
                "has a default of another type",
            ),
            (
                Where::Resource,
                text("a").default("b").one_of(["c"]),
                "has a default that is not accepted",
            ),
            (
                Where::Resource,
                Attribute::object("a", "Text.", vec![text("b").optional()]).computed(),
                "is computed and holds what is not",
            ),
            (
                Where::Resource,
                Attribute::object("a", "Text.", vec![]).optional(),
                "has no attributes",
            ),
        ] {
            let mut faults = Faults::default();
            let schema = Schema::new(0, "Thing.", vec![attribute]);
            faults.schema("thing", &schema, place);
            assert_eq!(
                faults.0.is_empty(),
                fault.is_empty(),
                "{fault}: {:?}",
                faults.0
            );
            assert!(
                faults.0.iter().all(|found| found.contains(fault)),
                "{fault}: {:?}",
                faults.0
            );
        }
    }

    #[test]
    fn a_model_that_does_not_fit_is_found_out() {
        let schema = Schema::new(
            0,
            "Thing.",
            vec![Attribute::string("a", "Text.").required()],
        );
        let mut faults = Faults::default();
        let loses = |_: &Value| Ok(Value::Null);
        faults.model("thing", &schema, &[full], &loses);
        assert_eq!(faults.0, ["thing: its model loses values"]);
    }
}
