//! What becomes of a Node that a drain does not empty in time, and what is said of it.
//!
//! In: how one drain ends ([`Drained`]), asked for as often as it takes, and what comes after the
//! time is over ([`OnTimeout`]). Out: [`Emptied`]: whether its machine may go, and the words for
//! whoever waits.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{Drained, Eviction, Left, OnTimeout};
use crate::protocol::log;
use crate::protocol::visible::{cut, one_line};

/// How a Node is to be emptied.
#[derive(Debug, Clone, Copy)]
pub struct Emptying {
    /// When the time for what budgets allow is over.
    pub until: Instant,
    /// What comes then.
    pub on_timeout: OnTimeout,
    /// How long pods may take that are deleted without asking budgets.
    pub forced: Duration,
}

/// How that has ended.
#[derive(Debug)]
pub enum Emptied<E> {
    /// What had to go is gone.
    Empty,
    /// There was no use in it, and why.
    Useless(String),
    /// Its pods stay, and so does it; which ones, without a full stop.
    Stays(String),
    /// It may go, and not all is well.
    Goes(Unwell),
    /// Nobody may be asked.
    Refused(E),
}

/// What is to be said of a Node that goes with pods on it, or whose pods were forced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwell {
    /// Which pods were left, without a full stop.
    pub left: String,
    /// Whether there was no time left.
    pub is_over: bool,
    /// What was done about them.
    pub done: Done,
}

/// What was done about pods that were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Nothing.
    Left,
    /// They were deleted without asking budgets.
    Forced,
    /// They were, and did not go.
    Stuck,
}

impl Emptying {
    /// Empties a Node by a drain that is asked for again where that may help. `may_pass`: whether
    /// an error is one that may be over a little later.
    pub async fn run<'a, E: Display>(
        &self,
        seen: &Seen,
        may_pass: fn(&E) -> bool,
        evict: impl Fn(Eviction, Instant) -> BoxFuture<'a, Result<Drained, E>>,
    ) -> Emptied<E> {
        let mut drained = evict(Eviction::Allowed, self.until).await;
        if let (Ok(Drained::InTheWay(_)), OnTimeout::Skip | OnTimeout::Force) =
            (&drained, self.on_timeout)
        {
            // What may go goes as budgets allow, before the rest is left, or forced.
            drained = evict(Eviction::Around, self.until).await;
        }
        let (left, error) = match drained {
            Ok(Drained::Empty) => return Emptied::Empty,
            Ok(Drained::Useless(why)) => return Emptied::Useless(shown(&why)),
            Ok(Drained::Left(left) | Drained::InTheWay(left)) => (left, None),
            Err(error) if may_pass(&error) => (seen.last(), Some(error)),
            Err(error) => return Emptied::Refused(error),
        };
        let is_over = Instant::now() >= self.until;
        let unwell = |done, error: Option<&E>| {
            Emptied::Goes(Unwell {
                left: words(&left, error),
                is_over,
                done,
            })
        };
        match self.on_timeout {
            OnTimeout::Fail => Emptied::Stays(words(&left, error.as_ref())),
            OnTimeout::Skip => unwell(Done::Left, error.as_ref()),
            OnTimeout::Force => {
                match evict(Eviction::Forced, Instant::now() + self.forced).await {
                    Ok(Drained::Empty) => unwell(Done::Forced, error.as_ref()),
                    Ok(_) => unwell(Done::Stuck, error.as_ref()),
                    // The later refusal says why they are still there.
                    Err(refused) => unwell(Done::Stuck, Some(&refused)),
                }
            }
        }
    }
}

/// The pods of a drain that were seen last; each change is a line in the log.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Option<Vec<Left>>>);

impl Seen {
    /// Takes in which pods are still on it.
    pub fn note(&self, name: &str, left: &[Left]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_deref() != Some(left) {
            let (pods, blocks) = (left.len(), listed(left));
            let fields: [log::Field<'_>; 3] =
                [("machine", &name), ("pods_left", &pods), ("left", &blocks)];
            log::info("drains a machine", &fields);
            *seen = Some(left.to_vec());
        }
    }

    fn last(&self) -> Vec<Left> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone().unwrap_or_default()
    }
}

