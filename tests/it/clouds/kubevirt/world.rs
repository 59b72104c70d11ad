//! A cluster with KubeVirt from behind: the API server that `tests/servers/with kubevirt` has
//! started for all tests of a run. The provider asks through a proxy, the tests themselves ask
//! directly; each has a namespace of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::harness::skip;
use crate::proxy::Proxy;

/// One test's view of the cluster.
pub(super) struct World {
    pub(super) proxy: Proxy,
    pub(super) namespace: String,
    pub(super) server: Server,
}

/// The API server, with all rights.
#[derive(Clone)]
pub(super) struct Server {
    /// `https://127.0.0.1:37443`
    pub(super) host: String,
    /// PEM
    authority: String,
    http: reqwest::Client,
}

pub(super) const IMAGES: [&str; 2] = [
    "quay.io/example/flatcar:4593.2.5",
    "quay.io/example/flatcar:4593.2.6",
];

impl Server {
    /// `None` after having said why.
    pub(super) fn find() -> Option<Self> {
        let started = std::env::var("FLATCAR_SERVERS").unwrap_or_default();
        let is_ours = started.split(' ').any(|name| name == "kubevirt");
        let kubeconfig = std::env::var_os("KUBEVIRT_KUBECONFIG").filter(|_| is_ours);
        let Some(kubeconfig) = kubeconfig else {
            skip("no cluster with KubeVirt: run under tests/servers/with kubevirt");
            return None;
        };
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let quoted = |after: &str| {
            let (_, rest) = text.split_once(after).expect("a kubeconfig of kubevirt.sh");
            rest.split('"').nth(1).expect("a quoted text").to_owned()
        };
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority =
            std::fs::read_to_string(quoted("certificate-authority:")).expect("a certificate");
        let root = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([root]).build();
        Some(Self {
            host: quoted("server:"),
            authority,
            http: http.expect("a client"),
        })
    }

    /// A call with all rights: status and answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> (u16, Json) {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = self.http.request(method, format!("{}{path}", self.host));
        let request = request
            .bearer_auth("admintoken")
            .header("content-type", kind);
        let body = body.map(Json::to_string).unwrap_or_default();
        let answer = request.body(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a text");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// The same, which is carried out.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Json {
        let (status, answer) = self.send(method, path, body).await;
        assert!(status < 300, "{path}: {answer}");
        answer
    }
}

impl World {
    /// `None` after having said why.
    pub(super) async fn find() -> Option<Self> {
        match Server::find() {
            Some(server) => Some(Self::of(server).await),
            None => None,
        }
    }

    pub(super) async fn of(server: Server) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("vms-{}-{number}", std::process::id());
        let body = json!({"metadata": {"name": namespace}});
        server
            .ask(Method::POST, "/api/v1/namespaces", Some(&body))
            .await;
        let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        until("there is a service account", || async {
            (server.send(Method::GET, &account, None).await.0 == 200).then_some(())
        })
        .await;
        Self {
            proxy: Proxy::before_tls(&server.host, &server.authority),
            namespace,
            server,
        }
    }

    /// A token of somebody with exactly the rights of a Role in YAML.
    pub(super) async fn account(&self, role: &str) -> String {
        let namespace = &self.namespace;
        let role = role.replace("namespace: vms", &format!("namespace: {namespace}"));
        let role = role.replace(r#"["vms"]"#, &format!("[{namespace:?}]"));
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
        let request = self
            .server
            .http
            .post(format!("{}{rbac}/roles", self.server.host));
        let request = request
            .bearer_auth("admintoken")
            .header("content-type", "application/yaml");
        let answer = request.body(role).send().await.expect("an answer");
        let (status, made) = (answer.status(), answer.text().await.expect("a text"));
        assert!(status.is_success(), "{made}");
        let binding = json!({
            "metadata": {"name": "flatcar-worker-groups"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "flatcar-worker-groups"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        });
        self.server
            .ask(
                Method::POST,
                &format!("{rbac}/rolebindings"),
                Some(&binding),
            )
            .await;
        let path = self.at("serviceaccounts", "default/token");
        let body = json!({"spec": {"expirationSeconds": 3600}});
        let made = self.server.ask(Method::POST, &path, Some(&body)).await;
        text(&made["status"]["token"])
    }

    /// The attribute of the provider block.
    pub(super) fn block(&self) -> Json {
        json!({"host": self.proxy.endpoint(0), "token": "admintoken", "namespace": self.namespace})
    }

    /// `/apis/kubevirt.io/v1/namespaces/vms-1-0/virtualmachines/w-0`; `""`: all of them.
    pub(super) fn at(&self, resource: &str, name: &str) -> String {
        let namespace = &self.namespace;
        let group = match resource {
            "virtualmachines" | "virtualmachineinstances" => "apis/kubevirt.io/v1",
            "datavolumes" => "apis/cdi.kubevirt.io/v1beta1",
            _ => "api/v1",
        };
        let path = format!("/{group}/namespaces/{namespace}/{resource}/{name}");
        path.trim_end_matches('/').to_owned()
    }

    /// What there is of a resource in the namespace.
    pub(super) async fn all(&self, resource: &str) -> Vec<Json> {
        let list = self
            .server
            .ask(Method::GET, &self.at(resource, ""), None)
            .await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// The machines of the namespace.
    pub(super) async fn machines(&self) -> Vec<Json> {
        self.all("virtualmachines").await
    }

    /// Name and id of those that are not going.
    pub(super) async fn alive(&self) -> Vec<(String, String)> {
        let machines = self.machines().await.into_iter();
        let there = machines.filter(|one| one["metadata"]["deletionTimestamp"].is_null());
        there
            .map(|one| (text(&one["metadata"]["name"]), id(&one)))
            .collect()
    }

    /// Names of the Secrets with user data; those of machines that are going are as good as gone.
    pub(super) async fn secrets(&self) -> Vec<String> {
        let secrets = self.all("secrets").await.into_iter();
        secrets.map(|one| text(&one["metadata"]["name"])).collect()
    }

    /// A machine that is there.
    pub(super) async fn machine(&self, name: &str) -> Json {
        self.server
            .ask(Method::GET, &self.at("virtualmachines", name), None)
            .await
    }

    /// Somebody changes one.
    pub(super) async fn change(&self, name: &str, patch: &Json) {
        let path = self.at("virtualmachines", name);
        self.server.ask(Method::PATCH, &path, Some(patch)).await;
    }

    /// Somebody deletes one, and it is gone.
    pub(super) async fn remove(&self, name: &str) {
        let path = self.at("virtualmachines", name);
        let options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"});
        self.server.ask(Method::DELETE, &path, Some(&options)).await;
        until("it is gone", || async {
            (self.server.send(Method::GET, &path, None).await.0 == 404).then_some(())
        })
        .await;
    }

    /// Somebody stops one, as virtctl does.
    pub(super) async fn stop(&self, name: &str) {
        self.change(name, &json!({"spec": {"runStrategy": "Halted"}}))
            .await;
        until("it is stopped", || async {
            let machine = self.machine(name).await;
            (machine["status"]["printableStatus"] == "Stopped").then_some(())
        })
        .await;
    }
}

/// Waits until something in the cluster is so. Its processes have no clock of ours.
pub(super) async fn until<T, F>(what: &str, is_so: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    for _ in 0..1200 {
        if let Some(found) = is_so().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited a minute until {what}");
}

pub(super) fn id(machine: &Json) -> String {
    let metadata = &machine["metadata"];
    format!("{}/{}", text(&metadata["name"]), text(&metadata["uid"]))
}

pub(super) fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
