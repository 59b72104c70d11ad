//! What an apply of a resource answers, and saves.

use super::*;

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
