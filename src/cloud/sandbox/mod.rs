//! The sandbox: a cloud in a directory, for demonstrations, for `terraform test` of modules, and as the reference of what a cloud is.
//!
//! In: the group's questions. Out: files, one a machine (`store`), and whatever trouble the user ordered (`faults`). Machines boot,
//! are pending, run, fail; names are unique; user data has a limit; there is a quota if the user says so. It is safe under concurrent
//! processes: everything happens under one lock.

mod access;
mod create;
mod faults;
mod shape;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use self::access::Access;
use self::create::{CREATE, Wanted, create, missing_image, missing_zone};
use self::faults::{Call, Conditions, Fault, Met};
use self::shape::{SOME_WORD, Shape, group_schema, is_some_word, validate};
use self::store::{Locked, Store};
use crate::provider::{Attribute, Diagnostic, Diagnostics, Model as _, Path, Value};
use crate::worker_group::cloud::{
    Change, Cloud, CloudError, Connect, Deletion, Entry, Growth, Kind, Machine, Mark, Spec,
    machines_of,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "sandbox",
    provider_schema,
    group_schema,
    fields: &[("tags", Change::InPlace)],
    set_hostname: true,
    platform: "sandbox",
    validate,
    connect,
};

/// The attribute `sandbox` of the provider block.
fn provider_schema() -> Attribute {
    Attribute::object(
        "sandbox",
        "Where the sandbox keeps its machines.",
        vec![
            Attribute::string(
                "directory",
                "Directory of records, relative to the working directory; made at the first create.",
            )
            .default(DIRECTORY)
            .pattern(SOME_WORD, is_some_word),
        ],
    )
    .optional()
}

