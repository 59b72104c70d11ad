//! The turn to move pods in a cluster: a Lease, for groups share budgets, and two that roll at once
//! would keep each other waiting, Node by Node.
//!
//! In: who asks, `prod/workers-k3v9x2ab`. Out: whether it has the turn, or who has. A holder that
//! is heard of no more loses it once its time is over, by the clock of whoever waits. See:
//! Kubernetes, Lease v1.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep, timeout};

use super::api::{Body, Call, Failed, shown};
use super::connection::Connection;
use super::{NodeError, Turn};
use crate::flatcar::Date;

/// The version of somebody else's turn, and since when it is that one.
type Seen = (String, Instant);

/// What is to be done about the Lease.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is free, or its holder is heard of no more, or it is ours.
    Take,
    /// Somebody has it.
    Wait(String),
}

impl Connection {
    pub(super) async fn taken_turn(&self, holder: &str) -> Result<Turn, NodeError> {
        for _ in 0..TRIES {
            let lease = match self.lease(Method::GET, Some(NAME), None, "get").await {
                Ok(lease) => lease,
                Err(failed) if failed.is_not_found() => {
                    let body = Body::Json(made(holder, SystemTime::now()));
                    match self.lease(Method::POST, None, Some(body), "create").await {
                        Ok(_) => return Ok(Turn::Ours),
                        Err(other) if other.is_conflict() => continue,
                        Err(failed) => return Err(failed.error("Kubernetes Create", LEASE)),
                    }
                }
                Err(failed) => {
                    // Nobody can renew a Lease where it cannot be read: that time does not count.
                    self.known().turn = None;
                    return Err(failed.error("Kubernetes Get", LEASE));
                }
            };
            let verdict = {
                let mut known = self.known();
                let (verdict, seen) = verdict(&lease, holder, known.turn.take(), Instant::now());
                known.turn = seen;
                verdict
            };
            if let Verdict::Wait(other) = verdict {
                return Ok(Turn::Of(other));
            }
            let patch = Body::Merge(held(&lease, holder, SystemTime::now()));
            match self
                .lease(Method::PATCH, Some(NAME), Some(patch), "patch")
                .await
            {
                Ok(_) => return Ok(Turn::Ours),
                // Somebody was faster.
                Err(other) if other.is_conflict() || other.is_not_found() => {}
                Err(failed) => return Err(failed.error("Kubernetes Patch", LEASE)),
            }
        }
        Ok(Turn::Of("others, who take it by turns".to_owned()))
    }

