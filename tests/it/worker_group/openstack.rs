//! Nova, Glance and Neutron themselves, over a hypervisor that pretends (`tests/servers/openstack.sh`); only with
//! `FLATCAR_ACC_OPENSTACK=1`, for they take a minute to start and 1.7 GB.

use flatcar::worker_group::cloud::{Entry, Machine, Mark};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value as Json, json};

use super::{Act, Subject, Trouble, conforms, entry};
use crate::servers;

#[tokio::test]
async fn openstack_behaves_like_a_cloud() {
    let Some(openstack) = OpenStack::start().await else {
        return;
    };
    conforms(&openstack, &[]).await;
}

/// A second client, by hand: an administrator and the project `demo`.
struct OpenStack {
    server: servers::OpenStack,
    http: reqwest::Client,
    admin: Login,
    demo: Login,
}

struct Login {
    token: String,
    project: String,
    catalog: Json,
}

impl OpenStack {
    async fn start() -> Option<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = servers::OpenStack::start()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let openstack = Self {
            admin: login(&http, &server.auth_url, "admin").await,
            demo: login(&http, &server.auth_url, "demo").await,
            http,
            server,
        };
        openstack.furnish().await;
        Some(openstack)
    }

    /// What a project has before somebody makes machines in it.
    async fn furnish(&self) {
        let flavor = json!({"flavor": {"name": "small", "ram": 64, "vcpus": 1, "disk": 1}});
        self.ask(
            &self.admin,
            "compute",
            Method::POST,
            "/flavors",
            Some(flavor),
        )
        .await;
        let network = json!({"network": {"name": "workers"}});
        let network = self
            .ask(
                &self.demo,
                "network",
                Method::POST,
                "/v2.0/networks",
                Some(network),
            )
            .await;
        let subnet = json!({"subnet": {"network_id": network["network"]["id"], "ip_version": 4, "cidr": "10.9.0.0/16"}});
        self.ask(
            &self.demo,
            "network",
            Method::POST,
            "/v2.0/subnets",
            Some(subnet),
        )
        .await;
        for name in self.images() {
            let image = json!({"name": name, "disk_format": "raw", "container_format": "bare"});
            let image = self
                .ask(&self.demo, "image", Method::POST, "/v2/images", Some(image))
                .await;
            let id = image["id"].as_str().expect("an id");
            let answer = self
                .request(
                    &self.demo,
                    "image",
                    Method::PUT,
                    &format!("/v2/images/{id}/file"),
                )
                .header("content-type", "application/octet-stream")
                .body("no disk")
                .send()
                .await
                .expect("Glance answers");
            assert!(answer.status().is_success(), "{answer:?}");
        }
    }

    fn request(&self, login: &Login, service: &str, method: Method, path: &str) -> RequestBuilder {
        let services = login.catalog.as_array().expect("a catalogue");
        let endpoints = services
            .iter()
            .find(|of| of["type"] == service)
            .expect("the service")["endpoints"]
            .as_array();
        let public = endpoints
            .expect("endpoints")
            .iter()
            .find(|of| of["interface"] == "public")
            .expect("a public one");
        let url = public["url"].as_str().expect("a URL").trim_end_matches('/');
        self.http
            .request(method, format!("{url}{path}"))
            .header("x-auth-token", &login.token)
            .header("openstack-api-version", "compute 2.90")
    }

    async fn ask(
        &self,
        login: &Login,
        service: &str,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> Json {
        let mut request = self.request(login, service, method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the service answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Json::Null)
    }

    async fn instances(&self, quota: i64) {
        let path = format!("/os-quota-sets/{}", self.demo.project);
        let body = json!({"quota_set": {"instances": quota, "cores": -1, "ram": -1}});
        self.ask(&self.admin, "compute", Method::PUT, &path, Some(body))
            .await;
    }
}

async fn login(http: &reqwest::Client, auth_url: &str, name: &str) -> Login {
    let domain = json!({"id": "default"});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"name": name, "domain": domain, "password": "secret"}}},
        "scope": {"project": {"name": name, "domain": domain}},
    }});
    let answer = http
        .post(format!("{auth_url}/auth/tokens"))
        .json(&body)
        .send()
        .await
        .expect("Keystone answers");
    let token = answer.headers()["x-subject-token"]
        .to_str()
        .expect("a token")
        .to_owned();
    let mut body: Json = answer.json().await.expect("JSON");
    Login {
        token,
        project: body["token"]["project"]["id"]
            .as_str()
            .expect("a project")
            .to_owned(),
        catalog: body["token"]["catalog"].take(),
    }
}

impl Subject for OpenStack {
    fn entry(&self) -> &'static Entry {
        entry("openstack")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"openstack": {
            "auth_url": self.server.auth_url,
            "user_name": "demo",
            "password": "secret",
            "tenant_name": "demo",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
            "region": "RegionOne",
        }})
    }

    fn shape(&self) -> Json {
        json!({
            "flavor_name": "small",
            "networks": [{"name": "workers"}],
            "metadata": {"team": "a", "cost": "1"},
        })
    }

    fn tags(&self) -> &'static str {
        "metadata"
    }

    fn takes_time(&self) -> bool {
        true
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("availability_zones", json!(["nowhere"]))
    }

    fn images(&self) -> [&'static str; 2] {
        ["flatcar-stable", "flatcar-beta"]
    }

    fn unknown_id(&self) -> String {
        "00000000-0000-0000-0000-000000000000".to_owned()
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        async move {
            match trouble {
                Trouble::Quota => {
                    // Nova takes no quota below what is used.
                    let path = format!("/os-quota-sets/{}/detail", self.demo.project);
                    let quota = self
                        .ask(&self.admin, "compute", Method::GET, &path, None)
                        .await;
                    let used = quota["quota_set"]["instances"]["in_use"].as_i64();
                    self.instances(used.expect("a number")).await;
                    Ok(())
                }
                Trouble::SlowBoot | Trouble::SlowDelete | Trouble::LateLists => {
                    Err("the hypervisor that pretends boots and deletes at its own pace")
                }
                _ => Err(
                    "the real services cannot be told to fail, and no proxy stands before them yet",
                ),
            }
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        self.instances(-1).boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        async move {
            let path = format!("/servers/{}", machine.id);
            let metadata = |key: &str, value: &str| Some(json!({"metadata": {key: value}}));
            match act {
                Act::Remove => {
                    self.ask(&self.demo, "compute", Method::DELETE, &path, None)
                        .await;
                }
                Act::Stop => {
                    let stop = Some(json!({"os-stop": null}));
                    self.ask(
                        &self.demo,
                        "compute",
                        Method::POST,
                        &format!("{path}/action"),
                        stop,
                    )
                    .await;
                    loop {
                        let server = self
                            .ask(&self.demo, "compute", Method::GET, &path, None)
                            .await;
                        if server["server"]["status"] == "SHUTOFF" {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
                Act::Retag => {
                    self.ask(
                        &self.demo,
                        "compute",
                        Method::POST,
                        &format!("{path}/metadata"),
                        metadata("team", "z"),
                    )
                    .await;
                }
                Act::TagAsStranger => {
                    self.ask(
                        &self.demo,
                        "compute",
                        Method::POST,
                        &format!("{path}/metadata"),
                        metadata("stranger", "1"),
                    )
                    .await;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn crowd<'a>(&'a self, _: &'a Mark, _: usize) -> BoxFuture<'a, Result<(), &'static str>> {
        async { Err("a thousand servers take an hour") }.boxed()
    }
}
