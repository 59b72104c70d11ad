//! Target groups of load balancers: a machine is registered when it is ready, and deregistered, and waited for, before it goes.
//!
//! In: the ARNs of the shape and hosts. Out: who gets traffic. One DescribeTargetHealth a target group tells of all machines, whatever
//! their number; calls that change something take as many machines as the API does. An instance carries the ids of its target groups as a
//! tag: one that leaves the list, or a machine that leaves the group, is found there. See: Elastic Load Balancing API, 2015-12-01.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ec2::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_ec2::types::Instance;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::failure::fault;
use super::health::Target;
use super::shape::TARGET_GROUPS;
use crate::cloud::pages::Pages;
use crate::kubernetes::Host;
use crate::worker_group::cloud::{CloudError, Kind, Machine, Members, Phase};

/// The target groups of one group of machines.
pub(super) struct Targets {
    elb: Client,
    /// Of the shape.
    arns: Vec<String>,
    known: Mutex<Known>,
    /// One look at a time: who waits for it takes what it found.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    health: Option<Health>,
    /// Instance to the ids of the target groups that its tag names.
    claims: HashMap<String, BTreeSet<String>>,
    /// Ids of target groups that are not in the shape, found by their id; `None` for one that does not exist.
    others: BTreeMap<String, Option<String>>,
    /// Instances that have been deregistered, to go.
    leaving: HashMap<String, Leaving>,
    /// Seconds that a target group lets deregistered targets finish.
    delays: HashMap<String, Duration>,
    /// The last refusal to register.
    refused: Option<String>,
}

struct Health {
    taken: Instant,
    /// Target group to instance.
    groups: HashMap<String, HashMap<String, Target>>,
}

