//! The cluster of a group, opened for one operation as its cloud is. A group without one has no
//! such call.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::kubernetes::provider_block::api;
use crate::kubernetes::{Cluster, Connection, Host, OnTimeout, Settings, Status};
use crate::provider::{Context, Diagnostic, Diagnostics, Severity};
use crate::worker_group::cloud::{Machine, Phase};
use crate::worker_group::model::Group;
use crate::worker_group::roll::host;

use super::WorkerGroup;

/// Opens the cluster of a group; `None` for a group that is no part of one.
pub(crate) type OpenCluster = for<'a> fn(&'a Context, &'a Group) -> Option<Opening<'a>>;

/// A cluster that is being opened.
pub(crate) struct Opening<'a> {
    /// What becomes of machines on destroy where it cannot be opened; `None`: they go.
    pub(crate) on_timeout: Option<OnTimeout>,
    /// What its Nodes are to have.
    pub(crate) settings: Settings,
    /// Whether machines are to have Nodes.
    pub(crate) waits: bool,
    /// The first place where credentials and endpoints of the cluster are looked at.
    pub(crate) cluster: BoxFuture<'a, Result<Cluster, Diagnostics>>,
}

/// Opens the cluster of a group that has the attribute `kubernetes`. Nothing is dialled before the
/// first question.
pub(super) fn open<'a>(context: &'a Context, group: &'a Group) -> Option<Opening<'a>> {
    let wants = group.fields.kubernetes.known()?.wants()?;
    Some(Opening {
        on_timeout: wants.drain.and_then(|drain| drain.on_timeout),
        settings: wants.settings.clone(),
        waits: wants.wait_for_node,
        cluster: Box::pin(async move {
            let api = api(context).await?;
            Ok(Cluster {
                nodes: Box::new(Connection::new(api, wants.rules)),
                wait_for_node: wants.wait_for_node,
                kubelet_version: wants.kubelet_version,
                settings: wants.settings,
                delete_node: wants.delete_node,
                drain: wants.drain,
            })
        }),
    })
}

impl WorkerGroup {
    /// The cluster of a group that is to be created or changed.
    ///
    /// # Errors
    /// It cannot be opened: nothing is touched then.
    pub(super) async fn cluster(
        &self,
        context: &Context,
        group: &Group,
        deadline: Instant,
    ) -> Result<Option<Cluster>, Diagnostics> {
        match self.opening(context, group) {
            None => Ok(None),
            Some(opening) => opened(context, deadline, opening).await.map(Some),
        }
    }

    /// The cluster of a group that is to be destroyed, and warnings: one that cannot be opened is
    /// no reason to leave machines running.
    ///
    /// # Errors
    /// The same, where the group's `on_timeout` says that they stay.
    pub(super) async fn cluster_to_leave(
        &self,
        context: &Context,
        group: &Group,
        deadline: Instant,
    ) -> Result<(Option<Cluster>, Diagnostics), Diagnostics> {
        let Some(opening) = self.opening(context, group) else {
            return Ok((None, Diagnostics::none()));
        };
        let stays = opening.on_timeout == Some(OnTimeout::Fail);
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + PATIENCE.min(left / 2);
        match opened(context, until, opening).await {
            Ok(cluster) => Ok((Some(cluster), Diagnostics::none())),
            Err(problems) if stays || context.cancel.is_cancelled() => Err(problems),
            Err(mut problems) => {
                for problem in &mut problems.0 {
                    problem.severity = Severity::Warning;
                    problem.detail = format!("{}\n{GOES_ON}", problem.detail);
                }
                Ok((None, problems))
            }
        }
    }

    /// How the Nodes of machines are, for a refresh, and what they are to have. Nobody is asked
    /// where the group sets nothing on them and their names are known.
    ///
    /// # Errors
    /// The cluster does not tell: a warning, for a plan goes on without it.
    pub(super) async fn look(
        &self,
        context: &Context,
        group: &Group,
        machines: &[Machine],
        deadline: Instant,
    ) -> Result<(BTreeMap<String, Status>, Settings), Diagnostics> {
        let running = machines
            .iter()
            .filter(|machine| machine.phase == Phase::Running);
        let hosts: Vec<Host> = running.map(host).collect();
        let recorded = group.fields.machines.known();
        let is_unnamed = |host: &Host| {
            let machine = recorded.and_then(|machines| machines.get(&host.name));
            machine.is_none_or(|machine| machine.node_name.is_empty())
        };
        let opening = self.opening(context, group).filter(|opening| {
            let Settings { labels, taints, .. } = &opening.settings;
            let sets = labels.as_ref().is_some_and(|labels| !labels.is_empty())
                || taints.as_ref().is_some_and(|taints| !taints.is_empty());
            !hosts.is_empty() && (sets || (opening.waits && hosts.iter().any(is_unnamed)))
        });
        let Some(opening) = opening else {
            return Ok(Default::default());
        };
        let settings = opening.settings.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + GLANCE.min(left / 2);
        let looked = async {
            let cluster = opened(context, until, opening).await?;
            let mut pauses = GLANCES.into_iter();
            let why = loop {
                let status = tokio::time::timeout_at(until, cluster.nodes.status(&hosts)).await;
                let (why, may_pass) = match status {
                    Ok(Ok(status)) => return Ok(status),
                    Ok(Err(error)) => (error.to_string(), error.retryable),
                    Err(_) => ("there was no answer".to_owned(), false),
                };
                match pauses.next().filter(|_| may_pass) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => break why,
                }
            };
            Err(Diagnostic::error("Nodes could not be looked at", format!("{why}.")).into())
        };
        let looked: Result<_, Diagnostics> = tokio::select! {
            biased;
            () = context.cancel.cancelled() => Err(Diagnostic::error("Interrupted", "The provider was asked to stop.").into()),
            looked = looked => looked,
        };
        looked
            .map(|nodes| (nodes, settings))
            .map_err(|mut problems| {
                for problem in &mut problems.0 {
                    problem.severity = Severity::Warning;
                    problem.detail = format!("{}\n{UNSEEN}", problem.detail);
                }
                problems
            })
    }

    fn opening<'a>(&self, context: &'a Context, group: &'a Group) -> Option<Opening<'a>> {
        self.open_cluster.and_then(|open| open(context, group))
    }
}

async fn opened(
    context: &Context,
    until: Instant,
    opening: Opening<'_>,
) -> Result<Cluster, Diagnostics> {
    tokio::select! {
        biased;
        result = opening.cluster => result,
        () = context.cancel.cancelled() => Err(Diagnostic::error(
            "Interrupted",
            "The operation was asked to stop before it had touched anything.",
        )
        .into()),
        () = tokio::time::sleep_until(until) => Err(Diagnostic::error(
            "Cluster does not answer",
            "There was no answer in the time that there is for it. Try again later.",
        )
        .into()),
    }
}

const UNSEEN: &str = "What is on them goes unseen in this plan: labels, taints and names of Nodes are taken to be as they were.";
/// How long a cluster may take to tell a refresh of its Nodes.
const GLANCE: Duration = Duration::from_secs(30);
/// Between its questions, where the answer may be another one a little later.
const GLANCES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
const GOES_ON: &str = "The machines are deleted without the cluster: their pods are not moved, and their Nodes may be left. With \
     on_timeout = \"fail\" in drain they would stay.";
/// How long a cluster may take to be opened when its group is destroyed.
const PATIENCE: Duration = Duration::from_secs(60);
