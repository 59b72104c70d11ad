//! Target groups of load balancers: how instances are in them, and how that is changed.
//!
//! In: the ARN of a target group, and ids of instances. Out: how each is in it, by one
//! DescribeTargetHealth of all. When machines are registered and deregistered is in
//! `worker_group::cloud`'s `traffic`. See: Elastic Load Balancing API, 2015-12-01.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;

use super::failure::asked;
use super::health::{fresh, judged};
use super::shape::id_of;
use crate::worker_group::cloud::{Answered, Backends, Kind, Member, Pages, Traffic};

/// The target groups of one group of machines.
pub(super) type Targets = Traffic<TargetGroups>;

pub(super) struct TargetGroups(pub(super) Client);

#[async_trait]
impl Backends for TargetGroups {
    const FIELD: &'static str = "target_group_arns";
    /// Load balancing says no limit; a request of this size is small.
    const AT_ONCE: usize = 100;

    fn name_of(arn: &str) -> &str {
        id_of(arn)
    }

    fn fresh(arn: &str) -> Member {
        fresh(arn)
    }

    async fn members(&self, arn: &str) -> Answered<HashMap<String, Member>> {
        let call = self.0.describe_target_health().target_group_arn(arn);
        let answer = match asked("ELB DescribeTargetHealth", arn, call.send()).await {
            Err(error) if error.code() == NO_GROUP => return Ok(HashMap::new()),
            answer => answer?,
        };
        let targets = answer.target_health_descriptions.unwrap_or_default();
        let targets = targets.into_iter().filter_map(|target| {
            let id = target.target?.id?;
            Some((id, judged(arn, &target.target_health?)))
        });
        let mut found: HashMap<String, Member> = HashMap::new();
        for (id, member) in targets {
            // Somebody may have registered it at another port too; what serves least counts.
            if found.get(&id).is_none_or(|before| before.serves) {
                found.insert(id, member);
            }
        }
        Ok(found)
    }

    async fn enter(&self, arn: &str, instances: &[String]) -> Answered<()> {
        let call = self.0.register_targets().target_group_arn(arn);
        let call = call.set_targets(Some(targets(instances)));
        let answer = asked("ELB RegisterTargets", arn, call.send()).await;
        answer.map(drop).map_err(|error| match error.code() {
            // EC2 and load balancers do not learn of a machine in the same moment; the next look
            // tries again.
            NO_TARGET => error.being(Kind::Unavailable),
            _ => error,
        })
    }

    async fn take_out(&self, arn: &str, instances: &[String]) -> Answered<()> {
        let some = async |instances: &[String]| {
            let call = self.0.deregister_targets().target_group_arn(arn);
            let call = call.set_targets(Some(targets(instances)));
            asked("ELB DeregisterTargets", arn, call.send()).await
        };
        match some(instances).await {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == NO_GROUP => return Ok(()),
            // One of them is gone from EC2.
            Err(error) if error.code() == NO_TARGET => {}
            Err(error) => return Err(error),
        }
        for one in instances.chunks(1).filter(|_| instances.len() > 1) {
            match some(one).await {
                Err(error) if error.code() != NO_TARGET => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Load balancing has no filter by id.
    async fn named(&self, ids: &BTreeSet<String>) -> Answered<Vec<String>> {
        const GROUPS: &str = "ELB DescribeTargetGroups";
        let page = async |next| {
            let call = self.0.describe_target_groups().page_size(PAGE);
            let page = asked(GROUPS, "all", call.set_marker(next).send()).await?;
            let groups = page.target_groups.unwrap_or_default().into_iter();
            let arns = groups.filter_map(|group| group.target_group_arn);
            let arns = arns.filter(|arn| ids.contains(id_of(arn)));
            Ok((arns.collect(), page.next_marker))
        };
        Pages::new(GROUPS, "all").all(page).await
    }

    /// It says itself who still finishes: where it may not be asked, this bounds that.
    async fn delay(&self, arn: &str) -> Answered<Duration> {
        let call = self.0.describe_target_group_attributes();
        let answer = call.target_group_arn(arn).send().await;
        let attributes = answer.ok().and_then(|answer| answer.attributes);
        let mut attributes = attributes.iter().flatten();
        let delay = attributes
            .find(|attribute| attribute.key() == Some("deregistration_delay.timeout_seconds"))
            .and_then(|attribute| attribute.value()?.parse().ok())
            .map_or(LONGEST_DELAY, Duration::from_secs)
            .min(LONGEST_DELAY);
        Ok(delay)
    }
}

pub(super) fn targets(instances: &[String]) -> Vec<TargetDescription> {
    let target = |id: &String| TargetDescription::builder().id(id).build();
    instances.iter().map(target).collect()
}

/// The error code of a target group that does not exist.
const NO_GROUP: &str = "TargetGroupNotFound";
/// The error code of an instance that cannot be a target.
const NO_TARGET: &str = "InvalidTarget";
/// DescribeTargetGroups takes 1 to 400.
const PAGE: i32 = 400;
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);
