//! Backend address pools of load balancers: which machines are in them, by their network
//! interfaces, and how that is changed.
//!
//! In: the id of a pool, and ids of machines. Out: how each is in it, by one question about the
//! pool. When machines are entered and taken out is in `worker_group::cloud`'s `traffic`. See:
//! Network 2024-05-01, `LoadBalancerBackendAddressPools_Get`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::api::{NETWORK, Session};
use super::claims::name_of;
use super::known::Known;
use super::nic;
use super::request::{NIC, NICS, Place};
use super::shape::POOLS;
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, Backends, Member, Traffic, absent, all_of};

/// The pools of one group of machines.
pub(super) type Balanced = Traffic<Pools>;

pub(super) struct Pools {
    session: Arc<Session>,
    known: Arc<Known>,
    /// Machines that were taken out, by pool and machine, and until when their connections may
    /// last.
    finishing: Mutex<HashMap<(String, String), Instant>>,
}

impl Pools {
    pub(super) fn new(session: Arc<Session>, known: Arc<Known>) -> Self {
        Self {
            session,
            known,
            finishing: Mutex::default(),
        }
    }

    async fn put(&self, machine: &str, pool: &str, is_in: bool) -> Answered<()> {
        nic::change(&self.session, machine, |nic| nic::set(nic, pool, is_in)).await
    }

    async fn pool(&self, pool: &str) -> Answered<Option<Json>> {
        let call = Call::get(pool).query("api-version", NETWORK);
        absent(
            self.session
                .send("Azure GET backendAddressPools", pool, call)
                .await,
        )
    }
}

#[async_trait]
impl Backends for Pools {
    const FIELD: &'static str = POOLS;
    const AT_ONCE: usize = 100;

    fn name_of(pool: &str) -> &str {
        name_of(pool)
    }

    fn fresh(_: &str) -> Member {
        member(true)
    }

    async fn members(&self, pool: &str) -> Answered<HashMap<String, Member>> {
        let answer = self.pool(pool).await?.unwrap_or_default();
        let configurations = answer["properties"]["backendIPConfigurations"].as_array();
        let ids = configurations
            .into_iter()
            .flatten()
            .filter_map(|one| machine_of(one["id"].as_str()?));
        let ids = ids.map(|path| self.known.id_at(path));
        let mut found: HashMap<String, Member> = ids.map(|id| (id, member(true))).collect();
        let finishing = self
            .finishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for ((of, machine), until) in finishing.iter() {
            if of == pool && *until > Instant::now() && !found.contains_key(machine) {
                found.insert(machine.clone(), member(false));
            }
        }
        Ok(found)
    }

    async fn enter(&self, pool: &str, machines: &[String]) -> Answered<()> {
        let calls = machines.iter();
        let calls = calls.map(|machine| self.put(machine, pool, true));
        all_of(calls.collect()).await
    }

    async fn take_out(&self, pool: &str, machines: &[String]) -> Answered<()> {
        let drain = self.delay(pool).await?;
        let calls = machines.iter();
        let calls = calls.map(|machine| self.put(machine, pool, false));
        all_of(calls.collect()).await?;
        let mut finishing = self
            .finishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + drain;
        finishing.extend(
            machines
                .iter()
                .map(|machine| ((pool.to_owned(), machine.clone()), until)),
        );
        Ok(())
    }

    /// Names are ends of ids, and only the shape knows the whole; what is not in it is of this
    /// subscription.
    async fn named(&self, names: &BTreeSet<String>) -> Answered<Vec<String>> {
        let whole = |name: &String| {
            format!(
                "/subscriptions/{}/resourceGroups/{name}",
                self.session.subscription
            )
        };
        Ok(names.iter().map(whole).collect())
    }

    /// How long the load balancer lets open connections be.
    async fn delay(&self, pool: &str) -> Answered<Duration> {
        let answer = self.pool(pool).await?.unwrap_or_default();
        let seconds = answer["properties"]["drainPeriodInSeconds"].as_u64();
        Ok(Duration::from_secs(seconds.unwrap_or(0)).min(LONGEST))
    }
}

fn member(is_in: bool) -> Member {
    Member {
        serves: is_in,
        stays: is_in,
        had_traffic: true,
        is_unused: false,
        words: "taken out of its backend address pool".to_owned(),
    }
}

/// The path of the machine of an interface of ours:
/// `.../networkInterfaces/workers-k3v9x2ab-0-nic/ipConfigurations/primary`.
fn machine_of(configuration: &str) -> Option<String> {
    let (nic, _) = configuration.split_once("/ipConfigurations/")?;
    let name = nic.rsplit('/').next()?.strip_suffix(NIC)?;
    let machine = Place::canonical(nic)?;
    Some(format!("{}/{name}", machine.rsplit_once('/')?.0))
        .filter(|_| nic.to_lowercase().contains(&NICS.to_lowercase()))
}

/// No load balancer lets connections be for longer.
const LONGEST: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_an_interface_is_known_by_its_name() {
        for (configuration, machine) in [
            (
                "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Network/networkInterfaces/w-0-nic/ipConfigurations/primary",
                Some(
                    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/w-0",
                ),
            ),
            (
                "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/networkInterfaces/other/ipConfigurations/primary",
                None,
            ),
            (
                "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/w-nic/ipConfigurations/primary",
                None,
            ),
        ] {
            assert_eq!(
                machine_of(configuration).as_deref(),
                machine,
                "{configuration}"
            );
        }
    }
}
