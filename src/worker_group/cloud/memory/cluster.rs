//! A cluster in memory, in tokio's time, with trouble by script: what the engine's treatment of
//! Nodes is tested on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::locked;
use crate::kubernetes::{
    self, Drain, Drained, Eviction, Host, KubeletVersion, Left, Node, NodeError, Nodes, Progress,
    Scheduling, Settings, Status, Turn,
};

/// A cluster: a Node joins some time after its machine was first asked for.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) joins_after: Duration,
    pub(crate) drain_takes: Duration,
    /// What its group wants on its Nodes.
    pub(crate) settings: Mutex<Settings>,
    /// What kubelets of machines that join have to report.
    pub(crate) kubelet_version: Mutex<Option<KubeletVersion>>,
    pub(crate) inner: Mutex<Inner>,
    /// A status has changed.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct Inner {
    first_asked: BTreeMap<String, Instant>,
    /// Pods that no budget lets go, by host.
    stubborn: BTreeMap<String, Left>,
    /// Pods that the rules leave where they are, by host.
    blocking: BTreeMap<String, Left>,
    /// Hosts whose drain is of no use, and why.
    useless: BTreeMap<String, String>,
    /// Hosts whose Node is not ready, and why.
    unready: BTreeMap<String, String>,
    /// Hosts whose kubelet is of another version than `v1.34.2`.
    kubelets: BTreeMap<String, String>,
    scheduling: BTreeMap<String, Scheduling>,
    labels: BTreeMap<String, BTreeMap<String, String>>,
    always: Option<Trouble>,
    once: Vec<(Ask, Trouble)>,
    /// Who has the turn to move pods, and until when.
    turn: Option<(String, Instant)>,
    calls: BTreeMap<Ask, usize>,
    log: Vec<String>,
}

/// What a cluster is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    Status,
    Set,
    Drain,
    Forget,
    Turn,
}

/// What a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No answer.
    Silent,
    /// 503
    Unavailable,
    /// 403
    Forbidden,
}

impl Cluster {
    /// Every call meets trouble.
    pub(crate) fn always(&self, trouble: Trouble) {
        locked(&self.inner).always = Some(trouble);
    }

    /// One call of this kind meets trouble.
    pub(crate) fn order(&self, ask: Ask, trouble: Trouble) {
        locked(&self.inner).once.push((ask, trouble));
    }

    /// A pod that is not evicted, and why.
    pub(crate) fn keep(&self, host: &str, pod: &str, why: &str) {
        let left = Left {
            pod: pod.to_owned(),
            why: why.to_owned(),
        };
        locked(&self.inner).stubborn.insert(host.to_owned(), left);
    }

    /// A pod that the rules leave where it is, and why.
    pub(crate) fn block(&self, host: &str, pod: &str, why: &str) {
        let left = Left {
            pod: pod.to_owned(),
            why: why.to_owned(),
        };
        locked(&self.inner).blocking.insert(host.to_owned(), left);
    }

    /// Draining this host is of no use.
    pub(crate) fn spare(&self, host: &str, why: &str) {
        let mut inner = locked(&self.inner);
        inner.useless.insert(host.to_owned(), why.to_owned());
    }

    /// A Node is no longer ready, or (`""`) is again.
    pub(crate) fn unready(&self, host: &str, why: &str) {
        let mut inner = locked(&self.inner);
        match why {
            "" => inner.unready.remove(host),
            why => inner.unready.insert(host.to_owned(), why.to_owned()),
        };
        drop(inner);
        self.changed.notify_one();
    }

    /// The kubelet of this host is of this version.
    pub(crate) fn runs(&self, host: &str, kubelet: &str) {
        let mut inner = locked(&self.inner);
        inner.kubelets.insert(host.to_owned(), kubelet.to_owned());
    }

    /// A machine that has joined long ago.
    pub(crate) fn known(&self, host: &str) {
        let asked = Instant::now() - self.joins_after;
        let mut inner = locked(&self.inner);
        inner.first_asked.insert(host.to_owned(), asked);
    }

    /// Whether a machine has been seen to join, or to begin to.
    pub(crate) fn has_joined(&self, host: &str) -> bool {
        locked(&self.inner).first_asked.contains_key(host)
    }

