//! What a shape says of machines that exist, field by field, as the rows of its cloud's table have
//! it: what rolls, what changes in place, and where machines may be.
//!
//! In: `{instance_type = "m7g.large", subnet_ids = ["b", "a"], tags = {...}}`. Out: `{instance_type
//! = "m7g.large"}` rolls, `tags` change in place, and a machine may be in `a` or `b`.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::value::Number;
use crate::provider::schema::Kind;
use crate::provider::{Attribute, Type, Value};
use crate::worker_group::cloud::{Change, Entry};
use crate::worker_group::generation;
use crate::worker_group::wanted::Allowed;

/// What of a shape rolls: without nulls, without what is as by default, without what changes in
/// place or only places machines; sets in one order.
pub(crate) fn rolling(entry: &Entry, shape: &Value) -> Value {
    written(
        shape,
        &attributes(entry),
        "",
        &|path| match entry.change_of(path) {
            None => Part::AsIs,
            Some(Change::Set) => Part::Sorted,
            Some(Change::Place | Change::InPlace | Change::NowInPlace) => Part::LeftOut,
        },
    )
}

/// The same as release 0.1.0 had it, for the marks that it wrote: places counted, and the order of
/// sets. `configured` is what the configuration has said of fields of which state shows what some
/// machine has instead: marks are of what was said.
pub(crate) fn first_form(
    entry: &Entry,
    shape: &Value,
    configured: &BTreeMap<String, Value>,
) -> Value {
    let Value::Map(fields) = shape else {
        return Value::Null;
    };
    let mut said = fields.clone();
    said.extend(configured.clone());
    written(
        &Value::Map(said),
        &attributes(entry),
        "",
        &|path| match entry.change_of(path) {
            Some(Change::InPlace) => Part::LeftOut,
            None | Some(Change::Set | Change::Place | Change::NowInPlace) => Part::AsIs,
        },
    )
}

/// Fields that change in place, where the user wrote them; lists in one order, for none of them has
/// one.
pub(crate) fn in_place(entry: &Entry, shape: &Value) -> BTreeMap<String, Value> {
    let Value::Map(fields) = shape else {
        return BTreeMap::new();
    };
    entry
        .in_place()
        .filter_map(|name| Some((name.to_owned(), as_compared(fields.get(name)?))))
        .filter(|(_, value)| *value != Value::Null)
        .collect()
}

/// One of them; null where the user wrote none.
pub(crate) fn in_place_of(shape: &Value, field: &str) -> Value {
    match shape {
        Value::Map(fields) => as_compared(fields.get(field).unwrap_or(&Value::Null)),
        _ => Value::Null,
    }
}

/// In one order, and nothing where nothing is listed.
pub(crate) fn as_compared(value: &Value) -> Value {
    match in_one_order(value) {
        Value::List(elements) if elements.is_empty() => Value::Null,
        Value::Map(entries) if entries.is_empty() => Value::Null,
        Value::String(text) if text.is_empty() => Value::Null,
        value => value,
    }
}

/// The value of a field in what was observed of a machine; null where nothing was. See
/// [`crate::worker_group::cloud::Machine::observed`].
pub(crate) fn observed_value(attribute: &Attribute, observed: &BTreeMap<String, String>) -> Value {
    let whole = observed.get(attribute.name).filter(|text| !text.is_empty());
    let prefix = format!("{}.", attribute.name);
    let parts = || {
        observed
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)))
    };
    let text = |text: &str| Value::String(text.to_owned());
    let value = match (&attribute.kind, whole) {
        (Kind::Plain(Type::String), Some(whole)) => text(whole),
        (Kind::Plain(Type::Bool), Some(whole)) => Value::Bool(whole == "true"),
        (Kind::Plain(Type::Number), Some(whole)) => whole
            .parse()
            .map_or(Value::Null, |number| Value::Number(Number::Int(number))),
        (Kind::Plain(Type::List(_) | Type::Set(_)), Some(whole)) => {
            Value::List(whole.split(',').map(|word| text(word.trim())).collect())
        }
        (Kind::Plain(Type::List(_) | Type::Set(_)), None) => {
            Value::List(parts().map(|(key, _)| text(key)).collect())
        }
        (Kind::Plain(Type::Map(_)), _) => Value::Map(
            parts()
                .map(|(key, value)| (key.to_owned(), text(value)))
                .collect(),
        ),
        _ => Value::Null,
    };
    as_compared(&value)
}

/// What an import found of a shape, with what the configuration says of the rest: once where a
/// default counts as found, and once where it stands for nothing that was found, for both look
/// alike.
pub(crate) fn completions(
    entry: &Entry,
    imported: &Value,
    said: &Value,
) -> impl Iterator<Item = Value> {
    [false, true].into_iter().map(move |without_defaults| {
        let (Value::Map(imported), Value::Map(said)) = (imported, said) else {
            return said.clone();
        };
        let mut completed = said.clone();
        for attribute in attributes(entry) {
            let Some(told) = imported.get(attribute.name) else {
                continue;
            };
            let as_by_default = attribute.default.as_ref() == Some(told);
            let is_none = told.is_null() || (without_defaults && as_by_default);
            if !is_none {
                completed.insert(attribute.name.to_owned(), told.clone());
            }
        }
        Value::Map(completed)
    })
}

