//! What operations say to the user: problems, refusals, and warnings about what a look found.

use crate::provider::{Attr, Diagnostic, Diagnostics, Path, Severity};
use crate::worker_group::apply;
use crate::worker_group::cloud::{Machine, Phase};
use crate::worker_group::model::{Fields, Private, refusal};
use crate::worker_group::plan::{Changes, NO_NAMES, ordinal};
use crate::worker_group::roll::{Known, Observed, Problem};
use crate::worker_group::wanted::Wanted;

pub(super) fn diagnostic(problem: &Problem) -> Diagnostic {
    let diagnostic = Diagnostic::error(&problem.summary, &problem.detail);
    match &problem.attribute {
        Some(attribute) => diagnostic.at(Path::of(attribute)),
        None => diagnostic,
    }
}

/// Errors, each with what exists now and how to go on. What befell many machines is said once.
pub(super) fn errors(problems: &[Problem], hint: &str, prefix: &str) -> Diagnostics {
    let mut kinds: Vec<(Problem, &Problem, Vec<String>)> = Vec::new();
    for problem in problems {
        let (summary, named) = without_names(&problem.summary, prefix);
        let (detail, told) = without_names(&problem.detail, prefix);
        // A cloud that gives no answer gives none to any call: which one met it first is chance.
        let silence = detail.split_once(" answered nothing");
        let kind = Problem {
            summary,
            detail: silence.map_or(detail.as_str(), |(_, why)| why).to_owned(),
            attribute: problem.attribute.clone(),
        };
        let name = named.or(told);
        match kinds.iter_mut().find(|(known, ..)| *known == kind) {
            Some((.., names)) => names.extend(name),
            None => kinds.push((kind, problem, name.into_iter().collect())),
        }
    }
    let said = kinds.into_iter().map(|(_, first, names)| {
        let mut diagnostic = diagnostic(first);
        if names.len() > 1 {
            let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            let more = match names.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            diagnostic.detail = format!(
                "{}\nThis befell {} machines: {}{more}.",
                diagnostic.detail,
                names.len(),
                shown.join(", ")
            );
        }
        if !hint.is_empty() {
            diagnostic.detail = format!("{}\n{hint}", diagnostic.detail);
        }
        diagnostic
    });
    Diagnostics(said.collect())
}

/// What went as it was to go, and should be known; said once for many machines.
pub(super) fn warnings(problems: &[Problem], prefix: &str) -> Diagnostics {
    let mut said = errors(problems, "", prefix);
    for diagnostic in &mut said.0 {
        diagnostic.severity = Severity::Warning;
    }
    said
}

/// A text without the machines' ordinals, and the first machine that it names.
fn without_names(text: &str, prefix: &str) -> (String, Option<String>) {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut name = None;
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let ordinal = part.strip_suffix(rest).unwrap_or_default();
        name.get_or_insert_with(|| format!("{prefix}{ordinal}"));
        out.push_str(prefix);
        out.push_str(rest);
    }
    (out, name)
}

/// What exists after a creation that fell short, and how to go on.
pub(super) fn shortfall(machines: &[Known], replicas: usize, taints: bool) -> String {
    let exist = machines.len();
    if exist == 0 {
        return "No machine exists, and nothing is recorded: the next apply starts anew."
            .to_owned();
    }
    let runs = |known: &&Known| known.machine.phase == Phase::Running;
    let run = machines.iter().filter(runs).count();
    let is = match exist {
        1 => "exists and is",
        _ => "exist and are",
    };
    let runs = match run {
        1 => "runs",
        _ => "run",
    };
    let of = count(replicas, "machine");
    let go_on = match taints {
        true => {
            "To go on with them, run `terraform untaint` on this group and apply again; without it the next apply starts over."
        }
        false => "The next apply completes the group.",
    };
    format!("{exist} of {of} {is} recorded; {run} of them {runs}. {go_on}")
}

