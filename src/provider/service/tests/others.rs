//! Data sources, ephemeral resources, functions, and the provider block.

use super::*;

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
