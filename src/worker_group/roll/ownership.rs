//! Whose a machine is: what proves one that an order makes, and a look right before one is deleted,
//! for another state may have adopted it since this apply began.
//!
//! One list tells of the whole group: deletes that begin in one moment share it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::observe::is_of_another;
use super::{Calls, Event, Lifecycle, Order, Refusal, Roll, caught, failed_inside, host};
use crate::kubernetes::Scheduling;
use crate::worker_group::cloud::{CloudError, Machine, Mark};

/// The last look, when it began, and the uid on each machine that it showed.
#[derive(Default)]
pub(super) struct Ownership {
    last: Mutex<Option<(Instant, BTreeMap<String, String>)>>,
}

impl Ownership {
    /// Whether a machine is not another state's by now. A machine without a mark is whose it was;
    /// so is one that a list does not show yet.
    ///
    /// # Errors
    /// The cloud does not say.
    pub(super) async fn is_ours(
        &self,
        calls: Calls<'_>,
        mark: &Mark,
        machine: &Machine,
        created_here: bool,
    ) -> Result<bool, CloudError> {
        let asked = Instant::now();
        {
            let mut last = self.last.lock().await;
            if last.as_ref().is_none_or(|(began, _)| *began < asked) {
                let began = Instant::now();
                let listed = calls.list(&mark.cluster, &mark.group).await?;
                let uids = listed.into_iter().map(|one| (one.id, one.mark.uid));
                *last = Some((began, uids.collect()));
            }
            let uids = last.as_ref().map(|(_, uids)| uids);
            if let Some(uid) = uids.and_then(|uids| uids.get(&machine.id)) {
                return Ok(*uid == mark.uid);
            }
        }
        // Its marks may have been taken off, or are another group's by now.
        if created_here {
            return Ok(true);
        }
        let found = calls.find(std::slice::from_ref(&machine.id)).await?;
        Ok(!found.iter().any(|found| is_of_another(found, &mark.uid)))
    }
}

impl<'a> Roll<'a> {
    /// Takes a machine out of where it serves, where it is this group's still.
    pub(super) fn drain(&mut self, index: usize) -> Option<BoxFuture<'a, Event>> {
        let (calls, places) = (self.calls, self.places);
        let tracked = self.tracked.get_mut(index)?;
        let machine = tracked.machine.clone()?;
        tracked.stage = Lifecycle::Draining;
        tracked.proven = Some(Instant::now());
        if places.drains() {
            tracked.scheduling = Scheduling::Closed;
        }
        let is_ours = self.is_still_ours(index)?;
        Some(Box::pin(async move {
            let drained = async {
                is_ours.await?;
                places.depart(&host(&machine)).await
            };
            let failed = || Err(Refusal::Cloud(failed_inside("Drain", &machine.name)));
            let drained = tokio::select! {
                biased;
                () = calls.cancel.cancelled() => Err(Refusal::NotBegun),
                drained = caught(drained) => drained.unwrap_or_else(failed),
            };
            Event::Drained(machine.name, drained)
        }))
    }

    /// Deletes a machine, where it is this group's still.
    pub(super) fn delete(&mut self, index: usize) -> Option<BoxFuture<'a, Event>> {
        let calls = self.calls;
        let is_ours = self.is_still_ours(index)?;
        let tracked = self.tracked.get_mut(index)?;
        let machine = tracked.machine.clone()?;
        tracked.stage = Lifecycle::Deleting;
        tracked.deletes += 1;
        // Draining takes its time, and so does waiting for other calls: whose it is then counts.
        let is_proven = tracked.proven.take();
        let is_proven = is_proven.is_some_and(|proven| proven.elapsed() <= A_MOMENT);
        Some(Box::pin(async move {
            let deleted = async {
                if !is_proven {
                    is_ours.await?;
                }
                calls.delete(&machine).await.map_err(Refusal::Cloud)
            };
            let failed = || Err(Refusal::Cloud(failed_inside("Delete", &machine.name)));
            let deleted = caught(deleted).await.unwrap_or_else(failed);
            Event::Deleted(machine.name, deleted)
        }))
    }

    /// Looks whether a machine is this group's still.
    fn is_still_ours(
        &self,
        index: usize,
    ) -> Option<impl Future<Output = Result<(), Refusal>> + Send + use<'a>> {
        let tracked = self.tracked.get(index)?;
        let (machine, created_here) = (tracked.machine.clone()?, tracked.ours);
        let (ownership, mark) = (Arc::clone(&self.ownership), self.order.mark.clone());
        let calls = self.calls;
        Some(async move {
            let is_ours = ownership.is_ours(calls, &mark, &machine, created_here);
            match is_ours.await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Refusal::Adopted),
                Err(_) if calls.cancel.is_cancelled() => Err(Refusal::NotBegun),
                Err(error) => Err(Refusal::Cloud(error)),
            }
        })
    }
}

impl Order<'_> {
    /// What a new machine of this name carries.
    pub(super) fn mark_of(&self, name: &str) -> Mark {
        Mark {
            proof: self.secret.proof(name),
            ..self.mark.clone()
        }
    }

    /// Whether a machine that has the name of one that this order creates is that one, and not one
    /// to which its tags were copied.
    pub(super) fn makes(&self, machine: &Machine) -> bool {
        machine.mark.uid == self.mark.uid && machine.mark.proof == self.secret.proof(&machine.name)
    }
}

/// In which nobody adopts what was just looked at.
const A_MOMENT: Duration = Duration::from_secs(1);
