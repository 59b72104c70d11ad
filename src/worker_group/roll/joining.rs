//! Joining: which machines serve, as their places tell; what is said to their Nodes at the start of
//! an apply, and taken back at its end.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, Future};
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::places::Standing;
use super::{Event, Lifecycle, Problem, Roll, Tracked, host};
use crate::kubernetes::{Destroys, Host, Scheduling};
use crate::protocol::log;
use crate::worker_group::cloud::{CloudError, Phase};

impl<'a> Roll<'a> {
    /// Tells which machines serve now: nothing may be deleted before that is known. Where all go,
    /// nobody has to know.
    pub(super) async fn first_look(&mut self) {
        let running = |tracked: &&Tracked| {
            let machine = tracked.machine.as_ref();
            machine.is_some_and(|machine| machine.phase == Phase::Running)
        };
        let hosts = self.hosts(running);
        if hosts.is_empty() {
            return;
        }
        if self.places.destroys == Destroys::Group {
            let serves = Standing {
                serves: true,
                ..Standing::default()
            };
            let names = hosts.into_iter().map(|host| host.name);
            return self.join(Ok(names.map(|name| (name, serves.clone())).collect()));
        }
        let (places, calls) = (self.places, self.calls);
        let look = calls.persist(calls.deadline, || places.standing(&hosts, calls.deadline));
        let Some(standing) = self.unless_over(look).await else {
            return;
        };
        match standing {
            Ok(standing) => {
                for tracked in &mut self.tracked {
                    if let Some(standing) = standing.get(&tracked.name) {
                        tracked.scheduling = standing.scheduling;
                    }
                }
                self.join(Ok(standing));
            }
            Err(error) => self.cannot_tell(&error),
        }
    }

    /// Where nothing comes instead of what goes, no pod should move from one leaving machine to
    /// another; where something does, it should rather wait for that. What an apply that was cut
    /// off has closed, and stays now, is opened.
    pub(super) async fn prepare(&mut self) {
        let stays = |tracked: &&Tracked| !tracked.leaves && tracked.scheduling > Scheduling::Open;
        let closed = self.hosts(stays);
        if !self.halted && !closed.is_empty() {
            let (places, deadline) = (self.places, self.calls.deadline);
            match self.unless_over(places.reopen(&closed, deadline)).await {
                None => return,
                Some(Ok(())) => self.say_scheduling(&closed, Scheduling::Open),
                // The end of this apply tries it again, and tells.
                Some(Err(_)) => {}
            }
        }
        let comes = !self.queue.is_empty();
        if self.halted || (comes && !self.places.drains()) {
            return;
        }
        let hosts = self.hosts(|tracked| tracked.leaves);
        if hosts.is_empty() {
            return;
        }
        let scheduling = match comes {
            true => Scheduling::Discouraged,
            false => Scheduling::Closed,
        };
        // Also what is refused may have been done for some.
        self.say_scheduling(&hosts, scheduling);
        let places = self.places;
        match self.unless_over(places.prepare(&hosts, scheduling)).await {
            None => {}
            Some(Ok(warnings)) => self.warnings.extend(warnings),
            Some(Err(error)) => self.halt(Problem::of(
                "Could not prepare the machines that leave",
                &error,
            )),
        }
    }

    /// Takes in which machines serve.
    pub(super) fn join(&mut self, standing: Result<BTreeMap<String, Standing>, CloudError>) {
        let standing = match standing {
            Ok(standing) => standing,
            // The next look asks again; machine_timeout ends it.
            Err(error) if error.is_retryable() => {
                let is_watched = self.places.is_watched();
                for tracked in &mut self.tracked {
                    if is_watched && tracked.stage == Lifecycle::Booting {
                        tracked.why = error.to_string();
                    }
                }
                return;
            }
            Err(error) => return self.cannot_tell(&error),
        };
        let now = Instant::now();
        let min_ready = self.order.pace.min_ready;
        let is_watched = self.places.is_watched();
        for tracked in &mut self.tracked {
            let Some(standing) = standing.get(&tracked.name) else {
                if tracked.stage == Lifecycle::Booting {
                    tracked.up = None;
                }
                continue;
            };
            match tracked.stage {
                Lifecycle::Booting => {}
                Lifecycle::Ready if is_watched && !standing.serves => {
                    log_unready(tracked, standing);
                    tracked.stage = Lifecycle::Booting;
                    tracked.unready = Some(now);
                }
                _ => continue,
            }
            standing.why.clone_into(&mut tracked.why);
            if !standing.node.is_empty() || standing.serves {
                standing.node.clone_into(&mut tracked.node);
            }
            if !standing.serves {
                tracked.up = None;
                continue;
            }
            let up = *tracked.up.get_or_insert(now);
            if now >= up + min_ready {
                tracked.stage = Lifecycle::Ready;
            }
        }
    }

