//! The places of a machine's life beside the cloud itself: its Node, and where it gets traffic.
//!
//! After *running* a machine joins the cluster, then is entered where it gets traffic, and counts
//! once it gets some. Before *delete* its Node is closed, its traffic ends, and its pods move away.
//! The engine sees one thing that answers all. Calls are made to hold as those to a cloud are
//! ([`Calls`]): a deadline for an answer, retries of what may succeed a little later. When a whole
//! group is destroyed, a place that does not do its part is reported and not asked again: it is no
//! reason to leave machines running.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{Calls, Problem, Refusal, TRIES, short};
use crate::kubernetes::{
    Cluster, Destroys, Host, KubeletVersion, NodeError, OnTimeout, Scheduling, Settings, Status,
};
use crate::worker_group::cloud::{CloudError, Kind, Machine, Members, machines_of};

/// The cluster of a group, and the members of what its cloud balances; a group may have neither.
pub(crate) struct NodesAndTraffic<'a> {
    cluster: Option<&'a Cluster>,
    pub(super) calls: Calls<'a>,
    members: Option<&'a dyn Members>,
    /// Names of machines that leave: they are not entered again.
    leaving: BTreeSet<String>,
    /// Names of machines that joined before this apply: of which version their kubelets are is no
    /// matter of theirs any more.
    joined_before: BTreeSet<String>,
    pub(super) destroys: Destroys,
    cluster_is_away: AtomicBool,
    traffic_is_stuck: AtomicBool,
}

/// A machine as its Node is looked for.
pub(crate) fn host(machine: &Machine) -> Host {
    Host {
        name: machine.name.clone(),
        id: machine.id.clone(),
        addresses: machine.addresses.clone(),
        created: machine.created,
    }
}

/// How a machine is beside its cloud.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// It has joined, and gets traffic where there is some to get.
    pub(super) serves: bool,
    /// `""` where there is none.
    pub(super) node: String,
    /// Why it has not joined; `""` where that is not known.
    pub(super) why: String,
    /// What this provider has set on its Node.
    pub(super) scheduling: Scheduling,
}

impl<'a> NodesAndTraffic<'a> {
    /// For an apply that deletes these machines.
    pub(crate) fn new(
        cluster: Option<&'a Cluster>,
        calls: Calls<'a>,
        leaving: &[String],
        destroys: Destroys,
    ) -> Self {
        Self {
            cluster,
            calls,
            members: calls.cloud.members(),
            leaving: leaving.iter().cloned().collect(),
            joined_before: BTreeSet::new(),
            destroys,
            cluster_is_away: AtomicBool::default(),
            traffic_is_stuck: AtomicBool::default(),
        }
    }

