//! Unmanaged instance groups, by which load balancers find instances: who is in them, and how that
//! is changed.
//!
//! In: an instance group's link, and ids of instances. Out: who is in it, by one list of all. A
//! group is of one zone, so an instance is only in those of its own. A load balancer lets an
//! instance that was taken out finish for as long as its backend service says. When machines are
//! entered and taken out is in `worker_group::cloud`'s `traffic`. See: Compute Engine API v1,
//! `instanceGroups`, `backendServices`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::api::{Session, elements, region_of, tail};
use super::instance::claim;
use super::known::Known;
use super::shape::{GROUPS, group};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, Backends, CloudError, Kind, Member, absent, read};

/// The instance groups of one group of machines.
pub(super) struct Groups {
    pub(super) session: Arc<Session>,
    pub(super) known: Arc<Known>,
    pub(super) left: Mutex<Left>,
}

/// Who was taken out, and how long connections may last then, by instance group.
#[derive(Default)]
pub(super) struct Left {
    since: HashMap<(String, String), Instant>,
    delays: HashMap<String, Duration>,
}

#[async_trait]
impl Backends for Groups {
    const FIELD: &'static str = GROUPS;
    const AT_ONCE: usize = 100;

    fn name_of(link: &str) -> &str {
        link.rsplit_once("/zones/").map_or(link, |(_, name)| name)
    }

    fn fresh(_: &str) -> Member {
        entered()
    }

    async fn members(&self, link: &str) -> Answered<HashMap<String, Member>> {
        let mut members: HashMap<String, Member> = self
            .finishing(link)
            .into_iter()
            .map(|id| (id, finishing()))
            .collect();
        let listed = self.listed(link).await?.into_iter();
        members.extend(listed.map(|id| (id, entered())));
        Ok(members)
    }

    async fn enter(&self, link: &str, ids: &[String]) -> Answered<()> {
        let ids = in_zone(link, ids);
        let answer = self.ask(link, "addInstances", ADD, &ids).await;
        let Err(error) = answer else {
            return Ok(());
        };
        if error.kind != Kind::BadRequest {
            return Err(error.blaming(ATTRIBUTE));
        }
        // One that is in it already makes Google refuse them all.
        let inside = self.listed(link).await?;
        let outside: Vec<&String> = ids.into_iter().filter(|id| !inside.contains(*id)).collect();
        match inside.is_empty() {
            true => Err(error.blaming(ATTRIBUTE)),
            false => self.ask(link, "addInstances", ADD, &outside).await,
        }
    }

    async fn take_out(&self, link: &str, ids: &[String]) -> Answered<()> {
        let ids = in_zone(link, ids);
        let gone: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        let answer = self.ask(link, "removeInstances", REMOVE, &ids).await;
        match answer {
            // One that is not in it makes Google refuse them all.
            Err(error) if matches!(error.kind, Kind::BadRequest | Kind::NotFound) => {
                let inside = self.listed(link).await?;
                let inside: Vec<&String> =
                    ids.into_iter().filter(|id| inside.contains(*id)).collect();
                self.ask(link, "removeInstances", REMOVE, &inside).await?;
            }
            answer => answer?,
        }
        let now = Instant::now();
        let out = gone.into_iter().map(|id| ((link.to_owned(), id), now));
        self.left().since.extend(out);
        Ok(())
    }

    /// All of them: what does not exist has no members, and loses none.
    async fn named(&self, names: &BTreeSet<String>) -> Answered<Vec<String>> {
        let links = names
            .iter()
            .map(|name| self.session.path(&format!("zones/{name}")));
        Ok(links.collect())
    }

    async fn delay(&self, link: &str) -> Answered<Duration> {
        let delay = self.asked_delay(link).await;
        let delay = delay.map_err(|error| error.blaming(ATTRIBUTE))?;
        self.left().delays.insert(link.to_owned(), delay);
        Ok(delay)
    }
}

impl Groups {
    /// Ids of the instances that it lists; none where it does not exist.
    async fn listed(&self, link: &str) -> Answered<BTreeSet<String>> {
        const LIST: &str = "Compute instanceGroups.listInstances";
        let question = || {
            let body = json!({"instanceState": "ALL"});
            let call = Call::post(format!("{}/listInstances", place(link)), body).repeatable();
            call.query("maxResults", PAGE)
        };
        let take = |items: Json| match items {
            Json::Null => Ok(Vec::new()),
            items => read::<Vec<Listed>>(items, LIST),
        };
        let listed = self.session.all(LIST, tail(link), question, take).await;
        let listed = absent(listed)?.unwrap_or_default().into_iter();
        let (zone, _) = group(link).unwrap_or_default();
        let ids = listed.filter_map(|one| self.known.id_of(zone, tail(&one.instance)));
        Ok(ids.collect())
    }

