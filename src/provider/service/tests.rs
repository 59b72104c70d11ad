//! Terraform's rules for providers, as calls of the service over the sample provider. What core does between the calls (merging
//! configuration and prior state) is done here as core does it.

use serde_json::{Value as Json, json};
use tonic::Request;

use super::*;
use crate::protocol::tfplugin6::provider_server::Provider as _;
use crate::protocol::value::{Number, Refinement, Type};
use crate::provider::convert::to_value;
use crate::provider::sample;
use crate::provider::schema::Signature;
use crate::provider::{Function, FunctionError};

const UNKNOWN: &str = "<unknown>";

fn service() -> Service {
    Service::new(sample::provider(), CancellationToken::new())
}

fn thing() -> Type {
    type_of(service().provider.resources[0].schema())
}

/// Of short JSON: what an object lacks is null, `"<unknown>"` is unknown, a dynamic value is a string.
fn value(json: &Json, kind: &Type) -> Value {
    match (kind, json) {
        (_, Json::Null) => Value::Null,
        (_, Json::String(text)) if text == UNKNOWN => Value::unknown(),
        (Type::Object(attributes), json) => Value::Map(
            attributes
                .iter()
                .map(|(name, kind)| (name.clone(), value(&json[name], kind)))
                .collect(),
        ),
        (Type::Map(kind), Json::Object(values)) => Value::Map(
            values
                .iter()
                .map(|(key, json)| (key.clone(), value(json, kind)))
                .collect(),
        ),
        (Type::Dynamic, Json::String(_)) => {
            Value::Dynamic(Box::new(Type::String), Box::new(to_value(json)))
        }
        _ => to_value(json),
    }
}

/// The opposite of [`value`]; attributes that are null are left out.
fn short(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Unknown(_) => json!(UNKNOWN),
        Value::Map(values) => values
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), short(value)))
            .collect(),
        Value::Dynamic(_, value) => short(value),
        value => serde_json::to_value(value).unwrap(),
    }
}

fn wired(json: &Json, kind: &Type) -> Option<pb::DynamicValue> {
    wire::encode(&value(json, kind), kind).unwrap()
}

fn unwired(state: Option<&pb::DynamicValue>, kind: &Type) -> Json {
    short(&decode(state, kind).unwrap())
}

/// `error @path: summary`, for each problem.
fn said(diagnostics: &[pb::Diagnostic]) -> Vec<String> {
    let said = |problem: &pb::Diagnostic| {
        use pb::attribute_path::step::Selector;
        assert!(!problem.detail.contains("s3cret"), "{}", problem.detail);
        let steps = problem.attribute.iter().flat_map(|path| &path.steps);
        let path: Vec<String> = steps
            .map(|step| match step.selector.as_ref().unwrap() {
                Selector::AttributeName(name) => name.clone(),
                Selector::ElementKeyString(key) => format!("[{key}]"),
                Selector::ElementKeyInt(index) => format!("[{index}]"),
            })
            .collect();
        let severity = match problem.severity() {
            pb::diagnostic::Severity::Error => "error",
            pb::diagnostic::Severity::Warning => "warning",
            pb::diagnostic::Severity::Invalid => "INVALID",
        };
        format!("{severity} @{}: {}", path.join("."), problem.summary)
    };
    diagnostics.iter().map(said).collect()
}

/// Core's proposal: the configuration, and the prior value where that is null.
fn proposed(prior: &Json, config: &Json) -> Json {
    match (prior, config) {
        (Json::Object(prior), Json::Object(config)) => {
            let mut merged = prior.clone();
            for (name, config) in config {
                let before = prior.get(name).unwrap_or(&Json::Null);
                merged.insert(name.clone(), proposed(before, config));
            }
            // What is optional and no more written is null; computed attributes stay.
            for name in ["tags", "disk", "disks", "secret", "anything"] {
                if !config.contains_key(name) {
                    merged.remove(name);
                }
            }
            Json::Object(merged)
        }
        (_, config) => config.clone(),
    }
}

async fn plan(service: &Service, prior: Json, config: Json) -> pb::plan_resource_change::Response {
    let kind = thing();
    let request = pb::plan_resource_change::Request {
        type_name: "sample_thing".to_owned(),
        prior_state: wired(&prior, &kind),
        proposed_new_state: wired(&proposed(&prior, &config), &kind),
        config: wired(&config, &kind),
        prior_private: b"prior".to_vec(),
        ..Default::default()
    };
    let response = service.plan_resource_change(Request::new(request)).await;
    response.unwrap().into_inner()
}

async fn apply(
    service: &Service,
    prior: Json,
    planned: Json,
    config: Json,
) -> pb::apply_resource_change::Response {
    let kind = thing();
    let request = pb::apply_resource_change::Request {
        type_name: "sample_thing".to_owned(),
        prior_state: wired(&prior, &kind),
        planned_state: wired(&planned, &kind),
        config: wired(&config, &kind),
        planned_private: b"planned".to_vec(),
        ..Default::default()
    };
    let response = service.apply_resource_change(Request::new(request)).await;
    response.unwrap().into_inner()
}

