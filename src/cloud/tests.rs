//! What holds for the groups of every cloud of the table.

use serde_json::{Value as Json, json};

use crate::provider::schema::{Kind, object_type};
use crate::provider::{Attribute, Model as _, Value};
use crate::worker_group::basis::{Basis, Unknown, same_shape};
use crate::worker_group::cloud::Change;
use crate::worker_group::generation::{Generation, Rolls, Written};
use crate::worker_group::model::{Chosen, Group, Private, schema};
use crate::worker_group::wanted::Wanted;

/// What a group of this configuration should be, with the schema's defaults; `None` where this
/// build lacks the cloud.
fn wanted(written: &Json) -> Option<Wanted> {
    let mut config = json!({
        "name": "w", "cluster": "prod", "replicas": 3, "image": "flatcar-1",
        "user_data": r#"{"ignition":{"version":"3.3.0"}}"#,
    });
    for (key, value) in written.as_object().unwrap() {
        config[key] = value.clone();
    }
    let attributes = schema(super::ALL).attributes;
    let known = |key: &String| attributes.iter().any(|attribute| attribute.name == key);
    if !config.as_object().unwrap().keys().all(known) {
        return None;
    }
    let kind = object_type(&attributes);
    let mut value = Value::from_json(config.to_string().as_bytes(), &kind).unwrap();
    fill(&attributes, &mut value);
    let group = Group::from_value(&value).unwrap();
    let Chosen::One(entry) = group.chosen(super::ALL) else {
        panic!("no cloud: {written}");
    };
    Some(group.wanted(entry, &Private::default()).unwrap())
}

/// As core sends an object: every attribute is there, defaults filled in.
pub(super) fn fill(attributes: &[Attribute], object: &mut Value) {
    let Value::Map(values) = object else {
        return;
    };
    for attribute in attributes {
        let value = values
            .entry(attribute.name.to_owned())
            .or_insert(Value::Null);
        if let (Value::Null, Some(default)) = (&*value, &attribute.default) {
            *value = default.clone();
        }
        match (&attribute.kind, value) {
            (Kind::Object(inner), value) => fill(inner, value),
            (Kind::ListOf(inner), Value::List(elements)) => {
                elements.iter_mut().for_each(|element| fill(inner, element));
            }
            _ => {}
        }
    }
}

/// The value of an attribute that is such an object.
#[cfg(any(
    feature = "aws",
    feature = "azure",
    feature = "gcp",
    feature = "kubevirt",
    feature = "vsphere"
))]
pub(super) fn complete(attribute: &Attribute, written: &Json) -> Value {
    let mut value = crate::provider::convert::to_value(written);
    if let Kind::Object(attributes) = &attribute.kind {
        fill(attributes, &mut value);
    }
    value
}

/// Each `.json` below `tests/fixtures/<cloud>` gives the `.txt` beside it; `UPDATE=1` rewrites
/// that. There are at least so many.
#[cfg(any(
    feature = "aws",
    feature = "azure",
    feature = "gcp",
    feature = "kubevirt",
    feature = "vsphere"
))]
pub(super) fn are_as_recorded(cloud: &str, least: usize, made: impl Fn(&str) -> String) {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut cases = 0;
    for entry in std::fs::read_dir(fixtures.join(cloud)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        cases += 1;
        let actual = made(&std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let place = golden.display();
        assert_eq!(actual, expected, "{place}; UPDATE=1 rewrites it");
    }
    assert!(cases >= least, "{cases}");
}

/// Marks that release 0.1.0 wrote on machines of these configurations. Nobody writes them any more:
/// they are never recorded anew.
const MARKS: &str = include_str!("marks.json");

fn marks() -> Vec<(Json, Generation)> {
    let rows: Vec<Json> = serde_json::from_str(MARKS).unwrap();
    let row = |row: Json| {
        let mark = Generation::parse(row["mark"].as_str().unwrap());
        (row["written"].clone(), mark)
    };
    rows.into_iter().map(row).collect()
}

#[test]
fn no_mark_of_a_release_rolls_because_of_a_new_one() {
    for (written, mark) in marks() {
        let Some(now) = wanted(&written) else {
            continue;
        };
        let private = Private::default();
        let basis = Basis::of(&now, Some((&now, &mark)), &private);
        assert_eq!(basis.generation, mark, "state stays as it is: {written}");
        assert_eq!(basis.unknown, Unknown::default(), "{written}");
        let translated = basis.translated(&mark);
        assert!(!translated.differs(&basis.generation, ALL), "{written}");
        // Without a state: machines of a creation that was cut off.
        let basis = Basis::of(&now, None, &private);
        assert_eq!(basis.translated(&mark), basis.generation, "{written}");
    }
}

/// The same with these fields of the cloud's attribute changed.
fn changed(written: &Json, changes: &Json) -> Json {
    let mut written = written.clone();
    for (cloud, fields) in changes.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            written[cloud][field] = value.clone();
        }
    }
    written
}

