//! Where a user wrote what is at some place in a config. Translation and merging note where things
//! come from; this file follows the notes, and finds line and column.

use crate::ignition::config::{Object, Path, Source, Step, Value};
use crate::text::yaml::{NodeId, Nodes};

/// Line and column of the deepest node that exists on the path; of the unknown key, if one ends it.
pub(crate) fn position(
    nodes: &Nodes,
    path: &Path,
    unknown_key: Option<&str>,
) -> Option<(u64, u64)> {
    let mut node = nodes.root()?;
    let mut whole = true;
    for step in &path.0 {
        match descend(nodes, node, *step) {
            Some(next) => node = next,
            None => {
                whole = false;
                break;
            }
        }
    }
    if let (true, Some(key)) = (whole, unknown_key)
        && let Some((key, _)) = nodes.pair(node, key)
    {
        node = key;
    }
    let node = nodes.get(node);
    Some((node.line, node.column))
}

/// Whether a path of the document leads to a null.
pub(crate) fn is_null_at(nodes: &Nodes, path: &Path) -> bool {
    let step = |node: NodeId, step: &Step| descend(nodes, node, *step);
    nodes
        .root()
        .and_then(|root| path.0.iter().try_fold(root, step))
        .is_some_and(|node| nodes.is_null(node))
}

fn descend(nodes: &Nodes, node: NodeId, step: Step) -> Option<NodeId> {
    match step {
        Step::Name(name) => nodes.child(node, name),
        Step::Index(index) => nodes.element(node, index),
    }
}

/// Where a place of a translated config was written: document and path there. `root` is what the
/// path leads into.
pub(crate) fn written_at(root: &Object, document: usize, path: &Path) -> Source {
    let mut found = Source {
        document,
        path: Path::default(),
        whole: false,
    };
    let mut object = Some(root);
    let mut steps = path.0.iter().peekable();
    while let Some(step) = steps.next() {
        let Step::Name(name) = step else {
            found.path.0.push(*step);
            continue;
        };
        let index = match steps.peek() {
            Some(Step::Index(index)) => Some(*index),
            _ => None,
        };
        let Some(here) = object else {
            push(&mut found, *step);
            continue;
        };
        let exact = |field: &str, at| {
            here.field_sources
                .iter()
                .find(|s| s.field == field && s.index == at)
                .map(|s| s.source.clone())
        };
        match exact(name, None) {
            Some(source) => found = source,
            None => push(&mut found, *step),
        }
        let value = here
            .entries()
            .find(|(field, _)| field.name == *name)
            .map(|(_, value)| value);
        object = match (value, index) {
            (Some(Value::Object(next)), _) => Some(next),
            (Some(Value::Objects(list)), Some(index)) => {
                steps.next();
                push(&mut found, Step::Index(index));
                list.get(index)
            }
            (_, Some(index)) => {
                steps.next();
                match exact(name, Some(index)) {
                    Some(source) => found = source,
                    None => push(&mut found, Step::Index(index)),
                }
                None
            }
            _ => None,
        };
        if let Some(source) = object.and_then(|o| o.source.as_deref()) {
            found = source.clone();
        }
    }
    found
}

fn push(source: &mut Source, step: Step) {
    if !source.whole {
        source.path.0.push(step);
    }
}

/// As [`written_at`], with the reference's gap, for the report of one document: the reference does
/// not follow a field that is not set, and blames its place in the list with the generated units.
pub(crate) fn written_in_reference(root: &Object, document: usize, path: &Path) -> Source {
    let in_units = path
        .0
        .starts_with(&[Step::Name("systemd"), Step::Name("units")]);
    match in_units && !is_set(root, &path.0) {
        false => written_at(root, document, path),
        true => Source {
            document,
            path: path.clone(),
            whole: false,
        },
    }
}

fn is_set(object: &Object, path: &[Step]) -> bool {
    let (Some(Step::Name(name)), below) = (path.first(), path.get(1..).unwrap_or_default()) else {
        return true;
    };
    let found = object.entries().find(|(field, _)| field.name == *name);
    match (found, below.first()) {
        (Some((_, Value::Objects(list))), Some(Step::Index(index))) => list
            .get(*index)
            .is_none_or(|object| is_set(object, &below[1..])),
        (Some((_, Value::Object(object))), Some(_)) => is_set(object, below),
        // A name that is "" is none.
        (Some((field, Value::Text(text))), _) if field.always => !text.is_empty(),
        (Some((_, value)), _) => !value.is_empty(),
        (None, _) => false,
    }
}
