//! The Nodes of a group's machines: how each is, what is set on it, how it is emptied. What a
//! cluster is to the engine of worker groups.
//!
//! In: hosts (`{name: "w-u-0", id: "i-1"}`). Out: a [`Status`] of each, what could not be moved off
//! one ([`Left`]), errors. An implementation only asks and answers: when to ask again, how long to
//! wait, and what becomes of the machine are decided once, in `worker_group::roll`. A group that is
//! no part of a cluster has none of this, and makes no call.

pub mod access;
mod api;
mod chosen;
mod connection;
mod drain;
pub mod emptying;
mod endpoint;
pub mod ephemeral;
mod exec;
mod kubeconfig;
pub(crate) mod label;
mod node;
mod nodes;
mod pod;
pub mod provider_block;
pub mod resource;
mod token;
mod turn;
pub(crate) mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::api::Api;
#[cfg(feature = "kubevirt")]
pub(crate) use self::api::{Body, Call, Failed, Rule};
pub use self::connection::Connection;
pub use self::pod::Rules;
pub use self::version::KubeletVersion;

/// A machine as its Node is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The machine's name; the Node's too where the group sets host names.
    pub name: String,
    /// The cloud's own id, the last part of the Node's `spec.providerID`.
    pub id: String,
    /// To find a Node whose name the platform made.
    pub addresses: Vec<String>,
    /// When the machine was created, where its cloud says so: no Node of it is older.
    pub created: Option<SystemTime>,
}

/// How the Node of a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// There is none: the kubelet has not registered it, or somebody has removed it.
    Absent,
    /// It is there and does not serve; why, in the words of its conditions: `KubeletNotReady:
    /// container runtime network not ready`.
    NotReady(Node, String),
    /// It serves.
    Ready(Node),
}

impl Status {
    /// The Node, where there is one.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Status::Absent => None,
            Status::NotReady(node, _) | Status::Ready(node) => Some(node),
        }
    }
}

/// A Node as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The kubelet's version: `"v1.34.2"`.
    pub kubelet: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Keys of those that this provider has set and not taken back.
    pub own_labels: BTreeSet<String>,
    /// All its taints, but those by which [`Scheduling`] is said.
    pub taints: Vec<Taint>,
    /// Those that this provider has set and not taken back, whether they are there or not.
    pub own_taints: Vec<Taint>,
    /// What this provider has set on it and not taken back, be it in an apply that was cut off. A
    /// `kubectl cordon` of somebody else's is not shown here.
    pub scheduling: Scheduling,
}

impl Node {
    /// Whether these labels, and no others, are set by this provider.
    fn has_labels(&self, wanted: &BTreeMap<String, String>) -> bool {
        let is_there = |(key, value): (&String, &String)| self.labels.get(key) == Some(value);
        wanted.iter().all(is_there) && self.own_labels.iter().eq(wanted.keys())
    }

    fn has_taints(&self, wanted: &[Taint]) -> bool {
        let all = |some: &[Taint], others: &[Taint]| some.iter().all(|one| others.contains(one));
        all(wanted, &self.taints) && all(wanted, &self.own_taints) && all(&self.own_taints, wanted)
    }

    /// What of labels and taints is not as wanted: `node_labels`, `node_taints`.
    pub fn lacks(&self, settings: &Settings) -> Vec<&'static str> {
        let labels = settings.labels.as_ref();
        let taints = settings.taints.as_deref();
        let lacks = [
            (
                "node_labels",
                labels.is_some_and(|wanted| !self.has_labels(wanted)),
            ),
            (
                "node_taints",
                taints.is_some_and(|wanted| !self.has_taints(wanted)),
            ),
        ];
        let lacks = lacks.into_iter().filter(|(_, lacks)| *lacks);
        lacks.map(|(name, _)| name).collect()
    }
}

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// `example.com/gpu`
    pub key: String,
    /// `""`: none.
    pub value: String,
    /// What it does to pods.
    pub effect: Effect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Effect {
    /// All of them, in the API's words.
    pub const WORDS: [&'static str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

    /// Of the API's word.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }

    /// The API's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        match value.as_str() {
            "" => write!(f, "{key}:{}", effect.word()),
            value => write!(f, "{key}={value}:{}", effect.word()),
        }
    }
}

impl Taint {
    /// As it is displayed, and as kubectl takes it.
    fn parse(text: &str) -> Option<Self> {
        let (pair, effect) = text.rsplit_once(':')?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: Effect::of(effect)?,
        })
    }
}

/// Whether new pods come to a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Scheduling {
    /// As the cluster pleases.
    #[default]
    Open,
    /// Only where there is no other place: a taint of ours with the effect `PreferNoSchedule`.
    Discouraged,
    /// None: cordoned.
    Closed,
}

/// What is to be set on Nodes; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Of this provider's labels these, and no others; other people's stay.
    pub labels: Option<BTreeMap<String, String>>,
    /// Of this provider's taints these, and no others; other people's stay.
    pub taints: Option<Vec<Taint>>,
    /// [`Scheduling::Open`] takes back what this provider has set, and nothing of what somebody
    /// else has.
    pub scheduling: Option<Scheduling>,
}

impl Settings {
    /// Nothing but this.
    pub fn scheduling(scheduling: Scheduling) -> Self {
        Self {
            scheduling: Some(scheduling),
            ..Self::default()
        }
    }
}

