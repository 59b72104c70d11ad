//! A cloud in memory, in tokio's time, with faults by script: what the engine is tested on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    Change, Cloud, CloudError, Deletion, Entry, Growth, Kind, Machine, Manner, Mark, Members,
    Phase, Spec,
};
use crate::kubernetes::Host;
use crate::protocol::value::Value;
use crate::provider::{Attribute, Diagnostic, Diagnostics, Type};

pub(crate) mod cluster;

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

/// The cloud.
pub(crate) struct Memory {
    pub(crate) inner: Mutex<Inner>,
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
    records: Vec<Record>,
    faults: Vec<(Call, String, Fault)>,
    calls: BTreeMap<Call, usize>,
    most: usize,
    /// Running machines at the time of each delete, before it.
    ready_at_deletes: Vec<usize>,
    next_id: usize,
    log: Vec<String>,
    console: Option<String>,
}

/// A machine that is not shown.
pub(crate) struct Hidden(Record);

struct Record {
    machine: Machine,
    attempt: u32,
    created: Instant,
    fault: Option<Fault>,
    user_data: String,
    deleted: Option<Instant>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
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
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call: counted, its fault taken from the script.
    fn meets(&self, call: Call, object: &str) -> Option<Fault> {
        let mut inner = self.inner();
        inner.settle(self);
        *inner.calls.entry(call).or_default() += 1;
        let at = inner
            .faults
            .iter()
            .position(|(c, o, _)| *c == call && (o.is_empty() || o == object))?;
        Some(inner.faults.remove(at).2)
    }

    async fn answer<T>(
        &self,
        action: &'static str,
        object: &str,
        fault: Option<Fault>,
        value: T,
    ) -> Result<T, CloudError> {
        match fault {
            Some(Fault::Lost) => Err(refused(action, object, Kind::Ambiguous)),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Panics) => panic!("as ordered"),
            _ => Ok(value),
        }
    }
}

