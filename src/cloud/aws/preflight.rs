//! What only EC2 knows, asked before the first machine is deleted: image, architecture, type,
//! subnets, and a RunInstances that is not carried out (permissions, groups, keys, profiles).
//!
//! In: an image, a shape, how many machines are to come. Out: one problem a fault, on its
//! attribute. Four calls, one more for each subnet that cannot have the type, and three a target
//! group. What the credentials may not ask is not asked again: the dry run decides.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, ImageState, InstanceTypeInfo, Subnet};
use aws_sdk_elasticloadbalancingv2 as elb;
use aws_sdk_elasticloadbalancingv2::types::TargetGroup;
use futures::future::join_all;

use super::api::{self, filter};
use super::auth::Session;
use super::failure::{asked, fault, is_capacity, is_local_shortage};
use super::shape::Shape;
use super::targets;
use crate::provider::{Diagnostics, Path};
use crate::worker_group::cloud::{
    Answered, CloudError, Findings, Growth, Kind, Mark, Refusal, Spec,
};

/// Asks all of it at once; where nothing is to be created, about the target groups alone.
///
/// # Errors
/// A question that was not answered and is worth another try.
pub(super) async fn check(
    session: &Session,
    image: &str,
    shape: &Shape,
    growth: Growth,
) -> Answered<Diagnostics> {
    let client = &session.ec2;
    let mut found = Findings::new(refusal);
    let groups = target_groups_of(&session.elb, shape);
    let subnets = subnets_of(client, shape);
    if growth.created == 0 {
        let (subnets, groups) = tokio::join!(subnets, groups);
        // Their own faults are found when machines are made.
        let subnets = Findings::new(|_| None).of(subnets)?;
        check_groups(groups, &networks(&subnets.unwrap_or_default()), &mut found)?;
        return Ok(found.told());
    }
    let (image, kind, subnets, dry_run, groups) = tokio::join!(
        image_of(client, image),
        type_of(client, &shape.instance_type),
        subnets,
        dry_run(client, image, shape),
        groups,
    );
    let image = found.of(image)?;
    if let Some(image) = &image {
        check_image(image, shape, &mut found);
    }
    if let (Some(Some(kind)), Some(image)) = (found.of(kind)?, &image) {
        check_architecture(image, &kind, &mut found);
    }
    let subnets = found.of(subnets)?;
    if let Some(subnets) = &subnets {
        check_subnets(subnets, shape, growth, &mut found);
    }
    found.of(dry_run)?;
    check_groups(groups, &networks(&subnets.unwrap_or_default()), &mut found)?;
    Ok(found.told())
}

/// One cause is one fault: of an attribute, or of all that no attribute is to blame for. Each wrong
/// target group has a cause of its own; permissions are for all of them.
fn refusal(error: &CloudError) -> Option<Refusal> {
    let (kind, attribute) = (error.kind, error.attribute);
    // A refused question is no fault of the group; trials tell whether machines may be made.
    let is_question = ![DRY_RUN, TRY_REGISTER, TRY_DEREGISTER].contains(&error.action);
    if kind == Kind::Forbidden && is_question {
        return None;
    }
    let is_of_one = attribute == Some(TARGET_GROUPS) && kind != Kind::Forbidden;
    let object = if is_of_one { &*error.object } else { "" };
    let (summary, advice) = match kind {
        Kind::Forbidden if error.action != DRY_RUN => (
            "Not allowed to change the target groups",
            "No machine has been touched. Allow elasticloadbalancing:RegisterTargets and elasticloadbalancing:DeregisterTargets for them.",
        ),
        Kind::Forbidden => (
            "Not allowed to create machines on AWS",
            "No machine has been touched. Allow ec2:RunInstances and ec2:CreateTags for instances, volumes and network interfaces, and \
             iam:PassRole for the profile.",
        ),
        Kind::Unauthenticated => (
            "AWS does not accept the credentials",
            "No machine has been touched. Check aws of the provider block, AWS_PROFILE and the variables of AWS.",
        ),
        Kind::Quota => (
            "EC2 has no room for these machines",
            "No machine has been touched. Raise the quota, or choose another type or more subnets.",
        ),
        _ => (
            "EC2 cannot make these machines",
            "No machine has been touched. Correct the attribute, then apply again.",
        ),
    };
    Some(Refusal {
        cause: format!("{kind:?} {attribute:?} {object}"),
        summary,
        advice,
    })
}

