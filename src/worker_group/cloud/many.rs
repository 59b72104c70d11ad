//! Many answers to one question, and one question about many machines: pages one after the other,
//! and never without end; calls some at a time.
//!
//! In: what each answer names as the mark of the next page, a token of EC2 or the last id of Nova;
//! calls for each machine. Out: all that there is, or an error and no shorter list; what all calls
//! came to.

use std::collections::BTreeSet;
use std::future::Future;

use futures::stream::{self, Stream, StreamExt as _};

use super::{CloudError, Kind};

/// The pages of one question so far.
pub struct Pages {
    action: &'static str,
    object: String,
    marks: BTreeSet<String>,
}

impl Pages {
    /// Of a question that is about to be asked; `action` and `object` as in [`CloudError`].
    pub fn new(action: &'static str, object: &str) -> Self {
        Self {
            action,
            object: object.to_owned(),
            marks: BTreeSet::new(),
        }
    }

    /// All that the pages hold: `page` asks for the one of a mark, and answers what is in it and
    /// the mark of the next.
    ///
    /// # Errors
    /// Those of `page`; a mark that was followed before, or more pages than any group has.
    pub async fn all<T, F>(
        mut self,
        mut page: impl FnMut(Option<String>) -> F,
    ) -> Result<Vec<T>, CloudError>
    where
        F: Future<Output = Result<(Vec<T>, Option<String>), CloudError>>,
    {
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let (found, mark) = page(next).await?;
            all.extend(found);
            next = self.next(mark.as_deref())?;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// The mark to ask for the next page with; `None`: there is none.
    fn next(&mut self, mark: Option<&str>) -> Result<Option<String>, CloudError> {
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

    fn endless(&self, what: &str) -> CloudError {
        CloudError::new(Kind::Unavailable, self.action, &self.object, what)
    }
}

/// Carries out what is asked once for each machine, and answers as the answers come.
pub fn some_at_a_time<F: Future>(calls: Vec<F>) -> impl Stream<Item = F::Output> {
    stream::iter(calls).buffer_unordered(AT_A_TIME)
}

/// Carries all of them out, whatever becomes of the others.
///
/// # Errors
/// The first that may pass, for the next try then does what is left; else the first.
pub async fn all_of<F>(calls: Vec<F>) -> Result<(), CloudError>
where
    F: Future<Output = Result<(), CloudError>>,
{
    let answers: Vec<_> = some_at_a_time(calls).collect().await;
    let errors = answers.into_iter().filter_map(Result::err);
    let first = errors.min_by_key(|error| !error.is_retryable());
    first.map_or(Ok(()), Err)
}

/// Of a thousand each, as a rule: no cloud holds that many machines of one group.
const MOST_PAGES: usize = 1_000;
/// A call takes some tenths of a second: hundreds of machines are done well within the time that
/// one question has, and the few workers of a small cloud's API are not all ours.
const AT_A_TIME: usize = 10;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn calls_go_some_at_a_time_and_end_at_a_refusal() {
        for (refused, expected) in [(usize::MAX, Ok(())), (AT_A_TIME, Err(AT_A_TIME))] {
            let (under_way, most, begun) = (Cell::new(0), Cell::new(0), Cell::new(0));
            let call = |number: usize| {
                let (under_way, most, begun) = (&under_way, &most, &begun);
                async move {
                    begun.set(begun.get() + 1);
                    under_way.set(under_way.get() + 1);
                    most.set(most.get().max(under_way.get()));
                    tokio::task::yield_now().await;
                    under_way.set(under_way.get() - 1);
                    match number == refused {
                        true => Err(number),
                        false => Ok(()),
                    }
                }
            };
            let all = 10 * AT_A_TIME;
            let calls = (0..all).map(call).collect();
            let answer: Result<(), usize> = some_at_a_time(calls).try_collect().await;
            assert_eq!(answer, expected);
            assert_eq!(most.get(), AT_A_TIME);
            assert_eq!(begun.get() == all, expected.is_ok());
        }
    }

    #[tokio::test]
    async fn all_are_carried_out_and_what_may_pass_is_answered_first() {
        use Kind::{BadRequest, Forbidden, RateLimit, Unavailable};
        for (kinds, expected) in [
            ([None, None, None], None),
            ([Some(BadRequest), None, None], Some(BadRequest)),
            ([Some(Forbidden), None, Some(BadRequest)], Some(Forbidden)),
            (
                [Some(BadRequest), Some(RateLimit), Some(Unavailable)],
                Some(RateLimit),
            ),
        ] {
            let done = Cell::new(0);
            let call = |kind: Option<Kind>| {
                let done = &done;
                async move {
                    done.set(done.get() + 1);
                    kind.map_or(Ok(()), |kind| {
                        Err(CloudError::new(kind, "test", String::new(), String::new()))
                    })
                }
            };
            let answer = all_of(kinds.into_iter().map(call).collect()).await;
            let answer = answer.map_err(|error| error.kind);
            assert_eq!(answer, expected.map_or(Ok(()), Err), "{kinds:?}");
            assert_eq!(done.get(), kinds.len(), "{kinds:?}");
        }
    }

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