    fn cannot_tell(&mut self, error: &CloudError) {
        self.halt(Problem::of(
            "Could not find out which machines serve",
            error,
        ));
    }

    /// Removes the Nodes of machines that are gone, while the apply goes on.
    pub(super) fn forget_gone(&mut self, under_way: &mut FuturesUnordered<BoxFuture<'a, Event>>) {
        if self.to_forget.is_empty() {
            return;
        }
        let hosts = std::mem::take(&mut self.to_forget);
        self.forgetting.extend(hosts.iter().cloned());
        self.beside += 1;
        let (places, calls) = (self.places, self.calls);
        under_way.push(Box::pin(async move {
            tokio::select! {
                biased;
                () = calls.cancel.cancelled() => Event::Forgotten(Vec::new(), None),
                forgotten = places.forget(&hosts, calls.deadline) => {
                    Event::Forgotten(hosts, Some(forgotten))
                }
            }
        }));
    }

    /// At the end of an apply: Nodes of machines that are gone are removed, and what stays is
    /// opened again. Both within a moment.
    pub(super) async fn leave_nodes_in_order(&mut self) {
        let until = self.calls.soon();
        let mut gone = std::mem::take(&mut self.forgetting);
        gone.append(&mut self.to_forget);
        if !gone.is_empty() {
            let forgotten = self.places.forget(&gone, until).await;
            self.warnings.extend(forgotten.warnings);
            self.problems.extend(forgotten.problems);
            self.nodes_left.extend(forgotten.left);
        }
        let stays = |tracked: &&Tracked| {
            let goes = matches!(tracked.stage, Lifecycle::Deleting | Lifecycle::Going);
            !goes && tracked.scheduling > Scheduling::Open
        };
        let mut closed = self.hosts(stays);
        closed.append(&mut self.to_reopen);
        if closed.is_empty() {
            return;
        }
        if let Err(error) = self.places.reopen(&closed, until).await {
            let names: Vec<&str> = closed.iter().map(|host| host.name.as_str()).collect();
            self.warnings.push(Problem::new(
                "Nodes may be left closed to new pods",
                format!(
                    "{error}. The machines stay: {}. The next apply opens their Nodes; kubectl uncordon does so now.",
                    names.join(", ")
                ),
            ));
        }
    }

    fn say_scheduling(&mut self, hosts: &[Host], scheduling: Scheduling) {
        if !self.places.drains() {
            return;
        }
        for host in hosts {
            if let Some(tracked) = self.find(&host.name) {
                tracked.scheduling = scheduling;
            }
        }
    }

    fn hosts(&self, wanted: impl Fn(&&Tracked) -> bool) -> Vec<Host> {
        let tracked = self.tracked.iter().filter(wanted);
        tracked
            .filter_map(|tracked| tracked.machine.as_ref().map(host))
            .collect()
    }

    /// What comes of work before an interrupt, and before no step begins any more; `None`: it is
    /// over.
    async fn unless_over<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (cancel, closes) = (self.calls.cancel, self.closes);
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                self.interrupt();
                None
            }
            done = work => Some(done),
            () = sleep_until(closes) => {
                let late = self.out_of_time();
                self.halt(late);
                None
            }
        }
    }
}

fn log_unready(tracked: &Tracked, standing: &Standing) {
    let fields: [log::Field<'_>; 3] = [
        ("machine", &tracked.name),
        ("node", &tracked.node),
        ("why", &standing.why),
    ];
    log::warn("a machine serves no more", &fields);
}
