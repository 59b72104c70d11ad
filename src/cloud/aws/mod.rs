//! Amazon EC2: one RunInstances a machine, one DescribeInstances a page of the group.
//!
//! The shape is in `shape` and `checks`, requests are in `api`, answers in `seen` and `instances`,
//! refusals in `failure`, the provider block in `settings`, logins and the scope in `auth`, what is
//! changed on machines in `tags`, and where they get traffic in `targets`.
//! See: EC2 API reference, 2016-11-15.

mod api;
mod auth;
mod bounded;
mod checks;
mod failure;
mod health;
mod instances;
mod preflight;
mod renewal;
mod seen;
mod settings;
mod shape;
mod tags;
mod targets;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;

use self::api::filter;
use self::auth::Session;
use self::failure::{asked, fault_of_create, is_local_shortage};
use self::instances::CONSISTENCY_WINDOW;
use self::shape::Shape;
use self::targets::{TargetGroups, Targets};
use crate::provider::Diagnostics;
use crate::worker_group::cloud::{
    Answered, Answers, CLUSTER, Change, CloudError, Connect, Connecting, Deletion, Entry, Facet,
    GROUP, Growth, Kind, Lack, Looks, Machine, Manner, Mark, Members, Phase, Spec, Spread,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "aws",
    provider_schema: settings::provider_schema,
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
    scope: "AWS account or region",
    manner: Manner {
        consistency_window: CONSISTENCY_WINDOW,
        poll_interval: Duration::from_secs(5),
        finds_one_by_one: false,
    },
    lacks: &[(
        Lack::Leftovers,
        "volumes and interfaces go with their instance",
    )],
    validate: checks::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let context = connect.context;
        let open = || async { Session::open(ENTRY.settings(context)?).await };
        let session = context.shared.try_of(open).await?;
        // The region is compared before anybody is asked for the account.
        if let Some(expected) = connect.scope
            && expected.rsplit('/').next() != Some(&session.region)
        {
            return Err(ENTRY.elsewhere(expected, &format!("…/{}", session.region)));
        }
        let arns = connect.shape.field("target_group_arns").elements().iter();
        let arns = arns.filter_map(|arn| arn.text().map(str::to_owned));
        let cloud = Aws {
            targets: Targets::new(TargetGroups(session.elb.clone()), arns.collect()),
            session,
            spread: Spread::default(),
        };
        Ok(cloud.opened())
    }
    .boxed()
}

/// EC2, for one group's shape.
struct Aws {
    session: Arc<Session>,
    targets: Targets,
    spread: Spread,
}

#[async_trait]
impl Answers for Aws {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Answered<String> {
        self.session.scope().await
    }

    async fn list(&self, cluster: &str, group: &str) -> Answered<Vec<Machine>> {
        let filters = [
            filter(&format!("tag:{CLUSTER}"), [cluster]),
            filter(&format!("tag:{GROUP}"), [group]),
            filter("instance-state-name", seen::ALIVE),
        ];
        let object = format!("{cluster}/{group}");
        let described = self.session.describe(&filters, &object);
        let (instances, ()) = tokio::try_join!(described, self.targets.look())?;
        let machine = |instance| Some(self.told(instance, seen::machine(instance)?));
        let mut machines: Vec<Machine> = instances.iter().filter_map(machine).collect();
        // EC2's filters take `*` and `?` for patterns.
        machines.retain(|machine| machine.mark.cluster == cluster && machine.mark.group == group);
        self.remember_going(&machines);
        Ok(machines)
    }

    async fn find(&self, ids: &[String]) -> Answered<Vec<Machine>> {
        let instances = self.session.existing(ids).await?;
        let found = |instance| self.told(instance, seen::found(instance));
        let machines: Vec<Machine> = instances.iter().map(found).collect();
        self.remember_going(&machines);
        Ok(machines)
    }

    async fn create(&self, spec: &Spec<'_>, shape: Shape, user_data: String) -> Answered<Machine> {
        let shape = self.whole(shape);
        let subnets = api::subnets(&shape, spec.ordinal);
        let run = |subnet| self.run(spec, &shape, &user_data, subnet);
        let made = self.spread.create(spec, &subnets, is_local_shortage, run);
        made.await
    }

    async fn delete(&self, machine: &Machine) -> Answered<Deletion> {
        let call = self.session.ec2.terminate_instances();
        let call = call.instance_ids(&machine.id);
        let answer = match asked("EC2 TerminateInstances", &machine.name, call.send()).await {
            // Right after a create this answer proves nothing.
            Err(error) if error.is_not_found() => {
                return match self.session.may_be_hidden(machine) {
                    true => Err(error.being(Kind::Unavailable)),
                    false => Ok(Deletion::Gone),
                };
            }
            answer => answer?,
        };
        self.session.ended().insert(machine.id.clone());
        // Before the call or after it: then there was nothing left to end.
        let is_over = answer.terminating_instances().iter().all(|change| {
            let states = [change.previous_state(), change.current_state()];
            let mut states = states.into_iter().flatten();
            states.any(|state| state.name() == Some(&InstanceStateName::Terminated))
        });
        Ok(match is_over {
            true => Deletion::Gone,
            false => Deletion::Going,
        })
    }

    async fn mark(&self, machines: &[Machine], mark: &Mark, shape: Option<Shape>) -> Answered<()> {
        tags::rewrite(&self.session, &self.targets, machines, mark, shape).await
    }