    pub(super) async fn ended_turn(&self, holder: &str) -> Result<(), NodeError> {
        let mut pauses = PAUSES.into_iter();
        // What is not given up keeps others waiting for as long as it is good.
        loop {
            let Err(error) = timeout(ANSWER, self.given_up(holder))
                .await
                .unwrap_or_else(|_| {
                    let silence = Failed {
                        message: format!("nothing within {} seconds", ANSWER.as_secs()),
                        ..Failed::default()
                    };
                    Err(silence.error("Kubernetes Patch", LEASE))
                })
            else {
                return Ok(());
            };
            match pauses.next().filter(|_| error.retryable) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn given_up(&self, holder: &str) -> Result<(), NodeError> {
        let lease = match self.lease(Method::GET, Some(NAME), None, "get").await {
            Ok(lease) => lease,
            Err(failed) if failed.is_not_found() => return Ok(()),
            Err(failed) => return Err(failed.error("Kubernetes Get", LEASE)),
        };
        if lease["spec"]["holderIdentity"] != holder {
            return Ok(());
        }
        let patch = Body::Merge(held(&lease, "", SystemTime::now()));
        match self
            .lease(Method::PATCH, Some(NAME), Some(patch), "patch")
            .await
        {
            Ok(_) => Ok(()),
            Err(failed) if failed.is_not_found() => Ok(()),
            // A conflict, too: what this holder said last may have come late.
            Err(failed) => Err(failed.error("Kubernetes Patch", LEASE)),
        }
    }

    async fn lease(
        &self,
        method: Method,
        name: Option<&str>,
        body: Option<Body>,
        verb: &'static str,
    ) -> Result<Json, Failed> {
        let mut path = vec!["apis", GROUP, "v1", "namespaces", NAMESPACE, "leases"];
        path.extend(name);
        let call = Call {
            method,
            path: &path,
            query: &[],
            body,
            rule: (GROUP, "leases", verb),
        };
        self.api.call(call).await
    }
}

/// What is to be done, and what was seen of somebody else's turn.
fn verdict(
    lease: &Json,
    holder: &str,
    seen: Option<Seen>,
    now: Instant,
) -> (Verdict, Option<Seen>) {
    let spec = &lease["spec"];
    let other = spec["holderIdentity"].as_str().unwrap_or_default();
    if other.is_empty() || other == holder {
        return (Verdict::Take, None);
    }
    let version = lease["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    // Clocks differ: what counts is how long nothing has changed.
    let seen = seen.filter(|(seen, _)| seen == version);
    let (version, since) = seen.unwrap_or((version.to_owned(), now));
    let good_for = spec["leaseDurationSeconds"].as_u64().unwrap_or(GOOD_FOR);
    let ends = since + Duration::from_secs(good_for.min(LONGEST));
    match now >= ends {
        true => (Verdict::Take, None),
        false => (Verdict::Wait(shown(other)), Some((version, since))),
    }
}

/// A Lease that this holder has.
fn made(holder: &str, now: SystemTime) -> Json {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": spec(holder, now),
    })
}

/// The patch by which this holder has it; `""`: nobody.
fn held(lease: &Json, holder: &str, now: SystemTime) -> Json {
    let version = &lease["metadata"]["resourceVersion"];
    let mut spec = spec(holder, now);
    if lease["spec"]["holderIdentity"] != holder {
        spec["acquireTime"] = spec["renewTime"].clone();
    }
    json!({"metadata": {"resourceVersion": version}, "spec": spec})
}

fn spec(holder: &str, now: SystemTime) -> Json {
    // With parts of a second, as the API wants it.
    let now = Date::stamp(now).replace('Z', ".000000Z");
    json!({"holderIdentity": holder, "leaseDurationSeconds": GOOD_FOR, "renewTime": now})
}

const NAMESPACE: &str = "kube-system";
const NAME: &str = "terraform-provider-flatcar";
const LEASE: &str = "Lease kube-system/terraform-provider-flatcar";
const GROUP: &str = "coordination.k8s.io";
/// Seconds; whoever has the turn says so three times as often.
const GOOD_FOR: u64 = 60;
/// Whatever somebody wrote into it.
const LONGEST: u64 = 300;
/// Of a patch that meets another version.
const TRIES: u32 = 5;
/// For one try to give a turn up: another connection may be better.
const ANSWER: Duration = Duration::from_secs(4);
/// Between tries to give a turn up.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str, seconds: u64) -> Json {
        json!({
            "metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
        })
    }

    #[test]
    fn a_turn_is_taken_where_it_is_free_or_nothing_is_heard_of_its_holder() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let wait = || Verdict::Wait("b".to_owned());
        let seen = |version: &str| Some((version.to_owned(), now));
        for (lease, seen, at, expected) in [
            (lease("", "1", 60), None, now, Verdict::Take),
            (lease("a", "1", 60), None, now, Verdict::Take),
            (json!({"spec": {}}), None, now, Verdict::Take),
            (lease("b", "1", 60), None, now, wait()),
            (lease("b", "1", 60), seen("1"), after(59), wait()),
            (lease("b", "1", 60), seen("1"), after(60), Verdict::Take),
            // It has been renewed meanwhile.
            (lease("b", "2", 60), seen("1"), after(60), wait()),
            (lease("b", "1", u64::MAX), seen("1"), after(299), wait()),
            (
                lease("b", "1", u64::MAX),
                seen("1"),
                after(300),
                Verdict::Take,
            ),
        ] {
            let (verdict, _) = verdict(&lease, "a", seen, at);
            assert_eq!(verdict, expected, "{lease}");
        }
    }

    #[test]
    fn what_is_written_names_the_holder_and_the_version_that_was_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801);
        let moment = "2026-11-24T09:00:01.000000Z";
        let kept = held(&lease("a", "7", 60), "a", now);
        assert_eq!(kept["metadata"]["resourceVersion"], "7");
        assert_eq!(kept["spec"]["renewTime"], moment);
        assert_eq!(kept["spec"]["acquireTime"], Json::Null);
        let taken = held(&lease("b", "7", 60), "a", now);
        assert_eq!(taken["spec"]["acquireTime"], moment);
        assert_eq!(made("a", now)["spec"]["holderIdentity"], "a");
    }
}
