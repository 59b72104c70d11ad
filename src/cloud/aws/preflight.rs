//! What only EC2 knows, asked before the first machine is deleted: the image and its architecture, the type, the subnets, and a
//! RunInstances that is not carried out (permissions, groups, keys, profiles).
//!
//! In: an image, a shape and how many machines are about to be made. Out: one problem a fault, on its attribute. Four calls. What the
//! credentials may not ask is not asked again: the dry run decides.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{Image, ImageState, InstanceTypeInfo, Subnet};

use super::api::{self, filter};
use super::failure::{fault, is_capacity};
use super::shape::Shape;
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::{CloudError, Kind, Mark, Spec};

/// Asks all of it at once.
pub(super) async fn check(client: &Client, image: &str, shape: &Shape, new: usize) -> Diagnostics {
    let (found, kind, subnets, dry_run) = tokio::join!(
        image_of(client, image),
        type_of(client, &shape.instance_type),
        subnets_of(client, shape),
        dry_run(client, image, shape),
    );
    let mut problems = Diagnostics::none();
    let mut told = Vec::new();
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
        Ok(found) => problems.extend(check_subnets(found, shape, new)),
        Err(error) => tell(error, &mut told, &mut problems),
    }
    if let Err(error) = &dry_run {
        tell(error, &mut told, &mut problems);
    }
    problems
}

/// One diagnostic for one attribute, and one for all that no attribute is to blame for and that have the same cause.
fn tell(
    error: &CloudError,
    told: &mut Vec<(Kind, Option<&'static str>)>,
    problems: &mut Diagnostics,
) {
    let cause = (error.kind, error.attribute);
    // A refusal of a question is not a fault of the group; the dry run tells whether machines may be made.
    let is_question = error.action != DRY_RUN;
    if told.contains(&cause) || (error.kind == Kind::Forbidden && is_question) {
        return;
    }
    told.push(cause);
    let (summary, advice) = match error.kind {
        Kind::Forbidden => (
            "Not allowed to create machines on AWS",
            "Allow ec2:RunInstances and ec2:CreateTags for instances, volumes and network interfaces, and iam:PassRole for the profile.",
        ),
        Kind::Unauthenticated => (
            "AWS does not accept the credentials",
            "Check aws of the provider block, AWS_PROFILE and the variables of AWS.",
        ),
        Kind::RateLimit | Kind::Unavailable | Kind::Ambiguous => (
            "Could not ask EC2",
            "Check aws.region and aws.endpoint of the provider block and the network, then apply again.",
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

/// EC2 answers a dry run that would have worked with an error too.
async fn dry_run(client: &Client, image: &str, shape: &Shape) -> Result<(), CloudError> {
    let mark = Mark {
        cluster: "preflight".to_owned(),
        group: "preflight".to_owned(),
        uid: String::new(),
        generation: String::new(),
        unsaved: true,
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
    let subnet = api::subnets(shape, 0).into_iter().next().flatten();
    let request = api::run_instances(&spec, shape, "", subnet)
        .dry_run(true)
        .set_user_data(None)
        .set_client_token(None);
    match request.send_with(client).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("DryRunOperation") => Ok(()),
        // Capacity of this minute and of one subnet: the creates find out, subnet by subnet.
        Err(error) if is_capacity(error.code()) => Ok(()),
        Err(error) => Err(fault(DRY_RUN, "a dry run", &error)),
    }
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
                "EC2 DescribeImages says that the image cannot be launched in its present state. Choose another image.",
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
                format!("The image's root device is {device}: a root volume of another name would be one more volume. Set device_name to it."),
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
                format!("The image needs {needed} GiB. Raise size, or leave it out."),
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

fn check_subnets(found: &[Subnet], shape: &Shape, new: usize) -> Diagnostics {
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
    let mut networks: Vec<&str> = found.iter().filter_map(Subnet::vpc_id).collect();
    networks.sort_unstable();
    networks.dedup();
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
    if !found.is_empty() && usize::try_from(free).unwrap_or(0) < new {
        problems.push(
            Diagnostic::warning(
                "Subnets may run out of addresses",
                format!(
                    "{free} addresses are free, and {new} machines are to be created. Add a subnet."
                ),
            )
            .at(Path::of("aws.subnet_ids")),
        );
    }
    problems
}

const DRY_RUN: &str = "EC2 RunInstances (dry run)";
