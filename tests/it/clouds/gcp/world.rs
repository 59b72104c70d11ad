//! Compute Engine from behind: the stand-in that `tests/servers/with gcp` has started for all tests
//! of a run, reached through a proxy on the wire. The provider logs in and asks through the proxy,
//! the tests themselves ask directly.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::harness::{scratch, skip, wait_until};
use crate::proxy::Proxy;

/// One test's view of the project.
pub(super) struct World {
    /// Before Compute Engine and the token endpoint: the provider knows no others.
    pub(super) proxy: Proxy,
    /// Nothing else there is in it.
    pub(super) cluster: String,
    server: Server,
    /// Has the service account's key.
    folder: TempDir,
}

/// The stand-in itself.
#[derive(Clone)]
pub(super) struct Server {
    /// `http://127.0.0.1:28001`
    pub(super) plain: String,
    /// `https://127.0.0.1:28000`
    pub(super) secure: String,
    /// The service account's key, in JSON.
    pub(super) key: Json,
    /// Who vouches for the stand-in's certificate.
    pub(super) ca_file: String,
}

pub(super) const PROJECT: &str = "test-project";
pub(super) const ZONES: [&str; 2] = ["europe-west3-a", "europe-west3-b"];
pub(super) const IMAGES: [&str; 2] = [
    "projects/kinvolk-public/global/images/flatcar-stable-4230-2-3",
    "projects/kinvolk-public/global/images/flatcar-stable-4230-2-4",
];

impl Server {
    /// `None` after having said why.
    pub(super) fn find() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let found = || {
            let key = fs::read(variable("GOOGLE_APPLICATION_CREDENTIALS")?).ok()?;
            Some(Self {
                plain: variable("GCP_PLAIN_ENDPOINT")?,
                secure: variable("GCP_ENDPOINT")?,
                ca_file: variable("GCP_CA_FILE")?,
                key: serde_json::from_slice(&key).ok()?,
            })
        };
        let found = found();
        if found.is_none() {
            skip("Compute Engine's stand-in does not run: tests/servers/with gcp -- cargo test");
        }
        found
    }

    /// What is below the project: `("GET", "zones/europe-west3-a/instances", None)`; status and
    /// answer.
    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        self.raw(
            method,
            &format!("/compute/v1/projects/{PROJECT}/{path}"),
            body,
        )
    }

    /// The same, which is carried out.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Json>) -> Json {
        let (status, answer) = self.send(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Times, pages and quotas.
    pub(super) fn control(&self, value: &Json) -> Json {
        self.raw("PUT", "/_control", Some(value)).1
    }

    fn raw(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        let host = self.plain.strip_prefix("http://").expect("plain HTTP");
        let body = body.map(Json::to_string).unwrap_or_default();
        // In HTTP/1.0 an answer ends with its connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer test-token\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = serde_json::from_str(body).expect("JSON");
        (status.expect("a status"), body)
    }
}

impl World {
    /// `None` after having said why.
    pub(super) fn find() -> Option<Self> {
        Server::find().map(Self::of)
    }

    pub(super) fn of(server: Server) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let proxy = Proxy::start(&[&server.plain]);
        let folder = scratch();
        let mut key = server.key.clone();
        key["token_uri"] = json!(format!("{}/token", proxy.endpoint(0)));
        fs::write(folder.path().join("key.json"), key.to_string()).expect("a file");
        Self {
            proxy,
            cluster: format!("it-{}-{number}", std::process::id()),
            server,
            folder,
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The attribute of the provider block.
    pub(super) fn block(&self) -> Json {
        json!({
            "project": PROJECT,
            "credentials": self.folder.path().join("key.json"),
            "endpoint": self.proxy.endpoint(0),
        })
    }

    /// An unmanaged instance group in each zone: their links.
    pub(super) fn make_groups(&self) -> Vec<String> {
        let name = &self.cluster;
        let make = |zone: &&str| {
            let path = format!("zones/{zone}/instanceGroups");
            self.server.ask("POST", &path, Some(&json!({"name": name})));
            format!("projects/{PROJECT}/{path}/{name}")
        };
        ZONES.iter().map(make).collect()
    }

    /// Ids of the instances in the groups of [`World::make_groups`].
    pub(super) fn members(&self) -> BTreeSet<String> {
        let ids = |zone: &&str| {
            let path = format!("zones/{zone}/instanceGroups/{}/listInstances", self.cluster);
            let listed = self
                .server
                .ask("POST", &path, Some(&json!({"instanceState": "ALL"})));
            let listed = listed["items"].as_array().cloned().unwrap_or_default();
            let names = listed.iter().map(|one| tail(&one["instance"]));
            let of_name = |name: String| {
                let one = self
                    .server
                    .ask("GET", &format!("zones/{zone}/instances/{name}"), None);
                id(&one)
            };
            names.map(of_name).collect::<Vec<String>>()
        };
        ZONES.iter().flat_map(ids).collect()
    }

    /// The cluster's instances.
    pub(super) fn instances(&self) -> Vec<Json> {
        let filter = format!("labels.flatcar-cluster%3D{}", self.cluster);
        let listed = self.server.ask(
            "GET",
            &format!("aggregated/instances?filter={filter}"),
            None,
        );
        let places = listed["items"].as_object().expect("places").values();
        let instances = places.filter_map(|place| place["instances"].as_array());
        instances.flatten().cloned().collect()
    }

    /// Those that are not going.
    pub(super) fn alive(&self) -> Vec<(String, String)> {
        let instances = self.instances().into_iter();
        let there = instances.filter(|one| one["status"] != "STOPPING");
        there.map(|one| (text(&one["name"]), id(&one))).collect()
    }

    /// The instance of an id, which is there.
    pub(super) fn instance(&self, id: &str) -> Json {
        self.server.ask("GET", &at(id), None)
    }

    /// Somebody deletes one, and it is gone.
    pub(super) fn remove(&self, id: &str) {
        self.server.ask("DELETE", &at(id), None);
        wait_until("it is gone", || {
            (self.server.send("GET", &at(id), None).0 == 404).then_some(())
        });
    }

    /// Somebody stops one.
    pub(super) fn stop(&self, id: &str) {
        self.server.ask("POST", &format!("{}/stop", at(id)), None);
        wait_until("it is stopped", || {
            (self.instance(id)["status"] == "TERMINATED").then_some(())
        });
    }

    /// Somebody changes the labels of one.
    pub(super) fn relabel(
        &self,
        id: &str,
        change: impl FnOnce(&mut serde_json::Map<String, Json>),
    ) {
        let mut one = self.instance(id);
        change(one["labels"].as_object_mut().expect("labels"));
        let body = json!({"labels": one["labels"], "labelFingerprint": one["labelFingerprint"]});
        self.server
            .ask("POST", &format!("{}/setLabels", at(id)), Some(&body));
    }
}

/// `zones/europe-west3-a/instances/5000000000000000001`
pub(super) fn at(id: &str) -> String {
    let (zone, number) = id.split_once('/').expect("a zone and a number");
    format!("zones/{zone}/instances/{number}")
}

pub(super) fn id(instance: &Json) -> String {
    format!("{}/{}", tail(&instance["zone"]), text(&instance["id"]))
}

pub(super) fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn tail(value: &Json) -> String {
    text(value)
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}
