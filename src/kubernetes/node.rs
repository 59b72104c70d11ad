//! A Node as the API has it: how it is, whose it is, and what has to be written on it. Pure.
//!
//! In: a Node in JSON. Out: [`Found`], its [`Status`], and the patches that bring it to some
//! [`Settings`]. What this provider has set is told from what others have: labels by the field
//! manager that the API keeps, taints and a cordon by annotations. See: Kubernetes, Node v1.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::api::shown;
use super::{Effect, Host, Node, Scheduling, Settings, Status, Taint};
use crate::flatcar::Date;

/// A Node, as it was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) uid: String,
    /// Of this answer: a patch that names it changes no other one.
    pub(super) version: String,
    provider_id: String,
    hostname: String,
    addresses: BTreeSet<String>,
    created: String,
    labels: BTreeMap<String, String>,
    own_labels: BTreeSet<String>,
    annotations: BTreeMap<String, String>,
    /// As they are, those of others with all that they have.
    taints: Vec<Json>,
    pub(super) unschedulable: bool,
    /// Whether somebody else has said so last, as the API keeps it: our mark is of an earlier
    /// cordon then.
    is_cordoned_by_others: bool,
    /// Why it does not serve.
    unready: Option<String>,
    is_up: bool,
    kubelet: String,
    /// Whether volumes are attached to it.
    pub(super) has_volumes: bool,
}

impl Found {
    pub(super) fn of(node: &Json) -> Self {
        let (metadata, spec, status) = (&node["metadata"], &node["spec"], &node["status"]);
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let labels = texts(&metadata["labels"]);
        let addresses = status["addresses"].as_array().into_iter().flatten();
        let attached = ["volumesAttached", "volumesInUse"];
        let attached = attached.iter().filter_map(|name| status[name].as_array());
        Self {
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            version: text(&metadata["resourceVersion"]),
            provider_id: text(&spec["providerID"]),
            hostname: labels.get(HOSTNAME).cloned().unwrap_or_default(),
            addresses: addresses.map(|address| text(&address["address"])).collect(),
            created: text(&metadata["creationTimestamp"]),
            own_labels: own_labels(metadata),
            annotations: texts(&metadata["annotations"]),
            taints: spec["taints"].as_array().cloned().unwrap_or_default(),
            unschedulable: spec["unschedulable"].as_bool().unwrap_or(false),
            is_cordoned_by_others: is_cordoned_by_others(metadata),
            unready: unready(node),
            is_up: is_up(node),
            kubelet: shown(&text(&status["nodeInfo"]["kubeletVersion"])),
            has_volumes: attached.flatten().next().is_some(),
            labels,
        }
    }

