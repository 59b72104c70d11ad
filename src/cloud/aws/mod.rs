//! Amazon EC2: one RunInstances a machine, one DescribeInstances a page of the group.
//!
//! What a machine looks like is in `shape`, EC2's words are in `api`, what its refusals mean in `failure`, credentials and the scope in
//! `auth`, what is asked before an apply in `preflight`, what is changed on machines in `tags`, and where they get traffic in `targets`.
//! See: EC2 API reference, 2016-11-15.

mod api;
mod auth;
mod bounded;
mod failure;
mod health;
mod preflight;
mod renewal;
mod shape;
mod tagging;
mod tags;
mod targets;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use self::api::filter;
use self::auth::Session;
use self::failure::{fault, is_ambiguous, is_local_shortage};
use self::shape::Shape;
use self::targets::Targets;
use crate::cloud::pages::Pages;
use crate::flatcar::platform;
use crate::ignition::user_data::{Compress, pack};
use crate::provider::{Diagnostic, Diagnostics, Model as _, Value};
use crate::worker_group::cloud::{
    CLUSTER, Change, Cloud, CloudError, Connect, Deletion, Entry, GROUP, Growth, Kind, Machine,
    Mark, Members, Phase, Spec,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "aws",
    provider_schema: auth::provider_schema,
    group_schema: shape::group_schema,
    fields: &[
        ("subnet_ids", Change::Place),
        ("vpc_security_group_ids", Change::NowInPlace),
        ("data_volumes", Change::Set),
        ("target_group_arns", Change::InPlace),
        ("tags", Change::InPlace),
    ],
    set_hostname: false,
    platform: "aws",
    validate: shape::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> BoxFuture<'_, Result<Box<dyn Cloud>, Diagnostics>> {
    async move {
        let configuration = &connect.context.configuration;
        let session = connect
            .context
            .shared
            .try_of(|| Session::open(configuration))
            .await?;
        if let Some(expected) = connect.scope {
            check_scope(&session, expected).await?;
        }
        let arns = Shape::from_value(connect.shape).ok();
        let arns = arns.and_then(|shape| shape.target_group_arns);
        let arns = arns.into_iter().flatten().collect();
        let cloud: Box<dyn Cloud> = Box::new(Aws {
            targets: Targets::new(session.elb.clone(), arns),
            session,
            begun: Mutex::default(),
        });
        Ok(cloud)
    }
    .boxed()
}

/// The region is compared before anybody is asked.
async fn check_scope(session: &Session, expected: &str) -> Result<(), Diagnostics> {
    let region = expected.rsplit('/').next().unwrap_or(expected);
    let actual = if region == session.region {
        session.scope().await.map_err(|error| {
            Diagnostic::error(
                "Could not find out the AWS account",
                format!("{error}. Check the credentials of the provider block's aws."),
            )
        })?
    } else {
        format!("…/{}", session.region)
    };
    if actual == expected {
        return Ok(());
    }
    Err(Diagnostic::error(
        "The group is in another AWS account or region",
        format!(
            "State or import id name {expected}, and the provider is set up for {actual}. Use the credentials and the region of the former; \
             a group moves to another account or region by being made anew there."
        ),
    )
    .into())
}

/// EC2, for one group's shape.
struct Aws {
    session: Arc<Session>,
    targets: Targets,
    /// Which subnet a create ended with, as an index of [`api::subnets`]: a repeat must not begin with another one.
    begun: Mutex<HashMap<(String, u32), usize>>,
}

