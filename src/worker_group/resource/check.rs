//! Checks of a configuration that no single attribute's schema can make. Pure; values may be unknown.

use crate::provider::{Attr, Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::Entry;
use crate::worker_group::model::{Fields, refusal};
use crate::worker_group::user_data;

/// One of the two user datas, with a version where it needs one, and in a form that a machine of this cloud can boot with.
pub(super) fn check_user_data(fields: &Fields, entry: Option<&'static Entry>) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if !fields.user_data.is_null() && !fields.user_data_wo.is_null() {
        problems.push(refusal(
            Path::of("user_data_wo"),
            "User data is given twice",
            "Write user_data, or user_data_wo with user_data_wo_version, not both.",
        ));
    }
    if !fields.user_data_wo.is_null() && fields.user_data_wo_version.is_null() {
        problems.push(refusal(
            Path::of("user_data_wo_version"),
            "Version of user_data_wo is missing",
            "What is write-only cannot be compared. Write a number, and another one whenever the user data should count as changed.",
        ));
    }
    if fields.user_data_wo.is_null() && fields.user_data_wo_version.known().is_some() {
        problems.push(refusal(
            Path::of("user_data_wo"),
            "A version without user_data_wo",
            "Write user_data_wo, or remove user_data_wo_version.",
        ));
    }
    let Some(entry) = entry else {
        return problems;
    };
    let set_hostname = match &fields.set_hostname {
        Attr::Known(set_hostname) => Some(*set_hostname),
        Attr::Null => Some(entry.set_hostname),
        Attr::Unknown => None,
    };
    let (Some(set_hostname), Attr::Known(name)) = (set_hostname, &fields.name) else {
        return problems;
    };
    let host = set_hostname.then(|| format!("{name}-{LONGEST_SUFFIX}"));
    for (attribute, value) in [
        ("user_data", &fields.user_data),
        ("user_data_wo", &fields.user_data_wo),
    ] {
        let Attr::Known(text) = value else {
            continue;
        };
        if let Some(fault) = user_data::fault(text, entry.platform, host.as_deref()) {
            problems.push(Diagnostic::error(fault.summary, fault.detail).at(Path::of(attribute)));
        }
    }
    problems
}

/// A uid and an ordinal as long as they get: what the size of user data is checked with.
const LONGEST_SUFFIX: &str = "abcdefgh-999999";