fn connect(connect: Connect<'_>) -> BoxFuture<'_, Result<Box<dyn Cloud>, Diagnostics>> {
    async move {
        let store = Store::new(directory(&connect.context.configuration)?);
        let expected = connect.scope.map(str::to_owned);
        let sandbox = Sandbox {
            store,
            clock: Arc::new(SystemTime::now),
            access: Access::of(connect.context).await,
            lag: Duration::ZERO,
        };
        sandbox.open(expected).await.map(|sandbox| {
            let sandbox: Box<dyn Cloud> = Box::new(sandbox);
            sandbox
        })
    }
    .boxed()
}

/// Of the provider block; a block without `sandbox` has the default.
fn directory(configuration: &Value) -> Result<PathBuf, Diagnostics> {
    let Value::Map(configuration) = configuration else {
        return Ok(PathBuf::from(DIRECTORY));
    };
    match configuration.get("sandbox") {
        None | Some(Value::Null) => Ok(PathBuf::from(DIRECTORY)),
        Some(Value::Map(sandbox)) => match sandbox.get("directory") {
            None | Some(Value::Null) => Ok(PathBuf::from(DIRECTORY)),
            Some(Value::String(directory)) => Ok(PathBuf::from(directory)),
            Some(_) => Err(unknown_directory()),
        },
        Some(_) => Err(unknown_directory()),
    }
}

fn unknown_directory() -> Diagnostics {
    Diagnostic::error(
        "Sandbox has no directory yet",
        "sandbox.directory of the provider block is not known before other resources are applied. \
         Write a path, or apply those resources first with -target.",
    )
    .into()
}

/// A directory, opened.
struct Sandbox {
    store: Store,
    clock: Clock,
    access: Access,
    /// How late lists may be, as ordered when it was opened.
    lag: Duration,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What became of a call.
enum Answer<T> {
    Given(Result<T, CloudError>),
    /// Given after this long.
    Late(Duration, Result<T, CloudError>),
    Never,
}

impl Sandbox {
    /// Compares the directory with the one that state knows; makes it where state knows none.
    async fn open(mut self, expected: Option<String>) -> Result<Self, Diagnostics> {
        if let Some(expected) = &expected
            && !self.store.exists()
        {
            return Err(self.elsewhere(expected, "holds no sandbox"));
        }
        let opened = self.locked(|_, locked, conditions| Ok((locked.id()?, conditions.clone())));
        let opened = opened.await;
        match (opened, expected) {
            (Ok((id, _)), Some(expected)) if id != expected => {
                Err(self.elsewhere(&expected, &format!("holds {id}")))
            }
            (Ok((_, conditions)), _) => {
                self.lag =
                    Duration::try_from_secs_f64(conditions.list_lag_seconds).unwrap_or_default();
                Ok(self)
            }
            (Err(error), _) => Err(self.closed(&error).into()),
        }
    }

    /// Why it cannot be used: a file in it that is not what it should be, or no directory for us.
    fn closed(&self, error: &io::Error) -> Diagnostic {
        let directory = self.store.directory.display();
        match error.kind() {
            io::ErrorKind::InvalidData => Diagnostic::error(
                "A file of the sandbox cannot be read",
                format!(
                    "In {directory}, {error}. Correct the file, or delete it: without faults.json nothing goes wrong, and without its \
                     file a machine is gone."
                ),
            ),
            io::ErrorKind::WouldBlock => Diagnostic::error(
                "The sandbox is held by another process",
                format!(
                    "In {directory}, {error}. Wait for that process to end, or end it: one that was stopped holds the lock, too."
                ),
            ),
            _ => Diagnostic::error(
                "Could not open the sandbox",
                format!(
                    "{directory}: {error}. Choose another directory with sandbox.directory of the provider block."
                ),
            ),
        }
    }

    fn elsewhere(&self, expected: &str, holds: &str) -> Diagnostics {
        Diagnostic::error(
            "The group is in another sandbox",
            format!(
                "State or import id name {expected}; {} {holds}. Run in the working directory where the group was created, or point \
                 sandbox.directory of the provider block there.",
                self.store.directory.display()
            ),
        )
        .into()
    }

    /// One call: meets the faults that were ordered for it, then does its work.
    async fn call<T: Send + 'static>(
        &self,
        call: Call,
        action: &'static str,
        object: &str,
        work: impl FnOnce(&Locked<'_>, &Moment) -> io::Result<Result<T, CloudError>> + Send + 'static,
    ) -> Result<T, CloudError> {
        let name = object.to_owned();
        let answer = self
            .locked(move |now_ms, locked, conditions| {
                let met = conditions.meet(locked, call, &name)?;
                if let Some(met) = met {
                    if met.fault == Fault::StallBefore {
                        return Ok(Answer::Never);
                    }
                    if let Some(error) = refusal(met, action, &name) {
                        return Ok(Answer::Given(Err(error)));
                    }
                }
                let moment = Moment {
                    now_ms,
                    conditions: conditions.clone(),
                    met,
                };
                let done = work(locked, &moment)?;
                Ok(match met.map(|met| (met.fault, met.seconds)) {
                    Some((Fault::StallAfter, _)) => Answer::Never,
                    Some((Fault::Lost, _)) => Answer::Given(
                        done.and_then(|_| Err(refused(action, &name, Kind::Ambiguous, LOST))),
                    ),
                    Some((Fault::Delay, seconds)) => Answer::Late(
                        Duration::try_from_secs_f64(seconds).unwrap_or_default(),
                        done,
                    ),
                    _ => Answer::Given(done),
                })
            })
            .await;
        match answer {
            Ok(Answer::Given(result)) => result,
            Ok(Answer::Late(pause, result)) => {
                tokio::time::sleep(pause).await;
                result
            }
            Ok(Answer::Never) => std::future::pending().await,
            Err(error) => Err(refused(
                action,
                object,
                match error.kind() {
                    // Only somebody who edits the file changes that.
                    io::ErrorKind::InvalidData => Kind::BadRequest,
                    _ => Kind::Unavailable,
                },
                &format!("{}: {error}", self.store.directory.display()),
            )),
        }
    }
}

/// When a call happens, and what it meets.
struct Moment {
    now_ms: u64,
    conditions: Conditions,
    met: Option<Met>,
}

impl Moment {
    /// Seconds of a fault that this call meets; 0 when it does not.
    fn seconds_of(&self, fault: Fault) -> f64 {
        self.met
            .filter(|met| met.fault == fault)
            .map_or(0.0, |met| met.seconds)
    }
}

#[async_trait]
impl Cloud for Sandbox {
    async fn scope(&self) -> Result<String, CloudError> {
        self.locked(|_, locked, _| locked.id())
            .await
            .map_err(|error| {
                refused(
                    "Sandbox scope",
                    "the directory",
                    Kind::Unavailable,
                    &error.to_string(),
                )
            })
    }

    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        let (cluster, group) = (cluster.to_owned(), group.to_owned());
        let object = format!("{cluster}/{group}");
        self.call(
            Call::List,
            "Sandbox list",
            &object,
            move |locked, moment| {
                let mut machines = Vec::new();
                for record in locked.records()? {
                    if record.mark.cluster == cluster
                        && record.mark.group == group
                        && !record.mark.uid.is_empty()
                        && record.listed_ms <= moment.now_ms
                    {
                        machines.push(record.machine(moment.now_ms));
                    }
                }
                Ok(Ok(machines))
            },
        )
        .await
    }

    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        let ids = ids.to_vec();
        let object = machines_of(ids.len());
        self.call(
            Call::Find,
            "Sandbox find",
            &object,
            move |locked, moment| {
                Ok(Ok(locked
                    .records()?
                    .iter()
                    .filter(|record| ids.contains(&record.id))
                    .map(|record| record.machine(moment.now_ms))
                    .collect()))
            },
        )
        .await
    }

    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError> {
        let wanted = Wanted::read(spec)?;
        self.call(Call::Create, CREATE, spec.name, move |locked, moment| {
            create(locked, moment, wanted)
        })
        .await
    }

    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        let (id, name) = (machine.id.clone(), machine.name.clone());
        self.call(
            Call::Delete,
            "Sandbox delete",
            &machine.name,
            move |locked, moment| {
                let record = locked.record(&name)?;
                let Some(mut record) = record.filter(|record| record.id == id) else {
                    return Ok(Ok(Deletion::Gone));
                };
                let seconds = moment
                    .conditions
                    .delete_seconds
                    .max(moment.seconds_of(Fault::SlowDelete));
                if seconds <= 0.0 {
                    locked.remove(&record.name)?;
                    return Ok(Ok(Deletion::Gone));
                }
                if record.gone_ms.is_none() {
                    record.gone_ms = Some(later(moment.now_ms, seconds));
                    locked.save(&record)?;
                }
                Ok(Ok(Deletion::Going))
            },
        )
        .await
    }

    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        let tags = match shape {
            Value::Null => None,
            shape => Some(Shape::read(shape)?.tags.unwrap_or_default()),
        };
        let mark = mark.clone();
        let machines: Vec<(String, String)> = machines
            .iter()
            .map(|machine| (machine.name.clone(), machine.id.clone()))
            .collect();
        let object = machines_of(machines.len());
        self.call(Call::Mark, "Sandbox mark", &object, move |locked, _| {
            for (name, id) in &machines {
                let record = locked.record(name)?;
                let Some(mut record) = record.filter(|record| record.id == *id) else {
                    continue; // gone: there is nothing to mark
                };
                record.mark = mark.clone().over(&record.mark);
                if let Some(tags) = &tags {
                    record.tags.clone_from(tags);
                }
                locked.save(&record)?;
            }
            Ok(Ok(()))
        })
        .await
    }

    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        let machines: Vec<(String, String)> = machines
            .iter()
            .map(|machine| (machine.name.clone(), machine.id.clone()))
            .collect();
        let object = machines_of(machines.len());
        self.call(Call::Start, "Sandbox start", &object, move |locked, _| {
            for (name, id) in &machines {
                let record = locked.record(name)?;
                let Some(mut record) = record.filter(|record| record.id == *id) else {
                    continue; // gone: there is nothing to start
                };
                record.stopped = false;
                locked.save(&record)?;
            }
            Ok(Ok(()))
        })
        .await
    }

    fn wanted(&self, shape: &Value) -> BTreeMap<String, String> {
        let Ok(shape) = Shape::from_value(shape) else {
            return BTreeMap::new();
        };
        let mut wanted: BTreeMap<String, String> = shape
            .tags
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (format!("tags.{key}"), value))
            .collect();
        wanted.insert("size".to_owned(), shape.size);
        wanted.insert("zone".to_owned(), shape.zone);
        wanted
    }

    async fn preflight(
        &self,
        image: &str,
        shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        if growth.created == 0 {
            return Ok(Diagnostics::none());
        }
        let shape = match Shape::read(shape) {
            Ok(shape) => shape,
            Err(error) => {
                return Ok(Diagnostic::error("Could not read the shape", error.message).into());
            }
        };
        let image = image.to_owned();
        let asked = self
            .call(Call::Preflight, "Sandbox preflight", "the group", move |locked, moment| {
                let mut problems = Diagnostics::none();
                for error in [
                    missing_image(&moment.conditions, &image),
                    missing_zone(&moment.conditions, &shape.zone),
                ]
                .into_iter()
                .flatten()
                {
                    problems.push(diagnostic(&error));
                }
                let left = moment
                    .conditions
                    .quota
                    .map(|quota| quota.saturating_sub(locked.count().unwrap_or(0)));
                if let Some(left) = left
                    && let Some(advice) = growth.advice(left)
                {
                    let more = growth.at_once;
                    problems.push(Diagnostic::warning(
                        "Quota may not be enough",
                        format!(
                            "The sandbox has room for {left} more machines, and {more} more than now are to exist at a time. {advice}Raise \
                             the quota, or delete machines that are not needed."
                        ),
                    ));
                }
                Ok(Ok(problems))
            })
            .await;
        match asked {
            Err(error) if !error.is_retryable() => Ok(diagnostic(&error).into()),
            asked => asked,
        }
    }

    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        let (id, name) = (machine.id.clone(), machine.name.clone());
        self.call(
            Call::Console,
            "Sandbox console",
            &machine.name,
            move |locked, moment| {
                Ok(
                    match locked.record(&name)?.filter(|record| record.id == id) {
                        Some(record) => Ok(Some(match record.message(moment.now_ms) {
                            Some(message) => format!("sandbox: {message}"),
                            None => format!("sandbox: booting {}", record.image),
                        })),
                        None => Err(refused(
                            "Sandbox console",
                            &name,
                            Kind::NotFound,
                            "no such machine",
                        )),
                    },
                )
            },
        )
        .await
    }

    fn consistency_window(&self) -> Duration {
        self.lag
    }

    fn poll_interval(&self) -> Duration {
        Duration::from_millis(40)
    }
}

