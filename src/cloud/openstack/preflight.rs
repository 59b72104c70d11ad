//! What only the cloud knows, asked before the first machine is touched: names, and room.
//!
//! In: image, shape, how many servers are to come. Out: ids; or every problem, on its attribute.
//! See: Compute API 2.1 `GET /limits`, `/os-keypairs`, Network API 2.0 `GET /quotas`.

use serde_json::Value as Json;

use super::api::{NEUTRON, NOVA, Session};
use super::names::{self, Flavor, Ids, Image, Names, SECURITY_GROUPS};
use super::shape::{ATTRIBUTE, Shape};
use crate::http::api::Call;
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::{
    Answered, CloudError, Findings, Growth, Kind, Named, Refusal, absent,
};

/// Every problem at once; and what the names stand for, where each stands for something. Where
/// nothing is to be created, only what changes in place is asked about: the pool of floating
/// addresses.
pub(super) async fn check(
    session: &Session,
    image_name: &str,
    shape: &Shape,
    growth: Growth,
) -> Answered<(Diagnostics, Option<Ids>)> {
    let mut found = Findings::new(refusal);
    if growth.created == 0 {
        found.of(names::pool(session, shape).await)?;
        return Ok((found.told(), None));
    }
    if session.insecure {
        found.push(Diagnostic::warning(
            "Certificates of OpenStack are not checked",
            "Anybody on the way can read and change what is asked. Name the certificate authority in openstack.cacert_file of the provider \
             block and take insecure (or verify: false in clouds.yaml) out.",
        ));
    }
    let names = Names::look_up(session, image_name, shape, &mut found).await?;
    for group in &shape.security_groups {
        found.of(SECURITY_GROUPS.id(session, Named::of(group)).await)?;
    }
    if names.pool.is_some() {
        few_addresses(session, growth, &mut found).await;
    }
    if shape.boot_volume.is_some() && !session.has_volumes() {
        found.misfit(
            Path::of("openstack.boot_volume"),
            "OpenStack has no volumes",
            "The service catalogue has no block storage (Cinder). Leave boot_volume out: the servers then have the flavor's own disk.",
        );
    }
    for (named, action, path, what, attribute, rest) in [
        (
            &shape.key_pair,
            "Nova GET os-keypairs",
            "os-keypairs",
            "key pair",
            "openstack.key_pair",
            ". Key pairs belong to a user, not to a project. Name one of this user's key pairs.",
        ),
        (
            &shape.server_group_id,
            "Nova GET os-server-groups",
            "os-server-groups",
            "server group",
            "openstack.server_group_id",
            " in this project. Create it first, or correct the id.",
        ),
    ] {
        let Some(name) = named else {
            continue;
        };
        let call = Call::get(format!("{path}/{name}"));
        let answer = absent(session.send(NOVA, action, name, call).await);
        if let Some(None) = found.of(answer)? {
            let summary = format!("OpenStack has no such {what}");
            let detail = format!("There is no {name:?}{rest}");
            found.misfit(Path::of(attribute), summary, detail);
        }
    }
    if !shape.availability_zones.is_empty() {
        let call = Call::get("os-availability-zone");
        let action = "Nova GET os-availability-zone";
        let answer = session.send(NOVA, action, "the zones", call);
        if let Some(answer) = found.of(answer.await)? {
            missing_zones(&answer, &shape.availability_zones, &mut found);
        }
    }
    if let (Some(image), Some(flavor)) = (&names.image, &names.flavor) {
        misfit(image, flavor, shape, &mut found);
    }
    if let Some(flavor) = &names.flavor {
        let call = Call::get("limits");
        let answer = session.send(NOVA, "Nova GET limits", "the quota", call);
        if let Some(answer) = found.of(answer.await)? {
            lack(&answer["limits"]["absolute"], flavor, growth, &mut found);
        }
    }
    let ids = match found.has_errors() {
        true => None,
        false => names.ids(shape),
    };
    Ok((found.told(), ids))
}

/// A call that is forbidden for one name is so for all.
fn refusal(error: &CloudError) -> Option<Refusal> {
    Some(Refusal {
        cause: match error.kind {
            Kind::Forbidden => error.action.to_owned(),
            _ => error.to_string(),
        },
        summary: "OpenStack refused before anything was changed",
        advice: "Nothing was created or deleted.",
    })
}

