//! Checks of a configuration that no single attribute's schema can make. Pure; values may be
//! unknown.

use crate::flatcar;
use crate::provider::{Attr, Diagnostic, Diagnostics, Path, Value, is_made_up};
use crate::worker_group::apply::Assessment;
use crate::worker_group::cloud::Entry;
use crate::worker_group::model::{Chosen, Fields, Group, refusal};
use crate::worker_group::plan::Action;
use crate::worker_group::user_data;
use crate::worker_group::wanted::Wanted;

use super::report::first_of;

/// Exactly one cloud is written, or it is not known yet which one.
pub(super) fn check_cloud(config: &Group, clouds: &'static [&'static Entry]) -> Diagnostics {
    let names = |entries: &[&Entry]| {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        names.join(", ")
    };
    let written: Vec<&Entry> = clouds
        .iter()
        .filter(|entry| !matches!(config.shape(entry), Value::Null | Value::Unknown(_)))
        .copied()
        .collect();
    let unknown = config
        .clouds
        .values()
        .any(|value| matches!(value, Value::Unknown(_)));
    let known = names(clouds);
    match (config.chosen(clouds), clouds, written.as_slice()) {
        // Any of them would do: the first one stands for all.
        (Chosen::None, [first, ..], _) if !unknown => refusal(
            Path::of(first.name),
            "No cloud is chosen",
            format!("A group is on one cloud. Write one of {known}."),
        )
        .into(),
        (Chosen::Many, _, [_, second, ..]) => refusal(
            Path::of(second.name),
            "More than one cloud is chosen",
            format!(
                "A group is on one cloud, and {} are written. Keep one of them.",
                names(&written)
            ),
        )
        .into(),
        _ => Diagnostics::none(),
    }
}

/// What is to be said of a change of what the user wrote, whatever it does to machines.
pub(super) fn of_a_change(fields: &Fields, prior: &Fields) -> Diagnostics {
    let mut problems = emptied(fields, prior);
    problems.extend(left_on_nodes(fields, prior));
    problems
}

/// Nobody asks the Nodes any more once the group says nothing of them, so what was set on them
/// stays.
fn left_on_nodes(fields: &Fields, prior: &Fields) -> Diagnostics {
    let set = |fields: &Fields| {
        let wants = fields.kubernetes.known()?.wants()?;
        let labels = wants.settings.labels.unwrap_or_default().into_keys();
        let taints = wants.settings.taints.into_iter().flatten();
        let names: Vec<String> = labels
            .chain(taints.map(|taint| taint.to_string()))
            .collect();
        Some((wants.wait_for_node, names))
    };
    let asks = fields.kubernetes.is_unknown()
        || fields
            .kubernetes
            .known()
            .is_some_and(|kubernetes| kubernetes.wants().is_none_or(|wants| wants.wait_for_node));
    let Some((true, names)) = set(prior).filter(|(_, names)| !asks && !names.is_empty()) else {
        return Diagnostics::none();
    };
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Diagnostic::warning(
        "Labels and taints stay on the Nodes",
        format!(
            "Without kubernetes, or with wait_for_node = false, the Nodes of the group are no longer asked, and keep what it has set on them: {}{more}. To take that off, \
             apply node_labels = {{}} and node_taints = [] first; later, kubectl label and kubectl taint do it.",
            shown.join(", ")
        ),
    )
    .at(Path::of("kubernetes"))
    .into()
}

/// Of labels and taints, in a diagnostic.
const SHOWN: usize = 10;

/// No machine is left of a protected group only after the protection was taken off: to delete all
/// of them is what it is there against.
fn emptied(fields: &Fields, prior: &Fields) -> Diagnostics {
    let machines = prior.machines.known().map_or(0, |machines| machines.len());
    let empties = fields.replicas == Attr::Known(0) && machines > 0;
    let is_on = |flag: &Attr<bool>| flag == &Attr::Known(true);
    if !empties || !is_on(&fields.deletion_protection) || is_on(&fields.paused) {
        return Diagnostics::none();
    }
    let all = match machines {
        1 => "the only machine".to_owned(),
        machines => format!("all {machines} machines"),
    };
    refusal(
        Path::of("replicas"),
        "Group is protected from deletion",
        format!(
            "deletion_protection is true, and replicas = 0 would delete {all} of the group. Write deletion_protection = false with it if \
             that is meant, or at least 1."
        ),
    )
    .into()
}

