//! What the user wrote for one machine, as hashes, and what changed between two of them.
//!
//! A generation is four hashes, one a part, so that a machine tells by its mark alone which part of
//! it is outdated: `3f2a91c07b1d-9c1185a2e0f4-e3b0c44298fc-1d4f0a6b2c3e` is user data, shape,
//! triggers, image. A part that a policy leaves alone (`image_update = "new_only"`) is recorded and
//! not compared, so a change of policy rolls nothing by itself.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use super::reasons::merged;
use crate::ignition;
use crate::protocol::value::{Number, Value};

/// Hashes of what one machine was made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Generation {
    user_data: String,
    shape: String,
    triggers: String,
    image: String,
}

/// Which parts of a generation matter to machines that exist. Shape and triggers do unless nobody
/// knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rolls {
    pub(crate) shape: bool,
    pub(crate) triggers: bool,
    /// `user_data_update = "roll"`.
    pub(crate) user_data: bool,
    /// `image_update = "roll"`.
    pub(crate) image: bool,
}

/// What the user wrote.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    /// The user data, or what stands for it.
    pub(crate) user_data: UserData<'a>,
    /// Whether a host name is merged into it.
    pub(crate) set_hostname: bool,
    /// `"aws"`.
    pub(crate) cloud: &'a str,
    /// The shape without nulls, defaults and the fields that roll nothing.
    pub(crate) shape: &'a Value,
    /// `replace_triggers`.
    pub(crate) triggers: &'a BTreeMap<String, String>,
    /// What new machines boot.
    pub(crate) image: &'a str,
}

/// User data as far as a generation knows it. A secret: no `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserData<'a> {
    /// Ignition JSON; order, whitespace and packing do not matter.
    Ignition(&'a str),
    /// `user_data_wo_version`: the value itself may be another one in every run.
    Version(&'a str),
    /// None was given, or an import does not know it.
    Absent,
}

impl Generation {
    /// Of what the user wrote.
    pub(crate) fn of(written: &Written<'_>) -> Self {
        let user_data = match written.user_data {
            UserData::Ignition(text) => ignition::canonical(text),
            UserData::Version(version) => format!("version {version}").into_bytes(),
            UserData::Absent => Vec::new(),
        };
        let host = if written.set_hostname { "host" } else { "" };
        let mut shape = String::new();
        write_value(written.shape, &mut shape);
        let mut triggers = String::new();
        for (key, value) in written.triggers {
            write_text(key, &mut triggers);
            write_text(value, &mut triggers);
        }
        Self {
            user_data: hash(&[&user_data, host.as_bytes()]),
            shape: hash(&[written.cloud.as_bytes(), shape.as_bytes()]),
            triggers: hash(&[triggers.as_bytes()]),
            image: hash(&[written.image.as_bytes()]),
        }
    }

    /// As [`fmt::Display`] wrote it. A mark that is none of ours differs from every generation.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split('-').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            user_data: next(),
            shape: next(),
            triggers: next(),
            image: next(),
        }
    }

    /// The same, of which nobody knows the user data: it differs from all that may be given.
    pub(crate) fn of_unknown_user_data(self) -> Self {
        Self {
            user_data: UNKNOWN.to_owned(),
            ..self
        }
    }

    /// Whether no machine has ever shown the user data.
    pub(crate) fn knows_no_user_data(&self) -> bool {
        self.user_data == UNKNOWN
    }

    /// The same, of which nobody knows the shape.
    pub(crate) fn of_unknown_shape(self) -> Self {
        Self {
            shape: UNKNOWN.to_owned(),
            ..self
        }
    }

    /// Whether a machine of this generation is outdated beside another.
    pub(crate) fn differs(&self, other: &Self, rolls: Rolls) -> bool {
        (rolls.shape && self.shape != other.shape)
            || (rolls.triggers && self.triggers != other.triggers)
            || (rolls.user_data && self.user_data != other.user_data)
            || (rolls.image && self.image != other.image)
    }

    /// Whether machines of this generation that an unfinished create left behind are what a create
    /// of `wanted` would make: the same configuration, but for a newer image where that rolls
    /// nothing.
    pub(crate) fn serves(&self, wanted: &Self, rolls: Rolls) -> bool {
        let rolls = Rolls {
            user_data: true,
            ..rolls
        };
        !self.differs(wanted, rolls)
    }

    /// The hash of the shape.
    pub(crate) fn shape(&self) -> &str {
        &self.shape
    }

    /// Whether both were made from the same user data.
    pub(crate) fn has_user_data(&self, of: &Self) -> bool {
        self.user_data == of.user_data
    }

    /// Whether both were made with the same triggers.
    pub(crate) fn has_triggers(&self, of: &Self) -> bool {
        self.triggers == of.triggers
    }

    /// The same with the shape of another.
    pub(crate) fn with_shape(&self, of: &Self) -> Self {
        Self {
            shape: of.shape.clone(),
            ..self.clone()
        }
    }

    /// The same with the user data of another.
    pub(crate) fn with_user_data(&self, of: &Self) -> Self {
        Self {
            user_data: of.user_data.clone(),
            ..self.clone()
        }
    }

    /// The same with the triggers of another.
    pub(crate) fn with_triggers(&self, of: &Self) -> Self {
        Self {
            triggers: of.triggers.clone(),
            ..self.clone()
        }
    }

    /// What of `other` is not as in this one, in the user's words and without contents, as far as
    /// hashes can tell; `known` has the words for parts whose earlier contents are known.
    pub(crate) fn reasons(&self, other: &Self, rolls: Rolls, known: &Reasons) -> String {
        let parts = [
            (
                rolls.shape,
                &self.shape,
                &other.shape,
                &known.shape,
                "shape changed",
            ),
            (
                rolls.triggers,
                &self.triggers,
                &other.triggers,
                &known.triggers,
                "replace_triggers changed",
            ),
            (
                rolls.user_data,
                &self.user_data,
                &other.user_data,
                &known.user_data,
                "user_data changed",
            ),
            (
                rolls.image,
                &self.image,
                &other.image,
                &known.image,
                "image changed",
            ),
        ];
        let words: Vec<&str> = parts
            .into_iter()
            .filter(|(matters, ours, theirs, _, _)| *matters && ours != theirs)
            .map(|(_, _, _, known, fallback)| match known.is_empty() {
                true => fallback,
                false => known.as_str(),
            })
            .collect();
        words.join("; ")
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user_data,
            shape,
            triggers,
            image,
        } = self;
        write!(f, "{user_data}-{shape}-{triggers}-{image}")
    }
}

