//! Turns: one group at a time moves pods in a cluster, for groups share budgets. Whoever comes
//! later waits, and says for whom; how long is none of the time that its own work has.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::kubernetes::{self, Cluster, NodeError, Nodes};
use crate::protocol::log;
use crate::provider::{Context, Diagnostic, Diagnostics};

/// The turn of a group, for as long as its work goes on.
pub(super) struct Turn<'a> {
    /// `None`: nobody keeps one.
    nodes: Option<&'a dyn Nodes>,
    holder: String,
}

impl<'a> Turn<'a> {
    /// The turn of a group that drains Nodes in what comes, once nobody else has it; `None`, and
    /// why, where that takes too long.
    pub(super) async fn taken(
        context: &Context,
        cluster: Option<&'a Cluster>,
        holder: String,
        limit: Duration,
        problems: &mut Diagnostics,
    ) -> Option<Self> {
        let nodes = cluster.filter(|cluster| cluster.drain.is_some());
        let Some(nodes) = nodes.map(|cluster| cluster.nodes.as_ref()) else {
            let nodes = None;
            return Some(Self { nodes, holder });
        };
        let until = Instant::now() + limit;
        let mut silent_since = None;
        let mut waits_for = String::new();
        loop {
            match asked(nodes, &holder).await {
                Ok(kubernetes::Turn::Ours) => {
                    let nodes = Some(nodes);
                    return Some(Self { nodes, holder });
                }
                Ok(kubernetes::Turn::Of(other)) if other != waits_for => {
                    log::warn(
                        "waits until another group has rolled",
                        &[("holder", &other)],
                    );
                    waits_for = other;
                    silent_since = None;
                }
                Ok(kubernetes::Turn::Of(_)) => silent_since = None,
                Err(error) => {
                    let now = Instant::now();
                    let silence = now - *silent_since.get_or_insert(now);
                    // Who was seen to roll is waited for, however long nobody can say whether it
                    // still does.
                    let is_given_up = silence >= RESTART && waits_for.is_empty();
                    if !error.retryable || is_given_up {
                        problems.push(not_asked(&error));
                        let nodes = None;
                        return Some(Self { nodes, holder });
                    }
                }
            }
            if Instant::now() + PAUSE >= until {
                problems.push(Diagnostic::error(
                    "Another group rolls in this cluster",
                    format!(
                        "{waits_for} moves pods, and had not ended within the time for this update (timeouts.update). No machine was touched. Apply again when it \
                         is done. What was killed gives way within a minute."
                    ),
                ));
                return None;
            }
            tokio::select! {
                () = context.cancel.cancelled() => {
                    problems.push(Diagnostic::error(
                        "Interrupted",
                        "The update was asked to stop while it waited for another group. No machine was touched.",
                    ));
                    return None;
                }
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// What comes of work in this turn, which is given up at its end.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let Some(nodes) = self.nodes else {
            return work.await;
        };
        let holder = self.holder.as_str();
        let kept = async {
            let mut pause = KEEP;
            loop {
                sleep(pause).await;
                pause = match asked(nodes, holder).await {
                    Ok(kubernetes::Turn::Ours) => KEEP,
                    Ok(kubernetes::Turn::Of(other)) => {
                        // It was not heard of for too long; what is under way goes on.
                        log::warn("the turn to roll is another group's", &[("holder", &other)]);
                        KEEP
                    }
                    Err(error) => {
                        log_unkept(&error);
                        PAUSE
                    }
                };
            }
        };
        let done = tokio::select! {
            biased;
            done = work => done,
            never = kept => match never {},
        };
        // It ends by itself, if later.
        if let Ok(Err(error)) = timeout(END, nodes.end_turn(holder)).await {
            log_unkept(&error);
        }
        done
    }
}

async fn asked(nodes: &dyn Nodes, holder: &str) -> Result<kubernetes::Turn, NodeError> {
    let answer = timeout(ANSWER, nodes.turn(holder)).await;
    answer.unwrap_or_else(|_| {
        Err(NodeError {
            action: "Kubernetes Get",
            object: "Lease".to_owned(),
            message: format!("nothing within {} seconds", ANSWER.as_secs()),
            retryable: true,
            throttled: false,
            retry_after: None,
        })
    })
}

fn not_asked(error: &NodeError) -> Diagnostic {
    Diagnostic::warning(
        "Other groups of the cluster are not waited for",
        format!(
            "{error}. Groups that roll at once share budgets, and their drains take longer. The guide Machines that are Nodes has the Role for it."
        ),
    )
}

fn log_unkept(error: &NodeError) {
    log::warn("the turn to roll is not kept", &[("answer", error)]);
}

/// Between questions of whoever waits.
const PAUSE: Duration = Duration::from_secs(5);
/// Between those of whoever has it.
const KEEP: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(10);
/// For several tries to give a turn up.
const END: Duration = Duration::from_secs(12);
/// How long an API server may take to come back, as drains have it.
const RESTART: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kubernetes::Drain;
    use crate::provider::Value;
    use crate::worker_group::cloud::memory::cluster::{Ask, Cluster, Trouble, opened};

