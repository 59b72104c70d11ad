//! The fault matrix: every call that a cloud makes in a group's life × everything that can befall a call, and what the user gets to see.
//!
//! An undisturbed life gives the names of the calls in each operation. Then there is one life for each operation, call and fault, with a
//! provider, a cluster and a wire of its own. A cell is good where the operation *carried on*, or *said so*: one error with the call's name and the cloud's word, a state
//! that is true, and the next apply finishes. Nothing is doubled or orphaned in either case. The results are `docs/fault-matrix.md`.
//! Asked for: `FLATCAR_FAULTS="roll,List,403"` runs the cells whose names hold all words; `FLATCAR_FAULTS=full` leaves none to chance.

#[cfg(feature = "aws")]
mod aws;
mod group;
mod page;
mod sandbox;
#[cfg(feature = "aws")]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value as Json, json};

use self::group::{Group, Problem};

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The server is gone: this connection is reset and no other taken, until the operation has ended.
    Refused,
    /// The first call does not arrive.
    ResetBefore,
    /// The first call is carried out, and its answer is lost.
    ResetAfter,
    /// The first call is answered after ten seconds.
    Silence,
    /// The first call meets an internal error.
    Error500,
    /// The first call is told that the service is not available.
    Error503,
    /// The first two calls came too fast.
    Throttled,
    /// The same, and the answer says when to come back.
    RetryAfter,
    /// The first call's credentials have expired.
    Expired,
    /// Every call is forbidden, until the operation has ended.
    Forbidden,
    /// The first call is carried out, and its answer ends half-way.
    Truncated,
    /// What has just been created is not there yet, twice.
    NotYet,
    /// What has just been deleted still is there, twice.
    Still,
}

impl Fault {
    pub(super) const ALL: [Self; 13] = [
        Self::Refused,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Silence,
        Self::Error500,
        Self::Error503,
        Self::Throttled,
        Self::RetryAfter,
        Self::Expired,
        Self::Forbidden,
        Self::Truncated,
        Self::NotYet,
        Self::Still,
    ];

    /// The head of its column.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ResetBefore => "reset before",
            Self::ResetAfter => "reset after",
            Self::Silence => "10 s silence",
            Self::Error500 => "500",
            Self::Error503 => "503",
            Self::Throttled => "throttled",
            Self::RetryAfter => "Retry-After",
            Self::Expired => "expired",
            Self::Forbidden => "403",
            Self::Truncated => "cut short",
            Self::NotYet => "not yet",
            Self::Still => "still",
        }
    }

    /// How many calls meet it.
    pub(super) fn times(self) -> usize {
        match self {
            Self::Refused | Self::Forbidden => usize::MAX,
            Self::Throttled | Self::RetryAfter | Self::NotYet | Self::Still => 2,
            _ => 1,
        }
    }
}

/// A cloud of the matrix.
pub(super) trait Stage: Sync {
    /// The user's word, and the head of its section.
    fn name(&self) -> &'static str;
    /// A place for one life, where nothing else happens.
    fn bench(&self, number: usize) -> BoxFuture<'_, Box<dyn Bench + '_>>;
    /// Whether a call can meet a fault at all, in an operation that creates or deletes machines, or does not.
    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool;
    /// How diagnostics name a call.
    fn action(&self, call: &str) -> String;
    /// One of these is in a diagnostic that says so.
    fn words(&self, fault: Fault) -> &'static [&'static str];
    /// Whether it is the engine that tries again, rather than the cloud's own client: that is logged.
    fn is_logged(&self, _: Fault) -> bool {
        false
    }
    /// Lives at a time.
    fn at_once(&self) -> usize;
}

/// One life's own part of a cloud.
pub(super) trait Bench: Send + Sync {
    /// The provider block.
    fn provider(&self) -> Json;
    /// The group's arguments that depend on the cloud, with these tags.
    fn shape(&self, tags: &Json) -> Json;
    /// From now on these calls meet the fault.
    fn order(&self, call: &str, fault: Fault);
    /// Whether one has met it.
    fn met(&self) -> bool;
    /// Nothing befalls anybody any more, and calls are counted anew.
    fn calm(&self);
    /// The names of the calls since then, each once.
    fn calls(&self) -> BTreeSet<String>;
    /// Name and id of each machine that is there and not going.
    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>>;
    /// Whether machines of these ids, and no others, get traffic, and none went while it had some.
    fn traffic(&self, _: BTreeSet<String>) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
}

/// What the user gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    CarriedOn,
    SaidSo,
}

impl Seen {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CarriedOn => "carried on",
            Self::SaidSo => "said so",
        }
    }
}

