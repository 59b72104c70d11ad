//! What answers the cloud in memory, as a cloud's API answers a real one: machines that boot and go
//! in tokio's time, faults by script, and what somebody does to machines behind the provider's
//! back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Balancer, locked};
use crate::worker_group::cloud::{CloudError, Deletion, Kind, Machine, Mark, Phase};

/// Calls that faults can be ordered for, and that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    List,
    Find,
    Create,
    Delete,
    Mark,
    Start,
    Sweep,
}

/// What a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused with this kind; nothing is done.
    Refused(Kind),
    /// Carried out, and the answer lost.
    Lost,
    /// Carried out, and never answered.
    Silent,
    /// Refused, for the cloud is asked too often: not before this time.
    Throttled(Duration),
    /// Carried out, and our reading of the answer panics.
    Panics,
    /// The machine of this create will never run.
    Dead,
    /// The machine of this create runs, and stops at once.
    Stops,
    /// The machine of this create vanishes after it has run.
    Vanishes,
    /// The machine stays pending.
    Hangs,
    /// The delete is taken on, and the machine fails in place of going.
    ComesBack,
}

/// The cloud: every clone is the same one.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) inner: Arc<Mutex<Inner>>,
    pub(crate) boot: Duration,
    pub(crate) deletion: Duration,
    pub(crate) window: Duration,
    /// The longest pause between two looks.
    pub(crate) pause: Duration,
    /// How late lists are.
    pub(crate) lag: Duration,
    /// Who gets traffic, where somebody does.
    pub(crate) balancer: Option<Balancer>,
    /// As [`Manner::finds_one_by_one`].
    pub(crate) one_by_one: bool,
    /// How many machines there is room for; a preflight warns of it, and nothing holds to it.
    pub(crate) quota: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(super) records: Vec<Record>,
    faults: Vec<(Call, String, Fault)>,
    calls: BTreeMap<Call, usize>,
    most: usize,
    /// Running machines at the time of each delete, before it.
    ready_at_deletes: Vec<usize>,
    next_id: usize,
    pub(super) log: Vec<String>,
    console: Option<String>,
}

/// A machine that is not shown.
pub(crate) struct Hidden(Record);

/// A machine, and what the service knows of it.
pub(super) struct Record {
    pub(super) machine: Machine,
    pub(super) attempt: u32,
    created: Instant,
    pub(super) fault: Option<Fault>,
    pub(super) user_data: String,
    deleted: Option<Instant>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            boot: Duration::from_secs(10),
            deletion: Duration::ZERO,
            window: Duration::ZERO,
            pause: Duration::from_secs(1),
            lag: Duration::ZERO,
            balancer: None,
            one_by_one: false,
            quota: None,
        }
    }
}

impl Memory {
    /// The next call of this kind about this object (`""`: any) meets a fault.
    pub(crate) fn order(&self, call: Call, object: &str, fault: Fault) {
        self.inner().faults.push((call, object.to_owned(), fault));
    }

    /// Puts a running machine there, as if it had been created long ago.
    pub(crate) fn put(&self, name: &str, mark: &Mark) {
        self.inner().put(name, mark, Phase::Running);
    }

    /// The same, created at this moment.
    pub(crate) fn put_created(&self, name: &str, mark: &Mark, created: SystemTime) {
        let mut inner = self.inner();
        let at = inner.put(name, mark, Phase::Running);
        inner.records[at].machine.created = Some(created);
    }

