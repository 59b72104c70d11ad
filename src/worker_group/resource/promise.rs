//! What a plan promises of `machines` and `slots`, and what becomes of the promise in an apply.
//!
//! A core holds a successful apply to all that its plan knew: the keys of both maps, and each known
//! value. So what an apply has not touched is answered as it was planned, though it may look
//! different by now: the next refresh shows that. Where the machines are others than the plan's,
//! nothing that was made from it is right, and the apply says so in an error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crate::provider::{Attr, Diagnostic, Diagnostics, Model as _, Value};
use crate::worker_group::model::{Fields, Group, Machine, Private, Step, Whole};
use crate::worker_group::plan::{Action, Change, Changes};
use crate::worker_group::wanted::Wanted;

use super::assessment::assessment_of_state;
use super::check::{half_known, nobody_knows};
use super::many::many;
use super::report::{count, first_of, never_there, news_since_the_plan, no_names, paused};
use super::slots::{is_leaving, replicas, slots_after, slots_of};
use super::window::foreseen;

type Machines = BTreeMap<String, Machine>;

/// Writes into `model` what its update does to which machine, and what there is afterwards.
pub(super) fn promised(
    model: &mut Group,
    prior: &Group,
    private: &mut Private,
    wanted: &Wanted,
) -> Diagnostics {
    let assessment = assessment_of_state(wanted, prior, private);
    let mut problems = never_there(wanted, &prior.fields, private);
    model.fields.generation = Attr::Known(assessment.generation.to_string());
    let changes = &assessment.changes;
    let none = Machines::new();
    let machines = prior.fields.machines.known().unwrap_or(&none);
    if changes.list.is_empty() || wanted.paused {
        let slots = slots_of(
            &model.fields,
            Some(&prior.fields),
            machines,
            &Changes::default(),
        );
        model.fields.slots = Whole::Known(slots);
        // Without any change the prior value stays; an update of other things has no step.
        let mut compared = model.clone();
        // What is write-only is in no state.
        compared.fields.user_data_wo = prior.fields.user_data_wo.clone();
        if compared != *prior || prior.fields.rollout.known().is_none() {
            model.fields.rollout = Whole::Known(Vec::new());
        }
    } else {
        let slots = slots_after(&model.fields, &prior.fields, changes);
        model.fields.rollout = Whole::Known(steps(changes));
        model.fields.machines = machines_after(machines, changes);
        model.fields.slots = Whole::Known(slots);
        problems.extend(many(wanted, changes));
    }
    match wanted.paused {
        true if !changes.list.is_empty() => problems.push(paused(changes)),
        true => {}
        false => {
            problems.extend(nobody_knows(&assessment, wanted));
            problems.extend(foreseen(&model.fields, changes, SystemTime::now()));
            if !machines.is_empty() {
                problems.extend(half_known(&assessment));
            }
        }
    }
    if changes.unnamed > 0 {
        problems.push(no_names(changes.unnamed));
    }
    private.history = assessment.history;
    private.shapes = assessment.shapes;
    // What is planned becomes what the configuration last said.
    private.configured.clear();
    problems
}

/// `machines` once this has been done: those that stay are known, of new ones the name.
fn machines_after(prior: &Machines, changes: &Changes) -> Whole<Machines> {
    let leave: BTreeSet<&str> = changes.names(Action::Delete).collect();
    let updated: BTreeSet<&str> = changes.names(Action::Update).collect();
    let started: BTreeSet<&str> = changes.names(Action::Start).collect();
    let stay = prior
        .iter()
        .filter(|(name, machine)| !leave.contains(name.as_str()) && !is_leaving(machine));
    let stay = stay.map(|(name, machine)| {
        let mut value = machine.to_value();
        let unsettled: &[&str] = match (updated.contains(name.as_str()), machine.phase.as_str()) {
            // The apply waits for it, and looks at it.
            (_, "pending") => &["addresses", "node_name", "phase", "zone"],
            _ if started.contains(name.as_str()) => &["addresses", "node_name", "phase"],
            (true, _) => &["addresses"],
            (false, _) => &[],
        };
        if let Value::Map(attributes) = &mut value {
            for name in unsettled {
                attributes.insert((*name).to_owned(), Value::unknown());
            }
        }
        (name.clone(), value)
    });
    let new = changes.names(Action::Create);
    let new = new.map(|name| (name.to_owned(), Value::unknown()));
    Whole::of(Value::Map(stay.chain(new).collect()))
}

