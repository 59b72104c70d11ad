//! A machine beside what is wanted: where it is, what it has of the fields that change in place,
//! and in what it is no longer as the group made it.
//!
//! In: a machine as its cloud shows it, or what a refresh noted of it. Out: fields, and reasons in
//! the user's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cloud::addresses::holds;
use super::cloud::{Change, Entry, Machine, Phase};
use super::generation;
use super::model::{self, Note};
use super::wanted::Wanted;
use crate::protocol::value::Value;

/// The phase of a machine that does not serve, in its cloud's words where there are any.
pub(super) fn said(machine: &model::Machine, note: &Note) -> String {
    match &note.message {
        Some(message) if message.starts_with(&machine.phase) => message.clone(),
        Some(message) => format!("{}: {message}", machine.phase),
        None => machine.phase.clone(),
    }
}

/// Fields that change in place and that a machine has as they are wanted.
pub(super) fn settled(note: &Note, wanted: &Wanted) -> Vec<String> {
    let as_wanted = |field: &str, has: &str| {
        let value = wanted.in_place.get(field).unwrap_or(&Value::Null);
        hash_of(value) == has
    };
    note.in_place
        .iter()
        .filter(|(field, has)| as_wanted(field, has))
        .map(|(field, _)| format!("{}.{field}", wanted.entry.name))
        .collect()
}

/// Why a machine may no longer be where it is; `None` where it may, or nobody has said where it is.
pub(super) fn misplaced(note: &Note, wanted: &Wanted) -> Option<String> {
    let outside = wanted.places.iter().find_map(|allowed| {
        let has = note.places.get(allowed.path)?;
        let listed: BTreeSet<String> = allowed.listed.iter().map(|one| plain(one)).collect();
        let is_held = |one: &str| allowed.listed.iter().any(|range| holds(range, one));
        let inside = |one: &str| listed.contains(&plain(one)) || is_held(one);
        let inside = has.split(',').any(inside);
        (!inside).then_some((allowed.path, has))
    });
    let (path, has) = outside?;
    let has = has.replace(',', ", ");
    Some(format!("{}.{path} does not allow {has}", wanted.entry.name))
}

/// A place as it is compared: an address in one spelling, an OpenStack zone without the host that
/// it may be bound to.
fn plain(place: &str) -> String {
    match place.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => place.split(':').next().unwrap_or(place).to_owned(),
    }
}

/// In what a machine is not as state has it.
#[derive(Default)]
pub(crate) struct Compared {
    /// Fields in which it differs, `image` among them, but for what `has` says.
    pub(crate) drift: Vec<String>,
    /// What it has of the fields that change in place.
    pub(crate) has: BTreeMap<String, Value>,
}

/// Compares a machine with what a cloud says that machines of this shape look like. What it has of
/// the fields that change in place is for state to show, where a core's `ignore_changes` finds it.
pub(crate) fn compared(
    machine: &Machine,
    looks: &BTreeMap<String, String>,
    (entry, shape): (&Entry, &Value),
    recorded_image: Option<&str>,
) -> Compared {
    let mut drift = drift(machine, looks, entry, recorded_image);
    let mut has = BTreeMap::new();
    for attribute in model::attributes(entry) {
        let field = attribute.name;
        if !entry.changes_in_place(field) {
            continue;
        }
        let said = model::in_place_of(shape, field);
        let differs = drift.iter().any(|drifted| drifted == field);
        let value = match differs {
            true => model::observed_value(&attribute, &machine.observed),
            false => said.clone(),
        };
        // Else it is a difference that the field itself cannot show.
        if value != said {
            drift.retain(|drifted| drifted != field);
        }
        has.insert(field.to_owned(), value);
    }
    Compared { drift, has }
}

