//! Looks: one list of the group, one question for all that the list lacks, one for the Nodes; and
//! what an apply makes of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::observe::is_of_another;
use super::places::Standing;
use super::{
    Calls, LAST_CALLS, Leftovers, Lifecycle, NodesAndTraffic, Problem, Refusal, Roll, Tracked,
    host, short,
};
use crate::kubernetes::Host;
use crate::protocol::value::Value;
use crate::worker_group::cloud::{CloudError, Machine, Mark, Phase};
use crate::worker_group::generation::Generation;
use crate::worker_group::proof::is_name_of;

/// What a look has to be about, copied so that the apply goes on meanwhile.
pub(super) struct Watched {
    cluster: String,
    group: String,
    uid: String,
    /// Ids that a list must show, or else be asked for, with their names.
    ids: BTreeMap<String, String>,
    /// Ids of those whose Nodes are waited for: another machine of such a name gets no traffic.
    unready: BTreeSet<String>,
    /// When the first of them will have been waited for long enough.
    until: Instant,
}

/// What a look found.
pub(super) struct Seen {
    /// What happened since then may not show in it.
    asked: Instant,
    machines: Vec<Machine>,
    /// Ids that exist neither in the list nor when asked for.
    absent: BTreeSet<String>,
    standing: Result<BTreeMap<String, Standing>, CloudError>,
}

/// Looks once.
pub(super) async fn look(
    calls: Calls<'_>,
    places: &NodesAndTraffic<'_>,
    watched: Watched,
) -> Result<Seen, CloudError> {
    let asked = Instant::now();
    let mut machines = calls.list(&watched.cluster, &watched.group).await?;
    let listed: BTreeSet<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
    let is_missing = |id: &&String| !listed.contains(id.as_str());
    let missing: Vec<String> = watched.ids.keys().filter(is_missing).cloned().collect();
    let mut found = calls.find(&missing).await?;
    let mut absent: BTreeSet<String> = missing.into_iter().collect();
    for machine in &mut found {
        absent.remove(&machine.id);
        // Somebody may have taken its marks off, and with them its name.
        if let Some(name) = watched.ids.get(&machine.id) {
            name.clone_into(&mut machine.name);
        }
    }
    // What another state has adopted meanwhile is not acted upon.
    let found = found
        .into_iter()
        .filter(|machine| !is_of_another(machine, &watched.uid));
    machines.extend(found);
    let hosts: Vec<Host> = machines
        .iter()
        .filter(|machine| machine.phase == Phase::Running)
        .filter(|machine| watched.unready.contains(&machine.id))
        .map(host)
        .collect();
    let standing = match hosts.is_empty() {
        true => Ok(BTreeMap::new()),
        false => places.standing(&hosts, watched.until).await,
    };
    Ok(Seen {
        asked,
        machines,
        absent,
        standing,
    })
}

