//! What only the cloud knows: what names stand for, and whether there is room, asked before the first machine is touched.
//!
//! In: an image, a shape, how many servers are to come. Out: ids; or every problem, on its attribute.
//! See: Image API 2 `GET /images`, Compute API 2.1 `GET /flavors`, `/limits`, `/os-keypairs`, Network API 2.0 `GET /networks`.

use serde::Deserialize;
use serde_json::Value as Json;

use super::api::{Call, Service, Session, pages, send};
use super::shape::{Named, Shape};
use super::{bad, floating, is_uuid};
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::{CloudError, Growth, Kind};

/// An image of Glance.
#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    min_disk: i64,
    #[serde(default)]
    min_ram: i64,
}

/// A flavor of Nova.
#[derive(Deserialize)]
pub(super) struct Flavor {
    pub(super) id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ram: i64,
    #[serde(default)]
    disk: i64,
    #[serde(default)]
    vcpus: i64,
}

/// Ids of what a shape names.
pub(super) struct Ids {
    pub(super) image: String,
    pub(super) flavor: String,
    pub(super) networks: Vec<String>,
    /// The external network that floating addresses are of, by name and by id.
    pub(super) pool: Option<(String, String)>,
}

/// By id or name; two of one name are refused, for which one boots would be chance.
pub(super) async fn image(session: &Session, named: &Named) -> Result<Image, CloudError> {
    const ACTION: &str = "Glance GET images";
    let missing = |object: &str| bad(object, "no such image in this project", Some("image"));
    match named {
        Named::Id(id) => {
            let call = Call::get(Service::Image, format!("images/{id}"));
            let answer = absent(send(session, ACTION, id, call).await)?;
            read(answer.ok_or_else(|| missing(id))?, ACTION)
        }
        Named::Name(name) => {
            let call = Call::get(Service::Image, "images").query("name", name.clone());
            let mut answer = send(session, ACTION, name, call).await?;
            let found: Vec<Image> = read(answer["images"].take(), ACTION)?;
            one(found, name, "image", "image")
        }
    }
}

/// By id or name.
pub(super) async fn flavor(session: &Session, named: &Named) -> Result<Flavor, CloudError> {
    const ACTION: &str = "Nova GET flavors";
    match named {
        Named::Id(id) => {
            let call = Call::get(Service::Compute, format!("flavors/{id}"));
            let answer = absent(send(session, ACTION, id, call).await)?;
            let missing = || bad(id, "no such flavor", Some("openstack.flavor_id"));
            read(answer.ok_or_else(missing)?["flavor"].take(), ACTION)
        }
        Named::Name(name) => {
            let call = || Call::get(Service::Compute, "flavors/detail");
            let all = pages(session, ACTION, name, "flavors", call).await?;
            let all: Vec<Flavor> = read(all.into(), ACTION)?;
            let known: Vec<String> = all.iter().map(|flavor| flavor.name.clone()).collect();
            all.into_iter()
                .find(|flavor| flavor.name == *name)
                .ok_or_else(|| {
                    let message = format!("no such flavor; there are {}", known.join(", "));
                    bad(name, &message, Some("openstack.flavor_name"))
                })
        }
    }
}

/// The id of a network by id or name.
pub(super) async fn network(session: &Session, named: &Named) -> Result<String, CloudError> {
    const ACTION: &str = "Neutron GET networks";
    let (key, value) = match named {
        Named::Id(id) => ("id", id),
        Named::Name(name) => ("name", name),
    };
    let call = Call::get(Service::Network, "networks")
        .query(key, value.clone())
        .query("fields", "id");
    let mut answer = send(session, ACTION, value, call).await?;
    let found: Vec<Id> = read(answer["networks"].take(), ACTION)?;
    one(found, value, "network", "openstack.networks").map(|network| network.id)
}

/// The id of an external network by id or name.
pub(super) async fn pool(session: &Session, pool: &str) -> Result<String, CloudError> {
    const ACTION: &str = "Neutron GET networks";
    let key = if is_uuid(pool) { "id" } else { "name" };
    let call = Call::get(Service::Network, "networks")
        .query(key, pool)
        .query("router:external", "true")
        .query("fields", "id");
    let mut answer = send(session, ACTION, pool, call).await?;
    let found: Vec<Id> = read(answer["networks"].take(), ACTION)?;
    one(found, pool, "external network", floating::ATTRIBUTE).map(|network| network.id)
}

/// Nova takes names and ids, and of two of one name neither.
pub(super) async fn security_group(session: &Session, group: &str) -> Result<String, CloudError> {
    const ACTION: &str = "Neutron GET security-groups";
    let key = if is_uuid(group) { "id" } else { "name" };
    let call = Call::get(Service::Network, "security-groups")
        .query(key, group)
        .query("fields", "id");
    let mut answer = send(session, ACTION, group, call).await?;
    let found: Vec<Id> = read(answer["security_groups"].take(), ACTION)?;
    one(found, group, "security group", "openstack.security_groups").map(|group| group.id)
}