/// Fields of the shape, or `image`, in which a machine is no longer as the group made it.
fn drift(
    machine: &Machine,
    wanted: &BTreeMap<String, String>,
    entry: &Entry,
    recorded_image: Option<&str>,
) -> Vec<String> {
    let mut fields = BTreeSet::new();
    for (key, value) in wanted {
        let field = key.split('.').next().unwrap_or(key);
        let differs = match machine.observed.get(key) {
            Some(observed) => observed != value,
            // A tag that is not reported is not there; another field that is not reported is not
            // known.
            None => key.contains('.') && entry.changes_in_place(field),
        };
        if differs {
            fields.insert(field.to_owned());
        }
    }
    if let Some(recorded) = recorded_image
        && !recorded.is_empty()
        && !machine.image.is_empty()
        && recorded != machine.image
    {
        fields.insert("image".to_owned());
    }
    fields.into_iter().collect()
}

/// What of a field is noted.
pub(crate) fn hashes(has: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    has.iter()
        .map(|(field, value)| (field.clone(), hash_of(value)))
        .collect()
}

fn hash_of(value: &Value) -> String {
    generation::hash(&[generation::text_of(value).as_bytes()])
}

/// The cloud's own words for a machine that failed or was stopped, as much of them as fits into a
/// reason.
pub(crate) fn message(machine: &Machine) -> Option<String> {
    if !matches!(machine.phase, Phase::Failed | Phase::Stopped) {
        return None;
    }
    let words = machine.message.as_deref()?;
    let words: String = words
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    let mut shown: String = words
        .trim()
        .trim_end_matches('.')
        .chars()
        .take(MOST_SAID)
        .collect();
    if shown.chars().count() == MOST_SAID {
        shown.push('…');
    }
    (!shown.is_empty()).then_some(shown)
}

/// Where a machine is, as far as its cloud has said.
pub(crate) fn places(machine: &Machine, entry: &Entry) -> BTreeMap<String, String> {
    let placing = entry.fields.iter();
    placing
        .filter(|(_, change)| *change == Change::Place)
        .filter_map(|(path, _)| Some(((*path).to_owned(), machine.observed.get(*path)?.clone())))
        .filter(|(_, place)| !place.is_empty())
        .collect()
}

/// Characters of a cloud's words that a reason repeats.
const MOST_SAID: usize = 200;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::worker_group::cloud::Mark;

    #[test]
    fn a_place_is_the_same_in_another_spelling_and_a_zone_with_a_host_is_that_zone() {
        for (listed, has, same) in [
            ("subnet-1", "subnet-1", true),
            ("subnet-1", "subnet-2", false),
            ("nova:host-7", "nova", true),
            ("nova:host-7", "other", false),
            ("fd00:0::1", "fd00::1", true),
            ("fd00::1", "fd00::2", false),
            ("10.0.0.5", "10.0.0.5", true),
        ] {
            assert_eq!(plain(listed) == plain(has), same, "{listed} {has}");
        }
    }

    #[test]
    fn a_reason_has_the_clouds_words_without_what_moves_a_terminal_and_not_all_of_them() {
        let long = "x".repeat(1_000);
        for (phase, said, expected) in [
            (
                Phase::Failed,
                Some("Server.SpotInstanceTermination: interrupted."),
                Some("failed: Server.SpotInstanceTermination: interrupted"),
            ),
            (
                Phase::Stopped,
                Some("stopped by\u{1b}[2J somebody"),
                Some("stopped by[2J somebody"),
            ),
            (Phase::Stopped, None, Some("stopped")),
            (Phase::Failed, Some(" "), Some("failed")),
            (Phase::Running, Some("unhealthy"), None),
            (Phase::Failed, Some(long.as_str()), None),
        ] {
            let machine = Machine {
                id: "1".to_owned(),
                name: "w-u-0".to_owned(),
                zone: String::new(),
                addresses: Vec::new(),
                image: String::new(),
                phase,
                message: said.map(str::to_owned),
                mark: Mark::parts(|_| None),
                created: None::<SystemTime>,
                observed: BTreeMap::new(),
            };
            let note = Note {
                message: message(&machine),
                ..Note::default()
            };
            let known = crate::worker_group::roll::Known {
                machine,
                node: String::new(),
            };
            let shown = super::said(&crate::worker_group::apply::state_of(&known), &note);
            match expected {
                Some(expected) => assert_eq!(shown, expected),
                None => assert!(shown.len() < 250, "{shown}"),
            }
        }
    }
}