async fn image_of(client: &Client, image: &str) -> Answered<Image> {
    const IMAGES: &str = "EC2 DescribeImages";
    let call = client.describe_images().image_ids(image);
    let answer = asked(IMAGES, image, call.send()).await?;
    let found = answer.images.unwrap_or_default().into_iter().next();
    found.ok_or_else(|| {
        let words = "no such image in this region, or it is not shared with this account";
        CloudError::new(Kind::BadRequest, IMAGES, image, words).blaming("image")
    })
}

async fn type_of(client: &Client, name: &str) -> Answered<Option<InstanceTypeInfo>> {
    let call = client.describe_instance_types().instance_types(name.into());
    let answer = asked("EC2 DescribeInstanceTypes", name, call.send()).await?;
    Ok(answer.instance_types.unwrap_or_default().into_iter().next())
}

async fn subnets_of(client: &Client, shape: &Shape) -> Answered<Vec<Subnet>> {
    let Some(ids) = shape.subnet_ids.as_ref().filter(|ids| !ids.is_empty()) else {
        return Ok(Vec::new());
    };
    let call = client.describe_subnets().filters(filter("subnet-id", ids));
    let object = format!("{} subnets", ids.len());
    let answer = asked("EC2 DescribeSubnets", &object, call.send()).await?;
    Ok(answer.subnets.unwrap_or_default())
}

/// EC2 answers a good dry run with an error, too. As in a create, one subnet that can do is enough.
async fn dry_run(client: &Client, image: &str, shape: &Shape) -> Answered<()> {
    let mark = Mark::trial();
    let spec = Spec::trial(&mark, image);
    let mut lacking = Vec::new();
    for subnet in api::subnets(shape, 0) {
        let request = api::run_instances(&spec, shape, "", subnet).dry_run(true);
        let request = request.set_user_data(None).set_client_token(None);
        let Err(error) = request.send_with(client).await else {
            return Ok(());
        };
        let error = fault(DRY_RUN, "a dry run", error);
        // Capacity of this minute and of one subnet: the creates find out, subnet by subnet.
        if error.code() == "DryRunOperation" || is_capacity(&error) {
            return Ok(());
        }
        if !is_local_shortage(&error) {
            return Err(error);
        }
        lacking.push((subnet, error));
    }
    nowhere(lacking).map_or(Ok(()), Err)
}

/// What every subnet has said, as one: EC2's words name the zones, once each.
fn nowhere(lacking: Vec<(Option<&str>, CloudError)>) -> Option<CloudError> {
    let subnets: Vec<&str> = lacking.iter().filter_map(|(subnet, _)| *subnet).collect();
    let said = lacking.iter().map(|(_, error)| error.message.as_str());
    let mut heard = BTreeSet::new();
    let said: Vec<&str> = said.filter(|words| heard.insert(*words)).collect();
    let (subnets, message) = (subnets.join(", "), said.join("; "));
    let (_, first) = lacking.into_iter().next()?;
    Some(CloudError {
        object: match subnets.is_empty() {
            true => first.object,
            false => format!("{} in {subnets}", first.object),
        },
        message,
        ..first
    })
}

