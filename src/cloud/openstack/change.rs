//! What is changed on servers that exist: metadata, security groups of ports, whether they run.
//!
//! In: a server, a mark, a shape. Out: nothing, when it is so. See: Compute API 2.1 `POST
//! /servers/{id}/metadata`, `POST /servers/{id}/action`, Network API 2.0 `PUT /ports/{id}`.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use serde_json::json;

use super::api::{NEUTRON, NOVA, Session};
use super::floating::ports;
use super::names::SECURITY_GROUPS;
use super::server::Server;
use super::shape::{GROUPS, OWN, POOL, Shape};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, Machine, Mark, Named, absent, all_of};

/// Writes a mark, and the user's metadata where there is a shape.
pub(super) async fn mark(
    session: &Session,
    machine: &Machine,
    mark: &Mark,
    shape: Option<&Shape>,
) -> Answered<()> {
    let path = format!("servers/{}/metadata", machine.id);
    let (mut metadata, mut left) = (BTreeMap::new(), BTreeSet::new());
    if let Some(shape) = shape {
        metadata = shape.own_metadata();
        // Empty where there is none any more.
        metadata.entry(POOL.to_owned()).or_default();
        left = OWN.left(slice::from_ref(machine), &shape.metadata);
    }
    metadata.extend(mark.written());
    // Adds and overwrites; what others wrote stays, and what the user has taken out goes.
    let body = json!({"metadata": metadata});
    let mut calls = vec![Call::post(&path, body).repeatable()];
    let gone = |key: &&str| Call::delete(format!("{path}/{key}"));
    calls.extend(left.iter().map(gone));
    for call in calls {
        // One that is gone has nothing to mark.
        let action = "Nova metadata of a server";
        absent(session.send(NOVA, action, &machine.name, call).await)?;
    }
    Ok(())
}

/// Starts a server that is stopped, whatever way.
pub(super) async fn start(session: &Session, machine: &Machine) -> Answered<()> {
    const START: &str = "Nova start of a server";
    let path = format!("servers/{}", machine.id);
    let name = &machine.name;
    let server = session.get(NOVA, START, name, Call::get(&path), "server");
    let server: Option<Server> = absent(server.await)?;
    let action = match server.as_ref().map(|server| server.status.as_str()) {
        Some("SHUTOFF") => "os-start",
        Some("PAUSED") => "unpause",
        Some("SUSPENDED") => "resume",
        Some("RESCUE") => "unrescue",
        Some("SHELVED" | "SHELVED_OFFLOADED") => "unshelve",
        _ => return Ok(()),
    };
    // A second start of one that starts is refused, and changes nothing.
    let call = Call::post(format!("{path}/action"), json!({action: null})).repeatable();
    absent(session.send(NOVA, START, name, call).await).map(drop)
}

/// Gives the ports of machines the security groups of the shape. A shape without any says nothing.
pub(super) async fn regroup(
    session: &Session,
    machines: &[Machine],
    shape: &Shape,
) -> Answered<()> {
    let wanted = shape.groups();
    let has_others =
        |machine: &&Machine| wanted.is_none() || machine.observed.get(GROUPS) != wanted.as_ref();
    let others: Vec<&Machine> = machines.iter().filter(has_others).collect();
    if shape.security_groups.is_empty() || others.is_empty() {
        return Ok(());
    }
    let mut ids = BTreeSet::new();
    for group in &shape.security_groups {
        ids.insert(SECURITY_GROUPS.id(session, Named::of(group)).await?);
    }
    let one = |machine| regroup_one(session, machine, &ids);
    all_of(others.into_iter().map(one).collect()).await
}

async fn regroup_one(
    session: &Session,
    machine: &Machine,
    wanted: &BTreeSet<String>,
) -> Answered<()> {
    let name = &machine.name;
    let fields = ["id", "security_groups", "port_security_enabled"];
    let ports: Vec<Port> = ports(session, name, &[&machine.id], &fields).await?;
    // A port without port security takes no group, in a create as here.
    let others = ports.into_iter().filter(|port| {
        port.port_security_enabled != Some(false) && port.security_groups != *wanted
    });
    for port in others {
        let body = json!({"port": {"security_groups": wanted}});
        let call = Call::put(format!("ports/{}", port.id), body);
        // One that is gone went with its machine.
        absent(session.send(NEUTRON, "Neutron PUT port", name, call).await)?;
    }
    Ok(())
}

/// A port of a server, as Neutron lists it.
#[derive(serde::Deserialize)]
struct Port {
    id: String,
    #[serde(default)]
    security_groups: BTreeSet<String>,
    #[serde(default)]
    port_security_enabled: Option<bool>,
}
