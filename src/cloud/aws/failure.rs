//! What a failed call means: its kind, the attribute to blame, and EC2's own words.
//!
//! In: `400 InvalidSubnetID.NotFound`. Out: a bad request, blamed on `aws.subnet_ids`.
//! See: EC2 API reference, 2016-11-15, "Error codes".

use std::error::Error;
use std::future::Future;
use std::time::SystemTime;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use super::bounded::TooLong;
use crate::http::{MOST_BYTES, wait};
use crate::worker_group::cloud::{Answered, CloudError, Kind, Meaning};

/// The answer to a call, or what its failure means.
pub(super) async fn asked<T, E>(
    action: &'static str,
    object: &str,
    call: impl Future<Output = Result<T, SdkError<E>>>,
) -> Answered<T>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    call.await.map_err(|error| fault(action, object, error))
}

/// What a call's failure means. Of one that makes something, see [`fault_of_create`].
pub(super) fn fault<E>(action: &'static str, object: &str, error: SdkError<E>) -> CloudError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let response = error.raw_response();
    let status = response.map(|response| response.status().as_u16());
    let words_of_it = error.message().unwrap_or_default();
    let (kind, attribute) = match (error.code(), status) {
        (Some(code), _) => Meaning::find(CODES, status, code, words_of_it),
        (None, Some(status)) if status >= 400 => (Kind::of_status(status), None),
        _ if lacks_credentials(&error) => (Kind::Unauthenticated, None),
        // It will be as long the next time.
        _ if is_too_long(&error) => (Kind::BadRequest, None),
        _ => (Kind::Unavailable, None),
    };
    let retry_after = response.and_then(|response| response.headers().get("retry-after"));
    let told = CloudError {
        attribute,
        retry_after: retry_after.and_then(|asked| wait::asked(asked, SystemTime::now())),
        ..CloudError::new(kind, action, object, words(&error, status))
    };
    let code = error.code().unwrap_or_default().to_owned();
    let source = match error {
        // It holds the whole request.
        SdkError::ConstructionFailure(_) => None,
        error => error.into_source().ok(),
    };
    told.caused_by(&code, source)
}

/// The same of a call that may have been carried out although it failed: anything after the request
/// may have left is ambiguous.
pub(super) fn fault_of_create<E>(
    action: &'static str,
    object: &str,
    error: SdkError<E>,
) -> CloudError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let is_sent = match &error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::DispatchFailure(failure) => {
            let is_refused = |cause: &(dyn Error + 'static)| {
                let cause = cause.downcast_ref::<std::io::Error>();
                cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
            };
            !(lacks_credentials(&error) || causes(&error).any(is_refused) || failure.is_user())
        }
        SdkError::ServiceError(failure) => failure.raw().status().as_u16() == 500,
        _ => true,
    };
    let is_answer = matches!(error, SdkError::ServiceError(_));
    let told = fault(action, object, error);
    // EC2 answers 500 for want of capacity too, which is a clear no.
    match is_sent && (!is_answer || told.code().is_empty() || told.kind == Kind::Unavailable) {
        true => told.being(Kind::Ambiguous),
        false => told,
    }
}

/// `400 InvalidSubnetID.NotFound: The subnet ID ...`, or what stood in the way of an answer.
fn words<E: ProvideErrorMetadata + Error + 'static>(
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
        let text = match cause.is::<TooLong>() {
            true => format!("an answer of more than {MOST_BYTES} bytes"),
            false => cause.to_string(),
        };
        if LAYERS.contains(&text.as_str()) || text.starts_with(WITH_REQUEST) {
            continue;
        }
        if !said.last().is_some_and(|last| last.contains(&text)) {
            said.push(text);
        }
    }
    let advice = match lacks_credentials(error) {
        true => "; set aws.profile or aws.access_key of the provider block, or AWS_PROFILE",
        false => "",
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
    let message = message.unwrap_or("no message");
    let message = message
        .split("Encoded authorization failure message")
        .next()?;
    let message = message.trim_end_matches([' ', '.']);
    Some(format!("{}{}: {message}", prefix(status), code?))
}

fn prefix(status: Option<u16>) -> String {
    status.map_or_else(String::new, |status| format!("{status} "))
}

