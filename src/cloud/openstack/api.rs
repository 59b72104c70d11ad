//! OpenStack's REST APIs as we use them: one login, one call, and what the services' refusals mean.
//!
//! In: [`NOVA`], and `Call::get("servers/detail").query("limit", "1000")`. Out: the answer's JSON,
//! or a [`CloudError`]. What an answer means is `http::rest`'s. See: Compute API 2.1 at
//! microversion 2.52 (the first with tags in the create), Image API 2, Network API 2.0.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::keystone::{Endpoint, Keystone, Login, TOKEN, Version};
use super::shape::ATTRIBUTE;
use crate::http::api::Call;
use crate::http::rest::Failure;
use crate::http::token::Token;
use crate::worker_group::cloud::{Answered, CloudError, Kind, Meaning, Pages, read};

/// One login for all groups of a provider.
pub(super) struct Session {
    keystone: Keystone,
    /// The first one: a token that is renewed is for the same project.
    login: Login,
    token: Token,
    /// Certificates go unchecked.
    pub(super) insecure: bool,
    endpoints: [OnceCell<Endpoint>; 3],
}

impl Session {
    pub(super) fn new(keystone: Keystone, login: Login, insecure: bool) -> Self {
        Self {
            keystone,
            token: Token::new(TOKEN, login.token.clone()),
            login,
            insecure,
            endpoints: Default::default(),
        }
    }

    /// The id of the project that it is scoped to.
    pub(super) fn project(&self) -> Option<&str> {
        let project = self.login.project.as_ref();
        project.map(|project| project.id.as_str())
    }

    /// `RegionOne/0f3c...`: a project's id is unique in a Keystone, and a region tells Novas apart.
    pub(super) fn scope(&self) -> Option<String> {
        let places = self.login.catalog.iter().flat_map(|of| &of.endpoints);
        let first = places.filter_map(|place| place.region.as_ref()).min();
        let region = self.keystone.region.as_ref().or(first);
        let region = region.map(String::as_str).unwrap_or_default();
        Some(format!("{region}/{}", self.project()?))
    }

    /// Whether the catalogue has block storage.
    pub(super) fn has_volumes(&self) -> bool {
        let catalog = &self.login.catalog;
        let mut kinds = catalog.iter().map(|service| service.kind.as_str());
        catalog.is_empty() || kinds.any(|kind| VOLUMES.iter().any(|begin| kind.starts_with(begin)))
    }

    /// Sends a call. `action` is the API's word (`"Nova POST servers"`), `object` what it is about.
    /// Null where the answer has no body.
    ///
    /// # Errors
    /// As [`MEANINGS`] say; a create whose answer was lost is ambiguous.
    pub(super) async fn send(
        &self,
        service: Service,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Json> {
        let effect = call.effect;
        let answer = self.answer(service, call).await;
        answer.map_err(|failure| CloudError::unanswered(action, object, effect, failure, MEANINGS))
    }

    async fn answer(&self, service: Service, mut call: Call) -> Result<Json, Failure> {
        let (keystone, kind) = (&self.keystone, service.kind);
        // Catalogues name a service's root: which versions it has is asked before the first call.
        let found = async || {
            let token = self.token.current().await;
            let endpoint = keystone.endpoint(kind, service.version, &self.login, &token);
            endpoint.await
        };
        let endpoint = self.endpoints[service.at].get_or_try_init(found).await?;
        if let Some(wanted) = service.micro {
            if endpoint.newest.is_some_and(|newest| newest < wanted) {
                return Err(Failure::Impossible(TOO_OLD.to_owned()));
            }
            let (major, minor) = wanted;
            call = call.header("openstack-api-version", format!("{kind} {major}.{minor}"));
        }
        let login = async || Ok(keystone.login().await?.token);
        let answer = self
            .token
            .send(&keystone.client, &endpoint.url, &call, login);
        answer.await
    }

    /// What an answer has under this key, as a struct.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        service: Service,
        action: &'static str,
        object: &str,
        call: Call,
        key: &str,
    ) -> Answered<T> {
        let mut answer = self.send(service, action, object, call).await?;
        read(answer[key].take(), action)
    }

    /// All that a question finds, page by page: `"servers"` is the name of the list in the answer.
    ///
    /// # Errors
    /// Those of [`Session::send`]: what is cut short is no answer.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        service: Service,
        action: &'static str,
        object: &str,
        list: &str,
        question: impl Fn() -> Call,
    ) -> Answered<Vec<T>> {
        let page = async |marker: Option<String>| {
            let call = question().query("limit", PAGE).queries("marker", marker);
            let mut answer = self.send(service, action, object, call).await?;
            let links = answer[format!("{list}_links")].take();
            let mut links = links.as_array().into_iter().flatten();
            let is_last = !links.any(|link| link["rel"] == "next");
            let page: Vec<Json> = read(answer[list].take(), action)?;
            let last = page.last().filter(|_| !is_last);
            let last = last.map(|last| last["id"].as_str().unwrap_or_default().to_owned());
            if last.as_ref().is_some_and(String::is_empty) {
                let what = "a page that is not the last one, and ends without an id";
                return Err(CloudError::new(Kind::Unavailable, action, object, what));
            }
            Ok((read(page.into(), action)?, last))
        };
        Pages::new(action, object).all(page).await
    }
}

