//! What only vSphere knows: whether there is all that the shape names, and fits, asked before the
//! first machine is touched.
//!
//! In: an image, a shape, what their names came to. Out: every problem, on its attribute.

use std::sync::Arc;

use super::address::{BLAMED, InUse};
use super::api::Session;
use super::inventory::{Place, Source};
use super::request::kib;
use super::shape::Shape;
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::cloud::addresses::Addresses;
use crate::worker_group::cloud::{Answered, CloudError, Findings, Growth, Kind, Refusal};

/// What holds whatever is asked for.
pub(super) fn of_provider(session: &Session) -> Findings {
    let mut found = Findings::new(refusal);
    if session.is_insecure {
        let detail = "Whoever is between here and the vCenter Server can read its password. Write ca_file in place of allow_unverified_ssl.";
        found.push(Diagnostic::warning(
            "Certificates of vSphere go unchecked",
            detail,
        ));
    }
    found
}

/// Every problem with new machines at once, by what the names of the shape came to.
///
/// # Errors
/// A question that was not answered and is worth another try.
pub(super) fn check(
    mut found: Findings,
    image: &str,
    shape: &Shape,
    source: Answered<Arc<Source>>,
    place: Answered<Arc<Place>>,
) -> Answered<Diagnostics> {
    let source = found.of(source)?;
    found.of(place)?;
    if let Some(source) = source {
        fits(&source, image, shape, &mut found);
    }
    Ok(found.told())
}

/// Whether there are addresses for all machines that are to exist at a time.
///
/// # Errors
/// The server does not say which are in use.
pub(super) async fn room(
    session: &Session,
    addresses: &Addresses,
    growth: Growth,
    found: &mut Findings,
) -> Answered<()> {
    let Some(in_use) = found.of(InUse::found(session, "the addresses", None).await)? else {
        return Ok(());
    };
    let left = in_use.free(addresses);
    let Some(advice) = growth.advice(left) else {
        return Ok(());
    };
    let detail = format!(
        "{left} of them are free, and {} more machines than now are to exist at a time. {advice}List more, or choose fewer machines.",
        growth.at_once
    );
    found.misfit(Path::of(BLAMED), "Too few addresses are free", detail);
    Ok(())
}

fn fits(source: &Source, image: &str, shape: &Shape, found: &mut Findings) {
    if shape.linked_clone && source.snapshot.is_none() {
        let detail = format!(
            "{image} has no snapshot, whose blocks a linked clone shares. Take one, or leave out linked_clone."
        );
        found.misfit(
            Path::of("vsphere.linked_clone"),
            "Template has no snapshot",
            detail,
        );
    }
    let Some(wanted) = kib(shape) else {
        return;
    };
    let at = || Path::of("vsphere.disk_size");
    match source.disk_size() {
        None => {
            let detail = format!(
                "{image} has no disk that could grow. Leave out disk_size, or choose another image."
            );
            found.misfit(at(), "Template has no disk", detail);
        }
        Some(there) if there > wanted => {
            let gib = (there + KIB_IN_GIB - 1) / KIB_IN_GIB;
            let detail = format!(
                "The disk of {image} has {gib} GiB, and a disk never shrinks. Write at least {gib}."
            );
            found.misfit(at(), "Disk is smaller than the template's", detail);
        }
        Some(_) => {}
    }
}

/// A call that is forbidden for one name is so for all.
fn refusal(error: &CloudError) -> Option<Refusal> {
    Some(Refusal {
        cause: match error.kind {
            Kind::Forbidden => error.action.to_owned(),
            _ => error.to_string(),
        },
        summary: "vSphere refused before anything was changed",
        advice: "Nothing was created or deleted.",
    })
}

const KIB_IN_GIB: i64 = 1_024 * 1_024;
