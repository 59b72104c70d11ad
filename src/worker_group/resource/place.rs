//! A stored group on its cloud: connecting, looking, and what a look makes of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::protocol::value::Value;
use crate::provider::{Attr, Context, Diagnostic, Diagnostics, Stored};
use crate::worker_group::apply;
use crate::worker_group::cloud::{Cloud, Connect, Entry, Machine, Mark, Phase};
use crate::worker_group::generation::Generation;
use crate::worker_group::model::{Group, Note, Private, Whole};
use crate::worker_group::plan::{self, Action, Changes};
use crate::worker_group::roll::{Calls, Known, Observed, Problem, Recorded, observe};
use crate::worker_group::wanted::Wanted;

use super::{WorkerGroup, bug, diagnostic};

/// A group's cloud, connected, and the group's identity there.
pub(super) struct Place {
    pub(super) entry: &'static Entry,
    pub(super) cloud: Box<dyn Cloud>,
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The shape that is wanted; null after an import.
    shape: Value,
}

impl WorkerGroup {
    /// Connects to where a stored or planned group is, before an operation has to end.
    pub(super) async fn place(
        &self,
        context: &Context,
        model: &Group,
        deadline: Instant,
    ) -> Result<Place, Diagnostics> {
        let fields = &model.fields;
        let known = |value: &Attr<String>| value.known().cloned();
        let identity = (
            known(&fields.cloud),
            known(&fields.cluster),
            known(&fields.name),
            known(&fields.uid),
        );
        let (Some(cloud), Some(cluster), Some(name), Some(uid)) = identity else {
            return Err(bug("the state does not say which group it is").into());
        };
        let Some(entry) = self.entry(&cloud) else {
            return Err(self.unknown_cloud(&cloud).into());
        };
        let shape = model.shape(entry).clone();
        let connect = Connect {
            context: &context.until(deadline),
            shape: &shape,
            scope: fields.scope.known().map(String::as_str),
        };
        let cloud = within(context, deadline, (entry.connect)(connect)).await?;
        Ok(Place {
            entry,
            cloud,
            cluster,
            name,
            uid,
            shape,
        })
    }

    pub(super) fn entry(&self, name: &str) -> Option<&'static Entry> {
        self.clouds.iter().find(|entry| entry.name == name).copied()
    }

    pub(super) fn unknown_cloud(&self, name: &str) -> Diagnostic {
        let known: Vec<&str> = self.clouds.iter().map(|entry| entry.name).collect();
        Diagnostic::error(
            "Cloud is not known to this provider",
            format!(
                "The group is on {name:?}; this build of the provider has {}. Use a build that has it.",
                known.join(", ")
            ),
        )
    }
}

/// An answer before an interrupt, and before the operation has to end.
///
/// # Errors
/// Those of `work`, or that there was no answer.
pub(super) async fn within<T>(
    context: &Context,
    deadline: Instant,
    work: impl Future<Output = Result<T, Diagnostics>>,
) -> Result<T, Diagnostics> {
    tokio::select! {
        biased;
        result = work => result,
        () = context.cancel.cancelled() => Err(Diagnostic::error(
            "Interrupted",
            "The operation was asked to stop before it had touched anything.",
        )
        .into()),
        () = tokio::time::sleep_until(deadline) => Err(Diagnostic::error(
            "Cloud does not answer",
            "There was no answer in the time that timeouts allows; nothing was touched. Try again later.",
        )
        .into()),
    }
}

impl Place {
    /// Calls to this cloud until then.
    pub(super) fn calls<'a>(&'a self, context: &'a Context, deadline: Instant) -> Calls<'a> {
        Calls {
            cloud: self.cloud.as_ref(),
            cancel: &context.cancel,
            deadline,
        }
    }

    /// The mark of machines whose group is known to be in a state.
    pub(super) fn mark(&self, generation: String) -> Mark {
        Mark {
            cluster: self.cluster.clone(),
            group: self.name.clone(),
            uid: self.uid.clone(),
            generation,
            unsaved: false,
        }
    }

    /// Looks for the group's machines, and for those that state knows.
    pub(super) async fn observe(
        &self,
        calls: Calls<'_>,
        model: &Group,
        private: &Private,
        now: SystemTime,
    ) -> Result<Observed, Diagnostics> {
        let machines = model.fields.machines.known();
        let recorded: Vec<Recorded> = machines
            .into_iter()
            .flatten()
            .map(|(name, machine)| Recorded {
                name: name.clone(),
                id: machine.id.clone(),
                created: private.machines.get(name).and_then(Note::created_at),
                generation: machine.generation.clone(),
            })
            .collect();
        let identity = (self.cluster.as_str(), self.name.as_str(), self.uid.as_str());
        observe(calls, identity, &recorded, now)
            .await
            .map_err(|error| {
                let problem = Problem::of("Could not read the group's machines", &error);
                diagnostic(&problem).into()
            })
    }

    /// What only the cloud knows, asked before anything is touched.
    pub(super) async fn preflight(
        &self,
        context: &Context,
        deadline: Instant,
        wanted: &Wanted,
        changes: &Changes,
    ) -> Diagnostics {
        let new = changes.names(Action::Create).count();
        if new == 0 && changes.names(Action::Update).next().is_none() {
            return Diagnostics::none();
        }
        let calls = self.calls(context, deadline);
        let question = || self.cloud.preflight(&wanted.image, &wanted.shape, new);
        let asked = calls.ask("Preflight", "the group", question).await;
        asked.unwrap_or_else(|error| {
            Diagnostic::error(
                "Could not check before the apply",
                format!(
                    "{error}. No machine has been touched. Apply again when the cloud answers."
                ),
            )
            .into()
        })
    }
}

