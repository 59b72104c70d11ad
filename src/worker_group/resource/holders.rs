//! Who holds a group: what this process has created, what it knows to be in its state, and what a
//! create does about machines of its (cluster, name) that it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::provider::{Attr, Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::Machine;
use crate::worker_group::model::Fields;
use crate::worker_group::proof::is_name_of;
use crate::worker_group::roll::take_twins;
use crate::worker_group::wanted::Wanted;

use super::WorkerGroup;
use super::report::{count, is, names, was};

/// Of this process.
#[derive(Default)]
pub(super) struct Holders {
    /// What it has created: uids.
    created: BTreeMap<Key, String>,
    /// What it has read, planned or applied: uids of groups that its state has.
    in_state: BTreeMap<Key, BTreeSet<String>>,
}

/// Cloud, cluster, name.
type Key = (String, String, String);

fn key(cluster: &str, name: &str, cloud: &str) -> Key {
    (cloud.to_owned(), cluster.to_owned(), name.to_owned())
}

impl WorkerGroup {
    /// Remembers what this process creates: two blocks with one (cluster, name) would take each
    /// other's machines for leftovers.
    pub(super) fn register(&self, wanted: &Wanted, uid: &str) -> Result<(), Diagnostic> {
        let key = key(&wanted.cluster, &wanted.name, wanted.entry.name);
        match self.holders().created.entry(key) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(uid.to_owned());
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(_) => Err(Diagnostic::error(
                "Two groups have one cluster and name",
                format!(
                    "This run has created a group {:?} of cluster {:?} already. Give each group a name of its own.",
                    wanted.name, wanted.cluster
                ),
            )
            .at(Path::of("name"))),
        }
    }

    /// The uid of the group of this name that this process has created.
    pub(super) fn uid_created(&self, cluster: &str, name: &str, cloud: &str) -> Option<String> {
        self.holders()
            .created
            .get(&key(cluster, name, cloud))
            .cloned()
    }

    /// Forgets it when it is gone.
    pub(super) fn unregister(&self, cluster: &str, name: &str, cloud: &str, uid: &str) {
        let key = key(cluster, name, cloud);
        let mut holders = self.holders();
        if holders.created.get(&key).is_some_and(|known| known == uid) {
            holders.created.remove(&key);
        }
        if let Some(uids) = holders.in_state.get_mut(&key) {
            uids.remove(uid);
        }
    }

    /// Remembers that this process's state has the group.
    pub(super) fn is_in_state(&self, fields: &Fields) {
        let parts = (
            fields.cluster.known(),
            fields.name.known(),
            fields.cloud.known(),
            fields.uid.known(),
        );
        if let (Some(cluster), Some(name), Some(cloud), Some(uid)) = parts {
            let mut holders = self.holders();
            let uids = holders.in_state.entry(key(cluster, name, cloud));
            uids.or_default().insert(uid.clone());
        }
    }

    /// Uids of the groups of this name that this process knows to be in its state.
    pub(super) fn uids_in_state(&self, wanted: &Wanted) -> BTreeSet<String> {
        let key = key(&wanted.cluster, &wanted.name, wanted.entry.name);
        self.holders()
            .in_state
            .get(&key)
            .cloned()
            .unwrap_or_default()
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, Holders> {
        self.holders
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Machines of a create's (cluster, name) that are, or may be, somebody else's.
pub(super) struct Foreign<'a> {
    pub(super) machines: Vec<Machine>,
    /// The group's `name`.
    pub(super) name: &'a str,
    /// Of this process.
    pub(super) origin: &'a str,
    /// As [`WorkerGroup::uids_in_state`] has them.
    pub(super) in_state: BTreeSet<String>,
    pub(super) now: SystemTime,
}

/// What a create does about them.
#[derive(Default)]
pub(super) struct Decided {
    /// Taken over.
    pub(super) adopted: Vec<Machine>,
    /// Left alone.
    pub(super) left: Vec<Machine>,
}

/// What to do about machines that are, or may be, somebody else's, as the user says; `None`: stop.
pub(super) fn on_existing(
    policy: &Attr<String>,
    foreign: Foreign<'_>,
    problems: &mut Diagnostics,
) -> Option<Decided> {
    let Foreign {
        machines,
        name,
        origin,
        in_state,
        now,
    } = foreign;
    let policy = policy.known().map(String::as_str);
    let (known, machines): (Vec<Machine>, Vec<Machine>) = machines
        .into_iter()
        .partition(|machine| in_state.contains(&machine.mark.uid));
    if policy == Some("adopt") && known.is_empty() {
        let (mut adopted, mut left): (Vec<_>, Vec<_>) = machines
            .into_iter()
            .partition(|machine| is_name_of(&machine.name, name));
        left.extend(take_twins(&mut adopted));
        if !left.is_empty() {
            problems.push(not_adopted(&left));
        }
        return Some(Decided { adopted, left });
    }
    let kept = policy == Some("keep");
    let is_own = |machine: &Machine| !origin.is_empty() && machine.mark.origin == origin;
    let (unsaved, saved): (Vec<_>, Vec<_>) = machines.into_iter().partition(|m| m.mark.unsaved);
    let (own, others): (Vec<_>, Vec<_>) = saved.into_iter().partition(is_own);
    let (left, unknown): (Vec<_>, Vec<_>) = unsaved.into_iter().partition(is_own);
    // One text for each kind: whose they are, what a create that leaves them alone says more, and
    // what helps one that stops.
    let kinds = [
        (
            &known,
            "held by this very state, under another address",
            "They go when that is destroyed.",
            "Where elements of a list moved, write for_each over names in place of count, or moved blocks. A replacement with \
             create_before_destroy needs on_existing = \"keep\". Where that group is destroyed in this same run, apply again.",
        ),
        (
            &own,
            "made by an apply of this very state",
            "Where it has them no more, delete or import them.",
            "Where they are under another address, write for_each over names in place of count, or moved blocks; a replacement with \
             create_before_destroy needs on_existing = \"keep\". Where the state was lost, or an apply was killed right before it was \
             saved, import the group, or write on_existing = \"adopt\" to take them over.",
        ),
        (
            &others,
            "held by another state",
            "Destroy that group from there when it is not needed any more.",
            "Choose another name, import the group, or write on_existing = \"keep\" to leave them alone or \"adopt\" to take them over.",
        ),
        (
            &left,
            "made from another configuration, by a creation from here whose state was never seen",
            "Delete in the cloud what nothing needs any more.",
            "They may serve: nothing was touched. Write on_existing = \"adopt\" to take them over (the next plan shows what it would \
             replace), import the group, or delete them in the cloud.",
        ),
        (
            &unknown,
            "made by a creation from elsewhere whose state was never seen: it may be under way",
            "Delete in the cloud what nothing needs any more.",
            "Nothing was touched. Where another workspace, directory or machine creates this group, choose another name. Where that \
             creation was cut off, apply again there, write on_existing = \"adopt\" to take them over here, import the group, or delete \
             them in the cloud.",
        ),
    ];
    for (machines, whose, when_kept, otherwise) in kinds {
        let Some(oldest) = age_of_the_oldest(machines, now) else {
            continue;
        };
        let number = machines.len();
        let is_or_was = match whose.starts_with("held") {
            true => is(number),
            false => was(number),
        };
        let whose = format!(
            "{} of this cluster and name {is_or_was} {whose}",
            count(number, "machine")
        );
        let names = names(machines);
        problems.push(match kept {
            true => Diagnostic::warning(
                "Another group of this name exists",
                format!("{whose}, and left alone: {names}{oldest}. {when_kept}"),
            )
            .at(Path::of("on_existing")),
            false => Diagnostic::error(
                "Group exists already",
                format!("{whose}: {names}{oldest}. {otherwise}"),
            )
            .at(Path::of("name")),
        });
    }
    (!problems.has_errors()).then(|| {
        let kinds = [known, own, others, left, unknown];
        Decided {
            adopted: Vec::new(),
            left: kinds.into_iter().flatten().collect(),
        }
    })
}

fn not_adopted(left: &[Machine]) -> Diagnostic {
    Diagnostic::warning(
        "Machines could not be adopted",
        format!(
            "{} of this cluster and name {} left alone, for a group's machines are called <name>-<uid>-<number>, each in another way: {}. \
             Take the tags flatcar-cluster, flatcar-group and flatcar-uid off what is none of the group's.",
            count(left.len(), "machine"),
            was(left.len()),
            names(left)
        ),
    )
    .at(Path::of("on_existing"))
}

/// `, the oldest made 3 minutes ago`; nothing where no cloud says; `None` where there is no
/// machine.
fn age_of_the_oldest(machines: &[Machine], now: SystemTime) -> Option<String> {
    if machines.is_empty() {
        return None;
    }
    let oldest = machines.iter().filter_map(|machine| machine.created).min();
    let Some(oldest) = oldest else {
        return Some(String::new());
    };
    let age = now.duration_since(oldest).unwrap_or(Duration::ZERO);
    let (number, unit) = match age.as_secs() {
        seconds @ 0..120 => (seconds, "second"),
        seconds @ 120..7_200 => (seconds / 60, "minute"),
        seconds @ 7_200..172_800 => (seconds / 3_600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let what = match machines.len() {
        1 => "made",
        _ => "the oldest made",
    };
    Some(format!(" ({what} {} ago)", count(number, unit)))
}
