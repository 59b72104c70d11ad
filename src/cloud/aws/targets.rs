//! Target groups of load balancers: who is registered where, and how that is changed.
//!
//! In: the ARNs of the shape and instances. Out: how each is in each. One DescribeTargetHealth a target group tells of all machines,
//! whatever their number; calls that change something take as many machines as the API does. An instance carries the ids of its target
//! groups as a tag: one that leaves the list, or a machine that leaves the group, is found there. When machines come and go is in
//! `members`. See: Elastic Load Balancing API, 2015-12-01.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::types::Instance;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use futures::future::try_join_all;
use tokio::time::Instant;

use super::failure::asked;
use super::health::Target;
use super::seen::claims;
use super::shape::{REGISTERED, id_of, observed_key};
use crate::worker_group::cloud::{CloudError, Kind, Machine, Pages, Phase};

/// The target groups of one group of machines.
pub(super) struct Targets {
    elb: Client,
    /// Of the shape.
    pub(super) arns: Vec<String>,
    known: Mutex<Known>,
    /// One look at a time: who waits for it takes what it found.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct Known {
    pub(super) health: Option<Health>,
    /// Instance to the ids of the target groups that its tag names.
    pub(super) claims: HashMap<String, BTreeSet<String>>,
    /// Ids of target groups that are not in the shape, found by their id; `None` for one that does not exist.
    others: BTreeMap<String, Option<String>>,
    /// Instances that have been deregistered, to go.
    pub(super) leaving: HashMap<String, Leaving>,
    /// Seconds that a target group lets deregistered targets finish.
    delays: HashMap<String, Duration>,
    /// The last refusal to register.
    refused: Option<String>,
}

pub(super) struct Health {
    taken: Instant,
    /// Target group to instance.
    groups: HashMap<String, HashMap<String, Target>>,
}

#[derive(Clone)]
pub(super) struct Leaving {
    pub(super) since: Instant,
    /// After this nobody waits any more.
    pub(super) until: Instant,
    /// Target groups in which it may have had traffic.
    pub(super) arns: Vec<String>,
}

