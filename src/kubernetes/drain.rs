//! One drain: the pods of a Node are evicted, and awaited until they are gone and their volumes are
//! detached.
//!
//! One list and one watch of the Node's pods say how far it is, so a drain ends with its last pod
//! and not with the next look. What a budget forbids is asked for again, less and less often. See:
//! Kubernetes, API-initiated eviction (policy/v1).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::api::{Body, Call, Event, Failed, Rule, Watch, shown};
use super::connection::Connection;
use super::node::Found;

use super::pod::{Fate, Pod};
use super::{Drained, Eviction, Left, NodeError, Progress, Scheduling, Settings};

/// Drains a Node that is closed, for no longer than until then.
pub(super) async fn drained(
    connection: &Connection,
    node: Found,
    eviction: Eviction,
    deadline: Instant,
    progress: Progress<'_>,
) -> Result<Drained, NodeError> {
    if let Some(why) = node.excluded() {
        return Ok(Drained::Useless(why));
    }
    // It may have been registered anew since it was closed: what is moved would come back.
    if !node.unschedulable {
        let closed = Settings::scheduling(Scheduling::Closed);
        connection.write(node.clone(), &closed).await?;
    }
    let draining = Draining::new(connection, node, eviction, progress);
    draining.until(deadline).await
}

/// A drain under way.
struct Draining<'a> {
    connection: &'a Connection,
    node: Found,
    eviction: Eviction,
    progress: Progress<'a>,
    /// Those of the Node, by uid.
    pods: BTreeMap<String, Pod>,
    /// Uids of all that were ever there: a list that is made anew shows none of them for the first
    /// time.
    met: BTreeSet<String>,
    /// Those that were asked to go and have not been told to end, by uid.
    refused: BTreeMap<String, Refused>,
    /// Those that have been told to end.
    told: BTreeSet<String>,
    /// Those whose question is under way.
    asking: BTreeSet<String>,
    /// Controllers whose pods have been told to end.
    moved: BTreeSet<String>,
    /// Pods that such a controller has set here again although the Node is closed: nobody can move
    /// them.
    returned: BTreeSet<String>,
    /// When the Node is looked at again.
    look_at: Instant,
    /// Since when a drain has looked useless.
    useless_since: Option<Instant>,
    /// Whether a volume was attached, or a pod used one that goes.
    had_claims: bool,
    /// Volumes that are still attached.
    attached: Vec<Left>,
}

/// A pod that does not go yet.
struct Refused {
    why: String,
    again: Instant,
    pause: Duration,
}

type Asked = (String, Result<(), Failed>);

impl<'a> Draining<'a> {
    fn new(
        connection: &'a Connection,
        node: Found,
        eviction: Eviction,
        progress: Progress<'a>,
    ) -> Self {
        Self {
            connection,
            had_claims: node.has_volumes,
            node,
            eviction,
            progress,
            pods: BTreeMap::new(),
            met: BTreeSet::new(),
            refused: BTreeMap::new(),
            told: BTreeSet::new(),
            asking: BTreeSet::new(),
            moved: BTreeSet::new(),
            returned: BTreeSet::new(),
            look_at: Instant::now(),
            useless_since: None,
            attached: Vec::new(),
        }
    }

    async fn until(mut self, deadline: Instant) -> Result<Drained, NodeError> {
        match timeout_at(deadline, self.run()).await {
            Ok(ended) => ended,
            Err(_) => Ok(Drained::Left(self.left())),
        }
    }

    async fn run(&mut self) -> Result<Drained, NodeError> {
        if let Some(ended) = self.empty().await? {
            return Ok(ended);
        }
        let ended = match self.had_claims {
            true => self.detached().await?,
            false => None,
        };
        Ok(ended.unwrap_or(Drained::Empty))
    }

