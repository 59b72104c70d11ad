//! What Compute Engine is asked and what its answers mean, without it. `UPDATE=1` rewrites the
//! golden bodies in `tests/fixtures/gcp`.

use serde_json::{Value as Json, json};

use super::request::{insert, metadata, request_id};
use super::*;
use crate::cloud::tests::{are_as_recorded, complete, mark};
use crate::provider::{Model as _, Value};
use crate::worker_group::cloud::{Meaning, UID};

fn shape(fields: &Json) -> Value {
    let mut whole = json!({"zones": ["europe-west3-a"], "machine_type": "e2-small"});
    let fields = fields.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(fields);
    complete(&shape::group_schema(), &whole)
}

fn spec<'a>(mark: &'a Mark, shape: &'a Value) -> Spec<'a> {
    Spec {
        name: "workers-k3x9-0",
        attempt: 0,
        ordinal: 0,
        mark,
        image: "projects/kinvolk-public/global/images/flatcar-stable-4593-2-5",
        user_data: b"{}",
        shape,
    }
}

fn body(fields: &Json) -> Json {
    let (mark, shape) = (mark(), shape(fields));
    let spec = spec(&mark, &shape);
    let shape = Shape::from_value(spec.shape).unwrap();
    insert(&spec, &shape, "{}", &shape.zones[0])
}

/// What Compute Engine makes of a body, as far as it is asked for.
fn made(body: &Json) -> Instance {
    let mut made = body.clone();
    for (key, value) in [
        ("id", json!("5000000000000000001")),
        (
            "zone",
            json!("https://www.googleapis.com/compute/v1/projects/p/zones/europe-west3-a"),
        ),
        ("status", json!("RUNNING")),
        ("creationTimestamp", json!("2026-11-24T01:00:01.123-08:00")),
        ("labelFingerprint", json!("AAAA")),
    ] {
        made[key] = value;
    }
    serde_json::from_value(made).unwrap()
}

#[test]
fn bodies_are_as_recorded() {
    are_as_recorded("gcp", 14, |fields| {
        let body = body(&serde_json::from_str(fields).unwrap());
        serde_json::to_string_pretty(&body).unwrap() + "\n"
    });
}

#[test]
fn a_request_is_the_same_for_the_same_machine_attempt_zone_and_image() {
    let (mark, shape) = (mark(), shape(&json!({})));
    let base = || spec(&mark, &shape);
    let first = request_id(&base(), "a", "");
    let mut others = vec![
        request_id(&base(), "b", ""),
        request_id(&base(), "a", "operation-1"),
    ];
    others.push(request_id(
        &Spec {
            attempt: 1,
            ..base()
        },
        "a",
        "",
    ));
    others.push(request_id(
        &Spec {
            name: "workers-k3x9-1",
            ..base()
        },
        "a",
        "",
    ));
    others.push(request_id(
        &Spec {
            image: "other",
            ..base()
        },
        "a",
        "",
    ));
    for other in others {
        assert_ne!(first, other);
    }
    assert_eq!(
        first,
        request_id(
            &Spec {
                user_data: b"",
                ..base()
            },
            "a",
            ""
        )
    );
    let lengths: Vec<usize> = first.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
}

#[test]
fn an_instance_is_a_machine_with_all_that_it_says() {
    let labels: BTreeMap<String, String> = (0..25)
        .map(|n| (format!("team-{n}"), format!("v{n}")))
        .collect();
    let fields = json!({
        "labels": labels, "metadata": {"a": "1"}, "network_tags": ["web", "ssh"], "deletion_protection": true,
        "instance_groups": ["projects/p/zones/europe-west3-a/instanceGroups/web", "projects/p/zones/europe-west3-b/instanceGroups/web"],
    });
    let (mark, written) = (mark(), shape(&fields));
    let parsed = Shape::from_value(&written).unwrap();
    let mut body = body(&fields);
    body["networkInterfaces"] =
        json!([{"networkIP": "10.0.0.7", "accessConfigs": [{"natIP": "203.0.113.9"}]}]);
    body["labels"]["stranger"] = json!("1");
    let instance = made(&body);
    assert!(instance.labels.len() <= 64, "{}", instance.labels.len());
    assert!(
        instance.labels.values().all(|value| is_label_value(value)),
        "{:?}",
        instance.labels
    );
    let machine = instance.machine().unwrap();
    assert_eq!(machine.id, "europe-west3-a/5000000000000000001");
    assert_eq!(
        (machine.name.as_str(), machine.zone.as_str()),
        ("workers-k3x9-0", "europe-west3-a")
    );
    assert_eq!(machine.mark, mark);
    assert_eq!(machine.image, spec(&mark, &written).image);
    assert_eq!(machine.addresses, ["10.0.0.7", "203.0.113.9"]);
    let created = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801);
    assert_eq!(machine.created, Some(created));
    for (key, value) in Facet::wanted(FACETS, &parsed) {
        assert_eq!(machine.observed.get(&key), Some(&value), "{key}");
    }
    assert_eq!(machine.observed.get("labels.stranger"), None);
    let claims: Vec<String> = instance.claims().into_iter().collect();
    assert_eq!(claims, ["europe-west3-a/instanceGroups/web"]);
    assert!(instance.is_of(&spec(&mark, &written)));
    let other = Spec {
        attempt: 1,
        ..spec(&mark, &written)
    };
    assert!(!instance.is_of(&other));
}

