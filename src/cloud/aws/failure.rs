//! What a call that failed means: a kind from the error code, the attribute to blame, and EC2's own words.
//!
//! In: `400 InvalidSubnetID.NotFound`. Out: a bad request, blamed on `aws.subnet_ids`. See: EC2 API reference, 2016-11-15, "Error codes".

use std::time::SystemTime;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use super::bounded::TooLong;
use crate::http::wait;
use crate::worker_group::cloud::{CloudError, Kind};

/// What a call's failure means. Of a call that changes something, see [`is_ambiguous`] too.
pub(super) fn fault<E: ProvideErrorMetadata + std::error::Error + 'static>(
    action: &'static str,
    object: &str,
    error: &SdkError<E>,
) -> CloudError {
    let response = error.raw_response();
    let status = response.map(|response| response.status().as_u16());
    let (kind, attribute) = match (error.code(), status) {
        (Some(code), _) => kind_of(code, error.message().unwrap_or_default(), status),
        (None, Some(status)) if status >= 400 => (kind_of_status(status), None),
        _ if lacks_credentials(error) => (Kind::Unauthenticated, None),
        // It will be as long the next time.
        _ if is_too_long(error) => (Kind::BadRequest, None),
        _ => (Kind::Unavailable, None),
    };
    CloudError {
        action,
        object: object.to_owned(),
        kind,
        message: words(error, status),
        attribute,
        retry_after: response
            .and_then(|response| response.headers().get("retry-after"))
            .and_then(|asked| wait::asked(asked, SystemTime::now())),
    }
}

/// Whether a call may have been carried out although it failed: anything after the request may have left.
pub(super) fn is_ambiguous<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E>,
) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => {
            !(lacks_credentials(error)
                || causes(error).any(|cause| {
                    cause
                        .downcast_ref::<std::io::Error>()
                        .is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
                })
                || failure.is_user())
        }
        // EC2 answers 500 for want of capacity too, which is a clear no.
        SdkError::ServiceError(failure) => {
            failure.raw().status().as_u16() == 500
                && error
                    .code()
                    .is_none_or(|code| kind_of(code, "", Some(500)).0 == Kind::Unavailable)
        }
        _ => true,
    }
}

/// `400 InvalidSubnetID.NotFound: The subnet ID 'subnet-1' does not exist`, or what stood in the way of an answer.
fn words<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E>,
    status: Option<u16>,
) -> String {
    if let Some(told) = told(error.code(), error.message(), status) {
        return told;
    }
    // Nothing was sent. The SDK's own words hold the whole request, and that the user data.
    if matches!(error, SdkError::ConstructionFailure(_)) && !lacks_credentials(error) {
        return "no request could be made of it; check aws.endpoint and aws.region of the provider block, AWS_ENDPOINT_URL and the profile"
            .to_owned();
    }
    let mut said: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if LAYERS.contains(&text.as_str()) || text.starts_with(WITH_REQUEST) {
            continue;
        }
        if !said.last().is_some_and(|last| last.contains(&text)) {
            said.push(text);
        }
    }
    let advice = if lacks_credentials(error) {
        "; set aws.profile or aws.access_key of the provider block, or AWS_PROFILE"
    } else {
        ""
    };
    let answer = match status {
        Some(_) => prefix(status),
        None => "nothing: ".to_owned(),
    };
    format!("{answer}{}{advice}", said.join(": "))
}

/// Words of the SDK's own layers, which say nothing to a user.
const LAYERS: [&str; 4] = [
    "dispatch failure",
    "io error",
    "other",
    "client error (Connect)",
];

/// How the SDK begins when it prints a request, body and all.
const WITH_REQUEST: &str = "failed to apply endpoint";

/// What EC2 said, if it did.
pub(super) fn told(
    code: Option<&str>,
    message: Option<&str>,
    status: Option<u16>,
) -> Option<String> {
    // The rest is of use to administrators only, and a kilobyte long.
    let message = message
        .unwrap_or("no message")
        .split("Encoded authorization failure message")
        .next()
        .unwrap_or_default();
    let message = message.trim_end_matches([' ', '.']);
    Some(format!("{}{}: {message}", prefix(status), code?))
}

fn prefix(status: Option<u16>) -> String {
    status
        .map(|status| format!("{status} "))
        .unwrap_or_default()
}

fn lacks_credentials<E: std::error::Error + 'static>(error: &SdkError<E>) -> bool {
    causes(error).any(|cause| cause.is::<aws_credential_types::provider::error::CredentialsError>())
}

pub(super) fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<TooLong>())
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// By the code; the message decides on the blame where the code says only that some parameter is wrong.
pub(super) fn kind_of(
    code: &str,
    message: &str,
    status: Option<u16>,
) -> (Kind, Option<&'static str>) {
    if let Some((_, kind, attribute)) = CODES.iter().find(|(known, _, _)| matches(known, code)) {
        let attribute = attribute.or_else(|| {
            PARAMETERS
                .iter()
                .find(|(parameter, _)| message.contains(parameter))
                .map(|(_, attribute)| *attribute)
        });
        return (*kind, attribute);
    }
    (kind_of_status(status.unwrap_or(400)), None)
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        401 => Kind::Unauthenticated,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        429 => Kind::RateLimit,
        400..=499 => Kind::BadRequest,
        _ => Kind::Unavailable,
    }
}

fn matches(known: &str, code: &str) -> bool {
    match (known.strip_prefix('*'), known.strip_suffix('*')) {
        (Some(end), _) => code.ends_with(end),
        (None, Some(start)) => code.starts_with(start),
        (None, None) => code == known,
    }
}

