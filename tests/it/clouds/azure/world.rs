//! Azure from behind: a subscription of the Resource Manager that runs beside the tests, reached
//! through a proxy on the wire.
//!
//! The provider's endpoints are the proxy's; the tests themselves ask directly. A subscription is
//! there when it is first asked for, so that each test has one of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use crate::harness::skip;
use crate::proxy::Proxy;

/// One test's view of a subscription.
pub(crate) struct World {
    pub(crate) proxy: Proxy,
    pub(crate) subscription: String,
    /// Nothing else is in it.
    pub(crate) cluster: String,
    endpoint: String,
    http: reqwest::Client,
}

pub(crate) const TENANT: &str = "22222222-2222-2222-2222-222222222222";
pub(crate) const CLIENT: &str = "33333333-3333-3333-3333-333333333333";
pub(crate) const SECRET: &str = "secret";
pub(crate) const IMAGES: [&str; 2] = [
    "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4230.2.3",
    "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4230.2.4",
];
pub(crate) const SIZE: &str = "Standard_D2s_v5";
const GROUP: &str = "Workers";

/// Where the stand-in speaks plain HTTP, or `skipped: …`.
pub(crate) fn endpoint() -> Option<String> {
    let endpoint = std::env::var("FLATCAR_AZURE")
        .ok()
        .filter(|url| !url.is_empty());
    if endpoint.is_none() {
        skip("Azure's stand-in does not run: tests/servers/with azure -- cargo test");
    }
    endpoint
}

impl World {
    /// `None` after having said why.
    pub(crate) async fn find() -> Option<Self> {
        Some(Self::at(&endpoint()?).await)
    }

