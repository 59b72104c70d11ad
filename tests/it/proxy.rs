//! A proxy on the wire between the provider and a cloud's server: counts the calls, and does to
//! each of them what a network, or a tired server, does.
//!
//! `Proxy::start(&["http://127.0.0.1:5500"])` → `endpoint(0)` goes into the provider block →
//! `order(|k, name| …)` says the fate of each call → `calls()` = `["STS GetCallerIdentity", "EC2
//! RunInstances DryRun", "EC2 RunInstances", …]`. Plain HTTP/1.1; each connection carries one call,
//! so that a fate befalls nobody else.

mod cluster;

use std::io;
use std::net::{Ipv4Addr, TcpListener as Listener};
#[cfg(any(
    feature = "azure",
    feature = "gcp",
    feature = "kubevirt",
    feature = "openstack",
    feature = "vsphere"
))]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

use self::cluster::{End, Stream, connected, connector, watched};
use crate::harness::wait_until;

/// What becomes of a call.
pub(crate) enum Fate {
    /// It is carried out, and answered.
    Pass,
    /// It does not go out, and is not answered until [`Proxy::release`] closes it.
    HoldBefore,
    /// It is carried out, and not answered until [`Proxy::release`] closes it.
    HoldAfter,
    /// It does not go out; the connection is reset.
    ResetBefore,
    /// It is carried out; the connection is reset in place of an answer.
    ResetAfter,
    /// Nothing for so long, then it passes. Not carried out when the client has gone meanwhile.
    Silent(Duration),
    /// It does not go out; this is the answer.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// It is carried out; half of the answer's body comes, then the connection closes.
    Truncated,
    /// It is carried out; the answer's body is changed so.
    Rewritten(fn(String) -> String),
    /// The same, by what remembers other answers.
    Changed(Change),
    /// It does not go out, the connection is reset, and further ones are refused until
    /// [`Proxy::open`].
    Down,
}

/// What is made of an answer's body.
pub(crate) type Change = Box<dyn FnOnce(String) -> String + Send>;

/// One listener for each upstream, one count over all.
pub(crate) struct Proxy {
    wire: Arc<Wire>,
    runtime: Option<Runtime>,
}

/// What the connections share.
struct Wire {
    /// `127.0.0.1:5500`, and our own in front of it.
    hosts: Vec<(String, String)>,
    /// Where the upstreams speak TLS.
    tls: Option<TlsConnector>,
    ledger: Mutex<Ledger>,
    /// Changes when what is held is let go.
    released: watch::Sender<()>,
    /// Whether it listens.
    open: watch::Sender<bool>,
}

struct Ledger {
    calls: Vec<String>,
    /// What each request carries beside its own.
    adds: Vec<(String, String)>,
    /// What is put in place of what, in the first line and the body of each request.
    rewrites: Vec<(String, String)>,
    plan: Arc<Plan>,
    held: usize,
}

type Plan = dyn Fn(usize, &str) -> Fate + Send + Sync;

impl Proxy {
    /// Listens on 127.0.0.1 in front of each upstream (`http://127.0.0.1:5500`). URLs of any of
    /// them in an answer's head or body become the proxy's own: a client that is told where else to
    /// go comes here too.
    pub(crate) fn start(upstreams: &[&str]) -> Self {
        let upstreams = upstreams
            .iter()
            .map(|upstream| upstream.strip_prefix("http://").expect("plain HTTP"));
        Self::listen(upstreams.collect(), None)
    }

    /// The same in front of one that speaks TLS (`https://127.0.0.1:36443`), by a certificate of
    /// this authority (PEM).
    pub(crate) fn before_tls(upstream: &str, authority: &str) -> Self {
        let upstream = upstream.strip_prefix("https://").expect("TLS");
        Self::listen(vec![upstream], Some(connector(authority)))
    }