    /// An apply that was cut off has left this.
    pub(crate) fn left(&self, host: &str, scheduling: Scheduling) {
        let mut inner = locked(&self.inner);
        inner.scheduling.insert(host.to_owned(), scheduling);
    }

    /// Hosts that are not open, and how they are.
    pub(crate) fn held(&self) -> Vec<(String, Scheduling)> {
        let held = locked(&self.inner).scheduling.clone();
        let held = held.into_iter();
        held.filter(|(_, scheduling)| *scheduling > Scheduling::Open)
            .collect()
    }

    /// Somebody has the turn to move pods, for so long.
    pub(crate) fn turn_of(&self, holder: &str, time: Duration) {
        let until = Instant::now() + time;
        locked(&self.inner).turn = Some((holder.to_owned(), until));
    }

    /// Who has it.
    pub(crate) fn has_turn(&self) -> Option<String> {
        let turn = locked(&self.inner).turn.clone();
        let turn = turn.filter(|(_, until)| *until > Instant::now());
        turn.map(|(holder, _)| holder)
    }

    /// Somebody has taken the labels off a Node.
    pub(crate) fn unlabel(&self, host: &str) {
        locked(&self.inner).labels.remove(host);
    }

    /// `label w-u-0 pool=a`, `close w-u-0`, `discourage w-u-0`, `open w-u-0`, `drain w-u-0`, `force
    /// w-u-0`, `forget w-u-0`, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        locked(&self.inner).log.clone()
    }

    /// How often it was asked.
    pub(crate) fn calls(&self, ask: Ask) -> usize {
        locked(&self.inner).calls.get(&ask).copied().unwrap_or(0)
    }

    async fn meets(&self, ask: Ask) -> Result<(), NodeError> {
        let trouble = {
            let mut inner = locked(&self.inner);
            *inner.calls.entry(ask).or_default() += 1;
            let at = inner.once.iter().position(|(known, _)| *known == ask);
            at.map(|at| inner.once.remove(at).1).or(inner.always)
        };
        let (message, retryable) = match trouble {
            None => return Ok(()),
            Some(Trouble::Silent) => return std::future::pending().await,
            Some(Trouble::Unavailable) => ("503 apiserver not ready", true),
            Some(Trouble::Forbidden) => ("403 nodes is forbidden", false),
        };
        Err(NodeError {
            action: "Kubernetes Test",
            object: format!("{ask:?}"),
            message: message.to_owned(),
            retryable,
            throttled: false,
            retry_after: None,
        })
    }
}

/// What an operation has of it, with a drain of this kind.
pub(crate) fn opened(cluster: &Arc<Cluster>, drain: Option<Drain>) -> kubernetes::Cluster {
    kubernetes::Cluster {
        nodes: Box::new(Connection(Arc::clone(cluster))),
        wait_for_node: true,
        kubelet_version: *locked(&cluster.kubelet_version),
        settings: locked(&cluster.settings).clone(),
        delete_node: true,
        drain,
    }
}

struct Connection(Arc<Cluster>);

#[async_trait]
impl Nodes for Connection {
    async fn status(&self, hosts: &[Host]) -> Result<BTreeMap<String, Status>, NodeError> {
        self.0.meets(Ask::Status).await?;
        let now = Instant::now();
        let mut inner = locked(&self.0.inner);
        let mut found = BTreeMap::new();
        for host in hosts {
            let name = host.name.clone();
            let first = *inner.first_asked.entry(name.clone()).or_insert(now);
            if now < first + self.0.joins_after {
                continue;
            }
            let node = Node {
                name: format!("node-{name}"),
                kubelet: match inner.kubelets.get(&name) {
                    Some(other) => other.clone(),
                    None => "v1.34.2".to_owned(),
                },
                labels: inner.labels.get(&name).cloned().unwrap_or_default(),
                own_labels: inner
                    .labels
                    .get(&name)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .cloned()
                    .collect(),
                scheduling: inner.scheduling.get(&name).copied().unwrap_or_default(),
                ..Node::default()
            };
            let status = match inner.unready.get(&name) {
                Some(why) => Status::NotReady(node, why.clone()),
                None => Status::Ready(node),
            };
            found.insert(name, status);
        }
        Ok(found)
    }

