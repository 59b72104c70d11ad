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

/// `"0 1:old 2:broken 3:gone 4:drift 5:tags 6:leaving"`: ordinals and what is special about each machine.
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
fn changes_name_every_machine_once_and_in_order() {
    let cases = [
        CASE,
        Case {
            replicas: 5,
            then: "+3 +4",
            ..CASE
        },
        Case {
            before: "",
            then: "+0 +1 +2",
            ..CASE
        },
        Case {
            replicas: 0,
            then: "-2 -1 -0",
            ..CASE
        },
        Case {
            before: "0:old 1:old 2:old",
            then: "-0 +3 -1 +4 -2 +5",
            ..CASE
        },
        Case {
            before: "0 1:gone 2",
            then: "+3",
            ..CASE
        },
        Case {
            before: "0 1:leaving 2",
            then: "+3",
            ..CASE
        },
        Case {
            before: "0 1:broken 2",
            then: "-1 +3",
            ..CASE
        },
        Case {
            before: "0 1:drift 2",
            then: "-1 +3",
            ..CASE
        },
        Case {
            before: "0 1:tags 2",
            then: "~1",
            ..CASE
        },
        Case {
            in_place: &["sandbox.tags"],
            then: "~0 ~1 ~2",
            ..CASE
        },
        // What is replaced anyway is not changed in place before.
        Case {
            before: "0:old 1 2",
            in_place: &["sandbox.tags"],
            then: "~1 ~2 -0 +3",
            ..CASE
        },
        // Broken goes first in a roll, then the named, then the oldest.
        Case {
            before: "0:old 1:old 2:broken",
            remove_first: &["w-u-1"],
            then: "-2 +3 -1 +4 -0 +5",
            ..CASE
        },
        // Scale-in takes the named, the broken, the outdated, the newest.
        Case {
            replicas: 2,
            before: "0 1 2 3",
            then: "-3 -2",
            ..CASE
        },
        Case {
            replicas: 3,
            before: "0 1:old 2 3",
            then: "-1",
            ..CASE
        },
        Case {
            replicas: 3,
            before: "0:old 1:broken 2 3",
            then: "-1 -0 +4",
            ..CASE
        },
        Case {
            replicas: 3,
            before: "0 1 2 3",
            remove_first: &["w-u-0"],
            then: "-0",
            ..CASE
        },
        // Nothing is wrong with what is named to be replaced; a name that is gone, or was never there, is passed over.
        Case {
            replace: &["w-u-1", "w-u-9"],
            then: "-1 +3",
            ..CASE
        },
        Case {
            before: "0 1:broken 2:old",
            replace: &["w-u-0"],
            then: "-1 +3 -0 +4 -2 +5",
            ..CASE
        },
        Case {
            replicas: 2,
            replace: &["w-u-0"],
            then: "-0",
            ..CASE
        },
        // A scale-out with a loss replaces and adds.
        Case {
            replicas: 4,
            before: "0 1:gone 2",
            then: "+3 +4",
            ..CASE
        },
        // Nothing is deleted that the user has not seen.
        Case {
            before: "0:old 1:broken 2",
            deletable: Some(&["w-u-0"]),
            then: "-0 +3",
            refused: &["w-u-1"],
            ..CASE
        },
        Case {
            replicas: 2,
            before: "0 1:broken 2",
            deletable: Some(&["w-u-2"]),
            then: "-2",
            refused: &["w-u-1"],
            ..CASE
        },
        Case {
            replicas: 2,
            deletable: Some(&[]),
            refused: &["w-u-2"],
            ..CASE
        },
    ];
    for case in cases {
        let changes = planned(&case);
        assert_eq!(
            short(&changes),
            case.then,
            "{} -> {}",
            case.before,
            case.replicas
        );
        let refused: Vec<&str> = changes
            .refused
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(refused, case.refused, "{}", case.before);
    }
}

