//! Google Cloud: machines are instances of Compute Engine, found by labels that carry their mark.
//!
//! In: the group's questions. Out: calls of Compute Engine's API in JSON. What a create comes to
//! stands in its operation: where a zone has no room, the next one is tried. Names are unique in a
//! zone alone, so a create that may be in several looks for its name first. The shape is in
//! `shape`, the provider block in `auth`, logins in `credential` and `subject`; calls, operations
//! and what refusals mean are in `api`, bodies in `request`, answers in `instance` and `known`,
//! what is asked before an apply in `preflight`, what is changed in `change`, and where machines
//! get traffic in `groups`. See: Compute Engine API v1.

mod api;
mod auth;
mod change;
mod credential;
mod groups;
mod instance;
mod known;
mod preflight;
mod request;
mod shape;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt as _, TryStreamExt as _};

use self::api::{DONE, Session, elements};
use self::change::Change as Changing;
use self::groups::Groups;
use self::instance::{FACETS, FIELDS, Instance};
use self::known::{Known, path};
use self::shape::{GROUPS, Shape, TAGS, is_label_value};
use crate::http::api::Call;
use crate::provider::Diagnostics;
use crate::worker_group::cloud::{
    Answered, Answers, Backends as _, CLUSTER, Change, CloudError, Connect, Connecting, Deletion,
    Entry, Facet, GROUP, Growth, Kind, Lack, Machine, Manner, Mark, Members, Phase, Pool, Spec,
    Spread, Traffic, absent, all_of, in_turn, read, some_at_a_time,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "gcp",
    provider_schema: auth::provider_schema,
    group_schema: shape::group_schema,
    fields: &[
        ("zones", Change::Place),
        ("data_disks", Change::Set),
        (TAGS, Change::InPlace),
        ("deletion_protection", Change::InPlace),
        (GROUPS, Change::InPlace),
        ("labels", Change::InPlace),
        ("metadata", Change::InPlace),
    ],
    set_hostname: false,
    platform: "gcp",
    scope: "Google Cloud project",
    manner: Manner {
        // An instance is there before its create is answered; lists lag behind for moments.
        consistency_window: Duration::from_secs(10),
        poll_interval: Duration::from_secs(5),
        finds_one_by_one: true,
    },
    lacks: &[(
        Lack::Leftovers,
        "disks and external addresses go with their instance",
    )],
    validate: shape::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let context = connect.context;
        let login = || async { auth::login(ENTRY.settings(context)?).await };
        let session = context.shared.try_of(login).await?;
        let known = Arc::new(Known::default());
        let groups = Groups {
            session: Arc::clone(&session),
            known: Arc::clone(&known),
            left: Mutex::default(),
        };
        let links = connect.shape.field(GROUPS).elements().iter();
        let links: Vec<String> = links
            .filter_map(|link| link.text().map(str::to_owned))
            .collect();
        let cloud = Gcp {
            traffic: Traffic::new(groups, links.clone()),
            groups: links,
            session,
            known,
            spread: Spread::default(),
            pool: Pool::default(),
            ended: Mutex::default(),
        };
        Ok(cloud.opened())
    }
    .boxed()
}

