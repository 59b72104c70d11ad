//! The floating addresses of a group as Neutron has them: whose they are, how one is taken for a port, and how they are given back.
//!
//! In: a (cluster, group), and servers that lack an address. Out: addresses, and the refusals. Every address carries the group's mark,
//! with its uid, as its description from the call that takes it, and is taken for a port: one without a port has lost its server.
//! See: Network API 2.0, `/floatingips`, `/ports`.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::api::{NEUTRON, Session};
use super::names::Wanting;
use super::request::tags;
use super::shape::ATTRIBUTE;
use crate::http::api::Call;
use crate::worker_group::cloud::{
    Answered, CloudError, Kind, Machine, UID, absent, read, some_at_a_time,
};

/// An address, as Neutron has it.
#[derive(Debug, Deserialize)]
pub(super) struct Floating {
    pub(super) id: String,
    pub(super) floating_ip_address: String,
    pub(super) floating_network_id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pub(super) port_id: Option<String>,
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

impl Floating {
    /// Whether it is this machine's. A Neutron that does not say whose port it is says the port's address.
    pub(super) fn serves(&self, machine: &Machine) -> bool {
        match (&self.port_details, &self.fixed_ip_address) {
            (Some(port), _) => port.device_id == machine.id,
            (None, Some(fixed)) => machine.addresses.contains(fixed),
            (None, None) => false,
        }
    }
}

/// The addresses of a (cluster, group).
pub(super) struct Held<'a> {
    pub(super) of: (&'a str, &'a str),
    pub(super) all: Vec<Floating>,
    /// Whose machine had an address, by its id: those of older releases do not say it themselves.
    pub(super) seen: BTreeMap<String, String>,
}

impl Held<'_> {
    /// That of a machine.
    pub(super) fn of(&self, machine: &Machine) -> Option<&Floating> {
        self.all.iter().find(|address| address.serves(machine))
    }

    /// Whether it is the group's of this uid: it says so, or it served such a machine.
    pub(super) fn is_of(&self, address: &Floating, uid: &str) -> bool {
        uid_of(&address.description, self.of) == Some(uid)
            || self.seen.get(&address.id).is_some_and(|known| known == uid)
    }

    /// Takes an address for each machine: one of its group's that is free, else a new one. Answers the refusals by the machine's id.
    pub(super) async fn take(
        &mut self,
        session: &Session,
        lacking: &[(&Machine, &Wanting)],
    ) -> BTreeMap<String, CloudError> {
        let ids: Vec<&str> = lacking.iter().map(|(machine, _)| &*machine.id).collect();
        let fields = ["id", "device_id", "network_id", "fixed_ips"];
        let ports = match ports(session, "the servers", &ids, &fields).await {
            Ok(ports) => ports,
            // Nothing was refused: the next list tries again.
            Err(error) => {
                let of = |id: &str| {
                    let mut error = error.clone();
                    error.object = id.to_owned();
                    (id.to_owned(), error)
                };
                return ids.into_iter().map(of).collect();
            }
        };
        let mut taken = BTreeSet::new();
        let mut calls = Vec::new();
        for (machine, wanting) in lacking {
            let uid = &machine.mark.uid;
            let mut free = self.all.iter().filter(|address| {
                address.port_id.is_none()
                    && self.is_of(address, uid)
                    && address.floating_network_id == wanting.pool
            });
            let free = free.find(|address| !taken.contains(&address.id));
            let free = free.map(|address| address.id.clone());
            taken.extend(free.clone());
            let candidates = candidates(&ports, &machine.id, &wanting.networks);
            let description = description(self.of, uid);
            calls.push(async move {
                let place = (wanting.pool.as_str(), description.as_str(), free.as_deref());
                let answer = take_one(session, &machine.name, place, &candidates).await;
                (machine.id.clone(), answer)
            });
        }
        let answers: Vec<_> = some_at_a_time(calls).collect().await;
        self.all.retain(|address| !taken.contains(&address.id));
        let mut refused = BTreeMap::new();
        for (id, answer) in answers {
            match answer {
                Ok(address) => self.all.push(address),
                Err(error) => refused.extend([(id, error)]),
            }
        }
        refused
    }
}

/// For the first of these ports that the pool reaches.
async fn take_one(
    session: &Session,
    machine: &str,
    (pool, description, free): (&str, &str, Option<&str>),
    candidates: &[(&str, &str)],
) -> Answered<Floating> {
    let nothing = "nothing yet: Neutron shows no port with an IPv4 address";
    let mut refusal = CloudError::new(Kind::Unavailable, TAKE, machine, nothing);
    for (port, fixed) in candidates {
        let mut body = json!({"port_id": port, "fixed_ip_address": fixed});
        let call = match free {
            Some(id) => Call::put(format!("floatingips/{id}"), json!({"floatingip": body})),
            None => {
                body["floating_network_id"] = json!(pool);
                body["description"] = json!(description);
                Call::post("floatingips", json!({"floatingip": body}))
            }
        };
        match session.send(NEUTRON, TAKE, machine, call).await {
            Ok(mut answer) => return read(answer["floatingip"].take(), TAKE),
            Err(error) => refusal = error,
        }
        // Only that the pool does not reach this port says that another port may do.
        if !refusal.is_not_found() {
            break;
        }
    }
    // One that was free may have been taken or given back meanwhile.
    if free.is_some() && refusal.is_not_found() {
        refusal.kind = Kind::Unavailable;
    }
    Err(refusal.blaming(ATTRIBUTE))
}