/// The id of the project that a session is scoped to.
pub(super) fn project_of(session: &Session) -> Option<String> {
    session.sdk.get_auth_info()?.token.project?.id
}

/// A warning where there may be too few floating addresses: those of machines that go are taken again. Not every user may ask.
async fn few_addresses(session: &Session, growth: Growth) -> Option<Diagnostic> {
    let project = project_of(session)?;
    let call = Call::get(Service::Network, format!("quotas/{project}/details.json"));
    let answer = send(session, "Neutron GET quotas", "the quota", call).await;
    let quota = &answer.ok()?["quota"]["floatingip"];
    let (most, used) = (quota["limit"].as_i64()?, quota["used"].as_i64()?);
    if most < 0 {
        return None;
    }
    let left = usize::try_from(most.saturating_sub(used)).unwrap_or(0);
    let (advice, more) = (growth.advice(left)?, growth.at_once);
    let warning = Diagnostic::warning(
        "Quota of floating IPs may not be enough",
        format!(
            "The project may have {most} and uses {used}; {more} more machines than now are to exist at a time. {advice}Ask for a larger \
             quota, or choose fewer machines."
        ),
    );
    Some(warning.at(Path::of(floating::ATTRIBUTE)))
}

/// Whether the catalogue has block storage.
fn has_volumes(session: &Session) -> bool {
    let catalog = session
        .sdk
        .get_auth_info()
        .and_then(|info| info.token.catalog);
    catalog.is_none_or(|services| {
        services.iter().any(|service| {
            matches!(
                service.service_type.as_str(),
                "volumev3" | "volumev2" | "volume" | "block-storage" | "block-store"
            )
        })
    })
}

/// Every problem at once; and what the names stand for, where each stands for something. Where nothing is to be created, only what changes
/// in place is asked about: the pool of floating addresses.
pub(super) async fn check(
    session: &Session,
    image_name: &str,
    shape: &Shape,
    growth: Growth,
) -> Result<(Diagnostics, Option<Ids>), CloudError> {
    let mut problems = Diagnostics::none();
    let mut has_pool = None;
    if let Some(named) = &shape.floating_ip_pool {
        let id = keep(pool(session, named).await, &mut problems)?;
        has_pool = id.map(|id| (named.clone(), id));
    }
    if growth.created == 0 {
        return Ok((problems, None));
    }
    if session.insecure {
        problems.push(Diagnostic::warning(
            "Certificates of OpenStack are not checked",
            "Anybody on the way can read and change what is asked. Name the certificate authority in openstack.cacert_file of the provider \
             block and take insecure (or verify: false in clouds.yaml) out.",
        ));
    }
    let image = keep(image(session, &Named::of(image_name)).await, &mut problems)?;
    let flavor = keep(flavor(session, &shape.flavor()).await, &mut problems)?;
    let mut networks = Vec::new();
    for network_of in &shape.networks {
        let id = keep(network(session, &network_of.named).await, &mut problems)?;
        networks.extend(id);
    }
    for group in &shape.security_groups {
        keep(security_group(session, group).await, &mut problems)?;
    }
    if has_pool.is_some()
        && let Some(problem) = few_addresses(session, growth).await
    {
        problems.push(problem);
    }
    if shape.boot_volume.is_some() && !has_volumes(session) {
        problems.push(
            Diagnostic::error(
                "OpenStack has no volumes",
                "The service catalogue has no block storage (Cinder). Leave boot_volume out: the servers then have the flavor's own disk.",
            )
            .at(Path::of("openstack.boot_volume")),
        );
    }
    if let Some(key) = &shape.key_pair {
        let call = Call::get(Service::Compute, format!("os-keypairs/{key}"));
        let answer = absent(send(session, "Nova GET os-keypairs", key, call).await);
        if keep(answer, &mut problems)?.is_some_and(|found| found.is_none()) {
            problems.push(
                Diagnostic::error(
                    "OpenStack has no such key pair",
                    format!("There is no {key:?}. Key pairs belong to a user, not to a project. Name one of this user's key pairs."),
                )
                .at(Path::of("openstack.key_pair")),
            );
        }
    }
    if !shape.availability_zones.is_empty() {
        let call = Call::get(Service::Compute, "os-availability-zone");
        let answer = send(session, "Nova GET os-availability-zone", "the zones", call).await;
        if let Some(answer) = keep(answer, &mut problems)? {
            problems.extend(missing_zones(&answer, &shape.availability_zones));
        }
    }
    if let Some(group) = &shape.server_group_id {
        let call = Call::get(Service::Compute, format!("os-server-groups/{group}"));
        let answer = absent(send(session, "Nova GET os-server-groups", group, call).await);
        if keep(answer, &mut problems)?.is_some_and(|found| found.is_none()) {
            problems.push(
                Diagnostic::error(
                    "OpenStack has no such server group",
                    format!(
                        "There is no {group:?} in this project. Create it first, or correct the id."
                    ),
                )
                .at(Path::of("openstack.server_group_id")),
            );
        }
    }
    if let (Some(image), Some(flavor)) = (&image, &flavor) {
        problems.extend(misfit(image, flavor, shape));
    }
    if let Some(flavor) = &flavor {
        let call = Call::get(Service::Compute, "limits");
        let answer = send(session, "Nova GET limits", "the quota", call).await;
        if let Some(answer) = keep(answer, &mut problems)? {
            problems.extend(lack(&answer["limits"]["absolute"], flavor, growth));
        }
    }
    let ids = match (image, flavor) {
        (Some(image), Some(flavor)) if !problems.has_errors() => Some(Ids {
            image: image.id,
            flavor: flavor.id,
            networks,
            pool: has_pool,
        }),
        _ => None,
    };
    Ok((problems, ids))
}