/// What is left and why, without a full stop.
fn words(left: &[Left], error: Option<&impl Display>) -> String {
    let pods = match left {
        [] => "its pods have not gone".to_owned(),
        [_] => format!("1 pod was left: {}", listed(left)),
        left => format!("{} pods were left: {}", left.len(), listed(left)),
    };
    match error {
        Some(error) => format!("{pods}; {error}"),
        None => pods,
    }
}

fn listed(left: &[Left]) -> String {
    let words = left.iter().take(SHOWN).map(|left| match left.why.as_str() {
        "" => shown(&left.pod),
        why => format!("{} ({})", shown(&left.pod), shown(why)),
    });
    let words: Vec<String> = words.collect();
    match left.len().saturating_sub(SHOWN) {
        0 => words.join(", "),
        more => format!("{} and {more} more", words.join(", ")),
    }
}

/// What a cluster says, as it may be shown.
fn shown(text: &str) -> String {
    cut(&one_line(text), SHOWN_CHARS).into_owned()
}

/// How long pods may take that are deleted without asking budgets.
pub const FORCED: Duration = Duration::from_secs(60);
/// Of pods that are left; a diagnostic is read by people.
const SHOWN: usize = 10;
const SHOWN_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn left(names: &[&str]) -> Vec<Left> {
        let left = names.iter().map(|name| Left {
            pod: (*name).to_owned(),
            why: String::new(),
        });
        left.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_the_time_is_as_the_user_says() {
        type Answer = Result<Drained, &'static str>;
        let one = || Ok(Drained::Left(left(&["a/b"])));
        let in_the_way = || Ok(Drained::InTheWay(left(&["a/c"])));
        let empty = || Ok(Drained::Empty);
        let rows: Vec<(OnTimeout, Vec<Answer>, &str)> = vec![
            (OnTimeout::Fail, vec![empty()], "Empty"),
            (
                OnTimeout::Fail,
                vec![Ok(Drained::Useless("no use".into()))],
                "Useless(\"no use\")",
            ),
            (
                OnTimeout::Fail,
                vec![one()],
                "Stays(\"1 pod was left: a/b\")",
            ),
            (
                OnTimeout::Fail,
                vec![in_the_way()],
                "Stays(\"1 pod was left: a/c\")",
            ),
            (OnTimeout::Skip, vec![one()], "done: Left"),
            (
                OnTimeout::Skip,
                vec![in_the_way(), one()],
                "a/b\", is_over: false, done: Left",
            ),
            (OnTimeout::Force, vec![one(), empty()], "done: Forced"),
            (
                OnTimeout::Force,
                vec![in_the_way(), in_the_way(), empty()],
                "done: Forced",
            ),
            (OnTimeout::Force, vec![one(), one()], "done: Stuck"),
            (
                OnTimeout::Force,
                vec![one(), Err("never")],
                "a/b; never\", is_over: false, done: Stuck",
            ),
            (
                OnTimeout::Fail,
                vec![Err("passing")],
                "Stays(\"1 pod was left: x/y; passing\")",
            ),
            (
                OnTimeout::Force,
                vec![Err("passing"), empty()],
                "x/y; passing\", is_over: false, done: Forced",
            ),
            (OnTimeout::Force, vec![Err("never")], "Refused(\"never\")"),
        ];
        for (on_timeout, answers, expected) in rows {
            let emptying = Emptying {
                until: Instant::now() + Duration::from_secs(60),
                on_timeout,
                forced: FORCED,
            };
            let seen = Seen::default();
            seen.note("w-0", &left(&["x/y"]));
            let described = format!("{on_timeout:?} {answers:?}");
            let mut answers = answers;
            answers.reverse();
            let answers = Mutex::new(answers);
            let next = |_, _| -> BoxFuture<'static, Answer> {
                let answer = answers.lock().unwrap().pop().unwrap();
                Box::pin(async move { answer })
            };
            let emptied = emptying.run(&seen, |error| *error == "passing", next).await;
            assert!(answers.lock().unwrap().is_empty(), "{described}");
            let emptied = format!("{emptied:?}");
            assert!(emptied.contains(expected), "{described}: {emptied}");
        }
    }

    #[test]
    fn ten_pods_are_named_and_the_others_counted() {
        let many: Vec<String> = (0..12).map(|number| format!("a/{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let words = words(&left(&many), None::<&&str>);
        assert!(words.starts_with("12 pods were left: a/0, "), "{words}");
        assert!(words.ends_with(", a/9 and 2 more"), "{words}");
    }
}
