//! KubeVirt: machines are VirtualMachines of another cluster, found by labels that carry their
//! mark.
//!
//! In: the group's questions. Out: calls of that cluster's API, by the client that `kubernetes`
//! has. Names are unique in a namespace: a create of one that is taken finds whose it is. The
//! machine is made first, then the Secret with its user data, which it owns; a machine whose create
//! came to an end between the two is as good as dead, and is told so. The shape is in `shape` and
//! `schema`, the provider block in `auth`; calls and what refusals mean are in `api`, what an image
//! stands for in `image`, bodies in `request`, answers in `machine`, `instance` and `events`, what
//! is asked before an apply in `preflight`, and what is changed in `change`. See: KubeVirt API v1.

mod api;
mod auth;
mod change;
mod events;
mod image;
mod instance;
mod machine;
mod preflight;
mod request;
mod schema;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt as _, TryStreamExt as _};

use self::api::{INSTANCES, MACHINES, NAMESPACES, SECRETS, Session};
use self::change::{Change as Changing, parts};
use self::image::{Source, misfit};
use self::instance::Instance;
use self::machine::{FACETS, Metadata, VirtualMachine, without_secret};
use self::shape::{Shape, is_label_value};
use crate::provider::Diagnostics;
use crate::worker_group::cloud::{
    Answered, Answers, CLUSTER, Change, CloudError, Connect, Connecting, Deletion, Entry, Facet,
    GROUP, Growth, Kind, Lack, Machine, Manner, Mark, Once, Phase, Pool, Spec, absent, all_of,
    read, some_at_a_time,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "kubevirt",
    provider_schema: auth::provider_schema,
    group_schema: schema::group_schema,
    fields: &[
        ("data_volumes", Change::Set),
        (shape::RUN_STRATEGY, Change::InPlace),
        (shape::LABELS, Change::InPlace),
        (shape::ANNOTATIONS, Change::InPlace),
    ],
    set_hostname: true,
    platform: "kubevirt",
    scope: "cluster or namespace",
    manner: Manner {
        // Lists are of the store's newest version.
        consistency_window: Duration::ZERO,
        poll_interval: Duration::from_secs(5),
        finds_one_by_one: true,
    },
    lacks: &[
        (
            Lack::Leftovers,
            "a machine owns its Secret and its DataVolumes, which go before it",
        ),
        (
            Lack::Members,
            "Services find the machines' pods by their labels",
        ),
    ],
    validate: shape::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let context = connect.context;
        let login = || async { auth::login(context) };
        let session: Arc<Session> = context.shared.try_of(login).await?;
        let named = connect.shape.field("namespace").text();
        // An import knows nothing but the scope.
        let of_scope = connect
            .scope
            .and_then(|scope| Some(scope.split_once('/')?.0));
        let of_scope = of_scope.filter(|_| connect.shape.is_null());
        let namespace = named.or(of_scope).filter(|name| shape::is_name(name));
        let cloud = KubeVirt {
            namespace: namespace.unwrap_or(&session.namespace).to_owned(),
            session,
            pool: Pool::default(),
            sources: Once::default(),
            creating: Mutex::default(),
            written: Mutex::default(),
        };
        Ok(cloud.opened())
    }
    .boxed()
}

