//! Instances as they were seen last: an id has a number, and some calls want a name, or a
//! fingerprint.
//!
//! In: what lists and creates answer. Out: the instance of an id, asked for where it was not seen
//! since it was changed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::api::Session;
use super::instance::{FIELDS, Instance};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, CloudError, Kind, absent, read};

/// By id.
#[derive(Default)]
pub(super) struct Known(Mutex<BTreeMap<String, Seen>>);

struct Seen {
    instance: Instance,
    /// It has been changed since: its name is still its name, and the rest is asked for anew.
    is_old: bool,
}

impl Known {
    pub(super) fn remember<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) {
        let seen = |one: &Instance| Seen {
            instance: one.clone(),
            is_old: false,
        };
        let instances = instances.into_iter();
        self.all()
            .extend(instances.map(|one| (one.id(), seen(one))));
    }

    /// It has been changed.
    pub(super) fn forget(&self, id: &str) {
        if let Some(seen) = self.all().get_mut(id) {
            seen.is_old = true;
        }
    }

    /// The newest of a name: an older one is gone.
    pub(super) fn id_of(&self, zone: &str, name: &str) -> Option<String> {
        let all = self.all();
        let instances = all.values().map(|seen| &seen.instance);
        let of_name = instances.filter(|one| one.zone() == zone && one.name == name);
        // Numbers have no order that says anything; moments have.
        let newest = of_name.max_by_key(|one| one.found().created);
        newest.map(Instance::id)
    }

    pub(super) fn name_of(&self, id: &str) -> Option<String> {
        self.all().get(id).map(|seen| seen.instance.name.clone())
    }

    /// As it was seen, else as it is now; `None`: it does not exist.
    pub(super) async fn instance(
        &self,
        session: &Session,
        id: &str,
        name: &str,
    ) -> Answered<Option<Instance>> {
        let seen = |all: &BTreeMap<String, Seen>| {
            let seen = all.get(id).filter(|seen| !seen.is_old);
            seen.map(|seen| seen.instance.clone())
        };
        let seen = seen(&self.all());
        match seen {
            Some(instance) => Ok(Some(instance)),
            None => self.now(session, id, name).await,
        }
    }

    /// As it is now; `None`: it does not exist.
    pub(super) async fn now(
        &self,
        session: &Session,
        id: &str,
        name: &str,
    ) -> Answered<Option<Instance>> {
        const GET: &str = "Compute instances.get";
        let call = Call::get(path(session, id, name)?).query("fields", FIELDS);
        let Some(answer) = absent(session.send(GET, name, call).await)? else {
            self.all().remove(id);
            return Ok(None);
        };
        let instance: Instance = read(answer, GET)?;
        self.remember([&instance]);
        Ok(Some(instance))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an instance is. By its number, which is never another one's: what has the same name by now
/// is not touched.
pub(super) fn path(session: &Session, id: &str, name: &str) -> Answered<String> {
    let parts = id.split_once('/');
    let parts = parts.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let (zone, number) = parts.ok_or_else(|| {
        let words = format!("nothing: {id:?} is no id of an instance");
        CloudError::new(Kind::BadRequest, "Compute instances", name, words)
    })?;
    Ok(session.path(&format!("zones/{zone}/instances/{number}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_leaves_an_instance_its_name() {
        let instance: Instance = serde_json::from_value(json!({
            "id": "7",
            "name": "w-0",
            "zone": "https://a/zones/z",
            "status": "RUNNING",
            "creationTimestamp": "2026-11-30T00:00:00.000-00:00",
        }))
        .unwrap();
        let known = Known::default();
        known.remember([&instance]);
        known.forget("z/7");
        assert_eq!(known.name_of("z/7").as_deref(), Some("w-0"));
        assert_eq!(known.id_of("z", "w-0").as_deref(), Some("z/7"));
        assert_eq!(known.id_of("y", "w-0"), None);
    }
}
