//! OpenStack from behind: a project of the one that runs beside the tests, reached through a proxy
//! on the wire.
//!
//! The provider logs in through the proxy, whose catalogue names the proxy in front of each
//! service; the tests themselves ask directly.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value as Json, json};

use super::server::{Client, OpenStack};
use crate::proxy::Proxy;

/// One test's view of a project.
pub(super) struct World {
    pub(super) server: OpenStack,
    pub(super) client: Client,
    /// Before Keystone, Nova, Glance and Neutron: the provider knows no others.
    pub(super) proxy: Proxy,
    /// Nothing else there is in it: another run is another process, and its services may be the
    /// same ones.
    pub(super) cluster: String,
}

impl World {
    /// `None` after having said why.
    pub(super) async fn find(project: &'static str) -> Option<Self> {
        let server = OpenStack::find(project)?;
        Some(Self::of(server).await)
    }

    pub(super) async fn of(server: OpenStack) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Of its own: a token holds for an hour, and all tests may take longer.
        let client = server.client().await;
        let services = ["compute", "image", "network"].map(|of| client.user.endpoint(of));
        let proxy = Proxy::start(&[&server.auth_url, services[0], services[1], services[2]]);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("it-{}-{number}", std::process::id());
        Self {
            server,
            client,
            proxy,
            cluster,
        }
    }

    /// The attribute of the provider block.
    pub(super) fn block(&self) -> Json {
        let mut block = self.server.block();
        block["auth_url"] = json!(format!("{}/v3", self.proxy.endpoint(0)));
        block
    }

    /// Somebody deletes a server.
    pub(super) async fn remove(&self, id: &str) {
        let path = format!("/servers/{id}");
        self.client.delete("compute", &path).await;
    }
}
