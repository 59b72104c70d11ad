//! Resource Manager as we use it: one login, calls, pages, long-running operations, and what
//! refusals mean.
//!
//! In: `Call::get(".../virtualMachines").query("api-version", COMPUTE)`. Out: the answer's JSON, or
//! a [`CloudError`] of the innermost code. See: Azure Resource Manager, "Track asynchronous
//! operations", "Common deployment errors"; Compute 2024-11-01, Network 2024-05-01.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use super::auth::Login;
use super::settings::Config;
use crate::http::api::{Answer, Call, Client, Settings as Http};
use crate::http::rest::{Effect, Failure};
use crate::http::token::Token;
use crate::http::wait;
use crate::protocol::visible::without_values;
use crate::provider::{Diagnostic, Diagnostics};
use crate::worker_group::cloud::{
    Answered, CloudError, Kind, Meaning, Pages, authority, logged_in,
};

/// One login for all groups of a provider.
pub(super) struct Session {
    client: Client,
    manager: Url,
    login: Login,
    token: Token,
    pub(super) subscription: String,
}

/// What was answered, and where the operation that it began is followed.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) json: Json,
    operation: Option<Url>,
    pause: Duration,
}

impl Session {
    /// Logs in, by the attribute `azure` of the provider block.
    ///
    /// # Errors
    /// What is missing or refused, with the attribute or variable that would set it.
    pub(super) async fn open(config: Config) -> Result<Self, Diagnostics> {
        let config = config.whole();
        let (manager, entra, audience) = config.places()?;
        let login = Login::of(&config, entra.clone(), audience)?;
        let mut http = Http::default();
        if let Some(file) = &config.ca_file {
            let summary = "Could not read the certificate authority";
            http.extra_roots = authority(file, summary, "azure.ca_file of the provider block")?;
        }
        let client = Client::new(&http).map_err(|why| {
            Diagnostic::error("Could not set up TLS for Azure", format!("{why}."))
        })?;
        let passing = |failure: &Failure| {
            failure
                .is_passing()
                .then(|| without_values(&failure.to_string()))
        };
        let entered = logged_in("Entra ID POST token", || login.enter(&client), passing).await;
        let entered = entered.map_err(|failure| {
            let words = without_values(&failure.to_string());
            let detail = format!("Entra ID at {entra} answered: {words}. {}", login.check());
            Diagnostic::error("Could not log in to Azure", detail)
        })?;
        let subscription = config.subscription_id.or(entered.subscription).ok_or_else(|| {
            let detail = "There is no subscription, and the Azure CLI is set to none. Set azure.subscription_id or ARM_SUBSCRIPTION_ID.";
            Diagnostic::error("Azure is not configured", detail)
        })?;
        Ok(Self {
            client,
            manager,
            login,
            token: Token::new("authorization", entered.token),
            subscription,
        })
    }