#[test]
fn changes_are_listed_as_they_begin() {
    let limits = |surge, unavailable, canary| {
        Limits::new(3, Share::Count(surge), Share::Count(unavailable), canary)
    };
    let rolled = Case {
        before: "0:old 1:old 2:old",
        ..CASE
    };
    let cases = [
        (&rolled, limits(1, 0, true), 10, "+3 -0 +4 -1 +5 -2"),
        (&rolled, limits(0, 1, true), 10, "-0 +3 -1 +4 -2 +5"),
        (&rolled, limits(3, 0, true), 10, "+3 -0 +4 +5 -1 -2"),
        (&rolled, limits(3, 0, false), 10, "+3 +4 +5 -0 -1 -2"),
        (&rolled, limits(3, 0, false), 2, "+3 +4 -0 -1 +5 -2"),
        (&rolled, limits(0, 3, false), 10, "-0 -1 -2 +3 +4 +5"),
        // What does not serve is not waited with, and makes room.
        (
            &Case {
                before: "0:old 1:broken 2:old",
                ..CASE
            },
            limits(1, 0, true),
            10,
            "-1 +3 +4 -0 +5 -2",
        ),
        (
            &Case {
                before: "0:tags 1 2:gone 3:leaving",
                ..CASE
            },
            limits(1, 0, true),
            10,
            "~0 +4",
        ),
        (
            &Case {
                before: "0 1 2 3 4",
                ..CASE
            },
            limits(1, 0, true),
            10,
            "-4 -3",
        ),
        (
            &Case { before: "", ..CASE },
            limits(1, 0, true),
            2,
            "+0 +1 +2",
        ),
    ];
    for (case, limits, parallelism, then) in cases {
        let mut changes = planned(case);
        let members = members(case.before);
        in_order(
            &mut changes,
            &limits,
            parallelism,
            &generation("2"),
            &members,
        );
        assert_eq!(short(&changes), then, "{} {limits:?}", case.before);
    }
}

#[test]
fn reasons_say_what_changed_and_what_replaces_what() {
    let changes = planned(&Case {
        replicas: 5,
        before: "0:old 1:gone 2:broken 3:leaving 4:drift",
        ..CASE
    });
    let reasons: Vec<&str> = changes.list.iter().map(|c| c.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "stopped",
            "replaces w-u-2",
            "user_data: file /etc/motd changed",
            "replaces w-u-0",
            "sandbox.zone changed outside of this configuration",
            "replaces w-u-4",
            "replaces w-u-1, which is gone",
            "replaces w-u-3, which is being deleted",
        ]
    );
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

/// `"rrr"`: ready ones that leave; `R` ready and current, `S` starting and current, `s` starting and leaving, `b` broken and leaving,
/// `B` broken and staying, `x` being deleted.
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

/// What the environment and the user do between two moments of an apply.
#[derive(Debug, Clone)]
enum Event {
    /// The n-th starting machine comes up.
    Ready(usize),
    /// The n-th starting machine never will.
    Fails(usize),
    /// The n-th machine vanishes.
    Lost(usize),
    /// The n-th machine stops.
    Stops(usize),
    /// The n-th deletion is through.
    Deleted(usize),
    /// The next call fails and changes nothing.
    CallFails,
    /// The user wants another number of another version: a new plan.
    Wants(usize, u8),
    /// A new apply of the same configuration: a new plan.
    Again,
}

fn event() -> impl Strategy<Value = Event> {
    let any = 0..20_usize;
    prop_oneof![
        6 => any.clone().prop_map(Event::Ready),
        1 => any.clone().prop_map(Event::Fails),
        1 => any.clone().prop_map(Event::Lost),
        1 => any.clone().prop_map(Event::Stops),
        4 => any.prop_map(Event::Deleted),
        2 => Just(Event::CallFails),
        1 => (0..12_usize, 1..4_u8).prop_map(|(replicas, version)| Event::Wants(replicas, version)),
        1 => Just(Event::Again),
    ]
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![
        (0..4_usize).prop_map(Share::Count),
        (0..=100_usize).prop_map(Share::Percent),
    ]
}

#[derive(Debug, Clone)]
struct Sim {
    machines: Vec<(Member, Readiness)>,
    replicas: usize,
    version: u8,
    next_ordinal: u64,
    shares: (Share, Share, bool),
    to_create: Vec<String>,
    to_delete: BTreeSet<String>,
    /// Deletes that were begun since the last plan.
    deleted: BTreeSet<String>,
}

impl Sim {
    fn limits(&self) -> Limits {
        Limits::new(self.replicas, self.shares.0, self.shares.1, self.shares.2)
    }

    fn observed(&self) -> Vec<Member> {
        let health = |state: &Readiness| match state {
            Readiness::Starting | Readiness::Ready => Health::Good,
            Readiness::Broken => Health::Broken("stopped".to_owned()),
            Readiness::Leaving => Health::Leaving,
        };
        self.machines
            .iter()
            .map(|(member, state)| Member {
                health: health(state),
                ..member.clone()
            })
            .collect()
    }

