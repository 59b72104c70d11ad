//! Machines as a look shows them beside what state says of them: in what they differ, and what they
//! have of the fields that change in place.
//!
//! In: a machine, and what was recorded of it. Out: `["instance_type", "marks"]`, and `{"tags":
//! {"team": "a"}}`.

use std::collections::BTreeMap;

use crate::protocol::value::Value;
use crate::worker_group::apply::MARKS;
use crate::worker_group::basis::same_shape;
use crate::worker_group::cloud::{Cloud, Entry, Machine};
use crate::worker_group::compare::{Compared, compared};
use crate::worker_group::generation::Generation;
use crate::worker_group::model::{self, Fields, Private};
use crate::worker_group::roll::Observed;

/// What machines of a state are compared with.
pub(super) struct Expected<'a> {
    entry: &'static Entry,
    shape: &'a Value,
    /// What the cloud says that machines of this shape look like; nothing where the shape is not
    /// known.
    looks: BTreeMap<String, String>,
    generation: Option<Generation>,
    private: &'a Private,
    observed: &'a Observed,
}

impl<'a> Expected<'a> {
    /// Of a state with this shape, by what was observed.
    pub(super) fn of(
        (cloud, entry): (&dyn Cloud, &'static Entry),
        shape: &'a Value,
        fields: &Fields,
        private: &'a Private,
        observed: &'a Observed,
    ) -> Self {
        let generation = fields.generation.known();
        Self {
            entry,
            shape,
            looks: match shape {
                Value::Map(_) => cloud.wanted(shape),
                _ => BTreeMap::new(),
            },
            generation: generation.map(|text| Generation::parse(text)),
            private,
            observed,
        }
    }

    /// In what a machine differs. Of one that the cloud does not show yet, or that was made from
    /// another shape, nothing is known but whether it has lost its mark.
    pub(super) fn compared(
        &self,
        machine: &Machine,
        recorded: Option<&model::Machine>,
    ) -> Compared {
        let made_from = Generation::parse(&machine.mark.generation);
        let is_of_this_shape = self
            .generation
            .as_ref()
            .is_some_and(|current| same_shape(&made_from, current, self.private));
        let mut found = match is_of_this_shape && !self.observed.hidden.contains(&machine.name) {
            true => compared(
                machine,
                &self.looks,
                (self.entry, self.shape),
                recorded.map(|recorded| recorded.image.as_str()),
            ),
            false => Compared::default(),
        };
        if self.observed.unmarked.contains(&machine.name) {
            found.drift.push(MARKS.to_owned());
        }
        found
    }
}
