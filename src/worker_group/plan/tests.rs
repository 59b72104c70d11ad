mod changes;
mod simulated;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::protocol::value::Value;
use crate::worker_group::generation::{UserData, Written};

const ROLLS: Rolls = Rolls {
    user_data: true,
    image: false,
    shape: true,
    triggers: true,
};

fn generation(version: &str) -> Generation {
    Generation::of(&Written {
        user_data: UserData::Version(version),
        set_hostname: false,
        cloud: "sandbox",
        shape: &Value::Map(BTreeMap::new()),
        triggers: &BTreeMap::new(),
        image: "flatcar",
    })
}

/// `"0 1:old 2:broken 3:gone 4:drift 5:tags 6:leaving"`: ordinals and what is special about each
/// machine.
fn members(text: &str) -> Vec<Member> {
    text.split_whitespace()
        .map(|word| {
            let (ordinal, special) = word.split_once(':').unwrap_or((word, ""));
            Member {
                name: format!("w-u-{ordinal}"),
                generation: generation(if special == "old" { "1" } else { "2" }),
                image: "flatcar".to_owned(),
                health: match special {
                    "broken" => Health::Broken("stopped".to_owned()),
                    "gone" => Health::Gone,
                    "leaving" => Health::Leaving,
                    _ => Health::Good,
                },
                misplaced: None,
                starts: None,
                settled: Vec::new(),
                drift: match special {
                    "drift" => vec!["sandbox.zone".to_owned()],
                    _ => Vec::new(),
                },
                drift_in_place: match special {
                    "tags" => vec!["sandbox.tags".to_owned()],
                    _ => Vec::new(),
                },
            }
        })
        .collect()
}

struct Case {
    replicas: usize,
    before: &'static str,
    remove_first: &'static [&'static str],
    replace: &'static [&'static str],
    deletable: Option<&'static [&'static str]>,
    in_place: &'static [&'static str],
    /// `-0 +3 ~1`: delete, create, update.
    then: &'static str,
    refused: &'static [&'static str],
}

const CASE: Case = Case {
    replicas: 3,
    before: "0 1 2",
    remove_first: &[],
    replace: &[],
    deletable: None,
    in_place: &[],
    then: "",
    refused: &[],
};

fn planned(case: &Case) -> Changes {
    let remove_first = case.remove_first.iter().map(|n| (*n).to_owned()).collect();
    let replace = case.replace.iter().map(|n| (*n).to_owned()).collect();
    let deletable = case
        .deletable
        .map(|names| names.iter().map(|n| (*n).to_owned()).collect());
    let in_place: Vec<String> = case.in_place.iter().map(|f| (*f).to_owned()).collect();
    changes(
        &Desired {
            prefix: "w-u-",
            replicas: case.replicas,
            generation: &generation("2"),
            rolls: ROLLS,
            remove_first: &remove_first,
            replace: &replace,
            next_ordinal: 0,
            deletable: deletable.as_ref(),
            in_place: &in_place,
            reason: &|_, _| "user_data: file /etc/motd changed".to_owned(),
        },
        &members(case.before),
    )
}

