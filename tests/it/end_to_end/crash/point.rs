//! One point: an apply that ends at one of its calls, the apply after it, and what must be true
//! then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use serde_json::{Value, json};

use super::super::{GROUP, Stage, configuration, workspace};
use super::{Call, Ground, Meets, Scenario};
use crate::core::{Core, Run, Workspace};
use crate::harness::wait_until;

/// How an apply ends at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// The provider is killed right before the call goes out.
    KilledBefore,
    /// The provider is killed right after the call was carried out.
    KilledAfter,
    /// Ctrl-C while the answer is awaited.
    Interrupted,
    /// `timeouts` is over while the answer is awaited.
    TimedOut,
    /// The call is carried out, and the connection breaks.
    AnswerLost,
}

impl End {
    pub(super) const ALL: [Self; 5] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::Interrupted,
        Self::TimedOut,
        Self::AnswerLost,
    ];

    /// As the table says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
            Self::Interrupted => "interrupted",
            Self::TimedOut => "out of time",
            Self::AnswerLost => "answer lost",
        }
    }

    fn meets(self) -> Meets {
        match self {
            Self::KilledBefore => Meets::HoldBefore,
            Self::KilledAfter | Self::Interrupted | Self::TimedOut => Meets::HoldAfter,
            Self::AnswerLost => Meets::Lost,
        }
    }
}

/// An apply, a call of it, and an end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<'a> {
    pub(super) scenario: &'static Scenario,
    pub(super) end: End,
    pub(super) call: Call<'a>,
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            end,
            call: Call { number, name, nth },
        } = self;
        let (of, end) = (scenario.name, end.word());
        write!(f, "{of}, {end} call {number} ({name}, {nth})")
    }
}

/// The calls that a scenario makes when nothing is in its way.
pub(super) fn undisturbed(
    scenario: &'static Scenario,
    ground: &dyn Ground,
    core: &Core,
) -> Vec<String> {
    let workspace = prepared(scenario, ground.stage(), core, None);
    ground.order(&workspace, Call::NONE, Meets::Nothing);
    workspace.run(scenario.arguments()).success();
    let calls = ground.end(&workspace);
    is_true(scenario, &workspace, ground.stage());
    calls
}

impl Scenario {
    fn arguments(&self) -> &'static [&'static str] {
        match self.after {
            0 => &["destroy", "-no-color", "-auto-approve"],
            _ => &["apply", "-no-color", "-auto-approve"],
        }
    }
}

impl Point<'_> {
    /// Panics where the next apply does not finish the job. `false`: the apply ended before it had
    /// made that call.
    pub(super) fn tried(&self, ground: &dyn Ground, core: &Core) -> bool {
        let Self {
            scenario,
            end,
            call,
        } = *self;
        let timeout = match end {
            End::TimedOut => Some(ground.timeout()),
            _ => None,
        };
        let workspace = prepared(scenario, ground.stage(), core, timeout);
        ground.order(&workspace, call, end.meets());
        let (run, reached) = ended(end, &workspace, ground, scenario.arguments());
        ground.release();
        let calls = ground.end(&workspace);
        let reached = reached && ground.has_made(&calls, call);
        for word in ["panic", "This is a bug"] {
            assert!(!run.stderr.contains(word), "{}", run.stderr);
        }

        let mut again = workspace.run(scenario.arguments());
        // A create that was killed after its last mark and before state was saved looks like one
        // whose state is saved: that is told.
        let whole = || ground.stage().machines(&workspace).len() == scenario.after;
        let is_told = |again: &Run| again.errors().join("").contains("Group exists already");
        if scenario.before == 0
            && matches!(end, End::KilledBefore | End::KilledAfter)
            && is_told(&again)
        {
            let text = configuration(ground.stage());
            let adopts = "on_existing = \"adopt\"\n          rolling_update";
            workspace.write("main.tf", &text.replacen("rolling_update", adopts, 1));
            again = workspace.run(scenario.arguments());
        }
        // A create that was on its way when the provider was killed may be carried out between the
        // next plan and its apply. That apply does what is right, and says that the plan knew other
        // machines.
        let is_overtaken = |again: &Run| {
            let errors = again.errors().join("");
            errors.contains("Group has changed since the plan")
        };
        if matches!(end, End::KilledBefore | End::KilledAfter) && is_overtaken(&again) && whole() {
            again = workspace.run(scenario.arguments());
        }
        assert!(
            again.status.success(),
            "the next apply failed: {}\nafter: {}",
            again.errors().join("\n"),
            run.errors().join("\n"),
        );
        is_true(scenario, &workspace, ground.stage());
        reached
    }
}

/// Runs a core until it has ended so; whether it came to that.
fn ended(end: End, workspace: &Workspace, ground: &dyn Ground, arguments: &[&str]) -> (Run, bool) {
    let mut apply = workspace.start(arguments);
    if matches!(end, End::AnswerLost | End::TimedOut) {
        return (apply.wait(), true);
    }
    let held = wait_until("the call is made", || match ground.holds() {
        true => Some(true),
        false => (!apply.runs()).then_some(false),
    });
    if !held {
        return (apply.wait(), false);
    }
    if end == End::Interrupted {
        apply.interrupt();
        if ground.waits_for_the_answer() {
            wait_until("the core has heard", || {
                (apply.has_said("Interrupt received") || !apply.runs()).then_some(())
            });
            ground.release();
        }
        return (apply.wait(), true);
    }
    assert!(apply.kill_provider(), "the provider runs");
    (apply.wait().failure(), true)
}

