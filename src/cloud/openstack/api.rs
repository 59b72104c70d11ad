//! OpenStack's REST APIs as we use them: one call, one place where a status becomes a kind, and what nova says of a server.
//!
//! In: `Call::get(Service::Compute, "servers/detail").query("limit", "1000")`. Out: the answer's JSON, or a [`CloudError`].
//! See: Compute API 2.1 at microversion 2.52 (the first with tags in the create), Image API 2, Network API 2.0.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures::stream::{self, Stream, StreamExt as _};
use openstack_sdk::api::rest_endpoint_prelude::{ApiVersion, BodyError, QueryParams, ServiceType};
use openstack_sdk::api::{ApiError, QueryAsync as _, RestEndpoint, raw};
use openstack_sdk::{AsyncOpenStack, OpenStackError, RestError};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::auth::Login;
use super::floating;
use crate::cloud::pages::Pages;
use crate::http::wait;
use crate::worker_group::cloud::{CloudError, Kind, Machine, Mark, Phase};

/// One login for all groups of a provider.
pub(super) struct Session {
    pub(super) sdk: AsyncOpenStack,
    /// Certificates go unchecked.
    pub(super) insecure: bool,
    found: [OnceCell<()>; 3],
}

impl Session {
    pub(super) fn new(login: Login) -> Self {
        Self {
            sdk: login.sdk,
            insecure: login.insecure,
            found: Default::default(),
        }
    }

    /// Catalogues name the root of a service: which versions are below it is asked before the first call.
    async fn find(&self, service: Service) -> Result<(), OpenStackError> {
        self.found[service as usize]
            .get_or_try_init(|| async { self.sdk.discover_service_endpoint(&service.kind()).await })
            .await
            .copied()
    }
}

/// One request.
pub(super) struct Call {
    service: Service,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Json>,
    /// Nova's minor version.
    minor: u8,
}

/// The services that a group needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Compute,
    Image,
    Network,
}

impl Service {
    fn kind(self) -> ServiceType {
        match self {
            Service::Compute => ServiceType::Compute,
            Service::Image => ServiceType::Image,
            Service::Network => ServiceType::Network,
        }
    }
}

impl Call {
    pub(super) fn get(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::GET, path, None)
    }
    pub(super) fn post(service: Service, path: impl Into<String>, body: Json) -> Self {
        Self::new(service, Method::POST, path, Some(body))
    }
    pub(super) fn put(service: Service, path: impl Into<String>, body: Json) -> Self {
        Self::new(service, Method::PUT, path, Some(body))
    }
    pub(super) fn delete(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::DELETE, path, None)
    }
    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }
    fn new(service: Service, method: Method, path: impl Into<String>, body: Option<Json>) -> Self {
        Self {
            service,
            method,
            path: path.into(),
            query: Vec::new(),
            body,
            minor: MINOR,
        }
    }
    /// Asks Nova for a newer microversion than [`MINOR`].
    pub(super) fn at(mut self, minor: u8) -> Self {
        self.minor = self.minor.max(minor);
        self
    }
}

impl RestEndpoint for Call {
    fn method(&self) -> Method {
        self.method.clone()
    }
    fn endpoint(&self) -> Cow<'static, str> {
        Cow::Owned(self.path.clone())
    }
    fn service_type(&self) -> ServiceType {
        self.service.kind()
    }
    fn parameters(&self) -> QueryParams<'_> {
        let mut parameters = QueryParams::default();
        for (key, value) in &self.query {
            parameters.push(*key, value);
        }
        parameters
    }
    fn body(&self) -> Result<Option<(&'static str, Vec<u8>)>, BodyError> {
        match &self.body {
            None => Ok(None),
            Some(body) => Ok(Some(("application/json", serde_json::to_vec(body)?))),
        }
    }
    fn api_version(&self) -> Option<ApiVersion> {
        Some(match self.service {
            Service::Compute => ApiVersion::new(2, 1),
            Service::Image | Service::Network => ApiVersion::new(2, 0),
        })
    }
    fn min_version(&self) -> Option<ApiVersion> {
        match self.service {
            Service::Compute => Some(ApiVersion::new(2, self.minor)),
            Service::Image | Service::Network => None,
        }
    }
}