    async fn changed(&self) {
        let joining = {
            let inner = locked(&self.0.inner);
            let asked = inner.first_asked.values();
            let joins = asked.map(|first| *first + self.0.joins_after);
            joins.filter(|joins| *joins > Instant::now()).min()
        };
        let joins = async {
            match joining {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = joins => {}
            () = self.0.changed.notified() => {}
        }
    }

    async fn set(&self, hosts: &[Host], settings: &Settings) -> Result<(), NodeError> {
        self.0.meets(Ask::Set).await?;
        let mut inner = locked(&self.0.inner);
        for host in hosts {
            if let Some(labels) = &settings.labels {
                inner.labels.insert(host.name.clone(), labels.clone());
                let shown: Vec<String> = labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                inner.log.push(
                    format!("label {} {}", host.name, shown.join(","))
                        .trim_end()
                        .to_owned(),
                );
            }
            let Some(scheduling) = settings.scheduling else {
                continue;
            };
            let before = inner.scheduling.insert(host.name.clone(), scheduling);
            let word = match scheduling {
                Scheduling::Open => "open",
                Scheduling::Discouraged => "discourage",
                Scheduling::Closed => "close",
            };
            if before.unwrap_or_default() != scheduling {
                inner.log.push(format!("{word} {}", host.name));
            }
        }
        Ok(())
    }

    async fn drain(
        &self,
        host: &Host,
        eviction: Eviction,
        deadline: Instant,
        progress: Progress<'_>,
    ) -> Result<Drained, NodeError> {
        self.0.meets(Ask::Drain).await?;
        let (stays, blocks, useless) = {
            let inner = locked(&self.0.inner);
            let stays = inner.stubborn.get(&host.name).cloned();
            let blocks = inner.blocking.get(&host.name).cloned();
            (stays, blocks, inner.useless.get(&host.name).cloned())
        };
        if let Some(why) = useless {
            return Ok(Drained::Useless(why));
        }
        let blocks: Vec<Left> = blocks.into_iter().collect();
        if eviction == Eviction::Allowed && !blocks.is_empty() {
            return Ok(Drained::InTheWay(blocks));
        }
        let stays = stays.filter(|_| eviction != Eviction::Forced);
        let mut stays: Vec<Left> = stays.into_iter().collect();
        let ends = Instant::now() + self.0.drain_takes;
        if ends > Instant::now() || !stays.is_empty() {
            progress(&stays);
        }
        if !stays.is_empty() || ends > deadline {
            sleep_until(deadline).await;
            stays.extend(blocks);
            return Ok(Drained::Left(stays));
        }
        sleep_until(ends).await;
        let word = match eviction {
            Eviction::Allowed => "drain",
            Eviction::Around => "drain around",
            Eviction::Forced => "force",
        };
        locked(&self.0.inner)
            .log
            .push(format!("{word} {}", host.name));
        if eviction == Eviction::Around {
            return Ok(Drained::Left(blocks));
        }
        Ok(Drained::Empty)
    }

    async fn forget(&self, hosts: &[Host]) -> Result<(), NodeError> {
        self.0.meets(Ask::Forget).await?;
        let mut inner = locked(&self.0.inner);
        for host in hosts {
            inner.scheduling.remove(&host.name);
            inner.labels.remove(&host.name);
            inner.log.push(format!("forget {}", host.name));
        }
        Ok(())
    }

    async fn turn(&self, holder: &str) -> Result<Turn, NodeError> {
        self.0.meets(Ask::Turn).await?;
        match self.0.has_turn() {
            Some(other) if other != holder => Ok(Turn::Of(other)),
            _ => {
                self.0.turn_of(holder, Duration::from_secs(60));
                Ok(Turn::Ours)
            }
        }
    }

    async fn end_turn(&self, holder: &str) -> Result<(), NodeError> {
        if self.0.has_turn().as_deref() == Some(holder) {
            locked(&self.0.inner).turn = None;
        }
        Ok(())
    }
}