    /// Somebody takes a machine's marks off.
    pub(crate) fn unmark(&self, name: &str) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            let mark = &mut record.machine.mark;
            for text in [
                &mut mark.cluster,
                &mut mark.group,
                &mut mark.uid,
                &mut mark.generation,
            ] {
                text.clear();
            }
        }
    }

    /// Somebody changes the mark that says what a machine was made from.
    pub(crate) fn remark(&self, name: &str, generation: &str) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            generation.clone_into(&mut record.machine.mark.generation);
        }
    }

    /// As if the process whose create made all of this had been killed before its end.
    pub(crate) fn cut_off(&self) {
        for record in &mut self.inner().records {
            record.machine.mark.unsaved = true;
        }
    }

    /// Another state adopts a machine.
    pub(crate) fn adopt(&self, name: &str, uid: &str) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            uid.clone_into(&mut record.machine.mark.uid);
        }
    }

    /// A machine changes its phase by itself.
    pub(crate) fn set(&self, name: &str, phase: Phase) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            record.machine.phase = phase;
            record.fault = None;
        }
    }

    /// A machine has been on its way since then, and gets nowhere.
    pub(crate) fn hang(&self, name: &str, since: SystemTime) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            record.machine.phase = Phase::Pending;
            record.machine.created = Some(since);
            record.fault = Some(Fault::Hangs);
        }
    }

    /// The cloud tells of a machine in another way.
    pub(crate) fn retell(&self, name: &str, change: impl Fn(&mut Machine)) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            change(&mut record.machine);
        }
    }

    /// What the console of any machine ends with.
    pub(crate) fn says(&self, console: &str) {
        self.inner().console = Some(console.to_owned());
    }

    /// Somebody changes a machine's shape.
    pub(crate) fn observe(&self, name: &str, key: &str, value: &str) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            let observed = &mut record.machine.observed;
            observed.insert(key.to_owned(), value.to_owned());
        }
    }

    /// Somebody makes a machine boot another image.
    pub(crate) fn reimage(&self, name: &str, image: &str) {
        let mut inner = self.inner();
        for record in inner.records.iter_mut().filter(|r| r.machine.name == name) {
            record.machine.image = image.to_owned();
        }
    }

    /// A machine vanishes.
    pub(crate) fn remove(&self, name: &str) {
        self.inner().records.retain(|r| r.machine.name != name);
    }

    /// The cloud does not show a machine that was created at this moment, not even when asked.
    pub(crate) fn hide(&self, name: &str, created: SystemTime) -> Hidden {
        let mut inner = self.inner();
        let at = inner.records.iter().position(|r| r.machine.name == name);
        let mut record = inner.records.remove(at.unwrap_or_default());
        record.machine.created = Some(created);
        Hidden(record)
    }

    /// It does again.
    pub(crate) fn unhide(&self, hidden: Hidden) {
        self.inner().records.push(hidden.0);
    }

    /// Names and phases of all that exist, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.machines().into_iter().map(|m| m.name).collect();
        names.sort();
        names
    }

    /// All that exist.
    pub(crate) fn machines(&self) -> Vec<Machine> {
        let mut inner = self.inner();
        inner.settle(self);
        inner.records.iter().map(|r| r.machine.clone()).collect()
    }

    /// What a machine boots with.
    pub(crate) fn user_data(&self, name: &str) -> Option<String> {
        let inner = self.inner();
        let record = inner.records.iter().find(|r| r.machine.name == name)?;
        Some(record.user_data.clone())
    }

    /// How many calls of a kind were made.
    pub(crate) fn calls(&self, call: Call) -> usize {
        self.inner().calls.get(&call).copied().unwrap_or(0)
    }

    /// The largest number of machines that existed at once.
    pub(crate) fn most(&self) -> usize {
        self.inner().most
    }

    /// The smallest number of machines that ran after a delete of a running one.
    pub(crate) fn fewest_ready(&self) -> Option<usize> {
        self.inner().ready_at_deletes.iter().min().copied()
    }

    /// `create w-u-0#1`, `delete w-u-0`, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.inner().log.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    /// What the console of a machine ends with.
    pub(super) fn said(&self, name: &str) -> String {
        let says = self.inner().console.clone();
        says.unwrap_or_else(|| format!("{name}: no bootable device"))
    }

    /// One call: counted, its fault taken from the script.
    pub(super) async fn call<T>(
        &self,
        call: Call,
        object: &str,
        act: impl FnOnce(&mut Inner, Option<Fault>) -> Result<T, Kind>,
    ) -> Result<T, CloudError> {
        let action = call.action();
        let refused = |kind| CloudError::new(kind, action, object, format!("{kind:?}"));
        let (fault, answer) = {
            let mut inner = self.inner();
            inner.settle(self);
            let fault = inner.meets(call, object);
            match fault {
                Some(Fault::Refused(kind)) => return Err(refused(kind)),
                Some(Fault::Throttled(wait)) => {
                    return Err(CloudError {
                        retry_after: Some(wait),
                        ..refused(Kind::RateLimit)
                    });
                }
                fault => (fault, act(&mut inner, fault).map_err(refused)?),
            }
        };
        match fault {
            Some(Fault::Lost) => Err(refused(Kind::Ambiguous)),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Panics) => panic!("as ordered"),
            _ => Ok(answer),
        }
    }
}

