//! Logging in to Azure as users do: by each kind of credential, in the provider block and in
//! variables; and what is said where that fails.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value as Json, json};

use super::world::{CLIENT, IMAGES, SECRET, TENANT, World};
use crate::core::{Core, Workspace};

/// How a user logs in.
struct Case<'a> {
    says: &'a str,
    /// Beside the subscription and the endpoints.
    block: Json,
    variables: Vec<(&'a str, String)>,
    /// Names and contents in the folder of the configuration.
    files: Vec<(&'a str, &'a str)>,
    /// What the one error says; nothing: the login is fine.
    error: &'a [&'a str],
}

/// What the stand-in's CI system gives, and its Entra ID takes.
const FEDERATED: &str = "oidc-token-of-the-tests";

#[tokio::test(flavor = "multi_thread")]
async fn entra_id_lets_in_who_has_credentials_and_others_are_told_what_to_set() {
    let Some(azure) = World::find().await else {
        return;
    };
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let certificate = certificate();
    let endpoint = azure.proxy.endpoint(0);
    let variables = |of: &[(&'static str, &str)]| {
        of.iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect::<Vec<_>>()
    };
    let client = json!({"tenant_id": TENANT, "client_id": CLIENT});
    let with = |more: Json| {
        let mut block = client.clone();
        block
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        block
    };
    let case = |says, block, error| Case {
        says,
        block,
        variables: Vec::new(),
        files: Vec::new(),
        error,
    };
    let ci = format!("{endpoint}/_ci/token");
    let machine = format!("{endpoint}/metadata/identity/oauth2/token");
    let cli = |answer: &str| {
        format!("#!/bin/sh\n[ \"$1 $2\" = \"account get-access-token\" ] || exit 2\n{answer}\n")
    };
    let token = azure.token().await;
    let good_cli = cli(&format!(
        r#"echo '{{"accessToken": "{token}", "expires_on": 4102444800, "subscription": "{}"}}'"#,
        azure.subscription
    ));
    let bad_cli = cli("echo 'Please run az login' >&2; exit 1");
    let path = format!(".:{}", std::env::var("PATH").unwrap_or_default());
    let cases = [
        case("a secret", with(json!({"client_secret": SECRET})), &[]),
        Case {
            variables: variables(&[
                ("ARM_TENANT_ID", TENANT),
                ("ARM_CLIENT_ID", CLIENT),
                ("ARM_CLIENT_SECRET", SECRET),
            ]),
            ..case("a secret in variables", json!({}), &[])
        },
        Case {
            files: vec![("secret.txt", "secret\n")],
            ..case(
                "a secret in a file",
                with(json!({"client_secret_file_path": "secret.txt"})),
                &[],
            )
        },
        case(
            "a certificate",
            with(json!({"client_certificate": certificate})),
            &[],
        ),
        Case {
            files: vec![("client.pem", &certificate)],
            variables: variables(&[
                ("ARM_CLIENT_CERTIFICATE_PATH", "client.pem"),
                ("ARM_CLIENT_SECRET", "not it"),
            ]),
            ..case(
                "a certificate in a file, before a secret",
                client.clone(),
                &[],
            )
        },
        Case {
            files: vec![("client.pfx", "PKCS#12")],
            ..case(
                "a PKCS#12 file",
                with(json!({"client_certificate_path": "client.pfx"})),
                &[
                    "Client certificate cannot be used",
                    "openssl pkcs12 -in client.pfx -nodes -out client.pem",
                ],
            )
        },
        case(
            "an OIDC token",
            with(json!({"use_oidc": true, "oidc_token": FEDERATED})),
            &[],
        ),
        Case {
            files: vec![("token", FEDERATED)],
            variables: variables(&[
                ("ARM_USE_OIDC", "true"),
                ("ARM_OIDC_TOKEN_FILE_PATH", "token"),
            ]),
            ..case("an OIDC token in a file", client.clone(), &[])
        },
        Case {
            variables: variables(&[
                ("ACTIONS_ID_TOKEN_REQUEST_URL", &ci),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token"),
            ]),
            ..case(
                "an OIDC token that is asked for",
                with(json!({"use_oidc": true})),
                &[],
            )
        },
        case(
            "OIDC without a token",
            with(json!({"use_oidc": true})),
            &[
                "Azure is not configured",
                "azure.oidc_token (or ARM_OIDC_TOKEN)",
                "ARM_OIDC_REQUEST_URL",
            ],
        ),
        Case {
            files: vec![("token", FEDERATED)],
            variables: variables(&[
                ("AZURE_TENANT_ID", TENANT),
                ("AZURE_CLIENT_ID", CLIENT),
                ("AZURE_FEDERATED_TOKEN_FILE", "token"),
            ]),
            ..case(
                "a workload identity",
                json!({"use_aks_workload_identity": true}),
                &[],
            )
        },
        case(
            "a managed identity",
            json!({"use_msi": true, "msi_endpoint": machine}),
            &[],
        ),
        Case {
            variables: variables(&[
                ("ARM_USE_MSI", "true"),
                ("ARM_MSI_ENDPOINT", &machine),
                ("ARM_CLIENT_ID", "nobody"),
            ]),
            ..case(
                "a managed identity that is not there",
                json!({}),
                &["Could not log in to Azure", "has a managed identity"],
            )
        },
        Case {
            files: vec![("az", &good_cli)],
            variables: variables(&[("PATH", &path)]),
            ..case(
                "the Azure CLI, and its subscription",
                json!({"subscription_id": ""}),
                &[],
            )
        },
        Case {
            files: vec![("az", &bad_cli)],
            variables: variables(&[("PATH", &path)]),
            ..case(
                "the Azure CLI without a login",
                json!({}),
                &[
                    "Could not log in to Azure",
                    "az account get-access-token failed",
                    "Run az login",
                ],
            )
        },
        case(
            "nobody",
            json!({"use_cli": false}),
            &[
                "Azure is not configured",
                "azure.client_secret",
                "azure.use_msi",
            ],
        ),
        case(
            "half of a client",
            json!({"client_secret": "hunter2hunter2", "subscription_id": ""}),
            &[
                "Azure is not configured",
                "ARM_TENANT_ID",
                "ARM_CLIENT_ID",
                "ARM_SUBSCRIPTION_ID",
            ],
        ),
        case(
            "a wrong secret",
            with(json!({"client_secret": "hunter2hunter2"})),
            &[
                "Could not log in to Azure",
                "AADSTS7000215: Invalid client secret provided.",
                "azure.client_secret",
            ],
        ),
        case(
            "plain http to somewhere else",
            with(
                json!({"client_secret": "hunter2hunter2", "authority_host": "http://login.example.com/"}),
            ),
            &[
                "URL of Azure cannot be used",
                "azure.authority_host or AZURE_AUTHORITY_HOST",
                "https",
            ],
        ),
        Case {
            variables: variables(&[("ARM_ENVIRONMENT", "moon")]),
            ..case(
                "an environment that is none",
                with(json!({"client_secret": "hunter2hunter2"})),
                &["public, usgovernment, china"],
            )
        },
    ];
    tokio::task::block_in_place(|| {
        for case in &cases {
            shows(
                &core,
                &azure,
                case,
                &["hunter2hunter2", &token, FEDERATED, "PRIVATE KEY"],
            );
        }
    });
}

/// One apply of a group of no machines: it logs in, and lists.
fn shows(core: &Core, azure: &World, case: &Case<'_>, secrets: &[&str]) {
    let says = case.says;
    let mut workspace = Workspace::new(core);
    for (name, value) in &case.variables {
        workspace.set(name, value);
    }
    for (name, contents) in &case.files {
        workspace.write(name, contents);
        if *name == "az" {
            make_a_program(&workspace, name);
        }
    }
    let mut block = json!({
        "subscription_id": azure.subscription, "resource_manager_endpoint": azure.proxy.endpoint(0), "authority_host": azure.proxy.endpoint(0),
    });
    block
        .as_object_mut()
        .expect("an object")
        .extend(case.block.as_object().expect("an object").clone());
    let configuration = json!({
        "terraform": {"required_providers": {"flatcar": {"source": "flatcar-iac/flatcar"}}},
        "provider": {"flatcar": {"azure": block}},
        "resource": {"flatcar_worker_group": {"workers": {
            "cluster": "login", "name": "workers", "replicas": 0, "image": IMAGES[0], "azure": azure.shape(),
        }}},
    });
    // Many lines: the core shows the one that it blames.
    workspace.write(
        "main.tf.json",
        &serde_json::to_string_pretty(&configuration).expect("JSON"),
    );
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
        assert_eq!(group["scope"], azure.scope(), "{says}");
        println!("  ok    {says}");
        return;
    }
    let errors = run.failure().errors();
    assert_eq!(errors.len(), 1, "{says}: {errors:#?}");
    // The core breaks lines.
    let error = errors[0].split_whitespace().collect::<Vec<_>>().join(" ");
    for words in case.error {
        assert!(error.contains(words), "{says}: {words:?} is not in {error}");
    }
    println!("  ok    {says}: {error}");
}

fn make_a_program(workspace: &Workspace, name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = workspace.path().join(name);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("is ours");
}

/// A certificate and its key, in PEM.
fn certificate() -> String {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let parameters = CertificateParams::new(vec!["client".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let pem = |what: &str, der: &[u8]| {
        format!(
            "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
            STANDARD.encode(der)
        )
    };
    pem("CERTIFICATE", certificate.der()) + &pem("PRIVATE KEY", &key.serialize_der())
}
