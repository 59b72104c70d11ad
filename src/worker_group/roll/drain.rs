//! Drains: the pods of a machine that leaves move away, within the time that the group and the
//! operation leave them.
//!
//! In: a host whose Node is closed. Out: what is worth a warning where it may go, or why it may
//! not. What the cluster answers decides; what comes once the time is over is the group's
//! `on_timeout`.

use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::caught::{caught, failed_inside};
use super::{LAST_CALLS, NodesAndTraffic, Problem, Refusal, TRIES, short};
use crate::kubernetes::emptying::{Done, Emptied, Emptying, FORCED, Seen, Unwell};
use crate::kubernetes::{Cluster, Drain, Drained, Eviction, Host, Left};
use crate::worker_group::cloud::{CloudError, Kind};

impl NodesAndTraffic<'_> {
    /// Moves the pods off a host, as far as the group's `drain` wants it.
    pub(super) async fn empty(&self, host: &Host) -> Result<Vec<Problem>, Refusal> {
        let Some((cluster, drain)) = self.cluster().and_then(|it| Some((it, it.drain?))) else {
            return Ok(Vec::new());
        };
        let seen = Seen::default();
        let seen = &seen;
        let emptying = Emptying {
            until: self.drains_until(&drain),
            on_timeout: drain.after_timeout(self.destroys),
            forced: FORCED.min(self.calls.left() / 2),
        };
        let evict = |eviction, until| -> BoxFuture<'_, _> {
            Box::pin(self.evict(cluster, host, eviction, until, seen))
        };
        let name = &host.name;
        match emptying.run(seen, CloudError::is_retryable, evict).await {
            Emptied::Empty => Ok(Vec::new()),
            Emptied::Useless(why) => Ok(vec![Problem::new(
                short("Machine was not drained:", name),
                format!("{name} went without a drain: {why}."),
            )]),
            Emptied::Stays(left) => Err(Refusal::Undrained(left)),
            Emptied::Goes(unwell) => Ok(vec![warning(name, &unwell)]),
            Emptied::Refused(error) => {
                let warning = self.give_up_cluster(error).map_err(Refusal::Node)?;
                Ok(warning.into_iter().collect())
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
        seen: &Seen,
    ) -> Result<Drained, CloudError> {
        let progress = |left: &[Left]| seen.note(&host.name, left);
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

fn warning(name: &str, unwell: &Unwell) -> Problem {
    let done = match unwell.done {
        Done::Left => "It was deleted with them on it",
        Done::Forced => "They were deleted without asking budgets",
        Done::Stuck => {
            "It was deleted with them on it, for they did not go when they were forced to"
        }
    };
    let left = &unwell.left;
    match unwell.is_over {
        true => Problem::new(
            short("Drain took too long:", name),
            format!("When the time for the drain of {name} was over, {left}. {done}."),
        ),
        false => Problem::new(
            short("Machine was not emptied:", name),
            format!("After the drain of {name}, {left}. {done}."),
        ),
    }
}