    /// With a resource group, a network, two security groups and a load balancer in it.
    pub(crate) async fn at(endpoint: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let world = Self {
            proxy: Proxy::start(&[endpoint]),
            subscription: format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id()),
            cluster: format!("it-{}-{number}", std::process::id()),
            endpoint: endpoint.to_owned(),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
        };
        let location = json!({"location": "westeurope"});
        world.put(&world.group(), location.clone()).await;
        let of = |subnets: &[&str]| {
            let subnets: Vec<Json> = subnets
                .iter()
                .map(|name| json!({"name": name, "properties": {"addressPrefix": "10.0.0.0/24"}}))
                .collect();
            json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": subnets}})
        };
        world
            .put(
                &world.network("virtualNetworks/net"),
                of(&["workers", "others"]),
            )
            .await;
        for name in ["one", "two"] {
            world
                .put(
                    &world.network(&format!("networkSecurityGroups/{name}")),
                    location.clone(),
                )
                .await;
            world
                .put(
                    &world.network(&format!("applicationSecurityGroups/{name}")),
                    location.clone(),
                )
                .await;
        }
        let pools = json!([{"name": "workers"}, {"name": "slow", "properties": {"drainPeriodInSeconds": 2}}]);
        let balancer = json!({"location": "westeurope", "sku": {"name": "Standard"}, "properties": {"backendAddressPools": pools}});
        world
            .put(&world.network("loadBalancers/web"), balancer)
            .await;
        world.control(json!({})).await;
        world
    }

    /// The attribute of the provider block.
    pub(crate) fn block(&self) -> Json {
        json!({
            "subscription_id": self.subscription, "tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET,
            "resource_manager_endpoint": self.proxy.endpoint(0), "authority_host": self.proxy.endpoint(0),
        })
    }

    /// A shape without more.
    pub(crate) fn shape(&self) -> Json {
        json!({
            "resource_group_name": GROUP, "location": "westeurope", "vm_size": SIZE, "subnet_id": self.subnet("workers"),
        })
    }

    pub(crate) fn group(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{GROUP}",
            self.subscription
        )
    }

    /// `"loadBalancers/web"`
    pub(crate) fn network(&self, path: &str) -> String {
        format!("{}/providers/Microsoft.Network/{path}", self.group())
    }

    pub(crate) fn subnet(&self, name: &str) -> String {
        self.network(&format!("virtualNetworks/net/subnets/{name}"))
    }

    pub(crate) fn pool(&self, name: &str) -> String {
        self.network(&format!("loadBalancers/web/backendAddressPools/{name}"))
    }

    pub(crate) fn scope(&self) -> String {
        format!("{}/{}", self.subscription, GROUP.to_lowercase())
    }

    /// `{"seconds": {"delete": 3600}}`; what is not said is as it was at first.
    pub(crate) async fn control(&self, control: Json) -> Json {
        let mut whole = json!({"seconds": {}, "retry_after": 0, "page": 1000, "cores": 1000, "full": [], "faults": []});
        for (key, value) in control.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let url = format!(
            "{}/_control?subscription={}",
            self.endpoint, self.subscription
        );
        let answer = self
            .http
            .put(url)
            .json(&whole)
            .send()
            .await
            .expect("the stand-in answers");
        answer.json().await.expect("JSON")
    }

    /// Pages of lists that were not the last one.
    pub(crate) async fn pages(&self) -> u64 {
        let url = format!(
            "{}/_control?subscription={}",
            self.endpoint, self.subscription
        );
        let answer = self
            .http
            .get(url)
            .send()
            .await
            .expect("the stand-in answers");
        let control: Json = answer.json().await.expect("JSON");
        control["pages"].as_u64().expect("a number")
    }

    pub(crate) async fn put(&self, path: &str, body: Json) -> Json {
        self.ask(Method::PUT, path, Some(body))
            .await
            .expect("is made")
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Json> {
        self.ask(Method::GET, path, None).await
    }

    /// All of a sort in the resource group: `"Microsoft.Compute/disks"`.
    pub(crate) async fn all(&self, kind: &str) -> Vec<Json> {
        let path = format!("{}/providers/{kind}?$top=1000", self.group());
        let mut answer = self.get(&path).await.expect("a list");
        assert!(answer["nextLink"].is_null(), "more than one page");
        serde_json::from_value(answer["value"].take()).expect("a list")
    }

    /// Machines of the cluster that are not going.
    pub(crate) async fn machines(&self) -> Vec<Json> {
        let all = self.all("Microsoft.Compute/virtualMachines").await;
        let is_ours = |one: &Json| {
            one["tags"]["flatcar-cluster"] == self.cluster.as_str()
                && one["properties"]["provisioningState"] != "Deleting"
        };
        all.into_iter().filter(is_ours).collect()
    }

    /// Ids of network interfaces, addresses and disks: what a machine leaves behind, if anything.
    pub(crate) async fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        for kind in [
            "Microsoft.Network/networkInterfaces",
            "Microsoft.Network/publicIPAddresses",
            "Microsoft.Compute/disks",
        ] {
            let all = self.all(kind).await;
            parts.extend(
                all.iter()
                    .map(|one| one["id"].as_str().expect("an id").to_owned()),
            );
        }
        parts
    }

    /// `None`: there is no such thing. Of the id of a machine, the path is asked for.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Json>) -> Option<Json> {
        let (path, _) = path.split_once('|').unwrap_or((path, ""));
        let token = self.token().await;
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut request = self
            .http
            .request(
                method,
                format!("{}{path}{mark}api-version=2024-11-01", self.endpoint),
            )
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the stand-in answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        if status == StatusCode::NOT_FOUND {
            return None;
        }
        assert!(status.is_success(), "{path}: {status} {text}");
        Some(serde_json::from_str(&text).unwrap_or(Json::Null))
    }

    /// One that the stand-in takes.
    pub(crate) async fn token(&self) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
            ("scope", "https://management.azure.com/.default"),
        ];
        let form: String = form.map(|(key, value)| format!("{key}={value}")).join("&");
        let login = self
            .http
            .post(format!("{}/{TENANT}/oauth2/v2.0/token", self.endpoint));
        let login = login
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let login: Json = login
            .send()
            .await
            .expect("the stand-in answers")
            .json()
            .await
            .expect("JSON");
        login["access_token"].as_str().expect("a token").to_owned()
    }

    /// Somebody deletes a machine.
    pub(crate) async fn remove(&self, id: &str) {
        self.ask(Method::DELETE, id, None).await;
    }

    /// Somebody stops one.
    pub(crate) async fn stop(&self, id: &str) {
        let (path, _) = id.split_once('|').unwrap_or((id, ""));
        self.ask(Method::POST, &format!("{path}/deallocate"), None)
            .await;
    }

    /// Somebody changes the tags of one.
    pub(crate) async fn tag(&self, id: &str, operation: &str, tags: Json) {
        let (path, _) = id.split_once('|').unwrap_or((id, ""));
        let path = format!("{path}/providers/Microsoft.Resources/tags/default");
        let body = json!({"operation": operation, "properties": {"tags": tags}});
        self.ask(Method::PATCH, &path, Some(body)).await;
    }
}
