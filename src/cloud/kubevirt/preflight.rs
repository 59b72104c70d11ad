//! What only the cluster knows: the namespace, what a shape names in it, and whether machines may
//! be made there, tried by a dry run before the first machine is touched.
//!
//! In: an image, a shape, how many machines are to come. Out: every problem, on its attribute. A
//! dry run is seen by all that a create is seen by: roles, quotas, KubeVirt's own webhooks.

use serde_json::Value as Json;

use super::api::{
    CLAIMS, CLUSTER_INSTANCETYPES, CLUSTER_PREFERENCES, INSTANCETYPES, MACHINES, NAMESPACES,
    NETWORKS, PREFERENCES, Resource, SECRETS, SNAPSHOTS, Session,
};
use super::image::{Source, misfit};
use super::request;
use super::shape::{CLUSTER_INSTANCETYPE, CLUSTER_PREFERENCE, Shape};
use crate::provider::{Diagnostics, Path};
use crate::worker_group::cloud::{
    Answered, CloudError, Findings, Growth, Kind, Mark, Refusal, Spec,
};

/// Every problem at once. Where nothing is to be created, nothing is asked.
pub(super) async fn check(
    session: &Session,
    namespace: &str,
    image: &str,
    shape: &Shape,
    growth: Growth,
) -> Answered<Diagnostics> {
    let mut found = Findings::new(refusal);
    if growth.created == 0 {
        return Ok(found.told());
    }
    match session.get(NAMESPACES, namespace, namespace).await {
        Err(error) if error.kind == Kind::NotFound || error.attribute.is_some() => {
            let detail = format!(
                "Kubernetes answered {}. Make the namespace first, or name another one.",
                error.message
            );
            found.misfit(
                Path::of("kubevirt.namespace"),
                "There is no such namespace",
                detail,
            );
        }
        answer => drop(found.of(answer)?),
    }
    match misfit(image, shape) {
        Some(why) => found.misfit(Path::of("image"), "Image does not fit the machines", why),
        None => {
            if let Err(error) = source(session, namespace, image).await {
                match error.attribute {
                    Some("image") => {
                        let detail = format!(
                            "Kubernetes answered {}. Make it first, or name another one.",
                            error.message
                        );
                        found.misfit(Path::of("image"), "There is no such image", detail);
                    }
                    _ => drop(found.of::<()>(Err(error))?),
                }
            }
        }
    }
    for (at, resource, name) in named(shape) {
        let (of, name) = match name.split_once('/') {
            Some((of, name)) => (of, name),
            None => (namespace, name),
        };
        match session.get(resource, of, name).await {
            Err(error) if error.is_not_found() || error.attribute.is_some() => {
                let detail = format!("Kubernetes answered {}. Name another one.", error.message);
                found.misfit(Path::of(at), "There is no such object", detail);
            }
            // Whoever makes machines need not see that: the dry run tells.
            Err(error) if error.kind == Kind::Forbidden => {}
            answer => drop(found.of(answer)?),
        }
    }
    if found.has_errors() {
        return Ok(found.told());
    }
    trial(session, namespace, image, shape, &mut found).await?;
    Ok(found.told())
}

/// What a shape names that lies in the cluster.
fn named(shape: &Shape) -> Vec<(&'static str, Resource, &str)> {
    let instancetype = shape.instancetype.as_ref().map(|of| {
        let resource = match of.kind == CLUSTER_INSTANCETYPE {
            true => CLUSTER_INSTANCETYPES,
            false => INSTANCETYPES,
        };
        ("kubevirt.instancetype", resource, of.name.as_str())
    });
    let preference = shape.preference.as_ref().map(|of| {
        let resource = match of.kind == CLUSTER_PREFERENCE {
            true => CLUSTER_PREFERENCES,
            false => PREFERENCES,
        };
        ("kubevirt.preference", resource, of.name.as_str())
    });
    let networks = shape
        .networks
        .iter()
        .filter_map(|network| network.multus.as_ref());
    let networks =
        networks.map(|multus| ("kubevirt.networks", NETWORKS, multus.network_name.as_str()));
    instancetype
        .into_iter()
        .chain(preference)
        .chain(networks)
        .collect()
}

/// What an image stands for, where that is an object of the cluster.
///
/// # Errors
/// It is not there, on `image`, or nobody may know.
pub(super) async fn source(session: &Session, namespace: &str, image: &str) -> Answered<()> {
    let (resource, of, name) = match Source::of(image) {
        Some(Source::Claim(of, name)) => (CLAIMS, of, name),
        Some(Source::Snapshot(of, name)) => (SNAPSHOTS, of, name),
        _ => return Ok(()),
    };
    match session.get(resource, of.unwrap_or(namespace), name).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.kind == Kind::BadRequest => {
            Err(error.being(Kind::BadRequest).blaming("image"))
        }
        // Another namespace's is not for everybody to see: CDI has its own rule for that.
        Err(error) if error.kind == Kind::Forbidden && of.is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn trial(
    session: &Session,
    namespace: &str,
    image: &str,
    shape: &Shape,
    found: &mut Findings,
) -> Answered<()> {
    let Some(source) = Source::of(image) else {
        return Ok(());
    };
    let mark = Mark::trial();
    let spec = Spec::trial(&mark, image);
    // More of them than KubeVirt takes without a Secret: that is tried too.
    let machine = request::machine(&spec, shape, source.within(namespace), TRIAL_DATA);
    let secret = request::secret(spec.name, NO_UID, &mark, TRIAL_DATA);
    let tried: [(Resource, Json); 2] = [(MACHINES, machine), (SECRETS, secret)];
    for (resource, body) in tried {
        match session.create(resource, namespace, body, true).await {
            // A name that is taken is not ours to judge.
            Err(error) if error.kind == Kind::AlreadyExists => {}
            // Whatever was not answered, nothing was made.
            Err(error) if error.kind == Kind::Ambiguous => {
                return Err(error.being(Kind::Unavailable));
            }
            answer => drop(found.of(answer)?),
        }
    }
    Ok(())
}

/// A call that is forbidden for one name is so for all.
fn refusal(error: &CloudError) -> Option<Refusal> {
    Some(Refusal {
        cause: match error.kind {
            Kind::Forbidden => error.action.to_owned(),
            _ => error.to_string(),
        },
        summary: "Kubernetes refused before anything was changed",
        advice: "Nothing was created or deleted.",
    })
}

const NO_UID: &str = "00000000-0000-0000-0000-000000000000";
/// `{}`: KubeVirt's webhooks take no empty user data.
const TRIAL_DATA: &str = "e30=";
