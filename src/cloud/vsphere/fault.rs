//! What faults mean. Pure.
//!
//! In: `{"_typeName": "DuplicateName", "faultMessage": [...]}`. Out: a [`CloudError`] by the type
//! of the fault, with the server's own words. See: *vSphere Web Services API*, "Faults".

use serde_json::Value as Json;

use crate::http::api::Answer;
use crate::http::rest::Failure;
use crate::worker_group::cloud::{CloudError, Kind, Meaning};

/// Whether a session has ended. The API says so by a fault; what stands before it by a status.
pub(super) fn is_logged_out(answer: &Answer) -> bool {
    let is_fault = || fault(answer).is_some_and(|fault| fault["_typeName"] == "NotAuthenticated");
    answer.status == 401 || is_fault()
}

/// A refusal that names its type.
pub(super) fn fault(answer: &Answer) -> Option<Json> {
    if answer.status < 400 {
        return None;
    }
    let fault: Json = serde_json::from_slice(&answer.body).ok()?;
    fault["_typeName"].is_string().then_some(fault)
}

/// A fault as `DuplicateName: The name 'w-0' already exists.`
pub(super) fn words_of(fault: &Json, said: &str) -> String {
    let code = fault["_typeName"].as_str().unwrap_or("a fault");
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let told = [
        said.to_owned(),
        text(&fault["faultstring"]),
        text(&fault["localizedMessage"]),
        text(&fault["faultMessage"][0]["message"]),
        // Which member of the request is wrong.
        text(&fault["invalidProperty"]),
        text(&fault["reason"]),
    ];
    let words = told.into_iter().find(|words| !words.is_empty());
    words.map_or_else(|| code.to_owned(), |words| format!("{code}: {words}"))
}

/// What a fault comes to; `said` are words that stand beside it.
pub(super) fn meant(action: &'static str, object: &str, fault: &Json, said: &str) -> CloudError {
    let code = fault["_typeName"].as_str().unwrap_or_default();
    let words = words_of(fault, said);
    let (kind, attribute) = Meaning::find(MEANINGS, None, code, &words);
    let told = CloudError::new(kind, action, object, words);
    let is_of_request = matches!(kind, Kind::BadRequest | Kind::Quota);
    CloudError {
        attribute: attribute.filter(|_| is_of_request),
        ..told.caused_by(code, None)
    }
}

/// A fault that answers a login: its status says whether the next one may be answered otherwise. A
/// wrong password is none that is tried again, for a user is locked out after a few.
pub(super) fn refusal(fault: &Json) -> Failure {
    let error = meant("vSphere Login", "the user", fault, "");
    let status = match error.code() {
        "InvalidLogin" => 401,
        // Nobody is logged in yet.
        "NotAuthenticated" => 503,
        _ if error.is_retryable() => 503,
        _ => 403,
    };
    Failure::Refused {
        status,
        words: words_of(fault, ""),
        retry_after: None,
    }
}

/// What a fault comes to that stands in an answer, with words beside it.
pub(super) fn localized(action: &'static str, object: &str, fault: &Json) -> CloudError {
    let words = fault["localizedMessage"].as_str().unwrap_or_default();
    meant(action, object, &fault["fault"], words)
}

/// What faults mean, by their types. See: *vSphere Web Services API*, "Faults".
pub(super) const MEANINGS: &[Meaning] = &[
    Meaning::codes(Kind::NotFound, "ManagedObjectNotFound"),
    Meaning::codes(
        Kind::AlreadyExists,
        "DuplicateName AlreadyExists FileAlreadyExists",
    ),
    Meaning::codes(
        Kind::Unauthenticated,
        "NotAuthenticated InvalidLogin NoClientCertificate",
    ),
    Meaning::codes(
        Kind::Forbidden,
        "NoPermission RestrictedVersion RestrictedByAdministrator",
    ),
    Meaning::codes(Kind::Quota, "NoDiskSpace").blaming("vsphere.datastore"),
    Meaning::codes(
        Kind::Quota,
        "InsufficientResourcesFault Insufficient* NumVirtualCpusExceedsLimit NumVirtualMachinesExceedsLimit NoCompatibleHost* \
         NotEnoughCpus NotEnoughLicenses",
    ),
    Meaning::codes(
        Kind::Unavailable,
        "SystemError SystemErrorFault RuntimeFault HostCommunication HostNotConnected HostNotReachable HostConnectFault TaskInProgress \
         ConcurrentAccess ResourceInUse Timedout RequestCanceled InvalidHostState InvalidHostConnectionState DatastoreNotWritableOnHost \
         VimFault MethodFault CannotAccessFile FileLocked OperationDisallowedOnHost",
    ),
    Meaning::codes(Kind::RateLimit, "TooManyConcurrentNativeClones"),
    Meaning::codes(Kind::BadRequest, "InvalidDatastore* *Datastore").blaming("vsphere.datastore"),
    Meaning::codes(Kind::BadRequest, "InvalidFolder").blaming("vsphere.folder"),
    Meaning::codes(Kind::BadRequest, "InvalidName").blaming("vsphere"),
    Meaning::words("location.pool|resource pool", "vsphere.resource_pool"),
    Meaning::words("extraConfig", "vsphere.extra_config"),
    Meaning::words("numCPU|numCores", "vsphere.num_cpus"),
    Meaning::words("memoryMB", "vsphere.memory"),
    Meaning::words("capacity", "vsphere.disk_size"),
];
