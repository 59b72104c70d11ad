//! A client of REST APIs in JSON: one call, sent once, whose answer has an end in time and in
//! bytes.
//!
//! In: `Call::get("servers/detail").query("limit", "1000")`, and the URL that its path is below.
//! Out: status, headers and body, which `rest` reads; or a [`Failure`]. Redirects are not followed,
//! for they would carry a login elsewhere; bodies are not unpacked, so that few bytes stay few;
//! nothing is sent again, for only who calls knows what a second one does.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Method, Url, redirect};
use serde_json::Value as Json;

use super::rest::{self, Effect, Failure};
use super::thumbprint::Thumbprint;
use super::{MOST_BYTES, body, builder, chain, sources};

/// How long to wait, and whom to trust.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For the TCP and TLS handshake.
    pub connect_timeout: Duration,
    /// For a whole call, up to the last byte of its answer.
    pub timeout: Duration,
    /// PEM certificates trusted beside the system's.
    pub extra_roots: Vec<u8>,
    /// Certificates go unchecked.
    pub insecure: bool,
    /// The only certificate that is trusted, in place of all authorities.
    pub thumbprint: Option<Thumbprint>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            extra_roots: Vec::new(),
            insecure: false,
            thumbprint: None,
        }
    }
}

/// Connections of its own, kept for the next call.
#[derive(Debug)]
pub struct Client {
    inner: reqwest::Client,
    most_bytes: usize,
}

impl Client {
    /// # Errors
    /// The certificates of `extra_roots` are none.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let builder = builder(&settings.extra_roots)?
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .redirect(redirect::Policy::none())
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd()
            .tls_danger_accept_invalid_certs(settings.insecure);
        let builder = match settings.thumbprint {
            Some(thumbprint) => builder.tls_backend_preconfigured(thumbprint.trusted()?),
            None => builder,
        };
        Ok(Self {
            inner: builder.build().map_err(|problem| chain(&problem))?,
            most_bytes: MOST_BYTES,
        })
    }

    /// Sends a call to what is below a URL, and reads its answer, of at most [`MOST_BYTES`].
    ///
    /// # Errors
    /// There is no answer, or none that ends; a refusal is an answer.
    pub async fn send(&self, base: &Url, call: &Call) -> Result<Answer, Failure> {
        let answer = self.inner.execute(call.request(base)?).await;
        let mut answer = answer.map_err(|problem| unanswered(&problem))?;
        let read = body(&mut answer, self.most_bytes).await;
        let body = read.map_err(|problem| unanswered(&problem))?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body: body
                .ok_or_else(|| Failure::TooLarge(format!("more than {} bytes", self.most_bytes)))?,
        })
    }
}

/// One call. `Debug` shows its method and path: the rest may be secret.
#[derive(Clone)]
pub struct Call {
    /// What it does, carried out once more.
    pub effect: Effect,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(Cow<'static, str>, String)>,
    body: Option<Body>,
}

#[derive(Clone)]
enum Body {
    Json(Json),
    Form(Vec<(&'static str, String)>),
}

impl Call {
    /// Reads what is at a path such as `"servers/detail"`; `""` is the base itself.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), None, Effect::Reads)
    }

    /// Makes one more of what is posted; see [`Call::repeatable`]. Null is no body.
    pub fn post(path: impl Into<String>, body: Json) -> Self {
        Self::new(Method::POST, path.into(), Some(body), Effect::Creates)
    }

    /// Puts something where it is, or is to be.
    pub fn put(path: impl Into<String>, body: Json) -> Self {
        Self::new(Method::PUT, path.into(), Some(body), Effect::Repeats)
    }

    /// Changes a part of what is there.
    pub fn patch(path: impl Into<String>, body: Json) -> Self {
        Self::new(Method::PATCH, path.into(), Some(body), Effect::Repeats)
    }

    /// Takes away what is at a path.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into(), None, Effect::Repeats)
    }

    /// Posts a form, as the token endpoints of OAuth take it: one more token changes nothing. See:
    /// RFC 6749, appendix B.
    pub fn form(path: impl Into<String>, fields: Vec<(&'static str, String)>) -> Self {
        let call = Self::new(Method::POST, path.into(), None, Effect::Repeats);
        Self {
            body: Some(Body::Form(fields)),
            ..call
        }
    }

    fn new(method: Method, path: String, body: Option<Json>, effect: Effect) -> Self {
        Self {
            effect,
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: body.filter(|body| !body.is_null()).map(Body::Json),
        }
    }

    /// A second one changes nothing: nothing about a lost answer is ambiguous.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self {
            effect: Effect::Repeats,
            ..self
        }
    }

    /// With a parameter; one of the same name stays.
    #[must_use]
    pub fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// With a parameter for each of these values.
    #[must_use]
    pub fn queries(
        self,
        key: &'static str,
        values: impl IntoIterator<Item = impl ToString>,
    ) -> Self {
        let query = |call: Self, value: String| call.query(key, value);
        values
            .into_iter()
            .map(|value| value.to_string())
            .fold(self, query)
    }

