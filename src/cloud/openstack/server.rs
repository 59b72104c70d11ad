//! What Nova says of a server, as a machine: its phase, its mark, and its shape as far as that can
//! be seen. Pure.
//!
//! In: an element of `GET /servers/detail`. Out: a machine. See: Compute API 2.1 at microversion
//! 2.52.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value as Json;

use super::shape::{FIELD, FIXED_IPS, GROUPS, IMAGE, OWN, POOL, Shape, ZONES};
use crate::flatcar::Date;
use crate::worker_group::cloud::{Facet, Machine, Mark, Phase, listed};

/// A server as `GET /servers/detail` shows it, at microversion 2.52.
#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    addresses: BTreeMap<String, Vec<Address>>,
    #[serde(default)]
    flavor: Json,
    #[serde(default)]
    key_name: Option<String>,
    #[serde(default)]
    security_groups: Vec<Named>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    fault: Option<Fault>,
    #[serde(rename = "OS-EXT-AZ:availability_zone", default)]
    zone: Option<String>,
    #[serde(rename = "OS-EXT-STS:task_state", default)]
    task: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    addr: String,
    #[serde(rename = "OS-EXT-IPS:type", default)]
    kind: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    message: String,
}

impl Server {
    /// All its addresses.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses
            .values()
            .flatten()
            .map(|address| address.addr.as_str())
    }

    /// `None` for a server that is gone or that lacks a part of its mark.
    pub(super) fn machine(&self) -> Option<Machine> {
        self.machine_of(Mark::from_pairs(|key| self.datum(key))?)
    }

    /// The same whatever its metadata are: what it lacks of the mark is empty.
    pub(super) fn found(&self) -> Option<Machine> {
        self.machine_of(Mark::parts(|key| self.datum(key)))
    }

    fn datum(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    fn machine_of(&self, mark: Mark) -> Option<Machine> {
        let phase = self.phase()?;
        // As the user named it: Nova's id says nothing about that.
        let image = self.datum(IMAGE).unwrap_or_default();
        let mut addresses: Vec<&Address> = self.addresses.values().flatten().collect();
        addresses.sort_by_key(|address| address.kind == FLOATING);
        Some(Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            zone: self.zone.clone().unwrap_or_default(),
            addresses: addresses
                .iter()
                .map(|address| address.addr.clone())
                .collect(),
            image: image.to_owned(),
            phase,
            message: self
                .fault
                .as_ref()
                .map(|fault| fault.message.clone())
                .or_else(|| (phase == Phase::Stopped).then(|| format!("status {}", self.status))),
            mark,
            created: self.created.as_deref().and_then(Date::moment),
            observed: Facet::seen(FACETS, self),
        })
    }

    /// `false` for one that is gone and shown for a moment longer.
    pub(super) fn exists(&self) -> bool {
        self.phase().is_some()
    }

    fn phase(&self) -> Option<Phase> {
        if self.task.as_deref() == Some("deleting") {
            return Some(Phase::Deleting);
        }
        Some(match self.status.as_str() {
            "DELETED" | "SOFT_DELETED" => return None,
            "BUILD" => Phase::Pending,
            // Started, and not up yet.
            _ if self
                .task
                .as_deref()
                .is_some_and(|task| STARTS.contains(&task)) =>
            {
                Phase::Pending
            }
            "ERROR" => Phase::Failed,
            "SHUTOFF" | "PAUSED" | "SUSPENDED" | "RESCUE" | "SHELVED" | "SHELVED_OFFLOADED" => {
                Phase::Stopped
            }
            // ACTIVE, and what passes by itself (REBOOT, MIGRATING, PASSWORD, RESIZE ...).
            _ => Phase::Running,
        })
    }
}

/// What servers show of their shape.
pub(super) const FACETS: &[Facet<Shape, Server>] = &[
    Facet::whole(
        "flavor_name",
        |shape| {
            shape
                .flavor_name
                .clone()
                .filter(|_| shape.flavor_id.is_none())
        },
        |server| Some(server.flavor.get("original_name")?.as_str()?.to_owned()),
    ),
    Facet::whole(
        FIELD,
        |shape| Some(shape.floating_ip_pool.clone().unwrap_or_default()),
        |server| Some(server.metadata.get(POOL).cloned().unwrap_or_default()),
    ),
    Facet::whole(
        "key_pair",
        |shape| Some(shape.key_pair.clone().unwrap_or_default()),
        |server| Some(server.key_name.clone().unwrap_or_default()),
    ),
    Facet::whole(GROUPS, Shape::groups, |server| {
        // Nova names the groups once for each port, and none before there is one.
        let groups = server
            .security_groups
            .iter()
            .map(|group| group.name.as_str());
        let groups: BTreeSet<&str> = groups.collect();
        (!groups.is_empty()).then(|| listed(&groups, ", "))
    }),
    Facet::whole(
        ZONES,
        |_| None,
        |server| Some(server.zone.clone().unwrap_or_default()),
    ),
    Facet::whole(
        FIXED_IPS,
        |_| None,
        |server| {
            let own = server.addresses.values().flatten();
            let own = own.filter(|address| address.kind != FLOATING);
            let own: Vec<&str> = own.map(|address| address.addr.as_str()).collect();
            Some(own.join(","))
        },
    ),
    Facet::parts(
        OWN.field,
        |shape| shape.metadata.clone(),
        |server| {
            OWN.seen(
                server
                    .metadata
                    .iter()
                    .map(|(key, value)| (&**key, &**value)),
            )
        },
    ),
];

