//! What is changed on servers that exist: their metadata, the security groups of their ports, and whether they run.
//!
//! In: a server, a mark, a shape. Out: nothing, when it is so. See: Compute API 2.1 `POST /servers/{id}/metadata`, `POST
//! /servers/{id}/action`, Network API 2.0 `PUT /ports/{id}`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::api::{self, Call, Server, Service, all_of};
use super::shape::Shape;
use super::{OpenStack, is_uuid, preflight, request};
use crate::worker_group::cloud::{CloudError, Kind, Machine, Mark};

impl OpenStack {
    pub(super) async fn mark_one(
        &self,
        machine: &Machine,
        mark: &Mark,
        shape: Option<&Shape>,
    ) -> Result<(), CloudError> {
        let path = format!("servers/{}/metadata", machine.id);
        let mut metadata: BTreeMap<String, String> = BTreeMap::new();
        let mut left = Vec::new();
        if let Some(shape) = shape {
            metadata = request::metadata_of(shape);
            // Empty where there is none any more.
            metadata.entry(api::POOL.to_owned()).or_default();
            left = machine
                .observed
                .keys()
                .filter_map(|key| key.strip_prefix("metadata."))
                .filter(|key| !shape.metadata.contains_key(*key))
                .collect();
        }
        let pairs = mark.pairs().into_iter();
        metadata.extend(pairs.map(|(key, value)| (key.to_owned(), value)));
        // Adds and overwrites; what others wrote stays.
        let call = Call::post(
            Service::Compute,
            path.clone(),
            json!({"metadata": metadata}),
        );
        let mut calls = vec![call];
        // What the user has taken out goes.
        calls.extend(
            left.iter()
                .map(|key| Call::delete(Service::Compute, format!("{path}/{key}"))),
        );
        for call in calls {
            match self.call(MARK, &machine.name, call).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {} // gone: there is nothing to mark
                // Writing the same metadata again is harmless: nothing about a lost answer is ambiguous.
                Err(error) if error.kind == Kind::Ambiguous => {
                    return Err(CloudError {
                        kind: Kind::Unavailable,
                        ..error
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn start_one(&self, machine: &Machine) -> Result<(), CloudError> {
        let path = format!("servers/{}", machine.id);
        let call = Call::get(Service::Compute, path.clone());
        let mut answer = match self.call(START, &machine.name, call).await {
            Err(error) if error.is_not_found() => return Ok(()),
            answer => answer?,
        };
        let server = Server::read(answer["server"].take(), START)?;
        let action = match server.status.as_str() {
            "SHUTOFF" => "os-start",
            "PAUSED" => "unpause",
            "SUSPENDED" => "resume",
            "RESCUE" => "unrescue",
            "SHELVED" | "SHELVED_OFFLOADED" => "unshelve",
            _ => return Ok(()),
        };
        let call = Call::post(
            Service::Compute,
            format!("{path}/action"),
            json!({action: null}),
        );
        match self.call(START, &machine.name, call).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            // A second start of one that starts is refused, and changes nothing.
            Err(error) if error.kind == Kind::Ambiguous => Err(CloudError {
                kind: Kind::Unavailable,
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    /// Gives the ports of machines the security groups of the shape. A shape without any says nothing.
    pub(super) async fn regroup(
        &self,
        machines: &[Machine],
        shape: &Shape,
    ) -> Result<(), CloudError> {
        let wanted = self.groups_of(shape);
        let has_others = |machine: &&Machine| {
            wanted.is_none() || machine.observed.get(GROUPS) != wanted.as_ref()
        };
        let others: Vec<&Machine> = machines.iter().filter(has_others).collect();
        if shape.security_groups.is_empty() || others.is_empty() {
            return Ok(());
        }
        let mut ids = BTreeSet::new();
        for group in &shape.security_groups {
            ids.insert(preflight::security_group(&self.session, group).await?);
        }
        let calls: Vec<_> = others
            .into_iter()
            .map(|machine| self.regroup_one(machine, &ids))
            .collect();
        all_of(calls).await
    }

    async fn regroup_one(
        &self,
        machine: &Machine,
        wanted: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let call = Call::get(Service::Network, "ports")
            .query("device_id", machine.id.clone())
            .query("fields", "id")
            .query("fields", "security_groups")
            .query("fields", "port_security_enabled");
        let mut answer = self.call(PORTS, &machine.name, call).await?;
        let ports: Vec<Port> = preflight::read(answer["ports"].take(), PORTS)?;
        // A port without port security takes no group, in a create as here.
        let others = ports.into_iter().filter(|port| {
            port.port_security_enabled != Some(false) && port.security_groups != *wanted
        });
        for port in others {
            let body = json!({"port": {"security_groups": wanted}});
            let call = Call::put(Service::Network, format!("ports/{}", port.id), body);
            match self.call(REGROUP, &machine.name, call).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {} // it went with its machine
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The groups of a shape as Nova reports them: by name. Ids cannot be compared.
    pub(super) fn groups_of(&self, shape: &Shape) -> Option<String> {
        let mut groups = shape.security_groups.clone();
        if groups.is_empty() || groups.iter().any(|group| is_uuid(group)) {
            return None;
        }
        groups.sort_unstable();
        groups.dedup();
        Some(groups.join(", "))
    }
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

pub(super) const GROUPS: &str = "security_groups";
const START: &str = "Nova start of a server";
const PORTS: &str = "Neutron GET ports";
const REGROUP: &str = "Neutron PUT port";
const MARK: &str = "Nova metadata of a server";
