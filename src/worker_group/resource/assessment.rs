//! From state, or from a look at the cloud, to what changes; and from what an apply did back to
//! state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crate::provider::{Attr, Stored};
use crate::worker_group::apply::{self, Assessment, Before, Performed};
use crate::worker_group::basis;
use crate::worker_group::compare::{self, Compared};
use crate::worker_group::generation::Generation;
use crate::worker_group::model::{Group, Note, Private, Step, Whole};
use crate::worker_group::plan::{self, Action, Changes, Member};
use crate::worker_group::roll::{Known, Observed};
use crate::worker_group::wanted::Wanted;

use super::connected::ConnectedGroup;
use super::drift::Expected;
use super::slots::slots_of;
use super::stored;

/// What changes, from the point of view of a plan.
pub(super) fn assessment_of_state(wanted: &Wanted, prior: &Group, private: &Private) -> Assessment {
    let none = Note::default();
    let machines = prior.fields.machines.known().cloned().unwrap_or_default();
    let recorded = machines.iter().map(|(name, machine)| {
        let note = private.machines.get(name).unwrap_or(&none);
        apply::recorded_member(name, machine, note, wanted)
    });
    let gone = private
        .gone
        .iter()
        .filter(|name| !machines.contains_key(*name));
    let members: Vec<Member> = recorded
        .chain(gone.map(|name| apply::gone_member(name)))
        .collect();
    let uid = prior.fields.uid.known().cloned().unwrap_or_default();
    apply::assessment(
        wanted,
        &before(prior, private, wanted),
        &uid,
        &members,
        None,
    )
}

/// What changes, from the point of view of an apply that has looked: nothing is deleted that the
/// plan did not name.
pub(super) fn assessment_of_cloud(
    wanted: &Wanted,
    prior: &Group,
    private: &Private,
    place: &ConnectedGroup,
    (existing, observed): (&[Known], &Observed),
    rollout: &[Step],
) -> Assessment {
    let planned = rollout
        .iter()
        .filter(|step| step.action == Action::Delete.word());
    let deletable: BTreeSet<String> = planned.map(|step| step.machine.clone()).collect();
    let expected = Expected::of(
        (place.cloud.as_ref(), place.entry),
        prior.shape(place.entry),
        &prior.fields,
        private,
        observed,
    );
    let machines = prior.fields.machines.known();
    let members = existing.iter().map(|known| {
        let machine = &known.machine;
        let recorded = machines.and_then(|machines| machines.get(&machine.name));
        let Compared { mut drift, has } = expected.compared(machine, recorded);
        let noted = private.machines.get(&machine.name);
        // Of Nodes a refresh tells.
        let on_node = noted.into_iter().flat_map(|note| &note.drift);
        drift.extend(
            on_node
                .filter(|field| field.starts_with(apply::ON_NODES))
                .cloned(),
        );
        let note = Note {
            drift,
            overdue: noted.is_some_and(|note| note.overdue),
            places: match observed.hidden.contains(&machine.name) {
                true => noted.map(|note| note.places.clone()).unwrap_or_default(),
                false => compare::places(machine, place.entry),
            },
            in_place: compare::hashes(&has),
            message: compare::message(machine),
            ..Note::default()
        };
        apply::recorded_member(&machine.name, &apply::state_of(known), &note, wanted)
    });
    let gone = observed.gone.iter().chain(&private.gone);
    let gone = gone.map(|name| apply::gone_member(name));
    let members: Vec<Member> = members.chain(gone).collect();
    let before = before(prior, private, wanted);
    apply::assessment(wanted, &before, &place.uid, &members, Some(&deletable))
}

fn before<'a>(prior: &Group, private: &'a Private, wanted: &Wanted) -> Before<'a> {
    let entry = wanted.entry;
    let was = prior.wanted(entry, private);
    let generation = match &prior.fields.generation {
        Attr::Known(text) => Some(Generation::parse(text)),
        // An import that found no machine which shows it.
        Attr::Null => was.as_ref().map(basis::of_no_machine),
        Attr::Unknown => None,
    };
    Before {
        wanted: was,
        generation,
        private,
    }
}

/// A machine as it is, without a state to compare it with.
pub(super) fn live_member(known: &Known, wanted: &Wanted) -> Member {
    let machine = apply::state_of(known);
    apply::recorded_member(&known.machine.name, &machine, &Note::default(), wanted)
}

/// Machines that are gone, without those in whose place there is another now; none after an apply
/// without a problem.
pub(super) fn still_missing(
    gone: &[String],
    changes: &Changes,
    performed: &Performed,
) -> Vec<String> {
    if performed.problems.is_empty() {
        return Vec::new();
    }
    let exist: BTreeSet<&str> = performed
        .machines
        .iter()
        .map(|known| known.machine.name.as_str())
        .collect();
    let made = changes.list.iter();
    let made = made.filter(|change| exist.contains(change.machine.as_str()));
    let replaced: BTreeSet<&str> = made
        .filter_map(|change| change.replaces.as_deref())
        .collect();
    let missing = gone.iter().filter(|name| !replaced.contains(name.as_str()));
    missing.cloned().collect()
}

/// The state after an apply of what state had before.
pub(super) fn recorded(
    mut model: Group,
    private: Private,
    place: &ConnectedGroup,
    (before, performed): (Option<&Group>, Performed),
    changes: &Changes,
) -> Stored<Group> {
    let now = SystemTime::now();
    let updated: BTreeSet<&str> = changes.names(Action::Update).collect();
    let entry = place.entry;
    let notes = performed.machines.iter().map(|known| {
        let name = known.machine.name.as_str();
        let earlier = private.machines.get(name);
        let mut drift = earlier.map(|note| note.drift.clone()).unwrap_or_default();
        if performed.not_updated.contains(name) {
            drift.extend(entry.in_place().map(str::to_owned));
            drift.sort();
            drift.dedup();
        } else if updated.contains(name) {
            drift.retain(|field| !apply::is_mended_in_place(field, entry));
        }
        let mut note = apply::note(&known.machine, entry, drift, std::time::Duration::MAX, now);
        if note.places.is_empty() {
            note.places = earlier.map(|note| note.places.clone()).unwrap_or_default();
        }
        note.in_place = match updated.contains(name) {
            true => BTreeMap::new(),
            false => earlier
                .map(|note| note.in_place.clone())
                .unwrap_or_default(),
        };
        note.created = note.created.or(earlier.and_then(|note| note.created));
        (name.to_owned(), note)
    });
    let private = Private {
        machines: notes.collect(),
        next_ordinal: plan::next_ordinal(private.next_ordinal, []).max(performed.next_ordinal),
        ..private
    };
    let before_fields = before.map(|before| &before.fields);
    let before = before_fields.and_then(|before| before.machines.known());
    let machines = performed.machines.iter().map(|known| {
        let name = known.machine.name.clone();
        let mut machine = apply::state_of(known);
        // Another image is drift, until it is replaced.
        let earlier = before.and_then(|machines| machines.get(&name));
        if let Some(earlier) = earlier.filter(|earlier| earlier.id == machine.id) {
            earlier.image.clone_into(&mut machine.image);
        }
        (name, machine)
    });
    let machines = machines.collect();
    let slots = slots_of(&model.fields, before_fields, &machines, changes);
    model.fields.slots = Whole::Known(slots);
    model.fields.machines = Whole::Known(machines);
    stored(model, &private)
}