#[test]
fn order_and_places_roll_nothing_whatever_release_made_the_machines() {
    let network = |addresses: Json| json!({"name": "private", "fixed_ips": addresses});
    let other = json!({"uuid": "0f3c6a0e-1111-2222-3333-444455556666"});
    let disk = |size: u32| json!({"device_name": "/dev/sdf", "size": size});
    let one_more = json!({"device_name": "/dev/sdg", "size": 10});
    // before, changed, whether that rolls
    let cases = [
        (
            json!({"aws": {"instance_type": "a", "subnet_ids": ["subnet-b", "subnet-a"]}}),
            json!({"aws": {"subnet_ids": ["subnet-a", "subnet-b", "subnet-c"]}}),
            false,
        ),
        (
            json!({"aws": {"instance_type": "a", "data_volumes": [disk(1), one_more]}}),
            json!({"aws": {"data_volumes": [one_more, disk(1)]}}),
            false,
        ),
        (
            json!({"aws": {"instance_type": "a", "data_volumes": [disk(1), one_more]}}),
            json!({"aws": {"data_volumes": [one_more, disk(2)]}}),
            true,
        ),
        (
            json!({"aws": {"instance_type": "a"}}),
            json!({"aws": {"vpc_security_group_ids": ["sg-1"]}}),
            false,
        ),
        (
            json!({"aws": {"instance_type": "a"}}),
            json!({"aws": {"instance_type": "b"}}),
            true,
        ),
        (
            json!({"openstack": {"flavor_id": "1", "availability_zones": ["z2", "z1"], "security_groups": ["web", "ssh"]}}),
            json!({"openstack": {"availability_zones": ["z1", "z2", "z3"], "security_groups": ["ssh", "web"]}}),
            false,
        ),
        (
            json!({"openstack": {"flavor_id": "1", "security_groups": ["web", "ssh"]}}),
            json!({"openstack": {"security_groups": ["ssh"]}}),
            false,
        ),
        (
            json!({"openstack": {"flavor_id": "1", "networks": [network(json!(["10.0.0.5"])), other]}}),
            json!({"openstack": {"networks": [network(json!(["10.0.0.5", "10.0.0.6"])), other]}}),
            false,
        ),
        (
            json!({"openstack": {"flavor_id": "1", "networks": [network(json!(["10.0.0.5"])), other]}}),
            json!({"openstack": {"networks": [other, network(json!(["10.0.0.5"]))]}}),
            true,
        ),
    ];
    for (written, changes, rolls) in cases {
        let (Some(before), Some(now)) = (wanted(&written), wanted(&changed(&written, &changes)))
        else {
            continue;
        };
        for form in [&before.first_form, &before.rolling] {
            let mark = Generation::of(&Written {
                shape: form,
                ..before.as_written()
            });
            let mut private = Private::default();
            let basis = Basis::of(&now, Some((&before, &mark)), &private);
            let differs = |basis: &Basis| {
                let mark = basis.translated(&mark);
                mark.differs(&basis.generation, basis.rolls)
            };
            assert_eq!(differs(&basis), rolls, "{changes}");
            assert_eq!(basis.generation != mark, rolls, "{changes}");
            // And so it stays, once that is what state says.
            let recorded = basis.generation.clone();
            private.shapes = basis.meanings(&now, [&mark].into_iter(), &private);
            let basis = Basis::of(&now, Some((&now, &recorded)), &private);
            assert_eq!(differs(&basis), rolls, "{changes}");
            assert_eq!(basis.unknown, Unknown::default(), "{changes}");
            assert_eq!(same_shape(&mark, &recorded, &private), !rolls, "{changes}");
        }
    }
}

const ALL: Rolls = Rolls {
    user_data: true,
    shape: true,
    triggers: true,
    image: true,
};

/// What a row names is in the schema.
#[test]
fn every_row_of_fields_is_of_a_field() {
    for entry in super::ALL {
        for (path, _) in entry.fields {
            let mut attribute = (entry.group_schema)();
            for step in path.split('.') {
                let (Kind::Object(inner) | Kind::ListOf(inner)) = attribute.kind else {
                    panic!("{}.{path}", entry.name);
                };
                let found = inner.into_iter().find(|known| known.name == step);
                attribute = found.unwrap_or_else(|| panic!("{}.{path}", entry.name));
            }
        }
    }
}

/// What the guide says of a field of this kind.
fn says(change: Change) -> &'static str {
    match change {
        Change::Set => "set: another order is no change, anything else rolls",
        Change::Place => "place: new machines only; one whose own is no longer listed is replaced",
        Change::InPlace => "in place: made on the machines as they are",
        Change::NowInPlace => "in place; where it is taken out, machines keep what they have",
    }
}

#[test]
fn the_guide_has_the_row_of_each_field_that_does_not_simply_roll() {
    let guide = include_str!("../../docs/guides/rolling.md");
    for entry in super::ALL {
        for (path, change) in entry.fields {
            let row = format!("| `{}.{path}` | {} |", entry.name, says(*change));
            assert!(guide.lines().any(|line| line == row), "{row}");
        }
        let begins = format!("| `{}.", entry.name);
        let rows = guide.lines().filter(|line| line.starts_with(&begins));
        assert_eq!(rows.count(), entry.fields.len(), "{}", entry.name);
    }
}

/// What a machine of these tests carries.
#[cfg(any(feature = "gcp", feature = "kubevirt", feature = "vsphere"))]
pub(super) fn mark() -> crate::worker_group::cloud::Mark {
    crate::worker_group::cloud::Mark {
        cluster: "prod".to_owned(),
        group: "workers".to_owned(),
        uid: "k3x9".to_owned(),
        generation: "0123-4567".to_owned(),
        unsaved: true,
        origin: "0f3c9a1e5b7d2468".to_owned(),
        proof: "0123456789abcdef0123456789abcdef".to_owned(),
    }
}
