//! From what a group should be and what exists to what is done: the parts that plan, refresh,
//! create, update and delete share.
//!
//! In: [`Wanted`], the machines of state or of the cloud. Out: [`Changes`] with reasons, and
//! [`Performed`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::basis::{Basis, Unknown};
use super::cloud::{CloudError, Entry, Machine, Mark, Phase};
use super::compare::{message, misplaced, places, said, settled};
use super::generation::{Generation, Reasons};
use super::model::{self, Note, Private, Step};
use super::plan::{self, Action, Changes, Desired, Health, Limits, Member};
use super::proof::Secret;
use super::roll::{Calls, Known, Leftovers, NodesAndTraffic, Order, Problem, Roll};
use super::start::start;
use super::wanted::{OnStopped, Pace, Wanted};
use crate::kubernetes::{Cluster, Destroys};
use crate::protocol::value::Value;

/// What was there before, as far as reasons need it.
pub(crate) struct Before<'a> {
    /// What was wanted.
    pub(crate) wanted: Option<Wanted>,
    /// The generation in state.
    pub(crate) generation: Option<Generation>,
    /// Private state.
    pub(crate) private: &'a Private,
}

/// Which machines change, why, and what has to be remembered of the reasons.
pub(crate) struct Assessment {
    pub(crate) changes: Changes,
    /// [`Private::history`] after them.
    pub(crate) history: BTreeMap<String, Reasons>,
    /// [`Private::shapes`] after them.
    pub(crate) shapes: BTreeMap<String, String>,
    /// What new machines would be made from and nobody knows.
    pub(crate) unknown: Unknown,
    /// As [`Basis::untold`].
    pub(crate) untold: Vec<String>,
    pub(crate) generation: Generation,
}

/// What changes in a group of this uid and these members.
pub(crate) fn assessment(
    wanted: &Wanted,
    before: &Before<'_>,
    uid: &str,
    members: &[Member],
    deletable: Option<&BTreeSet<String>>,
) -> Assessment {
    let prior = before.wanted.as_ref().zip(before.generation.as_ref());
    let basis = Basis::of(wanted, prior, before.private);
    let generation = basis.generation.clone();
    let now = wanted.as_written();
    let fresh = match &before.wanted {
        Some(prior) => Reasons::between(&prior.as_written(), &now),
        None => Reasons::default(),
    };
    // Machines of older generations than state's missed earlier changes too.
    let known = |of: &Generation| match before.private.history.get(&of.to_string()) {
        Some(earlier) if before.generation.as_ref() != Some(of) => earlier.then(&fresh),
        _ => fresh.clone(),
    };
    let remains = |member: &&Member| member.health != Health::Gone;
    let marks = members
        .iter()
        .filter(remains)
        .map(|member| &member.generation);
    let shapes = basis.meanings(
        wanted,
        marks.clone().chain(&before.generation),
        before.private,
    );
    let history: BTreeMap<String, Reasons> = marks
        .filter(|mark| basis.translated(mark) != generation)
        .map(|mark| (mark.to_string(), known(mark)))
        .take(MOST_GENERATIONS)
        .collect();
    let translated: Vec<Member> = members
        .iter()
        .map(|member| Member {
            generation: basis.translated(&member.generation),
            ..member.clone()
        })
        .collect();
    let marked: BTreeMap<String, &Generation> = members
        .iter()
        .zip(&translated)
        .map(|(member, translated)| (translated.generation.to_string(), &member.generation))
        .collect();
    let reason = |of: &Generation, image: &str| {
        let mut reasons = known(marked.get(&of.to_string()).copied().unwrap_or(of));
        if !image.is_empty() && image != wanted.image {
            reasons.image = format!("image: {image} -> {}", wanted.image);
        }
        of.reasons(&generation, basis.rolls, &reasons)
    };
    let in_place = match &before.wanted {
        Some(prior) => wanted.changed_in_place(prior),
        None => Vec::new(),
    };
    let mut changes = plan::changes(
        &Desired {
            prefix: &prefix(wanted, uid),
            replicas: wanted.replicas,
            generation: &generation,
            rolls: basis.rolls,
            remove_first: &wanted.remove_first,
            replace: &wanted.replace_machines,
            next_ordinal: before.private.next_ordinal,
            deletable,
            in_place: &in_place,
            reason: &reason,
        },
        &translated,
    );
    plan::in_order(
        &mut changes,
        &wanted.limits,
        wanted.pace.parallelism,
        &generation,
        &translated,
    );
    Assessment {
        changes,
        history,
        shapes,
        unknown: basis.unknown,
        untold: basis.untold,
        generation,
    }
}