/// A service that a group needs.
#[derive(Clone, Copy)]
pub(super) struct Service {
    /// As catalogues call it.
    kind: &'static str,
    version: Version,
    /// The microversion that it is asked in.
    micro: Option<Version>,
    /// Its place among [`Session::endpoints`].
    at: usize,
}

pub(super) const GLANCE: Service = service("image", (2, 0), None, 0);
pub(super) const NEUTRON: Service = service("network", (2, 0), None, 1);
/// The first microversion with tags in the create (Pike, 2017).
pub(super) const NOVA: Service = service("compute", (2, 1), Some((2, 52)), 2);
/// With volume types in the create.
pub(super) const NOVA_OF_VOLUME_TYPES: Service = service("compute", (2, 1), Some((2, 67)), 2);

const fn service(
    kind: &'static str,
    version: Version,
    micro: Option<Version>,
    at: usize,
) -> Service {
    Service {
        kind,
        version,
        micro,
        at,
    }
}

/// What refusals mean. Nova says quota with 403, Neutron with 409, and the words tell it from a
/// refusal; they name the attribute, too.
const MEANINGS: &[Meaning] = &[
    Meaning::status(403, "uota exceeded", Kind::Quota),
    Meaning::status(409, "uota exceeded", Kind::Quota),
    Meaning::status(409, "No more IP addresses", Kind::Quota),
    Meaning::status(409, "matches found for name", Kind::BadRequest),
    // Nova knows it for a moment longer.
    Meaning::status(409, "vm_state deleted", Kind::NotFound),
    // It takes no metadata until it is built, which takes longer than most troubles: asked again as
    // often as after throttling.
    Meaning::status(409, "vm_state building", Kind::RateLimit),
    // What has failed takes none for the rest of its life.
    Meaning::status(409, "vm_state error", Kind::BadRequest),
    // A server that is being deleted, say: true for a moment only.
    Meaning::status(409, "", Kind::Unavailable),
    Meaning::status(413, "", Kind::RateLimit),
    Meaning::words("image|Image", "image"),
    Meaning::words("lavor", "openstack.flavor_name"),
    Meaning::words("key_name|eypair", "openstack.key_pair"),
    Meaning::words("ecurity group|ecurity_group", "openstack.security_groups"),
    Meaning::words("vailability zone", "openstack.availability_zones"),
    Meaning::words("xternal network", ATTRIBUTE),
    Meaning::words("etwork|ixed IP", "openstack.networks"),
    Meaning::words("server group|nstance group", "openstack.server_group_id"),
    Meaning::words("user_data|ser data", "user_data"),
    Meaning::words("olume", "openstack.boot_volume"),
];

