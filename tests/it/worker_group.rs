//! One list of behaviours over the trait of clouds, and every cloud runs it. What a cloud or its
//! stand-in lacks is declared by name with the reason, and exactly that is skipped: a cloud that
//! shows less, or more, than it declares is red.

pub(crate) mod behaviours;
pub(crate) mod faults;

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flatcar::provider::schema::Kind;
use flatcar::provider::{Attribute, Context, Diagnostics, Value, convert};
use flatcar::worker_group::cloud::{
    Cloud, CloudError, Connect, Deletion, Entry, Lack, Machine, Mark, Phase, Spec,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value as Json;

use self::behaviours::BEHAVIOURS;

/// Any cloud's stand-in.
pub(crate) type AnySubject = dyn Subject;

/// A cloud's stand-in, and what only it knows.
pub(crate) trait Subject: Any + Sync {
    /// The row of the table of clouds.
    fn entry(&self) -> &'static Entry;
    /// The provider block, `retries` of the client's own allowed.
    fn configuration(&self, retries: u32) -> Json;
    /// A shape with the tags `team = "a"` and `cost = "1"`; what it lacks has its default.
    fn shape(&self) -> Json;
    /// The attribute of the shape that holds the tags.
    fn tags(&self) -> &'static str {
        "tags"
    }
    /// Whether machines boot, and go, in their own time: then each step waits for them.
    fn takes_time(&self) -> bool {
        false
    }
    /// The attribute of the shape that says where a machine is, and a value of it that does not
    /// exist.
    fn nowhere(&self) -> (&'static str, Json);
    /// An image that exists, and another one.
    fn images(&self) -> [&'static str; 2];
    /// An image in the cloud's form that does not exist.
    fn unknown_image(&self) -> &'static str;
    /// An id in the cloud's form that no machine ever had.
    fn unknown_id(&self) -> String;
    /// The behaviours that this cloud or its stand-in cannot show; each says why where it ends.
    fn lacks(&self) -> Vec<&'static str>;
    /// Makes the cloud behave so from now on, until [`Subject::calm`]. `Err`: why it cannot.
    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>>;
    /// Ends all trouble.
    fn calm(&self) -> BoxFuture<'_, ()>;
    /// Does something that the provider does not know of. `Err`: why it cannot.
    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>>;
    /// Makes the pages of lists small. `Err`: why it cannot, or need not.
    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>>;
    /// How many pages but the last of a list were given since the stand-in began.
    fn pages(&self) -> BoxFuture<'_, u64>;
}

/// What a cloud may be made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The next create is refused for quota.
    Quota,
    /// The next create is carried out, and its answer is lost.
    AnswerLost,
    /// The next create is not carried out, and nobody knows.
    RequestLost,
    /// Creates are throttled.
    Throttled,
    /// Credentials have expired.
    Expired,
    /// Nothing may be created.
    Forbidden,
    /// Lists fail.
    Down,
    /// Machines are pending for an hour.
    SlowBoot,
    /// Machines are going for an hour.
    SlowDelete,
    /// Lists show new machines late.
    LateLists,
}

/// What somebody else may do to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Remove,
    Stop,
    /// Gives tag `team` another value.
    Retag,
    /// Adds a tag `stranger` that no configuration knows.
    TagAsStranger,
    /// Takes the uid off.
    TakeUid,
    /// Takes all of the mark off.
    Unmark,
}

/// `Err`: why this cloud's stand-in cannot show it.
pub(crate) type Shown = Result<(), &'static str>;

/// A behaviour, as a sentence and as a function.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    pub(crate) says: &'static str,
    pub(crate) show: for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Shown>,
}

/// What a behaviour works with: a connected cloud, and a cluster of its own.
pub(crate) struct Bench<'a> {
    pub(crate) subject: &'a AnySubject,
    pub(crate) cloud: Box<dyn Cloud>,
    pub(crate) shape: Value,
    pub(crate) mark: Mark,
}

