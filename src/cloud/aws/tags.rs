//! What is changed on machines that exist: marks, the user's tags, also on volumes and interfaces,
//! security groups and target groups; and whether they run.
//!
//! In: machines, a mark and a shape. Out: nothing, when all are so. As few calls as EC2 allows.
//! See: EC2 API reference, 2016-11-15, CreateTags, DeleteTags, ModifyNetworkInterfaceAttribute,
//! StartInstances.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_ec2::types::{Instance, InstanceStateName as State, Tag};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::api::{self, claim, tag};
use super::auth::Session;
use super::failure::asked;
use super::seen::{self, claims};
use super::shape::{OWN, Shape, TARGET_GROUPS};
use super::targets::Targets;
use crate::worker_group::cloud::{Answered, Kind, Machine, Mark};

/// Marks alone where there is no shape; else also the user's tags, security and target groups.
pub(super) async fn rewrite(
    session: &Session,
    targets: &Targets,
    machines: &[Machine],
    mark: &Mark,
    shape: Option<Shape>,
) -> Answered<()> {
    let young = machines.iter().filter(|one| session.may_be_hidden(one));
    let young: Vec<&str> = young.map(|machine| machine.id.as_str()).collect();
    let retag = Retag { session, young };
    let mut tags = api::mark_tags(mark);
    let none = BTreeSet::new();
    let Some(mut shape) = shape else {
        let ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
        return retag.all(&ids, &tags, &none).await;
    };
    let instances = session.alive(machines).await?;
    let ids: Vec<String> = instances.iter().filter_map(id).collect();
    let parts: Vec<String> = instances.iter().flat_map(parts).collect();
    let user_tags = session.tagging.watched(shape.tags.take());
    let user_tags = user_tags.unwrap_or_default();
    let left = OWN.left(machines, &user_tags);
    let arns = shape.target_group_arns.iter().flatten().cloned();
    let groups = Targets::transfer(arns, instances.iter().flat_map(claims));
    let mut of_parts = api::part_tags(mark);
    tags.extend(api::user_tags(&user_tags));
    of_parts.extend(api::user_tags(&user_tags));
    let meanwhile = groups.meanwhile();
    tags.extend(meanwhile.map(|ids| tag(TARGET_GROUPS, &claim(ids))));
    retag.all(&ids, &tags, &left).await?;
    retag.all(&parts, &of_parts, &left).await?;
    regroup(session, &instances, &shape).await?;
    let running = instances.iter().filter(seen::is_running).filter_map(id);
    let running: Vec<String> = running.collect();
    targets.carry_out(&groups, &running, ids.clone()).await?;
    match groups.afterwards() {
        None => Ok(()),
        Some(now) => {
            let now = [tag(TARGET_GROUPS, &claim(now))];
            retag.all(&ids, &now, &none).await
        }
    }
}

/// Starts those that are stopped. One that is still stopping cannot be started yet.
pub(super) async fn start(session: &Session, machines: &[Machine]) -> Answered<()> {
    let instances = session.alive(machines).await?;
    let is_stopped = |instance: &&Instance| {
        let state = instance.state().and_then(|state| state.name());
        matches!(state, Some(State::Stopped | State::Stopping))
    };
    let stopped: Vec<String> = instances.iter().filter(is_stopped).filter_map(id).collect();
    for ids in stopped.chunks(TAGGED_AT_ONCE) {
        let call = session.ec2.start_instances();
        let call = call.set_instance_ids(Some(ids.to_vec()));
        let object = format!("{} instances", ids.len());
        match asked("EC2 StartInstances", &object, call.send()).await {
            Err(error) if error.code() == "IncorrectInstanceState" => {
                return Err(error.being(Kind::Unavailable));
            }
            answer => answer?,
        };
    }
    Ok(())
}