/// Whether another subnet may have what this one has not.
pub(super) fn is_local_shortage(code: Option<&str>) -> bool {
    code.is_some_and(|code| SHORTAGES.contains(&code))
}

/// Whether it is a shortage of this minute, which a dry run is no proof of.
pub(super) fn is_capacity(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("Insufficient"))
}

const SHORTAGES: [&str; 5] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    // An instance type that this zone does not have.
    "Unsupported",
];

/// Error codes, the first that matches: what they mean, and the attribute to blame. `*` at one end stands for anything.
const CODES: &[(&str, Kind, Option<&str>)] = &[
    ("RequestLimitExceeded", Kind::RateLimit, None),
    ("Throttling*", Kind::RateLimit, None),
    ("TooManyRequestsException", Kind::RateLimit, None),
    ("EC2ThrottledException", Kind::RateLimit, None),
    (
        "InsufficientFreeAddressesInSubnet",
        Kind::Quota,
        Some("aws.subnet_ids"),
    ),
    ("Insufficient*", Kind::Quota, Some("aws.instance_type")),
    ("InstanceLimitExceeded", Kind::Quota, None),
    ("VcpuLimitExceeded", Kind::Quota, None),
    (
        "MaxSpotInstanceCountExceeded",
        Kind::Quota,
        Some("aws.spot"),
    ),
    (
        "SpotMaxPriceTooLow",
        Kind::Quota,
        Some("aws.spot.max_price"),
    ),
    ("*LimitExceeded", Kind::Quota, None),
    ("TooMany*", Kind::Quota, Some("aws.target_group_arns")),
    ("UnauthorizedOperation", Kind::Forbidden, None),
    ("OperationNotPermitted", Kind::Forbidden, None),
    ("OptInRequired", Kind::Forbidden, Some("image")),
    ("AccessDenied*", Kind::Forbidden, None),
    ("Blocked", Kind::Forbidden, None),
    ("PendingVerification", Kind::Forbidden, None),
    ("AuthFailure", Kind::Unauthenticated, None),
    ("InvalidClientTokenId", Kind::Unauthenticated, None),
    ("InvalidAccessKeyId", Kind::Unauthenticated, None),
    ("UnrecognizedClientException", Kind::Unauthenticated, None),
    ("MissingAuthenticationToken", Kind::Unauthenticated, None),
    ("IncompleteSignature", Kind::Unauthenticated, None),
    ("SignatureDoesNotMatch", Kind::Unauthenticated, None),
    ("RequestExpired", Kind::Unauthenticated, None),
    ("ExpiredToken*", Kind::Unauthenticated, None),
    ("IdempotentParameterMismatch", Kind::AlreadyExists, None),
    ("InvalidInstanceID.NotFound", Kind::NotFound, None),
    ("InvalidAMIID.*", Kind::BadRequest, Some("image")),
    ("InvalidAMIName.*", Kind::BadRequest, Some("image")),
    ("InvalidSubnet*", Kind::BadRequest, Some("aws.subnet_ids")),
    (
        "VPCIdNotSpecified",
        Kind::BadRequest,
        Some("aws.subnet_ids"),
    ),
    ("MissingInput", Kind::BadRequest, Some("aws.subnet_ids")),
    (
        "InvalidGroup.*",
        Kind::BadRequest,
        Some("aws.vpc_security_group_ids"),
    ),
    (
        "InvalidSecurityGroup*",
        Kind::BadRequest,
        Some("aws.vpc_security_group_ids"),
    ),
    ("InvalidKeyPair.*", Kind::BadRequest, Some("aws.key_name")),
    (
        "InvalidInstanceType*",
        Kind::BadRequest,
        Some("aws.instance_type"),
    ),
    ("Unsupported", Kind::BadRequest, Some("aws.instance_type")),
    (
        "InvalidPlacementGroup.*",
        Kind::BadRequest,
        Some("aws.placement_group"),
    ),
    (
        "InvalidCapacityReservation*",
        Kind::BadRequest,
        Some("aws.capacity_reservation_id"),
    ),
    ("InvalidTenancy", Kind::BadRequest, Some("aws.tenancy")),
    (
        "InvalidSnapshot*",
        Kind::BadRequest,
        Some("aws.data_volumes"),
    ),
    (
        "InvalidBlockDeviceMapping",
        Kind::BadRequest,
        Some("aws.root_volume"),
    ),
    (
        "InvalidKMSKey*",
        Kind::BadRequest,
        Some("aws.root_volume.kms_key_id"),
    ),
    ("InvalidUserData*", Kind::BadRequest, Some("user_data")),
    (
        "TargetGroupNotFound",
        Kind::BadRequest,
        Some("aws.target_group_arns"),
    ),
    (
        "InvalidTarget",
        Kind::BadRequest,
        Some("aws.target_group_arns"),
    ),
    ("Invalid*", Kind::BadRequest, None),
    ("Missing*", Kind::BadRequest, None),
    ("InternalError", Kind::Unavailable, None),
    ("InternalFailure", Kind::Unavailable, None),
    ("Unavailable", Kind::Unavailable, None),
    ("ServiceUnavailable", Kind::Unavailable, None),
];

/// Where the code says only that a parameter is wrong: EC2's word for it in the message. It decides on the blame, never on the kind.
const PARAMETERS: &[(&str, &str)] = &[
    ("iamInstanceProfile", "aws.iam_instance_profile"),
    ("User data", "user_data"),
    ("userData", "user_data"),
    ("iops", "aws.root_volume.iops"),
    ("throughput", "aws.root_volume.throughput"),
    ("volumeSize", "aws.root_volume.size"),
    ("cpuCredits", "aws.cpu_credits"),
];
