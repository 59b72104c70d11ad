//! Floating addresses of a group's servers: taken from a pool, handed from a server that is gone to one that is new, given back when
//! nobody has use for them.
//!
//! In: machines whose metadata names a pool. Out: the same with their addresses. What Neutron has of them is in `held`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::api::Session;
use super::held::{Floating, Held, all_of_group, release};
use super::names::Wanting;
use super::shape::FIELD;
use crate::worker_group::cloud::{Answered, CloudError, Kind, Machine, Mark, Phase};

/// What one operation knows of floating addresses.
#[derive(Default)]
pub(super) struct Addresses(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Servers that were made here, or were still being built, and are to have one, by id.
    wanting: BTreeMap<String, Wanting>,
    /// Names of servers whose create was asked for here: where its answer is lost, nobody knows the id.
    making: BTreeSet<String>,
    /// What the group's shape wants; known once something is made or changed, for a refresh takes nothing.
    shape: Option<Wanting>,
    /// Whether the group has a pool or had one: Neutron is not asked otherwise.
    used: bool,
    /// Addresses that a listed machine had, by id, with the machine's uid: those of older releases do not say it themselves.
    seen: BTreeMap<String, String>,
}

impl Addresses {
    /// The group has a pool.
    pub(super) fn used(&self) {
        self.known().used = true;
    }

    /// A server of this name is about to be made that is to have an address.
    pub(super) fn making(&self, name: &str, wanting: Option<&Wanting>) {
        let Some(wanting) = wanting else { return };
        let mut known = self.known();
        known.shape.get_or_insert_with(|| wanting.clone());
        known.making.insert(name.to_owned());
    }

    /// A server was made, or found again, that is to have an address: the next list that shows it running takes one.
    pub(super) fn want(&self, server: &str, wanting: Option<&Wanting>) {
        let Some(wanting) = wanting else { return };
        let mut known = self.known();
        known.shape.get_or_insert_with(|| wanting.clone());
        known.wanting.insert(server.to_owned(), wanting.clone());
    }

    /// Adds addresses to listed machines, and takes those that are wanted: one call for the group, and those that change something.
    ///
    /// # Errors
    /// Neutron does not say what there is. A refusal of one address is the message of its machine.
    pub(super) async fn complete(
        &self,
        session: &Session,
        of: (&str, &str),
        machines: &mut [Machine],
    ) -> Answered<()> {
        let pool = |machine: &Machine| machine.observed.get(FIELD).is_some_and(|p| !p.is_empty());
        if !machines.iter().any(pool) {
            return Ok(());
        }
        self.want_later(machines);
        let mut held = self.held(session, of, machines).await?;
        let wanting = self.known().wanting.clone();
        let lacking: Vec<(&Machine, &Wanting)> = machines
            .iter()
            .filter(|machine| machine.phase == Phase::Running && held.of(machine).is_none())
            .filter_map(|machine| Some((machine, wanting.get(&machine.id)?)))
            .collect();
        let refused = held.take(session, &lacking).await;
        let mut known = self.known();
        for machine in machines.iter_mut().filter(|machine| pool(machine)) {
            if let Some(address) = held.of(machine) {
                known.wanting.remove(&machine.id);
                // From here on one that somebody takes away is drift.
                known.making.remove(&machine.name);
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
        let mut known = self.known();
        let Some(shape) = known.shape.clone() else {
            return;
        };
        for machine in machines {
            let is_later = machine.phase == Phase::Pending || known.making.contains(&machine.name);
            if is_later && machine.observed.get(FIELD) == Some(&shape.named) {
                let wanting = known.wanting.entry(machine.id.clone());
                wanting.or_insert_with(|| shape.clone());
            }
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
    ) -> Answered<()> {
        let of = (&*mark.cluster, &*mark.group);
        let mut held = self.held(session, of, &[]).await?;
        let is_right = |address: &Floating| {
            wanting.is_some_and(|wanting| address.floating_network_id == wanting.pool)
        };
        let served = |address: &Floating| machines.iter().any(|machine| address.serves(machine));
        let wrong = held.all.extract_if(.., |one| served(one) && !is_right(one));
        release(session, &wrong.collect::<Vec<_>>()).await?;
        let Some(wanting) = wanting else {
            return Ok(());
        };
        let is_pending = |machine: &&Machine| machine.phase == Phase::Pending;
        for machine in machines.iter().filter(is_pending) {
            self.want(&machine.id, Some(wanting));
        }
        let lacking: Vec<(&Machine, &Wanting)> = machines
            .iter()
            .filter(|machine| !matches!(machine.phase, Phase::Pending | Phase::Deleting))
            .filter(|machine| held.of(machine).is_none())
            .map(|machine| (machine, wanting))
            .collect();
        let refused = held.take(session, &lacking).await;
        refused.into_values().next().map_or(Ok(()), Err)
    }

    /// Gives back addresses of this uid whose servers are gone.
    ///
    /// # Errors
    /// Neutron does not say what there is, or does not take one back.
    pub(super) async fn sweep(&self, session: &Session, mark: &Mark) -> Answered<()> {
        if !self.known().used {
            return Ok(());
        }
        let of = (&*mark.cluster, &*mark.group);
        let held = self.held(session, of, &[]).await?;
        let is_left = |one: &&Floating| one.port_id.is_none() && held.is_of(one, &mark.uid);
        release(session, held.all.iter().filter(is_left)).await
    }

    /// The addresses of a group; remembers whose machines they serve.
    async fn held<'a>(
        &self,
        session: &Session,
        of: (&'a str, &'a str),
        machines: &[Machine],
    ) -> Answered<Held<'a>> {
        self.used();
        let all = all_of_group(session, of).await?;
        let mut known = self.known();
        for address in &all {
            if let Some(machine) = machines.iter().find(|machine| address.serves(machine)) {
                let uid = machine.mark.uid.clone();
                known.seen.insert(address.id.clone(), uid);
            }
        }
        let seen = known.seen.clone();
        Ok(Held { of, all, seen })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the next list may take what this one could not.
fn is_passing(error: &CloudError) -> bool {
    error.is_retryable() || error.kind == Kind::Unauthenticated
}