/// What changed between two writings, one text a part; `""` where a part did not change or nothing
/// is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Reasons {
    /// `user_data: file /etc/motd changed, unit kubelet.service added`.
    pub(crate) user_data: String,
    /// `aws.instance_type changed`.
    pub(crate) shape: String,
    /// `replace_triggers["kernel"] changed`.
    pub(crate) triggers: String,
    /// `image: A -> B`.
    pub(crate) image: String,
}

impl Reasons {
    /// Between what was written before and what is written now.
    pub(crate) fn between(before: &Written<'_>, now: &Written<'_>) -> Self {
        Self {
            user_data: user_data_reason(before, now),
            shape: shape_reason(before, now),
            triggers: triggers_reason(before.triggers, now.triggers),
            image: match (before.image, now.image) {
                (before, now) if before == now || before.is_empty() => String::new(),
                (before, now) => format!("image: {before} -> {now}"),
            },
        }
    }

    /// These and later ones, for a machine that missed both changes.
    pub(crate) fn then(&self, later: &Reasons) -> Self {
        Self {
            user_data: merged(&self.user_data, &later.user_data),
            shape: merged(&self.shape, &later.shape),
            triggers: merged(&self.triggers, &later.triggers),
            image: merged(&self.image, &later.image),
        }
    }
}

fn user_data_reason(before: &Written<'_>, now: &Written<'_>) -> String {
    let mut words = match (before.user_data, now.user_data) {
        (UserData::Ignition(before), UserData::Ignition(now)) => ignition::differences(before, now),
        (UserData::Version(before), UserData::Version(now)) if before != now => {
            return format!("user_data_wo_version: {before} -> {now}");
        }
        _ => Vec::new(),
    };
    if before.set_hostname != now.set_hostname {
        words.push("set_hostname changed".to_owned());
    }
    match words.is_empty() {
        true => String::new(),
        false => format!("user_data: {}", words.join(", ")),
    }
}

fn shape_reason(before: &Written<'_>, now: &Written<'_>) -> String {
    let (Value::Map(old), Value::Map(new)) = (before.shape, now.shape) else {
        return String::new();
    };
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort();
    fields.dedup();
    fields.retain(|field| old.get(*field) != new.get(*field));
    let paths: Vec<String> = fields
        .iter()
        .map(|field| format!("{}.{field}", now.cloud))
        .collect();
    match paths.is_empty() {
        true => String::new(),
        false => format!("{} changed", paths.join(", ")),
    }
}

fn triggers_reason(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| before.get(*key) != now.get(*key));
    let paths: Vec<String> = keys
        .iter()
        .map(|key| format!("replace_triggers[{key:?}]"))
        .collect();
    match paths.is_empty() {
        true => String::new(),
        false => format!("{} changed", paths.join(", ")),
    }
}

/// In the place of a hash; no hash is written so.
const UNKNOWN: &str = "unknown";

