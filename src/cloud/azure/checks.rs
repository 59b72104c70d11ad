//! What can be checked of a shape, and of tags, without asking Azure.
//!
//! In: values, some of them unknown. Out: problems, on paths relative to `azure`.

use super::claims::name_of;
use super::shape::{CLAIMS, IMAGE, MOST_TAGS, OWN, POOLS};
use crate::provider::{Diagnostics, Path, Value};
use crate::worker_group::cloud::tagging::Rules;

/// Checks of known values that the schema alone cannot make.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut found = TAG_RULES.check(shape.field("tags"));
    let tags = shape.field("tags").entries().count();
    if tags > MOST_TAGS {
        let detail = format!(
            "There are {tags}. Azure takes 50, of which the group needs some: write {MOST_TAGS} at most."
        );
        found.wrong(Path::of("tags"), "Too many tags", detail);
    }
    let is_spot = match shape.field("priority") {
        Value::Unknown(_) => None,
        priority => Some(priority.text() == Some("Spot")),
    };
    for field in ["eviction_policy", "max_bid_price"] {
        if is_spot == Some(false) && !shape.field(field).is_null() {
            found.wrong(
                Path::of(field),
                "Only spot machines have this",
                format!("{field} is set, and priority is not \"Spot\". Leave one of the two out."),
            );
        }
    }
    let identity = shape.field("identity");
    let lists = !identity.field("identity_ids").elements().is_empty();
    if let Some(kind) = identity.field("type").text()
        && kind.contains("UserAssigned") != lists
        && !matches!(identity.field("identity_ids"), Value::Unknown(_))
    {
        found.wrong(
            Path::of("identity.identity_ids"),
            "Identities do not fit their type",
            format!("The type is {kind:?}: identity_ids goes with UserAssigned, and only with it. Correct one of the two."),
        );
    }
    let disk = shape.field("os_disk");
    if matches!(disk.field("ephemeral"), Value::Bool(true))
        && !disk.field("storage_account_type").is_null()
    {
        found.wrong(
            Path::of("os_disk.storage_account_type"),
            "Ephemeral disk has no storage account type",
            "An ephemeral disk is on the host, and in no storage account. Leave one of the two out.",
        );
    }
    let zones = shape.field("zones").elements();
    for (index, zone) in zones.iter().enumerate() {
        if zone.text().is_some() && zones[..index].contains(zone) {
            let detail =
                "Machines are spread evenly over the zones, each listed once. Take one out.";
            found.wrong(
                Path::of("zones").index(index),
                "Zone is listed twice",
                detail,
            );
        }
    }
    let pools = shape.field(POOLS).elements().iter().filter_map(Value::text);
    let named: usize = pools.map(|pool| name_of(pool).len() + 1).sum();
    if named > POOLS_CHARS {
        let detail = format!(
            "Together their names take {named} characters of tags, {POOLS_CHARS} at most. Use fewer, or shorter names."
        );
        found.wrong(Path::of(POOLS), "Too many backend address pools", detail);
    }
    found
}

/// What Azure takes as a tag.
pub(super) static TAG_RULES: Rules = Rules {
    key_chars: 512,
    value_chars: 256,
    taken: |key, shown| {
        let lower = key.to_ascii_lowercase();
        if lower.starts_with("flatcar-") {
            let ours = [IMAGE, OWN.list, CLAIMS[0]].join(", ");
            return Some(format!(
                "Tag {shown} cannot be set: keys that begin with flatcar- mark the machines of a group ({ours} and others). Choose another key."
            ));
        }
        let is_azures = ["microsoft", "azure", "windows"]
            .iter()
            .any(|begin| lower.starts_with(begin));
        let is_odd = key.contains(['<', '>', '%', '&', '\\', '?', '/']);
        (is_azures || is_odd).then(|| {
            format!("Tag {shown} cannot be set: a key begins with none of microsoft, azure and windows, and holds none of < > % & \\ ? /. Choose another key.")
        })
    },
};

/// Those that leave the list and those that come fit into the tags.
const POOLS_CHARS: usize = CLAIMS.len() * 256 / 2;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::convert::to_value;

    #[test]
    fn what_does_not_fit_together_is_refused_on_its_attribute() {
        let pool = format!(
            "/subscriptions/s/resourceGroups/{}/providers/Microsoft.Network/loadBalancers/l/backendAddressPools/p",
            "r".repeat(90)
        );
        for (written, expected) in [
            (json!({"vm_size": "a", "tags": {"team": "a"}}), vec![]),
            (
                json!({"priority": "Regular", "eviction_policy": "Delete", "max_bid_price": 1}),
                vec!["eviction_policy", "max_bid_price"],
            ),
            (
                json!({"priority": "Spot", "eviction_policy": "Delete"}),
                vec![],
            ),
            (
                json!({"identity": {"type": "SystemAssigned", "identity_ids": ["a"]}}),
                vec!["identity.identity_ids"],
            ),
            (
                json!({"identity": {"type": "SystemAssigned, UserAssigned", "identity_ids": ["a"]}}),
                vec![],
            ),
            (
                json!({"os_disk": {"ephemeral": true, "storage_account_type": "Premium_LRS"}}),
                vec!["os_disk.storage_account_type"],
            ),
            (json!({"zones": ["1", "2", "1"]}), vec!["zones[2]"]),
            (
                json!({"tags": {"flatcar-uid": "x", "Microsoft.x": "y", "a/b": "z"}}),
                vec![
                    "tags[\"Microsoft.x\"]",
                    "tags[\"a/b\"]",
                    "tags[\"flatcar-uid\"]",
                ],
            ),
            (
                json!({POOLS: [pool, format!("{pool}2"), format!("{pool}3")]}),
                vec![POOLS],
            ),
        ] {
            let problems = validate(&to_value(&written)).0;
            let paths: Vec<String> = problems
                .iter()
                .filter_map(|one| Some(one.path.as_ref()?.to_string()))
                .collect();
            assert_eq!(paths, expected, "{written}");
        }
        assert!(validate(&Value::unknown()).is_empty());
    }
}
