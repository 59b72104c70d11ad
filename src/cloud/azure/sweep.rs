//! What machines have left that never came to be, or went without it: network interfaces, addresses
//! and disks that nobody uses.
//!
//! In: the mark of a group. Out: nothing is left of it. A part carries the group's uid, or, in a
//! create, that of one of the same state that never returned; its name is made of that uid, and
//! nobody uses it. What else has such tags is somebody's who copied them.

use serde_json::Value as Json;

use super::api::{DISKS as DISKS_VERSION, NETWORK, Session};
use super::failure::missing_group;
use super::request::{ADDRESS, ADDRESSES, DISKS, NIC, NICS, Place};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, Mark, absent, all_of};

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
    let of = Mark::parts(|key| part["tags"][key].as_str());
    let is_of_group = of.cluster == group.cluster && of.group == group.group;
    // The tags of parts stay as the create wrote them. As a machine that such a create has left is
    // taken over, so goes what is left beside it; whatever it was made from, it serves nobody.
    let is_unfinished = group.unsaved && of.is_unfinished_of(&group.origin);
    let is_ours = of.is_whole() && (of.uid == group.uid || is_unfinished);
    let holder = sort.holder.iter().fold(part, |at, key| &at[*key]);
    is_of_group && is_ours && is_made(part, sort, &of) && holder.is_null()
}

/// Whether a name is one that a create under this mark gives: `workers-k3v9x2ab-0-nic`, or
/// `workers-k3v9x2ab-0-a1-data-2`.
fn is_made(part: &Json, sort: &Sort, of: &Mark) -> bool {
    let name = part["name"].as_str().unwrap_or_default().to_lowercase();
    let rest = name.strip_prefix(&format!("{}-", of.group).to_lowercase());
    let Some((uid, rest)) = rest.and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    uid.ends_with(&of.uid)
        && sort.ends.iter().any(|end| match end.strip_suffix('-') {
            // Data disks have their number at the end.
            Some(end) => rest.rsplit_once('-').is_some_and(|(rest, lun)| {
                is_number(lun) && rest.strip_suffix(end).is_some_and(is_machine)
            }),
            None => rest.strip_suffix(end).is_some_and(is_machine),
        })
}

/// `0`, or with the try of its name `0-a1`.
fn is_machine(text: &str) -> bool {
    match text.split_once("-a") {
        Some((ordinal, attempt)) => is_number(ordinal) && is_number(attempt),
        None => is_number(text),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
        let (own, other) = ("0f3c9a1e5b7d2468", "8642d7b5e1a9c3f0");
        let mark = |uid: &str, unsaved, origin: &str| Mark {
            cluster: "prod".to_owned(),
            group: "w".to_owned(),
            uid: uid.to_owned(),
            unsaved,
            origin: origin.to_owned(),
            ..Mark::default()
        };
        let (update, create) = (mark("u1", false, own), mark("u1", true, own));
        let (ours, theirs) = (mark("u1", true, own), mark("u2", true, other));
        let (killed, saved) = (mark("u2", true, own), mark("u2", false, own));
        let nowhere = json!({});
        let attached = json!({"properties": {"virtualMachine": {"id": "x"}}});
        let address = json!({"properties": {"ipAddress": "1"}});
        let held = json!({"properties": {"ipConfiguration": {"id": "x"}}});
        let managed = json!({"managedBy": "x"});
        for (sort, name, mark, rest, in_update, in_create) in [
            (0, "w-u1-0-nic", &ours, &nowhere, true, true),
            (0, "W-u1-0-a1-nic", &ours, &nowhere, true, true),
            (0, "w-u1-0-nic", &ours, &attached, false, false),
            (0, "w-u1-0-nic", &Mark::default(), &nowhere, false, false),
            // Somebody copied the tags.
            (0, "jumphost-nic", &ours, &nowhere, false, false),
            (0, "w-u1-jumphost-nic", &ours, &nowhere, false, false),
            (0, "w-u1-0-jumphost-nic", &ours, &nowhere, false, false),
            (2, "w-u1-0-osdisk-20260101", &ours, &nowhere, false, false),
            (2, "w-u1-0-data-0-backup", &ours, &nowhere, false, false),
            (2, "w-u1-0-a2-data-11", &ours, &nowhere, true, true),
            (0, "w-u1-0", &ours, &nowhere, false, false),
            // A create of this state, or of another, which has not returned; and one that has.
            (0, "w-u2-0-nic", &killed, &nowhere, false, true),
            (0, "w-u2-0-nic", &killed, &attached, false, false),
            (0, "w-u1-0-nic", &killed, &nowhere, false, false),
            (0, "w-u2-0-nic", &theirs, &nowhere, false, false),
            (0, "w-u2-0-nic", &saved, &nowhere, false, false),
            (1, "w-u1-0-ip", &ours, &address, true, true),
            (1, "w-u1-0-ip", &ours, &held, false, false),
            (2, "w-u1-0-os", &ours, &nowhere, true, true),
            (2, "w-u1-0-data-1", &ours, &nowhere, true, true),
            (2, "w-u1-0-os", &ours, &managed, false, false),
        ] {
            let mut part = json!({"name": name, "tags": mark.written()});
            part.as_object_mut()
                .unwrap()
                .extend(rest.as_object().unwrap().clone());
            for (group, expected) in [(&update, in_update), (&create, in_create)] {
                assert_eq!(is_left(&part, &SORTS[sort], group), expected, "{part}");
            }
        }
    }
}
