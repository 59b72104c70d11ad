//! The client against a server that follows a script: what no real API server can be made to answer
//! at will.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::access::{Access, Exec, Secret};
use super::api::{Call, Event};
use super::*;

/// A question that is expected next, in its beginning, and the answer: status, header lines, body.
type Answer = (&'static str, u16, &'static str, String);

/// A server on a port of its own that answers a script, and fails a test that asks otherwise.
struct Script {
    host: String,
    left: Arc<Mutex<VecDeque<Answer>>>,
    /// Requests as they came: method, path, and who asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Self {
            host: format!("http://{}", listener.local_addr().unwrap()),
            left: Arc::new(Mutex::new(answers.into())),
            asked: Arc::default(),
        };
        let (left, asked) = (Arc::clone(&script.left), Arc::clone(&script.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &left, &asked).await;
            }
        });
        script
    }

    fn access(&self) -> Access {
        Access {
            host: Some(self.host.clone()),
            ..Access::default()
        }
    }

    fn api(&self, access: Access) -> Arc<Api> {
        Arc::new(Api::new(access.endpoint(&|_| None).unwrap()).unwrap())
    }

    /// All has been asked, and nothing else.
    fn is_over(&self) -> Vec<String> {
        assert!(
            self.left.lock().unwrap().is_empty(),
            "{:?}",
            self.left.lock().unwrap()
        );
        self.asked.lock().unwrap().clone()
    }
}