/// What an apply of `changes` records and says at its end; `news`: how these differ from the
/// plan's.
pub(super) fn ended(
    (planned, fields): (&Fields, &mut Fields),
    changes: &Changes,
    not_updated: &BTreeSet<String>,
    news: &[String],
    problems: &mut Diagnostics,
) {
    let fell_short = problems.has_errors();
    let others = match fell_short {
        true => None,
        false => fulfil(planned, fields).err(),
    };
    if (fell_short, &others) == (false, &None) {
        problems.extend(news_since_the_plan(news, !changes.refused.is_empty()));
        return;
    }
    // What did not happen is no history.
    let machines = fields.machines.known().cloned().unwrap_or_default();
    fields.rollout = Whole::Known(taken(changes, not_updated, &machines));
    match others {
        Some(others) => problems.push(broken(&others, news, machines.len(), replicas(fields))),
        None => problems.extend(news_since_the_plan(news, true)),
    }
}

/// Steps that have been taken, as `rollout` has them, of those that were to be taken.
fn taken(changes: &Changes, not_updated: &BTreeSet<String>, machines: &Machines) -> Vec<String> {
    let is_taken = |change: &&Change| {
        let exists = machines.contains_key(&change.machine);
        match change.action {
            Action::Create | Action::Start => exists,
            Action::Update => exists && !not_updated.contains(&change.machine),
            Action::Delete => !exists,
        }
    };
    changes.list.iter().filter(is_taken).map(line).collect()
}

/// `rollout` of these changes.
fn steps(changes: &Changes) -> Vec<String> {
    changes.list.iter().map(line).collect()
}

fn line(change: &Change) -> String {
    let step = Step {
        machine: change.machine.clone(),
        action: change.action.word().to_owned(),
        reason: change.reason.clone(),
    };
    step.to_string()
}

/// Puts what was planned in the place of what was seen; or says how the machines are others than
/// the plan's.
///
/// # Errors
/// The machines that there are beyond the plan, and those that it has and are not there.
fn fulfil(planned: &Fields, stored: &mut Fields) -> Result<(), String> {
    let (Some(machines), Some(slots)) = (stored.machines.known(), stored.slots.known()) else {
        return Ok(());
    };
    match (
        planned.machines.filled(machines),
        planned.slots.filled(slots),
    ) {
        (Some(machines), Some(slots)) => {
            stored.machines = Whole::Known(machines);
            stored.slots = Whole::Known(slots);
            Ok(())
        }
        _ => Err(others(planned, machines)),
    }
}

fn others(planned: &Fields, machines: &Machines) -> String {
    let planned = planned.machines.keys();
    let exist: BTreeSet<&str> = machines.keys().map(String::as_str).collect();
    let planned: BTreeSet<&str> = planned.iter().map(String::as_str).collect();
    let list = |names: Vec<&str>, what: &str| match names.len() {
        0 => None,
        some => Some(format!(
            "{} {what}: {}",
            count(some, "machine"),
            first_of(&names)
        )),
    };
    let lost = list(
        planned.difference(&exist).copied().collect(),
        "of the plan not there",
    );
    let more = list(
        exist.difference(&planned).copied().collect(),
        "there and not in the plan",
    );
    let words: Vec<String> = lost.into_iter().chain(more).collect();
    words.join("; ")
}

/// The error for it.
fn broken(others: &str, words: &[String], machines: usize, replicas: usize) -> Diagnostic {
    let happened = match words.is_empty() {
        true => String::new(),
        false => format!("{}. ", words.join("; ")),
    };
    Diagnostic::error(
        "Group has changed since the plan",
        format!(
            "{happened}What is right was done, and is recorded: {} of {replicas}. But the plan knew other machines ({others}), and what \
             else is made from them was planned for those. Plan again, and apply that.",
            count(machines, "machine")
        ),
    )
}
