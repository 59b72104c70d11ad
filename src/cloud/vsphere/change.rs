//! What is changed on machines that exist: marks, notes and advanced parameters; and whether they
//! run.
//!
//! In: machines, a mark, a shape. Out: nothing, when all of them are so. A reconfiguration says
//! what should be, so nothing has to be read first, and parameters of others stay. See: *vSphere
//! Web Services API*, `ReconfigVM_Task`, `PowerOnVM_Task`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::api::Session;
use super::known;
use super::machine::OWN;
use super::request::reconfigure;
use super::shape::Shape;
use crate::worker_group::cloud::{Answered, Machine, Mark, absent, all_of};

/// Writes the mark, and, where there is a shape, all that changes in place. One that is gone has
/// nothing to change.
pub(super) async fn mark(
    session: &Session,
    machines: &[Machine],
    mark: &Mark,
    shape: Option<&Shape>,
) -> Answered<()> {
    const RECONFIGURE: &str = "vSphere ReconfigVM_Task";
    let none = BTreeMap::new();
    let kept = shape.map_or(&none, |shape| &shape.extra_config);
    let one = async |machine: &Machine| {
        let gone = OWN.left(std::slice::from_ref(machine), kept);
        let gone: Vec<&str> = gone.into_iter().collect();
        let body = reconfigure(mark, shape, &gone);
        let Some(of) = known::reference(&machine.id) else {
            return Ok(());
        };
        let done = session.carried_out(RECONFIGURE, &machine.name, &of, body);
        absent(done.await).map(drop)
    };
    all_of(machines.iter().map(one).collect()).await
}

/// Powers on those that are off, or suspended.
pub(super) async fn start(session: &Session, machines: &[Machine]) -> Answered<()> {
    const POWER_ON: &str = "vSphere PowerOnVM_Task";
    let one = async |machine: &Machine| {
        let Some(of) = known::reference(&machine.id) else {
            return Ok(());
        };
        let done = session.carried_out(POWER_ON, &machine.name, &of, Json::Null);
        match absent(done.await) {
            Err(error) if error.code() == "InvalidPowerState" => Ok(()),
            done => done.map(drop),
        }
    };
    all_of(machines.iter().map(one).collect()).await
}
