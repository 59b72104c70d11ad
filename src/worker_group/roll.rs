//! Performs an apply on a cloud: starts what the planner allows, waits for it by one list a poll
//! for the whole group, and says at the end what exists.
//!
//! In: an [`Order`] (`creates: [w-u-3], deletes: [w-u-0]`, limits, pace) and the machines that
//! exist. Out: [`Ended`], always with every machine that exists, whatever went wrong. Creates and
//! deletes run concurrently, up to `parallelism` calls at a time; all time is tokio's.

mod answers;
mod begin;
mod calls;
mod caught;
mod drain;
mod ending;
mod joining;
mod observe;
mod ownership;
mod places;
mod progress;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cloud::{CloudError, Deletion, Machine, Mark, Phase};
use super::generation::Rolls;
use super::plan::{Limits, Readiness, Slot};
use super::proof::Secret;
use super::wanted::Pace;
use crate::kubernetes::{Host, Scheduling};
use crate::protocol::value::Value;

pub(crate) use self::calls::Calls;
use self::calls::{LAST_CALLS, TRIES};
use self::caught::{caught, failed_apply, failed_inside};
pub(crate) use self::observe::{Observed, Own, Recorded, observe, take_twins};
use self::ownership::Ownership;
use self::places::Forgotten;
pub(crate) use self::places::{NodesAndTraffic, host};
use self::progress::Progress;
use self::watch::Seen;

/// What is to be done.
pub(crate) struct Order<'a> {
    /// Written on new machines, with the proof of each.
    pub(crate) mark: Mark,
    /// What proves them to be this group's.
    pub(crate) secret: Secret,
    /// What the names of new machines begin with, should more be needed than planned.
    pub(crate) prefix: String,
    /// What new machines boot.
    pub(crate) image: &'a str,
    /// Their shape.
    pub(crate) shape: &'a Value,
    /// Ignition JSON for a machine of this name.
    pub(crate) user_data: &'a (dyn Fn(&str) -> Vec<u8> + Send + Sync),
    /// How far from the desired number one may go.
    pub(crate) limits: Limits,
    /// Names of machines to create, in order.
    pub(crate) creates: Vec<String>,
    /// Names of machines to delete, in order. No others are, but for broken ones of this order.
    pub(crate) deletes: Vec<String>,
    /// The lowest ordinal that is unused after `creates`.
    pub(crate) next_ordinal: u64,
    /// How fast, and how long.
    pub(crate) pace: Pace,
    /// How long the operation may take, as the user says it: `30m`.
    pub(crate) timeout: String,
    /// What to do with what an unfinished create left behind.
    pub(crate) leftovers: Leftovers,
    /// Whether this create gives way to another state's of the same group that began earlier.
    pub(crate) gives_way: bool,
    /// Of machines of this group that are seen to elsewhere.
    pub(crate) ignored_ids: BTreeSet<String>,
    /// When no further healthy machine may be replaced.
    pub(crate) window_closes: Option<Instant>,
}

/// What an unfinished create left behind, seen only after this one had begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// None of ours to touch.
    Leave,
    /// Unsaved machines of another uid, and of this state's origin, that were created before this
    /// moment, or within the cloud's consistency window after it, are taken over where they are
    /// what this create makes.
    TakeFrom(SystemTime, Rolls),
}

/// What exists at the end, and what went wrong.
pub(crate) struct Ended {
    /// Every machine of the group that exists or may exist.
    pub(crate) machines: Vec<Known>,
    /// The lowest ordinal that was never used.
    pub(crate) next_ordinal: u64,
    /// In the order in which they came.
    pub(crate) problems: Vec<Problem>,
    /// What went as it was to go, and should be known.
    pub(crate) warnings: Vec<Problem>,
    /// Whether the cloud did not say what exists: nothing more should be asked of it.
    pub(crate) list_failed: bool,
    /// Machines that were to be deleted, and that another state has adopted meanwhile: they are
    /// left.
    pub(crate) adopted: Vec<Machine>,
    /// Names of machines that are gone, and whose Nodes could not be removed.
    pub(crate) nodes_left: Vec<String>,
}

/// A machine, and its Node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    /// As last observed.
    pub(crate) machine: Machine,
    /// `""` where there is none.
    pub(crate) node: String,
}

/// Something to tell the user. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// At most 60 characters.
    pub(crate) summary: String,
    /// What was tried and what answered.
    pub(crate) detail: String,
    /// The attribute to blame, relative to the group.
    pub(crate) attribute: Option<String>,
}

impl Problem {
    /// Of a call that was not carried out.
    pub(crate) fn of(summary: impl Into<String>, error: &CloudError) -> Self {
        Self {
            summary: summary.into(),
            detail: format!("{error}."),
            attribute: error.attribute.map(str::to_owned),
        }
    }

