//! The schema of `flatcar_node_drain`, and what no single attribute of it can say.

use std::time::Duration;

use super::options;
use crate::kubernetes::label::{NAME_SAYS, SELECTOR_SAYS, is_name, is_selector};
use crate::provider::{Attr, Attribute, Diagnostic, Diagnostics, Path, Schema, Type, duration};

pub(super) fn node_drain() -> Schema {
    let mut attributes = vec![
        Attribute::set("nodes", "Names of the Nodes. Either these or `selector`.", Type::String)
            .optional()
            .length(1..=MOST_NODES)
            .pattern(NAME_SAYS, is_name),
        Attribute::string("selector", "Labels of the Nodes. Those count that have them when something is done.")
            .optional()
            .length(1..=MOST_SELECTOR)
            .pattern(SELECTOR_SAYS, is_selector),
        Attribute::bool("drained", "Whether the Nodes are cordoned and empty. An apply that makes it true drains them; one that makes it false again uncordons those that this provider has cordoned. A Node that somebody has uncordoned, or that has come, is drained by the next apply.")
            .default(false),
        Attribute::map("triggers", "Any values. A change drains the Nodes, one batch after the other, and uncordons each after it unless `drained` says otherwise. What it is at first drains nothing.", Type::String)
            .optional(),
        Attribute::string("on_destroy", "What becomes of the Nodes when the resource is destroyed: they are cordoned and drained (`drain`), those that this provider has cordoned are uncordoned (`uncordon`), or nothing (`leave`).")
            .default(DRAIN)
            .one_of([DRAIN, UNCORDON, LEAVE]),
        Attribute::number("parallelism", "Nodes that are drained at a time. PodDisruptionBudgets count for all of them.")
            .default(1)
            .range(1..=50),
    ];
    attributes.extend(options::attributes(
        "What comes after that: the apply ends with an error and the Node stays cordoned (`fail`), its pods are deleted without asking budgets \
         (`force`), or it is left with them on it (`skip`). Where a cluster does not answer, a destroy is an error with `fail`, and a warning else. \
         Defaults to `fail`.",
    ));
    let limit = |name, description| {
        Attribute::string(name, description)
            .default("1h")
            .duration()
            .pattern(SOME_TIME, |text| {
                duration::parse(text).is_none_or(|time| time >= Duration::from_secs(1))
            })
    };
    attributes.extend([
        Attribute::object(
            "timeouts",
            "How long operations may take, all Nodes together.",
            vec![
                limit("create", "Of the creation."),
                limit("update", "Of a change."),
                limit("delete", "Of the deletion."),
            ],
        )
        .optional(),
        Attribute::list(
            "emptied",
            "Names of the Nodes that the last drain has emptied.",
            Type::String,
        )
        .computed(),
    ]);
    Schema::new(
        0,
        "Nodes of a Kubernetes cluster, chosen by name or label, that are cordoned and drained: while `drained` is true, when `triggers` change, and before \
         the resource is destroyed. Where it depends on machines, it is destroyed before them, and so they are empty when they go. The cluster is \
         the one of `kubernetes` in the provider block; the options are those of `kubectl drain`. A `flatcar_worker_group` drains its own Nodes, and needs none of this.",
        attributes,
    )
}

/// Exactly one of the two says which Nodes.
pub(super) fn chooses(nodes: &Attr<Vec<Attr<String>>>, selector: &Attr<String>) -> Diagnostics {
    let said = match (nodes.is_null(), selector.is_null()) {
        (true, true) => "Neither nodes nor selector is written",
        (false, false) => "Both nodes and selector are written",
        _ => return Diagnostics::none(),
    };
    Diagnostic::error(
        "Which Nodes is not said",
        format!("{said}. Write one of them: names of Nodes, or labels that they have."),
    )
    .at(Path::of("selector"))
    .into()
}

pub(super) const DRAIN: &str = "drain";
pub(super) const UNCORDON: &str = "uncordon";
pub(super) const LEAVE: &str = "leave";
/// Of an operation, where nothing else is said.
pub(super) const LIMIT: Duration = Duration::from_secs(3600);
const MOST_NODES: usize = 1000;
const MOST_SELECTOR: usize = 1000;
const SOME_TIME: &str = "At least `1s`";
