//! OpenStack: machines are Nova's servers, found by tags, marked by metadata.
//!
//! In: the group's questions. Out: calls of Nova, Glance and Neutron through openstack_sdk's session. Nova has no idempotency token and
//! names repeat: a create looks for its name first. A server that is accepted may still end in ERROR; its fault text is the message.

mod api;
mod auth;
mod change;
mod floating;
mod preflight;
mod request;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use self::api::{Call, Server, Service, Session, all_of, pages, send, some_at_a_time};
use self::floating::{Addresses, Wanting};
use self::preflight::Ids;
use self::request::{Resolved, free_addresses};
use self::shape::{Named, Shape, Volume};
use crate::ignition::user_data::{Compress, pack};
use crate::provider::{Diagnostic, Diagnostics, Path, Value};
use crate::worker_group::cloud::{
    Change, Cloud, CloudError, Connect, Deletion, Entry, Growth, Kind, Machine, Mark, Phase, Spec,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "openstack",
    provider_schema: auth::provider_schema,
    group_schema: shape::group_schema,
    fields: &[
        ("networks.fixed_ips", Change::Place),
        ("security_groups", Change::NowInPlace),
        ("availability_zones", Change::Place),
        ("metadata", Change::InPlace),
        (floating::FIELD, Change::InPlace),
    ],
    set_hostname: false,
    platform: "openstack",
    validate: shape::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> BoxFuture<'_, Result<Box<dyn Cloud>, Diagnostics>> {
    async move {
        let setting = connect.context.setting("openstack");
        let session = connect
            .context
            .shared
            .try_of(|| async { auth::login(setting).await.map(Session::new) })
            .await?;
        let mut problems = Diagnostics::none();
        let cloud = OpenStack {
            session,
            reserved: Mutex::default(),
            turns: Mutex::default(),
            resolved: OnceCell::new(),
            floating: Addresses::default(),
        };
        if let Value::Map(shape) = connect.shape
            && !matches!(shape.get(floating::FIELD), None | Some(Value::Null))
        {
            cloud.floating.used();
        }
        let scope = scope_of(&cloud.session);
        if let (Some(expected), Some(scope)) = (connect.scope, &scope)
            && expected != scope
        {
            problems.push(Diagnostic::error(
                "The group is in another project or region",
                format!(
                    "State or import id name {expected}, the provider is configured for {scope}. Configure the provider for {expected}; to move the \
                     group, replace it."
                ),
            ));
            return Err(problems);
        }
        let cloud: Box<dyn Cloud> = Box::new(cloud);
        Ok(cloud)
    }
    .boxed()
}

/// `RegionOne/0f3c...`: a project's id is unique in a Keystone, and a region tells Novas apart.
fn scope_of(session: &Session) -> Option<String> {
    let project = preflight::project_of(session)?;
    let session = &session.sdk;
    let region = session.get_region_name().or_else(|| {
        let regions = session.get_available_regions()?;
        regions.into_iter().next()
    });
    Some(format!("{}/{project}", region.unwrap_or_default()))
}

/// A project in a region, logged in.
struct OpenStack {
    session: Arc<Session>,
    /// Addresses that creates of this operation took: Nova shows them only some time after.
    reserved: Mutex<BTreeMap<String, Reservation>>,
    /// A lock for each name that is being created: between looking for a name and taking it, nobody else may.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Names of the shape and what they are: asked once for a group, by the preflight where there is one.
    resolved: OnceCell<(String, Arc<Ids>)>,
    floating: Addresses,
}

struct Reservation {
    machine: String,
    /// Whether Nova knows the machine: from then on it holds only while Nova lists it.
    answered: bool,
}

