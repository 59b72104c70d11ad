//! Compute Engine's API as we use it: one call, an operation that it begins, pages, and what
//! refusals mean.
//!
//! In: `Call::get("projects/p/zones")`. Out: the answer's JSON, or a [`CloudError`]. What goes
//! wrong after a call was taken on stands in its operation, which is asked for at the same
//! endpoint. See: Compute Engine API v1, `zoneOperations.get`, "Handling API responses".

use std::time::Duration;

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::time::sleep;

use super::credential::Credential;
use crate::http::api::{Call, Client};
use crate::http::token::Token;
use crate::worker_group::cloud::{Answered, CloudError, Kind, Meaning, Pages, read};

/// One login for all groups of a provider.
pub(super) struct Session {
    client: Client,
    credential: Credential,
    token: Token,
    base: Url,
    pub(super) project: String,
}

impl Session {
    pub(super) fn new(
        client: Client,
        credential: Credential,
        bearer: String,
        base: Url,
        project: String,
    ) -> Self {
        Self {
            client,
            credential,
            token: Token::new("authorization", bearer),
            base,
            project,
        }
    }

    /// What is in this project: `zones/europe-west3-a/instances`.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("projects/{}/{rest}", self.project)
    }

    /// Sends a call. `action` is the API's word (`"Compute instances.insert"`), `object` what it is
    /// about.
    ///
    /// # Errors
    /// As [`MEANINGS`] say; a create whose answer was lost is ambiguous.
    pub(super) async fn send(
        &self,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Json> {
        let effect = call.effect;
        let login = async || self.credential.bearer(&self.client).await;
        let answer = self.token.send(&self.client, &self.base, &call, login);
        let answer = answer.await;
        answer.map_err(|failure| CloudError::unanswered(action, object, effect, failure, MEANINGS))
    }

    /// All pages of a list; `take` is what one of them holds.
    ///
    /// # Errors
    /// Those of [`Session::send`], and that a zone was not asked: what is cut short is no answer.
    pub(super) async fn all<T>(
        &self,
        action: &'static str,
        object: &str,
        question: impl Fn() -> Call,
        take: impl Fn(Json) -> Answered<Vec<T>>,
    ) -> Answered<Vec<T>> {
        self.all_of(action, object, |_| true, question, take).await
    }

    /// The same, where only some scopes (`"europe-west3"`, `"global"`) matter: that others were not
    /// asked is no fault.
    pub(super) async fn all_of<T>(
        &self,
        action: &'static str,
        object: &str,
        matters: impl Fn(&str) -> bool,
        question: impl Fn() -> Call,
        take: impl Fn(Json) -> Answered<Vec<T>>,
    ) -> Answered<Vec<T>> {
        let page = async |token: Option<String>| {
            let call = question().queries("pageToken", token);
            let mut answer = self.send(action, object, call).await?;
            let next = answer["nextPageToken"].as_str().map(str::to_owned);
            let silent = silent(&answer).find(|scope| matters(tail(scope)));
            match silent.map(str::to_owned) {
                Some(scope) => {
                    let words = format!("a part only: {scope} cannot be reached");
                    Err(CloudError::new(Kind::Unavailable, action, object, words))
                }
                None => Ok((take(answer["items"].take())?, next)),
            }
        };
        Pages::new(action, object).all(page).await
    }

    /// Waits for an operation of a zone, not for ever: the machine shows the rest. `false`: it goes
    /// on, or nobody knows.
    ///
    /// # Errors
    /// What it ended in.
    pub(super) async fn finished(
        &self,
        action: &'static str,
        object: &str,
        zone: &str,
        mut operation: Json,
    ) -> Answered<bool> {
        let name = operation["name"].as_str().unwrap_or_default().to_owned();
        let mut pauses = PAUSES.into_iter();
        while operation["status"] != DONE {
            let Some(pause) = pauses.next() else {
                return Ok(false);
            };
            sleep(pause).await;
            let call = Call::get(self.path(&format!("zones/{zone}/operations/{name}")));
            let asked = self.send("Compute zoneOperations.get", object, call).await;
            match asked {
                Ok(answer) => operation = answer,
                // It was taken on; what it comes to, lists show too.
                Err(error) if error.is_retryable() => {}
                Err(_) => return Ok(false),
            }
        }
        match &operation["error"]["errors"][0] {
            Json::Null => Ok(true),
            error => Err(ended(action, object, &operation, error)),
        }
    }
}

/// What an operation ended in: the code inside of it says more than the status.
fn ended(action: &'static str, object: &str, operation: &Json, error: &Json) -> CloudError {
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let (code, message) = (text("code"), text("message"));
    let status = operation["httpErrorStatusCode"].as_u64();
    let status = status.and_then(|status| u16::try_from(status).ok());
    let (kind, attribute) = Meaning::find(MEANINGS, status, code, message);
    let is_of_request = matches!(kind, Kind::BadRequest | Kind::NotFound);
    let told = CloudError::new(kind, action, object, format!("{code}: {message}"));
    CloudError {
        attribute: attribute.filter(|_| is_of_request),
        ..told.caused_by(code, None)
    }
}

