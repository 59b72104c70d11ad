//! The fault matrix: every call that a cloud makes in a group's life × everything that can befall a
//! call, and what the user gets to see.
//!
//! An undisturbed life gives the names of the calls in each operation. Then there are lives with a
//! provider, a cluster and a wire of their own, in each of which every operation meets one fault at
//! one of its calls, until all have met all. A cell is good where the operation *carried on*, or
//! *said so*: one error with the call's name and the cloud's word, a state that is true, and the
//! next apply finishes; or where it *warned* that it goes on without what is no reason to stop.
//! Nothing is doubled or orphaned, and a plan finds nothing more to do. The results are
//! `docs/fault-matrix.md`. Asked for: `FLATCAR_FAULTS="roll,List,403"` runs the cells whose names
//! hold all words, `FLATCAR_FAULTS=sample,60` a sample of so many, `FLATCAR_FAULTS=blank` those
//! that the page has not, `FLATCAR_FAULTS=full` all; without, those that do not wait ten seconds,
//! or the cloud's sample.

pub(crate) mod group;
mod page;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value as Json, json};

use self::group::{Group, Problem};
use self::wire::Wire;
use crate::proxy::Proxy;

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The server is gone: this connection is reset and no other taken, until the operation has
    /// ended.
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
    pub(crate) const ALL: [Self; 13] = [
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
    pub(crate) fn word(self) -> &'static str {
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
    pub(crate) fn times(self) -> usize {
        match self {
            Self::Refused | Self::Forbidden => usize::MAX,
            Self::Throttled | Self::RetryAfter | Self::NotYet | Self::Still => 2,
            _ => 1,
        }
    }
}

/// A cloud of the matrix.
pub(crate) trait FaultyCloud: Sync {
    /// The user's word, and the head of its section.
    fn name(&self) -> &'static str;
    /// A place for one life, where nothing else happens.
    fn place(&self, number: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>>;
    /// Whether a call can meet a fault at all, in an operation that creates or deletes machines, or
    /// does not.
    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool;
    /// How diagnostics name a call.
    fn action(&self, call: &str) -> String;
    /// One of these is in a diagnostic that says so.
    fn words(&self, fault: Fault) -> &'static [&'static str];
    /// Whether it is the engine that tries again, rather than the cloud's own client: that is
    /// logged.
    fn is_logged(&self, _: Fault) -> bool {
        false
    }
    /// Lives at a time.
    fn at_once(&self) -> usize;
    /// How many machines are changed and rolled; a create makes one more.
    fn machines(&self) -> usize {
        2
    }
    /// Summaries of the warnings by which a user learns that an operation went on without
    /// something.
    fn warnings(&self) -> &'static [&'static str] {
        &[TRAFFIC]
    }
    /// Whether somebody can stop a machine, which the group then starts.
    fn stops(&self) -> bool {
        false
    }
}

/// One life's own part of a cloud.
pub(crate) trait FaultyLife: Send + Sync {
    /// The provider block.
    fn provider(&self) -> Json;
    /// The group's arguments that depend on the cloud, with these tags.
    fn shape(&self, tags: &Json) -> Json;
    /// What makes user data longer, where that matters.
    fn more_user_data(&self) -> String {
        String::new()
    }
    /// From now on these calls meet the fault.
    fn order(&self, call: &str, fault: Fault);
    /// Where calls pass by a wire: that of this life.
    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        None
    }
    /// Whether one has met it.
    fn met(&self) -> bool {
        self.wire().is_some_and(|(wire, _)| wire.met())
    }
    /// Nothing befalls anybody any more, nothing has, and calls are counted anew.
    fn calm(&self) {
        if let Some((wire, proxy)) = self.wire() {
            wire.calm(proxy);
        }
    }
    /// The names of the calls since then, each once.
    fn calls(&self) -> BTreeSet<String> {
        let calls = self.wire().map(|(_, proxy)| proxy.calls());
        calls.into_iter().flatten().collect()
    }
    /// Somebody stops a machine, where there is one.
    fn stop(&self) {}
    /// Name and id of each machine that is there and not going.
    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>>;
    /// Whether machines of these ids, and no others, get traffic, and none went while it had some.
    fn traffic(&self, _: BTreeSet<String>) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
    /// Whether what machines have beside their cloud is as it is to be after an operation that gave
    /// these warnings.
    fn in_order<'a>(&'a self, _warnings: &'a [String]) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
    /// What there is of the group beside machines: nothing once the group is gone.
    fn others(&self) -> BoxFuture<'_, Vec<String>> {
        async { Vec::new() }.boxed()
    }
}

