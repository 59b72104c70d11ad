//! Terraform and OpenTofu provider for worker machines on Flatcar Container Linux. Composition
//! only: the rooms, lowest rank first, and the tables of what the provider serves.
pub mod cloud;
pub mod flatcar;
pub mod http;
pub mod ignition;
pub mod image;
pub mod kubernetes;
pub mod protocol;
pub mod provider;
pub(crate) mod text;
pub mod worker_group;

use provider::{Provider, Schema};

/// Source address of the provider.
pub const ADDRESS: &str = "registry.terraform.io/flatcar-iac/flatcar";

/// Everything that the provider serves.
pub fn provider() -> Provider {
    Provider::new("flatcar", ADDRESS, provider_schema)
        .data_source(ignition::data_source::FlatcarIgnition)
        .ephemeral(ignition::ephemeral::FlatcarIgnition)
        .ephemeral(kubernetes::ephemeral::FlatcarBootstrapToken)
        .function(ignition::function::Render)
        .function(ignition::function::Merge)
        .function(ignition::function::PackUserData)
        .function(ignition::function::CompareVersions)
        .data_source(ignition::data_source::FlatcarSysext)
        .data_source(image::data_source::FlatcarImage)
        .data_source(image::data_source::FlatcarReleases)
        .resource(worker_group::resource::WorkerGroup::new(cloud::ALL))
        .resource(kubernetes::resource::FlatcarNodeDrain)
}

fn provider_schema() -> Schema {
    let mut attributes = vec![image::data_source::release_server()];
    attributes.push(kubernetes::provider_block::schema());
    attributes.extend(cloud::ALL.iter().map(|entry| (entry.provider_schema)()));
    Schema::new(
        0,
        "Worker machines on Flatcar Container Linux: their Ignition configuration, their image, and groups of them on a cloud. Everything \
         in the provider block is optional; nothing is dialled before it is needed.",
        attributes,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};
    use tokio_util::sync::CancellationToken;

    use crate::protocol::tfplugin6::{self as pb, provider_server::Provider as _};
    use crate::provider::convert::to_value;
    use crate::provider::schema::{Kind, object_type};
    use crate::provider::{Attribute, DataSource, Resource, Service, Value};

    #[test]
    fn every_schema_is_one_that_core_takes_and_every_model_fits_it() {
        let faults = crate::provider::validity::faults(&crate::provider());
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// What the JSON lacks is null, in nested objects too.
    fn filled(attributes: &[Attribute], json: &Json) -> Value {
        let value = |attribute: &Attribute| match (&attribute.kind, &json[attribute.name]) {
            (Kind::Object(inner), json @ Json::Object(_)) => filled(inner, json),
            (_, json) => to_value(json),
        };
        let attributes = attributes.iter();
        Value::Map(
            attributes
                .map(|attribute| (attribute.name.to_owned(), value(attribute)))
                .collect(),
        )
    }

    fn wired(attributes: &[Attribute], json: &Json) -> Option<pb::DynamicValue> {
        let config = filled(attributes, json);
        Some(pb::DynamicValue {
            msgpack: config.to_msgpack(&object_type(attributes)).unwrap(),
            json: Vec::new(),
        })
    }

    #[tokio::test]
    async fn every_null_and_fraction_that_cannot_be_is_told_once() {
        let service = Service::new(crate::provider(), CancellationToken::new());
        let group = |name: &str, value: Json| {
            let mut config = json!({"name": "workers", "cluster": "c", "replicas": 3, "image": "i", "sandbox": {}});
            config[name] = value;
            config
        };
        let attributes = crate::worker_group::resource::WorkerGroup::new(crate::cloud::ALL)
            .schema()
            .attributes;
        for (config, summary) in [
            (group("replicas", Json::Null), "Missing required attribute"),
            (group("image", Json::Null), "Missing required attribute"),
            (group("replicas", json!(1.5)), "Value is not a whole number"),
            (
                group("user_data_wo_version", json!(1.5)),
                "Value is not a whole number",
            ),
            (
                group("sandbox", json!({"tags": {"a": null}})),
                "Element is null",
            ),
            (group("remove_first", json!([null])), "Element is null"),
            (
                group("replace_triggers", json!({"a": null})),
                "Element is null",
            ),
        ] {
            let request = pb::validate_resource_config::Request {
                type_name: "flatcar_worker_group".to_owned(),
                config: wired(&attributes, &config),
                ..Default::default()
            };
            let answer = service.validate_resource_config(tonic::Request::new(request));
            let problems = answer.await.unwrap().into_inner().diagnostics;
            let found: Vec<&str> = problems.iter().map(|it| it.summary.as_str()).collect();
            assert_eq!(found, [summary], "{config}: {problems:#?}");
        }
        let attributes = crate::ignition::data_source::FlatcarIgnition
            .schema()
            .attributes;
        for (config, summaries) in [
            (
                json!({"proxy": {"http_proxy": "http://p:1", "no_proxy": ["a", null]}}),
                vec!["Element is null"],
            ),
            (
                json!({"updates": {"profile": 1.5}}),
                vec!["Value is not a whole number"],
            ),
            (
                json!({"content": "variant: flatcar\nversion: 1.0.0\n", "snippets": [null]}),
                vec![],
            ),
        ] {
            let request = pb::validate_data_resource_config::Request {
                type_name: "flatcar_ignition".to_owned(),
                config: wired(&attributes, &config),
            };
            let answer = service.validate_data_resource_config(tonic::Request::new(request));
            let problems = answer.await.unwrap().into_inner().diagnostics;
            let found: Vec<&str> = problems.iter().map(|it| it.summary.as_str()).collect();
            assert_eq!(found, summaries, "{config}: {problems:#?}");
        }
    }
}
