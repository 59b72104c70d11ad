//! Slots: numbers that machines hold for their life, for whatever is made once for each place in a
//! group (a DNS record, a disk). Pure.
//!
//! In: `{"0": w-u-0, "1": w-u-1}`, the machines there are now, who replaces whom. Out: `{"0":
//! w-u-2, "1": w-u-1}` where `w-u-2` replaces `w-u-0`. There are as many slots as `replicas`, or as
//! machines where those are more; one that nobody holds is `None`.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::ordinal;

/// Names of machines by slot: `"0"`, `"1"`, ...
pub(crate) type Slots = BTreeMap<String, Option<String>>;

/// The slots of these machines: who has one keeps it, a successor takes its predecessor's, others
/// take free ones, the oldest first.
pub(crate) fn after<'a>(
    prior: &Slots,
    machines: impl IntoIterator<Item = &'a str>,
    successors: &BTreeMap<&str, &str>,
    replicas: usize,
) -> Slots {
    let mut waiting: BTreeSet<(Option<u64>, &str)> = machines
        .into_iter()
        .map(|name| (ordinal(name), name))
        .collect();
    let mut held: BTreeMap<u64, Option<String>> = BTreeMap::new();
    let mut free: BTreeSet<u64> = BTreeSet::new();
    let mut slot_of: BTreeMap<&str, u64> = BTreeMap::new();
    for (slot, name) in prior {
        let Ok(slot) = slot.parse() else {
            continue;
        };
        let Some(name) = name else {
            free.insert(slot);
            continue;
        };
        slot_of.insert(name, slot);
        if waiting.remove(&(ordinal(name), name)) {
            held.insert(slot, Some(name.clone()));
        } else {
            free.insert(slot);
        }
    }
    waiting.retain(|(_, name)| {
        let slot = successors.get(name).and_then(|old| slot_of.get(old));
        let slot = slot.filter(|slot| free.remove(slot));
        if let Some(slot) = slot {
            held.insert(*slot, Some((*name).to_owned()));
        }
        slot.is_none()
    });
    // Slots that were there before are filled before there are new ones.
    let mut unused = (0..).filter(|slot| !slot_of.values().any(|used| used == slot));
    let mut next = |held: &BTreeMap<u64, Option<String>>| {
        free.pop_first()
            .or_else(|| unused.find(|slot| !held.contains_key(slot)))
            .unwrap_or_default()
    };
    for (_, name) in waiting {
        let slot = next(&held);
        held.insert(slot, Some(name.to_owned()));
    }
    while held.len() < replicas {
        let slot = next(&held);
        held.insert(slot, None);
    }
    held.into_iter()
        .map(|(slot, name)| (slot.to_string(), name))
        .collect()
}

/// The numbers of a group that is about to be made.
pub(crate) fn first(replicas: usize) -> impl Iterator<Item = String> {
    (0..replicas).map(|slot| slot.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `"0=a-0 1="`: who holds which slot.
    fn slots(text: &str) -> Slots {
        let pairs = text.split_whitespace().map(|word| {
            let (slot, name) = word.split_once('=').unwrap();
            let name = Some(name).filter(|name| !name.is_empty());
            (slot.to_owned(), name.map(str::to_owned))
        });
        pairs.collect()
    }

    #[test]
    fn a_slot_belongs_to_a_machine_for_its_life_and_goes_to_its_successor() {
        // before, machines now, who replaces whom, replicas, after
        let cases = [
            ("", "w-0 w-1 w-2", "", 3, "0=w-0 1=w-1 2=w-2"),
            ("", "w-9 w-10", "", 2, "0=w-9 1=w-10"),
            ("", "", "", 2, "0= 1="),
            (
                "0=w-0 1=w-1 2=w-2",
                "w-3 w-4 w-5",
                "w-5=w-0 w-3=w-2 w-4=w-1",
                3,
                "0=w-5 1=w-4 2=w-3",
            ),
            ("0=w-0 1=w-1 2=w-2", "w-0 w-2", "", 3, "0=w-0 1= 2=w-2"),
            (
                "0=w-0 1= 2=w-2",
                "w-0 w-2 w-3",
                "w-3=w-1",
                3,
                "0=w-0 1=w-3 2=w-2",
            ),
            ("0=w-0 1=w-1 2=w-2", "w-1 w-2", "", 2, "1=w-1 2=w-2"),
            ("1=w-1 2=w-2", "w-1 w-2 w-3", "", 3, "0=w-3 1=w-1 2=w-2"),
            ("1=w-1 2=w-2", "w-2", "", 2, "1= 2=w-2"),
            (
                "0=w-0 1=w-1",
                "w-0 w-1 w-2 w-3",
                "",
                2,
                "0=w-0 1=w-1 2=w-2 3=w-3",
            ),
            ("x=w-0 1=w-1", "w-0 w-1", "", 2, "0=w-0 1=w-1"),
        ];
        for (prior, machines, pairs, replicas, expected) in cases {
            let pairs: BTreeMap<&str, &str> = pairs
                .split_whitespace()
                .map(|pair| pair.split_once('=').unwrap())
                .collect();
            let found = after(&slots(prior), machines.split_whitespace(), &pairs, replicas);
            assert_eq!(found, slots(expected), "{prior} then {machines}");
        }
    }

    fn refs(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    proptest! {
        #[test]
        fn every_machine_has_one_slot_and_asking_again_changes_nothing(
            before in proptest::collection::btree_set(0_u64..20, 0..8),
            now in proptest::collection::btree_set(0_u64..20, 0..8),
            replicas in 0_usize..8,
        ) {
            let names = |ordinals: &BTreeSet<u64>| -> Vec<String> {
                ordinals.iter().map(|ordinal| format!("w-{ordinal}")).collect()
            };
            let (before, now) = (names(&before), names(&now));
            let none = BTreeMap::new();
            let prior = after(&Slots::new(), refs(&before), &none, replicas);
            let slots = after(&prior, refs(&now), &none, replicas);
            let mut held: Vec<&String> = slots.values().flatten().collect();
            held.sort();
            let mut expected: Vec<&String> = now.iter().collect();
            expected.sort();
            prop_assert_eq!(held, expected);
            prop_assert_eq!(slots.len(), replicas.max(now.len()));
            prop_assert_eq!(&after(&slots, refs(&now), &none, replicas), &slots);
            for (slot, name) in &prior {
                if name.as_ref().is_some_and(|name| now.contains(name)) {
                    prop_assert_eq!(slots.get(slot), Some(name));
                }
            }
        }
    }
}