/// What the user gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    CarriedOn,
    SaidSo,
    /// It went on without something, and a warning says so.
    Warned,
}

impl Seen {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::CarriedOn => "carried on",
            Self::SaidSo => "said so",
            Self::Warned => "warned",
        }
    }
}

/// Where in a life, by its number; which call.
pub(crate) type Call = (usize, String);
/// A call and its fault.
pub(crate) type Cell = (Call, Fault);

/// An operation of a life: what the configuration says, and how many machines there are after it.
pub(crate) struct Step {
    /// Its place in [`OPERATIONS`].
    operation: usize,
    replicas: usize,
    tags: Json,
    message: &'static str,
    pub(crate) creates: bool,
    pub(crate) deletes: bool,
    on_stopped: Option<&'static str>,
}

/// Each begins with a refresh.
pub(crate) const OPERATIONS: [&str; 7] = [
    "create", "refresh", "scale in", "change", START, "roll", "destroy",
];
/// Only where somebody can stop a machine.
const START: &str = "start";

fn life(cloud: &dyn FaultyCloud) -> Vec<Step> {
    let count = cloud.machines();
    let (first, second) = (json!({"team": "a", "cost": "1"}), json!({"team": "b"}));
    let steps = [
        (count + 1, &first, "first", (true, false)),
        (count + 1, &first, "first", (false, false)),
        (count, &first, "first", (false, true)),
        (count, &second, "first", (false, false)),
        (count, &second, "first", (false, false)),
        (count, &second, "second", (true, true)),
        (0, &second, "second", (false, true)),
    ];
    let stops = cloud.stops();
    let steps = steps.into_iter().enumerate();
    steps
        .filter(|(operation, _)| stops || OPERATIONS[*operation] != START)
        .map(
            |(operation, (replicas, tags, message, (creates, deletes)))| Step {
                operation,
                replicas,
                tags: tags.clone(),
                message,
                creates,
                deletes,
                on_stopped: stops.then_some("start"),
            },
        )
        .collect()
}

impl Step {
    fn config(&self, place: &dyn FaultyLife) -> Json {
        let contents = format!("data:,{}{}", self.message, place.more_user_data());
        let files = json!([{"path": "/etc/motd", "contents": {"source": contents}}]);
        let ignition = json!({"ignition": {"version": "3.3.0"}, "storage": {"files": files}});
        let mut config = json!({
            "name": "workers",
            "cluster": "faults",
            "replicas": self.replicas,
            "user_data": ignition.to_string(),
            "on_stopped": self.on_stopped,
        });
        let shape = place.shape(&self.tags);
        for (name, value) in shape.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        config
    }
}

/// Which cells are run.
enum Choice {
    All,
    /// All but those that wait ten seconds.
    Quick,
    /// So many, the same ones every day.
    Sample(usize),
    /// Those that the page has not.
    Blank,
    /// Those whose names hold all these words.
    Named(Vec<String>),
}

impl Choice {
    /// What the environment asks for, else a sample of so many, else whatever is quick.
    fn new(sample: Option<usize>) -> Self {
        let asked = std::env::var("FLATCAR_FAULTS").unwrap_or_default();
        let number = asked.strip_prefix("sample,");
        match (asked.as_str(), number, sample) {
            ("full", ..) => Self::All,
            ("blank", ..) => Self::Blank,
            (_, Some(number), _) => Self::Sample(number.parse().expect("a number")),
            ("", _, Some(number)) => Self::Sample(number),
            ("", ..) => Self::Quick,
            _ => Self::Named(asked.split(',').map(str::to_owned).collect()),
        }
    }