/// What the names of a group's new machines begin with.
pub(crate) fn prefix(wanted: &Wanted, uid: &str) -> String {
    format!("{}-{uid}-", wanted.name)
}

/// A machine of state as the planner sees it.
pub(crate) fn recorded_member(
    name: &str,
    machine: &model::Machine,
    note: &Note,
    wanted: &Wanted,
) -> Member {
    let (drift_in_place, drift) = split_drift(&note.drift, wanted);
    Member {
        name: name.to_owned(),
        generation: Generation::parse(&machine.generation),
        image: machine.image.clone(),
        health: match machine.phase.as_str() {
            "deleting" => Health::Leaving,
            "stopped" if wanted.on_stopped != OnStopped::Replace => Health::Good,
            "stopped" | "failed" => Health::Broken(said(machine, note)),
            "pending" if note.overdue => {
                Health::Broken("not running within machine_timeout".to_owned())
            }
            _ => Health::Good,
        },
        starts: (machine.phase == "stopped" && wanted.on_stopped == OnStopped::Start)
            .then(|| said(machine, note)),
        misplaced: misplaced(note, wanted),
        settled: settled(note, wanted),
        drift,
        drift_in_place,
    }
}

/// A machine that is gone.
pub(crate) fn gone_member(name: &str) -> Member {
    Member {
        name: name.to_owned(),
        generation: Generation::default(),
        image: String::new(),
        health: Health::Gone,
        starts: None,
        misplaced: None,
        settled: Vec::new(),
        drift: Vec::new(),
        drift_in_place: Vec::new(),
    }
}

/// Fields with the cloud's name before them: those that are mended in place, and the others.
fn split_drift(fields: &[String], wanted: &Wanted) -> (Vec<String>, Vec<String>) {
    let (in_place, rolls): (Vec<&String>, Vec<&String>) = fields
        .iter()
        .partition(|field| is_mended_in_place(field, wanted.entry));
    let path = |field: &String| match field.as_str() {
        "image" | MARKS => field.clone(),
        field if field.starts_with(ON_NODES) => field.to_owned(),
        field => format!("{}.{field}", wanted.entry.name),
    };
    (
        in_place.into_iter().map(path).collect(),
        rolls.into_iter().map(path).collect(),
    )
}

/// What a machine has lost that lacks its mark, or a part of it; beside the fields of a shape, none
/// of which is called so.
pub(crate) const MARKS: &str = "marks";

/// What a Node has not as the group set it: `kubernetes.node_labels`.
pub(crate) const ON_NODES: &str = "kubernetes.";

/// Whether an update mends it: a field of the shape, marks, or what is on a Node.
pub(crate) fn is_mended_in_place(field: &str, entry: &Entry) -> bool {
    field == MARKS || field.starts_with(ON_NODES) || entry.changes_in_place(field)
}

/// What a refresh notes of a machine.
pub(crate) fn note(
    machine: &Machine,
    entry: &Entry,
    drift: Vec<String>,
    timeout: Duration,
    now: SystemTime,
) -> Note {
    let age = machine
        .created
        .and_then(|created| now.duration_since(created).ok());
    Note {
        created: machine
            .created
            .and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map(|since| since.as_secs()),
        drift,
        overdue: machine.phase == Phase::Pending && age.is_some_and(|age| age > timeout),
        message: message(machine),
        places: places(machine, entry),
        in_place: BTreeMap::new(),
    }
}

/// A machine as state has it.
pub(crate) fn state_of(known: &Known) -> model::Machine {
    let machine = &known.machine;
    model::Machine {
        id: machine.id.clone(),
        zone: machine.zone.clone(),
        addresses: machine.addresses.clone(),
        image: machine.image.clone(),
        generation: machine.mark.generation.clone(),
        node_name: known.node.clone(),
        phase: match machine.phase {
            Phase::Pending => "pending",
            Phase::Running => "running",
            Phase::Stopped => "stopped",
            Phase::Failed => "failed",
            Phase::Deleting => "deleting",
        }
        .to_owned(),
    }
}

