//! A cloud in memory, as the table has it: a row, two schemas, a provider block, a shape and
//! answers. Nothing else in the house knows its name, so this file is all that a cloud costs.
//!
//! It is no stub: the whole engine is tested on it. What answers it, a service with machines that
//! boot in tokio's time and faults by script, is `memory/service.rs`; a real cloud has that
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;

pub(crate) use self::balancer::Balancer;
use self::service::Record;
pub(crate) use self::service::{Call, Fault, Memory};
use super::{
    Answers, Change, CloudError, Connect, Connecting, Deletion, Entry, Findings, Growth, Kind,
    Machine, Manner, Mark, Members, Phase, Spec,
};
use crate::provider::{Attribute, Diagnostic, Diagnostics, Path, Type};

mod balancer;
pub(crate) mod cluster;
mod service;

/// The row of the table of clouds.
pub(crate) static ENTRY: Entry = Entry {
    name: "memory",
    provider_schema,
    group_schema,
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
    connect,
};

/// The attribute `memory` of the provider block.
fn provider_schema() -> Attribute {
    let id = Attribute::string("id", "Which one.").required();
    Attribute::object("memory", "A cloud in memory.", vec![id]).optional()
}

/// The attribute `memory` of the provider block, as a struct.
#[derive(Default, serde::Deserialize)]
struct Settings {
    id: String,
}

/// The attribute `memory` of the group: one machine's shape.
fn group_schema() -> Attribute {
    let disk = vec![Attribute::string("name", "Name.").required()];
    let network = vec![
        Attribute::string("name", "Name.").required(),
        Attribute::list("addresses", "Addresses.", Type::String).optional(),
    ];
    let attributes = vec![
        Attribute::string("size", "Size of a machine.").default("small"),
        Attribute::string("zone", "Zone of a machine.").optional(),
        Attribute::map("tags", "Tags.", Type::String).optional(),
        Attribute::list("subnets", "Subnets.", Type::String).optional(),
        Attribute::list_of("disks", "Disks.", disk).optional(),
        Attribute::list_of("networks", "Networks.", network).optional(),
        Attribute::list("groups", "Security groups.", Type::String).optional(),
    ];
    Attribute::object("memory", "Machines in memory.", attributes).optional()
}

/// The attribute `memory` of the group, as a struct.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Shape {
    size: Option<String>,
    zone: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    subnets: Option<Vec<String>>,
    disks: Option<Vec<Disk>>,
    networks: Option<Vec<Network>>,
    groups: Option<Vec<String>>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Disk {
    name: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Network {
    name: String,
    addresses: Option<Vec<String>>,
}

/// Opens the cloud that [`open`] has made for the id of the provider block.
fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let settings: Settings = ENTRY.settings(connect.context)?;
        match locked(&CLOUDS).get(&settings.id) {
            Some(memory) => Ok(memory.clone().opened()),
            None => Err(Diagnostic::error("No such cloud", "There is none in memory.").into()),
        }
    }
    .boxed()
}

