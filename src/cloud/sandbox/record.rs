//! A machine of the sandbox as it stands on disk, and what it is at a moment. Pure.
//!
//! In: `machines/workers-k3x9-0.json` and a time. Out: a machine.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};

use super::shape::Shape;
use crate::worker_group::cloud::{Facet, Machine, Mark, Phase};

/// A machine as it stands on disk. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `"sbx-0f3a..."`, another one for each machine that ever had this name.
    pub(super) id: String,
    pub(super) name: String,
    #[serde(flatten, deserialize_with = "what_is_left")]
    pub(super) mark: Mark,
    pub(super) image: String,
    /// The digest, never the text: user data holds secrets.
    pub(super) user_data_sha256: String,
    pub(super) user_data_bytes: usize,
    pub(super) zone: String,
    pub(super) size: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) address: String,
    pub(super) attempt: u32,
    pub(super) created_ms: u64,
    /// When it leaves pending.
    pub(super) booted_ms: u64,
    pub(super) boot: Boot,
    /// From when on a list shows it.
    pub(super) listed_ms: u64,
    /// Until when it is going; absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone_ms: Option<u64>,
    /// Set by hand to stop a machine behind the provider's back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
    /// Digest over everything that the create asked for: tells a repeat from a clash of names.
    pub(super) spec_sha256: String,
}

/// How the boot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Boot {
    Runs,
    Fails,
    Hangs,
}

impl Record {
    /// Where the machine is in its life at this moment.
    pub(super) fn phase(&self, now_ms: u64) -> Phase {
        match self.boot {
            _ if self.gone_ms.is_some() => Phase::Deleting,
            _ if self.stopped => Phase::Stopped,
            Boot::Hangs => Phase::Pending,
            _ if now_ms < self.booted_ms => Phase::Pending,
            Boot::Fails => Phase::Failed,
            Boot::Runs => Phase::Running,
        }
    }

    /// The cloud's own words for one that does not run.
    pub(super) fn message(&self, now_ms: u64) -> Option<String> {
        match self.phase(now_ms) {
            Phase::Failed => Some("the boot failed: no bootable device".to_owned()),
            Phase::Stopped => Some("stopped by somebody".to_owned()),
            _ => None,
        }
    }

    /// As the worker group sees it.
    pub(super) fn machine(&self, now_ms: u64) -> Machine {
        Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            zone: self.zone.clone(),
            addresses: vec![self.address.clone()],
            image: self.image.clone(),
            phase: self.phase(now_ms),
            message: self.message(now_ms),
            mark: self.mark.clone(),
            created: UNIX_EPOCH.checked_add(Duration::from_millis(self.created_ms)),
            observed: Facet::seen(FACETS, self),
        }
    }
}

/// What records show of their shape.
pub(super) const FACETS: &[Facet<Shape, Record>] = &[
    Facet::whole(
        "size",
        |shape| Some(shape.size.clone()),
        |record| Some(record.size.clone()),
    ),
    Facet::whole(
        "zone",
        |shape| Some(shape.zone.clone()),
        |record| Some(record.zone.clone()),
    ),
    Facet::parts(
        "tags",
        |shape| shape.tags.clone().unwrap_or_default(),
        |record| record.tags.clone(),
    ),
];

/// A hand may have taken parts of the mark off: they are empty then.
fn what_is_left<'de, D: Deserializer<'de>>(record: D) -> Result<Mark, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Left {
        cluster: String,
        group: String,
        uid: String,
        generation: String,
        unsaved: bool,
        origin: String,
        proof: String,
    }
    let left = Left::deserialize(record)?;
    Ok(Mark {
        cluster: left.cluster,
        group: left.group,
        uid: left.uid,
        generation: left.generation,
        unsaved: left.unsaved,
        origin: left.origin,
        proof: left.proof,
    })
}