    fn new(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            detail: detail.into(),
            attribute: None,
        }
    }
}

/// An apply under way.
pub(crate) struct Roll<'a> {
    calls: Calls<'a>,
    places: &'a NodesAndTraffic<'a>,
    order: Order<'a>,
    /// Those to delete first, in their order; then the others.
    tracked: Vec<Tracked>,
    /// Names to create, in order, with the attempt.
    queue: VecDeque<(String, u32)>,
    next_ordinal: u64,
    /// Ids of machines that are gone or seen to elsewhere; a list may still show them.
    gone: BTreeSet<String>,
    failures: usize,
    /// No more steps; those under way are waited for.
    halted: bool,
    /// The last question what exists was not answered.
    list_failed: bool,
    /// Whose machines are, as of the last delete.
    ownership: Arc<Ownership>,
    adopted: Vec<Machine>,
    /// What a create of this order whose answer was lost made a second time.
    twins: BTreeMap<String, Machine>,
    problems: Vec<Problem>,
    /// What went as it was to go, and should be known.
    warnings: Vec<Problem>,
    /// Steps under way that are no calls to the cloud, and hold none of its `parallelism`: drains,
    /// Nodes that are removed.
    beside: usize,
    /// A Node has changed since the last look began.
    woken: bool,
    /// Machines that are gone, whose Nodes are to be removed; and those where that is under way.
    to_forget: Vec<Host>,
    forgetting: Vec<Host>,
    nodes_left: Vec<String>,
    /// Machines that are nothing of this apply's any more, and whose Nodes it has closed.
    to_reopen: Vec<Host>,
    /// When no more step begins: the rest of the time is for calls under way, and for a last look.
    closes: Instant,
    progress: Progress,
}

/// A machine that exists, or whose create is under way.
struct Tracked {
    name: String,
    attempt: u32,
    /// As last observed; absent until the create has answered.
    machine: Option<Machine>,
    stage: Lifecycle,
    leaves: bool,
    /// Deletes that this apply has asked for.
    deletes: u32,
    /// When it was last known to be going.
    going: Instant,
    /// The last list did not show it any more.
    unlisted: bool,
    /// Created by this order.
    ours: bool,
    /// When its create began, or this apply.
    since: Instant,
    /// Since when it has been running and joined.
    up: Option<Instant>,
    /// Since when it has not been ready any more, having been so in this apply.
    unready: Option<Instant>,
    /// It is among the failures already.
    counted: bool,
    node: String,
    /// Why it has not joined, as of the last look; `""` where that is not known.
    why: String,
    /// What this apply has said to its Node, or an earlier one.
    scheduling: Scheduling,
    /// When it was last looked up whose it is.
    proven: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifecycle {
    /// The create has not answered.
    Creating,
    /// Not up yet, or not for long enough.
    Booting,
    Ready,
    Broken,
    /// The create ended badly, and a look has to tell whether something is left of it.
    Unclear,
    /// Its traffic ends, and its pods move away.
    Draining,
    /// It may be deleted.
    Drained,
    /// The delete has not answered.
    Deleting,
    /// The delete was taken on.
    Going,
}

enum Event {
    Created(String, Result<Box<Machine>, CloudError>),
    Drained(String, Result<Vec<Problem>, Refusal>),
    Deleted(String, Result<Deletion, Refusal>),
    /// `None`: it was broken off.
    Forgotten(Vec<Host>, Option<Forgotten>),
    Seen(Result<Seen, CloudError>),
}

/// Why a machine was not deleted.
enum Refusal {
    Cloud(CloudError),
    /// The cluster refused.
    Node(CloudError),
    /// Where it gets traffic, that could not be ended.
    Traffic(CloudError),
    /// What is left on it after the time for its drain.
    Undrained(String),
    /// The cloud took it on and did not do it; how the machine is.
    Stays(String),
    /// It is another state's by now.
    Adopted,
    /// The apply was interrupted before anything was asked for.
    NotBegun,
}

impl<'a> Roll<'a> {
    /// An apply of this order over the machines that exist now.
    pub(crate) fn new(
        calls: Calls<'a>,
        places: &'a NodesAndTraffic<'a>,
        order: Order<'a>,
        existing: Vec<Known>,
    ) -> Self {
        let now = Instant::now();
        let rank: BTreeMap<&str, usize> = order
            .deletes
            .iter()
            .enumerate()
            .map(|(rank, name)| (name.as_str(), rank))
            .collect();
        let mut existing = existing;
        existing.sort_by_cached_key(|known| {
            rank.get(known.machine.name.as_str())
                .copied()
                .unwrap_or(usize::MAX)
        });
        let tracked = existing
            .into_iter()
            .map(|known| {
                let leaves = rank.contains_key(known.machine.name.as_str());
                Tracked {
                    leaves,
                    up: up_since(&known.machine, now),
                    node: known.node,
                    ..Tracked::found(known.machine, now)
                }
            })
            .collect();
        let progress = Progress::new(&order);
        Self {
            gone: order.ignored_ids.clone(),
            queue: order.creates.iter().map(|name| (name.clone(), 0)).collect(),
            next_ordinal: order.next_ordinal,
            calls,
            places,
            order,
            tracked,
            failures: 0,
            halted: false,
            problems: Vec::new(),
            warnings: Vec::new(),
            beside: 0,
            woken: false,
            to_forget: Vec::new(),
            forgetting: Vec::new(),
            nodes_left: Vec::new(),
            to_reopen: Vec::new(),
            list_failed: false,
            ownership: Arc::default(),
            adopted: Vec::new(),
            twins: BTreeMap::new(),
            closes: calls.closes(),
            progress,
        }
    }

