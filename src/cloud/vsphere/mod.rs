//! vSphere: machines are clones of a template, found by advanced parameters that carry their mark.
//!
//! In: the group's questions. Out: calls of vCenter's Web Services API in JSON. Names are unique in
//! a folder: a clone to one that is taken finds whose it is. The shape is in `shape`, the provider
//! block in `auth`, the address that a machine takes in `address`; methods, queries and tasks are
//! in `api`, objects in `object`, what faults mean in `fault`, what names stand for in `inventory`,
//! ids in `known`, bodies in `request`, answers in `machine`, what is asked before an apply in
//! `preflight`, how machines come in `create`, what is changed in `change`, and how machines go in
//! `leave`. See: *vSphere Web Services API*, 8.0 U1.

mod address;
mod api;
mod auth;
mod change;
mod create;
mod fault;
mod given;
mod inventory;
mod known;
mod leave;
mod machine;
mod object;
mod preflight;
mod request;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::{Value as Json, json};

use self::api::Session;
use self::inventory::{Datacenter, Place, Source};
use self::leave::Leaving;
use self::machine::{FACETS, Virtual};
use self::object::{Object, Query, Ref, start};
use self::shape::{ANNOTATION, EXTRA, GRACE, SHUTDOWN, Shape};
use crate::provider::Diagnostics;
use crate::worker_group::cloud::addresses::LISTED;
use crate::worker_group::cloud::{
    Answered, Answers, Change, CloudError, Connect, Connecting, Deletion, Entry, Facet, Growth,
    Kind, Lack, Machine, Manner, Mark, Once, Phase, Pool, Spec,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "vsphere",
    provider_schema: auth::provider_schema,
    group_schema: shape::group_schema,
    fields: &[
        (LISTED, Change::Place),
        (ANNOTATION, Change::InPlace),
        (EXTRA, Change::InPlace),
        (SHUTDOWN, Change::InPlace),
    ],
    set_hostname: true,
    platform: "vsphere",
    scope: "vCenter Server",
    manner: Manner {
        // Properties are of the moment at which they are asked for.
        consistency_window: Duration::ZERO,
        poll_interval: Duration::from_secs(5),
        finds_one_by_one: false,
    },
    lacks: &[
        (Lack::Leftovers, "disks are deleted with their machine"),
        (Lack::Members, "vSphere has no load balancer of its own"),
    ],
    validate: shape::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let context = connect.context;
        let login = || async { auth::login(ENTRY.settings(context)?).await };
        let session = context.shared.try_of(login).await?;
        let cloud = VSphere {
            session,
            pool: Pool::default(),
            datacenters: Once::default(),
            sources: Once::default(),
            places: Once::default(),
            cloning: Mutex::default(),
            leaving: Leaving::default(),
        };
        Ok(cloud.opened())
    }
    .boxed()
}

/// A vCenter Server.
struct VSphere {
    session: Arc<Session>,
    /// Names that are being created.
    pool: Pool,
    /// Paths of datacenters.
    datacenters: Once<String>,
    sources: Once<Source>,
    places: Once<Place>,
    /// Tasks of clones that were not awaited to their end, by name and attempt.
    cloning: Mutex<BTreeMap<(String, u32), Ref>>,
    leaving: Leaving,
}

#[async_trait]
impl Answers for VSphere {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Answered<String> {
        Ok(self.session.content.about.instance_uuid.clone())
    }

    async fn list(&self, cluster: &str, group: &str) -> Answered<Vec<Machine>> {
        let object = format!("{cluster}/{group}");
        let paths = machine::whose();
        let root = &self.session.content.root_folder;
        let query = Query {
            of: &[(VM, &paths)],
            from: vec![start(root, everywhere())],
        };
        let all = self.session.query(&object, query).await?;
        let ours = all
            .iter()
            .filter(|one| Virtual(one).is_of_group(cluster, group));
        let ours: Vec<&Object> = ours.collect();
        let own: BTreeSet<String> = ours
            .iter()
            .flat_map(|one| Virtual(one).own_keys())
            .collect();
        let ids: Vec<Ref> = ours.iter().map(|one| one.of.clone()).collect();
        let machines = self.machines(&object, &ids, &own).await?;
        Ok(machines
            .into_iter()
            .filter(|one| one.mark.is_whole())
            .collect())
    }

    async fn find(&self, ids: &[String]) -> Answered<Vec<Machine>> {
        let object = format!("{} machines", ids.len());
        let refs = ids.iter().filter_map(|id| known::reference(id));
        let refs: Vec<Ref> = refs.collect();
        let paths = machine::whose();
        let found = self.session.properties(&object, VM, &refs, &paths).await?;
        let own = found
            .iter()
            .flat_map(|one| Virtual(one).own_keys())
            .collect();
        let found = self.machines(&object, &refs, &own).await?.into_iter();
        // Another machine may have been given one's id. One that cannot say which it is is there.
        let asked = |mut machine: Machine| {
            let is = |id: &&String| **id == machine.id || is_called(id, &machine.id);
            machine.id = ids.iter().find(is)?.clone();
            Some(machine)
        };
        Ok(found.filter_map(asked).collect())
    }

    async fn create(&self, spec: &Spec<'_>, shape: Shape, user_data: String) -> Answered<Machine> {
        self.created(spec, &shape, &user_data).await
    }

