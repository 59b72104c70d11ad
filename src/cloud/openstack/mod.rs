//! OpenStack: machines are Nova's servers, found by tags, marked by metadata.
//!
//! In: the group's questions. Out: calls of Nova, Glance and Neutron. Nova has no idempotency token
//! and names repeat: a create looks for its name first. A server that is accepted may still end in
//! ERROR; its fault text is the message. The shape is in `shape`; who logs in is in `auth`, `way`
//! and `clouds`, the login in `keystone`; calls and what their refusals mean are in `api`, what
//! names stand for in `names`, bodies in `request`, answers in `server`, what is asked before an
//! apply in `preflight`, what is changed in `change`, and addresses in `floating`.

mod api;
mod auth;
mod change;
mod clouds;
mod floating;
mod keystone;
mod names;
mod preflight;
mod request;
mod server;
mod shape;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt as _, TryStreamExt as _};
use serde_json::json;

use self::api::{NOVA, NOVA_OF_VOLUME_TYPES, Session};
use self::names::Ids;
use self::server::{FACETS, Server};
use self::shape::{ATTEMPT, FIELD, Shape, Volume};
use crate::http::api::Call;
use crate::provider::Diagnostics;
use crate::worker_group::cloud::lent::Lending;
use crate::worker_group::cloud::{
    Answered, Answers, Change, CloudError, Connect, Connecting, Deletion, Entry, Facet, Growth,
    Kind, Lack, Machine, Manner, Mark, Once, Pool, Spec, absent, all_of, some_at_a_time,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "openstack",
    provider_schema: auth::provider_schema,
    group_schema: shape::group_schema,
    fields: &[
        (shape::FIXED_IPS, Change::Place),
        (shape::GROUPS, Change::NowInPlace),
        (shape::ZONES, Change::Place),
        ("metadata", Change::InPlace),
        (FIELD, Change::InPlace),
    ],
    set_hostname: false,
    platform: "openstack",
    scope: "project or region",
    manner: Manner {
        // Nova lists what its database has, before the create is answered; cells lag for moments.
        consistency_window: Duration::from_secs(10),
        poll_interval: Duration::from_secs(5),
        // Nova has no list by ids for an ordinary user.
        finds_one_by_one: true,
    },
    lacks: &[(
        Lack::Members,
        "Octavia is not asked: its members are addresses, which a module can list",
    )],
    validate: shape::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let context = connect.context;
        let login = || async { auth::login(&ENTRY.settings(context)?).await };
        let cloud = OpenStack {
            session: context.shared.try_of(login).await?,
            pool: Pool::default(),
            resolved: Once::default(),
            lending: Lending::default(),
        };
        if !connect.shape.field(FIELD).is_null() {
            cloud.lending.used();
        }
        Ok(cloud.opened())
    }
    .boxed()
}

/// A project in a region, logged in.
struct OpenStack {
    session: Arc<Session>,
    /// Names that are being created, and addresses that creates took: Nova shows them late.
    pool: Pool,
    /// What the shape names, by [`Shape::names`]: the preflight asks, where there is one.
    resolved: Once<Ids>,
    lending: Lending,
}

#[async_trait]
impl Answers for OpenStack {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Answered<String> {
        self.session.scope().ok_or_else(|| {
            let words = "no project: the user is not scoped to one. Set openstack.tenant_name";
            CloudError::new(Kind::BadRequest, LOGIN, "the token", words)
        })
    }

    async fn list(&self, cluster: &str, group: &str) -> Answered<Vec<Machine>> {
        let of = (cluster, group);
        let servers = self.servers("Nova GET servers", group, of, None).await?;
        let mut machines: Vec<Machine> = servers.iter().filter_map(Server::machine).collect();
        machines.retain(|one| (&*one.mark.cluster, &*one.mark.group) == of);
        let completed = self.lending.complete(&*self.session, of, &mut machines);
        completed.await.map(|()| machines)
    }

    async fn find(&self, ids: &[String]) -> Answered<Vec<Machine>> {
        let one = async |id: &String| {
            let call = Call::get(format!("servers/{id}"));
            let server = self
                .session
                .get(NOVA, "Nova GET server", id, call, "server");
            absent(server.await)
        };
        let calls: Vec<_> = ids.iter().map(one).collect();
        let found: Vec<Option<Server>> = some_at_a_time(calls).try_collect().await?;
        let found = found.iter().flatten();
        Ok(found.filter_map(Server::found).collect())
    }

    async fn create(&self, spec: &Spec<'_>, shape: Shape, user_data: String) -> Answered<Machine> {
        let session = &self.session;
        let turn = self.pool.turn(spec.name);
        let _turn = turn.lock().await;
        let resolve = || names::ids(session, spec.image, &shape);
        let ids = self.resolved.of(shape.names(spec.image), resolve).await?;
        self.lending.want(spec.name, ids.wish.as_ref());
        if let Some(machine) = self.named(spec).await? {
            return Ok(machine);
        }
        let fixed_ips = self.reserve(spec, &shape).await?;
        let nova = match &shape.boot_volume {
            Some(Volume { kind: Some(_), .. }) => NOVA_OF_VOLUME_TYPES,
            _ => NOVA,
        };
        let body = request::create(spec, &shape, &ids, &fixed_ips, &user_data);
        let call = Call::post("servers", body);
        let created = session.send(nova, CREATE, spec.name, call).await;
        self.pool.settle(spec.name, created.is_ok());
        let created = created?;
        let id = created["server"]["id"].as_str().unwrap_or_default();
        Ok(Machine {
            addresses: fixed_ips.into_iter().flatten().collect(),
            observed: self.wanted(&shape),
            ..Machine::asked_for(spec, id)
        })
    }

