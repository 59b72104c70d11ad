//! The order in which an apply begins its changes, so that a plan lists them as they come. Pure.
//!
//! In: changes, and how far a roll may go. Out: the same changes: three machines to replace with
//! surge 1 are "create 3, delete 0, create 4, ...", with surge 0 "delete 0, create 3, ...". It is
//! what happens when every machine comes up, and those begun together are done together; an apply
//! asks [`super::steps`] again at every moment, and where several are under way the quick ones make
//! room earlier. Which steps there are, and that a create comes before the delete that it makes
//! room for, does not depend on that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Action, Change, Changes, Counts, Health, Limits, Member};
use crate::worker_group::generation::Generation;

/// Sorts the changes of a group with these members by when they begin: those made on machines as
/// they are first.
pub(crate) fn in_order(
    changes: &mut Changes,
    limits: &Limits,
    parallelism: usize,
    generation: &Generation,
    members: &[Member],
) {
    let health: BTreeMap<&str, &Health> = members
        .iter()
        .map(|member| (member.name.as_str(), &member.health))
        .collect();
    let mut list = Vec::with_capacity(changes.list.len());
    let (mut creates, mut broken, mut ready) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
    for change in std::mem::take(&mut changes.list) {
        let is_broken = matches!(health.get(change.machine.as_str()), Some(Health::Broken(_)));
        match (change.action, is_broken) {
            (Action::Start | Action::Update, _) => list.push(change),
            (Action::Create, _) => creates.push_back(change),
            (Action::Delete, true) => broken.push_back(change),
            (Action::Delete, false) => ready.push_back(change),
        }
    }
    let leaving: BTreeSet<&str> = (broken.iter().chain(&ready))
        .map(|change: &Change| change.machine.as_str())
        .collect();
    let stays = |member: &&Member| {
        matches!(member.health, Health::Good | Health::Broken(_))
            && !leaving.contains(member.name.as_str())
    };
    let serves = |member: &&Member| member.health == Health::Good;
    let staying = members.iter().filter(stays);
    let mut staying_ready = staying.clone().filter(serves).count();
    let mut proven = staying
        .clone()
        .filter(serves)
        .any(|member| member.generation == *generation);
    let mut staying = staying.count();
    let is_going = |member: &&Member| member.health == Health::Leaving;
    let mut going = members.iter().filter(is_going).count();
    drop(leaving);

    // Each round begins what may begin; all of it has happened before the next one.
    loop {
        let allowed = limits.allowed(&Counts {
            slots: ready.len() + broken.len() + staying + going,
            ready: ready.len() + staying_ready,
            staying,
            trying: 0,
            going,
            replaceable: ready.len(),
            proven,
        });
        let mut free = parallelism.max(1);
        let of_broken = broken.len().min(free);
        free -= of_broken;
        let of_ready = ready.len().min(allowed.delete_ready).min(free);
        free -= of_ready;
        let of_creates = creates.len().min(allowed.create).min(free);
        list.extend(broken.drain(..of_broken));
        list.extend(ready.drain(..of_ready));
        list.extend(creates.drain(..of_creates));
        staying += of_creates;
        staying_ready += of_creates;
        proven |= of_creates > 0;
        if of_broken + of_ready + of_creates + std::mem::take(&mut going) == 0 {
            break;
        }
    }
    // What could not begin so far begins once the machines that hold it up have been replaced.
    list.extend(broken);
    list.extend(creates);
    list.extend(ready);
    changes.list = list;
}
