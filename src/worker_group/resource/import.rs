//! Import: which group is meant, and the state that its machines show.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::schema::{Kind, null_object};
use crate::provider::{Attr, Attribute, Diagnostic, Diagnostics, Model as _, Stored, Value};
use crate::worker_group::apply;
use crate::worker_group::cloud::{Change, Entry, Machine};
use crate::worker_group::model::{
    Fields, Group, Note, Private, Whole, observed_value, schema, wrong_names,
};
use crate::worker_group::plan::{Changes, next_ordinal, ordinal};
use crate::worker_group::proof::{Secret, is_name_of};
use crate::worker_group::roll::{Known, take_twins};

use super::report::{STRANGERS, names_and_ids};
use super::slots::slots_of;
use super::{WorkerGroup, stored};

/// `[cloud, scope, cluster, name]` and the uid, if given.
pub(super) type Asked = ([String; 4], Option<String>);

/// Which group an import asks for: `aws/123456789012/eu-central-1/prod/workers`, or an identity. No
/// cloud is asked for names that no group can have: some take them for patterns.
pub(super) fn import_id(id: &str, identity: &Value) -> Result<Asked, Diagnostic> {
    let asked = asked_for(id, identity)?;
    let ([_, _, cluster, name], uid) = &asked;
    let wrong_uid = uid.as_ref().filter(|uid| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        uid.len() > 16 || !uid.bytes().all(is_letter)
    });
    let wrong = wrong_names(cluster, name).or(wrong_uid
        .map(|uid| format!("The uid {uid:?} is none. At most 16 lower-case letters and digits.")));
    match wrong {
        Some(wrong) => Err(Diagnostic::error("Import id has the wrong form", wrong)),
        None => Ok(asked),
    }
}

fn asked_for(id: &str, identity: &Value) -> Result<Asked, Diagnostic> {
    if let Value::Map(identity) = identity {
        let text = |key: &str| match identity.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let parts = (text("cloud"), text("scope"), text("cluster"), text("name"));
        if let (Some(cloud), Some(scope), Some(cluster), Some(name)) = parts {
            return Ok(([cloud, scope, cluster, name], text("uid")));
        }
    }
    let parts: Vec<&str> = id.split('/').collect();
    // The scope may hold slashes itself.
    match parts.as_slice() {
        [cloud, scope @ .., cluster, name]
            if !scope.is_empty() && parts.iter().all(|part| !part.is_empty()) =>
        {
            let parts = [*cloud, &scope.join("/"), *cluster, *name];
            Ok((parts.map(str::to_owned), None))
        }
        _ => Err(Diagnostic::error(
            "Import id has the wrong form",
            "A group is imported as <cloud>/<scope>/<cluster>/<name>, such as aws/123456789012/eu-central-1/prod/workers, or by its \
             identity.",
        )),
    }
}

/// The one group among machines of a (cluster, name).
pub(super) fn one_uid(
    machines: &[Machine],
    asked: Option<String>,
    cluster: &str,
    name: &str,
) -> Result<String, Diagnostic> {
    let uids: BTreeSet<&str> = machines
        .iter()
        .map(|machine| machine.mark.uid.as_str())
        .collect();
    if let Some(uid) = asked {
        // A group of no machines exists; beside machines of another uid it is a slip of the pen.
        return match uids.is_empty() || uids.contains(uid.as_str()) {
            true => Ok(uid),
            false => {
                let exist: Vec<&str> = uids.into_iter().take(10).collect();
                Err(Diagnostic::error(
                    "Group of this uid does not exist",
                    format!(
                        "Machines of group {name:?} of cluster {cluster:?} exist, and none has the uid {uid:?}; they have {}. Import by \
                         identity, with one of these.",
                        exist.join(", ")
                    ),
                ))
            }
        };
    }
    let mut uids = uids.into_iter();
    match (uids.next(), uids.next()) {
        (Some(uid), None) => Ok(uid.to_owned()),
        (None, _) => Err(Diagnostic::error(
            "Group does not exist",
            format!(
                "No machine carries the mark of group {name:?} of cluster {cluster:?}. Check the id; a group of no machines is imported by its identity, with uid."
            ),
        )),
        (Some(first), Some(second)) => Err(Diagnostic::error(
            "More than one group has this name",
            format!(
                "Their uids are {first}, {second}{}. Import by identity, with uid.",
                if uids.next().is_some() {
                    " and more"
                } else {
                    ""
                }
            ),
        )),
    }
}