#[async_trait]
impl Cloud for Aws {
    async fn scope(&self) -> Result<String, CloudError> {
        self.session.scope().await
    }

    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        let filters = [
            filter(&format!("tag:{CLUSTER}"), [cluster]),
            filter(&format!("tag:{GROUP}"), [group]),
            filter("instance-state-name", api::ALIVE),
        ];
        let object = format!("{cluster}/{group}");
        let described = self.describe(&filters, &object);
        let (instances, ()) = tokio::try_join!(described, self.targets.look())?;
        let machine = |instance| Some(self.told(instance, api::machine(instance)?));
        let mut machines: Vec<Machine> = instances.iter().filter_map(machine).collect();
        // EC2's filters take `*` and `?` for patterns.
        machines.retain(|machine| machine.mark.cluster == cluster && machine.mark.group == group);
        self.remember_going(&machines);
        Ok(machines)
    }

    /// By filter: asked for by id, one that is unknown would hide the others.
    ///
    /// An instance that ended young and not by us is a failed one: its absence alone would not be believed yet, and it has something to
    /// say (a volume limit, a key that may not be used, a spot interruption).
    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        let mut machines = Vec::new();
        for ids in ids.chunks(FILTER_VALUES) {
            let instances = self
                .describe(
                    &[filter("instance-id", ids)],
                    &format!("{} instances", ids.len()),
                )
                .await?;
            let found = |instance| self.told(instance, api::found(instance));
            machines.extend(instances.iter().map(found));
        }
        machines.retain(|machine| {
            machine.phase != Phase::Failed
                || (is_young(machine) && !self.ended().contains(&machine.id))
        });
        self.remember_going(&machines);
        Ok(machines)
    }

    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError> {
        let shape = self.session.tagging.whole(read_shape(spec.shape)?);
        let user_data = user_data(spec)?;
        let subnets = api::subnets(&shape, spec.ordinal);
        let key = (spec.name.to_owned(), spec.attempt);
        let first = self.begun().get(&key).copied().unwrap_or(0);
        let mut shortage = None;
        for (index, subnet) in subnets.iter().enumerate().skip(first) {
            self.begun().insert(key.clone(), index);
            let sent = SystemTime::now();
            let request = api::run_instances(spec, &shape, &user_data, *subnet);
            let error = match request.send_with(&self.session.ec2).await {
                Ok(answer) => return self.born(answer.instances(), sent, spec).await,
                Err(error) => error,
            };
            let mut told = fault(RUN, spec.name, &error);
            if error.code() == Some("IdempotentParameterMismatch") {
                let token = api::client_token(spec, *subnet);
                return self.by_token(&token, spec, told).await;
            }
            if is_ambiguous(&error) {
                told.kind = Kind::Ambiguous;
                return Err(told);
            }
            if !is_local_shortage(error.code()) {
                return Err(told);
            }
            shortage = Some(told);
        }
        // Every subnet has said no, none of them holds a machine: the next try may begin anywhere.
        self.begun().remove(&key);
        Err(shortage.unwrap_or_else(|| CloudError {
            action: RUN,
            object: spec.name.to_owned(),
            kind: Kind::BadRequest,
            message: "no subnet to create it in".to_owned(),
            attribute: Some("aws.subnet_ids"),
            retry_after: None,
        }))
    }

    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        let answer = self
            .session
            .ec2
            .terminate_instances()
            .instance_ids(&machine.id)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let mut told = fault("EC2 TerminateInstances", &machine.name, &error);
                // Right after a create this answer proves nothing.
                let is_ended = self.ended().contains(&machine.id);
                if told.is_not_found() && is_young(machine) && !is_ended {
                    told.kind = Kind::Unavailable;
                }
                return if told.is_not_found() {
                    Ok(Deletion::Gone)
                } else {
                    Err(told)
                };
            }
        };
        self.ended().insert(machine.id.clone());
        // Before the call or after it: then there was nothing left to end.
        let terminated = answer.terminating_instances().iter().all(|change| {
            [change.previous_state(), change.current_state()]
                .into_iter()
                .flatten()
                .any(|state| state.name() == Some(&InstanceStateName::Terminated))
        });
        Ok(if terminated {
            Deletion::Gone
        } else {
            Deletion::Going
        })
    }

    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        self.rewrite(machines, mark, shape).await
    }

    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        self.start_stopped(machines).await
    }

    fn wanted(&self, shape: &Value) -> BTreeMap<String, String> {
        let wanted = |shape| self.session.tagging.watched(shape).wanted();
        Shape::from_value(shape).map_or_else(|_| BTreeMap::new(), wanted)
    }

    async fn preflight(
        &self,
        image: &str,
        shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        match Shape::from_value(shape) {
            Ok(shape) => {
                let shape = self.session.tagging.whole(shape);
                preflight::check(&self.session, image, &shape, growth).await
            }
            Err(problems) => Ok(problems),
        }
    }

    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        let ask = |latest: bool| {
            self.session
                .ec2
                .get_console_output()
                .instance_id(&machine.id)
                .latest(latest)
                .send()
        };
        // Only Nitro types have the latest; others have what they wrote at boot.
        let answer = match ask(true).await {
            Err(error) if error.code() == Some("UnsupportedOperation") => ask(false).await,
            answer => answer,
        };
        let answer =
            answer.map_err(|error| fault("EC2 GetConsoleOutput", &machine.name, &error))?;
        Ok(answer
            .output()
            .and_then(|text| STANDARD.decode(text.trim()).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .filter(|text| !text.trim().is_empty()))
    }

    fn members(&self) -> Option<&dyn Members> {
        Some(&self.targets)
    }

    fn consistency_window(&self) -> Duration {
        CONSISTENCY_WINDOW
    }

    fn poll_interval(&self) -> Duration {
        POLL_INTERVAL
    }
}

impl Aws {
    /// With what its target groups say of it.
    fn told(&self, instance: &Instance, mut machine: Machine) -> Machine {
        self.targets.tell(instance, &mut machine);
        self.session.tagging.overlook(&mut machine);
        machine
    }

    /// All pages.
    async fn describe(
        &self,
        filters: &[Filter],
        object: &str,
    ) -> Result<Vec<Instance>, CloudError> {
        let mut instances = Vec::new();
        let mut pages = Pages::new("EC2 DescribeInstances", object);
        let mut next = None;
        loop {
            let page = self
                .session
                .ec2
                .describe_instances()
                .set_filters(Some(filters.to_vec()))
                .max_results(PAGE)
                .set_next_token(next)
                .send()
                .await
                .map_err(|error| fault("EC2 DescribeInstances", object, &error))?;
            next = pages.next(page.next_token())?;
            for reservation in page.reservations.unwrap_or_default() {
                instances.extend(reservation.instances.unwrap_or_default());
            }
            if next.is_none() {
                return Ok(instances);
            }
        }
    }