/// The error that a fault stands for, where it is one that refuses before anything is done.
fn refusal(met: Met, action: &'static str, object: &str) -> Option<CloudError> {
    let (kind, message) = match met.fault {
        Fault::Quota => (Kind::Quota, "quota exceeded"),
        Fault::Throttled => (Kind::RateLimit, "asked too often"),
        Fault::Unavailable => (Kind::Unavailable, "the sandbox is in trouble"),
        Fault::Forbidden => (Kind::Forbidden, "not allowed"),
        Fault::Unauthenticated => (Kind::Unauthenticated, "the credentials have expired"),
        Fault::BadRequest => (Kind::BadRequest, "the request is wrong"),
        Fault::LostBefore => (Kind::Ambiguous, LOST),
        _ => return None,
    };
    let retry_after = (met.fault == Fault::Throttled && met.seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(met.seconds).unwrap_or_default());
    Some(CloudError {
        retry_after,
        ..refused(action, object, kind, message)
    })
}

fn refused(action: &'static str, object: &str, kind: Kind, message: &str) -> CloudError {
    CloudError {
        action,
        object: object.to_owned(),
        kind,
        message: message.to_owned(),
        attribute: None,
        retry_after: None,
    }
}

fn diagnostic(error: &CloudError) -> Diagnostic {
    let diagnostic = Diagnostic::error("Sandbox cannot make these machines", format!("{error}."));
    match error.attribute {
        Some(attribute) => diagnostic.at(Path::of(attribute)),
        None => diagnostic,
    }
}