    /// Until no pod is left; or why that is not going to be.
    async fn empty(&mut self) -> Result<Option<Drained>, NodeError> {
        let mut watch = self.list().await?;
        if self.going().next().is_none() && self.in_the_way().is_empty() {
            return Ok(None);
        }
        let mut asked: FuturesUnordered<BoxFuture<'a, Asked>> = FuturesUnordered::new();
        loop {
            let in_the_way = self.in_the_way();
            if !in_the_way.is_empty() && self.eviction == Eviction::Allowed {
                return Ok(Some(Drained::InTheWay(in_the_way)));
            }
            if self.going().next().is_none() {
                let is_empty = in_the_way.is_empty();
                return Ok((!is_empty).then_some(Drained::Left(in_the_way)));
            }
            if let Some(ended) = self.look().await? {
                return Ok(Some(ended));
            }
            (self.progress)(&self.left());
            let next = self.ask(&mut asked);
            let next = next.map_or(self.look_at, |next| next.min(self.look_at));
            tokio::select! {
                Some((uid, answer)) = asked.next(), if !asked.is_empty() => self.answered(uid, answer)?,
                event = watch.next() => match event {
                    Ok(Some(event)) => self.happened(event),
                    // Also where what is watched has to be listed anew.
                    Ok(None) | Err(_) => {
                        sleep(PAUSE).await;
                        watch = self.list().await?;
                    }
                },
                () = sleep_until(next) => {}
            }
        }
    }

    /// Whether the drain goes on, asked now and then; how it has ended, if not.
    ///
    /// # Errors
    /// The cluster does not say, or the Node is another one by now.
    async fn look(&mut self) -> Result<Option<Drained>, NodeError> {
        if Instant::now() < self.look_at {
            return Ok(None);
        }
        self.look_at = Instant::now() + LOOK;
        match self.connection.node(&self.node.name).await? {
            Some(node) if node.uid == self.node.uid => self.node = node,
            Some(_) => {
                let replaced = Failed {
                    message: "the Node has been registered anew meanwhile".to_owned(),
                    ..Failed::default()
                };
                return Err(replaced.error("Kubernetes Drain", format!("Node {}", self.node.name)));
            }
            None => return Ok(Some(Drained::Empty)),
        }
        let Some(why) = self.useless().await? else {
            self.useless_since = None;
            return Ok(None);
        };
        let since = *self.useless_since.get_or_insert_with(Instant::now);
        let is_lasting = Instant::now() >= since + self.connection.patience;
        Ok(is_lasting.then_some(Drained::Useless(why)))
    }

    /// Lists the pods of the Node, and watches them from there.
    async fn list(&mut self) -> Result<Watch, NodeError> {
        let api = &self.connection.api;
        let selector = format!("spec.nodeName={}", self.node.name);
        let query = [("fieldSelector", selector.as_str())];
        let failed =
            |failed: Failed| failed.error("Kubernetes List", format!("pods of {selector}"));
        let (rules, eviction) = (self.connection.rules, self.eviction);
        let read = |pod: &Json| Pod::of(pod, &rules, eviction);
        let (pods, version) = api.list(PODS, &query, LIST, read).await.map_err(failed)?;
        let watch = api.watch(PODS, &query, &version, WATCH).await;
        self.pods.clear();
        for pod in pods {
            self.is_there(pod);
        }
        watch.map_err(failed)
    }

    fn happened(&mut self, event: Event) {
        let (pod, is_there) = match event {
            Event::Is(pod) => (pod, true),
            Event::Gone(pod) => (pod, false),
            Event::Bookmark(_) => return,
        };
        let pod = Pod::of(&pod, &self.connection.rules, self.eviction);
        match is_there {
            true => self.is_there(pod),
            false => self.gone(&pod.uid),
        }
    }

    fn is_there(&mut self, mut pod: Pod) {
        let is_new = self.met.insert(pod.uid.clone());
        let was_moved = |uid: &String| self.moved.contains(uid);
        if is_new && pod.tolerates_cordon && pod.controller.as_ref().is_some_and(was_moved) {
            self.returned.insert(pod.uid.clone());
        }
        if pod.fate == Fate::Goes && !pod.ends && self.returned.contains(&pod.uid) {
            pod.fate = Fate::Stays;
        }
        self.had_claims |= pod.fate == Fate::Goes && !pod.claims.is_empty();
        self.pods.insert(pod.uid.clone(), pod);
    }

    fn gone(&mut self, uid: &str) {
        self.refused.remove(uid);
        self.pods.remove(uid);
    }

    fn going(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter(|pod| pod.fate == Fate::Goes)
    }

    fn in_the_way(&self) -> Vec<Left> {
        let pods = self.pods.values().filter_map(|pod| match pod.fate {
            Fate::InTheWay(why) => Some(Left {
                pod: pod.shown(),
                why: why.to_owned(),
            }),
            Fate::Goes | Fate::Stays => None,
        });
        pods.collect()
    }

