//! What is kept in private state: no core shows it, and no configuration reaches it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Group;
use crate::provider::{Diagnostic, Stored, Value};
use crate::worker_group::cloud::Machine;
use crate::worker_group::generation::Reasons;
use crate::worker_group::plan::{next_ordinal, ordinal};
use crate::worker_group::proof::Secret;

/// Private state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Private {
    /// The lowest ordinal that was never used.
    pub(crate) next_ordinal: u64,
    /// The lowest ordinal that the last apply may have used. Names never come back: what carries a
    /// lower one, and is not known by its id, is none that an apply left, whatever it proves.
    pub(crate) proves_from: u64,
    /// The image of the creation, for `image_update = "pinned"`.
    pub(crate) first_image: Option<String>,
    /// What changed since a generation that some machine still has.
    pub(crate) history: BTreeMap<String, Reasons>,
    /// Marks' hashes of shapes to the hash that the same shape has today, for those that differ and
    /// that some machine still has.
    pub(crate) shapes: BTreeMap<String, String>,
    /// What the configuration last said of fields that change in place, for those of which state
    /// shows what some machine has instead.
    pub(crate) configured: BTreeMap<String, Value>,
    /// What else is known of machines, by name.
    pub(crate) machines: BTreeMap<String, Note>,
    /// Machines that refreshes found to be gone, and in whose place none was made yet: at most as
    /// many as the group is to have.
    pub(crate) gone: Vec<String>,
    /// Machines that are gone, and whose Nodes could not be removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes_left: Vec<String>,
    /// What proves which machines are the group's own: kept as the attribute `proof_key`.
    #[serde(skip)]
    pub(crate) secret: Secret,
    /// Ids of machines that carry another one's name and proof: they stay strangers when that one
    /// is gone.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) copies: BTreeSet<String>,
}

/// What is known of a machine beyond state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// Seconds since 1970.
    pub(crate) created: Option<u64>,
    /// Fields of the shape, or `image`, that are not as the group made them.
    pub(crate) drift: Vec<String>,
    /// It should run since long.
    pub(crate) overdue: bool,
    /// What its cloud says of one that failed or was stopped.
    pub(crate) message: Option<String>,
    /// Where it is, by the field of the shape that says where machines may be; several with commas
    /// between.
    pub(crate) places: BTreeMap<String, String>,
    /// What it has of the fields that change in place, as hashes; a field that nobody has looked at
    /// is missing.
    pub(crate) in_place: BTreeMap<String, String>,
}

impl Note {
    /// When the machine was created; `None` also where what is recorded is no moment.
    pub(crate) fn created_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.created?))
    }
}

impl Private {
    /// Reads private state. There is none yet in a creation, and after an import.
    ///
    /// # Errors
    /// There is one, and it is not what this provider writes: to go on without it would forget what
    /// is in no other place.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Diagnostic> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let fields = serde_json::from_slice(bytes).map(serde_json::Value::Object);
        fields.and_then(serde_json::from_value).map_err(|error| {
            Diagnostic::error(
                "Private state of the group cannot be read",
                format!(
                    "State holds {} bytes for the provider that it cannot read ({error}): it did not write them, or a later release did. \
                     Nothing was changed. Use that release, or restore the state from a backup; else remove the group from the state and \
                     import it, which forgets the first image of image_update = \"pinned\".",
                    bytes.len()
                ),
            )
        })
    }

    /// That of a group. A provider that is killed in an apply answers nothing, and a core then
    /// keeps the group's attributes and drops its private state: what must not be lost is had from
    /// the attributes.
    ///
    /// # Errors
    /// [`Private::read`]
    pub(crate) fn of(group: &Stored<Group>) -> Result<Self, Diagnostic> {
        let mut private = Self::read(&group.private)?;
        let fields = &group.model.fields;
        if let Some(key) = fields.proof_key.known() {
            private.secret = key.clone();
        }
        // A pinned group boots one image only.
        if private.first_image.is_none()
            && let Some(machines) = fields.machines.known()
        {
            let mut images = machines.values().map(|machine| &machine.image);
            let first = images.next();
            let only = first.filter(|first| images.all(|image| image == *first));
            private.first_image = only.cloned();
        }
        Ok(private)
    }

    /// Machines are gone, of a group that is to have so many. No more of them can be missing, so
    /// the oldest of more are forgotten. All else that depends on one is that its name never comes
    /// back, and the lowest unused ordinal is above it.
    pub(crate) fn lose(&mut self, names: Vec<String>, replicas: usize) {
        self.gone.extend(names);
        let of_all = self.gone.iter().map(String::as_str);
        self.next_ordinal = next_ordinal(self.next_ordinal, of_all);
        self.gone
            .sort_by_cached_key(|name| (ordinal(name), name.clone()));
        self.gone.dedup();
        let oldest = self.gone.len().saturating_sub(replicas);
        self.gone.drain(..oldest);
    }

    /// An apply begins. Machines of an earlier one that it leaves alone may be found after it.
    pub(crate) fn begin_apply(&mut self, unrecorded: &[Machine]) {
        let unrecorded = unrecorded
            .iter()
            .filter_map(|machine| ordinal(&machine.name));
        let lowest = unrecorded
            .chain([next_ordinal(self.next_ordinal, [])])
            .min();
        self.proves_from = lowest.unwrap_or_default();
    }

    /// Names of machines whose Nodes may be left: these, which have just been found to be gone, and
    /// earlier ones.
    pub(crate) fn vanished(&self, gone: &[String]) -> Vec<String> {
        let earlier = self.gone.iter().chain(&self.nodes_left);
        let names: BTreeSet<&String> = gone.iter().chain(earlier).collect();
        names.into_iter().cloned().collect()
    }

    /// The bytes of it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