    fn listen(upstreams: Vec<&str>, tls: Option<TlsConnector>) -> Self {
        // Two threads: a fate may look at other things, and must not keep other calls waiting.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (listeners, hosts): (Vec<Listener>, Vec<(String, String)>) = upstreams
            .iter()
            .map(|upstream| {
                let upstream = upstream.split('/').next().unwrap_or(upstream);
                let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
                let port = listener.local_addr().expect("an address").port();
                (listener, (upstream.to_owned(), format!("127.0.0.1:{port}")))
            })
            .unzip();
        let wire = Arc::new(Wire {
            hosts,
            tls,
            ledger: Mutex::new(Ledger {
                calls: Vec::new(),
                adds: Vec::new(),
                rewrites: Vec::new(),
                plan: Arc::new(|_, _| Fate::Pass),
                held: 0,
            }),
            released: watch::Sender::new(()),
            open: watch::Sender::new(true),
        });
        let _entered = runtime.enter();
        for (index, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true).expect("a socket of ours");
            let listener = TcpListener::from_std(listener).expect("a socket of ours");
            runtime.spawn(accept(listener, Arc::clone(&wire), index));
        }
        Self {
            wire,
            runtime: Some(runtime),
        }
    }

    /// Where a client finds this upstream: `http://127.0.0.1:41234`.
    pub(crate) fn endpoint(&self, upstream: usize) -> String {
        format!("http://{}", self.wire.hosts[upstream].1)
    }

    /// From now on calls are counted from 1 again, and `plan` says the fate of the `k`th, by number
    /// and name.
    pub(crate) fn order(&self, plan: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) {
        let mut ledger = self.wire.ledger();
        ledger.calls.clear();
        ledger.plan = Arc::new(plan);
    }

    /// The first call of this name meets this fate, all others pass.
    #[cfg(any(
        feature = "azure",
        feature = "gcp",
        feature = "kubevirt",
        feature = "openstack",
        feature = "vsphere"
    ))]
    pub(crate) fn once(&self, name: &'static str, fate: impl Fn() -> Fate + Send + Sync + 'static) {
        let met = AtomicBool::new(false);
        self.order(
            move |_, call| match call == name && !met.swap(true, Ordering::Relaxed) {
                true => fate(),
                false => Fate::Pass,
            },
        );
    }

    /// Every call of this name meets this fate, all others pass.
    #[cfg(any(
        feature = "azure",
        feature = "gcp",
        feature = "kubevirt",
        feature = "openstack",
        feature = "vsphere"
    ))]
    pub(crate) fn each(&self, name: &'static str, fate: impl Fn() -> Fate + Send + Sync + 'static) {
        self.order(move |_, call| match call == name {
            true => fate(),
            false => Fate::Pass,
        });
    }

    /// Each request carries this header from now on.
    pub(crate) fn add(&self, name: &str, value: &str) {
        let mut ledger = self.wire.ledger();
        ledger.adds.push((name.to_owned(), value.to_owned()));
    }

    /// Each request says one in place of the other from now on.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let mut ledger = self.wire.ledger();
        ledger.rewrites.push((from.to_owned(), to.to_owned()));
    }

    /// The names of the calls since [`Proxy::order`]: `EC2 RunInstances`, `nova POST /servers`,
    /// `nova GET /servers/{id}`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.wire.ledger().calls.clone()
    }

    /// Whether a call is held now.
    pub(crate) fn holds(&self) -> bool {
        self.wire.ledger().held > 0
    }

    /// Listens again after [`Fate::Down`].
    pub(crate) fn open(&self) {
        self.wire.open.send_replace(true);
    }

    /// Closes what is held, without an answer.
    pub(crate) fn release(&self) {
        self.wire.released.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Waiting for it is not allowed in an asynchronous test.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Wire {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts our own places into the upstreams' words.
    fn ours(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (upstream, ours) in &self.hosts {
            let mut parts = text.split(upstream.as_str());
            let mut changed = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                // Another port may begin with the digits of this one.
                let longer = part.starts_with(|next: char| next.is_ascii_digit());
                changed += if longer { upstream } else { ours };
                changed += part;
            }
            text = changed;
        }
        text
    }
}