fn existing(name: &str) -> Json {
    json!({"name": name, "size": 1, "mode": "calm", "limits": {"cpu": 2, "used": 0}, "uid": "u-1", "etag": "e-1"})
}

#[tokio::test]
async fn a_plan_keeps_to_what_core_allows() {
    let limits = json!({"cpu": 2, "used": 0});
    for (what, prior, config, planned) in [
        (
            "create: defaults filled in, computed unknown",
            Json::Null,
            json!({"name": "a"}),
            json!({"name": "a", "size": 1, "mode": "calm", "limits": {"cpu": 2, "used": UNKNOWN}, "uid": UNKNOWN, "etag": UNKNOWN}),
        ),
        (
            "create: what is unknown stays unknown, in nested objects too; write-only values are not planned",
            Json::Null,
            json!({"name": UNKNOWN, "size": 3, "secret_wo": "x", "tags": {"a": UNKNOWN}, "disk": {"gb": 5}, "anything": "yes",
                   "limits": {"cpu": 7}}),
            json!({"name": UNKNOWN, "size": 3, "mode": "calm", "tags": {"a": UNKNOWN}, "disk": {"gb": 5, "serial": UNKNOWN},
                   "limits": {"cpu": 7, "used": UNKNOWN}, "anything": "yes", "uid": UNKNOWN, "etag": UNKNOWN}),
        ),
        (
            "update: nothing changes, the prior state comes back",
            existing("a"),
            json!({"name": "a", "secret_wo": "x"}),
            existing("a"),
        ),
        (
            "update: only what changes is unknown",
            existing("a"),
            json!({"name": "a", "size": 2}),
            json!({"name": "a", "size": 2, "mode": "calm", "limits": limits, "uid": "u-1", "etag": UNKNOWN}),
        ),
        (
            "update: what is no more written goes back to its default, and what is optional to null",
            json!({"name": "a", "size": 1, "mode": "wild", "tags": {"a": "b"}, "limits": {"cpu": 9, "used": 0}, "uid": "u-1",
                   "etag": "e-1"}),
            json!({"name": "a"}),
            json!({"name": "a", "size": 1, "mode": "calm", "limits": limits, "uid": "u-1", "etag": "e-1"}),
        ),
        (
            "update: computed attributes of a new element are unknown, those of an old one stay",
            json!({"name": "a", "size": 1, "mode": "calm", "limits": limits, "disks": {"old": {"gb": 1, "serial": "s-1"}},
                   "uid": "u-1", "etag": "e-1"}),
            json!({"name": "a", "disks": {"old": {"gb": 1}, "new": {"gb": 2}}}),
            json!({"name": "a", "size": 1, "mode": "calm", "limits": limits,
                   "disks": {"old": {"gb": 1, "serial": "s-1"}, "new": {"gb": 2, "serial": UNKNOWN}},
                   "uid": "u-1", "etag": "e-1"}),
        ),
    ] {
        let response = plan(&service(), prior, config).await;
        assert_eq!(said(&response.diagnostics), [""; 0], "{what}");
        let found = unwired(response.planned_state.as_ref(), &thing());
        assert_eq!(found, planned, "{what}");
        assert!(!response.legacy_type_system && response.deferred.is_none());
    }
}

