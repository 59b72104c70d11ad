//! What a group should be, once everything about it is known: what a plan and an apply work with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cloud::Entry;
use super::generation::{Generation, Rolls, UserData, Written};
use super::plan::Limits;
use crate::protocol::value::Value;

/// What a group should be, everything known. Holds user data: no `Debug`.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) entry: &'static Entry,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) replicas: usize,
    pub(crate) limits: Limits,
    pub(crate) pace: Pace,
    pub(crate) rolls: Rolls,
    /// What new machines boot.
    pub(crate) image: String,
    pub(crate) set_hostname: bool,
    pub(crate) user_data: Option<String>,
    /// `user_data_wo_version`.
    pub(crate) version: Option<String>,
    /// The attribute named like the cloud.
    pub(crate) shape: Value,
    /// Of it, what rolls.
    pub(crate) rolling: Value,
    /// The same as release 0.1.0 had it.
    pub(crate) first_form: Value,
    /// Of it, what changes in place.
    pub(crate) in_place: BTreeMap<String, Value>,
    /// What changes on the Nodes of its machines: `kubernetes.node_labels`.
    pub(crate) on_nodes: BTreeMap<String, String>,
    /// Of it, where machines may be.
    pub(crate) places: Vec<Allowed>,
    pub(crate) triggers: BTreeMap<String, String>,
    pub(crate) remove_first: BTreeSet<String>,
    pub(crate) replace_machines: BTreeSet<String>,
    pub(crate) paused: bool,
    pub(crate) on_stopped: OnStopped,
}

/// How fast and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Calls at a time.
    pub(crate) parallelism: usize,
    /// How long a new machine has to be up before it counts.
    pub(crate) min_ready: Duration,
    /// From create until running, and joined.
    pub(crate) machine_timeout: Duration,
    /// Machines that may fail; one more ends the apply.
    pub(crate) max_failures: usize,
}

/// Where a machine may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// `networks.fixed_ips`.
    pub(crate) path: &'static str,
    /// What is listed there. A machine has to have one of them.
    pub(crate) listed: BTreeSet<String>,
}

/// What happens to a machine that somebody stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnStopped {
    /// Another one comes in its place.
    Replace,
    /// It is started.
    Start,
    /// Nothing.
    Leave,
}

impl OnStopped {
    /// The user's words for them, the default first.
    pub(crate) const WORDS: [&'static str; 3] = ["replace", "start", "leave"];

    /// Of a word that the schema has checked.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "start" => Self::Start,
            "leave" => Self::Leave,
            _ => Self::Replace,
        }
    }
}

impl Wanted {
    /// What counts for a generation.
    pub(crate) fn as_written(&self) -> Written<'_> {
        Written {
            user_data: match (&self.version, &self.user_data) {
                (Some(version), _) => UserData::Version(version),
                (None, Some(text)) => UserData::Ignition(text),
                (None, None) => UserData::Absent,
            },
            set_hostname: self.set_hostname,
            cloud: self.entry.name,
            shape: &self.rolling,
            triggers: &self.triggers,
            image: &self.image,
        }
    }

    /// The generation of machines that are made from this.
    pub(crate) fn generation(&self) -> Generation {
        Generation::of(&self.as_written())
    }

    /// Fields that change in place and differ between two groups: `aws.tags`.
    pub(crate) fn changed_in_place(&self, prior: &Wanted) -> Vec<String> {
        // After an import nothing is known of what the cloud has: a refresh finds it.
        if prior.shape == Value::Null {
            return Vec::new();
        }
        let both: BTreeSet<&String> = self.on_nodes.keys().chain(prior.on_nodes.keys()).collect();
        let on_nodes = both
            .into_iter()
            .filter(|name| self.on_nodes.get(*name) != prior.on_nodes.get(*name))
            .cloned();
        let fields: BTreeSet<&String> = self.in_place.keys().chain(prior.in_place.keys()).collect();
        fields
            .into_iter()
            .filter(|field| self.in_place.get(*field) != prior.in_place.get(*field))
            .filter(|field| self.in_place.contains_key(*field) || !self.entry.keeps(field))
            .map(|field| format!("{}.{field}", self.entry.name))
            .chain(on_nodes)
            .collect()
    }
}