    fn changes(&self) -> Changes {
        let none = BTreeSet::new();
        changes(
            &Desired {
                prefix: "w-u-",
                replicas: self.replicas,
                generation: &generation(&self.version.to_string()),
                rolls: ROLLS,
                remove_first: &none,
                replace: &none,
                next_ordinal: self.next_ordinal,
                deletable: None,
                in_place: &[],
                reason: &|_, _| "user_data changed".to_owned(),
            },
            &self.observed(),
        )
    }

    fn plan(&mut self) {
        let changes = self.changes();
        self.to_create = changes.names(Action::Create).map(str::to_owned).collect();
        self.to_create.reverse();
        self.to_delete = changes.names(Action::Delete).map(str::to_owned).collect();
        self.deleted.clear();
    }

    /// One round of what may begin, with the promises checked after every single step.
    fn begin(&mut self, mut call_fails: bool) -> usize {
        let limits = self.limits();
        let current = generation(&self.version.to_string());
        let slots: Vec<Slot> = self
            .machines
            .iter()
            .map(|(member, state)| Slot {
                state: *state,
                leaves: self.to_delete.contains(&member.name),
                current: member.generation == current,
            })
            .collect();
        let steps = steps(&limits, &slots);
        let begun = steps.delete.len() + steps.create;
        for index in steps.delete {
            if std::mem::take(&mut call_fails) {
                continue;
            }
            let ready_before = self.ready();
            let (member, state) = &mut self.machines[index];
            assert!(
                self.to_delete.contains(&member.name),
                "deletes more than planned"
            );
            assert!(*state != Readiness::Leaving, "deletes twice");
            let was_ready = *state == Readiness::Ready;
            *state = Readiness::Leaving;
            self.deleted.insert(member.name.clone());
            if was_ready {
                let floor = limits.replicas.saturating_sub(limits.unavailable);
                assert!(ready_before > floor, "goes below availability");
            }
        }
        for _ in 0..steps.create {
            if std::mem::take(&mut call_fails) {
                continue;
            }
            let name = self.to_create.pop().unwrap_or_else(|| {
                let name = format!("w-u-{}", self.next_ordinal);
                name
            });
            let used = ordinal(&name).unwrap();
            self.next_ordinal = self.next_ordinal.max(used + 1);
            let member = Member {
                name,
                generation: current.clone(),
                ..members("0").remove(0)
            };
            assert!(
                self.machines
                    .iter()
                    .all(|(other, _)| other.name != member.name)
            );
            self.machines.push((member, Readiness::Starting));
            assert!(
                self.machines.len() <= limits.replicas + limits.surge,
                "exceeds surge"
            );
        }
        begun
    }

    fn ready(&self) -> usize {
        let ready = |(_, state): &&(Member, Readiness)| *state == Readiness::Ready;
        self.machines.iter().filter(ready).count()
    }

    fn nth(&self, n: usize, state: Readiness) -> Option<usize> {
        let of: Vec<usize> = (0..self.machines.len())
            .filter(|index| self.machines[*index].1 == state)
            .collect();
        (!of.is_empty()).then(|| of[n % of.len()])
    }

    fn happens(&mut self, event: &Event) {
        let set = |sim: &mut Self, index: Option<usize>, state| {
            if let Some(index) = index {
                sim.machines[index].1 = state;
            }
        };
        match event {
            Event::Ready(n) => set(self, self.nth(*n, Readiness::Starting), Readiness::Ready),
            Event::Fails(n) => set(self, self.nth(*n, Readiness::Starting), Readiness::Broken),
            Event::Stops(n) => set(self, self.nth(*n, Readiness::Ready), Readiness::Broken),
            Event::Lost(n) if !self.machines.is_empty() => {
                self.machines.remove(n % self.machines.len());
            }
            Event::Deleted(n) => {
                if let Some(index) = self.nth(*n, Readiness::Leaving) {
                    self.machines.remove(index);
                }
            }
            Event::Wants(replicas, version) => {
                self.replicas = *replicas;
                self.version = *version;
                self.plan();
            }
            Event::Again => self.plan(),
            Event::Lost(_) | Event::CallFails => {}
        }
    }

    /// Applies of one configuration in an environment that does as it is told.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.plan();
            loop {
                let begun = self.begin(false);
                let before = self.machines.len();
                self.machines
                    .retain(|(_, state)| *state != Readiness::Leaving);
                let mut moved = before - self.machines.len();
                for (_, state) in &mut self.machines {
                    if *state == Readiness::Starting {
                        *state = Readiness::Ready;
                        moved += 1;
                    }
                }
                if begun + moved == 0 {
                    break;
                }
            }
            if self.changes().list.is_empty() {
                return;
            }
        }
        panic!("does not end: {self:?}");
    }
}

