//! What does not fit together of what Azure knows and the shape wants: network, size, zones, quota,
//! image. Pure.
//!
//! In: answers of Resource Manager. Out: problems, on their attributes.

use serde_json::Value as Json;

use super::machine::place as normal;
use super::shape::Shape;
use crate::provider::Path;
use crate::worker_group::cloud::{Findings, Growth};

pub(super) fn check_network(network: Option<&Json>, shape: &Shape, found: &mut Findings) {
    let at = Path::of("azure.subnet_id");
    let subnets = network.and_then(|network| network["properties"]["subnets"].as_array());
    let mut subnets = subnets
        .into_iter()
        .flatten()
        .filter_map(|subnet| subnet["id"].as_str());
    let location = network
        .and_then(|network| network["location"].as_str())
        .unwrap_or_default();
    if !subnets.any(|id| id.eq_ignore_ascii_case(&shape.subnet_id)) {
        let detail = format!(
            "There is no {}. Name a subnet that exists.",
            shape.subnet_id
        );
        found.misfit(at, "Azure has no such subnet", detail);
    } else if normal(location) != normal(&shape.location) {
        let detail = format!(
            "Its network is in {location}, and the machines are to be in {}. Choose a network of that location.",
            shape.location
        );
        found.misfit(at, "Subnet is in another location", detail);
    }
}

/// Whether there is the size in the location, and in its zones.
pub(super) fn check_size<'a>(
    skus: &'a [Json],
    shape: &Shape,
    found: &mut Findings,
) -> Option<&'a Json> {
    let is_it = |sku: &&Json| {
        sku["resourceType"] == "virtualMachines"
            && sku["name"]
                .as_str()
                .is_some_and(|name| name.eq_ignore_ascii_case(&shape.vm_size))
    };
    let at = Path::of("azure.vm_size");
    let Some(sku) = skus.iter().find(is_it) else {
        let detail = format!(
            "There is no {} in {}. Choose another size or location.",
            shape.vm_size, shape.location
        );
        found.misfit(at, "Azure has no such size there", detail);
        return None;
    };
    let texts = |list: &'a Json| {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
    };
    let restrictions = || sku["restrictions"].as_array().into_iter().flatten();
    if let Some(restriction) = restrictions().find(|one| one["type"] == "Location") {
        let why = restriction["reasonCode"].as_str().unwrap_or_default();
        let detail = format!(
            "{} is restricted in {} for this subscription: {why}. Choose another size, or ask Azure for access.",
            shape.vm_size, shape.location
        );
        found.misfit(at, "Size is not available to the subscription", detail);
        return None;
    }
    let closed: Vec<&str> = restrictions()
        .filter(|one| one["type"] == "Zone")
        .flat_map(|one| texts(&one["restrictionInfo"]["zones"]))
        .collect();
    let mut open: Vec<&str> = texts(&sku["locationInfo"][0]["zones"])
        .filter(|zone| !closed.contains(zone))
        .collect();
    open.sort_unstable();
    let summary = "Size is not available in this zone";
    found.missing(&Path::of("azure.zones"), &shape.zones, &open, summary, |zone| {
        let there = if open.is_empty() { "none".to_owned() } else { open.join(", ") };
        format!("{} is not to be had in zone {zone:?} of {}; zones where it is: {there}. Name one of these.", shape.vm_size, shape.location)
    });
    let has_too_many = capability(sku, "MaxDataDiskCount")
        .and_then(|most| most.parse().ok())
        .is_some_and(|most: usize| shape.data_disks.len() > most);
    if has_too_many {
        let detail = format!(
            "{} takes fewer data disks than {}. Choose another size, or fewer disks.",
            shape.vm_size,
            shape.data_disks.len()
        );
        found.misfit(
            Path::of("azure.data_disks"),
            "Size takes fewer data disks",
            detail,
        );
    }
    let wants = [
        (
            shape.os_disk.as_ref().is_some_and(|disk| disk.ephemeral),
            "EphemeralOSDiskSupported",
            "azure.os_disk",
            "ephemeral disks",
        ),
        (
            shape.accelerated_networking_enabled,
            "AcceleratedNetworkingEnabled",
            "azure.accelerated_networking_enabled",
            "accelerated networking",
        ),
    ];
    for (is_wanted, name, attribute, what) in wants {
        if is_wanted && capability(sku, name).is_some_and(|has| has.eq_ignore_ascii_case("false")) {
            let detail = format!(
                "{} has no {what}. Choose another size, or leave them out.",
                shape.vm_size
            );
            found.misfit(Path::of(attribute), format!("Size has no {what}"), detail);
        }
    }
    Some(sku)
}

