//! EC2 from behind: moto, reached through a proxy that can leave a call unanswered.
//!
//! The provider's endpoint is the proxy; these tests themselves ask moto directly. Several tests share one moto, each with a cluster of
//! its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Call, Stage};
use crate::core::Workspace;
use crate::harness;
use crate::proxy::{Fate, Proxy};

/// What moto says that it is.
const REGION: &str = "eu-central-1";
const ACCOUNT: &str = "123456789012";

/// The environment variable that `tests/servers/with aws` sets.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_EC2";

/// One test's view of the moto that runs beside the tests.
pub(super) struct Moto {
    port: u16,
    proxy: Proxy,
    cluster: String,
}

impl Moto {
    /// The moto that runs, or `skipped: …`; also where this build has no AWS.
    pub(super) fn find() -> Option<Self> {
        if !cfg!(feature = "aws") {
            harness::skip("this build has no AWS");
            return None;
        }
        let endpoint = std::env::var(ENDPOINT).unwrap_or_default();
        let port = endpoint.strip_prefix("http://127.0.0.1:");
        let Some(port) = port.and_then(|port| port.parse().ok()) else {
            harness::skip("moto does not run: tests/servers/with aws -- cargo test");
            return None;
        };
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            port,
            proxy: Proxy::start(&[&endpoint]),
            cluster: format!("e2e-{}-{number}", std::process::id()),
        })
    }

    /// Where the provider finds EC2.
    pub(super) fn endpoint(&self) -> String {
        self.proxy.endpoint(0)
    }

    /// Asks moto for an action of EC2 and gives its XML.
    fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut form = format!("Action={action}&Version=2016-11-15");
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={value}"));
        }
        // In HTTP/1.0 an answer ends with its connection.
        let request = format!(
            "POST / HTTP/1.0\r\nHost: 127.0.0.1\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut moto = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("moto listens");
        moto.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        moto.read_to_string(&mut answer).expect("moto answers");
        let status = answer.split(' ').nth(1);
        assert_eq!(status, Some("200"), "{action}: {answer}");
        answer
    }
}

impl Stage for Moto {
    fn provider(&self) -> String {
        format!(
            r#"aws = {{ region = "{REGION}", access_key = "test", secret_key = "test", endpoint = "{}" }}"#,
            self.endpoint()
        )
    }

    fn shape(&self) -> String {
        r#"aws = { instance_type = "t3.small" }"#.to_owned()
    }

    fn image(&self) -> String {
        r#""ami-0f1a7ca7000000001""#.to_owned()
    }

    fn cluster(&self) -> String {
        self.cluster.clone()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        let answer = self.ask(
            "DescribeInstances",
            &[
                ("Filter.1.Name", "tag:flatcar-cluster"),
                ("Filter.1.Value.1", &self.cluster),
                ("Filter.2.Name", "instance-state-name"),
                ("Filter.2.Value.1", "pending"),
                ("Filter.2.Value.2", "running"),
                ("Filter.2.Value.3", "stopped"),
            ],
        );
        // One RunInstances makes one reservation, and here one machine.
        let reservations = answer.split("<reservationId>").skip(1);
        reservations
            .filter_map(|reservation| {
                let after = |tag: &str| Some(reservation.split_once(tag)?.1);
                let id = after("<instanceId>")?.split('<').next()?;
                let (_, name) = after("<key>Name</key>")?.split_once("<value>")?;
                Some((name.split('<').next()?.to_owned(), id.to_owned()))
            })
            .collect()
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        let id = &self.machines(workspace)[name];
        self.ask("TerminateInstances", &[("InstanceId.1", id)]);
    }

    fn scope(&self, _: &Workspace) -> String {
        format!("{ACCOUNT}/{REGION}")
    }

    fn stall(&self, _: &Workspace, call: Call, nth: usize, done: bool) {
        let action = match call {
            Call::Create => "EC2 RunInstances",
            Call::Delete => "EC2 TerminateInstances",
        };
        let made = AtomicUsize::new(0);
        self.proxy.order(move |_, name| {
            if name != action || made.fetch_add(1, Ordering::Relaxed) + 1 != nth {
                return Fate::Pass;
            }
            match done {
                true => Fate::HoldAfter,
                false => Fate::HoldBefore,
            }
        });
    }

    fn stalls(&self, _: &Workspace) -> bool {
        self.proxy.holds()
    }

    fn go_on(&self, _: &Workspace) {
        self.proxy.order(|_, _| Fate::Pass);
        self.proxy.release();
    }
}