/// Where in a life, by its number; which call.
pub(super) type Call = (usize, String);
/// A call and its fault.
pub(super) type Cell = (Call, Fault);

/// An operation of a life: what the configuration says, and how many machines there are after it.
pub(super) struct Step {
    pub(super) name: &'static str,
    replicas: usize,
    tags: Json,
    message: &'static str,
    pub(super) creates: bool,
    pub(super) deletes: bool,
}

/// Each begins with a refresh.
pub(super) fn life() -> [Step; 5] {
    let step = |name, replicas, team: Json, message, (creates, deletes)| Step {
        name,
        replicas,
        tags: team,
        message,
        creates,
        deletes,
    };
    let (first, second) = (json!({"team": "a", "cost": "1"}), json!({"team": "b"}));
    [
        step("create", 2, first, "first", (true, false)),
        step("change", 2, second.clone(), "first", (false, false)),
        step("roll", 2, second.clone(), "second", (true, true)),
        step("scale in", 1, second.clone(), "second", (false, true)),
        step("destroy", 0, second, "second", (false, true)),
    ]
}

impl Step {
    fn config(&self, bench: &dyn Bench) -> Json {
        let contents = format!("data:,{}", self.message);
        let files = json!([{"path": "/etc/motd", "contents": {"source": contents}}]);
        let ignition = json!({"ignition": {"version": "3.3.0"}, "storage": {"files": files}});
        let mut config = json!({
            "name": "workers",
            "cluster": "faults",
            "replicas": self.replicas,
            "user_data": ignition.to_string(),
        });
        let shape = bench.shape(&self.tags);
        for (name, value) in shape.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        config
    }
}

/// Fails with every cell that is not good; otherwise compares the page, or writes it.
pub(super) async fn show(stage: &dyn Stage, sample: Option<usize>) {
    let began = Instant::now();
    let calls = undisturbed(stage).await;
    let cells = chosen(stage, &calls, sample);
    let number = cells.len();
    let results: Vec<(Cell, Result<Seen, String>)> = stream::iter(cells.into_iter().enumerate())
        .map(|(number, cell)| async move {
            let began = Instant::now();
            let lived = AssertUnwindSafe(disturbed(stage, number + 1, &cell)).catch_unwind();
            let result = lived.await.unwrap_or_else(|panic| Err(said(&*panic)));
            let seen = match &result {
                Ok(seen) => seen.word(),
                Err(_) => "FAILED",
            };
            let (name, cell_name) = (stage.name(), named(&cell));
            println!("  {name}: {cell_name}: {seen} ({:.1?})", began.elapsed());
            (cell, result)
        })
        .buffer_unordered(stage.at_once())
        .collect()
        .await;
    let mut seen = BTreeMap::new();
    let mut failed = Vec::new();
    for (cell, result) in results {
        match result {
            Ok(result) => {
                seen.insert(cell, result);
            }
            Err(why) => failed.push(format!("{}: {why}", named(&cell))),
        }
    }
    let name = stage.name();
    let failures = failed.len();
    println!(
        "{name}: {number} cells, {failures} failed ({:.1?})",
        began.elapsed()
    );
    assert!(failed.is_empty(), "{name}:\n{}", failed.join("\n"));
    page::shows(stage, &calls, &seen);
}

/// `roll: EC2 RunInstances × 403`
pub(super) fn named(((step, call), fault): &Cell) -> String {
    format!("{}: {call} × {}", life()[*step].name, fault.word())
}

/// The calls of a life to which nothing happens.
async fn undisturbed(stage: &dyn Stage) -> BTreeSet<Call> {
    let bench = stage.bench(0).await;
    let mut group = Group::start(&bench.provider()).await;
    let mut calls = BTreeSet::new();
    for (number, step) in life().iter().enumerate() {
        bench.calm();
        let problems = take(&mut group, step, bench.as_ref()).await;
        assert!(problems.is_empty(), "{problems:?}");
        let true_to = is_true(&group, bench.as_ref(), step.replicas).await;
        assert_eq!(true_to, Ok(()));
        calls.extend(bench.calls().into_iter().map(|call| (number, call)));
    }
    group.end().await;
    calls
}

/// Every cell that can be.
pub(super) fn cells(stage: &dyn Stage, calls: &BTreeSet<Call>) -> Vec<Cell> {
    let life = life();
    let all = calls.iter().flat_map(|call| {
        let step = &life[call.0];
        let can = move |fault: &Fault| stage.can_meet(step, &call.1, *fault);
        let faults = Fault::ALL.into_iter().filter(can);
        faults.map(move |fault| (call.clone(), fault))
    });
    all.collect()
}