impl Targets {
    pub(super) fn new(elb: Client, arns: Vec<String>) -> Self {
        Self {
            elb,
            arns,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Looks at all target groups, once each.
    pub(super) async fn look(&self) -> Result<(), CloudError> {
        let arns = self.concerned();
        if arns.is_empty() {
            return Ok(());
        }
        let taken = Instant::now();
        let groups = try_join_all(arns.into_iter().map(|arn| self.health_of(arn))).await?;
        let mut known = self.known();
        // One that began earlier may end later.
        if known.health.as_ref().is_none_or(|last| last.taken <= taken) {
            known.health = Some(Health {
                taken,
                groups: groups.into_iter().collect(),
            });
        }
        Ok(())
    }

    /// Those of the shape, and those where a machine is that leaves.
    fn concerned(&self) -> BTreeSet<String> {
        let known = self.known();
        let others = known.others.values().flatten();
        self.arns.iter().chain(others).cloned().collect()
    }

    /// Takes the last look where it is from after this moment.
    pub(super) async fn look_since(&self, moment: Instant) -> Result<(), CloudError> {
        let _one = self.looking.lock().await;
        let arns = self.concerned();
        let is_fresh = |health: &Health| {
            let is_whole = arns.iter().all(|arn| health.groups.contains_key(arn));
            is_whole && health.taken >= moment
        };
        if self.known().health.as_ref().is_some_and(is_fresh) {
            return Ok(());
        }
        self.look().await
    }

    /// Adds to a machine where it is registered, and why it gets no traffic. Only of a running one an absence counts: before, and after,
    /// it cannot be registered.
    pub(super) fn tell(&self, instance: &Instance, machine: &mut Machine) {
        let mut known = self.known();
        known.claims.insert(machine.id.clone(), claims(instance));
        for arn in &self.arns {
            let target = known.target(arn, &machine.id);
            let is_in = target.is_some_and(Target::is_in);
            let is_known = known.health.is_some() && machine.phase == Phase::Running;
            if is_in || !is_known {
                machine
                    .observed
                    .insert(observed_key(arn), REGISTERED.to_owned());
            }
            let words = match target {
                Some(target) if !target.serves() => target.words(arn),
                None if is_known => known.refused.clone(),
                _ => None,
            };
            if machine.phase == Phase::Running && machine.message.is_none() {
                machine.message = words;
            }
        }
    }

    /// Moves machines that stay from the target groups that left the list to those on it. Only running ones can be registered; the
    /// others are when they are ready.
    pub(super) async fn retarget(
        &self,
        instances: &[Instance],
        arns: &[String],
        left: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let id = |instance: &Instance| instance.instance_id.clone();
        let running: Vec<String> = instances.iter().filter(is_running).filter_map(id).collect();
        for arn in arns {
            self.register(arn, &running).await?;
        }
        let all: Vec<String> = instances.iter().filter_map(id).collect();
        for arn in self.arns_of(left).await? {
            self.deregister(&arn, &all).await?;
        }
        let ids: BTreeSet<String> = arns.iter().map(|arn| id_of(arn).to_owned()).collect();
        let claims = all.into_iter().map(|instance| (instance, ids.clone()));
        self.known().claims.extend(claims);
        Ok(())
    }

    async fn health_of(
        &self,
        arn: String,
    ) -> Result<(String, HashMap<String, Target>), CloudError> {
        let call = self.elb.describe_target_health().target_group_arn(&arn);
        let answer = match asked("ELB DescribeTargetHealth", &arn, call.send()).await {
            // Nobody is in what does not exist: a group has to be readable, and to be destroyed, all the same.
            Err(error) if error.code() == NO_GROUP => return Ok((arn, HashMap::new())),
            answer => answer?,
        };
        let targets = answer.target_health_descriptions.unwrap_or_default();
        let targets = targets.into_iter().filter_map(|target| {
            let id = target.target?.id?;
            Some((id, Target::of(target.target_health?)))
        });
        let mut found: HashMap<String, Target> = HashMap::new();
        for (id, target) in targets {
            // Somebody may have registered it at another port too; what serves least counts.
            let before = found.get(&id);
            if before.is_none_or(Target::serves) {
                found.insert(id, target);
            }
        }
        Ok((arn, found))
    }

    pub(super) async fn register(&self, arn: &str, instances: &[String]) -> Result<(), CloudError> {
        for instances in instances.chunks(TARGETS_AT_ONCE) {
            let call = self.elb.register_targets().target_group_arn(arn);
            let call = call.set_targets(Some(targets(instances)));
            let answer = asked("ELB RegisterTargets", arn, call.send()).await;
            let mut known = self.known();
            if let Err(error) = answer {
                let error = match error.code() == NO_TARGET {
                    // EC2 and load balancers do not learn of a machine in the same moment; the next look tries again.
                    true => error.being(Kind::Unavailable),
                    false => error,
                };
                known.refused = Some(error.to_string());
                return Err(error);
            }
            known.refused = None;
            if let Some(health) = &mut known.health {
                let group = health.groups.entry(arn.to_owned()).or_default();
                group.extend(instances.iter().map(|id| (id.clone(), Target::fresh())));
            }
        }
        Ok(())
    }

    /// One that is not registered is no error.
    pub(super) async fn deregister(
        &self,
        arn: &str,
        instances: &[String],
    ) -> Result<(), CloudError> {
        let some = async |instances: &[String]| {
            let call = self.elb.deregister_targets().target_group_arn(arn);
            let call = call.set_targets(Some(targets(instances)));
            asked("ELB DeregisterTargets", arn, call.send()).await
        };
        for batch in instances.chunks(TARGETS_AT_ONCE) {
            match some(batch).await {
                Ok(_) => continue,
                Err(error) if error.code() == NO_GROUP => return Ok(()),
                // One of them is gone from EC2.
                Err(error) if error.code() == NO_TARGET => {}
                Err(error) => return Err(error),
            }
            for one in batch.chunks(1).filter(|_| batch.len() > 1) {
                match some(one).await {
                    Err(error) if error.code() != NO_TARGET => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The ARNs of target groups of these ids; those that do not exist are left out.
    pub(super) async fn arns_of(&self, ids: &BTreeSet<String>) -> Result<Vec<String>, CloudError> {
        let mut arns: BTreeMap<String, Option<String>> = self.known().others.clone();
        let of_shape = self.arns.iter();
        arns.extend(of_shape.map(|arn| (id_of(arn).to_owned(), Some(arn.clone()))));
        let unknown = ids.iter().filter(|id| !arns.contains_key(*id));
        let mut found: BTreeMap<String, Option<String>> =
            unknown.map(|id| (id.clone(), None)).collect();
        if !found.is_empty() {
            for arn in self.all_groups().await? {
                if let Some(known) = found.get_mut(id_of(&arn)) {
                    *known = Some(arn);
                }
            }
            self.known().others.extend(found.clone());
            arns.extend(found);
        }
        Ok(ids.iter().filter_map(|id| arns.remove(id)?).collect())
    }

    /// Load balancing has no filter by id.
    async fn all_groups(&self) -> Result<Vec<String>, CloudError> {
        const GROUPS: &str = "ELB DescribeTargetGroups";
        let page = async |next| {
            let call = self
                .elb
                .describe_target_groups()
                .page_size(PAGE)
                .set_marker(next);
            let page = asked(GROUPS, "all", call.send()).await?;
            let groups = page.target_groups.unwrap_or_default().into_iter();
            let arns = groups.filter_map(|group| group.target_group_arn);
            Ok((arns.collect(), page.next_marker))
        };
        Pages::new(GROUPS, "all").all(page).await
    }

    /// How long a target group lets deregistered targets finish; where it may not be asked, the longest that there is.
    pub(super) async fn delay(&self, arn: &str) -> Duration {
        if let Some(delay) = self.known().delays.get(arn) {
            return *delay;
        }
        let call = self.elb.describe_target_group_attributes();
        let answer = call.target_group_arn(arn).send().await;
        let attributes = answer.ok().and_then(|answer| answer.attributes);
        let mut attributes = attributes.iter().flatten();
        let delay = attributes
            .find(|attribute| attribute.key() == Some("deregistration_delay.timeout_seconds"))
            .and_then(|attribute| attribute.value()?.parse().ok())
            .map_or(LONGEST_DELAY, Duration::from_secs)
            .min(LONGEST_DELAY);
        self.known().delays.insert(arn.to_owned(), delay);
        delay
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    pub(super) fn target(&self, arn: &str, instance: &str) -> Option<&Target> {
        self.health.as_ref()?.groups.get(arn)?.get(instance)
    }

    pub(super) fn is_of(&self, arn: &str, instance: &str) -> bool {
        let claims = self.claims.get(instance);
        claims.is_some_and(|claims| claims.contains(id_of(arn)))
    }
}

fn is_running(instance: &&Instance) -> bool {
    let state = instance.state().and_then(|state| state.name());
    state == Some(&aws_sdk_ec2::types::InstanceStateName::Running)
}

pub(super) fn targets(instances: &[String]) -> Vec<TargetDescription> {
    let target = |id: &String| TargetDescription::builder().id(id).build();
    instances.iter().map(target).collect()
}

/// The error code of a target group that does not exist.
const NO_GROUP: &str = "TargetGroupNotFound";
/// The error code of an instance that cannot be a target.
const NO_TARGET: &str = "InvalidTarget";
/// Load balancing says no limit; a request of this size is small.
const TARGETS_AT_ONCE: usize = 100;
/// DescribeTargetGroups takes 1 to 400.
const PAGE: i32 = 400;
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);
