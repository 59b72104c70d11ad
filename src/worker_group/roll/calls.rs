//! Single calls to a cloud, made to hold: a deadline for an answer, retries of what may succeed a
//! little later, a look before a second try of a create whose answer was lost.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::caught::{caught, failed_inside};
use crate::kubernetes::Host;
use crate::protocol::log;
use crate::protocol::value::Value;
use crate::protocol::visible::{is_hidden, one_line};
use crate::worker_group::cloud::{
    Cloud, CloudError, Deletion, Kind, Machine, Mark, Members, Spec, machines_of,
};

/// A cloud, and how long it is given.
#[derive(Clone, Copy)]
pub(crate) struct Calls<'a> {
    /// Who is asked.
    pub(crate) cloud: &'a dyn Cloud,
    /// Ends pauses between tries: the last error is the answer then.
    pub(crate) cancel: &'a CancellationToken,
    /// When the operation has to be over.
    pub(crate) deadline: Instant,
}

impl Calls<'_> {
    /// The same, within less time.
    pub(super) fn until(&self, until: Instant) -> Self {
        Self {
            deadline: self.deadline.min(until),
            ..*self
        }
    }

    /// How long steps may still take, were this the last one.
    pub(super) fn left(&self) -> Duration {
        self.closes().saturating_duration_since(Instant::now())
    }

    /// When an apply that begins now begins no further step: the rest of its time is for calls
    /// under way, and for a last look.
    pub(super) fn closes(&self) -> Instant {
        let whole = self.deadline - Instant::now();
        self.deadline - (whole / 10).min(2 * LAST_CALLS)
    }

    /// How long calls under way may still answer at the end, and a last question take.
    pub(super) fn soon(&self) -> Instant {
        self.deadline.min(Instant::now() + LAST_CALLS)
    }

    /// Whether nothing more should be asked: after an interrupt, and once the time is used up.
    pub(crate) fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || Instant::now() >= self.deadline
    }

    /// Every machine of (cluster, group).
    pub(crate) async fn list(
        &self,
        cluster: &str,
        group: &str,
    ) -> Result<Vec<Machine>, CloudError> {
        let object = format!("{cluster}/{group}");
        self.persist(self.deadline, || {
            self.asked("List", &object, self.cloud.list(cluster, group))
        })
        .await
        .and_then(|listed| all_shown("List", listed))
        .map(|listed| of_group(listed, cluster, group))
    }

    /// The same, asked once and answered until then.
    pub(super) async fn list_once(
        &self,
        cluster: &str,
        group: &str,
        until: Instant,
    ) -> Result<Vec<Machine>, CloudError> {
        let object = format!("{cluster}/{group}");
        let calls = self.until(until);
        let call = self.cloud.list(cluster, group);
        let listed = calls.answered("List", &object, Kind::Unavailable, call);
        let listed = listed.await.and_then(|listed| all_shown("List", listed))?;
        Ok(of_group(listed, cluster, group))
    }

    /// The end of a machine's console, asked once and answered until then; `None` where there is
    /// none to be had.
    pub(super) async fn console(&self, machine: &Machine, until: Instant) -> Option<String> {
        let calls = self.until(until);
        let call = self.cloud.console(machine);
        let asked = calls.answered("Console", &machine.name, Kind::Unavailable, call);
        asked.await.ok().flatten()
    }

    /// Those of these ids that exist.
    pub(crate) async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let object = machines_of(ids.len());
        self.persist(self.deadline, || {
            self.asked("Find", &object, self.cloud.find(ids))
        })
        .await
        .and_then(|found| all_shown("Find", found))
    }

    /// Rewrites marks, and the in-place part of the shape unless that is null.
    pub(crate) async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        let object = machines_of(machines.len());
        self.persist(self.deadline, || {
            let call = self.cloud.mark(machines, mark, shape);
            self.asked("Mark", &object, call)
        })
        .await
    }

    /// Enters hosts where they get traffic. Asked once: whoever waits for them looks again.
    pub(super) async fn enter(
        &self,
        members: &dyn Members,
        hosts: &[Host],
    ) -> Result<BTreeSet<String>, CloudError> {
        let object = machines_of(hosts.len());
        self.asked("Enter", &object, members.enter(hosts)).await
    }

    /// Begins to take hosts out of where they get traffic.
    pub(crate) async fn leave(
        &self,
        members: &dyn Members,
        hosts: &[Host],
    ) -> Result<(), CloudError> {
        let object = machines_of(hosts.len());
        self.persist(self.deadline, || {
            self.asked("Leave", &object, members.leave(hosts))
        })
        .await
    }

    /// Releases what machines of the group of this mark that are gone have left behind.
    pub(crate) async fn sweep(&self, mark: &Mark, first: u64) -> Result<(), CloudError> {
        let object = format!("{}/{}", mark.cluster, mark.group);
        self.persist(self.deadline, || {
            self.asked("Sweep", &object, self.cloud.sweep(mark, first))
        })
        .await
    }

    /// A question that changes nothing, or that can be asked again.
    pub(crate) async fn ask<T, F: Future<Output = Result<T, CloudError>>>(
        &self,
        action: &'static str,
        object: &str,
        mut question: impl FnMut() -> F,
    ) -> Result<T, CloudError> {
        self.persist(self.deadline, || self.asked(action, object, question()))
            .await
    }

    /// Deletes a machine; one that does not exist is gone.
    pub(crate) async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        let result = self
            .persist(self.deadline, || {
                let call = self.cloud.delete(machine);
                self.answered("Delete", &machine.name, Kind::Unavailable, call)
            })
            .await;
        match result {
            Err(error) if error.is_not_found() => Ok(Deletion::Gone),
            result => result,
        }
    }

    /// Creates a machine, or finds the one that an earlier try made.
    pub(crate) async fn create(
        &self,
        spec: &Spec<'_>,
        until: Instant,
    ) -> Result<Machine, CloudError> {
        let until = until.min(self.deadline);
        let mut tries = 0;
        loop {
            let call = self.cloud.create(spec);
            let error = match self
                .answered("Create", spec.name, Kind::Ambiguous, call)
                .await
            {
                Ok(machine) => return shown("Create", Kind::Ambiguous, machine),
                Err(error) => error,
            };
            tries += 1;
            if !self.pause(&error, tries, until).await {
                return Err(error);
            }
            if error.kind == Kind::Ambiguous
                && let Some(machine) = self.look(spec).await
            {
                return Ok(machine);
            }
        }
    }

    /// The machine of a create whose answer was lost. That it is not listed proves nothing: the
    /// create is repeated then, which the cloud answers with the same machine.
    async fn look(&self, spec: &Spec<'_>) -> Option<Machine> {
        let Mark { cluster, group, .. } = spec.mark;
        let listed = self.list_once(cluster, group, self.deadline).await;
        listed.ok()?.into_iter().find(|machine| {
            machine.name == spec.name
                && machine.mark.uid == spec.mark.uid
                && machine.mark.proof == spec.mark.proof
        })
    }

    /// An answer to a question, or to what can be asked again: an interrupt does not wait for it.
    pub(super) async fn asked<T>(
        &self,
        action: &'static str,
        object: &str,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        tokio::select! {
            biased;
            result = self.answered(action, object, Kind::Unavailable, call) => result,
            () = self.cancel.cancelled() => Err(CloudError::new(Kind::Unavailable, action, object, "nothing before the interrupt")),
        }
    }

    /// An answer within [`ANSWER`], and before the operation has to be over; silence is an error of
    /// this kind.
    pub(super) async fn answered<T>(
        &self,
        action: &'static str,
        object: &str,
        kind: Kind,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let asked = Instant::now();
        let until = self.deadline.min(asked + ANSWER);
        match timeout_at(until, caught(call)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(failed_inside(action, object)),
            Err(_) => Err(CloudError::new(
                kind,
                action,
                object,
                format!("nothing within {} seconds", asked.elapsed().as_secs()),
            )),
        }
    }

    /// Asks again what may succeed a little later, until then.
    pub(super) async fn persist<T, F: Future<Output = Result<T, CloudError>>>(
        &self,
        until: Instant,
        mut call: impl FnMut() -> F,
    ) -> Result<T, CloudError> {
        let mut tries = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tries += 1;
            if !self.pause(&error, tries, until).await {
                return Err(error);
            }
        }
    }

    /// Waits before the next try; `false`: there should be none.
    pub(super) async fn pause(&self, error: &CloudError, tries: u32, until: Instant) -> bool {
        let most = match error.kind {
            Kind::RateLimit => TRIES_WHEN_THROTTLED,
            _ => TRIES,
        };
        let pause = back_off(tries).max(error.retry_after.unwrap_or_default());
        // The cloud may have asked for more time than there is. A try that is cut off before it can
        // be answered would hide why it was made.
        let wanted = pause.saturating_add(LEAST_ANSWER);
        let in_time = wanted < until.saturating_duration_since(Instant::now());
        if !error.is_retryable() || tries >= most || !in_time {
            return false;
        }
        log_retry(error, tries, pause);
        tokio::select! {
            () = self.cancel.cancelled() => false,
            () = sleep(pause) => true,
        }
    }
}