    async fn delete(&self, machine: &Machine) -> Answered<Deletion> {
        let Machine { id, name, .. } = machine;
        let minutes = machine.observed.get(SHUTDOWN);
        let minutes = minutes.and_then(|minutes| minutes.parse::<u8>().ok());
        let grace = Duration::from_secs(60 * u64::from(minutes.unwrap_or(GRACE)));
        self.leaving.delete(&self.session, id, name, grace).await
    }

    async fn mark(&self, machines: &[Machine], mark: &Mark, shape: Option<Shape>) -> Answered<()> {
        change::mark(&self.session, machines, mark, shape.as_ref()).await
    }

    async fn start(&self, machines: &[Machine]) -> Answered<()> {
        address::alone(&self.session, machines).await?;
        change::start(&self.session, machines).await
    }

    fn wanted(&self, shape: &Shape) -> BTreeMap<String, String> {
        Facet::wanted(FACETS, shape)
    }

    async fn preflight(&self, image: &str, shape: Shape, growth: Growth) -> Answered<Diagnostics> {
        let mut found = preflight::of_provider(&self.session);
        if growth.created == 0 {
            return Ok(found.told());
        }
        let (source, place) = (self.source(image, &shape).await, self.place(&shape).await);
        if let Some(addresses) = &shape.addresses {
            preflight::room(&self.session, addresses, growth, &mut found).await?;
        }
        preflight::check(found, image, &shape, source, place)
    }

    /// A console is shown to browsers only. What keeps a machine from running is a question that it
    /// asks, as a rule, and whether its guest has come up VMware Tools tell.
    async fn console(&self, machine: &Machine) -> Answered<Option<String>> {
        let paths = [QUESTION, TOOLS, "overallStatus"].map(str::to_owned);
        let of: Vec<Ref> = known::reference(&machine.id).into_iter().collect();
        let found = self
            .session
            .properties(&machine.name, VM, &of, &paths)
            .await?;
        let Some(found) = found.first() else {
            let gone = "nothing: there is no such machine";
            return Err(CloudError::new(
                Kind::NotFound,
                api::RETRIEVE,
                &machine.name,
                gone,
            ));
        };
        let said = [
            ("question", found.text(QUESTION)),
            ("VMware Tools", found.text(TOOLS)),
            ("status", found.text("overallStatus")),
        ];
        let said = said.iter().filter(|(_, words)| !words.is_empty());
        let lines: Vec<String> = said
            .map(|(what, words)| format!("{what}: {words}"))
            .collect();
        Ok((!lines.is_empty()).then(|| lines.join("\n")))
    }
}

impl VSphere {
    /// Those of these that exist, with parameters of these keys.
    async fn machines(
        &self,
        object: &str,
        ids: &[Ref],
        own: &BTreeSet<String>,
    ) -> Answered<Vec<Machine>> {
        let found = self
            .session
            .properties(object, VM, ids, &machine::paths(own))
            .await?;
        let told = |one: &Object| {
            let mut machine = Virtual(one).machine();
            if self.leaving.has(&machine.id) {
                machine.phase = Phase::Deleting;
            }
            machine
        };
        Ok(found.iter().map(told).collect())
    }

    async fn datacenter(&self, shape: &Shape) -> Answered<Datacenter<'_>> {
        let named = shape.datacenter.as_deref();
        let question = named.unwrap_or_default().to_owned();
        let path = || inventory::datacenter(&self.session, named);
        let path = self.datacenters.of(question, path).await?;
        Ok(Datacenter::new(&self.session, &path))
    }

    async fn place(&self, shape: &Shape) -> Answered<Arc<Place>> {
        let named = || async { self.datacenter(shape).await?.place(shape).await };
        self.places.of(shape.places(), named).await
    }

    async fn source(&self, image: &str, shape: &Shape) -> Answered<Arc<Source>> {
        let named = || async { self.datacenter(shape).await?.source(image).await };
        let question = format!(
            "{}\n{image}",
            shape.datacenter.as_deref().unwrap_or_default()
        );
        self.sources.of(question, named).await
    }

    fn cloning(&self) -> MutexGuard<'_, BTreeMap<(String, u32), Ref>> {
        self.cloning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From the root to all machines, wherever somebody has moved them.
fn everywhere() -> Json {
    let through = |name: &str, kind: &str, path: &str, on: &[&str]| {
        let on = on
            .iter()
            .map(|name| json!({"_typeName": "SelectionSpec", "name": name}));
        json!({
            "_typeName": "TraversalSpec", "name": name, "type": kind, "path": path, "skip": false,
            "selectSet": on.collect::<Vec<_>>(),
        })
    };
    json!([
        through(
            "folders",
            "Folder",
            "childEntity",
            &["folders", "datacenters", "vapps"]
        ),
        through("datacenters", "Datacenter", "vmFolder", &["folders"]),
        through("vapps", "VirtualApp", "vm", &[]),
    ])
}

/// Whether the server calls the machine of an id so.
fn is_called(id: &str, called: &str) -> bool {
    known::reference(id).is_some_and(|of| of.value == called)
}

const VM: &str = "VirtualMachine";
const QUESTION: &str = "runtime.question.text";
const TOOLS: &str = "guest.toolsRunningStatus";

#[cfg(test)]
mod tests;