/// A namespace of KubeVirt's cluster.
struct KubeVirt {
    session: Arc<Session>,
    namespace: String,
    /// Names that are being created.
    pool: Pool,
    /// Whether what the image stands for is there.
    sources: Once<()>,
    /// Machines that are made here, and whose Secrets are not yet.
    creating: Mutex<BTreeSet<String>>,
    /// Uids of machines whose Secrets are known to be there.
    written: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Answers for KubeVirt {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Answered<String> {
        let namespace = self
            .session
            .get(NAMESPACES, &self.namespace, &self.namespace)
            .await?;
        let uid = namespace["metadata"]["uid"].as_str().unwrap_or_default();
        Ok(format!("{}/{uid}", self.namespace))
    }

    async fn list(&self, cluster: &str, group: &str) -> Answered<Vec<Machine>> {
        let is_value = |text: &str| !text.is_empty() && is_label_value(text);
        if ![cluster, group].into_iter().all(is_value) {
            return Ok(Vec::new());
        }
        let selector = format!("{CLUSTER}={cluster},{GROUP}={group}");
        let query = [("labelSelector", selector.as_str())];
        let object = format!("{cluster}/{group}");
        let found: Vec<VirtualMachine> = self
            .session
            .list(MACHINES, &self.namespace, &query, &object)
            .await?;
        // Whatever is made here by now has its Secret before the next list.
        let creating: BTreeSet<String> = locked(&self.creating).clone();
        // Addresses are the instances'.
        let instances: Vec<Instance> = match found.iter().any(VirtualMachine::may_run) {
            true => {
                self.session
                    .list(INSTANCES, &self.namespace, &query, &object)
                    .await?
            }
            false => Vec::new(),
        };
        let instances: BTreeMap<&str, &Instance> = instances
            .iter()
            .map(|one| (one.metadata.name.as_str(), one))
            .collect();
        let written = locked(&self.written).clone();
        let awaited = found.iter().filter(|one| {
            let Metadata { name, uid, .. } = &one.metadata;
            one.may_lack_secret() && !creating.contains(name) && !written.contains(uid)
        });
        let lacking: BTreeSet<&str> = self.lacking(awaited.collect()).await?;
        let machines = found.iter().filter_map(|one| {
            let instance = instances.get(one.metadata.name.as_str()).copied();
            let instance = instance.filter(|instance| instance.is_of(one));
            let addresses = instance.map(Instance::addresses);
            let mut machine = one.machine(addresses.unwrap_or_default());
            if lacking.contains(one.metadata.uid.as_str()) {
                without_secret(&mut machine);
            }
            machine.mark.is_whole().then_some(machine)
        });
        Ok(machines.collect())
    }

    async fn find(&self, ids: &[String]) -> Answered<Vec<Machine>> {
        let calls = ids.iter().map(async |id| {
            let (name, uid) = parts(id);
            self.now(name, uid).await
        });
        let found: Vec<Option<Machine>> = some_at_a_time(calls.collect()).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn create(&self, spec: &Spec<'_>, shape: Shape, user_data: String) -> Answered<Machine> {
        let turn = self.pool.turn(spec.name);
        let _turn = turn.lock().await;
        let namespace = shape
            .namespace
            .clone()
            .unwrap_or_else(|| self.namespace.clone());
        let wrong =
            |words: String| CloudError::new(Kind::BadRequest, MACHINES.create(), spec.name, words);
        if let Some(why) = misfit(spec.image, &shape) {
            return Err(wrong(why).blaming("image"));
        }
        let Some(source) = Source::of(spec.image) else {
            return Err(wrong(format!("{} is no image", spec.image)).blaming("image"));
        };
        let there = || preflight::source(&self.session, &namespace, spec.image);
        self.sources
            .of(format!("{namespace} {}", spec.image), there)
            .await?;
        locked(&self.creating).insert(spec.name.to_owned());
        let made = self
            .made(spec, &shape, &namespace, source, &user_data)
            .await;
        locked(&self.creating).remove(spec.name);
        made
    }

    async fn delete(&self, machine: &Machine) -> Answered<Deletion> {
        let (name, uid) = parts(&machine.id);
        match self.session.delete(&self.namespace, name, uid).await? {
            Some(_) => Ok(Deletion::Going),
            None => Ok(Deletion::Gone),
        }
    }

    async fn mark(&self, machines: &[Machine], mark: &Mark, shape: Option<Shape>) -> Answered<()> {
        let change = Changing {
            session: &self.session,
            namespace: &self.namespace,
            mark,
        };
        change.carry_out(machines, shape.as_ref()).await
    }

    async fn start(&self, machines: &[Machine]) -> Answered<()> {
        let one = |machine| change::start(&self.session, &self.namespace, machine);
        all_of(machines.iter().map(one).collect()).await
    }

    fn wanted(&self, shape: &Shape) -> BTreeMap<String, String> {
        Facet::wanted(FACETS, shape)
    }

    async fn preflight(&self, image: &str, shape: Shape, growth: Growth) -> Answered<Diagnostics> {
        let namespace = shape.namespace.as_deref().unwrap_or(&self.namespace);
        preflight::check(&self.session, namespace, image, &shape, growth).await
    }

    /// KubeVirt shows a console to whoever stays connected; what became of the machine its events
    /// tell.
    async fn console(&self, machine: &Machine) -> Answered<Option<String>> {
        let (name, uid) = parts(&machine.id);
        if self.now(name, uid).await?.is_none() {
            let gone = "404: there is no such machine";
            return Err(CloudError::new(
                Kind::NotFound,
                "Kubernetes Get VirtualMachine",
                name,
                gone,
            ));
        }
        events::last(&self.session, &self.namespace, name).await
    }
}

impl KubeVirt {
    /// The machine, and its Secret after it: of what is there already, what is missing.
    async fn made(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        namespace: &str,
        source: Source<'_>,
        user_data: &str,
    ) -> Answered<Machine> {
        let body = request::machine(spec, shape, source.within(namespace), user_data);
        let made = self.session.create(MACHINES, namespace, body, false).await;
        let (made, is_new) = match made {
            Err(error) if error.kind == Kind::AlreadyExists => {
                (self.taken(spec, namespace, error).await?, false)
            }
            answer => (read::<VirtualMachine>(answer?, MACHINES.create())?, true),
        };
        if request::needs_secret(user_data) {
            let secret = request::secret(spec.name, &made.metadata.uid, spec.mark, user_data);
            match self.session.create(SECRETS, namespace, secret, false).await {
                Ok(_) => {}
                // An earlier try of this create has made it.
                Err(error) if error.kind == Kind::AlreadyExists && !is_new => {}
                // Of an earlier machine of the name: it goes once the collector has seen that.
                Err(error) if error.kind == Kind::AlreadyExists => {
                    return Err(error.being(Kind::Unavailable));
                }
                Err(error) => {
                    // Nobody tries again, and it would wait for ever.
                    if is_new && !error.is_retryable() {
                        let uid = &made.metadata.uid;
                        self.session.delete(namespace, spec.name, uid).await?;
                    }
                    return Err(error);
                }
            }
            locked(&self.written).insert(made.metadata.uid.clone());
        }
        Ok(match is_new {
            true => Machine {
                created: made.machine(Vec::new()).created,
                observed: self.wanted(shape),
                ..Machine::asked_for(spec, made.id())
            },
            false => {
                let machine = made.machine(Vec::new());
                // Its labels may have been taken off.
                let mark = match machine.mark.is_whole() {
                    true => machine.mark.clone(),
                    false => spec.mark.clone().over(&machine.mark),
                };
                Machine { mark, ..machine }
            }
        })
    }

    /// The machine of this very spec, if that has its name.
    async fn taken(
        &self,
        spec: &Spec<'_>,
        namespace: &str,
        error: CloudError,
    ) -> Answered<VirtualMachine> {
        let Some(answer) = absent(self.session.get(MACHINES, namespace, spec.name).await)? else {
            // It has gone meanwhile.
            return Err(error.being(Kind::Unavailable));
        };
        let holder: VirtualMachine = read(answer, MACHINES.create())?;
        if holder.is_of(spec) {
            return Ok(holder);
        }
        let (kind, state) = match holder.phase() {
            Phase::Deleting => (Kind::Unavailable, ", which is going"),
            _ => (Kind::AlreadyExists, ""),
        };
        let words = format!(
            "the name is taken by the machine {}{state}",
            holder.metadata.uid
        );
        Err(CloudError::new(kind, MACHINES.create(), spec.name, words))
    }

    /// Uids of those whose Secrets are not there. That is found out by a create that is only tried:
    /// nobody has to be allowed to read Secrets.
    async fn lacking<'a>(&self, machines: Vec<&'a VirtualMachine>) -> Answered<BTreeSet<&'a str>> {
        let calls = machines.into_iter().map(async |one| {
            let Metadata { name, uid, .. } = &one.metadata;
            let secret = request::secret(name, uid, &Mark::default(), "");
            let trial = self.session.create(SECRETS, &self.namespace, secret, true);
            let error = match trial.await {
                Ok(_) => return Ok(Some(uid.as_str())),
                Err(error) => error,
            };
            match error.kind {
                // Whoever may make none sees no difference.
                Kind::AlreadyExists | Kind::Forbidden => {
                    locked(&self.written).insert(uid.clone());
                    Ok(None)
                }
                Kind::Ambiguous => Err(error.being(Kind::Unavailable)),
                _ => Err(error),
            }
        });
        let found: Vec<Option<&str>> = some_at_a_time(calls.collect()).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The machine of this name, if it is of this uid.
    async fn now(&self, name: &str, uid: &str) -> Answered<Option<Machine>> {
        let Some(answer) = absent(self.session.get(MACHINES, &self.namespace, name).await)? else {
            return Ok(None);
        };
        let found: VirtualMachine = read(answer, "Kubernetes Get VirtualMachine")?;
        if found.metadata.uid != uid {
            return Ok(None);
        }
        let instance: Option<Instance> = match found.may_run() {
            true => {
                let answer = absent(self.session.get(INSTANCES, &self.namespace, name).await)?;
                answer
                    .map(|one| read(one, "Kubernetes Get VirtualMachineInstance"))
                    .transpose()?
            }
            false => None,
        };
        let instance = instance.filter(|one| one.is_of(&found));
        let addresses = instance.as_ref().map(Instance::addresses);
        Ok(Some(found.machine(addresses.unwrap_or_default())))
    }
}

fn locked(names: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