const FLOATING: &str = "floating";

/// Tasks at whose end a server runs that did not: `nova/compute/task_states.py`.
const STARTS: [&str; 5] = [
    "powering-on",
    "resuming",
    "spawning",
    "unpausing",
    "unshelving",
];

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_a_machine_with_what_nova_says_of_it() {
        let server = json!({
            "id": "7b", "name": "workers-abc-0", "status": "ERROR", "key_name": "ops",
            "created": "2026-11-24T09:00:01Z", "OS-EXT-AZ:availability_zone": "nova",
            "image": {"id": "img"}, "flavor": {"original_name": "m1.small"},
            "security_groups": [{"name": "web"}, {"name": "default"}, {"name": "web"}],
            "fault": {"code": 500, "message": "No valid host was found."},
            "addresses": {"net": [
                {"addr": "203.0.113.9", "OS-EXT-IPS:type": "floating"},
                {"addr": "10.0.0.7", "OS-EXT-IPS:type": "fixed"}]},
            "metadata": {"flatcar-cluster": "prod", "flatcar-group": "workers", "flatcar-uid": "abc",
                "flatcar-generation": "g", "flatcar-unsaved": "true", "flatcar-image": "flatcar-stable", "flatcar-keys": "team", "team": "x", "stranger": "1"}
        });
        let machine = serde_json::from_value::<Server>(server)
            .unwrap()
            .machine()
            .unwrap();
        assert_eq!(machine.phase, Phase::Failed);
        assert_eq!(machine.message.as_deref(), Some("No valid host was found."));
        assert_eq!(machine.image, "flatcar-stable");
        assert_eq!(machine.addresses, ["10.0.0.7", "203.0.113.9"]);
        assert!(machine.mark.unsaved);
        let observed: Vec<_> = machine
            .observed
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            observed,
            [
                ("availability_zones", "nova"),
                ("flavor_name", "m1.small"),
                ("floating_ip_pool", ""),
                ("key_pair", "ops"),
                ("metadata.team", "x"),
                ("networks.fixed_ips", "10.0.0.7"),
                ("security_groups", "default, web")
            ]
        );
        assert_eq!(
            machine.created,
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801))
        );
    }

    #[test]
    fn a_server_that_is_gone_or_nobodys_is_no_machine() {
        let marked = json!({"flatcar-cluster": "c", "flatcar-group": "g", "flatcar-uid": "u"});
        for (status, task, metadata, phase) in [
            ("DELETED", None, marked.clone(), None),
            ("ACTIVE", None, json!({}), None),
            (
                "ACTIVE",
                Some("deleting"),
                marked.clone(),
                Some(Phase::Deleting),
            ),
            ("BUILD", None, marked.clone(), Some(Phase::Pending)),
            ("SHUTOFF", None, marked.clone(), Some(Phase::Stopped)),
            (
                "SHUTOFF",
                Some("powering-on"),
                marked.clone(),
                Some(Phase::Pending),
            ),
            (
                "SHUTOFF",
                Some("powering-off"),
                marked.clone(),
                Some(Phase::Stopped),
            ),
            ("REBOOT", None, marked, Some(Phase::Running)),
        ] {
            let server = json!({"id": "1", "name": "n", "status": status, "metadata": metadata, "OS-EXT-STS:task_state": task});
            let machine = serde_json::from_value::<Server>(server).unwrap().machine();
            assert_eq!(
                machine.map(|machine| machine.phase),
                phase,
                "{status} {task:?}"
            );
        }
    }

    #[test]
    fn a_server_without_a_part_of_its_mark_is_nobodys_and_is_found_with_the_rest() {
        let whole = json!({"flatcar-cluster": "c", "flatcar-group": "g", "flatcar-uid": "u", "flatcar-generation": "1",
            "flatcar-unsaved": "true"});
        let without_uid = json!({"flatcar-cluster": "c", "flatcar-group": "g", "flatcar-generation": "1", "flatcar-unsaved": "true"});
        let mut empty_uid = whole.clone();
        empty_uid["flatcar-uid"] = json!("");
        for (metadata, is_listed, parts) in [
            (whole, true, ["c", "g", "u", "1", "true"]),
            (without_uid, false, ["c", "g", "", "1", "true"]),
            (empty_uid, false, ["c", "g", "", "1", "true"]),
            (json!({}), false, ["", "", "", "", "false"]),
        ] {
            let server = |status: &str| {
                let server =
                    json!({"id": "1", "name": "n", "status": status, "metadata": metadata});
                serde_json::from_value::<Server>(server).unwrap()
            };
            let found = server("ACTIVE").found().unwrap();
            assert_eq!((found.id.as_str(), found.name.as_str()), ("1", "n"));
            let pairs = found.mark.pairs().into_iter();
            assert_eq!(pairs.map(|(_, part)| part).collect::<Vec<_>>(), parts);
            assert_eq!(server("ACTIVE").machine(), is_listed.then_some(found));
            assert!(server("DELETED").found().is_none());
        }
    }
}