/// A machine of state that the cloud does not show yet.
pub(crate) fn hidden(name: &str, machine: &model::Machine, mark: &Mark) -> Known {
    Known {
        machine: Machine {
            id: machine.id.clone(),
            name: name.to_owned(),
            zone: machine.zone.clone(),
            addresses: machine.addresses.clone(),
            image: machine.image.clone(),
            phase: Phase::Pending,
            message: None,
            mark: Mark {
                generation: machine.generation.clone(),
                ..mark.clone()
            },
            created: None,
            observed: BTreeMap::new(),
        },
        node: machine.node_name.clone(),
    }
}

/// Rewrites the marks of machines that keep their generations: one call for those that are alike.
///
/// # Errors
/// The first refusal; what follows it was not tried.
pub(crate) async fn remark(
    calls: &Calls<'_>,
    mark: &Mark,
    machines: &[Machine],
    shape: &Value,
) -> Result<(), CloudError> {
    let mut alike: BTreeMap<(&str, &str), Vec<Machine>> = BTreeMap::new();
    for machine in machines {
        let Mark {
            generation, origin, ..
        } = &machine.mark;
        let origin = match mark.unsaved {
            // What is taken over is this state's create from now on.
            true => &mark.origin,
            false => origin,
        };
        alike
            .entry((generation, origin))
            .or_default()
            .push(machine.clone());
    }
    for ((generation, origin), machines) in alike {
        let mark = Mark {
            generation: generation.to_owned(),
            origin: origin.to_owned(),
            ..mark.clone()
        };
        calls.mark(&machines, &mark, shape).await?;
    }
    Ok(())
}

/// Everything that performing needs beside the machines.
pub(crate) struct Job<'a> {
    pub(crate) wanted: &'a Wanted,
    pub(crate) calls: Calls<'a>,
    /// Where its machines are Nodes; `None`: nowhere.
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) destroys: Destroys,
    /// Of new machines.
    pub(crate) mark: Mark,
    /// What proves them to be this group's.
    pub(crate) secret: &'a Secret,
    pub(crate) user_data: &'a (dyn Fn(&str) -> Vec<u8> + Send + Sync),
    pub(crate) leftovers: Leftovers,
    /// As [`Order::gives_way`].
    pub(crate) gives_way: bool,
    /// Ids of machines that are seen to elsewhere.
    pub(crate) ignored_ids: BTreeSet<String>,
    /// Names of machines that went without this provider: their Nodes may be left.
    pub(crate) vanished: Vec<String>,
    pub(crate) max_failures: usize,
    /// As [`Order::window_closes`].
    pub(crate) window_closes: Option<Instant>,
    /// How long the operation may take, as the user says it.
    pub(crate) timeout: String,
}

/// What exists after an apply.
#[derive(Clone)]
pub(crate) struct Performed {
    pub(crate) machines: Vec<Known>,
    pub(crate) next_ordinal: u64,
    pub(crate) problems: Vec<Problem>,
    /// What went as it was to go, and should be known.
    pub(crate) warnings: Vec<Problem>,
    /// Machines whose change in place was refused.
    pub(crate) not_updated: BTreeSet<String>,
    /// Machines that were to go, and that another state has adopted.
    pub(crate) adopted: Vec<Machine>,
    /// Names of machines that are gone, and whose Nodes could not be removed.
    pub(crate) nodes_left: Vec<String>,
}

