//! What Azure says of a virtual machine, its state and its network interface, as a machine. Pure.
//!
//! In: elements of three lists. Out: a machine. See: Compute 2024-11-01 `VirtualMachines_List`,
//! `VirtualMachines_ListAll` with `statusOnly`; "States and billing status of Azure Virtual
//! Machines".

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use serde_json::Value as Json;

use super::claims::claims;
use super::known::id_of;
use super::nic::{asgs, lower, nsg};
use super::request::{Parts, Place, image_text};
use super::shape::{ASGS, IMAGE, NSG, OWN, Shape};
use crate::flatcar::Date;
use crate::worker_group::cloud::{Facet, Machine, Mark, Phase};

/// A machine in Azure's words.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) machine: Json,
    /// Its `instanceView`; null where nothing is known yet.
    pub(super) view: Json,
    pub(super) nic: Json,
    /// Public addresses by id, in lower-case letters.
    pub(super) public: HashMap<String, String>,
}

impl Seen {
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        self.machine["tags"][key]
            .as_str()
            .filter(|value| !value.is_empty())
    }

    /// Whether it has a public address.
    pub(super) fn is_public(&self) -> bool {
        let configurations = self.nic["properties"]["ipConfigurations"].as_array();
        let mut configurations = configurations.into_iter().flatten();
        configurations.any(|one| one["properties"]["publicIPAddress"]["id"].is_string())
    }

    /// The backend address pools that it says it is in.
    pub(super) fn claims(&self) -> BTreeSet<String> {
        claims(|key| self.tag(key).unwrap_or_default().to_owned())
    }

    /// What it is, whatever its tags are: what it lacks of the mark is empty. `None`: nobody could
    /// ask for it again.
    pub(super) fn found(&self) -> Option<Machine> {
        let properties = &self.machine["properties"];
        let id = id_of(&self.machine)?;
        let (phase, message) = self.phase();
        let zone = self.zone();
        Some(Machine {
            id,
            // It cannot be changed, and an attempt is not in it.
            name: properties["osProfile"]["computerName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            zone: match zone {
                "" => String::new(),
                zone => format!(
                    "{}-{zone}",
                    self.machine["location"].as_str().unwrap_or_default()
                ),
            },
            addresses: self.addresses(),
            image: self.image(),
            phase,
            message,
            mark: Mark::parts(|key| self.tag(key)),
            created: properties["timeCreated"].as_str().and_then(moment),
            observed: Facet::seen(FACETS, self),
        })
    }

    fn zone(&self) -> &str {
        self.machine["zones"][0].as_str().unwrap_or_default()
    }

    /// As the user named it, where that is what Azure says in other letters.
    fn image(&self) -> String {
        let said = image_text(&self.machine["properties"]["storageProfile"]["imageReference"]);
        let named = self
            .tag(IMAGE)
            .filter(|named| named.eq_ignore_ascii_case(&said));
        named.map_or(said.clone(), str::to_owned)
    }

    fn addresses(&self) -> Vec<String> {
        let configurations = self.nic["properties"]["ipConfigurations"].as_array();
        let configurations = || {
            configurations
                .into_iter()
                .flatten()
                .map(|one| &one["properties"])
        };
        let private = configurations().filter_map(|one| one["privateIPAddress"].as_str());
        let public = configurations().filter_map(|one| {
            let id = one["publicIPAddress"]["id"].as_str()?;
            self.public.get(&id.to_lowercase()).map(String::as_str)
        });
        private.chain(public).map(str::to_owned).collect()
    }

    fn phase(&self) -> (Phase, Option<String>) {
        let statuses = || self.view["statuses"].as_array().into_iter().flatten();
        let code = |status: &Json| {
            status["code"]
                .as_str()
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        let power = statuses()
            .map(code)
            .find_map(|code| Some(code.strip_prefix("powerstate/")?.to_owned()));
        let failure =
            statuses().find(|status| code(status).starts_with("provisioningstate/failed"));
        let state = self.machine["properties"]["provisioningState"]
            .as_str()
            .unwrap_or_default();
        let stopped = || {
            (
                Phase::Stopped,
                power.as_ref().map(|power| format!("power state {power}")),
            )
        };
        match (state.to_ascii_lowercase().as_str(), power.as_deref()) {
            ("deleting", _) => (Phase::Deleting, None),
            ("creating", _) => (Phase::Pending, None),
            // What failed on a machine that runs is a change of it, unless its system never
            // reported.
            ("failed" | "canceled", Some("running"))
                if !failure.is_some_and(|one| code(one).contains("osprovisioning")) =>
            {
                (Phase::Running, None)
            }
            ("failed" | "canceled", _) => {
                let words = failure.map(|one| {
                    [&one["code"], &one["message"]]
                        .map(|part| part.as_str().unwrap_or_default())
                        .join(": ")
                });
                (
                    Phase::Failed,
                    Some(words.unwrap_or_else(|| format!("provisioning state {state}"))),
                )
            }
            (_, Some("running")) => (Phase::Running, None),
            (_, Some("stopped" | "stopping" | "deallocated" | "deallocating")) => stopped(),
            // It starts, or its state is not known yet.
            _ => (Phase::Pending, None),
        }
    }
}