/// Sends a call. `action` is the API's word (`"Nova POST servers"`), `object` what it is about. Null where the answer has no body.
///
/// # Errors
/// Of the kind that [`kind_of`] says; a create whose answer was lost is ambiguous.
pub(super) async fn send(
    session: &Session,
    action: &'static str,
    object: &str,
    call: Call,
) -> Result<Json, CloudError> {
    let creates = call.method == Method::POST;
    let error = |kind, message: String| CloudError {
        action,
        object: object.to_owned(),
        kind,
        message,
        attribute: None,
        retry_after: None,
    };
    if let Err(lost) = session.find(call.service).await {
        return Err(error(Kind::Unavailable, format!("nothing: {lost}")));
    }
    let answer = match raw(call)
        .skip_error_check(true)
        .query_async(&session.sdk)
        .await
    {
        Ok(answer) => answer,
        Err(lost) => {
            let (kind, message) = unanswered(&lost, creates);
            return Err(error(kind, message));
        }
    };
    let status = answer.status();
    if status.is_success() {
        return match answer.body().is_empty() {
            true => Ok(Json::Null),
            false => serde_json::from_slice(answer.body()).map_err(|_| {
                let kind = if creates {
                    Kind::Ambiguous
                } else {
                    Kind::Unavailable
                };
                error(kind, format!("{status} with a body that is not JSON"))
            }),
        };
    }
    let words = fault_text(answer.body());
    let retry_after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| wait::asked(value.to_str().ok()?, SystemTime::now()));
    let kind = kind_of(status, &words, creates);
    Err(CloudError {
        attribute: (kind == Kind::BadRequest || kind == Kind::NotFound)
            .then(|| blamed(&words))
            .flatten(),
        retry_after,
        ..error(kind, format!("{} {words}", status.as_u16()))
    })
}

/// All that a question finds, page by page: `"servers"` is the name of the list in the answer.
///
/// # Errors
/// Those of [`send`]: what is cut short is no answer.
pub(super) async fn pages(
    session: &Session,
    action: &'static str,
    object: &str,
    list: &str,
    question: impl Fn() -> Call,
) -> Result<Vec<Json>, CloudError> {
    let mut all: Vec<Json> = Vec::new();
    let mut pages = Pages::new(action, object);
    let mut marker: Option<String> = None;
    loop {
        let mut call = question().query("limit", PAGE);
        if let Some(marker) = marker {
            call = call.query("marker", marker);
        }
        let mut answer = send(session, action, object, call).await?;
        let links = answer[format!("{list}_links")].take();
        let more = links
            .as_array()
            .is_some_and(|links| links.iter().any(|link| link["rel"] == "next"));
        let Json::Array(page) = answer[list].take() else {
            return Err(pages.endless(&format!("something without {list}")));
        };
        let is_last = page.is_empty() || !more;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
        marker = pages.next(all.last().and_then(|last| last["id"].as_str()))?;
        if marker.is_none() {
            return Err(pages.endless("a page that is not the last one, and ends without an id"));
        }
    }
}

/// Carries out what is asked once for each machine, and answers as the answers come.
pub(super) fn some_at_a_time<F: Future>(calls: Vec<F>) -> impl Stream<Item = F::Output> {
    stream::iter(calls).buffer_unordered(AT_A_TIME)
}

/// Carries all of them out, whatever becomes of the others.
///
/// # Errors
/// The first that may pass, for the next try then does what is left; else the first.
pub(super) async fn all_of<F>(calls: Vec<F>) -> Result<(), CloudError>
where
    F: Future<Output = Result<(), CloudError>>,
{
    let answers: Vec<_> = some_at_a_time(calls).collect().await;
    let errors = answers.into_iter().filter_map(Result::err);
    let first = errors.min_by_key(|error| !error.is_retryable());
    first.map_or(Ok(()), Err)
}

