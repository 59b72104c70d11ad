//! What is changed on instances that exist: labels with the mark, metadata, network tags, deletion
//! protection, instance groups; and whether they run.
//!
//! In: machines, a mark, a shape. Out: nothing, when all of them are so. A change names the
//! fingerprint of what it changes: where somebody else was faster, what there is now is read, and
//! changed again. See: Compute Engine API v1, `instances.setLabels`, `setMetadata`, `setTags`,
//! `setDeletionProtection`, `start`, `resume`.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use serde_json::{Value as Json, json};

use super::api::Session;
use super::groups::{Groups, claims_of};
use super::instance::Instance;
use super::known::{Known, path};
use super::request::{METADATA_KEYS, metadata};
use super::shape::Shape;
use crate::http::api::Call;
use crate::worker_group::cloud::{
    Answered, CloudError, Facet, Kind, Machine, Mark, Phase, Traffic, absent, all_of,
    some_at_a_time,
};

/// Of one group's instances.
pub(super) struct Change<'a> {
    pub(super) session: &'a Session,
    pub(super) known: &'a Known,
    pub(super) mark: &'a Mark,
}

type Claims = BTreeSet<String>;

impl Change<'_> {
    /// Writes the mark alone.
    pub(super) async fn mark(&self, machines: &[Machine]) -> Answered<()> {
        let one = async |machine: &Machine| {
            let labels = |instance: &Instance| instance.labels_with(self.mark, None);
            self.relabel(&machine.id, &machine.name, labels).await
        };
        all_of(machines.iter().map(one).collect()).await
    }

    /// The same, and all that changes in place.
    pub(super) async fn reshape(
        &self,
        machines: &[Machine],
        shape: &Shape,
        traffic: &Traffic<Groups>,
    ) -> Answered<()> {
        let calls = machines.iter().map(async |machine| {
            self.known
                .instance(self.session, &machine.id, &machine.name)
                .await
        });
        let found: Vec<Option<Instance>> = some_at_a_time(calls.collect()).try_collect().await?;
        let instances: Vec<Instance> = found.into_iter().flatten().collect();
        let groups = shape.instance_groups.iter().cloned();
        let transfer =
            Traffic::<Groups>::transfer(groups, instances.iter().flat_map(Instance::claims));
        let meanwhile: Claims = transfer
            .meanwhile()
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        let one = |instance| self.reshape_one(instance, shape, &meanwhile);
        all_of(instances.iter().map(one).collect()).await?;
        let runs = |instance: &&Instance| instance.found().phase == Phase::Running;
        let running: Vec<String> = instances.iter().filter(runs).map(Instance::id).collect();
        let all = instances.iter().map(Instance::id).collect();
        traffic.carry_out(&transfer, &running, all).await?;
        let Some(now) = transfer.afterwards() else {
            return Ok(());
        };
        let now: Claims = now.map(str::to_owned).collect();
        let one = |instance| self.relabel_with(instance, shape, &now);
        all_of(instances.iter().map(one).collect()).await
    }

    async fn reshape_one(
        &self,
        instance: &Instance,
        shape: &Shape,
        claims: &Claims,
    ) -> Answered<()> {
        let (session, id, name) = (self.session, instance.id(), instance.name.as_str());
        let at = |verb: &str| -> Answered<String> {
            Ok(format!("{}/{verb}", path(session, &id, name)?))
        };
        let wanted = Facet::wanted(super::instance::FACETS, shape);
        if instance.found().observed.get("metadata") != wanted.get("metadata") {
            self.set_metadata(&id, name, shape).await?;
        }
        if instance.tags.items != shape.network_tags {
            let action = "Compute instances.setTags";
            let call = |instance: &Instance| -> Answered<Call> {
                let fingerprint = &instance.tags.fingerprint;
                let body = json!({"items": shape.network_tags, "fingerprint": fingerprint});
                Ok(Call::post(at("setTags")?, body))
            };
            self.change(action, &id, name, call).await?;
        }
        if instance.deletion_protection != shape.deletion_protection {
            let action = "Compute instances.setDeletionProtection";
            let call = |_: &Instance| -> Answered<Call> {
                let call = Call::post(at("setDeletionProtection")?, Json::Null);
                Ok(call.query("deletionProtection", shape.deletion_protection.to_string()))
            };
            self.change(action, &id, name, call).await?;
        }
        self.relabel_with(instance, shape, claims).await
    }

    async fn relabel_with(
        &self,
        instance: &Instance,
        shape: &Shape,
        claims: &Claims,
    ) -> Answered<()> {
        let own = claims_of(instance.zone(), claims);
        let labels = |instance: &Instance| instance.labels_with(self.mark, Some((shape, &own)));
        self.relabel(&instance.id(), &instance.name, labels).await
    }

    async fn relabel(
        &self,
        id: &str,
        name: &str,
        labels: impl Fn(&Instance) -> BTreeMap<String, String>,
    ) -> Answered<()> {
        let call = |instance: &Instance| -> Answered<Call> {
            let fingerprint = &instance.label_fingerprint;
            let body = json!({"labels": labels(instance), "labelFingerprint": fingerprint});
            let at = path(self.session, id, name)?;
            Ok(Call::post(format!("{at}/setLabels"), body))
        };
        let seen = self.known.instance(self.session, id, name).await?;
        match seen {
            Some(instance) if labels(&instance) == instance.labels => Ok(()),
            Some(_) => {
                self.change("Compute instances.setLabels", id, name, call)
                    .await
            }
            None => Ok(()),
        }
    }

    /// One that is gone has nothing to change.
    async fn change(
        &self,
        action: &'static str,
        id: &str,
        name: &str,
        call: impl Fn(&Instance) -> Answered<Call>,
    ) -> Answered<()> {
        let mut seen = self.known.instance(self.session, id, name).await?;
        for tries in 1.. {
            let Some(instance) = seen else {
                return Ok(());
            };
            let call = call(&instance)?.repeatable();
            let answer = self.session.send(action, name, call).await;
            self.known.forget(id);
            match answer {
                Err(error) if is_outdated(&error) && tries < MOST_TRIES => {
                    seen = self.known.now(self.session, id, name).await?;
                }
                answer => return absent(answer).map(drop),
            }
        }
        Ok(())
    }

    /// User data and what others have written stay.
    async fn set_metadata(&self, id: &str, name: &str, shape: &Shape) -> Answered<()> {
        const GET: &str = "Compute instances.get";
        let at = path(self.session, id, name)?;
        for tries in 1.. {
            let call = Call::get(&at).query("fields", "metadata");
            let answer = absent(self.session.send(GET, name, call).await)?;
            let Some(answer) = answer else {
                return Ok(());
            };
            let items = answer["metadata"]["items"].as_array().into_iter().flatten();
            let items = items.filter_map(|item| {
                let text = |key: &str| Some(item[key].as_str()?.to_owned());
                Some((text("key")?, text("value")?))
            });
            let mut items: BTreeMap<String, String> = items.collect();
            let before = items.remove(METADATA_KEYS).unwrap_or_default();
            items.retain(|key, _| !before.split(',').any(|own| own == key));
            let fingerprint = &answer["metadata"]["fingerprint"];
            let body =
                json!({"items": metadata(&shape.metadata, items), "fingerprint": fingerprint});
            let call = Call::post(format!("{at}/setMetadata"), body).repeatable();
            match self
                .session
                .send("Compute instances.setMetadata", name, call)
                .await
            {
                Err(error) if is_outdated(&error) && tries < MOST_TRIES => {}
                answer => return absent(answer).map(drop),
            }
        }
        Ok(())
    }
}

/// Starts an instance that is stopped, whatever way.
pub(super) async fn start(session: &Session, known: &Known, machine: &Machine) -> Answered<()> {
    let (id, name) = (&machine.id, &machine.name);
    let instance = known.now(session, id, name).await?;
    let (verb, action) = match instance.as_ref().map(|one| one.status.as_str()) {
        Some("TERMINATED" | "STOPPED") => ("start", "Compute instances.start"),
        Some("SUSPENDED") => ("resume", "Compute instances.resume"),
        Some(status @ ("STOPPING" | "SUSPENDING" | "PENDING_STOP")) => {
            let words = format!("nothing yet: its status is {status}");
            return Err(CloudError::new(
                Kind::Unavailable,
                "Compute instances.start",
                name,
                words,
            ));
        }
        _ => return Ok(()),
    };
    let call = Call::post(format!("{}/{verb}", path(session, id, name)?), Json::Null);
    // A second start of one that starts changes nothing.
    let answer = session.send(action, name, call.repeatable()).await;
    known.forget(id);
    absent(answer).map(drop)
}

/// Whether somebody else has changed it since it was read.
fn is_outdated(error: &CloudError) -> bool {
    error.message.starts_with("412 ")
}

const MOST_TRIES: u32 = 4;