/// How a Node is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// As PodDisruptionBudgets allow: what they forbid is asked for again until the deadline. No
    /// pod is moved where the rules leave one that is in the way.
    Allowed,
    /// The same around pods that are in the way, which are left in the end.
    Around,
    /// Without asking them.
    Forced,
}

/// How a drain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    /// What had to go is gone, or there is no Node.
    Empty,
    /// There was no use in it, and why: `the Node is not ready`, `there is no other Node to go to`,
    /// an annotation that excludes it.
    Useless(String),
    /// The rules leave these where they are, and so the Node would not be empty; nothing was moved.
    InTheWay(Vec<Left>),
    /// The deadline has passed, or only those are there that are in the way.
    Left(Vec<Left>),
}

/// A pod that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// `shop/web-0`
    pub pod: String,
    /// What keeps it: `budget shop/web allows no disruption`; `""` where it is just ending.
    pub why: String,
}

/// Called whenever that has changed, with the pods of a drain that are still there.
pub type Progress<'a> = &'a (dyn Fn(&[Left]) + Send + Sync);

/// The Nodes of one cluster, opened for one operation on one group. Calls are idempotent, made for
/// many hosts at once where they can be, and asked again by the caller while
/// [`NodeError::retryable`]. A call that is dropped leaves nothing half said: the next one goes on.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// How the Nodes of these hosts are, by host name; one that is missing in the answer is
    /// [`Status::Absent`]. One list for all.
    async fn status(&self, hosts: &[Host]) -> Result<BTreeMap<String, Status>, NodeError>;

    /// Answers once the status of a host of the last [`Nodes::status`] is another than it answered,
    /// by a watch. Where nothing can be watched it never answers: the caller looks now and then in
    /// any case.
    async fn changed(&self);

    /// Sets labels, taints and scheduling on the Nodes of these hosts. One without a Node is passed
    /// over.
    async fn set(&self, hosts: &[Host], settings: &Settings) -> Result<(), NodeError>;

    /// Moves the pods off the Node of a host that is closed, and answers when they are gone, or
    /// once the deadline has passed. A Node or a pod that vanishes meanwhile is a success.
    async fn drain(
        &self,
        host: &Host,
        eviction: Eviction,
        deadline: Instant,
        progress: Progress<'_>,
    ) -> Result<Drained, NodeError>;

    /// Removes the Nodes of hosts that no longer exist. One without a Node is passed over.
    async fn forget(&self, hosts: &[Host]) -> Result<(), NodeError>;

    /// Takes the turn to move pods in the cluster for this holder (`prod/workers-k3v9x2ab`), or
    /// keeps it; one that is not kept for a minute is lost.
    async fn turn(&self, holder: &str) -> Result<Turn, NodeError>;

    /// Gives it to whoever asks next; one that somebody else has stays theirs.
    async fn end_turn(&self, holder: &str) -> Result<(), NodeError>;
}

/// Whose turn it is to move pods in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Of whoever has asked.
    Ours,
    /// Of somebody else, by name.
    Of(String),
}

/// A cluster, opened for one operation, and what the group wants of it.
pub struct Cluster {
    /// The connection.
    pub nodes: Box<dyn Nodes>,
    /// Whether a machine counts only once its Node is ready.
    pub wait_for_node: bool,
    /// What the kubelet of a machine that joins has to report; `None`: nothing.
    pub kubelet_version: Option<KubeletVersion>,
    /// Labels and taints of all its Nodes; no scheduling.
    pub settings: Settings,
    /// Whether the Node of a machine that is gone is removed.
    pub delete_node: bool,
    /// `None`: nothing is closed, and no pod is moved.
    pub drain: Option<Drain>,
}

/// What becomes of pods when a machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long the pods of one Node may take; where the operation has less time, that counts.
    pub timeout: Duration,
    /// What comes after that; `None`: [`OnTimeout::Force`] where the whole group is destroyed, else
    /// [`OnTimeout::Fail`].
    pub on_timeout: Option<OnTimeout>,
}

/// What becomes of a machine whose Node could not be emptied in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimeout {
    /// It stays, and the apply ends with an error.
    Fail,
    /// Its pods are deleted without asking budgets, and it goes.
    Force,
    /// It goes with the pods that are left on it.
    Skip,
}

impl Drain {
    /// What comes after the time is over.
    pub fn after_timeout(&self, destroys: Destroys) -> OnTimeout {
        let default = match destroys {
            Destroys::Group => OnTimeout::Force,
            Destroys::Machines => OnTimeout::Fail,
        };
        self.on_timeout.unwrap_or(default)
    }
}

/// What an operation takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroys {
    /// The whole group: there may be nowhere for its pods to go.
    Group,
    /// No more than some machines.
    Machines,
}

/// What the cluster did not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// The API's word: `"Kubernetes Evict"`.
    pub action: &'static str,
    /// What it was about: a Node, a pod, `3 machines`.
    pub object: String,
    /// The cluster's own words, without secrets: `403 pods is forbidden: ...`.
    pub message: String,
    /// Whether the same call may succeed a little later.
    pub retryable: bool,
    /// Whether it asks to be asked less often.
    pub throttled: bool,
    /// How long the cluster asked to wait.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            object,
            message,
            ..
        } = self;
        write!(f, "{action} for {object} answered {message}")
    }
}

impl std::error::Error for NodeError {}

#[cfg(test)]
mod tests;