fn sim() -> impl Strategy<Value = Sim> {
    let machine = (0..4_u8, 1..4_u8);
    (
        prop::collection::vec(machine, 0..10),
        0..12_usize,
        (share(), share(), any::<bool>()),
    )
        .prop_map(|(machines, replicas, shares)| {
            let machines: Vec<(Member, Readiness)> = machines
                .into_iter()
                .enumerate()
                .map(|(ordinal, (state, version))| {
                    let member = Member {
                        name: format!("w-u-{ordinal}"),
                        generation: generation(&version.to_string()),
                        ..members("0").remove(0)
                    };
                    let states = [
                        Readiness::Ready,
                        Readiness::Ready,
                        Readiness::Broken,
                        Readiness::Starting,
                    ];
                    (member, states[usize::from(state)])
                })
                .collect();
            Sim {
                next_ordinal: machines.len() as u64,
                machines,
                replicas,
                version: 2,
                shares,
                to_create: Vec::new(),
                to_delete: BTreeSet::new(),
                deleted: BTreeSet::new(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_environment_steps_keep_the_promises_and_end_in_the_desired_state(
        mut sim in sim(),
        events in prop::collection::vec(event(), 0..80),
    ) {
        sim.plan();
        for event in &events {
            sim.begin(matches!(event, Event::CallFails));
            sim.happens(event);
        }
        sim.settle();
        let current = generation(&sim.version.to_string());
        prop_assert_eq!(sim.machines.len(), sim.replicas);
        for (member, state) in &sim.machines {
            prop_assert_eq!(&member.generation, &current);
            prop_assert_eq!(*state, Readiness::Ready);
        }
        let settled = sim.clone();
        sim.settle();
        prop_assert_eq!(settled.machines, sim.machines, "doing it twice changes something");
    }

    #[test]
    fn an_undisturbed_apply_does_exactly_what_the_plan_said(mut sim in sim()) {
        let before: BTreeSet<String> = sim.machines.iter().map(|(m, _)| m.name.clone()).collect();
        // A machine that is still on its way may not be waited for by a plan.
        let planned = sim.changes();
        sim.settle();
        let after: BTreeSet<String> = sim.machines.iter().map(|(m, _)| m.name.clone()).collect();
        let created: BTreeSet<String> = planned.names(Action::Create).map(str::to_owned).collect();
        let deleted: BTreeSet<String> = planned.names(Action::Delete).map(str::to_owned).collect();
        let expected: BTreeSet<String> = before.union(&created).filter(|n| !deleted.contains(*n)).cloned().collect();
        prop_assert_eq!(after, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_a_plan_is_that_of_an_apply_to_which_nothing_happens(mut sim in sim()) {
        for (_, state) in &mut sim.machines {
            if *state == Readiness::Starting {
                *state = Readiness::Ready;
            }
        }
        let mut changes = sim.changes();
        let all: BTreeSet<String> = changes.list.iter().map(|change| change.machine.clone()).collect();
        let current = generation(&sim.version.to_string());
        in_order(&mut changes, &sim.limits(), usize::MAX, &current, &sim.observed());
        let listed: Vec<String> = changes.list.iter().map(|change| change.machine.clone()).collect();
        prop_assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), all, "none is lost");
        prop_assert_eq!(listed.len(), changes.list.len());
        // The same, one round after the other, over machines in the order in which they go.
        sim.machines.sort_by_key(|(member, _)| listed.iter().position(|name| *name == member.name));
        sim.plan();
        let mut begun: Vec<BTreeSet<String>> = Vec::new();
        loop {
            let names = |sim: &Sim| sim.machines.iter().map(|(m, _)| m.name.clone()).collect::<BTreeSet<_>>();
            let before = names(&sim);
            let deleted = sim.deleted.clone();
            sim.begin(false);
            let mut round: BTreeSet<String> = names(&sim).difference(&before).cloned().collect();
            round.extend(sim.deleted.difference(&deleted).cloned());
            let going = sim.machines.len();
            sim.machines.retain(|(_, state)| *state != Readiness::Leaving);
            for (_, state) in &mut sim.machines {
                if *state == Readiness::Starting {
                    *state = Readiness::Ready;
                }
            }
            if round.is_empty() && going == sim.machines.len() {
                break;
            }
            begun.push(round);
        }
        let mut rest = listed.as_slice();
        for round in begun {
            let (now, later) = rest.split_at(round.len());
            prop_assert_eq!(now.iter().cloned().collect::<BTreeSet<_>>(), round, "{:?}", listed);
            rest = later;
        }
        prop_assert_eq!(rest.len(), 0);
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