/// `2026-11-30T13:55:09.1234567+00:00`: Azure says moments of UTC, and fractions do not matter.
fn moment(text: &str) -> Option<SystemTime> {
    Date::moment(&format!("{}Z", text.get(..19)?))
}

/// What machines show of their shape.
pub(super) const FACETS: &[Facet<Shape, Seen>] = &[
    Facet::whole(
        "vm_size",
        // Azure answers names in letters of its own choice.
        |shape| Some(shape.vm_size.to_lowercase()),
        |seen| Some(text(&seen.machine["properties"]["hardwareProfile"]["vmSize"])?.to_lowercase()),
    ),
    Facet::whole(
        "location",
        |shape| Some(place(&shape.location)),
        |seen| Some(place(seen.machine["location"].as_str()?)),
    ),
    Facet::whole(
        "zones",
        |_| None,
        |seen| Some(seen.zone().to_owned()).filter(|zone| !zone.is_empty()),
    ),
    Facet::whole(
        "subnet_id",
        |shape| Some(shape.subnet_id.to_lowercase()),
        |seen| {
            Some(
                text(&seen.nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"])?
                    .to_lowercase(),
            )
        },
    ),
    Facet::whole(
        NSG,
        |shape| {
            Some(
                shape
                    .network_security_group_id
                    .clone()
                    .unwrap_or_default()
                    .to_lowercase(),
            )
        },
        |seen| seen.nic["properties"].is_object().then(|| nsg(&seen.nic)),
    ),
    Facet::whole(
        ASGS,
        |shape| Some(lower(&shape.application_security_group_ids)),
        |seen| seen.nic["properties"].is_object().then(|| asgs(&seen.nic)),
    ),
    Facet::parts(
        OWN.field,
        |shape| shape.tags.clone(),
        |seen| {
            let tags: BTreeMap<&str, &str> = seen.machine["tags"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((&**key, value.as_str()?)))
                .collect();
            OWN.seen(tags.into_iter())
        },
    ),
];

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `West Europe` and `westeurope` are one.
pub(super) fn place(location: &str) -> String {
    location.replace(' ', "").to_lowercase()
}

/// Machines with what the other lists say of them.
pub(super) fn joined(machines: Vec<Json>, views: Vec<Json>, nics: Vec<Json>) -> Vec<Seen> {
    let id = |json: &Json| json["id"].as_str().unwrap_or_default().to_lowercase();
    let mut views: HashMap<String, Json> = views
        .into_iter()
        .map(|mut view| (id(&view), view["properties"]["instanceView"].take()))
        .collect();
    let mut nics: HashMap<String, Json> = nics.into_iter().map(|nic| (id(&nic), nic)).collect();
    let machines = machines.into_iter().map(|machine| {
        let canonical = Place::canonical(&id(&machine)).and_then(|path| Parts::by_path(&path));
        let nic = canonical.and_then(|parts| nics.remove(&parts.nic.to_lowercase()));
        Seen {
            view: views.remove(&id(&machine)).unwrap_or_default(),
            nic: nic.unwrap_or_default(),
            machine,
            public: HashMap::new(),
        }
    });
    machines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn phase_of(state: &str, codes: &[&str]) -> (Phase, Option<String>) {
        let statuses: Vec<Json> = codes
            .iter()
            .map(|code| json!({"code": code, "message": "No room."}))
            .collect();
        let seen = Seen {
            machine: json!({"properties": {"provisioningState": state}}),
            view: json!({"statuses": statuses}),
            ..Seen::default()
        };
        seen.phase()
    }

    #[test]
    fn a_state_is_a_phase() {
        for (state, codes, expected, words) in [
            (
                "Creating",
                &["PowerState/running"][..],
                Phase::Pending,
                None,
            ),
            (
                "Succeeded",
                &["ProvisioningState/succeeded", "PowerState/running"],
                Phase::Running,
                None,
            ),
            (
                "Updating",
                &["ProvisioningState/updating", "PowerState/running"],
                Phase::Running,
                None,
            ),
            ("Succeeded", &["PowerState/starting"], Phase::Pending, None),
            ("Succeeded", &[], Phase::Pending, None),
            (
                "Succeeded",
                &["PowerState/deallocated"],
                Phase::Stopped,
                Some("power state deallocated"),
            ),
            (
                "Succeeded",
                &["PowerState/stopped"],
                Phase::Stopped,
                Some("power state stopped"),
            ),
            (
                "Failed",
                &["ProvisioningState/failed/AllocationFailed"],
                Phase::Failed,
                Some("ProvisioningState/failed/AllocationFailed: No room."),
            ),
            (
                "Failed",
                &[
                    "ProvisioningState/failed/OSProvisioningTimedOut",
                    "PowerState/running",
                ],
                Phase::Failed,
                Some("ProvisioningState/failed/OSProvisioningTimedOut: No room."),
            ),
            (
                "Failed",
                &["ProvisioningState/failed/Conflict", "PowerState/running"],
                Phase::Running,
                None,
            ),
            (
                "Failed",
                &[],
                Phase::Failed,
                Some("provisioning state Failed"),
            ),
            ("Deleting", &["PowerState/running"], Phase::Deleting, None),
        ] {
            assert_eq!(
                phase_of(state, codes),
                (expected, words.map(str::to_owned)),
                "{state} {codes:?}"
            );
        }
    }

    #[test]
    fn a_machine_is_what_three_lists_say() {
        let base = "/subscriptions/S/resourceGroups/RG/providers";
        let image = "/subscriptions/S/resourceGroups/rg/providers/Microsoft.Compute/images/Flatcar";
        let machine = json!({
            "id": format!("{base}/Microsoft.Compute/virtualMachines/w-0-a1"), "name": "w-0-a1", "location": "westeurope", "zones": ["2"],
            "tags": {"flatcar-cluster": "prod", "flatcar-group": "w", "flatcar-uid": "u", "flatcar-image": image, "team": "a",
                "flatcar-tags": (OWN.listed)("team"), "stranger": "1", "flatcar-pools": "a,b"},
            "properties": {"vmId": "5c0d", "provisioningState": "Succeeded", "timeCreated": "2026-11-30T13:55:09.1234567+00:00",
                "hardwareProfile": {"vmSize": "Standard_D2s_v5"}, "osProfile": {"computerName": "w-0"},
                "storageProfile": {"imageReference": {"id": image.to_uppercase()}}},
        });
        let nic = json!({
            "id": format!("{base}/Microsoft.Network/networkInterfaces/w-0-a1-nic"),
            "properties": {"networkSecurityGroup": {"id": "/NSG"}, "ipConfigurations": [
                {"properties": {"privateIPAddress": "10.0.0.4", "subnet": {"id": "/Subnet"}, "publicIPAddress": {"id": "/IP"}}}]},
        });
        let view = json!({"id": machine["id"].as_str().unwrap().to_lowercase(), "properties": {"instanceView": {"statuses": [{"code": "PowerState/running"}]}}});
        let public = HashMap::from([("/ip".to_owned(), "203.0.113.9".to_owned())]);
        let mut seen = joined(vec![machine], vec![view], vec![nic]);
        seen[0].public = public;
        let found = seen[0].found().unwrap();
        assert_eq!(
            found.id,
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/w-0-a1|5c0d"
        );
        assert_eq!(
            (found.name.as_str(), found.zone.as_str(), found.phase),
            ("w-0", "westeurope-2", Phase::Running)
        );
        assert_eq!(found.addresses, ["10.0.0.4", "203.0.113.9"]);
        assert_eq!(found.image, image);
        assert!(found.mark.is_whole() && found.created.is_some());
        assert_eq!(seen[0].claims(), ["a".to_owned(), "b".to_owned()].into());
        let observed: Vec<_> = found
            .observed
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            observed,
            [
                "application_security_group_ids=",
                "location=westeurope",
                "network_security_group_id=/nsg",
                "subnet_id=/subnet",
                "tags.team=a",
                "vm_size=standard_d2s_v5",
                "zones=2"
            ]
        );
    }
}