impl Inner {
    fn put(&mut self, name: &str, mark: &Mark, phase: Phase) -> usize {
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

/// Where a fault refuses a call before anything is done.
fn refusal(fault: Option<Fault>, action: &'static str, object: &str) -> Result<(), CloudError> {
    match fault {
        Some(Fault::Refused(kind)) => Err(refused(action, object, kind)),
        Some(Fault::Throttled(wait)) => Err(CloudError {
            retry_after: Some(wait),
            ..refused(action, object, Kind::RateLimit)
        }),
        _ => Ok(()),
    }
}

/// Where a machine of this spec comes: the subnet of its turn, and an address of each network by its number.
fn placed(spec: &Spec<'_>) -> BTreeMap<String, String> {
    let Value::Map(shape) = spec.shape else {
        return BTreeMap::new();
    };
    let ordinal = usize::try_from(spec.ordinal).unwrap_or_default();
    let listed = |value: Option<&Value>, at: usize| match value {
        Some(Value::List(listed)) if !listed.is_empty() => match &listed[at % listed.len()] {
            Value::String(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    let mut placed = BTreeMap::new();
    placed
        .extend(listed(shape.get("subnets"), ordinal).map(|subnet| ("subnets".to_owned(), subnet)));
    if let Some(Value::List(networks)) = shape.get("networks") {
        let addresses = networks.iter().filter_map(|network| match network {
            Value::Map(network) => listed(network.get("addresses"), ordinal),
            _ => None,
        });
        let addresses: Vec<String> = addresses.collect();
        placed.insert("networks.addresses".to_owned(), addresses.join(","));
    }
    placed
}

fn refused(action: &'static str, object: &str, kind: Kind) -> CloudError {
    CloudError::new(kind, action, object, format!("{kind:?}"))
}

#[async_trait]
impl Cloud for Memory {
    async fn scope(&self) -> Result<String, CloudError> {
        Ok(SCOPE.to_owned())
    }

    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        let fault = self.meets(Call::List, group);
        refusal(fault, "Memory List", group)?;
        let now = Instant::now();
        let machines = self
            .inner()
            .records
            .iter()
            .filter(|r| r.machine.mark.cluster == cluster && r.machine.mark.group == group)
            .filter(|r| self.lag.is_zero() || now >= r.created + self.lag)
            .map(|record| record.machine.clone())
            .collect();
        self.answer("Memory List", group, fault, machines).await
    }

    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        let fault = self.meets(Call::Find, "");
        refusal(fault, "Memory Find", "ids")?;
        let ids: BTreeSet<&String> = ids.iter().collect();
        let machines = self.machines();
        let found = machines
            .into_iter()
            .filter(|m| ids.contains(&m.id))
            .collect();
        self.answer("Memory Find", "ids", fault, found).await
    }

    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError> {
        let fault = self.meets(Call::Create, spec.name);
        refusal(fault, "Memory Create", spec.name)?;
        let machine = {
            let mut inner = self.inner();
            inner
                .log
                .push(format!("create {}#{}", spec.name, spec.attempt));
            let same = |record: &Record| {
                record.machine.name == spec.name && record.attempt == spec.attempt
            };
            let at = match inner.records.iter().position(same) {
                Some(at) => at,
                None => {
                    let at = inner.put(spec.name, spec.mark, Phase::Pending);
                    let record = &mut inner.records[at];
                    record.attempt = spec.attempt;
                    record.fault = fault;
                    record.machine.image = spec.image.to_owned();
                    record.machine.created = Some(SystemTime::now());
                    record.machine.observed = self.wanted(spec.shape);
                    record.machine.observed.extend(placed(spec));
                    record.user_data = String::from_utf8_lossy(spec.user_data).into_owned();
                    at
                }
            };
            inner.records[at].machine.clone()
        };
        self.answer("Memory Create", spec.name, fault, machine)
            .await
    }

    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        let fault = self.meets(Call::Delete, &machine.name);
        refusal(fault, "Memory Delete", &machine.name)?;
        let deletion = {
            let mut inner = self.inner();
            inner.log.push(format!("delete {}", machine.name));
            let running = |r: &&Record| r.machine.phase == Phase::Running;
            let ready = inner.records.iter().filter(running).count();
            let at = inner
                .records
                .iter()
                .position(|r| r.machine.id == machine.id);
            match at {
                None => Deletion::Gone,
                Some(at) => {
                    if inner.records[at].machine.phase == Phase::Running {
                        inner.ready_at_deletes.push(ready - 1);
                    }
                    let record = &mut inner.records[at];
                    match fault {
                        Some(Fault::ComesBack) => {
                            record.machine.phase = Phase::Failed;
                            record.machine.message = Some("the disk is busy".to_owned());
                        }
                        _ => {
                            record.machine.phase = Phase::Deleting;
                            record.deleted = Some(Instant::now());
                        }
                    }
                    match self.deletion.is_zero() && fault != Some(Fault::ComesBack) {
                        true => Deletion::Gone,
                        false => Deletion::Going,
                    }
                }
            }
        };
        self.answer("Memory Delete", &machine.name, fault, deletion)
            .await
    }

    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        let fault = self.meets(Call::Mark, "");
        refusal(fault, "Memory Mark", "machines")?;
        // As Nova does.
        if machines
            .iter()
            .any(|machine| machine.phase == Phase::Failed)
        {
            return Err(refused("Memory Mark", "machines", Kind::BadRequest));
        }
        let wanted = self.wanted(shape);
        for record in &mut self.inner().records {
            if machines
                .iter()
                .any(|machine| machine.id == record.machine.id)
            {
                record.machine.mark = mark.clone().over(&record.machine.mark);
                if *shape != Value::Null {
                    let observed = &mut record.machine.observed;
                    observed.retain(|key, _| !key.starts_with("tags."));
                    let changed = wanted
                        .iter()
                        .filter(|(key, _)| key.starts_with("tags.") || *key == "groups");
                    observed.extend(changed.map(|(key, value)| (key.clone(), value.clone())));
                }
            }
        }
        self.answer("Memory Mark", "machines", fault, ()).await
    }

    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        let fault = self.meets(Call::Start, "");
        refusal(fault, "Memory Start", "machines")?;
        {
            let mut inner = self.inner();
            let asked = |record: &&mut Record| {
                let is_asked = machines.iter().any(|one| one.id == record.machine.id);
                is_asked && record.machine.phase == Phase::Stopped
            };
            let started: Vec<String> = inner
                .records
                .iter_mut()
                .filter(asked)
                .map(|record| {
                    record.machine.phase = Phase::Pending;
                    record.created = Instant::now();
                    format!("start {}", record.machine.name)
                })
                .collect();
            inner.log.extend(started);
        }
        self.answer("Memory Start", "machines", fault, ()).await
    }

    async fn sweep(&self, mark: &Mark) -> Result<(), CloudError> {
        let group = mark.group.as_str();
        let fault = self.meets(Call::Sweep, group);
        refusal(fault, "Memory Sweep", group)?;
        self.answer("Memory Sweep", group, fault, ()).await
    }