/// An image that is not ready, or larger than the flavor.
fn misfit(image: &Image, flavor: &Flavor, shape: &Shape) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if image.status != "active" {
        problems.push(
            Diagnostic::error(
                "Image is not ready",
                format!(
                    "Glance says {} of image {}. Wait until it is active, or name another image.",
                    image.status, image.id
                ),
            )
            .at(Path::of("image")),
        );
    }
    let disk = shape
        .boot_volume
        .as_ref()
        .map_or(flavor.disk, |volume| volume.size);
    for (what, needed, has, unit) in [
        ("disk", image.min_disk, disk, "GiB"),
        ("memory", image.min_ram, flavor.ram, "MiB"),
    ] {
        // A flavor without a disk of its own takes the image's size.
        if needed > has && has > 0 {
            problems.push(
                Diagnostic::error(
                    format!("Image needs more {what} than the flavor has"),
                    format!(
                        "Image {} needs {needed} {unit}, and flavor {} has {has} {unit}. Choose a larger one.",
                        image.id,
                        match flavor.name.as_str() {
                            "" => &flavor.id,
                            name => name,
                        }
                    ),
                )
                .at(Path::of("openstack")),
            );
        }
    }
    problems
}

/// No room for one machine is an error; room for some is a warning, for a roll gives back what it takes.
fn lack(limits: &Json, flavor: &Flavor, growth: Growth) -> Diagnostics {
    let more = growth.at_once;
    let mut problems = Diagnostics::none();
    for (what, most, used, each) in [
        ("instances", "maxTotalInstances", "totalInstancesUsed", 1),
        ("cores", "maxTotalCores", "totalCoresUsed", flavor.vcpus),
        (
            "MiB of memory",
            "maxTotalRAMSize",
            "totalRAMUsed",
            flavor.ram,
        ),
    ] {
        let (Some(most), Some(used)) = (limits[most].as_i64(), limits[used].as_i64()) else {
            continue;
        };
        // -1: unlimited.
        if most < 0 || each <= 0 {
            continue;
        }
        let left = usize::try_from(most.saturating_sub(used).max(0) / each).unwrap_or(usize::MAX);
        let Some(advice) = growth.advice(left) else {
            continue;
        };
        let detail = format!(
            "The project may have {most} {what} and uses {used}; a machine takes {each}, and {more} more than now are to exist at a time. \
             {advice}Ask for a larger quota, or choose fewer or smaller machines."
        );
        problems.push(match used.saturating_add(each) > most {
            true => Diagnostic::error(format!("Quota of {what} is exhausted"), detail),
            false => Diagnostic::warning(format!("Quota of {what} may not be enough"), detail),
        });
    }
    problems
}

fn missing_zones(answer: &Json, wanted: &[String]) -> Diagnostics {
    let known: Vec<&str> = answer["availabilityZoneInfo"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|zone| zone["zoneState"]["available"].as_bool() != Some(false))
        .filter_map(|zone| zone["zoneName"].as_str())
        .collect();
    let missing = wanted
        .iter()
        .enumerate()
        .filter(|(_, zone)| !known.contains(&zone.as_str()));
    Diagnostics(
        missing
            .map(|(number, zone)| {
                Diagnostic::error(
                    "OpenStack has no such availability zone",
                    format!(
                        "It has no {zone:?}. There are {}. Name one of these.",
                        known.join(", ")
                    ),
                )
                .at(Path::of("openstack.availability_zones").index(number))
            })
            .collect(),
    )
}

