//! What a schema says of an object, done once for all: defaults, checks, unknown marking,
//! write-only values, replacement. Objects are [`Value::Map`]s with every attribute of the schema.

use super::diagnostics::Step;
use super::schema::Kind;
use super::{Attribute, Diagnostic, Diagnostics, Path, Type, Value};

/// Fills in what the user left out.
pub(super) fn fill_defaults(attributes: &[Attribute], config: &mut Value) {
    each(attributes, config, &mut |attribute, value| {
        if let (Value::Null, Some(default)) = (&*value, &attribute.default) {
            *value = default.clone();
        }
    });
}

/// Nulls what must be in no plan and no state.
pub(super) fn null_write_only(attributes: &[Attribute], object: &mut Value) {
    each(attributes, object, &mut |attribute, value| {
        if attribute.write_only {
            *value = Value::Null;
        }
    });
}

/// Visits every attribute, outer ones first.
fn each(
    attributes: &[Attribute],
    object: &mut Value,
    visit: &mut dyn FnMut(&Attribute, &mut Value),
) {
    let Value::Map(values) = object else {
        return;
    };
    for attribute in attributes {
        let Some(value) = values.get_mut(attribute.name) else {
            continue;
        };
        visit(attribute, value);
        match (&attribute.kind, value) {
            (Kind::Object(inner), value) => each(inner, value, visit),
            (Kind::ListOf(inner), Value::List(elements)) => {
                for element in elements {
                    each(inner, element, visit);
                }
            }
            (Kind::MapOf(inner), Value::Map(elements)) => {
                for element in elements.values_mut() {
                    each(inner, element, visit);
                }
            }
            _ => {}
        }
    }
}

/// Runs the schema's checks on what is known, and finds nulls where there can be none. Core looks
/// for what is not written, not for what is written as `null`.
pub(crate) fn check(attributes: &[Attribute], config: &Value) -> Diagnostics {
    let mut problems = Diagnostics::none();
    walk(
        attributes,
        config,
        &Path::root(),
        &mut |attribute, value, path| {
            if attribute.required && value.is_null() {
                problems.push(missing(path));
            }
            problems.extend(null_elements(attribute, value, path));
            if !matches!(value, Value::Null | Value::Unknown(_)) {
                for check in &attribute.checks {
                    problems.extend(check(value, path));
                }
            }
        },
    );
    problems
}

/// The same with null in place of each empty string: modules pass those on where nothing was set.
pub fn without_empty(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Map(fields) => Value::Map(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), without_empty(value)))
                .collect(),
        ),
        value => value.clone(),
    }
}

fn missing(path: &Path) -> Diagnostic {
    Diagnostic::error(
        "Missing required attribute",
        format!("`{path}` is null, and has to have a value. Write one."),
    )
    .at(path.clone())
}

/// Elements that are null, where the attribute does not skip them. Those of a set have no place of
/// their own.
fn null_elements(attribute: &Attribute, value: &Value, path: &Path) -> Diagnostics {
    let is_set = matches!(attribute.kind, Kind::Plain(Type::Set(_)));
    let nulls: Vec<Path> = match (&attribute.kind, value) {
        _ if attribute.skips_nulls => Vec::new(),
        (Kind::Plain(Type::List(_) | Type::Set(_)) | Kind::ListOf(_), Value::List(values)) => {
            let nulls = values
                .iter()
                .enumerate()
                .filter(|(_, value)| value.is_null());
            nulls
                .map(|(index, _)| match is_set {
                    true => path.clone(),
                    false => path.index(index),
                })
                .collect()
        }
        (Kind::Plain(Type::Map(_)) | Kind::MapOf(_), Value::Map(values)) => {
            let nulls = values.iter().filter(|(_, value)| value.is_null());
            nulls.map(|(key, _)| path.key(key)).collect()
        }
        _ => Vec::new(),
    };
    let refused = |null: Path| {
        Diagnostic::error(
            "Element is null",
            format!("An element of `{path}` has no value. Write one, or leave the element out."),
        )
        .at(null)
    };
    Diagnostics(nulls.into_iter().map(refused).collect())
}

/// What of a value is not known yet; a list counts as one.
pub(super) fn unknowns(value: &Value, at: &Path) -> Vec<Path> {
    match value {
        Value::Map(values) => values
            .iter()
            .flat_map(|(name, value)| unknowns(value, &at.attribute(name)))
            .collect(),
        value if value.is_wholly_known() => Vec::new(),
        _ => vec![at.clone()],
    }
}

/// Where write-only attributes are set.
pub(super) fn write_only_set(attributes: &[Attribute], config: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    walk(
        attributes,
        config,
        &Path::root(),
        &mut |attribute, value, path| {
            if attribute.write_only && *value != Value::Null {
                paths.push(path.clone());
            }
        },
    );
    paths
}

