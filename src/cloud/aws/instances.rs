//! Instances as EC2 lists them: by filter, all pages, and which of them are believed.
//!
//! In: filters or ids. Out: instances. See: EC2 API reference, 2016-11-15, DescribeInstances.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, Instance};

use super::api::filter;
use super::auth::Session;
use super::failure::asked;
use super::seen;
use crate::worker_group::cloud::{Answered, Machine, Pages, Phase};

impl Session {
    /// All pages.
    pub(super) async fn describe(
        &self,
        filters: &[Filter],
        object: &str,
    ) -> Answered<Vec<Instance>> {
        const DESCRIBE: &str = "EC2 DescribeInstances";
        let page = async |next| {
            let call = self.ec2.describe_instances().max_results(PAGE);
            let call = call.set_filters(Some(filters.to_vec()));
            let page = asked(DESCRIBE, object, call.set_next_token(next).send()).await?;
            let reservations = page.reservations.unwrap_or_default().into_iter();
            let found = reservations.flat_map(|one| one.instances.unwrap_or_default());
            Ok((found.collect(), page.next_token))
        };
        Pages::new(DESCRIBE, object).all(page).await
    }

    /// Those of these ids, by filter: asked for by id, one that is unknown would hide the others.
    async fn of_ids(&self, ids: &[String]) -> Answered<Vec<Instance>> {
        let mut instances = Vec::new();
        for ids in ids.chunks(FILTER_VALUES) {
            let (of_ids, object) = (
                filter("instance-id", ids),
                format!("{} instances", ids.len()),
            );
            instances.extend(self.describe(&[of_ids], &object).await?);
        }
        Ok(instances)
    }

    /// Those of these ids that exist. One that ended young and not by us is a failed one: its
    /// absence alone would not be believed yet, and it has something to say (a volume limit, a key
    /// that may not be used, a spot interruption).
    pub(super) async fn existing(&self, ids: &[String]) -> Answered<Vec<Instance>> {
        let mut instances = self.of_ids(ids).await?;
        instances.retain(|instance| {
            let machine = seen::found(instance);
            machine.phase != Phase::Failed || self.may_be_hidden(&machine)
        });
        Ok(instances)
    }

    /// Those of these machines that are not gone.
    pub(super) async fn alive(&self, machines: &[Machine]) -> Answered<Vec<Instance>> {
        let ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
        let mut instances = self.of_ids(&ids).await?;
        instances.retain(|instance| {
            let state = instance.state().and_then(|state| state.name());
            state.is_none_or(|state| seen::ALIVE.contains(&state.as_str()))
        });
        Ok(instances)
    }

    /// Ids of instances that this process has ended, or has seen going.
    pub(super) fn ended(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether lists may not show it yet, though it is there.
    pub(super) fn may_be_hidden(&self, machine: &Machine) -> bool {
        machine.is_younger_than(CONSISTENCY_WINDOW) && !self.ended().contains(&machine.id)
    }
}

/// Lists lag behind creates by seconds as a rule; Amazon advises to allow for five minutes.
pub(super) const CONSISTENCY_WINDOW: Duration = Duration::from_secs(300);
/// DescribeInstances takes 5 to 1,000.
const PAGE: i32 = 1_000;
/// A filter takes 200 values.
const FILTER_VALUES: usize = 200;
