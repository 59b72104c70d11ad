//! An apply that ends at any of its calls: killed, interrupted, out of time, or with an answer
//! lost. The next apply finishes the job, without any change of configuration.
//!
//! `SCENARIOS` × the calls that each makes in an undisturbed run × `End` = the points.
//! `FLATCAR_CRASH=full` tries them all (`make crash-full`), `FLATCAR_CRASH="roll,scale in"` all of
//! these (`FLATCAR_CRASH_POINT="killed after call 17"`: only those whose names hold it); without
//! it, a sample is tried. `UPDATE=1` writes `docs/crash-table.md`, where a
//! sample replaces no row that counts more points.

mod point;
mod table;
mod wire;

use serde_json::json;

use super::{GROUP, Stage, complete, settled, workspace};
use crate::clouds::sandbox::Sandbox;
use crate::core::{Core, Workspace};
use crate::harness::wait_until;

#[cfg(feature = "openstack")]
pub(crate) use self::point::saved;
use self::point::{End, Point};
use self::table::{Table, try_all};
pub(crate) use self::wire::Wired;

/// A cloud on which an apply can be ended at each of its calls. Each value is good for one
/// workspace.
pub(crate) trait Ground {
    fn stage(&self) -> &dyn Stage;
    /// Calls are counted from now on, and this one meets that.
    fn order(&self, workspace: &Workspace, call: Call<'_>, meets: Meets);
    /// Whether the call is held now.
    fn holds(&self) -> bool;
    /// It is no longer.
    fn release(&self);
    /// Everything is answered again. The names of the calls since [`Ground::order`].
    fn end(&self, workspace: &Workspace) -> Vec<String>;
    /// Whether it is among these.
    fn has_made(&self, calls: &[String], call: Call<'_>) -> bool {
        calls.len() >= call.number
    }
    /// Whether a call that was begun always comes to an end, so that an interrupt waits for it.
    fn waits_for_the_answer(&self) -> bool {
        false
    }
    /// Time that an apply gets where it is to run out: enough for one that nothing is in the way
    /// of, on a busy machine too.
    fn timeout(&self) -> &'static str {
        TIMEOUT
    }
}

/// [`Ground::timeout`] of a cloud whose machines are there at once.
const TIMEOUT: &str = "12s";

/// A call of an undisturbed apply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// Among all calls, from 1.
    pub(crate) number: usize,
    name: &'a str,
    /// Among the calls of this name, from 1.
    nth: usize,
}

impl Call<'_> {
    /// Of no apply.
    const NONE: Self = Self {
        number: 0,
        name: "",
        nth: 0,
    };
}

impl<'a> Call<'a> {
    fn of(calls: &'a [String], number: usize) -> Self {
        let name = calls[number - 1].as_str();
        let nth = calls[..number].iter().filter(|call| *call == name).count();
        Self { number, name, nth }
    }
}

/// What befalls a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meets {
    Nothing,
    /// It does not go out.
    HoldBefore,
    /// It is carried out, and not answered.
    HoldAfter,
    /// It is carried out, and its answer is lost: the connection breaks.
    Lost,
}

/// What is applied to what.
#[derive(Debug)]
struct Scenario {
    name: &'static str,
    /// `replicas` before; 0: there is no group.
    before: usize,
    /// `replicas` then.
    after: usize,
    /// What machines are made of changes.
    rolls: bool,
    /// A machine goes behind the provider's back.
    loses: bool,
    /// One is stopped so, and started again; only where [`Stage::stop`] can.
    stops: bool,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "create",
        before: 0,
        after: 3,
        rolls: false,
        loses: false,
        stops: false,
    },
    Scenario {
        name: "roll",
        before: 2,
        after: 2,
        rolls: true,
        loses: false,
        stops: false,
    },
    Scenario {
        name: "scale out",
        before: 1,
        after: 3,
        rolls: false,
        loses: false,
        stops: false,
    },
    Scenario {
        name: "repair",
        before: 2,
        after: 2,
        rolls: false,
        loses: true,
        stops: false,
    },
    Scenario {
        name: "start",
        before: 2,
        after: 2,
        rolls: false,
        loses: false,
        stops: true,
    },
    Scenario {
        name: "scale in",
        before: 3,
        after: 1,
        rolls: false,
        loses: false,
        stops: false,
    },
    Scenario {
        name: "destroy",
        before: 2,
        after: 0,
        rolls: false,
        loses: false,
        stops: false,
    },
];