fn walk(
    attributes: &[Attribute],
    object: &Value,
    at: &Path,
    visit: &mut dyn FnMut(&Attribute, &Value, &Path),
) {
    let Value::Map(values) = object else {
        return;
    };
    for attribute in attributes {
        let Some(value) = values.get(attribute.name) else {
            continue;
        };
        let path = at.attribute(attribute.name);
        visit(attribute, value, &path);
        for (inner, element, path) in elements(&attribute.kind, value, &path) {
            walk(inner, element, &path, visit);
        }
    }
}

/// The objects that a nested attribute holds.
fn elements<'a>(
    kind: &'a Kind,
    value: &'a Value,
    path: &Path,
) -> Vec<(&'a [Attribute], &'a Value, Path)> {
    match (kind, value) {
        (Kind::Object(inner), Value::Map(_)) => vec![(inner, value, path.clone())],
        (Kind::ListOf(inner), Value::List(values)) => values
            .iter()
            .enumerate()
            .map(|(index, value)| (inner.as_slice(), value, path.index(index)))
            .collect(),
        (Kind::MapOf(inner), Value::Map(values)) => values
            .iter()
            .map(|(key, value)| (inner.as_slice(), value, path.key(key)))
            .collect(),
        _ => Vec::new(),
    }
}

/// What stands at the same place in another value: the same object, index or key.
fn beside<'a>(other: &'a Value, last: &Step) -> Option<&'a Value> {
    match (other, last) {
        (Value::List(values), Step::Index(index)) => values.get(usize::try_from(*index).ok()?),
        (Value::Map(values), Step::Key(key)) => values.get(key),
        (Value::Map(_), Step::Attribute(_)) => Some(other),
        _ => None,
    }
}

/// Completes core's proposal: defaults where the configuration says nothing (core put the prior
/// value there), and unknown where an object is new and the provider fills the attribute in.
pub(super) fn complete_proposal(
    attributes: &[Attribute],
    config: &Value,
    prior: Option<&Value>,
    proposed: &mut Value,
) {
    let (Value::Map(config), Value::Map(proposed)) = (config, proposed) else {
        return;
    };
    let prior = match prior {
        Some(Value::Map(prior)) => Some(prior),
        _ => None,
    };
    for attribute in attributes {
        let (Some(config), Some(proposed)) =
            (config.get(attribute.name), proposed.get_mut(attribute.name))
        else {
            continue;
        };
        let before = prior.and_then(|prior| prior.get(attribute.name));
        match (config, &attribute.default) {
            (Value::Null, Some(default)) => {
                *proposed = default.clone();
                // Computed attributes inside a default object.
                let written = default.clone();
                complete_nested(attribute, &written, before, proposed);
            }
            (Value::Null, None) if attribute.computed => {
                if proposed.is_null() {
                    // Core puts the prior value there itself, but not inside an object that is a
                    // default.
                    *proposed = match prior {
                        Some(_) => before.cloned().unwrap_or(Value::Null),
                        None => Value::unknown(),
                    };
                }
            }
            _ => complete_nested(attribute, config, before, proposed),
        }
    }
}

fn complete_nested(
    attribute: &Attribute,
    config: &Value,
    prior: Option<&Value>,
    proposed: &mut Value,
) {
    match (&attribute.kind, config, proposed) {
        (Kind::Object(inner), config, proposed) => {
            complete_proposal(inner, config, prior, proposed);
        }
        (Kind::ListOf(inner), Value::List(configs), Value::List(proposed)) => {
            for (index, (config, proposed)) in configs.iter().zip(proposed).enumerate() {
                let before = match prior {
                    Some(Value::List(prior)) => prior.get(index),
                    _ => None,
                };
                complete_proposal(inner, config, before, proposed);
            }
        }
        (Kind::MapOf(inner), Value::Map(configs), Value::Map(proposed)) => {
            for (key, proposed) in proposed {
                let before = match prior {
                    Some(Value::Map(prior)) => prior.get(key),
                    _ => None,
                };
                if let Some(config) = configs.get(key) {
                    complete_proposal(inner, config, before, proposed);
                }
            }
        }
        _ => {}
    }
}

/// Unknowns of the configuration keep what core knows of them.
pub(super) fn restore_unknowns(config: &Value, planned: &mut Value) {
    match (config, planned) {
        (Value::Unknown(_), planned @ Value::Unknown(_)) => *planned = config.clone(),
        (Value::List(config), Value::List(planned)) if config.len() == planned.len() => {
            for (config, planned) in config.iter().zip(planned) {
                restore_unknowns(config, planned);
            }
        }
        (Value::Map(config), Value::Map(planned)) => {
            for (key, planned) in planned {
                if let Some(config) = config.get(key) {
                    restore_unknowns(config, planned);
                }
            }
        }
        _ => {}
    }
}

