//! Nodes that are chosen by their names or labels, and not by the machines that they are of:
//! closed, emptied and opened, with patience for an API server that is away for a while.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::drain::drained;
use super::emptying::{Emptied, Emptying, FORCED, Seen};
use super::node::Found;
use super::{Drain, NodeError, OnTimeout, Scheduling, Settings};
use crate::protocol::log;

/// Which Nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// Those of these names that there are.
    Names(BTreeSet<String>),
    /// Those with labels that this selects: `os=ubuntu`.
    Labels(String),
}

/// Chosen Nodes of a cluster, for one operation.
pub(super) struct Chosen<'a> {
    pub(super) connection: &'a Connection,
    pub(super) drain: Drain,
    /// When the operation has to be over.
    pub(super) deadline: Instant,
}

impl Chosen<'_> {
    /// The Nodes, in the order of their names.
    ///
    /// # Errors
    /// The cluster does not say, for as long as it is asked.
    pub(super) async fn nodes(&self, choice: &Choice) -> Result<Vec<Found>, NodeError> {
        let mut nodes = match choice {
            Choice::Labels(selector) => self.persist(|| self.connection.labelled(selector)).await?,
            Choice::Names(names) => {
                let (mut nodes, _) = self.persist(|| self.connection.listed()).await?;
                nodes.retain(|node| names.contains(&node.name));
                nodes
            }
        };
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(nodes)
    }

    /// Says whether new pods may come to these Nodes; what somebody else has closed stays.
    ///
    /// # Errors
    /// The first one that was not written.
    pub(super) async fn schedule(
        &self,
        nodes: &[Found],
        scheduling: Scheduling,
    ) -> Result<(), NodeError> {
        let settings = Settings::scheduling(scheduling);
        let write = |node| -> BoxFuture<'_, _> { Box::pin(self.write(node, &settings)) };
        let writes: Vec<BoxFuture<'_, _>> = nodes.iter().map(write).collect();
        let mut written = stream::iter(writes).buffer_unordered(AT_ONCE);
        let mut refused = None;
        while let Some(result) = written.next().await {
            refused = refused.or(result.err());
        }
        refused.map_or(Ok(()), Err)
    }

    async fn write(&self, node: &Found, settings: &Settings) -> Result<(), NodeError> {
        self.persist(|| async {
            match self.connection.node(&node.name).await? {
                Some(now) if now.uid == node.uid => self.connection.write(now, settings).await,
                _ => Ok(()),
            }
        })
        .await
    }

    /// Moves the pods off a Node that is closed.
    pub(super) async fn empty(&self, node: &Found) -> Emptied<NodeError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let emptying = Emptying {
            until: Instant::now() + self.drain.timeout.min(left),
            on_timeout: self.drain.on_timeout.unwrap_or(OnTimeout::Fail),
            forced: FORCED,
        };
        let seen = Seen::default();
        let seen = &seen;
        let run = emptying.run(
            seen,
            |error: &NodeError| error.retryable,
            move |eviction, until| {
                Box::pin(async move {
                    let progress = |left: &[super::Left]| seen.note(&node.name, left);
                    let emptied = self.until(until, || {
                        let node = node.clone();
                        drained(self.connection, node, eviction, until, &progress)
                    });
                    emptied.await
                })
            },
        );
        run.await
    }

    async fn persist<T, F: Future<Output = Result<T, NodeError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T, NodeError> {
        let until = self.deadline.min(Instant::now() + RESTART);
        self.until(until, call).await
    }

    /// Asks again until then, where that may help.
    async fn until<T, F: Future<Output = Result<T, NodeError>>>(
        &self,
        until: Instant,
        mut call: impl FnMut() -> F,
    ) -> Result<T, NodeError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let asked = pause.max(error.retry_after.unwrap_or_default());
            if !error.retryable || asked >= until.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            log_retry(&error);
            sleep(asked).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn log_retry(error: &NodeError) {
    let fields: [log::Field<'_>; 2] = [("call", &error.action), ("answer", &error.message)];
    log::warn("tries a call to the cluster again", &fields);
}

/// Names of what a choice names and is not there.
pub(super) fn missing<'a>(choice: &'a Choice, nodes: &[Found]) -> Vec<&'a str> {
    let Choice::Names(names) = choice else {
        return Vec::new();
    };
    let is_there = |name: &&String| nodes.iter().any(|node| node.name == **name);
    let names = names.iter().filter(|name| !is_there(name));
    names.map(String::as_str).collect()
}

/// Nodes that are written at a time.
const AT_ONCE: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a cluster is asked what has an answer at once: its API server may be restarted
/// meanwhile.
const RESTART: Duration = Duration::from_secs(300);
