//! How a machine comes: a clone, whose task is awaited; and whose the name is that was taken.
//!
//! In: a spec. Out: the machine, or that its clone goes on: whoever asks again waits for the same
//! task. See: *vSphere Web Services API*, `CloneVM_Task`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value as Json;

use super::address::TWICE;
use super::api::FORGOTTEN;
use super::inventory::Place;
use super::machine::Virtual;
use super::object::{Object, Ref};
use super::request::CLONE;
use super::shape::Shape;
use super::{ENTRY, VM, VSphere, address, change, leave, machine, request};
use crate::http::rest::Effect;
use crate::worker_group::cloud::addresses::{Addresses, LISTED};
use crate::worker_group::cloud::{
    Answered, Answers as _, CloudError, Kind, Machine, Phase, Spec, packed, read,
};

impl VSphere {
    /// As [`Answers::create`].
    ///
    /// [`Answers::create`]: crate::worker_group::cloud::Answers::create
    pub(super) async fn created(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        user_data: &str,
    ) -> Answered<Machine> {
        let turn = self.pool.turn(spec.name);
        let _turn = turn.lock().await;
        let key = (spec.name.to_owned(), spec.attempt);
        let under_way = self.cloning().get(&key).cloned();
        let place = self.place(shape).await?;
        let task = match under_way {
            Some(task) => task,
            None => {
                let begun = self.clone_task(spec, shape, &place, user_data).await;
                match begun {
                    Err(error) if error.kind == Kind::AlreadyExists => {
                        return self.taken(spec, &place, error).await;
                    }
                    Err(error) => {
                        if !error.is_retryable() {
                            self.session.given.pool.settle(spec.name, false);
                        }
                        return Err(error);
                    }
                    Ok(task) => task,
                }
            }
        };
        self.cloning().insert(key.clone(), task.clone());
        let ended = self
            .session
            .finished(CLONE, spec.name, &task, PATIENCE)
            .await;
        // Where it cannot be asked for, the clone goes on all the same: the next try asks for it,
        // rather than for another clone.
        let goes_on = match &ended {
            Ok(done) => done.is_none(),
            Err(error) => error.kind == Kind::Ambiguous && error.code() != FORGOTTEN,
        };
        if !goes_on {
            self.cloning().remove(&key);
        }
        match ended {
            Ok(Some(result)) => {
                let machine = self.cloned(spec, shape, read(result, CLONE)?).await?;
                if shape.addresses.is_some() {
                    self.power_on(spec, &place, &machine).await?;
                }
                Ok(machine)
            }
            // Copying a disk takes longer than any other create: it is asked for again, patiently.
            Ok(None) => {
                let words = format!("nothing yet: {} goes on", task.value);
                Err(CloudError::new(Kind::RateLimit, CLONE, spec.name, words))
            }
            Err(error) if error.kind == Kind::AlreadyExists => {
                self.taken(spec, &place, error).await
            }
            Err(error) => {
                if !error.is_retryable() {
                    self.undo(spec, &place).await;
                }
                Err(error)
            }
        }
    }

    /// Begins a clone.
    async fn clone_task(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        place: &Place,
        user_data: &str,
    ) -> Answered<Ref> {
        let source = self.source(spec.image, shape).await?;
        if shape.linked_clone && source.snapshot.is_none() {
            let words = format!("nothing: {} has no snapshot", spec.image);
            let error = CloudError::new(Kind::BadRequest, CLONE, spec.name, words);
            return Err(error.blaming("vsphere.linked_clone"));
        }
        let given = match &shape.addresses {
            Some(addresses) => {
                Some(address::take(&self.session, spec, addresses, &place.folder).await?)
            }
            None => None,
        };
        let with_unit = match (&shape.addresses, &given) {
            (Some(addresses), Some(given)) => Some(with_unit(spec, addresses, given)?),
            _ => None,
        };
        let user_data = with_unit.as_deref().unwrap_or(user_data);
        let given = given.as_deref();
        let mut body = request::clone(spec, shape, &source, place, user_data, given);
        if place.datastore_cluster.is_some() {
            let asked = request::placement(spec, &source, place, &body);
            let store = self.session.recommended(spec.name, asked).await?;
            let store = store.ok_or_else(|| {
                let words = "nothing: Storage DRS recommends no datastore";
                let error = CloudError::new(Kind::Quota, CLONE, spec.name, words);
                error.blaming("vsphere.datastore_cluster")
            })?;
            body["spec"]["location"]["datastore"] = store.json();
        }
        let task = self
            .session
            .call(CLONE, spec.name, &source.of, Effect::Creates, body);
        read(task.await?, CLONE)
    }

