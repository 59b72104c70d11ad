//! Answers: what an apply makes of each create and delete that came back, and of machines that will
//! not serve.

use tokio::time::Instant;

use super::{Event, Lifecycle, MOST_ATTEMPTS, Problem, Refusal, Roll, Tracked, host, short};
use crate::kubernetes::Scheduling;
use crate::protocol::visible::{cut, visible};
use crate::worker_group::cloud::{CloudError, Deletion, Kind, Machine, Phase};

impl Roll<'_> {
    pub(super) async fn on_answer(&mut self, event: Event) {
        match event {
            Event::Created(name, Ok(machine)) => self.created(&name, *machine).await,
            Event::Created(name, Err(error)) => self.not_created(&name, &error),
            Event::Drained(name, Ok(warnings)) => {
                self.warnings.extend(warnings);
                let tracked = self.find(&name);
                if let Some(tracked) = tracked.filter(|it| it.stage == Lifecycle::Draining) {
                    tracked.stage = Lifecycle::Drained;
                }
            }
            Event::Drained(name, Err(refusal)) => {
                let is_draining = |it: &&mut Tracked| it.stage == Lifecycle::Draining;
                if self.find(&name).filter(is_draining).is_some() {
                    self.not_deleted(&name, &refusal);
                }
            }
            Event::Forgotten(hosts, forgotten) => {
                if let Some(forgotten) = forgotten {
                    self.forgetting.retain(|host| !hosts.contains(host));
                    self.warnings.extend(forgotten.warnings);
                    self.problems.extend(forgotten.problems);
                    self.nodes_left.extend(forgotten.left);
                }
            }
            Event::Deleted(name, Ok(Deletion::Gone)) => self.is_gone(&name),
            Event::Deleted(name, Ok(Deletion::Going)) => {
                if let Some(tracked) = self.find(&name) {
                    tracked.stage = Lifecycle::Going;
                    tracked.going = Instant::now();
                }
            }
            Event::Deleted(name, Err(refusal)) => self.not_deleted(&name, &refusal),
            Event::Seen(seen) => self.on_look(seen).await,
        }
    }

    pub(super) async fn created(&mut self, name: &str, machine: Machine) {
        let phase = machine.phase;
        let window = self.calls.cloud.consistency_window();
        let Some(tracked) = self.find(name) else {
            return;
        };
        let is_older = machine.created.is_some() && !tracked.is_since(&machine, window);
        // Written down before anything is made of it.
        tracked.machine = Some(machine);
        match phase {
            Phase::Pending | Phase::Running => tracked.stage = Lifecycle::Booting,
            // What an earlier attempt of this name came to. Going by itself: another attempt, at
            // once.
            Phase::Deleting => {
                let next = (tracked.name.clone(), tracked.attempt + 1);
                let id = tracked.machine.as_ref().map(|machine| machine.id.clone());
                self.gone.extend(id);
                self.tracked.retain(|tracked| tracked.name != name);
                if next.1 < MOST_ATTEMPTS {
                    self.queue.push_front(next);
                } else {
                    self.halt(Problem::new(
                        short("Could not create machine", name),
                        "The cloud answered every attempt with a machine that is being deleted. Apply again later.",
                    ));
                }
            }
            // Of an earlier apply: it goes, and is made again, and nothing of this one has failed.
            Phase::Stopped | Phase::Failed if is_older => {
                tracked.stage = Lifecycle::Broken;
                tracked.leaves = true;
            }
            Phase::Stopped | Phase::Failed => {
                let said = tracked.said();
                self.broke(name, &said).await;
            }
        }
    }

    pub(super) fn not_created(&mut self, name: &str, error: &CloudError) {
        let may_exist = matches!(error.kind, Kind::Ambiguous | Kind::Bug);
        if let Some(tracked) = self.find(name) {
            tracked.stage = Lifecycle::Unclear;
            tracked.counted = true;
        }
        if !may_exist {
            self.tracked.retain(|tracked| tracked.name != name);
        }
        self.failures += 1;
        let summary = match error.kind {
            Kind::Quota => short("No quota or capacity for machine", name),
            _ => short("Could not create machine", name),
        };
        let mut problem = Problem::of(summary, error);
        let rolls = self.tracked.iter().any(|tracked| tracked.leaves);
        if error.kind == Kind::Quota && rolls && self.order.limits.surge > 0 {
            problem.detail = format!(
                "{} With max_surge = \"0\" in rolling_update each machine goes before the one in its place comes.",
                problem.detail
            );
        }
        self.halt(problem);
    }

    pub(super) fn not_deleted(&mut self, name: &str, refusal: &Refusal) {
        if matches!(refusal, Refusal::Adopted) {
            return self.is_adopted(name);
        }
        if let Some(tracked) = self.find(name) {
            // It stays, and is not asked to go again in this apply.
            tracked.leaves = false;
            tracked.stage = match tracked.machine.as_ref().map(|machine| machine.phase) {
                Some(Phase::Running) => Lifecycle::Ready,
                _ => Lifecycle::Broken,
            };
        }
        let problem = match refusal {
            Refusal::Adopted | Refusal::NotBegun => return,
            Refusal::Cloud(error) => Problem::of(short("Could not delete machine", name), error),
            Refusal::Node(error) => Problem::of(short("Could not drain machine", name), error),
            Refusal::Traffic(error) => {
                Problem::of(short("Could not end the traffic of", name), error)
            }
            Refusal::Undrained(left) => Problem::new(
                short("Could not drain machine", name),
                format!(
                    "When the time for the drain of {name} was over, {left}. It stays, and its Node is opened again. Make room, loosen what \
                     keeps the pods, raise timeout in drain, or say with on_timeout what becomes of them."
                ),
            ),
            Refusal::Stays(said) => Problem::new(
                short("Could not delete machine", name),
                format!(
                    "The cloud took the delete of {name} on and did not carry it out: it is {said}."
                ),
            ),
        };
        // The deletion of a whole group goes as far as it can.
        match self.order.limits.replicas {
            0 => self.problems.push(problem),
            _ => self.halt(problem),
        }
    }

    /// A machine was to go, and is another state's by now: it is nothing of this apply's any more.
    fn is_adopted(&mut self, name: &str) {
        let Some(index) = self.tracked.iter().position(|tracked| tracked.name == name) else {
            return;
        };
        let tracked = self.tracked.remove(index);
        if let Some(machine) = tracked.machine {
            if tracked.scheduling > Scheduling::Open {
                self.to_reopen.push(host(&machine));
            }
            self.gone.insert(machine.id.clone());
            self.adopted.push(machine);
        }
    }

    /// A machine will not serve. One of ours is made again while the budget lasts, and stays to be
    /// looked at after that.
    pub(super) async fn broke(&mut self, name: &str, why: &str) {
        let Some(tracked) = self.find(name) else {
            return;
        };
        tracked.stage = Lifecycle::Broken;
        if tracked.leaves {
            return;
        }
        let (ours, machine) = (tracked.ours, tracked.machine.clone());
        let counts = ours && !std::mem::replace(&mut tracked.counted, true);
        self.failures += usize::from(counts);
        let again = self.failures <= self.order.pace.max_failures;
        if ours && again {
            if let Some(tracked) = self.find(name) {
                tracked.leaves = true;
            }
            return;
        }
        let mut detail = format!("{name} is {why}.");
        let until = self.calls.soon();
        if let Some(machine) = &machine
            && let Some(console) = self.calls.console(machine, until).await
        {
            detail = format!("{detail} {}", console_end(&console));
        }
        let problem = Problem::new(short("Machine does not serve:", name), detail);
        match ours {
            true => self.halt(problem),
            false => self.problems.push(problem),
        }
    }

    /// A machine no longer exists.
    pub(super) fn is_gone(&mut self, name: &str) {
        let Some(index) = self.tracked.iter().position(|tracked| tracked.name == name) else {
            return;
        };
        let tracked = self.tracked.remove(index);
        if tracked.ours && tracked.attempt + 1 < MOST_ATTEMPTS {
            self.queue
                .push_front((tracked.name.clone(), tracked.attempt + 1));
        }
        let Some(machine) = tracked.machine else {
            return;
        };
        self.to_forget.push(host(&machine));
        self.gone.insert(machine.id);
    }
}

/// The last lines of a console, with what a reader of them has to know.
fn console_end(console: &str) -> String {
    let console = visible(console);
    let lines = console.lines().rev().filter(|line| !line.trim().is_empty());
    let lines: Vec<_> = lines
        .take(CONSOLE_LINES)
        .map(|line| cut(line.trim_end(), CONSOLE_LINE_CHARS))
        .collect();
    let end = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    format!(
        "Its console ends with the lines below. They are what the machine itself prints, which may be secrets: look before you pass them on.\n\
         {end}"
    )
}

const CONSOLE_LINES: usize = 15;
const CONSOLE_LINE_CHARS: usize = 200;
