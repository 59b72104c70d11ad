//! Logging in to Keystone itself as users do: by the provider block, by variables, by
//! `clouds.yaml`, with application credentials; and what is said where that fails.

use std::time::{Duration, SystemTime};

use flatcar::worker_group::cloud::{Growth, Kind, Mark, Spec};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::server::PASSWORD;
use super::world::World;
use crate::core::{Core, Workspace};
use crate::worker_group::{Subject as _, connect, shaped};

/// How a user logs in.
struct Case<'a> {
    says: &'a str,
    /// The provider block's `openstack`.
    block: Json,
    variables: Vec<(&'a str, &'a str)>,
    /// `clouds.yaml` in the folder of the configuration.
    clouds: Option<&'a str>,
    /// What the one error says; nothing: the login is fine.
    error: &'a [&'a str],
}

#[tokio::test(flavor = "multi_thread")]
async fn keystone_lets_in_who_has_credentials_and_others_are_told_what_to_set() {
    let Some(openstack) = World::find("demo").await else {
        return;
    };
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let auth_url = openstack.server.auth_url.as_str();
    let good = credential(&openstack, json!({})).await;
    let (id, secret) = (
        good["id"].as_str().unwrap(),
        good["secret"].as_str().unwrap(),
    );
    let expired = expired(&openstack).await;
    let (old_id, old_secret) = (
        expired["id"].as_str().unwrap(),
        expired["secret"].as_str().unwrap(),
    );
    let password = [
        ("OS_AUTH_URL", auth_url),
        ("OS_USERNAME", "demo"),
        ("OS_PASSWORD", PASSWORD),
        ("OS_PROJECT_NAME", "demo"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_DOMAIN_NAME", "Default"),
        ("OS_REGION_NAME", "RegionOne"),
    ];
    let clouds = format!(
        "clouds:\n  dev:\n    auth: {{auth_url: \"{auth_url}\", username: demo, password: {PASSWORD}, project_name: demo, \
         user_domain_name: Default, project_domain_name: Default}}\n    region_name: RegionOne\n  machine:\n    auth_type: \
         v3applicationcredential\n    auth: {{auth_url: \"{auth_url}\", application_credential_id: {id}, \
         application_credential_secret: {secret}}}\n"
    );
    let torn = format!("clouds:\n  dev:\n    auth: {{password: {secret}\n  : [\n");
    let flat = format!("clouds:\n  dev:\n    auth: \"{secret}\"\n");
    let (clouds, torn, flat) = (clouds.as_str(), torn.as_str(), flat.as_str());
    let by = |id: &str, secret: &str| json!({"auth_url": auth_url, "application_credential_id": id, "application_credential_secret": secret});
    let refused = ["Could not log in to OpenStack", auth_url];
    let wrong = [
        &refused[..],
        &["openstack.application_credential_id and its secret"],
    ]
    .concat();
    let over = [&refused[..], &["whether it has expired"]].concat();
    let case = |says, block, error| Case {
        says,
        block,
        variables: Vec::new(),
        clouds: None,
        error,
    };
    let mut by_token = openstack.server.block();
    for (name, value) in [
        ("user_name", Json::Null),
        ("password", Json::Null),
        ("user_domain_name", Json::Null),
        ("token", json!(openstack.client.user.token)),
    ] {
        by_token[name] = value;
    }
    let cases = [
        case("a token", by_token, &[]),
        case("the block", openstack.server.block(), &[]),
        Case {
            variables: password.to_vec(),
            ..case("variables", json!({}), &[])
        },
        case("an application credential", by(id, secret), &[]),
        Case {
            variables: password.to_vec(),
            ..case(
                "an application credential, with somebody's openrc around it",
                by(id, secret),
                &[],
            )
        },
        Case {
            variables: vec![
                ("OS_AUTH_TYPE", "v3applicationcredential"),
                ("OS_AUTH_URL", auth_url),
                ("OS_APPLICATION_CREDENTIAL_ID", id),
                ("OS_APPLICATION_CREDENTIAL_SECRET", secret),
            ],
            ..case("an application credential in variables", json!({}), &[])
        },
        Case {
            variables: vec![
                ("OS_APPLICATION_CREDENTIAL_ID", id),
                ("OS_APPLICATION_CREDENTIAL_SECRET", "not it"),
            ],
            ..case(
                "the block's password, whatever credential is around",
                openstack.server.block(),
                &[],
            )
        },
        Case {
            clouds: Some(clouds),
            ..case("an entry of clouds.yaml", json!({"cloud": "dev"}), &[])
        },
        Case {
            clouds: Some(clouds),
            variables: vec![("OS_CLOUD", "machine")],
            ..case("an application credential in clouds.yaml", json!({}), &[])
        },
        Case {
            clouds: Some(clouds),
            ..case(
                "a name that clouds.yaml does not have",
                json!({"cloud": "prod"}),
                &[
                    "clouds.yaml has no such entry",
                    "There is no \"prod\"",
                    "there are dev, machine",
                    "openstack.cloud or OS_CLOUD",
                ],
            )
        },
        case(
            "no clouds.yaml",
            json!({"cloud": "prod"}),
            &[
                "clouds.yaml has no such entry",
                "There is no clouds.yaml in this directory",
            ],
        ),
        Case {
            clouds: Some(torn),
            ..case(
                "a clouds.yaml that is none",
                json!({"cloud": "dev"}),
                &[
                    "Could not read clouds.yaml",
                    "clouds.yaml: it is no YAML",
                    "line",
                ],
            )
        },
        Case {
            clouds: Some(flat),
            ..case(
                "a clouds.yaml of another form",
                json!({"cloud": "dev"}),
                &[
                    "Could not read clouds.yaml",
                    "something unexpected",
                    "clouds.dev.auth",
                ],
            )
        },
        case(
            "nothing at all",
            json!({}),
            &[
                "OpenStack is not configured",
                "openstack.auth_url",
                "openstack.user_name",
                "OS_APPLICATION_CREDENTIAL_ID",
            ],
        ),
        case(
            "an application credential without its secret",
            json!({"auth_url": auth_url, "application_credential_id": id}),
            &[
                "OpenStack is not configured",
                "openstack.application_credential_secret or OS_APPLICATION_CREDENTIAL_SECRET",
            ],
        ),
        case("a wrong secret", by(id, "hunter2hunter2"), &wrong),
        case(
            "an application credential that has expired",
            by(old_id, old_secret),
            &over,
        ),
        case(
            "an endpoint where nobody listens",
            json!({"auth_url": "http://127.0.0.1:9/v3", "user_name": "demo", "password": "hunter2hunter2", "tenant_name": "demo"}),
            &[
                "Could not log in to OpenStack",
                "http://127.0.0.1:9/v3",
                "openstack.auth_url",
            ],
        ),
    ];
    tokio::task::block_in_place(|| {
        for case in &cases {
            shows(&core, case, &[secret, old_secret, "hunter2hunter2"]);
        }
    });
}

/// One apply of a group of no machines: it logs in, and asks for the scope.
fn shows(core: &Core, case: &Case<'_>, secrets: &[&str]) {
    let says = case.says;
    let mut workspace = Workspace::new(core);
    for (name, value) in &case.variables {
        workspace.set(name, value);
    }
    if let Some(clouds) = case.clouds {
        workspace.write("clouds.yaml", clouds);
    }
    let configuration = json!({
        "terraform": {"required_providers": {"flatcar": {"source": "flatcar-iac/flatcar"}}},
        "provider": {"flatcar": {"openstack": case.block}},
        "resource": {"flatcar_worker_group": {"workers": {
            "cluster": "login", "name": "workers", "replicas": 0, "image": "flatcar-stable",
            "openstack": {"flavor_name": "small"},
        }}},
    });
    // Many lines: the core shows the one that it blames.
    let configuration = serde_json::to_string_pretty(&configuration).unwrap();
    workspace.write("main.tf.json", &configuration);
    let run = workspace.run(&["apply", "-no-color", "-auto-approve"]);
    let said = format!("{}{}", run.stdout, run.stderr);
    for secret in secrets {
        assert!(!said.contains(secret), "{says}: a secret is told: {said}");
    }
    if case.error.is_empty() {
        run.success();
        let group = workspace
            .state("flatcar_worker_group.workers")
            .expect("is in state");
        assert!(
            group["scope"]
                .as_str()
                .is_some_and(|scope| scope.starts_with("RegionOne/")),
            "{says}: {group}"
        );
        return;
    }
    let errors = run.failure().errors();
    assert_eq!(errors.len(), 1, "{says}: {errors:#?}");
    // The core breaks lines.
    let error: Vec<&str> = errors[0].split_whitespace().collect();
    let error = error.join(" ");
    for words in case.error {
        assert!(error.contains(words), "{says}: {words:?} is not in {error}");
    }
    println!("  ok    {says}: {error}");
}

#[tokio::test]
async fn an_application_credential_that_may_only_read_lists_and_is_told_what_it_may_not() {
    let Some(openstack) = World::find("demo").await else {
        return;
    };
    let reader = credential(&openstack, json!({"roles": [{"name": "reader"}]})).await;
    let block = json!({
        "auth_url": openstack.server.auth_url,
        "application_credential_id": reader["id"],
        "application_credential_secret": reader["secret"],
    });
    let shape = shaped(&openstack, &openstack.shape());
    let cloud = connect(&openstack, &json!({"openstack": block}), &shape, None).await;
    let cloud = cloud.unwrap_or_else(|problems| panic!("{problems:?}"));
    let cluster = format!("reader-{}", std::process::id());
    assert!(
        cloud
            .list(&cluster, "workers")
            .await
            .expect("may list")
            .is_empty()
    );
    let problems = cloud
        .preflight("flatcar-stable", &shape, Growth::by(1))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    let mark = Mark {
        cluster,
        group: "workers".to_owned(),
        uid: "k3x9".to_owned(),
        generation: String::new(),
        unsaved: true,
        origin: String::new(),
        proof: String::new(),
    };
    let spec = Spec {
        name: "workers-k3x9-0",
        attempt: 0,
        ordinal: 0,
        mark: &mark,
        image: "flatcar-stable",
        user_data: b"{}",
        shape: &shape,
    };
    let error = cloud.create(&spec).await.expect_err("may not create");
    assert_eq!(error.kind, Kind::Forbidden, "{error}");
    assert!(error.message.contains("Policy doesn't allow"), "{error}");
}

/// An application credential of the project's user: `{"id": …, "secret": …}`.
async fn credential(openstack: &World, more: Json) -> Json {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut credential = json!({"name": format!("test-{}-{number}", std::process::id())});
    let fields = credential.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let client = &openstack.client;
    let path = format!("/users/{}/application_credentials", client.user.user);
    let body = json!({"application_credential": credential});
    client.post("identity", &path, body).await["application_credential"].take()
}

/// One whose time is over.
async fn expired(openstack: &World) -> Json {
    let now = SystemTime::now() + Duration::from_secs(2);
    let secs = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let (year, month, day) = civil(secs / 86_400);
    let at = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000000");
    let credential = credential(openstack, json!({"expires_at": at})).await;
    let body = json!({"auth": {"identity": {
        "methods": ["application_credential"],
        "application_credential": {"id": credential["id"], "secret": credential["secret"]},
    }}});
    let client = &openstack.client;
    loop {
        let answer = client
            .send(
                &client.user,
                "identity",
                Method::POST,
                "/auth/tokens",
                Some(body.clone()),
            )
            .await;
        if answer.status() == 401 {
            return credential;
        }
        tokio::task::yield_now().await;
    }
}

/// Year, month and day of a number of days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}
