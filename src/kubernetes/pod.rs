//! Which pods a drain moves, which it leaves, and which are in its way. Pure.
//!
//! In: a pod in JSON, and the group's [`Rules`]. Out: a [`Pod`] with its [`Fate`]. The rules, and
//! their names, are those of `kubectl drain`. See: Kubernetes, Pod v1.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value as Json;

use super::Eviction;
use super::api::shown;

/// What a drain may do, as for `kubectl drain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Pods of DaemonSets are left; else they are in the way.
    pub ignore_daemonsets: bool,
    /// Pods with emptyDir volumes go, and lose them; else they are in the way.
    pub delete_emptydir_data: bool,
    /// Pods that nothing makes anew go for good; else they are in the way.
    pub force: bool,
    /// How long a pod has to end; `None`: what each says itself.
    pub grace_period: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ignore_daemonsets: true,
            delete_emptydir_data: true,
            force: false,
            grace_period: None,
        }
    }
}

/// A pod of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// It has been told to end.
    pub(super) ends: bool,
    pub(super) fate: Fate,
    /// Claims of volumes that it uses.
    pub(super) claims: BTreeSet<String>,
    /// Who keeps it where it has been told to end, as its finalizers say.
    finalizers: Vec<String>,
    /// Uid of the controller that makes it anew.
    pub(super) controller: Option<String>,
    /// Whether it may come to a Node that is closed.
    pub(super) tolerates_cordon: bool,
}

/// What a drain does about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes.
    Goes,
    /// It stays, and is in nobody's way.
    Stays,
    /// It would have to go, and the rules do not allow it; why.
    InTheWay(&'static str),
}

impl Pod {
    pub(super) fn of(pod: &Json, rules: &Rules, eviction: Eviction) -> Self {
        let metadata = &pod["metadata"];
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let name = text(&metadata["name"]);
        let volumes = pod["spec"]["volumes"].as_array();
        // Those of a pod that is over are detached while it is still there.
        let volumes = volumes.filter(|_| !is_over(pod)).into_iter().flatten();
        let claims = volumes.filter_map(|volume| {
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str();
            match volume["ephemeral"].is_object() {
                true => Some(format!("{name}-{}", volume["name"].as_str()?)),
                false => claim.map(str::to_owned),
            }
        });
        let finalizers = metadata["finalizers"].as_array().into_iter().flatten();
        let tolerations = pod["spec"]["tolerations"].as_array();
        Self {
            finalizers: finalizers.map(text).collect(),
            controller: controller(metadata).map(|owner| text(&owner["uid"])),
            tolerates_cordon: tolerations.into_iter().flatten().any(tolerates_cordon),
            uid: text(&metadata["uid"]),
            namespace: text(&metadata["namespace"]),
            ends: !metadata["deletionTimestamp"].is_null(),
            fate: fate(pod, rules, eviction),
            claims: claims.collect(),
            name,
        }
    }

    /// What keeps it, having been told to end; `""`: it has not been.
    pub(super) fn lingers(&self) -> String {
        match (self.ends, self.finalizers.as_slice()) {
            (false, _) => String::new(),
            (true, []) => "it ends".to_owned(),
            (true, names) => shown(&format!(
                "it ends, and finalizers keep it: {}",
                names.join(", ")
            )),
        }
    }

    /// `shop/web-0`
    pub(super) fn shown(&self) -> String {
        shown(&format!("{}/{}", self.namespace, self.name))
    }
}

/// Who makes it anew.
fn controller(metadata: &Json) -> Option<&Json> {
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().find(|owner| owner["controller"] == true)
}

/// Whether a toleration is of the taint by which the cluster says that a Node is closed. An empty
/// key or effect is of all.
fn tolerates_cordon(toleration: &Json) -> bool {
    let text = |name: &str| toleration[name].as_str().unwrap_or_default();
    let is_of_key = matches!(text("key"), "" | UNSCHEDULABLE);
    let is_of_value = text("operator") == "Exists" || text("value").is_empty();
    is_of_key && is_of_value && matches!(text("effect"), "" | "NoSchedule")
}