fn check_image(image: &Image, shape: &Shape, found: &mut Findings) {
    let is_wrong = |state: &&ImageState| **state != ImageState::Available;
    if let Some(state) = image.state().filter(is_wrong) {
        let (state, id) = (state.as_str(), image.image_id().unwrap_or_default());
        found.misfit(
            Path::of("image"),
            "Image is not available",
            format!("EC2 DescribeImages says {state} of {id}: it cannot be launched. Choose another image."),
        );
    }
    let root = shape.root();
    let Some(device) = image.root_device_name() else {
        return;
    };
    if device != root.device_name {
        found.misfit(
            Path::of("aws.root_volume.device_name"),
            "Root device of the image has another name",
            format!(
                "The image's root device is {device}, and root_volume.device_name is {}: that would be one more volume. Set device_name \
                 to {device}.",
                root.device_name
            ),
        );
    }
    let mut mappings = image.block_device_mappings().iter();
    let mapping = mappings.find(|mapping| mapping.device_name() == Some(device));
    let needed = mapping.and_then(|mapping| mapping.ebs()?.volume_size());
    if let (Some(needed), Some(size)) = (needed, root.size)
        && size < needed
    {
        found.misfit(
            Path::of("aws.root_volume.size"),
            "Root volume is smaller than the image",
            format!("root_volume.size is {size} GiB, and the image needs {needed} GiB. Raise size to {needed} at least, or leave it out."),
        );
    }
}

fn check_architecture(image: &Image, kind: &InstanceTypeInfo, found: &mut Findings) {
    let Some(needed) = image.architecture().map(|needed| needed.as_str()) else {
        return;
    };
    let offered = kind.processor_info().into_iter();
    let offered = offered.flat_map(|processor| processor.supported_architectures());
    let offered: Vec<&str> = offered.map(|architecture| architecture.as_str()).collect();
    if !offered.is_empty() && !offered.contains(&needed) {
        let offered = offered.join(", ");
        found.misfit(
            Path::of("aws.instance_type"),
            "Image is of another architecture than the type",
            format!(
                "The image is for {needed}, the instance type is {offered}. Choose a type of the image's architecture, or set architecture of the \
                 flatcar_image. No machine has been touched.",
            ),
        );
    }
}

fn check_subnets(subnets: &[Subnet], shape: &Shape, growth: Growth, found: &mut Findings) {
    let at = Path::of("aws.subnet_ids");
    let listed = shape.subnet_ids.as_deref().unwrap_or_default();
    let known: Vec<&str> = subnets.iter().filter_map(Subnet::subnet_id).collect();
    found.missing(&at, listed, &known, "Subnet does not exist", |id| {
        format!("EC2 DescribeSubnets knows no {id} in this region and account. No machine has been touched. Correct the id.")
    });
    let networks = networks(subnets);
    if networks.len() > 1 {
        let networks = networks.join(", ");
        let detail = format!(
            "They are in {networks}, and security groups belong to one VPC. Choose subnets of one."
        );
        found.misfit(at.clone(), "Subnets are in several VPCs", detail);
    }
    if subnets.is_empty() {
        return;
    }
    let free = subnets.iter();
    let free = free.filter_map(Subnet::available_ip_address_count);
    let free: i64 = free.map(i64::from).sum();
    let left = usize::try_from(free).unwrap_or(0);
    let summary = "Subnets may run out of addresses";
    found.room(growth, left, (summary, None), Some(at), |more, advice| {
        format!("{free} addresses are free, and {more} more machines than now are to exist at a time. {advice}Add a subnet.")
    });
}

fn networks(subnets: &[Subnet]) -> Vec<String> {
    let networks: BTreeSet<&str> = subnets.iter().filter_map(Subnet::vpc_id).collect();
    networks.into_iter().map(str::to_owned).collect()
}

/// What load balancing answers of the target groups of the shape, and of changing them.
type Groups = Vec<Answered<Option<TargetGroup>>>;

/// One by one, for one that does not exist makes load balancing refuse all.
async fn target_groups_of(client: &elb::Client, shape: &Shape) -> Groups {
    let arns = shape.target_group_arns.iter().flatten();
    let answers = join_all(arns.map(|arn| target_group_of(client, arn))).await;
    answers.into_iter().flatten().collect()
}