    fn of(&self, cloud: &dyn FaultyCloud, mut cells: Vec<Cell>) -> Vec<Cell> {
        match self {
            Self::All => {}
            Self::Blank => {
                let seen = page::seen(cloud);
                cells.retain(|cell| !seen.contains(cell));
            }
            Self::Quick => cells.retain(|(_, fault)| *fault != Fault::Silence),
            Self::Sample(number) => return sampled(cells, *number),
            Self::Named(words) => {
                cells.retain(|cell| words.iter().all(|word| named(cell).contains(word)));
            }
        }
        cells
    }
}

/// A cell, and what was seen or what was wrong.
type Outcome = (Cell, Result<Seen, String>);

/// Fails with every cell that is not good, and where the page says something else.
pub(crate) async fn show(cloud: &dyn FaultyCloud, sample: Option<usize>) {
    let began = Instant::now();
    let choice = Choice::new(sample);
    let (calls, outcomes) = match choice {
        // A life takes long where a sample is wanted: the page knows the calls, and whether it is
        // right is seen meanwhile.
        Choice::Sample(_) => {
            let cells = choice.of(cloud, cells(cloud, &page::calls(cloud)));
            futures::join!(undisturbed(cloud), all(cloud, cells))
        }
        _ => {
            let calls = undisturbed(cloud).await;
            let outcomes = all(cloud, choice.of(cloud, cells(cloud, &calls))).await;
            (calls, outcomes)
        }
    };
    let mut wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|(cell, result)| Some(format!("{}: {}", named(cell), result.as_ref().err()?)))
        .collect();
    println!(
        "{}: {} cells, {} failed ({:.1?})",
        cloud.name(),
        outcomes.len(),
        wrong.len(),
        began.elapsed()
    );
    wrong.extend(page::shows(cloud, &calls, &outcomes));
    assert!(wrong.is_empty(), "{}:\n{}", cloud.name(), wrong.join("\n"));
}

/// `roll: EC2 RunInstances × 403`
pub(crate) fn named(((step, call), fault): &Cell) -> String {
    format!("{}: {call} × {}", OPERATIONS[*step], fault.word())
}

/// The calls of a life to which nothing happens.
async fn undisturbed(cloud: &dyn FaultyCloud) -> BTreeSet<Call> {
    let place = cloud.place(0).await;
    let place = place.as_ref();
    let mut group = Group::start(&place.provider()).await;
    let mut calls = BTreeSet::new();
    for step in &life(cloud) {
        let number = step.operation;
        place.calm();
        let problems = take(&mut group, step, place).await;
        assert!(problems.is_empty(), "{problems:?}");
        calls.extend(place.calls().into_iter().map(|call| (number, call)));
        let settled = is_settled(&mut group, place, step).await;
        assert_eq!(settled, Ok(()), "{}", OPERATIONS[number]);
    }
    group.end().await;
    calls
}

/// Every cell that can be.
pub(crate) fn cells(cloud: &dyn FaultyCloud, calls: &BTreeSet<Call>) -> Vec<Cell> {
    let life = life(cloud);
    let all = calls.iter().flat_map(|call| {
        let steps = life.iter().filter(move |step| step.operation == call.0);
        steps.map(move |step| (call, step))
    });
    let all = all.flat_map(|(call, step)| {
        let can = move |fault: &Fault| cloud.can_meet(step, &call.1, *fault);
        let faults = Fault::ALL.into_iter().filter(can);
        faults.map(move |fault| (call.clone(), fault))
    });
    all.collect()
}

/// So many of each fault as of any other, in an order that a call more or less does not change; a
/// larger sample holds the smaller ones.
fn sampled(all: Vec<Cell>, number: usize) -> Vec<Cell> {
    let mut drawn: Vec<(u64, Cell)> = all
        .into_iter()
        .map(|cell| (lot(&named(&cell)), cell))
        .collect();
    drawn.sort();
    let mut of_fault: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, u64, Cell)> = drawn
        .into_iter()
        .map(|(lot, cell)| {
            let turn = of_fault.entry(cell.1).or_default();
            *turn += 1;
            (*turn, lot, cell)
        })
        .collect();
    turns.sort();
    let cells = turns.into_iter().map(|(.., cell)| cell);
    cells.take(number).collect()
}

