//! The API of a cluster: calls, lists in pages, watches. What of it is used is small, so it is
//! asked in JSON by the one HTTP client that there is.
//!
//! In: an [`Endpoint`] and a [`Call`] (`GET /api/v1/nodes`). Out: what was answered, or [`Failed`]
//! in the cluster's own words. Answers are bounded in size and time. The client is made, and who
//! asks logs in, with the first call. See: Kubernetes API, 1.33 to 1.37.

mod session;
mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, Url};
use serde_json::Value as Json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::NodeError;
use super::endpoint::{Endpoint, Unusable};
use crate::http::wait;
use crate::protocol::visible::{cut, one_line};

use self::session::{Session, certificates};
pub(super) use self::watch::{Event, Watch};

/// A cluster that may be asked.
pub struct Api {
    endpoint: Endpoint,
    /// With the name that its certificate has.
    server: Url,
    /// Where that is.
    host: String,
    session: Mutex<Option<Arc<Session>>>,
}

/// A question, or an order.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// `["api", "v1", "nodes", "w-0"]`
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<Body>,
    pub(crate) rule: Rule,
}

/// What a role has to allow: `(["policy"], ["poddisruptionbudgets"], ["list"])` without brackets.
pub(crate) type Rule = (&'static str, &'static str, &'static str);

/// What is sent.
#[derive(Clone)]
pub(crate) enum Body {
    Json(Json),
    /// RFC 7386
    Merge(Json),
    /// Server-side apply; JSON is YAML.
    Apply(Json),
}

/// What was not done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Failed {
    /// None where there was no answer.
    pub(crate) status: Option<u16>,
    /// `"TooManyRequests"`
    pub(crate) reason: String,
    pub(crate) message: String,
    /// `[("DisruptionBudget", "The disruption budget web needs 3 healthy pods and has 3
    /// currently")]`
    pub(super) causes: Vec<(String, String)>,
    pub(crate) retry_after: Option<Duration>,
    /// Nobody can be asked, now and later.
    pub(crate) hopeless: bool,
    /// Role-based access control refuses it.
    pub(super) lacks_rule: bool,
}

impl Failed {
    fn lost(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    fn hopeless(message: impl Into<String>) -> Self {
        Self {
            hopeless: true,
            ..Self::lost(message)
        }
    }

    /// What a refusal says.
    fn of(status: u16, retry_after: Option<Duration>, body: &[u8], rule: Rule) -> Self {
        let said: Json = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Json| shown(value.as_str().unwrap_or_default());
        let causes = said["details"]["causes"].as_array();
        let causes = causes.into_iter().flatten().take(10);
        let mut message = match said["message"].as_str() {
            Some(message) => shown(message),
            None => "without words that a program can read".to_owned(),
        };
        // As role-based access control says it, and not an admission webhook.
        let lacks_rule = status == 403
            && message.contains(" is forbidden: User ")
            && message.contains(" cannot ");
        if lacks_rule {
            let (group, resource, verb) = rule;
            message = format!(
                "{message}; its role lacks the rule apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]"
            );
        }
        Self {
            status: Some(status),
            reason: text(&said["reason"]),
            message,
            causes: causes
                .map(|cause| (text(&cause["reason"]), text(&cause["message"])))
                .collect(),
            retry_after,
            hopeless: false,
            lacks_rule,
        }
    }

    /// Whether the same would be said of whatever is asked: nobody is logged in, or the role lacks
    /// a rule.
    pub(super) fn is_of_the_login(&self) -> bool {
        self.hopeless || self.status == Some(401) || self.lacks_rule
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }

    /// Whether what was asked for is another one by now.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }

    /// Whether what is watched, or listed in pages, has to be listed anew.
    pub(super) fn is_expired(&self) -> bool {
        self.status == Some(410)
    }

    /// Whether a budget, or the API itself, asks to come again.
    pub(super) fn is_too_early(&self) -> bool {
        self.status == Some(429)
    }

    /// Whether the same call may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self.status {
            None => !self.hopeless,
            Some(status) => matches!(status, 408 | 409 | 410 | 429 | 500..),
        }
    }

    /// As the engine is told.
    pub(super) fn error(self, action: &'static str, object: impl Into<String>) -> NodeError {
        let retryable = self.is_passing();
        let status = self.status.map(|status| format!("{status} "));
        NodeError {
            action,
            object: object.into(),
            message: format!("{}{}", status.unwrap_or_default(), self.message),
            retryable,
            throttled: self.status == Some(429),
            retry_after: self.retry_after,
        }
    }
}