/// All of them; or those that the environment names; or a sample, the same one every day.
fn chosen(stage: &dyn Stage, calls: &BTreeSet<Call>, sample: Option<usize>) -> Vec<Cell> {
    let all = cells(stage, calls);
    match (std::env::var("FLATCAR_FAULTS").as_deref(), sample) {
        (Ok("full"), _) | (Err(_), None) => all,
        (Ok(asked), _) => {
            let words: Vec<&str> = asked.split(',').collect();
            let holds = |cell: &Cell| words.iter().all(|word| named(cell).contains(word));
            all.into_iter().filter(holds).collect()
        }
        (Err(_), Some(sample)) => {
            let every = all.len().div_ceil(sample).max(1);
            all.into_iter().step_by(every).collect()
        }
    }
}

/// One life in which the calls of one operation meet a fault. It ends early, once that has been judged.
async fn disturbed(stage: &dyn Stage, number: usize, cell: &Cell) -> Result<Seen, String> {
    let ((at, call), fault) = cell;
    let bench = stage.bench(number).await;
    let bench = bench.as_ref();
    let mut group = Group::start(&bench.provider()).await;
    let life = life();
    // It begins where the operation before ends.
    for step in &life[at.saturating_sub(1)..*at] {
        let problems = take(&mut group, step, bench).await;
        if !problems.is_empty() {
            return Err(format!(
                "{} fails before the fault: {problems:?}",
                step.name
            ));
        }
    }
    let step = &life[*at];
    bench.order(call, *fault);
    let problems = take(&mut group, step, bench).await;
    if !bench.met() {
        return Err(format!("nothing met the fault: {problems:?}"));
    }
    let seen = match problems.is_empty() {
        true => Seen::CarriedOn,
        false => {
            judge(stage, cell, &problems)?;
            if std::env::var_os("FLATCAR_FAULTS").is_some() {
                println!("{}: {problems:#?}", named(cell));
            }
            true_to_itself(&group, bench).await?;
            bench.calm();
            let again = take(&mut group, step, bench).await;
            if !again.is_empty() {
                return Err(format!("the next apply fails too: {again:?}"));
            }
            Seen::SaidSo
        }
    };
    is_true(&group, bench, step.replicas).await?;
    bench.calm();
    if step.replicas > 0 {
        if let Some(unsettled) = group.unsettled(&step.config(bench)).await {
            return Err(unsettled);
        }
        let left = group.destroy().await;
        if !left.is_empty() {
            return Err(format!("the end of the group fails: {left:?}"));
        }
        is_true(&group, bench, 0).await?;
    }
    let log = group.end().await;
    if stage.is_logged(*fault) && !log.contains("tries a call to the cloud again") {
        return Err(format!("no retry in the log: {log}"));
    }
    Ok(seen)
}

async fn take(group: &mut Group, step: &Step, bench: &dyn Bench) -> Vec<Problem> {
    match step.replicas {
        0 => group.destroy().await,
        _ => group.apply(&step.config(bench)).await,
    }
}

/// One error, with the call's name and the cloud's word.
fn judge(stage: &dyn Stage, ((_, call), fault): &Cell, problems: &[Problem]) -> Result<(), String> {
    let [problem] = problems else {
        return Err(format!("it is said {} times: {problems:?}", problems.len()));
    };
    if problem.summary.len() > 60 || problem.summary.ends_with('.') {
        return Err(format!("it is no summary: {problem:?}"));
    }
    let action = stage.action(call);
    // Of a server that is gone, any call may be the first to tell.
    if *fault != Fault::Refused && !problem.detail.contains(&action) {
        return Err(format!("{action:?} is not named: {problem:?}"));
    }
    let words = stage.words(*fault);
    match words.iter().any(|word| problem.detail.contains(word)) {
        true => Ok(()),
        false => Err(format!("none of {words:?} is said: {problem:?}")),
    }
}

/// What state has is what the cloud has: so many machines.
async fn is_true(group: &Group, bench: &dyn Bench, replicas: usize) -> Result<(), String> {
    true_to_itself(group, bench).await?;
    bench
        .traffic(group.machines().into_values().collect())
        .await?;
    match group.machines().len() {
        count if count == replicas => Ok(()),
        count => Err(format!("{count} machines instead of {replicas}")),
    }
}

async fn true_to_itself(group: &Group, bench: &dyn Bench) -> Result<(), String> {
    let mut exist = bench.machines().await;
    exist.sort();
    let recorded: Vec<(String, String)> = group.machines().into_iter().collect();
    match exist == recorded {
        true => Ok(()),
        false => Err(format!("the cloud has {exist:?}, state has {recorded:?}")),
    }
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without words"))
}