    fn wanted(&self, shape: &Value) -> BTreeMap<String, String> {
        let Value::Map(fields) = shape else {
            return BTreeMap::new();
        };
        let mut wanted = BTreeMap::new();
        if let Some(Value::String(size)) = fields.get("size") {
            wanted.insert("size".to_owned(), size.clone());
        }
        if let Some(Value::List(groups)) = fields.get("groups") {
            let mut groups: Vec<&str> = groups
                .iter()
                .filter_map(|group| match group {
                    Value::String(group) => Some(group.as_str()),
                    _ => None,
                })
                .collect();
            groups.sort_unstable();
            wanted.insert("groups".to_owned(), groups.join(","));
        }
        if let Some(Value::Map(tags)) = fields.get("tags") {
            for (key, value) in tags {
                if let Value::String(value) = value {
                    wanted.insert(format!("tags.{key}"), value.clone());
                }
            }
        }
        wanted
    }

    async fn preflight(
        &self,
        image: &str,
        _shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        Ok(match image {
            "absent" if growth.created > 0 => {
                Diagnostic::error("Image does not exist", "Choose another one.")
                    .at(crate::provider::Path::of("image"))
                    .into()
            }
            _ => {
                let left = self
                    .quota
                    .map(|quota| quota.saturating_sub(self.names().len()));
                match left.and_then(|left| growth.advice(left)) {
                    Some(advice) => {
                        let detail = format!("{advice}Ask for more.");
                        Diagnostic::warning("Quota may not be enough", detail).into()
                    }
                    None => Diagnostics::none(),
                }
            }
        })
    }

    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        let says = self.inner().console.clone();
        Ok(Some(says.unwrap_or_else(|| {
            format!("{}: no bootable device", machine.name)
        })))
    }

    fn members(&self) -> Option<&dyn Members> {
        self.balancer.as_ref().map(|balancer| balancer as _)
    }

    fn manner(&self) -> Manner {
        Manner {
            consistency_window: self.window,
            poll_interval: self.pause,
            finds_one_by_one: self.one_by_one,
        }
    }
}

/// Members by script: a machine gets traffic some time after it was entered, and some until some time after it was taken out.
#[derive(Default)]
pub(crate) struct Balancer {
    pub(crate) serves_after: Duration,
    pub(crate) drain_takes: Duration,
    /// The next call is refused.
    pub(crate) refuses: Mutex<Option<Kind>>,
    /// Every call to take machines out is refused.
    pub(crate) keeps: Option<Kind>,
    /// Whoever enters machines gets no answer.
    pub(crate) is_silent: bool,
    pub(crate) inner: Mutex<BalancerInner>,
}

#[derive(Default)]
pub(crate) struct BalancerInner {
    members: BTreeMap<String, Member>,
    log: Vec<String>,
}

#[derive(Clone, Copy)]
enum Member {
    Since(Instant),
    Until(Instant),
}

impl Balancer {
    /// `enter w-u-0`, `leave w-u-0`, `out w-u-0`, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        locked(&self.inner).log.clone()
    }

    /// A machine that gets traffic since long ago.
    pub(crate) fn put(&self, name: &str) {
        let since = Instant::now() - self.serves_after;
        locked(&self.inner)
            .members
            .insert(name.to_owned(), Member::Since(since));
    }

    fn answer(&self, action: &'static str) -> Result<(), CloudError> {
        let refuses = locked(&self.refuses).take();
        match refuses.or(self.keeps.filter(|_| action == "Leave")) {
            None => Ok(()),
            Some(kind) => Err(CloudError::new(
                kind,
                action,
                "the balancer",
                format!("{kind:?}"),
            )),
        }
    }
}

#[async_trait]
impl Members for Balancer {
    async fn enter(&self, hosts: &[Host]) -> Result<BTreeSet<String>, CloudError> {
        if self.is_silent {
            return std::future::pending().await;
        }
        self.answer("Enter")?;
        let now = Instant::now();
        let mut inner = locked(&self.inner);
        let mut serve = BTreeSet::new();
        for host in hosts {
            match inner.members.get(&host.name) {
                Some(Member::Since(since)) if now >= *since + self.serves_after => {
                    serve.insert(host.name.clone());
                }
                Some(Member::Since(_)) => {}
                Some(Member::Until(_)) | None => {
                    inner.members.insert(host.name.clone(), Member::Since(now));
                    inner.log.push(format!("enter {}", host.name));
                }
            }
        }
        Ok(serve)
    }

    fn out(&self, hosts: &[Host]) -> BTreeSet<String> {
        let inner = locked(&self.inner);
        let is_out = |host: &&Host| matches!(inner.members.get(&host.name), Some(Member::Until(_)));
        let names = hosts.iter().filter(is_out);
        names.map(|host| host.name.clone()).collect()
    }

