//! A stored group on its cloud: connecting, looking, and what a look makes of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::kubernetes::{KubeletVersion, Node, Scheduling, Settings, Status};
use crate::protocol::value::Value;
use crate::provider::{Attr, Context, Diagnostic, Diagnostics, Stored};
use crate::worker_group::apply;
use crate::worker_group::cloud::{Cloud, Connect, Entry, Growth, Machine, Mark, Phase};
use crate::worker_group::compare::{self, Compared};
use crate::worker_group::model::{Group, Kubernetes, Note, Private, Whole, as_compared};
use crate::worker_group::plan::{self, Action, Changes, ordinal};
use crate::worker_group::roll::{Calls, Known, Observed, Own, Problem, Recorded, observe};
use crate::worker_group::wanted::Wanted;

use super::drift::Expected;
use super::slots::{replicas, slots_of};
use super::{WorkerGroup, bug, diagnostic};

/// A group's cloud, connected, and the group's identity there.
pub(super) struct ConnectedGroup {
    pub(super) entry: &'static Entry,
    pub(super) cloud: Box<dyn Cloud>,
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Of this process: what it creates is this state's.
    origin: String,
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
    ) -> Result<ConnectedGroup, Diagnostics> {
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
        let cloud = within(context, deadline, entry.open(connect)).await?;
        Ok(ConnectedGroup {
            entry,
            cloud,
            cluster,
            name,
            uid,
            origin: self.origin().to_owned(),
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

impl ConnectedGroup {
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
            origin: self.origin.clone(),
            proof: String::new(),
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
        let own = Own {
            cluster: &self.cluster,
            group: &self.name,
            uid: &self.uid,
            secret: &private.secret,
            copies: &private.copies,
            proves_from: private.proves_from,
        };
        observe(calls, own, &recorded, now).await.map_err(|error| {
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
        exist: usize,
    ) -> Diagnostics {
        let growth = growth(wanted, changes, exist);
        if growth.created == 0 && changes.names(Action::Update).next().is_none() {
            return Diagnostics::none();
        }
        let calls = self.calls(context, deadline);
        let question = || self.cloud.preflight(&wanted.image, &wanted.shape, growth);
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

/// How these changes grow a group of which so many machines exist: never beyond `replicas` and the
/// surge together.
fn growth(wanted: &Wanted, changes: &Changes, exist: usize) -> Growth {
    let created = changes.names(Action::Create).count();
    let up_to = |most: usize| created.min(most.saturating_sub(exist));
    Growth {
        created,
        at_once: up_to(wanted.replicas.saturating_add(wanted.limits.surge)),
        without_surge: up_to(wanted.replicas),
    }
}

/// That a state has the uid, or is about to be saved with it, ends what their create has begun. A
/// refusal is ignored: the next refresh tries again. Machines that are on their way, or broken,
/// take no marks on some clouds.
pub(super) async fn clear_unsaved(
    calls: &Calls<'_>,
    mark: &Mark,
    machines: impl Iterator<Item = &Machine>,
) {
    let unsaved: Vec<Machine> = machines
        .filter(|machine| machine.mark.unsaved)
        .filter(|machine| matches!(machine.phase, Phase::Running | Phase::Stopped))
        .cloned()
        .collect();
    let _ = apply::remark(calls, mark, &unsaved, &Value::Null).await;
}

/// Deletes what an unfinished create has left and is of no use.
pub(super) async fn without(calls: &Calls<'_>, useless: &[Machine]) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let staying = useless
        .iter()
        .filter(|machine| machine.phase != Phase::Deleting);
    for machine in staying {
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

/// The machines that exist, those included that the cloud does not show yet, with the Nodes that
/// state knows.
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
    place: &ConnectedGroup,
    (observed, nodes): (Observed, &BTreeMap<String, Status>),
    settings: &Settings,
    now: SystemTime,
) -> Stored<Group> {
    let Stored { mut model, .. } = state;
    let before = model.fields.machines.known().cloned().unwrap_or_default();
    let wanted = model.wanted(place.entry, &private);
    let timeout = wanted.as_ref().map(|wanted| wanted.pace.machine_timeout);
    let kubernetes = model.fields.kubernetes.known();
    let wants = kubernetes.and_then(Kubernetes::wants);
    let version = wants.and_then(|wants| wants.kubelet_version);
    let expected = Expected::of(
        (place.cloud.as_ref(), place.entry),
        &place.shape,
        &model.fields,
        &private,
        &observed,
    );
    let mut machines = BTreeMap::new();
    let mut notes: BTreeMap<String, Note> = BTreeMap::new();
    let mut seen = Vec::new();
    for known in existing(&observed, &model, &place.mark(String::new())) {
        let machine = &known.machine;
        let name = machine.name.clone();
        let recorded = before.get(&name);
        let Compared { mut drift, has } = expected.compared(machine, recorded);
        let node = nodes.get(&name).and_then(Status::node);
        let lacks = node.into_iter().flat_map(|node| node.lacks(settings));
        drift.extend(lacks.map(|field| format!("{}{field}", apply::ON_NODES)));
        // An apply that was cut off has left it so; the next one opens it.
        if node.is_some_and(|node| node.scheduling > Scheduling::Open) {
            drift.push(format!("{}cordon", apply::ON_NODES));
        }
        let mut note = apply::note(
            machine,
            place.entry,
            drift,
            timeout.unwrap_or_default(),
            now,
        );
        let mut state = apply::state_of(&known);
        if let Some(recorded) = recorded {
            let earlier = private.machines.get(&name);
            note.created = note.created.or(earlier.and_then(|note| note.created));
            // What it was made from stays on record: another image is drift, until it is replaced.
            recorded.image.clone_into(&mut state.image);
            if observed.hidden.contains(&name) {
                note.places = earlier.map(|note| note.places.clone()).unwrap_or_default();
                state = recorded.clone();
            }
        }
        // One whose kubelet is not of the version that is asked for has not joined.
        let has_joined = |node: &&Node| {
            let is_of = |version: KubeletVersion| version.is_reported_by(&node.kubelet);
            !state.node_name.is_empty() || version.is_none_or(is_of)
        };
        if let Some(node) = node.filter(has_joined) {
            node.name.clone_into(&mut state.node_name);
        }
        note.in_place = compare::hashes(&has);
        seen.push((ordinal(&name), has));
        notes.insert(name.clone(), note);
        machines.insert(name, state);
    }
    let names = machines.keys().map(String::as_str);
    private.next_ordinal = plan::next_ordinal(private.next_ordinal, names);
    private.lose(observed.gone, replicas(&model.fields));
    private.machines = notes;
    seen.sort_by_key(|(ordinal, _)| *ordinal);
    let seen: Vec<BTreeMap<String, Value>> = seen.into_iter().map(|(_, has)| has).collect();
    show(&mut model, place.entry, &mut private.configured, &seen);
    let none = Changes::default();
    let slots = slots_of(&model.fields, Some(&model.fields), &machines, &none);
    model.fields.slots = Whole::Known(slots);
    private.secret = private.secret.or_new();
    model.fields.proof_key = Attr::Known(private.secret.clone());
    private.copies = observed.copies;
    model.fields.machines = Whole::Known(machines);
    super::stored(model, &private)
}

/// State shows what machines have of the fields that change in place: what the configuration last
/// said where all have that, else what the first has that differs. The difference is core's to see
/// then, and its `ignore_changes` to pass over.
fn show(
    model: &mut Group,
    entry: &Entry,
    configured: &mut BTreeMap<String, Value>,
    machines: &[BTreeMap<String, Value>],
) {
    let Some(Value::Map(fields)) = model.clouds.get_mut(entry.name) else {
        return;
    };
    for field in entry.in_place() {
        let in_state = fields.get(field).cloned().unwrap_or(Value::Null);
        let said = configured.remove(field).unwrap_or(in_state);
        let has = machines.iter().filter_map(|machine| machine.get(field));
        let other = has.into_iter().find(|has| **has != as_compared(&said));
        let shown = match other {
            Some(other) => {
                configured.insert(field.to_owned(), said);
                other.clone()
            }
            None => said,
        };
        fields.insert(field.to_owned(), shown);
    }
}