/// Status to kind, once. Nova says quota with 403, Neutron with 409, and the words tell it from a refusal; a server error may come after
/// the work was done.
fn kind_of(status: StatusCode, words: &str, creates: bool) -> Kind {
    match status.as_u16() {
        400 | 406 | 415 | 422 => Kind::BadRequest,
        401 => Kind::Unauthenticated,
        403 | 409 if words.contains("uota exceeded") => Kind::Quota,
        409 if words.contains("No more IP addresses") => Kind::Quota,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        409 if words.contains("matches found for name") => Kind::BadRequest,
        // Nova knows it for a moment longer.
        409 if words.contains("vm_state deleted") => Kind::NotFound,
        // It takes no metadata until it is built, which takes longer than most troubles: asked again as often as after throttling.
        409 if words.contains("vm_state building") => Kind::RateLimit,
        // What has failed takes none for the rest of its life.
        409 if words.contains("vm_state error") => Kind::BadRequest,
        // A server that is being deleted, say: true for a moment only.
        409 => Kind::Unavailable,
        413 | 429 => Kind::RateLimit,
        500.. if creates => Kind::Ambiguous,
        500.. => Kind::Unavailable,
        _ => Kind::BadRequest,
    }
}

fn unanswered(lost: &ApiError<RestError>, creates: bool) -> (Kind, String) {
    match lost {
        ApiError::Client {
            source: RestError::AuthError { .. },
        } => (
            Kind::Unauthenticated,
            "nothing: the token could not be renewed".to_owned(),
        ),
        ApiError::Client {
            source: RestError::Communication { source },
        } => {
            let kind = match creates && !source.is_connect() {
                true => Kind::Ambiguous,
                false => Kind::Unavailable,
            };
            let what = if source.is_connect() {
                "nothing: the connection was refused"
            } else if source.is_timeout() {
                "nothing in time"
            } else {
                "nothing: the connection broke"
            };
            (kind, what.to_owned())
        }
        ApiError::Catalog { .. } => (
            Kind::BadRequest,
            "nothing: the service catalogue has no such service in this region".to_owned(),
        ),
        ApiError::MicroversionIncompatible { .. } => (
            Kind::BadRequest,
            "nothing: this cloud's Nova is too old (2.52 is needed, 2.67 for openstack.boot_volume.type)".to_owned(),
        ),
        other => (Kind::BadRequest, format!("nothing: {other}")),
    }
}

/// The service's own words: `{"badRequest": {"code": 400, "message": "..."}}` in Nova, `{"NeutronError": {"message": "..."}}` in
/// Neutron, HTML in Glance.
fn fault_text(body: &[u8]) -> String {
    let parsed: Option<Json> = serde_json::from_slice(body).ok();
    let message = parsed.as_ref().and_then(|fault| {
        fault
            .as_object()?
            .values()
            .find_map(|inner| inner.get("message").and_then(Json::as_str))
    });
    match message {
        Some(message) => message.chars().take(MESSAGE_CHARS).collect(),
        None => "without words that a program can read".to_owned(),
    }
}

/// Which attribute a refusal is about, where Nova's words name it.
fn blamed(words: &str) -> Option<&'static str> {
    BLAMED
        .iter()
        .find(|(needle, _)| words.contains(needle))
        .map(|(_, attribute)| *attribute)
}

/// Nova's words, and the attribute they speak of; the first that fits.
const BLAMED: &[(&str, &str)] = &[
    ("imageRef", "image"),
    ("image", "image"),
    ("Image", "image"),
    ("lavor", "openstack.flavor_name"),
    ("key_name", "openstack.key_pair"),
    ("eypair", "openstack.key_pair"),
    ("ecurity group", "openstack.security_groups"),
    ("ecurity_group", "openstack.security_groups"),
    ("vailability zone", "openstack.availability_zones"),
    ("xternal network", floating::ATTRIBUTE),
    ("etwork", "openstack.networks"),
    ("ixed IP", "openstack.networks"),
    ("server group", "openstack.server_group_id"),
    ("nstance group", "openstack.server_group_id"),
    ("user_data", "user_data"),
    ("ser data", "user_data"),
    ("olume", "openstack.boot_volume"),
];

/// The services' own limit of a page, unless the cloud has a smaller one: it then says that there is more.
const PAGE: &str = "1000";
/// A call takes some tenths of a second: hundreds of machines are done well within the time that one question has, and the few workers of
/// a small cloud's API are not all ours.
const AT_A_TIME: usize = 10;
const MESSAGE_CHARS: usize = 1000;

/// Nova's microversion 2.52 is the first with tags in the create, and older than any cloud that is still supported (Pike, 2017).
const MINOR: u8 = 52;