    /// Where machines of these names have joined already.
    pub(crate) fn joined_before<'b>(self, names: impl Iterator<Item = &'b str>) -> Self {
        Self {
            joined_before: names.map(str::to_owned).collect(),
            ..self
        }
    }

    /// The cluster, unless it has been given up.
    pub(super) fn cluster(&self) -> Option<&'a Cluster> {
        let is_away = self.cluster_is_away.load(Ordering::Relaxed);
        self.cluster.filter(|_| !is_away)
    }

    /// Who gets traffic, unless that has been given up.
    fn members(&self) -> Option<&'a dyn Members> {
        let is_stuck = self.traffic_is_stuck.load(Ordering::Relaxed);
        self.members.filter(|_| !is_stuck)
    }

    /// Whether the Nodes of machines that serve are looked at, too.
    pub(super) fn is_watched(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.wait_for_node)
    }

    /// Whether there is something to do before a machine is deleted.
    pub(super) fn is_left_in_order(&self) -> bool {
        self.drains() || self.members().is_some()
    }

    /// Whether Nodes are closed and emptied.
    pub(super) fn drains(&self) -> bool {
        self.cluster()
            .is_some_and(|cluster| cluster.drain.is_some())
    }

    /// Answers once a Node has changed in a way that matters; never, where nobody waits for Nodes.
    pub(super) async fn changed(&self) {
        match self.cluster().filter(|cluster| cluster.wait_for_node) {
            Some(cluster) => cluster.nodes.changed().await,
            None => std::future::pending().await,
        }
    }

    /// How these machines are, by name; asked once, and answered until then.
    pub(super) async fn standing(
        &self,
        hosts: &[Host],
        until: Instant,
    ) -> Result<BTreeMap<String, Standing>, CloudError> {
        let calls = self.calls.until(until);
        let mut standing = self.joined(calls, hosts).await?;
        let Some(members) = self.members() else {
            return Ok(standing);
        };
        let up = hosts.iter().filter(|host| {
            let standing = standing.get(&host.name);
            standing.is_some_and(|standing| standing.serves)
        });
        let (leaving, staying): (Vec<Host>, Vec<Host>) = up
            .cloned()
            .partition(|host| self.leaving.contains(&host.name));
        let mut serve = match staying.is_empty() {
            true => BTreeSet::new(),
            false => calls.enter(members, &staying).await?,
        };
        // One that leaves serves until it is out, however it fares there: what comes in its place
        // has to get traffic first.
        let out = members.out(&leaving);
        let names = leaving.into_iter().map(|host| host.name);
        serve.extend(names.filter(|name| !out.contains(name)));
        for (name, standing) in &mut standing {
            standing.serves &= serve.contains(name);
        }
        Ok(standing)
    }

    async fn joined(
        &self,
        calls: Calls<'_>,
        hosts: &[Host],
    ) -> Result<BTreeMap<String, Standing>, CloudError> {
        let Some(cluster) = self.cluster().filter(|cluster| cluster.wait_for_node) else {
            let serves = Standing {
                serves: true,
                ..Standing::default()
            };
            let names = hosts.iter().map(|host| host.name.clone());
            return Ok(names.map(|name| (name, serves.clone())).collect());
        };
        let call = async { cluster.nodes.status(hosts).await.map_err(CloudError::from) };
        let object = machines_of(hosts.len());
        let mut found = calls.asked("Kubernetes Status", &object, call).await?;
        self.set_up(cluster, calls, hosts, &found).await?;
        let names = hosts.iter().map(|host| host.name.clone());
        let standing = names.map(|name| {
            let status = found.remove(&name).unwrap_or(Status::Absent);
            let is_asked = !self.leaving.contains(&name) && !self.joined_before.contains(&name);
            let version = cluster.kubelet_version.filter(|_| is_asked);
            (name, Standing::of(&status, version))
        });
        Ok(standing.collect())
    }

    /// Sets labels and taints on the Nodes of machines that stay, where they lack some.
    async fn set_up(
        &self,
        cluster: &Cluster,
        calls: Calls<'_>,
        hosts: &[Host],
        found: &BTreeMap<String, Status>,
    ) -> Result<(), CloudError> {
        let lacks = |host: &&Host| {
            let node = found.get(&host.name).and_then(Status::node);
            let stays = !self.leaving.contains(&host.name);
            stays && node.is_some_and(|node| !node.lacks(&cluster.settings).is_empty())
        };
        let lacking: Vec<Host> = hosts.iter().filter(lacks).cloned().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let object = machines_of(lacking.len());
        let set = cluster.nodes.set(&lacking, &cluster.settings);
        let call = async { set.await.map_err(CloudError::from) };
        calls.asked("Kubernetes Set", &object, call).await
    }

    /// Keeps new pods away from hosts that leave, for all at once, and begins to end their traffic
    /// where nothing comes in their place; answers what is worth a warning.
    pub(super) async fn prepare(
        &self,
        hosts: &[Host],
        scheduling: Scheduling,
    ) -> Result<Vec<Problem>, CloudError> {
        let mut warnings = Vec::new();
        if let Err(error) = self.schedule(hosts, scheduling).await {
            warnings.extend(self.give_up_cluster(error)?);
        }
        if let Some(members) = self.members().filter(|_| scheduling == Scheduling::Closed)
            && let Err(error) = self.calls.leave(members, hosts).await
        {
            warnings.extend(self.give_up_traffic(error)?);
        }
        Ok(warnings)
    }

    /// Says whether new pods may come to the Nodes of hosts.
    pub(super) async fn schedule(
        &self,
        hosts: &[Host],
        scheduling: Scheduling,
    ) -> Result<(), CloudError> {
        let Some(cluster) = self.cluster() else {
            return Ok(());
        };
        let Some(drain) = &cluster.drain else {
            return Ok(());
        };
        // What takes longer than a drain may is no help to it.
        let until = self
            .calls
            .deadline
            .min(Instant::now() + drain.timeout.min(RESTART));
        let calls = self.calls.until(until);
        let settings = Settings::scheduling(scheduling);
        let object = machines_of(hosts.len());
        let mut tries = 0;
        loop {
            let set = async {
                let set = cluster.nodes.set(hosts, &settings).await;
                set.map_err(CloudError::from)
            };
            let Err(error) = calls.asked("Kubernetes Set", &object, set).await else {
                return Ok(());
            };
            tries += 1;
            // However often: an API server that is restarted refuses quickly.
            if !calls.pause(&error, tries.min(TRIES - 1), until).await {
                return Err(error);
            }
        }
    }

    /// Takes back what was set on the Nodes of hosts that stay, also after an interrupt, until
    /// then.
    pub(super) async fn reopen(&self, hosts: &[Host], until: Instant) -> Result<(), CloudError> {
        let Some(cluster) = self.cluster() else {
            return Ok(());
        };
        let calls = self.calls.until(until);
        let settings = Settings::scheduling(Scheduling::Open);
        let (settings, object) = (&settings, machines_of(hosts.len()));
        let object = object.as_str();
        calls
            .persist(until, || {
                let call = async move {
                    let set = cluster.nodes.set(hosts, settings).await;
                    set.map_err(CloudError::from)
                };
                calls.answered("Kubernetes Set", object, Kind::Unavailable, call)
            })
            .await
    }

    /// Ends the traffic of a host that leaves and moves its pods away, so that it can be deleted;
    /// answers what is worth a warning. Nothing new comes to it before what runs on it is moved.
    pub(super) async fn depart(&self, host: &Host) -> Result<Vec<Problem>, Refusal> {
        let mut warnings = Vec::new();
        let hosts = std::slice::from_ref(host);
        if let Err(error) = self.schedule(hosts, Scheduling::Closed).await {
            warnings.extend(self.give_up_cluster(error).map_err(Refusal::Node)?);
        }
        if let Some(members) = self.members()
            && let Err(error) = self.end_traffic(members, host).await
        {
            warnings.extend(self.give_up_traffic(error).map_err(Refusal::Traffic)?);
        }
        warnings.extend(self.empty(host).await?);
        Ok(warnings)
    }

    async fn end_traffic(&self, members: &dyn Members, host: &Host) -> Result<(), CloudError> {
        let calls = &self.calls;
        calls.leave(members, std::slice::from_ref(host)).await?;
        calls.persist(calls.deadline, || members.left(host)).await
    }

    /// Removes the Nodes of hosts that no longer exist.
    pub(super) async fn forget(&self, hosts: &[Host], until: Instant) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let Some(cluster) = self.cluster().filter(|cluster| cluster.delete_node) else {
            return forgotten;
        };
        let object = machines_of(hosts.len());
        let object = object.as_str();
        let calls = self.calls.until(until);
        let removed = calls
            .persist(until, || {
                let call = async move {
                    let removed = cluster.nodes.forget(hosts).await;
                    removed.map_err(CloudError::from)
                };
                calls.answered("Kubernetes Delete", object, Kind::Unavailable, call)
            })
            .await;
        let Err(error) = removed else {
            return forgotten;
        };
        if self.goes_on() {
            forgotten.warnings.extend(self.report_cluster(&error));
            return forgotten;
        }
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let summary = match names.as_slice() {
            [name] => short("Could not remove the Node of", name),
            names => format!("Could not remove the Nodes of {} machines", names.len()),
        };
        // All were refused by one answer, and are told at once.
        forgotten.problems = vec![Problem::new(
            summary,
            format!(
                "{error}. Gone, and perhaps left as Nodes: {}. The next apply that changes a machine tries again; kubectl delete node does so now.",
                names.join(", ")
            ),
        )];
        forgotten.left = names.into_iter().map(str::to_owned).collect();
        forgotten
    }

    /// Whether machines go even where the cluster does not do its part.
    fn goes_on(&self) -> bool {
        let drain = self.cluster.and_then(|cluster| cluster.drain);
        let stays =
            drain.is_some_and(|drain| drain.after_timeout(self.destroys) == OnTimeout::Fail);
        self.destroys == Destroys::Group && !stays
    }

    /// What is to be said of a cluster that is asked nothing more; nothing where that has been
    /// said.
    ///
    /// # Errors
    /// The same where that ends the apply.
    pub(super) fn give_up_cluster(&self, error: CloudError) -> Result<Option<Problem>, CloudError> {
        match self.goes_on() {
            true => Ok(self.report_cluster(&error)),
            false => Err(error),
        }
    }

    fn report_cluster(&self, error: &CloudError) -> Option<Problem> {
        let is_first = !self.cluster_is_away.swap(true, Ordering::Relaxed);
        is_first.then(|| {
            Problem::new(
                "Cluster does not help to destroy the group",
                format!(
                    "{error}. The machines are deleted without it: their pods are not moved, and their Nodes may be left. \
                     With on_timeout = \"fail\" in drain they would stay. Remove Nodes that are left with kubectl delete node."
                ),
            )
        })
    }

    fn give_up_traffic(&self, error: CloudError) -> Result<Option<Problem>, CloudError> {
        if self.destroys != Destroys::Group {
            return Err(error);
        }
        let is_first = !self.traffic_is_stuck.swap(true, Ordering::Relaxed);
        let said = || {
            let mut problem = Problem::of("Traffic of the group could not be ended", &error);
            problem.detail = format!(
                "{} The machines are deleted all the same: what comes to them meanwhile is lost.",
                problem.detail
            );
            problem
        };
        Ok(is_first.then(said))
    }
}

