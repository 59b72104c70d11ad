//! What is read, imported, lifted from older states, or moved.

use super::*;

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