impl Api {
    /// Of this endpoint. Dials nothing.
    ///
    /// # Errors
    /// Its certificates cannot be used.
    pub fn new(endpoint: Endpoint) -> Result<Self, Unusable> {
        let server = Url::parse(&endpoint.server);
        let mut server =
            server.map_err(|error| Unusable(format!("the server of the cluster: {error}")))?;
        let host = server.host_str().unwrap_or_default().to_owned();
        if let Some(name) = &endpoint.server_name {
            let named = server.set_host(Some(name));
            named.map_err(|_| Unusable("tls_server_name is no host name".to_owned()))?;
        }
        if let Some(roots) = &endpoint.roots
            && !endpoint.insecure
        {
            certificates(roots).map_err(Unusable)?;
        }
        Ok(Self {
            endpoint,
            server,
            host,
            session: Mutex::default(),
        })
    }

    /// Whether certificates go unchecked.
    pub fn is_insecure(&self) -> bool {
        self.endpoint.insecure
    }

    /// Where it is: `https://api.prod.example:6443`.
    pub(super) fn server(&self) -> &str {
        &self.endpoint.server
    }

    /// PEM certificates that are trusted there; `None`: the system's.
    pub(super) fn authority(&self) -> Option<&[u8]> {
        self.endpoint.roots.as_deref()
    }

    /// Asks, and reads what is answered.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Json, Failed> {
        let answered = async {
            let response = self.send(&call).await?;
            read(response, call.rule).await
        };
        match timeout(PATIENCE, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed::lost(format!(
                "nothing within {} seconds",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// All of a list, page by page, each item as `item` reads it; and the version of the list.
    pub(crate) async fn list<T>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        rule: Rule,
        item: impl Fn(&Json) -> T,
    ) -> Result<(Vec<T>, String), Failed> {
        let mut items = Vec::new();
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let page = self
                .call(Call {
                    method: Method::GET,
                    path,
                    query: &query,
                    body: None,
                    rule,
                })
                .await?;
            items.extend(page["items"].as_array().into_iter().flatten().map(&item));
            let metadata = &page["metadata"];
            next = metadata["continue"].as_str().unwrap_or_default().to_owned();
            if next.is_empty() {
                let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                return Ok((items, version.to_owned()));
            }
        }
        Err(Failed::hopeless(format!("more than {MOST_PAGES} pages")))
    }

    /// What changes in a list after this version of it.
    pub(super) async fn watch(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        version: &str,
        rule: Rule,
    ) -> Result<Watch, Failed> {
        let seconds = WATCH.as_secs().to_string();
        let mut query = query.to_vec();
        query.extend([
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", seconds.as_str()),
            ("resourceVersion", version),
        ]);
        let call = Call {
            method: Method::GET,
            path,
            query: &query,
            body: None,
            rule,
        };
        let sent = timeout(PATIENCE, async {
            let response = self.send(&call).await?;
            match response.status().is_success() {
                true => Ok(response),
                false => Err(refusal(response, rule).await),
            }
        });
        let response = sent.await.map_err(|_| Failed::lost("no watch began"))??;
        Ok(Watch::of(response))
    }

    /// Sends a call; with a new login, once, where the one that there is has run out.
    async fn send(&self, call: &Call<'_>) -> Result<reqwest::Response, Failed> {
        let session = self.session(None).await?;
        let response = self.send_as(&session, call).await?;
        if response.status() != reqwest::StatusCode::UNAUTHORIZED || !self.endpoint.renews() {
            return Ok(response);
        }
        let session = self.session(Some(&session)).await?;
        self.send_as(&session, call).await
    }

    async fn send_as(
        &self,
        session: &Session,
        call: &Call<'_>,
    ) -> Result<reqwest::Response, Failed> {
        let mut url = self.server.clone();
        url.path_segments_mut()
            .map_err(|()| Failed::hopeless("the server is no URL"))?
            .pop_if_empty()
            .extend(call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let request = session.http.request(call.method.clone(), url);
        let request = request
            .headers(session.headers.clone())
            .header(ACCEPT, "application/json");
        let request = match &call.body {
            None => request,
            Some(body) => {
                let (kind, json) = match body {
                    Body::Json(json) => ("application/json", json),
                    Body::Merge(json) => ("application/merge-patch+json", json),
                    Body::Apply(json) => ("application/apply-patch+yaml", json),
                };
                request.header(CONTENT_TYPE, kind).body(json.to_string())
            }
        };
        request.send().await.map_err(|error| lost(&error))
    }

    /// The login that there is, or a new one where that has run out, or is the one that was
    /// refused.
    async fn session(&self, refused: Option<&Arc<Session>>) -> Result<Arc<Session>, Failed> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref() {
            let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, session));
            let is_over = session.until.is_some_and(|until| Instant::now() >= until);
            if !is_refused && !is_over {
                return Ok(Arc::clone(session));
            }
        }
        let began = Instant::now();
        let mut session = Session::begin(&self.endpoint, &self.host, held.as_deref()).await;
        // A program that fails at once may have been throttled, or its network was just coming up.
        let mut pauses = LOGIN_PAUSES.into_iter();
        while let (Err(_), true, None) = (&session, self.endpoint.is_exec(), &*held)
            && let Some(pause) = pauses.next().filter(|_| began.elapsed() < QUICKLY)
        {
            sleep(pause).await;
            session = Session::begin(&self.endpoint, &self.host, None).await;
        }
        let session = session.map_err(|why| match held.is_some() {
            // It has worked before.
            true => Failed::lost(why),
            false => Failed::hopeless(why),
        });
        let session = Arc::new(session?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }
}

