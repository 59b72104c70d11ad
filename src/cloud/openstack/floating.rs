//! Floating addresses of a group's servers: taken from a pool, handed from a server that is gone to one that is new, given back when
//! nobody has use for them.
//!
//! In: machines whose metadata names a pool. Out: the same with their addresses. Every address carries the group's mark, with its uid, as its
//! description from the call that takes it, and is taken for a port: one without a port has lost its server.
//! See: Network API 2.0, `/floatingips`, `/ports`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::json;

use super::api::{Call, Service, Session, pages, send, some_at_a_time};
use super::preflight::{Ids, project_of, read};
use super::request;
use crate::worker_group::cloud::{CloudError, Kind, Machine, Mark, Phase, UID};

/// What one operation knows of floating addresses.
#[derive(Default)]
pub(super) struct Addresses {
    /// Servers that were made here, or were still being built, and are to have one, by id.
    wanting: Mutex<BTreeMap<String, Wanting>>,
    /// Names of servers whose create was asked for here: where its answer is lost, nobody knows the id.
    making: Mutex<BTreeSet<String>>,
    /// What the group's shape wants; known once something is made or changed, for a refresh takes nothing.
    shape: OnceLock<Wanting>,
    /// Whether the group has a pool or had one: Neutron is not asked otherwise.
    used: AtomicBool,
    /// Addresses that a listed machine had, by id, with the machine's uid: those of older releases do not say it themselves.
    seen: Mutex<BTreeMap<String, String>>,
}

/// What a server is to have.
#[derive(Clone)]
pub(super) struct Wanting {
    /// The pool as the user names it, and as metadata have it.
    pub(super) named: String,
    /// Id of the external network.
    pub(super) pool: String,
    /// Ids of the server's networks in the user's order: the first that can be reached from outside has the address.
    pub(super) networks: Vec<String>,
}

impl Wanting {
    /// That of servers of a shape whose names are these ids.
    pub(super) fn of(ids: &Ids) -> Option<Self> {
        let (named, pool) = ids.pool.clone()?;
        Some(Self {
            named,
            pool,
            networks: ids.networks.clone(),
        })
    }
}

/// An address, as Neutron has it.
#[derive(Debug, Deserialize)]
struct Floating {
    id: String,
    floating_ip_address: String,
    floating_network_id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    port_id: Option<String>,
    #[serde(default)]
    fixed_ip_address: Option<String>,
    #[serde(default)]
    port_details: Option<PortDetails>,
}

#[derive(Debug, Deserialize)]
struct PortDetails {
    #[serde(default)]
    device_id: String,
}

#[derive(Debug, Deserialize)]
struct Port {
    id: String,
    device_id: String,
    #[serde(default)]
    network_id: String,
    #[serde(default)]
    fixed_ips: Vec<FixedIp>,
}

#[derive(Debug, Deserialize)]
struct FixedIp {
    ip_address: String,
}

impl Addresses {
    /// The group has a pool.
    pub(super) fn used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// A server of this name is about to be made that is to have an address.
    pub(super) fn making(&self, name: &str, wanting: &Wanting) {
        self.shape.get_or_init(|| wanting.clone());
        self.making_names().insert(name.to_owned());
    }

    /// A server was made, or found again, that is to have an address: the next list that shows it running takes one.
    pub(super) fn want(&self, server: &str, wanting: Wanting) {
        self.shape.get_or_init(|| wanting.clone());
        self.wanting().insert(server.to_owned(), wanting);
    }

