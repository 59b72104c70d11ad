//! What is refused before anything is asked.

use super::*;

#[tokio::test(start_paused = true)]
async fn bad_input_is_refused_on_its_attribute() {
    let world = World::new("bad", Memory::default()).await;
    let cases = [
        (json!({}), ""),
        (json!({"name": "Workers"}), "name"),
        (json!({"name": "w-"}), "name"),
        (json!({"name": "a".repeat(41)}), "name"),
        (json!({"cluster": "1"}), "cluster"),
        (json!({"replicas": -1}), "replicas"),
        (json!({"replicas": 10001}), "replicas"),
        (json!({"memory": null}), "memory"),
        (json!({"second": {}}), "second"),
        (json!({"memory": null, "second": {}}), ""),
        (json!({"memory": "<unknown>"}), ""),
        (
            json!({"rolling_update": {"max_unavailable": "-1"}}),
            "rolling_update.max_unavailable",
        ),
        (
            json!({"rolling_update": {"parallelism": 0}}),
            "rolling_update.parallelism",
        ),
        (
            json!({"rolling_update": {"max_failures": -1}}),
            "rolling_update.max_failures",
        ),
        (
            json!({"user_data": r#"{"ignition":{"version":"3.99.0"}}"#}),
            "user_data",
        ),
        (
            json!({"user_data": r#"{"ignition":{"version":"3.4.0"},"storage":1}"#}),
            "user_data",
        ),
        (
            json!({
                "user_data": null,
                "user_data_wo": r#"{"ignition":{"version":"3.4.0"},"storage":1}"#,
                "user_data_wo_version": 1
            }),
            "user_data_wo",
        ),
        (
            json!({"rolling_update": {"max_surge": "101%"}}),
            "rolling_update.max_surge",
        ),
        (json!({"rolling_update": {"max_surge": "0"}}), ""),
        (json!({"rolling_update": {"max_unavailable": "0"}}), ""),
        (json!({"timeouts": {"read": "0s"}}), "timeouts.read"),
        (json!({"timeouts": {"create": "1s"}}), ""),
        (
            json!({"rolling_update": {"max_surge": "0", "max_unavailable": "0%"}}),
            "rolling_update.max_unavailable",
        ),
        (
            json!({"user_data": "aGVsbG8gd29ybGQsIGhlbGxvIHdvcmxk"}),
            "user_data",
        ),
        (
            json!({"user_data_wo": IGNITION, "user_data_wo_version": 1}),
            "user_data_wo",
        ),
        (
            json!({"user_data": null, "user_data_wo": IGNITION}),
            "user_data_wo_version",
        ),
        (
            json!({"user_data": null, "user_data_wo_version": 1}),
            "user_data_wo",
        ),
        (json!({"machine_timeout": "soon"}), "machine_timeout"),
        (json!({"machine_timeout": "0s"}), "machine_timeout"),
        (json!({"machine_timeout": "0"}), "machine_timeout"),
        (json!({"machine_timeout": "1ms"}), ""),
        (json!({"rolling_update": {"min_ready": "0s"}}), ""),
        (json!({"image": ""}), "image"),
        (json!({"image": "  "}), "image"),
        (json!({"image": "flatcar\n"}), "image"),
        (json!({"image": "a\nb"}), "image"),
        (json!({"image": "a\u{0}b"}), "image"),
        (json!({"image": "a".repeat(1025)}), "image"),
        (json!({"image": "Flatcar stable"}), ""),
        (json!({"on_existing": "steal"}), "on_existing"),
        (json!({"user_data": "<unknown>", "image": "<unknown>"}), ""),
    ];
    for (changes, path) in cases {
        let request = pb::validate_resource_config::Request {
            type_name: "flatcar_worker_group".to_owned(),
            config: dynamic(&configuration(&changes), &kind()),
            client_capabilities: Some(pb::ClientCapabilities {
                write_only_attributes_allowed: true,
                ..Default::default()
            }),
        };
        let response = world
            .service
            .validate_resource_config(Request::new(request))
            .await;
        let diagnostics = response.unwrap().into_inner().diagnostics;
        let paths: Vec<String> = diagnostics.iter().map(path_of).collect();
        match path {
            "" => assert!(
                paths.is_empty(),
                "{changes} {paths:?} {:?}",
                said(&diagnostics)
            ),
            path => assert_eq!(paths, [path], "{changes} {:?}", said(&diagnostics)),
        }
    }
}

fn path_of(problem: &pb::Diagnostic) -> String {
    use pb::attribute_path::step::Selector;
    let steps = problem.attribute.iter().flat_map(|path| &path.steps);
    let names: Vec<String> = steps
        .map(|step| match step.selector.as_ref().unwrap() {
            Selector::AttributeName(name) => name.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    match names.is_empty() {
        true => "(none)".to_owned(),
        false => names.join("."),
    }
}
