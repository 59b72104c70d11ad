//! vCenter's simulator from behind: the one that `tests/servers/with vsphere` has started for all
//! tests of a run. The provider asks through a proxy, the tests themselves ask directly; each has a
//! folder of machines of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::harness::skip;
use crate::proxy::Proxy;

/// One test's view of the inventory.
pub(super) struct World {
    pub(super) proxy: Proxy,
    /// The folder, and the cluster of the groups in it.
    pub(super) cluster: String,
    folder: String,
    pub(super) server: Server,
}

/// The simulator, with all rights.
#[derive(Clone)]
pub(super) struct Server {
    /// `https://127.0.0.1:28989`
    host: String,
    /// PEM
    authority: String,
    user: String,
    password: String,
    http: reqwest::Client,
    session: Arc<OnceCell<String>>,
}

/// Machines that the simulator begins with.
pub(super) const IMAGES: [&str; 2] = ["DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1"];

impl Server {
    /// `None` after having said why.
    pub(super) fn find() -> Option<Self> {
        let started = std::env::var("FLATCAR_SERVERS").unwrap_or_default();
        if !started.split(' ').any(|name| name == "vsphere") {
            skip("no vCenter's simulator: run under tests/servers/with vsphere");
            return None;
        }
        let variable = |name: &str| std::env::var(name).expect("a variable of vsphere.sh");
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = std::fs::read_to_string(variable("VSPHERE_CA_FILE")).expect("a file");
        let root = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        // A connection that others share is opened by the first who asks: where that one stands
        // still, as a life does while somebody stops its machine, nobody is answered any more.
        let http = reqwest::Client::builder()
            .tls_certs_only([root])
            .http1_only()
            .build();
        Some(Self {
            host: format!("https://{}", variable("VSPHERE_SERVER")),
            authority,
            user: variable("VSPHERE_USER"),
            password: variable("VSPHERE_PASSWORD"),
            http: http.expect("a client"),
            session: Arc::default(),
        })
    }

    /// The provider block of somebody who asks it directly, and knows its certificate alone.
    pub(super) fn by_thumbprint(&self) -> Json {
        let folder = std::env::var("VSPHERE_CA_FILE").expect("a variable of vsphere.sh");
        let file = std::path::Path::new(&folder).with_file_name("server.crt");
        let pem = std::fs::read(file).expect("the server's certificate");
        let certificate = CertificateDer::from_pem_slice(&pem).expect("a certificate");
        let thumbprint: String = Sha256::digest(&certificate)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({
            "vsphere_server": self.host.trim_start_matches("https://"),
            "user": self.user,
            "password": self.password,
            "thumbprint": thumbprint,
        })
    }