/// 12 hexadecimal digits over parts that cannot run into each other.
pub(crate) fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A value as text in which equal values are equal, and only they.
pub(crate) fn text_of(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

/// A value as text in which equal values are equal: nulls in maps left out, numbers by value.
fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Unknown(_) => out.push_str("null"),
        Value::Bool(bool) => out.push_str(&bool.to_string()),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => write_text(text, out),
        Value::List(items) => {
            out.push('[');
            for item in items {
                write_value(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (key, value) in entries.iter().filter(|(_, value)| **value != Value::Null) {
                write_text(key, out);
                write_value(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Dynamic(_, value) => write_value(value, out),
    }
}

/// Length and text: no escaping whose rules could change with a compiler and roll every group.
fn write_text(text: &str, out: &mut String) {
    out.push_str(&format!("{}:{text}", text.len()));
}

fn number_text(number: &Number) -> String {
    match number {
        Number::Int(number) => number.to_string(),
        Number::Uint(number) => number.to_string(),
        // Display of a whole f64 has no point: 1.0 is "1".
        Number::Float(number) => number.to_string(),
        Number::Decimal(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Value)]) -> Value {
        let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        Value::Map(entries.collect())
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    const ALL: Rolls = Rolls {
        user_data: true,
        shape: true,
        triggers: true,
        image: true,
    };

    fn written<'a>(
        user_data: UserData<'a>,
        shape: &'a Value,
        triggers: &'a BTreeMap<String, String>,
        image: &'a str,
    ) -> Written<'a> {
        Written {
            user_data,
            set_hostname: false,
            cloud: "aws",
            shape,
            triggers,
            image,
        }
    }

    #[test]
    fn a_generation_is_51_characters_and_reads_back() {
        let triggers = BTreeMap::new();
        let shape = map(&[("instance_type", text("t3.small"))]);
        let generation =
            Generation::of(&written(UserData::Version("1"), &shape, &triggers, "ami-1"));
        let printed = generation.to_string();
        assert_eq!(printed.len(), 51, "{printed}");
        assert_eq!(Generation::parse(&printed), generation);
    }

    #[test]
    fn nulls_and_spellings_of_numbers_do_not_count() {
        let triggers = BTreeMap::new();
        let one = map(&[("size", Value::Number(Number::Int(1)))]);
        let same = map(&[
            ("size", Value::Number(Number::Float(1.0))),
            ("type", Value::Null),
        ]);
        let of = |shape| Generation::of(&written(UserData::Absent, shape, &triggers, "a"));
        assert_eq!(of(&one), of(&same));
        let other = map(&[("size", Value::Number(Number::Int(2)))]);
        assert_ne!(of(&one), of(&other));
    }

    #[test]
    fn each_part_counts_only_where_its_policy_says_so() {
        let none = BTreeMap::new();
        let some = BTreeMap::from([("kernel".to_owned(), "2".to_owned())]);
        let small = map(&[("instance_type", text("t3.small"))]);
        let large = map(&[("instance_type", text("t3.large"))]);
        let base = written(UserData::Version("1"), &small, &none, "ami-1");
        let version = Written {
            user_data: UserData::Version("2"),
            ..base
        };
        let image = Written {
            image: "ami-2",
            ..base
        };
        let shape = Written {
            shape: &large,
            ..base
        };
        let triggers = Written {
            triggers: &some,
            ..base
        };
        let never = Rolls {
            user_data: false,
            image: false,
            ..ALL
        };
        // what changed, outdated under every policy, outdated under none, reason
        let cases = [
            (base, false, false, ""),
            (version, true, false, "user_data_wo_version: 1 -> 2"),
            (image, true, false, "image: ami-1 -> ami-2"),
            (shape, true, true, "aws.instance_type changed"),
            (triggers, true, true, "replace_triggers[\"kernel\"] changed"),
        ];
        let old = Generation::of(&base);
        for (now, under_all, under_none, reason) in cases {
            let new = Generation::of(&now);
            let known = Reasons::between(&base, &now);
            assert_eq!(old.differs(&new, ALL), under_all, "{reason}");
            assert_eq!(old.differs(&new, never), under_none, "{reason}");
            assert_eq!(old.reasons(&new, ALL, &known), reason);
        }
    }

    #[test]
    fn reasons_of_two_changes_are_both_told() {
        let first = Reasons {
            image: "image: A -> B".to_owned(),
            ..Reasons::default()
        };
        let second = Reasons {
            image: "image: B -> C".to_owned(),
            shape: "aws.spot changed".to_owned(),
            ..Reasons::default()
        };
        let both = first.then(&second);
        assert_eq!(both.image, "image: A -> C");
        assert_eq!(both.shape, "aws.spot changed");
    }

    #[test]
    fn a_foreign_mark_differs_from_everything() {
        let triggers = BTreeMap::new();
        let shape = map(&[]);
        let ours = Generation::of(&written(UserData::Absent, &shape, &triggers, "a"));
        assert!(Generation::parse("by hand").differs(&ours, ALL));
        assert_eq!(
            Generation::parse("").reasons(&ours, ALL, &Reasons::default()),
            "shape changed; replace_triggers changed; user_data changed; image changed"
        );
    }
}