    fn left(&self) -> Vec<Left> {
        let why = |pod: &Pod| match self.refused.get(&pod.uid) {
            Some(refused) => refused.why.clone(),
            None => pod.lingers(),
        };
        let pods = self.going().map(|pod| Left {
            pod: pod.shown(),
            why: why(pod),
        });
        let left = pods.chain(self.attached.iter().cloned());
        match self.eviction {
            Eviction::Around => left.chain(self.in_the_way()).collect(),
            Eviction::Allowed | Eviction::Forced => left.collect(),
        }
    }

    /// Why evicting pods would help nobody, as it looks now: a kubelet that is away ends no pod,
    /// and pods need another Node. Where no other Node is up, none has been heard of for a while.
    async fn useless(&self) -> Result<Option<String>, NodeError> {
        if self.eviction == Eviction::Forced {
            return Ok(None);
        }
        let (nodes, _) = self.connection.listed().await?;
        let others = nodes.iter().filter(|node| node.uid != self.node.uid);
        let others: Vec<&Found> = others.collect();
        let any_up = others.iter().any(|node| node.is_up());
        if !self.node.is_up() && any_up {
            return Ok(Some(format!("its Node {} is not ready", self.node.name)));
        }
        let is_known = others.is_empty() || any_up;
        let takes = others.iter().any(|node| node.takes_pods()) || self.going().next().is_none();
        let nowhere = "there is no other Node that its pods could go to";
        Ok((is_known && !takes).then(|| nowhere.to_owned()))
    }

    /// Asks pods to go whose turn it is; when the next ones are to be asked.
    fn ask(&mut self, asked: &mut FuturesUnordered<BoxFuture<'a, Asked>>) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut asking = Vec::new();
        for pod in self.going() {
            let is_asked = self.told.contains(&pod.uid) || self.asking.contains(&pod.uid);
            if pod.ends || is_asked {
                continue;
            }
            let again = self
                .refused
                .get(&pod.uid)
                .map_or(now, |refused| refused.again);
            if again > now {
                next = Some(next.map_or(again, |next| next.min(again)));
            } else if asked.len() < AT_ONCE {
                asked.push(self.evicted(pod));
                asking.push(pod.uid.clone());
            }
        }
        self.asking.extend(asking);
        next
    }

    fn evicted(&self, pod: &Pod) -> BoxFuture<'a, Asked> {
        let api = &self.connection.api;
        let grace = self
            .connection
            .rules
            .grace_period
            // A part of a second is none that ends a pod at once.
            .map(|grace| grace.as_secs() + u64::from(grace.subsec_nanos() > 0));
        let mut options = json!({"preconditions": {"uid": pod.uid}});
        if let Some(seconds) = grace {
            options["gracePeriodSeconds"] = seconds.into();
        }
        let Pod {
            uid,
            namespace,
            name,
            ..
        } = pod.clone();
        let eviction = self.eviction;
        Box::pin(async move {
            let mut path = vec!["api", "v1", "namespaces", &namespace, "pods", &name];
            let (method, body, rule) = match eviction {
                Eviction::Forced => (Method::DELETE, options, DELETE),
                Eviction::Allowed | Eviction::Around => {
                    path.push("eviction");
                    let body = json!({
                        "apiVersion": "policy/v1",
                        "kind": "Eviction",
                        "metadata": {"namespace": namespace, "name": name},
                        "deleteOptions": options,
                    });
                    (Method::POST, body, EVICT)
                }
            };
            let call = Call {
                method,
                path: &path,
                query: &[],
                body: Some(Body::Json(body)),
                rule,
            };
            let answer = api.call(call).await.map(|_| ());
            (uid, answer)
        })
    }

    /// Takes in what became of the question whether a pod may go.
    ///
    /// # Errors
    /// Who is logged in may evict nothing.
    fn answered(&mut self, uid: String, answer: Result<(), Failed>) -> Result<(), NodeError> {
        self.asking.remove(&uid);
        if self.told.contains(&uid) || !self.pods.contains_key(&uid) {
            return Ok(());
        }
        let Err(failed) = answer else {
            self.refused.remove(&uid);
            let pod = self.pods.get(&uid);
            self.moved
                .extend(pod.and_then(|pod| pod.controller.clone()));
            self.told.insert(uid);
            return Ok(());
        };
        if failed.is_not_found() {
            self.gone(&uid);
            return Ok(());
        }
        // What an admission webhook says of one pod is no matter of the others.
        if failed.is_of_the_login() {
            let pod = self.pods.get(&uid).map(Pod::shown).unwrap_or_default();
            let action = match self.eviction {
                Eviction::Forced => "Kubernetes Delete",
                Eviction::Allowed | Eviction::Around => "Kubernetes Evict",
            };
            return Err(failed.error(action, format!("pod {pod}")));
        }
        let earlier = self.refused.remove(&uid).map(|refused| refused.pause);
        let pause = earlier.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        let refused = Refused {
            again: Instant::now()
                + failed
                    .retry_after
                    .map_or(pause, |asked| asked.clamp(FIRST_PAUSE, LONGEST_ASKED)),
            why: why(&failed),
            pause,
        };
        self.refused.insert(uid, refused);
        Ok(())
    }

    /// Until the volumes of pods that went are detached, or why that is not going to be: a disk
    /// that goes with its machine is lost for a while, or its detaching takes minutes.
    async fn detached(&mut self) -> Result<Option<Drained>, NodeError> {
        let stays = self.pods.values().map(|pod| pod.claims.len()).sum();
        loop {
            if let Some(ended) = self.look().await? {
                return Ok(Some(ended));
            }
            let listed = match self.connection.attachments().await {
                Ok(listed) => listed,
                Err(failed) if failed.is_not_found() => return Ok(None),
                Err(failed) => return Err(failed.error("Kubernetes List", "volumeattachments")),
            };
            let here = listed.iter().filter(|(node, _)| *node == self.node.name);
            let attached = here.map(|(_, volume)| Left {
                pod: format!("volume {}", shown(volume)),
                why: "it is still attached to the Node".to_owned(),
            });
            self.attached = attached.collect();
            if self.attached.len() <= stays {
                return Ok(None);
            }
            (self.progress)(&self.left());
            sleep(PAUSE).await;
        }
    }
}