/// # Errors
/// What is worth another try.
fn keep<T>(
    answer: Result<T, CloudError>,
    problems: &mut Diagnostics,
) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_retryable() => Err(error),
        Err(error) => {
            // A call that is forbidden for one name is so for all: said once.
            let is_said = |problem: &Diagnostic| {
                error.kind == Kind::Forbidden && problem.detail.starts_with(error.action)
            };
            if !problems.0.iter().any(is_said) {
                problems.push(told(&error));
            }
            Ok(None)
        }
    }
}

fn told(error: &CloudError) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "OpenStack refused before anything was changed",
        format!("{error}. Nothing was created or deleted."),
    );
    match error.attribute {
        Some(attribute) => diagnostic.at(Path::of(attribute)),
        None => diagnostic,
    }
}

/// A definite not-found as `None`.
fn absent(answer: Result<Json, CloudError>) -> Result<Option<Json>, CloudError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn one<T>(
    mut found: Vec<T>,
    name: &str,
    what: &str,
    attribute: &'static str,
) -> Result<T, CloudError> {
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(bad(
            name,
            &format!("no such {what} in this project"),
            Some(attribute),
        )),
        (Some(_), more) => Err(bad(
            name,
            &format!("{} {what}s of this name; give the id", more + 1),
            Some(attribute),
        )),
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(
    answer: Json,
    action: &'static str,
) -> Result<T, CloudError> {
    serde_json::from_value(answer).map_err(|error| CloudError {
        action,
        kind: Kind::Unavailable,
        ..bad("the cloud", &format!("something unexpected: {error}"), None)
    })
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Severity;
    use serde_json::json;

    #[test]
    fn a_call_that_is_forbidden_is_told_once_and_every_other_refusal() {
        let mut problems = Diagnostics::none();
        for (action, name, kind) in [
            ("Neutron GET networks", "public", Kind::Forbidden),
            ("Neutron GET networks", "workers", Kind::Forbidden),
            ("Nova GET limits", "the quota", Kind::Forbidden),
            ("Nova GET flavors", "small", Kind::BadRequest),
            ("Nova GET flavors", "large", Kind::BadRequest),
        ] {
            let error = CloudError {
                action,
                kind,
                ..bad(name, "no", None)
            };
            assert!(keep::<()>(Err(error), &mut problems).unwrap().is_none());
        }
        assert_eq!(problems.0.len(), 4, "{problems:?}");
    }

    #[test]
    fn a_quota_without_room_is_an_error_and_a_tight_one_a_warning() {
        let flavor: Flavor =
            serde_json::from_value(json!({"id": "1", "ram": 1000, "vcpus": 2})).unwrap();
        for (limits, expected) in [
            (
                json!({"maxTotalInstances": 10, "totalInstancesUsed": 0}),
                vec![],
            ),
            (
                json!({"maxTotalInstances": -1, "totalInstancesUsed": 90}),
                vec![],
            ),
            (
                json!({"maxTotalInstances": 2, "totalInstancesUsed": 0}),
                vec![Severity::Warning],
            ),
            (
                json!({"maxTotalInstances": 2, "totalInstancesUsed": 2}),
                vec![Severity::Error],
            ),
            (
                json!({"maxTotalCores": 3, "totalCoresUsed": 2, "maxTotalRAMSize": 2500, "totalRAMUsed": 0}),
                vec![Severity::Error, Severity::Warning],
            ),
            (json!({}), vec![]),
        ] {
            let severities: Vec<Severity> = lack(&limits, &flavor, Growth::by(3))
                .0
                .iter()
                .map(|problem| problem.severity)
                .collect();
            assert_eq!(severities, expected, "{limits}");
        }
    }

    #[test]
    fn a_zone_that_is_missing_or_down_is_told_with_those_that_there_are() {
        let answer = json!({"availabilityZoneInfo": [
            {"zoneName": "a", "zoneState": {"available": true}}, {"zoneName": "b", "zoneState": {"available": false}}]});
        let problems = missing_zones(&answer, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(problems.0.len(), 1);
        assert!(
            problems.0[0].detail.contains("There are a."),
            "{}",
            problems.0[0].detail
        );
        assert_eq!(
            problems.0[0].path.as_ref().unwrap().to_string(),
            "openstack.availability_zones[1]"
        );
    }

    #[test]
    fn two_of_one_name_are_not_guessed_between() {
        assert_eq!(one(vec![1], "x", "image", "image").unwrap(), 1);
        assert!(
            one(Vec::<u8>::new(), "x", "image", "image")
                .unwrap_err()
                .message
                .contains("no such image")
        );
        assert!(
            one(vec![1, 2], "x", "image", "image")
                .unwrap_err()
                .message
                .contains("2 images of this name")
        );
    }
}
