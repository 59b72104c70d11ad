//! A login at Keystone, and where the services are that it lets in to.
//!
//! In: the body of `POST /v3/auth/tokens`, and the URL that the user names. Out: a token, the
//! project that it is for, and the URL of a service's version, with the microversions that it
//! knows. See: Identity API 3, and the API-SIG's *Consuming the Catalog* with its *Version
//! Discovery*.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::http::api::{Call, Client};
use crate::http::rest::Failure;

/// How to log in. Holds secrets: no `Debug`.
pub(super) struct Keystone {
    pub(super) client: Client,
    /// With or without `/v3`.
    pub(super) url: Url,
    /// `{"auth": {"identity": ..., "scope": ...}}`
    pub(super) body: Json,
    /// The first of the catalogue that fits, where there is none.
    pub(super) region: Option<String>,
    /// `"public"`
    pub(super) interface: String,
    /// URLs that the user knows better than the catalogue, by the type of service.
    pub(super) overrides: BTreeMap<String, Url>,
}

/// What Keystone says of a login.
#[derive(Default, Deserialize)]
pub(super) struct Login {
    #[serde(skip)]
    pub(super) token: String,
    pub(super) project: Option<Project>,
    #[serde(default)]
    pub(super) catalog: Vec<Listed>,
}

#[derive(Deserialize)]
pub(super) struct Project {
    pub(super) id: String,
}

/// A service of the catalogue.
#[derive(Deserialize)]
pub(super) struct Listed {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) endpoints: Vec<Place>,
}

#[derive(Deserialize)]
pub(super) struct Place {
    interface: String,
    pub(super) region: Option<String>,
    url: String,
}

/// Major and minor number of an API: `(2, 95)`.
pub(super) type Version = (u32, u32);

/// A version of a service, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    /// The newest microversion, where it has any.
    pub(super) newest: Option<Version>,
}

impl Keystone {
    /// # Errors
    /// Keystone does not answer, refuses, or has no version 3.
    pub(super) async fn login(&self) -> Result<Login, Failure> {
        let keystone = self.version(&self.url, (3, 0), None).await?;
        // One more token changes nothing.
        let call = Call::post("auth/tokens", self.body.clone()).repeatable();
        let answer = self.client.send(&keystone.url, &call).await?;
        let said = answer.json()?["token"].take();
        let unexpected = |what: &str| Failure::Lost(format!("{} with {what}", answer.status));
        let token = answer.header("x-subject-token");
        Ok(Login {
            token: token.ok_or_else(|| unexpected("no token"))?.to_owned(),
            ..Login::deserialize(said).map_err(|_| unexpected("a token of another form"))?
        })
    }

    /// Where a service (`"compute"`) is, by the catalogue and by what is found there.
    ///
    /// # Errors
    /// It is in no catalogue, or does not say which versions it has.
    pub(super) async fn endpoint(
        &self,
        kind: &str,
        version: Version,
        login: &Login,
        token: &str,
    ) -> Result<Endpoint, Failure> {
        let base = match self.overrides.get(kind) {
            Some(url) => Some(url.clone()),
            None => self.listed(kind, login).and_then(|url| url.parse().ok()),
        };
        let base = base.ok_or_else(|| {
            let what = "nothing: the service catalogue has no such service in this region";
            Failure::Impossible(what.to_owned())
        })?;
        self.version(&base, version, Some(token)).await
    }

    fn listed<'a>(&self, kind: &str, login: &'a Login) -> Option<&'a str> {
        let services = login.catalog.iter().filter(|listed| listed.kind == kind);
        let mut places = services.flat_map(|listed| &listed.endpoints);
        let place = places.find(|place| {
            place.interface == self.interface
                && (self.region.is_none() || place.region == self.region)
        });
        place.map(|place| place.url.as_str())
    }

    /// Looks for a version of a service at a URL and above it: services list theirs at their root.
    async fn version(
        &self,
        base: &Url,
        wanted: Version,
        token: Option<&str>,
    ) -> Result<Endpoint, Failure> {
        let mut at = base.clone();
        at.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        let mut why = String::new();
        for _ in 0..MOST_LEVELS {
            let mut call = Call::get("");
            if let Some(token) = token {
                call = call.header(TOKEN, token);
            }
            why = match self.client.send(&at, &call).await {
                Ok(answer) => match found(&answer.body, &at, wanted) {
                    Some(endpoint) => return Ok(endpoint),
                    None => format!("{} without version {}", answer.status, wanted.0),
                },
                Err(failure) => failure.to_string(),
            };
            match at.join("..") {
                Ok(above) if above != at => at = above,
                _ => break,
            }
        }
        let words = format!("nothing: version discovery at {base} ended with {why}");
        Err(Failure::NotSent(words))
    }
}