pub(super) fn bug(what: &str) -> Diagnostic {
    Diagnostic::error(
        "Could not carry out the operation",
        format!(
            "It cannot go on: {what}. This is a bug in the provider; please report it with the log."
        ),
    )
}

/// What a deletion is refused for, a replacement included.
pub(super) fn protected(fields: &Fields) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if fields.deletion_protection.known() == Some(&true) {
        problems.push(refusal(
            Path::of("deletion_protection"),
            "Group is protected from deletion",
            "deletion_protection is true. Apply with deletion_protection = false first.",
        ));
    }
    let machines = fields.machines.known().map_or(0, |machines| machines.len());
    if fields.paused.known() == Some(&true) && machines > 0 {
        problems.push(refusal(
            Path::of("paused"),
            "Group is paused",
            format!(
                "paused = true leaves all machines alone, and deleting the group, or replacing it, would delete its {}. Apply with \
                 paused = false first.",
                count(machines, "machine")
            ),
        ));
    }
    problems
}

/// What the deletion of a group is refused for, where this run does not lift it. What a replacement
/// has deposed is out of every configuration's reach: there a list of `<cluster>/<name>` in
/// [`LIFT`] is the way out.
pub(super) fn refuses(fields: &Fields, lift: &str) -> Diagnostics {
    let mut problems = protected(fields);
    if !problems.has_errors() {
        return problems;
    }
    let part = |value: &Attr<String>| value.known().cloned().unwrap_or_default();
    let group = format!("{}/{}", part(&fields.cluster), part(&fields.name));
    if !lift.split(',').any(|listed| listed.trim() == group) {
        for problem in &mut problems.0 {
            problem.detail = format!(
                "{} No apply changes a group that is tainted: untaint it first. Only where the object is deposed, left by a \
                 replacement with create_before_destroy, does no configuration reach it: set {LIFT}={group} in the environment of one \
                 plan and apply then.",
                problem.detail
            );
        }
        return problems;
    }
    let machines: Vec<&str> = recorded(fields);
    Diagnostic::warning(
        "Protection of the group is lifted",
        format!(
            "{LIFT} names {group}: neither its deletion_protection nor its paused keeps {} from being deleted ({}). Take the variable away \
             after this apply.",
            count(machines.len(), "machine"),
            first_of(&machines)
        ),
    )
    .into()
}

fn recorded(fields: &Fields) -> Vec<&str> {
    let machines = fields.machines.known().into_iter().flatten();
    machines.map(|(name, _)| name.as_str()).collect()
}

/// What a replacement does to the machines of the group that goes, or why it is refused.
pub(super) fn replaces(prior: &Fields, next: &Fields, changed: &[&str]) -> Diagnostics {
    let refused = protected(prior);
    let machines = recorded(prior);
    if refused.has_errors() || machines.is_empty() {
        return refused;
    }
    let others = match next.replicas.known() {
        Some(1) => "1 other is".to_owned(),
        Some(replicas) => format!("{replicas} others are"),
        None => "others are".to_owned(),
    };
    let detail = format!(
        "A change of {} makes another group of it: {} deleted ({}), and {others} created. What goes is deleted first, unless the \
         resource has create_before_destroy.",
        changed.join(" and "),
        are(machines.len(), "machine"),
        first_of(&machines)
    );
    let path = Path::of(changed.last().copied().unwrap_or("name"));
    Diagnostic::warning("Group is replaced", detail)
        .at(path)
        .into()
}

/// A plan that cannot come true: there is no name for some of the machines.
pub(super) fn no_names(machines: usize) -> Diagnostic {
    let detail = format!(
        "{} to be created. {NO_NAMES}",
        are(machines, "more machine")
    );
    Diagnostic::error("Group has no names left", detail).at(Path::of("name"))
}

