//! One call of the sandbox: it meets the faults that were ordered for it, then does its work.
//!
//! In: what is called, and work under the lock. Out: the work's answer, or what the faults make of
//! it.

use std::io;
use std::time::Duration;

use super::Sandbox;
use super::faults::{Call, Conditions, Fault, Met};
use super::store::Locked;
use crate::worker_group::cloud::{CloudError, Kind};

/// What became of a call.
enum Answer<T> {
    Given(Result<T, CloudError>),
    /// Given after this long.
    Late(Duration, Result<T, CloudError>),
    Never,
}

impl Sandbox {
    /// One call: meets the faults that were ordered for it, then does its work.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: Call,
        action: &'static str,
        object: &str,
        work: impl FnOnce(&Locked<'_>, &Moment) -> io::Result<Result<T, CloudError>> + Send + 'static,
    ) -> Result<T, CloudError> {
        let name = object.to_owned();
        let answer = self
            .locked(move |now_ms, locked, conditions| {
                let met = conditions.meet(locked, call, &name)?;
                if let Some(met) = met {
                    if met.fault == Fault::StallBefore {
                        return Ok(Answer::Never);
                    }
                    if let Some(error) = refusal(met, action, &name) {
                        return Ok(Answer::Given(Err(error)));
                    }
                }
                let moment = Moment {
                    now_ms,
                    conditions: conditions.clone(),
                    met,
                };
                let done = work(locked, &moment)?;
                Ok(match met.map(|met| (met.fault, met.seconds)) {
                    Some((Fault::StallAfter, _)) => Answer::Never,
                    Some((Fault::Lost, _)) => {
                        Answer::Given(done.and_then(|_| {
                            Err(CloudError::new(Kind::Ambiguous, action, &name, LOST))
                        }))
                    }
                    Some((Fault::Delay, seconds)) => Answer::Late(
                        Duration::try_from_secs_f64(seconds).unwrap_or_default(),
                        done,
                    ),
                    _ => Answer::Given(done),
                })
            })
            .await;
        match answer {
            Ok(Answer::Given(result)) => result,
            Ok(Answer::Late(pause, result)) => {
                tokio::time::sleep(pause).await;
                result
            }
            Ok(Answer::Never) => std::future::pending().await,
            Err(error) => Err(CloudError::new(
                match error.kind() {
                    // Only somebody who edits the file changes that.
                    io::ErrorKind::InvalidData => Kind::BadRequest,
                    _ => Kind::Unavailable,
                },
                action,
                object,
                format!("{}: {error}", self.store.directory.display()),
            )),
        }
    }
}

/// When a call happens, and what it meets.
pub(super) struct Moment {
    pub(super) now_ms: u64,
    pub(super) conditions: Conditions,
    pub(super) met: Option<Met>,
}

impl Moment {
    /// Seconds of a fault that this call meets; 0 when it does not.
    pub(super) fn seconds_of(&self, fault: Fault) -> f64 {
        self.met
            .filter(|met| met.fault == fault)
            .map_or(0.0, |met| met.seconds)
    }
}

/// The error that a fault stands for, where it is one that refuses before anything is done.
fn refusal(met: Met, action: &'static str, object: &str) -> Option<CloudError> {
    let (kind, message) = match met.fault {
        Fault::Quota => (Kind::Quota, "quota exceeded"),
        Fault::Throttled => (Kind::RateLimit, "asked too often"),
        Fault::Unavailable => (Kind::Unavailable, "the sandbox is in trouble"),
        Fault::Forbidden => (Kind::Forbidden, "not allowed"),
        Fault::Unauthenticated => (Kind::Unauthenticated, "the credentials have expired"),
        Fault::BadRequest => (Kind::BadRequest, "the request is wrong"),
        Fault::LostBefore => (Kind::Ambiguous, LOST),
        _ => return None,
    };
    let retry_after = (met.fault == Fault::Throttled && met.seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(met.seconds).unwrap_or_default());
    Some(CloudError {
        retry_after,
        ..CloudError::new(kind, action, object, message)
    })
}

pub(super) fn later(now_ms: u64, seconds: f64) -> u64 {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    now_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

const LOST: &str = "nothing: the answer was lost";