    pub(super) fn status(&self) -> Status {
        match &self.unready {
            None => Status::Ready(self.node()),
            Some(why) => Status::NotReady(self.node(), why.clone()),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.unready.is_none()
    }

    fn node(&self) -> Node {
        let taints = self.taints.iter().filter_map(taint_of);
        Node {
            name: self.name.clone(),
            kubelet: self.kubelet.clone(),
            labels: self.labels.clone(),
            own_labels: self.own_labels.clone(),
            taints: taints.filter(|taint| !says_scheduling(taint)).collect(),
            own_taints: self.own_taints(),
            scheduling: self.scheduling(),
        }
    }

    fn scheduling(&self) -> Scheduling {
        let is_leaving = |taint: &Json| taint_of(taint).is_some_and(|taint| taint.key == LEAVING);
        if self.is_cordoned_by(CORDONED) {
            Scheduling::Closed
        } else if self.taints.iter().any(is_leaving) {
            Scheduling::Discouraged
        } else {
            Scheduling::Open
        }
    }

    /// Whether it is closed by who leaves this mark.
    fn is_cordoned_by(&self, mark: &str) -> bool {
        self.unschedulable && !self.is_cordoned_by_others && self.annotations.contains_key(mark)
    }

    fn own_taints(&self) -> Vec<Taint> {
        let listed = self.annotations.get(TAINTS);
        let listed = listed.map(|text| text.split(',')).into_iter().flatten();
        listed
            .filter_map(|text| Taint::parse(text.trim()))
            .collect()
    }

    /// Why no pod of it is to be moved.
    pub(super) fn excluded(&self) -> Option<String> {
        let excludes = |(name, off): &&(&str, &str)| {
            self.annotations
                .get(*name)
                .is_some_and(|value| value != off)
        };
        let name = EXCLUDING.iter().find(excludes).map(|(name, _)| name);
        name.map(|name| {
            format!(
                "the annotation {name} of its Node {} excludes it",
                self.name
            )
        })
    }

    /// Whether pods of another Node may come to it.
    pub(super) fn takes_pods(&self) -> bool {
        let is_control_plane = |taint: &Json| {
            let taint = taint_of(taint);
            taint.is_some_and(|taint| CONTROL_PLANE.contains(&taint.key.as_str()))
        };
        self.is_ready() && !self.unschedulable && !self.taints.iter().any(is_control_plane)
    }

    /// Whether it is the Node of a host.
    pub(super) fn is_of(&self, host: &Host) -> bool {
        self.fit(host).is_some()
    }

    /// Whether its kubelet says that it serves, though its cloud controller may not have completed
    /// it.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// A Node is registered by a machine that runs. One that is older was another machine's, though
    /// it has the same name or address now.
    fn is_older_than(&self, host: &Host) -> bool {
        let registered = Date::moment(&self.created);
        let both = registered.zip(host.created);
        both.is_some_and(|(registered, created)| {
            registered
                .checked_add(SKEW)
                .is_some_and(|registered| registered < created)
        })
    }

    /// How surely it is the Node of a host; `None`: it is not.
    fn fit(&self, host: &Host) -> Option<Fit> {
        let last = self.provider_id.rsplit('/').next().unwrap_or_default();
        let is_id = |id: &str| !id.is_empty() && id.eq_ignore_ascii_case(&host.id);
        if is_id(last) || is_id(&self.provider_id) || ends_with_path(&self.provider_id, &host.id) {
            return Some(Fit::ProviderId);
        }
        if self.is_older_than(host) {
            return None;
        }
        if self.name == host.name {
            return Some(Fit::Name);
        }
        if self.hostname == host.name || self.addresses.contains(&host.name) {
            return Some(Fit::HostName);
        }
        // One that says which machine it is, is not another one's.
        let is_there = |address: &String| self.addresses.contains(address);
        let is_there = self.provider_id.is_empty() && host.addresses.iter().any(is_there);
        is_there.then_some(Fit::Address)
    }

    /// The patch that makes these settings of what is on it, but for labels; `None` where all is
    /// so. A cordon is this provider's where it carries this mark.
    pub(super) fn patch(&self, settings: &Settings, mark: &str) -> Option<Json> {
        let mut annotations = Map::new();
        let mut spec = Map::new();
        let mut taints = self.taints.clone();
        if let Some(wanted) = &settings.taints {
            let own = self.own_taints();
            let same = |one: &Json, other: &Taint| {
                let one = taint_of(one);
                one.is_some_and(|one| one.key == other.key && one.effect == other.effect)
            };
            // One of ours, and one that stands where ours is to be.
            taints.retain(|one| {
                let goes = |other| same(one, other);
                taint_of(one).is_some_and(|taint| wanted.contains(&taint))
                    || !(own.iter().any(goes) || wanted.iter().any(goes))
            });
            for taint in wanted {
                if !taints.iter().any(|one| same(one, taint)) {
                    taints.push(taint.json());
                }
            }
            if own != *wanted {
                let listed: Vec<String> = wanted.iter().map(Taint::to_string).collect();
                let listed = Some(listed.join(",")).filter(|listed| !listed.is_empty());
                annotations.insert(TAINTS.to_owned(), json!(listed));
            }
        }
        let is_marked = self.annotations.contains_key(mark);
        if let Some(scheduling) = settings.scheduling {
            let is_leaving = |one: &Json| taint_of(one).is_some_and(|taint| taint.key == LEAVING);
            let is_discouraged = taints.iter().any(is_leaving);
            match scheduling {
                Scheduling::Discouraged if !is_discouraged => taints.push(leaving().json()),
                Scheduling::Discouraged => {}
                Scheduling::Open | Scheduling::Closed => taints.retain(|one| !is_leaving(one)),
            }
            let closes = scheduling == Scheduling::Closed;
            if closes && !self.unschedulable {
                spec.insert("unschedulable".to_owned(), json!(true));
                annotations.insert(mark.to_owned(), json!("true"));
            } else if !closes && is_marked {
                annotations.insert(mark.to_owned(), Json::Null);
                if self.is_cordoned_by(mark) {
                    spec.insert("unschedulable".to_owned(), json!(false));
                }
            }
        }
        if taints != self.taints {
            spec.insert("taints".to_owned(), Json::Array(taints));
        }
        if annotations.is_empty() && spec.is_empty() {
            return None;
        }
        let mut patch = json!({"metadata": {"resourceVersion": self.version, "uid": self.uid}});
        if !annotations.is_empty() {
            patch["metadata"]["annotations"] = Json::Object(annotations);
        }
        if !spec.is_empty() {
            patch["spec"] = Json::Object(spec);
        }
        Some(patch)
    }

    /// What is to be applied so that the labels of this provider are these; `None` where they are.
    pub(super) fn labels_to_apply(&self, settings: &Settings) -> Option<Json> {
        let wanted = settings.labels.as_ref()?;
        if self.node().has_labels(wanted) {
            return None;
        }
        Some(json!({
            "apiVersion": "v1",
            "kind": "Node",
            // With the uid an apply makes no Node where there is none any more.
            "metadata": {"name": self.name, "uid": self.uid, "labels": wanted},
        }))
    }
}

/// By what a Node was found, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    ProviderId,
    Name,
    HostName,
    Address,
}

