//! The machines of one (cluster, name) at the start of an operation, told apart by what state
//! knows: ours, strangers, others', gone.
//!
//! Tags find machines, and give no right over them. Ours are those whose ids state has, and those
//! that prove that this group made them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::Calls;
use crate::worker_group::cloud::{CloudError, Machine, Mark, Phase};
use crate::worker_group::model::Step;
use crate::worker_group::plan::{Action, ordinal};
use crate::worker_group::proof::{Secret, is_own_name};

/// The machines of one (cluster, name), told apart.
pub(crate) struct Observed {
    /// Those that state knows, and those that an apply made which could not say so any more; one a
    /// name.
    pub(crate) ours: Vec<Machine>,
    /// Names of those of `ours` that state does not know.
    pub(crate) found: BTreeSet<String>,
    /// Those that carry the uid, and are neither known nor proven to be ours: never deleted,
    /// marked, entered or counted.
    pub(crate) strangers: Vec<Machine>,
    /// Ids of strangers that carry a proof which is another machine's.
    pub(crate) copies: BTreeSet<String>,
    /// Those of another uid.
    pub(crate) others: Vec<Machine>,
    /// Recorded ones that carry another uid now: another state has adopted them.
    pub(crate) adopted: Vec<Machine>,
    /// Recorded names that definitely do not exist any more.
    pub(crate) gone: Vec<String>,
    /// Recorded names that the cloud does not show yet, being young.
    pub(crate) hidden: Vec<String>,
    /// Names of those of `ours` from which somebody has taken a mark, or changed it: here they have
    /// what was recorded.
    pub(crate) unmarked: BTreeSet<String>,
}

/// A group, and what proves which machines are its own.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) group: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) secret: &'a Secret,
    /// Ids of machines whose proof was seen to be another one's.
    pub(crate) copies: &'a BTreeSet<String>,
    /// As [`Private::proves_from`].
    ///
    /// [`Private::proves_from`]: crate::worker_group::model::Private::proves_from
    pub(crate) proves_from: u64,
}

impl Observed {
    /// Without the machines that neither state knows nor these steps create; and those. Nothing was
    /// said of them when this was planned.
    pub(crate) fn only_planned(mut self, rollout: &[Step]) -> (Self, Vec<Machine>) {
        let is_planned = |name: &str| {
            let create = Action::Create.word();
            let is_it = |step: &Step| step.machine == name && step.action == create;
            rollout.iter().any(is_it)
        };
        let found = std::mem::take(&mut self.found);
        let (found, unplanned): (BTreeSet<_>, BTreeSet<_>) =
            found.into_iter().partition(|name| is_planned(name));
        let (unplanned, ours) = std::mem::take(&mut self.ours)
            .into_iter()
            .partition(|machine| unplanned.contains(&machine.name));
        let observed = Self {
            ours,
            found,
            ..self
        };
        (observed, unplanned)
    }
}

impl Own<'_> {
    /// Whether a machine that state does not know is one that this group made.
    fn made(&self, machine: &Machine) -> bool {
        let prefix = format!("{}-{}-", self.group, self.uid);
        is_own_name(&machine.name, &prefix)
            && self.secret.proves(machine)
            && !self.copies.contains(&machine.id)
            && ordinal(&machine.name).is_some_and(|ordinal| ordinal >= self.proves_from)
    }
}

/// A machine as state has it.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Its name.
    pub(crate) name: String,
    /// The cloud's own id.
    pub(crate) id: String,
    /// When it was created, if the cloud said so.
    pub(crate) created: Option<SystemTime>,
    /// What it was made from: the mark that says so is the same for all its life. `""`: not known.
    pub(crate) generation: String,
}

