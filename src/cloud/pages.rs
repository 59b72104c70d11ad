//! Answers in pages, of any cloud: asked for one after the other, and never without end.
//!
//! In: what each answer names as the mark of the next page, a token of EC2 or the last id of Nova. Out: the mark to ask with; or that this
//! answer cannot be gone on from, which is an error and no shorter list.

use std::collections::BTreeSet;

use crate::worker_group::cloud::{CloudError, Kind};

/// The pages of one question so far.
pub(super) struct Pages {
    action: &'static str,
    object: String,
    marks: BTreeSet<String>,
}

impl Pages {
    /// Of a question that is about to be asked; `action` and `object` as in [`CloudError`].
    pub(super) fn new(action: &'static str, object: &str) -> Self {
        Self {
            action,
            object: object.to_owned(),
            marks: BTreeSet::new(),
        }
    }

    /// The mark to ask for the next page with; `None`: there is none.
    ///
    /// # Errors
    /// This mark was followed before, or there are more pages than any group has.
    pub(super) fn next(&mut self, mark: Option<&str>) -> Result<Option<String>, CloudError> {
        let Some(mark) = mark.filter(|mark| !mark.is_empty()) else {
            return Ok(None);
        };
        if self.marks.len() >= MOST_PAGES {
            return Err(self.endless(&format!("more than {MOST_PAGES} pages")));
        }
        if !self.marks.insert(mark.to_owned()) {
            return Err(self.endless("a page that was answered before as the next one"));
        }
        Ok(Some(mark.to_owned()))
    }

    /// A page after which nobody knows how to go on.
    pub(super) fn endless(&self, what: &str) -> CloudError {
        CloudError {
            action: self.action,
            object: self.object.clone(),
            kind: Kind::Unavailable,
            message: what.to_owned(),
            attribute: None,
            retry_after: None,
        }
    }
}

/// Of a thousand each, as a rule: no cloud holds that many machines of one group.
const MOST_PAGES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_the_last_one_and_never_turn_round() {
        let mut pages = Pages::new("List", "prod/w");
        assert_eq!(pages.next(Some("a")).unwrap().as_deref(), Some("a"));
        assert_eq!(pages.next(Some("b")).unwrap().as_deref(), Some("b"));
        let error = pages.next(Some("a")).unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.to_string().contains("answered before"), "{error}");
        for last in [None, Some("")] {
            assert_eq!(pages.next(last).unwrap(), None);
        }
    }

    #[test]
    fn pages_without_end_are_an_error() {
        let mut pages = Pages::new("List", "prod/w");
        let marks = (0..).map(|number: usize| number.to_string());
        let followed = marks.map(|mark| pages.next(Some(&mark)));
        let followed = followed.take_while(Result::is_ok).count();
        assert_eq!(followed, MOST_PAGES);
    }
}
