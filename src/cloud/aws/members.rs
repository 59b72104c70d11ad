//! When machines get traffic: registered when they are ready, and deregistered, and waited for, before they go.
//!
//! In: hosts. Out: who gets traffic, by the last look at their target groups (`targets`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::health::Target;
use super::shape::id_of;
use super::targets::{Leaving, Targets};
use crate::kubernetes::Host;
use crate::worker_group::cloud::{CloudError, Members};

#[async_trait]
impl Members for Targets {
    /// By the last list: what is registered here gets traffic at the next one. A machine belongs where its tag says: one that was adopted
    /// is left as it is until a plan has shown what changes.
    async fn enter(&self, hosts: &[Host]) -> Result<BTreeSet<String>, CloudError> {
        for arn in &self.arns {
            let missing: Vec<String> = {
                let known = self.known();
                let is_in = |id: &str| known.target(arn, id).is_some_and(Target::is_in);
                let ids = hosts.iter().map(|host| host.id.clone());
                ids.filter(|id| known.is_of(arn, id) && !is_in(id))
                    .collect()
            };
            self.register(arn, &missing).await?;
        }
        let known = self.known();
        let serves = |host: &&Host| {
            let mut groups = self.arns.iter().filter(|arn| known.is_of(arn, &host.id));
            groups.all(|arn| known.target(arn, &host.id).is_some_and(Target::serves))
        };
        Ok(names(hosts.iter().filter(serves)))
    }

    fn out(&self, hosts: &[Host]) -> BTreeSet<String> {
        let known = self.known();
        // In one that is not on the list it may be still.
        let is_out_of = |id: &String, host: &Host| {
            let arn = self.arns.iter().find(|arn| id_of(arn) == id);
            arn.is_some_and(|arn| !known.target(arn, &host.id).is_some_and(Target::is_in))
        };
        let is_out = |host: &&Host| {
            let groups = known.claims.get(&host.id);
            let groups = groups.filter(|groups| !groups.is_empty() && known.health.is_some());
            groups.is_some_and(|groups| groups.iter().all(|id| is_out_of(id, host)))
        };
        names(hosts.iter().filter(is_out))
    }

    async fn leave(&self, hosts: &[Host]) -> Result<(), CloudError> {
        let mut by_id: BTreeMap<String, Vec<String>> = BTreeMap::new();
        {
            let known = self.known();
            let staying = hosts.iter().map(|host| &host.id);
            for host in staying.filter(|id| !known.leaving.contains_key(*id)) {
                let of_shape = self.arns.iter().map(|arn| id_of(arn));
                let claimed = known.claims.get(host).into_iter().flatten();
                let ids: BTreeSet<&str> = of_shape.chain(claimed.map(String::as_str)).collect();
                for id in ids {
                    by_id.entry(id.to_owned()).or_default().push(host.clone());
                }
            }
        }
        let arns = self.arns_of(&by_id.keys().cloned().collect()).await?;
        if arns.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.look_since(now.checked_sub(RECENT).unwrap_or(now))
            .await?;
        let mut leaving: HashMap<String, Leaving> = HashMap::new();
        for arn in arns {
            let instances = by_id.remove(id_of(&arn)).unwrap_or_default();
            let delay = self.delay(&arn).await;
            self.deregister(&arn, &instances).await?;
            let since = Instant::now();
            let known = self.known();
            for id in instances {
                let had_traffic = known.target(&arn, &id).is_some_and(Target::had_traffic);
                let leaving = leaving.entry(id).or_insert(Leaving {
                    since,
                    until: since,
                    arns: Vec::new(),
                });
                leaving.since = since;
                leaving.until = leaving.until.max(since + delay + PATIENCE);
                if had_traffic {
                    leaving.arns.push(arn.clone());
                }
            }
        }
        self.known().leaving.extend(leaving);
        Ok(())
    }

    async fn left(&self, host: &Host) -> Result<(), CloudError> {
        let leaving = self.known().leaving.get(&host.id).cloned();
        let Some(leaving) = leaving.filter(|leaving| !leaving.arns.is_empty()) else {
            return Ok(());
        };
        let mut pause = FIRST_POLL;
        loop {
            let now = Instant::now();
            let is_over = now >= leaving.until;
            let recent = now.checked_sub(pause).unwrap_or(now);
            match self.look_since(recent.max(leaving.since)).await {
                Ok(()) => {
                    let known = self.known();
                    let target = |arn| known.target(arn, &host.id);
                    let mut groups = leaving.arns.iter();
                    if groups.all(|arn| target(arn).is_none_or(Target::is_unused)) {
                        return Ok(());
                    }
                }
                // Once its time is over, nobody waits for an answer either.
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            }
            // Its connections have had the time that the target group gives them.
            if is_over {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(POLL);
        }
    }
}

fn names<'a>(hosts: impl Iterator<Item = &'a Host>) -> BTreeSet<String> {
    hosts.map(|host| host.name.clone()).collect()
}

/// A wait begins with shorter pauses, which grow to the longest.
const FIRST_POLL: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(5);
/// A look that is not older tells whether a machine has traffic.
const RECENT: Duration = Duration::from_secs(1);
/// How much longer than its delay a target group may show a target as draining.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::Client;
    use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
    use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Config, Credentials, Region};

    use super::*;

    #[tokio::test]
    async fn a_machine_whose_time_is_over_goes_even_if_nobody_answers() {
        // Bound and closed again: free, and nobody's.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let client = Client::from_conf(
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .credentials_provider(Credentials::new("a", "b", None, None, "a test"))
                .endpoint_url(format!("http://{address}"))
                .retry_config(RetryConfig::disabled())
                .build(),
        );
        let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
        let targets = Targets::new(client, vec![arn.to_owned()]);
        let now = Instant::now();
        let leaving = Leaving {
            since: now,
            until: now,
            arns: vec![arn.to_owned()],
        };
        targets.known().leaving.insert("i-0a".to_owned(), leaving);
        let host = Host {
            name: "w-u-0".to_owned(),
            id: "i-0a".to_owned(),
            addresses: Vec::new(),
        };
        let error = targets.look().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        targets.left(&host).await.unwrap();
    }
}