    /// A machine that was just cloned: what it is known by, and its address.
    async fn cloned(&self, spec: &Spec<'_>, shape: &Shape, of: Ref) -> Answered<Machine> {
        let paths = machine::paths(&BTreeSet::new());
        let found = self.session.properties(spec.name, VM, &[of], &paths).await;
        let found = found.map_err(|error| error.being(Kind::Ambiguous))?;
        let found = found
            .first()
            .filter(|found| !Virtual(found).is_being_made());
        let found = found.ok_or_else(|| {
            let words = "nothing of the machine that was cloned";
            CloudError::new(Kind::Ambiguous, CLONE, spec.name, words)
        })?;
        let there = Virtual(found).machine();
        let mut observed = self.wanted(shape);
        let listed = there.observed.get_key_value(LISTED);
        observed.extend(listed.map(|(field, address)| (field.clone(), address.clone())));
        Ok(Machine {
            observed,
            addresses: there.addresses,
            ..Machine::asked_for(spec, there.id)
        })
    }

    /// Powers on a machine that has its address alone, and destroys one that has not: it never ran.
    async fn power_on(&self, spec: &Spec<'_>, place: &Place, machine: &Machine) -> Answered<()> {
        let machines = std::slice::from_ref(machine);
        let on = match address::alone(&self.session, machines).await {
            Ok(()) => change::start(&self.session, machines).await,
            rival => rival,
        };
        let Err(error) = on else {
            self.session.given.pool.settle(spec.name, true);
            return Ok(());
        };
        if error.code() == TWICE {
            self.undo(spec, place).await;
            self.session.given.meets(spec.name);
            // The next try sees the other one.
            return Err(error.being(Kind::Unavailable));
        }
        if !error.is_retryable() {
            self.undo(spec, place).await;
            self.session.given.pool.settle(spec.name, false);
        }
        Err(error)
    }

    /// What has the name of a spec.
    async fn holder(&self, spec: &Spec<'_>, place: &Place) -> Answered<Option<Object>> {
        let holder = self.session.child(&place.folder, spec.name).await?;
        let holder: Vec<Ref> = holder.into_iter().filter(|of| of.kind == VM).collect();
        let paths = machine::paths(&BTreeSet::new());
        let found = self.session.properties(spec.name, VM, &holder, &paths);
        Ok(found.await?.pop())
    }

    /// The machine of this very spec, if that has its name.
    async fn taken(&self, spec: &Spec<'_>, place: &Place, error: CloudError) -> Answered<Machine> {
        let Some(found) = self.holder(spec, place).await? else {
            // It has gone meanwhile, or is still being made.
            return Err(error.being(Kind::Unavailable));
        };
        let holder = Virtual(&found);
        if holder.is_being_made() {
            let words = "the name is that of a machine that is being cloned";
            return Err(CloudError::new(Kind::Unavailable, CLONE, spec.name, words));
        }
        let mut machine = holder.machine();
        let is_leaving = self.leaving.has(&machine.id);
        if !holder.is_of(spec) || is_leaving {
            let (kind, state) = match is_leaving {
                true => (Kind::Unavailable, ", which is going"),
                false => (Kind::AlreadyExists, ""),
            };
            let words = format!("the name is taken by machine {}{state}", machine.id);
            return Err(CloudError::new(kind, CLONE, spec.name, words));
        }
        // Its mark may have been taken off.
        if !machine.mark.is_whole() {
            machine.mark = spec.mark.clone().over(&machine.mark);
        }
        // What an earlier try has made, and did not come to start.
        if machine.phase == Phase::Stopped && machine.mark.unsaved {
            self.power_on(spec, place, &machine).await?;
            machine.phase = Phase::Pending;
        }
        self.session.given.pool.settle(spec.name, true);
        Ok(machine)
    }

    /// A clone that is made and cannot be powered on ends in an error, and is there all the same.
    /// Where it stays, the next apply finds it by its mark.
    async fn undo(&self, spec: &Spec<'_>, place: &Place) {
        if let Ok(Some(found)) = self.holder(spec, place).await
            && Virtual(&found).is_of(spec)
            && !Virtual(&found).is_on()
        {
            let destroyed =
                self.session
                    .carried_out(leave::DESTROY, spec.name, &found.of, Json::Null);
            let _ = destroyed.await;
        }
    }
}

/// User data with the unit that gives a machine its address, as the platform takes them.
fn with_unit(spec: &Spec<'_>, addresses: &Addresses, address: &str) -> Answered<String> {
    let given = addresses.given(spec.user_data, address).map_err(|why| {
        CloudError::new(Kind::BadRequest, CLONE, spec.name, why).blaming("user_data")
    })?;
    let user_data = &given[..];
    packed(&ENTRY, &Spec { user_data, ..*spec })
}

/// A question to a cloud has a minute.
const PATIENCE: Duration = Duration::from_secs(50);