impl Roll<'_> {
    pub(super) fn watched(&self) -> Watched {
        let is_watched = self.places.is_watched();
        let is_asked = |stage: Lifecycle| match stage {
            Lifecycle::Booting | Lifecycle::Unclear => true,
            Lifecycle::Ready => is_watched,
            _ => false,
        };
        let late = self.order.pace.machine_timeout;
        let booting = self
            .tracked
            .iter()
            .filter(|tracked| tracked.stage == Lifecycle::Booting && tracked.up.is_none());
        let until = booting.map(|tracked| tracked.awaited() + late).min();
        let soon = Instant::now() + LAST_CALLS;
        let one_by_one = self.calls.cloud.finds_one_by_one();
        let is_asked_for = |tracked: &&Tracked| !(one_by_one && tracked.is_deleted());
        Watched {
            cluster: self.order.mark.cluster.clone(),
            group: self.order.mark.group.clone(),
            uid: self.order.mark.uid.clone(),
            ids: self
                .tracked
                .iter()
                .filter(is_asked_for)
                .filter_map(|tracked| {
                    Some((tracked.machine.as_ref()?.id.clone(), tracked.name.clone()))
                })
                .collect(),
            unready: self
                .tracked
                .iter()
                .filter(|tracked| is_asked(tracked.stage))
                .filter_map(|tracked| Some(tracked.machine.as_ref()?.id.clone()))
                .collect(),
            until: until.unwrap_or(self.calls.deadline).max(soon),
        }
    }

    /// Takes in what a look found.
    pub(super) async fn on_look(&mut self, seen: Result<Seen, CloudError>) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.list_failed = true;
                self.halt(Problem::of("Could not list the group's machines", &error));
                return;
            }
        };
        let tracked = self.tracked.iter().enumerate();
        let by_name: BTreeMap<String, usize> = tracked
            .clone()
            .map(|(index, tracked)| (tracked.name.clone(), index))
            .collect();
        let by_id: BTreeMap<String, usize> = tracked
            .filter_map(|(index, tracked)| Some((tracked.machine.as_ref()?.id.clone(), index)))
            .collect();
        let made = seen.machines.iter().filter(|m| self.order.makes(m));
        let listed: BTreeSet<String> = made.map(|machine| machine.name.clone()).collect();
        let rivals = self.rivals(&seen.machines);
        let mut absent = seen.absent;
        if self.calls.cloud.finds_one_by_one() {
            absent.extend(self.unlisted_twice(&seen.machines));
        }
        let window = self.calls.cloud.consistency_window();
        let mut broken = Vec::new();
        for machine in seen.machines {
            if self.gone.contains(&machine.id) {
                continue;
            }
            let by_name = by_name.get(&machine.name);
            let made = by_name.filter(|_| self.order.makes(&machine));
            let index = by_id.get(&machine.id).or(made);
            match index.and_then(|at| self.tracked.get_mut(*at)) {
                Some(tracked) if tracked.is_another(&machine) => {
                    if !tracked.ours || !tracked.is_since(&machine, window) {
                        // A machine of this group's, by its tags alone.
                    } else if tracked.has_twin(&machine, &absent) {
                        self.twins.insert(machine.id.clone(), machine);
                    } else if tracked.is_seen(machine, (seen.asked, window)) {
                        broken.push(tracked.name.clone());
                    }
                }
                Some(tracked) => {
                    if tracked.is_seen(machine, (seen.asked, window)) {
                        broken.push(tracked.name.clone());
                    }
                }
                None => self.on_unknown(machine).await,
            }
        }
        self.join(seen.standing);
        let now = Instant::now();
        let late = self.order.pace.machine_timeout;
        broken.extend(
            self.tracked
                .iter()
                .filter(|t| {
                    t.stage == Lifecycle::Booting && t.up.is_none() && now >= t.awaited() + late
                })
                .map(|tracked| tracked.name.clone()),
        );
        for name in broken {
            let why = self.find(&name).map(|tracked| tracked.said());
            self.broke(&name, &why.unwrap_or_default()).await;
        }
        self.on_absent(&absent, &listed).await;
        self.give_up_deletes();
        self.give_up_spare();
        self.give_way(&rivals);
    }

    /// What another state's create of the same group has made. What this state's own left is none.
    fn rivals(&self, listed: &[Machine]) -> Vec<Machine> {
        let mark = &self.order.mark;
        let is_rival = |machine: &&Machine| {
            let is_left = machine.mark.is_unfinished_of(&mark.origin);
            machine.mark.uid != mark.uid
                && machine.phase != Phase::Deleting
                && !is_left
                && !self.gone.contains(&machine.id)
        };
        match self.order.gives_way {
            true => listed.iter().filter(is_rival).cloned().collect(),
            false => Vec::new(),
        }
    }

    /// Of two creates of one group at a time, the one whose first machine is younger ends.
    fn give_way(&mut self, rivals: &[Machine]) {
        let first = |machines: &mut dyn Iterator<Item = &Machine>| {
            let age = |machine: &Machine| Some((machine.created?, machine.mark.uid.clone()));
            machines.filter_map(age).min()
        };
        let Some(theirs) = first(&mut rivals.iter()) else {
            return;
        };
        let created = self.tracked.iter().filter(|tracked| tracked.ours);
        let mut created = created.filter_map(|tracked| tracked.machine.as_ref());
        let is_first = first(&mut created).is_some_and(|ours| ours < theirs);
        if self.halted || is_first {
            return;
        }
        let names: Vec<&str> = rivals.iter().map(|machine| machine.name.as_str()).collect();
        let shown = names
            .iter()
            .take(10)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        let Mark { cluster, group, .. } = &self.order.mark;
        self.halt(Problem {
            summary: "Another state creates this group, too".to_owned(),
            detail: format!(
                "While this create ran, another one, which began earlier, has made {} of group {group:?} of cluster {cluster:?}: {shown}. \
                 They are left alone, and no more are made here. Give one of the two groups another name, or destroy this one.",
                crate::worker_group::cloud::machines_of(rivals.len())
            ),
            attribute: Some("name".to_owned()),
        });
    }

    /// Ids of machines whose delete was taken on, and that neither this list shows nor the last one
    /// did.
    fn unlisted_twice(&mut self, listed: &[Machine]) -> Vec<String> {
        let listed: BTreeSet<&str> = listed.iter().map(|machine| machine.id.as_str()).collect();
        let mut twice = Vec::new();
        for tracked in self
            .tracked
            .iter_mut()
            .filter(|tracked| tracked.is_deleted())
        {
            let Some(machine) = &tracked.machine else {
                continue;
            };
            let was_unlisted = tracked.unlisted;
            tracked.unlisted = !listed.contains(machine.id.as_str());
            if was_unlisted && tracked.unlisted {
                twice.push(machine.id.clone());
            }
        }
        twice
    }

    /// Whether the next look should not be long in coming: it decides whether something is gone.
    pub(super) fn decides_soon(&self) -> bool {
        self.tracked.iter().any(|tracked| tracked.unlisted)
    }

    /// A delete that was taken on and came to nothing is asked for once more, and then reported.
    fn give_up_deletes(&mut self) {
        let stays = |tracked: &&Tracked| {
            tracked.stage == Lifecycle::Broken && tracked.leaves && tracked.deletes >= MOST_DELETES
        };
        let stay: Vec<(String, String)> = self
            .tracked
            .iter()
            .filter(stays)
            .map(|tracked| (tracked.name.clone(), tracked.said()))
            .collect();
        for (name, said) in stay {
            self.not_deleted(&name, &Refusal::Stays(said));
        }
    }

    /// Where what an unfinished create left makes the group too large, as many of this order's own
    /// machines go that have never run.
    fn give_up_spare(&mut self) {
        if self.halted || self.order.leftovers == Leftovers::Leave {
            return;
        }
        let stays = |tracked: &&Tracked| !tracked.leaves && !tracked.goes();
        let stay = self.tracked.iter().filter(stays).count();
        let too_many = stay.saturating_sub(self.order.limits.replicas);
        let never_ran = self.tracked.iter_mut().rev().filter(|tracked| {
            let phase = tracked.machine.as_ref().map(|machine| machine.phase);
            tracked.ours
                && !tracked.leaves
                && tracked.stage == Lifecycle::Booting
                && phase == Some(Phase::Pending)
        });
        for tracked in never_ran.take(too_many) {
            tracked.leaves = true;
        }
    }

    /// When the next machine will have been up for `min_ready`.
    pub(super) fn next_ready(&self, at_most: Duration) -> Instant {
        let min_ready = self.order.pace.min_ready;
        let now = Instant::now();
        self.tracked
            .iter()
            .filter(|tracked| tracked.stage == Lifecycle::Booting)
            .filter_map(|tracked| tracked.up)
            .map(|up| (up + min_ready).max(now))
            .min()
            .unwrap_or(now + at_most)
    }

    /// A machine of the group that this apply did not know of.
    async fn on_unknown(&mut self, machine: Machine) {
        if machine.mark.uid == self.order.mark.uid {
            // A create of an earlier apply that was not listed before: one of those that are to be
            // created, or else none of this apply's.
            let is_queued = self.queue.iter().any(|(name, _)| *name == machine.name);
            if !is_queued || !self.order.makes(&machine) {
                return;
            }
        } else {
            if self.halted || !self.is_leftover(&machine) {
                return;
            }
            let mark = Mark {
                generation: machine.mark.generation.clone(),
                ..self.order.mark.clone()
            };
            let machines = std::slice::from_ref(&machine);
            if let Err(error) = self.calls.mark(machines, &mark, &Value::Null).await {
                self.halt(Problem::of(
                    short("Could not take over machine", &machine.name),
                    &error,
                ));
                return;
            }
        }
        self.queue.retain(|(name, _)| *name != machine.name);
        self.tracked.push(Tracked::found(machine, Instant::now()));
    }

    /// Whether an unfinished create of the same configuration left it, and the list has shown it
    /// only now. It may run for somebody: it is never deleted here.
    fn is_leftover(&self, machine: &Machine) -> bool {
        let Leftovers::TakeFrom(began, rolls) = self.order.leftovers else {
            return false;
        };
        // A call of a provider that was killed may be carried out a while after its end.
        let before = began + self.calls.cloud.consistency_window();
        let wanted = Generation::parse(&self.order.mark.generation);
        machine.mark.is_unfinished_of(&self.order.mark.origin)
            && is_name_of(&machine.name, &self.order.mark.group)
            && machine.created.is_some_and(|created| created < before)
            && Generation::parse(&machine.mark.generation).serves(&wanted, rolls)
    }

    /// Machines that are no longer there, or of which nothing came.
    async fn on_absent(&mut self, absent: &BTreeSet<String>, listed: &BTreeSet<String>) {
        let window = self.calls.cloud.consistency_window();
        let now = Instant::now();
        let mut lost = Vec::new();
        for tracked in &self.tracked {
            // Until the window has passed, a machine that was just created may not be shown yet.
            let settled = !tracked.ours || now >= tracked.since + window;
            let is_absent = match &tracked.machine {
                Some(machine) => absent.contains(&machine.id),
                None => tracked.stage == Lifecycle::Unclear && !listed.contains(&tracked.name),
            };
            let leaving = tracked.goes();
            if is_absent && (leaving || settled) {
                lost.push((tracked.name.clone(), tracked.stage));
            }
        }
        for (name, stage) in lost {
            let tracked = self.find(&name);
            let unexpected = tracked.is_some_and(|tracked| tracked.ours && !tracked.leaves)
                && matches!(stage, Lifecycle::Booting | Lifecycle::Ready);
            self.is_gone(&name);
            self.failures += usize::from(unexpected);
            if unexpected && self.failures > self.order.pace.max_failures {
                self.halt(Problem {
                    summary: short("Machine vanished:", &name),
                    detail: format!("{name} was created, and no longer exists."),
                    attribute: None,
                });
            }
        }
    }
}