/// Attributes whose change replaces the resource, and that change.
pub(super) fn replaced(attributes: &[Attribute], prior: &Value, planned: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    replaced_under(attributes, prior, planned, &Path::root(), &mut paths);
    paths
}

fn replaced_under(
    attributes: &[Attribute],
    prior: &Value,
    planned: &Value,
    at: &Path,
    paths: &mut Vec<Path>,
) {
    let (Value::Map(prior), Value::Map(planned)) = (prior, planned) else {
        return;
    };
    for attribute in attributes {
        let (Some(before), Some(after)) = (prior.get(attribute.name), planned.get(attribute.name))
        else {
            continue;
        };
        let path = at.attribute(attribute.name);
        if attribute.requires_replace {
            if before != after {
                paths.push(path);
            }
            continue;
        }
        for (inner, new, path) in elements(&attribute.kind, after, &path) {
            let old = path.0.last().and_then(|step| beside(before, step));
            if let Some(old) = old {
                replaced_under(inner, old, new, &path, paths);
            }
        }
    }
}

/// Attributes where a plan or an answer contradicts the configuration: another value than was
/// written (and than was there before), or a value where none was written and the provider fills
/// none in. Core refuses such a plan in words for our bug reports only.
pub(super) fn contradictions(
    attributes: &[Attribute],
    config: &Value,
    prior: Option<&Value>,
    result: &Value,
) -> Vec<Path> {
    let mut paths = Vec::new();
    contradictions_under(attributes, config, prior, result, &Path::root(), &mut paths);
    paths
}

fn contradictions_under(
    attributes: &[Attribute],
    config: &Value,
    prior: Option<&Value>,
    result: &Value,
    at: &Path,
    paths: &mut Vec<Path>,
) {
    let (Value::Map(config), Value::Map(result)) = (config, result) else {
        return;
    };
    for attribute in attributes.iter().filter(|attribute| !attribute.write_only) {
        let (Some(wanted), Some(found)) = (config.get(attribute.name), result.get(attribute.name))
        else {
            continue;
        };
        let before = match prior {
            Some(Value::Map(prior)) => prior.get(attribute.name),
            _ => None,
        };
        let path = at.attribute(attribute.name);
        let kept = before.is_some_and(|before| before == found && *before != Value::Null);
        let agrees = match (&attribute.kind, wanted) {
            (_, Value::Null) => attribute.computed || *found == Value::Null,
            (_, Value::Unknown(_)) => matches!(found, Value::Unknown(_)) || kept,
            (Kind::Plain(Type::Set(_)), _) => true,
            (Kind::Plain(_), wanted) => wanted == found || kept,
            (_, wanted) => {
                let wanted = elements(&attribute.kind, wanted, &path);
                for (inner, wanted, path) in &wanted {
                    let step = path.0.last();
                    let there = |value| step.and_then(|step| beside(value, step));
                    if let Some(found) = there(found) {
                        let old = before.and_then(there);
                        contradictions_under(inner, wanted, old, found, path, paths);
                    }
                }
                let found = elements(&attribute.kind, found, &path);
                wanted.len() == found.len()
            }
        };
        if !agrees {
            paths.push(path);
        }
    }
}

/// Makes unknowns null; says whether there were any.
pub(super) fn settle(value: &mut Value) -> bool {
    if value.is_wholly_known() {
        return false;
    }
    match value {
        Value::Unknown(_) => *value = Value::Null,
        Value::List(values) => values.iter_mut().for_each(|value| {
            settle(value);
        }),
        Value::Map(values) => values.values_mut().for_each(|value| {
            settle(value);
        }),
        Value::Dynamic(_, value) => {
            settle(value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::convert::to_value;

    #[test]
    fn a_null_element_is_refused_where_it_is_unless_it_is_skipped() {
        let list = || Attribute::list("of", "Texts.", Type::String).optional();
        let map = || Attribute::map("of", "Texts.", Type::String).optional();
        let set = || Attribute::set("of", "Texts.", Type::String).optional();
        let inner = vec![Attribute::string("a", "Text.").optional()];
        let some = serde_json::json!(["a", null]);
        for (attribute, value, paths) in [
            (list(), some.clone(), vec!["of[1]"]),
            (list().skips_nulls(), some.clone(), vec![]),
            (set(), some, vec!["of"]),
            (
                map(),
                serde_json::json!({"x": null, "y": "b"}),
                vec!["of[\"x\"]"],
            ),
            (
                Attribute::list_of("of", "Objects.", inner),
                serde_json::json!([null, {"a": null}]),
                vec!["of[0]"],
            ),
        ] {
            let config = to_value(&serde_json::json!({"of": value}));
            let problems = check(&[attribute], &config).0.into_iter();
            let found: Vec<String> = problems
                .map(|problem| problem.path.unwrap_or_default().to_string())
                .collect();
            assert_eq!(found, paths);
        }
    }
}