async fn accept(listener: TcpListener, wire: Arc<Wire>, index: usize) {
    let mut listener = Some(listener);
    let mut open = wire.open.subscribe();
    loop {
        let accepted = match &listener {
            Some(listener) => tokio::select! {
                accepted = listener.accept() => accepted.ok(),
                _ = open.wait_for(|open| !open) => None,
            },
            None => {
                let _ = open.wait_for(|open| *open).await;
                None
            }
        };
        let is_open = *open.borrow();
        if !is_open {
            listener = None;
        } else if listener.is_none() {
            let place = wire.hosts[index].1.clone();
            // It was ours a moment ago, but a client may have got it for its own end of a
            // connection.
            let bind = move || wait_until("the port is free", || Listener::bind(&place).ok());
            let bound = spawn_blocking(bind).await.expect("the port");
            bound.set_nonblocking(true).expect("a socket of ours");
            listener = TcpListener::from_std(bound).ok();
        }
        if let (Some((client, _)), true) = (accepted, is_open) {
            let wire = Arc::clone(&wire);
            tokio::spawn(async move {
                // A client that is gone wants no answer, and an upstream that is gone gives none:
                // the connection closes.
                let _ = serve(client, &wire, index).await;
            });
        }
    }
}

/// One call and its fate.
async fn serve(mut client: TcpStream, wire: &Wire, index: usize) -> io::Result<()> {
    let Some(mut request) = Message::read_request(&mut client).await? else {
        return Ok(());
    };
    let name = request.name();
    let (number, plan) = {
        let mut ledger = wire.ledger();
        request.headers.extend(ledger.adds.iter().cloned());
        for (from, to) in &ledger.rewrites {
            request.rewrite(from, to);
        }
        ledger.calls.push(name.clone());
        (ledger.calls.len(), Arc::clone(&ledger.plan))
    };
    let upstream = Upstream {
        host: &wire.hosts[index].0,
        tls: wire.tls.as_ref(),
    };
    let fate = plan(number, &name);
    if request.is_watch() {
        match fate {
            // It changes nothing, so that to begin it and to say nothing of it is the same as not
            // to.
            Fate::HoldAfter => return hold(&mut client, wire).await,
            Fate::Pass | Fate::ResetAfter | Fate::Truncated => {
                let ends = match fate {
                    Fate::ResetAfter => End::Lost,
                    Fate::Truncated => End::CutShort,
                    _ => End::Whole,
                };
                let upstream = request.sent(&upstream).await?;
                return watched(&mut client, upstream, ends).await;
            }
            Fate::Silent(time) => {
                let mut gone = [0];
                tokio::select! {
                    _ = client.read(&mut gone) => return Ok(()),
                    () = tokio::time::sleep(time) => {}
                }
                let upstream = request.sent(&upstream).await?;
                return watched(&mut client, upstream, End::Whole).await;
            }
            _ => {}
        }
    }
    let upstream = &upstream;
    let answer = match fate {
        Fate::Pass => request.ask(upstream).await?,
        Fate::HoldBefore => return hold(&mut client, wire).await,
        Fate::HoldAfter => {
            request.ask(upstream).await?;
            return hold(&mut client, wire).await;
        }
        Fate::ResetBefore => return client.set_zero_linger(),
        Fate::ResetAfter => {
            request.ask(upstream).await?;
            return client.set_zero_linger();
        }
        Fate::Down => {
            wire.open.send_replace(false);
            return client.set_zero_linger();
        }
        Fate::Silent(time) => {
            let mut gone = [0];
            tokio::select! {
                _ = client.read(&mut gone) => return Ok(()),
                () = tokio::time::sleep(time) => request.ask(upstream).await?,
            }
        }
        Fate::Answer {
            status,
            headers,
            body,
        } => Message {
            first: format!("HTTP/1.1 {status} Ordered"),
            headers,
            body: body.into_bytes(),
        },
        Fate::Truncated => {
            let whole = request.ask(upstream).await?.answer(wire);
            let body = whole.body.len() / 2;
            let bytes = whole.bytes();
            let end = bytes.len() - whole.body.len() + body;
            client.write_all(&bytes[..end]).await?;
            return client.shutdown().await;
        }
        Fate::Rewritten(change) => request.ask(upstream).await?.changed(Box::new(change)),
        Fate::Changed(change) => request.ask(upstream).await?.changed(change),
    };
    client.write_all(&answer.answer(wire).bytes()).await?;
    client.shutdown().await
}

/// Keeps a client waiting until it is gone, or let go.
async fn hold(client: &mut TcpStream, wire: &Wire) -> io::Result<()> {
    let mut released = wire.released.subscribe();
    let mut gone = [0];
    wire.ledger().held += 1;
    tokio::select! {
        _ = client.read(&mut gone) => {}
        _ = released.changed() => {}
    }
    wire.ledger().held -= 1;
    Ok(())
}