/// Compute Engine, for one group's shape.
struct Gcp {
    session: Arc<Session>,
    known: Arc<Known>,
    traffic: Traffic<Groups>,
    /// The instance groups of the shape.
    groups: Vec<String>,
    spread: Spread,
    /// Names that are being created.
    pool: Pool,
    /// Ids of the instances that were deleted here: those that are only stopped look the same.
    ended: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Answers for Gcp {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Answered<String> {
        Ok(self.session.project.clone())
    }

    async fn list(&self, cluster: &str, group: &str) -> Answered<Vec<Machine>> {
        // No label has such a value, and filters may take it for something else.
        if ![cluster, group].into_iter().all(is_label_value) {
            return Ok(Vec::new());
        }
        let filter =
            format!("(labels.{CLUSTER} = \"{cluster}\") AND (labels.{GROUP} = \"{group}\")");
        let instances = self
            .instances(LIST, &format!("{cluster}/{group}"), &filter)
            .await?;
        // Who is in an instance group is told by name: which number has it is known by now.
        self.traffic.look().await?;
        let machines = instances
            .iter()
            .filter_map(|one| Some(self.told(one, one.machine()?)));
        Ok(machines.collect())
    }

    async fn find(&self, ids: &[String]) -> Answered<Vec<Machine>> {
        let calls = ids
            .iter()
            .map(async |id| self.known.now(&self.session, id, id).await);
        let found: Vec<Option<Instance>> = some_at_a_time(calls.collect()).try_collect().await?;
        let found = found.iter().flatten();
        Ok(found.map(|one| self.told(one, one.found())).collect())
    }

    async fn create(&self, spec: &Spec<'_>, shape: Shape, user_data: String) -> Answered<Machine> {
        let turn = self.pool.turn(spec.name);
        let _turn = turn.lock().await;
        let first = spec.ordinal + u64::from(spec.attempt);
        let zones = in_turn(&shape.zones, first);
        let zones: Vec<&str> = zones.iter().map(String::as_str).collect();
        // In one zone the name itself keeps a second one from being made.
        if zones.len() > 1 {
            let filter = format!("name = \"{}\"", spec.name);
            let instances = self.instances(INSERT, spec.name, &filter).await?;
            if let Some(instance) = instances.first() {
                return self.holder(instance, spec);
            }
        }
        let insert = |zone| self.insert(spec, &shape, &user_data, zone);
        let is_short = |error: &CloudError| error.kind == Kind::Quota;
        self.spread.create(spec, &zones, is_short, insert).await
    }

    async fn delete(&self, machine: &Machine) -> Answered<Deletion> {
        const DELETE: &str = "Compute instances.delete";
        let name = &machine.name;
        let call = Call::delete(path(&self.session, &machine.id, name)?);
        let answer = absent(self.session.send(DELETE, name, call).await);
        let has_ended = self.ended().contains(&machine.id);
        let operation = match answer {
            Ok(None) => return Ok(Deletion::Gone),
            // The first one is still under way.
            Err(error) if has_ended && error.kind == Kind::RateLimit => return Ok(Deletion::Going),
            answer => answer?.unwrap_or_default(),
        };
        self.ended().insert(machine.id.clone());
        self.known.forget(&machine.id);
        match operation["status"] == DONE {
            true => {
                let zone = machine.id.split('/').next().unwrap_or_default();
                self.session.finished(DELETE, name, zone, operation).await?;
                Ok(Deletion::Gone)
            }
            false => Ok(Deletion::Going),
        }
    }

    async fn mark(&self, machines: &[Machine], mark: &Mark, shape: Option<Shape>) -> Answered<()> {
        let change = Changing {
            session: &self.session,
            known: &self.known,
            mark,
        };
        match shape {
            None => change.mark(machines).await,
            Some(shape) => change.reshape(machines, &shape, &self.traffic).await,
        }
    }

    async fn start(&self, machines: &[Machine]) -> Answered<()> {
        let one = |machine| change::start(&self.session, &self.known, machine);
        all_of(machines.iter().map(one).collect()).await
    }

    fn wanted(&self, shape: &Shape) -> BTreeMap<String, String> {
        let mut wanted = Facet::wanted(FACETS, shape);
        let entered = Traffic::<Groups>::wanted(&shape.instance_groups).into_iter();
        wanted.extend(entered.map(|(link, entered)| (format!("{GROUPS}.{link}"), entered)));
        wanted
    }

    async fn preflight(&self, image: &str, shape: Shape, growth: Growth) -> Answered<Diagnostics> {
        preflight::check(&self.session, image, &shape, growth).await
    }

    async fn console(&self, machine: &Machine) -> Answered<Option<String>> {
        let at = path(&self.session, &machine.id, &machine.name)?;
        let call = Call::get(format!("{at}/serialPort")).query("port", "1");
        let action = "Compute instances.getSerialPortOutput";
        let answer = self.session.send(action, &machine.name, call).await?;
        let text = answer["contents"].as_str().map(str::to_owned);
        Ok(text.filter(|text| !text.trim().is_empty()))
    }

    fn members(&self) -> Option<&dyn Members> {
        Some(&self.traffic)
    }
}

impl Gcp {
    /// Those of all zones that a filter finds.
    async fn instances(
        &self,
        action: &'static str,
        object: &str,
        filter: &str,
    ) -> Answered<Vec<Instance>> {
        let fields =
            format!("nextPageToken,unreachables,items/*/warning/code,items/*/instances({FIELDS})");
        let at = self.session.path("aggregated/instances");
        let question = || {
            let call = Call::get(&at).query("filter", filter);
            call.query("fields", &fields).query("maxResults", PAGE)
        };
        let take = |items| elements::<Instance>(items, "instances", LIST);
        let instances = self.session.all(action, object, question, take).await?;
        self.known.remember(&instances);
        Ok(instances)
    }