impl<'a> Bench<'a> {
    async fn new(subject: &'a AnySubject) -> Self {
        static CLUSTERS: AtomicUsize = AtomicUsize::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let shape = shaped(subject, &subject.shape());
        let cloud = connect(subject, &subject.configuration(2), &shape, None)
            .await
            .unwrap_or_else(|problems| panic!("cannot connect: {problems:?}"));
        Self {
            subject,
            cloud,
            shape,
            mark: Mark {
                cluster: format!("cluster-{}-{number}", std::process::id()),
                group: "workers".to_owned(),
                uid: "k3x9".to_owned(),
                generation: "0123456789abcdef-1".to_owned(),
                unsaved: true,
                origin: "0f3c9a1e5b7d2468".to_owned(),
                proof: "0123456789abcdef0123456789abcdef".to_owned(),
            },
        }
    }

    /// The same cloud, without retries of the client's own.
    pub(crate) async fn plainly(&self) -> Box<dyn Cloud> {
        connect(
            self.subject,
            &self.subject.configuration(0),
            &self.shape,
            None,
        )
        .await
        .expect("connects")
    }

    pub(crate) fn image(&self) -> &'static str {
        self.subject.images()[0]
    }

    /// `workers-k3x9-0`: unique over all behaviours, for a cloud may want unique names.
    pub(crate) fn name(&self, ordinal: u64) -> String {
        let number = self.mark.cluster.rsplit('-').next().unwrap_or_default();
        format!("workers-{number}x{}-{ordinal}", self.mark.uid)
    }

    pub(crate) async fn create(&self, ordinal: u64) -> Result<Machine, CloudError> {
        let created = self.create_on(self.cloud.as_ref(), ordinal, 0).await?;
        // What an earlier create of the name has come to may be gone: it never boots.
        match self.subject.takes_time() && created.phase != Phase::Failed {
            false => Ok(created),
            true => Ok(self.booted(&created.id).await),
        }
    }

    /// As it is listed once it is pending no more.
    pub(crate) async fn booted(&self, id: &str) -> Machine {
        for _ in 0..POLLS {
            let listed = self.list().await;
            let mut machine = listed.into_iter().find(|machine| machine.id == id);
            if machine.is_none() {
                // Lists may be late.
                let found = self.cloud.find(&[id.to_owned()]).await.expect("finds");
                machine = found.into_iter().next();
            }
            if let Some(machine) = machine
                && machine.phase != Phase::Pending
            {
                return machine;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("{id} does not come up");
    }

    pub(crate) async fn create_on(
        &self,
        cloud: &dyn Cloud,
        ordinal: u64,
        attempt: u32,
    ) -> Result<Machine, CloudError> {
        let name = self.name(ordinal);
        cloud
            .create(&Spec {
                attempt,
                ..self.spec(&name, ordinal)
            })
            .await
    }

    pub(crate) fn spec<'b>(&'b self, name: &'b str, ordinal: u64) -> Spec<'b> {
        Spec {
            name,
            attempt: 0,
            ordinal,
            mark: &self.mark,
            image: self.image(),
            user_data: br#"{"ignition":{"version":"3.4.0"}}"#,
            shape: &self.shape,
        }
    }

    pub(crate) async fn list(&self) -> Vec<Machine> {
        self.cloud
            .list(&self.mark.cluster, &self.mark.group)
            .await
            .expect("lists")
    }

    /// Asks until it is gone; most stand-ins take no time for that.
    pub(crate) async fn delete(&self, machine: &Machine) {
        self.cloud.delete(machine).await.expect("deletes");
        self.gone(machine).await;
    }

    /// A delete of what is gone says so; a cloud that takes its time may know the machine for a
    /// moment after it is no longer listed.
    pub(crate) async fn deleted(&self, machine: &Machine) {
        let mut answer = self.cloud.delete(machine).await.expect("deletes again");
        for _ in 0..POLLS {
            if !self.subject.takes_time() || answer == Deletion::Gone {
                break;
            }
            tokio::time::sleep(POLL).await;
            answer = self.cloud.delete(machine).await.expect("deletes again");
        }
        assert_eq!(answer, Deletion::Gone);
    }

    pub(crate) async fn gone(&self, machine: &Machine) {
        let mut left = self.list().await;
        for _ in 0..POLLS {
            if !self.subject.takes_time() || left.iter().all(|left| left.id != machine.id) {
                break;
            }
            tokio::time::sleep(POLL).await;
            left = self.list().await;
        }
        assert!(
            left.iter().all(|left| left.id != machine.id),
            "still listed after its deletion: {left:?}"
        );
    }

    /// The shape with some attributes replaced.
    pub(crate) fn shape_with(&self, changes: &[(&str, Json)]) -> Value {
        let mut shape = self.subject.shape();
        for (name, value) in changes {
            shape[*name] = value.clone();
        }
        shaped(self.subject, &shape)
    }
}

/// Of clouds that take their time.
const POLLS: u32 = 1_200;
const POLL: Duration = Duration::from_millis(500);

pub(crate) fn shaped(subject: &AnySubject, shape: &Json) -> Value {
    complete(&(subject.entry().group_schema)(), convert::to_value(shape))
}

/// The provider block as core sends it.
pub(crate) fn configured(subject: &AnySubject, configuration: &Json) -> Value {
    let entry = subject.entry();
    let block = convert::to_value(&configuration[entry.name]);
    let block = complete(&(entry.provider_schema)(), block);
    Value::Map([(entry.name.to_owned(), block)].into())
}

/// Connects to a subject.
pub(crate) async fn connect(
    subject: &AnySubject,
    configuration: &Json,
    shape: &Value,
    scope: Option<&str>,
) -> Result<Box<dyn Cloud>, Diagnostics> {
    let context = Context::of(configured(subject, configuration));
    let connect = Connect {
        context: &context,
        shape,
        scope,
    };
    subject.entry().open(connect).await
}

/// A value as core sends it: every attribute is there, defaults filled in.
fn complete(attribute: &Attribute, value: Value) -> Value {
    let fill = |attributes: &[Attribute], value: Value| match value {
        Value::Map(mut fields) => Value::Map(
            attributes
                .iter()
                .map(|attribute| {
                    let value = fields.remove(attribute.name).unwrap_or(Value::Null);
                    (attribute.name.to_owned(), complete(attribute, value))
                })
                .collect(),
        ),
        value => value,
    };
    let value = match (value, &attribute.default) {
        (Value::Null, Some(default)) => default.clone(),
        (value, _) => value,
    };
    match (&attribute.kind, value) {
        (Kind::Object(attributes), value) => fill(attributes, value),
        (Kind::ListOf(attributes), Value::List(values)) => Value::List(
            values
                .into_iter()
                .map(|value| fill(attributes, value))
                .collect(),
        ),
        (_, value) => value,
    }
}

/// The row of a cloud in this build.
pub(crate) fn entry(name: &str) -> &'static Entry {
    flatcar::cloud::ALL
        .iter()
        .find(|entry| entry.name == name)
        .unwrap_or_else(|| panic!("this build has no {name}"))
}