/// Gives each instance's first interface the shape's security groups, where it names any.
async fn regroup(session: &Session, instances: &[Instance], shape: &Shape) -> Answered<()> {
    let Some(wanted) = &shape.vpc_security_group_ids else {
        return Ok(());
    };
    let others = instances.iter().filter(|instance| {
        let has = seen::groups(instance);
        !has.into_iter().eq(wanted.iter().map(String::as_str))
    });
    let interfaces = others.filter_map(|instance| {
        let interface = seen::first_interface(instance)?;
        interface.network_interface_id()
    });
    let calls = interfaces.map(async |interface| {
        let call = session.ec2.modify_network_interface_attribute();
        let call = call.network_interface_id(interface);
        let call = call.set_groups(Some(wanted.iter().cloned().collect()));
        match asked(REGROUP, interface, call.send()).await {
            // It went with its instance.
            Err(error) if error.code() == "InvalidNetworkInterfaceID.NotFound" => Ok(()),
            answer => answer.map(drop),
        }
    });
    let calls: Vec<_> = calls.collect();
    let calls = stream::iter(calls).buffer_unordered(REGROUPED_AT_A_TIME);
    calls.try_collect().await
}

/// Tags for many resources.
struct Retag<'a> {
    session: &'a Session,
    /// Instances that EC2 may not show yet.
    young: Vec<&'a str>,
}

impl Retag<'_> {
    async fn all(&self, ids: &[String], tags: &[Tag], left: &BTreeSet<&str>) -> Answered<()> {
        for ids in ids.chunks(TAGGED_AT_ONCE) {
            self.some(ids, tags).await?;
            if !left.is_empty() {
                self.untag(ids, left).await?;
            }
        }
        Ok(())
    }

    /// One that is gone makes EC2 refuse them all: then once more with those that are there. A
    /// young one may only not be shown yet.
    async fn some(&self, ids: &[String], tags: &[Tag]) -> Answered<()> {
        let told = match self.tag(ids, tags).await {
            Err(told) if told.is_not_found() => told,
            done => return done,
        };
        let there = self.session.existing(ids).await?;
        let there: HashSet<String> = there.iter().filter_map(id).collect();
        let mut missing = ids.iter().filter(|id| !there.contains(*id));
        let is_hidden = missing.any(|id| self.young.contains(&id.as_str()));
        if is_hidden || there.len() == ids.len() {
            return Err(told.being(Kind::Unavailable));
        }
        let there: Vec<String> = there.into_iter().collect();
        self.tag(&there, tags).await
    }

    async fn tag(&self, ids: &[String], tags: &[Tag]) -> Answered<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let call = self.session.ec2.create_tags().set_tags(Some(tags.to_vec()));
        let call = call.set_resources(Some(ids.to_vec()));
        let object = format!("{} resources", ids.len());
        let answer = asked("EC2 CreateTags", &object, call.send()).await;
        answer.map(drop)
    }

    async fn untag(&self, ids: &[String], keys: &BTreeSet<&str>) -> Answered<()> {
        let tags = keys.iter().map(|key| Tag::builder().key(*key).build());
        let call = self.session.ec2.delete_tags();
        let call = call.set_tags(Some(tags.collect()));
        let call = call.set_resources(Some(ids.to_vec()));
        let object = format!("{} resources", ids.len());
        match asked("EC2 DeleteTags", &object, call.send()).await {
            // CreateTags has found them all a moment ago.
            Err(error) if error.is_not_found() => Err(error.being(Kind::Unavailable)),
            answer => answer.map(drop),
        }
    }
}

fn id(instance: &Instance) -> Option<String> {
    instance.instance_id.clone()
}

/// Volumes and network interfaces: users' tags are on them too.
fn parts(instance: &Instance) -> Vec<String> {
    let volumes = instance.block_device_mappings().iter();
    let volumes = volumes.filter_map(|device| device.ebs().and_then(|ebs| ebs.volume_id()));
    let interfaces = instance.network_interfaces().iter();
    let interfaces = interfaces.filter_map(|interface| interface.network_interface_id());
    volumes.chain(interfaces).map(str::to_owned).collect()
}

const REGROUP: &str = "EC2 ModifyNetworkInterfaceAttribute";
/// EC2 takes some calls of this kind a second, and each is about one machine.
const REGROUPED_AT_A_TIME: usize = 5;
/// CreateTags takes 1,000 resources; Amazon advises smaller batches.
const TAGGED_AT_ONCE: usize = 500;