impl Tracked {
    /// Whether its deletion has begun.
    fn goes(&self) -> bool {
        use Lifecycle::{Deleting, Drained, Draining, Going};
        matches!(self.stage, Draining | Drained | Deleting | Going)
    }

    /// Since when it has been waited for.
    fn awaited(&self) -> Instant {
        self.unready.unwrap_or(self.since)
    }

    /// Whether the cloud has taken our delete on.
    fn is_deleted(&self) -> bool {
        self.stage == Lifecycle::Going && self.deletes > 0
    }

    /// Whether this is not the machine that is known by its id.
    fn is_another(&self, machine: &Machine) -> bool {
        let known = self.machine.as_ref();
        known.is_some_and(|known| known.id != machine.id)
    }

    /// Whether a machine was made since the create of this name began, as far as clocks and late
    /// answers let one tell.
    pub(super) fn is_since(&self, machine: &Machine, window: Duration) -> bool {
        let since = SystemTime::now().checked_sub(self.since.elapsed());
        // Some clouds count whole seconds.
        let since = since.and_then(|since| since.checked_sub(window + Duration::from_secs(1)));
        let created = machine.created.zip(since);
        created.is_some_and(|(created, since)| created >= since)
    }

    /// Whether another machine than the one that is tracked has its name: the answer to a create
    /// was lost, and it was carried out twice. One whose predecessor does not exist any more takes
    /// its place.
    fn has_twin(&self, machine: &Machine, absent: &BTreeSet<String>) -> bool {
        let known = self.machine.as_ref();
        known.is_some_and(|known| known.id != machine.id && !absent.contains(&known.id))
    }