    async fn leave(&self, hosts: &[Host]) -> Result<(), CloudError> {
        self.answer("Leave")?;
        let mut inner = locked(&self.inner);
        for host in hosts {
            if let Some(Member::Since(_)) = inner.members.get(&host.name) {
                let until = Instant::now() + self.drain_takes;
                inner
                    .members
                    .insert(host.name.clone(), Member::Until(until));
                inner.log.push(format!("leave {}", host.name));
            }
        }
        Ok(())
    }

    async fn left(&self, host: &Host) -> Result<(), CloudError> {
        let member = locked(&self.inner).members.get(&host.name).copied();
        if let Some(Member::Until(until)) = member {
            tokio::time::sleep_until(until).await;
        }
        locked(&self.inner).log.push(format!("out {}", host.name));
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The row of the table of clouds; a provider block `memory = { id = "x" }` opens the cloud that [`open`] made for that id.
pub(crate) static ENTRY: Entry = Entry {
    name: "memory",
    provider_schema: || {
        let id = Attribute::string("id", "Which one.").required();
        Attribute::object("memory", "A cloud in memory.", vec![id]).optional()
    },
    group_schema: || {
        let attributes = vec![
            Attribute::string("size", "Size of a machine.").default("small"),
            Attribute::string("zone", "Zone of a machine.").optional(),
            Attribute::map("tags", "Tags.", Type::String).optional(),
            Attribute::list("subnets", "Subnets.", Type::String).optional(),
            Attribute::list_of(
                "disks",
                "Disks.",
                vec![Attribute::string("name", "Name.").required()],
            )
            .optional(),
            Attribute::list_of(
                "networks",
                "Networks.",
                vec![
                    Attribute::string("name", "Name.").required(),
                    Attribute::list("addresses", "Addresses.", Type::String).optional(),
                ],
            )
            .optional(),
            Attribute::list("groups", "Security groups.", Type::String).optional(),
        ];
        Attribute::object("memory", "Machines in memory.", attributes).optional()
    },
    fields: &[
        ("tags", Change::InPlace),
        ("subnets", Change::Place),
        ("networks.addresses", Change::Place),
        ("disks", Change::Set),
        ("groups", Change::NowInPlace),
    ],
    set_hostname: true,
    platform: "sandbox",
    scope: "memory",
    manner: Manner {
        consistency_window: Duration::ZERO,
        poll_interval: Duration::from_secs(1),
        finds_one_by_one: false,
    },
    lacks: &[],
    validate: |_| Diagnostics::none(),
    connect: |connect| {
        let id = match connect.context.setting("memory") {
            Value::Map(memory) => memory.get("id").cloned(),
            _ => None,
        };
        let found = match id {
            Some(Value::String(id)) => clouds().get(&id).cloned(),
            _ => None,
        };
        Box::pin(async move {
            match found {
                Some(memory) => {
                    let cloud: Box<dyn Cloud> = Box::new(Handle(memory));
                    Ok(cloud)
                }
                _ => Err(Diagnostic::error("No such cloud", "There is none in memory.").into()),
            }
        })
    },
};

const SCOPE: &str = "memory/1";

type Clouds = BTreeMap<String, Arc<Memory>>;

fn clouds() -> MutexGuard<'static, Clouds> {
    static CLOUDS: Mutex<Clouds> = Mutex::new(BTreeMap::new());
    CLOUDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a cloud known under an id of a test's own.
pub(crate) fn open(id: &str, memory: Memory) -> Arc<Memory> {
    let memory = Arc::new(memory);
    clouds().insert(id.to_owned(), Arc::clone(&memory));
    memory
}

/// The cloud that was made for this id.
pub(crate) fn reopen(id: &str) -> Arc<Memory> {
    clouds().get(id).cloned().unwrap_or_default()
}

struct Handle(Arc<Memory>);

#[async_trait]
impl Cloud for Handle {
    async fn scope(&self) -> Result<String, CloudError> {
        self.0.scope().await
    }
    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        self.0.list(cluster, group).await
    }
    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        self.0.find(ids).await
    }
    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError> {
        self.0.create(spec).await
    }
    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        self.0.delete(machine).await
    }
    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        self.0.mark(machines, mark, shape).await
    }
    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        self.0.start(machines).await
    }
    async fn sweep(&self, mark: &Mark) -> Result<(), CloudError> {
        self.0.sweep(mark).await
    }
    fn wanted(&self, shape: &Value) -> BTreeMap<String, String> {
        self.0.wanted(shape)
    }
    async fn preflight(
        &self,
        image: &str,
        shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        self.0.preflight(image, shape, growth).await
    }
    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        self.0.console(machine).await
    }
    fn members(&self) -> Option<&dyn Members> {
        self.0.members()
    }
    fn manner(&self) -> Manner {
        self.0.manner()
    }
}
