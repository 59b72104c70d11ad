//! A worker group on the sandbox over the wire alone: what a core would send, without a core. See
//! `client.rs`.

use flatcar::protocol::tfplugin6 as pb;
use flatcar::protocol::value::{Type, Value};

use crate::client::{Plugin, Setup, dynamic, object, object_type, value};
use crate::harness::{scratch, wait_until};

const GROUP: &str = "flatcar_worker_group";

#[tokio::test]
async fn the_same_plan_twice_is_the_same_bytes() {
    let directory = scratch();
    let (plugin, kind) = configured(directory.path()).await;
    let request = create(&kind, r#"{"boot_time":"0s"}"#);
    assert_eq!(
        plugin
            .validate(GROUP, request.config.clone().unwrap())
            .await,
        vec![]
    );
    let first = plugin.plan(request.clone()).await;
    assert_eq!(first.diagnostics, vec![]);
    assert_eq!(plugin.plan(request.clone()).await, first);
    // In another process too: apply plans again in one of its own.
    let (other, _) = configured(directory.path()).await;
    assert_eq!(other.plan(request).await, first);
}

#[tokio::test]
async fn a_group_is_created_read_and_deleted() {
    let directory = scratch();
    let (plugin, kind) = configured(directory.path()).await;
    let request = create(&kind, r#"{"boot_time":"0s"}"#);
    let created = apply(&plugin, request).await;
    assert_eq!(created.diagnostics, vec![]);
    assert_eq!(machines(&value(created.new_state.as_ref(), &kind)), 3);
    assert!(created.new_identity.is_some());

    let read = plugin
        .read(pb::read_resource::Request {
            type_name: GROUP.to_owned(),
            current_state: created.new_state.clone(),
            private: created.private.clone(),
            current_identity: created.new_identity.clone(),
            ..Default::default()
        })
        .await;
    assert_eq!(read.diagnostics, vec![]);
    assert_eq!(read.new_state, created.new_state);
    assert_eq!(read.new_identity, created.new_identity);

    let nothing = Some(dynamic(&Value::Null, &kind));
    let deleted = plugin
        .apply(pb::apply_resource_change::Request {
            type_name: GROUP.to_owned(),
            prior_state: read.new_state,
            planned_state: nothing.clone(),
            config: nothing,
            planned_private: read.private,
            ..Default::default()
        })
        .await;
    assert_eq!(deleted.diagnostics, vec![]);
    assert!(value(deleted.new_state.as_ref(), &kind).is_null());
}

#[tokio::test]
async fn stop_during_a_create_saves_what_exists() {
    let directory = scratch();
    let (plugin, kind) = configured(directory.path()).await;
    let request = create(&kind, r#"{"boot_time":"1h"}"#);
    let stop = async {
        let records = directory.path().to_owned();
        tokio::task::spawn_blocking(move || {
            wait_until("a machine is recorded", || files(&records).then_some(()))
        })
        .await
        .unwrap();
        let stopped: pb::stop_provider::Response = plugin
            .call(
                "/tfplugin6.Provider/StopProvider",
                pb::stop_provider::Request {},
            )
            .await
            .unwrap();
        assert_eq!(stopped.error, "");
    };
    let (applied, ()) = tokio::join!(apply(&plugin, request), stop);
    assert!(!applied.diagnostics.is_empty());
    assert!(machines(&value(applied.new_state.as_ref(), &kind)) > 0);
}

#[tokio::test]
async fn an_unconfigured_provider_renders_and_computes() {
    let plugin = Plugin::start().await;
    let kind = object_type(&plugin.schemas().await.data_source_schemas["flatcar_ignition"]);
    let config = object(r#"{"content":"variant: flatcar\nversion: 1.0.0\n"}"#, &kind);
    let answer = plugin
        .read_data("flatcar_ignition", dynamic(&config, &kind))
        .await;
    assert_eq!(answer.diagnostics, vec![]);
    let Value::Map(state) = value(answer.state.as_ref(), &kind) else {
        panic!("no object");
    };
    assert!(state["rendered"] == Value::String(r#"{"ignition":{"version":"3.3.0"}}"#.to_owned()));

    let version = |text: &str| dynamic(&Value::String(text.to_owned()), &Type::String);
    let answer = plugin
        .function(
            "compare_versions",
            vec![version("4081.2.0"), version("4593.1.0")],
        )
        .await;
    assert_eq!(answer.error, None);
    assert!(value(answer.result.as_ref(), &Type::Number) == Value::Number((-1_i64).into()));
}

async fn configured(directory: &std::path::Path) -> (Plugin, Type) {
    let plugin = Setup::core().start().await;
    let schemas = plugin.schemas().await;
    let provider = object_type(schemas.provider.as_ref().unwrap());
    let config = format!(r#"{{"sandbox":{{"directory":"{}"}}}}"#, directory.display());
    let answer = plugin
        .configure(dynamic(&object(&config, &provider), &provider))
        .await;
    assert_eq!(answer.diagnostics, vec![]);
    (plugin, object_type(&schemas.resource_schemas[GROUP]))
}

/// As core asks for the plan of a new resource: what is proposed is the configuration.
fn create(kind: &Type, sandbox: &str) -> pb::plan_resource_change::Request {
    let config = object(
        &format!(
            r#"{{"name":"workers","cluster":"test","replicas":3,"image":"flatcar",
                "user_data":"{{\"ignition\":{{\"version\":\"3.3.0\"}}}}","sandbox":{sandbox}}}"#
        ),
        kind,
    );
    pb::plan_resource_change::Request {
        type_name: GROUP.to_owned(),
        prior_state: Some(dynamic(&Value::Null, kind)),
        proposed_new_state: Some(dynamic(&config, kind)),
        config: Some(dynamic(&config, kind)),
        ..Default::default()
    }
}

async fn apply(
    plugin: &Plugin,
    request: pb::plan_resource_change::Request,
) -> pb::apply_resource_change::Response {
    let planned = plugin.plan(request.clone()).await;
    assert_eq!(planned.diagnostics, vec![]);
    plugin
        .apply(pb::apply_resource_change::Request {
            type_name: GROUP.to_owned(),
            prior_state: request.prior_state,
            planned_state: planned.planned_state,
            config: request.config,
            planned_private: planned.planned_private,
            planned_identity: planned.planned_identity,
            ..Default::default()
        })
        .await
}

fn machines(state: &Value) -> usize {
    let Value::Map(attributes) = state else {
        return 0;
    };
    match &attributes["machines"] {
        Value::Map(machines) => machines.len(),
        _ => 0,
    }
}

/// Whether a machine has its record: a file whose name is the machine's.
fn files(directory: &std::path::Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            files(&path)
        } else {
            entry.file_name().to_string_lossy().starts_with("workers-")
        }
    })
}
