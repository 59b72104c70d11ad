//! What machines have left that never came to be, or went without it: network interfaces, addresses
//! and disks that nobody uses.
//!
//! In: the mark of a group. Out: nothing is left of it. A part is one that carries the group's uid,
//! has a name that is made of its machine's, and is attached to nothing: what else has such tags is
//! somebody's who copied them.

use serde_json::Value as Json;

use super::api::{DISKS as DISKS_VERSION, NETWORK, Session};
use super::failure::missing_group;
use super::request::{ADDRESS, ADDRESSES, DISKS, NIC, NICS, Place};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, CLUSTER, GROUP, Mark, UID, absent, all_of};

/// Asked when no create of the group is under way. Interfaces go first: an address is held by one.
pub(super) async fn sweep(session: &Session, place: &Place, group: &Mark) -> Answered<()> {
    for sort in SORTS {
        let call = Call::get(place.all(sort.kind)).query("api-version", sort.version);
        let all = missing_group(session.all(sort.list, &group.group, call).await);
        let all = absent(all)?.unwrap_or_default();
        let left = all.iter().filter(|part| is_left(part, &sort, group));
        let one = async |part: &Json| {
            let id = part["id"].as_str().unwrap_or_default();
            let name = id.rsplit('/').next().unwrap_or_default();
            let call = Call::delete(id).query("api-version", sort.version);
            match absent(session.ask(sort.delete, name, call).await)? {
                Some(reply) => session.finished(sort.delete, name, &reply).await,
                None => Ok(()),
            }
        };
        all_of(left.map(one).collect()).await?;
    }
    Ok(())
}

fn is_left(part: &Json, sort: &Sort, group: &Mark) -> bool {
    let tag = |key: &str| part["tags"][key].as_str().unwrap_or_default();
    let is_of_group =
        tag(CLUSTER) == group.cluster && tag(GROUP) == group.group && tag(UID) == group.uid;
    let name = part["name"].as_str().unwrap_or_default().to_lowercase();
    let begins = name.starts_with(&format!("{}-", group.group).to_lowercase());
    let is_of_uid = name.contains(&format!("{}-", group.uid).to_lowercase());
    let is_made = begins && is_of_uid && sort.ends.iter().any(|end| name.contains(end));
    let holder = sort.holder.iter().fold(part, |at, key| &at[*key]);
    is_of_group && is_made && !group.uid.is_empty() && holder.is_null()
}

struct Sort {
    kind: &'static str,
    version: &'static str,
    list: &'static str,
    delete: &'static str,
    /// What its name has after its machine's.
    ends: &'static [&'static str],
    /// Where it says who uses it.
    holder: &'static [&'static str],
}

const SORTS: [Sort; 3] = [
    Sort {
        kind: NICS,
        version: NETWORK,
        list: "Azure GET networkInterfaces",
        delete: "Azure DELETE networkInterfaces",
        ends: &[NIC],
        holder: &["properties", "virtualMachine"],
    },
    Sort {
        kind: ADDRESSES,
        version: NETWORK,
        list: "Azure GET publicIPAddresses",
        delete: "Azure DELETE publicIPAddresses",
        ends: &[ADDRESS],
        holder: &["properties", "ipConfiguration"],
    },
    Sort {
        kind: DISKS,
        version: DISKS_VERSION,
        list: "Azure GET disks",
        delete: "Azure DELETE disks",
        ends: &["-os", "-data-"],
        holder: &["managedBy"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_group_made_and_nobody_uses_is_left() {
        let group = Mark {
            cluster: "prod".to_owned(),
            group: "w".to_owned(),
            uid: "u1".to_owned(),
            ..Mark::default()
        };
        let tags = json!({"flatcar-cluster": "prod", "flatcar-group": "w", "flatcar-uid": "u1"});
        let other = json!({"flatcar-cluster": "prod", "flatcar-group": "w", "flatcar-uid": "u2"});
        for (sort, name, tags, rest, expected) in [
            (0, "w-u1-0-nic", &tags, json!({}), true),
            (0, "w-u1-0-a1-nic", &tags, json!({}), true),
            (
                0,
                "w-u1-0-nic",
                &tags,
                json!({"properties": {"virtualMachine": {"id": "x"}}}),
                false,
            ),
            (0, "w-u1-0-nic", &other, json!({}), false),
            (0, "w-u1-0-nic", &json!({}), json!({}), false),
            // Somebody copied the tags.
            (0, "jumphost-nic", &tags, json!({}), false),
            (0, "w-u1-0", &tags, json!({}), false),
            (
                1,
                "w-u1-0-ip",
                &tags,
                json!({"properties": {"ipAddress": "1"}}),
                true,
            ),
            (
                1,
                "w-u1-0-ip",
                &tags,
                json!({"properties": {"ipConfiguration": {"id": "x"}}}),
                false,
            ),
            (2, "w-u1-0-os", &tags, json!({}), true),
            (2, "w-u1-0-data-1", &tags, json!({}), true),
            (2, "w-u1-0-os", &tags, json!({"managedBy": "x"}), false),
        ] {
            let mut part = json!({"name": name, "tags": tags});
            part.as_object_mut()
                .unwrap()
                .extend(rest.as_object().unwrap().clone());
            assert_eq!(is_left(&part, &SORTS[sort], &group), expected, "{part}");
        }
    }
}
