//! The end of an apply, be it done, interrupted, out of time or out of luck: calls under way get a
//! moment, and it is told what exists and what was not done.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::{Ended, Event, Known, Lifecycle, Problem, Roll, Tracked, short};
use crate::worker_group::cloud::{Mark, Phase};

impl<'a> Roll<'a> {
    /// Gives calls under way a moment to answer: each answer is a machine that state knows.
    pub(super) async fn finish_calls(
        &mut self,
        under_way: &mut FuturesUnordered<BoxFuture<'a, Event>>,
        until: Instant,
    ) {
        while let Ok(Some(event)) = tokio::time::timeout_at(until, under_way.next()).await {
            if !matches!(event, Event::Seen(_)) {
                self.on_answer(event).await;
            }
        }
    }

    /// A create that did not answer is looked for once more, what was made twice is deleted again,
    /// and what was not done is reported.
    pub(super) async fn look_for_unanswered(&mut self) {
        let open = |tracked: &Tracked| tracked.machine.is_none();
        if self.tracked.iter().any(open) {
            let Mark { cluster, group, .. } = &self.order.mark;
            let until = self.calls.soon();
            let listed = self.calls.list_once(cluster, group, until).await;
            for machine in listed.unwrap_or_default() {
                if self.order.makes(&machine)
                    && let Some(tracked) = self.find(&machine.name)
                {
                    tracked.machine.get_or_insert(machine);
                }
            }
        }
        for twin in std::mem::take(&mut self.twins).into_values() {
            if self.calls.is_over() {
                break;
            }
            if let Err(error) = self.calls.delete(&twin).await {
                let summary = short("Could not delete a second machine", &twin.name);
                self.problems.push(Problem::of(summary, &error));
            }
        }
        self.report_what_is_stuck();
        self.report_what_is_short();
    }

    /// What exists now.
    pub(super) fn end(mut self) -> Ended {
        self.progress.look(&self.tracked);
        let machines = self
            .tracked
            .into_iter()
            .filter_map(|tracked| {
                let mut machine = tracked.machine?;
                if matches!(tracked.stage, Lifecycle::Going) {
                    machine.phase = Phase::Deleting;
                }
                Some(Known {
                    machine,
                    node: tracked.node,
                })
            })
            .collect();
        Ended {
            machines,
            next_ordinal: self.next_ordinal,
            problems: self.problems,
            warnings: self.warnings,
            list_failed: self.list_failed,
            adopted: self.adopted,
            nodes_left: self.nodes_left,
        }
    }

    pub(super) fn out_of_time(&self) -> Problem {
        let waiting: Vec<&str> = self
            .tracked
            .iter()
            .filter(|tracked| tracked.stage != Lifecycle::Ready)
            .map(|tracked| tracked.name.as_str())
            .take(5)
            .collect();
        Problem::new(
            "Timeout of the operation is over",
            format!(
                "It may take {}, and was still waiting for {}. Raise the operation's value in timeouts where that is too short.",
                self.order.timeout,
                waiting.join(", ")
            ),
        )
    }

    /// An apply in which this went wrong before: it is reported, and what follows from it is not
    /// reported beside it.
    pub(crate) fn after(mut self, problems: Vec<Problem>) -> Self {
        self.problems = problems;
        self
    }

    /// Fewer machines than wanted are never a success, whatever it was that kept the others away.
    fn report_what_is_short(&mut self) {
        let serves = |tracked: &&Tracked| tracked.stage == Lifecycle::Ready && !tracked.leaves;
        let serve = self.tracked.iter().filter(serves).count();
        let wanted = self.order.limits.replicas;
        if self.halted || serve >= wanted || !self.problems.is_empty() {
            return;
        }
        let others: Vec<String> = self
            .tracked
            .iter()
            .filter(|tracked| !serves(tracked))
            .map(|tracked| format!("{} is {}", tracked.name, tracked.said()))
            .take(5)
            .collect();
        let others = match others.is_empty() {
            true => "No other exists".to_owned(),
            false => others.join(", "),
        };
        self.problems.push(Problem::new(
            "Fewer machines serve than wanted",
            format!(
                "{serve} of {wanted} serve at the end of this apply. {others}. Plan and apply again: the plan says what becomes of them."
            ),
        ));
    }

    /// Steps that were not taken although nothing failed: a machine that broke meanwhile and was
    /// not planned to go holds them up.
    fn report_what_is_stuck(&mut self) {
        let left: Vec<&str> = self
            .tracked
            .iter()
            .filter(|tracked| tracked.leaves)
            .map(|tracked| tracked.name.as_str())
            .collect();
        if self.halted || left.is_empty() || !self.problems.is_empty() {
            return;
        }
        let (summary, done) = match self.order.creates.is_empty() {
            true => ("Scale-in cannot go on", "removed"),
            false => ("Roll cannot go on", "replaced"),
        };
        let problem = Problem::new(
            summary,
            format!(
                "Another step would leave fewer machines ready than max_unavailable allows, for some have stopped serving. Not {done}: {}. \
                 Plan and apply again: the machines that do not serve go first.",
                left.join(", ")
            ),
        );
        self.problems.push(problem);
    }
}