/// That the uid is in a state is proof that a state was saved. A refusal is ignored: the next refresh tries again. Machines that are on their
/// way, or broken, take no marks on some clouds.
pub(super) async fn saved_is_saved(calls: &Calls<'_>, mark: &Mark, observed: &Observed) {
    let unsaved: Vec<Machine> = observed
        .ours
        .iter()
        .filter(|machine| machine.mark.unsaved)
        .filter(|machine| matches!(machine.phase, Phase::Running | Phase::Stopped))
        .cloned()
        .collect();
    let _ = apply::remark(calls, mark, &unsaved, &Value::Null).await;
}

/// Twins that are not on their way out already.
fn staying(twins: &[Machine]) -> impl Iterator<Item = &Machine> {
    twins
        .iter()
        .filter(|machine| machine.phase != Phase::Deleting)
}

/// Deletes what was made twice under one name, or is of no use.
pub(super) async fn without_twins(calls: &Calls<'_>, twins: &[Machine]) -> Diagnostics {
    let mut problems = Diagnostics::none();
    for machine in staying(twins) {
        if let Err(error) = calls.delete(machine).await {
            let problem = Problem::of("Could not delete a machine left over", &error);
            problems.push(diagnostic(&problem));
        }
    }
    problems
}

/// What these machines are called by the cloud.
pub(super) fn ids(machines: &[Machine]) -> BTreeSet<String> {
    machines.iter().map(|machine| machine.id.clone()).collect()
}

/// What a refresh says of machines that were made twice under one name.
pub(super) fn doubled(observed: &Observed) -> Diagnostics {
    let names: Vec<String> = staying(&observed.twins)
        .map(|machine| format!("{} ({})", machine.name, machine.id))
        .collect();
    if names.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::warning(
        "Machines were made twice",
        format!(
            "The answer to a create was lost, and it was carried out twice: {}. The next apply that changes machines deletes these.",
            names.join(", ")
        ),
    )
    .into()
}

/// The machines that exist, those included that the cloud does not show yet, with the Nodes that state knows.
pub(super) fn existing(observed: &Observed, model: &Group, mark: &Mark) -> Vec<Known> {
    let recorded = model.fields.machines.known();
    let recorded = |name: &str| recorded.and_then(|machines| machines.get(name));
    let shown = observed.ours.iter().map(|machine| Known {
        node: recorded(&machine.name).map_or(String::new(), |recorded| recorded.node_name.clone()),
        machine: machine.clone(),
    });
    let hidden = observed
        .hidden
        .iter()
        .filter_map(|name| Some(apply::hidden(name, recorded(name)?, mark)));
    shown.chain(hidden).collect()
}

/// The state after a look.
pub(super) fn refreshed(
    state: Stored<Group>,
    mut private: Private,
    place: &Place,
    observed: Observed,
    now: SystemTime,
) -> Stored<Group> {
    let Stored { mut model, .. } = state;
    let before = model.fields.machines.known().cloned().unwrap_or_default();
    let wanted = model.wanted(place.entry, &private);
    let timeout = wanted.as_ref().map(|wanted| wanted.pace.machine_timeout);
    let looks = apply::looks(place.cloud.as_ref(), &place.shape);
    let current = model.fields.generation.known();
    let current = current.map(|text| Generation::parse(text));
    let mut machines = BTreeMap::new();
    let mut notes: BTreeMap<String, Note> = BTreeMap::new();
    for known in existing(&observed, &model, &place.mark(String::new())) {
        let machine = &known.machine;
        let name = machine.name.clone();
        let of_this_shape = current
            .as_ref()
            .is_some_and(|current| Generation::parse(&machine.mark.generation).same_shape(current));
        let recorded = before.get(&name);
        let mut drift = match of_this_shape && !observed.hidden.contains(&name) {
            true => apply::drift(
                machine,
                &looks,
                place.entry.in_place,
                recorded.map(|recorded| recorded.image.as_str()),
            ),
            false => Vec::new(),
        };
        drift.extend(
            observed
                .unmarked
                .get(&name)
                .map(|_| apply::MARKS.to_owned()),
        );
        let mut note = apply::note(machine, drift, timeout.unwrap_or_default(), now);
        let mut state = apply::state_of(&known);
        if let Some(recorded) = recorded {
            let earlier = private.machines.get(&name);
            note.created = note.created.or(earlier.and_then(|note| note.created));
            // What it was made from stays on record: another image is drift, until it is replaced.
            recorded.image.clone_into(&mut state.image);
            if observed.hidden.contains(&name) {
                state = recorded.clone();
            }
        }
        notes.insert(name.clone(), note);
        machines.insert(name, state);
    }
    let names = machines.keys().map(String::as_str);
    private.next_ordinal = plan::next_ordinal(private.next_ordinal, names);
    private.gone.extend(observed.gone);
    private.gone.sort();
    private.gone.dedup();
    private.machines = notes;
    model.fields.machines = Whole::Known(machines);
    super::stored(model, &private)
}