    /// Nodes of these machines, which went without this provider, may be left; those that are made
    /// again under their names are others.
    pub(crate) fn forgets(mut self, vanished: &[String]) -> Self {
        let names = vanished
            .iter()
            .filter(|name| !self.order.creates.contains(name));
        let hosts = names.map(|name| Host {
            name: name.clone(),
            // Of what is gone no more is known.
            id: String::new(),
            addresses: Vec::new(),
            created: None,
        });
        self.to_forget = hosts.collect();
        self
    }

    /// Performs it, to its end or as far as it goes. A panic ends it like any other trouble: what
    /// is known to exist is answered.
    pub(crate) async fn run(mut self) -> Ended {
        let mut under_way = FuturesUnordered::new();
        if caught(self.advance(&mut under_way)).await.is_none() {
            self.halt(failed_apply());
            let until = self.calls.soon();
            // Each try is one answer further.
            for _ in 0..=under_way.len() {
                let finished = caught(self.finish_calls(&mut under_way, until)).await;
                if finished.is_some() {
                    break;
                }
            }
        }
        if caught(self.look_for_unanswered()).await.is_none() {
            self.halt(failed_apply());
        }
        if caught(self.leave_nodes_in_order()).await.is_none() {
            self.halt(failed_apply());
        }
        self.end()
    }

    async fn advance(&mut self, under_way: &mut FuturesUnordered<BoxFuture<'a, Event>>) {
        // Nothing of `self` may be borrowed by the calls under way: they carry copies of these.
        let (calls, places) = (self.calls, self.places);
        let cancel: CancellationToken = calls.cancel.clone();
        let closes = self.closes;
        let mut busy = 0;
        let mut looking = false;
        let first_pause = (calls.cloud.poll_interval() / 10).max(FIRST_PAUSE);
        let mut pause = first_pause;
        let mut look_at = Instant::now();
        self.first_look().await;
        self.prepare().await;
        loop {
            let waited = self.waits();
            let begun = self.begin(busy, under_way);
            busy += begun;
            self.forget_gone(under_way);
            self.progress.look(&self.tracked);
            // Steps that follow each other do not make each other's looks come faster.
            if begun > 0 && !waited {
                pause = first_pause;
                look_at = look_at.min(Instant::now() + pause);
            }
            let waiting = !self.halted && (self.waits() || self.woken);
            if busy + self.beside == 0 && !waiting {
                break;
            }
            if waiting && !looking && Instant::now() >= look_at {
                (looking, self.woken) = (true, false);
                let look = watch::look(calls, places, self.watched());
                under_way.push(Box::pin(async move {
                    let failed = || Err(failed_inside("Look", "the group"));
                    Event::Seen(caught(look).await.unwrap_or_else(failed))
                }));
            }
            let timer = match waiting && !looking {
                true => look_at,
                false => closes,
            };
            let event = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    self.interrupt();
                    self.finish_calls(under_way, calls.soon()).await;
                    break;
                }
                () = sleep_until(closes) => {
                    let late = self.out_of_time();
                    self.halt(late);
                    // The other half is for the last look.
                    let until = Instant::now() + calls.deadline.duration_since(Instant::now()) / 2;
                    self.finish_calls(under_way, until).await;
                    break;
                }
                Some(event) = under_way.next(), if !under_way.is_empty() => event,
                () = places.changed(), if !looking && !self.woken && !self.halted => {
                    self.woken = true;
                    look_at = look_at.min(Instant::now() + first_pause);
                    continue;
                }
                () = sleep_until(timer) => continue,
            };
            match event {
                Event::Seen(seen) => {
                    looking = false;
                    pause = (pause * 3 / 2).min(calls.cloud.poll_interval());
                    self.on_look(seen).await;
                    if self.decides_soon() {
                        pause = first_pause;
                    }
                    look_at = (Instant::now() + pause).min(self.next_ready(pause));
                }
                event => {
                    match event {
                        Event::Drained(..) | Event::Forgotten(..) => self.beside -= 1,
                        _ => busy -= 1,
                    }
                    self.on_answer(event).await;
                }
            }
        }
    }

    fn halt(&mut self, problem: Problem) {
        self.halted = true;
        self.problems.push(problem);
    }

    fn interrupt(&mut self) {
        self.halt(Problem::new(
            "Interrupted",
            "The apply was asked to stop, and began no further step.",
        ));
    }

    fn find(&mut self, name: &str) -> Option<&mut Tracked> {
        self.tracked.iter_mut().find(|tracked| tracked.name == name)
    }

    /// Whether something happens that only a look can tell.
    fn waits(&self) -> bool {
        self.tracked.iter().any(|tracked| {
            matches!(
                tracked.stage,
                Lifecycle::Booting | Lifecycle::Unclear | Lifecycle::Going
            )
        })
    }
}