    fn drain() -> Option<Drain> {
        Some(Drain {
            timeout: Duration::from_secs(900),
            on_timeout: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_waits_for_another_and_keeps_its_turn_until_its_work_is_done() {
        let context = Context::of(Value::Null);
        let cluster = Arc::new(Cluster::default());
        cluster.turn_of("prod/other", Duration::from_secs(90));
        let nodes = opened(&cluster, drain());
        let began = Instant::now();
        let mut problems = Diagnostics::none();
        let limit = Duration::from_secs(600);
        let turn = Turn::taken(
            &context,
            Some(&nodes),
            "prod/w".into(),
            limit,
            &mut problems,
        );
        let turn = turn.await.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(began.elapsed(), Duration::from_secs(90));
        turn.during(async {
            sleep(Duration::from_secs(200)).await;
            assert_eq!(cluster.has_turn().as_deref(), Some("prod/w"));
        })
        .await;
        assert_eq!(cluster.has_turn(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_now_and_then_is_waited_for_and_kept() {
        let context = Context::of(Value::Null);
        let cluster = Arc::new(Cluster::default());
        cluster.turn_of("prod/other", Duration::from_secs(90));
        let nodes = opened(&cluster, drain());
        let limit = Duration::from_secs(600);
        let mut problems = Diagnostics::none();
        let trouble = async {
            loop {
                cluster.order(Ask::Turn, Trouble::Unavailable);
                sleep(Duration::from_secs(12)).await;
            }
        };
        let holder = "prod/w".into();
        let turn = tokio::select! {
            turn = Turn::taken(&context, Some(&nodes), holder, limit, &mut problems) => turn,
            never = trouble => match never {},
        };
        let began = Instant::now();
        turn.unwrap()
            .during(async {
                // Each time it is kept, it takes three tries.
                while began.elapsed() < Duration::from_secs(300) {
                    assert_eq!(cluster.has_turn().as_deref(), Some("prod/w"));
                    cluster.order(Ask::Turn, Trouble::Unavailable);
                    cluster.order(Ask::Turn, Trouble::Unavailable);
                    sleep(Duration::from_secs(29)).await;
                }
            })
            .await;
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_seen_to_roll_is_waited_for_while_an_api_server_restarts() {
        let context = Context::of(Value::Null);
        let cluster = Arc::new(Cluster::default());
        cluster.turn_of("prod/other", Duration::from_secs(90));
        let nodes = opened(&cluster, drain());
        let mut problems = Diagnostics::none();
        let limit = Duration::from_secs(600);
        let began = Instant::now();
        let restart = async {
            sleep(Duration::from_secs(7)).await;
            for _ in 0..5 {
                cluster.order(Ask::Turn, Trouble::Unavailable);
            }
            std::future::pending::<()>().await;
        };
        let turn = tokio::select! {
            turn = Turn::taken(&context, Some(&nodes), "prod/w".into(), limit, &mut problems) => turn,
            () = restart => None,
        };
        assert!(turn.is_some_and(|turn| turn.nodes.is_some()));
        assert!(problems.is_empty(), "{problems:?}");
        assert!(began.elapsed() >= Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_the_turn_for_too_long_is_named() {
        let context = Context::of(Value::Null);
        let cluster = Arc::new(Cluster::default());
        cluster.turn_of("prod/other", Duration::from_secs(9000));
        let nodes = opened(&cluster, drain());
        let mut problems = Diagnostics::none();
        let limit = Duration::from_secs(60);
        let turn = Turn::taken(
            &context,
            Some(&nodes),
            "prod/w".into(),
            limit,
            &mut problems,
        );
        assert!(turn.await.is_none());
        assert!(
            problems.0[0].detail.starts_with("prod/other moves pods"),
            "{problems:?}"
        );
        context.cancel.cancel();
        let mut problems = Diagnostics::none();
        let turn = Turn::taken(
            &context,
            Some(&nodes),
            "prod/w".into(),
            limit,
            &mut problems,
        );
        assert!(turn.await.is_none());
        assert_eq!(problems.0[0].summary, "Interrupted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_without_leases_waits_for_nobody_and_says_so_and_a_group_without_drains_asks_nothing()
     {
        let context = Context::of(Value::Null);
        let cluster = Arc::new(Cluster::default());
        cluster.order(Ask::Turn, Trouble::Forbidden);
        let nodes = opened(&cluster, drain());
        let limit = Duration::from_secs(60);
        let mut problems = Diagnostics::none();
        let turn = Turn::taken(
            &context,
            Some(&nodes),
            "prod/w".into(),
            limit,
            &mut problems,
        );
        assert!(turn.await.is_some());
        assert!(
            !problems.has_errors() && problems.0.len() == 1,
            "{problems:?}"
        );

        for nodes in [Some(opened(&cluster, None)), None] {
            let mut problems = Diagnostics::none();
            let asked = cluster.calls(Ask::Turn);
            let turn = Turn::taken(
                &context,
                nodes.as_ref(),
                "prod/w".into(),
                limit,
                &mut problems,
            );
            assert!(turn.await.is_some() && problems.is_empty());
            assert_eq!(cluster.calls(Ask::Turn), asked);
        }
    }
}
