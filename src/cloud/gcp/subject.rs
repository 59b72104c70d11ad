//! Tokens of somebody else's identity provider, for workload identity federation; and what may
//! stand in a file of credentials.
//!
//! In: `{"file": "/var/run/token"}`, or a URL with headers, of text or of JSON. Out: the token that
//! stands there. See: Google's AIP-4117.

use std::path::PathBuf;

use reqwest::Url;
use serde_json::Value as Json;

use crate::http::api::{Call, Client};
use crate::http::rest::Failure;
use crate::http::{is_private, small_file};

/// Where the token of somebody else's identity provider comes from.
pub(super) struct Subject {
    place: Place,
    /// The field of its JSON that the token stands in; `None`: the text itself is the token.
    field: Option<String>,
}

enum Place {
    File(PathBuf),
    Url(Url, Vec<(String, String)>),
}

/// What stands in the way, without a value of the file.
pub(super) type Wrong = String;

impl Subject {
    /// By the `credential_source` of a file.
    pub(super) fn of(source: &Json) -> Result<Self, Wrong> {
        if source.get("environment_id").is_some() || source.get("executable").is_some() {
            let why = "its credential_source is AWS or a program, which log in nowhere here: write a file or a url, with a token of OpenID Connect";
            return Err(why.to_owned());
        }
        let place = match (source["file"].as_str(), source["url"].as_str()) {
            (Some(file), _) => Place::File(file.into()),
            (None, Some(url)) => {
                let headers = source["headers"].as_object().into_iter().flatten();
                let headers = headers.filter_map(|(name, value)| {
                    Some((name.to_ascii_lowercase(), value.as_str()?.to_owned()))
                });
                Place::Url(subject_url(url)?, headers.collect())
            }
            (None, None) => return Err("its credential_source has neither file nor url".to_owned()),
        };
        let format = &source["format"];
        let field = match format["type"].as_str() {
            Some("json") => Some(text(format, "subject_token_field_name")?),
            _ => None,
        };
        Ok(Self { place, field })
    }

    pub(super) async fn token(&self, client: &Client) -> Result<String, Failure> {
        let nothing = |why: &str| Failure::Impossible(format!("nothing: credential_source {why}"));
        let bytes = match &self.place {
            Place::File(path) => {
                small_file(path).map_err(|why| nothing(&format!("names no file to read: {why}")))?
            }
            Place::Url(url, headers) => {
                let with = |call: Call, (name, value): &(String, String)| {
                    call.header(name.clone(), value.clone())
                };
                let call = headers.iter().fold(Call::get(""), with);
                let answer = client.send(url, &call).await?;
                if answer.status != 200 {
                    answer.json()?;
                }
                answer.body
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| nothing("holds no text"))?;
        let token = match &self.field {
            None => Some(text.trim().to_owned()),
            Some(field) => {
                let json: Json = serde_json::from_str(&text).unwrap_or_default();
                json[field].as_str().map(str::to_owned)
            }
        };
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| nothing("holds no token"))
    }
}

/// A field of a file.
pub(super) fn text(file: &Json, name: &str) -> Result<String, Wrong> {
    let found = file[name].as_str().filter(|text| !text.is_empty());
    found
        .map(str::to_owned)
        .ok_or_else(|| format!("it has no {name}"))
}

/// What a secret is sent to.
pub(super) fn url_of(text: &str, name: &str) -> Result<Url, Wrong> {
    let url = Url::parse(text).ok().filter(is_private);
    url.ok_or_else(|| format!("{name} is no URL that begins with https://"))
}

/// The metadata servers of other clouds speak http, within a machine.
fn subject_url(text: &str) -> Result<Url, Wrong> {
    let url =
        Url::parse(text).map_err(|_| "the url of its credential_source is none".to_owned())?;
    match is_private(&url) || url.host_str() == Some(LINK_LOCAL) {
        true => Ok(url),
        false => Err("the url of its credential_source does not begin with https://".to_owned()),
    }
}

const LINK_LOCAL: &str = "169.254.169.254";