fn is_over(pod: &Json) -> bool {
    let phase = pod["status"]["phase"].as_str();
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn fate(pod: &Json, rules: &Rules, eviction: Eviction) -> Fate {
    let metadata = &pod["metadata"];
    // A static pod's mirror goes with its kubelet alone.
    if is_over(pod) || metadata["annotations"][MIRROR].is_string() {
        return Fate::Stays;
    }
    let controller = controller(metadata);
    // Its controller would make it anew on the same Node.
    if controller.is_some_and(|owner| owner["kind"] == "DaemonSet") {
        return match rules.ignore_daemonsets || eviction == Eviction::Forced {
            true => Fate::Stays,
            false => Fate::InTheWay("it is of a DaemonSet, and ignore_daemonsets is false"),
        };
    }
    // Who is told to end does not stay, whatever the rules say of it.
    if !metadata["deletionTimestamp"].is_null() || eviction == Eviction::Forced {
        return Fate::Goes;
    }
    if controller.is_none() && !rules.force {
        return Fate::InTheWay("nothing would make it anew elsewhere, and force is false");
    }
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    if !rules.delete_emptydir_data && volumes.any(|volume| volume["emptyDir"].is_object()) {
        return Fate::InTheWay(
            "it would lose an emptyDir volume, and delete_emptydir_data is false",
        );
    }
    Fate::Goes
}

const MIRROR: &str = "kubernetes.io/config.mirror";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_go_stay_or_are_in_the_way_as_the_rules_say() {
        let of = |kind: &str| json!({"name": "p", "ownerReferences": [{"kind": kind, "controller": true}]});
        let pod = |metadata: Json| json!({"metadata": metadata});
        let empty_dir = |metadata: Json| json!({"metadata": metadata, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let over = |phase: &str| json!({"metadata": {}, "status": {"phase": phase}});
        let ends = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let (goes, stays, blocks) = ("goes", "stays", "in the way");
        let strict = Rules {
            ignore_daemonsets: false,
            delete_emptydir_data: false,
            ..Rules::default()
        };
        let forced = Rules {
            force: true,
            ..Rules::default()
        };
        for (pod, usual, strictly, with_force, at_last) in [
            (pod(of("ReplicaSet")), goes, goes, goes, goes),
            (pod(of("DaemonSet")), stays, blocks, stays, stays),
            (pod(json!({})), blocks, blocks, goes, goes),
            (
                pod(json!({"ownerReferences": [{"kind": "Node"}]})),
                blocks,
                blocks,
                goes,
                goes,
            ),
            (empty_dir(of("Job")), goes, blocks, goes, goes),
            (empty_dir(of("DaemonSet")), stays, blocks, stays, stays),
            (
                pod(json!({"annotations": {MIRROR: "x"}})),
                stays,
                stays,
                stays,
                stays,
            ),
            (over("Succeeded"), stays, stays, stays, stays),
            (over("Failed"), stays, stays, stays, stays),
            (over("Pending"), blocks, blocks, goes, goes),
            (pod(ends), goes, goes, goes, goes),
        ] {
            for (rules, eviction, expected) in [
                (Rules::default(), Eviction::Allowed, usual),
                (strict, Eviction::Allowed, strictly),
                (forced, Eviction::Allowed, with_force),
                (strict, Eviction::Forced, at_last),
            ] {
                let fate = match Pod::of(&pod, &rules, eviction).fate {
                    Fate::Goes => goes,
                    Fate::Stays => stays,
                    Fate::InTheWay(_) => blocks,
                };
                assert_eq!(fate, expected, "{pod} {rules:?} {eviction:?}");
            }
        }
    }

    #[test]
    fn a_pod_that_tolerates_everything_or_the_cordon_may_come_back() {
        let exists = json!({"operator": "Exists"});
        let cordon = |more: Json| {
            let mut toleration = json!({"key": UNSCHEDULABLE});
            for (name, value) in more.as_object().unwrap() {
                toleration[name] = value.clone();
            }
            toleration
        };
        for (tolerations, may) in [
            (json!([]), false),
            (json!([{"key": "dedicated", "operator": "Exists"}]), false),
            (json!([exists]), true),
            (
                json!([{"key": "dedicated"}, cordon(json!({"operator": "Exists"}))]),
                true,
            ),
            (
                json!([cordon(
                    json!({"operator": "Exists", "effect": "NoSchedule"})
                )]),
                true,
            ),
            (
                json!([cordon(json!({"operator": "Exists", "effect": "NoExecute"}))]),
                false,
            ),
            (
                json!([cordon(json!({"operator": "Equal", "value": ""}))]),
                true,
            ),
            (json!([cordon(json!({"value": "x"}))]), false),
        ] {
            let pod = json!({"metadata": {}, "spec": {"tolerations": tolerations}});
            let read = Pod::of(&pod, &Rules::default(), Eviction::Allowed);
            assert_eq!(read.tolerates_cordon, may, "{pod}");
        }
    }

    #[test]
    fn a_pod_that_ends_says_what_keeps_it() {
        let ends = json!("2026-01-01T00:00:00Z");
        for (metadata, says) in [
            (json!({"finalizers": ["a/b"]}), ""),
            (json!({"deletionTimestamp": ends}), "it ends"),
            (
                json!({"deletionTimestamp": ends, "finalizers": ["a/b", "c"]}),
                "it ends, and finalizers keep it: a/b, c",
            ),
        ] {
            let pod = json!({"metadata": metadata});
            let read = Pod::of(&pod, &Rules::default(), Eviction::Allowed);
            assert_eq!(read.lingers(), says, "{pod}");
        }
    }

    #[test]
    fn a_pod_uses_claims_of_its_own_and_of_others() {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "b", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "d", "configMap": {}},
            ]},
        });
        let claims = |pod: &Json| Pod::of(pod, &Rules::default(), Eviction::Allowed).claims;
        assert_eq!(claims(&pod).into_iter().collect::<Vec<_>>(), ["c", "p-b"]);
        // It is detached by now, and counts for none that stays.
        pod["status"] = json!({"phase": "Succeeded"});
        assert!(claims(&pod).is_empty());
    }
}