/// What is to be said of Nodes that could not be removed.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    pub(super) warnings: Vec<Problem>,
    pub(super) problems: Vec<Problem>,
    /// Names of their machines.
    pub(super) left: Vec<String>,
}

impl Standing {
    /// Of a Node that is there, whose kubelet has to report this version, if any.
    fn of(status: &Status, version: Option<KubeletVersion>) -> Self {
        let node = status.node().cloned().unwrap_or_default();
        let is_other = version.is_some_and(|version| !version.is_reported_by(&node.kubelet));
        Self {
            serves: matches!(status, Status::Ready(_)) && !is_other,
            why: match (status, version) {
                (Status::Absent, _) => NO_NODE.to_owned(),
                (Status::NotReady(node, why), _) => {
                    format!("its Node {} is not ready: {why}", node.name)
                }
                (Status::Ready(_), Some(version)) if is_other => format!(
                    "its Node {} is ready, and its kubelet reports {:?}, where kubelet_version is {version}",
                    node.name, node.kubelet
                ),
                (Status::Ready(_), _) => String::new(),
            },
            // Of another version, or of none yet, it has not joined: who is named in state is not
            // asked again.
            node: match is_other {
                true => String::new(),
                false => node.name,
            },
            scheduling: node.scheduling,
        }
    }
}

impl From<NodeError> for CloudError {
    fn from(error: NodeError) -> Self {
        let kind = match (error.throttled, error.retryable) {
            (true, _) => Kind::RateLimit,
            (false, true) => Kind::Unavailable,
            (false, false) => Kind::Forbidden,
        };
        Self {
            retry_after: error.retry_after,
            ..Self::new(kind, error.action, error.object, error.message)
        }
    }
}

/// How long a cluster is asked to close a Node: its API server may be restarted meanwhile.
const RESTART: Duration = Duration::from_secs(300);
const NO_NODE: &str =
    "it has no Node in the cluster; on the machine, journalctl -u kubelet says why";
