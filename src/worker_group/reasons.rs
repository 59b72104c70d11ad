//! Two texts that say what changed, one after the other, as one: each thing is said once, and the
//! text stays short however often it is added to. Pure.
//!
//! In: `user_data: file /a changed` and `user_data: file /a changed, unit b added`. Out: the
//! second. `image: A -> B` and `image: B -> C` are `image: A -> C`; `aws.spot changed` and
//! `aws.key_name changed` are `aws.spot, aws.key_name changed`.

/// What both texts say.
pub(crate) fn merged(earlier: &str, later: &str) -> String {
    let mut clauses: Vec<Clause<'_>> = Vec::new();
    for text in earlier.split("; ").chain(later.split("; ")) {
        if text.is_empty() {
            continue;
        }
        let clause = Clause::parse(text);
        match clauses.iter_mut().find(|known| known.is_about(&clause)) {
            Some(known) => known.take_in(clause),
            None => clauses.push(clause),
        }
    }
    let said = clauses.iter().filter_map(Clause::said).take(MOST_CLAUSES);
    said.collect::<Vec<_>>().join("; ")
}

/// One statement of a text.
enum Clause<'a> {
    /// `image: A -> B`.
    From {
        what: &'a str,
        from: &'a str,
        to: &'a str,
    },
    /// `user_data: file /a changed, unit b added`; `aws.spot changed`.
    All {
        before: &'a str,
        items: Vec<&'a str>,
        after: &'a str,
        more: bool,
    },
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let (what, rest) = text.split_once(": ").unwrap_or(("", text));
        if let (false, Some((from, to))) = (what.is_empty(), rest.split_once(" -> ")) {
            return Self::From { what, from, to };
        }
        let (list, after) = match (what.is_empty(), rest.strip_suffix(CHANGED)) {
            (true, Some(list)) => (list, CHANGED),
            _ => (rest, ""),
        };
        let (list, more) = match list.strip_suffix(MORE) {
            Some(list) => (list, true),
            None => (list, false),
        };
        let before = text.strip_suffix(rest).unwrap_or_default();
        let mut clause = Self::All {
            before,
            items: Vec::new(),
            after,
            more,
        };
        clause.add(list.split(", "));
        clause
    }

    fn is_about(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::From { what, .. }, Self::From { what: other, .. }) => what == other,
            (
                Self::All { before, after, .. },
                Self::All {
                    before: other,
                    after: end,
                    ..
                },
            ) => before == other && after == end,
            _ => false,
        }
    }

    fn take_in(&mut self, later: Self) {
        match (self, later) {
            (Self::From { to, .. }, Self::From { to: last, .. }) => *to = last,
            (known @ Self::All { .. }, Self::All { items, more, .. }) => {
                known.add(items.into_iter());
                if let Self::All { more: known, .. } = known {
                    *known |= more;
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, new: impl Iterator<Item = &'a str>) {
        let Self::All { items, more, .. } = self else {
            return;
        };
        for item in new {
            if items.contains(&item) {
                continue;
            }
            match items.len() < MOST_ITEMS {
                true => items.push(item),
                false => *more = true,
            }
        }
    }

    /// As text; nothing where it went and came back.
    fn said(&self) -> Option<String> {
        match self {
            Self::From { from, to, .. } if from == to => None,
            Self::From { what, from, to } => Some(format!("{what}: {from} -> {to}")),
            Self::All {
                before,
                items,
                after,
                more,
            } => {
                let more = if *more { MORE } else { "" };
                Some(format!("{before}{}{more}{after}", items.join(", ")))
            }
        }
    }
}

const CHANGED: &str = " changed";
const MORE: &str = ", and more";
/// Things that one statement names.
const MOST_ITEMS: usize = 20;
/// Statements of one text.
const MOST_CLAUSES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_twice_is_said_once() {
        let cases = [
            ("", "", ""),
            ("", "image: A -> B", "image: A -> B"),
            ("image: A -> B", "", "image: A -> B"),
            ("image: A -> B", "image: B -> C", "image: A -> C"),
            ("image: A -> B", "image: B -> A", ""),
            // As states of earlier releases have it.
            (
                "image: A -> B; image: B -> C",
                "image: C -> D",
                "image: A -> D",
            ),
            (
                "user_data_wo_version: 1 -> 2",
                "user_data_wo_version: 2 -> 3",
                "user_data_wo_version: 1 -> 3",
            ),
            (
                "user_data: file /a changed",
                "user_data: file /a changed, unit b added",
                "user_data: file /a changed, unit b added",
            ),
            (
                "user_data: file /a changed; user_data: file /b changed; user_data: file /a changed",
                "user_data: set_hostname changed",
                "user_data: file /a changed, file /b changed, set_hostname changed",
            ),
            (
                "aws.spot, aws.key_name changed",
                "aws.user changed",
                "aws.spot, aws.key_name, aws.user changed",
            ),
            (
                r#"replace_triggers["a"] changed"#,
                r#"replace_triggers["a"], replace_triggers["b"] changed"#,
                r#"replace_triggers["a"], replace_triggers["b"] changed"#,
            ),
            (
                "user_data: file /a changed",
                "user_data_wo_version: 1 -> 2",
                "user_data: file /a changed; user_data_wo_version: 1 -> 2",
            ),
        ];
        for (earlier, later, expected) in cases {
            assert_eq!(merged(earlier, later), expected, "{earlier} + {later}");
            assert_eq!(merged(expected, ""), expected, "again");
        }
    }

    #[test]
    fn a_text_stays_short_however_often_it_is_added_to() {
        let mut text = String::new();
        for number in 0..1_000 {
            text = merged(&text, &format!("user_data: file /{number} changed"));
            text = merged(&text, &format!("x.{number} changed; odd {number}: a"));
        }
        assert!(text.len() < 1_500, "{} {text}", text.len());
        assert!(text.contains("file /0 changed"), "{text}");
        assert!(text.contains(", and more; x.0"), "{text}");
    }
}