/// Fields that roll and are null in all of these shapes.
pub(crate) fn untold(entry: &Entry, shapes: [&Value; 2]) -> Vec<String> {
    let is_null = |shape: &Value, name: &str| match shape {
        Value::Map(fields) => fields.get(name).is_none_or(Value::is_null),
        _ => true,
    };
    attributes(entry)
        .iter()
        .map(|attribute| attribute.name)
        .filter(|name| matches!(entry.change_of(name), None | Some(Change::Set)))
        .filter(|name| shapes.iter().all(|shape| is_null(shape, name)))
        .map(|name| format!("{}.{name}", entry.name))
        .collect()
}

/// Whether something is missing that a configuration has to say.
pub(crate) fn lacks_required(entry: &Entry, shape: &Value) -> bool {
    let is_missing = |attribute: &Attribute| match shape {
        Value::Map(fields) => fields.get(attribute.name).is_none_or(Value::is_null),
        _ => true,
    };
    let attributes = attributes(entry);
    let mut required = attributes.iter().filter(|attribute| attribute.required);
    required.any(is_missing)
}

/// What the fields that place machines allow; a field that lists nothing allows everything.
pub(crate) fn places(entry: &Entry, shape: &Value) -> Vec<Allowed> {
    let mut places = Vec::new();
    for (path, change) in entry.fields {
        if *change == Change::Place {
            let steps: Vec<&str> = path.split('.').collect();
            lists(shape, &steps, &mut |listed| {
                places.push(Allowed { path, listed });
            });
        }
    }
    places
}

/// Each list at the end of a path; objects in lists have one each.
fn lists(value: &Value, steps: &[&str], found: &mut dyn FnMut(BTreeSet<String>)) {
    match (value, steps) {
        (Value::Map(fields), [step, rest @ ..]) => {
            lists(fields.get(*step).unwrap_or(&Value::Null), rest, found);
        }
        (Value::List(elements), []) => {
            let texts = elements.iter().filter_map(|element| match element {
                Value::String(text) => Some(text.clone()),
                _ => None,
            });
            let texts: BTreeSet<String> = texts.collect();
            if !texts.is_empty() {
                found(texts);
            }
        }
        (Value::List(elements), steps) => {
            for element in elements {
                lists(element, steps, found);
            }
        }
        _ => {}
    }
}

enum Part {
    AsIs,
    Sorted,
    LeftOut,
}

pub(crate) fn attributes(entry: &Entry) -> Vec<Attribute> {
    match (entry.group_schema)().kind {
        Kind::Object(attributes) => attributes,
        Kind::Plain(_) | Kind::ListOf(_) | Kind::MapOf(_) => Vec::new(),
    }
}

fn written(
    shape: &Value,
    attributes: &[Attribute],
    at: &str,
    part_of: &dyn Fn(&str) -> Part,
) -> Value {
    let Value::Map(fields) = shape else {
        return Value::Null;
    };
    let kept = attributes.iter().filter_map(|attribute| {
        let value = fields.get(attribute.name)?;
        let path = match at {
            "" => attribute.name.to_owned(),
            at => format!("{at}.{}", attribute.name),
        };
        let part = part_of(&path);
        let as_by_default = attribute.default.as_ref() == Some(value);
        if matches!(part, Part::LeftOut) || as_by_default || *value == Value::Null {
            return None;
        }
        let value = match (&attribute.kind, value) {
            (Kind::Object(inner), value) => {
                let kept = written(value, inner, &path, part_of);
                // An object of defaults alone is as good as none where none means the defaults.
                let nothing = matches!(&kept, Value::Map(kept) if kept.is_empty());
                if nothing && attribute.default.is_some() {
                    return None;
                }
                kept
            }
            (Kind::ListOf(inner), Value::List(elements)) => Value::List(
                elements
                    .iter()
                    .map(|element| written(element, inner, &path, part_of))
                    .collect(),
            ),
            (Kind::MapOf(inner), Value::Map(elements)) => Value::Map(
                elements
                    .iter()
                    .map(|(key, element)| (key.clone(), written(element, inner, &path, part_of)))
                    .collect(),
            ),
            (_, value) => value.clone(),
        };
        let value = match part {
            Part::Sorted => in_one_order(&value),
            Part::AsIs | Part::LeftOut => value,
        };
        Some((attribute.name.to_owned(), value))
    });
    Value::Map(kept.collect())
}

/// A list sorted, each element once; anything else as it is.
fn in_one_order(value: &Value) -> Value {
    let Value::List(elements) = value else {
        return value.clone();
    };
    let by_text: BTreeMap<String, &Value> = elements
        .iter()
        .map(|element| (generation::text_of(element), element))
        .collect();
    Value::List(by_text.into_values().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_observed_has_the_type_of_its_field() {
        let minutes = Attribute::number("minutes", "Minutes.");
        let text = Attribute::string("minutes", "Minutes.");
        let is_long = Attribute::bool("minutes", "Whether it is long.");
        for (attribute, observed, expected) in [
            (&minutes, "3", Value::Number(Number::Int(3))),
            (&minutes, "three", Value::Null),
            (&minutes, "", Value::Null),
            (&text, "3", Value::String("3".to_owned())),
            (&is_long, "true", Value::Bool(true)),
        ] {
            let observed = BTreeMap::from([("minutes".to_owned(), observed.to_owned())]);
            assert_eq!(observed_value(attribute, &observed), expected);
        }
    }
}
