//! Interrupted and killed in the middle of an apply; the next apply finishes the job.

use serde_json::json;

use super::aws::Moto;
use super::sandbox::Sandbox;
use super::{Call, GROUP, Stage, complete, recorded, settled, workspace};
use crate::core::Core;
use crate::harness::wait_until;

/// A moment at which an apply ends: what is done to a group of how many, and the call that is never answered.
struct Moment {
    /// Applied before: 0 is no group at all.
    before: usize,
    /// `replicas` of the apply that ends; the message changes where it equals `before`, so that machines roll.
    after: usize,
    call: Call,
    nth: usize,
    /// Whether the cloud carried the call out.
    done: bool,
}

/// The first machine before and after its creation, the last one, the middle of a roll on either side, and of a scale-in.
const MOMENTS: [Moment; 7] = [
    moment(0, 3, Call::Create, 1, false),
    moment(0, 3, Call::Create, 1, true),
    moment(0, 3, Call::Create, 3, true),
    moment(3, 3, Call::Create, 2, true),
    moment(3, 3, Call::Delete, 1, false),
    moment(3, 3, Call::Delete, 2, true),
    moment(3, 1, Call::Delete, 1, true),
];

const fn moment(before: usize, after: usize, call: Call, nth: usize, done: bool) -> Moment {
    Moment {
        before,
        after,
        call,
        nth,
        done,
    }
}

/// How the apply ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Ctrl-C: core and provider say what they know.
    Interrupt,
    /// Power is lost.
    Power,
    /// The core alone is killed.
    Core,
}

#[test]
fn an_apply_on_the_sandbox_goes_on_after_ctrl_c() {
    each_moment(&Sandbox, End::Interrupt, "terraform");
}

#[test]
fn an_apply_on_the_sandbox_goes_on_after_a_power_cut() {
    each_moment(&Sandbox, End::Power, "terraform");
}

#[test]
fn an_apply_on_the_sandbox_goes_on_after_its_core_was_killed() {
    each_moment(&Sandbox, End::Core, "terraform");
}

#[test]
fn an_apply_on_the_sandbox_under_opentofu_goes_on_after_ctrl_c() {
    each_moment(&Sandbox, End::Interrupt, "tofu");
}

#[test]
fn an_apply_on_aws_goes_on_after_ctrl_c() {
    if let Some(moto) = Moto::find() {
        each_moment(&moto, End::Interrupt, "terraform");
    }
}

#[test]
fn an_apply_on_aws_goes_on_after_a_power_cut() {
    if let Some(moto) = Moto::find() {
        each_moment(&moto, End::Power, "terraform");
    }
}

fn each_moment(stage: &dyn Stage, end: End, core: &'static str) {
    let Some(core) = Core::find(core) else {
        return;
    };
    for moment in MOMENTS {
        println!(
            "{end:?} at {:?} {} of {} -> {}, done: {}",
            moment.call, moment.nth, moment.before, moment.after, moment.done
        );
        at(&moment, stage, end, &core);
    }
}

fn at(moment: &Moment, stage: &dyn Stage, end: End, core: &Core) {
    let workspace = workspace(core, stage);
    if moment.before > 0 {
        workspace.variables(&json!({"replicas": moment.before}));
        workspace.apply();
        complete(&workspace, stage, moment.before);
    }
    let message = if moment.before == moment.after {
        "second"
    } else {
        "first"
    };
    // One at a time: the nth call is then the nth machine.
    workspace.variables(&json!({"replicas": moment.after, "message": message, "parallelism": 1}));
    stage.stall(&workspace, moment.call, moment.nth, moment.done);
    let mut apply = workspace.start(&["apply", "-no-color", "-auto-approve"]);
    wait_until("the call is made that gets no answer", || {
        assert!(
            apply.runs(),
            "the apply ended before the call was made: {:?}",
            stage.machines(&workspace)
        );
        stage.stalls(&workspace).then_some(())
    });
    match end {
        End::Power => apply.kill(),
        End::Core => apply.kill_core(),
        End::Interrupt => {
            apply.interrupt();
            let run = apply.wait().failure();
            let mut errors = run.errors();
            // Terraform's own, one for each thing that it did not get to.
            errors.retain(|error| error != "Error: execution halted");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains("Interrupted"), "{errors:?}");
            // What exists is recorded, but for the one machine whose creation was not answered.
            let (exist, recorded) = (stage.machines(&workspace), recorded(&workspace));
            let forgotten = exist.keys().filter(|name| !recorded.contains_key(*name));
            assert!(forgotten.count() <= 1, "{exist:?}, {recorded:?}");
        }
    }
    stage.go_on(&workspace);
    workspace.apply();
    complete(&workspace, stage, moment.after);
    settled(&workspace);
    workspace.destroy();
    complete(&workspace, stage, 0);
    assert_eq!(workspace.state(GROUP), None);
}
