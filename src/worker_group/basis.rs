//! What machines that exist are compared with: the generation that is wanted, which marks mean the
//! same as it, and which of its parts nobody knows.
//!
//! A mark is a hash of what was written. Two things make one hash not enough. *Other hashes of the
//! same*: release 0.1.0 also hashed what only places machines, so a machine that it made keeps a
//! mark that today's form does not give; what such a mark means is remembered in private state
//! ([`Private::shapes`]) as soon as the configuration moves on. *Nulls that say nothing*: no cloud
//! tells user data or triggers, and none tells a whole shape; after an import they are null in
//! state whatever machines were made from. A null that state's own generation contradicts is such a
//! one, and while the configuration repeats it no machine differs in it.

use std::collections::{BTreeMap, BTreeSet};

use super::generation::{Generation, Rolls, UserData, Written};
use super::model::{Private, completions, first_form, lacks_required, rolling, untold};
use super::wanted::Wanted;

/// What machines that exist are compared with.
pub(crate) struct Basis {
    /// The generation that is wanted, as state has it where state's means the same.
    pub(crate) generation: Generation,
    /// Which parts matter: those that nobody knows do not.
    pub(crate) rolls: Rolls,
    /// What machines are made from and nobody knows: no new one can be made.
    pub(crate) unknown: Unknown,
    /// Fields of the shape that are null since an import, and one of which machines may have been
    /// made with: what the import told and what the configuration says beside it does not explain
    /// their marks.
    pub(crate) untold: Vec<String>,
    /// Hashes of shapes that mean the wanted one.
    same: BTreeSet<String>,
    /// Hashes of shapes that meant the one that was wanted before, and today's hash of that.
    earlier: Option<(BTreeSet<String>, String)>,
}

/// Parts of a configuration that are null since an import, whatever machines were made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unknown {
    pub(crate) user_data: bool,
    pub(crate) shape: bool,
}

impl Basis {
    /// Of what is wanted; `before` is what was wanted, and the generation in state.
    pub(crate) fn of(
        wanted: &Wanted,
        before: Option<(&Wanted, &Generation)>,
        private: &Private,
    ) -> Self {
        let fresh = wanted.generation();
        let mut basis = Self {
            same: meaning(wanted, &fresh, private),
            generation: fresh.clone(),
            rolls: wanted.rolls,
            unknown: Unknown::default(),
            untold: Vec::new(),
            earlier: None,
        };
        let Some((prior, recorded)) = before else {
            return basis;
        };
        let was = prior.generation();
        let meant = meaning(prior, &was, private);
        let is_known = meant.contains(recorded.shape());
        if was.shape() == fresh.shape() {
            basis.same.extend(meant.iter().cloned());
            if !is_known {
                basis.unknown.shape = true;
                basis.rolls.shape = false;
            }
        } else if !is_known && !explained(wanted, prior, recorded, private) {
            basis.untold = untold(wanted.entry, [&prior.shape, &wanted.shape]);
        }
        if basis.unknown.shape || basis.same.contains(recorded.shape()) {
            basis.generation = basis.generation.with_shape(recorded);
        }
        basis.earlier = Some((meant, was.shape().to_owned()));

        let nothing = |wanted: &Wanted| wanted.as_written().user_data == UserData::Absent;
        if nothing(prior) && nothing(wanted) && !of_no_user_data(wanted, recorded) {
            basis.unknown.user_data = true;
            basis.rolls.user_data = false;
            basis.generation = basis.generation.with_user_data(recorded);
        }
        if prior.triggers.is_empty() && wanted.triggers.is_empty() && !recorded.has_triggers(&fresh)
        {
            basis.rolls.triggers = false;
            basis.generation = basis.generation.with_triggers(recorded);
        }
        basis
    }

    /// A machine's generation in the words of [`Basis::generation`]: equal where it means the same.
    pub(crate) fn translated(&self, of: &Generation) -> Generation {
        match self.same.contains(of.shape()) {
            true => of.with_shape(&self.generation),
            false => of.clone(),
        }
    }

    /// What marks mean, for those that machines have: [`Private::shapes`] from now on.
    pub(crate) fn meanings<'a>(
        &self,
        wanted: &Wanted,
        marks: impl Iterator<Item = &'a Generation>,
        private: &Private,
    ) -> BTreeMap<String, String> {
        let fresh = wanted.generation();
        let mut meanings = BTreeMap::new();
        for mark in marks.map(Generation::shape) {
            let meaning = match &self.earlier {
                _ if self.same.contains(mark) => Some(fresh.shape()),
                Some((meant, was)) if meant.contains(mark) => Some(was.as_str()),
                _ => private.shapes.get(mark).map(String::as_str),
            };
            if let Some(meaning) = meaning.filter(|meaning| *meaning != mark) {
                meanings.insert(mark.to_owned(), meaning.to_owned());
            }
        }
        meanings
    }
}

/// Hashes of shapes that mean this one.
fn meaning(wanted: &Wanted, generation: &Generation, private: &Private) -> BTreeSet<String> {
    let first = Generation::of(&Written {
        shape: &wanted.first_form,
        ..wanted.as_written()
    });
    let remembered = private
        .shapes
        .iter()
        .filter(|(_, meaning)| *meaning == generation.shape())
        .map(|(mark, _)| mark.clone());
    [generation.shape().to_owned(), first.shape().to_owned()]
        .into_iter()
        .chain(remembered)
        .collect()
}

/// Whether what state has recorded was made without user data, with a host name merged or not.
fn of_no_user_data(wanted: &Wanted, recorded: &Generation) -> bool {
    [true, false].into_iter().any(|set_hostname| {
        let without = Generation::of(&Written {
            user_data: UserData::Absent,
            set_hostname,
            ..wanted.as_written()
        });
        recorded.has_user_data(&without)
    })
}

/// Whether marks are those of what an import found of the shape, completed by what the
/// configuration says of the rest: that is all then.
fn explained(wanted: &Wanted, imported: &Wanted, recorded: &Generation, private: &Private) -> bool {
    let entry = wanted.entry;
    completions(entry, &imported.shape, &wanted.shape).any(|shape| {
        let was = Wanted {
            rolling: rolling(entry, &shape),
            first_form: first_form(entry, &shape, &private.configured),
            ..imported.clone()
        };
        meaning(&was, &was.generation(), private).contains(recorded.shape())
    })
}

/// What stands for the generation of a group that was imported without a machine: nobody knows its
/// user data, nor its shape where a core alone can have left out what has to be written.
pub(crate) fn of_no_machine(imported: &Wanted) -> Generation {
    let generation = imported.generation().of_unknown_user_data();
    match lacks_required(imported.entry, &imported.shape) {
        true => generation.of_unknown_shape(),
        false => generation,
    }
}

/// Whether both marks were made from one shape.
pub(crate) fn same_shape(one: &Generation, other: &Generation, private: &Private) -> bool {
    let meaning = |of: &Generation| match private.shapes.get(of.shape()) {
        Some(meaning) => meaning.clone(),
        None => of.shape().to_owned(),
    };
    one.shape() == other.shape() || meaning(one) == meaning(other)
}
