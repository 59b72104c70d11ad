//! Logging in to Google as users do: tokens, keys, users, workload identity federation, acting as
//! somebody else; in blocks, variables and files, over TLS and on this machine; and what is said
//! where that fails.

use std::fs;

use serde_json::{Value as Json, json};

use super::world::{PROJECT, Server};
use crate::core::{Core, Workspace};

/// How a user logs in.
struct Case {
    says: &'static str,
    /// The provider block's `gcp`.
    block: Json,
    variables: Vec<(&'static str, String)>,
    /// Files in the folder of the configuration.
    files: Vec<(&'static str, String)>,
    /// What the one error says; nothing: the login is fine.
    error: &'static [&'static str],
    /// What the token endpoints were asked for.
    logins: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Self {
            says: "",
            block: json!({}),
            variables: Vec::new(),
            files: Vec::new(),
            error: &[],
            logins: &[],
        }
    }
}

const NOT_CONFIGURED: &str = "Google Cloud is not configured";
const NOT_IN: &str = "Could not log in to Google Cloud";

#[test]
fn google_lets_in_who_has_credentials_and_others_are_told_what_to_set() {
    let (Some(server), Some(core)) = (Server::find(), Core::find("terraform")) else {
        return;
    };
    for case in cases(&server) {
        shows(&core, &server, &case);
    }
}

