//! Bootstrap tokens in a real cluster: over the wire as a core opens, renews and closes them, and
//! under cores.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flatcar::protocol::tfplugin6 as pb;
use flatcar::protocol::value::{Type, Value};
use serde_json::{Value as Json, json};

use super::server::{Account, Server, role_of_the_guide, text};
use crate::client::{Plugin, Setup, dynamic, object, object_type, value};
use crate::core::{Core, Workspace};
use crate::proxy::{Fate, Proxy};

/// A provider that a core has configured, and what it said of a token.
struct Opener {
    plugin: Plugin,
    kind: Type,
}

/// A token, as a core is told of it.
struct Opened {
    result: Json,
    private: Vec<u8>,
    renews: bool,
}

const TOKEN: &str = "flatcar_bootstrap_token";

impl Opener {
    async fn new(host: &str, authority: &str, token: &str) -> Self {
        let plugin = Setup::without_certificate()
            .set("TF_LOG_PROVIDER", "trace")
            .start()
            .await;
        let schemas = plugin.schemas().await;
        let block = object_type(schemas.provider.as_ref().expect("a provider block"));
        let kubernetes = json!({"host": host, "token": token, "cluster_ca_certificate": authority});
        let config = object(&json!({"kubernetes": kubernetes}).to_string(), &block);
        let configured = plugin.configure(dynamic(&config, &block)).await;
        assert_eq!(configured.diagnostics, vec![]);
        let kind = object_type(&schemas.ephemeral_resource_schemas[TOKEN]);
        Self { plugin, kind }
    }

    fn config(&self, config: &Json) -> Option<pb::DynamicValue> {
        Some(dynamic(
            &object(&config.to_string(), &self.kind),
            &self.kind,
        ))
    }

    async fn problems(&self, config: &Json) -> Vec<pb::Diagnostic> {
        let request = pb::validate_ephemeral_resource_config::Request {
            type_name: TOKEN.to_owned(),
            config: self.config(config),
        };
        let answer = self.plugin.call(
            "/tfplugin6.Provider/ValidateEphemeralResourceConfig",
            request,
        );
        let answer: pb::validate_ephemeral_resource_config::Response =
            answer.await.expect("an answer");
        answer.diagnostics
    }

    async fn open(&self, config: &Json) -> Result<Opened, Vec<pb::Diagnostic>> {
        let request = pb::open_ephemeral_resource::Request {
            type_name: TOKEN.to_owned(),
            config: self.config(config),
            client_capabilities: None,
        };
        let answer = self
            .plugin
            .call("/tfplugin6.Provider/OpenEphemeralResource", request);
        let answer: pb::open_ephemeral_resource::Response = answer.await.expect("an answer");
        let Some(result) = answer.result else {
            return Err(answer.diagnostics);
        };
        assert_eq!(answer.diagnostics, vec![]);
        let Value::Map(fields) = value(Some(&result), &self.kind) else {
            panic!("no object");
        };
        let texts = fields.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, json!(text)),
            _ => (name, Json::Null),
        });
        Ok(Opened {
            result: Json::Object(texts.collect()),
            private: answer.private.unwrap_or_default(),
            renews: answer.renew_at.is_some(),
        })
    }

    async fn renew(&self, private: &[u8]) -> pb::renew_ephemeral_resource::Response {
        let request = pb::renew_ephemeral_resource::Request {
            type_name: TOKEN.to_owned(),
            private: Some(private.to_vec()),
        };
        let answer = self
            .plugin
            .call("/tfplugin6.Provider/RenewEphemeralResource", request);
        answer.await.expect("an answer")
    }

    async fn close(&self, private: &[u8]) -> Vec<pb::Diagnostic> {
        let request = pb::close_ephemeral_resource::Request {
            type_name: TOKEN.to_owned(),
            private: Some(private.to_vec()),
        };
        let answer = self
            .plugin
            .call("/tfplugin6.Provider/CloseEphemeralResource", request);
        let answer: pb::close_ephemeral_resource::Response = answer.await.expect("an answer");
        answer.diagnostics
    }
}

/// Somebody who may do with tokens what the guide says, and nothing else.
async fn account(server: &Server) -> Account {
    let account = server.nobody().await;
    server
        .allow(&account, &role_of_the_guide("flatcar-bootstrap-tokens"))
        .await;
    account
}