    /// Adds addresses to listed machines, and takes those that are wanted: one call for the group, and those that change something.
    ///
    /// # Errors
    /// Neutron does not say what there is. A refusal of one address is told on its machine.
    pub(super) async fn complete(
        &self,
        session: &Session,
        (cluster, group): (&str, &str),
        machines: &mut [Machine],
    ) -> Result<(), CloudError> {
        let pool = |machine: &Machine| machine.observed.get(FIELD).is_some_and(|p| !p.is_empty());
        if !machines.iter().any(pool) {
            return Ok(());
        }
        self.used();
        self.want_later(machines);
        let mut all = of_group(session, cluster, group).await?;
        let wanting = self.wanting().clone();
        let lacking: Vec<(&Machine, &Wanting)> = machines
            .iter()
            .filter(|machine| machine.phase == Phase::Running)
            .filter(|machine| !all.iter().any(|address| address.serves(machine)))
            .filter_map(|machine| Some((machine, wanting.get(&machine.id)?)))
            .collect();
        let seen = self.see(&all, machines);
        let is_ours = |address: &Floating, uid: &str| address.is_of(&seen, cluster, group, uid);
        let refused = take(session, (cluster, group), &lacking, &mut all, is_ours).await;
        for machine in machines.iter_mut().filter(|machine| pool(machine)) {
            if let Some(address) = all.iter().find(|address| address.serves(machine)) {
                self.wanting().remove(&machine.id);
                // From here on one that somebody takes away is drift.
                self.making_names().remove(&machine.name);
                if !machine.addresses.contains(&address.floating_ip_address) {
                    machine.addresses.push(address.floating_ip_address.clone());
                }
                continue;
            }
            // Before it runs it has no port to have one for: that is no drift.
            if machine.phase != Phase::Running {
                continue;
            }
            machine.observed.insert(FIELD.to_owned(), String::new());
            if wanting.contains_key(&machine.id) {
                match refused.get(&machine.id) {
                    Some(error) if !is_passing(error) => {
                        machine.phase = Phase::Failed;
                        machine.message = Some(format!("no floating IP: {error}"));
                    }
                    _ => machine.phase = Phase::Pending,
                }
            }
        }
        Ok(())
    }

    /// What an earlier apply began is still being built: its address is taken like those of the servers made here.
    fn want_later(&self, machines: &[Machine]) {
        let Some(shape) = self.shape.get() else {
            return;
        };
        let making = self.making_names();
        let is_later = |machine: &&Machine| {
            (machine.phase == Phase::Pending || making.contains(&machine.name))
                && machine.observed.get(FIELD) == Some(&shape.named)
        };
        let mut wanting = self.wanting();
        for machine in machines.iter().filter(is_later) {
            let known = wanting.entry(machine.id.clone());
            known.or_insert_with(|| shape.clone());
        }
    }

    /// Gives machines an address of this pool, or none; those that do not run yet get it from the list that shows them running.
    ///
    /// # Errors
    /// The first refusal; what could be done was done.
    pub(super) async fn change(
        &self,
        session: &Session,
        mark: &Mark,
        machines: &[Machine],
        wanting: Option<&Wanting>,
    ) -> Result<(), CloudError> {
        self.used();
        let (cluster, group) = (mark.cluster.as_str(), mark.group.as_str());
        let mut all = of_group(session, cluster, group).await?;
        let is_right = |address: &Floating| {
            wanting.is_some_and(|wanting| address.floating_network_id == wanting.pool)
        };
        let served = |address: &Floating| machines.iter().any(|machine| address.serves(machine));
        let wrong: Vec<Floating> = all
            .extract_if(.., |address| served(address) && !is_right(address))
            .collect();
        release(session, &wrong).await?;
        let Some(wanting) = wanting else {
            return Ok(());
        };
        let is_pending = |machine: &&Machine| machine.phase == Phase::Pending;
        for machine in machines.iter().filter(is_pending) {
            self.want(&machine.id, wanting.clone());
        }
        let lacking: Vec<(&Machine, &Wanting)> = machines
            .iter()
            .filter(|machine| !matches!(machine.phase, Phase::Pending | Phase::Deleting))
            .filter(|machine| !all.iter().any(|address| address.serves(machine)))
            .map(|machine| (machine, wanting))
            .collect();
        let seen = self.seen().clone();
        let is_ours = |address: &Floating, uid: &str| address.is_of(&seen, cluster, group, uid);
        let refused = take(session, (cluster, group), &lacking, &mut all, is_ours).await;
        refused.into_values().next().map_or(Ok(()), Err)
    }

    /// Gives back addresses of this uid whose servers are gone.
    ///
    /// # Errors
    /// Neutron does not say what there is, or does not take one back.
    pub(super) async fn sweep(&self, session: &Session, mark: &Mark) -> Result<(), CloudError> {
        if !self.used.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (cluster, group) = (mark.cluster.as_str(), mark.group.as_str());
        let mut all = of_group(session, cluster, group).await?;
        let seen = self.seen().clone();
        all.retain(|address| address.is_free() && address.is_of(&seen, cluster, group, &mark.uid));
        release(session, &all).await
    }

