//! The cluster of a group, opened for one operation as its cloud is. A group without one has no
//! such call.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::kubernetes::{Cluster, OnTimeout};
use crate::provider::{Context, Diagnostic, Diagnostics, Severity};
use crate::worker_group::model::Group;

use super::WorkerGroup;

/// Opens the cluster of a group; `None` for a group that is no part of one.
pub(crate) type OpenCluster = for<'a> fn(&'a Context, &'a Group) -> Option<Opening<'a>>;

/// A cluster that is being opened.
pub(crate) struct Opening<'a> {
    /// What becomes of machines on destroy where it cannot be opened; `None`: they go.
    pub(crate) on_timeout: Option<OnTimeout>,
    /// The first place where credentials and endpoints of the cluster are looked at.
    pub(crate) cluster: BoxFuture<'a, Result<Cluster, Diagnostics>>,
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

const GOES_ON: &str = "The machines are deleted without the cluster: their pods are not moved, and their Nodes may be left. With \
     on_timeout = \"fail\" in drain they would stay.";
/// How long a cluster may take to be opened when its group is destroyed.
const PATIENCE: Duration = Duration::from_secs(60);