impl Call {
    fn action(self) -> &'static str {
        match self {
            Self::List => "Memory List",
            Self::Find => "Memory Find",
            Self::Create => "Memory Create",
            Self::Delete => "Memory Delete",
            Self::Mark => "Memory Mark",
            Self::Start => "Memory Start",
            Self::Sweep => "Memory Sweep",
        }
    }
}

impl Record {
    /// Whether lists, which may be late, show it.
    pub(super) fn is_listed(&self, memory: &Memory) -> bool {
        memory.lag.is_zero() || Instant::now() >= self.created + memory.lag
    }
}

impl Inner {
    /// Counts a call, and takes its fault from the script.
    fn meets(&mut self, call: Call, object: &str) -> Option<Fault> {
        *self.calls.entry(call).or_default() += 1;
        let meets = |(of, about, _): &(Call, String, Fault)| {
            *of == call && (about.is_empty() || about == object)
        };
        let at = self.faults.iter().position(meets)?;
        Some(self.faults.remove(at).2)
    }

    /// Takes a delete on.
    pub(super) fn delete(
        &mut self,
        machine: &Machine,
        fault: Option<Fault>,
        takes: Duration,
    ) -> Deletion {
        self.log.push(format!("delete {}", machine.name));
        let running = |one: &&Record| one.machine.phase == Phase::Running;
        let ready = self.records.iter().filter(running).count();
        let mut records = self.records.iter_mut();
        let Some(record) = records.find(|one| one.machine.id == machine.id) else {
            return Deletion::Gone;
        };
        if record.machine.phase == Phase::Running {
            self.ready_at_deletes.push(ready - 1);
        }
        if fault == Some(Fault::ComesBack) {
            record.machine.phase = Phase::Failed;
            record.machine.message = Some("the disk is busy".to_owned());
            return Deletion::Going;
        }
        record.machine.phase = Phase::Deleting;
        record.deleted = Some(Instant::now());
        match takes.is_zero() {
            true => Deletion::Gone,
            false => Deletion::Going,
        }
    }

    /// Starts a machine that is stopped.
    pub(super) fn start(&mut self, id: &str) {
        let is_asked =
            |one: &&mut Record| one.machine.id == id && one.machine.phase == Phase::Stopped;
        if let Some(record) = self.records.iter_mut().find(is_asked) {
            record.machine.phase = Phase::Pending;
            record.created = Instant::now();
            self.log.push(format!("start {}", record.machine.name));
        }
    }

    pub(super) fn put(&mut self, name: &str, mark: &Mark, phase: Phase) -> usize {
        self.next_id += 1;
        self.records.push(Record {
            machine: Machine {
                id: format!("i-{}", self.next_id),
                name: name.to_owned(),
                zone: "a".to_owned(),
                addresses: Vec::new(),
                image: "flatcar".to_owned(),
                phase,
                message: None,
                mark: mark.clone(),
                created: None,
                observed: BTreeMap::from([("size".to_owned(), "small".to_owned())]),
            },
            attempt: 0,
            created: Instant::now(),
            fault: None,
            user_data: String::new(),
            deleted: None,
        });
        self.most = self.most.max(self.records.len());
        self.records.len() - 1
    }

    /// What time has done to the machines.
    fn settle(&mut self, memory: &Memory) {
        let now = Instant::now();
        self.records.retain(|record| {
            let vanished =
                record.fault == Some(Fault::Vanishes) && now >= record.created + memory.boot;
            let deleted = record.deleted.is_some_and(|at| now >= at + memory.deletion);
            !vanished && !deleted
        });
        for record in &mut self.records {
            let booted = now >= record.created + memory.boot;
            if record.machine.phase != Phase::Pending || !booted {
                continue;
            }
            record.machine.phase = match record.fault {
                Some(Fault::Dead) => Phase::Failed,
                Some(Fault::Stops) => Phase::Stopped,
                Some(Fault::Hangs) => Phase::Pending,
                _ => Phase::Running,
            };
        }
    }
}