impl Tracked {
    /// A machine that this apply has not made.
    fn found(machine: Machine, now: Instant) -> Self {
        let tracked = Self::created(&machine.name, 0, now);
        Self {
            stage: match machine.phase {
                Phase::Pending | Phase::Running => Lifecycle::Booting,
                Phase::Stopped | Phase::Failed => Lifecycle::Broken,
                Phase::Deleting => Lifecycle::Going,
            },
            ours: false,
            machine: Some(machine),
            ..tracked
        }
    }

    /// One whose create begins now.
    fn created(name: &str, attempt: u32, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            attempt,
            machine: None,
            stage: Lifecycle::Creating,
            leaves: false,
            deletes: 0,
            going: now,
            unlisted: false,
            ours: true,
            since: now,
            up: None,
            unready: None,
            counted: false,
            node: String::new(),
            why: String::new(),
            scheduling: Scheduling::Open,
            proven: None,
        }
    }

    fn slot(&self, order: &Order<'_>) -> Slot {
        let state = match self.stage {
            Lifecycle::Creating | Lifecycle::Booting | Lifecycle::Unclear => Readiness::Starting,
            Lifecycle::Ready => Readiness::Ready,
            Lifecycle::Broken => Readiness::Broken,
            Lifecycle::Draining | Lifecycle::Drained | Lifecycle::Deleting | Lifecycle::Going => {
                Readiness::Leaving
            }
        };
        let mark = self.machine.as_ref().map(|machine| &machine.mark);
        Slot {
            state,
            leaves: self.leaves,
            current: self.ours || mark.is_some_and(|mark| mark.generation == order.mark.generation),
        }
    }

    /// Its phase, in its cloud's words where there are any.
    fn said(&self) -> String {
        let machine = self.machine.as_ref();
        let message = machine.and_then(|machine| machine.message.clone());
        let phase = match machine.map(|machine| machine.phase) {
            Some(Phase::Stopped) => "stopped",
            Some(Phase::Failed) => "failed",
            Some(Phase::Deleting) => "being deleted",
            Some(Phase::Running) => "running, but has not joined in time",
            Some(Phase::Pending) | None => "not running in time",
        };
        let is_running = machine.is_some_and(|machine| machine.phase == Phase::Running);
        match (self.why.as_str(), message) {
            (why, _) if is_running && !why.is_empty() => format!("{phase}: {why}"),
            (_, Some(message)) => format!("{phase}: {message}"),
            (_, None) => phase.to_owned(),
        }
    }
}

/// A machine that was there before this apply has been up since the cloud created it, or for long
/// enough.
fn up_since(machine: &Machine, now: Instant) -> Option<Instant> {
    if machine.phase != Phase::Running {
        return None;
    }
    let age = machine
        .created
        .and_then(|created| SystemTime::now().duration_since(created).ok());
    now.checked_sub(age.unwrap_or(LONG_ENOUGH))
}

/// A summary that stays within 60 characters: a longer name is in the detail.
fn short(what: &str, name: &str) -> String {
    let full = format!("{what} {name}");
    match full.len() <= 60 {
        true => full,
        false => what.trim_end_matches(':').to_owned(),
    }
}

/// A wait begins with pauses of a tenth of the cloud's own interval, and no shorter than this; they
/// grow to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// At one name in one apply.
const MOST_ATTEMPTS: u32 = 8;
/// Longer than any `min_ready`.
const LONG_ENOUGH: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