/// Lists the group, and asks for recorded machines that the list lacks.
///
/// # Errors
/// The cloud does not answer, or refuses: nothing is known then.
pub(crate) async fn observe(
    calls: Calls<'_>,
    own: Own<'_>,
    recorded: &[Recorded],
    now: SystemTime,
) -> Result<Observed, CloudError> {
    let Own {
        cluster,
        group,
        uid,
        ..
    } = own;
    let listed = calls.list(cluster, group).await?;
    let (marked, mut others): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|machine| machine.mark.uid == uid);
    let by_id: BTreeMap<&str, &Recorded> =
        recorded.iter().map(|one| (one.id.as_str(), one)).collect();
    let names: BTreeSet<&str> = recorded.iter().map(|one| one.name.as_str()).collect();
    let (mut ours, unknown): (Vec<_>, Vec<_>) = marked
        .into_iter()
        .partition(|machine| by_id.contains_key(machine.id.as_str()));
    let (mut found, mut strangers): (Vec<_>, Vec<_>) = unknown
        .into_iter()
        .partition(|machine| own.made(machine) && !names.contains(machine.name.as_str()));
    strangers.extend(take_twins(&mut found));
    let copies = strangers
        .iter()
        .filter(|machine| own.secret.proves(machine))
        .map(|machine| machine.id.clone())
        .collect();
    let found_names = found.iter().map(|machine| machine.name.clone()).collect();
    let present: BTreeSet<&str> = ours.iter().map(|machine| machine.id.as_str()).collect();
    let missing: Vec<&Recorded> = recorded
        .iter()
        .filter(|recorded| !present.contains(recorded.id.as_str()))
        .collect();
    let ids: Vec<String> = missing.iter().map(|recorded| recorded.id.clone()).collect();
    let answered = calls.find(&ids).await?;
    let window = calls.cloud.consistency_window();
    let (mut gone, mut hidden) = (Vec::new(), Vec::new());
    for recorded in missing {
        let young = recorded
            .created
            .and_then(|created| now.duration_since(created).ok())
            .is_some_and(|age| age < window);
        if answered.iter().any(|machine| machine.id == recorded.id) {
            continue;
        }
        match young {
            true => hidden.push(recorded.name.clone()),
            false => gone.push(recorded.name.clone()),
        }
    }
    // One without a mark is still the one that was recorded: somebody has taken its tags off.
    let (adopted, answered): (Vec<_>, Vec<_>) = answered
        .into_iter()
        .partition(|machine| is_of_another(machine, uid));
    let recorded_ids: BTreeSet<&str> = adopted
        .iter()
        .chain(&answered)
        .map(|m| m.id.as_str())
        .collect();
    others.retain(|other| !recorded_ids.contains(other.id.as_str()));
    ours.extend(answered);
    let mut unmarked = BTreeSet::new();
    for machine in &mut ours {
        let Some(recorded) = by_id.get(machine.id.as_str()) else {
            continue;
        };
        let mark = Mark {
            cluster: cluster.to_owned(),
            group: group.to_owned(),
            uid: uid.to_owned(),
            generation: match recorded.generation.as_str() {
                "" => machine.mark.generation.clone(),
                generation => generation.to_owned(),
            },
            ..machine.mark.clone()
        };
        recorded.name.clone_into(&mut machine.name);
        if mark != machine.mark {
            unmarked.insert(recorded.name.clone());
            machine.mark = mark;
        }
    }
    ours.extend(found);
    ours.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Observed {
        ours,
        found: found_names,
        strangers,
        copies,
        others,
        adopted,
        gone,
        hidden,
        unmarked,
    })
}

/// Whether a machine carries another group's mark.
pub(super) fn is_of_another(machine: &Machine, uid: &str) -> bool {
    !machine.mark.uid.is_empty() && machine.mark.uid != uid
}

/// Takes out all but one machine of each name: of those that are not going, the one that serves
/// stays, or else the oldest.
pub(crate) fn take_twins(machines: &mut Vec<Machine>) -> Vec<Machine> {
    machines.sort_by_cached_key(|machine| {
        (
            machine.name.clone(),
            machine.phase == Phase::Deleting,
            machine.phase != Phase::Running,
            machine.created,
            machine.id.clone(),
        )
    });
    let mut last = String::new();
    let (twins, kept) = std::mem::take(machines).into_iter().partition(|machine| {
        let twin = machine.name == last;
        machine.name.clone_into(&mut last);
        twin
    });
    *machines = kept;
    twins
}
