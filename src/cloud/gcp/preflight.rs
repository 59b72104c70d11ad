//! What only the cloud knows: zones, image, machine type, subnetwork, room, asked before the first
//! machine is touched.
//!
//! In: an image, a shape, how many machines are to come. Out: every problem, on its attribute. See:
//! Compute Engine API v1, `zones.list`, `images.get`, `machineTypes.aggregatedList`,
//! `subnetworks.get`, `regions.get`, `instanceGroups.get`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value as Json;

use super::api::{Session, elements, region_of, tail};
use super::shape::{Shape, group};
use crate::http::api::Call;
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::{
    Answered, CloudError, Findings, Growth, Kind, Refusal, absent, read,
};

/// Every problem at once. Where nothing is to be created, only what changes in place is asked
/// about.
pub(super) async fn check(
    session: &Session,
    image: &str,
    shape: &Shape,
    growth: Growth,
) -> Answered<Diagnostics> {
    let mut found = Findings::new(refusal);
    groups(session, shape, &mut found).await?;
    if growth.created == 0 {
        return Ok(found.told());
    }
    let zones = zones(session, shape, &mut found).await?;
    let image = self::image(session, image, shape, &mut found).await?;
    let kind = machine_type(session, shape, &zones, &mut found).await?;
    if let (Some(image), Some(kind)) = (&image, &kind) {
        let [of_image, of_kind] =
            [&image.architecture, &kind.architecture].map(|of| of.as_deref().unwrap_or(X86));
        if of_image != of_kind {
            let detail = format!(
                "The image is for {of_image}, and machines of type {} are {of_kind}. Choose another type or image.",
                shape.machine_type
            );
            found.misfit(
                Path::of("gcp.machine_type"),
                "Image is for another architecture",
                detail,
            );
        }
    }
    subnetwork(session, shape, &mut found).await?;
    if let Some(kind) = kind {
        room(session, shape, &kind, growth, &mut found).await;
    }
    Ok(found.told())
}

/// A call that is forbidden for one name is so for all.
fn refusal(error: &CloudError) -> Option<Refusal> {
    Some(Refusal {
        cause: match error.kind {
            Kind::Forbidden => error.action.to_owned(),
            _ => error.to_string(),
        },
        summary: "Google Cloud refused before anything was changed",
        advice: "Nothing was created or deleted.",
    })
}

