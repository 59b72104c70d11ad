//! What a cluster's API adds to a proxy: TLS towards the server, names of calls as roles have them,
//! and watches, whose answers never end.
//!
//! `GET /api/v1/nodes?limit=500` → `list nodes`; `PATCH …/nodes/w-0` with `{"spec":
//! {"unschedulable": true}}` → `patch nodes (cordon)`.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Message;

/// A connection to an upstream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Trusts this authority (PEM), and nobody else.
pub(super) fn connector(authority: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A connection to `127.0.0.1:36443`; with TLS, where there is something to trust.
pub(super) async fn connected(
    upstream: &str,
    tls: Option<&TlsConnector>,
) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(upstream).await?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let host = upstream.split(':').next().unwrap_or_default();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

/// How a watch ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// When either side has gone.
    Whole,
    /// It is reset after its head.
    Lost,
    /// Half of what comes first comes.
    CutShort,
}

/// Answers a watch: its head, and events as they come.
pub(super) async fn watched(
    client: &mut TcpStream,
    mut upstream: Box<dyn Stream>,
    ends: End,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if upstream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::other("no answer"));
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let rest = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).replacen("HTTP/1.0", "HTTP/1.1", 1);
    client.write_all(head.as_bytes()).await?;
    if ends == End::Lost {
        return client.set_zero_linger();
    }
    let mut more = rest;
    let mut gone = [0];
    loop {
        if ends == End::CutShort && !more.is_empty() {
            client.write_all(&more[..more.len() / 2]).await?;
            return client.shutdown().await;
        }
        client.write_all(&more).await?;
        more.clear();
        tokio::select! {
            _ = client.read(&mut gone) => return Ok(()),
            read = upstream.read_buf(&mut more) => if read? == 0 {
                return client.shutdown().await;
            },
        }
    }
}

impl Message {
    /// Whether its answer goes on until somebody ends it.
    pub(super) fn is_watch(&self) -> bool {
        let query = self
            .first
            .split(' ')
            .nth(1)
            .and_then(|path| path.split_once('?'));
        query.is_some_and(|(_, query)| query.split('&').any(|one| one == "watch=1"))
    }

    /// What a call of a cluster's API asks for; `None`: it is none.
    pub(super) fn cluster_call(&self) -> Option<String> {
        let mut words = self.first.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let path = path.split('?').next()?;
        let mut parts = path.strip_prefix('/')?.split('/');
        // api/v1, apis/coordination.k8s.io/v1
        match parts.next()? {
            "api" => parts.next()?,
            "apis" => parts.nth(1)?,
            _ => return None,
        };
        let mut parts: Vec<&str> = parts.collect();
        if let ["namespaces", _, _, ..] = parts.as_slice() {
            parts.drain(..2);
        }
        let resource = match parts.as_slice() {
            [resource, _, below] => format!("{resource}/{below}"),
            [resource, ..] => (*resource).to_owned(),
            [] => return None,
        };
        let verb = match (method, parts.len()) {
            _ if self.is_watch() => "watch",
            ("GET", 1) => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => return None,
        };
        let is_trial = self.first.contains("dryRun=All");
        let what = match verb {
            "patch" if resource == "virtualmachines" => self.changes(),
            "patch" => self.patches(),
            "create" if is_trial => " (trial)",
            _ => "",
        };
        Some(format!("{verb} {resource}{what}"))
    }

    /// What a patch of a virtual machine is about.
    fn changes(&self) -> &'static str {
        let body: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        let is_apply = self
            .header("content-type")
            .is_some_and(|kind| kind.contains("apply-patch"));
        match (is_apply, &body["spec"]["runStrategy"]) {
            (true, _)
                if self
                    .first
                    .contains("fieldManager=terraform-provider-flatcar-mark") =>
            {
                " (mark)"
            }
            (true, _) => " (shape)",
            (false, Json::String(_)) => " (start)",
            (false, _) => " (take off)",
        }
    }

    /// What a patch is about.
    fn patches(&self) -> &'static str {
        let kind = self.header("content-type").unwrap_or_default();
        if kind.contains("apply-patch") {
            return " (labels)";
        }
        let body: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        let spec = &body["spec"];
        match (&spec["unschedulable"], &spec["holderIdentity"]) {
            (Json::Bool(true), _) => " (cordon)",
            (Json::Bool(false), _) => " (uncordon)",
            (_, Json::String(holder)) if holder.is_empty() => " (give up)",
            (_, Json::String(_)) => " (take)",
            _ if spec["taints"].to_string().contains("/leaving") => " (discourage)",
            _ => " (taints)",
        }
    }
}
