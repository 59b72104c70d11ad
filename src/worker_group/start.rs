//! Machines that somebody stopped, where `on_stopped` says to start them or to leave them alone in
//! place of replacing them.
//!
//! In: the machines that exist, and names of those to start. Out: the same machines as they are
//! once each has left *stopped*, and what went wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cloud::{Machine, Phase, machines_of};
use super::roll::{Calls, Known, Problem};

/// Starts machines, and waits until lists no longer show them stopped: whether they come up is the
/// roll's to wait for.
pub(crate) async fn start(
    calls: &Calls<'_>,
    (cluster, group): (&str, &str),
    names: &BTreeSet<&str>,
    existing: &mut [Known],
    patience: Duration,
) -> Option<Problem> {
    let is_asked = |machine: &Machine| {
        machine.phase == Phase::Stopped && names.contains(machine.name.as_str())
    };
    let machines: Vec<Machine> = existing
        .iter()
        .map(|known| &known.machine)
        .filter(|machine| is_asked(machine))
        .cloned()
        .collect();
    if machines.is_empty() {
        return None;
    }
    let object = machines_of(machines.len());
    let started = calls.ask("Start", &object, || calls.cloud.start(&machines));
    if let Err(error) = started.await {
        return Some(Problem::of("Could not start machines", &error));
    }
    let ids: BTreeSet<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
    let until = Instant::now() + patience;
    loop {
        let listed = match calls.list(cluster, group).await {
            Ok(listed) => listed,
            Err(error) => return Some(Problem::of("Could not list the group's machines", &error)),
        };
        for machine in listed
            .into_iter()
            .filter(|one| ids.contains(one.id.as_str()))
        {
            let known = existing
                .iter_mut()
                .find(|known| known.machine.id == machine.id);
            if let Some(known) = known {
                known.machine = machine;
            }
        }
        let stopped: Vec<&str> = existing
            .iter()
            .map(|known| &known.machine)
            .filter(|machine| is_asked(machine))
            .map(|machine| machine.name.as_str())
            .collect();
        if stopped.is_empty() {
            return None;
        }
        if calls.is_over() || Instant::now() >= until {
            return Some(Problem {
                summary: "Machines do not start".to_owned(),
                detail: format!(
                    "The cloud took the start on, and {} {} stopped. Look at the cloud why, or write on_stopped = \"replace\".",
                    stopped.join(", "),
                    if stopped.len() == 1 { "is" } else { "are" }
                ),
                attribute: Some("on_stopped".to_owned()),
            });
        }
        tokio::select! {
            () = calls.cancel.cancelled() => {}
            () = sleep(calls.cloud.poll_interval()) => {}
        }
    }
}
