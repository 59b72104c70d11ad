//! Keystone, Nova, Glance, Neutron and Placement themselves, over a hypervisor that pretends: the
//! one that `tests/servers/with openstack` has started for all tests of a run
//! (`tests/servers/openstack.sh`), and a client by hand that does what the provider does not know
//! of.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value as Json, json};

use crate::harness::skip;

/// One of the projects that `openstack.sh` makes, with a user of the same name, a network
/// `workers`, and no quota. Tests that change a quota or count what is there take one of their own.
#[derive(Clone)]
pub(crate) struct OpenStack {
    /// `http://127.0.0.1:21000/v3`
    pub(crate) auth_url: String,
    pub(crate) project: &'static str,
}

/// What there is for everybody.
pub(crate) const FLAVOR: &str = "small";
pub(crate) const NETWORK: &str = "workers";
pub(crate) const EXTERNAL_NETWORK: &str = "public";
pub(crate) const IMAGES: [&str; 2] = ["flatcar-stable", "flatcar-beta"];
pub(crate) const PASSWORD: &str = "secret";

impl OpenStack {
    /// `None` after having said why: seventeen processes and 1.7 GB are more than a test run takes
    /// unasked.
    pub(crate) fn find(project: &'static str) -> Option<Self> {
        let is_asked = std::env::var("FLATCAR_ACC_OPENSTACK").is_ok_and(|value| value == "1");
        let started = std::env::var("FLATCAR_SERVERS").unwrap_or_default();
        let runs = started.split(' ').any(|name| name == "openstack");
        match std::env::var("OS_AUTH_URL").ok().filter(|_| runs) {
            Some(auth_url) => Some(Self { auth_url, project }),
            None if is_asked => {
                skip("OpenStack does not run: tests/servers/with openstack -- cargo test");
                None
            }
            None => {
                skip(
                    "OpenStack is started only where it is asked for: FLATCAR_ACC_OPENSTACK=1 make test",
                );
                None
            }
        }
    }

    /// The argument `openstack` of the provider block.
    pub(crate) fn block(&self) -> Json {
        json!({
            "auth_url": self.auth_url,
            "user_name": self.project,
            "password": PASSWORD,
            "tenant_name": self.project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
            "region": "RegionOne",
        })
    }

    /// Logged in as an administrator, and as the project's user.
    pub(crate) async fn client(&self) -> Client {
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Client {
            admin: Login::of(&http, &self.auth_url, "admin").await,
            user: Login::of(&http, &self.auth_url, self.project).await,
            http,
        }
    }
}

/// A second client: what it does, the provider does not know of.
pub(crate) struct Client {
    pub(crate) admin: Login,
    /// The project's user.
    pub(crate) user: Login,
    http: reqwest::Client,
}

pub(crate) struct Login {
    pub(crate) token: String,
    /// Ids.
    pub(crate) project: String,
    pub(crate) user: String,
    catalog: Json,
}

impl Client {
    /// Asks a service (`"compute"`), and panics where it refuses.
    pub(crate) async fn ask(
        &self,
        login: &Login,
        service: &str,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> Json {
        let answer = self.send(login, service, method, path, body).await;
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Json::Null)
    }

    /// Asks a service, and answers what it says.
    pub(crate) async fn send(
        &self,
        login: &Login,
        service: &str,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> Response {
        let mut request = self.request(login, service, method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("the service answers")
    }

    /// `GET`, as the project's user.
    pub(crate) async fn get(&self, service: &str, path: &str) -> Json {
        self.ask(&self.user, service, Method::GET, path, None).await
    }

    /// `POST`, as the project's user.
    pub(crate) async fn post(&self, service: &str, path: &str, body: Json) -> Json {
        self.ask(&self.user, service, Method::POST, path, Some(body))
            .await
    }

    /// `DELETE`, as the project's user.
    pub(crate) async fn delete(&self, service: &str, path: &str) {
        self.ask(&self.user, service, Method::DELETE, path, None)
            .await;
    }

    fn request(&self, login: &Login, service: &str, method: Method, path: &str) -> RequestBuilder {
        let url = login.endpoint(service);
        self.http
            .request(method, format!("{url}{path}"))
            .header("x-auth-token", &login.token)
            .header("openstack-api-version", "compute 2.90")
    }
}

impl Login {
    /// Where a service (`"compute"`) is: `http://127.0.0.1:21004/v2.1`.
    pub(crate) fn endpoint(&self, service: &str) -> &str {
        let services = self.catalog.as_array().expect("a catalogue");
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
        public["url"].as_str().expect("a URL").trim_end_matches('/')
    }

    async fn of(http: &reqwest::Client, auth_url: &str, name: &str) -> Self {
        let domain = json!({"id": "default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": name, "domain": domain, "password": PASSWORD}}},
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
        let id = |of: &str| body["token"][of]["id"].as_str().expect("an id").to_owned();
        Self {
            token,
            project: id("project"),
            user: id("user"),
            catalog: body["token"]["catalog"].take(),
        }
    }
}
