//! Machines spread over places (zones, subnets) in turn; where one has no room, the next one is
//! tried.
//!
//! In: `["a", "b", "c"]`, the machine of ordinal 1, and a create in one place. Out: it is tried in
//! `b`, `c` and `a` until one has room.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{CloudError, Kind, Spec};

/// NodesAndTraffic in the order in which a machine of this ordinal tries them: each machine of a
/// group begins with the next one.
pub fn in_turn<T: Clone>(places: &[T], ordinal: u64) -> Vec<T> {
    let mut places = places.to_vec();
    let count = u64::try_from(places.len()).unwrap_or(1).max(1);
    places.rotate_left(usize::try_from(ordinal % count).unwrap_or(0));
    places
}

/// Where the creates of one operation have got to.
#[derive(Default)]
pub struct Spread {
    /// Of a name and an attempt, the index of the place that it was last tried in.
    begun: Mutex<HashMap<(String, u32), usize>>,
}

impl Spread {
    /// Creates a machine in the first of these places that has room. A repeat of the same spec goes
    /// on where it was, for it may be there.
    ///
    /// # Errors
    /// Any but those that `is_short` says are of one place; the last of those where no place has
    /// room, after which a repeat may begin anywhere. Without any place: that there is none.
    pub async fn create<P: Copy, T, F: Future<Output = Result<T, CloudError>>>(
        &self,
        spec: &Spec<'_>,
        places: &[P],
        is_short: impl Fn(&CloudError) -> bool,
        mut create: impl FnMut(P) -> F,
    ) -> Result<T, CloudError> {
        let key = (spec.name.to_owned(), spec.attempt);
        let first = self.begun().get(&key).copied().unwrap_or(0);
        let mut shortage = None;
        for (index, place) in places.iter().copied().enumerate().skip(first) {
            self.begun().insert(key.clone(), index);
            match create(place).await {
                Err(error) if is_short(&error) => shortage = Some(error),
                answer => return answer,
            }
        }
        // Every place has said no, none of them holds a machine.
        self.begun().remove(&key);
        Err(shortage.unwrap_or_else(|| {
            let words = "nothing: there is no place to create it in";
            CloudError::new(Kind::BadRequest, "Create", spec.name, words)
        }))
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<(String, u32), usize>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker_group::cloud::Mark;

    #[test]
    fn each_machine_begins_with_the_next_place() {
        for (ordinal, order) in [(0, "abc"), (1, "bca"), (5, "cab")] {
            let places = in_turn(&["a", "b", "c"], ordinal);
            assert_eq!(places.concat(), order, "{ordinal}");
        }
        assert!(in_turn::<String>(&[], 5).is_empty());
    }

    #[tokio::test]
    async fn a_create_goes_on_where_it_was_and_begins_anew_when_no_place_has_room() {
        let (spread, mark) = (Spread::default(), Mark::default());
        let spec = Spec::trial(&mark, "image");
        let create = async |answers: &[(&str, Option<Kind>)], tried: &mut Vec<String>| {
            let places = ["a", "b"];
            let is_short = |error: &CloudError| error.kind == Kind::Quota;
            spread
                .create(&spec, &places, is_short, |place| {
                    tried.push(place.to_owned());
                    let answer = answers.iter().find(|(known, _)| *known == place);
                    let refused = answer.and_then(|(_, kind)| *kind);
                    let refused = refused.map(|kind| CloudError::new(kind, "Create", place, "no"));
                    std::future::ready(refused.map_or(Ok(place), Err))
                })
                .await
        };
        let (full, lost) = (Some(Kind::Quota), Some(Kind::Ambiguous));
        for (answers, made, order) in [
            ([("a", full), ("b", lost)], Err(Kind::Ambiguous), "ab"),
            ([("a", None), ("b", full)], Err(Kind::Quota), "b"),
            ([("a", None), ("b", full)], Ok("a"), "a"),
        ] {
            let mut tried = Vec::new();
            let answer = create(&answers, &mut tried).await;
            let answer = answer.map_err(|error| error.kind);
            assert_eq!((answer, tried.concat().as_str()), (made, order));
        }
        let nowhere: [&str; 0] = [];
        let answer = spread.create(&spec, &nowhere, |_| true, |_| std::future::ready(Ok(())));
        assert_eq!(answer.await.unwrap_err().kind, Kind::BadRequest);
    }
}
