//! A plan of so many steps that their list is not read any more: how many, how fast, and why. Pure.

use std::collections::BTreeMap;

use crate::provider::{Diagnostic, Diagnostics};
use crate::worker_group::plan::{Action, Changes};
use crate::worker_group::wanted::Wanted;

/// What a plan does in so many steps that their list is not read any more: how many, how fast, and
/// why.
pub(super) fn many(wanted: &Wanted, changes: &Changes) -> Diagnostics {
    let number = |action| changes.names(action).count();
    let (creates, updates, deletes) = (
        number(Action::Create),
        number(Action::Update),
        number(Action::Delete),
    );
    if deletes <= READABLE {
        return Diagnostics::none();
    }
    let parts = [
        (creates, "created"),
        (updates, "changed in place"),
        (number(Action::Start), "started"),
        (deletes, "deleted"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for change in changes
        .list
        .iter()
        .filter(|change| change.replaces.is_none())
    {
        *reasons.entry(change.reason.as_str()).or_default() += 1;
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let more = reasons.len().saturating_sub(SHOWN);
    let mut why: Vec<String> = reasons
        .iter()
        .take(SHOWN)
        .map(|(reason, number)| format!("{number}: {reason}"))
        .collect();
    if more > 0 {
        why.push(format!("and {more} more reasons"));
    }
    let limits = &wanted.limits;
    let canary = match limits.canary {
        true => ", one new machine first, alone",
        false => "",
    };
    Diagnostic::warning(
        format!("{deletes} machines are deleted"),
        format!(
            "{}.\nAt most {} exist at a time and at least {} serve, {} calls at a time{canary}.\n{}\nEach step stands in rollout, in its \
             order. With paused = true an apply leaves all machines alone.",
            parts.join(", "),
            limits.replicas + limits.surge,
            limits.replicas.saturating_sub(limits.unavailable),
            wanted.pace.parallelism,
            why.join("\n"),
        ),
    )
    .into()
}

/// A plan that deletes no more machines than this is read step by step.
const READABLE: usize = 20;
/// Reasons that are reported.
const SHOWN: usize = 10;
