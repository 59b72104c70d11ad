//! What is changed on machines that exist: marks, the user's tags on them and on their volumes and interfaces, their security groups and
//! their target groups; and whether they run.
//!
//! In: machines, a mark and a shape. Out: nothing, when all of them are so. As few calls as EC2 allows, whatever the number of machines.
//! See: EC2 API reference, 2016-11-15, CreateTags, DeleteTags, ModifyNetworkInterfaceAttribute,
//! StartInstances.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{Instance, InstanceStateName, Tag};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::api::{self, filter, tag};
use super::failure::fault;
use super::shape::{Shape, TARGET_GROUPS};
use super::{Aws, FILTER_VALUES, is_young, read_shape, targets};
use crate::provider::Value;
use crate::worker_group::cloud::{Cloud as _, CloudError, Kind, Machine, Mark};

impl Aws {
    /// Marks alone where the shape is null; else also the user's tags and the target groups.
    pub(super) async fn rewrite(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        let ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
        let young: Vec<&str> = machines
            .iter()
            .filter(|machine| is_young(machine) && !self.ended().contains(&machine.id))
            .map(|machine| machine.id.as_str())
            .collect();
        let mut tags = api::mark_tags(mark);
        if matches!(shape, Value::Null) {
            return self.retag(&ids, &tags, &BTreeSet::new(), &young).await;
        }
        let shape = self.session.tagging.watched(read_shape(shape)?);
        let instances = self.alive(&ids).await?;
        let ids: Vec<String> = instances.iter().filter_map(id).collect();
        let parts: Vec<String> = instances.iter().flat_map(parts).collect();
        let left = no_longer_tagged(machines, &shape);
        let groups = Regrouping::of(&instances, &shape);
        let mut of_parts = api::part_tags(mark);
        tags.extend(api::user_tags(&shape));
        of_parts.extend(api::user_tags(&shape));
        tags.extend(groups.tag_before());
        self.retag(&ids, &tags, &left, &young).await?;
        self.retag(&parts, &of_parts, &left, &young).await?;
        self.regroup(&instances, &shape).await?;
        if !groups.concerns() {
            return Ok(());
        }
        self.targets
            .retarget(&instances, &groups.arns, &groups.left)
            .await?;
        match groups.left.is_empty() {
            true => Ok(()),
            false => {
                let after = [groups.tag_after()];
                self.retag(&ids, &after, &BTreeSet::new(), &young).await
            }
        }
    }

    /// Starts those of these machines that are stopped. One that is still stopping cannot be started yet.
    pub(super) async fn start_stopped(&self, machines: &[Machine]) -> Result<(), CloudError> {
        let ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
        let instances = self.alive(&ids).await?;
        let is_stopped = |instance: &&Instance| {
            let state = instance.state().and_then(|state| state.name());
            matches!(
                state,
                Some(InstanceStateName::Stopped | InstanceStateName::Stopping)
            )
        };
        let stopped: Vec<String> = instances.iter().filter(is_stopped).filter_map(id).collect();
        for ids in stopped.chunks(TAGGED_AT_ONCE) {
            let call = self.session.ec2.start_instances();
            let started = call.set_instance_ids(Some(ids.to_vec())).send().await;
            if let Err(error) = started {
                let object = format!("{} instances", ids.len());
                let mut told = fault("EC2 StartInstances", &object, &error);
                if error.code() == Some("IncorrectInstanceState") {
                    told.kind = Kind::Unavailable;
                }
                return Err(told);
            }
        }
        Ok(())
    }