fn capability<'a>(sku: &'a Json, name: &str) -> Option<&'a str> {
    let capabilities = sku["capabilities"].as_array()?;
    capabilities.iter().find(|one| one["name"] == name)?["value"].as_str()
}

pub(super) fn lack(
    usages: &[Json],
    size: &Json,
    shape: &Shape,
    growth: Growth,
    found: &mut Findings,
) {
    let cores = capability(size, "vCPUs")
        .and_then(|cores| cores.parse().ok())
        .unwrap_or(0);
    let family = size["family"].as_str().unwrap_or_default();
    let (family, region) = match shape.is_spot() {
        true => ("lowPriorityCores", "lowPriorityCores"),
        false => (family, "cores"),
    };
    for (name, each) in [(family, cores), (region, cores), ("virtualMachines", 1)] {
        let is_it = |usage: &&Json| {
            usage["name"]["value"]
                .as_str()
                .is_some_and(|value| value.eq_ignore_ascii_case(name))
        };
        if let Some(usage) = usages.iter().find(is_it)
            && let (Some(most), Some(used)) =
                (usage["limit"].as_i64(), usage["currentValue"].as_i64())
            && (name != region || family != region)
        {
            found.quota(
                growth,
                usage["name"]["localizedValue"].as_str().unwrap_or(name),
                [most, used, each],
            );
        }
    }
}

pub(super) fn check_image(
    image: Option<&Json>,
    size: Option<&Json>,
    shape: &Shape,
    found: &mut Findings,
) {
    let at = Path::of("image");
    let Some(image) = image else {
        let detail = format!(
            "It is not to be had in {}. Name an image of that location, by its URN or id.",
            shape.location
        );
        found.misfit(at, "Azure has no such image", detail);
        return;
    };
    let properties = &image["properties"];
    let text = |value: &Json| value.as_str().unwrap_or_default().to_lowercase();
    let has = size
        .and_then(|size| capability(size, "CpuArchitectureType"))
        .unwrap_or_default();
    let needs = text(&properties["architecture"]);
    if !needs.is_empty() && !has.is_empty() && needs != has.to_lowercase() {
        let detail = format!(
            "The image is for {needs}, and {} is {has}. Choose an image or a size that fits the other.",
            shape.vm_size
        );
        found.misfit(at.clone(), "Image is for another architecture", detail);
    }
    let plan = &properties["plan"];
    if plan["name"].is_string() && shape.plan.is_none() {
        let (name, product, publisher) = (
            text(&plan["name"]),
            text(&plan["product"]),
            text(&plan["publisher"]),
        );
        let detail = format!(
            "It is sold by a plan. Set plan = {{ name = {name:?}, product = {product:?}, publisher = {publisher:?} }}, or take flatcar_image's azure.plan."
        );
        found.misfit(Path::of("azure.plan"), "Image needs its plan", detail);
    }
    let sizes = [
        &properties["osDiskImage"]["sizeInGb"],
        &properties["storageProfile"]["osDiskImage"]["sizeInGB"],
        &properties["storageProfile"]["osDisk"]["diskSizeGB"],
    ];
    let least = sizes.iter().find_map(|size| size.as_i64()).unwrap_or(0);
    if let Some(size) = shape
        .os_disk
        .as_ref()
        .and_then(|disk| disk.disk.size_gb)
        .filter(|size| *size < least)
    {
        let detail =
            format!("The image has {least} GiB, and size_gb is {size}. Write {least} at least.");
        found.misfit(
            Path::of("azure.os_disk.size_gb"),
            "Disk is smaller than the image",
            detail,
        );
    }
}