    /// The machine of an answer. A token outlives its instance: an instance that is older than the call, or that this process has
    /// ended, is looked at again, for the answer to a repeat says what was true at first.
    async fn born(
        &self,
        instances: &[Instance],
        sent: SystemTime,
        spec: &Spec<'_>,
    ) -> Result<Machine, CloudError> {
        let Some(instance) = instances.first().filter(|one| one.instance_id().is_some()) else {
            return Err(unclear(spec.name, "an answer without an instance"));
        };
        let id = instance.instance_id().unwrap_or_default();
        let is_repeat = self.ended().contains(id)
            || api::launched(instance).is_some_and(|launched| launched + CLOCK_SKEW < sent);
        if is_repeat {
            let now = self
                .describe(&[filter("instance-id", [id])], spec.name)
                .await?;
            return Ok(match now.first() {
                Some(instance) => named(instance, spec),
                // Terminated so long ago that EC2 has forgotten it.
                None => Machine {
                    phase: Phase::Failed,
                    message: Some("the instance of this client token is gone".to_owned()),
                    ..named(instance, spec)
                },
            });
        }
        Ok(named(instance, spec))
    }

    /// Whose token was used with other parameters: this very machine's, made by another version of this provider or of its group, or
    /// somebody else's.
    async fn by_token(
        &self,
        token: &str,
        spec: &Spec<'_>,
        told: CloudError,
    ) -> Result<Machine, CloudError> {
        let instances = self
            .describe(&[filter("client-token", [token])], spec.name)
            .await?;
        let held = instances.iter().find_map(|one| holder(one, spec));
        held.ok_or(told)
    }

    /// What has been seen going is gone when it is seen no more.
    fn remember_going(&self, machines: &[Machine]) {
        let going = machines
            .iter()
            .filter(|machine| machine.phase == Phase::Deleting)
            .map(|machine| machine.id.clone());
        self.ended().extend(going);
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<(String, u32), usize>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<String>> {
        self.session
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether lists may not show it yet.
fn is_young(machine: &Machine) -> bool {
    machine
        .created
        .and_then(|created| created.elapsed().ok())
        .is_some_and(|age| age < CONSISTENCY_WINDOW)
}

/// RunInstances answers with the tags; should it not, they are those that were asked for.
fn named(instance: &Instance, spec: &Spec<'_>) -> Machine {
    api::machine(instance)
        .unwrap_or_else(|| api::machine_of(instance, spec.name, spec.mark.clone()))
}

/// The machine that has this spec's token, where the token is rightly its own. One that has ended, or is about to, holds the token for a
/// day and more whatever it was made from, and EC2 drops its tags some time after its end.
fn holder(instance: &Instance, spec: &Spec<'_>) -> Option<Machine> {
    let found = api::found(instance);
    let is_ours = found.mark.uid == spec.mark.uid;
    let is_same = found.mark.generation == spec.mark.generation && found.image == spec.image;
    let is_over = matches!(found.phase, Phase::Failed | Phase::Deleting);
    let is_held = match is_over {
        true => is_ours || found.mark.uid.is_empty(),
        false => is_ours && is_same,
    };
    is_held.then(|| named(instance, spec))
}

fn read_shape(shape: &Value) -> Result<Shape, CloudError> {
    Shape::from_value(shape).map_err(|problems| CloudError {
        action: RUN,
        object: "the shape".to_owned(),
        kind: Kind::BadRequest,
        message: problems
            .0
            .into_iter()
            .map(|problem| problem.detail)
            .collect(),
        attribute: Some("aws"),
        retry_after: None,
    })
}

/// Packed and encoded as EC2 takes it.
fn user_data(spec: &Spec<'_>) -> Result<String, CloudError> {
    let refuse = |message: String| CloudError {
        action: RUN,
        object: spec.name.to_owned(),
        kind: Kind::BadRequest,
        message,
        attribute: Some("user_data"),
        retry_after: None,
    };
    let text = std::str::from_utf8(spec.user_data).map_err(|error| refuse(error.to_string()))?;
    let Some(platform) = platform(ENTRY.platform) else {
        return Err(refuse("no platform of this name is known".to_owned()));
    };
    pack(text, platform, Compress::Auto)
        .map(|packed| packed.text)
        .map_err(|error| refuse(error.to_string()))
}

fn unclear(object: &str, message: &str) -> CloudError {
    CloudError {
        action: RUN,
        object: object.to_owned(),
        kind: Kind::Ambiguous,
        message: message.to_owned(),
        attribute: None,
        retry_after: None,
    }
}

const RUN: &str = "EC2 RunInstances";
/// DescribeInstances takes 5 to 1,000.
const PAGE: i32 = 1_000;
/// A filter takes 200 values.
const FILTER_VALUES: usize = 200;
/// Lists lag behind creates by seconds as a rule; Amazon advises to allow for five minutes.
const CONSISTENCY_WINDOW: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Clocks differ; EC2 counts launches in whole seconds.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
