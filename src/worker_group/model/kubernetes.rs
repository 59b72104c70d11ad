//! The attribute `kubernetes` of a group: what it wants of the cluster that its machines are Nodes
//! of.
//!
//! In: `{node_labels = {pool = "a"}, drain = {timeout = "5m"}}`. Out: [`Wants`], and what of it
//! changes Nodes that exist. Nothing of it rolls a machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{or, refusal};
use crate::kubernetes::label::{KEY_SAYS, VALUE_SAYS, is_key, is_value};
use crate::kubernetes::resource::options::{self, Options};
use crate::kubernetes::version::{VERSION_SAYS, is_version};
use crate::kubernetes::{Drain, Effect, KubeletVersion, Rules, Settings, Taint};
use crate::provider::{Attr, Attribute, Diagnostics, Path, Type, Value};

/// `kubernetes`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Kubernetes {
    pub(crate) wait_for_node: Attr<bool>,
    pub(crate) kubelet_version: Attr<String>,
    pub(crate) node_labels: Attr<BTreeMap<String, Attr<String>>>,
    pub(crate) node_taints: Attr<Vec<NodeTaint>>,
    pub(crate) delete_node: Attr<bool>,
    pub(crate) drain: Attr<DrainOptions>,
}

/// An element of `node_taints`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct NodeTaint {
    key: Attr<String>,
    value: Attr<String>,
    effect: Attr<String>,
}

/// `drain`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct DrainOptions {
    enabled: Attr<bool>,
    timeout: Attr<String>,
    on_timeout: Attr<String>,
    grace_period: Attr<String>,
    delete_emptydir_data: Attr<bool>,
    ignore_daemonsets: Attr<bool>,
    force: Attr<bool>,
}

impl DrainOptions {
    fn written(&self) -> Options<'_> {
        Options {
            timeout: &self.timeout,
            on_timeout: &self.on_timeout,
            grace_period: &self.grace_period,
            delete_emptydir_data: &self.delete_emptydir_data,
            ignore_daemonsets: &self.ignore_daemonsets,
            force: &self.force,
        }
    }
}

/// What a group wants of its cluster, all known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wants {
    pub(crate) wait_for_node: bool,
    pub(crate) kubelet_version: Option<KubeletVersion>,
    pub(crate) delete_node: bool,
    pub(crate) settings: Settings,
    pub(crate) drain: Option<Drain>,
    pub(crate) rules: Rules,
}

impl Kubernetes {
    /// All of it; `None` while some is unknown.
    pub(crate) fn wants(&self) -> Option<Wants> {
        let options = match &self.drain {
            Attr::Known(options) => options.clone(),
            Attr::Null => DrainOptions::default(),
            Attr::Unknown => return None,
        };
        let (drain, rules) = options.written().known()?;
        Some(Wants {
            wait_for_node: or(&self.wait_for_node, true)?,
            kubelet_version: self.version()?,
            delete_node: or(&self.delete_node, true)?,
            settings: self.settings()?,
            drain: or(&options.enabled, true)?.then_some(drain),
            rules,
        })
    }

    /// What kubelets have to report.
    fn version(&self) -> Option<Option<KubeletVersion>> {
        match &self.kubelet_version {
            Attr::Known(text) => Some(KubeletVersion::parse(text)),
            Attr::Null => Some(None),
            Attr::Unknown => None,
        }
    }

    /// What is set on Nodes.
    fn settings(&self) -> Option<Settings> {
        // Nobody who does not wait for a Node can set anything on it.
        let waits = or(&self.wait_for_node, true)?;
        Some(Settings {
            labels: waits.then_some(self.labels()?),
            taints: waits.then_some(self.taints()?),
            scheduling: None,
        })
    }

    fn labels(&self) -> Option<BTreeMap<String, String>> {
        let labels = or(&self.node_labels, BTreeMap::new())?;
        let labels = labels.into_iter();
        labels
            .map(|(key, value)| Some((key, or(&value, String::new())?)))
            .collect()
    }

    fn taints(&self) -> Option<Vec<Taint>> {
        let taints = or(&self.node_taints, Vec::new())?;
        let taint = |taint: &NodeTaint| {
            Some(Taint {
                key: or(&taint.key, String::new())?,
                value: or(&taint.value, String::new())?,
                effect: Effect::of(&or(&taint.effect, String::new())?)?,
            })
        };
        taints.iter().map(taint).collect()
    }
}

/// What changes on Nodes that exist, by the attribute that says it; empty for a group that sets
/// nothing.
pub(super) fn in_place(kubernetes: &Attr<Kubernetes>) -> Option<BTreeMap<String, String>> {
    let settings = match kubernetes {
        Attr::Known(kubernetes) => kubernetes.settings()?,
        Attr::Null => Settings::default(),
        Attr::Unknown => return None,
    };
    let labels = settings.labels.unwrap_or_default();
    let mut taints: Vec<String> = settings
        .taints
        .into_iter()
        .flatten()
        .map(|taint| taint.to_string())
        .collect();
    // Nothing depends on their order.
    taints.sort();
    let labels = (!labels.is_empty()).then(|| ("kubernetes.node_labels", format!("{labels:?}")));
    let taints = (!taints.is_empty()).then(|| ("kubernetes.node_taints", format!("{taints:?}")));
    let both = labels.into_iter().chain(taints);
    Some(both.map(|(name, text)| (name.to_owned(), text)).collect())
}