    /// Calls a method: status, session and answer.
    async fn raw(&self, at: &str, session: &str, body: &Json) -> (u16, String, Json) {
        let request = self.http.post(format!("{}{at}", self.host));
        let request = request.header("vmware-api-session-id", session).json(body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let session = answer.headers().get("vmware-api-session-id");
        let session = session.map(|id| id.to_str().expect("text").to_owned());
        let text = answer.text().await.expect("a text");
        let answer = serde_json::from_str(&text).unwrap_or_default();
        (status, session.unwrap_or_default(), answer)
    }

    /// Calls a method of an object, which is carried out, and where it begins a task awaits that.
    pub(super) async fn ask(&self, kind: &str, id: &str, method: &str, body: &Json) -> Json {
        let login = async || {
            let body = json!({"userName": self.user, "password": self.password});
            let at = format!("{API}/SessionManager/SessionManager/Login");
            self.raw(&at, "", &body).await.1
        };
        let session = self.session.get_or_init(login).await;
        let at = format!("{API}/{kind}/{}/{method}", called(id));
        let (status, _, answer) = self.raw(&at, session, body).await;
        assert!(status < 300, "{kind} {id} {method}: {answer}");
        match method.ends_with("_Task") {
            true => self.ended(&text(&answer["value"])).await,
            false => answer,
        }
    }

    async fn ended(&self, task: &str) -> Json {
        until("a task has ended", || async {
            let found = Box::pin(self.properties("Task", task, &["info"])).await;
            let info = found[0]["propSet"][0]["val"].clone();
            assert_ne!(info["state"], "error", "{info}");
            (info["state"] == "success").then(|| info["result"].clone())
        })
        .await
    }

    /// Properties of an object.
    async fn properties(&self, kind: &str, id: &str, paths: &[&str]) -> Json {
        let object = json!({"obj": {"type": kind, "value": called(id)}});
        self.query(kind, &object, paths).await
    }

    async fn query(&self, kind: &str, object: &Json, paths: &[&str]) -> Json {
        let spec = json!({
            "propSet": [{"type": kind, "pathSet": paths}],
            "objectSet": [object],
            "reportMissingObjectsInResults": true,
        });
        let body = json!({"specSet": [spec], "options": {}});
        let answer = self
            .ask(
                "PropertyCollector",
                "propertyCollector",
                "RetrievePropertiesEx",
                &body,
            )
            .await;
        answer["objects"].clone()
    }

    pub(super) async fn at_path(&self, path: &str) -> String {
        let body = json!({"inventoryPath": path});
        let found = self
            .ask("SearchIndex", "SearchIndex", "FindByInventoryPath", &body)
            .await;
        text(&found["value"])
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
        let cluster = format!("it-{}-{number}", std::process::id());
        let machines = server.at_path("DC0/vm").await;
        let made = server
            .ask(
                "Folder",
                &machines,
                "CreateFolder",
                &json!({"name": cluster}),
            )
            .await;
        Self {
            proxy: Proxy::before_tls(&server.host, &server.authority),
            folder: text(&made["value"]),
            cluster,
            server,
        }
    }

    /// The attribute of the provider block.
    pub(super) fn block(&self) -> Json {
        json!({
            "vsphere_server": self.proxy.endpoint(0),
            "user": self.server.user,
            "password": self.server.password,
        })
    }

    /// The attribute of the group, without what changes in place.
    pub(super) fn placed(&self) -> Json {
        json!({
            "cluster": "DC0_C0",
            "datastore": "LocalDS_0",
            "folder": self.cluster,
            "num_cpus": 2,
            "memory": 2048,
            "network_interface": [{"network": "DC0_DVPG0"}],
        })
    }

    /// The machines of the folder: name, power, parameters.
    pub(super) async fn machines(&self) -> Vec<One> {
        let object = json!({
            "obj": {"type": "Folder", "value": self.folder},
            "skip": true,
            "selectSet": [{"_typeName": "TraversalSpec", "type": "Folder", "path": "childEntity"}],
        });
        let found = self.server.query(VM, &object, PATHS).await;
        let found = found.as_array().cloned().unwrap_or_default();
        found.iter().map(One::of).collect()
    }

    /// One machine, wherever it is; `None`: it is gone.
    pub(super) async fn machine(&self, id: &str) -> Option<One> {
        let found = self.server.properties(VM, id, PATHS).await;
        found.get(0).map(One::of)
    }

    /// Name and id of those that there are.
    pub(super) async fn alive(&self) -> Vec<(String, String)> {
        let machines = self.machines().await.into_iter();
        machines.map(|one| (one.name, one.id)).collect()
    }

    /// Somebody changes parameters of one; `""` takes one off.
    pub(super) async fn set(&self, id: &str, parameters: &[(&str, &str)]) {
        let option = |(key, value): &(&str, &str)| {
            let value = json!({"_typeName": "string", "_value": value});
            json!({"_typeName": "OptionValue", "key": key, "value": value})
        };
        let options: Vec<Json> = parameters.iter().map(option).collect();
        let body = json!({"spec": {"extraConfig": options}});
        self.server.ask(VM, id, "ReconfigVM_Task", &body).await;
    }

    /// The guest of a machine says which address it has.
    pub(super) async fn report(&self, name: &str, address: &str) {
        let at = format!("{}/_control/guest", self.server.host);
        let body = json!({"name": name, "ip": address});
        let answer = self.server.http.put(at).json(&body).send().await;
        assert!(answer.expect("an answer").status().is_success());
    }

    /// Somebody deletes one.
    pub(super) async fn remove(&self, id: &str) {
        if self.machine(id).await.is_some_and(|one| one.is_on) {
            self.stop(id).await;
        }
        self.server.ask(VM, id, "Destroy_Task", &json!({})).await;
    }

    /// Somebody powers one off.
    pub(super) async fn stop(&self, id: &str) {
        self.server.ask(VM, id, "PowerOffVM_Task", &json!({})).await;
    }

    /// The datacenter's own folder of machines.
    pub(super) async fn vm_folder(&self) -> String {
        self.server.at_path("DC0/vm").await
    }

    pub(super) async fn scope(&self) -> String {
        let at = format!(
            "{}{API}/ServiceInstance/ServiceInstance/content",
            self.server.host
        );
        let answer = self.server.http.get(at).send().await.expect("an answer");
        let content: Json = answer.json().await.expect("JSON");
        text(&content["about"]["instanceUuid"])
    }
}

/// A machine as it is.
#[derive(Debug, Clone)]
pub(super) struct One {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) is_on: bool,
    pub(super) annotation: String,
    pub(super) hardware: Json,
    extra: Vec<Json>,
}

impl One {
    fn of(object: &Json) -> Self {
        let property = |name: &str| {
            let mut all = object["propSet"].as_array().into_iter().flatten();
            let found = all.find(|one| one["name"] == name);
            let value = found.map_or(&Json::Null, |one| &one["val"]);
            value.get("_value").unwrap_or(value).clone()
        };
        let called = text(&object["obj"]["value"]);
        Self {
            id: format!("{called}|{}", text(&property("config.instanceUuid"))),
            name: text(&property("name")),
            is_on: property("runtime.powerState") == "poweredOn",
            annotation: text(&property("config.annotation")),
            hardware: property("config.hardware"),
            extra: property("config.extraConfig")
                .as_array()
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// One of its parameters; `""`: it is not set.
    pub(super) fn parameter(&self, key: &str) -> String {
        let found = self.extra.iter().find(|one| one["key"] == key);
        found.map_or_else(String::new, |one| text(&one["value"]["_value"]))
    }
}

/// Waits until something is so. The simulator has no clock of ours.
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

/// What the server calls a machine of this id; other objects have no other id.
pub(super) fn called(id: &str) -> &str {
    id.split_once('|').map_or(id, |(called, _)| called)
}

pub(super) fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) const API: &str = "/sdk/vim25/8.0.1.0";
const VM: &str = "VirtualMachine";
const PATHS: &[&str] = &[
    "name",
    "config.instanceUuid",
    "runtime.powerState",
    "config.annotation",
    "config.hardware",
    "config.extraConfig",
];