/// What is planned for a paused group stands here alone: `rollout` is what an apply does.
pub(super) fn paused(changes: &Changes) -> Diagnostic {
    let steps: Vec<String> = changes
        .list
        .iter()
        .take(SHOWN)
        .map(|change| {
            format!(
                "{} {} ({})",
                change.action.word(),
                change.machine,
                change.reason
            )
        })
        .collect();
    let more = match changes.list.len() - steps.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Diagnostic::warning(
        "Group is paused",
        format!(
            "{} left undone: {}{more}. Write paused = false to have that done.",
            are(changes.list.len(), "step"),
            steps.join("; ")
        ),
    )
    .at(Path::of("paused"))
}

/// A warning of what happened between plan and apply; `left`: something was not done for it.
pub(super) fn news_since_the_plan(words: &[String], left: bool) -> Diagnostics {
    if words.is_empty() {
        return Diagnostics::none();
    }
    let rest = match left {
        true => "What was still right was done; plan again to see the rest.",
        false => "What was still right was done, and nothing is left to do.",
    };
    let detail = format!("{}. {rest}", words.join("; "));
    Diagnostic::warning("Group has changed since the plan", detail).into()
}

/// Names in `replace_machines` that no machine of the group ever had: slips of the pen.
pub(super) fn never_there(wanted: &Wanted, prior: &Fields, private: &Private) -> Diagnostics {
    let uid = prior.uid.known().cloned().unwrap_or_default();
    let prefix = apply::prefix(wanted, &uid);
    let machines = recorded(prior);
    let was_there = |name: &&String| {
        let used = |ordinal: u64| ordinal < private.next_ordinal;
        machines.contains(&name.as_str())
            || (name.starts_with(&prefix) && ordinal(name).is_some_and(used))
    };
    let names: Vec<&str> = wanted
        .replace_machines
        .iter()
        .filter(|name| !was_there(name))
        .map(String::as_str)
        .collect();
    if names.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::warning(
        "Machine to replace does not exist",
        format!(
            "The group never had {}; it has {}. Correct the name, or take it out.",
            first_of(&names),
            first_of(&machines)
        ),
    )
    .at(Path::of("replace_machines"))
    .into()
}

/// That another state has adopted machines since the plan: others would be a surprise.
pub(super) fn taken_since_the_plan(observed: &Observed) -> Diagnostics {
    if observed.adopted.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::error(
        "Machines belong to another group now",
        format!(
            "Since the plan another group has adopted {} of this one: {}. Nothing was changed. Plan again: it shows what would be made \
             instead.",
            count(observed.adopted.len(), "machine"),
            names(&observed.adopted)
        ),
    )
    .into()
}

/// A paused group is created without a machine of its own.
pub(super) fn paused_creation(machines: usize) -> Diagnostic {
    let exist = match machines {
        0 => "No machine was created.".to_owned(),
        count => format!("No machine was created; {count} that exist were taken over as they are."),
    };
    let detail = format!("{exist} Write paused = false to have the group completed.");
    Diagnostic::warning("Group is paused", detail).at(Path::of("paused"))
}

/// What a look has found beside the group: machines that another state has adopted, and what may be
/// left of a creation that never returned.
pub(super) fn strangers(observed: &Observed) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if !observed.adopted.is_empty() {
        problems.push(Diagnostic::warning(
            "Machines belong to another group now",
            format!(
                "Another group has adopted {}, and what it has adopted is left alone here: {}. Destroy this group, or remove it from the \
                 state, if the other one takes its place.",
                count(observed.adopted.len(), "recorded machine"),
                names(&observed.adopted)
            ),
        ));
    }
    let unsaved = never_saved(observed, None);
    if !unsaved.is_empty() {
        problems.push(Diagnostic::warning(
            "Machines of another creation exist",
            format!(
                "{} of this cluster and name {} made by a creation whose state was never seen: {}. {GO_ON}",
                count(unsaved.len(), "machine"),
                was(unsaved.len()),
                names(&unsaved)
            ),
        ));
    }
    problems
}