/// Where a request goes.
struct Upstream<'a> {
    /// `127.0.0.1:5500`
    host: &'a str,
    tls: Option<&'a TlsConnector>,
}

/// A request or an answer.
struct Message {
    /// `POST / HTTP/1.1`
    first: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// `None`: the client closed before it had said all.
    async fn read_request(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        loop {
            if client.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
            let Some(mut message) = Self::parse(&bytes) else {
                continue;
            };
            let length = message.header("content-length").unwrap_or("0");
            let length: usize = length.parse().map_err(io::Error::other)?;
            if message.body.len() >= length {
                message.body.truncate(length);
                return Ok(Some(message));
            }
        }
    }

    /// `None`: the head is not whole yet.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let first = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Some(Self {
            first,
            headers,
            body: bytes[end + 4..].to_vec(),
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Carries a request out. In HTTP/1.0, for then an answer ends with its connection and never
    /// comes in chunks.
    async fn ask(&self, upstream: &Upstream<'_>) -> io::Result<Self> {
        let mut upstream = self.sent(upstream).await?;
        let mut bytes = Vec::new();
        upstream.read_to_end(&mut bytes).await?;
        Self::parse(&bytes).ok_or_else(|| io::Error::other("no answer"))
    }

    /// Sends a request; its answer comes from there.
    async fn sent(&self, upstream: &Upstream<'_>) -> io::Result<Box<dyn Stream>> {
        let mut request = Self {
            first: self.first.replace("HTTP/1.1", "HTTP/1.0"),
            headers: self.headers.clone(),
            body: self.body.clone(),
        };
        request.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !["connection", "accept-encoding", "expect"].contains(&name.as_str())
        });
        let mut upstream = connected(upstream.host, upstream.tls).await?;
        upstream.write_all(&request.bytes()).await?;
        upstream.flush().await?;
        Ok(upstream)
    }

    /// Puts one text in place of another.
    fn rewrite(&mut self, from: &str, to: &str) {
        self.first = self.first.replace(from, to);
        let Ok(body) = std::str::from_utf8(&self.body) else {
            return;
        };
        self.body = body.replace(from, to).into_bytes();
        let length = self.body.len().to_string();
        for (name, value) in &mut self.headers {
            if name.eq_ignore_ascii_case("content-length") {
                value.clone_from(&length);
            }
        }
    }

    /// As the client gets it: with our own places, and as the only one of its connection.
    fn answer(mut self, wire: &Wire) -> Self {
        self.first = self.first.replace("HTTP/1.0", "HTTP/1.1");
        if let Ok(text) = std::str::from_utf8(&self.body) {
            self.body = wire.ours(text).into_bytes();
        }
        for (_, value) in &mut self.headers {
            *value = wire.ours(value);
        }
        self.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !["connection", "content-length", "keep-alive"].contains(&name.as_str())
        });
        let closes = ("Connection".to_owned(), "close".to_owned());
        self.headers.push(closes);
        // 204 has no body, and must not say how long it is.
        if self.status() != "204" {
            let length = self.body.len().to_string();
            self.headers.push(("Content-Length".to_owned(), length));
        }
        self
    }

    fn changed(mut self, change: Change) -> Self {
        self.body = change(String::from_utf8_lossy(&self.body).into_owned()).into_bytes();
        self
    }

    fn status(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        [text.as_bytes(), &self.body].concat()
    }

    /// What a request asks for, in its cloud's words.
    fn name(&self) -> String {
        if let Some(call) = self.cluster_call() {
            return call;
        }
        let mut words = self.first.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let form = String::from_utf8_lossy(&self.body);
        let field = |name: &str| {
            let mut fields = form.split('&').filter_map(|field| field.split_once('='));
            Some(fields.find(|(other, _)| *other == name)?.1.to_owned())
        };
        if let Some(action) = field("Action") {
            // Credential=KEY/20260101/eu-central-1/ec2/aws4_request
            let scope = self.header("authorization").unwrap_or_default();
            let service = match scope.split('/').nth(3).unwrap_or_default() {
                "elasticloadbalancing" => "ELB".to_owned(),
                service => service.to_ascii_uppercase(),
            };
            let dry = field("DryRun").is_some_and(|dry| dry == "true");
            // Load balancing's way to ask whether one may.
            let of_nobody = field("Targets.member.1.Id").is_some_and(|id| id == NOBODY);
            let only_asks = match (dry, of_nobody) {
                (true, _) => " DryRun",
                (_, true) => " (of no machine)",
                _ => "",
            };
            return format!("{service} {action}{only_asks}");
        }
        if let Some(rest) = path.strip_prefix("/compute/v1/projects/") {
            return google(method, rest, query);
        }
        if let Some(name) = arm(method, path, query) {
            return name;
        }
        if let Some(rest) = path.strip_prefix("/sdk/vim25/") {
            return vim(rest, &self.body);
        }
        let (service, path) = SERVICES
            .iter()
            .find_map(|(prefix, service)| Some((*service, path.strip_prefix(prefix)?)))
            .unwrap_or(("", path));
        let parts: Vec<&str> = path
            .split('/')
            .map(|part| if is_id(part) { "{id}" } else { part })
            .collect();
        // A create looks for its own name: another question than what there is.
        let looks = path.ends_with("/detail") && query.split('&').any(|of| of.starts_with("name="));
        let looks = if looks { "?name" } else { "" };
        format!("{service} {method} {}{looks}", parts.join("/"))
            .trim()
            .to_owned()
    }
}

