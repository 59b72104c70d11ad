//! The sandbox: a cloud in a directory, for demonstrations, for `terraform test` of modules, and as
//! the reference of what a cloud is.
//!
//! In: the group's questions. Out: files, one a machine (`store`), and whatever trouble the user
//! ordered (`faults`). Machines boot, are pending, run, fail; names are unique; user data has a
//! limit; there is a quota if the user says so. It is safe under concurrent processes: everything
//! happens under one lock.

mod access;
mod calls;
mod create;
mod faults;
mod record;
mod shape;
mod store;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::FutureExt as _;

use self::access::Access;
use self::calls::later;
use self::create::{CREATE, Wanted, create, missing_image, missing_zone};
use self::faults::{Call, Fault};
use self::record::FACETS;
use self::shape::{SOME_WORD, Shape, group_schema, is_some_word, validate};
use self::store::Store;
use crate::provider::{Attribute, Diagnostic, Diagnostics};
use crate::worker_group::cloud::{
    Answers, Change, CloudError, Connect, Connecting, Deletion, Entry, Facet, Findings, Growth,
    Kind, Lack, Looks, Machine, Manner, Mark, Refusal, Spec, machines_of,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "sandbox",
    provider_schema,
    group_schema,
    fields: &[("tags", Change::InPlace)],
    set_hostname: true,
    platform: "sandbox",
    scope: "sandbox",
    manner: Manner {
        consistency_window: Duration::ZERO,
        poll_interval: Duration::from_millis(40),
        finds_one_by_one: false,
    },
    lacks: &[
        (Lack::Leftovers, "a machine is one record"),
        (Lack::Members, "nobody is served"),
    ],
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

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let settings: Settings = ENTRY.settings(connect.context)?;
        let sandbox = Sandbox {
            store: Store::new(settings.directory),
            clock: Arc::new(SystemTime::now),
            access: Access::of(connect.context).await,
            lag: Duration::ZERO,
        };
        Ok(sandbox.open(connect.scope).await?.opened())
    }
    .boxed()
}

/// The attribute `sandbox` of the provider block, as a struct; a block without it has the default.
#[derive(serde::Deserialize)]
struct Settings {
    directory: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from(DIRECTORY),
        }
    }
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

impl Sandbox {
    /// Opens the directory, and makes it where state knows none: which one it is, is compared after
    /// that.
    async fn open(mut self, expected: Option<&str>) -> Result<Self, Diagnostics> {
        if let Some(expected) = expected
            && !self.store.exists()
        {
            let holds = format!("{}, which holds no sandbox", self.store.directory.display());
            return Err(ENTRY.elsewhere(expected, &holds));
        }
        let opened = self.locked(|_, locked, conditions| {
            locked.id()?;
            Ok(conditions.list_lag_seconds)
        });
        match opened.await {
            Ok(lag) => {
                self.lag = Duration::try_from_secs_f64(lag).unwrap_or_default();
                Ok(self)
            }
            Err(error) => Err(self.closed(&error).into()),
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
}

#[async_trait]
impl Answers for Sandbox {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Result<String, CloudError> {
        self.locked(|_, locked, _| locked.id())
            .await
            .map_err(|error| {
                let words = error.to_string();
                CloudError::new(Kind::Unavailable, "Sandbox scope", "the directory", words)
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

    async fn create(
        &self,
        spec: &Spec<'_>,
        shape: Shape,
        user_data: String,
    ) -> Result<Machine, CloudError> {
        let wanted = Wanted::read(spec, shape, &user_data)?;
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
        shape: Option<Shape>,
    ) -> Result<(), CloudError> {
        let tags = shape.map(|shape| shape.tags.unwrap_or_default());
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

    fn wanted(&self, shape: &Shape) -> Looks {
        Facet::wanted(FACETS, shape)
    }

    async fn preflight(
        &self,
        image: &str,
        shape: Shape,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        if growth.created == 0 {
            return Ok(Diagnostics::none());
        }
        let image = image.to_owned();
        let asked = self
            .call(Call::Preflight, "Sandbox preflight", "the group", move |locked, moment| {
                let mut found = Findings::new(refusal_of);
                let conditions = &moment.conditions;
                let image = missing_image(conditions, &image);
                for error in image.into_iter().chain(missing_zone(conditions, &shape.zone)) {
                    found.refused(&error);
                }
                if let Some(quota) = conditions.quota {
                    let left = quota.saturating_sub(locked.count().unwrap_or(0));
                    let summary = "Quota may not be enough";
                    found.room(growth, left, (summary, None), None, |more, advice| {
                        format!(
                            "The sandbox has room for {left} more machines, and {more} more than now are to exist at a time. {advice}Raise \
                             the quota, or delete machines that are not needed."
                        )
                    });
                }
                Ok(Ok(found))
            })
            .await;
        let mut refused = Findings::new(refusal_of);
        let found = refused.of(asked)?;
        Ok(found.unwrap_or(refused).told())
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
                        None => Err(CloudError::new(
                            Kind::NotFound,
                            "Sandbox console",
                            &name,
                            "no such machine",
                        )),
                    },
                )
            },
        )
        .await
    }

    fn manner(&self) -> Manner {
        Manner {
            consistency_window: self.lag,
            ..ENTRY.manner
        }
    }
}

fn refusal_of(error: &CloudError) -> Option<Refusal> {
    Some(Refusal {
        cause: error.to_string(),
        summary: "Sandbox cannot make these machines",
        advice: "",
    })
}

const DIRECTORY: &str = ".flatcar-sandbox";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::provider::{Context, Value, convert};
    use crate::worker_group::cloud::{Cloud, Phase};

    /// A sandbox in a scratch directory, and its clock.
    struct Bench {
        directory: tempfile::TempDir,
        now: Arc<Mutex<SystemTime>>,
        sandbox: Box<dyn Cloud>,
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
            let sandbox = sandbox.open(None).await.unwrap().opened();
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
        let connect = Connect {
            context: &context,
            shape: &Value::Null,
            scope,
        };
        let cloud = ENTRY.open(connect).await?;
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