    /// Remembers whose machines these addresses serve.
    fn see(&self, all: &[Floating], machines: &[Machine]) -> BTreeMap<String, String> {
        let mut seen = self.seen();
        for address in all {
            if let Some(machine) = machines.iter().find(|machine| address.serves(machine)) {
                seen.insert(address.id.clone(), machine.mark.uid.clone());
            }
        }
        seen.clone()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn making_names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanting(&self) -> MutexGuard<'_, BTreeMap<String, Wanting>> {
        self.wanting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floating {
    /// Whether it is this machine's. A Neutron that does not say whose port it is says the port's address.
    fn serves(&self, machine: &Machine) -> bool {
        match (&self.port_details, &self.fixed_ip_address) {
            (Some(port), _) => port.device_id == machine.id,
            (None, Some(fixed)) => machine.addresses.contains(fixed),
            (None, None) => false,
        }
    }

    fn is_free(&self) -> bool {
        self.port_id.is_none()
    }

    /// Whether it is the group's of this uid: it says so, or it served such a machine.
    fn is_of(
        &self,
        seen: &BTreeMap<String, String>,
        cluster: &str,
        group: &str,
        uid: &str,
    ) -> bool {
        uid_of(&self.description, cluster, group) == Some(uid)
            || seen.get(&self.id).is_some_and(|known| known == uid)
    }
}

/// Takes an address for each machine: one of its group's that is free, else a new one. Answers the refusals by the machine's id.
async fn take(
    session: &Session,
    (cluster, group): (&str, &str),
    lacking: &[(&Machine, &Wanting)],
    all: &mut Vec<Floating>,
    is_ours: impl Fn(&Floating, &str) -> bool,
) -> BTreeMap<String, CloudError> {
    let mut refused = BTreeMap::new();
    if lacking.is_empty() {
        return refused;
    }
    let ids: Vec<&str> = lacking.iter().map(|(machine, _)| &*machine.id).collect();
    let ports = match ports_of(session, &ids).await {
        Ok(ports) => ports,
        // Nothing was refused: the next list tries again.
        Err(error) => {
            let object = |id: &str| CloudError {
                object: id.to_owned(),
                message: error.message.clone(),
                ..error
            };
            return ids
                .into_iter()
                .map(|id| (id.to_owned(), object(id)))
                .collect();
        }
    };
    let mut taken = BTreeSet::new();
    let calls = lacking.iter().map(|(machine, wanting)| {
        let free = all
            .iter()
            .find(|address| {
                address.is_free()
                    && is_ours(address, &machine.mark.uid)
                    && address.floating_network_id == wanting.pool
                    && !taken.contains(&address.id)
            })
            .map(|address| address.id.clone());
        taken.extend(free.clone());
        let candidates = candidates(&ports, &machine.id, &wanting.networks);
        let description = description(cluster, group, &machine.mark.uid);
        let name = &machine.name;
        async move {
            let place = (wanting.pool.as_str(), description.as_str(), free.as_deref());
            let answer = take_one(session, name, place, &candidates).await;
            (machine.id.clone(), answer)
        }
    });
    let calls: Vec<_> = calls.collect();
    let answers: Vec<_> = some_at_a_time(calls).collect().await;
    all.retain(|address| !taken.contains(&address.id));
    for (id, answer) in answers {
        match answer {
            Ok(address) => all.push(address),
            Err(error) => {
                refused.insert(id, error);
            }
        }
    }
    refused
}

/// For the first of these ports that the pool reaches.
async fn take_one(
    session: &Session,
    machine: &str,
    (pool, description, free): (&str, &str, Option<&str>),
    candidates: &[(&str, &str)],
) -> Result<Floating, CloudError> {
    let mut refusal = CloudError {
        action: TAKE,
        object: machine.to_owned(),
        kind: Kind::Unavailable,
        message: "nothing yet: Neutron shows no port with an IPv4 address".to_owned(),
        attribute: Some(ATTRIBUTE),
        retry_after: None,
    };
    for (port, fixed) in candidates {
        let mut body = json!({"port_id": port, "fixed_ip_address": fixed});
        let call = match (free, body.as_object_mut()) {
            (Some(id), _) => Call::put(
                Service::Network,
                format!("floatingips/{id}"),
                json!({"floatingip": body}),
            ),
            (None, Some(fields)) => {
                fields.insert("floating_network_id".to_owned(), json!(pool));
                fields.insert("description".to_owned(), json!(description));
                Call::post(
                    Service::Network,
                    "floatingips",
                    json!({"floatingip": fields}),
                )
            }
            (None, None) => continue,
        };
        match send(session, TAKE, machine, call).await {
            Ok(mut answer) => return read(answer["floatingip"].take(), TAKE),
            Err(error) => {
                refusal = CloudError {
                    attribute: Some(ATTRIBUTE),
                    ..error
                };
                // Only that the pool does not reach this port says that another port may do.
                if !refusal.is_not_found() {
                    break;
                }
            }
        }
    }
    // One that was free may have been taken or given back meanwhile.
    if free.is_some() && refusal.is_not_found() {
        refusal.kind = Kind::Unavailable;
    }
    Err(refusal)
}

/// Ports and IPv4 addresses of a server, in the order of its networks.
fn candidates<'a>(ports: &'a [Port], server: &str, networks: &[String]) -> Vec<(&'a str, &'a str)> {
    let rank = |port: &&Port| {
        let known = networks.iter().position(|id| *id == port.network_id);
        known.unwrap_or(networks.len())
    };
    let mut of_server: Vec<&Port> = ports
        .iter()
        .filter(|port| port.device_id == server)
        .collect();
    of_server.sort_by_key(rank);
    of_server
        .into_iter()
        .filter_map(|port| {
            let mut addresses = port.fixed_ips.iter().map(|fixed| fixed.ip_address.as_str());
            let address = addresses.find(|address| !address.contains(':'))?;
            Some((port.id.as_str(), address))
        })
        .collect()
}

async fn ports_of(session: &Session, servers: &[&str]) -> Result<Vec<Port>, CloudError> {
    const ACTION: &str = "Neutron GET ports";
    let mut ports = Vec::new();
    for servers in servers.chunks(SERVERS_IN_A_QUERY) {
        let question = || {
            let mut call = Call::get(Service::Network, "ports");
            for field in ["id", "device_id", "network_id", "fixed_ips"] {
                call = call.query("fields", field);
            }
            for server in servers {
                call = call.query("device_id", *server);
            }
            call
        };
        let found = pages(session, ACTION, "the servers", "ports", question).await?;
        ports.extend(read::<Vec<Port>>(found.into(), ACTION)?);
    }
    Ok(ports)
}

async fn of_group(
    session: &Session,
    cluster: &str,
    group: &str,
) -> Result<Vec<Floating>, CloudError> {
    const ACTION: &str = "Neutron GET floatingips";
    // Neutron finds descriptions by the whole of them, and theirs end with a uid: the project's are asked for.
    let project = project_of(session);
    let call = || {
        let call = Call::get(Service::Network, "floatingips");
        match &project {
            Some(project) => call.query("project_id", project.clone()),
            None => call,
        }
    };
    let all = pages(session, ACTION, group, "floatingips", call).await?;
    let mut all: Vec<Floating> = read(all.into(), ACTION)?;
    all.retain(|address| uid_of(&address.description, cluster, group).is_some());
    Ok(all)
}

async fn release(session: &Session, addresses: &[Floating]) -> Result<(), CloudError> {
    let calls: Vec<_> = addresses
        .iter()
        .map(|address| release_one(session, address))
        .collect();
    some_at_a_time(calls).try_collect().await
}

async fn release_one(session: &Session, address: &Floating) -> Result<(), CloudError> {
    let call = Call::delete(Service::Network, format!("floatingips/{}", address.id));
    let object = &address.floating_ip_address;
    match send(session, "Neutron DELETE floatingips", object, call).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The group's mark on an address; the server is in the port.
fn description(cluster: &str, group: &str, uid: &str) -> String {
    format!("{} {UID}={uid}", request::tags(cluster, group).join(" "))
}

/// The uid in the mark of this (cluster, group); `""` where an older release wrote it without; `None` where it is none of theirs.
fn uid_of<'a>(description: &'a str, cluster: &str, group: &str) -> Option<&'a str> {
    let rest = description.strip_prefix(&request::tags(cluster, group).join(" "))?;
    match rest {
        "" => Some(""),
        rest => rest.strip_prefix(' ')?.strip_prefix(UID)?.strip_prefix('='),
    }
}