/// A lot: FNV-1a, which is the same everywhere.
fn lot(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |lot, byte| {
        (lot ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Lives in which all these cells are.
async fn all(cloud: &dyn FaultyCloud, mut cells: Vec<Cell>) -> Vec<Outcome> {
    // One for each operation in a life; those that take long are not all in the same ones.
    cells.sort_by_key(|cell| lot(&named(cell)));
    let mut lives: Vec<Vec<Cell>> = Vec::new();
    for step in 0..OPERATIONS.len() {
        let of_step = cells.iter().filter(|((at, _), _)| *at == step);
        for (number, cell) in of_step.enumerate() {
            match lives.get_mut(number) {
                Some(life) => life.push(cell.clone()),
                None => lives.push(vec![cell.clone()]),
            }
        }
    }
    stream::iter(lives.into_iter().enumerate())
        .map(|(number, cells)| one(cloud, number + 1, cells))
        .buffer_unordered(cloud.at_once())
        .concat()
        .await
}

/// What was seen in a life. Where it ends before its time, the cell at which it did is to blame,
/// and those after it were not seen. Cells that were asked for may take an hour, so each is told as
/// it comes, past the capture of the tests' output.
async fn one(cloud: &dyn FaultyCloud, number: usize, cells: Vec<Cell>) -> Vec<Outcome> {
    let mut seen = Vec::new();
    let lived = AssertUnwindSafe(lived(cloud, number, &cells, &mut seen)).catch_unwind();
    let end = lived.await.unwrap_or_else(|panic| Err(said(&*panic)));
    if end.is_err() && seen.len() == cells.len() {
        seen.pop();
    }
    let met = seen.len();
    let name = cloud.name();
    let tells = std::env::var_os("FLATCAR_FAULTS").is_some();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (number, cell) in cells.into_iter().enumerate() {
        let result = match (seen.get(number), &end) {
            (Some(seen), _) => Ok(*seen),
            (None, Err(why)) if number == met => Err(why.clone()),
            _ => Err("not come to: the same life ended before".to_owned()),
        };
        if let Err(why) = &result {
            println!("  {name}: {}: FAILED: {why}", named(&cell));
        }
        if tells {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{name}: {}: {result:?}", named(&cell));
        }
        outcomes.push((cell, result));
    }
    outcomes
}

/// A life from the operation of the first of these cells on, each of which is of another; what was
/// seen is added as it is.
async fn lived(
    cloud: &dyn FaultyCloud,
    number: usize,
    cells: &[Cell],
    seen: &mut Vec<Seen>,
) -> Result<(), String> {
    let place = cloud.place(number).await;
    let place = place.as_ref();
    let life = life(cloud);
    let mut group = Group::start(&place.provider()).await;
    let (first, last) = match cells {
        [((first, _), _), .., ((last, _), _)] => (*first, *last),
        [((only, _), _)] => (*only, *only),
        [] => return Ok(()),
    };
    // It begins with the operation before the first.
    let before = life.iter().rev().find(|step| step.operation < first);
    let begin = before.map_or(first, |step| step.operation);
    for step in &life {
        let at = step.operation;
        if !(begin..=last).contains(&at) {
            continue;
        }
        let began = Instant::now();
        match cells.iter().find(|((of, _), _)| *of == at) {
            Some(cell) => {
                let result = disturbed(cloud, &mut group, place, step, cell).await?;
                let (name, took) = (cloud.name(), began.elapsed());
                println!("  {name}: {}: {} ({took:.1?})", named(cell), result.word());
                seen.push(result);
            }
            None => {
                let problems = take(&mut group, step, place).await;
                if !problems.is_empty() {
                    return Err(format!(
                        "{} fails without a fault: {problems:?}",
                        OPERATIONS[at]
                    ));
                }
                is_settled(&mut group, place, step).await?;
            }
        }
    }
    let left = group.destroy().await;
    if !left.is_empty() {
        return Err(format!("the end of the group fails: {left:?}"));
    }
    is_true(&group, place, 0).await?;
    let log = group.end().await;
    let tries = log.matches("tries a call to the cloud again").count();
    let logged = cells.iter().filter(|(_, fault)| cloud.is_logged(*fault));
    match tries < logged.count() {
        true => Err(format!("{tries} retries in the log: {log}")),
        false => Ok(()),
    }
}

/// An operation whose calls of one name meet a fault.
async fn disturbed(
    cloud: &dyn FaultyCloud,
    group: &mut Group,
    place: &dyn FaultyLife,
    step: &Step,
    cell: &Cell,
) -> Result<Seen, String> {
    let ((_, call), fault) = cell;
    place.order(call, *fault);
    let problems = take(group, step, place).await;
    if !place.met() {
        return Err(format!("nothing met the fault: {problems:?}"));
    }
    let seen = match problems.is_empty() {
        true if cloud.warnings().iter().any(|one| group.warned(one)) => Seen::Warned,
        true => Seen::CarriedOn,
        false => {
            judge(cloud, cell, &problems)?;
            if std::env::var_os("FLATCAR_FAULTS").is_some() {
                println!("{}: {problems:#?}", named(cell));
            }
            true_to_itself(group, place).await?;
            place.calm();
            let again = take(group, step, place).await;
            if !again.is_empty() {
                return Err(format!("the next apply fails too: {again:?}"));
            }
            Seen::SaidSo
        }
    };
    is_settled(group, place, step).await?;
    Ok(seen)
}

async fn take(group: &mut Group, step: &Step, place: &dyn FaultyLife) -> Vec<Problem> {
    if OPERATIONS[step.operation] == START {
        place.stop();
    }
    match step.replicas {
        0 => group.destroy().await,
        _ => group.apply(&step.config(place)).await,
    }
}

/// One error, with the call's name and the cloud's word.
fn judge(
    cloud: &dyn FaultyCloud,
    ((_, call), fault): &Cell,
    problems: &[Problem],
) -> Result<(), String> {
    let [problem] = problems else {
        return Err(format!("it is said {} times: {problems:?}", problems.len()));
    };
    if problem.summary.len() > 60 || problem.summary.ends_with('.') {
        return Err(format!("it is no summary: {problem:?}"));
    }
    let action = cloud.action(call);
    // Of a server that is gone, any call may be the first to tell.
    if *fault != Fault::Refused && !problem.detail.contains(&action) {
        return Err(format!("{action:?} is not named: {problem:?}"));
    }
    let words = cloud.words(*fault);
    match words.iter().any(|word| problem.detail.contains(word)) {
        true => Ok(()),
        false => Err(format!("none of {words:?} is said: {problem:?}")),
    }
}

/// State is true after an operation, and there is nothing more to do. What a create did is saved by
/// the operation that follows it, a refresh.
async fn is_settled(group: &mut Group, place: &dyn FaultyLife, step: &Step) -> Result<(), String> {
    is_true(group, place, step.replicas).await?;
    place.calm();
    match OPERATIONS[step.operation] {
        "create" | "destroy" => return Ok(()),
        "refresh" if group.changed => {
            return Err("there is something to do after a create".to_owned());
        }
        _ => {}
    }
    match group.unsettled(&step.config(place)).await {
        Some(unsettled) => Err(unsettled),
        None => Ok(()),
    }
}

/// What state has is what the cloud has: so many machines.
async fn is_true(group: &Group, place: &dyn FaultyLife, replicas: usize) -> Result<(), String> {
    true_to_itself(group, place).await?;
    if !group.warned(TRAFFIC) {
        let ids = group.machines().into_values().collect();
        place.traffic(ids).await?;
    }
    place.in_order(&group.warnings).await?;
    let left = match replicas {
        0 => place.others().await,
        _ => Vec::new(),
    };
    match group.machines().len() {
        _ if !left.is_empty() => Err(format!("{left:?} are left behind")),
        count if count == replicas => Ok(()),
        count => Err(format!("{count} machines instead of {replicas}")),
    }
}

async fn true_to_itself(group: &Group, place: &dyn FaultyLife) -> Result<(), String> {
    let mut exist = place.machines().await;
    exist.sort();
    let recorded: Vec<(String, String)> = group.machines().into_iter().collect();
    match exist == recorded {
        true => Ok(()),
        false => Err(format!("the cloud has {exist:?}, state has {recorded:?}")),
    }
}

/// What a warning begins with where machines went while they had traffic, for it could not be
/// ended.
const TRAFFIC: &str = "Traffic of the group could not be ended";

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without words"))
}
