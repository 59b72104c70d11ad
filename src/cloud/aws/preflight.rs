//! What only EC2 knows, asked before the first machine is deleted: the image and its architecture, the type, the subnets, and a
//! RunInstances that is not carried out (permissions, groups, keys, profiles).
//!
//! In: an image, a shape and how many machines are about to be made. Out: one problem a fault, on its attribute. Four calls, one more
//! for each subnet that cannot have the type, and three a target group. What the credentials may not ask is not asked again: the dry run
//! decides.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{Image, ImageState, InstanceTypeInfo, Subnet};
use aws_sdk_elasticloadbalancingv2 as elb;
use aws_sdk_elasticloadbalancingv2::types::TargetGroup;
use futures::future::join_all;

use super::api::{self, filter};
use super::auth::Session;
use super::failure::{fault, is_capacity, is_local_shortage};
use super::shape::Shape;
use super::targets;
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::{CloudError, Growth, Kind, Mark, Spec};

/// Asks all of it at once. Where nothing is to be created, only what changes in place is asked about: the target groups.
///
/// # Errors
/// A question that was not answered and is worth another try.
pub(super) async fn check(
    session: &Session,
    image: &str,
    shape: &Shape,
    growth: Growth,
) -> Result<Diagnostics, CloudError> {
    let client = &session.ec2;
    let mut problems = Diagnostics::none();
    let mut told = Vec::new();
    let found_groups = target_groups_of(&session.elb, shape);
    if growth.created == 0 {
        let (subnets, groups) = tokio::join!(subnets_of(client, shape), found_groups);
        let (subnets, groups) = (answered(subnets)?, groups?);
        let networks = networks(subnets.as_deref().unwrap_or_default());
        tell_of_groups(groups, &networks, &mut told, &mut problems);
        return Ok(problems);
    }
    let (found, kind, subnets, dry_run, groups) = tokio::join!(
        image_of(client, image),
        type_of(client, &shape.instance_type),
        subnets_of(client, shape),
        dry_run(client, image, shape),
        found_groups,
    );
    let (found, kind, subnets) = (answered(found)?, answered(kind)?, answered(subnets)?);
    let (dry_run, groups) = (answered(dry_run)?, groups?);
    match &found {
        Ok(Some(found)) => problems.extend(check_image(found, shape)),
        Ok(None) => {}
        Err(error) => tell(error, &mut told, &mut problems),
    }
    match (&kind, &found) {
        (Ok(Some(kind)), Ok(Some(found))) => problems.extend(check_architecture(found, kind)),
        (Err(error), _) => tell(error, &mut told, &mut problems),
        _ => {}
    }
    match &subnets {
        Ok(found) => problems.extend(check_subnets(found, shape, growth)),
        Err(error) => tell(error, &mut told, &mut problems),
    }
    if let Err(error) = &dry_run {
        tell(error, &mut told, &mut problems);
    }
    let networks = networks(subnets.as_deref().unwrap_or_default());
    tell_of_groups(groups, &networks, &mut told, &mut problems);
    Ok(problems)
}

/// An answer, be it a refusal.
fn answered<T>(result: Result<T, CloudError>) -> Result<Result<T, CloudError>, CloudError> {
    match result {
        Err(error) if error.is_retryable() => Err(error),
        result => Ok(result),
    }
}