/// The attribute `kubernetes` of the group.
pub(super) fn schema() -> Attribute {
    Attribute::object(
        "kubernetes",
        "The cluster that the machines are Nodes of; the provider's `kubernetes` says how to reach it. Without it no cluster is asked anything. \
         Nothing of it rolls a machine.",
        vec![
            Attribute::bool("wait_for_node", "Whether a machine counts only once its Node is Ready.").null_means(true),
            Attribute::string("kubelet_version", "Version that the kubelet of a machine has to report before its Node counts as joined; without a patch, any patch of it. What comes after the numbers (`-eks-1a2b3c`, `+k3s1`) is not looked at. A machine that has joined is not asked again, so that a change alone touches no machine. Needs `wait_for_node`.")
                .pattern(VERSION_SAYS, is_version)
                .optional(),
            Attribute::map("node_labels", "Labels of the Nodes, set through the API. A change, and what somebody else has changed, is mended in place; labels that others set stay. Needs `wait_for_node`.", Type::String)
                .optional(),
            Attribute::list_of("node_taints", "Taints of the Nodes, set through the API as soon as a Node is there. A change, and what somebody else has changed, is mended in place; taints that others set stay. A taint that has to be there before the first pod belongs to the kubelet's configuration. Needs `wait_for_node`.", vec![
                Attribute::string("key", "Key.").required().pattern(KEY_SAYS, is_key),
                Attribute::string("value", "Value.").optional().pattern(VALUE_SAYS, is_value),
                Attribute::string("effect", "What it does to pods that do not tolerate it.").required().one_of(Effect::WORDS),
            ])
            .optional(),
            Attribute::bool("delete_node", "Whether the Node of a machine that is gone is deleted.").null_means(true),
            drain_schema(),
        ],
    )
    .check("", check)
    .optional()
}

fn drain_schema() -> Attribute {
    let mut attributes =
        vec![Attribute::bool("enabled", "Whether Nodes are drained.").null_means(true)];
    attributes.extend(options::attributes(
        "What comes after that: the machine stays and the apply ends with an error (`fail`), its pods are deleted without asking budgets (`force`), \
         or it goes with them on it (`skip`). Defaults to `fail`, and to `force` where the whole group is destroyed.",
    ));
    Attribute::object(
        "drain",
        "What becomes of the pods of a machine before it is deleted: its Node is cordoned, its pods are evicted as PodDisruptionBudgets allow, and \
         their volumes are awaited. The options are those of `kubectl drain`. What was applied last counts for a destroy.",
        attributes,
    )
    .optional()
}

