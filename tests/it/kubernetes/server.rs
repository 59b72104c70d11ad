//! A real API server, as `tests/servers/with kube` starts it, and what tests do to it behind the
//! provider's back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::harness::{ROOT, skip};

/// The server, with all rights. While one of them is there, no other test changes the cluster.
pub(super) struct Server {
    /// `https://127.0.0.1:36443`
    pub(super) host: String,
    /// PEM
    pub(super) authority: String,
    /// Of kube.sh; its authority's key lies beside it.
    pub(super) kubeconfig: PathBuf,
    http: reqwest::Client,
    _alone: MutexGuard<'static, ()>,
}

/// Somebody in the cluster with a token.
pub(super) struct Account {
    pub(super) token: String,
    /// It is the account `default` there.
    namespace: String,
}

impl Server {
    /// `None` after having said why.
    pub(super) async fn find() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::const_new(());
        // These tests delete all that they find: the server has to be the one of kube.sh, and no
        // other one.
        let started = std::env::var("FLATCAR_SERVERS").unwrap_or_default();
        let is_ours = started.split(' ').any(|name| name == "kube");
        let kubeconfig = std::env::var_os("KUBECONFIG").filter(|_| is_ours);
        let Some(kubeconfig) = kubeconfig else {
            skip("no Kubernetes API server: run under tests/servers/with kube");
            return None;
        };
        let text = std::fs::read_to_string(&kubeconfig).expect("a kubeconfig");
        let quoted = |after: &str| {
            let (_, rest) = text.split_once(after).expect("a kubeconfig of kube.sh");
            rest.split('"').nth(1).expect("a quoted text").to_owned()
        };
        let authority =
            std::fs::read_to_string(quoted("certificate-authority:")).expect("a certificate");
        let root = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([root]).build();
        let host = quoted("server:");
        assert!(
            host.starts_with("https://127.0.0.1:"),
            "{host} is none of kube.sh"
        );
        let server = Self {
            host,
            authority,
            kubeconfig: kubeconfig.into(),
            http: http.expect("a client"),
            _alone: ALONE.lock().await,
        };
        server.clear().await;
        Some(server)
    }

    /// Removes what a test has left.
    pub(super) async fn clear(&self) {
        for path in [
            "/api/v1/nodes",
            "/apis/storage.k8s.io/v1/volumeattachments",
            TOKENS,
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/terraform-provider-flatcar",
        ] {
            self.ask(Method::DELETE, path, None).await;
        }
        for name in self.names("/api/v1/namespaces").await {
            if name.starts_with("t-") {
                self.ask(Method::DELETE, &format!("/api/v1/namespaces/{name}"), None)
                    .await;
            }
        }
    }

    /// A call with all rights: status and answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> (StatusCode, Json) {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        self.send(method, path, kind, body.map(|body| body.to_string()))
            .await
    }

    /// What is answered to somebody else who posts something.
    pub(super) async fn posted_by(&self, token: &str, path: &str, body: Json) -> Json {
        let body = Some(body.to_string());
        let kind = "application/json";
        let (_, answer) = self.send_as(token, Method::POST, path, kind, body).await;
        answer
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<String>,
    ) -> (StatusCode, Json) {
        self.send_as("admintoken", method, path, kind, body).await
    }

    async fn send_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<String>,
    ) -> (StatusCode, Json) {
        let request = self.http.request(method, format!("{}{path}", self.host));
        let request = request.bearer_auth(token).header("content-type", kind);
        let answer = request
            .body(body.unwrap_or_default())
            .send()
            .await
            .expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a text");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Makes an object in a list: `/api/v1/nodes`.
    pub(super) async fn make(&self, list: &str, object: Json) -> Json {
        let (status, made) = self.ask(Method::POST, list, Some(object)).await;
        assert!(status.is_success(), "{list}: {made}");
        made
    }

    /// Changes an object.
    pub(super) async fn change(&self, path: &str, patch: Json) {
        let (status, answer) = self.ask(Method::PATCH, path, Some(patch)).await;
        assert!(status.is_success(), "{path}: {answer}");
    }

    /// An object; null where there is none.
    pub(super) async fn object(&self, path: &str) -> Json {
        match self.ask(Method::GET, path, None).await {
            (status, object) if status.is_success() => object,
            _ => Json::Null,
        }
    }

    /// Names of a list, in order.
    pub(super) async fn names(&self, list: &str) -> Vec<String> {
        let list = self.object(list).await;
        let items = list["items"].as_array().into_iter().flatten();
        let mut names: Vec<String> = items.map(|item| text(&item["metadata"]["name"])).collect();
        names.sort();
        names
    }

    /// Waits until something in the cluster is so.
    pub(super) async fn until(
        &self,
        what: &str,
        path: &str,
        is_so: impl Fn(&Json) -> bool,
    ) -> Json {
        for _ in 0..1200 {
            let object = self.object(path).await;
            if is_so(&object) {
                return object;
            }
            // Another process has no clock of ours.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited a minute until {what}: {}", self.object(path).await);
    }

    /// A Node whose kubelet is played, with more of these fields; Ready.
    pub(super) async fn node(&self, name: &str, more: Json) -> Json {
        self.make("/api/v1/nodes", registered(name, &more)).await;
        self.until(
            "a Node is Ready",
            &format!("/api/v1/nodes/{name}"),
            is_ready,
        )
        .await
    }

    /// A namespace of its own.
    pub(super) async fn namespace(&self) -> String {
        let object = json!({"metadata": {"generateName": "t-"}});
        let made = self.make("/api/v1/namespaces", object).await;
        let name = text(&made["metadata"]["name"]);
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        self.until("there is a service account", &account, |account| {
            !account.is_null()
        })
        .await;
        name
    }

    /// So many pods of a Deployment `web` that run on Nodes with this label, and a budget that
    /// keeps as many of them.
    pub(super) async fn web(&self, namespace: &str, replicas: usize, kept: usize, selector: Json) {
        let labels = json!({"app": "web"});
        let deployment = json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod(selector)},
            },
        });
        self.make(
            &format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
            deployment,
        )
        .await;
        let budget = json!({
            "metadata": {"name": "web"},
            "spec": {"minAvailable": kept, "selector": {"matchLabels": labels}},
        });
        self.make(
            &format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"),
            budget,
        )
        .await;
        let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web");
        self.until("all pods run", &path, |budget| {
            budget["status"]["currentHealthy"].as_u64() == u64::try_from(replicas).ok()
        })
        .await;
    }

    /// Makes all pods of `web` anew, wherever they may run now.
    pub(super) async fn restart_web(&self, namespace: &str) {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let before = self.pods(namespace).await;
        self.ask(Method::DELETE, &pods, None).await;
        let is_new = |pod: &Json| {
            let name = text(&pod["metadata"]["name"]);
            !before.iter().any(|(old, _)| *old == name)
        };
        self.until("the old pods are gone, and others run", &pods, |list| {
            let pods = list["items"].as_array().cloned().unwrap_or_default();
            let runs = |pod: &Json| pod["status"]["phase"] == "Running" && is_new(pod);
            pods.len() == before.len() && pods.iter().all(runs)
        })
        .await;
        let budget = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web");
        self.until("the budget knows of them", &budget, |budget| {
            budget["status"]["currentHealthy"].as_u64() == u64::try_from(before.len()).ok()
        })
        .await;
    }

    /// Pods of a namespace: name and Node.
    pub(super) async fn pods(&self, namespace: &str) -> Vec<(String, String)> {
        let list = self
            .object(&format!("/api/v1/namespaces/{namespace}/pods"))
            .await;
        let items = list["items"].as_array().into_iter().flatten();
        items
            .map(|pod| {
                (
                    text(&pod["metadata"]["name"]),
                    text(&pod["spec"]["nodeName"]),
                )
            })
            .collect()
    }

    /// Somebody with exactly the rights of a ClusterRole in YAML.
    pub(super) async fn account(&self, role: &str) -> Account {
        let account = self.nobody().await;
        let namespace = &account.namespace;
        let role = role.replace("name: flatcar-worker-groups", &format!("name: {namespace}"));
        let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        let (status, made) = self
            .send(Method::POST, roles, "application/yaml", Some(role))
            .await;
        assert!(status.is_success(), "{made}");
        let binding = json!({
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        });
        self.make(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            binding,
        )
        .await;
        account
    }

    /// Somebody who may do nothing.
    pub(super) async fn nobody(&self) -> Account {
        let namespace = self.namespace().await;
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default/token");
        let made = self
            .make(&path, json!({"spec": {"expirationSeconds": 3600}}))
            .await;
        Account {
            token: text(&made["status"]["token"]),
            namespace,
        }
    }

    /// Gives somebody the rights of a Role in YAML, in its namespace; what an earlier test has
    /// given goes.
    pub(super) async fn allow(&self, account: &Account, role: &str) {
        let (_, namespace) = role.split_once("namespace: ").expect("a namespace");
        let namespace = namespace.lines().next().unwrap_or_default();
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
        let name = &account.namespace;
        let role = role.replace("name: flatcar-", &format!("name: {name}-"));
        let (status, made) = self
            .send(
                Method::POST,
                &format!("{rbac}/roles"),
                "application/yaml",
                Some(role),
            )
            .await;
        assert!(status.is_success(), "{made}");
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": made["metadata"]["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": name}],
        });
        self.make(&format!("{rbac}/rolebindings"), binding).await;
    }

    /// The Secrets of bootstrap tokens.
    pub(super) async fn tokens(&self) -> Vec<Json> {
        let list = self.object(TOKENS).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Removes them.
    pub(super) async fn clear_tokens(&self) {
        self.ask(Method::DELETE, TOKENS, None).await;
    }
}

