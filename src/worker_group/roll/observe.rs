//! The machines of one (cluster, name) at the start of an operation, told apart by what state knows: ours, twins, others', gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::Calls;
use crate::worker_group::cloud::{CloudError, Machine, Mark, Phase};

/// The machines of one (cluster, name), told apart.
pub(crate) struct Observed {
    /// Those that carry the uid, one a name.
    pub(crate) ours: Vec<Machine>,
    /// What a create whose answer was lost made a second time, on clouds where names are not unique.
    pub(crate) twins: Vec<Machine>,
    /// Those of another uid.
    pub(crate) others: Vec<Machine>,
    /// Recorded ones that carry another uid now: another state has adopted them.
    pub(crate) adopted: Vec<Machine>,
    /// Recorded names that definitely do not exist any more.
    pub(crate) gone: Vec<String>,
    /// Recorded names that the cloud does not show yet, being young.
    pub(crate) hidden: Vec<String>,
    /// Names of those of `ours` from which somebody has taken a mark, or changed it: here they have what was recorded.
    pub(crate) unmarked: BTreeSet<String>,
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
    (cluster, group, uid): (&str, &str, &str),
    recorded: &[Recorded],
    now: SystemTime,
) -> Result<Observed, CloudError> {
    let listed = calls.list(cluster, group).await?;
    let (mut ours, mut others): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|machine| machine.mark.uid == uid);
    let present: BTreeSet<&str> = ours.iter().map(|machine| machine.id.as_str()).collect();
    let missing: Vec<&Recorded> = recorded
        .iter()
        .filter(|recorded| !present.contains(recorded.id.as_str()))
        .collect();
    let ids: Vec<String> = missing.iter().map(|recorded| recorded.id.clone()).collect();
    let found = calls.find(&ids).await?;
    let window = calls.cloud.consistency_window();
    let (mut gone, mut hidden) = (Vec::new(), Vec::new());
    for recorded in missing {
        let young = recorded
            .created
            .and_then(|created| now.duration_since(created).ok())
            .is_some_and(|age| age < window);
        if found.iter().any(|machine| machine.id == recorded.id) {
            continue;
        }
        match young {
            true => hidden.push(recorded.name.clone()),
            false => gone.push(recorded.name.clone()),
        }
    }
    // One without a mark is still the one that was recorded: somebody has taken its tags off.
    let (adopted, found): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|machine| is_of_another(machine, uid));
    let recorded_ids: BTreeSet<&str> = adopted
        .iter()
        .chain(&found)
        .map(|m| m.id.as_str())
        .collect();
    others.retain(|other| !recorded_ids.contains(other.id.as_str()));
    ours.extend(found);
    let mut unmarked = BTreeSet::new();
    let by_id: BTreeMap<&str, &Recorded> =
        recorded.iter().map(|one| (one.id.as_str(), one)).collect();
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
            unsaved: machine.mark.unsaved,
        };
        recorded.name.clone_into(&mut machine.name);
        if mark != machine.mark {
            unmarked.insert(recorded.name.clone());
            machine.mark = mark;
        }
    }
    let twins = take_twins(&mut ours, recorded);
    // An id that was recorded and whose name came back under another id exists.
    gone.retain(|name| ours.iter().all(|machine| machine.name != *name));
    Ok(Observed {
        ours,
        twins,
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

/// Takes out all but one machine of each name: of those that are not going, the one that state knows stays, or else the one that serves, or
/// else the oldest.
pub(crate) fn take_twins(machines: &mut Vec<Machine>, recorded: &[Recorded]) -> Vec<Machine> {
    let known: BTreeSet<&str> = recorded
        .iter()
        .map(|recorded| recorded.id.as_str())
        .collect();
    machines.sort_by(|a, b| {
        let rank = |machine: &Machine| {
            (
                machine.name.clone(),
                machine.phase == Phase::Deleting,
                !known.contains(machine.id.as_str()),
                machine.phase != Phase::Running,
                machine.created,
                machine.id.clone(),
            )
        };
        rank(a).cmp(&rank(b))
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
