//! Looks: one list of the group, one question for all that the list lacks, one for the Nodes; and what an apply makes of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::{Calls, Leftovers, Problem, Roll, Stage, Tracked, host, short};
use crate::kubernetes::{Host, NodeError, Nodes};
use crate::protocol::value::Value;
use crate::worker_group::cloud::{CloudError, Machine, Mark, Phase};
use crate::worker_group::generation::Generation;

/// What a look has to be about, copied so that the apply goes on meanwhile.
pub(super) struct Watched {
    cluster: String,
    group: String,
    uid: String,
    /// Ids that a list must show, or else be asked for.
    ids: Vec<String>,
    /// Names whose Nodes are waited for.
    unready: BTreeSet<String>,
}

/// What a look found.
pub(super) struct Seen {
    machines: Vec<Machine>,
    /// Ids that exist neither in the list nor when asked for.
    absent: BTreeSet<String>,
    joined: Result<BTreeMap<String, String>, NodeError>,
}

/// Looks once.
pub(super) async fn look(
    calls: Calls<'_>,
    nodes: &dyn Nodes,
    watched: Watched,
) -> Result<Seen, CloudError> {
    let mut machines = calls.list(&watched.cluster, &watched.group).await?;
    let listed: BTreeSet<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
    let missing: Vec<String> = watched
        .ids
        .into_iter()
        .filter(|id| !listed.contains(id.as_str()))
        .collect();
    let found = calls.find(&missing).await?;
    let mut absent: BTreeSet<String> = missing.into_iter().collect();
    for machine in &found {
        absent.remove(&machine.id);
    }
    // What another state has adopted meanwhile is not acted upon.
    let found = found
        .into_iter()
        .filter(|machine| !is_of_another(machine, &watched.uid));
    machines.extend(found);
    let hosts: Vec<Host> = machines
        .iter()
        .filter(|machine| machine.phase == Phase::Running)
        .filter(|machine| watched.unready.contains(&machine.name))
        .map(host)
        .collect();
    let joined = match hosts.is_empty() {
        true => Ok(BTreeMap::new()),
        false => nodes.joined(&hosts).await,
    };
    Ok(Seen {
        machines,
        absent,
        joined,
    })
}

/// Asks again where a cluster does not answer.
async fn joined_at_last(
    nodes: &dyn Nodes,
    hosts: &[Host],
    pause: Duration,
) -> Result<BTreeMap<String, String>, NodeError> {
    let mut joined = nodes.joined(hosts).await;
    for _ in 0..LOOKS {
        if !matches!(&joined, Err(error) if error.retryable) {
            break;
        }
        sleep(pause).await;
        joined = nodes.joined(hosts).await;
    }
    joined
}