/// A warning where there may be too few floating addresses: those of machines that go are taken
/// again. Not every user may ask.
async fn few_addresses(session: &Session, growth: Growth, found: &mut Findings) {
    let Some(project) = session.project() else {
        return;
    };
    let call = Call::get(format!("quotas/{project}/details.json"));
    let answer = session.send(NEUTRON, "Neutron GET quotas", "the quota", call);
    let quota = answer.await.unwrap_or_default()["quota"]["floatingip"].take();
    let (Some(most @ 0..), Some(used)) = (quota["limit"].as_i64(), quota["used"].as_i64()) else {
        return;
    };
    let left = usize::try_from(most.saturating_sub(used)).unwrap_or(0);
    let summary = "Quota of floating IPs may not be enough";
    let at = Path::of(ATTRIBUTE);
    found.room(growth, left, (summary, None), Some(at), |more, advice| {
        format!(
            "The project may have {most} and uses {used}; {more} more machines than now are to exist at a time. {advice}Ask for a larger \
             quota, or choose fewer machines."
        )
    });
}

/// An image that is not ready, or larger than the flavor.
fn misfit(image: &Image, flavor: &Flavor, shape: &Shape, found: &mut Findings) {
    let id = &image.id;
    if image.status != "active" {
        let says = format!("Glance says {} of image {id}.", image.status);
        let detail = format!("{says} Wait until it is active, or name another image.");
        found.misfit(Path::of("image"), "Image is not ready", detail);
    }
    let volume = shape.boot_volume.as_ref();
    let disk = volume.map_or(flavor.disk, |volume| volume.size);
    let name = match flavor.name.as_str() {
        "" => &flavor.id,
        name => name,
    };
    for (what, needed, has, unit) in [
        ("disk", image.min_disk, disk, "GiB"),
        ("memory", image.min_ram, flavor.ram, "MiB"),
    ] {
        // A flavor without a disk of its own takes the image's size.
        if needed > has && has > 0 {
            found.misfit(
                Path::of("openstack"),
                format!("Image needs more {what} than the flavor has"),
                format!(
                    "Image {id} needs {needed} {unit}, and flavor {name} has {has} {unit}. Choose a larger one."
                ),
            );
        }
    }
}

fn lack(limits: &Json, flavor: &Flavor, growth: Growth, found: &mut Findings) {
    for (what, most, used, each) in [
        ("instances", "Instances", "Instances", 1),
        ("cores", "Cores", "Cores", flavor.vcpus),
        ("MiB of memory", "RAMSize", "RAM", flavor.ram),
    ] {
        let most = limits[format!("maxTotal{most}")].as_i64();
        let used = limits[format!("total{used}Used")].as_i64();
        if let (Some(most), Some(used)) = (most, used) {
            found.quota(growth, what, [most, used, each]);
        }
    }
}

fn missing_zones(answer: &Json, wanted: &[String], found: &mut Findings) {
    let zones = answer["availabilityZoneInfo"].as_array();
    let zones = zones.into_iter().flatten();
    let known: Vec<&str> = zones
        .filter(|zone| zone["zoneState"]["available"].as_bool() != Some(false))
        .filter_map(|zone| zone["zoneName"].as_str())
        .collect();
    let at = Path::of("openstack.availability_zones");
    let summary = "OpenStack has no such availability zone";
    found.missing(&at, wanted, &known, summary, |zone| {
        let known = known.join(", ");
        format!("It has no {zone:?}. There are {known}. Name one of these.")
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Severity;
    use serde_json::json;

    #[test]
    fn a_call_that_is_forbidden_is_told_once_and_every_other_refusal() {
        let mut found = Findings::new(refusal);
        for (action, name, kind) in [
            ("Neutron GET networks", "public", Kind::Forbidden),
            ("Neutron GET networks", "workers", Kind::Forbidden),
            ("Nova GET limits", "the quota", Kind::Forbidden),
            ("Nova GET flavors", "small", Kind::BadRequest),
            ("Nova GET flavors", "large", Kind::BadRequest),
        ] {
            let error = CloudError::new(kind, action, name, "no");
            assert!(found.of::<()>(Err(error)).unwrap().is_none());
        }
        let problems = found.told();
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
            let mut found = Findings::new(refusal);
            lack(&limits, &flavor, Growth::by(3), &mut found);
            let severities: Vec<Severity> = found
                .told()
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
        let mut found = Findings::new(refusal);
        missing_zones(&answer, &["a".to_owned(), "b".to_owned()], &mut found);
        let problems = found.told();
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
}