#[test]
fn labels_of_the_user_come_and_go_and_those_of_others_stay() {
    let mut body = body(&json!({"labels": {"team": "a", "cost": "1"}}));
    body["labels"]["stranger"] = json!("1");
    let instance = made(&body);
    let saved = Mark {
        unsaved: false,
        proof: String::new(),
        ..mark()
    };
    let with = instance.labels_with(&saved, None);
    assert_eq!(with["flatcar-unsaved"], "false-0f3c9a1e5b7d2468");
    assert_eq!(with["flatcar-proof"], mark().proof);
    assert_eq!(
        (with["team"].as_str(), with["stranger"].as_str()),
        ("a", "1")
    );
    let now = Shape::from_value(&shape(&json!({"labels": {"team": "b"}}))).unwrap();
    let claims = [instance::claim("europe-west3-a", "web")].into();
    let with = instance.labels_with(&saved, Some((&now, &claims)));
    assert_eq!(with["flatcar-instance-group-0"], "web");
    assert_eq!(
        (with["team"].as_str(), with["stranger"].as_str()),
        ("b", "1")
    );
    assert_eq!(with.get("cost"), None);
    let none = Shape::from_value(&shape(&json!({}))).unwrap();
    let mut instance = instance;
    instance.labels = with;
    let with = instance.labels_with(&saved, Some((&none, &BTreeSet::new())));
    assert_eq!(with.get("flatcar-instance-group-0"), None);
    assert_eq!(with.get("flatcar-labels-0"), None);
    assert_eq!(with["stranger"], "1");
}

#[test]
fn an_instance_without_a_part_of_its_mark_is_nobodys_and_is_found_with_the_rest() {
    let mut body = body(&json!({}));
    body["labels"].as_object_mut().unwrap().remove(UID);
    let instance = made(&body);
    assert!(instance.machine().is_none());
    let found = instance.found();
    assert_eq!(
        found.mark,
        Mark {
            uid: String::new(),
            ..mark()
        }
    );
    assert_eq!(found.name, "workers-k3x9-0");
}

#[test]
fn a_status_is_a_phase() {
    for (status, phase) in [
        ("PROVISIONING", Phase::Pending),
        ("STAGING", Phase::Pending),
        ("RUNNING", Phase::Running),
        ("REPAIRING", Phase::Pending),
        ("STOPPING", Phase::Stopped),
        ("TERMINATED", Phase::Stopped),
        ("SUSPENDED", Phase::Stopped),
        ("DEPROVISIONING", Phase::Deleting),
        ("A_NEW_ONE", Phase::Running),
    ] {
        let mut instance = made(&body(&json!({})));
        instance.status = status.to_owned();
        let machine = instance.found();
        assert_eq!(machine.phase, phase, "{status}");
        assert_eq!(
            machine.message.is_some(),
            phase == Phase::Stopped,
            "{status}"
        );
    }
}

#[test]
fn metadata_list_the_users_and_keep_the_rest() {
    let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let items = metadata(&own(&[("a", "1"), ("b", "2")]), own(&[("user-data", "{}")]));
    let expected = json!([
        {"key": "a", "value": "1"}, {"key": "b", "value": "2"}, {"key": "flatcar-metadata-keys", "value": "a,b"},
        {"key": "user-data", "value": "{}"},
    ]);
    assert_eq!(json!(items), expected);
}