impl Roll<'_> {
    /// Tells which machines serve now: nothing may be deleted before that is known.
    pub(super) async fn first_look(&mut self) {
        let hosts: Vec<Host> = self
            .tracked
            .iter()
            .filter_map(|tracked| tracked.machine.as_ref())
            .filter(|machine| machine.phase == Phase::Running)
            .map(host)
            .collect();
        if hosts.is_empty() {
            return;
        }
        let (cancel, pause) = (self.calls.cancel, self.calls.cloud.poll_interval());
        let joined = tokio::select! {
            biased;
            () = cancel.cancelled() => return self.interrupt(),
            joined = joined_at_last(self.nodes, &hosts, pause) => joined,
            () = sleep_until(self.closes) => {
                let late = self.out_of_time();
                return self.halt(late);
            }
        };
        self.join(joined.map_err(|error| NodeError {
            retryable: false,
            ..error
        }));
    }

    /// Where nothing comes instead of what goes, no pod should move from one leaving machine to another.
    pub(super) async fn cordon_all(&mut self) {
        if self.halted || !self.queue.is_empty() {
            return;
        }
        let leaving = self.tracked.iter().filter(|tracked| tracked.leaves);
        let hosts: Vec<Host> = leaving
            .filter_map(|tracked| tracked.machine.as_ref().map(host))
            .collect();
        if hosts.is_empty() {
            return;
        }
        if let Err(error) = self.nodes.cordon(&hosts).await {
            self.halt(Problem::new(
                "Could not prepare the machines that leave",
                format!("{error}."),
            ));
        }
    }

    pub(super) fn watched(&self) -> Watched {
        Watched {
            cluster: self.order.mark.cluster.clone(),
            group: self.order.mark.group.clone(),
            uid: self.order.mark.uid.clone(),
            ids: self
                .tracked
                .iter()
                .filter_map(|tracked| tracked.machine.as_ref())
                .map(|machine| machine.id.clone())
                .collect(),
            unready: self
                .tracked
                .iter()
                .filter(|tracked| matches!(tracked.stage, Stage::Booting | Stage::Unclear))
                .map(|tracked| tracked.name.clone())
                .collect(),
        }
    }

    /// Takes in what a look found.
    pub(super) async fn see(&mut self, seen: Result<Seen, CloudError>) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.blind = true;
                self.halt(Problem::of("Could not list the group's machines", &error));
                return;
            }
        };
        let index: BTreeMap<String, usize> = self
            .tracked
            .iter()
            .enumerate()
            .map(|(index, tracked)| (tracked.name.clone(), index))
            .collect();
        let listed: BTreeSet<String> = seen.machines.iter().map(|m| m.name.clone()).collect();
        let mut broken = Vec::new();
        for machine in seen.machines {
            if self.gone.contains(&machine.id) {
                continue;
            }
            match index
                .get(&machine.name)
                .and_then(|at| self.tracked.get_mut(*at))
            {
                Some(tracked) => {
                    if tracked.is_seen(machine) {
                        broken.push(tracked.name.clone());
                    }
                }
                None => self.meet(machine).await,
            }
        }
        self.join(seen.joined);
        let now = Instant::now();
        let late = self.order.pace.machine_timeout;
        broken.extend(
            self.tracked
                .iter()
                .filter(|t| t.stage == Stage::Booting && t.up.is_none() && now >= t.since + late)
                .map(|tracked| tracked.name.clone()),
        );
        for name in broken {
            let why = self.find(&name).map(|tracked| tracked.said());
            self.broke(&name, &why.unwrap_or_default()).await;
        }
        self.lose(&seen.absent, &listed).await;
        self.spare();
    }

    /// Where what an unfinished create left makes the group too large, as many of this order's own machines go that have never run.
    fn spare(&mut self) {
        if self.halted || self.order.leftovers == Leftovers::Leave {
            return;
        }
        let stays = |tracked: &&Tracked| {
            !tracked.leaves && !matches!(tracked.stage, Stage::Deleting | Stage::Going)
        };
        let stay = self.tracked.iter().filter(stays).count();
        let too_many = stay.saturating_sub(self.order.limits.replicas);
        let never_ran = self.tracked.iter_mut().rev().filter(|tracked| {
            let phase = tracked.machine.as_ref().map(|machine| machine.phase);
            tracked.ours
                && !tracked.leaves
                && tracked.stage == Stage::Booting
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
            .filter(|tracked| tracked.stage == Stage::Booting)
            .filter_map(|tracked| tracked.up)
            .map(|up| (up + min_ready).max(now))
            .min()
            .unwrap_or(now + at_most)
    }

    /// A machine of the group that this apply did not know of.
    async fn meet(&mut self, machine: Machine) {
        let ours = machine.mark.uid == self.order.mark.uid;
        if !ours {
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
        // A create of an earlier apply that was not listed before: one of those that are to be created.
        self.queue.retain(|(name, _)| *name != machine.name);
        self.tracked.push(Tracked {
            name: machine.name.clone(),
            attempt: 0,
            stage: match machine.phase {
                Phase::Pending | Phase::Running => Stage::Booting,
                Phase::Stopped | Phase::Failed => Stage::Broken,
                Phase::Deleting => Stage::Going,
            },
            leaves: false,
            ours: false,
            since: Instant::now(),
            up: None,
            counted: false,
            node: String::new(),
            machine: Some(machine),
        });
    }

    /// Whether an unfinished create of the same configuration left it, and the list has shown it only now. It may run for somebody: it
    /// is never deleted here.
    fn is_leftover(&self, machine: &Machine) -> bool {
        let Leftovers::TakeFrom(began, rolls) = self.order.leftovers else {
            return false;
        };
        // A call of a provider that was killed may be carried out a while after its end.
        let before = began + self.calls.cloud.consistency_window();
        let wanted = Generation::parse(&self.order.mark.generation);
        machine.mark.unsaved
            && machine.created.is_some_and(|created| created < before)
            && Generation::parse(&machine.mark.generation).serves(&wanted, rolls)
    }

    fn join(&mut self, joined: Result<BTreeMap<String, String>, NodeError>) {
        let joined = match joined {
            Ok(joined) => joined,
            // The next look asks again; machine_timeout ends it.
            Err(error) if error.retryable => return,
            Err(error) => {
                self.halt(Problem {
                    summary: "Could not find out which machines serve".to_owned(),
                    detail: format!("{error}."),
                    attribute: None,
                });
                return;
            }
        };
        let now = Instant::now();
        let min_ready = self.order.pace.min_ready;
        for tracked in &mut self.tracked {
            if tracked.stage != Stage::Booting {
                continue;
            }
            match joined.get(&tracked.name) {
                Some(node) => {
                    node.clone_into(&mut tracked.node);
                    let up = *tracked.up.get_or_insert(now);
                    if now >= up + min_ready {
                        tracked.stage = Stage::Ready;
                    }
                }
                None => tracked.up = None,
            }
        }
    }

    /// Machines that are no longer there, or of which nothing came.
    async fn lose(&mut self, absent: &BTreeSet<String>, listed: &BTreeSet<String>) {
        let window = self.calls.cloud.consistency_window();
        let now = Instant::now();
        let mut lost = Vec::new();
        for tracked in &self.tracked {
            // Until the window has passed, a machine that was just created may not be shown yet.
            let settled = !tracked.ours || now >= tracked.since + window;
            let is_absent = match &tracked.machine {
                Some(machine) => absent.contains(&machine.id),
                None => tracked.stage == Stage::Unclear && !listed.contains(&tracked.name),
            };
            let leaving = matches!(tracked.stage, Stage::Deleting | Stage::Going);
            if is_absent && (leaving || settled) {
                lost.push((tracked.name.clone(), tracked.stage));
            }
        }
        for (name, stage) in lost {
            let tracked = self.find(&name);
            let unexpected = tracked.is_some_and(|tracked| tracked.ours && !tracked.leaves)
                && matches!(stage, Stage::Booting | Stage::Ready);
            self.is_gone(&name).await;
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
    /// Takes in how a machine is now; `true`: it has just turned out not to serve.
    fn is_seen(&mut self, machine: Machine) -> bool {
        let phase = machine.phase;
        let stage = self.stage;
        match stage {
            // Its own answer comes.
            Stage::Creating => return false,
            Stage::Deleting | Stage::Going => {}
            Stage::Booting | Stage::Ready | Stage::Broken | Stage::Unclear => {
                self.stage = match phase {
                    Phase::Deleting => Stage::Going,
                    Phase::Stopped | Phase::Failed => Stage::Broken,
                    Phase::Pending | Phase::Running => match stage {
                        Stage::Broken if self.ours => Stage::Broken,
                        Stage::Ready => Stage::Ready,
                        _ => Stage::Booting,
                    },
                };
            }
        }
        self.machine = Some(machine);
        self.stage == Stage::Broken && stage != Stage::Broken
    }
}

/// Looks for the Nodes at the start of an apply, where a cluster does not answer.
const LOOKS: usize = 5;

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
    let is_adopted = |other: &Machine| adopted.iter().any(|machine| machine.id == other.id);
    others.retain(|other| !is_adopted(other));
    ours.extend(found);
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
    })
}

fn is_of_another(machine: &Machine, uid: &str) -> bool {
    !machine.mark.uid.is_empty() && machine.mark.uid != uid
}

/// Takes out all but one machine of each name: the one that state knows stays, or else the one that serves, or else the oldest.
fn take_twins(machines: &mut Vec<Machine>, recorded: &[Recorded]) -> Vec<Machine> {
    let known: BTreeSet<&str> = recorded
        .iter()
        .map(|recorded| recorded.id.as_str())
        .collect();
    machines.sort_by(|a, b| {
        let rank = |machine: &Machine| {
            (
                machine.name.clone(),
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
