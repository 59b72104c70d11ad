//! What is changed on machines that exist: their tags, the groups and pools of their network
//! interfaces, and whether they run.
//!
//! In: machines, a mark, a shape. Out: nothing, when they are so. See: Resources 2024-03-01
//! `Tags_UpdateAtScope`, Compute 2024-11-01 `VirtualMachines_Start`.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use serde_json::json;

use super::api::{COMPUTE, RESOURCES, Session};
use super::claims::{claims_of, name_of};
use super::known::path;
use super::nic::{self, lower, regrouped, wanted_nsg};
use super::pools::Balanced;
use super::request::retagged;
use super::shape::{ASGS, NSG, OWN, Shape};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, Machine, Mark, Phase, absent, all_of};

/// Marks alone where there is no shape; else also the user's tags, and the groups and pools of the
/// network interfaces. `claims` are the pools that the machines say they are in, as of the last
/// list.
pub(super) async fn rewrite(
    session: &Session,
    balanced: &Balanced,
    machines: &[Machine],
    mark: &Mark,
    shape: Option<&Shape>,
    claims: BTreeSet<String>,
) -> Answered<()> {
    let mut tags = retagged(mark, shape);
    let Some(shape) = shape else {
        return tag_all(session, machines, &tags, None).await;
    };
    let pools = &shape.load_balancer_backend_address_pool_ids;
    let claims = claims.into_iter().map(|claim| as_written(pools, claim));
    let transfer = Balanced::transfer(pools.iter().cloned(), claims);
    if let Some(meanwhile) = transfer.meanwhile() {
        tags.extend(claims_of(meanwhile));
    }
    tag_all(session, machines, &tags, Some(shape)).await?;
    let differs = |machine: &&Machine| {
        let wanted = [
            (NSG, wanted_nsg(shape)),
            (ASGS, lower(&shape.application_security_group_ids)),
        ];
        wanted
            .iter()
            .any(|(field, wanted)| machine.observed.get(*field) != Some(wanted))
    };
    let regroup = |machine: &Machine| {
        let id = machine.id.clone();
        async move { nic::change(session, &id, |nic| regrouped(nic, shape)).await }
    };
    all_of(machines.iter().filter(differs).map(regroup).collect()).await?;
    let ids = |running: bool| {
        machines
            .iter()
            .filter(move |one| !running || one.phase == Phase::Running)
            .map(|one| one.id.clone())
    };
    let running: Vec<String> = ids(true).collect();
    balanced
        .carry_out(&transfer, &running, ids(false).collect())
        .await?;
    match transfer.afterwards() {
        None => Ok(()),
        Some(now) => tag_all(session, machines, &claims_of(now), None).await,
    }
}

/// The name of a pool in the letters of the shape: to Azure they are the same in any, and a pool
/// that is not left takes no machine out.
fn as_written(pools: &BTreeSet<String>, claim: String) -> String {
    let mut names = pools.iter().map(|pool| name_of(pool));
    let same = names.find(|name| name.eq_ignore_ascii_case(&claim));
    same.map_or(claim, str::to_owned)
}

async fn tag_all(
    session: &Session,
    machines: &[Machine],
    tags: &BTreeMap<String, String>,
    shape: Option<&Shape>,
) -> Answered<()> {
    let one = |machine| retag(session, machine, tags, shape);
    all_of(machines.iter().map(one).collect()).await
}

/// Adds and overwrites; what others wrote stays, and what the user has taken out goes.
async fn retag(
    session: &Session,
    machine: &Machine,
    tags: &BTreeMap<String, String>,
    shape: Option<&Shape>,
) -> Answered<()> {
    let left: BTreeMap<&str, &String> = match shape {
        None => BTreeMap::new(),
        Some(shape) => OWN
            .left(slice::from_ref(machine), &shape.tags)
            .into_iter()
            .filter_map(|key| Some((key, machine.observed.get(&format!("{}.{key}", OWN.field))?)))
            .collect(),
    };
    // First what goes: names of tags are the same to Azure in any letters.
    let mut changes = Vec::new();
    if !left.is_empty() {
        changes.push(json!({"operation": "Delete", "properties": {"tags": left}}));
    }
    changes.push(json!({"operation": "Merge", "properties": {"tags": tags}}));
    for change in changes {
        let call = Call::patch(
            format!(
                "{}/providers/Microsoft.Resources/tags/default",
                path(&machine.id)
            ),
            change,
        );
        let answer = session.send(
            "Azure PATCH tags",
            &machine.name,
            call.query("api-version", RESOURCES),
        );
        // One that is gone has nothing to mark.
        if absent(answer.await)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Starts those that do not run; on one that runs it has no effect.
pub(super) async fn start(session: &Session, machines: &[Machine]) -> Answered<()> {
    let one = async |machine: &Machine| {
        let call = Call::post(format!("{}/start", path(&machine.id)), json!({})).repeatable();
        let answer = session.send(
            "Azure POST start",
            &machine.name,
            call.query("api-version", COMPUTE),
        );
        absent(answer.await).map(drop)
    };
    all_of(machines.iter().map(one).collect()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_in_other_letters_is_the_same_pool() {
        let pool = "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/loadBalancers/web/backendAddressPools/w";
        let pools = BTreeSet::from([pool.to_owned()]);
        let other = name_of(pool).replace("/w", "/v");
        for (claim, left) in [
            (name_of(pool).to_owned(), 0),
            (name_of(pool).to_uppercase(), 0),
            (other, 1),
        ] {
            let claims = [as_written(&pools, claim.clone())];
            let transfer = Balanced::transfer(pools.iter().cloned(), claims);
            let carried = transfer.meanwhile().into_iter().flatten().count();
            assert_eq!(carried, 1 + left, "{claim}");
        }
    }
}