fn cases(server: &Server) -> Vec<Case> {
    let plain = &server.plain;
    let token_uri = format!("{plain}/token");
    let mut key = server.key.clone();
    key["token_uri"] = json!(token_uri);
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s3cret", "refresh_token": "refresh", "token_uri": token_uri,
    });
    let as_robot = format!(
        "{plain}/v1/projects/-/serviceAccounts/robot@p.iam.gserviceaccount.com:generateAccessToken"
    );
    let impersonated = json!({
        "type": "impersonated_service_account", "service_account_impersonation_url": as_robot, "source_credentials": user,
        "delegates": ["between@p.iam.gserviceaccount.com"],
    });
    let federated = |source: Json| {
        json!({
            "type": "external_account", "token_url": format!("{plain}/sts"), "credential_source": source,
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "service_account_impersonation_url": as_robot,
        })
    };
    let with = |mut json: Json, name: &str, value: Json| {
        json[name] = value;
        json
    };
    let here = |more: Json| {
        let mut block = json!({"project": PROJECT, "endpoint": plain});
        block
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        block
    };
    let credentials = |json: &Json| here(json!({"credentials": json.to_string()}));
    let mut cases = vec![
        Case {
            says: "a token in the block",
            block: here(json!({"access_token": "test-token"})),
            ..Case::default()
        },
        Case {
            says: "a token, a project and an endpoint in variables",
            variables: vec![
                ("GOOGLE_OAUTH_ACCESS_TOKEN", "test-token".to_owned()),
                ("CLOUDSDK_CORE_PROJECT", PROJECT.to_owned()),
                (
                    "GOOGLE_COMPUTE_CUSTOM_ENDPOINT",
                    format!("{plain}/compute/v1/"),
                ),
            ],
            ..Case::default()
        },
        Case {
            says: "a key in a file, over TLS that the user's authority vouches for",
            block: json!({"project": PROJECT, "endpoint": server.secure, "credentials": "key.json", "ca_bundle": server.ca_file}),
            files: vec![("key.json", server.key.to_string())],
            logins: &["key"],
            ..Case::default()
        },
        Case {
            says: "a key's contents in a variable, whose project counts",
            block: json!({"endpoint": plain}),
            variables: vec![("GOOGLE_CREDENTIALS", key.to_string())],
            logins: &["key"],
            ..Case::default()
        },
        Case {
            says: "the block's token, whatever key is around",
            block: here(json!({"access_token": "test-token"})),
            variables: vec![("GOOGLE_CREDENTIALS", "not it".to_owned())],
            ..Case::default()
        },
        Case {
            says: "application default credentials in a file",
            block: json!({"endpoint": plain}),
            variables: vec![("GOOGLE_APPLICATION_CREDENTIALS", "adc.json".to_owned())],
            files: vec![("adc.json", key.to_string())],
            logins: &["key"],
            ..Case::default()
        },
        Case {
            says: "what gcloud has written",
            block: here(json!({})),
            variables: vec![("CLOUDSDK_CONFIG", "gcloud".to_owned())],
            files: vec![(
                "gcloud/application_default_credentials.json",
                user.to_string(),
            )],
            logins: &["user"],
            ..Case::default()
        },
        Case {
            says: "the metadata server",
            block: here(json!({})),
            variables: vec![("GCE_METADATA_HOST", plain.replace("http://", ""))],
            logins: &["metadata"],
            ..Case::default()
        },
        Case {
            says: "a user who acts as a service account",
            block: credentials(&impersonated),
            logins: &[
                "user",
                "as robot@p.iam.gserviceaccount.com via between@p.iam.gserviceaccount.com",
            ],
            ..Case::default()
        },
        Case {
            says: "a key that acts as a service account by the block",
            block: here(
                json!({"credentials": key.to_string(), "impersonate_service_account": "robot@q.iam.gserviceaccount.com"}),
            ),
            variables: vec![(
                "GOOGLE_IAM_CREDENTIALS_CUSTOM_ENDPOINT",
                format!("{plain}/v1/"),
            )],
            logins: &["key", "as robot@q.iam.gserviceaccount.com"],
            ..Case::default()
        },
        Case {
            says: "workload identity federation with a file",
            block: credentials(&federated(json!({"file": "subject"}))),
            files: vec![("subject", "subject\n".to_owned())],
            logins: &["federated", "as robot@p.iam.gserviceaccount.com"],
            ..Case::default()
        },
        Case {
            says: "workload identity federation with a url that answers JSON",
            block: credentials(&federated(json!({
                "url": format!("{plain}/subject"), "headers": {"X-Caller": "tests"}, "format": {"type": "json", "subject_token_field_name": "value"},
            }))),
            logins: &["federated", "as robot@p.iam.gserviceaccount.com"],
            ..Case::default()
        },
    ];
    let fails = |says, block: Json, error| Case {
        says,
        block,
        error,
        ..Case::default()
    };
    cases.extend([
        fails(
            "no project",
            json!({"endpoint": plain, "access_token": "test-token"}),
            &[NOT_CONFIGURED, "gcp.project", "GOOGLE_PROJECT"],
        ),
        fails(
            "a token of nobody",
            here(json!({"access_token": "s3cret"})),
            &["401", "authentication credential"],
        ),
        fails(
            "a user whose token is no longer good",
            credentials(&with(user.clone(), "refresh_token", json!("s3cret"))),
            &[
                NOT_IN,
                "invalid_grant",
                "gcloud auth application-default login",
            ],
        ),
        fails(
            "a key that is none",
            credentials(&with(key.clone(), "private_key", json!("s3cret"))),
            &[
                NOT_CONFIGURED,
                "gcp.credentials",
                "private_key: it holds no private key in PEM",
            ],
        ),
        fails(
            "a key without a half",
            credentials(&with(key.clone(), "client_email", Json::Null)),
            &[NOT_CONFIGURED, "it has no client_email"],
        ),
        fails(
            "what is neither JSON nor a file",
            here(json!({"credentials": "s3cret"})),
            &[NOT_CONFIGURED, "names no file that can be read"],
        ),
        fails(
            "half of a file",
            here(json!({"credentials": "{\"s3cret\": "})),
            &[NOT_CONFIGURED, "it is no JSON"],
        ),
        fails(
            "a kind that nobody knows",
            credentials(&json!({"type": "gdch_service_account"})),
            &[NOT_CONFIGURED, "external_account"],
        ),
        fails(
            "a token endpoint in the clear",
            credentials(&with(
                key.clone(),
                "token_uri",
                json!("http://192.0.2.1/token"),
            )),
            &[
                NOT_CONFIGURED,
                "token_uri is no URL that begins with https://",
            ],
        ),
        fails(
            "an API in the clear",
            here(json!({"endpoint": "http://192.0.2.1", "access_token": "s3cret"})),
            &[NOT_CONFIGURED, "gcp.endpoint", "https://"],
        ),
        fails(
            "a certificate that nobody vouches for",
            json!({"project": PROJECT, "endpoint": server.secure, "access_token": "s3cret"}),
            &["certificate"],
        ),
        fails(
            "a CA bundle that is none",
            json!({"project": PROJECT, "access_token": "s3cret", "ca_bundle": "main.tf.json"}),
            &[
                "Could not read the CA bundle",
                "gcp.ca_bundle",
                "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
            ],
        ),
        fails(
            "federation by AWS",
            credentials(&federated(json!({"environment_id": "aws1"}))),
            &[NOT_CONFIGURED, "credential_source is AWS or a program"],
        ),
        fails(
            "federation by a program",
            credentials(&federated(
                json!({"executable": {"command": "/bin/s3cret"}}),
            )),
            &[NOT_CONFIGURED, "credential_source is AWS or a program"],
        ),
        fails(
            "a subject of somebody else",
            credentials(&federated(json!({"url": format!("{plain}/subject")}))),
            &[NOT_IN, "403", "credential_source"],
        ),
        fails(
            "a service account that one may not act as",
            credentials(&with(
                impersonated,
                "service_account_impersonation_url",
                json!(format!(
                    "{plain}/v1/projects/-/serviceAccounts/other@p:generateAccessToken"
                )),
            )),
            &[
                NOT_IN,
                "iam.serviceAccounts.getAccessToken",
                "roles/iam.serviceAccountTokenCreator",
            ],
        ),
        Case {
            variables: vec![("GCE_METADATA_HOST", "127.0.0.1:9".to_owned())],
            ..fails(
                "nothing at all",
                here(json!({})),
                &[
                    NOT_IN,
                    "No credentials are set",
                    "metadata server",
                    "GOOGLE_CREDENTIALS",
                ],
            )
        },
    ]);
    cases
}

