//! A release server over https, with a certificate authority of its own and faults to order.
//!
//! `Server::start(files).await`, then `server.settings(&key)`, `server.fault("/stable/...",
//! Fault::Status(503), 2)`, `server.count(...)`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flatcar::image::source::Settings;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::mirror::Files;

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Status(u16),
    /// 429 or 503 with `Retry-After`, in seconds.
    RetryAfter(u16, u64),
    /// The connection is closed before any answer.
    Reset,
    /// No answer, the connection stays.
    Silence,
    /// Half the file, then the connection is closed.
    Truncated,
    /// The length says less than there is.
    TooShort,
    /// To another path on the same server.
    Redirect(String),
    /// To any URL.
    Location(String),
    /// To the same path on plain http.
    Downgrade,
    /// Bytes of a length that is not said, without end.
    Endless,
    /// A byte now and then, without end.
    Drip,
    /// An error page that claims to be fine.
    Html,
}

#[derive(Default)]
struct State {
    files: Files,
    faults: BTreeMap<String, (Fault, usize)>,
    requests: BTreeMap<String, usize>,
    connections: usize,
    user_agents: Vec<String>,
}

/// It, for as long as the test's runtime lives.
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    base: String,
    authority: String,
}

impl Server {
    pub(crate) async fn start(files: Files) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let root: &rcgen::Certificate = authority.as_ref();
        let root = pem(root.der());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let state = Arc::new(Mutex::new(State {
            files,
            ..State::default()
        }));
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), served.clone());
                tokio::spawn(async move {
                    // A client that does not trust us hangs up here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        state.lock().unwrap().connections += 1;
                        let _ = serve(stream, &state).await;
                    }
                });
            }
        });
        Self {
            state,
            base,
            authority: root,
        }
    }

    /// Of a client that trusts it and accepts a key. It is impatient where a path of the server is
    /// silent, and only there: whatever else is answered may take as long as a busy machine makes
    /// it.
    pub(crate) fn settings(&self, signing_keys: String) -> Settings {
        let silent = {
            let state = self.state.lock().unwrap();
            let mut faults = state.faults.values();
            faults.any(|(fault, _)| matches!(fault, Fault::Silence))
        };
        Settings {
            url: format!("{}/{{channel}}/{{arch}}", self.base),
            feed_url: Some(format!("{}/feed", self.base)),
            verify: true,
            clock: super::august,
            signing_keys,
            http: flatcar::http::Settings {
                connect_timeout: Duration::from_secs(60),
                read_timeout: Duration::from_secs(if silent { 1 } else { 60 }),
                deadline: Duration::from_secs(300),
                attempts: 4,
                back_off: Duration::from_millis(1),
                longest_pause: Duration::from_secs(1),
                extra_roots: self.authority.clone().into_bytes(),
            },
        }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The certificate, in PEM, that a client of it has to trust.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The next `times` requests of a path go wrong.
    pub(crate) fn fault(&self, path: &str, fault: Fault, times: usize) {
        let mut state = self.state.lock().unwrap();
        state.faults.insert(path.to_owned(), (fault, times));
    }

    /// Puts a file in the place of another; `None` takes it away.
    pub(crate) fn replace(&self, path: &str, contents: Option<Vec<u8>>) {
        let mut state = self.state.lock().unwrap();
        match contents {
            Some(contents) => state.files.insert(path.to_owned(), contents),
            None => state.files.remove(path),
        };
    }

    /// How often each path was asked for.
    pub(crate) fn requests(&self) -> BTreeMap<String, usize> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    pub(crate) fn user_agents(&self) -> Vec<String> {
        self.state.lock().unwrap().user_agents.clone()
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            head.iter().skip(1).find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let path = head
            .first()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|target| target.split('?').next())
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
        let (file, fault) = {
            let mut state = state.lock().unwrap();
            *state.requests.entry(path.clone()).or_default() += 1;
            state.user_agents.extend(header("user-agent"));
            let fault = match state.faults.get_mut(&path) {
                Some((fault, left)) if *left > 0 => {
                    *left -= 1;
                    Some(fault.clone())
                }
                _ => None,
            };
            (state.files.get(&path).cloned(), fault)
        };
        let host = header("host").unwrap_or_default();
        let is_head = head.first().is_some_and(|line| line.starts_with("HEAD "));
        let asked = Asked {
            path: &path,
            host: &host,
            known: header("if-none-match"),
            is_head,
        };
        let close = answer(&mut stream, asked, file, fault).await?;
        if close {
            return Ok(());
        }
    }
}

/// What somebody wants.
struct Asked<'a> {
    path: &'a str,
    host: &'a str,
    /// The tag of what he has.
    known: Option<String>,
    /// What is at the path, without its contents.
    is_head: bool,
}

/// Whether the connection ends with it.
async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    asked: Asked<'_>,
    file: Option<Vec<u8>>,
    fault: Option<Fault>,
) -> std::io::Result<bool> {
    let Asked {
        path,
        host,
        known,
        is_head,
    } = asked;
    let etag = file.as_ref().map(|file| {
        let sum: u64 = file.iter().fold(7, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        format!("\"{sum:x}\"")
    });
    let mut head = String::new();
    let mut body = file.clone().unwrap_or_default();
    let mut close = false;
    let bare =
        |status: u16, more: &str| format!("HTTP/1.1 {status} -\r\n{more}Content-Length: 0\r\n\r\n");
    match fault {
        Some(Fault::Reset) => return Ok(true),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Status(status)) => head = bare(status, ""),
        Some(Fault::RetryAfter(status, seconds)) => {
            head = bare(status, &format!("Retry-After: {seconds}\r\n"));
        }
        Some(Fault::Redirect(to)) => head = bare(302, &format!("Location: /{to}\r\n")),
        Some(Fault::Location(to)) => head = bare(302, &format!("Location: {to}\r\n")),
        Some(Fault::Endless | Fault::Drip) => {
            let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(start).await?;
            let piece = match fault {
                Some(Fault::Endless) => 4096,
                _ => 1,
            };
            loop {
                let chunk = format!("{piece:x}\r\n{}\r\n", "x".repeat(piece));
                stream.write_all(chunk.as_bytes()).await?;
                stream.flush().await?;
                if piece == 1 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        Some(Fault::Downgrade) => {
            head = bare(302, &format!("Location: http://{host}/{path}\r\n"));
        }
        Some(Fault::Html) => {
            body = b"<!DOCTYPE html><html><title>Sign in</title></html>".to_vec();
            head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
        }
        Some(Fault::Truncated) => {
            head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            body.truncate(body.len() / 2);
            close = true;
        }
        Some(Fault::TooShort) => {
            head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len() - 3
            );
            close = true;
        }
        None => {}
    }
    if !head.is_empty() {
        if head.contains("Content-Length: 0\r\n") {
            body.clear();
        }
    } else if file.is_none() {
        head = bare(404, "");
    } else if known.is_some() && known == etag {
        head = bare(304, "");
        body.clear();
    } else {
        let kind = match path.ends_with(".json") {
            true => "json",
            false => "octet-stream",
        };
        head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/{kind}\r\nETag: {}\r\nContent-Length: {}\r\n\r\n",
            etag.unwrap_or_default(),
            body.len()
        );
    }
    if is_head {
        body.clear();
    }
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    if close {
        stream.shutdown().await?;
    }
    Ok(close)
}