#[test]
fn refusals_mean_what_googles_own_words_say() {
    use Kind::{AlreadyExists, BadRequest, Forbidden, NotFound, Quota, RateLimit, Unavailable};
    for (status, code, words, kind, blamed) in [
        (
            Some(503),
            "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            "no room",
            Quota,
            None,
        ),
        (
            Some(403),
            "QUOTA_EXCEEDED",
            "Quota 'CPUS' exceeded.",
            Quota,
            None,
        ),
        (
            Some(403),
            "",
            "Quota 'CPUS' exceeded. (quotaExceeded)",
            Quota,
            None,
        ),
        (
            Some(403),
            "",
            "Rate Limit Exceeded (rateLimitExceeded)",
            RateLimit,
            None,
        ),
        (
            Some(403),
            "",
            "Required 'compute.instances.create' permission (forbidden)",
            Forbidden,
            None,
        ),
        (
            Some(409),
            "",
            "The resource 'x' already exists (alreadyExists)",
            AlreadyExists,
            None,
        ),
        (
            Some(412),
            "",
            "Labels fingerprint either invalid (conditionNotMet)",
            Unavailable,
            None,
        ),
        (
            Some(400),
            "",
            "The resource 'x' is not ready (resourceNotReady)",
            RateLimit,
            None,
        ),
        (
            Some(404),
            "",
            "The resource 'projects/p/zones/a/instances/b' was not found (notFound)",
            NotFound,
            None,
        ),
        (
            Some(404),
            "",
            "The resource 'projects/p/global/images/b' was not found (notFound)",
            BadRequest,
            Some("image"),
        ),
        (
            Some(400),
            "",
            "Invalid value for field 'zone': 'x'. Unknown zone. (invalid)",
            BadRequest,
            Some("gcp.zones"),
        ),
        (
            Some(400),
            "",
            "Invalid value for field 'resource.machineType': 'x'. (invalid)",
            BadRequest,
            Some("gcp.machine_type"),
        ),
        (
            Some(400),
            "",
            "Resource cannot be deleted if it's protected against deletion. (invalid)",
            BadRequest,
            Some("gcp.deletion_protection"),
        ),
        (
            Some(500),
            "",
            "Internal error (backendError)",
            Unavailable,
            None,
        ),
    ] {
        let (told, attribute) = Meaning::find(api::MEANINGS, status, code, words);
        let attribute = attribute.filter(|_| matches!(told, BadRequest | NotFound));
        assert_eq!(
            (told, attribute),
            (kind, blamed),
            "{status:?} {code} {words}"
        );
    }
}

#[test]
fn a_shape_that_cannot_be_is_refused_on_its_attribute() {
    let disk = |fields: Json| {
        let mut disk = json!({"device_name": "data", "size_gb": 10});
        disk.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        disk
    };
    for (written, blamed) in [
        (json!({}), vec![]),
        (json!({"zones": ["a-b", "a-b"]}), vec!["gcp.zones[1]"]),
        (json!({"zones": ["A"]}), vec!["gcp.zones[0]"]),
        (
            json!({"machine_type": "zones/a/machineTypes/b"}),
            vec!["gcp.machine_type"],
        ),
        (
            json!({"labels": {"team": "A", "flatcar-uid": "x", "Team": "x"}}),
            vec![
                "gcp.labels[\"Team\"]",
                "gcp.labels[\"flatcar-uid\"]",
                "gcp.labels[\"team\"]",
            ],
        ),
        (
            json!({"metadata": {"user-data": "x", "a b": "x", "ssh-keys": "A b"}}),
            vec!["gcp.metadata[\"a b\"]", "gcp.metadata[\"user-data\"]"],
        ),
        (
            json!({"data_disks": [disk(json!({})), disk(json!({"type": "local-ssd"}))]}),
            vec!["gcp.data_disks[1].size_gb", "gcp.data_disks[1].device_name"],
        ),
        (
            json!({"data_disks": [disk(json!({"size_gb": null}))]}),
            vec!["gcp.data_disks[0].size_gb"],
        ),
        (
            json!({"data_disks": [disk(json!({"size_gb": null, "type": "local-ssd"}))]}),
            vec![],
        ),
        (
            json!({"reservation_affinity": {"type": "SPECIFIC_RESERVATION"}}),
            vec!["gcp.reservation_affinity.values"],
        ),
        (
            json!({"instance_groups": ["web"]}),
            vec!["gcp.instance_groups"],
        ),
        (
            json!({"instance_groups": ["https://www.googleapis.com/compute/v1/projects/p/zones/a-b/instanceGroups/web"]}),
            vec![],
        ),
        (json!({"network_tags": ["Web"]}), vec!["gcp.network_tags"]),
        (json!({"subnetwork": " "}), vec!["gcp.subnetwork"]),
    ] {
        let value = shape(&written);
        let config = Value::Map([("gcp".to_owned(), value.clone())].into());
        let mut problems = crate::provider::check(&[shape::group_schema()], &config);
        problems.extend(shape::validate(&value).under(&crate::provider::Path::of("gcp")));
        let paths = problems
            .0
            .into_iter()
            .filter_map(|problem| Some(problem.path?.to_string()));
        assert_eq!(paths.collect::<Vec<_>>(), blamed, "{written}");
    }
}