/// One apply of a group of no machines: it logs in, and looks for machines.
fn shows(core: &Core, server: &Server, case: &Case) {
    let says = case.says;
    let mut workspace = Workspace::new(core);
    for (name, value) in &case.variables {
        workspace.set(name, value);
    }
    // Nobody's proxy or metadata server is in the way.
    workspace.set("NO_PROXY", "127.0.0.1");
    for (name, contents) in &case.files {
        let path = workspace.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, contents).expect("a file");
    }
    let configuration = json!({
        "terraform": {"required_providers": {"flatcar": {"source": "flatcar-iac/flatcar"}}},
        "provider": {"flatcar": {"gcp": case.block}},
        "resource": {"flatcar_worker_group": {"workers": {
            "cluster": "login", "name": "workers", "replicas": 0, "image": "projects/p/global/images/i",
            "gcp": {"zones": ["europe-west3-a"], "machine_type": "e2-small"},
        }}},
    });
    // Many lines: the core shows the one that it blames.
    let configuration = serde_json::to_string_pretty(&configuration).expect("JSON");
    workspace.write("main.tf.json", &configuration);
    let run = workspace.run(&["apply", "-no-color", "-auto-approve"]);
    let said = format!("{}{}", run.stdout, run.stderr);
    for secret in ["s3cret", "BEGIN PRIVATE KEY", "test-token"] {
        assert!(!said.contains(secret), "{says}: a secret is told: {said}");
    }
    if case.error.is_empty() {
        run.success();
        let group = workspace.state("flatcar_worker_group.workers");
        assert_eq!(group.expect("is in state")["scope"], PROJECT, "{says}");
        let logins = server.control(&json!({}))["logins"].take();
        let logins = logins.as_array().expect("a list");
        for login in case.logins {
            assert!(
                logins.contains(&json!(login)),
                "{says}: {login} of {logins:?}"
            );
        }
        println!("  ok    {says}");
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