fn all_shown(action: &'static str, machines: Vec<Machine>) -> Result<Vec<Machine>, CloudError> {
    let machines = machines.into_iter();
    machines
        .map(|machine| shown(action, Kind::Unavailable, machine))
        .collect()
}

/// A machine as it is recorded and shown: state goes to terminals, too. What is compared with what
/// the user wrote stays as it is.
///
/// # Errors
/// Its id is no text that one could ask the cloud with again.
fn shown(action: &'static str, kind: Kind, machine: Machine) -> Result<Machine, CloudError> {
    let line = |text: String| match one_line(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(line) => line,
    };
    if machine.id.is_empty() || machine.id.contains(is_hidden) {
        return Err(CloudError::new(
            kind,
            action,
            line(machine.name),
            "a machine whose id is empty, or holds characters that are not seen",
        ));
    }
    Ok(Machine {
        name: line(machine.name),
        zone: line(machine.zone),
        addresses: machine.addresses.into_iter().map(line).collect(),
        image: machine.image.replace(char::is_control, "\u{fffd}"),
        message: machine.message.map(line),
        mark: Mark {
            generation: line(machine.mark.generation),
            ..machine.mark
        },
        ..machine
    })
}

/// Those that carry exactly these names: a cloud's filter may take more.
pub(super) fn of_group(mut machines: Vec<Machine>, cluster: &str, group: &str) -> Vec<Machine> {
    machines.retain(|machine| machine.mark.cluster == cluster && machine.mark.group == group);
    machines
}

/// Retries are silent to the user.
fn log_retry(error: &CloudError, tries: u32, pause: Duration) {
    let fields: [log::Field<'_>; 5] = [
        ("call", &error.action),
        ("object", &error.object),
        ("answer", &error.message),
        ("tries", &tries),
        ("pause_ms", &pause.as_millis()),
    ];
    log::warn("tries a call to the cloud again", &fields);
}

/// Half a second, doubled each time, up to half a minute.
fn back_off(tries: u32) -> Duration {
    let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(6));
    (Duration::from_millis(500) * factor).min(Duration::from_secs(30))
}

/// An endpoint that refuses connections is reported after some 8 seconds.
pub(super) const TRIES: u32 = 5;
/// Throttling ends by waiting: some four minutes.
const TRIES_WHEN_THROTTLED: u32 = 12;
pub(super) const LAST_CALLS: Duration = Duration::from_secs(5);
/// Clients have shorter deadlines of their own; this one keeps a silent cloud from holding an apply
/// for ever.
const ANSWER: Duration = Duration::from_secs(60);
/// Time that a try has for its answer, where there is to be one.
const LEAST_ANSWER: Duration = Duration::from_secs(1);