/// One request on a connection of its own.
async fn answer(stream: TcpStream, left: &Mutex<VecDeque<Answer>>, asked: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.unwrap();
    let request = first.trim_end_matches(" HTTP/1.1\r\n").to_owned();
    let (mut who, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some(("authorization", value)) => value.clone_into(&mut who),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    asked
        .lock()
        .unwrap()
        .push(format!("{request} {who}").trim_end().to_owned());
    let next = left.lock().unwrap().pop_front();
    let (expected, status, headers, body) = next.unwrap_or(("", 599, "", String::new()));
    let (status, body) = match request.starts_with(expected) {
        true => (status, body),
        false => (598, format!("{request} came in place of {expected}")),
    };
    // Its end is that of the connection, as for a watch.
    let answer = format!("HTTP/1.1 {status} X\r\n{headers}connection: close\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn nodes() -> Call<'static> {
    Call {
        method: Method::GET,
        path: &["api", "v1", "nodes"],
        query: &[],
        body: None,
        rule: ("", "nodes", "list"),
    }
}

fn node(name: &str, version: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "uid": name, "resourceVersion": version},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A Secret as the cluster has it.
fn secret(created: &str) -> String {
    json!({"metadata": {"uid": "u-1", "creationTimestamp": created}}).to_string()
}

#[tokio::test]
async fn a_token_whose_answer_was_lost_is_found_again_and_one_whose_name_is_taken_is_told() {
    let secrets = "POST /api/v1/namespaces/kube-system/secrets";
    let patch = "PATCH /api/v1/namespaces/kube-system/secrets/bootstrap-token-";
    let delete = "DELETE /api/v1/namespaces/kube-system/secrets/bootstrap-token-";
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801);
    let (same, ahead) = ("2026-11-24T09:00:01Z", "2026-11-24T10:00:01Z");
    let there = || (secrets, 409, "", "{}".to_owned());
    let lost = || (secrets, 500, "", String::new());
    for (answers, expected) in [
        (vec![(secrets, 201, "", secret(same))], "ours"),
        // It ends by the clock of the cluster.
        (
            vec![
                (secrets, 201, "", secret(ahead)),
                (patch, 200, "", secret(ahead)),
            ],
            "ours",
        ),
        (
            vec![lost(), there(), (patch, 200, "", secret(same))],
            "ours",
        ),
        (
            vec![
                lost(),
                there(),
                (patch, 200, "", secret(ahead)),
                (patch, 200, "", secret(ahead)),
            ],
            "ours",
        ),
        // Somebody else's: it is not asked for again.
        (vec![there()], "taken"),
        // What cannot be told its end is taken back.
        (
            vec![
                (secrets, 201, "", secret(ahead)),
                (patch, 403, "", "{}".to_owned()),
                (delete, 200, "", "{}".to_owned()),
            ],
            "refused",
        ),
    ] {
        let server = Script::start(answers).await;
        let api = server.api(server.access());
        let terms = token::Terms {
            ttl: Duration::from_secs(600),
            description: "",
            groups: &[],
        };
        let token = token::Token::new().unwrap();
        let published = match token.published(&api, &terms, now).await {
            Ok(token::Published::Ours(_)) => "ours",
            Ok(token::Published::Taken(_)) => "taken",
            Err(_) => "refused",
        };
        assert_eq!(published, expected, "{:?}", server.is_over());
        server.is_over();
    }
}

#[tokio::test]
async fn what_a_webhook_forbids_is_no_rule_of_a_role() {
    let refusal = |message: &str| {
        let body = json!({"message": message, "reason": "Forbidden", "code": 403});
        ("GET /api", 403, "", body.to_string())
    };
    for (message, is_of_the_login) in [
        (
            r#"nodes is forbidden: User "u" cannot list resource "nodes" in API group "" at the cluster scope"#,
            true,
        ),
        (
            r#"admission webhook "safe.example.com" denied the request: you cannot evict this pod"#,
            false,
        ),
        (
            r#"pods "web" is forbidden: unable to create new content in namespace a because it is being terminated"#,
            false,
        ),
    ] {
        let server = Script::start(vec![refusal(message)]).await;
        let api = server.api(server.access());
        let failed = api.call(nodes()).await.unwrap_err();
        assert_eq!(failed.is_of_the_login(), is_of_the_login, "{message}");
        assert_eq!(failed.message.contains("lacks the rule"), is_of_the_login);
    }
}

#[tokio::test]
async fn a_login_that_has_run_out_is_renewed_once() {
    let folder = tempfile::tempdir().unwrap();
    let counter = folder.path().join("counter");
    let script = format!(
        r#"echo x >> {0}; printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"t%s"}}}}' "$(grep -c x {0})""#,
        counter.display()
    );
    let refused = || ("GET /api", 401, "", String::new());
    let fine = || ("GET /api", 200, "", "{}".to_owned());
    let server = Script::start(vec![
        fine(),
        refused(),
        fine(),
        fine(),
        refused(),
        refused(),
    ])
    .await;
    let exec = Exec {
        api_version: "client.authentication.k8s.io/v1".to_owned(),
        command: "sh".to_owned(),
        args: Some(vec!["-c".to_owned(), script]),
        ..Exec::default()
    };
    let api = server.api(Access {
        exec: Some(exec),
        ..server.access()
    });
    for _ in 0..3 {
        api.call(nodes()).await.unwrap();
    }
    let error = api.call(nodes()).await.unwrap_err().error("List", "nodes");
    assert!(!error.retryable, "{error}");
    let who: Vec<String> = server.is_over();
    let who: Vec<&str> = who
        .iter()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(who, ["t1", "t1", "t2", "t2", "t2", "t3"]);
}

#[tokio::test]
async fn a_token_file_is_read_again_and_a_token_that_is_written_is_not_asked_for_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let config = format!(
        "clusters: [{{name: a, cluster: {{server: SERVER}}}}]\nusers: [{{name: a, user: {{tokenFile: {}}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n",
        path.display()
    );
    let fine = || ("GET /api", 200, "", "{}".to_owned());
    let server = Script::start(vec![
        fine(),
        fine(),
        fine(),
        ("GET /api", 401, "", String::new()),
    ])
    .await;
    let api = server.api(Access {
        config_content: Some(Secret::new(config.replace("SERVER", &server.host))),
        ..Access::default()
    });
    api.call(nodes()).await.unwrap();
    std::fs::write(&path, "second").unwrap();
    api.call(nodes()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    api.call(nodes()).await.unwrap();
    let written = server.api(Access {
        token: Some(Secret::new("third")),
        ..server.access()
    });
    let error = written.call(nodes()).await.unwrap_err();
    assert!(!format!("{error:?}").contains("third"));
    let who = ["first", "first", "second", "third"];
    assert_eq!(
        server.is_over(),
        who.map(|who| format!("GET /api/v1/nodes Bearer {who}"))
    );
}

#[tokio::test]
async fn an_answer_is_what_it_says_or_why_it_is_none() {
    let status = |code: u16, message: &str| {
        json!({"kind": "Status", "code": code, "message": message, "reason": "R"}).to_string()
    };
    let denied = r#"nodes is forbidden: User "x" cannot list resource "nodes""#;
    let rows = [
        ((200, "", "{\"a\": 1}".to_owned()), "", true, None),
        (
            (200, "", "<html>".to_owned()),
            "200 with a body that is not JSON",
            true,
            None,
        ),
        (
            (403, "", status(403, denied)),
            "its role lacks the rule apiGroups: [\"\"], resources: [\"nodes\"], verbs: [\"list\"]",
            false,
            None,
        ),
        (
            (403, "", status(403, "the webhook forbids it\u{7}")),
            "403 the webhook forbids it",
            false,
            None,
        ),
        (
            (404, "", status(404, "not there")),
            "404 not there",
            false,
            None,
        ),
        (
            (429, "retry-after: 3\r\n", status(429, "too many")),
            "429 too many",
            true,
            Some(3),
        ),
        (
            (503, "", "<html>down</html>".to_owned()),
            "503 without words that a program can read",
            true,
            None,
        ),
        (
            (
                302,
                "location: https://elsewhere.example/\r\n",
                String::new(),
            ),
            "302 ",
            false,
            None,
        ),
    ];
    let answers = rows
        .iter()
        .map(|((status, headers, body), ..)| ("GET /api", *status, *headers, body.clone()));
    let server = Script::start(answers.collect()).await;
    let api = server.api(server.access());
    for (_, expected, retryable, seconds) in &rows {
        match api.call(nodes()).await {
            Ok(answer) => assert!(expected.is_empty(), "{answer}"),
            Err(failed) => {
                let error = failed.error("Kubernetes List", "nodes");
                assert!(
                    error.message.contains(expected) && !expected.is_empty(),
                    "{error}"
                );
                assert_eq!(error.retryable, *retryable, "{error}");
                assert_eq!(
                    error.retry_after,
                    seconds.map(Duration::from_secs),
                    "{error}"
                );
                assert!(!error.message.contains('\u{7}'), "{error}");
            }
        }
    }
    server.is_over();
    // Nobody listens any more.
    let nobody = Access {
        host: Some("http://127.0.0.1:1".to_owned()),
        ..Access::default()
    };
    let error = server
        .api(nobody)
        .call(nodes())
        .await
        .unwrap_err()
        .error("List", "nodes");
    assert!(
        error.retryable && error.message.contains("refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_is_all_of_its_pages() {
    let page = |names: &[&str], next: &str| {
        let items: Vec<_> = names.iter().map(|name| node(name, "1")).collect();
        json!({"items": items, "metadata": {"continue": next, "resourceVersion": "7"}}).to_string()
    };
    let server = Script::start(vec![
        (
            "GET /api/v1/nodes?limit=500",
            200,
            "",
            page(&["a", "b"], "n/x"),
        ),
        (
            "GET /api/v1/nodes?limit=500&continue=n%2Fx",
            200,
            "",
            page(&["c"], ""),
        ),
    ])
    .await;
    let api = server.api(server.access());
    let name = |node: &serde_json::Value| node["metadata"]["name"].as_str().unwrap().to_owned();
    let (names, version) = api
        .list(&["api", "v1", "nodes"], &[], ("", "", ""), name)
        .await
        .unwrap();
    assert_eq!(
        (names, version.as_str()),
        (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], "7")
    );
    server.is_over();
}

#[tokio::test]
async fn a_watch_gives_events_until_it_ends() {
    let line = |kind: &str, object: serde_json::Value| {
        format!("{}\n", json!({"type": kind, "object": object}))
    };
    let body = [
        line("ADDED", node("a", "2")),
        line("BOOKMARK", node("", "3")),
        line("DELETED", node("a", "4")),
    ];
    let server = Script::start(vec![
        ("GET /api/v1/nodes?watch=1", 200, "", body.concat()),
        (
            "GET /api/v1/nodes?watch=1",
            200,
            "",
            line("ERROR", json!({"code": 410, "message": "too old"})),
        ),
        ("GET /api/v1/nodes?watch=1", 200, "", "no JSON\n".to_owned()),
        ("GET /api/v1/nodes?watch=1", 410, "", String::new()),
    ])
    .await;
    let api = server.api(server.access());
    let watch = || api.watch(&["api", "v1", "nodes"], &[], "1", ("", "nodes", "watch"));
    let mut events = watch().await.unwrap();
    assert!(matches!(events.next().await, Ok(Some(Event::Is(_)))));
    assert!(matches!(events.next().await, Ok(Some(Event::Bookmark(version))) if version == "3"));
    assert!(matches!(events.next().await, Ok(Some(Event::Gone(_)))));
    assert!(matches!(events.next().await, Ok(None)));
    let mut expired = watch().await.unwrap();
    assert!(expired.next().await.unwrap_err().is_expired());
    let mut broken = watch().await.unwrap();
    assert!(broken.next().await.unwrap_err().is_passing());
    assert!(watch().await.err().unwrap().is_expired());
    server.is_over();
}

#[tokio::test]
async fn a_watch_goes_on_from_where_it_was_and_begins_anew_where_that_is_too_old() {
    let list = |version: &str| {
        json!({"items": [node("a", version)], "metadata": {"resourceVersion": version}}).to_string()
    };
    let event = |kind: &str, object: serde_json::Value| {
        format!("{}\n", json!({"type": kind, "object": object}))
    };
    let mut unready = node("a", "13");
    unready["status"] = json!({});
    let server = Script::start(vec![
        ("GET /api/v1/nodes?limit", 200, "", list("5")),
        ("GET /api/v1/nodes?watch=1&allowWatchBookmarks=true&timeoutSeconds=240&resourceVersion=5", 200, "", event("ERROR", json!({"code": 410}))),
        ("GET /api/v1/nodes?limit", 200, "", list("9")),
        ("GET /api/v1/nodes?watch=1&allowWatchBookmarks=true&timeoutSeconds=240&resourceVersion=9", 200, "", event("BOOKMARK", node("", "12"))),
        ("GET /api/v1/nodes?watch=1&allowWatchBookmarks=true&timeoutSeconds=240&resourceVersion=12", 200, "", event("MODIFIED", unready)),
    ])
    .await;
    let connection = Connection::new(server.api(server.access()), Rules::default());
    let hosts = [Host {
        name: "a".to_owned(),
        id: String::new(),
        addresses: Vec::new(),
        created: None,
    }];
    for _ in 0..2 {
        connection.status(&hosts).await.unwrap();
        connection.changed().await;
    }
    server.is_over();
}

#[tokio::test]
async fn a_machine_that_has_a_successor_of_its_name_takes_no_node_with_it() {
    let list = |uid: &str| {
        let mut node = node("w", "1");
        node["metadata"]["uid"] = json!(uid);
        json!({"items": [node], "metadata": {"resourceVersion": "1"}}).to_string()
    };
    let server = Script::start(vec![
        ("GET /api/v1/nodes?limit", 200, "", list("old")),
        ("GET /api/v1/nodes?limit", 200, "", list("new")),
        // The Node of the name has another uid, and nobody looks for one by name.
        ("DELETE /api/v1/nodes/w", 409, "", json!({}).to_string()),
    ])
    .await;
    let connection = Connection::new(server.api(server.access()), Rules::default());
    let host = |id: &str| Host {
        name: "w".to_owned(),
        id: id.to_owned(),
        addresses: Vec::new(),
        created: None,
    };
    connection.status(&[host("i-1")]).await.unwrap();
    connection.status(&[host("i-2")]).await.unwrap();
    connection.forget(&[host("i-1")]).await.unwrap();
    server.is_over();
}

#[tokio::test]
async fn an_api_that_is_asked_too_often_says_how_long_to_wait() {
    let server = Script::start(vec![(
        "GET /api",
        429,
        "retry-after: 3\r\n",
        "{}".to_owned(),
    )])
    .await;
    let api = server.api(server.access());
    let error = api.call(nodes()).await.unwrap_err().error("List", "nodes");
    assert!(error.throttled && error.retryable, "{error}");
    assert_eq!(error.retry_after, Some(Duration::from_secs(3)));
    server.is_over();
}

#[tokio::test]
async fn a_program_that_fails_at_first_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let counter = folder.path().join("counter");
    let script = format!(
        r#"echo x >> {0}; [ "$(grep -c x {0})" -gt 1 ] && printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"t"}}}}'"#,
        counter.display()
    );
    let server = Script::start(vec![("GET /api", 200, "", "{}".to_owned())]).await;
    let exec = Exec {
        api_version: "client.authentication.k8s.io/v1".to_owned(),
        command: "sh".to_owned(),
        args: Some(vec!["-c".to_owned(), script]),
        ..Exec::default()
    };
    let api = server.api(Access {
        exec: Some(exec),
        ..server.access()
    });
    api.call(nodes()).await.unwrap();
    assert_eq!(std::fs::read_to_string(counter).unwrap(), "x\nx\n");
    server.is_over();
}

#[tokio::test]
async fn volumes_of_all_nodes_are_one_list_within_a_moment() {
    let attachment = |node: &str, volume: &str| json!({"spec": {"nodeName": node, "source": {"persistentVolumeName": volume}}});
    let list = json!({"items": [attachment("a", "v"), attachment("b", "w")]});
    let server = Script::start(vec![(
        "GET /apis/storage.k8s.io",
        200,
        "",
        list.to_string(),
    )])
    .await;
    let connection = Connection::new(server.api(server.access()), Rules::default());
    let (one, other) = tokio::join!(connection.attachments(), connection.attachments());
    assert_eq!(one.unwrap(), other.unwrap());
    server.is_over();
}