/// What block storage is called in catalogues begins so: `volumev3`, `block-storage`.
const VOLUMES: [&str; 2] = ["volume", "block-stor"];
/// The services' own limit of a page; a cloud with a smaller one says that there is more.
const PAGE: &str = "1000";
const TOO_OLD: &str =
    "nothing: this cloud's Nova is too old (2.52 is needed, 2.67 for openstack.boot_volume.type)";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex as Blocking};

    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::api::{Client, Settings};
    use crate::http::rest::Effect;

    /// Keystone and Nova in one, on this machine.
    #[derive(Clone, Copy)]
    struct Cloud {
        /// How it answers one login after the other.
        logins: &'static [u16],
        /// Tokens of earlier logins have expired.
        valid_from: usize,
        newest: &'static str,
    }

    type Asked = Arc<Blocking<Vec<String>>>;

    impl Cloud {
        /// A session that has logged in, and what was asked since the beginning.
        async fn session(self) -> (Session, Asked) {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = format!("http://{}", listener.local_addr().unwrap());
            let keystone = Keystone {
                client: Client::new(&Settings::default()).unwrap(),
                url: format!("{at}/v3").parse().unwrap(),
                body: json!({"auth": {}}),
                region: None,
                interface: "public".to_owned(),
                overrides: [].into(),
            };
            let asked = Asked::default();
            let told = Arc::clone(&asked);
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut read = Vec::new();
                    while !read.ends_with(b"\r\n\r\n") {
                        read.push(stream.read_u8().await.unwrap());
                    }
                    let request = String::from_utf8(read).unwrap();
                    let length = request.split("content-length: ").nth(1);
                    let length = length.and_then(|rest| rest.lines().next());
                    let length = length.map_or(0, |length| length.parse().unwrap());
                    stream.read_exact(&mut vec![0; length]).await.unwrap();
                    let answer = self.answer(&at, &request, &told);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
            let login = keystone.login().await.unwrap();
            (Session::new(keystone, login, false), asked)
        }

        fn answer(self, at: &str, request: &str, asked: &Asked) -> String {
            let mut asked = asked.lock().unwrap();
            let call = request.split(" HTTP").next().unwrap_or_default();
            asked.push(call.to_owned());
            let logins = count(&asked, LOGIN);
            let valid = (self.valid_from..).take(9);
            let mut valid = valid.map(|number| format!("x-auth-token: token-{number}\r\n"));
            let catalog = json!([{"type": "compute", "endpoints": [
                {"interface": "admin", "url": "http://127.0.0.1:9/"}, {"interface": "public", "region": "R", "url": format!("{at}/v2.1")}]}]);
            let (status, body) = match call {
                "GET /v3/" => (200, json!({"version": {"id": "v3.14"}})),
                LOGIN => (
                    self.logins[logins - 1],
                    json!({"token": {"project": {"id": "p"}, "catalog": catalog}}),
                ),
                "GET /v2.1/" => (
                    200,
                    json!({"version": {"id": "v2.1", "version": self.newest}}),
                ),
                CREATE if !request.contains("openstack-api-version: compute 2.52") => {
                    (400, json!({"message": "no microversion"}))
                }
                CREATE if valid.any(|header| request.contains(&header)) => (202, json!({})),
                CREATE => (401, json!({"error": {"message": "Expired."}})),
                _ => (404, json!({})),
            };
            let body = body.to_string();
            let length = body.len();
            format!(
                "HTTP/1.1 {status} X\r\nx-subject-token: token-{logins}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        }
    }

    const LOGIN: &str = "POST /v3/auth/tokens";
    const CREATE: &str = "POST /v2.1/servers";

    fn count(asked: &[String], call: &str) -> usize {
        asked.iter().filter(|one| *one == call).count()
    }

    #[tokio::test]
    async fn a_token_that_has_expired_is_renewed_once_for_a_call() {
        let words = |kind, words: &str| Err((kind, words.to_owned()));
        let expired = || words(Kind::Unauthenticated, "401 Expired.");
        let mute = "503 without words that a program can read";
        for (logins, valid_from, creates, expected) in [
            (&[201][..], 1, 1, Ok(json!({}))),
            (&[201, 201], 2, 2, Ok(json!({}))),
            (&[201, 201], 3, 2, expired()),
            (&[201, 403], 3, 1, expired()),
            (&[201, 503], 3, 1, words(Kind::Unavailable, mute)),
        ] {
            let cloud = Cloud {
                logins,
                valid_from,
                newest: "2.95",
            };
            let (session, asked) = cloud.session().await;
            let call = Call::post("servers", json!({}));
            let answer = session.send(NOVA, "Nova POST servers", "w-0", call).await;
            let answer = answer.map_err(|error| (error.kind, error.message));
            assert_eq!(answer, expected, "{logins:?} {valid_from}");
            let asked = asked.lock().unwrap();
            assert_eq!(count(&asked, LOGIN), logins.len(), "{asked:?}");
            assert_eq!(count(&asked, CREATE), creates, "{asked:?}");
        }
    }

    #[tokio::test]
    async fn calls_that_meet_an_expired_token_together_log_in_once() {
        let cloud = Cloud {
            logins: &[201, 201],
            valid_from: 2,
            newest: "2.95",
        };
        let (session, asked) = cloud.session().await;
        let calls = ["w-0", "w-1", "w-2"].map(|name| {
            let call = Call::post("servers", json!({}));
            session.send(NOVA, "Nova POST servers", name, call)
        });
        for answer in futures::future::join_all(calls).await {
            answer.unwrap();
        }
        assert_eq!(count(&asked.lock().unwrap(), LOGIN), 2);
        assert_eq!(session.scope().as_deref(), Some("R/p"));
    }

    #[tokio::test]
    async fn a_cloud_that_is_too_old_or_lacks_a_service_is_not_asked() {
        let cloud = Cloud {
            logins: &[201],
            valid_from: 1,
            newest: "2.51",
        };
        let (session, asked) = cloud.session().await;
        for (service, words) in [
            (NOVA, "too old"),
            (NEUTRON, "no such service in this region"),
        ] {
            let call = Call::post("servers", json!({}));
            let error = session.send(service, "test", "x", call).await.unwrap_err();
            assert_eq!(error.kind, Kind::BadRequest);
            assert!(error.message.contains(words), "{error}");
        }
        assert_eq!(count(&asked.lock().unwrap(), CREATE), 0);
    }

    /// What a refusal comes to.
    fn refused(status: u16, words: &str, creates: bool) -> CloudError {
        let failure = Failure::Refused {
            status,
            words: words.to_owned(),
            retry_after: None,
        };
        let effect = match creates {
            true => Effect::Creates,
            false => Effect::Reads,
        };
        CloudError::unanswered("test", "x", effect, failure, MEANINGS)
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
            let error = refused(status, words, creates);
            assert_eq!(error.kind, kind, "{status} {words}");
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
            assert_eq!(refused(400, words, true).attribute, attribute, "{words}");
        }
    }
}