/// What no single attribute can say.
fn check(kubernetes: &Value, path: &Path) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let Value::Map(fields) = kubernetes else {
        return problems;
    };
    let at = |name: &str| Path::of(&format!("{path}.{name}"));
    let waits = fields.get("wait_for_node") != Some(&Value::Bool(false));
    for name in ["node_labels", "node_taints"] {
        let is_written = !matches!(fields.get(name), None | Some(Value::Null));
        if is_written && !waits {
            problems.push(refusal(
                at(name),
                "Nobody waits for the Nodes",
                format!("{name} are set on a Node once it has joined, and wait_for_node is false. Leave that out, or {name}."),
            ));
        }
    }
    let asks = !matches!(fields.get("kubelet_version"), None | Some(Value::Null));
    if asks && !waits {
        problems.push(refusal(
            at("kubelet_version"),
            "Nobody waits for the Nodes",
            "kubelet_version is what a Node is waited for with, and wait_for_node is false. Leave that out, or kubelet_version.",
        ));
    }
    if let Some(Value::Map(labels)) = fields.get("node_labels") {
        for (key, value) in labels {
            let wrong_value = matches!(value, Value::String(value) if !is_value(value));
            let says = match (is_key(key), wrong_value) {
                (false, _) => format!("The key {key:?} is none of a label. {KEY_SAYS}."),
                (true, true) => format!("The value of {key} is none of a label. {VALUE_SAYS}."),
                (true, false) => continue,
            };
            problems.push(refusal(
                at("node_labels").key(key),
                "Label has the wrong form",
                says,
            ));
        }
    }
    if let Some(Value::List(taints)) = fields.get("node_taints") {
        let text = |taint: &Value, name: &str| match taint {
            Value::Map(fields) => match fields.get(name) {
                Some(Value::String(text)) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let mut seen = Vec::new();
        for (index, taint) in taints.iter().enumerate() {
            let pair = (text(taint, "key"), text(taint, "effect"));
            if let (Some(key), Some(effect)) = &pair
                && seen.contains(&pair)
            {
                problems.push(refusal(
                    at("node_taints").index(index),
                    "Taint is written twice",
                    format!(
                        "A Node has one taint {key} of the effect {effect}. Remove one of them."
                    ),
                ));
            }
            seen.push(pair);
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::kubernetes::OnTimeout;
    use crate::provider::convert::{from_value, to_value};
    use crate::provider::schema::Kind;

    fn of(written: &serde_json::Value) -> Kubernetes {
        from_value(&filled(&schema().kind, written), &Path::root()).unwrap()
    }

    /// What is left out is null, as cores have it.
    fn filled(kind: &Kind, json: &serde_json::Value) -> Value {
        match (kind, json) {
            (Kind::Object(attributes), serde_json::Value::Object(_)) => {
                let value = |attribute: &Attribute| filled(&attribute.kind, &json[attribute.name]);
                let attributes = attributes.iter();
                Value::Map(
                    attributes
                        .map(|one| (one.name.to_owned(), value(one)))
                        .collect(),
                )
            }
            (Kind::ListOf(attributes), serde_json::Value::Array(elements)) => {
                let element = Kind::Object(attributes.clone());
                Value::List(elements.iter().map(|json| filled(&element, json)).collect())
            }
            (_, json) => to_value(json),
        }
    }

    #[test]
    fn what_is_left_out_is_as_kubectl_has_it() {
        let wants = of(&json!({})).wants().unwrap();
        let expected = Wants {
            wait_for_node: true,
            kubelet_version: None,
            delete_node: true,
            settings: Settings {
                labels: Some(BTreeMap::new()),
                taints: Some(Vec::new()),
                scheduling: None,
            },
            drain: Some(Drain {
                timeout: Duration::from_secs(900),
                on_timeout: None,
            }),
            rules: Rules {
                ignore_daemonsets: true,
                delete_emptydir_data: true,
                force: false,
                grace_period: None,
            },
        };
        assert_eq!(wants, expected);
        let none = of(&json!({"wait_for_node": false, "drain": {"enabled": false}}))
            .wants()
            .unwrap();
        assert_eq!((none.drain, none.settings), (None, Settings::default()));
        let written =
            json!({"timeout": "1m", "on_timeout": "skip", "grace_period": "5s", "force": true});
        let written = of(&json!({"drain": written})).wants().unwrap();
        let asked = of(&json!({"kubelet_version": "v1.34"})).wants().unwrap();
        assert_eq!(asked.kubelet_version, KubeletVersion::parse("1.34"));
        let drain = Drain {
            timeout: Duration::from_secs(60),
            on_timeout: Some(OnTimeout::Skip),
        };
        assert_eq!(written.drain, Some(drain));
        assert_eq!(
            (written.rules.grace_period, written.rules.force),
            (Some(Duration::from_secs(5)), true)
        );
    }

    #[test]
    fn labels_and_taints_change_in_place_and_nothing_else_does() {
        let in_place = |written: &serde_json::Value| in_place(&Attr::Known(of(written))).unwrap();
        let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
        let nothing = in_place(&json!({}));
        assert!(nothing.is_empty());
        assert_eq!(
            in_place(
                &json!({"drain": {"force": true}, "delete_node": false, "node_labels": {}, "kubelet_version": "1.34"})
            ),
            nothing
        );
        let names = |written: &serde_json::Value| in_place(written).into_keys().collect::<Vec<_>>();
        assert_eq!(
            names(&json!({"node_labels": {"a": "b"}})),
            ["kubernetes.node_labels"]
        );
        let one = in_place(&json!({"node_taints": [taint("a"), taint("b")]}));
        assert_eq!(
            one,
            in_place(&json!({"node_taints": [taint("b"), taint("a")]}))
        );
        assert_ne!(one, in_place(&json!({"node_taints": [taint("a")]})));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let long = "a".repeat(64);
        let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
        for (written, faults) in [
            (
                json!({"node_labels": {"a": "b", "example.com/pool": "A_b.c-1", "e": ""}}),
                0,
            ),
            (
                json!({"node_labels": {"": "b", "-a": "b", "a/b/c": "d", "A.b/c": "d"}}),
                4,
            ),
            (json!({"node_labels": {"flatcar-iac.github.io/a": "b"}}), 1),
            (json!({"node_labels": {"a": "b c", "b": long, "c": "-"}}), 3),
            (
                json!({"node_labels": {"a": "b"}, "wait_for_node": false}),
                1,
            ),
            (
                json!({"node_taints": [taint("a")], "wait_for_node": false}),
                1,
            ),
            (
                json!({"kubelet_version": "1.34", "wait_for_node": false}),
                1,
            ),
            (
                json!({"node_taints": [taint("a"), taint("b"), taint("a")]}),
                1,
            ),
        ] {
            let problems = check(&to_value(&written), &Path::of("kubernetes"));
            assert_eq!(problems.0.len(), faults, "{written}");
        }
    }
}
