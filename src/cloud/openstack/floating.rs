//! The floating addresses of a group as Neutron has them: what there is, how one is taken for a
//! port, and how it is given back.
//!
//! In: a (cluster, group), and servers that lack an address. Out: addresses, and the refusals; who
//! has which when is `worker_group::cloud`'s. Every address carries the group's mark as its
//! description from the call that takes it, and is taken for a port: one without a port has lost
//! its server. See: Network API 2.0, `/floatingips`, `/ports`.

use async_trait::async_trait;
use futures::StreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::api::{NEUTRON, Session};
use super::shape::{ATTRIBUTE, FIELD};
use crate::http::api::Call;
use crate::worker_group::cloud::lent::{Ask, Holder, Lender, Lent, Of, uid_of};
use crate::worker_group::cloud::{Answered, CloudError, Kind, absent, read, some_at_a_time};

/// An address, as Neutron has it.
#[derive(Deserialize)]
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

#[derive(Deserialize)]
struct PortDetails {
    #[serde(default)]
    device_id: String,
}

impl From<Floating> for Lent {
    fn from(floating: Floating) -> Self {
        Self {
            id: floating.id,
            address: floating.floating_ip_address,
            pool: floating.floating_network_id,
            text: floating.description,
            // A Neutron that does not say whose port it is says the port's address.
            holder: match (
                floating.port_id,
                floating.port_details,
                floating.fixed_ip_address,
            ) {
                (None, ..) => Holder::Nobody,
                (_, Some(port), _) => Holder::Machine(port.device_id),
                (_, None, Some(fixed)) => Holder::Address(fixed),
                (_, None, None) => Holder::Other,
            },
        }
    }
}

#[derive(Deserialize)]
struct Port {
    id: String,
    device_id: String,
    #[serde(default)]
    network_id: String,
    #[serde(default)]
    fixed_ips: Vec<FixedIp>,
}

#[derive(Deserialize)]
struct FixedIp {
    ip_address: String,
}

#[async_trait]
impl Lender for Session {
    fn field(&self) -> &'static str {
        FIELD
    }

    fn word(&self) -> &'static str {
        "floating IP"
    }

    async fn all(&self, of: Of<'_>) -> Answered<Vec<Lent>> {
        // Neutron finds descriptions by the whole of them, and theirs end with a uid: the project's
        // are asked for.
        let question = || Call::get("floatingips").queries("project_id", self.project());
        let action = "Neutron GET floatingips";
        let all = Session::all(self, NEUTRON, action, of.1, "floatingips", question);
        let all: Vec<Floating> = all.await?;
        let of_group = all.into_iter().map(Lent::from);
        let of_group = of_group.filter(|lent| uid_of(&lent.text, of).is_some());
        Ok(of_group.collect())
    }

    async fn take(&self, asked: Vec<Ask<'_>>) -> Vec<(String, Answered<Lent>)> {
        let ids: Vec<&str> = asked.iter().map(|ask| &*ask.machine.id).collect();
        let fields = ["id", "device_id", "network_id", "fixed_ips"];
        let ports: Answered<Vec<Port>> = ports(self, "the servers", &ids, &fields).await;
        let calls = asked.iter().map(async |ask| {
            let answer = match &ports {
                Ok(ports) => take_one(self, ask, ports).await,
                // Nothing was refused: the next list tries again.
                Err(error) => Err(CloudError {
                    object: ask.machine.id.clone(),
                    ..error.clone()
                }),
            };
            (ask.machine.id.clone(), answer)
        });
        some_at_a_time(calls.collect()).collect().await
    }

    async fn give_back(&self, lent: &Lent) -> Answered<()> {
        let call = Call::delete(format!("floatingips/{}", lent.id));
        let action = "Neutron DELETE floatingips";
        absent(self.send(NEUTRON, action, &lent.address, call).await).map(drop)
    }
}

/// For the first of the server's ports that the pool reaches.
async fn take_one(session: &Session, ask: &Ask<'_>, ports: &[Port]) -> Answered<Lent> {
    let name = &ask.machine.name;
    let nothing = "nothing yet: Neutron shows no port with an IPv4 address";
    let mut refusal = CloudError::new(Kind::Unavailable, TAKE, name, nothing);
    for (port, fixed) in candidates(ports, &ask.machine.id, &ask.wish.networks) {
        let mut body = json!({"port_id": port, "fixed_ip_address": fixed});
        let call = match &ask.free {
            Some(free) => {
                let path = format!("floatingips/{}", free.id);
                Call::put(path, json!({"floatingip": body}))
            }
            None => {
                body["floating_network_id"] = json!(ask.wish.pool);
                body["description"] = json!(ask.text);
                Call::post("floatingips", json!({"floatingip": body}))
            }
        };
        match session.send(NEUTRON, TAKE, name, call).await {
            Ok(mut answer) => {
                let taken: Floating = read(answer["floatingip"].take(), TAKE)?;
                return Ok(taken.into());
            }
            Err(error) => refusal = error,
        }
        // Only that the pool does not reach this port says that another port may do.
        if !refusal.is_not_found() {
            break;
        }
    }
    // One that was free may have been taken or given back meanwhile.
    if ask.free.is_some() && refusal.is_not_found() {
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
    fn an_address_is_of_the_server_whose_port_has_it() {
        for (fields, holder) in [
            (
                json!({"port_id": "p", "port_details": {"device_id": "s1"}, "fixed_ip_address": "10.9.9.9"}),
                Holder::Machine("s1".to_owned()),
            ),
            (
                json!({"port_id": "p", "fixed_ip_address": "10.0.0.1"}),
                Holder::Address("10.0.0.1".to_owned()),
            ),
            (json!({"port_id": "p"}), Holder::Other),
            (
                json!({"port_id": null, "port_details": null, "fixed_ip_address": null}),
                Holder::Nobody,
            ),
        ] {
            let mut address = json!({"id": "f", "floating_ip_address": "203.0.113.9", "floating_network_id": "n"});
            let all = address.as_object_mut().unwrap();
            all.extend(fields.as_object().unwrap().clone());
            let address: Floating = serde_json::from_value(address).unwrap();
            assert_eq!(Lent::from(address).holder, holder, "{fields}");
        }
    }
}