/// Those of the shape that there are.
async fn zones(session: &Session, shape: &Shape, found: &mut Findings) -> Answered<Vec<String>> {
    const LIST: &str = "Compute zones.list";
    let path = session.path("zones");
    let question = || Call::get(&path).query("fields", "nextPageToken,items(name,status)");
    let take = |items: Json| match items {
        Json::Null => Ok(Vec::new()),
        items => read::<Vec<Json>>(items, LIST),
    };
    let answer = session.all(LIST, "the zones", question, take).await;
    let Some(zones) = found.of(answer)? else {
        return Ok(shape.zones.clone());
    };
    let known: Vec<&str> = zones
        .iter()
        .filter_map(|zone| zone["name"].as_str())
        .collect();
    let at = Path::of("gcp.zones");
    found.missing(
        &at,
        &shape.zones,
        &known,
        "Google Cloud has no such zone",
        |zone| {
            let region = region_of(zone);
            let near: Vec<&str> = known
                .iter()
                .copied()
                .filter(|one| region_of(one) == region)
                .collect();
            match near.is_empty() {
                true => format!("It has no {zone:?}. Look at gcloud compute zones list."),
                false => format!(
                    "It has no {zone:?}. In {region} there are {}. Name one of these.",
                    near.join(", ")
                ),
            }
        },
    );
    for zone in zones.iter().filter(|zone| zone["status"] == "DOWN") {
        let name = zone["name"].as_str().unwrap_or_default();
        if shape.zones.iter().any(|one| one == name) {
            let detail = format!(
                "Google says that {name} is down: no machine can be made there now. The other zones are tried in its place."
            );
            found.push(Diagnostic::warning("Zone is down", detail).at(at.clone()));
        }
    }
    let there = shape
        .zones
        .iter()
        .filter(|zone| known.contains(&zone.as_str()));
    Ok(there.cloned().collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    #[serde(default)]
    status: String,
    architecture: Option<String>,
    disk_size_gb: Option<String>,
    #[serde(default)]
    deprecated: Json,
}

async fn image(
    session: &Session,
    link: &str,
    shape: &Shape,
    found: &mut Findings,
) -> Answered<Option<Image>> {
    const GET: &str = "Compute images.get";
    let at = || Path::of("image");
    // Whatever host the link names, it is asked for at our own.
    let path = link.find("projects/").map(|start| &link[start..]);
    let Some(path) = path.filter(|path| path.contains("/global/images/")) else {
        let detail = format!(
            "{link:?} is none. It looks like projects/kinvolk-public/global/images/flatcar-stable-4593-2-5, what data.flatcar_image of platform gcp has as image."
        );
        found.misfit(at(), "Not a path of an image", detail);
        return Ok(None);
    };
    let call = Call::get(path).query("fields", "status,architecture,diskSizeGb,deprecated");
    let answer = match session.send(GET, link, call).await {
        Err(error) if error.kind == Kind::BadRequest || error.is_not_found() => {
            let detail = format!(
                "Google Cloud answered {}. Flatcar keeps some older images of a channel only. Name another one.",
                error.message
            );
            found.misfit(at(), "There is no such image", detail);
            return Ok(None);
        }
        answer => found.of(answer)?,
    };
    let Some(answer) = answer else {
        return Ok(None);
    };
    let image: Image = read(answer, GET)?;
    if image.status != "READY" {
        let detail = format!(
            "Google says {} of {link}. Wait until it is READY, or name another image.",
            image.status
        );
        found.misfit(at(), "Image is not ready", detail);
    }
    let replacement = image.deprecated["replacement"]
        .as_str()
        .map_or("another one", tail);
    match image.deprecated["state"].as_str() {
        Some(state @ ("OBSOLETE" | "DELETED")) => {
            let detail =
                format!("{link} is {state}: no machine can be made of it. Name {replacement}.");
            found.misfit(at(), "Image is no longer in use", detail);
        }
        Some("DEPRECATED") => {
            let detail = format!(
                "{link} is deprecated, and may vanish: no machine can be made of it then. Name {replacement} soon."
            );
            found.push(Diagnostic::warning("Image is deprecated", detail).at(at()));
        }
        _ => {}
    }
    let least = image
        .disk_size_gb
        .as_ref()
        .and_then(|size| size.parse::<i64>().ok());
    let size = shape.boot_disk.as_ref().and_then(|disk| disk.size_gb);
    if let (Some(least), Some(size)) = (least, size)
        && size < least
    {
        let detail = format!(
            "The image has {least} GB, and size_gb is {size}. Write {least} or more, or leave it out."
        );
        found.misfit(
            Path::of("gcp.boot_disk.size_gb"),
            "Boot disk is smaller than its image",
            detail,
        );
    }
    Ok(Some(image))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MachineType {
    #[serde(default)]
    zone: String,
    #[serde(default)]
    guest_cpus: i64,
    architecture: Option<String>,
}

/// One list of all zones: not each of them has each type.
async fn machine_type(
    session: &Session,
    shape: &Shape,
    zones: &[String],
    found: &mut Findings,
) -> Answered<Option<MachineType>> {
    const LIST: &str = "Compute machineTypes.aggregatedList";
    let name = &shape.machine_type;
    // A custom type is in no list: its name says what it is.
    if name.contains("custom") {
        return Ok(None);
    }
    let path = session.path("aggregated/machineTypes");
    let fields = "nextPageToken,unreachables,items/*/warning/code,items/*/machineTypes(zone,guestCpus,architecture)";
    let question = || {
        let call = Call::get(&path).query("filter", format!("name = \"{name}\""));
        call.query("fields", fields)
    };
    let take = |items| elements::<MachineType>(items, "machineTypes", LIST);
    let answer = session.all(LIST, name, question, take).await;
    let Some(types) = found.of(answer)? else {
        return Ok(None);
    };
    let places: BTreeSet<&str> = types.iter().map(|kind| tail(&kind.zone)).collect();
    let lacking: Vec<&str> = zones
        .iter()
        .map(String::as_str)
        .filter(|zone| !places.contains(zone))
        .collect();
    let (at, lacks) = (Path::of("gcp.machine_type"), lacking.join(", "));
    if lacking.len() == zones.len() && !zones.is_empty() {
        let detail = format!(
            "There is no {name} in {lacks}. Look at gcloud compute machine-types list, and name one of these."
        );
        found.misfit(at, "Zones have no such machine type", detail);
    } else if !lacking.is_empty() {
        let detail = format!(
            "There is no {name} in {lacks}: machines are made in the other zones only. Name a type that all have, or take these zones out."
        );
        found.push(Diagnostic::warning("Some zones have no such machine type", detail).at(at));
    }
    let of_shape = |kind: &MachineType| shape.zones.iter().any(|zone| zone == tail(&kind.zone));
    Ok(types.into_iter().find(of_shape))
}

async fn subnetwork(session: &Session, shape: &Shape, found: &mut Findings) -> Answered<()> {
    let Some(link) = &shape.subnetwork else {
        return Ok(());
    };
    let at = || Path::of("gcp.subnetwork");
    let regions: BTreeSet<&str> = shape.zones.iter().map(|zone| region_of(zone)).collect();
    let parts: Vec<&str> = link.split('/').collect();
    let paths: Vec<String> = match parts[..] {
        [name] => {
            let path = |region| session.path(&format!("regions/{region}/subnetworks/{name}"));
            regions.iter().map(path).collect()
        }
        [.., "regions", region, "subnetworks", name] => {
            for other in regions.iter().filter(|one| **one != region) {
                let detail = format!(
                    "{name} is in {region}, and machines of zones in {other} cannot be in it. Name zones of {region}, or a subnetwork by its name alone."
                );
                found.misfit(at(), "Subnetwork is in another region", detail);
            }
            match link.find("projects/") {
                Some(start) => vec![link[start..].to_owned()],
                None => vec![session.path(&format!("regions/{region}/subnetworks/{name}"))],
            }
        }
        _ => {
            let detail = format!("{link:?} is none. Write its name, or its self link.");
            found.misfit(at(), "Not a subnetwork", detail);
            Vec::new()
        }
    };
    for path in paths {
        let call = Call::get(path).query("fields", "name");
        let answer = session.send("Compute subnetworks.get", link, call).await;
        found.of(answer.map_err(|error| error.blaming("gcp.subnetwork")))?;
    }
    Ok(())
}

async fn groups(session: &Session, shape: &Shape, found: &mut Findings) -> Answered<()> {
    let at = || Path::of("gcp.instance_groups");
    let mut covered = BTreeSet::new();
    for link in &shape.instance_groups {
        let Some((zone, name)) = group(link) else {
            continue;
        };
        covered.insert(zone);
        let call = Call::get(session.path(&format!("zones/{zone}/instanceGroups/{name}")));
        let answer = session.send(
            "Compute instanceGroups.get",
            name,
            call.query("fields", "name"),
        );
        if let Some(None) = found.of(absent(answer.await))? {
            let detail = format!(
                "Project {} has no unmanaged instance group {name:?} in {zone}. Create it first, or correct the link.",
                session.project
            );
            found.misfit(at(), "There is no such instance group", detail);
        }
    }
    let bare = shape
        .zones
        .iter()
        .filter(|zone| !covered.contains(zone.as_str()));
    let bare: Vec<&str> = bare.map(String::as_str).collect();
    if !shape.instance_groups.is_empty() && !bare.is_empty() {
        let detail = format!(
            "An instance group is of one zone, and none is in {}: machines there get no traffic. Add one for each zone.",
            bare.join(", ")
        );
        found.push(Diagnostic::warning("Some zones have no instance group", detail).at(at()));
    }
    Ok(())
}

/// What is left in the region. Not every user may ask; and of zones in several regions nobody knows
/// which take how many.
async fn room(
    session: &Session,
    shape: &Shape,
    kind: &MachineType,
    growth: Growth,
    found: &mut Findings,
) {
    let regions: BTreeSet<&str> = shape.zones.iter().map(|zone| region_of(zone)).collect();
    let Some(region) = regions.first().filter(|_| regions.len() == 1) else {
        return;
    };
    let call = Call::get(session.path(&format!("regions/{region}"))).query("fields", "quotas");
    let answer = session.send("Compute regions.get", region, call).await;
    let answer = answer.unwrap_or_default();
    let family = shape.machine_type.split('-').next().unwrap_or_default();
    let cpus = match (shape.spot.is_some(), family) {
        (true, _) => "PREEMPTIBLE_CPUS".to_owned(),
        (_, "n1" | "e2" | "f1" | "g1") => "CPUS".to_owned(),
        (_, family) => format!("{}_CPUS", family.to_ascii_uppercase()),
    };
    let addresses = i64::from(shape.access_config.is_some());
    for (metric, what, each) in [
        ("INSTANCES", "instances", 1),
        (cpus.as_str(), cpus.as_str(), kind.guest_cpus),
        ("IN_USE_ADDRESSES", "external addresses", addresses),
    ] {
        let mut quotas = answer["quotas"].as_array().into_iter().flatten();
        if let Some(quota) = quotas.find(|quota| quota["metric"] == metric) {
            // They are counted in fractions.
            let number = |key: &str| quota[key].as_f64().map(|number| number as i64);
            if let (Some(most), Some(used)) = (number("limit"), number("usage")) {
                found.quota(growth, what, [most, used, each]);
            }
        }
    }
}

const X86: &str = "X86_64";