#[async_trait]
impl Cloud for OpenStack {
    async fn scope(&self) -> Result<String, CloudError> {
        scope_of(&self.session).ok_or_else(|| CloudError {
            attribute: None,
            ..bad(
                "the token",
                "no project: the user is not scoped to one. Set openstack.tenant_name",
                None,
            )
        })
    }

    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        let tags = request::tags(cluster, group).join(",");
        let servers = self.servers(LIST, group, &[("tags", tags)]).await?;
        let mut machines: Vec<Machine> = servers
            .iter()
            .filter_map(Server::machine)
            .filter(|machine| machine.mark.cluster == cluster && machine.mark.group == group)
            .collect();
        self.floating
            .complete(&self.session, (cluster, group), &mut machines)
            .await?;
        Ok(machines)
    }

    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        // Nova has no list by ids for an ordinary user.
        let calls: Vec<_> = ids.iter().map(|id| self.find_one(id)).collect();
        let found: Vec<Option<Machine>> = some_at_a_time(calls).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn finds_one_by_one(&self) -> bool {
        true
    }

    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError> {
        let shape = Shape::read(spec.shape)?;
        let turn = self.turn(spec.name);
        let _turn = turn.lock().await;
        if let Some(machine) = self.named(spec).await? {
            if shape.floating_ip_pool.is_some() {
                let ids = self.ids(spec.image, &shape).await?;
                self.want_address(&machine.id, &ids);
            }
            return Ok(machine);
        }
        let platform = crate::flatcar::platform(ENTRY.platform)
            .ok_or_else(|| bad(spec.name, "no such platform", None))?;
        let rendered = std::str::from_utf8(spec.user_data)
            .map_err(|_| bad(spec.name, "user data that is not text", Some("user_data")))?;
        let user_data = pack(rendered, platform, Compress::Auto)
            .map_err(|too_large| bad(spec.name, &too_large.to_string(), Some("user_data")))?;
        let ids = self.ids(spec.image, &shape).await?;
        if let Some(wanting) = Wanting::of(&ids) {
            self.floating.making(spec.name, &wanting);
        }
        let fixed_ips = self.reserve(spec, &shape).await?;
        let resolved = Resolved {
            image_id: ids.image.clone(),
            flavor_id: ids.flavor.clone(),
            network_ids: ids.networks.clone(),
            fixed_ips,
        };
        let minor = match &shape.boot_volume {
            Some(Volume { kind: Some(_), .. }) => MINOR_OF_VOLUME_TYPE,
            _ => 0,
        };
        let body = request::create(spec, &shape, &resolved, &user_data.text);
        let call = Call::post(Service::Compute, "servers", body).at(minor);
        let created = self.call(CREATE, spec.name, call).await;
        self.settle(spec.name, created.is_ok());
        let id = created?["server"]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.want_address(&id, &ids);
        // The answer of a create has no more than the id: what it will be is what was asked for.
        Ok(Machine {
            id,
            name: spec.name.to_owned(),
            zone: String::new(),
            addresses: resolved.fixed_ips.into_iter().flatten().collect(),
            image: spec.image.to_owned(),
            phase: Phase::Pending,
            message: None,
            mark: spec.mark.clone(),
            created: None,
            observed: self.wanted(spec.shape),
        })
    }

    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        let call = Call::delete(Service::Compute, format!("servers/{}", machine.id));
        match self.call("Nova DELETE server", &machine.name, call).await {
            Ok(_) => Ok(Deletion::Going),
            Err(error) if error.is_not_found() => Ok(Deletion::Gone),
            Err(error) => Err(error),
        }
    }

    async fn sweep(&self, group: &Mark) -> Result<(), CloudError> {
        self.floating.sweep(&self.session, group).await
    }

    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        let shape = match shape {
            Value::Null => None,
            shape => Some(Shape::read(shape)?),
        };
        if let Some(shape) = &shape {
            self.mend_addresses(machines, mark, shape).await?;
            self.regroup(machines, shape).await?;
        }
        let calls: Vec<_> = machines
            .iter()
            .map(|machine| self.mark_one(machine, mark, shape.as_ref()))
            .collect();
        all_of(calls).await
    }

    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        let calls: Vec<_> = machines
            .iter()
            .map(|machine| self.start_one(machine))
            .collect();
        all_of(calls).await
    }

    fn wanted(&self, shape: &Value) -> BTreeMap<String, String> {
        let Ok(shape) = Shape::read(shape) else {
            return BTreeMap::new();
        };
        let mut wanted = BTreeMap::new();
        if shape.flavor_id.is_none()
            && let Some(flavor) = &shape.flavor_name
        {
            wanted.insert("flavor_name".to_owned(), flavor.clone());
        }
        let pool = shape.floating_ip_pool.clone().unwrap_or_default();
        wanted.insert(floating::FIELD.to_owned(), pool);
        let key = shape.key_pair.clone().unwrap_or_default();
        wanted.insert("key_pair".to_owned(), key);
        wanted.extend(
            self.groups_of(&shape)
                .map(|groups| (change::GROUPS.to_owned(), groups)),
        );
        for (key, value) in shape.metadata {
            wanted.insert(format!("metadata.{key}"), value);
        }
        wanted
    }

    async fn preflight(
        &self,
        image: &str,
        shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        let shape = match Shape::read(shape) {
            Ok(shape) => shape,
            Err(error) => {
                let problem = Diagnostic::error("Could not read the shape", error.to_string());
                return Ok(problem.at(Path::of("openstack")).into());
            }
        };
        let (problems, ids) = preflight::check(&self.session, image, &shape, growth).await?;
        if let Some(ids) = ids {
            // Another preflight of this operation was of the same group.
            let _ = self.resolved.set((named_by(image, &shape), Arc::new(ids)));
        }
        Ok(problems)
    }

    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        let call = Call::post(
            Service::Compute,
            format!("servers/{}/action", machine.id),
            json!({"os-getConsoleOutput": {"length": CONSOLE_LINES}}),
        );
        match self.call("Nova console output", &machine.name, call).await {
            Ok(answer) => Ok(answer["output"].as_str().map(str::to_owned)),
            Err(error) if has_no_console(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn consistency_window(&self) -> Duration {
        // Nova lists what its database has, and the create's answer comes after the row; cells lag for moments.
        Duration::from_secs(10)
    }

    fn poll_interval(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// A hypervisor without consoles answers 501, or 404 in these words; a server that has not begun to
/// boot has none yet, and answers 409. A 404 for another reason is about the server.
fn has_no_console(error: &CloudError) -> bool {
    let said = &error.message;
    said.starts_with("501 ") || said.starts_with("409 ") || said.contains("does not have a console")
}

impl OpenStack {
    async fn call(
        &self,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Result<Json, CloudError> {
        send(&self.session, action, object, call).await
    }

    /// All servers that a query finds, page by page.
    async fn servers(
        &self,
        action: &'static str,
        object: &str,
        query: &[(&'static str, String)],
    ) -> Result<Vec<Server>, CloudError> {
        let question = || {
            let call = Call::get(Service::Compute, "servers/detail");
            query
                .iter()
                .fold(call, |call, (key, value)| call.query(key, value.clone()))
        };
        let servers = pages(&self.session, action, object, "servers", question).await?;
        let read = |server| Server::read(server, action);
        servers.into_iter().map(read).collect()
    }

    async fn find_one(&self, id: &str) -> Result<Option<Machine>, CloudError> {
        const FIND: &str = "Nova GET server";
        let call = Call::get(Service::Compute, format!("servers/{id}"));
        match self.call(FIND, id, call).await {
            Ok(mut answer) => {
                Server::read(answer["server"].take(), FIND).map(|server| server.found())
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn want_address(&self, server: &str, ids: &Ids) {
        if let Some(wanting) = Wanting::of(ids) {
            self.floating.want(server, wanting);
        }
    }

    /// Gives machines the address that the shape wants for them, or takes it away.
    async fn mend_addresses(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Shape,
    ) -> Result<(), CloudError> {
        let wanting = match &shape.floating_ip_pool {
            Some(pool) => Some(Wanting {
                named: pool.clone(),
                pool: preflight::pool(&self.session, pool).await?,
                networks: self.networks(shape).await?,
            }),
            None => None,
        };
        let has = |machine: &Machine| {
            let pool = machine.observed.get(floating::FIELD);
            pool.is_some_and(|pool| !pool.is_empty())
        };
        if wanting.is_none() && !machines.iter().any(has) {
            return Ok(());
        }
        self.floating
            .change(&self.session, mark, machines, wanting.as_ref())
            .await
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(name.to_owned()).or_default())
    }

    /// The server that an earlier create of this spec made.
    async fn named(&self, spec: &Spec<'_>) -> Result<Option<Machine>, CloudError> {
        let tags = request::tags(&spec.mark.cluster, &spec.mark.group).join(",");
        // Nova matches names by regular expression; ours are letters, digits and hyphens.
        let query = [("tags", tags), ("name", format!("^{}$", spec.name))];
        let servers = self.servers(CREATE, spec.name, &query).await?;
        let attempt = spec.attempt.to_string();
        let of_attempt = |server: &&Server| server.metadata.get(api::ATTEMPT) == Some(&attempt);
        // One to which the metadata of another were copied has another name than its proof is of, or none.
        let mut machines = servers
            .iter()
            .filter(of_attempt)
            .filter_map(Server::machine);
        let Some(machine) = machines.find(|machine| machine.mark.proof == spec.mark.proof) else {
            return Ok(None);
        };
        // The mark is left out: it may have been rewritten since.
        match machine.image == spec.image {
            true => Ok(Some(machine)),
            false => Err(CloudError {
                kind: Kind::AlreadyExists,
                ..bad(
                    spec.name,
                    &format!("the name is taken by server {}", machine.id),
                    None,
                )
            }),
        }
    }

    /// Ids of the image, flavor and networks; asked once, for a group has one shape at a time.
    async fn ids(&self, image: &str, shape: &Shape) -> Result<Arc<Ids>, CloudError> {
        let key = named_by(image, shape);
        let ids = self
            .resolved
            .get_or_try_init(|| async {
                let ids = self.resolve(image, shape).await?;
                Ok::<_, CloudError>((key.clone(), Arc::new(ids)))
            })
            .await?;
        if ids.0 == key {
            return Ok(Arc::clone(&ids.1));
        }
        self.resolve(image, shape).await.map(Arc::new)
    }

    async fn resolve(&self, image: &str, shape: &Shape) -> Result<Ids, CloudError> {
        let pool = match &shape.floating_ip_pool {
            Some(pool) => Some((pool.clone(), preflight::pool(&self.session, pool).await?)),
            None => None,
        };
        Ok(Ids {
            image: preflight::image(&self.session, &Named::of(image)).await?.id,
            flavor: preflight::flavor(&self.session, &shape.flavor()).await?.id,
            networks: self.networks(shape).await?,
            pool,
        })
    }

    async fn networks(&self, shape: &Shape) -> Result<Vec<String>, CloudError> {
        let mut networks = Vec::new();
        for network in &shape.networks {
            networks.push(preflight::network(&self.session, &network.named).await?);
        }
        Ok(networks)
    }

    /// An address in each network that lists some, kept from the other creates of this operation.
    async fn reserve(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
    ) -> Result<Vec<Option<String>>, CloudError> {
        if shape
            .networks
            .iter()
            .all(|network| network.fixed_ips.is_empty())
        {
            return Ok(vec![None; shape.networks.len()]);
        }
        let tags = request::tags(&spec.mark.cluster, &spec.mark.group).join(",");
        let mut servers = self.servers(CREATE, spec.name, &[("tags", tags)]).await?;
        // Nova shows what is gone for a moment longer.
        servers.retain(Server::exists);
        let used: BTreeSet<&str> = servers.iter().flat_map(Server::all_addresses).collect();
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.retain(|_, held| {
            !held.answered || servers.iter().any(|server| server.name == held.machine)
        });
        let taken = |address: &str| used.contains(address) || reserved.contains_key(address);
        let addresses = free_addresses(&shape.networks, taken).map_err(|number| CloudError {
            kind: Kind::Quota,
            ..bad(
                spec.name,
                &format!("all fixed_ips of network {number} are in use. List as many as replicas and max_surge together"),
                Some("openstack.networks"),
            )
        })?;
        reserved.extend(addresses.iter().flatten().map(|address| {
            let reservation = Reservation {
                machine: spec.name.to_owned(),
                answered: false,
            };
            (address.clone(), reservation)
        }));
        Ok(addresses)
    }

    /// The create that took addresses was answered: they are the machine's, or free again.
    fn settle(&self, machine: &str, created: bool) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.retain(|_, held| created || held.machine != machine);
        for held in reserved.values_mut().filter(|held| held.machine == machine) {
            held.answered = true;
        }
    }
}

/// A refusal of ours, before Nova was asked.
fn bad(object: &str, message: &str, attribute: Option<&'static str>) -> CloudError {
    CloudError {
        action: CREATE,
        object: object.to_owned(),
        kind: Kind::BadRequest,
        message: message.to_owned(),
        attribute,
        retry_after: None,
    }
}

/// All that has to be looked up for a server of this image and shape.
fn named_by(image: &str, shape: &Shape) -> String {
    let (flavor, pool) = (shape.flavor(), &shape.floating_ip_pool);
    format!("{image} {flavor:?} {:?} {pool:?}", shape.networks)
}

/// `0f3c6a0e-....`, with or without hyphens: what is not one is a name.
fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

const CREATE: &str = "Nova POST servers";
const LIST: &str = "Nova GET servers";
const CONSOLE_LINES: u32 = 50;
/// Volume types in a create.
const MINOR_OF_VOLUME_TYPE: u8 = 67;

#[cfg(test)]
mod tests {
    use super::shape::Network;
    use super::shape::tests::shape;
    use super::*;

    fn spec<'a>(mark: &'a Mark, shape: &'a Value) -> Spec<'a> {
        Spec {
            name: "workers-abc-3",
            attempt: 1,
            ordinal: 3,
            mark,
            image: "flatcar",
            user_data: b"{}",
            shape,
        }
    }

    fn mark() -> Mark {
        Mark {
            cluster: "prod".to_owned(),
            group: "workers".to_owned(),
            uid: "abc".to_owned(),
            generation: "g".to_owned(),
            unsaved: true,
            origin: String::new(),
            proof: String::new(),
        }
    }

    #[test]
    fn a_create_carries_the_mark_and_only_what_the_user_wrote() {
        let metadata = json!({
            "flatcar-cluster": "prod", "flatcar-group": "workers", "flatcar-uid": "abc", "flatcar-generation": "g",
            "flatcar-unsaved": "true", "flatcar-image": "flatcar", "flatcar-attempt": "1", "flatcar-keys": ""
        });
        let common = json!({
            "name": "workers-abc-3", "flavorRef": "f1", "config_drive": true, "user_data": "e30=", "metadata": metadata,
            "tags": ["flatcar-cluster=prod", "flatcar-group=workers"],
        });
        for (feature, written, expected, hints) in [
            (
                "bare",
                json!({}),
                json!({"imageRef": "i1", "networks": "auto"}),
                None,
            ),
            (
                "networks",
                json!({"networks": [{"name": "a", "uuid": null, "fixed_ips": null}, {"name": null, "uuid": "n2", "fixed_ips": ["10.0.0.5"]}]}),
                json!({"imageRef": "i1", "networks": [{"uuid": "n1"}, {"uuid": "n2", "fixed_ip": "10.0.0.5"}]}),
                None,
            ),
            (
                "zones, groups, key",
                json!({"availability_zones": ["z1", "z2"], "security_groups": ["web", "ssh"], "key_pair": "ops"}),
                json!({"imageRef": "i1", "networks": "auto", "availability_zone": "z2", "security_groups": [{"name": "web"}, {"name": "ssh"}],
                    "key_name": "ops"}),
                None,
            ),
            (
                "boot volume",
                json!({"boot_volume": {"size": 20, "type": "ssd"}}),
                json!({"networks": "auto", "block_device_mapping_v2": [{"boot_index": 0, "source_type": "image", "destination_type": "volume",
                    "uuid": "i1", "volume_size": 20, "delete_on_termination": true, "volume_type": "ssd"}]}),
                None,
            ),
            (
                "server group",
                json!({"server_group_id": "sg"}),
                json!({"imageRef": "i1", "networks": "auto"}),
                Some(json!({"group": "sg"})),
            ),
        ] {
            let (mark, written) = (mark(), shape(written));
            let parsed = Shape::read(&written).unwrap();
            let resolved = Resolved {
                image_id: "i1".to_owned(),
                flavor_id: "f1".to_owned(),
                network_ids: (1..=parsed.networks.len())
                    .map(|n| format!("n{n}"))
                    .collect(),
                fixed_ips: free_addresses(&parsed.networks, |_| false).unwrap(),
            };
            let body = request::create(&spec(&mark, &written), &parsed, &resolved, "e30=");
            let mut server = common.clone();
            server
                .as_object_mut()
                .unwrap()
                .extend(expected.as_object().unwrap().clone());
            assert_eq!(body["server"], server, "{feature}");
            assert_eq!(body.get("os:scheduler_hints"), hints.as_ref(), "{feature}");
        }
    }

    #[test]
    fn addresses_are_taken_in_order_and_run_out_by_network() {
        let networks = [Network {
            named: Named::Id("n".to_owned()),
            fixed_ips: vec!["10.0.0.5".to_owned(), "10.0.0.6".to_owned()],
        }];
        let free = |taken: &'static [&str]| {
            free_addresses(&networks, move |address| taken.contains(&address))
        };
        assert_eq!(free(&[]), Ok(vec![Some("10.0.0.5".to_owned())]));
        assert_eq!(free(&["10.0.0.5"]), Ok(vec![Some("10.0.0.6".to_owned())]));
        assert_eq!(free(&["10.0.0.5", "10.0.0.6"]), Err(0));
    }

    #[test]
    fn only_ids_are_ids() {
        for (text, expected) in [
            ("0f3c6a0e-1111-2222-3333-444455556666", true),
            ("0f3c6a0e111122223333444455556666", true),
            ("flatcar-stable", false),
            ("", false),
        ] {
            assert_eq!(is_uuid(text), expected, "{text}");
        }
    }
}
