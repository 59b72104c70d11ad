//! What an apply of `flatcar_node_drain` does: Nodes are closed all at once, then emptied some at a
//! time; or each is closed, emptied and opened before the next.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::Model;
use crate::kubernetes::chosen::{Choice, Chosen, missing};
use crate::kubernetes::emptying::{Done, Emptied, Unwell};
use crate::kubernetes::node::Found;
use crate::kubernetes::{Connection, NodeError, Scheduling};
use crate::provider::{Diagnostic, Diagnostics};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The Nodes are as they are to be.
    Nothing,
    /// They are closed and emptied, and stay closed.
    Close,
    /// The same, before what they run on goes; some may have gone already.
    Clear,
    /// They are closed, emptied and opened, some at a time.
    Pass,
    /// What this provider has closed is opened.
    Open,
}

/// Work under way: what was done stands here also where the rest is dropped.
pub(super) struct Work {
    due: Due,
    /// The Nodes that the last apply was about.
    earlier: Option<Choice>,
    emptied: Mutex<BTreeSet<String>>,
    warnings: Mutex<Vec<Diagnostic>>,
}

impl Work {
    pub(super) fn new(due: Due, earlier: Option<Choice>) -> Self {
        Self {
            due,
            earlier,
            emptied: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Names of the Nodes that were emptied, in order.
    pub(super) fn emptied(&self) -> Vec<String> {
        let emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner);
        emptied.iter().cloned().collect()
    }

    pub(super) fn warnings(&self) -> Diagnostics {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        Diagnostics(warnings.clone())
    }

    fn is_empty(&self, node: &Found) {
        let mut emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner);
        emptied.insert(node.name.clone());
    }

    fn warn(&self, summary: String, detail: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.push(Diagnostic::warning(summary, detail));
    }
}

/// One operation.
pub(super) struct Round<'a> {
    chosen: Chosen<'a>,
    parallelism: usize,
}

impl<'a> Round<'a> {
    pub(super) fn of(connection: &'a Connection, model: &Model, deadline: Instant) -> Self {
        let (drain, _) = model.drain();
        Self {
            chosen: Chosen {
                connection,
                drain,
                deadline,
            },
            parallelism: model.parallelism(),
        }
    }

    /// Whether no Node of the choice takes pods.
    ///
    /// # Errors
    /// The cluster does not say.
    pub(super) async fn are_closed(&self, choice: &Choice) -> Result<bool, Diagnostics> {
        let nodes = self.nodes(choice).await?;
        Ok(nodes.iter().all(|node| node.unschedulable))
    }

    /// Does what is due.
    ///
    /// # Errors
    /// What could not be done; which Nodes are emptied by then stands in the work.
    pub(super) async fn perform(&self, choice: &Choice, work: &Work) -> Result<(), Diagnostics> {
        let nodes = self.nodes(choice).await?;
        let left_out = self.left_out(choice, &nodes, work).await?;
        if matches!(work.due, Due::Close | Due::Pass) {
            tell_of_missing(choice, &nodes, work);
        }
        match work.due {
            Due::Nothing => Ok(()),
            Due::Open => {
                self.schedule(&left_out, Scheduling::Open).await?;
                self.schedule(&nodes, Scheduling::Open).await
            }
            Due::Close | Due::Clear => {
                self.schedule(&left_out, Scheduling::Open).await?;
                // No pod moves to a Node whose turn comes later.
                self.schedule(&nodes, Scheduling::Closed).await?;
                self.all(&nodes, |node| self.empty(node, work)).await
            }
            Due::Pass => {
                self.schedule(&left_out, Scheduling::Open).await?;
                self.all(&nodes, |node| self.pass(node, work)).await
            }
        }
    }

    /// Nodes of the earlier choice that the new one does not name: they are opened.
    async fn left_out(
        &self,
        choice: &Choice,
        nodes: &[Found],
        work: &Work,
    ) -> Result<Vec<Found>, Diagnostics> {
        let Some(earlier) = work.earlier.as_ref().filter(|earlier| *earlier != choice) else {
            return Ok(Vec::new());
        };
        let mut left_out = self.nodes(earlier).await?;
        left_out.retain(|one| !nodes.iter().any(|node| node.uid == one.uid));
        Ok(left_out)
    }

    async fn nodes(&self, choice: &Choice) -> Result<Vec<Found>, Diagnostics> {
        let nodes = self.chosen.nodes(choice).await;
        nodes.map_err(|error| refused("Could not find the Nodes", &error))
    }

    async fn schedule(&self, nodes: &[Found], scheduling: Scheduling) -> Result<(), Diagnostics> {
        let summary = match scheduling {
            Scheduling::Closed => "Could not cordon the Nodes",
            Scheduling::Open | Scheduling::Discouraged => "Could not uncordon the Nodes",
        };
        let scheduled = self.chosen.schedule(nodes, scheduling).await;
        scheduled.map_err(|error| refused(summary, &error))
    }