/// What was told already: a kind of fault, on an attribute, of one object where an attribute names several.
type Cause = (Kind, Option<&'static str>, String);

/// One diagnostic for one cause: for one attribute, or for all that no attribute is to blame for. Each target group that is wrong has a
/// cause of its own; permissions are for all of them.
fn tell(error: &CloudError, told: &mut Vec<Cause>, problems: &mut Diagnostics) {
    let is_of_one = error.attribute == Some(TARGET_GROUPS) && error.kind != Kind::Forbidden;
    let object = if is_of_one { error.object.as_str() } else { "" };
    let cause = (error.kind, error.attribute, object.to_owned());
    // A refusal of a question is not a fault of the group; what is tried tells whether machines may be made and registered.
    let is_question = ![DRY_RUN, TRY_REGISTER, TRY_DEREGISTER].contains(&error.action);
    if told.contains(&cause) || (error.kind == Kind::Forbidden && is_question) {
        return;
    }
    told.push(cause);
    let (summary, advice) = match error.kind {
        Kind::Forbidden if error.action != DRY_RUN => (
            "Not allowed to change the target groups",
            "Allow elasticloadbalancing:RegisterTargets and elasticloadbalancing:DeregisterTargets for them.",
        ),
        Kind::Forbidden => (
            "Not allowed to create machines on AWS",
            "Allow ec2:RunInstances and ec2:CreateTags for instances, volumes and network interfaces, and iam:PassRole for the profile.",
        ),
        Kind::Unauthenticated => (
            "AWS does not accept the credentials",
            "Check aws of the provider block, AWS_PROFILE and the variables of AWS.",
        ),
        Kind::Quota => (
            "EC2 has no room for these machines",
            "Raise the quota, or choose another type or more subnets.",
        ),
        _ => (
            "EC2 cannot make these machines",
            "Correct the attribute, then apply again.",
        ),
    };
    let diagnostic = Diagnostic::error(
        summary,
        format!("{error}. No machine has been touched. {advice}"),
    );
    problems.push(match error.attribute {
        Some(attribute) => diagnostic.at(Path::of(attribute)),
        None => diagnostic,
    });
}

async fn image_of(client: &Client, image: &str) -> Result<Option<Image>, CloudError> {
    let answer = client
        .describe_images()
        .image_ids(image)
        .send()
        .await
        .map_err(|error| fault("EC2 DescribeImages", image, &error))?;
    match answer.images.unwrap_or_default().into_iter().next() {
        Some(image) => Ok(Some(image)),
        None => Err(CloudError {
            action: "EC2 DescribeImages",
            object: image.to_owned(),
            kind: Kind::BadRequest,
            message: "no such image in this region, or it is not shared with this account"
                .to_owned(),
            attribute: Some("image"),
            retry_after: None,
        }),
    }
}

async fn type_of(client: &Client, name: &str) -> Result<Option<InstanceTypeInfo>, CloudError> {
    let answer = client
        .describe_instance_types()
        .instance_types(name.into())
        .send()
        .await
        .map_err(|error| fault("EC2 DescribeInstanceTypes", name, &error))?;
    Ok(answer.instance_types.unwrap_or_default().into_iter().next())
}

async fn subnets_of(client: &Client, shape: &Shape) -> Result<Vec<Subnet>, CloudError> {
    let Some(ids) = shape.subnet_ids.as_ref().filter(|ids| !ids.is_empty()) else {
        return Ok(Vec::new());
    };
    let answer = client
        .describe_subnets()
        .filters(filter("subnet-id", ids))
        .send()
        .await
        .map_err(|error| {
            fault(
                "EC2 DescribeSubnets",
                &format!("{} subnets", ids.len()),
                &error,
            )
        })?;
    Ok(answer.subnets.unwrap_or_default())
}

/// EC2 answers a dry run that would have worked with an error too. Subnets are passed over as by a create: one that can do is enough.
async fn dry_run(client: &Client, image: &str, shape: &Shape) -> Result<(), CloudError> {
    let mark = Mark {
        cluster: "preflight".to_owned(),
        group: "preflight".to_owned(),
        uid: String::new(),
        generation: String::new(),
        unsaved: true,
        origin: String::new(),
        proof: String::new(),
    };
    let spec = Spec {
        name: "preflight",
        attempt: 0,
        ordinal: 0,
        mark: &mark,
        image,
        user_data: b"",
        shape: &crate::provider::Value::Null,
    };
    let mut lacking = Vec::new();
    for subnet in api::subnets(shape, 0) {
        let request = api::run_instances(&spec, shape, "", subnet)
            .dry_run(true)
            .set_user_data(None)
            .set_client_token(None);
        let Err(error) = request.send_with(client).await else {
            return Ok(());
        };
        match error.code() {
            Some("DryRunOperation") => return Ok(()),
            // Capacity of this minute and of one subnet: the creates find out, subnet by subnet.
            code if is_capacity(code) => return Ok(()),
            code if is_local_shortage(code) => {
                lacking.push((subnet, fault(DRY_RUN, "a dry run", &error)));
            }
            _ => return Err(fault(DRY_RUN, "a dry run", &error)),
        }
    }
    nowhere(lacking).map_or(Ok(()), Err)
}

/// What every subnet has said, as one: EC2's words name the zones, once each.
fn nowhere(lacking: Vec<(Option<&str>, CloudError)>) -> Option<CloudError> {
    let subnets: Vec<&str> = lacking.iter().filter_map(|(subnet, _)| *subnet).collect();
    let mut said: Vec<&str> = lacking
        .iter()
        .map(|(_, error)| error.message.as_str())
        .collect();
    let mut heard = BTreeSet::new();
    said.retain(|words| heard.insert(*words));
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

fn check_image(image: &Image, shape: &Shape) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if image
        .state()
        .is_some_and(|state| *state != ImageState::Available)
    {
        problems.push(
            Diagnostic::error(
                "Image is not available",
                format!(
                    "EC2 DescribeImages says {} of {}: it cannot be launched. Choose another image.",
                    image.state().map_or("nothing", ImageState::as_str),
                    image.image_id().unwrap_or_default()
                ),
            )
            .at(Path::of("image")),
        );
    }
    let root = shape.root();
    let Some(device) = image.root_device_name() else {
        return problems;
    };
    if device != root.device_name {
        problems.push(
            Diagnostic::error(
                "Root device of the image has another name",
                format!(
                    "The image's root device is {device}, and root_volume.device_name is {}: that would be one more volume. Set device_name \
                     to {device}.",
                    root.device_name
                ),
            )
            .at(Path::of("aws.root_volume.device_name")),
        );
    }
    let needed = image
        .block_device_mappings()
        .iter()
        .find(|mapping| mapping.device_name() == Some(device))
        .and_then(|mapping| mapping.ebs()?.volume_size());
    if let (Some(needed), Some(size)) = (needed, root.size)
        && size < needed
    {
        problems.push(
            Diagnostic::error(
                "Root volume is smaller than the image",
                format!(
                    "root_volume.size is {size} GiB, and the image needs {needed} GiB. Raise size to {needed} at least, or leave it out."
                ),
            )
            .at(Path::of("aws.root_volume.size")),
        );
    }
    problems
}

fn check_architecture(image: &Image, kind: &InstanceTypeInfo) -> Diagnostics {
    let Some(needed) = image.architecture() else {
        return Diagnostics::none();
    };
    let offered: Vec<&str> = kind
        .processor_info()
        .map(|processor| {
            processor
                .supported_architectures()
                .iter()
                .map(|architecture| architecture.as_str())
                .collect()
        })
        .unwrap_or_default();
    if offered.is_empty() || offered.contains(&needed.as_str()) {
        return Diagnostics::none();
    }
    Diagnostic::error(
        "Image is of another architecture than the type",
        format!(
            "The image is for {}, the instance type is {}. Choose a type of the image's architecture, or set architecture of the \
             flatcar_image. No machine has been touched.",
            needed.as_str(),
            offered.join(", ")
        ),
    )
    .at(Path::of("aws.instance_type"))
    .into()
}

fn check_subnets(found: &[Subnet], shape: &Shape, growth: Growth) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let wanted = shape.subnet_ids.as_deref().unwrap_or_default();
    for (index, id) in wanted.iter().enumerate() {
        if !found.iter().any(|subnet| subnet.subnet_id() == Some(id)) {
            problems.push(
                Diagnostic::error(
                    "Subnet does not exist",
                    format!("EC2 DescribeSubnets knows no {id} in this region and account. No machine has been touched. Correct the id."),
                )
                .at(Path::of("aws.subnet_ids").index(index)),
            );
        }
    }
    let networks = networks(found);
    if networks.len() > 1 {
        problems.push(
            Diagnostic::error(
                "Subnets are in several VPCs",
                format!(
                    "They are in {}, and security groups belong to one VPC. Choose subnets of one.",
                    networks.join(", ")
                ),
            )
            .at(Path::of("aws.subnet_ids")),
        );
    }
    let free: i64 = found
        .iter()
        .filter_map(Subnet::available_ip_address_count)
        .map(i64::from)
        .sum();
    if !found.is_empty()
        && let Some(advice) = growth.advice(usize::try_from(free).unwrap_or(0))
    {
        let more = growth.at_once;
        problems.push(
            Diagnostic::warning(
                "Subnets may run out of addresses",
                format!(
                    "{free} addresses are free, and {more} more machines than now are to exist at a time. {advice}Add a subnet."
                ),
            )
            .at(Path::of("aws.subnet_ids")),
        );
    }
    problems
}