fn text_of(problems: &Diagnostics) -> String {
    let texts: Vec<&str> = problems
        .0
        .iter()
        .map(|problem| problem.detail.as_str())
        .collect();
    texts.join(" ")
}

fn later(now_ms: u64, seconds: f64) -> u64 {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    now_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

const DIRECTORY: &str = ".flatcar-sandbox";
const LOST: &str = "nothing: the answer was lost";

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::provider::{Context, convert};
    use crate::worker_group::cloud::Phase;

    /// A sandbox in a scratch directory, and its clock.
    struct Bench {
        directory: tempfile::TempDir,
        now: Arc<Mutex<SystemTime>>,
        sandbox: Sandbox,
    }

    impl Bench {
        async fn with(faults: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("faults.json"), faults).unwrap();
            let now = Arc::new(Mutex::new(
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            ));
            let clock = Arc::clone(&now);
            let sandbox = Sandbox {
                store: Store::new(directory.path().to_owned()),
                clock: Arc::new(move || *clock.lock().unwrap()),
                access: Access::of(&Context::of(Value::Null)).await,
                lag: Duration::ZERO,
            };
            let sandbox = sandbox.open(None).await.unwrap();
            Self {
                directory,
                now,
                sandbox,
            }
        }

        fn passes(&self, time: Duration) {
            *self.now.lock().unwrap() += time;
        }

        async fn create(&self, name: &str) -> Result<Machine, CloudError> {
            self.sandbox
                .create(&Spec {
                    name,
                    attempt: 0,
                    ordinal: 0,
                    mark: &mark(),
                    image: "flatcar",
                    user_data: b"{}",
                    shape: &shape("10s"),
                })
                .await
        }

        async fn phases(&self) -> Vec<Phase> {
            let machines = self.sandbox.list("prod", "w").await.unwrap();
            machines.iter().map(|machine| machine.phase).collect()
        }
    }

    fn mark() -> Mark {
        Mark {
            cluster: "prod".to_owned(),
            group: "w".to_owned(),
            uid: "k3x9".to_owned(),
            generation: "1".to_owned(),
            unsaved: true,
            origin: String::new(),
            proof: String::new(),
        }
    }

    fn shape(boot_time: &str) -> Value {
        convert::to_value(&Shape {
            boot_time: boot_time.to_owned(),
            zone: "a".to_owned(),
            size: "small".to_owned(),
            tags: None,
        })
    }

    #[tokio::test]
    async fn a_machine_is_pending_until_its_boot_time_is_over() {
        let bench = Bench::with("{}").await;
        assert_eq!(bench.create("w-0").await.unwrap().phase, Phase::Pending);
        bench.passes(Duration::from_millis(9_999));
        assert_eq!(bench.phases().await, [Phase::Pending]);
        bench.passes(Duration::from_millis(1));
        assert_eq!(bench.phases().await, [Phase::Running]);
    }

    #[tokio::test]
    async fn a_boot_fails_or_hangs_when_it_is_told_to() {
        let rules = r#"{"rules":[
            {"call":"create","machine":"w-0","fault":"boot_fails"},
            {"call":"create","machine":"w-1","fault":"boot_hangs"}]}"#;
        let bench = Bench::with(rules).await;
        let failing = bench.create("w-0").await.unwrap();
        bench.create("w-1").await.unwrap();
        bench.passes(Duration::from_secs(3_600));
        assert_eq!(bench.phases().await, [Phase::Failed, Phase::Pending]);
        let console = bench.sandbox.console(&failing).await.unwrap();
        assert_eq!(
            console.as_deref(),
            Some("sandbox: the boot failed: no bootable device")
        );
    }

    #[tokio::test]
    async fn a_slow_delete_is_going_and_then_gone_even_when_the_order_is_withdrawn() {
        let bench = Bench::with(r#"{"delete_seconds": 5}"#).await;
        let machine = bench.create("w-0").await.unwrap();
        assert_eq!(
            bench.sandbox.delete(&machine).await.unwrap(),
            Deletion::Going
        );
        assert_eq!(bench.phases().await, [Phase::Deleting]);
        std::fs::remove_file(bench.directory.path().join("faults.json")).unwrap();
        bench.passes(Duration::from_secs(5));
        assert!(bench.phases().await.is_empty());
        assert_eq!(
            bench.sandbox.delete(&machine).await.unwrap(),
            Deletion::Gone
        );
    }

    #[tokio::test]
    async fn a_machine_that_lists_do_not_show_yet_is_found_by_id() {
        let bench = Bench::with(r#"{"list_lag_seconds": 2}"#).await;
        let machine = bench.create("w-0").await.unwrap();
        assert!(bench.phases().await.is_empty());
        assert_eq!(bench.sandbox.find(&[machine.id]).await.unwrap().len(), 1);
        assert_eq!(bench.sandbox.consistency_window(), Duration::from_secs(2));
        bench.passes(Duration::from_secs(2));
        assert_eq!(bench.phases().await, [Phase::Pending]);
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_a_machine_and_one_lost_before_leaves_none() {
        for (fault, left) in [("lost", 1), ("lost_before", 0)] {
            let rules = format!(r#"{{"rules":[{{"call":"create","fault":"{fault}"}}]}}"#);
            let bench = Bench::with(&rules).await;
            let error = bench.create("w-0").await.unwrap_err();
            assert_eq!(error.kind, Kind::Ambiguous, "{fault}");
            assert_eq!(bench.phases().await.len(), left, "{fault}");
            bench.create("w-0").await.unwrap();
            assert_eq!(bench.phases().await.len(), 1, "{fault}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_call_is_never_answered_and_is_carried_out_or_not() {
        for (fault, left) in [("stall_after", 1), ("stall_before", 0)] {
            let rules = format!(r#"{{"rules":[{{"call":"create","fault":"{fault}"}}]}}"#);
            let bench = Bench::with(&rules).await;
            let answer = tokio::time::timeout(Duration::from_secs(60), bench.create("w-0")).await;
            assert!(answer.is_err(), "{fault}");
            assert_eq!(bench.phases().await.len(), left, "{fault}");
        }
    }

    #[tokio::test]
    async fn a_machine_that_somebody_stopped_or_removed_by_hand_is_so() {
        let bench = Bench::with("{}").await;
        bench.create("w-0").await.unwrap();
        bench.create("w-1").await.unwrap();
        let file = bench.directory.path().join("machines/w-0.json");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen('{', "{\"stopped\": true,", 1)).unwrap();
        std::fs::remove_file(bench.directory.path().join("machines/w-1.json")).unwrap();
        assert_eq!(bench.phases().await, [Phase::Stopped]);
    }

    #[tokio::test]
    async fn a_record_that_is_no_record_is_an_error_and_not_an_empty_group() {
        let bench = Bench::with("{}").await;
        std::fs::write(bench.directory.path().join("machines/w-0.json"), "oops").unwrap();
        let error = bench.sandbox.list("prod", "w").await.unwrap_err();
        assert_eq!(error.kind, Kind::BadRequest);
        assert!(
            error
                .message
                .contains("machines/w-0.json is not what it has to be"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn user_data_is_in_no_file() {
        let bench = Bench::with("{}").await;
        bench
            .sandbox
            .create(&Spec {
                name: "w-0",
                attempt: 0,
                ordinal: 0,
                mark: &mark(),
                image: "flatcar",
                user_data: b"{\"token\":\"s3cr3t\"}",
                shape: &shape("0s"),
            })
            .await
            .unwrap();
        let text =
            std::fs::read_to_string(bench.directory.path().join("machines/w-0.json")).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
    }

    async fn connected(
        directory: &std::path::Path,
        scope: Option<&str>,
    ) -> Result<String, Diagnostics> {
        let directory = directory.to_str().unwrap();
        let configuration =
            convert::to_value(&serde_json::json!({"sandbox": {"directory": directory}}));
        let context = Context::of(configuration);
        let cloud = connect(Connect {
            context: &context,
            shape: &Value::Null,
            scope,
        })
        .await?;
        Ok(cloud.scope().await.unwrap())
    }

    #[tokio::test]
    async fn another_directory_than_the_one_that_state_knows_is_an_error() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let scope = connected(one.path(), None).await.unwrap();
        assert_eq!(connected(one.path(), Some(&scope)).await.unwrap(), scope);
        // Not made by a question about a group that exists elsewhere.
        let problems = connected(other.path(), Some(&scope)).await.unwrap_err();
        assert!(
            problems.0[0].detail.contains("holds no sandbox"),
            "{problems:?}"
        );
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
        connected(other.path(), None).await.unwrap();
        let problems = connected(other.path(), Some(&scope)).await.unwrap_err();
        assert!(problems.0[0].detail.contains(&scope), "{problems:?}");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_known_yet_is_told() {
        let mut sandbox = BTreeMap::new();
        sandbox.insert("directory".to_owned(), Value::unknown());
        let configuration = Value::Map(BTreeMap::from([(
            "sandbox".to_owned(),
            Value::Map(sandbox),
        )]));
        let context = Context::of(configuration);
        let connected = connect(Connect {
            context: &context,
            shape: &Value::Null,
            scope: None,
        })
        .await;
        assert!(
            connected.is_err_and(|problems| problems.0[0].detail.contains("sandbox.directory"))
        );
    }
}
