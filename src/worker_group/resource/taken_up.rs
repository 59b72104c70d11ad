//! A stored state that a core takes up again: of an earlier form, or with what only the last apply
//! was about. Pure.

use crate::provider::schema::object_type;
use crate::provider::{Diagnostic, Diagnostics, Model as _, Value};
use crate::worker_group::cloud::Entry;
use crate::worker_group::model::{Group, Whole, schema};
use crate::worker_group::plan::Changes;

use super::slots::slots_of;

/// Without the steps of the last apply, with slots. What is none of ours stays as it is.
pub(super) fn taken_up(state: Value) -> Value {
    let Ok(mut group) = Group::from_value(&state) else {
        return state;
    };
    // What the last apply did is no part of what the next plan starts from: else a plan would hide
    // the steps that it repeats.
    group.fields.rollout = Whole::Known(Vec::new());
    if let (Whole::Null, Some(machines)) = (&group.fields.slots, group.fields.machines.known()) {
        let slots = slots_of(&group.fields, None, machines, &Changes::default());
        group.fields.slots = Whole::Known(slots);
    }
    group.to_value()
}

/// A state of version 0: its steps, each an object then, were of an apply that is over.
pub(super) fn lifted(
    clouds: &'static [&'static Entry],
    mut state: serde_json::Value,
) -> Result<Group, Diagnostics> {
    if let Some(rollout) = state.get_mut("rollout") {
        *rollout = serde_json::Value::Array(Vec::new());
    }
    let kind = object_type(&schema(clouds).attributes);
    let state = Value::from_json(state.to_string().as_bytes(), &kind).map_err(|error| {
        Diagnostic::error(
            "Could not read the stored state",
            format!("{error}. Restore the state from a backup, or remove the group from it and import it."),
        )
    })?;
    Group::from_value(&state)
}
