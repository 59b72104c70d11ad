//! Terraform's rules for providers, as calls of the service over the sample provider. What core
//! does between the calls (merging configuration and prior state) is done here as core does it.

mod applies;
mod others;
mod plans;
mod states;

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

/// Of short JSON: what an object lacks is null, `"<unknown>"` is unknown, a dynamic value is a
/// string.
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