/// Ports and IPv4 addresses of a server, in the order of its networks.
fn candidates<'a>(ports: &'a [Port], server: &str, networks: &[String]) -> Vec<(&'a str, &'a str)> {
    let place = |port: &Port| networks.iter().position(|id| *id == port.network_id);
    let of_server = ports.iter().filter(|port| port.device_id == server);
    let mut of_server: Vec<&Port> = of_server.collect();
    of_server.sort_by_key(|port| place(port).unwrap_or(usize::MAX));
    let candidate = |port: &'a Port| {
        let mut addresses = port.fixed_ips.iter().map(|fixed| fixed.ip_address.as_str());
        let address = addresses.find(|address| !address.contains(':'))?;
        Some((port.id.as_str(), address))
    };
    of_server.into_iter().filter_map(candidate).collect()
}

/// The ports of servers, with these fields.
pub(super) async fn ports<T: DeserializeOwned>(
    session: &Session,
    object: &str,
    servers: &[&str],
    fields: &[&str],
) -> Answered<Vec<T>> {
    let mut ports = Vec::new();
    for servers in servers.chunks(SERVERS_IN_A_QUERY) {
        let question = || {
            let call = Call::get("ports").queries("fields", fields);
            call.queries("device_id", servers)
        };
        let found = session.all(NEUTRON, "Neutron GET ports", object, "ports", question);
        ports.extend(found.await?);
    }
    Ok(ports)
}

pub(super) async fn all_of_group(session: &Session, of: (&str, &str)) -> Answered<Vec<Floating>> {
    // Neutron finds descriptions by the whole of them, and theirs end with a uid: the project's are asked for.
    let question = || Call::get("floatingips").queries("project_id", session.project());
    let action = "Neutron GET floatingips";
    let all = session.all(NEUTRON, action, of.1, "floatingips", question);
    let mut all: Vec<Floating> = all.await?;
    all.retain(|address| uid_of(&address.description, of).is_some());
    Ok(all)
}

pub(super) async fn release(
    session: &Session,
    addresses: impl IntoIterator<Item = &Floating>,
) -> Answered<()> {
    let one = async |address: &Floating| {
        let call = Call::delete(format!("floatingips/{}", address.id));
        let (action, object) = ("Neutron DELETE floatingips", &address.floating_ip_address);
        absent(session.send(NEUTRON, action, object, call).await).map(drop)
    };
    let calls: Vec<_> = addresses.into_iter().map(one).collect();
    some_at_a_time(calls).try_collect().await
}

/// The group's mark on an address; the server is in the port.
fn description((cluster, group): (&str, &str), uid: &str) -> String {
    format!("{} {UID}={uid}", tags(cluster, group).join(" "))
}

/// The uid in the mark of this (cluster, group); `""` where an older release wrote it without; `None` where it is none of theirs.
fn uid_of<'a>(description: &'a str, (cluster, group): (&str, &str)) -> Option<&'a str> {
    let rest = description.strip_prefix(&tags(cluster, group).join(" "))?;
    match rest {
        "" => Some(""),
        rest => rest.strip_prefix(' ')?.strip_prefix(UID)?.strip_prefix('='),
    }
}

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
            (description(("prod", "web"), "k3x9"), Some("k3x9")),
            (format!("{of}2 flatcar-uid=k3x9"), None),
            (format!("{of} of mine"), None),
            ("mine".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(uid_of(&description, ("prod", "web")), uid, "{description}");
        }
        let seen = BTreeMap::from([("f1".to_owned(), "k3x9".to_owned())]);
        for (id, description, is_ours) in [
            ("f1", of.to_owned(), true),
            ("f2", of.to_owned(), false),
            ("f2", description(("prod", "web"), "k3x9"), true),
            ("f2", description(("prod", "web"), "b7q2"), false),
        ] {
            let address: Floating = serde_json::from_value(json!({
                "id": id, "floating_ip_address": "203.0.113.9", "floating_network_id": "n", "description": description,
            }))
            .unwrap();
            let held = Held {
                of: ("prod", "web"),
                all: Vec::new(),
                seen: seen.clone(),
            };
            let is = held.is_of(&address, "k3x9");
            assert_eq!(is, is_ours, "{id} {description}");
        }
    }

    #[test]
    fn an_address_is_of_the_server_whose_port_has_it() {
        use crate::worker_group::cloud::Phase;
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
            assert_eq!(address.port_id.is_none(), is_free, "{fields}");
        }
    }
}