/// What carries the group's marks without being known or proven to be its own.
pub(super) fn unproven(observed: &Observed) -> Diagnostics {
    let strangers: Vec<Machine> = observed
        .strangers
        .iter()
        .filter(|machine| machine.phase != Phase::Deleting)
        .cloned()
        .collect();
    if strangers.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::warning(
        "Machines carry the group's marks and are not its own",
        format!(
            "{} {} the tags of this group, and neither does state know {} id, nor did this group make {}: {}. Tags give no right: {} left \
             alone, and not counted. {STRANGERS}",
            count(strangers.len(), "machine"),
            if strangers.len() == 1 { "carries" } else { "carry" },
            if strangers.len() == 1 { "its" } else { "their" },
            if strangers.len() == 1 { "it" } else { "them" },
            names_and_ids(&strangers),
            if strangers.len() == 1 { "it is" } else { "they are" },
        ),
    )
    .into()
}

/// Machines that an apply has found, that are the group's own, and that no plan has named.
pub(super) fn found_since_the_plan(found: &[Machine]) -> Diagnostics {
    if found.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::warning(
        "Machines of an earlier apply were found",
        format!(
            "An earlier apply of this group made {}, and was cut off before it was recorded: {}. The plan did not show {}, so nothing was \
             done about that. The next refresh takes it into state.",
            count(found.len(), "machine"),
            names_and_ids(found),
            if found.len() == 1 { "it" } else { "them" },
        ),
    )
    .into()
}

/// The same of a deletion: it records them, for nothing would know of them otherwise.
pub(super) fn not_in_the_plan(found: &[Machine]) -> Diagnostics {
    if found.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::error(
        "Machines were found that no plan has shown",
        format!(
            "An earlier apply of this group made {}, and was cut off before it was recorded: {}. What no plan has named is not deleted; it is \
             recorded now. Destroy again: that plan names it.",
            count(found.len(), "machine"),
            names_and_ids(found)
        ),
    )
    .into()
}

/// Machines that were to be deleted, and that another group has adopted: `successor` is the uid of
/// the one that this process has made.
pub(super) fn adopted_meanwhile(machines: &[Machine], successor: Option<&str>) -> Diagnostics {
    if machines.is_empty() {
        return Diagnostics::none();
    }
    let by_successor = successor.is_some();
    let (whose, advice) = match by_successor {
        true => (
            "The group that this run has created adopted",
            "Nothing was replaced by that: where machines are to be replaced, write on_existing = \"keep\" in place of \"adopt\".",
        ),
        false => (
            "Another group has adopted",
            "They are that group's now, and in this state no more.",
        ),
    };
    Diagnostic::warning(
        "Machines belong to another group now",
        format!(
            "{whose} {}, so that {} not deleted: {}. {advice}",
            count(machines.len(), "machine"),
            if machines.len() == 1 {
                "it was"
            } else {
                "they were"
            },
            names(machines)
        ),
    )
    .into()
}

/// What a deletion leaves, for it is another creation's; not what this process has made.
pub(super) fn left_alone(observed: &Observed, successor: Option<&str>) -> Diagnostics {
    let unsaved = never_saved(observed, successor);
    if unsaved.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::warning(
        "Machines of another creation are left",
        format!(
            "{} of this cluster and name {} not deleted with the group, but made by a creation whose state was never seen: {}. {GO_ON}",
            count(unsaved.len(), "machine"),
            was(unsaved.len()),
            names(&unsaved)
        ),
    )
    .into()
}

fn never_saved(observed: &Observed, successor: Option<&str>) -> Vec<Machine> {
    let others = observed.others.iter().filter(|machine| {
        machine.mark.unsaved && successor.is_none_or(|uid| uid != machine.mark.uid)
    });
    others.cloned().collect()
}