/// Those that are called as a group's machines are, one a name; and what is said of the others.
pub(super) fn own_machines(
    machines: impl Iterator<Item = Machine>,
    name: &str,
) -> (Vec<Machine>, Diagnostics) {
    let (mut own, mut left): (Vec<_>, Vec<_>) =
        machines.partition(|machine| is_name_of(&machine.name, name));
    left.extend(take_twins(&mut own));
    let problems = match left.is_empty() {
        true => Diagnostics::none(),
        false => Diagnostic::warning(
            "Machines were not imported",
            format!(
                "A group's machines are called <name>-<uid>-<number>, each in another way. These carry its marks, are called otherwise or as \
                 another one is, and are left alone: {}. {STRANGERS}",
                names_and_ids(&left)
            ),
        )
        .into(),
    };
    (own, problems)
}

/// The state of a group of which only the machines are known. What no cloud stores shows in the
/// next plan, as an update that touches no machine.
pub(super) fn imported(
    group: &WorkerGroup,
    entry: &'static Entry,
    [scope, cluster, name, uid]: [String; 4],
    machines: Vec<Machine>,
) -> Result<Stored<Group>, Diagnostics> {
    let newest = machines
        .iter()
        .max_by_key(|machine| ordinal(&machine.name))
        .cloned();
    let known = |machine: Machine| Known {
        machine,
        node: String::new(),
    };
    let machines: Vec<Known> = machines.into_iter().map(known).collect();
    let names = machines.iter().map(|known| known.machine.name.as_str());
    let next_ordinal = next_ordinal(0, names);
    let image = newest.as_ref().map(|machine| machine.image.clone());
    let shape = shape_of(entry, newest.as_ref(), &machines);
    let private = Private {
        next_ordinal,
        first_image: image.clone(),
        machines: machines
            .iter()
            .map(|known| (known.machine.name.clone(), Note::default()))
            .collect(),
        secret: Secret::new(),
        ..Private::default()
    };
    let fields = Fields {
        name: Attr::Known(name),
        cluster: Attr::Known(cluster),
        replicas: Attr::Known(i64::try_from(machines.len()).unwrap_or_default()),
        image: image.into(),
        uid: Attr::Known(uid),
        proof_key: Attr::Known(private.secret.clone()),
        cloud: Attr::Known(entry.name.to_owned()),
        scope: Attr::Known(scope),
        generation: newest.map(|machine| machine.mark.generation).into(),
        machines: Whole::Known(
            machines
                .iter()
                .map(|known| (known.machine.name.clone(), apply::state_of(known)))
                .collect(),
        ),
        rollout: Whole::Known(Vec::new()),
        ..Fields::default()
    };
    let clouds: BTreeMap<String, Value> = group
        .clouds
        .iter()
        .map(|known| {
            let shape = match known.name == entry.name {
                true => shape.clone(),
                false => Value::Null,
            };
            (known.name.to_owned(), shape)
        })
        .collect();
    let mut fields = fields;
    if let Some(machines) = fields.machines.known() {
        let slots = slots_of(&fields, None, machines, &Changes::default());
        fields.slots = Whole::Known(slots);
    }
    let mut value = Group { fields, clouds }.to_value();
    fill(&schema(group.clouds).attributes, &mut value);
    Ok(stored(Group::from_value(&value)?, &private))
}

/// What machines show of the shape that they were made from: the newest, and all of where they are.
/// It is never null: a configuration that a core generates from the state says by it which cloud
/// the group is on.
fn shape_of(entry: &Entry, machine: Option<&Machine>, all: &[Known]) -> Value {
    let Kind::Object(attributes) = (entry.group_schema)().kind else {
        return Value::Null;
    };
    let mut shape = null_object(&attributes);
    let (Some(machine), Value::Map(fields)) = (machine, &mut shape) else {
        return shape;
    };
    for attribute in &attributes {
        let value = match entry.change_of(attribute.name) {
            Some(Change::Place) => {
                let observed = all.iter().map(|known| &known.machine.observed);
                let places = observed.filter_map(|observed| observed.get(attribute.name));
                let places = places.flat_map(|places| places.split(','));
                let places: BTreeSet<&str> = places.filter(|place| !place.is_empty()).collect();
                let joined: Vec<&str> = places.into_iter().collect();
                let observed = [(attribute.name.to_owned(), joined.join(","))];
                observed_value(attribute, &observed.into())
            }
            _ => observed_value(attribute, &machine.observed),
        };
        fields.insert(attribute.name.to_owned(), value);
    }
    shape
}

/// What a configuration that says nothing would say: the next plan then shows only what is really
/// unknown.
fn fill(attributes: &[Attribute], object: &mut Value) {
    let Value::Map(values) = object else {
        return;
    };
    for attribute in attributes {
        let (Some(value), Some(default)) = (values.get_mut(attribute.name), &attribute.default)
        else {
            continue;
        };
        if value.is_null() {
            value.clone_from(default);
        }
        if let Kind::Object(inner) = &attribute.kind {
            fill(inner, value);
        }
    }
}
