//! What is changed on virtual machines that exist: labels with the mark, annotations, whether they
//! run.
//!
//! In: machines, a mark, a shape. Out: nothing, when all of them are so. Server-side apply says
//! what should be, so nothing has to be read first, and what others write stays; the uid in it
//! keeps a later machine of the name as it is. The mark and the shape have a manager each, so that
//! one is written without the other. What a create has written no apply takes off: keys that left
//! the configuration are taken off by a patch. See: Kubernetes, *Server-Side Apply*.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::api::{MACHINES, MANAGER, Session, is_conflict};
use super::machine::{OWN_ANNOTATIONS, OWN_LABELS, USER_DATA, VirtualMachine, WRITTEN};
use super::request::{annotations, of_pods};
use super::shape::Shape;
use crate::kubernetes::Body;
use crate::worker_group::cloud::{
    Answered, CloudError, Kind, Machine, Mark, OwnTags, Phase, absent, all_of, read,
};

/// Of one group's machines in a namespace.
pub(super) struct Change<'a> {
    pub(super) session: &'a Session,
    pub(super) namespace: &'a str,
    pub(super) mark: &'a Mark,
}

impl Change<'_> {
    /// Writes the mark, and, where there is a shape, all that changes in place.
    pub(super) async fn carry_out(
        &self,
        machines: &[Machine],
        shape: Option<&Shape>,
    ) -> Answered<()> {
        let one = |machine| self.one(machine, shape);
        all_of(machines.iter().map(one).collect()).await
    }

    /// One that is gone has nothing to change.
    async fn one(&self, machine: &Machine, shape: Option<&Shape>) -> Answered<()> {
        let (name, uid) = parts(&machine.id);
        let mut mark = json!({"labels": self.mark.written()});
        // One without its Secret stays known as that, whoever takes it into a state.
        if machine.phase != Phase::Failed {
            mark["annotations"] = json!({USER_DATA: WRITTEN});
        }
        let mark = applied(name, uid, mark, None);
        let Some(marked) = self.apply(name, uid, MARKER, mark).await? else {
            return Ok(());
        };
        let Some(shape) = shape else {
            return Ok(());
        };
        let metadata = json!({"labels": shape.labels, "annotations": annotations(shape)});
        // One that somebody has stopped stays so.
        let is_stopped = machine.phase == Phase::Stopped;
        let mut spec = json!({"template": {"metadata": of_pods(self.mark, shape)}});
        if !is_stopped {
            spec["runStrategy"] = shape.run_strategy.as_str().into();
        }
        let left = json!({
            "labels": left(&OWN_LABELS, machine, &shape.labels),
            "annotations": left(&OWN_ANNOTATIONS, machine, &shape.annotations),
        });
        let body = applied(name, uid, metadata, Some(spec));
        let mut seen = self
            .apply(name, uid, MANAGER, body)
            .await?
            .unwrap_or(marked);
        if left["labels"] == json!({}) && left["annotations"] == json!({}) {
            return Ok(());
        }
        for tries in 1.. {
            let version = &seen["metadata"]["resourceVersion"];
            let mut metadata = left.clone();
            metadata["resourceVersion"] = version.clone();
            let patch = json!({"metadata": metadata, "spec": {"template": {"metadata": left}}});
            let answer = self
                .session
                .patch(self.namespace, name, MANAGER, Body::Merge(patch));
            match answer.await {
                Err(error) if is_conflict(&error) && tries < MOST_TRIES => {
                    match self.now(name, uid).await? {
                        Some(now) => seen = now,
                        None => return Ok(()),
                    }
                }
                answer => return absent(answer).map(drop),
            }
        }
        Ok(())
    }

    /// `None`: it is gone.
    async fn apply(
        &self,
        name: &str,
        uid: &str,
        manager: &str,
        body: Json,
    ) -> Answered<Option<Json>> {
        let answer = self
            .session
            .patch(self.namespace, name, manager, Body::Apply(body))
            .await;
        match answer {
            Ok(answer) => Ok(Some(answer)),
            // An apply to what is not there would make it: the API server refuses that for its uid.
            Err(error) => match self.now(name, uid).await? {
                None => Ok(None),
                Some(_) => Err(error),
            },
        }
    }

    async fn now(&self, name: &str, uid: &str) -> Answered<Option<Json>> {
        let answer = absent(self.session.get(MACHINES, self.namespace, name).await)?;
        Ok(answer.filter(|found| found["metadata"]["uid"] == uid))
    }
}

/// Starts a machine that is halted.
pub(super) async fn start(session: &Session, namespace: &str, machine: &Machine) -> Answered<()> {
    let (name, uid) = parts(&machine.id);
    for tries in 1.. {
        let Some(answer) = absent(session.get(MACHINES, namespace, name).await)? else {
            return Ok(());
        };
        let seen: VirtualMachine = read(answer, MACHINES.patch())?;
        if seen.metadata.uid != uid || seen.phase() != Phase::Stopped {
            return Ok(());
        }
        if !seen.is_halted() {
            let words = format!(
                "nothing: its status is {}, which virtctl alone ends: virtctl start or unpause",
                seen.status()
            );
            return Err(CloudError::new(
                Kind::BadRequest,
                MACHINES.patch(),
                name,
                words,
            ));
        }
        let patch = json!({
            "metadata": {"resourceVersion": seen.metadata.resource_version},
            "spec": {"runStrategy": seen.strategy(), "running": null},
        });
        match session
            .patch(namespace, name, MANAGER, Body::Merge(patch))
            .await
        {
            Err(error) if is_conflict(&error) && tries < MOST_TRIES => {}
            answer => return absent(answer).map(drop),
        }
    }
    Ok(())
}

/// Name and uid of an id; without a uid, of none that there is.
pub(super) fn parts(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or((id, ""))
}

fn applied(name: &str, uid: &str, mut metadata: Json, spec: Option<Json>) -> Json {
    metadata["name"] = name.into();
    metadata["uid"] = uid.into();
    let mut body =
        json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": metadata});
    if let Some(spec) = spec {
        body["spec"] = spec;
    }
    body
}

/// Keys that left the configuration, to be taken off.
fn left(
    own: &OwnTags,
    machine: &Machine,
    kept: &BTreeMap<String, String>,
) -> BTreeMap<String, Json> {
    let left = own.left(std::slice::from_ref(machine), kept).into_iter();
    left.map(|key| (key.to_owned(), Json::Null)).collect()
}

/// Who has the mark.
const MARKER: &str = "terraform-provider-flatcar-mark";
const MOST_TRIES: u32 = 8;
