//! EC2 from behind: moto, reached through a proxy that can leave a call unanswered.
//!
//! The provider's endpoint is the proxy; these tests themselves ask moto directly. Several tests share one moto, each with a cluster of
//! its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Call, Stage};
use crate::core::Workspace;
use crate::harness;

/// What moto says that it is.
const REGION: &str = "eu-central-1";
const ACCOUNT: &str = "123456789012";

/// The environment variable that `tests/servers/with aws` sets.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_EC2";

/// One test's view of the moto that runs beside the tests.
pub(super) struct Moto {
    port: u16,
    proxy: u16,
    cluster: String,
    orders: Arc<Mutex<Orders>>,
}

/// What the proxy does.
#[derive(Default)]
struct Orders {
    stall: Option<Stall>,
    stalled: bool,
}

struct Stall {
    call: Call,
    left: usize,
    done: bool,
}

impl Moto {
    /// The moto that runs, or `skipped: …`; also where this build has no AWS.
    pub(super) fn find() -> Option<Self> {
        if !cfg!(feature = "aws") {
            harness::skip("this build has no AWS");
            return None;
        }
        let Some(port) = std::env::var(ENDPOINT)
            .ok()
            .and_then(|endpoint| endpoint.strip_prefix("http://127.0.0.1:")?.parse().ok())
        else {
            harness::skip("moto does not run: tests/servers/with aws -- cargo test");
            return None;
        };
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let orders = Arc::<Mutex<Orders>>::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = listener.local_addr().expect("an address").port();
        let shared = Arc::clone(&orders);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let orders = Arc::clone(&shared);
                thread::spawn(move || answer(client, port, &orders));
            }
        });
        Some(Self {
            port,
            proxy,
            cluster: format!("e2e-{}-{number}", std::process::id()),
            orders,
        })
    }

    /// Where the provider finds EC2.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy)
    }

    /// Asks moto for an action of EC2 and gives its XML.
    fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut form = format!("Action={action}&Version=2016-11-15");
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={value}"));
        }
        let request = format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let answer = exchange(self.port, request.as_bytes());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1);
        assert_eq!(status, Some("200"), "{action}: {answer}");
        answer
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().expect("no panic while it was held")
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
        *self.orders() = Orders {
            stall: Some(Stall {
                call,
                left: nth,
                done,
            }),
            stalled: false,
        };
    }

    fn stalls(&self, _: &Workspace) -> bool {
        self.orders().stalled
    }

    fn go_on(&self, _: &Workspace) {
        *self.orders() = Orders::default();
    }
}

/// Answers one request of the provider, or never.
fn answer(mut client: TcpStream, upstream: u16, orders: &Mutex<Orders>) {
    let Some(request) = read_request(&mut client) else {
        return;
    };
    let text = String::from_utf8_lossy(&request);
    let call = if text.contains("DryRun=true") {
        None
    } else if text.contains("Action=RunInstances") {
        Some(Call::Create)
    } else if text.contains("Action=TerminateInstances") {
        Some(Call::Delete)
    } else {
        None
    };
    let stalls = {
        let mut orders = orders.lock().expect("no panic while it was held");
        orders
            .stall
            .as_mut()
            .filter(|stall| Some(stall.call) == call && stall.left > 0)
            .and_then(|stall| {
                stall.left -= 1;
                (stall.left == 0).then_some(stall.done)
            })
    };
    if stalls != Some(false) {
        let answer = exchange(upstream, &request);
        if stalls.is_none() {
            // The provider may have been killed meanwhile.
            let _ = client.write_all(&answer);
            return;
        }
    }
    orders.lock().expect("no panic while it was held").stalled = true;
    // Held open until the provider is gone.
    let _ = client.read(&mut [0]);
}

/// A whole request, made to be the only one of its connection.
fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 65536];
    loop {
        let count = client.read(&mut part).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0_usize);
        let body = end + 4;
        if bytes.len() >= body + length {
            let mut request = head.into_bytes();
            request.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
            request.extend_from_slice(&bytes[body..]);
            return Some(request);
        }
    }
}

/// Sends a request and reads until the other side closes. The answer says that the connection closes, so that nobody reuses it.
fn exchange(port: u16, request: &[u8]) -> Vec<u8> {
    let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("moto listens");
    upstream.write_all(request).expect("moto reads");
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).expect("moto answers");
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return answer;
    };
    answer.splice(end..end, b"\r\nConnection: close".iter().copied());
    answer
}