/// A workspace in which the apply is next.
fn prepared(
    scenario: &Scenario,
    stage: &dyn Stage,
    core: &Core,
    timeout: Option<&str>,
) -> Workspace {
    let workspace = workspace(core, stage);
    let mut more = String::new();
    if let Some(time) = timeout {
        let times = ["create", "read", "update", "delete"].map(|of| format!("{of} = {time:?}"));
        more += &format!("timeouts = {{ {} }}\n          ", times.join(", "));
    }
    if scenario.stops {
        more += "on_stopped = \"start\"\n          ";
    }
    let text = configuration(stage);
    let (head, tail) = text.split_once("rolling_update").expect("an argument");
    workspace.write("main.tf", &format!("{head}{more}rolling_update{tail}"));
    let variables = |replicas: usize, message: &str| {
        let values = json!({
            "replicas": replicas,
            "message": message,
            // Two at a time: calls overtake each other.
            "parallelism": 2,
        });
        workspace.variables(&values);
    };
    if scenario.before > 0 {
        variables(scenario.before, "first");
        workspace.apply();
    }
    if scenario.loses {
        let machines = stage.machines(&workspace);
        stage.remove(&workspace, machines.keys().next().expect("a machine"));
    }
    if scenario.stops {
        let machines = stage.machines(&workspace);
        stage.stop(&workspace, machines.keys().next().expect("a machine"));
    }
    let message = if scenario.rolls { "second" } else { "first" };
    // What is destroyed stays as it is configured.
    variables(scenario.after.max(scenario.before.min(1)), message);
    workspace
}

/// The cloud has what state has, under its mark, and as much as is wanted; that gets traffic, and
/// nothing else; and there is nothing more to do.
fn is_true(scenario: &Scenario, workspace: &Workspace, stage: &dyn Stage) {
    let saved = saved(workspace);
    let going: BTreeSet<String> = going(workspace);
    // The provider that was killed may have asked for that: nothing is left to do but to wait.
    let exist = wait_until("what state calls deleting is gone", || {
        let exist = stage.machines(workspace);
        let stays = |id| going.contains(id);
        (!exist.values().any(stays)).then_some(exist)
    });
    if let Some(targets) = stage.targets() {
        let ids: BTreeSet<String> = exist.values().cloned().collect();
        assert_eq!(targets, ids, "the target group, and the cloud");
    }
    assert_eq!(stage.disorder(), Vec::<String>::new());
    if scenario.after == 0 {
        assert_eq!((saved, exist.len()), (None, 0), "{exist:?}");
        return;
    }
    let (uid, mut recorded) = saved.expect("the group is in state");
    recorded.retain(|_, id| !going.contains(id));
    assert_eq!(exist, recorded, "the cloud, and state");
    assert_eq!(exist.len(), scenario.after, "{exist:?}");

    let plan = workspace.run(&["plan", "-no-color", "-detailed-exitcode"]);
    assert_eq!(
        plan.status.code(),
        Some(0),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    // The plan's refresh has seen a saved state.
    for (name, (of, unsaved)) in stage.marks(workspace) {
        assert_eq!((of.as_str(), unsaved), (uid.as_str(), false), "{name}");
    }
    assert_eq!(stage.machines(workspace), exist, "after the plan");
}

/// The group's uid and the ids of its machines by name, as the state file has them.
pub(crate) fn saved(workspace: &Workspace) -> Option<(String, BTreeMap<String, String>)> {
    let attributes = attributes(workspace)?;
    let machines = attributes["machines"].as_object().expect("machines");
    let ids = machines
        .iter()
        .map(|(name, machine)| (name.clone(), text(&machine["id"])))
        .collect();
    Some((text(&attributes["uid"]), ids))
}

/// The ids of machines that the state file calls `deleting`.
fn going(workspace: &Workspace) -> BTreeSet<String> {
    let attributes = attributes(workspace).unwrap_or_default();
    let machines = attributes["machines"].as_object().into_iter().flatten();
    machines
        .filter(|(_, machine)| machine["phase"] == "deleting")
        .map(|(_, machine)| text(&machine["id"]))
        .collect()
}

fn attributes(workspace: &Workspace) -> Option<Value> {
    let text = fs::read(workspace.path().join("terraform.tfstate")).ok()?;
    let state: Value = serde_json::from_slice(&text).expect("the state as JSON");
    let resources = state["resources"].as_array().expect("resources");
    let (kind, name) = GROUP.split_once('.').expect("an address");
    let group = resources
        .iter()
        .find(|resource| resource["type"] == kind && resource["name"] == name)?;
    Some(group["instances"][0]["attributes"].clone())
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
