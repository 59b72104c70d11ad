//! How a machine goes: its guest shuts down, it is powered off, and it is destroyed.
//!
//! In: an id, and how long its guest has. Out: that it is gone, or goes. A guest takes longer
//! than a question to a cloud may: what has begun goes on beside the operation, which lists the
//! machine as going until it is gone. A process that ends meanwhile leaves a machine that is shut
//! down, and the next delete goes on from there. See: *vSphere Web Services API*, `ShutdownGuest`,
//! `PowerOffVM_Task`, `Destroy_Task`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, sleep, timeout};

use super::VM;
use super::api::{RETRIEVE, Session};
use super::known::{self, NUMBER};
use super::object::Ref;
use crate::http::rest::Effect;
use crate::worker_group::cloud::{Answered, CloudError, Deletion, Kind, absent};

/// Machines that go, by their ids.
#[derive(Clone, Default)]
pub(super) struct Leaving(Arc<Mutex<BTreeMap<String, State>>>);

/// What became of one that was told to go.
enum State {
    Goes,
    /// It could not be destroyed; whoever deletes it again is told so.
    Failed(CloudError),
}

impl Leaving {
    /// Whether it goes.
    pub(super) fn has(&self, id: &str) -> bool {
        matches!(self.all().get(id), Some(State::Goes))
    }

    /// Begins to end a machine, or goes on with it, and waits for a while.
    ///
    /// # Errors
    /// Why it cannot be destroyed.
    pub(super) async fn delete(
        &self,
        session: &Arc<Session>,
        id: &str,
        name: &str,
        grace: Duration,
    ) -> Answered<Deletion> {
        if self.has(id) {
            return Ok(Deletion::Going);
        }
        if let Some(State::Failed(error)) = self.all().remove(id) {
            return Err(error);
        }
        let Some(of) = known::reference(id) else {
            return Ok(Deletion::Gone);
        };
        self.all().insert(id.to_owned(), State::Goes);
        let one = One {
            session: Arc::clone(session),
            id: id.to_owned(),
            of,
            name: name.to_owned(),
        };
        let (all, id) = (self.clone(), id.to_owned());
        let work = tokio::spawn(async move {
            let ended = one.end(grace).await;
            match &ended {
                Ok(()) => all.all().remove(&id),
                Err(error) => all.all().insert(id.clone(), State::Failed(error.clone())),
            };
            (id, ended)
        });
        match timeout(AT_ONCE, work).await {
            Ok(Ok((_, Ok(())))) => Ok(Deletion::Gone),
            Ok(Ok((id, Err(error)))) => {
                self.all().remove(&id);
                Err(error)
            }
            Ok(Err(_)) | Err(_) => Ok(Deletion::Going),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine on its way.
struct One {
    session: Arc<Session>,
    id: String,
    of: Ref,
    name: String,
}

impl One {
    /// Until it is gone.
    async fn end(&self, grace: Duration) -> Answered<()> {
        let Some(power) = self.power().await? else {
            return Ok(());
        };
        if power == ON && !grace.is_zero() && self.shuts_down().await? {
            self.wait_until_off(grace).await?;
        }
        // Whoever marks a machine as a template has it powered off for good.
        if power != OFF {
            self.task(POWER_OFF).await?;
        }
        self.task(DESTROY).await
    }

    /// Its power; `None`: it is gone, whatever has its id now.
    async fn power(&self) -> Answered<Option<String>> {
        let (paths, of) = ([NUMBER, POWER].map(str::to_owned), [self.of.clone()]);
        let found = self.session.properties(&self.name, VM, &of, &paths).await?;
        let Some(found) = found.first() else {
            return Ok(None);
        };
        let is = known::is(&self.id, found).ok_or_else(|| {
            let words = "nothing of its configuration, so whether this is the machine cannot be told; it is left";
            CloudError::new(Kind::Unavailable, RETRIEVE, &self.name, words)
        })?;
        Ok(is.then(|| found.text(POWER).to_owned()))
    }

    /// Asks the guest; `false`: it cannot be asked, or need not.
    async fn shuts_down(&self) -> Answered<bool> {
        const SHUTDOWN: &str = "vSphere ShutdownGuest";
        let call = self
            .session
            .call(SHUTDOWN, &self.name, &self.of, Effect::Repeats, Json::Null);
        match call.await {
            Ok(_) => Ok(true),
            Err(error) if error.is_retryable() => Err(error),
            // Without VMware Tools, or off; one that is gone is found out by what follows.
            Err(_) => Ok(false),
        }
    }

    async fn wait_until_off(&self, grace: Duration) -> Answered<()> {
        let until = Instant::now() + grace;
        let paths = [POWER.to_owned()];
        let of = [self.of.clone()];
        let mut pause = FIRST_PAUSE;
        while Instant::now() < until {
            let asked = self.session.properties(&self.name, VM, &of, &paths);
            match asked.await {
                Ok(found) if found.first().is_some_and(|one| one.text(POWER) == ON) => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
            sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// One that is gone, or off already, is as it should be.
    async fn task(&self, action: &'static str) -> Answered<()> {
        let done = self
            .session
            .carried_out(action, &self.name, &self.of, Json::Null);
        match absent(done.await) {
            // It may have ended by itself meanwhile; or somebody has powered it on.
            Err(error) if error.code() == "InvalidPowerState" => match action {
                POWER_OFF => Ok(()),
                _ => Err(error.being(Kind::Unavailable)),
            },
            Err(error) if error.kind == Kind::Ambiguous => Err(error.being(Kind::Unavailable)),
            done => done.map(drop),
        }
    }
}

const POWER: &str = "runtime.powerState";
const ON: &str = "poweredOn";
const OFF: &str = "poweredOff";
pub(super) const POWER_OFF: &str = "vSphere PowerOffVM_Task";
pub(super) const DESTROY: &str = "vSphere Destroy_Task";
/// What takes longer is looked after by lists.
const AT_ONCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