    /// Sends a call. `action` is the API's word (`"Azure PUT virtualMachines"`), `object` what it
    /// is about.
    ///
    /// # Errors
    /// As [`MEANINGS`] say; a create whose answer was lost is ambiguous.
    pub(super) async fn ask(
        &self,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Reply> {
        self.ask_at(&self.manager, action, object, call).await
    }

    /// The same, of which the JSON is all.
    pub(super) async fn send(
        &self,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Json> {
        Ok(self.ask(action, object, call).await?.json)
    }

    async fn ask_at(
        &self,
        base: &Url,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Reply> {
        let effect = call.effect;
        let unanswered = |failure| CloudError::unanswered(action, object, effect, failure, &[]);
        let login = async || self.login.enter(&self.client).await;
        let answer = self
            .token
            .ask(&self.client, base, &call, login)
            .await
            .map_err(unanswered)?;
        if !(200..300).contains(&answer.status) {
            return Err(refused(action, object, effect, &answer));
        }
        let link = |name| answer.header(name).and_then(|link| self.own(link));
        Ok(Reply {
            status: answer.status,
            json: answer.json().map_err(unanswered)?,
            operation: link("azure-asyncoperation").or_else(|| link("location")),
            pause: asked_to_wait(&answer).unwrap_or(PAUSE),
        })
    }

    /// A link that an answer names, where it leads to who has answered: the token goes nowhere
    /// else.
    fn own(&self, link: &str) -> Option<Url> {
        let link: Url = link.parse().ok()?;
        // A region's own front end answers, too.
        let of_region = format!(".{}", self.manager.host_str()?);
        let is_of_region = link.scheme() == "https" && link.host_str()?.ends_with(&of_region);
        (link.origin() == self.manager.origin() || is_of_region).then_some(link)
    }

    /// All that a question finds, page by page.
    ///
    /// # Errors
    /// Those of [`Session::ask`]: what is cut short is no answer.
    pub(super) async fn all(
        &self,
        action: &'static str,
        object: &str,
        question: Call,
    ) -> Answered<Vec<Json>> {
        let page = async |next: Option<String>| {
            let reply = match next {
                None => self.ask(action, object, question.clone()).await?,
                Some(next) => {
                    let strange = || {
                        CloudError::new(
                            Kind::Unavailable,
                            action,
                            object,
                            "a next page that is somewhere else",
                        )
                    };
                    let next = self.own(&next).ok_or_else(strange)?;
                    self.ask_at(&next, action, object, Call::get("")).await?
                }
            };
            let mut json = reply.json;
            let next = json["nextLink"].as_str().map(str::to_owned);
            match json["value"].take() {
                Json::Array(found) => Ok((found, next)),
                _ => Err(CloudError::new(
                    Kind::Unavailable,
                    action,
                    object,
                    "something unexpected: no list",
                )),
            }
        };
        Pages::new(action, object).all(page).await
    }

    /// Waits for the end of what a call has begun.
    ///
    /// # Errors
    /// It failed; or it takes longer than one question may, and nothing is known.
    pub(super) async fn finished(
        &self,
        action: &'static str,
        object: &str,
        reply: &Reply,
    ) -> Answered<()> {
        let is_over = |state: &Json| matches!(state.as_str(), None | Some("Succeeded"));
        let Some(link) = reply.operation.as_ref().filter(|_| {
            reply.json.is_null() || !is_over(&reply.json["properties"]["provisioningState"])
        }) else {
            return Ok(());
        };
        let (until, mut pause) = (Instant::now() + PATIENCE, reply.pause);
        while Instant::now() + pause < until {
            sleep(pause).await;
            let reply = self.ask_at(link, action, object, Call::get("")).await?;
            pause = reply.pause;
            match reply.json["status"].as_str() {
                Some("Failed" | "Canceled") => {
                    return Err(of_fault(action, object, Effect::Repeats, 409, &reply.json));
                }
                // A `Location` answers 202 until it is over, and then nothing, or what it is about.
                Some("Succeeded") => return Ok(()),
                None if reply.operation.is_none() => return Ok(()),
                _ => {}
            }
        }
        Err(CloudError::new(
            Kind::Unavailable,
            action,
            object,
            "that it is still going on",
        ))
    }

    /// What is at an address that Resource Manager has named, and where our token is not to go; the
    /// address is a secret.
    pub(super) async fn read_signed(&self, address: &str) -> Option<Vec<u8>> {
        let url = super::settings::safe(address, "it").ok()?;
        let answer = self.client.send(&url, &Call::get("")).await.ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

fn asked_to_wait(answer: &Answer) -> Option<Duration> {
    let asked = wait::asked(answer.header("retry-after")?, std::time::SystemTime::now())?;
    Some(asked.clamp(SHORTEST, LONGEST))
}

fn refused(action: &'static str, object: &str, effect: Effect, answer: &Answer) -> CloudError {
    let said: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let after = answer.header("retry-after");
    CloudError {
        retry_after: after.and_then(|after| wait::asked(after, std::time::SystemTime::now())),
        ..of_fault(action, object, effect, answer.status, &said)
    }
}

/// What a fault in Resource Manager's form means: `{"error": {"code", "message", "details":
/// [...]}}`.
pub(super) fn of_fault(
    action: &'static str,
    object: &str,
    effect: Effect,
    status: u16,
    said: &Json,
) -> CloudError {
    let (code, message) = innermost(&said["error"]);
    let message = message.trim_end_matches('.');
    let words = match code {
        "" => MUTE.to_owned(),
        code => format!(
            "{code}: {}",
            message.chars().take(MESSAGE_CHARS).collect::<String>()
        ),
    };
    let (kind, attribute) = Meaning::find(MEANINGS, Some(status), code, message);
    let failure = Failure::Refused {
        status,
        words,
        retry_after: None,
    };
    let error = CloudError::unanswered(action, object, effect, failure, &[]);
    // A server error may come after the work was done.
    let kind = if status >= 500 {
        kind.after(effect)
    } else {
        kind
    };
    let is_of_request = matches!(kind, Kind::BadRequest | Kind::NotFound);
    CloudError {
        kind,
        attribute: attribute.filter(|_| is_of_request),
        ..error
    }
    .caused_by(code, None)
}

/// The code of the first detail of the first detail: what is outside only says that something
/// failed.
fn innermost(error: &Json) -> (&str, &str) {
    let mut error = error;
    for _ in 0..MOST_DEPTH {
        match error["details"]
            .as_array()
            .and_then(|details| details.iter().find(|one| one["code"].is_string()))
        {
            Some(detail) => error = detail,
            None => break,
        }
    }
    (
        error["code"].as_str().unwrap_or_default(),
        error["message"].as_str().unwrap_or_default(),
    )
}

/// What codes mean. Quotas of cores are told with the code `OperationNotAllowed`, and the words
/// tell them.
const MEANINGS: &[Meaning] = &[
    Meaning::status(409, "pproved", Kind::Quota),
    Meaning::status(409, "uota", Kind::Quota),
    Meaning::codes(
        Kind::Quota,
        "*QuotaExceeded *CountLimitReached *AllocationFailed SkuNotAvailable OverconstrainedAllocationRequest OverconstrainedZonalAllocationRequest \
         SubnetIsFull CapacityReservation* SpotQuotaExceeded",
    ),
    Meaning::codes(
        Kind::RateLimit,
        "TooManyRequests RetryableError* AnotherOperationInProgress *RequestsThrottled Conflict*Write* OperationNotAllowedDueToAnotherOperation",
    ),
    Meaning::codes(Kind::Unavailable, "PreconditionFailed Conflict ConcurrentUpdate* OperationPreempted NicInUse ServerTimeout"),
    Meaning::codes(Kind::BadRequest, "ResourceGroupNotFound").blaming("azure.resource_group_name"),
    Meaning::codes(Kind::BadRequest, "VMMarketplaceInvalidInput Marketplace* ResourcePurchase*").blaming("azure.plan"),
    Meaning::codes(Kind::BadRequest, "PlatformImageNotFound ImageNotFound GalleryImage* ImageVersion* CommunityGallery* SharedGallery*").blaming("image"),
    Meaning::codes(Kind::BadRequest, "*AvailabilityZone*").blaming("azure.zones"),
    Meaning::codes(Kind::BadRequest, "InvalidResourceLocation LocationNotAvailable* NoRegisteredProvider* LocationRequired").blaming("azure.location"),
    Meaning::codes(Kind::BadRequest, "Invalid* *NotSupported* *Reference* *NotAllowed OperationNotAllowed Linked*Property* BadRequest"),
    Meaning::words("subnets", "azure.subnet_id"),
    Meaning::words("networkSecurityGroups", "azure.network_security_group_id"),
    Meaning::words("applicationSecurityGroups", "azure.application_security_group_ids"),
    Meaning::words("backendAddressPools|loadBalancers", super::shape::POOLS_ATTRIBUTE),
    Meaning::words("proximityPlacementGroups", "azure.proximity_placement_group_id"),
    Meaning::words("capacityReservationGroups", "azure.capacity_reservation_group_id"),
    Meaning::words("diskEncryptionSets", "azure.os_disk"),
    Meaning::words("userAssignedIdentities", "azure.identity"),
    Meaning::words("vmSize|VM size|vm size", "azure.vm_size"),
    Meaning::words("User data|Custom data|userData|customData", "user_data"),
    Meaning::words("imageReference", "image"),
];

/// Versions of the APIs.
pub(super) const COMPUTE: &str = "2024-11-01";
pub(super) const DISKS: &str = "2024-03-02";
pub(super) const GALLERIES: &str = "2024-03-03";
pub(super) const NETWORK: &str = "2024-05-01";
pub(super) const RESOURCES: &str = "2024-03-01";
pub(super) const SKUS: &str = "2021-07-01";
pub(super) const MARKETPLACE: &str = "2021-01-01";

const MUTE: &str = "without words that a program can read";
const MESSAGE_CHARS: usize = 1_000;
const MOST_DEPTH: usize = 8;
const PAUSE: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(15);
/// Less than the engine waits for an answer.
const PATIENCE: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_innermost_code_is_the_cause_and_words_say_whom_to_blame() {
        let quota = "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota. Current Limit: 10, \
                     Current Usage: 10, Additional Required: 2";
        for (status, code, message, creates, kind, attribute) in [
            (409, "OperationNotAllowed", quota, true, Kind::Quota, None),
            (409, "QuotaExceeded", "x", true, Kind::Quota, None),
            (409, "SkuNotAvailable", "x", true, Kind::Quota, None),
            (409, "ZonalAllocationFailed", "x", true, Kind::Quota, None),
            (
                400,
                "PublicIPCountLimitReached",
                "x",
                true,
                Kind::Quota,
                None,
            ),
            (
                429,
                "RetryableErrorDueToAnotherOperation",
                "x",
                true,
                Kind::RateLimit,
                None,
            ),
            (
                409,
                "RetryableErrorDueToAnotherOperation",
                "x",
                true,
                Kind::RateLimit,
                None,
            ),
            (429, "", "", true, Kind::RateLimit, None),
            (
                412,
                "PreconditionFailed",
                "x",
                false,
                Kind::Unavailable,
                None,
            ),
            (
                401,
                "ExpiredAuthenticationToken",
                "x",
                true,
                Kind::Unauthenticated,
                None,
            ),
            (403, "AuthorizationFailed", "x", true, Kind::Forbidden, None),
            (404, "ResourceNotFound", "x", false, Kind::NotFound, None),
            (
                404,
                "PlatformImageNotFound",
                "x",
                true,
                Kind::BadRequest,
                Some("image"),
            ),
            (
                404,
                "ResourceGroupNotFound",
                "x",
                true,
                Kind::BadRequest,
                Some("azure.resource_group_name"),
            ),
            (
                400,
                "InvalidResourceReference",
                "Resource /a/subnets/b referenced by",
                true,
                Kind::BadRequest,
                Some("azure.subnet_id"),
            ),
            (
                400,
                "InvalidParameter",
                "The value provided for the VM size is not valid",
                true,
                Kind::BadRequest,
                Some("azure.vm_size"),
            ),
            (500, "InternalServerError", "x", true, Kind::Ambiguous, None),
            (503, "", "", false, Kind::Unavailable, None),
        ] {
            let inner = json!({"code": code, "message": message});
            let effect = if creates {
                Effect::Creates
            } else {
                Effect::Repeats
            };
            for said in [
                json!({"error": inner}),
                json!({"error": {"code": "DeploymentFailed", "message": "At least one", "details": [{"code": "Conflict", "message": "", "details": [inner]}]}}),
            ] {
                if code.is_empty() && said["error"]["details"].is_array() {
                    continue;
                }
                let error = of_fault("test", "x", effect, status, &said);
                assert_eq!(
                    (error.kind, error.attribute),
                    (kind, attribute),
                    "{status} {said}"
                );
                assert!(code.is_empty() || error.message.contains(code), "{error}");
            }
        }
    }
}
