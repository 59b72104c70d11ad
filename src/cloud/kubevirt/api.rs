//! The API of KubeVirt's cluster as we use it: one object, or a list of them, in a namespace, and
//! what refusals mean.
//!
//! In: `VIRTUAL_MACHINES`, `"vms"`, a name. Out: the answer's JSON, or a [`CloudError`] whose kind
//! is that of the reason in the answer's `Status`. See: KubeVirt API v1; Kubernetes API concepts.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::http::rest::{Effect, Failure};
use crate::kubernetes::{Api, Body, Call, Failed, Rule};
use crate::worker_group::cloud::{Answered, CloudError, Kind, Meaning, read};

/// One login for all groups of a provider.
pub(super) struct Session {
    pub(super) api: Api,
    /// Where a group is that names no namespace.
    pub(super) namespace: String,
}

/// What is asked for: a list of the API, by group, version and resource.
#[derive(Clone, Copy)]
pub(super) struct Resource {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    /// Whether it is of no namespace.
    is_of_cluster: bool,
    /// What its objects are, as [`CloudError::action`] has them: get, list, create, patch, delete.
    actions: [&'static str; 5],
}

macro_rules! resource {
    ($group:literal, $version:literal, $name:literal, $of_cluster:literal, $kind:literal) => {
        Resource {
            group: $group,
            version: $version,
            name: $name,
            is_of_cluster: $of_cluster,
            actions: [
                concat!("Kubernetes Get ", $kind),
                concat!("Kubernetes List ", $kind),
                concat!("Kubernetes Create ", $kind),
                concat!("Kubernetes Patch ", $kind),
                concat!("Kubernetes Delete ", $kind),
            ],
        }
    };
}

pub(super) const MACHINES: Resource = resource!(
    "kubevirt.io",
    "v1",
    "virtualmachines",
    false,
    "VirtualMachine"
);
pub(super) const INSTANCES: Resource = resource!(
    "kubevirt.io",
    "v1",
    "virtualmachineinstances",
    false,
    "VirtualMachineInstance"
);
pub(super) const SECRETS: Resource = resource!("", "v1", "secrets", false, "Secret");
pub(super) const EVENTS: Resource = resource!("", "v1", "events", false, "Event");
pub(super) const NAMESPACES: Resource = resource!("", "v1", "namespaces", true, "Namespace");
pub(super) const CLAIMS: Resource = resource!(
    "",
    "v1",
    "persistentvolumeclaims",
    false,
    "PersistentVolumeClaim"
);
pub(super) const SNAPSHOTS: Resource = resource!(
    "snapshot.storage.k8s.io",
    "v1",
    "volumesnapshots",
    false,
    "VolumeSnapshot"
);
pub(super) const NETWORKS: Resource = resource!(
    "k8s.cni.cncf.io",
    "v1",
    "network-attachment-definitions",
    false,
    "NetworkAttachmentDefinition"
);
pub(super) const INSTANCETYPES: Resource = resource!(
    "instancetype.kubevirt.io",
    "v1beta1",
    "virtualmachineinstancetypes",
    false,
    "VirtualMachineInstancetype"
);
pub(super) const CLUSTER_INSTANCETYPES: Resource = resource!(
    "instancetype.kubevirt.io",
    "v1beta1",
    "virtualmachineclusterinstancetypes",
    true,
    "VirtualMachineClusterInstancetype"
);
pub(super) const PREFERENCES: Resource = resource!(
    "instancetype.kubevirt.io",
    "v1beta1",
    "virtualmachinepreferences",
    false,
    "VirtualMachinePreference"
);
pub(super) const CLUSTER_PREFERENCES: Resource = resource!(
    "instancetype.kubevirt.io",
    "v1beta1",
    "virtualmachineclusterpreferences",
    true,
    "VirtualMachineClusterPreference"
);

const GET: usize = 0;
const LIST: usize = 1;
const CREATE: usize = 2;
const PATCH: usize = 3;
const DELETE: usize = 4;

impl Resource {
    /// What a create of one is called.
    pub(super) const fn create(&self) -> &'static str {
        self.actions[CREATE]
    }

    /// What a patch of one is called.
    pub(super) const fn patch(&self) -> &'static str {
        self.actions[PATCH]
    }

    fn path<'a>(&self, namespace: &'a str, name: Option<&'a str>) -> Vec<&'a str> {
        let mut path = match self.group {
            "" => vec!["api", self.version],
            group => vec!["apis", group, self.version],
        };
        if !self.is_of_cluster {
            path.extend(["namespaces", namespace]);
        }
        path.push(self.name);
        path.extend(name);
        path
    }
}

