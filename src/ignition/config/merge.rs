//! Ignition's merge: the child's word counts where it says something, lists are joined by key.
//!
//! Source: Ignition 2.26.0 (facts, section 14.2).

use std::collections::{HashMap, HashSet};

use crate::ignition::config::{Field, FieldSource, Object, Path, Source, Value};

/// Marks everything in a config with the document that it comes from, so that a problem can be
/// blamed on that document after merging.
pub(crate) fn stamp(object: &mut Object, document: usize, path: &Path) {
    if object.source.is_none() {
        object.source = Some(Box::new(Source {
            document,
            path: path.clone(),
            whole: false,
        }));
    }
    for (field, value) in object.entries_mut() {
        match value {
            Value::Object(object) => stamp(object, document, &path.clone().name(field.name)),
            Value::Objects(objects) => {
                let path = path.clone().name(field.name);
                for (index, object) in objects.iter_mut().enumerate() {
                    stamp(object, document, &path.clone().index(index));
                }
            }
            _ => {}
        }
    }
}

/// The parent with the child merged over it.
pub(crate) fn objects(mut parent: Object, mut child: Object) -> Object {
    if parent.is_empty() {
        return child;
    }
    if child.is_empty() {
        return parent;
    }
    let mut merged = Object::new(parent.shape);
    let taken_elsewhere = shared_keys(&child);
    for field in parent.shape.fields {
        let (theirs, ours) = (parent.take(field.name), child.take(field.name));
        let from_parent = matches!(ours, Value::Unset) && !theirs.is_empty();
        let shared = taken_elsewhere.get(field.name);
        merged.set(field.name, value(field, theirs, ours, shared));
        if from_parent {
            keep_source(&mut merged, &parent, field);
        } else {
            let own = child.field_sources.iter().filter(|s| s.field == field.name);
            merged.field_sources.extend(own.cloned());
        }
    }
    merged.source = child.source.or(parent.source);
    merged
}

/// A field that only the parent sets stays the parent's to blame.
fn keep_source(merged: &mut Object, parent: &Object, field: &'static Field) {
    let own: Vec<FieldSource> = parent
        .field_sources
        .iter()
        .filter(|s| s.field == field.name)
        .cloned()
        .collect();
    if own.is_empty()
        && let Some(source) = &parent.source
    {
        let mut source = (**source).clone();
        if !source.whole {
            source.path = source.path.name(field.name);
        }
        merged.field_sources.push(FieldSource {
            field: field.name,
            index: None,
            source,
        });
    }
    merged.field_sources.extend(own);
}

/// Keys of the child's lists that share a space, by the list that must not keep them: a path that
/// becomes a directory is no file any more.
fn shared_keys(child: &Object) -> HashMap<&'static str, HashSet<String>> {
    let lists: Vec<(&'static str, Vec<String>)> = child
        .entries()
        .filter(|(field, _)| field.shared_keys)
        .map(|(field, value)| (field.name, keys(value)))
        .collect();
    let others = |name: &str| {
        let others = lists.iter().filter(|(other, _)| *other != name);
        others.flat_map(|(_, keys)| keys.iter().cloned()).collect()
    };
    lists
        .iter()
        .map(|(name, _)| (*name, others(name)))
        .collect()
}

fn keys(value: &Value) -> Vec<String> {
    match value {
        Value::Texts(texts) => texts.clone(),
        Value::Objects(objects) => objects.iter().map(Object::key).collect(),
        _ => Vec::new(),
    }
}

fn value(field: &Field, theirs: Value, ours: Value, elsewhere: Option<&HashSet<String>>) -> Value {
    let kept = |key: &str| elsewhere.is_none_or(|elsewhere| !elsewhere.contains(key));
    match (theirs, ours) {
        (Value::Texts(mut theirs), Value::Texts(ours)) if field.unkeyed => {
            theirs.extend(ours);
            Value::Texts(theirs)
        }
        (Value::Objects(mut theirs), Value::Objects(ours)) if field.unkeyed => {
            theirs.extend(ours);
            Value::Objects(theirs)
        }
        (Value::Texts(theirs), Value::Texts(ours)) => {
            let known: HashSet<String> = theirs.iter().cloned().collect();
            let own: HashSet<&String> = ours.iter().collect();
            // A key of this list and of another one of the child stays in the list that the child's
            // index found last; both at once is an error that validation reports.
            let mut merged: Vec<String> = theirs
                .into_iter()
                .filter(|key| own.contains(key) || kept(key))
                .collect();
            merged.extend(ours.into_iter().filter(|key| !known.contains(key)));
            Value::Texts(merged)
        }
        (Value::Objects(theirs), Value::Objects(ours)) => {
            let own: HashSet<String> = ours.iter().map(Object::key).collect();
            let theirs = theirs.into_iter().filter(|object| {
                let key = object.key();
                own.contains(&key) || kept(&key)
            });
            Value::Objects(lists(theirs.collect(), ours))
        }
        (Value::Texts(theirs), Value::Unset) => {
            Value::Texts(theirs.into_iter().filter(|key| kept(key)).collect())
        }
        (Value::Objects(theirs), Value::Unset) if !field.unkeyed => Value::Objects(
            theirs
                .into_iter()
                .filter(|object| kept(&object.key()))
                .collect(),
        ),
        (Value::Object(theirs), Value::Object(ours)) => Value::Object(objects(theirs, ours)),
        (theirs, Value::Unset) => theirs,
        (_, ours) => ours,
    }
}

/// Lists of objects, joined by key: the parent's order, then what only the child has.
pub(crate) fn lists(theirs: Vec<Object>, mut ours: Vec<Object>) -> Vec<Object> {
    // The last one of a key counts.
    let index: HashMap<String, usize> = ours
        .iter()
        .enumerate()
        .map(|(index, object)| (object.key(), index))
        .collect();
    let known: HashSet<String> = theirs.iter().map(Object::key).collect();
    let mut merged = Vec::with_capacity(theirs.len() + ours.len());
    for parent in theirs {
        let Some(child) = index.get(&parent.key()).map(|index| &ours[*index]) else {
            merged.push(parent);
            continue;
        };
        // A header without a value takes the parent's away.
        if child.shape.name == "HTTPHeader" && !child.is_set("value") {
            continue;
        }
        merged.push(objects(parent, child.clone()));
    }
    ours.retain(|object| !known.contains(&object.key()));
    merged.extend(ours);
    merged
}
