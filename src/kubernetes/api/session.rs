//! A login at a cluster, and the connections that show it.
//!
//! In: an [`Endpoint`]. Out: a [`Session`], good for a while: secrets of files and of programs may
//! be others later.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::innermost;
use crate::http::USER_AGENT;
use crate::kubernetes::endpoint::{Bearer, Endpoint, Source};
use crate::kubernetes::exec;

/// One login.
pub(super) struct Session {
    pub(super) http: reqwest::Client,
    /// What the client shows of itself.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) headers: HeaderMap,
    /// When it has to be looked at again.
    pub(super) until: Option<Instant>,
}

impl Session {
    /// Logs in at an endpoint, whose API is on this host. What the last login has is kept where it
    /// is the same.
    ///
    /// # Errors
    /// A file cannot be read, a program fails, or what they give cannot be used.
    pub(super) async fn begin(
        endpoint: &Endpoint,
        host: &str,
        earlier: Option<&Session>,
    ) -> Result<Self, String> {
        let mut identity = match &endpoint.identity {
            Some((certificate, key)) => Some((certificate.read()?, key.read()?)),
            None => None,
        };
        let mut good_for = endpoint.has_files().then_some(FILES);
        let token = match &endpoint.bearer {
            Bearer::None => None,
            Bearer::Token(source) => {
                let token = String::from_utf8(source.read()?);
                Some(token.map_err(|_| "the token is not UTF-8".to_owned())?)
            }
            Bearer::Exec(exec) => {
                let given = exec::run(exec, endpoint).await?;
                let good = given
                    .good_for
                    .map(|good| good.saturating_sub(EARLY).max(EARLY));
                good_for = good.or(good_for);
                identity = given.identity.or(identity);
                given.token.map(|token| token.reveal().to_owned())
            }
        };
        // Connections are kept where nothing that they depend on is another one.
        let http = match earlier.filter(|earlier| earlier.identity == identity) {
            Some(earlier) => earlier.http.clone(),
            None => client(endpoint, identity.as_ref(), host)?,
        };
        Ok(Session {
            http,
            identity,
            headers: headers(token.as_deref(), endpoint)?,
            until: good_for.map(|good_for| Instant::now() + good_for),
        })
    }
}

impl Endpoint {
    fn has_files(&self) -> bool {
        use Source::File;
        let identity = matches!(&self.identity, Some((File(_), _) | (_, File(_))));
        identity || matches!(&self.bearer, Bearer::Token(File(_)))
    }

    /// Whether a program logs in.
    pub(super) fn is_exec(&self) -> bool {
        matches!(&self.bearer, Bearer::Exec(_))
    }

    /// Whether another login may be had than the first one.
    pub(super) fn renews(&self) -> bool {
        self.has_files() || matches!(&self.bearer, Bearer::Exec(_))
    }
}

fn headers(token: Option<&str>, endpoint: &Endpoint) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut value =
            value.map_err(|_| "the token has characters that no token has".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some((user, groups)) = &endpoint.acts_as {
        let names = std::iter::once((IMPERSONATE_USER, user));
        for (name, value) in names.chain(groups.iter().map(|group| (IMPERSONATE_GROUP, group))) {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|_| "the user to act as is no name".to_owned())?;
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn client(
    endpoint: &Endpoint,
    identity: Option<&(Vec<u8>, Vec<u8>)>,
    host: &str,
) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // A watch waits for long; a connection that is dead is found out.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE);
    if endpoint.insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else if let Some(roots) = &endpoint.roots {
        builder = builder.tls_certs_only(certificates(roots)?);
    }
    if let Some((certificate, key)) = identity {
        let pem = [certificate.as_slice(), b"\n", key].concat();
        let identity = reqwest::Identity::from_pem(&pem);
        let wrong = |_| "the client's certificate and key are no PEM of both".to_owned();
        builder = builder.identity(identity.map_err(wrong)?);
    }
    if let Some(proxy) = &endpoint.proxy {
        let proxy = reqwest::Proxy::all(proxy.reveal());
        builder = builder.proxy(proxy.map_err(|_| "the proxy is no URL".to_owned())?);
    }
    if endpoint.server_name.is_some() {
        builder = builder.dns_resolver(Arc::new(Towards(host.to_owned())));
    }
    builder.build().map_err(|error| innermost(&error))
}

/// Whatever name is asked for: the addresses of this host.
struct Towards(String);

impl reqwest::dns::Resolve for Towards {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let host = self.0.trim_matches(['[', ']']).to_owned();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            let found: reqwest::dns::Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, String> {
    let wrong = "the cluster's certificate authority is no PEM certificate";
    let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| wrong.to_owned())?;
    match roots.is_empty() {
        true => Err(wrong.to_owned()),
        false => Ok(roots),
    }
}

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");
const IMPERSONATE_GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const CONNECT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Files of secrets are read again after that.
const FILES: Duration = Duration::from_secs(60);
/// A login is renewed so long before its end.
const EARLY: Duration = Duration::from_secs(10);
