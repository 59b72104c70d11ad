//! What refusals of Resource Manager mean.
//!
//! In: an answer, `{"error": {"code": "SkuNotAvailable", "message", "details": [...]}}`. Out: a
//! [`CloudError`] of the innermost code, and of the attribute to blame. See: Azure Resource
//! Manager, "Common deployment errors".

use serde_json::Value as Json;

use crate::http::api::Answer;
use crate::http::rest::{Effect, Failure};
use crate::http::wait;
use crate::worker_group::cloud::{Answered, CloudError, Kind, Meaning};

/// An answer that is none of the two hundreds.
pub(super) fn refused(
    action: &'static str,
    object: &str,
    effect: Effect,
    answer: &Answer,
) -> CloudError {
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
    // A gateway's own 404 says nothing of what exists; nor does Azure's, of a subscription that
    // these credentials do not see.
    let kind = match kind {
        Kind::NotFound if code == "SubscriptionNotFound" => Kind::BadRequest,
        Kind::NotFound if !code.ends_with("NotFound") => Kind::Unavailable,
        kind => kind,
    };
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

/// What is in a resource group that does not exist does not exist.
pub(super) fn missing_group<T>(answer: Answered<T>) -> Answered<T> {
    answer.map_err(|error| match error.code() {
        "ResourceGroupNotFound" => error.being(Kind::NotFound),
        _ => error,
    })
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
        "TooManyRequests RetryableError* AnotherOperationInProgress *RequestsThrottled ConflictingConcurrentWriteNotAllowed OperationNotAllowedDueToAnotherOperation",
    ),
    Meaning::codes(Kind::Unavailable, "PreconditionFailed Conflict ConcurrentUpdate* OperationPreempted NicInUse ServerTimeout"),
    Meaning::codes(Kind::BadRequest, "ResourceGroupNotFound").blaming("azure.resource_group_name"),
    Meaning::codes(Kind::BadRequest, "VMMarketplaceInvalidInput Marketplace* ResourcePurchase*").blaming("azure.plan"),
    Meaning::codes(Kind::BadRequest, "PlatformImageNotFound ImageNotFound GalleryImage* ImageVersion* CommunityGallery* SharedGallery*").blaming("image"),
    Meaning::codes(Kind::BadRequest, "*AvailabilityZone*").blaming("azure.zones"),
    Meaning::codes(Kind::BadRequest, "InvalidResourceLocation LocationNotAvailable* NoRegisteredProvider* LocationRequired").blaming("azure.location"),
    Meaning::codes(Kind::BadRequest, "Invalid* *NotSupported* *Reference* *NotAllowed OperationNotAllowed LinkedInvalidPropertyId BadRequest"),
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

const MUTE: &str = "without words that a program can read";
const MESSAGE_CHARS: usize = 1_000;
const MOST_DEPTH: usize = 8;

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