/// The elements of all places of an aggregated list, by the name of what it lists.
pub(super) fn elements<T: DeserializeOwned>(
    items: Json,
    list: &str,
    action: &'static str,
) -> Answered<Vec<T>> {
    let mut all = Vec::new();
    if let Json::Object(places) = items {
        for mut place in places.into_iter().map(|(_, place)| place) {
            if let Some(Json::Array(listed)) = place.get_mut(list).map(Json::take) {
                for one in listed {
                    all.push(read(one, action)?);
                }
            }
        }
    }
    Ok(all)
}

/// The last part of a path or URL: Google answers names as URLs.
pub(super) fn tail(link: &str) -> &str {
    link.rsplit('/').next().unwrap_or(link)
}

/// Scopes of a list that were not asked: `"regions/us-east4"`.
fn silent(answer: &Json) -> impl Iterator<Item = &str> {
    let named = answer["unreachables"].as_array().into_iter().flatten();
    let warned = answer["items"].as_object().into_iter().flatten();
    let warned = warned.filter(|(_, of)| of["warning"]["code"] == "UNREACHABLE");
    let warned = warned.map(|(scope, _)| scope.as_str());
    named.filter_map(Json::as_str).chain(warned)
}

/// A region's name is its zones' without the last part.
pub(super) fn region_of(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

/// The status of an operation that is over.
pub(super) const DONE: &str = "DONE";
/// What has no room says so within seconds. Together 20 s, below the engine's own limit for an
/// answer.
const PAUSES: [Duration; 7] = [
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(6),
    Duration::from_secs(6),
];

/// What refusals and the ends of operations mean. In brackets behind a message stands Google's own
/// reason.
pub(super) const MEANINGS: &[Meaning] = &[
    Meaning::codes(
        Kind::Quota,
        "ZONE_RESOURCE_POOL_EXHAUSTED* RESOURCE_POOL_EXHAUSTED* QUOTA_EXCEEDED* STOCKOUT* stockout* quotaExceeded",
    ),
    Meaning::codes(
        Kind::RateLimit,
        "RATE_LIMIT_EXCEEDED RESOURCE_OPERATION_RATE_EXCEEDED",
    ),
    Meaning::codes(Kind::Unavailable, "INTERNAL_ERROR RESOURCE_NOT_READY"),
    Meaning::codes(Kind::Forbidden, "PERMISSIONS_ERROR"),
    Meaning::codes(Kind::AlreadyExists, "RESOURCE_ALREADY_EXISTS"),
    Meaning::status(
        403,
        "ateLimitExceeded)|Rate Limit Exceeded",
        Kind::RateLimit,
    ),
    Meaning::status(403, "(quotaExceeded)|(limitExceeded)", Kind::Quota),
    Meaning::status(409, "(alreadyExists)", Kind::AlreadyExists),
    // Somebody else has changed it: whoever asks reads it again.
    Meaning::status(412, "", Kind::Unavailable),
    // Another operation is under way on it, which takes longer than most troubles.
    Meaning::status(400, "(resourceNotReady)", Kind::RateLimit),
    Meaning::status(400, "protected against deletion", Kind::BadRequest)
        .blaming("gcp.deletion_protection"),
    Meaning::status(404, "/images/", Kind::BadRequest).blaming("image"),
    Meaning::status(404, "/machineTypes/", Kind::BadRequest).blaming("gcp.machine_type"),
    Meaning::status(404, "/subnetworks/", Kind::BadRequest).blaming("gcp.subnetwork"),
    Meaning::status(404, "/networks/", Kind::BadRequest).blaming("gcp.network"),
    Meaning::words("'zone'|nknown zone", "gcp.zones"),
    Meaning::words("sourceImage|/images/", "image"),
    Meaning::words("user-data", "user_data"),
    Meaning::words("machineType|achine type", "gcp.machine_type"),
    Meaning::words("ubnetwork", "gcp.subnetwork"),
    Meaning::words("etwork", "gcp.network"),
    Meaning::words("erviceAccount|ervice account", "gcp.service_account"),
    Meaning::words("kms|Kms|KMS", "gcp.boot_disk.kms_key_self_link"),
    Meaning::words("cceleratorType|cceler", "gcp.guest_accelerators"),
    Meaning::words("inCpuPlatform|CPU platform", "gcp.min_cpu_platform"),
    Meaning::words("esourcePolic|esource polic", "gcp.resource_policies"),
    Meaning::words("eservation", "gcp.reservation_affinity"),
    Meaning::words("onfidential", "gcp.confidential_instance_type"),
    Meaning::words("ource.labels", "gcp.labels"),
    Meaning::words("ource.metadata", "gcp.metadata"),
    Meaning::words("nstanceGroups|nstance group", "gcp.instance_groups"),
    Meaning::words("disk", "gcp.boot_disk"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_asked_is_named_by_its_scope() {
        for (answer, scopes) in [
            (json!({"items": {}}), vec![]),
            (
                json!({"items": {"global": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}}),
                vec![],
            ),
            (
                json!({"unreachables": ["regions/us-east4"]}),
                vec!["regions/us-east4"],
            ),
            (
                json!({"items": {"regions/us-east4": {"warning": {"code": "UNREACHABLE"}}}}),
                vec!["regions/us-east4"],
            ),
        ] {
            let found: Vec<&str> = silent(&answer).collect();
            assert_eq!(found, scopes, "{answer}");
        }
        assert_eq!(tail("regions/us-east4"), "us-east4");
        assert_eq!(tail("global"), "global");
    }
}