#[derive(Clone)]
struct Leaving {
    since: Instant,
    /// After this nobody waits any more.
    until: Instant,
    /// Target groups in which it may have had traffic.
    arns: Vec<String>,
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
        let mut arns: BTreeSet<String> = self.arns.iter().cloned().collect();
        arns.extend(self.known().others.values().flatten().cloned());
        arns
    }

    /// Takes the last look where it is from after this moment.
    async fn look_since(&self, moment: Instant) -> Result<(), CloudError> {
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
        let mut known = self.known();
        for instance in all {
            known.claims.insert(instance, ids.clone());
        }
        Ok(())
    }

    async fn health_of(
        &self,
        arn: String,
    ) -> Result<(String, HashMap<String, Target>), CloudError> {
        let call = self.elb.describe_target_health().target_group_arn(&arn);
        let answer = match call.send().await {
            Ok(answer) => answer,
            // Nobody is in what does not exist: a group has to be readable, and to be destroyed, all the same.
            Err(error) if error.code() == Some(NO_GROUP) => return Ok((arn, HashMap::new())),
            Err(error) => return Err(fault("ELB DescribeTargetHealth", &arn, &error)),
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

    async fn register(&self, arn: &str, instances: &[String]) -> Result<(), CloudError> {
        for instances in instances.chunks(TARGETS_AT_ONCE) {
            let call = self.elb.register_targets().target_group_arn(arn);
            let answer = call.set_targets(Some(targets(instances))).send().await;
            if let Err(error) = answer {
                let mut told = fault("ELB RegisterTargets", arn, &error);
                // EC2 and load balancers do not learn of a machine in the same moment; the next look tries again.
                if error.code() == Some(NO_TARGET) {
                    told.kind = Kind::Unavailable;
                }
                self.known().refused = Some(told.to_string());
                return Err(told);
            }
            let mut known = self.known();
            known.refused = None;
            let group = known.health.as_mut().map(|health| &mut health.groups);
            let group = group.map(|groups| groups.entry(arn.to_owned()).or_default());
            if let Some(group) = group {
                group.extend(instances.iter().map(|id| (id.clone(), Target::fresh())));
            }
        }
        Ok(())
    }

    /// One that is not registered is no error.
    async fn deregister(&self, arn: &str, instances: &[String]) -> Result<(), CloudError> {
        for batch in instances.chunks(TARGETS_AT_ONCE) {
            let error = match self.try_deregister(arn, batch).await {
                Ok(()) => continue,
                Err(error) => error,
            };
            match error.code() {
                Some(NO_GROUP) => return Ok(()),
                // One of them is gone from EC2.
                Some(NO_TARGET) => {}
                _ => return Err(fault(DEREGISTER, arn, &error)),
            }
            for one in batch.chunks(1).filter(|_| batch.len() > 1) {
                match self.try_deregister(arn, one).await {
                    Err(error) if error.code() != Some(NO_TARGET) => {
                        return Err(fault(DEREGISTER, arn, &error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn try_deregister(
        &self,
        arn: &str,
        instances: &[String],
    ) -> Result<
        (),
        SdkError<
            aws_sdk_elasticloadbalancingv2::operation::deregister_targets::DeregisterTargetsError,
        >,
    > {
        let call = self.elb.deregister_targets().target_group_arn(arn);
        let answer = call.set_targets(Some(targets(instances))).send().await;
        answer.map(|_| ())
    }

    /// The ARNs of target groups of these ids; those that do not exist are left out.
    async fn arns_of(&self, ids: &BTreeSet<String>) -> Result<Vec<String>, CloudError> {
        let mut arns: BTreeMap<String, Option<String>> = self.known().others.clone();
        let of_shape = self.arns.iter();
        arns.extend(of_shape.map(|arn| (id_of(arn).to_owned(), Some(arn.clone()))));
        let unknown: Vec<&String> = ids.iter().filter(|id| !arns.contains_key(*id)).collect();
        if !unknown.is_empty() {
            let mut found: BTreeMap<String, Option<String>> =
                unknown.into_iter().map(|id| (id.clone(), None)).collect();
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
        let mut arns = Vec::new();
        let mut pages = Pages::new("ELB DescribeTargetGroups", "all");
        let mut next = None;
        loop {
            let page = self
                .elb
                .describe_target_groups()
                .page_size(PAGE)
                .set_marker(next)
                .send()
                .await
                .map_err(|error| fault("ELB DescribeTargetGroups", "all", &error))?;
            let groups = page.target_groups.unwrap_or_default();
            arns.extend(
                groups
                    .into_iter()
                    .filter_map(|group| group.target_group_arn),
            );
            next = pages.next(page.next_marker.as_deref())?;
            if next.is_none() {
                return Ok(arns);
            }
        }
    }

    /// How long a target group lets deregistered targets finish; where it may not be asked, the longest that there is.
    async fn delay(&self, arn: &str) -> Duration {
        if let Some(delay) = self.known().delays.get(arn) {
            return *delay;
        }
        let call = self
            .elb
            .describe_target_group_attributes()
            .target_group_arn(arn);
        let attributes = call.send().await.map(|answer| answer.attributes);
        let seconds = attributes.ok().flatten().and_then(|attributes| {
            attributes
                .iter()
                .find(|attribute| attribute.key() == Some("deregistration_delay.timeout_seconds"))
                .and_then(|attribute| attribute.value()?.parse().ok())
        });
        let delay = seconds.map_or(LONGEST_DELAY, Duration::from_secs);
        let delay = delay.min(LONGEST_DELAY);
        self.known().delays.insert(arn.to_owned(), delay);
        delay
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Members for Targets {
    /// By the last list: what is registered here gets traffic at the next one. A machine belongs where its tag says: one that was adopted
    /// is left as it is until a plan has shown what changes.
    async fn enter(&self, hosts: &[Host]) -> Result<BTreeSet<String>, CloudError> {
        for arn in &self.arns {
            let missing: Vec<String> = {
                let known = self.known();
                let is_missing = |id: &str| {
                    known.is_of(arn, id) && !known.target(arn, id).is_some_and(Target::is_in)
                };
                let ids = hosts.iter().map(|host| host.id.clone());
                ids.filter(|id| is_missing(id)).collect()
            };
            self.register(arn, &missing).await?;
        }
        let known = self.known();
        let serves = |host: &&Host| {
            let mut groups = self.arns.iter().filter(|arn| known.is_of(arn, &host.id));
            groups.all(|arn| known.target(arn, &host.id).is_some_and(Target::serves))
        };
        Ok(hosts
            .iter()
            .filter(serves)
            .map(|host| host.name.clone())
            .collect())
    }

    fn out(&self, hosts: &[Host]) -> BTreeSet<String> {
        let known = self.known();
        // In one that is not on the list it may be still.
        let is_out_of = |id: &String, host: &Host| {
            let arn = self.arns.iter().find(|arn| id_of(arn) == id);
            arn.is_some_and(|arn| !known.target(arn, &host.id).is_some_and(Target::is_in))
        };
        let is_out = |host: &&Host| {
            let groups = known.claims.get(&host.id);
            let groups = groups.filter(|groups| !groups.is_empty() && known.health.is_some());
            groups.is_some_and(|groups| groups.iter().all(|id| is_out_of(id, host)))
        };
        hosts
            .iter()
            .filter(is_out)
            .map(|host| host.name.clone())
            .collect()
    }

    async fn leave(&self, hosts: &[Host]) -> Result<(), CloudError> {
        let mut by_id: BTreeMap<String, Vec<String>> = BTreeMap::new();
        {
            let known = self.known();
            for host in hosts
                .iter()
                .filter(|host| !known.leaving.contains_key(&host.id))
            {
                let of_shape = self.arns.iter().map(|arn| id_of(arn).to_owned());
                let claimed = known.claims.get(&host.id).into_iter().flatten().cloned();
                let ids: BTreeSet<String> = of_shape.chain(claimed).collect();
                for id in ids {
                    by_id.entry(id).or_default().push(host.id.clone());
                }
            }
        }
        let arns = self.arns_of(&by_id.keys().cloned().collect()).await?;
        if arns.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.look_since(now.checked_sub(RECENT).unwrap_or(now))
            .await?;
        let mut leaving: HashMap<String, Leaving> = HashMap::new();
        for arn in arns {
            let instances = by_id.remove(id_of(&arn)).unwrap_or_default();
            let delay = self.delay(&arn).await;
            self.deregister(&arn, &instances).await?;
            let since = Instant::now();
            let known = self.known();
            for id in instances {
                let had_traffic = known.target(&arn, &id).is_some_and(Target::had_traffic);
                let leaving = leaving.entry(id).or_insert(Leaving {
                    since,
                    until: since,
                    arns: Vec::new(),
                });
                leaving.since = since;
                leaving.until = leaving.until.max(since + delay + PATIENCE);
                if had_traffic {
                    leaving.arns.push(arn.clone());
                }
            }
        }
        self.known().leaving.extend(leaving);
        Ok(())
    }

    async fn left(&self, host: &Host) -> Result<(), CloudError> {
        let leaving = self.known().leaving.get(&host.id).cloned();
        let Some(leaving) = leaving.filter(|leaving| !leaving.arns.is_empty()) else {
            return Ok(());
        };
        let mut pause = FIRST_POLL;
        loop {
            let now = Instant::now();
            let is_over = now >= leaving.until;
            let recent = now.checked_sub(pause).unwrap_or(now);
            match self.look_since(recent.max(leaving.since)).await {
                Ok(()) => {
                    let known = self.known();
                    let target = |arn| known.target(arn, &host.id);
                    let mut groups = leaving.arns.iter();
                    if groups.all(|arn| target(arn).is_none_or(Target::is_unused)) {
                        return Ok(());
                    }
                }
                // Once its time is over, nobody waits for an answer either.
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            }
            // Its connections have had the time that the target group gives them.
            if is_over {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(POLL);
        }
    }
}

impl Known {
    fn target(&self, arn: &str, instance: &str) -> Option<&Target> {
        self.health.as_ref()?.groups.get(arn)?.get(instance)
    }

    fn is_of(&self, arn: &str, instance: &str) -> bool {
        let claims = self.claims.get(instance);
        claims.is_some_and(|claims| claims.contains(id_of(arn)))
    }
}

/// What an instance's tag says: ids of target groups.
pub(super) fn claims(instance: &Instance) -> BTreeSet<String> {
    instance
        .tags()
        .iter()
        .filter(|tag| tag.key() == Some(TARGET_GROUPS))
        .filter_map(|tag| tag.value())
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The text of that tag: at most 256 characters, 15 ids.
pub(super) fn claim<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let ids: Vec<&str> = ids.into_iter().take(TAGGED).collect();
    ids.join(" ")
}

/// The last part of an ARN, which alone tells target groups of an account and region apart: `0123456789abcdef`.
pub(super) fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Where [`Machine::observed`] says that a machine is registered.
pub(super) fn observed_key(arn: &str) -> String {
    format!("target_group_arns.{arn}")
}

fn is_running(instance: &&Instance) -> bool {
    let state = instance.state().and_then(|state| state.name());
    state == Some(&aws_sdk_ec2::types::InstanceStateName::Running)
}

pub(super) fn targets(instances: &[String]) -> Vec<TargetDescription> {
    let target = |id: &String| TargetDescription::builder().id(id).build();
    instances.iter().map(target).collect()
}

/// The value of [`observed_key`].
pub(super) const REGISTERED: &str = "registered";
/// The error code of a target group that does not exist.
pub(super) const NO_GROUP: &str = "TargetGroupNotFound";
/// The error code of an instance that cannot be a target.
pub(super) const NO_TARGET: &str = "InvalidTarget";
pub(super) const DEREGISTER: &str = "ELB DeregisterTargets";
/// Ids in a tag of 256 characters.
const TAGGED: usize = 15;
/// Load balancing says no limit; a request of this size is small.
const TARGETS_AT_ONCE: usize = 100;
/// DescribeTargetGroups takes 1 to 400.
const PAGE: i32 = 400;
/// A wait begins with shorter pauses, which grow to the longest.
const FIRST_POLL: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(5);
/// A look that is not older tells whether a machine has traffic.
const RECENT: Duration = Duration::from_secs(1);
/// How much longer than its delay a target group may show a target as draining.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
    use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Config, Credentials, Region};

    use super::*;

    #[test]
    fn a_tag_holds_the_target_groups_that_fit_into_it() {
        let ids: Vec<String> = (0..20).map(|n| format!("{n:016x}")).collect();
        let text = claim(ids.iter().map(String::as_str));
        assert!(text.len() <= 256, "{}", text.len());
        assert_eq!(text.split(' ').count(), 15);
    }

    #[tokio::test]
    async fn a_machine_whose_time_is_over_goes_even_if_nobody_answers() {
        // Bound and closed again: free, and nobody's.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let client = Client::from_conf(
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .credentials_provider(Credentials::new("a", "b", None, None, "a test"))
                .endpoint_url(format!("http://{address}"))
                .retry_config(RetryConfig::disabled())
                .build(),
        );
        let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
        let targets = Targets::new(client, vec![arn.to_owned()]);
        let now = Instant::now();
        let leaving = Leaving {
            since: now,
            until: now,
            arns: vec![arn.to_owned()],
        };
        targets.known().leaving.insert("i-0a".to_owned(), leaving);
        let host = Host {
            name: "w-u-0".to_owned(),
            id: "i-0a".to_owned(),
            addresses: Vec::new(),
        };
        let error = targets.look().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        targets.left(&host).await.unwrap();
    }
}