fn lacks_credentials<E: Error + 'static>(error: &SdkError<E>) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

pub(super) fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<TooLong>())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Whether another subnet may have what this one has not.
pub(super) fn is_local_shortage(error: &CloudError) -> bool {
    SHORTAGES.contains(&error.code())
}

/// Whether it is a shortage of this minute, which a dry run is no proof of.
pub(super) fn is_capacity(error: &CloudError) -> bool {
    error.code().starts_with("Insufficient")
}

const SHORTAGES: [&str; 5] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    // An instance type that this zone does not have.
    "Unsupported",
];

const fn quota(codes: &'static str, attribute: &'static str) -> Meaning {
    Meaning::codes(Kind::Quota, codes).blaming(attribute)
}

const fn bad(codes: &'static str, attribute: &'static str) -> Meaning {
    Meaning::codes(Kind::BadRequest, codes).blaming(attribute)
}

/// Error codes, the first that matches: what they mean, and the attribute to blame. Where the code
/// says only that a parameter is wrong, EC2's word for it in the message decides on the blame.
pub(super) const CODES: &[Meaning] = &[
    Meaning::codes(
        Kind::RateLimit,
        "RequestLimitExceeded Throttling* TooManyRequestsException EC2ThrottledException",
    ),
    quota("InsufficientFreeAddressesInSubnet", "aws.subnet_ids"),
    quota("Insufficient*", "aws.instance_type"),
    quota("MaxSpotInstanceCountExceeded", "aws.spot"),
    quota("SpotMaxPriceTooLow", "aws.spot.max_price"),
    Meaning::codes(Kind::Quota, "*LimitExceeded"),
    quota("TooMany*", "aws.target_group_arns"),
    Meaning::codes(
        Kind::Forbidden,
        "UnauthorizedOperation OperationNotPermitted AccessDenied* Blocked PendingVerification",
    ),
    Meaning::codes(Kind::Forbidden, "OptInRequired").blaming("image"),
    Meaning::codes(
        Kind::Unauthenticated,
        "AuthFailure InvalidClientTokenId InvalidAccessKeyId UnrecognizedClientException MissingAuthenticationToken",
    ),
    Meaning::codes(
        Kind::Unauthenticated,
        "IncompleteSignature SignatureDoesNotMatch RequestExpired ExpiredToken*",
    ),
    Meaning::codes(Kind::AlreadyExists, "IdempotentParameterMismatch"),
    Meaning::codes(Kind::NotFound, "InvalidInstanceID.NotFound"),
    bad("InvalidAMIID.* InvalidAMIName.*", "image"),
    bad(
        "InvalidSubnet* VPCIdNotSpecified MissingInput",
        "aws.subnet_ids",
    ),
    bad(
        "InvalidGroup.* InvalidSecurityGroup*",
        "aws.vpc_security_group_ids",
    ),
    bad("InvalidKeyPair.*", "aws.key_name"),
    bad("InvalidInstanceType* Unsupported", "aws.instance_type"),
    bad("InvalidPlacementGroup.*", "aws.placement_group"),
    bad("InvalidCapacityReservation*", "aws.capacity_reservation_id"),
    bad("InvalidTenancy", "aws.tenancy"),
    bad("InvalidSnapshot*", "aws.data_volumes"),
    bad("InvalidBlockDeviceMapping", "aws.root_volume"),
    bad("InvalidKMSKey*", "aws.root_volume.kms_key_id"),
    bad("InvalidUserData*", "user_data"),
    bad("TargetGroupNotFound InvalidTarget", "aws.target_group_arns"),
    Meaning::codes(Kind::BadRequest, "Invalid* Missing*"),
    Meaning::codes(
        Kind::Unavailable,
        "InternalError InternalFailure Unavailable ServiceUnavailable",
    ),
    Meaning::words("iamInstanceProfile", "aws.iam_instance_profile"),
    Meaning::words("User data|userData", "user_data"),
    Meaning::words("iops", "aws.root_volume.iops"),
    Meaning::words("throughput", "aws.root_volume.throughput"),
    Meaning::words("volumeSize", "aws.root_volume.size"),
    Meaning::words("cpuCredits", "aws.cpu_credits"),
];