/// What a creation has taken over from an earlier one that was cut off.
pub(super) fn taken_over(machines: &[Machine]) -> Diagnostics {
    if machines.is_empty() {
        return Diagnostics::none();
    }
    Diagnostic::warning(
        "Existing machines were taken over",
        format!(
            "{} of this cluster and name {} taken into this state: {}. A creation of this state, from this same configuration, made what was \
             taken, and was cut off before its state was saved.",
            count(machines.len(), "machine"),
            was(machines.len()),
            names(machines)
        ),
    )
    .at(Path::of("on_existing"))
    .into()
}

/// The names of the first few.
pub(super) fn names(machines: &[Machine]) -> String {
    let names: Vec<&str> = machines
        .iter()
        .map(|machine| machine.name.as_str())
        .collect();
    first_of(&names)
}

/// `workers-k3v9x2ab-0 (i-0f3c)`: of machines that are told apart by their ids alone.
pub(super) fn names_and_ids(machines: &[Machine]) -> String {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|letter| !letter.is_control());
        letters.take(LONGEST_NAME).collect()
    };
    let words: Vec<String> = machines
        .iter()
        .map(|machine| format!("{} ({})", plain(&machine.name), plain(&machine.id)))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    first_of(&words)
}

/// `1 machine is`, `2 machines are`.
pub(super) fn are(number: usize, noun: &str) -> String {
    format!("{} {}", count(number, noun), is(number))
}

/// Of so many.
pub(super) fn is(number: usize) -> &'static str {
    match number {
        1 => "is",
        _ => "are",
    }
}

/// Of so many.
pub(super) fn was(number: usize) -> &'static str {
    match number {
        1 => "was",
        _ => "were",
    }
}

/// `1 machine`, `2 machines`.
pub(super) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

pub(super) fn first_of(names: &[&str]) -> String {
    let first: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    match names.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The variable that lifts the protection of groups: `prod/workers,test/workers`.
pub(super) const LIFT: &str = "FLATCAR_LIFT_PROTECTION";
/// What to do about machines of a creation whose state was never seen.
const GO_ON: &str = "Where a replacement with create_before_destroy was cut off, repeat it in the same way (with the same -replace, say): it \
                     takes them over. A plan alone does not. Where another configuration has them, plan there once. Else delete them in the \
                     cloud, or import them.";
/// What to do about machines that are not the group's own.
pub(super) const STRANGERS: &str = "Take the tags flatcar-cluster, flatcar-group and flatcar-uid off what is none of the group's. One that belongs \
                                    to it comes in by `terraform state rm` and an import, under a name that no other machine has.";
/// Names of others are as long as somebody wrote them.
const LONGEST_NAME: usize = 80;
/// How many are named.
const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_befell_many_machines_is_said_once() {
        let refused = "answered nothing: Connection refused";
        // Of two machines: the call, and how it was answered.
        let cases = [
            (["EC2 Terminate", "EC2 Terminate"], [refused, refused], 1),
            // The cloud went away between two calls.
            (["EC2 Terminate", "ELB Describe"], [refused, refused], 1),
            (
                ["EC2 Terminate", "EC2 Terminate"],
                ["answered 403 No", "answered 403 No"],
                1,
            ),
            (
                ["EC2 Terminate", "ELB Describe"],
                ["answered 403 No", "answered 403 No"],
                2,
            ),
            (
                ["EC2 Terminate", "EC2 Terminate"],
                [refused, "answered nothing in time"],
                2,
            ),
        ];
        for (calls, answers, said) in cases {
            let problem = |ordinal: usize| Problem {
                summary: format!("Could not delete machine w-k3-{ordinal}"),
                detail: format!("{} for w-k3-{ordinal} {}", calls[ordinal], answers[ordinal]),
                attribute: None,
            };
            let told = errors(&[problem(0), problem(1)], "", "w-k3-");
            assert_eq!(told.0.len(), said, "{calls:?} {answers:?}");
            assert!(told.0[0].detail.starts_with(calls[0]));
        }
    }
}