/// No machine is made from what nobody knows: since an import the configuration has left out, or
/// `ignore_changes` has kept out of it, what the machines that exist were made from.
pub(super) fn nobody_knows(assessment: &Assessment, wanted: &Wanted) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let new = assessment.changes.names(Action::Create).count();
    if new == 0 {
        return problems;
    }
    let are_new = are_new(new);
    if assessment.unknown.user_data {
        let made = match assessment.generation.knows_no_user_data() {
            // It was imported without a machine.
            true => "what they are to boot with was never said",
            false => "they were made with some",
        };
        problems.push(refusal(
            Path::of("user_data"),
            "User data of new machines is not known",
            format!(
                "{are_new}, and no cloud tells what an imported group's machines boot with: user_data is null since the import, and {made}. \
                 Write user_data, and take it out of ignore_changes. Where new machines are to have none, write \
                 user_data = jsonencode({{ ignition = {{ version = \"3.3.0\" }} }})."
            ),
        ));
    }
    if assessment.unknown.shape {
        let cloud = wanted.entry.name;
        problems.push(refusal(
            Path::of(cloud),
            "Shape of new machines is not known",
            format!(
                "{are_new}, and an import reads only a part of what machines are made from: {cloud} is as the import left it, and they were \
                 made from more than that. Write {cloud} as the machines have it, and take it out of ignore_changes."
            ),
        ));
    }
    problems
}

/// Machines are made in the place of imported ones, or beside them, and what these were made from
/// is known in part.
pub(super) fn half_known(assessment: &Assessment) -> Diagnostics {
    let new = assessment.changes.names(Action::Create).count();
    if new == 0 || assessment.untold.is_empty() {
        return Diagnostics::none();
    }
    let untold: Vec<&str> = assessment.untold.iter().map(String::as_str).collect();
    Diagnostic::warning(
        "Imported machines have more than this says",
        format!(
            "{} without what is null in this configuration ({}). No import reads that, and the machines that exist were made from something \
             that neither the import nor this configuration tells. If it is one of these, write it as the machines have it and take it out \
             of ignore_changes, before anything is applied.",
            are_new(new),
            first_of(&untold)
        ),
    )
    .into()
}

fn are_new(new: usize) -> String {
    match new {
        1 => "1 machine is to be created".to_owned(),
        new => format!("{new} machines are to be created"),
    }
}

/// One of the two user datas, with a version where it needs one, and in a form that a machine of
/// this cloud can boot with.
pub(super) fn check_user_data(fields: &Fields, entry: Option<&'static Entry>) -> Diagnostics {
    let mut problems = Diagnostics::none();
    if !fields.user_data.is_null() && !fields.user_data_wo.is_null() {
        problems.push(refusal(
            Path::of("user_data_wo"),
            "User data is given twice",
            "Write user_data, or user_data_wo with user_data_wo_version, not both.",
        ));
    }
    if !fields.user_data_wo.is_null() && fields.user_data_wo_version.is_null() {
        problems.push(refusal(
            Path::of("user_data_wo_version"),
            "Version of user_data_wo is missing",
            "What is write-only cannot be compared. Write a number, and another one whenever the user data should count as changed.",
        ));
    }
    if fields.user_data_wo.is_null() && fields.user_data_wo_version.known().is_some() {
        problems.push(refusal(
            Path::of("user_data_wo"),
            "A version without user_data_wo",
            "Write user_data_wo, or remove user_data_wo_version.",
        ));
    }
    let Some(entry) = entry else {
        return problems;
    };
    let set_hostname = match &fields.set_hostname {
        Attr::Known(set_hostname) => Some(*set_hostname),
        Attr::Null => Some(entry.set_hostname),
        Attr::Unknown => None,
    };
    let (Some(set_hostname), Attr::Known(name)) = (set_hostname, &fields.name) else {
        return problems;
    };
    let release = fields
        .image
        .known()
        .and_then(|image| flatcar::release_in(image));
    let host = set_hostname.then(|| format!("{name}-{LONGEST_SUFFIX}"));
    for (attribute, value) in [
        ("user_data", &fields.user_data),
        ("user_data_wo", &fields.user_data_wo),
    ] {
        let Attr::Known(text) = value else {
            continue;
        };
        if attribute == "user_data" && is_made_up(text) {
            continue;
        }
        for fault in user_data::faults(text, entry.platform, host.as_deref(), release) {
            problems.push(Diagnostic::error(fault.summary, fault.detail).at(Path::of(attribute)));
        }
    }
    problems
}

/// User data that passed for what a mock makes up, and has come to a plan, which a mock does
/// itself: it is no config.
pub(super) fn refuse_made_up(fields: &Fields) -> Diagnostics {
    let made_up = fields.user_data.known().filter(|text| is_made_up(text));
    let faults = made_up.map(|text| user_data::faults(text, "", None, None));
    let faults = faults.unwrap_or_default().into_iter();
    Diagnostics(
        faults
            .map(|fault| Diagnostic::error(fault.summary, fault.detail).at(Path::of("user_data")))
            .collect(),
    )
}

/// A uid and an ordinal as long as they get: what the size of user data is checked with.
const LONGEST_SUFFIX: &str = "abcdefgh-999999";

/// Attributes whose change replaces the group, of those that changed.
pub(super) fn renamed(fields: &Fields, prior: &Fields) -> Vec<&'static str> {
    let differs = |new: &Attr<String>, old: &Attr<String>| matches!((new, old), (Attr::Known(new), Attr::Known(old)) if new != old);
    let changed = [
        ("name", differs(&fields.name, &prior.name)),
        ("cluster", differs(&fields.cluster, &prior.cluster)),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| name).collect()
}
