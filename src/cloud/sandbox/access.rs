//! The way to the records of a sandbox: one at a time for all groups of a configuration, and under
//! the lock that other processes honour.
//!
//! In: file operations. Out: what they answer, or that the lock was not to be had: whoever waits
//! for another process does so no longer than the operation may take, ends soon after an interrupt,
//! and says for what it has waited.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Sandbox;
use super::faults::Conditions;
use super::store::{LOCK, Locked, Store, millis};
use crate::provider::Context;

/// Whose turn it is. The calls of one configuration come one after the other, as they were made:
/// only other processes have to be tried for.
#[derive(Default)]
struct Turn(Mutex<()>);

/// How long an operation may wait, and its place in the queue.
pub(super) struct Access {
    until: Option<Instant>,
    cancel: CancellationToken,
    turn: Arc<Turn>,
}

impl Access {
    /// Of an operation.
    pub(super) async fn of(context: &Context) -> Self {
        Self {
            until: context.until,
            cancel: context.cancel.clone(),
            turn: context.shared.of(|| async { Turn::default() }).await,
        }
    }
}

/// What became of a try.
enum Tried<T, W> {
    Done(T),
    /// The lock is held: the work is given back.
    Held(W),
}

impl Sandbox {
    /// Runs file operations under the lock, away from the threads that must not wait.
    pub(super) async fn locked<T: Send + 'static>(
        &self,
        work: impl FnOnce(u64, &Locked<'_>, &Conditions) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let asked = Instant::now();
        let patient = asked + PATIENCE;
        let mut until = self
            .access
            .until
            .map_or(patient, |until| until.min(patient));
        let Ok(_turn) = timeout_at(until, self.access.turn.0.lock()).await else {
            return Err(held(asked));
        };
        let mut work = work;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.tried(work).await? {
                Tried::Done(answer) => return Ok(answer),
                Tried::Held(again) => work = again,
            }
            if self.access.cancel.is_cancelled() {
                until = until.min(asked + AFTER_INTERRUPT);
            }
            if Instant::now() + pause > until {
                return Err(held(asked));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn tried<T, W>(&self, work: W) -> io::Result<Tried<T, W>>
    where
        T: Send + 'static,
        W: FnOnce(u64, &Locked<'_>, &Conditions) -> io::Result<T> + Send + 'static,
    {
        let (store, clock): (Store, _) = (self.store.clone(), Arc::clone(&self.clock));
        tokio::task::spawn_blocking(move || {
            let now_ms = millis(clock());
            let Some(locked) = store.try_lock(now_ms)? else {
                return Ok(Tried::Held(work));
            };
            let conditions = Conditions::load(&locked)?;
            work(now_ms, &locked, &conditions).map(Tried::Done)
        })
        .await
        .unwrap_or_else(|lost| match lost.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(lost) => Err(io::Error::other(lost)),
        })
    }
}

fn held(asked: Instant) -> io::Error {
    let waited = asked.elapsed().as_secs_f64();
    io::Error::new(
        io::ErrorKind::WouldBlock,
        format!(
            "another process holds the file `{LOCK}`, and did not let go of it in {waited:.0} seconds"
        ),
    )
}

/// Processes hold the lock for some milliseconds: one that holds it for longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// An interrupted operation may still ask what exists, but does not wait for others.
const AFTER_INTERRUPT: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::provider::Value;
    use crate::worker_group::cloud::{Answers as _, Kind};

    /// A sandbox for an operation of so many seconds, and its lock as another process would hold
    /// it.
    async fn opened(
        directory: &std::path::Path,
        seconds: Option<u64>,
    ) -> (Sandbox, File, CancellationToken) {
        let mut context = Context::of(Value::Null);
        context.until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let cancel = context.cancel.clone();
        let sandbox = Sandbox {
            store: Store::new(directory.to_owned()),
            clock: Arc::new(SystemTime::now),
            access: Access::of(&context).await,
            lag: Duration::ZERO,
        };
        let sandbox = sandbox.open(None).await.unwrap();
        let lock = File::options().write(true).open(directory.join(LOCK));
        (sandbox, lock.unwrap(), cancel)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_another_process_holds_is_waited_for_no_longer_than_the_operation_may_take()
    {
        for (seconds, waits) in [(None, 10), (Some(3600), 10), (Some(3), 3)] {
            let directory = tempfile::tempdir().unwrap();
            let (sandbox, lock, _) = opened(directory.path(), seconds).await;
            lock.lock().unwrap();
            let start = Instant::now();
            let error = sandbox.list("prod", "w").await.unwrap_err();
            let waited = start.elapsed();
            assert!(
                waited <= Duration::from_secs(waits),
                "{seconds:?} {waited:?}"
            );
            assert!(
                waited >= Duration::from_secs(waits - 1),
                "{seconds:?} {waited:?}"
            );
            assert_eq!(error.kind, Kind::Unavailable);
            assert!(error.message.contains("another process holds"), "{error}");
            assert!(error.message.contains("`lock`"), "{error}");
            lock.unlock().unwrap();
            assert_eq!(sandbox.list("prod", "w").await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn the_groups_of_a_configuration_take_turns() {
        let context = Context::of(Value::Null);
        let (one, other) = (Access::of(&context).await, Access::of(&context).await);
        let turn = one.turn.0.lock().await;
        assert!(other.turn.0.try_lock().is_err());
        drop(turn);
        assert!(other.turn.0.try_lock().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_opens_a_sandbox_that_is_held_is_told_by_whom_it_waits() {
        let directory = tempfile::tempdir().unwrap();
        let (sandbox, lock, _) = opened(directory.path(), Some(5)).await;
        lock.lock().unwrap();
        let Err(problems) = sandbox.open(None).await else {
            panic!("it is held")
        };
        assert_eq!(
            problems.0[0].summary,
            "The sandbox is held by another process"
        );
        assert!(problems.0[0].detail.contains("`lock`"), "{problems:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_on_when_the_lock_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let (sandbox, lock, _) = opened(directory.path(), None).await;
        lock.lock().unwrap();
        let freed = async {
            sleep(Duration::from_secs(4)).await;
            lock.unlock().unwrap();
        };
        let (first, second, ()) = tokio::join!(sandbox.list("prod", "w"), sandbox.scope(), freed);
        assert_eq!(first.unwrap(), []);
        assert!(second.unwrap().starts_with("sandbox-"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_ends_the_wait_and_what_need_not_wait_is_still_answered() {
        let directory = tempfile::tempdir().unwrap();
        let (sandbox, lock, cancel) = opened(directory.path(), None).await;
        lock.lock().unwrap();
        let start = Instant::now();
        let interrupt = async {
            sleep(Duration::from_secs(2)).await;
            cancel.cancel();
        };
        let (listed, ()) = tokio::join!(sandbox.list("prod", "w"), interrupt);
        assert_eq!(listed.unwrap_err().kind, Kind::Unavailable);
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{:?}",
            start.elapsed()
        );
        lock.unlock().unwrap();
        assert_eq!(sandbox.list("prod", "w").await.unwrap(), []);
    }
}