    /// Takes in how a machine is now, as of a moment, at which what was younger than the window may
    /// not have shown yet; `true`: it has just turned out not to serve.
    fn is_seen(&mut self, mut machine: Machine, (asked, window): (Instant, Duration)) -> bool {
        let phase = machine.phase;
        let stage = self.stage;
        if let Some(known) = self.machine.as_ref().filter(|known| known.id == machine.id) {
            // Somebody may have taken its marks off.
            known.name.clone_into(&mut machine.name);
            machine.mark = known.mark.clone();
        }
        match stage {
            // Its own answer comes.
            Lifecycle::Creating => return false,
            Lifecycle::Draining | Lifecycle::Drained | Lifecycle::Deleting => {}
            Lifecycle::Going if phase == Phase::Deleting => self.going = Instant::now(),
            Lifecycle::Going if asked <= self.going + window => {}
            // Whoever deleted it, the cloud could not.
            Lifecycle::Going => {
                self.stage = match phase {
                    Phase::Pending | Phase::Running if !self.leaves => Lifecycle::Booting,
                    _ => Lifecycle::Broken,
                };
            }
            Lifecycle::Booting | Lifecycle::Ready | Lifecycle::Broken | Lifecycle::Unclear => {
                self.stage = match phase {
                    Phase::Deleting => Lifecycle::Going,
                    Phase::Stopped | Phase::Failed => Lifecycle::Broken,
                    Phase::Pending | Phase::Running => match stage {
                        Lifecycle::Broken if self.ours => Lifecycle::Broken,
                        Lifecycle::Ready => Lifecycle::Ready,
                        _ => Lifecycle::Booting,
                    },
                };
                self.going = Instant::now();
            }
        }
        self.machine = Some(machine);
        self.stage == Lifecycle::Broken && stage != Lifecycle::Broken
    }
}

/// Deletes of one machine that a cloud takes on and does not carry out.
const MOST_DELETES: u32 = 2;