    async fn delete(&self, machine: &Machine) -> Answered<Deletion> {
        let call = Call::delete(format!("servers/{}", machine.id));
        let (session, name) = (&self.session, &machine.name);
        let answer = session.send(NOVA, "Nova DELETE server", name, call);
        Ok(match absent(answer.await)? {
            Some(_) => Deletion::Going,
            None => Deletion::Gone,
        })
    }

    async fn sweep(&self, group: &Mark, _first: u64) -> Answered<()> {
        self.lending.sweep(&*self.session, group).await
    }

    async fn mark(&self, machines: &[Machine], mark: &Mark, shape: Option<Shape>) -> Answered<()> {
        let session = &self.session;
        if let Some(shape) = &shape {
            let wish = names::wish(session, shape).await?;
            let change = self
                .lending
                .change(&**session, mark, machines, wish.as_ref());
            change.await?;
            change::regroup(session, machines, shape).await?;
        }
        let one = |machine| change::mark(session, machine, mark, shape.as_ref());
        all_of(machines.iter().map(one).collect()).await
    }

    async fn start(&self, machines: &[Machine]) -> Answered<()> {
        let one = |machine| change::start(&self.session, machine);
        all_of(machines.iter().map(one).collect()).await
    }

    fn wanted(&self, shape: &Shape) -> BTreeMap<String, String> {
        Facet::wanted(FACETS, shape)
    }

    async fn preflight(&self, image: &str, shape: Shape, growth: Growth) -> Answered<Diagnostics> {
        let (problems, ids) = preflight::check(&self.session, image, &shape, growth).await?;
        if let Some(ids) = ids {
            self.resolved.keep(shape.names(image), ids);
        }
        Ok(problems)
    }

    async fn console(&self, machine: &Machine) -> Answered<Option<String>> {
        let path = format!("servers/{}/action", machine.id);
        let body = json!({"os-getConsoleOutput": {"length": CONSOLE_LINES}});
        let call = Call::post(path, body).repeatable();
        let (action, name) = ("Nova console output", &machine.name);
        match self.session.send(NOVA, action, name, call).await {
            Ok(answer) => Ok(answer["output"].as_str().map(str::to_owned)),
            Err(error) if has_no_console(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A hypervisor without consoles answers 501, or 404 in these words; a server that has not begun to
/// boot has none yet, and answers 409. A 404 for another reason is about the server.
fn has_no_console(error: &CloudError) -> bool {
    let said = &error.message;
    said.starts_with("501 ") || said.starts_with("409 ") || said.contains("does not have a console")
}

impl OpenStack {
    /// All servers of a group, or those of a name.
    async fn servers(
        &self,
        action: &'static str,
        object: &str,
        (cluster, group): (&str, &str),
        name: Option<&str>,
    ) -> Answered<Vec<Server>> {
        let question = || {
            let tags = request::tags(cluster, group).join(",");
            let call = Call::get("servers/detail").query("tags", tags);
            // Nova matches names by regular expression; ours are letters, digits and hyphens.
            call.queries("name", name.map(|name| format!("^{name}$")))
        };
        let all = self.session.all(NOVA, action, object, "servers", question);
        all.await
    }

    /// The server that an earlier create of this spec made.
    async fn named(&self, spec: &Spec<'_>) -> Answered<Option<Machine>> {
        let of = (&*spec.mark.cluster, &*spec.mark.group);
        let servers = self.servers(CREATE, spec.name, of, Some(spec.name)).await?;
        let attempt = spec.attempt.to_string();
        let of_attempt = |server: &&Server| server.metadata.get(ATTEMPT) == Some(&attempt);
        let servers = servers.iter().filter(of_attempt);
        let mut machines = servers.filter_map(Server::machine);
        // One with another's metadata has another name than its proof is of, or none.
        let Some(machine) = machines.find(|machine| machine.mark.proof == spec.mark.proof) else {
            return Ok(None);
        };
        // The mark is left out: it may have been rewritten since.
        if machine.image == spec.image {
            return Ok(Some(machine));
        }
        let words = format!("the name is taken by server {}", machine.id);
        let kind = Kind::AlreadyExists;
        Err(CloudError::new(kind, CREATE, spec.name, words))
    }

    /// An address in each network that lists some, kept from the other creates of this operation.
    async fn reserve(&self, spec: &Spec<'_>, shape: &Shape) -> Answered<Vec<Option<String>>> {
        let lists: Vec<&[String]> = shape.networks.iter().map(|one| &*one.fixed_ips).collect();
        if lists.iter().all(|list| list.is_empty()) {
            return Ok(vec![None; lists.len()]);
        }
        let of = (&*spec.mark.cluster, &*spec.mark.group);
        let mut servers = self.servers(CREATE, spec.name, of, None).await?;
        // Nova shows what is gone for a moment longer.
        servers.retain(Server::exists);
        let used: BTreeSet<&str> = servers.iter().flat_map(Server::all_addresses).collect();
        let exists = |name: &str| servers.iter().any(|server| server.name == name);
        let is_used = |one: &str| used.contains(one);
        let taken = self.pool.take(spec.name, &lists, is_used, exists);
        taken.map_err(|number| {
            let words = format!("all fixed_ips of network {number} are in use. List as many as replicas and max_surge together");
            let error = CloudError::new(Kind::Quota, CREATE, spec.name, words);
            error.blaming("openstack.networks")
        })
    }
}

const LOGIN: &str = "Keystone POST auth/tokens";
const CREATE: &str = "Nova POST servers";
const CONSOLE_LINES: u32 = 50;