    /// Gives the first interface of each instance the security groups of the shape, where it has others. A shape without any says nothing.
    async fn regroup(&self, instances: &[Instance], shape: &Shape) -> Result<(), CloudError> {
        let Some(wanted) = &shape.vpc_security_group_ids else {
            return Ok(());
        };
        let others = instances.iter().filter(|instance| {
            let has = api::groups(instance);
            !has.into_iter().eq(wanted.iter().map(String::as_str))
        });
        let calls = others.filter_map(|instance| {
            let interface = api::first_interface(instance)?.network_interface_id()?;
            let call = self
                .session
                .ec2
                .modify_network_interface_attribute()
                .network_interface_id(interface)
                .set_groups(Some(wanted.iter().cloned().collect()));
            Some(async move {
                match call.send().await {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        let told = fault("EC2 ModifyNetworkInterfaceAttribute", interface, &error);
                        // It went with its instance.
                        match error.code() {
                            Some("InvalidNetworkInterfaceID.NotFound") => Ok(()),
                            _ => Err(told),
                        }
                    }
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        stream::iter(calls)
            .buffer_unordered(REGROUPED_AT_A_TIME)
            .try_collect()
            .await
    }

    /// Those of these instances that are not gone.
    async fn alive(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        let mut instances = Vec::new();
        for ids in ids.chunks(FILTER_VALUES) {
            let filters = [
                filter("instance-id", ids),
                filter("instance-state-name", api::ALIVE),
            ];
            let object = format!("{} instances", ids.len());
            instances.extend(self.describe(&filters, &object).await?);
        }
        Ok(instances)
    }

    async fn retag(
        &self,
        ids: &[String],
        tags: &[Tag],
        left: &BTreeSet<String>,
        young: &[&str],
    ) -> Result<(), CloudError> {
        for ids in ids.chunks(TAGGED_AT_ONCE) {
            self.tag(ids, tags, young).await?;
            if !left.is_empty() {
                self.untag(ids, left).await?;
            }
        }
        Ok(())
    }

    /// One that is gone makes EC2 refuse them all: then once more with those that are there. One that is young may only not be shown yet.
    async fn tag(&self, ids: &[String], tags: &[Tag], young: &[&str]) -> Result<(), CloudError> {
        let told = match self.try_tag(ids, tags).await {
            Err(told) if told.is_not_found() => told,
            done => return done,
        };
        let there: HashSet<String> = self
            .find(ids)
            .await?
            .into_iter()
            .map(|machine| machine.id)
            .collect();
        let hidden = ids
            .iter()
            .any(|id| !there.contains(id) && young.contains(&id.as_str()));
        if hidden || there.len() == ids.len() {
            return Err(CloudError {
                kind: Kind::Unavailable,
                ..told
            });
        }
        let there: Vec<String> = there.into_iter().collect();
        self.try_tag(&there, tags).await
    }

    async fn try_tag(&self, ids: &[String], tags: &[Tag]) -> Result<(), CloudError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.session
            .ec2
            .create_tags()
            .set_resources(Some(ids.to_vec()))
            .set_tags(Some(tags.to_vec()))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| {
                fault(
                    "EC2 CreateTags",
                    &format!("{} resources", ids.len()),
                    &error,
                )
            })
    }

    async fn untag(&self, ids: &[String], keys: &BTreeSet<String>) -> Result<(), CloudError> {
        let tags = keys
            .iter()
            .map(|key| Tag::builder().key(key).build())
            .collect();
        self.session
            .ec2
            .delete_tags()
            .set_resources(Some(ids.to_vec()))
            .set_tags(Some(tags))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| {
                let object = format!("{} resources", ids.len());
                let told = fault("EC2 DeleteTags", &object, &error);
                // CreateTags has found them all a moment ago.
                let kind = match told.kind {
                    Kind::NotFound => Kind::Unavailable,
                    kind => kind,
                };
                CloudError { kind, ..told }
            })
    }
}

/// From the target groups that instances' tags name to those of the shape. The tag names all of them meanwhile, so that an apply that is
/// cut off leaves no machine where nobody looks for it.
struct Regrouping {
    arns: Vec<String>,
    wanted: BTreeSet<String>,
    left: BTreeSet<String>,
}

impl Regrouping {
    fn of(instances: &[Instance], shape: &Shape) -> Self {
        let arns: Vec<String> = shape.target_group_arns.iter().flatten().cloned().collect();
        let wanted: BTreeSet<String> = arns
            .iter()
            .map(|arn| targets::id_of(arn).to_owned())
            .collect();
        let claimed: BTreeSet<String> = instances.iter().flat_map(targets::claims).collect();
        Self {
            arns,
            left: claimed.difference(&wanted).cloned().collect(),
            wanted,
        }
    }

    /// Whether there is a target group at all.
    fn concerns(&self) -> bool {
        !self.wanted.is_empty() || !self.left.is_empty()
    }

    fn tag_before(&self) -> Option<Tag> {
        let ids = self.wanted.iter().chain(&self.left).map(String::as_str);
        self.concerns()
            .then(|| tag(TARGET_GROUPS, &targets::claim(ids)))
    }

    fn tag_after(&self) -> Tag {
        let ids = self.wanted.iter().map(String::as_str);
        tag(TARGET_GROUPS, &targets::claim(ids))
    }
}

fn id(instance: &Instance) -> Option<String> {
    instance.instance_id.clone()
}

/// Volumes and network interfaces: users' tags are on them too.
fn parts(instance: &Instance) -> Vec<String> {
    let volumes = instance
        .block_device_mappings()
        .iter()
        .filter_map(|device| device.ebs().and_then(|ebs| ebs.volume_id()));
    let interfaces = instance
        .network_interfaces()
        .iter()
        .filter_map(|interface| interface.network_interface_id());
    volumes.chain(interfaces).map(str::to_owned).collect()
}

/// Keys of ours that left the configuration.
fn no_longer_tagged(machines: &[Machine], shape: &Shape) -> BTreeSet<String> {
    let is_kept = |key: &str| {
        let tags = shape.tags.as_ref();
        tags.is_some_and(|tags| tags.contains_key(key))
    };
    machines
        .iter()
        .flat_map(|machine| machine.observed.keys())
        .filter_map(|key| key.strip_prefix("tags."))
        .filter(|key| !is_kept(key))
        .map(str::to_owned)
        .collect()
}

/// EC2 takes some calls of this kind a second, and each is about one machine.
const REGROUPED_AT_A_TIME: usize = 5;
/// CreateTags takes 1,000 resources; Amazon advises smaller batches.
const TAGGED_AT_ONCE: usize = 500;
