//! Which changes a plan names, in which order, and why.

use super::*;

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
        // Nothing is wrong with what is named to be replaced; a name that is gone, or was never
        // there, is passed over.
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
