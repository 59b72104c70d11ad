//! Tags that the provider block speaks of for all groups: those that machines have beside their group's, and those that are somebody
//! else's business.
//!
//! In: `default_tags = { tags = { team = "a" } }`, `ignore_tags = { keys = ["cost"], key_prefixes = ["k8s/"] }`. Out: a shape with the
//! former, and without the latter.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::shape::{Shape, check_tag};
use crate::provider::{Attribute, Diagnostics, Path, Type, Value};
use crate::worker_group::cloud::Machine;

/// Attributes of the provider block's `aws`.
pub(super) fn attributes() -> Vec<Attribute> {
    vec![
        Attribute::object(
            "default_tags",
            "Tags of every machine, as the AWS provider has them.",
            vec![
                Attribute::map(
                    "tags",
                    "Keys and values. A group's own `tags` of the same key win.",
                    Type::String,
                )
                .optional(),
            ],
        )
        .check("", check_defaults)
        .optional(),
        Attribute::object(
            "ignore_tags",
            "Tags that others write on machines: a group gives them to new machines where it has them, and looks at them no more.",
            vec![
                Attribute::set("keys", "Whole keys.", Type::String)
                    .optional()
                    .filled(),
                Attribute::set("key_prefixes", "Beginnings of keys.", Type::String)
                    .optional()
                    .filled(),
            ],
        )
        .optional(),
    ]
}

fn check_defaults(defaults: &Value, at: &Path) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if let Value::Map(fields) = defaults
        && let Some(Value::Map(tags)) = fields.get("tags")
    {
        for (key, value) in tags {
            check_tag(key, value, &mut problems);
        }
    }
    problems.under(at)
}

/// What the user writes in `default_tags`; an empty value counts as null by then.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct DefaultTags {
    tags: Option<BTreeMap<String, Option<String>>>,
}

/// What the user writes in `ignore_tags`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct IgnoreTags {
    keys: Option<BTreeSet<String>>,
    key_prefixes: Option<BTreeSet<String>>,
}

/// Both.
#[derive(Debug, Clone, Default)]
pub(super) struct Tagging {
    defaults: BTreeMap<String, String>,
    keys: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl Tagging {
    pub(super) fn of(defaults: Option<&DefaultTags>, ignored: Option<&IgnoreTags>) -> Self {
        let defaults = defaults.and_then(|defaults| defaults.tags.clone());
        let ignored = ignored.cloned().unwrap_or_default();
        Self {
            defaults: defaults
                .into_iter()
                .flatten()
                .map(|(key, value)| (key, value.unwrap_or_default()))
                .collect(),
            keys: ignored.keys.unwrap_or_default(),
            prefixes: ignored.key_prefixes.unwrap_or_default(),
        }
    }

    /// What a new machine is made from.
    pub(super) fn whole(&self, mut shape: Shape) -> Shape {
        if !self.defaults.is_empty() {
            let mut tags = self.defaults.clone();
            tags.extend(shape.tags.take().into_iter().flatten());
            shape.tags = Some(tags);
        }
        shape
    }

    /// What one that exists is compared with, and changed to.
    pub(super) fn watched(&self, shape: Shape) -> Shape {
        let mut shape = self.whole(shape);
        if let Some(tags) = &mut shape.tags {
            tags.retain(|key, _| !self.ignores(key));
        }
        shape
    }

    /// What is ignored is not seen.
    pub(super) fn overlook(&self, machine: &mut Machine) {
        let is_ignored = |key: &str| {
            let tag = key.strip_prefix("tags.");
            tag.is_some_and(|tag| self.ignores(tag))
        };
        machine.observed.retain(|key, _| !is_ignored(key));
    }

    fn ignores(&self, key: &str) -> bool {
        self.keys.contains(key) || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::Model as _;
    use crate::provider::convert::to_value;

    fn shape(tags: serde_json::Value) -> Shape {
        let shape = json!({"instance_type": "a", "metadata_http_tokens": "required", "tags": tags});
        let Value::Map(written) = to_value(&shape) else {
            unreachable!()
        };
        let mut fields: BTreeMap<String, Value> = super::super::shape::field_names()
            .map(|name| (name.to_owned(), Value::Null))
            .collect();
        fields.extend(written);
        Shape::from_value(&Value::Map(fields)).unwrap()
    }

    #[test]
    fn defaults_come_in_a_groups_own_win_and_what_is_ignored_is_not_compared() {
        let defaults: DefaultTags =
            serde_json::from_value(json!({"tags": {"team": "a", "env": null}})).unwrap();
        let ignored: IgnoreTags =
            serde_json::from_value(json!({"keys": ["cost"], "key_prefixes": ["k8s/"]})).unwrap();
        let tagging = Tagging::of(Some(&defaults), Some(&ignored));
        let tags = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Some(
                pairs
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect::<BTreeMap<_, _>>(),
            )
        };
        let own = json!({"team": "b", "cost": "1", "k8s/role": "x"});
        assert_eq!(
            tagging.whole(shape(own.clone())).tags,
            tags(&[("cost", "1"), ("env", ""), ("k8s/role", "x"), ("team", "b")])
        );
        assert_eq!(
            tagging.watched(shape(own.clone())).tags,
            tags(&[("env", ""), ("team", "b")])
        );
        let nothing = Tagging::default();
        assert_eq!(nothing.whole(shape(json!(null))).tags, None);
        assert_eq!(nothing.watched(shape(own.clone())), shape(own));
    }
}