/// The Nodes of hosts, by host name: for each the surest, and of those the newest. An address that
/// two Nodes have says nothing.
pub(super) fn nodes_of<'a>(hosts: &[Host], nodes: &'a [Found]) -> BTreeMap<String, &'a Found> {
    let of = |host: &Host| {
        let fits = nodes
            .iter()
            .filter_map(|node| Some((node.fit(host)?, node)));
        let fits: Vec<(Fit, &Found)> = fits.collect();
        let by_address = fits.iter().filter(|(fit, _)| *fit == Fit::Address);
        let is_ambiguous = by_address.count() > 1;
        let surest = fits.into_iter().min_by(|(one, a), (other, b)| {
            // Moments of one form are in the order of their letters.
            one.cmp(other).then_with(|| b.created.cmp(&a.created))
        });
        let surest = surest.filter(|(fit, _)| *fit != Fit::Address || !is_ambiguous);
        surest.map(|(_, node)| (host.name.clone(), node))
    };
    hosts.iter().filter_map(of).collect()
}

/// Whether a provider id ends with an id that is a path itself.
fn ends_with_path(provider_id: &str, id: &str) -> bool {
    let id = id.trim_start_matches('/');
    let at = provider_id.len().checked_sub(id.len());
    let end = at.and_then(|at| Some((provider_id.get(..at)?, provider_id.get(at..)?)));
    end.is_some_and(|(before, end)| {
        id.contains('/') && before.ends_with('/') && end.eq_ignore_ascii_case(id)
    })
}