/// A version of this major and at least this minor number that a document at a URL lists.
fn found(body: &[u8], at: &Url, (major, minor): Version) -> Option<Endpoint> {
    let document: Json = serde_json::from_slice(body).ok()?;
    let (one, many) = (&document["version"], &document["versions"]);
    // Keystone's are one level below.
    let many = many.as_array().or_else(|| many["values"].as_array());
    let listed = many.into_iter().flatten();
    let mut listed = listed.chain(one.is_object().then_some(one));
    let is_wanted = |version: &&Json| {
        let said = ["version", "max_version", "min_version", "id"];
        let number = said.iter().find_map(|key| number(&version[*key]));
        number.is_some_and(|number| number.0 == major && number.1 >= minor)
    };
    let version = listed.find(is_wanted)?;
    let mut url = at.clone();
    // What a service knows of its own host and scheme is what is behind a load balancer: only the
    // path is taken.
    if version != one {
        let mut links = version["links"].as_array()?.iter();
        let link = links.find(|link| link["rel"] == "self")?["href"].as_str()?;
        url.set_path(at.join(link).ok()?.path());
    }
    Some(Endpoint {
        url,
        newest: number(&version["version"]).or_else(|| number(&version["max_version"])),
    })
}

/// The header that says who asks.
pub(super) const TOKEN: &str = "x-auth-token";
/// Catalogues have up to three parts of a path.
const MOST_LEVELS: usize = 10;

/// `"2.95"` and `"v2.1"`; an empty one is none.
fn number(text: &Json) -> Option<Version> {
    let text = text.as_str()?;
    let text = text.strip_prefix('v').unwrap_or(text);
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_where_its_path_says_or_where_it_was_found() {
        let nova = json!([
            {"id": "v2.0", "version": "", "min_version": "", "links": [{"rel": "self", "href": "http://10.0.0.1:8774/v2/"}]},
            {"id": "v2.1", "version": "2.95", "min_version": "2.1", "links": [{"rel": "self", "href": "http://10.0.0.1:8774/v2.1/"}]}]);
        let glance = json!([
            {"id": "v2.17", "links": [{"rel": "other", "href": "/v9/"}, {"rel": "self", "href": "/image/v2/"}]},
            {"id": "v2.0", "links": [{"rel": "self", "href": "/image/v2/"}]}]);
        let keystone =
            json!({"values": [{"id": "v3.14", "links": [{"rel": "self", "href": "v3"}]}]});
        for (at, document, wanted, expected) in [
            (
                "https://api/compute/",
                json!({"versions": nova}),
                (2, 1),
                Some(("https://api/v2.1/", Some((2, 95)))),
            ),
            (
                "https://api/compute/v2.1/",
                json!({"version": nova[1]}),
                (2, 1),
                Some(("https://api/compute/v2.1/", Some((2, 95)))),
            ),
            (
                "http://api/image/",
                json!({"versions": glance}),
                (2, 0),
                Some(("http://api/image/v2/", None)),
            ),
            (
                "http://api:5000/",
                json!({"versions": keystone}),
                (3, 0),
                Some(("http://api:5000/v3", None)),
            ),
            ("http://api/", json!({"versions": nova}), (3, 0), None),
            (
                "http://api/",
                json!({"versions": [{"id": "v2.1"}]}),
                (2, 1),
                None,
            ),
            ("http://api/", json!({"error": {"code": 503}}), (2, 1), None),
            ("http://api/", json!([]), (2, 1), None),
        ] {
            let found = found(
                document.to_string().as_bytes(),
                &at.parse().unwrap(),
                wanted,
            );
            let expected = expected.map(|(url, newest)| Endpoint {
                url: url.parse().unwrap(),
                newest,
            });
            assert_eq!(found, expected, "{at} {document}");
        }
    }
}
