//! What a plan of a resource answers.

use super::*;

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
