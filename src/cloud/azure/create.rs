//! How a machine is made: its address and network interface, then itself, each where nobody has its
//! name yet.
//!
//! In: a spec and its shape. Out: the machine, be it that an earlier create of the spec made it. An
//! interface that a machine uses is never put again, and a machine is put with `If-None-Match`: a
//! repeat changes nothing that runs.

use serde_json::Value as Json;

use super::api::{COMPUTE, NETWORK, Session};
use super::known::id_of;
use super::machine::Seen;
use super::request::{self, Parts, image_text};
use super::shape::Shape;
use crate::http::api::Call;
use crate::http::rest::Effect;
use crate::worker_group::cloud::{
    Answered, CloudError, Kind, Machine, PROOF, Phase, Spec, Spread, UID, absent, in_turn,
};

/// Who makes machines.
pub(super) struct Maker<'a> {
    pub(super) session: &'a Session,
    pub(super) spread: &'a Spread,
}

impl Maker<'_> {
    /// The parts of a machine, then itself; or the machine that an earlier create of this spec
    /// made.
    pub(super) async fn made(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        parts: &Parts,
        user_data: &str,
    ) -> Answered<Machine> {
        if let Some(nic) = self
            .part(spec, "Azure GET networkInterfaces", &parts.nic)
            .await?
            && nic["properties"]["virtualMachine"]["id"].is_string()
        {
            // An interface that is used is never put again.
            let machine = self.existing(spec, parts).await?;
            return machine.ok_or_else(|| {
                let words = "a network interface of it that a machine uses which is going";
                CloudError::new(Kind::Unavailable, CREATE, spec.name, words)
            });
        }
        if shape.public_ip {
            self.part(spec, "Azure GET publicIPAddresses", &parts.address)
                .await?;
            self.put(
                spec,
                "Azure PUT publicIPAddresses",
                &parts.address,
                request::address(spec, shape),
            )
            .await?;
        }
        let nic = self
            .put(
                spec,
                "Azure PUT networkInterfaces",
                &parts.nic,
                request::nic(spec, shape, parts),
            )
            .await?;
        let zones = in_turn(&shape.zones, spec.ordinal + u64::from(spec.attempt));
        let zones: Vec<Option<&str>> = match zones.is_empty() {
            true => vec![None],
            false => zones.iter().map(|zone| Some(zone.as_str())).collect(),
        };
        let is_short = |error: &CloudError| error.kind == Kind::Quota;
        let run = |zone| self.run(spec, shape, parts, zone, user_data);
        let mut machine = self.spread.create(spec, &zones, is_short, run).await?;
        if machine.addresses.is_empty() {
            let address =
                nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"].as_str();
            machine.addresses.extend(address.map(str::to_owned));
        }
        Ok(machine)
    }

    async fn run(
        &self,
        spec: &Spec<'_>,
        shape: &Shape,
        parts: &Parts,
        zone: Option<&str>,
        user_data: &str,
    ) -> Answered<Machine> {
        let body = request::machine(spec, shape, parts, zone, user_data);
        let mut call = Call::put(&parts.machine, body)
            .query("api-version", COMPUTE)
            .header("if-none-match", "*");
        call.effect = Effect::Creates;
        let refusal = match self.session.send(CREATE, spec.name, call).await {
            Ok(json) => {
                let Some(id) = id_of(&json) else {
                    return self
                        .existing(spec, parts)
                        .await?
                        .ok_or_else(|| unsaid(spec));
                };
                let seen = Seen {
                    machine: json,
                    ..Seen::default()
                };
                // It may have failed already.
                let failed = seen.found().filter(|found| found.phase == Phase::Failed);
                let mut made = failed.unwrap_or_else(|| Machine::asked_for(spec, id));
                if let Some(zone) = zone {
                    made.zone = format!("{}-{zone}", shape.location);
                    made.observed.insert("zones".to_owned(), zone.to_owned());
                }
                return Ok(made);
            }
            Err(refusal) => refusal,
        };
        if !EXISTS.contains(&refusal.code()) {
            return Err(refusal);
        }
        self.existing(spec, parts)
            .await?
            .ok_or_else(|| refusal.being(Kind::Unavailable))
    }

    /// A part of this name, where there is one; it is of this very spec.
    async fn part(
        &self,
        spec: &Spec<'_>,
        action: &'static str,
        id: &str,
    ) -> Answered<Option<Json>> {
        let call = Call::get(id).query("api-version", NETWORK);
        let part = absent(self.session.send(action, spec.name, call).await)?;
        let Some(part) = part else {
            return Ok(None);
        };
        let tags = &part["tags"];
        match tags[UID] == *spec.mark.uid
            && tags[PROOF].as_str().unwrap_or_default() == spec.mark.proof
        {
            true => Ok(Some(part)),
            false => Err(taken(spec, id)),
        }
    }

    async fn put(
        &self,
        spec: &Spec<'_>,
        action: &'static str,
        id: &str,
        body: Json,
    ) -> Answered<Json> {
        let call = Call::put(id, body).query("api-version", NETWORK);
        let reply = self.session.ask(action, spec.name, call).await?;
        self.session.finished(action, spec.name, &reply).await?;
        Ok(reply.json)
    }

    /// The machine of this name, where there is one; it is of this very spec. The mark is left out:
    /// it may have been rewritten since.
    async fn existing(&self, spec: &Spec<'_>, parts: &Parts) -> Answered<Option<Machine>> {
        let call = Call::get(&parts.machine)
            .query("api-version", COMPUTE)
            .query("$expand", "instanceView");
        let Some(mut machine) = absent(
            self.session
                .send("Azure GET virtualMachines", spec.name, call)
                .await,
        )?
        else {
            return Ok(None);
        };
        let view = machine["properties"]["instanceView"].take();
        let image = image_text(&machine["properties"]["storageProfile"]["imageReference"]);
        let seen = Seen {
            machine,
            view,
            ..Seen::default()
        };
        let found = seen
            .found()
            .filter(|found| found.mark.proof == spec.mark.proof && found.name == spec.name);
        let found = found.filter(|_| image.eq_ignore_ascii_case(spec.image));
        found.map(Some).ok_or_else(|| taken(spec, &parts.machine))
    }
}

fn taken(spec: &Spec<'_>, id: &str) -> CloudError {
    CloudError::new(
        Kind::AlreadyExists,
        CREATE,
        spec.name,
        format!("the name is taken by {id}"),
    )
}

fn unsaid(spec: &Spec<'_>) -> CloudError {
    let words = "no id of the machine that it made";
    CloudError::new(Kind::Ambiguous, CREATE, spec.name, words)
}

const CREATE: &str = "Azure PUT virtualMachines";
/// What a put answers where there is a machine of the name.
const EXISTS: [&str; 3] = ["PreconditionFailed", "PropertyChangeNotAllowed", "Conflict"];
