//! Where machines of the cloud in memory get traffic: entered and taken out in tokio's time, with
//! trouble by script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::locked;
use crate::kubernetes::Host;
use crate::worker_group::cloud::{CloudError, Kind, Members};

/// Members by script: a machine gets traffic some time after it was entered, and some until some
/// time after it was taken out.
#[derive(Clone, Default)]
pub(crate) struct Balancer {
    pub(crate) serves_after: Duration,
    pub(crate) drain_takes: Duration,
    /// The next call is refused.
    pub(crate) refuses: Arc<Mutex<Option<Kind>>>,
    /// Every call to take machines out is refused.
    pub(crate) keeps: Option<Kind>,
    /// Whoever enters machines gets no answer.
    pub(crate) is_silent: bool,
    pub(crate) inner: Arc<Mutex<BalancerInner>>,
}

#[derive(Default)]
pub(crate) struct BalancerInner {
    members: BTreeMap<String, Member>,
    log: Vec<String>,
}

#[derive(Clone, Copy)]
enum Member {
    Since(Instant),
    Until(Instant),
}

impl Balancer {
    /// `enter w-u-0`, `leave w-u-0`, `out w-u-0`, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        locked(&self.inner).log.clone()
    }

    /// A machine that gets traffic since long ago.
    pub(crate) fn put(&self, name: &str) {
        let since = Instant::now() - self.serves_after;
        locked(&self.inner)
            .members
            .insert(name.to_owned(), Member::Since(since));
    }

    fn answer(&self, action: &'static str) -> Result<(), CloudError> {
        let refuses = locked(&self.refuses).take();
        match refuses.or(self.keeps.filter(|_| action == "Leave")) {
            None => Ok(()),
            Some(kind) => Err(CloudError::new(
                kind,
                action,
                "the balancer",
                format!("{kind:?}"),
            )),
        }
    }
}

#[async_trait]
impl Members for Balancer {
    async fn enter(&self, hosts: &[Host]) -> Result<BTreeSet<String>, CloudError> {
        if self.is_silent {
            return std::future::pending().await;
        }
        self.answer("Enter")?;
        let now = Instant::now();
        let mut inner = locked(&self.inner);
        let mut serve = BTreeSet::new();
        for host in hosts {
            match inner.members.get(&host.name) {
                Some(Member::Since(since)) if now >= *since + self.serves_after => {
                    serve.insert(host.name.clone());
                }
                Some(Member::Since(_)) => {}
                Some(Member::Until(_)) | None => {
                    inner.members.insert(host.name.clone(), Member::Since(now));
                    inner.log.push(format!("enter {}", host.name));
                }
            }
        }
        Ok(serve)
    }

    fn out(&self, hosts: &[Host]) -> BTreeSet<String> {
        let inner = locked(&self.inner);
        let is_out = |host: &&Host| matches!(inner.members.get(&host.name), Some(Member::Until(_)));
        let names = hosts.iter().filter(is_out);
        names.map(|host| host.name.clone()).collect()
    }

    async fn leave(&self, hosts: &[Host]) -> Result<(), CloudError> {
        self.answer("Leave")?;
        let mut inner = locked(&self.inner);
        for host in hosts {
            if let Some(Member::Since(_)) = inner.members.get(&host.name) {
                let until = Instant::now() + self.drain_takes;
                inner
                    .members
                    .insert(host.name.clone(), Member::Until(until));
                inner.log.push(format!("leave {}", host.name));
            }
        }
        Ok(())
    }

    async fn left(&self, host: &Host) -> Result<(), CloudError> {
        let member = locked(&self.inner).members.get(&host.name).copied();
        if let Some(Member::Until(until)) = member {
            tokio::time::sleep_until(until).await;
        }
        locked(&self.inner).log.push(format!("out {}", host.name));
        Ok(())
    }
}