impl Session {
    async fn send(
        &self,
        (resource, action, verb): (Resource, usize, &'static str),
        method: Method,
        (namespace, name): (&str, Option<&str>),
        query: &[(&str, &str)],
        body: Option<Body>,
        object: &str,
    ) -> Answered<Json> {
        let rule: Rule = (resource.group, resource.name, verb);
        let effect = match action {
            GET | LIST => Effect::Reads,
            CREATE => Effect::Creates,
            _ => Effect::Repeats,
        };
        let path = resource.path(namespace, name);
        let call = Call {
            method,
            path: &path,
            query,
            body,
            rule,
        };
        let answer = self.api.call(call).await;
        answer.map_err(|failed| refused(resource.actions[action], object, effect, failed))
    }

    /// One of them.
    pub(super) async fn get(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> Answered<Json> {
        let what = (resource, GET, "get");
        self.send(what, Method::GET, (namespace, Some(name)), &[], None, name)
            .await
    }

    /// All that a selector selects, page by page.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        query: &[(&str, &str)],
        object: &str,
    ) -> Answered<Vec<T>> {
        let (action, rule) = (
            resource.actions[LIST],
            (resource.group, resource.name, "list"),
        );
        let path = resource.path(namespace, None);
        let taken = |item: &Json| read(item.clone(), action);
        let listed = self.api.list(&path, query, rule, taken).await;
        let listed = listed.map_err(|failed| refused(action, object, Effect::Reads, failed))?;
        listed.0.into_iter().collect()
    }

    /// Makes one, or only tries to (`is_trial`): everything but the store then has its say.
    pub(super) async fn create(
        &self,
        resource: Resource,
        namespace: &str,
        body: Json,
        is_trial: bool,
    ) -> Answered<Json> {
        let name = body["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut query = vec![("fieldManager", MANAGER)];
        if is_trial {
            query.push(("dryRun", "All"));
        }
        let what = (resource, CREATE, "create");
        let body = Some(Body::Json(body));
        self.send(what, Method::POST, (namespace, None), &query, body, &name)
            .await
    }

    /// Changes a virtual machine: by server-side apply, whose fields are this manager's then, or by
    /// a merge patch.
    pub(super) async fn patch(
        &self,
        namespace: &str,
        name: &str,
        manager: &str,
        body: Body,
    ) -> Answered<Json> {
        let mut query = vec![("fieldManager", manager)];
        if matches!(body, Body::Apply(_)) {
            query.push(("force", "true"));
        }
        let what = (MACHINES, PATCH, "patch");
        let place = (namespace, Some(name));
        self.send(what, Method::PATCH, place, &query, Some(body), name)
            .await
    }

    /// Deletes the virtual machine of this uid, and what it owns before it; `None`: there is no
    /// such one.
    pub(super) async fn delete(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Answered<Option<Json>> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        });
        let what = (MACHINES, DELETE, "delete");
        let (place, body) = ((namespace, Some(name)), Some(Body::Json(options)));
        match self
            .send(what, Method::DELETE, place, &[], body, name)
            .await
        {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if is_conflict(&error) => match self.get(MACHINES, namespace, name).await {
                Err(gone) if gone.is_not_found() => Ok(None),
                // Somebody else's has the name by now.
                Ok(other) if other["metadata"]["uid"] != uid => Ok(None),
                Ok(_) => Err(error),
                Err(other) => Err(other),
            },
            answer => answer.map(Some),
        }
    }
}

/// Whether what was written, or deleted, is another one by now.
pub(super) fn is_conflict(error: &CloudError) -> bool {
    error.code() == CONFLICT
}

fn refused(action: &'static str, object: &str, effect: Effect, failed: Failed) -> CloudError {
    let Failed {
        status,
        reason,
        message,
        retry_after,
        hopeless,
        ..
    } = failed;
    let words = match reason.as_str() {
        "" => message,
        reason => format!("{message} ({reason})"),
    };
    let failure = match status {
        Some(status) => Failure::Refused {
            status,
            words,
            retry_after,
        },
        None if hopeless => Failure::Impossible(words),
        None => Failure::Lost(words),
    };
    let error = CloudError::unanswered(action, object, effect, failure, MEANINGS);
    error.caused_by(&reason, None)
}

/// Who has what is created and changed here, where others write to the same object.
pub(super) const MANAGER: &str = "terraform-provider-flatcar";
const CONFLICT: &str = "Conflict";

/// What refusals mean. In brackets behind a message stands the reason of its `Status`.
pub(super) const MEANINGS: &[Meaning] = &[
    Meaning::status(403, "exceeded quota", Kind::Quota),
    // Its controller has not counted yet.
    Meaning::status(403, "status unknown for quota", Kind::Unavailable),
    Meaning::status(403, "because it is being terminated", Kind::BadRequest).blaming(NAMESPACE),
    Meaning::status(403, "admission webhook", Kind::BadRequest),
    Meaning::status(409, "(AlreadyExists)", Kind::AlreadyExists),
    // Somebody else has changed it: whoever asks reads it again.
    Meaning::status(409, "(Conflict)", Kind::Unavailable),
    // The pages of a list are too old.
    Meaning::status(410, "", Kind::Unavailable),
    Meaning::status(408, "", Kind::Unavailable),
    Meaning::status(404, "namespaces \"", Kind::BadRequest).blaming(NAMESPACE),
    // KubeVirt is not installed there.
    Meaning::status(
        404,
        "could not find the requested resource",
        Kind::BadRequest,
    ),
    Meaning::words("userData|cloudInit", "user_data"),
    Meaning::words("containerDisk", "image"),
    Meaning::words("instancetype|Instancetype", "kubevirt.instancetype"),
    Meaning::words("preference|Preference", "kubevirt.preference"),
    Meaning::words("domain.cpu", "kubevirt.cpu"),
    Meaning::words("domain.memory|domain.resources", "kubevirt.memory"),
    Meaning::words("nterfaces|etworks", "kubevirt.networks"),
    Meaning::words("dataVolumeTemplates", "kubevirt.data_volume"),
    Meaning::words("nodeSelector", "kubevirt.node_selector"),
    Meaning::words("affinity", "kubevirt.affinity"),
    Meaning::words("topologySpread", "kubevirt.topology_spread_constraints"),
    Meaning::words("olerations", "kubevirt.tolerations"),
    Meaning::words("evictionStrategy", "kubevirt.eviction_strategy"),
    Meaning::words("accessCredentials", "kubevirt.access_credentials"),
    Meaning::words("dns", "kubevirt.dns_policy"),
    Meaning::words("metadata.labels", "kubevirt.labels"),
    Meaning::words("metadata.annotations", "kubevirt.annotations"),
];

const NAMESPACE: &str = "kubevirt.namespace";