/// A server as `GET /servers/detail` shows it, at microversion 2.52.
#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    addresses: BTreeMap<String, Vec<Address>>,
    #[serde(default)]
    flavor: Json,
    #[serde(default)]
    key_name: Option<String>,
    #[serde(default)]
    security_groups: Vec<Named>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    fault: Option<Fault>,
    #[serde(rename = "OS-EXT-AZ:availability_zone", default)]
    zone: Option<String>,
    #[serde(rename = "OS-EXT-STS:task_state", default)]
    task: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    addr: String,
    #[serde(rename = "OS-EXT-IPS:type", default)]
    kind: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    message: String,
}

impl Server {
    /// # Errors
    /// The answer is not a server: the cloud is in trouble.
    pub(super) fn read(json: Json, action: &'static str) -> Result<Self, CloudError> {
        serde_json::from_value(json).map_err(|error| CloudError {
            action,
            object: "a server".to_owned(),
            kind: Kind::Unavailable,
            message: format!("something that is not a server: {error}"),
            attribute: None,
            retry_after: None,
        })
    }

    /// All its addresses.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses
            .values()
            .flatten()
            .map(|address| address.addr.as_str())
    }

    /// `None` for a server that is gone or that belongs to no group, be it that it lacks only a part of its mark.
    pub(super) fn machine(&self) -> Option<Machine> {
        self.machine_of(Mark::from_pairs(|key| self.datum(key))?)
    }

    /// The same whatever its metadata are: what it lacks of the mark is empty.
    pub(super) fn found(&self) -> Option<Machine> {
        self.machine_of(Mark::parts(|key| self.datum(key)))
    }

    fn datum(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    fn machine_of(&self, mark: Mark) -> Option<Machine> {
        let phase = self.phase()?;
        // As the user named it; Nova's id says nothing about that, where somebody has taken the name off.
        let image = self.datum(IMAGE).unwrap_or_default();
        let mut addresses: Vec<&Address> = self.addresses.values().flatten().collect();
        addresses.sort_by_key(|address| address.kind == "floating");
        Some(Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            zone: self.zone.clone().unwrap_or_default(),
            addresses: addresses
                .iter()
                .map(|address| address.addr.clone())
                .collect(),
            image: image.to_owned(),
            phase,
            message: self
                .fault
                .as_ref()
                .map(|fault| fault.message.clone())
                .or_else(|| (phase == Phase::Stopped).then(|| format!("status {}", self.status))),
            mark,
            created: self.created.as_deref().and_then(time_of),
            observed: self.observed(),
        })
    }

    /// `false` for one that is gone and shown for a moment longer.
    pub(super) fn exists(&self) -> bool {
        self.phase().is_some()
    }

    fn phase(&self) -> Option<Phase> {
        if self.task.as_deref() == Some("deleting") {
            return Some(Phase::Deleting);
        }
        Some(match self.status.as_str() {
            "DELETED" | "SOFT_DELETED" => return None,
            "BUILD" => Phase::Pending,
            // Started, and not up yet.
            _ if self
                .task
                .as_deref()
                .is_some_and(|task| STARTS.contains(&task)) =>
            {
                Phase::Pending
            }
            "ERROR" => Phase::Failed,
            "SHUTOFF" | "PAUSED" | "SUSPENDED" | "RESCUE" | "SHELVED" | "SHELVED_OFFLOADED" => {
                Phase::Stopped
            }
            // ACTIVE, and what passes by itself (REBOOT, MIGRATING, PASSWORD, RESIZE ...).
            _ => Phase::Running,
        })
    }

    fn observed(&self) -> BTreeMap<String, String> {
        let mut observed = BTreeMap::new();
        let flavor = self.flavor.get("original_name").and_then(Json::as_str);
        if let Some(flavor) = flavor {
            observed.insert("flavor_name".to_owned(), flavor.to_owned());
        }
        let pool = self.metadata.get(POOL).cloned().unwrap_or_default();
        observed.insert(floating::FIELD.to_owned(), pool);
        observed.insert(
            "key_pair".to_owned(),
            self.key_name.clone().unwrap_or_default(),
        );
        // Nova names the groups once for each port, and none before there is one.
        let mut groups: Vec<&str> = self
            .security_groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        if !groups.is_empty() {
            observed.insert("security_groups".to_owned(), groups.join(", "));
        }
        let zone = self.zone.clone().unwrap_or_default();
        observed.insert("availability_zones".to_owned(), zone);
        let own = self.addresses.values().flatten();
        let own = own.filter(|address| address.kind != "floating");
        let own: Vec<&str> = own.map(|address| address.addr.as_str()).collect();
        observed.insert("networks.fixed_ips".to_owned(), own.join(","));
        let ours = self.metadata.get(KEYS).map_or("", String::as_str);
        for key in ours.split(',') {
            if let Some(value) = self.metadata.get(key) {
                observed.insert(format!("metadata.{key}"), value.clone());
            }
        }
        observed
    }
}