async fn read(response: reqwest::Response, rule: Rule) -> Result<Json, Failed> {
    if !response.status().is_success() {
        return Err(refusal(response, rule).await);
    }
    let status = response.status().as_u16();
    let body = bounded(response).await?;
    let unreadable = |_| Failed::lost(format!("{status} with a body that is not JSON"));
    serde_json::from_slice(&body).map_err(unreadable)
}

async fn refusal(response: reqwest::Response, rule: Rule) -> Failed {
    let status = response.status().as_u16();
    let asked = response.headers().get(RETRY_AFTER);
    let asked = asked.and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|value| wait::asked(value, SystemTime::now()));
    let body = bounded(response).await.unwrap_or_default();
    Failed::of(status, asked, &body, rule)
}

async fn bounded(mut response: reqwest::Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > crate::http::MOST_BYTES {
            return Err(Failed::hopeless("more than anybody reads"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// No answer.
fn lost(error: &reqwest::Error) -> Failed {
    let why = innermost(error);
    match error.is_builder() {
        true => Failed::hopeless(why),
        false => Failed::lost(format!("nothing: {why}")),
    }
}

/// The innermost source says it best: `connection refused` rather than `error sending request`. It
/// names no URL.
fn innermost(error: &reqwest::Error) -> String {
    let first = std::error::Error::source(error);
    let sources = std::iter::successors(first, |source| source.source());
    let last = sources.last().map(ToString::to_string);
    shown(&last.unwrap_or_else(|| "the connection failed".to_owned()))
}

/// What a cluster says, as it may be shown.
pub(super) fn shown(text: &str) -> String {
    cut(&one_line(text), 500).into_owned()
}

/// For one call, all of its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// After that a server ends a watch.
const WATCH: Duration = Duration::from_secs(240);
/// Between tries of a program that logs in for the first time.
const LOGIN_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// A program that takes longer to fail is not tried again.
const QUICKLY: Duration = Duration::from_secs(10);
const PAGE: &str = "500";
const MOST_PAGES: usize = 1000;