/// Runs the whole list and what this cloud alone promises; fails with the behaviours that were not
/// shown.
pub(crate) async fn conforms(subject: &AnySubject, own: &[Behaviour]) {
    let cloud = subject.entry().name;
    let (mut shown, mut skipped, mut failed) = (0, BTreeSet::new(), Vec::new());
    for behaviour in own.iter().chain(BEHAVIOURS) {
        subject.calm().await;
        let bench = Bench::new(subject).await;
        let began = Instant::now();
        let outcome = AssertUnwindSafe((behaviour.show)(&bench))
            .catch_unwind()
            .await;
        let says = behaviour.says;
        match outcome {
            Ok(Ok(())) => {
                println!("  ok    {cloud}: {says} ({:.1?})", began.elapsed());
                shown += 1;
            }
            Ok(Err(why)) => {
                println!("  skip  {cloud}: {says} ({why})");
                skipped.insert(says);
            }
            Err(_) => {
                println!("  FAIL  {cloud}: {says}");
                failed.push(says);
            }
        }
        subject.calm().await;
    }
    // Left out by the implementation, and not said by the row, machines would silently get no
    // traffic.
    let bench = Bench::new(subject).await;
    let has_none = bench.cloud.members().is_none();
    let (failures, skips) = (failed.len(), skipped.len());
    println!("{cloud}: {shown} shown, {skips} skipped, {failures} failed");
    assert!(failed.is_empty(), "{cloud} does not behave so: {failed:#?}");
    let says_none = subject.entry().lacks(Lack::Members);
    assert_eq!(
        has_none, says_none,
        "{cloud}: members, and what its row lacks"
    );
    let lacks: BTreeSet<&str> = subject.lacks().into_iter().collect();
    assert_eq!(
        skipped, lacks,
        "{cloud}: what is skipped, and what it says that it lacks"
    );
}