/// Why a pod does not go, in the words of what keeps it.
fn why(failed: &Failed) -> String {
    let budget = failed
        .causes
        .iter()
        .find(|(reason, _)| reason == "DisruptionBudget");
    match (budget, failed.is_too_early()) {
        (Some((_, message)), _) if !message.is_empty() => message.clone(),
        _ => failed.message.clone(),
    }
}

const PODS: &[&str] = &["api", "v1", "pods"];
const LIST: Rule = ("", "pods", "list");
const WATCH: Rule = ("", "pods", "watch");
const EVICT: Rule = ("", "pods/eviction", "create");
const DELETE: Rule = ("", "pods", "delete");
/// Pods of one Node that are asked at a time.
const AT_ONCE: usize = 20;
/// Between questions for a pod that a budget keeps; a server seldom says when to come again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// However long a server asks to wait.
const LONGEST_ASKED: Duration = Duration::from_secs(60);
/// Between lists.
const PAUSE: Duration = Duration::from_secs(2);
/// Between looks at whether the Node still serves.
const LOOK: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::access::Access;
    use super::super::api::Api;
    use super::super::pod::Rules;
    use super::*;

    /// A pod that may come back to a closed Node, and whose controller makes it anew.
    fn pod(uid: &str) -> Pod {
        let pod = json!({
            "metadata": {"name": uid, "uid": uid, "ownerReferences": [{"kind": "ReplicaSet", "uid": "r", "controller": true}]},
            "spec": {"tolerations": [{"operator": "Exists"}]},
        });
        Pod::of(&pod, &Rules::default(), Eviction::Allowed)
    }

    #[test]
    fn a_pod_that_waits_for_its_budget_is_no_new_one_where_the_list_is_made_anew() {
        let access = Access {
            host: Some("http://127.0.0.1:1".to_owned()),
            ..Access::default()
        };
        let api = Api::new(access.endpoint(&|_| None).unwrap()).unwrap();
        let connection = Connection::new(Arc::new(api), Rules::default());
        let node = Found::of(&json!({"metadata": {"name": "n", "uid": "n"}}));
        let mut draining = Draining::new(&connection, node, Eviction::Allowed, &|_| {});
        for uid in ["goes", "waits"] {
            draining.is_there(pod(uid));
        }
        draining.answered("goes".to_owned(), Ok(())).unwrap();
        let fate = |draining: &Draining<'_>, uid: &str| draining.pods[uid].fate;
        draining.pods.clear();
        draining.is_there(pod("waits"));
        assert_eq!(fate(&draining, "waits"), Fate::Goes);
        // The successor of the first.
        draining.is_there(pod("successor"));
        assert_eq!(fate(&draining, "successor"), Fate::Stays);
    }
}