/// Whether the next list may take what this one could not.
fn is_passing(error: &CloudError) -> bool {
    error.is_retryable() || error.kind == Kind::Unauthenticated
}

/// The field of the shape, and the attribute.
pub(super) const FIELD: &str = "floating_ip_pool";
pub(super) const ATTRIBUTE: &str = "openstack.floating_ip_pool";
const TAKE: &str = "Neutron POST floatingips";
/// Keeps the URL within what proxies take.
const SERVERS_IN_A_QUERY: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_goes_to_the_first_network_that_has_ipv4() {
        let ports: Vec<Port> = serde_json::from_value(json!([
            {"id": "p1", "device_id": "s1", "network_id": "n1", "fixed_ips": [{"ip_address": "fd00::1"}, {"ip_address": "10.0.0.1"}]},
            {"id": "p2", "device_id": "s1", "network_id": "n2", "fixed_ips": [{"ip_address": "10.1.0.1"}]},
            {"id": "p3", "device_id": "s2", "network_id": "n2", "fixed_ips": [{"ip_address": "10.1.0.2"}]},
            {"id": "p4", "device_id": "s3", "network_id": "n1", "fixed_ips": [{"ip_address": "fd00::3"}]},
        ]))
        .unwrap();
        for (server, networks, expected) in [
            (
                "s1",
                vec!["n1", "n2"],
                vec![("p1", "10.0.0.1"), ("p2", "10.1.0.1")],
            ),
            (
                "s1",
                vec!["n2", "n1"],
                vec![("p2", "10.1.0.1"), ("p1", "10.0.0.1")],
            ),
            ("s1", vec![], vec![("p1", "10.0.0.1"), ("p2", "10.1.0.1")]),
            ("s2", vec!["n1"], vec![("p3", "10.1.0.2")]),
            ("s3", vec!["n1"], vec![]),
        ] {
            let networks: Vec<String> = networks.into_iter().map(str::to_owned).collect();
            assert_eq!(candidates(&ports, server, &networks), expected, "{server}");
        }
    }

    #[test]
    fn an_address_is_of_the_group_whose_uid_it_says_or_whose_machine_had_it() {
        let of = "flatcar-cluster=prod flatcar-group=web";
        for (description, uid) in [
            (of.to_owned(), Some("")),
            (description("prod", "web", "k3x9"), Some("k3x9")),
            (format!("{of}2 flatcar-uid=k3x9"), None),
            (format!("{of} of mine"), None),
            ("mine".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(uid_of(&description, "prod", "web"), uid, "{description}");
        }
        let seen = BTreeMap::from([("f1".to_owned(), "k3x9".to_owned())]);
        for (id, description, is_ours) in [
            ("f1", of.to_owned(), true),
            ("f2", of.to_owned(), false),
            ("f2", description("prod", "web", "k3x9"), true),
            ("f2", description("prod", "web", "b7q2"), false),
        ] {
            let address: Floating = serde_json::from_value(json!({
                "id": id, "floating_ip_address": "203.0.113.9", "floating_network_id": "n", "description": description,
            }))
            .unwrap();
            let is = address.is_of(&seen, "prod", "web", "k3x9");
            assert_eq!(is, is_ours, "{id} {description}");
        }
    }

    #[test]
    fn an_address_is_of_the_server_whose_port_has_it() {
        let machine = |id: &str| Machine {
            id: id.to_owned(),
            name: "workers-abc-0".to_owned(),
            zone: String::new(),
            addresses: vec!["10.0.0.1".to_owned()],
            image: String::new(),
            phase: Phase::Running,
            message: None,
            mark: crate::worker_group::cloud::Mark {
                cluster: "prod".to_owned(),
                group: "workers".to_owned(),
                uid: "abc".to_owned(),
                generation: String::new(),
                unsaved: false,
                origin: String::new(),
                proof: String::new(),
            },
            created: None,
            observed: BTreeMap::new(),
        };
        for (fields, serves, is_free) in [
            (
                json!({"port_id": "p", "port_details": {"device_id": "s1"}, "fixed_ip_address": "10.9.9.9"}),
                true,
                false,
            ),
            (
                json!({"port_id": "p", "port_details": {"device_id": "s2"}, "fixed_ip_address": "10.0.0.1"}),
                false,
                false,
            ),
            (
                json!({"port_id": "p", "fixed_ip_address": "10.0.0.1"}),
                true,
                false,
            ),
            (
                json!({"port_id": null, "port_details": null, "fixed_ip_address": null}),
                false,
                true,
            ),
        ] {
            let mut address = json!({"id": "f", "floating_ip_address": "203.0.113.9", "floating_network_id": "n"});
            address
                .as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            let address: Floating = serde_json::from_value(address).unwrap();
            assert_eq!(address.serves(&machine("s1")), serves, "{fields}");
            assert_eq!(address.is_free(), is_free, "{fields}");
        }
    }
}