/// Carries out changes: on machines as they are first, then creates and deletes.
pub(crate) async fn perform(
    job: Job<'_>,
    changes: &Changes,
    mut existing: Vec<Known>,
) -> Performed {
    let wanted = job.wanted;
    let updates: BTreeSet<&str> = changes.names(Action::Update).collect();
    let machines: Vec<Machine> = existing
        .iter()
        .filter(|known| updates.contains(known.machine.name.as_str()))
        .map(|known| known.machine.clone())
        .collect();
    let mut problems = Vec::new();
    let starts: BTreeSet<&str> = changes.names(Action::Start).collect();
    let group = (job.mark.cluster.as_str(), job.mark.group.as_str());
    let patience = wanted.pace.machine_timeout;
    problems.extend(start(&job.calls, group, &starts, &mut existing, patience).await);
    let mut not_updated = BTreeSet::new();
    if let Err(error) = remark(&job.calls, &job.mark, &machines, &wanted.shape).await {
        problems.push(Problem::of("Could not change machines in place", &error));
        not_updated = machines.into_iter().map(|machine| machine.name).collect();
    } else if !machines.is_empty() {
        seen_again(&job, &mut existing).await;
    }
    let names = |action| changes.names(action).map(str::to_owned).collect();
    let (calls, mark) = (job.calls, job.mark.clone());
    let deletes: BTreeSet<&str> = changes.names(Action::Delete).collect();
    let (left, existing): (Vec<Known>, Vec<Known>) = existing.into_iter().partition(|known| {
        wanted.on_stopped == OnStopped::Leave
            && known.machine.phase == Phase::Stopped
            && !deletes.contains(known.machine.name.as_str())
    });
    let is_taken = |name: &String| {
        let mut exist = existing.iter().chain(&left);
        exist.any(|known| known.machine.name == *name)
    };
    let mut vanished = job.vanished;
    vanished.retain(|name| !is_taken(name));
    let order = Order {
        prefix: prefix(wanted, &job.mark.uid),
        image: &wanted.image,
        shape: &wanted.shape,
        user_data: job.user_data,
        limits: Limits {
            replicas: wanted.limits.replicas.saturating_sub(left.len()),
            ..wanted.limits
        },
        creates: names(Action::Create),
        deletes: names(Action::Delete),
        next_ordinal: changes.next_ordinal,
        pace: Pace {
            max_failures: job.max_failures,
            ..wanted.pace
        },
        timeout: job.timeout,
        leftovers: job.leftovers,
        gives_way: job.gives_way,
        secret: job.secret.clone(),
        ignored_ids: left
            .iter()
            .map(|known| known.machine.id.clone())
            .chain(job.ignored_ids)
            .collect(),
        mark: job.mark,
        window_closes: job.window_closes,
    };
    let named = existing.iter().filter(|known| !known.node.is_empty());
    let places = NodesAndTraffic::new(job.cluster, job.calls, &order.deletes, job.destroys)
        .joined_before(named.map(|known| known.machine.name.as_str()));
    let roll = Roll::new(job.calls, &places, order, existing)
        .after(problems)
        .forgets(&vanished);
    let ended = roll.run().await;
    let mut problems = ended.problems;
    let created = changes.names(Action::Create).filter_map(plan::ordinal);
    let first = created.min().unwrap_or(changes.next_ordinal);
    // What is not asked now, the next apply asks; a cloud that is in trouble is reported once.
    if !calls.is_over()
        && !ended.list_failed
        && let Err(error) = calls.sweep(&mark, first).await
        && (problems.is_empty() || !error.is_retryable())
    {
        let summary = "Could not release what machines left behind";
        problems.push(Problem::of(summary, &error));
    }
    Performed {
        machines: ended.machines.into_iter().chain(left).collect(),
        next_ordinal: ended.next_ordinal,
        problems,
        warnings: ended.warnings,
        not_updated,
        adopted: ended.adopted,
        nodes_left: ended.nodes_left,
    }
}

/// What was changed in place may look different (addresses). A list that fails leaves that to the
/// next refresh.
async fn seen_again(job: &Job<'_>, existing: &mut [Known]) {
    let Mark { cluster, group, .. } = &job.mark;
    let listed = job.calls.list(cluster, group).await.unwrap_or_default();
    for machine in listed {
        let known = existing
            .iter_mut()
            .find(|known| known.machine.id == machine.id);
        if let Some(known) = known {
            known.machine = machine;
        }
    }
}

/// In what an apply's own look differs from the plan that the user has seen, in words; empty where
/// it does not.
pub(crate) fn differences(planned: &[Step], now: &Changes) -> Vec<String> {
    let was = |machine: &str, action: Action| {
        let same = |step: &Step| step.machine == machine && step.action == action.word();
        planned.iter().any(same)
    };
    let mut words = Vec::new();
    for step in planned {
        let is = |change: &plan::Change| {
            change.machine == step.machine && change.action.word() == step.action
        };
        if !now.list.iter().any(is) {
            let Step {
                machine, action, ..
            } = step;
            words.push(format!("{action} of {machine} was not needed any more"));
        }
    }
    for change in &now.list {
        if !was(&change.machine, change.action) {
            let (action, machine) = (change.action.word(), &change.machine);
            words.push(format!(
                "{action} of {machine} was needed as well: {}",
                change.reason
            ));
        }
    }
    for (machine, reason) in &now.refused {
        words.push(format!(
            "{machine} would have to go and is left for the next plan: {reason}"
        ));
    }
    words
}

/// Of what is remembered of machines of old generations: words for the others come from their
/// hashes.
const MOST_GENERATIONS: usize = 1_000;
