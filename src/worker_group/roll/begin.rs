//! Beginning: which steps the planner allows at this moment, and the calls that carry them out.

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::{Event, Lifecycle, Problem, Roll, Slot, Tracked, caught, failed_inside};
use crate::worker_group::cloud::Spec;
use crate::worker_group::plan;

impl<'a> Roll<'a> {
    /// Starts what may start; answers how many calls to the cloud. A drain is none: what it waits
    /// for are pods.
    pub(super) fn begin(
        &mut self,
        busy: usize,
        under_way: &mut FuturesUnordered<BoxFuture<'a, Event>>,
    ) -> usize {
        let mut free = self.order.pace.parallelism.saturating_sub(busy);
        let before = free;
        // Whatever else has happened meanwhile: it has been emptied.
        let drained = self.tracked.iter().enumerate();
        let drained = drained.filter(|(_, tracked)| tracked.stage == Lifecycle::Drained);
        let drained: Vec<usize> = drained.map(|(index, _)| index).take(free).collect();
        for index in drained {
            if let Some(call) = self.delete(index) {
                free -= 1;
                under_way.push(call);
            }
        }
        if self.halted {
            return before - free;
        }
        let slots: Vec<Slot> = self
            .tracked
            .iter()
            .map(|tracked| tracked.slot(&self.order))
            .collect();
        let window = self.order.window_closes;
        let is_closed = window.is_some_and(|closes| closes <= Instant::now());
        let mut steps = plan::steps(&self.order.limits, &slots);
        if is_closed {
            let some = !steps.is_empty();
            steps = plan::steps(&self.order.limits.without_rolls(), &slots);
            let begun = before - free;
            if some && steps.is_empty() && busy + begun + self.beside == 0 && !self.waits() {
                self.halt(Problem::new(
                    "Roll window is closed",
                    "What had begun, and what may be done at any time, has been done; no further healthy machine is replaced before the window opens again.",
                ));
            }
        }
        if self.places.is_left_in_order() {
            for index in steps.delete {
                if let Some(drain) = self.drain(index) {
                    self.beside += 1;
                    under_way.push(drain);
                }
            }
        } else {
            for index in steps.delete.into_iter().take(free) {
                if let Some(call) = self.delete(index) {
                    free -= 1;
                    under_way.push(call);
                }
            }
        }
        // A machine of ours that failed is deleted first, and made again under its name.
        let again = |tracked: &&Tracked| tracked.ours && tracked.leaves;
        let again = self.tracked.iter().filter(again).count();
        for _ in 0..steps.create.saturating_sub(again).min(free) {
            let Some(call) = self.create() else {
                break;
            };
            free -= 1;
            under_way.push(call);
        }
        before - free
    }

    fn create(&mut self) -> Option<BoxFuture<'a, Event>> {
        let (name, attempt) = match self.queue.pop_front() {
            Some(next) => next,
            None => {
                let Some(name) = plan::name(&self.order.prefix, self.next_ordinal) else {
                    self.halt(Problem::new("Group has no names left", plan::NO_NAMES));
                    return None;
                };
                self.next_ordinal += 1;
                (name, 0)
            }
        };
        let now = Instant::now();
        self.tracked.push(Tracked::created(&name, attempt, now));
        let calls = self.calls;
        let until = now + self.order.pace.machine_timeout;
        let user_data = (self.order.user_data)(&name);
        let mark = self.order.mark_of(&name);
        let (image, shape) = (self.order.image, self.order.shape);
        Some(Box::pin(async move {
            let spec = Spec {
                name: &name,
                attempt,
                ordinal: plan::ordinal(&name).unwrap_or_default(),
                mark: &mark,
                image,
                user_data: &user_data,
                shape,
            };
            let result = caught(calls.create(&spec, until)).await;
            let result = result.unwrap_or_else(|| Err(failed_inside("Create", spec.name)));
            Event::Created(name, result.map(Box::new))
        }))
    }
}