/// All points, where the environment asks for them, or a sample of so many.
pub(crate) fn each_point(
    cloud: &'static str,
    sample: usize,
    ground: impl Fn() -> Option<Box<dyn Ground>> + Sync,
) {
    let (Some(core), Some(_)) = (Core::find("terraform"), ground()) else {
        return;
    };
    let ground = || ground().expect("it was there");
    let asked = std::env::var("FLATCAR_CRASH").ok();
    let names = asked.as_deref().filter(|asked| *asked != "full");
    let stops = ground().stage().stops();
    let is_left_out = |scenario: &Scenario| {
        let is_asked = |names: &str| names.split(',').any(|one| one == scenario.name);
        (scenario.stops && !stops) || !names.is_none_or(is_asked)
    };
    let calls: Vec<Vec<String>> = SCENARIOS
        .iter()
        .map(|scenario| match is_left_out(scenario) {
            true => Vec::new(),
            false => point::undisturbed(scenario, &*ground(), &core),
        })
        .collect();
    for (scenario, calls) in SCENARIOS.iter().zip(&calls) {
        println!("{cloud} {}: {}", scenario.name, calls.join(", "));
    }
    let all: Vec<Point<'_>> = SCENARIOS
        .iter()
        .zip(&calls)
        .flat_map(|(scenario, calls)| {
            End::ALL.into_iter().flat_map(move |end| {
                let point = move |number| Point {
                    scenario,
                    end,
                    call: Call::of(calls, number),
                };
                (1..=calls.len()).map(point)
            })
        })
        .collect();
    let full = asked.is_some();
    let mut points = match full {
        true => all,
        false => some_of(all, sample),
    };
    if let Ok(word) = std::env::var("FLATCAR_CRASH_POINT") {
        points.retain(|point| point.to_string().contains(&word));
    }
    let tried = try_all(&points, |point| point.tried(&*ground(), &core));
    let table = Table::of(cloud, &calls, &points, &tried);
    println!("{table}");
    if std::env::var_os("UPDATE").is_some() {
        table.write(full);
    }
    let wrong = table.wrong();
    assert!(
        wrong.is_empty(),
        "{} points:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let missed = table.missed();
    for point in missed {
        println!("{point}: not reached");
    }
    // Looks are as many as there is time for, so the last of them may not come; no other call does
    // that.
    assert!(
        missed.len() * 4 < points.len(),
        "{} of {} points were not reached: the undisturbed run is no measure:\n{}",
        missed.len(),
        points.len(),
        missed.join("\n")
    );
}

/// A sample. Without the later ones of a call that is made again and again: how many looks there is
/// time for differs from run to run, and what a look meets does not.
fn some_of(mut points: Vec<Point<'_>>, count: usize) -> Vec<Point<'_>> {
    use rand::SeedableRng as _;
    use rand::seq::SliceRandom as _;
    points.retain(|point| point.call.nth <= MOST_OF_A_NAME);
    points.shuffle(&mut rand::rngs::StdRng::seed_from_u64(SEED));
    points.truncate(count);
    points
}

const SEED: u64 = 6;
/// No scenario creates or deletes more machines.
const MOST_OF_A_NAME: usize = 3;

/// The moments at which the core alone is killed: `replicas` before and after, the call that is
/// never answered, and whether it is carried out.
const MOMENTS: [(usize, usize, &str, usize, bool); 7] = [
    (0, 3, "create", 1, false),
    (0, 3, "create", 1, true),
    (0, 3, "create", 3, true),
    (3, 3, "create", 2, true),
    (3, 3, "delete", 1, false),
    (3, 3, "delete", 2, true),
    (3, 1, "delete", 1, true),
];

#[test]
fn an_apply_on_the_sandbox_goes_on_after_its_core_was_killed() {
    let Some(core) = Core::find("terraform") else {
        return;
    };
    for (before, after, call, nth, done) in MOMENTS {
        println!("{call} {nth} of {before} -> {after}, done: {done}");
        let workspace = workspace(&core, &Sandbox);
        if before > 0 {
            workspace.variables(&json!({"replicas": before}));
            workspace.apply();
            complete(&workspace, &Sandbox, before);
        }
        let message = if before == after { "second" } else { "first" };
        // One at a time: the nth call is then the nth machine.
        workspace.variables(&json!({"replicas": after, "message": message, "parallelism": 1}));
        Sandbox.stall(&workspace, call, nth, done);
        let mut apply = workspace.start(&["apply", "-no-color", "-auto-approve"]);
        wait_until("the call is made that gets no answer", || {
            assert!(apply.runs(), "the apply ended before the call was made");
            Sandbox.stalls(&workspace).then_some(())
        });
        apply.kill_core();
        Sandbox.go_on(&workspace);
        workspace.apply();
        complete(&workspace, &Sandbox, after);
        settled(&workspace);
        workspace.destroy();
        complete(&workspace, &Sandbox, 0);
        assert_eq!(workspace.state(GROUP), None);
    }
}
