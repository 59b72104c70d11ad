//! Who holds which of a state's `slots`, now and after changes.
//!
//! In: `replicas`, the slots before, machines, and what replaces what. Out: the slots after, as far
//! as they are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::{Attr, Value};
use crate::worker_group::model::{Fields, Machine, Whole};
use crate::worker_group::plan::{Action, Changes};
use crate::worker_group::slots::{self, Slots};

/// The slots of these machines, after changes in which one replaced another. One that is being
/// deleted holds none.
pub(super) fn slots_of(
    fields: &Fields,
    prior: Option<&Fields>,
    machines: &BTreeMap<String, Machine>,
    changes: &Changes,
) -> Slots {
    let names = machines
        .iter()
        .filter(|(_, machine)| !is_leaving(machine))
        .map(|(name, _)| name.as_str());
    slots_of_names(fields, prior, names, changes)
}

/// The same once these changes have been made.
pub(super) fn slots_after(fields: &Fields, prior: &Fields, changes: &Changes) -> Slots {
    let leave: BTreeSet<&str> = changes.names(Action::Delete).collect();
    let machines = prior.machines.known().into_iter().flatten();
    let stay = machines
        .filter(|(name, machine)| !leave.contains(name.as_str()) && !is_leaving(machine))
        .map(|(name, _)| name.as_str());
    let names = stay.chain(changes.names(Action::Create));
    slots_of_names(fields, Some(prior), names, changes)
}

/// Whether a machine holds no slot any more, for it is being deleted.
pub(super) fn is_leaving(machine: &Machine) -> bool {
    machine.phase == "deleting"
}

fn slots_of_names<'a>(
    fields: &Fields,
    prior: Option<&Fields>,
    names: impl Iterator<Item = &'a str>,
    changes: &Changes,
) -> Slots {
    let none = Slots::new();
    let before = prior.and_then(|prior| prior.slots.known());
    let successors: BTreeMap<&str, &str> = changes
        .list
        .iter()
        .filter_map(|change| Some((change.machine.as_str(), change.replaces.as_deref()?)))
        .collect();
    slots::after(
        before.unwrap_or(&none),
        names,
        &successors,
        replicas(fields),
    )
}

/// `replicas` of a state or plan.
pub(super) fn replicas(fields: &Fields) -> usize {
    let replicas = fields.replicas.known().copied().unwrap_or_default();
    usize::try_from(replicas).unwrap_or_default()
}

/// `slots` of a group that is not made yet, or of which an input is unknown: who holds which is not
/// known, and which there are follows from `replicas`, but where machines go and it is open which.
pub(super) fn open_slots(fields: &Fields, prior: Option<&Fields>) -> Whole<Slots> {
    let Attr::Known(_) = fields.replicas else {
        return Whole::Unknown;
    };
    let wanted = replicas(fields);
    let Some(before) = prior.map(|prior| prior.slots.known()) else {
        return unknown(slots::first(wanted));
    };
    match before {
        Some(before) if before.len() <= wanted => {
            let names = before.values().flatten().map(String::as_str);
            unknown(slots::after(before, names, &BTreeMap::new(), wanted).into_keys())
        }
        _ => Whole::Unknown,
    }
}

fn unknown(keys: impl Iterator<Item = String>) -> Whole<Slots> {
    Whole::of(Value::Map(
        keys.map(|key| (key, Value::unknown())).collect(),
    ))
}
