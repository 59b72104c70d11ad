//! What machines take from a list that somebody else made (addresses), and names that are created
//! one at a time: what is taken here, before the cloud shows it.
//!
//! In: `10.0.0.5` and `10.0.0.6` are listed, the cloud shows a machine with the former. Out: the
//! latter, kept from the other creates of this operation until its own is answered, and for as long
//! as the cloud lists its machine after that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one operation has taken.
#[derive(Default)]
pub struct Pool {
    taken: Mutex<BTreeMap<String, Taken>>,
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

struct Taken {
    machine: String,
    /// Whether the cloud knows the machine: from then on it holds only while the cloud lists it.
    answered: bool,
}

impl Pool {
    /// A lock for a name that is being created: between looking for it and taking it, nobody else
    /// may.
    pub fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = locked(&self.turns);
        Arc::clone(turns.entry(name.to_owned()).or_default())
    }

    /// Of each list the first that is free, or the machine's already; `None` of a list that is
    /// empty. `used` is what listed machines have, `exists` says whether the cloud lists a machine.
    ///
    /// # Errors
    /// The number of the list of which nothing is free.
    pub fn take(
        &self,
        machine: &str,
        lists: &[&[String]],
        used: impl Fn(&str) -> bool,
        exists: impl Fn(&str) -> bool,
    ) -> Result<Vec<Option<String>>, usize> {
        let mut taken = locked(&self.taken);
        taken.retain(|_, held| !held.answered || exists(&held.machine));
        // What it took before, and was not answered about, it takes again: it may have it.
        let is_others = |one: &str| taken.get(one).is_some_and(|held| held.machine != machine);
        let is_free = |one: &&String| !used(one) && !is_others(one);
        let first = |(number, list): (usize, &&[String])| match list.is_empty() {
            true => Ok(None),
            false => list.iter().find(is_free).cloned().map(Some).ok_or(number),
        };
        let found: Vec<Option<String>> = lists
            .iter()
            .enumerate()
            .map(first)
            .collect::<Result<_, _>>()?;
        for one in found.iter().flatten() {
            let held = Taken {
                machine: machine.to_owned(),
                answered: false,
            };
            taken.insert(one.clone(), held);
        }
        Ok(found)
    }

    /// The create that took something was answered: it is the machine's, or free again.
    pub fn settle(&self, machine: &str, created: bool) {
        let mut taken = locked(&self.taken);
        taken.retain(|_, held| created || held.machine != machine);
        for held in taken.values_mut().filter(|held| held.machine == machine) {
            held.answered = true;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<String> {
        last.iter().map(|last| format!("10.0.0.{last}")).collect()
    }

    #[test]
    fn addresses_are_taken_in_order_and_run_out_by_network() {
        let listed = addresses(&[5, 6]);
        let take = |used: &[&str]| {
            let pool = Pool::default();
            pool.take("w-0", &[&[], &listed], |one| used.contains(&one), |_| true)
        };
        let second = |last: u8| Ok(vec![None, Some(format!("10.0.0.{last}"))]);
        assert_eq!(take(&[]), second(5));
        assert_eq!(take(&["10.0.0.5"]), second(6));
        assert_eq!(take(&["10.0.0.5", "10.0.0.6"]), Err(1));
    }

    #[test]
    fn a_create_that_was_not_answered_takes_again_what_it_took() {
        let (pool, listed) = (Pool::default(), addresses(&[5, 6]));
        let take = |machine: &str| {
            let taken = pool.take(machine, &[&listed], |_| false, |_| true);
            taken.unwrap().remove(0).unwrap()
        };
        let taken = ["w-0", "w-0", "w-1", "w-0"].map(take);
        assert_eq!(taken, ["10.0.0.5", "10.0.0.5", "10.0.0.6", "10.0.0.5"]);
    }

    #[test]
    fn what_a_create_took_is_kept_until_it_failed_or_its_machine_is_listed_no_more() {
        let listed = addresses(&[5]);
        for (created, listed_later, is_free) in [
            (None, false, false),
            (Some(false), false, true),
            (Some(true), true, false),
            (Some(true), false, true),
        ] {
            let pool = Pool::default();
            let take = |machine: &str, exists: bool| {
                pool.take(machine, &[&listed], |_| false, |_| exists)
                    .is_ok()
            };
            assert!(take("w-0", false));
            if let Some(created) = created {
                pool.settle("w-0", created);
            }
            assert_eq!(
                take("w-1", listed_later),
                is_free,
                "{created:?} {listed_later}"
            );
        }
    }
}
