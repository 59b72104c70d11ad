//! The network interface of a machine: how it is read, changed and put back, and what of it is
//! compared.
//!
//! In: the id of a machine, and a change of its interface's JSON. Out: nothing, when it is so. See:
//! Network 2024-05-01 `NetworkInterfaces_CreateOrUpdate` with `If-Match`.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::api::{NETWORK, Session};
use super::known::path;
use super::request::Parts;
use super::shape::Shape;
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, absent, listed};

/// Changes the network interface of a machine, where there is something to change, and waits for
/// it. One that is gone, or is not this machine's, is left.
pub(super) async fn change(
    session: &Session,
    machine: &str,
    edit: impl Fn(&mut Json) -> bool + Send,
) -> Answered<()> {
    let machine = path(machine);
    let Some(parts) = Parts::by_path(machine) else {
        return Ok(());
    };
    let (read, write) = ("Azure GET networkInterfaces", "Azure PUT networkInterfaces");
    let call = Call::get(&parts.nic).query("api-version", NETWORK);
    let Some(mut nic) = absent(session.send(read, parts.name(), call).await)? else {
        return Ok(());
    };
    let holder = nic["properties"]["virtualMachine"]["id"]
        .as_str()
        .unwrap_or_default();
    if !holder.eq_ignore_ascii_case(machine) || !edit(&mut nic) {
        return Ok(());
    }
    let etag = nic["etag"].as_str().unwrap_or("*").to_owned();
    let call = Call::put(&parts.nic, nic)
        .query("api-version", NETWORK)
        .header("if-match", etag);
    let Some(reply) = absent(session.ask(write, parts.name(), call).await)? else {
        return Ok(());
    };
    session.finished(write, parts.name(), &reply).await
}

pub(super) fn nsg(nic: &Json) -> String {
    let id = nic["properties"]["networkSecurityGroup"]["id"].as_str();
    id.unwrap_or_default().to_lowercase()
}

pub(super) fn asgs(nic: &Json) -> String {
    let groups =
        nic["properties"]["ipConfigurations"][0]["properties"]["applicationSecurityGroups"]
            .as_array();
    let ids = groups
        .into_iter()
        .flatten()
        .filter_map(|group| Some(group["id"].as_str()?.to_owned()));
    lower(&ids.collect())
}

pub(super) fn lower(ids: &BTreeSet<String>) -> String {
    let ids: BTreeSet<String> = ids.iter().map(|id| id.to_lowercase()).collect();
    listed(&ids, ", ")
}

pub(super) fn wanted_nsg(shape: &Shape) -> String {
    shape
        .network_security_group_id
        .clone()
        .unwrap_or_default()
        .to_lowercase()
}

/// Gives an interface the groups of the shape; `false`: it has them.
pub(super) fn regrouped(nic: &mut Json, shape: &Shape) -> bool {
    let wanted = &shape.application_security_group_ids;
    let is_so = nsg(nic) == wanted_nsg(shape) && asgs(nic) == lower(wanted);
    if is_so {
        return false;
    }
    nic["properties"]["networkSecurityGroup"] = match &shape.network_security_group_id {
        Some(id) => json!({"id": id}),
        None => Json::Null,
    };
    let groups: Vec<Json> = wanted.iter().map(|id| json!({"id": id})).collect();
    nic["properties"]["ipConfigurations"][0]["properties"]["applicationSecurityGroups"] =
        groups.into();
    true
}

/// Enters an interface in a pool, or takes it out; `false`: it is so already.
pub(super) fn set(nic: &mut Json, pool: &str, is_in: bool) -> bool {
    let configurations = nic["properties"]["ipConfigurations"].as_array_mut();
    let mut is_changed = false;
    for configuration in configurations.into_iter().flatten().take(1) {
        let properties = &mut configuration["properties"];
        let pools = properties["loadBalancerBackendAddressPools"].as_array();
        let mut pools = pools.cloned().unwrap_or_default();
        let is_it = |one: &Json| {
            one["id"]
                .as_str()
                .is_some_and(|id| id.eq_ignore_ascii_case(pool))
        };
        if pools.iter().any(is_it) == is_in {
            continue;
        }
        match is_in {
            true => pools.push(json!({"id": pool})),
            false => pools.retain(|one| !is_it(one)),
        }
        properties["loadBalancerBackendAddressPools"] = pools.into();
        is_changed = true;
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "/subscriptions/s/resourceGroups/Net/providers/Microsoft.Network/loadBalancers/lb/backendAddressPools/workers";

    #[test]
    fn an_interface_is_entered_once_and_others_pools_stay() {
        let other = json!({"id": "/other"});
        let mut nic = json!({"properties": {"ipConfigurations": [{"properties": {"loadBalancerBackendAddressPools": [other]}}, {}]}});
        let pools = |nic: &Json| {
            nic["properties"]["ipConfigurations"][0]["properties"]["loadBalancerBackendAddressPools"].clone()
        };
        for (pool, is_in, changed, after) in [
            (POOL, true, true, json!([other, {"id": POOL}])),
            (
                &POOL.to_uppercase(),
                true,
                false,
                json!([other, {"id": POOL}]),
            ),
            (&POOL.to_lowercase(), false, true, json!([other])),
            (POOL, false, false, json!([other])),
        ] {
            assert_eq!(set(&mut nic, pool, is_in), changed, "{pool} {is_in}");
            assert_eq!(pools(&nic), after);
        }
    }
}
