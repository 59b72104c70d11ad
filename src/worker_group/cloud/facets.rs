//! What machines show of their shape: one row a field, which says what the shape wants and what a
//! machine has. And which of a machine's tags are the user's, among those of others.
//!
//! In: a shape `{size = "small", tags = {team = "a"}}`, and a machine in the cloud's own words.
//! Out: of each what is compared, `{"size": "small", "tags.team": "a"}`. What a difference comes to
//! (a change in place, or another machine) says the row of the cloud, [`Entry::fields`], under the
//! same name.
//!
//! [`Entry::fields`]: super::Entry::fields

use std::collections::{BTreeMap, BTreeSet};

use super::Machine;

/// What is compared of a shape, or of a machine: [`Machine::observed`].
pub type Looks = BTreeMap<String, String>;

/// A field of the shape `S` that machines `M` show, `M` being the cloud's own type.
pub struct Facet<S, M> {
    field: &'static str,
    compared: Compared<S, M>,
}

enum Compared<S, M> {
    Whole(fn(&S) -> Option<String>, fn(&M) -> Option<String>),
    Parts(fn(&S) -> Looks, fn(&M) -> Looks),
}

impl<S, M> Facet<S, M> {
    /// A field as one text: what the shape wants of it, and what a machine has. A wish that is
    /// `None` leaves the field to itself, and what a machine does not show is not known.
    pub const fn whole(
        field: &'static str,
        wanted: fn(&S) -> Option<String>,
        seen: fn(&M) -> Option<String>,
    ) -> Self {
        let compared = Compared::Whole(wanted, seen);
        Self { field, compared }
    }

    /// A field in parts by their keys, such as tags: a part that a machine does not show is not
    /// there.
    pub const fn parts(
        field: &'static str,
        wanted: fn(&S) -> Looks,
        seen: fn(&M) -> Looks,
    ) -> Self {
        let compared = Compared::Parts(wanted, seen);
        Self { field, compared }
    }

    /// What machines of this shape should show.
    pub fn wanted(facets: &[Self], shape: &S) -> Looks {
        let looks = facets.iter().map(|facet| match facet.compared {
            Compared::Whole(wanted, _) => whole(facet.field, wanted(shape)),
            Compared::Parts(wanted, _) => parts(facet.field, wanted(shape)),
        });
        looks.flatten().collect()
    }

    /// What a machine shows.
    pub fn seen(facets: &[Self], machine: &M) -> Looks {
        let looks = facets.iter().map(|facet| match facet.compared {
            Compared::Whole(_, seen) => whole(facet.field, seen(machine)),
            Compared::Parts(_, seen) => parts(facet.field, seen(machine)),
        });
        looks.flatten().collect()
    }
}

fn whole(field: &str, value: Option<String>) -> Looks {
    let value = value.map(|value| (field.to_owned(), value));
    value.into_iter().collect()
}

fn parts(field: &str, values: Looks) -> Looks {
    let values = values.into_iter();
    values
        .map(|(key, value)| (format!("{field}.{key}"), value))
        .collect()
}

/// Several names of a field as one text, whatever their order was.
pub fn listed<T: AsRef<str>>(names: &BTreeSet<T>, separator: &str) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(separator)
}

/// The user's tags on machines that carry tags of others too: one more tag lists which they are.
/// Those that left the configuration are taken off by it; those of others stay, and are not
/// compared.
pub struct OwnTags {
    /// The field of the shape: `"tags"`.
    pub field: &'static str,
    /// The key of the tag that lists them, with commas between them: `"flatcar-tags"`.
    pub list: &'static str,
    /// A key as it stands in the list: itself, or a short hash where the value of a tag has no room
    /// for all.
    pub listed: fn(&str) -> String,
}

impl OwnTags {
    /// What is written on a machine: the user's tags, and the list.
    pub fn written(&self, tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let list: Vec<String> = tags.keys().map(|key| (self.listed)(key)).collect();
        let mut written = tags.clone();
        written.insert(self.list.to_owned(), list.join(","));
        written
    }

    /// Those of a machine's tags that its list names.
    pub fn seen<'a>(&self, tags: impl Iterator<Item = (&'a str, &'a str)>) -> Looks {
        let (lists, others): (Vec<_>, Vec<_>) = tags.partition(|(key, _)| *key == self.list);
        let list: BTreeSet<&str> = lists.iter().flat_map(|(_, list)| list.split(',')).collect();
        let others = others.into_iter();
        let ours = others.filter(|(key, _)| list.contains((self.listed)(key).as_str()));
        ours.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Keys that one of these machines was seen to have and that are none of these tags: they have
    /// left the configuration.
    pub fn left<'a>(
        &self,
        machines: &'a [Machine],
        tags: &BTreeMap<String, String>,
    ) -> BTreeSet<&'a str> {
        let prefix = format!("{}.", self.field);
        let machines = machines.iter();
        let left = machines.flat_map(|one| one.no_longer(&prefix, |key| tags.contains_key(key)));
        left.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker_group::cloud::{Mark, Phase};

    struct Shape {
        size: Option<&'static str>,
        tags: Looks,
    }

    fn looks(pairs: &[(&str, &str)]) -> Looks {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    const OWN: OwnTags = OwnTags {
        field: "tags",
        list: "ours",
        listed: |key| key.chars().take(3).collect(),
    };

    const FACETS: &[Facet<Shape, Looks>] = &[
        Facet::whole(
            "size",
            |shape| shape.size.map(str::to_owned),
            |machine| machine.get("size of it").cloned(),
        ),
        Facet::parts(
            "tags",
            |shape| shape.tags.clone(),
            |machine| OWN.seen(machine.iter().map(|(key, value)| (&**key, &**value))),
        ),
    ];

    #[test]
    fn a_shape_and_a_machine_are_compared_field_by_field_and_tag_by_tag() {
        let tags = looks(&[("team", "a"), ("cost", "1")]);
        for (size, expected) in [
            (
                Some("small"),
                looks(&[("size", "small"), ("tags.cost", "1"), ("tags.team", "a")]),
            ),
            (None, looks(&[("tags.cost", "1"), ("tags.team", "a")])),
        ] {
            let tags = tags.clone();
            assert_eq!(Facet::wanted(FACETS, &Shape { size, tags }), expected);
        }
        let mut machine = OWN.written(&tags);
        assert_eq!(machine["ours"], "cos,tea");
        machine.extend(looks(&[("stranger", "1"), ("size of it", "large")]));
        assert_eq!(
            Facet::seen(FACETS, &machine),
            looks(&[("size", "large"), ("tags.cost", "1"), ("tags.team", "a")])
        );
        machine.remove("ours");
        assert_eq!(
            Facet::seen(FACETS, &machine),
            looks(&[("size", "large")]),
            "without the list nobody knows whose they are"
        );
    }

    #[test]
    fn a_tag_that_left_the_configuration_is_taken_off_and_no_other() {
        let machine = |observed: &[(&str, &str)]| Machine {
            id: String::new(),
            name: String::new(),
            zone: String::new(),
            addresses: Vec::new(),
            image: String::new(),
            phase: Phase::Running,
            message: None,
            mark: Mark::default(),
            created: None,
            observed: looks(observed),
        };
        let machines = [
            machine(&[("size", "small"), ("tags.team", "a"), ("tags.old", "1")]),
            machine(&[("tags.older", "1")]),
        ];
        let left = OWN.left(&machines, &looks(&[("team", "b")]));
        assert_eq!(left.into_iter().collect::<Vec<_>>(), ["old", "older"]);
    }
}