#[async_trait]
impl Answers for Memory {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Result<String, CloudError> {
        Ok("memory/1".to_owned())
    }

    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        let is_of = |mark: &Mark| mark.cluster == cluster && mark.group == group;
        self.call(Call::List, group, |inner, _| {
            let listed = inner.records.iter();
            let listed = listed.filter(|one| is_of(&one.machine.mark) && one.is_listed(self));
            Ok(listed.map(|one| one.machine.clone()).collect())
        })
        .await
    }

    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        self.call(Call::Find, "", |inner, _| {
            let found = inner.records.iter().map(|one| one.machine.clone());
            Ok(found.filter(|one| ids.contains(&one.id)).collect())
        })
        .await
    }

    async fn create(
        &self,
        spec: &Spec<'_>,
        shape: Shape,
        user_data: String,
    ) -> Result<Machine, CloudError> {
        self.call(Call::Create, spec.name, |inner, fault| {
            let (name, attempt) = (spec.name, spec.attempt);
            inner.log.push(format!("create {name}#{attempt}"));
            let same = |one: &Record| one.machine.name == name && one.attempt == attempt;
            let at = inner.records.iter().position(same).unwrap_or_else(|| {
                let at = inner.put(name, spec.mark, Phase::Pending);
                let record = &mut inner.records[at];
                record.attempt = attempt;
                record.fault = fault;
                record.user_data = user_data;
                let machine = &mut record.machine;
                machine.image = spec.image.to_owned();
                machine.created = Some(std::time::SystemTime::now());
                machine.observed = wanted(&shape);
                machine.observed.extend(placed(spec.ordinal, &shape));
                at
            });
            Ok(inner.records[at].machine.clone())
        })
        .await
    }

    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        self.call(Call::Delete, &machine.name, |inner, fault| {
            Ok(inner.delete(machine, fault, self.deletion))
        })
        .await
    }

    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        self.call(Call::Start, "", |inner, _| {
            for machine in machines {
                inner.start(&machine.id);
            }
            Ok(())
        })
        .await
    }

    async fn sweep(&self, group: &Mark, _first: u64) -> Result<(), CloudError> {
        self.call(Call::Sweep, &group.group, |_, _| Ok(())).await
    }

    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: Option<Shape>,
    ) -> Result<(), CloudError> {
        let is_in_place = |key: &str| key.starts_with("tags.") || key == "groups";
        self.call(Call::Mark, "", |inner, _| {
            // As Nova does.
            if machines.iter().any(|one| one.phase == Phase::Failed) {
                return Err(Kind::BadRequest);
            }
            let ids: BTreeSet<&str> = machines.iter().map(|one| one.id.as_str()).collect();
            let records = inner.records.iter_mut();
            for record in records.filter(|one| ids.contains(one.machine.id.as_str())) {
                let machine = &mut record.machine;
                machine.mark = mark.clone().over(&machine.mark);
                if let Some(shape) = &shape {
                    machine.observed.retain(|key, _| !key.starts_with("tags."));
                    let changed = wanted(shape).into_iter();
                    let changed = changed.filter(|(key, _)| is_in_place(key));
                    machine.observed.extend(changed);
                }
            }
            Ok(())
        })
        .await
    }

    fn wanted(&self, shape: &Shape) -> BTreeMap<String, String> {
        wanted(shape)
    }

    async fn preflight(
        &self,
        image: &str,
        _: Shape,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        let mut findings = Findings::new(|_| None);
        if image == "absent" && growth.created > 0 {
            let at = Path::of("image");
            findings.misfit(at, "Image does not exist", "Choose another one.");
        }
        if let Some(quota) = self.quota {
            let left = quota.saturating_sub(self.names().len());
            let summaries = ("Quota may not be enough", None);
            findings.room(growth, left, summaries, None, |_, advice| {
                format!("{advice}Ask for more.")
            });
        }
        Ok(findings.told())
    }

    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        Ok(Some(self.said(&machine.name)))
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

/// What a machine of this shape shows.
fn wanted(shape: &Shape) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    if let Some(size) = &shape.size {
        wanted.insert("size".to_owned(), size.clone());
    }
    if let Some(groups) = &shape.groups {
        let groups: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
        let groups: Vec<&str> = groups.into_iter().collect();
        wanted.insert("groups".to_owned(), groups.join(","));
    }
    let tags = shape.tags.iter().flatten();
    wanted.extend(tags.map(|(key, value)| (format!("tags.{key}"), value.clone())));
    wanted
}

/// Where a machine comes: the subnet of its turn, and an address of each network.
fn placed(ordinal: u64, shape: &Shape) -> BTreeMap<String, String> {
    let in_turn = |listed: &Option<Vec<String>>| {
        let listed = listed.as_ref().filter(|listed| !listed.is_empty())?;
        let turn = usize::try_from(ordinal).unwrap_or_default() % listed.len();
        Some(listed[turn].clone())
    };
    let mut placed = BTreeMap::new();
    placed.extend(in_turn(&shape.subnets).map(|subnet| ("subnets".to_owned(), subnet)));
    if let Some(networks) = &shape.networks {
        let addresses = networks.iter();
        let addresses = addresses.filter_map(|network| in_turn(&network.addresses));
        let addresses: Vec<String> = addresses.collect();
        placed.insert("networks.addresses".to_owned(), addresses.join(","));
    }
    placed
}

static CLOUDS: Mutex<BTreeMap<String, Memory>> = Mutex::new(BTreeMap::new());

/// Makes a cloud known under an id of a test's own.
pub(crate) fn open(id: &str, memory: Memory) -> Memory {
    locked(&CLOUDS).insert(id.to_owned(), memory.clone());
    memory
}

/// The cloud that was made for this id.
pub(crate) fn reopen(id: &str) -> Memory {
    locked(&CLOUDS).get(id).cloned().unwrap_or_default()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