    async fn ask(
        &self,
        link: &str,
        verb: &str,
        action: &'static str,
        ids: &[&String],
    ) -> Answered<()> {
        let (zone, name) = group(link).unwrap_or_default();
        let project = &self.session.project;
        let mut instances: Vec<Json> = Vec::new();
        for id in ids {
            let member = match self.known.name_of(id) {
                Some(member) => Some(member),
                None => {
                    let instance = self.known.now(&self.session, id, id).await?;
                    instance.map(|instance| instance.name)
                }
            };
            // What does not exist is in no group.
            if let Some(member) = member {
                instances.push(json!({"instance": format!("{HOST}/projects/{project}/zones/{zone}/instances/{member}")}));
            }
        }
        if instances.is_empty() {
            return Ok(());
        }
        let call = Call::post(
            format!("{}/{verb}", place(link)),
            json!({"instances": instances}),
        );
        let operation = self.session.send(action, name, call.repeatable()).await?;
        self.session
            .finished(action, name, zone, operation)
            .await
            .map(drop)
    }

    /// The longest of the backend services that send to it.
    async fn asked_delay(&self, link: &str) -> Result<Duration, CloudError> {
        const LIST: &str = "Compute backendServices.aggregatedList";
        let fields = "nextPageToken,unreachables,items/*/warning/code,items/*/backendServices(backends/group,connectionDraining)";
        let project = self.session.path("aggregated/backendServices");
        let question = || {
            Call::get(&project)
                .query("fields", fields)
                .query("maxResults", PAGE)
        };
        let take = |items| elements::<Json>(items, "backendServices", LIST);
        // Balancers of other regions send nothing here.
        let (zone, _) = group(link).unwrap_or_default();
        let sends_here = |scope: &str| scope == "global" || scope == region_of(zone);
        let services = self
            .session
            .all_of(LIST, tail(link), sends_here, question, take)
            .await?;
        let sends = |service: &&Json| {
            let backends = service["backends"].as_array().into_iter().flatten();
            let mut groups = backends.filter_map(|backend| backend["group"].as_str());
            groups.any(|of| Self::name_of(of) == Self::name_of(link))
        };
        let seconds = services.iter().filter(sends);
        let seconds =
            seconds.filter_map(|of| of["connectionDraining"]["drainingTimeoutSec"].as_u64());
        Ok(Duration::from_secs(seconds.max().unwrap_or(0)).min(LONGEST_DELAY))
    }

    /// Those whose connections may last.
    fn finishing(&self, link: &str) -> Vec<String> {
        let mut left = self.left();
        let Left { since, delays } = &mut *left;
        since.retain(|(of, _), since| delays.get(of).is_some_and(|delay| since.elapsed() < *delay));
        let of_link = since.keys().filter(|(of, _)| of == link);
        of_link.map(|(_, id)| id.clone()).collect()
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Listed {
    instance: String,
}

/// Nobody judges it here: it serves.
fn entered() -> Member {
    Member {
        serves: true,
        stays: true,
        had_traffic: true,
        is_unused: false,
        words: String::new(),
    }
}

fn finishing() -> Member {
    Member {
        serves: false,
        stays: false,
        words: "taken out".to_owned(),
        ..entered()
    }
}

/// `projects/p/zones/z/instanceGroups/g`
fn place(link: &str) -> &str {
    link.find("projects/").map_or(link, |at| &link[at..])
}

fn in_zone<'a>(link: &str, ids: &'a [String]) -> Vec<&'a String> {
    let (zone, _) = group(link).unwrap_or_default();
    let is_there = |id: &&String| id.split_once('/').is_some_and(|(of, _)| of == zone);
    ids.iter().filter(is_there).collect()
}

/// Of these instance groups, those of a zone.
pub(super) fn claims_of(zone: &str, claims: &BTreeSet<String>) -> BTreeSet<String> {
    let begins = claim(zone, "");
    let own = claims.iter().filter(|claim| claim.starts_with(&begins));
    own.cloned().collect()
}

const ADD: &str = "Compute instanceGroups.addInstances";
const REMOVE: &str = "Compute instanceGroups.removeInstances";
const ATTRIBUTE: &str = "gcp.instance_groups";
const HOST: &str = "https://www.googleapis.com/compute/v1";
const PAGE: &str = "500";
/// Of `drainingTimeoutSec`.
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);