/// `2026-11-24T09:00:00Z`
fn time_of(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        text.split(by).map(|part| part.parse().ok()).collect()
    };
    let [year, month, day]: [i64; 3] = numbers(date, '-')?.try_into().ok()?;
    let [hour, minute, second]: [i64; 3] = numbers(time, ':')?.try_into().ok()?;
    let within = [
        (1970..=9999).contains(&year),
        (1..=12).contains(&month),
        (1..=31).contains(&day),
        (0..=23).contains(&hour),
        (0..=59).contains(&minute),
        (0..=60).contains(&second),
    ];
    if within.contains(&false) {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Metadata of ours begin so.
pub(super) const OURS: &str = "flatcar-";
/// The image as the user named it: nova forgets it for a server that boots from a volume, and knows only ids.
pub(super) const IMAGE: &str = "flatcar-image";
/// The keys of metadata that the configuration has written, with commas between them.
pub(super) const KEYS: &str = "flatcar-keys";
/// The pool of its floating address, as the user named it.
pub(super) const POOL: &str = "flatcar-floating-ip-pool";
/// Which try of the name this server is.
pub(super) const ATTEMPT: &str = "flatcar-attempt";

/// Tasks at whose end a server runs that did not: `nova/compute/task_states.py`.
const STARTS: [&str; 5] = [
    "powering-on",
    "resuming",
    "spawning",
    "unpausing",
    "unshelving",
];

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use futures::TryStreamExt as _;
    use serde_json::json;

    #[tokio::test]
    async fn calls_go_some_at_a_time_and_end_at_a_refusal() {
        for (refused, expected) in [(usize::MAX, Ok(())), (AT_A_TIME, Err(AT_A_TIME))] {
            let (under_way, most, begun) = (Cell::new(0), Cell::new(0), Cell::new(0));
            let call = |number: usize| {
                let (under_way, most, begun) = (&under_way, &most, &begun);
                async move {
                    begun.set(begun.get() + 1);
                    under_way.set(under_way.get() + 1);
                    most.set(most.get().max(under_way.get()));
                    tokio::task::yield_now().await;
                    under_way.set(under_way.get() - 1);
                    match number == refused {
                        true => Err(number),
                        false => Ok(()),
                    }
                }
            };
            let all = 10 * AT_A_TIME;
            let calls = (0..all).map(call).collect();
            let answer: Result<(), usize> = some_at_a_time(calls).try_collect().await;
            assert_eq!(answer, expected);
            assert_eq!(most.get(), AT_A_TIME);
            assert_eq!(begun.get() == all, expected.is_ok());
        }
    }

    #[tokio::test]
    async fn all_are_carried_out_and_what_may_pass_is_answered_first() {
        use Kind::{BadRequest, Forbidden, RateLimit, Unavailable};
        for (kinds, expected) in [
            ([None, None, None], None),
            ([Some(BadRequest), None, None], Some(BadRequest)),
            ([Some(Forbidden), None, Some(BadRequest)], Some(Forbidden)),
            (
                [Some(BadRequest), Some(RateLimit), Some(Unavailable)],
                Some(RateLimit),
            ),
        ] {
            let done = Cell::new(0);
            let call = |kind: Option<Kind>| {
                let done = &done;
                async move {
                    done.set(done.get() + 1);
                    kind.map_or(Ok(()), |kind| {
                        Err(CloudError {
                            action: "test",
                            object: String::new(),
                            kind,
                            message: String::new(),
                            attribute: None,
                            retry_after: None,
                        })
                    })
                }
            };
            let answer = all_of(kinds.into_iter().map(call).collect()).await;
            let answer = answer.map_err(|error| error.kind);
            assert_eq!(answer, expected.map_or(Ok(()), Err), "{kinds:?}");
            assert_eq!(done.get(), kinds.len(), "{kinds:?}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_not_known_whatever_it_says() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-24T09:00:01Z", Some(1_795_510_801)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("1969-12-31T23:59:59Z", None),
            ("10000-01-01T00:00:00Z", None),
            ("9223372036854775807-01-01T00:00:00Z", None),
            ("2026-11-24T9223372036854775807:00:00Z", None),
            ("2026-9223372036854775807-24T00:00:00Z", None),
            ("2026-11--24T00:00:00Z", None),
            ("2026-11-24 09:00:01Z", None),
            ("", None),
        ] {
            let expected =
                seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(time_of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_status_is_a_kind_and_a_lost_create_is_ambiguous() {
        for (status, words, creates, kind) in [
            (400, "Invalid imageRef provided.", true, Kind::BadRequest),
            (401, "", false, Kind::Unauthenticated),
            (
                403,
                "Quota exceeded for instances: Requested 1",
                true,
                Kind::Quota,
            ),
            (403, "Policy doesn't allow", true, Kind::Forbidden),
            (404, "", false, Kind::NotFound),
            (
                409,
                "Quota exceeded for resources: ['floatingip'].",
                true,
                Kind::Quota,
            ),
            (
                409,
                "Multiple security_group matches found for name 'x', use an ID to be more specific.",
                true,
                Kind::BadRequest,
            ),
            (
                409,
                "Cannot 'update metadata' instance x while it is in vm_state deleted",
                true,
                Kind::NotFound,
            ),
            (
                409,
                "No more IP addresses available on network 1.",
                true,
                Kind::Quota,
            ),
            (
                409,
                "Cannot 'update metadata' while it is in vm_state building",
                false,
                Kind::RateLimit,
            ),
            (
                409,
                "Cannot 'update metadata' instance x while it is in vm_state error",
                true,
                Kind::BadRequest,
            ),
            (
                409,
                "Cannot 'update metadata' instance x while it is in task_state rebooting",
                true,
                Kind::Unavailable,
            ),
            (429, "", true, Kind::RateLimit),
            (500, "", true, Kind::Ambiguous),
            (503, "", false, Kind::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(kind_of(status, words, creates), kind, "{status} {words}");
        }
    }

    #[test]
    fn a_refusal_blames_the_attribute_that_nova_names() {
        for (words, attribute) in [
            ("Invalid imageRef provided.", Some("image")),
            (
                "Flavor big could not be found.",
                Some("openstack.flavor_name"),
            ),
            ("Invalid key_name provided.", Some("openstack.key_pair")),
            ("Network x could not be found.", Some("openstack.networks")),
            (
                "The requested availability zone is not available",
                Some("openstack.availability_zones"),
            ),
            (
                "Unable to find security_group with name or id 'x'",
                Some("openstack.security_groups"),
            ),
            (
                "Instance group x could not be found.",
                Some("openstack.server_group_id"),
            ),
            (
                "External network x is not reachable from subnet y.",
                Some("openstack.floating_ip_pool"),
            ),
            ("Something else", None),
        ] {
            assert_eq!(blamed(words), attribute, "{words}");
        }
    }

    #[test]
    fn the_words_of_each_service_are_found() {
        for (body, words) in [
            (
                r#"{"forbidden": {"code": 403, "message": "Quota exceeded"}}"#,
                "Quota exceeded",
            ),
            (
                r#"{"NeutronError": {"type": "X", "message": "No such net", "detail": ""}}"#,
                "No such net",
            ),
            ("<html>", "without words that a program can read"),
        ] {
            assert_eq!(fault_text(body.as_bytes()), words);
        }
    }

    #[test]
    fn a_server_is_a_machine_with_what_nova_says_of_it() {
        let server = json!({
            "id": "7b", "name": "workers-abc-0", "status": "ERROR", "key_name": "ops",
            "created": "2026-11-24T09:00:01Z", "OS-EXT-AZ:availability_zone": "nova",
            "image": {"id": "img"}, "flavor": {"original_name": "m1.small"},
            "security_groups": [{"name": "web"}, {"name": "default"}, {"name": "web"}],
            "fault": {"code": 500, "message": "No valid host was found."},
            "addresses": {"net": [
                {"addr": "203.0.113.9", "OS-EXT-IPS:type": "floating"},
                {"addr": "10.0.0.7", "OS-EXT-IPS:type": "fixed"}]},
            "metadata": {"flatcar-cluster": "prod", "flatcar-group": "workers", "flatcar-uid": "abc",
                "flatcar-generation": "g", "flatcar-unsaved": "true", "flatcar-image": "flatcar-stable", "flatcar-keys": "team", "team": "x", "stranger": "1"}
        });
        let machine = Server::read(server, "test").unwrap().machine().unwrap();
        assert_eq!(machine.phase, Phase::Failed);
        assert_eq!(machine.message.as_deref(), Some("No valid host was found."));
        assert_eq!(machine.image, "flatcar-stable");
        assert_eq!(machine.addresses, ["10.0.0.7", "203.0.113.9"]);
        assert!(machine.mark.unsaved);
        let observed: Vec<_> = machine
            .observed
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            observed,
            [
                ("availability_zones", "nova"),
                ("flavor_name", "m1.small"),
                ("floating_ip_pool", ""),
                ("key_pair", "ops"),
                ("metadata.team", "x"),
                ("networks.fixed_ips", "10.0.0.7"),
                ("security_groups", "default, web")
            ]
        );
        assert_eq!(
            machine.created,
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801))
        );
    }

    #[test]
    fn a_server_that_is_gone_or_nobodys_is_no_machine() {
        let marked = json!({"flatcar-cluster": "c", "flatcar-group": "g", "flatcar-uid": "u"});
        for (status, task, metadata, phase) in [
            ("DELETED", None, marked.clone(), None),
            ("ACTIVE", None, json!({}), None),
            (
                "ACTIVE",
                Some("deleting"),
                marked.clone(),
                Some(Phase::Deleting),
            ),
            ("BUILD", None, marked.clone(), Some(Phase::Pending)),
            ("SHUTOFF", None, marked.clone(), Some(Phase::Stopped)),
            (
                "SHUTOFF",
                Some("powering-on"),
                marked.clone(),
                Some(Phase::Pending),
            ),
            (
                "SHUTOFF",
                Some("powering-off"),
                marked.clone(),
                Some(Phase::Stopped),
            ),
            ("REBOOT", None, marked, Some(Phase::Running)),
        ] {
            let server = json!({"id": "1", "name": "n", "status": status, "metadata": metadata, "OS-EXT-STS:task_state": task});
            let machine = Server::read(server, "test").unwrap().machine();
            assert_eq!(
                machine.map(|machine| machine.phase),
                phase,
                "{status} {task:?}"
            );
        }
    }

    #[test]
    fn a_server_without_a_part_of_its_mark_is_nobodys_and_is_found_with_the_rest() {
        let whole = json!({"flatcar-cluster": "c", "flatcar-group": "g", "flatcar-uid": "u", "flatcar-generation": "1",
            "flatcar-unsaved": "true"});
        let without_uid = json!({"flatcar-cluster": "c", "flatcar-group": "g", "flatcar-generation": "1", "flatcar-unsaved": "true"});
        let mut empty_uid = whole.clone();
        empty_uid["flatcar-uid"] = json!("");
        for (metadata, is_listed, parts) in [
            (whole, true, ["c", "g", "u", "1", "true"]),
            (without_uid, false, ["c", "g", "", "1", "true"]),
            (empty_uid, false, ["c", "g", "", "1", "true"]),
            (json!({}), false, ["", "", "", "", "false"]),
        ] {
            let server = |status: &str| {
                let server =
                    json!({"id": "1", "name": "n", "status": status, "metadata": metadata});
                Server::read(server, "test").unwrap()
            };
            let found = server("ACTIVE").found().unwrap();
            assert_eq!((found.id.as_str(), found.name.as_str()), ("1", "n"));
            let pairs = found.mark.pairs().into_iter();
            assert_eq!(pairs.map(|(_, part)| part).collect::<Vec<_>>(), parts);
            assert_eq!(server("ACTIVE").machine(), is_listed.then_some(found));
            assert!(server("DELETED").found().is_none());
        }
    }
}