/// Keys of labels that the API keeps as set by this provider.
fn own_labels(metadata: &Json) -> BTreeSet<String> {
    let managers = metadata["managedFields"].as_array().into_iter().flatten();
    let ours =
        managers.filter(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply");
    let keys = ours.filter_map(|entry| entry["fieldsV1"]["f:metadata"]["f:labels"].as_object());
    let keys = keys.flat_map(|labels| labels.keys());
    keys.filter_map(|key| key.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

/// Whether the API keeps a cordon as set by others than this provider alone.
fn is_cordoned_by_others(metadata: &Json) -> bool {
    let managers = metadata["managedFields"].as_array().into_iter().flatten();
    let mut managers =
        managers.filter(|entry| !entry["fieldsV1"]["f:spec"]["f:unschedulable"].is_null());
    let first = managers.next();
    let is_ours = |entry: &Json| entry["manager"] == MANAGER;
    first.is_some_and(|first| !is_ours(first) && !managers.any(is_ours))
}

fn is_up(node: &Json) -> bool {
    let mut conditions = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Why a Node does not serve, in the words of its conditions.
fn unready(node: &Json) -> Option<String> {
    let conditions = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let (ready, others): (Vec<&Json>, Vec<&Json>) =
        conditions.partition(|condition| condition["type"] == "Ready");
    let words = |condition: &Json| {
        let text = |name: &str| condition[name].as_str().unwrap_or_default();
        shown(&format!("{}: {}", text("reason"), text("message")))
    };
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut keys = taints.filter_map(|taint| taint["key"].as_str());
    let mut why = match ready.first() {
        None => vec!["its kubelet has not said how it is".to_owned()],
        Some(ready) if ready["status"] != "True" => vec![words(ready)],
        Some(_) if keys.any(|key| key == UNINITIALIZED) => {
            return Some(format!(
                "its cloud controller has not initialized it: it has the taint {UNINITIALIZED}"
            ));
        }
        Some(_) => return None,
    };
    let pressing = others
        .into_iter()
        .filter(|condition| condition["status"] == "True");
    why.extend(pressing.map(words));
    Some(why.join("; "))
}

fn texts(object: &Json) -> BTreeMap<String, String> {
    let pairs = object.as_object().into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn taint_of(taint: &Json) -> Option<Taint> {
    Some(Taint {
        key: taint["key"].as_str()?.to_owned(),
        value: taint["value"].as_str().unwrap_or_default().to_owned(),
        effect: Effect::of(taint["effect"].as_str()?)?,
    })
}

/// Whether it is one by which scheduling is said, by us or by the cluster itself.
fn says_scheduling(taint: &Taint) -> bool {
    taint.key == LEAVING || taint.key == "node.kubernetes.io/unschedulable"
}

fn leaving() -> Taint {
    Taint {
        key: LEAVING.to_owned(),
        value: String::new(),
        effect: Effect::PreferNoSchedule,
    }
}

impl Taint {
    fn json(&self) -> Json {
        let mut taint = json!({"key": self.key, "effect": self.effect.word()});
        if !self.value.is_empty() {
            taint["value"] = self.value.as_str().into();
        }
        taint
    }
}

/// Between the clocks of a cloud and of a cluster.
const SKEW: Duration = Duration::from_secs(120);
/// Whose fields are those that this provider applies.
pub(super) const MANAGER: &str = "terraform-provider-flatcar";
/// On a Node that a group has cordoned.
pub(super) const CORDONED: &str = "flatcar-iac.github.io/cordoned";
/// On one that a drain of its own has: no group opens it.
pub(super) const DRAINED: &str = "flatcar-iac.github.io/drained";
/// The taints that this provider has set: `gpu=yes:NoSchedule,...`
const TAINTS: &str = "flatcar-iac.github.io/taints";
/// The taint of a Node whose machine leaves soon.
const LEAVING: &str = "flatcar-iac.github.io/leaving";
const HOSTNAME: &str = "kubernetes.io/hostname";
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
const CONTROL_PLANE: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];
/// Annotations by which others say that a Node is not to be drained, with the value that says
/// nothing.
const EXCLUDING: [(&str, &str); 2] = [
    ("kubermatic.io/skip-eviction", "false"),
    ("machine.cluster.x-k8s.io/exclude-node-draining", "false"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, more: &Json) -> Found {
        let mut node = json!({
            "metadata": {"name": name, "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.34.2"}},
        });
        for (part, fields) in more.as_object().unwrap() {
            for (key, value) in fields.as_object().unwrap() {
                node[part][key] = value.clone();
            }
        }
        Found::of(&node)
    }

    #[test]
    fn a_node_that_is_older_than_a_machine_is_not_its_node() {
        let registered = "2026-01-01T00:00:00Z";
        let created = |seconds: i64| {
            let registered = Date::moment(registered).unwrap();
            let age = Duration::from_secs(seconds.unsigned_abs());
            Some(match seconds < 0 {
                true => registered - age,
                false => registered + age,
            })
        };
        let address =
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        let id = json!({"spec": {"providerID": "aws:///a/i-1"}});
        for (name, more, seconds, is_its) in [
            ("w-u-0", json!({}), -60, true),
            ("w-u-0", json!({}), 60, true),
            ("w-u-0", json!({}), 600, false),
            ("a", address.clone(), -60, true),
            ("a", address, 600, false),
            // An id is never another machine's, and some clouds say when it was started last.
            ("a", id, 600, true),
        ] {
            let host = Host {
                name: "w-u-0".to_owned(),
                id: "i-1".to_owned(),
                addresses: vec!["10.0.0.1".to_owned()],
                created: created(seconds),
            };
            assert_eq!(found(name, &more).is_of(&host), is_its, "{name} {seconds}");
        }
    }

    #[test]
    fn a_node_is_that_of_a_host_by_the_surest_of_what_it_says() {
        let host = Host {
            name: "w-u-0".to_owned(),
            id: "i-1".to_owned(),
            addresses: vec!["10.0.0.1".to_owned()],
            created: None,
        };
        let id = |id: &str| json!({"spec": {"providerID": id}});
        let address =
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        let newer = json!({"metadata": {"creationTimestamp": "2026-02-01T00:00:00Z"}, "status": address["status"]});
        let other = json!({"spec": {"providerID": "aws:///a/i-2"}, "status": address["status"]});
        let hostname = json!({"metadata": {"labels": {"kubernetes.io/hostname": "w-u-0"}}});
        for (nodes, expected) in [
            (
                vec![("a", id("aws:///eu-central-1a/i-1")), ("w-u-0", id(""))],
                Some("a"),
            ),
            (vec![("a", id("openstack:///I-1"))], Some("a")),
            (vec![("a", id("aws:///a/i-12")), ("b", json!({}))], None),
            (vec![("b", hostname), ("w-u-0", json!({}))], Some("w-u-0")),
            (
                vec![(
                    "b",
                    json!({"status": {"addresses": [{"type": "Hostname", "address": "w-u-0"}]}}),
                )],
                Some("b"),
            ),
            (vec![("a", address.clone()), ("b", newer)], None),
            (vec![("a", address.clone())], Some("a")),
            (vec![("a", other)], None),
            (vec![("w-u-0", id("vsphere://421c"))], Some("w-u-0")),
            (vec![], None),
        ] {
            let nodes: Vec<Found> = nodes.iter().map(|(name, more)| found(name, more)).collect();
            let of = nodes_of(std::slice::from_ref(&host), &nodes);
            assert_eq!(
                of.get("w-u-0").map(|node| node.name.as_str()),
                expected,
                "{nodes:?}"
            );
        }
        let path =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/w";
        let azure = Host {
            id: path.to_owned(),
            name: "w".to_owned(),
            addresses: Vec::new(),
            created: None,
        };
        let nodes = [found("x", &id(&format!("azure://{}", path.to_lowercase())))];
        assert!(nodes_of(&[azure], &nodes).contains_key("w"));
    }

    #[test]
    fn a_node_that_does_not_serve_says_why() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": format!("{kind}Reason"), "message": "words"});
        for (more, expected) in [
            (json!({}), None),
            (
                json!({"status": {"conditions": []}}),
                Some("its kubelet has not said how it is"),
            ),
            (
                json!({"status": {"conditions": [condition("Ready", "Unknown")]}}),
                Some("ReadyReason: words"),
            ),
            (
                json!({"status": {"conditions": [condition("DiskPressure", "True"), condition("PIDPressure", "False"), condition("Ready", "False")]}}),
                Some("ReadyReason: words; DiskPressureReason: words"),
            ),
            (
                json!({"spec": {"taints": [{"key": UNINITIALIZED, "effect": "NoSchedule"}]}}),
                Some(
                    "its cloud controller has not initialized it: it has the taint node.cloudprovider.kubernetes.io/uninitialized",
                ),
            ),
        ] {
            assert_eq!(found("a", &more).unready.as_deref(), expected, "{more}");
        }
    }

    #[test]
    fn what_is_set_touches_only_what_is_ours() {
        let mine = |text: &str| Taint::parse(text).unwrap();
        let theirs =
            json!({"key": "theirs", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"});
        let gpu = json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"});
        let away = json!({"key": LEAVING, "effect": "PreferNoSchedule"});
        let taints = |taints: &[&str]| Settings {
            taints: Some(taints.iter().map(|text| mine(text)).collect()),
            ..Settings::default()
        };
        let with = |annotations: Json, spec: Json| json!({"metadata": {"annotations": annotations}, "spec": spec});
        let ours = json!({TAINTS: "gpu=yes:NoSchedule"});
        let cordoned = json!({CORDONED: "true"});
        let open = Settings::scheduling(Scheduling::Open);
        let discouraged = Settings::scheduling(Scheduling::Discouraged);
        let closed = Settings::scheduling(Scheduling::Closed);
        for (node, settings, annotations, spec) in [
            (json!({}), &taints(&[]), Json::Null, Json::Null),
            (json!({}), &Settings::default(), Json::Null, Json::Null),
            (
                with(json!({}), json!({"taints": [theirs]})),
                &taints(&["gpu=yes:NoSchedule"]),
                ours.clone(),
                json!({"taints": [theirs, gpu]}),
            ),
            (
                with(ours.clone(), json!({"taints": [gpu, theirs]})),
                &taints(&["gpu=yes:NoSchedule"]),
                Json::Null,
                Json::Null,
            ),
            (
                with(ours.clone(), json!({"taints": [gpu, theirs]})),
                &taints(&[]),
                json!({TAINTS: null}),
                json!({"taints": [theirs]}),
            ),
            (
                with(ours.clone(), json!({"taints": [theirs]})),
                &taints(&["gpu=yes:NoSchedule"]),
                Json::Null,
                json!({"taints": [theirs, gpu]}),
            ),
            (
                with(ours.clone(), json!({"taints": [gpu]})),
                &taints(&["gpu=no:NoSchedule"]),
                json!({TAINTS: "gpu=no:NoSchedule"}),
                json!({"taints": [{"key": "gpu", "value": "no", "effect": "NoSchedule"}]}),
            ),
            (
                json!({}),
                &closed,
                cordoned.clone(),
                json!({"unschedulable": true}),
            ),
            (
                with(json!({}), json!({"taints": [theirs, away]})),
                &closed,
                cordoned.clone(),
                json!({"unschedulable": true, "taints": [theirs]}),
            ),
            // A cordon of somebody else's stays theirs.
            (
                with(json!({}), json!({"unschedulable": true})),
                &closed,
                Json::Null,
                Json::Null,
            ),
            (
                with(json!({}), json!({"unschedulable": true})),
                &open,
                Json::Null,
                Json::Null,
            ),
            (
                with(cordoned.clone(), json!({"unschedulable": true})),
                &open,
                json!({CORDONED: null}),
                json!({"unschedulable": false}),
            ),
            (
                with(cordoned.clone(), json!({})),
                &open,
                json!({CORDONED: null}),
                Json::Null,
            ),
            (
                json!({}),
                &discouraged,
                Json::Null,
                json!({"taints": [away]}),
            ),
            (
                with(json!({}), json!({"taints": [theirs, away]})),
                &open,
                Json::Null,
                json!({"taints": [theirs]}),
            ),
            (
                with(cordoned.clone(), json!({"unschedulable": true})),
                &closed,
                Json::Null,
                Json::Null,
            ),
        ] {
            let patch = found("a", &node).patch(settings, CORDONED);
            let patch = patch.unwrap_or_default();
            assert_eq!(
                patch["metadata"]["annotations"], annotations,
                "{node} {settings:?}"
            );
            assert_eq!(patch["spec"], spec, "{node} {settings:?}");
            let is_guarded = patch.is_null() || patch["metadata"]["resourceVersion"] == "7";
            assert!(is_guarded, "{patch}");
        }
    }

    #[test]
    fn scheduling_is_what_this_provider_has_set() {
        for (more, expected) in [
            (json!({}), Scheduling::Open),
            (json!({"spec": {"unschedulable": true}}), Scheduling::Open),
            (
                json!({"metadata": {"annotations": {CORDONED: "true"}}}),
                Scheduling::Open,
            ),
            (
                json!({"metadata": {"annotations": {CORDONED: "true"}}, "spec": {"unschedulable": true}}),
                Scheduling::Closed,
            ),
            (
                json!({"spec": {"taints": [leaving().json()]}}),
                Scheduling::Discouraged,
            ),
            (cordoned_by(&[MANAGER]), Scheduling::Closed),
            (
                cordoned_by(&["kubectl-cordon", MANAGER]),
                Scheduling::Closed,
            ),
            // Ours was taken back by somebody, and another one set later.
            (cordoned_by(&["kubectl-cordon"]), Scheduling::Open),
        ] {
            assert_eq!(found("a", &more).scheduling(), expected, "{more}");
        }
        let theirs = found("a", &cordoned_by(&["kubectl-cordon"]));
        let patch = theirs.patch(&Settings::scheduling(Scheduling::Open), CORDONED);
        let patch = patch.unwrap_or_default();
        assert_eq!(patch["metadata"]["annotations"], json!({CORDONED: null}));
        assert_eq!(patch["spec"], Json::Null);
    }

    /// A Node with our mark, which these managers have closed.
    fn cordoned_by(managers: &[&str]) -> Json {
        let entry = |manager: &&str| json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}});
        let managed: Vec<Json> = managers.iter().map(entry).collect();
        json!({"metadata": {"annotations": {CORDONED: "true"}, "managedFields": managed}, "spec": {"unschedulable": true}})
    }

    #[test]
    fn labels_are_applied_where_ours_are_others() {
        let managed = json!([
            {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:pool": {}}}}},
            {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:theirs": {}}}}},
        ]);
        let node =
            json!({"metadata": {"labels": {"pool": "a", "theirs": "b"}, "managedFields": managed}});
        for (wanted, applied) in [
            (Some(vec![("pool", "a")]), false),
            (Some(vec![("pool", "b")]), true),
            (Some(vec![]), true),
            (Some(vec![("pool", "a"), ("new", "c")]), true),
            // Said by somebody else, and not yet by us: it would go with them.
            (Some(vec![("pool", "a"), ("theirs", "b")]), true),
            (None, false),
        ] {
            let labels = wanted.map(|pairs| {
                let pairs = pairs.into_iter();
                pairs
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect()
            });
            let settings = Settings {
                labels,
                ..Settings::default()
            };
            let apply = found("a", &node).labels_to_apply(&settings);
            assert_eq!(apply.is_some(), applied, "{settings:?}");
        }
    }

    #[test]
    fn a_node_is_no_place_for_pods_where_it_is_closed_or_a_control_plane() {
        for (more, takes) in [
            (json!({}), true),
            (
                json!({"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}}),
                true,
            ),
            (json!({"spec": {"unschedulable": true}}), false),
            (
                json!({"spec": {"taints": [{"key": CONTROL_PLANE[0], "effect": "NoSchedule"}]}}),
                false,
            ),
            (json!({"status": {"conditions": []}}), false),
        ] {
            assert_eq!(found("a", &more).takes_pods(), takes, "{more}");
        }
    }
}