#[tokio::test]
async fn planning_twice_gives_the_same_bytes() {
    let config = json!({"name": "a", "tags": {"b": "1", "a": UNKNOWN}, "disks": {"y": {"gb": 1}, "x": {"gb": 2}}});
    let first = plan(&service(), Json::Null, config.clone()).await;
    let second = plan(&service(), Json::Null, config).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn refinements_of_an_unknown_come_back_in_the_plan() {
    let kind = thing();
    let Value::Map(mut config) = value(&json!({"name": "a"}), &kind) else {
        unreachable!()
    };
    config.insert("secret".to_owned(), Value::Unknown(Refinement::not_null()));
    let config = Value::Map(config);
    let request = pb::plan_resource_change::Request {
        type_name: "sample_thing".to_owned(),
        prior_state: wired(&Json::Null, &kind),
        proposed_new_state: wire::encode(&config, &kind).unwrap(),
        config: wire::encode(&config, &kind).unwrap(),
        ..Default::default()
    };
    let response = service().plan_resource_change(Request::new(request)).await;
    let planned = decode(response.unwrap().into_inner().planned_state.as_ref(), &kind).unwrap();
    let Value::Map(planned) = planned else {
        unreachable!()
    };
    assert!(planned["secret"] == Value::Unknown(Refinement::not_null()));
}

#[tokio::test]
async fn private_state_goes_with_what_happens() {
    let service = service();
    let changed = plan(&service, existing("a"), json!({"name": "a", "size": 2})).await;
    assert_eq!(changed.planned_private, b"planned");
    let unchanged = plan(&service, existing("a"), json!({"name": "a"})).await;
    assert_eq!(unchanged.planned_private, b"prior");
    let destroyed = plan(&service, existing("a"), Json::Null).await;
    assert_eq!(destroyed.planned_private, b"prior");
    assert_eq!(
        unwired(destroyed.planned_state.as_ref(), &thing()),
        Json::Null
    );
}

#[tokio::test]
async fn a_change_that_replaces_is_said_where_it_is() {
    for (config, paths) in [
        (json!({"name": "b"}), vec!["name"]),
        (json!({"name": UNKNOWN}), vec!["name"]),
        (json!({"name": "a", "size": 2}), vec![]),
        (json!({"name": "replace-me"}), vec!["size", "name"]),
    ] {
        let response = plan(&service(), existing("a"), config).await;
        let found: Vec<_> = response
            .requires_replace
            .iter()
            .map(|path| path.steps[0].selector.clone().unwrap())
            .collect();
        let wanted: Vec<_> = paths
            .into_iter()
            .map(|name| pb::attribute_path::step::Selector::AttributeName(name.to_owned()))
            .collect();
        assert_eq!(found, wanted);
    }
}

#[tokio::test]
async fn a_bad_plan_is_one_diagnostic() {
    for (prior, config, problem) in [
        (
            Json::Null,
            json!({"name": "plan-contradicts", "size": 2}),
            "error @size: Plan contradicts the configuration",
        ),
        (
            Json::Null,
            json!({"name": "plan-panics"}),
            "error @: The provider failed unexpectedly",
        ),
        (
            existing("protected"),
            Json::Null,
            "error @: Could not plan a destroy",
        ),
    ] {
        let service = service();
        let response = plan(&service, prior, config).await;
        assert_eq!(said(&response.diagnostics), [problem]);
        let next = plan(&service, Json::Null, json!({"name": "a"})).await;
        assert_eq!(said(&next.diagnostics), [""; 0], "the process goes on");
    }
}

#[tokio::test]
async fn an_apply_saves_what_exists_on_every_path() {
    let planned = |name: &str| json!({"name": name, "size": 1, "mode": "calm", "limits": {"cpu": 2, "used": UNKNOWN}, "uid": UNKNOWN, "etag": UNKNOWN});
    let larger = |name: &str| json!({"name": name, "size": 2, "mode": "calm", "limits": {"cpu": 2, "used": 0}, "uid": "u-1", "etag": UNKNOWN});
    let updated = |name: &str| json!({"name": name, "size": 2, "mode": "calm", "limits": {"cpu": 2, "used": 0}, "uid": "u-1", "etag": "e-2"});
    let mut half = existing("half");
    half.as_object_mut().unwrap().remove("etag");
    let mut unsettled = half.clone();
    unsettled["name"] = json!("unsettled");
    let nothing = Json::Null;
    for (what, prior, planned, state, problems) in [
        ("create", &nothing, planned("a"), existing("a"), vec![]),
        (
            "create fails before anything exists",
            &nothing,
            planned("never"),
            Json::Null,
            vec!["error @: Could not create"],
        ),
        (
            "create fails half-way",
            &nothing,
            planned("half"),
            half,
            vec!["error @: Could not create"],
        ),
        (
            "create leaves an unknown",
            &nothing,
            planned("unsettled"),
            unsettled,
            vec!["error @: State is not known"],
        ),
        (
            "create leaves nothing",
            &nothing,
            planned("forgotten"),
            Json::Null,
            vec!["error @: No state after create"],
        ),
        (
            "create panics",
            &nothing,
            planned("create-panics"),
            Json::Null,
            vec!["error @: The provider failed unexpectedly"],
        ),
        (
            "create panics, with something written down",
            &nothing,
            planned("create-panics-late"),
            existing("create-panics-late"),
            vec!["error @: The provider failed unexpectedly"],
        ),
        (
            "create answers a write-only value",
            &nothing,
            planned("leaks"),
            existing("leaks"),
            vec![],
        ),
        ("update", &existing("a"), larger("a"), updated("a"), vec![]),
        (
            "update fails",
            &existing("never"),
            larger("never"),
            existing("never"),
            vec!["error @: Could not create"],
        ),
        (
            "update panics",
            &existing("update-panics"),
            larger("update-panics"),
            existing("update-panics"),
            vec!["error @: The provider failed unexpectedly"],
        ),
        (
            "update panics, with something written down",
            &existing("update-panics-late"),
            larger("update-panics-late"),
            updated("update-panics-late"),
            vec!["error @: The provider failed unexpectedly"],
        ),
        ("delete", &existing("a"), Json::Null, Json::Null, vec![]),
        (
            "delete fails",
            &existing("never"),
            Json::Null,
            existing("never"),
            vec!["error @: Could not create"],
        ),
        (
            "delete fails half-way",
            &existing("half"),
            Json::Null,
            existing("half"),
            vec!["error @: Could not create"],
        ),
        (
            "delete panics",
            &existing("delete-panics"),
            Json::Null,
            existing("delete-panics"),
            vec!["error @: The provider failed unexpectedly"],
        ),
        (
            "delete leaves it",
            &existing("stays"),
            Json::Null,
            existing("stays"),
            vec!["error @: State left after delete"],
        ),
    ] {
        let config =
            json!({"name": planned["name"], "size": planned["size"], "secret_wo": "s3cret"});
        let config = if planned.is_null() {
            Json::Null
        } else {
            config
        };
        let response = apply(&service(), prior.clone(), planned, config).await;
        assert_eq!(said(&response.diagnostics), problems, "{what}");
        assert_eq!(
            unwired(response.new_state.as_ref(), &thing()),
            state,
            "{what}"
        );
        let identity = response.new_identity.map(|identity| identity.identity_data);
        assert_eq!(
            identity.is_some(),
            !state.is_null(),
            "{what}: identity beside a state"
        );
        assert!(!response.legacy_type_system);
    }
}

#[tokio::test]
async fn only_create_and_update_see_write_only_values() {
    let planned = json!({"name": "a", "size": 1, "uid": UNKNOWN, "etag": UNKNOWN});
    let config = json!({"name": "a", "size": 1, "secret_wo": "s3cret"});
    let response = apply(&service(), Json::Null, planned, config).await;
    assert_eq!(response.private, b"with secret");
}

#[tokio::test]
async fn a_stop_ends_an_apply_with_its_newest_state() {
    let service = Arc::new(service());
    let planned =
        json!({"name": "slow", "size": 1, "mode": "calm", "uid": UNKNOWN, "etag": UNKNOWN});
    let config = json!({"name": "slow", "size": 1});
    let (response, ()) = tokio::join!(apply(&service, Json::Null, planned, config), async {
        let stop = pb::stop_provider::Request::default();
        service.stop_provider(Request::new(stop)).await.unwrap();
    });
    assert_eq!(said(&response.diagnostics), ["error @: Interrupted"]);
    let state = unwired(response.new_state.as_ref(), &thing());
    assert_eq!(state["uid"], json!("u-1"));
    assert!(service.context().cancel.is_cancelled(), "for good");
    let configure = pb::configure_provider::Request::default();
    service
        .configure_provider(Request::new(configure))
        .await
        .unwrap();
    assert!(
        !service.context().cancel.is_cancelled(),
        "until the next run configures it"
    );
    service.process.cancel();
    assert!(service.context().cancel.is_cancelled(), "the process ends");
}

#[tokio::test]
async fn a_read_returns_private_state_and_identity_always() {
    for (name, state, problems) in [
        ("a", existing("a"), vec![]),
        ("gone", Json::Null, vec![]),
        (
            "silent",
            existing("silent"),
            vec!["error @: Could not read"],
        ),
        (
            "read-panics",
            existing("read-panics"),
            vec!["error @: The provider failed unexpectedly"],
        ),
    ] {
        let kind = thing();
        let identity = pb::ResourceIdentityData {
            identity_data: wired(&json!({"uid": "u-1"}), &identity_kind()),
        };
        let request = pb::read_resource::Request {
            type_name: "sample_thing".to_owned(),
            current_state: wired(&existing(name), &kind),
            private: b"kept".to_vec(),
            current_identity: Some(identity.clone()),
            ..Default::default()
        };
        let response = service().read_resource(Request::new(request)).await;
        let response = response.unwrap().into_inner();
        assert_eq!(said(&response.diagnostics), problems);
        assert_eq!(unwired(response.new_state.as_ref(), &kind), state);
        if !state.is_null() {
            assert_eq!(response.private, b"kept", "{name}");
            assert_eq!(response.new_identity, Some(identity), "{name}");
        }
    }
}

fn identity_kind() -> Type {
    wire::identity_type(&service().provider.resources[0].identity_schema())
}

#[tokio::test]
async fn an_import_takes_an_id_or_an_identity() {
    for (id, identity, uid) in [
        ("u-7", Json::Null, Some("u-7")),
        ("", json!({"uid": "u-8"}), Some("u-8")),
        ("absent", Json::Null, None),
    ] {
        let identity = (!identity.is_null()).then(|| pb::ResourceIdentityData {
            identity_data: wired(&identity, &identity_kind()),
        });
        let request = pb::import_resource_state::Request {
            type_name: "sample_thing".to_owned(),
            id: id.to_owned(),
            identity,
            ..Default::default()
        };
        let response = service().import_resource_state(Request::new(request)).await;
        let response = response.unwrap().into_inner();
        let Some(uid) = uid else {
            assert_eq!(said(&response.diagnostics), ["error @: Could not import"]);
            assert!(response.imported_resources.is_empty());
            continue;
        };
        let [imported] = response.imported_resources.as_slice() else {
            panic!("one resource is imported");
        };
        assert_eq!(imported.type_name, "sample_thing");
        assert_eq!(imported.private, b"imported");
        let state = unwired(imported.state.as_ref(), &thing());
        assert_eq!(
            (&state["name"], &state["uid"]),
            (&json!("imported"), &json!(uid))
        );
        let identity = imported.identity.as_ref().unwrap().identity_data.as_ref();
        assert_eq!(unwired(identity, &identity_kind()), json!({"uid": uid}));
    }
}

#[tokio::test]
async fn stored_state_is_lifted_to_the_schema_of_today() {
    let name =
        |response: &Option<pb::DynamicValue>| unwired(response.as_ref(), &thing())["name"].clone();
    for (version, json, flatmap, wanted) in [
        (
            2,
            r#"{"name":"a","size":1e0,"dropped":true,"secret_wo":"x"}"#,
            false,
            Ok("a"),
        ),
        (
            2,
            r#"{"name":[]}"#,
            false,
            Err("error @: Could not read the stored state"),
        ),
        (1, r#"{"label":"old"}"#, false, Ok("old")),
        (
            1,
            "nonsense",
            false,
            Err("error @: Could not read the stored state"),
        ),
        (0, "{}", false, Err("error @: Version 0 was never released")),
        (
            3,
            "{}",
            false,
            Err("error @: Stored state is of a newer provider"),
        ),
        (2, "", true, Err("error @: Could not read the stored state")),
    ] {
        let raw = pb::RawState {
            json: json.as_bytes().to_vec(),
            flatmap: flatmap
                .then(|| ("name".into(), "a".into()))
                .into_iter()
                .collect(),
        };
        let request = pb::upgrade_resource_state::Request {
            type_name: "sample_thing".to_owned(),
            version,
            raw_state: Some(raw.clone()),
        };
        let response = service()
            .upgrade_resource_state(Request::new(request))
            .await;
        let response = response.unwrap().into_inner();
        let moved = pb::move_resource_state::Request {
            source_provider_address: "example.org/fork/sample".to_owned(),
            source_type_name: "sample_thing".to_owned(),
            source_schema_version: version,
            source_state: Some(raw),
            target_type_name: "sample_thing".to_owned(),
            source_private: b"moved".to_vec(),
            ..Default::default()
        };
        let moved = service().move_resource_state(Request::new(moved)).await;
        let moved = moved.unwrap().into_inner();
        match wanted {
            Ok(wanted) => {
                assert_eq!(said(&response.diagnostics), [""; 0]);
                assert_eq!(name(&response.upgraded_state), json!(wanted));
                let state = unwired(response.upgraded_state.as_ref(), &thing());
                assert_eq!(state["secret_wo"], Json::Null);
                assert_eq!(name(&moved.target_state), json!(wanted));
                assert_eq!(moved.target_private, b"moved");
            }
            Err(wanted) => {
                assert_eq!(said(&response.diagnostics), [wanted]);
                assert_eq!(said(&moved.diagnostics), [wanted]);
            }
        }
    }
}

#[tokio::test]
async fn a_move_from_another_type_is_refused() {
    let request = pb::move_resource_state::Request {
        source_type_name: "null_resource".to_owned(),
        target_type_name: "sample_thing".to_owned(),
        ..Default::default()
    };
    let response = service().move_resource_state(Request::new(request)).await;
    let response = response.unwrap().into_inner();
    assert_eq!(
        said(&response.diagnostics),
        ["error @: Could not move the resource"]
    );
}

#[tokio::test]
async fn a_stored_identity_comes_back() {
    for (version, problems) in [
        (0, vec![]),
        (1, vec!["error @: Stored identity is of a newer provider"]),
    ] {
        let request = pb::upgrade_resource_identity::Request {
            type_name: "sample_thing".to_owned(),
            version,
            raw_identity: Some(pb::RawState {
                json: br#"{"uid":"u-1"}"#.to_vec(),
                ..Default::default()
            }),
        };
        let response = service()
            .upgrade_resource_identity(Request::new(request))
            .await;
        let response = response.unwrap().into_inner();
        assert_eq!(said(&response.diagnostics), problems);
        if problems.is_empty() {
            let identity = response.upgraded_identity.unwrap().identity_data;
            assert_eq!(
                unwired(identity.as_ref(), &identity_kind()),
                json!({"uid": "u-1"})
            );
        }
    }
}

#[tokio::test]
async fn validation_reports_all_problems_and_bears_unknowns() {
    for (write_only_allowed, config, problems) in [
        (true, json!({"name": "a"}), vec![]),
        (
            true,
            json!({"name": UNKNOWN, "size": UNKNOWN, "mode": UNKNOWN, "disk": UNKNOWN, "disks": {"a": {"gb": UNKNOWN}},
                   "tags": UNKNOWN, "limits": UNKNOWN, "secret": UNKNOWN, "secret_wo": UNKNOWN, "anything": UNKNOWN}),
            vec![],
        ),
        (
            true,
            json!({"name": "", "size": 10, "mode": "loud", "disk": {"gb": 0}, "disks": {"x": {"gb": 101}}}),
            vec![
                "error @size: Value is out of range",
                "error @mode: Value is not one of those accepted",
                "error @disk.gb: Value is out of range",
                "error @disks.[x].gb: Value is out of range",
                "error @name: Name is empty",
            ],
        ),
        (
            true,
            json!({"size": 1}),
            vec!["error @name: Missing required attribute"],
        ),
        (
            true,
            json!({"name": "a", "disk": {}, "disks": {"x": {}, "y": null}}),
            vec![
                "error @disk.gb: Missing required attribute",
                "error @disks.[y]: Element is null",
                "error @disks.[x].gb: Missing required attribute",
            ],
        ),
        (
            true,
            json!({"name": "a", "size": 1.5, "limits": {"cpu": 0.5}}),
            vec![
                "error @size: Value is not a whole number",
                "error @limits.cpu: Value is not a whole number",
            ],
        ),
        (
            true,
            json!({"name": "a", "tags": {"a": null}}),
            vec!["error @tags.[a]: Element is null"],
        ),
        (
            false,
            json!({"name": "a", "secret_wo": "x"}),
            vec!["error @secret_wo: Write-only attribute is not supported"],
        ),
        (true, json!({"name": "a", "secret_wo": "x"}), vec![]),
    ] {
        let request = pb::validate_resource_config::Request {
            type_name: "sample_thing".to_owned(),
            config: wired(&config, &thing()),
            client_capabilities: Some(pb::ClientCapabilities {
                write_only_attributes_allowed: write_only_allowed,
                ..Default::default()
            }),
        };
        let response = service()
            .validate_resource_config(Request::new(request))
            .await;
        assert_eq!(said(&response.unwrap().into_inner().diagnostics), problems);
    }
}

#[tokio::test]
async fn a_data_source_answers_what_was_asked() {
    let kind = type_of(service().provider.data_sources[0].schema());
    for (config, state, problems) in [
        (
            json!({"text": "a"}),
            json!({"text": "a", "times": 2, "out": "aa"}),
            vec![],
        ),
        (
            json!({"text": "a", "times": 3}),
            json!({"text": "a", "times": 3, "out": "aaa"}),
            vec![],
        ),
        (
            json!({"text": "warns", "times": 1}),
            json!({"text": "warns", "times": 1, "out": "warns"}),
            vec!["warning @: Old"],
        ),
        (json!({"text": "fails"}), Json::Null, vec!["error @: No"]),
        (
            json!({"text": "nothing"}),
            Json::Null,
            vec!["error @: No answer"],
        ),
        (
            json!({"text": "panics"}),
            Json::Null,
            vec!["error @: The provider failed unexpectedly"],
        ),
        (
            json!({"text": "changed", "times": 0}),
            json!({"text": "other", "times": 0, "out": ""}),
            vec!["error @text: Answer contradicts the configuration"],
        ),
    ] {
        let request = pb::read_data_source::Request {
            type_name: "sample_echo".to_owned(),
            config: wired(&config, &kind),
            ..Default::default()
        };
        let response = service().read_data_source(Request::new(request)).await;
        let response = response.unwrap().into_inner();
        assert_eq!(said(&response.diagnostics), problems);
        assert_eq!(unwired(response.state.as_ref(), &kind), state);
    }
}

#[tokio::test]
async fn a_model_without_unknowns_is_validated_when_all_is_known() {
    let kind = type_of(service().provider.data_sources[0].schema());
    for (config, problems) in [
        (json!({"text": UNKNOWN}), vec![]),
        (
            json!({"text": "forbidden"}),
            vec!["error @: Forbidden text"],
        ),
        (
            json!({"text": ""}),
            vec!["error @text: Value has the wrong length"],
        ),
        (
            json!({"text": null}),
            vec!["error @text: Missing required attribute"],
        ),
        (
            json!({"text": "a", "times": 1.5}),
            vec!["error @times: Value is not a whole number"],
        ),
    ] {
        let request = pb::validate_data_resource_config::Request {
            type_name: "sample_echo".to_owned(),
            config: wired(&config, &kind),
        };
        let response = service()
            .validate_data_resource_config(Request::new(request))
            .await;
        assert_eq!(said(&response.unwrap().into_inner().diagnostics), problems);
    }
}

#[tokio::test]
async fn an_ephemeral_resource_is_opened_renewed_and_closed() {
    let service = service();
    let kind = type_of(service.provider.ephemerals[0].schema());
    let type_name = || "sample_lease".to_owned();
    let bad = pb::validate_ephemeral_resource_config::Request {
        type_name: type_name(),
        config: wired(&json!({"ttl": "tomorrow"}), &kind),
    };
    let validated = service
        .validate_ephemeral_resource_config(Request::new(bad))
        .await;
    let validated = validated.unwrap().into_inner();
    assert_eq!(
        said(&validated.diagnostics),
        ["error @ttl: Value is not a duration"]
    );

    let open = pb::open_ephemeral_resource::Request {
        type_name: type_name(),
        config: wired(&json!({}), &kind),
        ..Default::default()
    };
    let opened = service.open_ephemeral_resource(Request::new(open)).await;
    let opened = opened.unwrap().into_inner();
    assert_eq!(
        unwired(opened.result.as_ref(), &kind),
        json!({"ttl": "30m", "token": "t0ken"})
    );
    let renew_at = i64::try_from(sample::RENEW_AT.as_secs()).unwrap();
    assert_eq!(opened.renew_at.unwrap().seconds, renew_at);

    let renew = pb::renew_ephemeral_resource::Request {
        type_name: type_name(),
        private: opened.private,
    };
    let renewed = service.renew_ephemeral_resource(Request::new(renew)).await;
    let renewed = renewed.unwrap().into_inner();
    assert!(renewed.renew_at.is_none());

    let close = pb::close_ephemeral_resource::Request {
        type_name: type_name(),
        private: renewed.private,
    };
    let closed = service.close_ephemeral_resource(Request::new(close)).await;
    let closed = closed.unwrap().into_inner();
    assert_eq!(closed.diagnostics[0].detail, "lease 1 renewed");
}

#[tokio::test]
async fn a_function_answers_or_blames_an_argument() {
    for (name, arguments, wanted) in [
        ("join", json!(["-", "a", null, "b"]), Ok("a-b")),
        ("join", json!(["-"]), Ok("")),
        ("join", json!([]), Err((None, "`separator` is missing"))),
        (
            "join",
            json!([null]),
            Err((Some(0), "`separator` must not be null")),
        ),
        ("join", json!(["refuses"]), Err((Some(1), "not this one"))),
        (
            "join",
            json!(["wrong"]),
            Err((None, "The answer is not a value of the schema")),
        ),
        (
            "join",
            json!(["panics"]),
            Err((None, "This is a bug in the provider")),
        ),
        ("split", json!([]), Err((None, "it has: join"))),
    ] {
        let arguments = arguments.as_array().unwrap().iter();
        let request = pb::call_function::Request {
            name: name.to_owned(),
            arguments: arguments
                .filter_map(|argument| wired(argument, &Type::String))
                .collect(),
        };
        let response = service().call_function(Request::new(request)).await;
        let response = response.unwrap().into_inner();
        match wanted {
            Ok(wanted) => {
                assert!(response.error.is_none());
                assert_eq!(
                    unwired(response.result.as_ref(), &Type::String),
                    json!(wanted)
                );
            }
            Err((argument, wanted)) => {
                let error = response.error.unwrap();
                assert_eq!(error.function_argument, argument);
                assert!(error.text.contains(wanted), "{}", error.text);
                assert!(response.result.is_none());
            }
        }
    }
}

#[tokio::test]
async fn a_configuration_may_be_unknown_and_replaces_the_one_before() {
    let service = service();
    let kind = type_of(service.provider.schema());
    let mut shared = Vec::new();
    for (config, url) in [
        (json!({}), json!("https://example.org")),
        (
            json!({"server": {"url": "https://a.example"}, "token": UNKNOWN}),
            json!("https://a.example"),
        ),
        (json!({"server": UNKNOWN}), Json::Null),
        (json!({"server": {}}), json!("https://example.org")),
    ] {
        let request = pb::configure_provider::Request {
            config: wired(&config, &kind),
            ..Default::default()
        };
        let response = service.configure_provider(Request::new(request)).await;
        assert_eq!(said(&response.unwrap().into_inner().diagnostics), [""; 0]);
        let context = service.context();
        assert_eq!(short(context.setting("server"))["url"], url);
        shared.push(context.shared.of(|| async { url.clone() }).await);
    }
    assert_eq!(
        *shared[1],
        json!("https://a.example"),
        "what is shared is made anew"
    );
}

#[tokio::test]
async fn an_unconfigured_provider_knows_no_settings() {
    assert!(service().context().setting("server").is_null());
}

#[tokio::test]
async fn the_schemas_say_what_the_tables_hold() {
    let service = service();
    let request = Request::new(pb::get_provider_schema::Request::default());
    let schemas = service
        .get_provider_schema(request)
        .await
        .unwrap()
        .into_inner();
    let request = Request::new(pb::get_metadata::Request::default());
    let metadata = service.get_metadata(request).await.unwrap().into_inner();
    let request = Request::new(pb::get_functions::Request::default());
    let functions = service.get_functions(request).await.unwrap().into_inner();
    let request = Request::new(pb::get_resource_identity_schemas::Request::default());
    let identities = service
        .get_resource_identity_schemas(request)
        .await
        .unwrap()
        .into_inner();

    assert_eq!(schemas.functions, functions.functions);
    assert_eq!(schemas.server_capabilities, metadata.server_capabilities);
    let capabilities = schemas.server_capabilities.unwrap();
    assert!(capabilities.plan_destroy && capabilities.get_provider_schema_optional);
    assert!(capabilities.move_resource_state && !capabilities.generate_resource_config);
    assert_eq!(metadata.resources[0].type_name, "sample_thing");
    assert_eq!(metadata.data_sources[0].type_name, "sample_echo");
    assert_eq!(metadata.ephemeral_resources[0].type_name, "sample_lease");
    assert_eq!(metadata.functions[0].name, "join");

    let thing = schemas.resource_schemas["sample_thing"]
        .block
        .as_ref()
        .unwrap();
    let attribute = |name: &str| {
        thing
            .attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .unwrap()
    };
    assert_eq!(attribute("tags").r#type, br#"["map","string"]"#);
    assert!(attribute("name").required && attribute("uid").computed);
    assert!(attribute("size").optional && attribute("size").computed);
    assert_eq!(
        attribute("size").description,
        "Size. Defaults to `1`. A whole number from 0 to 9."
    );
    assert!(attribute("secret").sensitive && attribute("secret_wo").write_only);
    let disks = attribute("disks");
    assert!(disks.r#type.is_empty());
    assert_eq!(
        disks.nested_type.as_ref().unwrap().nesting(),
        pb::schema::object::NestingMode::Map
    );
    let provider = schemas.provider.unwrap().block.unwrap();
    assert!(
        provider
            .attributes
            .iter()
            .all(|attribute| !attribute.computed)
    );
    let identity = &identities.identity_schemas["sample_thing"].identity_attributes[0];
    assert!(identity.required_for_import && !identity.optional_for_import);
}

#[tokio::test]
async fn what_is_not_here_is_unimplemented_or_named() {
    let action = Request::new(pb::plan_action::Request::default());
    let status = service().plan_action(action).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    let request = pb::read_data_source::Request {
        type_name: "sample_nothing".to_owned(),
        ..Default::default()
    };
    let response = service().read_data_source(Request::new(request)).await;
    let response = response.unwrap().into_inner();
    assert_eq!(
        said(&response.diagnostics),
        ["error @: Unknown data source"]
    );
    assert!(response.diagnostics[0].detail.contains("sample_echo"));
}

#[tokio::test]
async fn bytes_that_are_no_value_are_a_diagnostic() {
    let request = pb::read_data_source::Request {
        type_name: "sample_echo".to_owned(),
        config: Some(pb::DynamicValue {
            msgpack: vec![0xc1],
            json: Vec::new(),
        }),
        ..Default::default()
    };
    let response = service().read_data_source(Request::new(request)).await;
    let response = response.unwrap().into_inner();
    assert_eq!(
        said(&response.diagnostics),
        ["error @: Could not read a value"]
    );
}

#[test]
fn numbers_keep_their_digits() {
    let kind = type_of(service().provider.resources[0].schema());
    let raw = pb::RawState {
        json: br#"{"size":123456789012345678901234567890.5}"#.to_vec(),
        ..Default::default()
    };
    let state = decode(
        service()
            .upgrade_state(pb::upgrade_resource_state::Request {
                type_name: "sample_thing".to_owned(),
                version: 2,
                raw_state: Some(raw),
            })
            .unwrap()
            .upgraded_state
            .as_ref(),
        &kind,
    );
    let Ok(Value::Map(state)) = state else {
        unreachable!()
    };
    let digits = Number::parse("123456789012345678901234567890.5").unwrap();
    assert!(state["size"] == Value::Number(digits));
}

#[test]
fn the_sample_provider_has_no_faults() {
    let faults = crate::provider::validity::faults(&sample::provider());
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A function that computes until it is told that somebody else had a turn.
struct Long {
    has_begun: tokio::sync::mpsc::UnboundedSender<()>,
    may_end: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Function for Long {
    fn name(&self) -> &'static str {
        "long"
    }
    fn signature(&self) -> Signature {
        Signature {
            summary: "Computes",
            description: "Computes.",
            parameters: Vec::new(),
            variadic: None,
            result: Type::Bool,
        }
    }
    fn call(&self, _: Vec<Value>) -> Result<Value, FunctionError> {
        self.has_begun.send(()).unwrap();
        // Long enough for any machine; only a failure waits for it.
        let wait = std::time::Duration::from_secs(30);
        let told = self.may_end.lock().unwrap().recv_timeout(wait);
        Ok(Value::Bool(told.is_ok()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_computes_for_long_keeps_no_stop_from_being_heard() {
    let (has_begun, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (end, may_end) = std::sync::mpsc::channel();
    let schema = || Schema::new(0, "Sample.", Vec::new());
    let long = Long {
        has_begun,
        may_end: may_end.into(),
    };
    let provider = Provider::new("sample", "example.org/test/sample", schema).function(long);
    let service = Arc::new(Service::new(provider, CancellationToken::new()));
    let computing = service.clone();
    let request = pb::call_function::Request {
        name: "long".to_owned(),
        arguments: Vec::new(),
    };
    let call = tokio::spawn(async move { computing.call_function(Request::new(request)).await });
    begun.recv().await.unwrap();
    let stopping = service.clone();
    // On the one worker that there is, as the server does it.
    tokio::spawn(async move {
        let request = Request::new(pb::stop_provider::Request {});
        stopping.stop_provider(request).await.unwrap();
        end.send(()).unwrap();
    });
    let answer = call.await.unwrap().unwrap().into_inner();
    assert!(service.context().cancel.is_cancelled());
    let heard = decode(answer.result.as_ref(), &Type::Bool).unwrap();
    assert!(heard == Value::Bool(true));
}
