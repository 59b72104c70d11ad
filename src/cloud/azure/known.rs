//! What a machine is known by: the path of its virtual machine, and the number that Azure gives to
//! each one, for another may have the path one day.
//!
//! In: a virtual machine as Azure answers it. Out: an id,
//! `/subscriptions/.../virtualMachines/workers-k3v9x2ab-0|5c0d55a7-c407-4ed6-bf7d-ddb810267c85`,
//! and its halves. See: Compute 2024-11-01, `properties.vmId`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use super::request::Place;

/// `None`: nobody could ask for it again.
pub(super) fn id_of(machine: &Json) -> Option<String> {
    let path = Place::canonical(machine["id"].as_str()?)?;
    Some(format!("{path}{MARK}{}", number_of(machine)?))
}

pub(super) fn number_of(machine: &Json) -> Option<String> {
    machine["properties"]["vmId"]
        .as_str()
        .map(str::to_lowercase)
}

/// What calls are about.
pub(super) fn path(id: &str) -> &str {
    id.split_once(MARK).map_or(id, |(path, _)| path)
}

pub(super) fn number(id: &str) -> &str {
    id.split_once(MARK).map_or("", |(_, number)| number)
}

/// Ids by path, as of the last list: others name machines by paths alone.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, String>>);

impl Known {
    pub(super) fn remember(&self, id: &str) {
        self.all().insert(path(id).to_owned(), id.to_owned());
    }

    /// The path itself, where nobody has seen a machine there.
    pub(super) fn id_at(&self, path: String) -> String {
        self.all().get(&path).cloned().unwrap_or(path)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In no name that Azure allows.
const MARK: char = '|';

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_has_a_path_and_a_number() {
        let base =
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/w-0";
        let machine = json!({"id": base.replace("rg", "RG"), "properties": {"vmId": "5C0D"}});
        let id = id_of(&machine).unwrap();
        assert_eq!(id, format!("{base}|5c0d"));
        assert_eq!((path(&id), number(&id)), (base, "5c0d"));
        assert_eq!((path(base), number(base)), (base, ""));
        assert_eq!(id_of(&json!({"id": base})), None);
        let known = Known::default();
        assert_eq!(known.id_at(base.to_owned()), base);
        known.remember(&id);
        assert_eq!(known.id_at(base.to_owned()), id);
    }
}
