//! Tags: what a cloud takes as one; and those that the provider block speaks of for all groups,
//! which machines have beside their group's, or which are somebody else's business.
//!
//! In: a group's own tags, `default_tags = { tags = { team = "a" } }`, `ignore_tags = { keys =
//! ["cost"], key_prefixes = ["k8s/"] }`. Out: what is wrong with them; tags with the former, and
//! without the latter.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Machine;
use crate::provider::{Attribute, Diagnostic, Diagnostics, Path, Type, Value};

/// What a cloud takes as a tag. Lengths are in characters.
pub struct Rules {
    /// The longest key; the shortest has one character.
    pub key_chars: usize,
    /// The longest value.
    pub value_chars: usize,
    /// Why a key cannot be the user's, in whole sentences; the second is the key as it is shown.
    pub taken: fn(&str, &str) -> Option<String>,
}

impl Rules {
    /// What is wrong with these tags, on paths below `tags`. Values may be unknown.
    pub fn check(&self, tags: &Value) -> Diagnostics {
        let mut problems = Diagnostics::none();
        for (key, value) in tags.entries() {
            // Core shows the resource's line alone for what is nested: the words say which it is.
            let shown = shown(key);
            let mut found = |summary: &str, detail: String| {
                let at = Path::of("tags").key(key);
                problems.push(Diagnostic::error(summary, detail).at(at));
            };
            let (length, most) = (key.chars().count(), self.key_chars);
            if !(1..=most).contains(&length) {
                let detail = format!(
                    "{shown} has {length} characters, and a tag key has 1 to {most}. Write another key."
                );
                found("Tag key has the wrong length", detail);
            }
            let length = value.text().unwrap_or_default().chars().count();
            let most = self.value_chars;
            if length > most {
                let detail = format!(
                    "The value of {shown} has {length} characters, and a tag value has at most {most}. Shorten it."
                );
                found("Tag value is too long", detail);
            }
            if let Some(why) = (self.taken)(key, &shown) {
                found("Tag key is taken", why);
            }
        }
        problems
    }
}

/// A key as it is shown.
fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(60).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Attributes of a cloud's provider block, by the cloud's rules.
pub fn attributes(rules: &'static Rules) -> Vec<Attribute> {
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
        .check("", move |tags, at| rules.check(tags.field("tags")).under(at))
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

type Tags = BTreeMap<String, String>;

/// What the user writes in `default_tags`; an empty value counts as null by then.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DefaultTags {
    tags: Option<BTreeMap<String, Option<String>>>,
}

/// What the user writes in `ignore_tags`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IgnoreTags {
    keys: Option<BTreeSet<String>>,
    key_prefixes: Option<BTreeSet<String>>,
}

/// Both: what the provider block says of tags.
#[derive(Debug, Clone, Default)]
pub struct Tagging {
    defaults: BTreeMap<String, String>,
    keys: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl Tagging {
    /// As the user writes them.
    pub fn of(defaults: Option<&DefaultTags>, ignored: Option<&IgnoreTags>) -> Self {
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
    pub fn whole(&self, own: Option<Tags>) -> Option<Tags> {
        if self.defaults.is_empty() {
            return own;
        }
        let mut tags = self.defaults.clone();
        tags.extend(own.into_iter().flatten());
        Some(tags)
    }

    /// What one that exists is compared with, and changed to.
    pub fn watched(&self, own: Option<Tags>) -> Option<Tags> {
        let mut tags = self.whole(own)?;
        tags.retain(|key, _| !self.ignores(key));
        Some(tags)
    }

    /// What is ignored is not seen. `prefix` is what tags begin with in [`Machine::observed`]:
    /// `"tags."`.
    pub fn overlook(&self, machine: &mut Machine, prefix: &str) {
        let is_ignored = |key: &str| {
            let tag = key.strip_prefix(prefix);
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
    use crate::provider::convert::to_value;

    #[test]
    fn tags_that_a_cloud_does_not_take_are_refused_by_key() {
        const RULES: Rules = Rules {
            key_chars: 4,
            value_chars: 2,
            taken: |key, shown| (key == "ours").then(|| format!("{shown} is ours.")),
        };
        for (key, value, summary) in [
            ("team", json!("ab"), None),
            ("teams", json!(""), Some("Tag key has the wrong length")),
            ("", json!(""), Some("Tag key has the wrong length")),
            ("team", json!("abc"), Some("Tag value is too long")),
            ("ours", json!(""), Some("Tag key is taken")),
        ] {
            let problems = RULES.check(&to_value(&json!({ key: value }))).0;
            let summaries = problems.iter().map(|one| one.summary.as_str());
            assert_eq!(summaries.collect::<Vec<_>>(), Vec::from_iter(summary));
            for problem in &problems {
                let path = problem.path.as_ref().map(ToString::to_string);
                assert_eq!(path, Some(format!("tags[{key:?}]")));
            }
        }
        assert!(RULES.check(&Value::unknown()).is_empty());
        assert_eq!(shown(&"x".repeat(61)).chars().count(), 63);
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
                    .collect::<Tags>(),
            )
        };
        let own = || tags(&[("team", "b"), ("cost", "1"), ("k8s/role", "x")]);
        assert_eq!(
            tagging.whole(own()),
            tags(&[("cost", "1"), ("env", ""), ("k8s/role", "x"), ("team", "b")])
        );
        assert_eq!(tagging.watched(own()), tags(&[("env", ""), ("team", "b")]));
        let nothing = Tagging::default();
        assert_eq!(nothing.whole(None), None);
        assert_eq!(nothing.watched(own()), own());
    }
}