async fn target_group_of(client: &elb::Client, arn: &str) -> Groups {
    let call = client.describe_target_groups().target_group_arns(arn);
    let group = match asked("ELB DescribeTargetGroups", arn, call.send()).await {
        Ok(answer) => answer.target_groups.unwrap_or_default().into_iter().next(),
        Err(error) if error.kind == Kind::Forbidden => None,
        Err(error) => return vec![Err(error)],
    };
    vec![Ok(group), may_change(client, arn).await.map(|()| None)]
}

/// Load balancing has no dry run: an instance that cannot exist is refused as such where
/// registering is allowed, and deregistering what is not registered does nothing.
async fn may_change(client: &elb::Client, arn: &str) -> Answered<()> {
    let nobody = || Some(targets::targets(&[NOBODY.to_owned()]));
    let register = client.register_targets().target_group_arn(arn);
    let register = register.set_targets(nobody()).send();
    let registered = asked(TRY_REGISTER, arn, register).await.err();
    let deregister = client.deregister_targets().target_group_arn(arn);
    let deregister = deregister.set_targets(nobody()).send();
    let deregistered = asked(TRY_DEREGISTER, arn, deregister).await.err();
    let mut refused = registered.into_iter().chain(deregistered);
    match refused.find(|error| error.kind == Kind::Forbidden || error.is_retryable()) {
        Some(error) if error.kind == Kind::Forbidden => Err(error.blaming(TARGET_GROUPS)),
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn check_groups(answers: Groups, networks: &[String], found: &mut Findings) -> Answered<()> {
    let mut groups = Vec::new();
    for answer in answers {
        groups.extend(found.of(answer)?.flatten());
    }
    for group in &groups {
        let name = group.target_group_name().unwrap_or_default();
        let kind = group.target_type().map_or("instance", |kind| kind.as_str());
        if kind != "instance" {
            found.misfit(
                Path::of(TARGET_GROUPS),
                "Target group takes no instances",
                format!("Target group {name} has target type {kind}. No machine has been touched. Use one of type instance."),
            );
        }
        if let (Some(of_group), [network]) = (group.vpc_id(), networks)
            && of_group != network
        {
            found.misfit(
                Path::of(TARGET_GROUPS),
                "Target group is in another VPC",
                format!(
                    "Target group {name} is in {of_group}, the machines' subnets are in {network}. No machine has been touched. Use a target \
                     group or subnets of one VPC."
                ),
            );
        }
    }
    Ok(())
}

/// The attribute that names several things, each of which may be wrong.
const TARGET_GROUPS: &str = "aws.target_group_arns";
const TRY_REGISTER: &str = "ELB RegisterTargets (of no machine)";
const TRY_DEREGISTER: &str = "ELB DeregisterTargets (of no machine)";
/// No instance has this id.
const NOBODY: &str = "i-00000000000000000";
const DRY_RUN: &str = "EC2 RunInstances (dry run)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_group_that_is_wrong_is_told_and_every_other_cause_once() {
        for (kind, attribute, objects, told) in [
            (Kind::BadRequest, Some(TARGET_GROUPS), ["a", "b"], 2),
            (Kind::BadRequest, Some(TARGET_GROUPS), ["a", "a"], 1),
            (Kind::Forbidden, Some(TARGET_GROUPS), ["a", "b"], 1),
            (Kind::BadRequest, Some("image"), ["a", "b"], 1),
            (Kind::Unauthenticated, None, ["a", "b"], 1),
        ] {
            let mut found = Findings::new(refusal);
            for object in objects {
                let error = CloudError::new(kind, TRY_REGISTER, object, "400 No");
                found.refused(&CloudError { attribute, ..error });
            }
            assert_eq!(
                found.told().0.len(),
                told,
                "{kind:?} {attribute:?} {objects:?}"
            );
        }
    }
}