fn networks(subnets: &[Subnet]) -> Vec<&str> {
    let mut networks: Vec<&str> = subnets.iter().filter_map(Subnet::vpc_id).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// Those of the shape that exist, and what stands in the way of changing them.
type Groups = (Vec<TargetGroup>, Vec<CloudError>);

/// One by one, for one that does not exist makes load balancing refuse all.
async fn target_groups_of(client: &elb::Client, shape: &Shape) -> Result<Groups, CloudError> {
    let arns = shape.target_group_arns.iter().flatten();
    let asked = join_all(arns.map(|arn| target_group_of(client, arn))).await;
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    for (group, error) in asked {
        groups.extend(group);
        match error {
            Some(error) if error.is_retryable() => return Err(error),
            error => errors.extend(error),
        }
    }
    Ok((groups, errors))
}

async fn target_group_of(
    client: &elb::Client,
    arn: &str,
) -> (Option<TargetGroup>, Option<CloudError>) {
    let asked = client.describe_target_groups().target_group_arns(arn);
    let group = match asked.send().await {
        Ok(answer) => answer.target_groups.unwrap_or_default().into_iter().next(),
        Err(error) => {
            let told = fault("ELB DescribeTargetGroups", arn, &error);
            if told.kind != Kind::Forbidden {
                return (None, Some(told));
            }
            None
        }
    };
    (group, may_change(client, arn).await.err())
}

/// Load balancing has no dry run: an instance that cannot exist is refused as such where registering is allowed, and deregistering what is
/// not registered does nothing.
async fn may_change(client: &elb::Client, arn: &str) -> Result<(), CloudError> {
    let nobody = targets::targets(&[NOBODY.to_owned()]);
    let register = client.register_targets().target_group_arn(arn);
    let registered = register.set_targets(Some(nobody.clone())).send().await;
    let deregister = client.deregister_targets().target_group_arn(arn);
    let deregistered = deregister.set_targets(Some(nobody)).send().await;
    let registered = registered.map_err(|error| fault(TRY_REGISTER, arn, &error));
    let deregistered = deregistered.map_err(|error| fault(TRY_DEREGISTER, arn, &error));
    let mut refused = [registered.err(), deregistered.err()].into_iter().flatten();
    match refused.find(|error| error.kind == Kind::Forbidden || error.is_retryable()) {
        Some(error) if error.kind == Kind::Forbidden => Err(CloudError {
            attribute: Some(TARGET_GROUPS),
            ..error
        }),
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn tell_of_groups(
    (groups, errors): Groups,
    networks: &[&str],
    told: &mut Vec<Cause>,
    problems: &mut Diagnostics,
) {
    for error in &errors {
        tell(error, told, problems);
    }
    let mut refuse = |summary: &str, detail: String| {
        let at = Path::of(TARGET_GROUPS);
        problems.push(Diagnostic::error(summary, detail).at(at));
    };
    for group in &groups {
        let name = group.target_group_name().unwrap_or_default();
        let kind = group.target_type().map_or("instance", |kind| kind.as_str());
        if kind != "instance" {
            refuse(
                "Target group takes no instances",
                format!(
                    "Target group {name} has target type {kind}. No machine has been touched. Use one of type instance."
                ),
            );
        }
        if let (Some(of_group), [network]) = (group.vpc_id(), networks)
            && of_group != *network
        {
            refuse(
                "Target group is in another VPC",
                format!(
                    "Target group {name} is in {of_group}, the machines' subnets are in {network}. No machine has been touched. Use a target \
                     group or subnets of one VPC."
                ),
            );
        }
    }
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
            let (mut causes, mut problems) = (Vec::new(), Diagnostics::none());
            for object in objects {
                let error = CloudError {
                    action: TRY_REGISTER,
                    object: object.to_owned(),
                    kind,
                    message: "400 No".to_owned(),
                    attribute,
                    retry_after: None,
                };
                tell(&error, &mut causes, &mut problems);
            }
            assert_eq!(problems.0.len(), told, "{kind:?} {attribute:?} {objects:?}");
        }
    }
}