fn short(changes: &Changes) -> String {
    let words = changes.list.iter().map(|change| {
        let sign = match change.action {
            Action::Create => '+',
            Action::Start => '^',
            Action::Update => '~',
            Action::Delete => '-',
        };
        format!("{sign}{}", change.machine.trim_start_matches("w-u-"))
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn ordinals_are_never_used_again() {
    let cases = [("", 7, "+7"), ("9:gone", 3, "+10"), ("12", 0, "+13 +14")];
    for (before, next_ordinal, then) in cases {
        let none = BTreeSet::new();
        let changes = changes(
            &Desired {
                prefix: "w-u-",
                replicas: then.split(' ').count() + usize::from(before == "12"),
                generation: &generation("2"),
                rolls: ROLLS,
                remove_first: &none,
                replace: &none,
                next_ordinal,
                deletable: None,
                in_place: &[],
                reason: &|_, _| String::new(),
            },
            &members(before),
        );
        assert_eq!(short(&changes), then);
    }
}

#[test]
fn shares_are_whole_numbers_and_percentages() {
    let cases = [
        ("0", Some(Share::Count(0))),
        ("12", Some(Share::Count(12))),
        ("25%", Some(Share::Percent(25))),
        ("100%", Some(Share::Percent(100))),
        ("101%", None),
        ("10001", None),
        ("-1", None),
        ("1.5", None),
        ("%", None),
        ("", None),
        ("+1", None),
        ("99999999999999999999", None),
    ];
    for (text, share) in cases {
        assert_eq!(Share::parse(text), share, "{text}");
    }
}

#[test]
fn surge_rounds_up_and_unavailable_down_and_both_are_never_zero() {
    let percent = Share::Percent;
    // replicas, surge, unavailable -> surge, unavailable
    let cases = [
        (10, percent(25), percent(25), 3, 2),
        (3, percent(25), percent(25), 1, 0),
        (3, percent(0), percent(25), 0, 1),
        (0, percent(25), percent(25), 0, 1),
        (3, Share::Count(0), Share::Count(0), 0, 1),
        (3, Share::Count(1), Share::Count(0), 1, 0),
    ];
    for (replicas, surge, unavailable, surges, unavailables) in cases {
        let limits = Limits::new(replicas, surge, unavailable, false);
        assert_eq!((limits.surge, limits.unavailable), (surges, unavailables));
    }
}

/// `"rrr"`: ready ones that leave; `R` ready and current, `S` starting and current, `s` starting
/// and leaving, `b` broken and leaving, `B` broken and staying, `x` being deleted.
fn slots(text: &str) -> Vec<Slot> {
    text.chars()
        .map(|c| Slot {
            state: match c.to_ascii_lowercase() {
                'r' => Readiness::Ready,
                's' => Readiness::Starting,
                'b' => Readiness::Broken,
                _ => Readiness::Leaving,
            },
            leaves: c.is_lowercase(),
            current: c.is_uppercase(),
        })
        .collect()
}

#[test]
fn steps_stay_within_surge_and_unavailable_and_prove_a_canary_first() {
    // replicas, surge, unavailable, canary, slots -> deletes, creates
    let cases = [
        (3, 1, 0, false, "", 0, 3),
        (3, 1, 0, false, "rrr", 0, 1),
        (3, 1, 0, false, "rrrS", 0, 0),
        (3, 1, 0, false, "rrrR", 1, 0),
        (3, 1, 0, false, "xrrR", 0, 0),
        (3, 0, 1, false, "rrr", 1, 0),
        (3, 0, 1, false, "rr", 0, 1),
        (3, 0, 1, false, "rrS", 0, 0),
        (10, 3, 2, false, "rrrrrrrrrr", 2, 3),
        // What does not serve costs no availability.
        (3, 1, 0, false, "rrb", 1, 1),
        (3, 0, 1, false, "bbb", 3, 0),
        (3, 1, 0, false, "rrs", 1, 1),
        // A machine that broke meanwhile blocks what would go below.
        (3, 1, 0, false, "rRB", 0, 1),
        (3, 0, 1, false, "rRB", 0, 0),
        // Scale-in and out.
        (2, 1, 0, false, "RRrr", 2, 0),
        (0, 1, 0, false, "rrr", 3, 0),
        (5, 1, 0, false, "RRR", 0, 2),
        (5, 1, 0, false, "rrr", 0, 3),
        // Canary: one, until it is ready.
        (5, 3, 2, true, "rrrrr", 0, 1),
        (5, 3, 2, true, "rrrrrS", 0, 0),
        (5, 3, 2, true, "rrrrrR", 3, 2),
        (5, 0, 2, true, "rrrrr", 1, 0),
        (5, 0, 2, true, "xrrrr", 0, 0),
        (5, 0, 2, true, "rrrr", 0, 1),
        (5, 0, 2, true, "rrrrS", 0, 0),
        (5, 0, 2, true, "rrrrR", 2, 0),
        (2, 1, 0, true, "rrrrr", 2, 0),
        // Nothing to try out where nothing rolls.
        (5, 3, 2, true, "", 0, 5),
        (5, 3, 2, true, "RR", 0, 3),
    ];
    for (replicas, surge, unavailable, canary, text, deletes, creates) in cases {
        let limits = Limits {
            replicas,
            surge,
            unavailable,
            canary,
        };
        let steps = steps(&limits, &slots(text));
        assert_eq!(
            (steps.delete.len(), steps.create),
            (deletes, creates),
            "{text} {limits:?}"
        );
    }
}

#[test]
fn the_cost_of_a_plan_grows_linearly_to_10_000_machines() {
    let none = BTreeSet::new();
    let count = std::cell::Cell::new(0_usize);
    let current = generation("2");
    for size in [1_000_usize, 10_000] {
        let all: Vec<Member> = (0..size)
            .map(|ordinal| Member {
                name: format!("w-u-{ordinal}"),
                ..members("0:old").remove(0)
            })
            .collect();
        count.set(0);
        let mut changes = changes(
            &Desired {
                prefix: "w-u-",
                replicas: size,
                generation: &current,
                rolls: ROLLS,
                remove_first: &none,
                replace: &none,
                next_ordinal: 0,
                deletable: None,
                in_place: &[],
                reason: &|_, _| {
                    count.set(count.get() + 1);
                    String::new()
                },
            },
            &all,
        );
        assert_eq!(changes.list.len(), 2 * size);
        assert_eq!(count.get(), size, "each machine is looked at once");
        let limits = Limits::new(size, Share::Count(1), Share::Count(0), true);
        in_order(&mut changes, &limits, 10, &current, &all);
        assert_eq!(changes.list.len(), 2 * size);
    }
}

#[test]
fn an_ordinal_is_what_this_provider_writes_and_nothing_else_is_believed() {
    for (name, expected) in [
        ("w-u-0", Some(0)),
        ("w-u-10", Some(10)),
        ("w-u-999999999", Some(999_999_999)),
        ("w-u-1000000000", None),
        ("w-u-18446744073709551615", None),
        ("w-u-99999999999999999999999", None),
        ("w-u-007", None),
        ("w-u-+7", None),
        ("w-u-", None),
        ("w-u-7 ", None),
        ("w-u-٣", None),
        ("7", None),
        ("", None),
    ] {
        assert_eq!(ordinal(name), expected, "{name:?}");
    }
    for (recorded, names, expected) in [
        (0, &[][..], 0),
        (4, &["w-u-1"], 4),
        (4, &["w-u-7", "w-u-18446744073709551615"], 8),
        (0, &["w-u-999999999"], 1_000_000_000),
        (1_000_000_000, &[], 1_000_000_000),
        // What an earlier version has recorded of a stranger.
        (u64::MAX, &["w-u-2"], 3),
        (1_000_000_001, &[], 0),
    ] {
        let next = next_ordinal(recorded, names.iter().copied());
        assert_eq!(next, expected, "{recorded} {names:?}");
    }
    let longest = name(&format!("{}-abcdefgh-", "w".repeat(40)), 999_999_999);
    assert!(longest.is_some_and(|name| name.len() <= 63));
    assert_eq!(name("w-u-", 1_000_000_000), None);
}

#[test]
fn a_group_that_has_used_up_its_names_says_so_and_plans_what_it_can() {
    let changes = planned(&Case {
        replicas: 3,
        before: "999999998",
        ..CASE
    });
    let names: Vec<&str> = changes.names(Action::Create).collect();
    assert_eq!(names, ["w-u-999999999"]);
    assert_eq!(changes.unnamed, 1);
}