/// `vSphere CloneVM_Task`, and of a query what it is about: `vSphere RetrievePropertiesEx Task`; of
/// one that passes through all folders `all`.
fn vim(rest: &str, body: &[u8]) -> String {
    let method = rest.rsplit('/').next().unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let spec = &body["specSet"][0];
    let kind = spec["propSet"][0]["type"].as_str().unwrap_or_default();
    let goes_on = spec["objectSet"][0]["selectSet"].is_array();
    let what = match (goes_on, kind) {
        (true, "VirtualMachine") => "all",
        (_, kind) => kind,
    };
    format!("vSphere {method} {what}").trim().to_owned()
}

/// `compute GET /zones/{id}/instances/{id}`: what stands behind the name of a collection is one of
/// it.
fn google(method: &str, path: &str, query: &str) -> String {
    let mut name = format!("compute {method} ");
    let mut before = "";
    for part in path.split('/').skip(1) {
        let is_one = GOOGLES.contains(&before) && part != "family";
        name += "/";
        name += if is_one { "{id}" } else { part };
        before = if is_one { "" } else { part };
    }
    // A create looks for its own name: another question than what there is.
    let looks = before == "instances" && query.split('&').any(|of| of.starts_with("filter=name"));
    name + if looks { "?name" } else { "" }
}

const GOOGLES: [&str; 8] = [
    "family",
    "images",
    "instanceGroups",
    "instances",
    "operations",
    "regions",
    "subnetworks",
    "zones",
];

/// A call of Azure: `arm PUT virtualMachines/{name}`, `arm POST start`, `arm GET
/// virtualMachines?statusOnly`, `entra POST token`.
fn arm(method: &str, path: &str, query: &str) -> Option<String> {
    if path.ends_with("/oauth2/v2.0/token") {
        return Some(format!("entra {method} token"));
    }
    let path = path.strip_prefix("/subscriptions/")?;
    let (_, rest) = path.rsplit_once("/providers/").unwrap_or(("", path));
    // Namespace or subscription, then sorts and names in turn.
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    let looks = if query.contains("statusOnly") {
        "?statusOnly"
    } else {
        ""
    };
    Some(match parts[..] {
        [.., sort, _] if parts.len().is_multiple_of(2) => format!("arm {method} {sort}/{{name}}"),
        [.., sort] => format!("arm {method} {sort}{looks}"),
        [] => format!("arm {method}"),
    })
}

/// `0a1b2c3d-…` with or without hyphens.
fn is_id(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_hexdigit).count();
    let others = part.bytes().filter(|byte| *byte != b'-');
    digits == 32 && others.count() == 32
}

/// The id that no instance has.
const NOBODY: &str = "i-00000000000000000";

/// What OpenStack's services put before their paths.
const SERVICES: [(&str, &str); 4] = [
    ("/v2.1", "nova"),
    ("/v2.0", "neutron"),
    ("/v3", "keystone"),
    ("/v2", "glance"),
];

mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A server that counts, and answers with the place where it is.
    struct Server {
        url: String,
        served: Arc<AtomicUsize>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let served = Arc::new(AtomicUsize::new(0));
            let (count, place) = (Arc::clone(&served), url.clone());
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let request = Message::read_request(&mut client).await.unwrap().unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                    let said = format!(
                        "HTTP/1.0 200 OK\r\nLocation: {place}/there\r\n\r\n{} asks {place}/ and {place}0/",
                        request.first
                    );
                    client.write_all(said.as_bytes()).await.unwrap();
                }
            });
            Self { url, served }
        }

        fn served(&self) -> usize {
            self.served.load(Ordering::SeqCst)
        }
    }

    async fn get(url: &str) -> Result<(u16, String, String), String> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{url}/v2.1/servers?limit=1"));
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let location = answer.headers().get("location");
        let location = location.map_or("", |value| value.to_str().unwrap());
        let location = location.to_owned();
        let body = answer.text().await.map_err(|error| format!("{error:?}"))?;
        Ok((status, location, body))
    }

    #[tokio::test]
    async fn each_fate_befalls_its_call() {
        let server = Server::start().await;
        let proxy = Proxy::start(&[&server.url]);
        let url = proxy.endpoint(0);
        let passed = (
            200,
            format!("{url}/there"),
            // The longer port is somebody else's.
            format!(
                "GET /v2.1/servers?limit=1 HTTP/1.0 asks {url}/ and {}0/",
                server.url
            ),
        );
        type Row<'a> = (fn() -> Fate, usize, Option<(u16, &'a str)>);
        let fates: [Row<'_>; 8] = [
            (|| Fate::Pass, 1, Some((200, passed.2.as_str()))),
            (
                || Fate::Silent(Duration::from_millis(1)),
                1,
                Some((200, passed.2.as_str())),
            ),
            (|| Fate::ResetBefore, 0, None),
            (|| Fate::ResetAfter, 1, None),
            (|| Fate::Truncated, 1, None),
            (
                || Fate::Answer {
                    status: 503,
                    headers: vec![("Retry-After".to_owned(), "1".to_owned())],
                    body: "later".to_owned(),
                },
                0,
                Some((503, "later")),
            ),
            (
                || Fate::Rewritten(|body| body[..3].to_owned()),
                1,
                Some((200, "GET")),
            ),
            (
                || Fate::Changed(Box::new(|body| body[..3].to_owned())),
                1,
                Some((200, "GET")),
            ),
        ];
        for (index, (fate, served, answer)) in fates.into_iter().enumerate() {
            let before = server.served();
            proxy.order(move |_, _| fate());
            let got = get(&url).await;
            match answer {
                Some((status, body)) => {
                    let got = got.unwrap();
                    assert_eq!((got.0, got.2.as_str()), (status, body), "{index}");
                }
                None => assert!(got.is_err(), "{index}: {got:?}"),
            }
            assert_eq!(server.served() - before, served, "{index}");
            assert_eq!(proxy.calls(), ["nova GET /servers"], "{index}");
        }
        proxy.order(|_, _| Fate::Pass);
        assert_eq!(get(&url).await.unwrap(), passed);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_gone_refuses_connections_until_it_is_back() {
        let server = Server::start().await;
        let proxy = Proxy::start(&[&server.url]);
        let url = proxy.endpoint(0);
        proxy.order(|k, _| if k == 1 { Fate::Down } else { Fate::Pass });
        get(&url).await.unwrap_err();
        wait_until("connections are refused", || {
            let host = url.strip_prefix("http://")?;
            std::net::TcpStream::connect(host).is_err().then_some(())
        });
        assert_eq!(server.served(), 0);
        proxy.open();
        wait_until("it is back", || {
            let host = url.strip_prefix("http://")?;
            std::net::TcpStream::connect(host).ok()
        });
        assert_eq!(get(&url).await.unwrap().0, 200);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_held_call_is_let_go_without_an_answer() {
        let server = Server::start().await;
        let proxy = Proxy::start(&[&server.url]);
        for (after, served) in [(false, 0), (true, 1)] {
            let before = server.served();
            proxy.order(move |k, _| match (k, after) {
                (1, false) => Fate::HoldBefore,
                (1, true) => Fate::HoldAfter,
                _ => Fate::Pass,
            });
            let url = proxy.endpoint(0);
            let held = tokio::spawn(async move { get(&url).await });
            wait_until("the call is held", || proxy.holds().then_some(()));
            assert_eq!(server.served() - before, served);
            get(&proxy.endpoint(0)).await.unwrap();
            proxy.release();
            assert!(held.await.unwrap().is_err());
            wait_until("nothing is held", || (!proxy.holds()).then_some(()));
            assert_eq!(proxy.calls().len(), 2);
        }
    }

    #[test]
    fn calls_are_named_as_their_clouds_name_them() {
        let aws = "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1";
        for (request, name) in [
            (
                format!(
                    "POST / HTTP/1.1\r\n{aws}/ec2/aws4_request\r\n\r\nAction=RunInstances&DryRun=true&A=b"
                ),
                "EC2 RunInstances DryRun",
            ),
            (
                format!(
                    "POST / HTTP/1.1\r\n{aws}/elasticloadbalancing/aws4_request\r\n\r\nVersion=1&Action=RegisterTargets"
                ),
                "ELB RegisterTargets",
            ),
            (
                format!(
                    "POST / HTTP/1.1\r\n{aws}/elasticloadbalancing/aws4_request\r\n\r\nAction=RegisterTargets&Targets.member.1.Id=i-00000000000000000"
                ),
                "ELB RegisterTargets (of no machine)",
            ),
            (
                "GET /v2.1/servers/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f/os-interface HTTP/1.1\r\n\r\n".to_owned(),
                "nova GET /servers/{id}/os-interface",
            ),
            (
                "GET /v2.1/servers/detail?tags=a&name=%5Ew-0%24&limit=9 HTTP/1.1\r\n\r\n".to_owned(),
                "nova GET /servers/detail?name",
            ),
            (
                "POST /v2.0/ports HTTP/1.1\r\n\r\n{}".to_owned(),
                "neutron POST /ports",
            ),
            (
                "GET /v2/images/0a1b2c3d0a1b0a1b0a1b0a1b2c3d4e5f HTTP/1.1\r\n\r\n".to_owned(),
                "glance GET /images/{id}",
            ),
            (
                "POST /v3/auth/tokens HTTP/1.1\r\n\r\n{}".to_owned(),
                "keystone POST /auth/tokens",
            ),
            (
                "POST /compute/v1/projects/p/zones/a-b/instances/5000/setLabels HTTP/1.1\r\n\r\n{}".to_owned(),
                "compute POST /zones/{id}/instances/{id}/setLabels",
            ),
            (
                "GET /compute/v1/projects/p/aggregated/instances?filter=name+%3D+%22w-0%22 HTTP/1.1\r\n\r\n".to_owned(),
                "compute GET /aggregated/instances?name",
            ),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "GET /"),
            (
                "GET /api/v1/nodes?limit=500 HTTP/1.1\r\n\r\n".to_owned(),
                "list nodes",
            ),
            (
                "GET /api/v1/pods?fieldSelector=a&watch=1 HTTP/1.1\r\n\r\n".to_owned(),
                "watch pods",
            ),
            (
                "PATCH /api/v1/nodes/w-0?fieldManager=a HTTP/1.1\r\nContent-Type: application/apply-patch+yaml\r\n\r\n{}".to_owned(),
                "patch nodes (labels)",
            ),
            (
                "PATCH /api/v1/nodes/w-0 HTTP/1.1\r\n\r\n{\"spec\": {\"unschedulable\": true}}".to_owned(),
                "patch nodes (cordon)",
            ),
            (
                "POST /api/v1/namespaces/a/pods/b/eviction HTTP/1.1\r\n\r\n{}".to_owned(),
                "create pods/eviction",
            ),
            (
                "PATCH /apis/coordination.k8s.io/v1/namespaces/kube-system/leases/a HTTP/1.1\r\n\r\n{\"spec\": {\"holderIdentity\": \"\"}}".to_owned(),
                "patch leases (give up)",
            ),
            (
                "GET /apis/storage.k8s.io/v1/volumeattachments HTTP/1.1\r\n\r\n".to_owned(),
                "list volumeattachments",
            ),
        ] {
            let message = Message::parse(request.as_bytes()).unwrap();
            assert_eq!(message.name(), name);
        }
    }
}