    /// With what its instance groups say of it. Those of other zones are no business of its.
    fn told(&self, instance: &Instance, mut machine: Machine) -> Machine {
        if machine.phase == Phase::Stopped && self.ended().contains(&machine.id) {
            machine.phase = Phase::Deleting;
        }
        self.traffic.tell(&mut machine, instance.claims());
        let is_elsewhere =
            |link: &&String| shape::group(link).is_some_and(|(zone, _)| zone != instance.zone());
        let elsewhere = Traffic::<Groups>::wanted(self.groups.iter().filter(is_elsewhere));
        let elsewhere = elsewhere.into_iter();
        machine.observed.extend(
            elsewhere.map(|(link, entered)| (format!("{}.{link}", Groups::FIELD), entered)),
        );
        machine
    }

    /// One insert in one zone.
    async fn insert(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        user_data: &str,
        zone: &str,
    ) -> Answered<Machine> {
        let (session, name) = (&self.session, spec.name);
        let mut salt = String::new();
        loop {
            let body = request::insert(spec, shape, user_data, zone);
            let call = Call::post(session.path(&format!("zones/{zone}/instances")), body);
            let call = call.query("requestId", request::request_id(spec, zone, &salt));
            let operation = match session.send(INSERT, name, call).await {
                Err(error) if error.kind == Kind::AlreadyExists => {
                    return self.taken(spec, zone, error).await;
                }
                answer => answer?,
            };
            let text = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
            let (target, is_over) = (text("targetId"), operation["status"] == DONE);
            let (id, operation_name) = (format!("{zone}/{target}"), text("name"));
            match session.finished(INSERT, name, zone, operation).await {
                Ok(_) if target.is_empty() => {
                    let words = "an operation that names no instance";
                    return Err(CloudError::new(Kind::Ambiguous, INSERT, name, words));
                }
                // What is over at once is an answer that was given before: the instance may have
                // gone since.
                Ok(_) if is_over => return self.born(spec, shape, &id).await,
                Ok(_) => {
                    return Ok(Machine {
                        zone: zone.to_owned(),
                        observed: self.wanted(shape),
                        ..Machine::asked_for(spec, id)
                    });
                }
                // So is this one, and there may be room by now.
                Err(_) if is_over && salt.is_empty() => salt = operation_name,
                Err(error) => return Err(error),
            }
        }
    }

    async fn born(&self, spec: &Spec<'_>, shape: &Shape, id: &str) -> Answered<Machine> {
        let instance = self.known.now(&self.session, id, spec.name).await?;
        let machine = Machine {
            zone: id.split('/').next().unwrap_or_default().to_owned(),
            observed: self.wanted(shape),
            ..Machine::asked_for(spec, id)
        };
        Ok(match instance {
            Some(instance) => self.told(&instance, instance.machine().unwrap_or(machine)),
            None => Machine {
                phase: Phase::Failed,
                message: Some("the instance that this request has made is gone".to_owned()),
                ..machine
            },
        })
    }

    /// Whose the name is that a zone has given away.
    async fn taken(&self, spec: &Spec<'_>, zone: &str, error: CloudError) -> Answered<Machine> {
        let at = self
            .session
            .path(&format!("zones/{zone}/instances/{}", spec.name));
        let call = Call::get(at).query("fields", FIELDS);
        match absent(self.session.send(INSERT, spec.name, call).await)? {
            Some(answer) => {
                let instance: Instance = read(answer, INSERT)?;
                self.known.remember([&instance]);
                self.holder(&instance, spec)
            }
            // It has gone meanwhile.
            None => Err(error.being(Kind::Unavailable)),
        }
    }

    /// The machine of this very spec, if the instance that has its name is that.
    fn holder(&self, instance: &Instance, spec: &Spec<'_>) -> Answered<Machine> {
        let machine = self.told(instance, instance.found());
        if instance.is_of(spec) {
            // Its labels may have been taken off.
            let mark = spec.mark.clone().over(&machine.mark);
            let mark = if machine.mark.is_whole() {
                machine.mark.clone()
            } else {
                mark
            };
            return Ok(Machine { mark, ..machine });
        }
        let (kind, state) = match machine.phase {
            Phase::Deleting => (Kind::Unavailable, ", which is going"),
            _ => (Kind::AlreadyExists, ""),
        };
        let words = format!("the name is taken by instance {}{state}", machine.id);
        Err(CloudError::new(kind, INSERT, spec.name, words))
    }

    fn ended(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LIST: &str = "Compute instances.aggregatedList";
const INSERT: &str = "Compute instances.insert";
/// Google's own limit.
const PAGE: &str = "500";

#[cfg(test)]
mod tests;
