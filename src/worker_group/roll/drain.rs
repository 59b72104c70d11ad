//! Drains: the pods of a machine that leaves move away, within the time that the group and the
//! operation leave them.
//!
//! In: a host whose Node is closed. Out: what is worth a warning where it may go, or why it may
//! not. What the cluster answers decides; what comes once the time is over is the group's
//! `on_timeout`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::caught::{caught, failed_inside};
use super::{LAST_CALLS, NodesAndTraffic, Problem, Refusal, TRIES, short};
use crate::kubernetes::{Cluster, Drain, Drained, Eviction, Host, Left, OnTimeout};
use crate::protocol::log;
use crate::protocol::visible::{cut, one_line};
use crate::worker_group::cloud::{CloudError, Kind};

impl NodesAndTraffic<'_> {
    /// Moves the pods off a host, as far as the group's `drain` wants it.
    pub(super) async fn empty(&self, host: &Host) -> Result<Vec<Problem>, Refusal> {
        let Some((cluster, drain)) = self.cluster().and_then(|it| Some((it, it.drain?))) else {
            return Ok(Vec::new());
        };
        let seen = Mutex::default();
        let until = self.drains_until(&drain);
        let on_timeout = drain.after_timeout(self.destroys);
        let mut drained = self
            .evict(cluster, host, Eviction::Allowed, until, &seen)
            .await;
        if let (Ok(Drained::InTheWay(_)), OnTimeout::Skip | OnTimeout::Force) =
            (&drained, on_timeout)
        {
            // What may go goes as budgets allow, before the rest is left, or forced.
            drained = self
                .evict(cluster, host, Eviction::Around, until, &seen)
                .await;
        }
        let (left, error) = match drained {
            Ok(Drained::Empty) => return Ok(Vec::new()),
            Ok(Drained::Useless(why)) => {
                return Ok(vec![Problem::new(
                    short("Machine was not drained:", &host.name),
                    format!("{} went without a drain: {}.", host.name, shown(&why)),
                )]);
            }
            Ok(Drained::Left(left) | Drained::InTheWay(left)) => (left, None),
            Err(error) if error.is_retryable() => (known(&seen), Some(error)),
            Err(error) => {
                let warning = self.give_up_cluster(error).map_err(Refusal::Node)?;
                return Ok(warning.into_iter().collect());
            }
        };
        let said = Undrained {
            host,
            left: &left,
            error: error.as_ref(),
            is_over: Instant::now() >= until,
        };
        match on_timeout {
            OnTimeout::Fail => Err(Refusal::Undrained(said.words())),
            OnTimeout::Skip => Ok(vec![said.warning("It was deleted with them on it")]),
            OnTimeout::Force => {
                let until = Instant::now() + FORCED.min(self.calls.left() / 2);
                let forced = self
                    .evict(cluster, host, Eviction::Forced, until, &seen)
                    .await;
                let done = match forced {
                    Ok(Drained::Empty) => "They were deleted without asking budgets",
                    _ => {
                        "It was deleted with them on it, for they did not go when they were forced to"
                    }
                };
                Ok(vec![said.warning(done)])
            }
        }
    }

    /// The smaller of the drain's own time and of what the operation has; the rest of that is for
    /// what comes after the drain.
    fn drains_until(&self, drain: &Drain) -> Instant {
        let left = self.calls.left();
        let rest = (left / 4).min(FORCED + LAST_CALLS);
        Instant::now() + drain.timeout.min(left - rest)
    }

    /// Asks again until then, where that may help.
    async fn evict(
        &self,
        cluster: &Cluster,
        host: &Host,
        eviction: Eviction,
        until: Instant,
        seen: &Mutex<Option<Vec<Left>>>,
    ) -> Result<Drained, CloudError> {
        let progress = |left: &[Left]| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.as_deref() != Some(left) {
                log_progress(host, left);
                *seen = Some(left.to_vec());
            }
        };
        let mut tries = 0;
        loop {
            let asked = Instant::now();
            let call = cluster.nodes.drain(host, eviction, until, &progress);
            let error = match timeout_at(until + LAST_CALLS, caught(call)).await {
                Ok(Some(Ok(drained))) => return Ok(drained),
                Ok(Some(Err(error))) => CloudError::from(error),
                Ok(None) => return Err(failed_inside("Kubernetes Drain", &host.name)),
                Err(_) => CloudError::new(
                    Kind::Unavailable,
                    "Kubernetes Drain",
                    host.name.as_str(),
                    format!("nothing within {} seconds", asked.elapsed().as_secs()),
                ),
            };
            tries += 1;
            // However often: the time that it may take is the limit.
            let counted = tries.min(TRIES - 1);
            if !self.calls.pause(&error, counted, until).await {
                return Err(error);
            }
        }
    }
}

/// A machine whose pods have not all gone.
struct Undrained<'a> {
    host: &'a Host,
    left: &'a [Left],
    /// Where the cluster did not answer in the end.
    error: Option<&'a CloudError>,
    /// Whether there was no time left.
    is_over: bool,
}

impl Undrained<'_> {
    /// What is left and why, without a full stop.
    fn words(&self) -> String {
        let pods = match self.left {
            [] => "its pods have not gone".to_owned(),
            left => format!("{} left: {}", pods_of(left.len()), listed(left)),
        };
        let error = self.error.map(|error| format!("; {error}"));
        format!("{pods}{}", error.unwrap_or_default())
    }

    fn warning(&self, done: &str) -> Problem {
        let (name, words) = (&self.host.name, self.words());
        match self.is_over {
            true => Problem::new(
                short("Drain took too long:", name),
                format!("When the time for the drain of {name} was over, {words}. {done}."),
            ),
            false => Problem::new(
                short("Machine was not emptied:", name),
                format!("After the drain of {name}, {words}. {done}."),
            ),
        }
    }
}

fn pods_of(number: usize) -> String {
    match number {
        1 => "1 pod was".to_owned(),
        number => format!("{number} pods were"),
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

fn known(seen: &Mutex<Option<Vec<Left>>>) -> Vec<Left> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.clone().unwrap_or_default()
}

fn log_progress(host: &Host, left: &[Left]) {
    let (pods, blocks) = (left.len(), listed(left));
    let fields: [log::Field<'_>; 3] = [
        ("machine", &host.name),
        ("pods_left", &pods),
        ("left", &blocks),
    ];
    log::info("drains a machine", &fields);
}

/// How long pods may take that are deleted without asking budgets.
const FORCED: Duration = Duration::from_secs(60);
/// Of pods that are left; a diagnostic is read by people.
const SHOWN: usize = 10;
const SHOWN_CHARS: usize = 300;