/// The role of this name that the guide gives.
pub(super) fn role_of_the_guide(name: &str) -> String {
    let guide = Path::new(ROOT).join("docs/guides/kubernetes.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let blocks = guide.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split_once("\n```"));
    let wanted = format!("name: {name}\n");
    let found = blocks.find(|(block, _)| block.contains(&wanted));
    found.expect("such a role").0.to_owned()
}

/// Bootstrap tokens.
const TOKENS: &str =
    "/api/v1/namespaces/kube-system/secrets?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken";

/// A pod that runs wherever this selector leads it.
pub(super) fn pod(selector: Json) -> Json {
    json!({
        "nodeSelector": selector,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "web", "image": "web"}],
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    })
}

/// What the kubelet of a Node registers, with more of these fields; kwok plays on.
pub(super) fn registered(name: &str, more: &Json) -> Json {
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
    });
    for (part, fields) in more.as_object().into_iter().flatten() {
        for (key, value) in fields.as_object().into_iter().flatten() {
            match (&mut node[part][key], value) {
                (Json::Object(there), Json::Object(more)) => there.extend(more.clone()),
                (there, value) => *there = value.clone(),
            }
        }
    }
    node
}

/// Whether it is Ready, and its controller has taken that in.
pub(super) fn is_ready(node: &Json) -> bool {
    let conditions = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    let mut taints = node["spec"]["taints"].as_array().into_iter().flatten();
    ready.next().is_some_and(|ready| ready["status"] == "True")
        && !taints.any(|taint| taint["key"] == "node.kubernetes.io/not-ready")
}

pub(super) fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