    /// Does something with each Node, some at a time; after the first that fails no other one is
    /// begun.
    async fn all<'n, F: Future<Output = Result<(), Diagnostics>>>(
        &self,
        nodes: &'n [Found],
        each: impl Fn(&'n Found) -> F,
    ) -> Result<(), Diagnostics> {
        let mut left = nodes.iter();
        let mut under_way = stream::FuturesUnordered::new();
        let mut problems = Diagnostics::none();
        loop {
            while under_way.len() < self.parallelism && !problems.has_errors() {
                match left.next() {
                    Some(node) => under_way.push(each(node)),
                    None => break,
                }
            }
            match under_way.next().await {
                Some(done) => problems.extend(done.err().unwrap_or_default()),
                None if problems.has_errors() => return Err(problems),
                None => return Ok(()),
            }
        }
    }

    async fn pass(&self, node: &Found, work: &Work) -> Result<(), Diagnostics> {
        let one = std::slice::from_ref(node);
        self.schedule(one, Scheduling::Closed).await?;
        let emptied = self.empty(node, work).await;
        // It stays, however that went.
        let opened = self.schedule(one, Scheduling::Open).await;
        let mut problems = emptied.err().unwrap_or_default();
        problems.extend(opened.err().unwrap_or_default());
        match problems.has_errors() {
            true => Err(problems),
            false => Ok(()),
        }
    }

    async fn empty(&self, node: &Found, work: &Work) -> Result<(), Diagnostics> {
        let name = &node.name;
        match self.chosen.empty(node).await {
            Emptied::Empty => {
                work.is_empty(node);
                Ok(())
            }
            Emptied::Useless(why) => {
                let words = format!("The pods of {name} were not moved: {why}.");
                work.warn(short("Node was not drained:", name), words);
                Ok(())
            }
            Emptied::Goes(unwell) => {
                let (summary, words) = of_unwell(name, &unwell);
                work.warn(summary, words);
                if unwell.done == Done::Forced {
                    work.is_empty(node);
                }
                Ok(())
            }
            Emptied::Stays(left) => Err(Diagnostic::error(
                short("Could not drain Node", name),
                format!(
                    "When the time for it was over, {left}. Give it more time (timeout), move what is in the way, or say with on_timeout what comes then; \
                     the next apply goes on. {}",
                    match work.due {
                        Due::Pass => "The Node takes pods again.",
                        _ => "It stays cordoned; kubectl uncordon opens it.",
                    }
                ),
            )
            .into()),
            Emptied::Refused(error) => Err(refused(&short("Could not drain Node", name), &error)),
        }
    }
}

fn of_unwell(name: &str, unwell: &Unwell) -> (String, String) {
    let done = match unwell.done {
        Done::Left => "They were left on it",
        Done::Forced => "They were deleted without asking budgets",
        Done::Stuck => "They did not go when they were forced to, and were left on it",
    };
    let left = &unwell.left;
    let when = match unwell.is_over {
        true => format!("When the time for the drain of {name} was over"),
        false => format!("After the drain of {name}"),
    };
    let summary = short("Node was not emptied as budgets allow:", name);
    (summary, format!("{when}, {left}. {done}."))
}

/// A choice that names what is not there is likely not meant so.
fn tell_of_missing(choice: &Choice, nodes: &[Found], work: &Work) {
    let missing = missing(choice, nodes);
    let words = match choice {
        Choice::Labels(_) if nodes.is_empty() => {
            "No Node has the labels of selector, so nothing was drained. Check it with kubectl get nodes -l.".to_owned()
        }
        Choice::Names(_) if !missing.is_empty() => {
            let shown: Vec<&str> = missing.iter().take(SHOWN).copied().collect();
            let more = match missing.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("The cluster has no Node {}{more}. Leave out of nodes what is gone.", shown.join(", "))
        }
        _ => return,
    };
    work.warn("Nodes are not there".to_owned(), words);
}

fn refused(summary: &str, error: &NodeError) -> Diagnostics {
    let advice = match error.retryable {
        true => "Try again when the cluster answers; what was done by then stands.",
        false => {
            "The guide Machines that are Nodes has the least role for it; what was done by then stands."
        }
    };
    Diagnostic::error(summary, format!("{error}. {advice}")).into()
}

/// A summary with a name in it, which may be long.
fn short(what: &str, name: &str) -> String {
    let full = format!("{what} {name}");
    match full.len() <= 60 {
        true => full,
        false => what.trim_end_matches(':').to_owned(),
    }
}

const SHOWN: usize = 10;