fn data(secret: &Json, name: &str) -> String {
    let data = text(&secret["data"][name]);
    let data = STANDARD.decode(data).expect("base64");
    String::from_utf8(data).expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_there_from_open_to_close_and_logs_in_meanwhile() {
    let Some(server) = Server::find().await else {
        return;
    };
    let account = account(&server).await;
    let opener = Opener::new(&server.host, &server.authority, &account.token).await;
    let groups = ["system:bootstrappers:kubeadm:default-node-token"];
    let config = json!({"ttl": "10m", "description": "of a test"});
    let opened = opener
        .open(&config)
        .await
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let tokens = server.tokens().await;
    assert_eq!(tokens.len(), 1);
    let secret = &tokens[0];
    let token = format!(
        "{}.{}",
        data(secret, "token-id"),
        data(secret, "token-secret")
    );
    assert_eq!(opened.result["token"], json!(token));
    assert_eq!(opened.result["server"], json!(server.host));
    assert_eq!(opened.result["ca_certificate"], json!(server.authority));
    let expiration = data(secret, "expiration");
    assert_eq!(opened.result["expiration"], json!(expiration));
    assert_eq!(data(secret, "description"), "of a test");
    assert_eq!(data(secret, "auth-extra-groups"), groups[0]);
    let pin = text(&opened.result["ca_cert_hash"]);
    assert!(pin.starts_with("sha256:") && pin.len() == 71, "{pin}");

    // The cluster knows who shows it, and takes it for nobody once it is closed.
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let who = server.posted_by(
        &token,
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        review.clone(),
    );
    let who = who.await;
    let belongs = who["status"]["userInfo"]["groups"].as_array().cloned();
    assert!(
        belongs.unwrap_or_default().contains(&json!(groups[0])),
        "{who}"
    );

    // Prolonged, it is the same one for longer.
    assert!(opened.renews);
    let renewed = opener.renew(&opened.private).await;
    assert_eq!(renewed.diagnostics, vec![]);
    assert!(renewed.renew_at.is_some());
    let tokens = server.tokens().await;
    assert_eq!(tokens.len(), 1);
    assert!(data(&tokens[0], "expiration") >= expiration);

    let private = renewed.private.expect("something to close");
    assert_eq!(opener.close(&private).await, vec![]);
    assert!(server.tokens().await.is_empty());
    // Twice is no fault, and what is gone is told when it is to be prolonged.
    assert_eq!(opener.close(&private).await, vec![]);
    let gone = opener.renew(&private).await;
    assert_eq!(gone.diagnostics.len(), 1);
    assert!(gone.renew_at.is_none());

    let ended = opener.plugin.shutdown().await;
    let secret = token.split_once('.').expect("two parts").1;
    assert!(!ended.log.contains(secret), "the log has the token");
    assert!(!ended.log.contains(&account.token), "the log has the login");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_kept_outlives_its_close_and_a_refusal_names_the_rule() {
    let Some(server) = Server::find().await else {
        return;
    };
    let opener = Opener::new(&server.host, &server.authority, "admintoken").await;
    let config = json!({"keep": true, "groups": ["system:bootstrappers:a"]});
    let opened = opener
        .open(&config)
        .await
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(!opened.renews);
    assert_eq!(opener.close(&opened.private).await, vec![]);
    let tokens = server.tokens().await;
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        data(&tokens[0], "auth-extra-groups"),
        "system:bootstrappers:a"
    );

    let nobody = Opener::new(&server.host, &server.authority, "usertoken").await;
    let problems = nobody.open(&json!({})).await.err().expect("is refused");
    assert_eq!(problems.len(), 1, "{problems:?}");
    let rule = r#"resources: ["secrets"], verbs: ["create"]"#;
    assert!(problems[0].detail.contains(rule), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_prolonged_now_is_prolonged_later() {
    let Some(server) = Server::find().await else {
        return;
    };
    let proxy = Proxy::before_tls(&server.host, &server.authority);
    let opener = Opener::new(&proxy.endpoint(0), &server.authority, "admintoken").await;
    let opened = opener.open(&json!({"ttl": "10m"})).await;
    let opened = opened.unwrap_or_else(|problems| panic!("{problems:?}"));
    let before = data(&server.tokens().await[0], "expiration");
    proxy.order(|_, _| Fate::ResetBefore);
    let renewed = opener.renew(&opened.private).await;
    assert_eq!(renewed.diagnostics.len(), 1, "{:?}", renewed.diagnostics);
    assert_eq!(proxy.calls().len(), 4, "{:?}", proxy.calls());
    // There is half of its time left.
    assert!(renewed.renew_at.is_some());
    proxy.order(|_, _| Fate::Pass);
    let private = renewed.private.expect("something to close");
    let renewed = opener.renew(&private).await;
    assert_eq!(renewed.diagnostics, vec![]);
    assert!(data(&server.tokens().await[0], "expiration") > before);
    assert_eq!(opener.close(&private).await, vec![]);
    assert!(server.tokens().await.is_empty());
    opener.plugin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_token_can_be_is_told_once_each() {
    let opener = Opener::new("https://127.0.0.1:1", "", "t").await;
    let long = "x".repeat(201);
    let many: Vec<String> = (0..17)
        .map(|n| format!("system:bootstrappers:{n}"))
        .collect();
    for (config, summary, says) in [
        (json!({"ttl": "soon"}), "Value is not a duration", "30s"),
        (
            json!({"ttl": "59s"}),
            "Value is out of range",
            "from `1m` to `168h`",
        ),
        (
            json!({"ttl": "169h"}),
            "Value is out of range",
            "from `1m` to `168h`",
        ),
        (
            json!({"description": long}),
            "Value has the wrong length",
            "at most 200",
        ),
        (
            json!({"description": "a\nb"}),
            "Value has the wrong form",
            "one line",
        ),
        (
            json!({"groups": []}),
            "Value has the wrong length",
            "from 1 to 16",
        ),
        (
            json!({"groups": many}),
            "Value has the wrong length",
            "from 1 to 16",
        ),
        (
            json!({"groups": ["system:masters"]}),
            "Group is none of a bootstrap token",
            "each begins with `system:bootstrappers:`",
        ),
        (json!({"groups": [null]}), "Element is null", "Write one"),
    ] {
        let problems = opener.problems(&config).await;
        assert_eq!(problems.len(), 1, "{config}: {problems:?}");
        assert_eq!(problems[0].summary, summary, "{config}");
        assert!(problems[0].detail.contains(says), "{config}: {problems:?}");
        assert!(problems[0].attribute.is_some(), "{config}");
    }
    assert_eq!(opener.problems(&json!({})).await, vec![]);
    // Nobody is there.
    let problems = opener
        .open(&json!({}))
        .await
        .err()
        .expect("cannot be asked");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

/// A group that joins with a token, on the sandbox.
const CONFIGURATION: &str = r#"
terraform {
  required_providers {
    flatcar = { source = "flatcar-iac/flatcar" }
  }
}

variable "kubeconfig" {}
variable "keep" { default = false }

provider "flatcar" {
  kubernetes = { config_path = var.kubeconfig }
  sandbox    = { directory = "cloud" }
}

ephemeral "flatcar_bootstrap_token" "join" {
  keep = var.keep
}

ephemeral "flatcar_ignition" "worker" {
  kubernetes = {
    version         = "v1.34.2"
    server          = ephemeral.flatcar_bootstrap_token.join.server
    ca_certificate  = ephemeral.flatcar_bootstrap_token.join.ca_certificate
    bootstrap_token = ephemeral.flatcar_bootstrap_token.join.token
    sysext          = { sha256 = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f" }
  }
}

resource "flatcar_worker_group" "workers" {
  cluster              = "prod"
  name                 = "workers"
  replicas             = 1
  image                = "flatcar"
  user_data_wo         = ephemeral.flatcar_ignition.worker.rendered
  user_data_wo_version = var.keep ? 2 : 1
  sandbox              = {}
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_and_an_apply_of_a_core_leave_no_token_but_one_that_is_kept() {
    let Some(server) = Server::find().await else {
        return;
    };
    for name in ["terraform-newest", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let workspace = Workspace::new(&core);
        workspace.write("main.tf", CONFIGURATION);
        workspace.variables(&json!({"kubeconfig": server.kubeconfig}));
        workspace.plan();
        assert!(server.tokens().await.is_empty(), "{name}: after a plan");
        workspace.apply();
        assert!(server.tokens().await.is_empty(), "{name}: after an apply");
        let again = workspace.plan();
        assert!(again.text.contains("No changes."), "{name}: {}", again.text);

        workspace.variables(&json!({"kubeconfig": server.kubeconfig, "keep": true}));
        workspace.plan();
        assert_eq!(server.tokens().await.len(), 1, "{name}: after a plan");
        workspace.apply();
        let kept = server.tokens().await;
        assert!(kept.len() > 1, "{name}: after an apply");
        let state = std::fs::read_to_string(workspace.path().join("terraform.tfstate"));
        let state = state.expect("a state");
        for token in &kept {
            let secret = data(token, "token-secret");
            assert!(!state.contains(&secret), "{name}");
        }
        workspace.destroy();
        server.clear_tokens().await;
    }
}