    async fn start(&self, machines: &[Machine]) -> Answered<()> {
        tags::start(&self.session, machines).await
    }

    fn wanted(&self, shape: &Shape) -> Looks {
        let tags = self.session.tagging.watched(shape.tags.clone());
        let shape = shape.clone();
        Facet::wanted(seen::FACETS, &Shape { tags, ..shape })
    }

    async fn preflight(&self, image: &str, shape: Shape, growth: Growth) -> Answered<Diagnostics> {
        let shape = self.whole(shape);
        preflight::check(&self.session, image, &shape, growth).await
    }

    async fn console(&self, machine: &Machine) -> Answered<Option<String>> {
        let ask = async |latest: bool| {
            let call = self.session.ec2.get_console_output();
            let call = call.instance_id(&machine.id).latest(latest);
            asked("EC2 GetConsoleOutput", &machine.name, call.send()).await
        };
        // Only Nitro types have the latest; others have what they wrote at boot.
        let answer = match ask(true).await {
            Err(error) if error.code() == "UnsupportedOperation" => ask(false).await,
            answer => answer,
        };
        let output = answer?.output;
        let bytes = output.and_then(|text| STANDARD.decode(text.trim()).ok());
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(text.filter(|text| !text.trim().is_empty()))
    }

    fn members(&self) -> Option<&dyn Members> {
        Some(&self.targets)
    }
}

impl Aws {
    /// With the tags of the provider block: what a new machine is made from.
    fn whole(&self, shape: Shape) -> Shape {
        Shape {
            tags: self.session.tagging.whole(shape.tags),
            ..shape
        }
    }

    /// With what its target groups say of it.
    fn told(&self, instance: &Instance, mut machine: Machine) -> Machine {
        self.targets.tell(&mut machine, seen::claims(instance));
        self.session.tagging.overlook(&mut machine, "tags.");
        machine
    }

    /// One RunInstances in one subnet.
    async fn run(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        user_data: &str,
        subnet: Option<&str>,
    ) -> Answered<Machine> {
        let sent = SystemTime::now();
        let request = api::run_instances(spec, shape, user_data, subnet);
        let error = match request.send_with(&self.session.ec2).await {
            Ok(answer) => return self.born(answer.instances(), sent, spec).await,
            Err(error) => fault_of_create(RUN, spec.name, error),
        };
        if error.code() != "IdempotentParameterMismatch" {
            return Err(error);
        }
        // Whose token it is: this machine's, of another version or of its group, or another's.
        let tokens = [filter("client-token", [api::client_token(spec, subnet)])];
        let instances = self.session.describe(&tokens, spec.name).await?;
        let mut instances = instances.iter();
        instances.find_map(|one| holder(one, spec)).ok_or(error)
    }

    /// The machine of an answer. An instance that is older than the call, or that was ended here,
    /// is looked at again: the answer to a repeated token says what was true at first.
    async fn born(
        &self,
        instances: &[Instance],
        sent: SystemTime,
        spec: &Spec<'_>,
    ) -> Answered<Machine> {
        let instance = instances.first();
        let id = instance.and_then(|instance| instance.instance_id());
        let (Some(instance), Some(id)) = (instance, id) else {
            let words = "an answer without an instance";
            return Err(CloudError::new(Kind::Ambiguous, RUN, spec.name, words));
        };
        let launched = seen::launched(instance);
        let is_older = launched.is_some_and(|launched| launched + CLOCK_SKEW < sent);
        if !is_older && !self.session.ended().contains(id) {
            return Ok(named(instance, spec));
        }
        let now = [filter("instance-id", [id])];
        let now = self.session.describe(&now, spec.name).await?;
        Ok(match now.first() {
            Some(instance) => named(instance, spec),
            // Terminated so long ago that EC2 has forgotten it.
            None => Machine {
                phase: Phase::Failed,
                message: Some("the instance of this client token is gone".to_owned()),
                ..named(instance, spec)
            },
        })
    }

    /// What has been seen going is gone when it is seen no more.
    fn remember_going(&self, machines: &[Machine]) {
        let going = machines.iter().filter(|one| one.phase == Phase::Deleting);
        self.session.ended().extend(going.map(|one| one.id.clone()));
    }
}

/// RunInstances answers with the tags; should it not, they are those that were asked for.
fn named(instance: &Instance, spec: &Spec<'_>) -> Machine {
    seen::machine(instance)
        .unwrap_or_else(|| seen::machine_of(instance, spec.name, spec.mark.clone()))
}

/// The machine that has this spec's token, where that is its own. One that has ended holds the
/// token for a day and more, and EC2 drops its tags some time after its end.
fn holder(instance: &Instance, spec: &Spec<'_>) -> Option<Machine> {
    let found = seen::found(instance);
    let is_ours = found.mark.uid == spec.mark.uid;
    let is_same = found.mark.generation == spec.mark.generation && found.image == spec.image;
    let is_over = matches!(found.phase, Phase::Failed | Phase::Deleting);
    let is_held = match is_over {
        true => is_ours || found.mark.uid.is_empty(),
        false => is_ours && is_same,
    };
    is_held.then(|| named(instance, spec))
}

const RUN: &str = "EC2 RunInstances";
/// Clocks differ; EC2 counts launches in whole seconds.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