    /// With a header, whose value no log shows.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn request(&self, base: &Url) -> Result<reqwest::Request, Failure> {
        let impossible = |what: &str| Failure::Impossible(format!("nothing: {what}"));
        let mut url = base.clone();
        if let (false, Ok(mut segments)) = (self.path.is_empty(), url.path_segments_mut()) {
            // Whatever stands in a part of a path stays in it, and none leads upwards.
            let path = self.path.trim_start_matches('/');
            segments.pop_if_empty().extend(path.split('/'));
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let mut request = reqwest::Request::new(self.method.clone(), url);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value);
            let mut value = value.map_err(|_| impossible(&format!("{name} is not ASCII text")))?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes());
            let name = name.map_err(|_| impossible("a header has a name that is none"))?;
            headers.insert(name, value);
        }
        let (kind, bytes) = match &self.body {
            None if self.method == Method::POST => {
                // Servers refuse a post that does not say how long it is.
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                return Ok(request);
            }
            None => return Ok(request),
            Some(Body::Json(json)) => {
                let bytes = serde_json::to_vec(json);
                (JSON, bytes.map_err(|error| impossible(&error.to_string()))?)
            }
            Some(Body::Form(fields)) => {
                let mut form = base.clone();
                form.query_pairs_mut().clear().extend_pairs(fields);
                let form = form.query().unwrap_or_default();
                (FORM, form.as_bytes().to_vec())
            }
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        *request.body_mut() = Some(bytes.into());
        Ok(request)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// What was answered, whatever its status. `Debug` shows no more than that, for an answer to a
/// login is a secret.
pub struct Answer {
    /// `200`
    pub status: u16,
    /// As it came.
    pub body: Vec<u8>,
    headers: HeaderMap,
}

impl Answer {
    /// A header, where it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What it holds, as [`rest::read`] reads it.
    ///
    /// # Errors
    /// It is a refusal, or no JSON.
    pub fn json(&self) -> Result<Json, Failure> {
        rest::read(self.status, self.header(RETRY_AFTER.as_str()), &self.body)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

fn unanswered(problem: &reqwest::Error) -> Failure {
    let mut kinds = sources(problem).filter_map(|source| source.downcast_ref::<std::io::Error>());
    if problem.is_builder() {
        Failure::Impossible(format!("nothing: {}", chain(problem)))
    } else if problem.is_connect() {
        Failure::NotSent(
            match kinds.any(|one| one.kind() == ErrorKind::ConnectionRefused) {
                true => "nothing: the connection was refused".to_owned(),
                false => format!("nothing: {}", chain(problem)),
            },
        )
    } else if problem.is_timeout() {
        Failure::Lost("nothing in time".to_owned())
    } else {
        Failure::Lost("nothing: the connection broke".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What a server does with each call that it has read.
    #[derive(Clone)]
    enum Then {
        /// Answers, and closes.
        Say(Vec<u8>),
        /// Begins with this, and goes on with blanks for as long as anybody reads.
        SayWithoutEnd(&'static str),
        /// Closes.
        Close,
        /// Neither answers nor closes.
        Wait,
    }

    /// A server on this machine: its URL, and how many calls it has read.
    async fn server(then: Then) -> (Url, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v2.1/", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (then, counted) = (then.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                        let mut part = [0; 1024];
                        match stream.read(&mut part).await {
                            Ok(1..) => read.extend(part),
                            _ => return,
                        }
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    match then {
                        Then::Say(answer) => {
                            let _ = stream.write_all(&answer).await;
                        }
                        Then::SayWithoutEnd(begin) => {
                            let mut answer = stream.write_all(begin.as_bytes()).await;
                            while answer.is_ok() {
                                answer = stream.write_all(&[b' '; 4096]).await;
                            }
                        }
                        Then::Close => {}
                        Then::Wait => std::future::pending().await,
                    }
                });
            }
        });
        (url.parse().unwrap(), calls)
    }

    fn client(most_bytes: usize, timeout: Duration) -> Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let settings = Settings {
            timeout,
            ..Settings::default()
        };
        Client {
            most_bytes,
            ..Client::new(&settings).unwrap()
        }
    }

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(50);

    fn says(status: &str, headers: &str, body: &[u8]) -> Then {
        let mut answer = format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes();
        answer.extend_from_slice(body);
        Then::Say(answer)
    }

    #[tokio::test]
    async fn a_call_is_sent_once_and_ends_in_an_answer_or_in_why_there_is_none() {
        let endless = "HTTP/1.1 200 OK\r\n\r\n{";
        let announced = "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n";
        let whole = format!("\"{}\"", "a".repeat(998));
        let redirect = "location: http://127.0.0.1:9/\r\n";
        let too_large = || Err(Failure::TooLarge("more than 1000 bytes".to_owned()));
        let lost = |words: &str| Err(Failure::Lost(words.to_owned()));
        let broke = "nothing: the connection broke";
        for (says, then, timeout, expected) in [
            (
                "all",
                says("200 OK", "", whole.as_bytes()),
                LONG,
                Ok(json!("a".repeat(998))),
            ),
            (
                "no body",
                says("204 No Content", "", b""),
                LONG,
                Ok(Json::Null),
            ),
            (
                "one byte more",
                says("200 OK", "", &[b' '; 1001]),
                LONG,
                too_large(),
            ),
            (
                "one byte more, said",
                Then::SayWithoutEnd(announced),
                LONG,
                too_large(),
            ),
            ("no end", Then::SayWithoutEnd(endless), LONG, too_large()),
            (
                "no end of a refusal",
                Then::SayWithoutEnd("HTTP/1.1 500 No\r\n\r\n"),
                LONG,
                too_large(),
            ),
            ("closed", Then::Close, LONG, lost(broke)),
            (
                "cut short",
                says("200 OK", "content-length: 9\r\n", b"{}"),
                LONG,
                lost(broke),
            ),
            ("silence", Then::Wait, SHORT, lost("nothing in time")),
            (
                "a redirect",
                says("307 Elsewhere", redirect, b""),
                LONG,
                Err(Failure::Refused {
                    status: 307,
                    words: "without words that a program can read".to_owned(),
                    retry_after: None,
                }),
            ),
        ] {
            let (url, calls) = server(then).await;
            let answer = client(1000, timeout)
                .send(&url, &Call::post("servers", json!({})))
                .await;
            assert_eq!(answer.and_then(|answer| answer.json()), expected, "{says}");
            assert_eq!(calls.load(Ordering::Relaxed), 1, "{says}");
        }
    }

    #[tokio::test]
    async fn what_is_packed_is_not_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&[b' '; 1_000_000]).unwrap();
        let packed = packed.finish().unwrap();
        let (url, _) = server(says("200 OK", "content-encoding: gzip\r\n", &packed)).await;
        let answer = client(10_000, LONG)
            .send(&url, &Call::get("servers"))
            .await
            .unwrap();
        assert_eq!(answer.body, packed);
        let read = answer.json();
        assert_eq!(
            read,
            Err(Failure::Lost("200 with a body that is not JSON".to_owned()))
        );
    }

    #[tokio::test]
    async fn a_call_that_nobody_can_have_got_is_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        drop(listener);
        let client = client(1000, LONG);
        let refused = client
            .send(&url, &Call::post("servers", json!({})))
            .await
            .unwrap_err();
        assert_eq!(
            refused,
            Failure::NotSent("nothing: the connection was refused".to_owned())
        );
        let call = Call::get("servers").header("x-auth-token", "s3cret\n");
        let impossible = client.send(&url, &call).await.unwrap_err();
        let words = "nothing: x-auth-token is not ASCII text";
        assert_eq!(impossible, Failure::Impossible(words.to_owned()));
    }

    #[test]
    fn a_path_stays_below_its_base_and_secrets_are_shown_nowhere() {
        for (base, path, expected) in [
            (
                "http://a/v2.1/",
                "servers/detail",
                "http://a/v2.1/servers/detail",
            ),
            ("http://a/v2.1", "servers", "http://a/v2.1/servers"),
            ("http://a", "servers", "http://a/servers"),
            ("http://a/v3/", "", "http://a/v3/"),
            (
                "http://a/v2.1/",
                "os-keypairs/a b?c#d%",
                "http://a/v2.1/os-keypairs/a%20b%3Fc%23d%25",
            ),
            (
                "http://a/v2.1/",
                "servers/1/metadata/..",
                "http://a/v2.1/servers/1/metadata",
            ),
            ("http://a/v2.1/", "http://b/", "http://a/v2.1/http://b/"),
        ] {
            let request = Call::get(path).request(&base.parse().unwrap()).unwrap();
            assert_eq!(request.url().as_str(), expected, "{base} {path}");
        }
        let call = Call::post("auth/tokens", json!({"password": "s3cret"}))
            .header("x-auth-token", "s3cret")
            .query("name", "a&b")
            .queries("name", ["c", "d"]);
        let request = call.request(&"http://a/v3/".parse().unwrap()).unwrap();
        assert_eq!(request.url().query(), Some("name=a%26b&name=c&name=d"));
        assert_eq!(request.headers()["x-auth-token"], "s3cret");
        let form = Call::form("token", vec![("assertion", "a b&c".to_owned())]);
        let form = form.request(&"http://a/v3/".parse().unwrap()).unwrap();
        let sent = form.body().and_then(reqwest::Body::as_bytes);
        assert_eq!(sent, Some(&b"assertion=a+b%26c"[..]));
        assert_eq!(form.headers()[CONTENT_TYPE], FORM);
        let answer = Answer {
            status: 201,
            body: b"s3cret".to_vec(),
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("s3cret"))]),
        };
        let shown = format!("{call:?} {request:?} {answer:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.starts_with("POST auth/tokens"), "{shown}");
    }
}
