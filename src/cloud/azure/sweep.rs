//! What machines have left that never came to be, or went without it: network interfaces, addresses
//! and disks that nobody uses.
//!
//! In: the mark of a group. Out: nothing is left of it. A part carries the group's uid, or, in a
//! create, that of one of the same state that never returned; its name is made of that uid, and
//! nobody uses it. What else has such tags is somebody's who copied them. Data disks come and go
//! with their machine's own calls: one of a machine that was in state has been detached by somebody
//! who wants to keep what is on it.

use serde_json::Value as Json;

use super::api::{DISKS as DISKS_VERSION, NETWORK, Session};
use super::failure::missing_group;
use super::request::{ADDRESS, ADDRESSES, DISKS, NIC, NICS, Place};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, Mark, absent, all_of};

/// Asked when no create of the group is under way. Interfaces go first: an address is held by one.
pub(super) async fn sweep(
    session: &Session,
    place: &Place,
    group: &Mark,
    first: u64,
) -> Answered<()> {
    for sort in SORTS {
        let call = Call::get(place.all(sort.kind)).query("api-version", sort.version);
        let all = missing_group(session.all(sort.list, &group.group, call).await);
        let all = absent(all)?.unwrap_or_default();
        let left = all.iter().filter(|part| is_left(part, &sort, group, first));
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

fn is_left(part: &Json, sort: &Sort, group: &Mark, first: u64) -> bool {
    let of = Mark::parts(|key| part["tags"][key].as_str());
    let is_of_group = of.cluster == group.cluster && of.group == group.group;
    // The tags of parts stay as the create wrote them. As a machine that such a create has left is
    // taken over, so goes what is left beside it; whatever it was made from, it serves nobody.
    let is_unfinished = group.unsaved && of.is_unfinished_of(&group.origin);
    let is_ours = of.is_whole() && (of.uid == group.uid || is_unfinished);
    let holder = sort.holder.iter().fold(part, |at, key| &at[*key]);
    // A create that never returned has put no machine into any state.
    let is_spared = |made: Made| made.holds_data && of.uid == group.uid && made.ordinal < first;
    let made = made(part, sort, &of).filter(|made| !is_spared(*made));
    is_of_group && is_ours && made.is_some() && holder.is_null()
}

/// What a create made for a machine.
#[derive(Clone, Copy)]
struct Made {
    /// Of the machine.
    ordinal: u64,
    holds_data: bool,
}

/// By its name, where that is one that a create under this mark gives: `workers-k3v9x2ab-0-nic`, or
/// `workers-k3v9x2ab-0-a1-data-2`.
fn made(part: &Json, sort: &Sort, of: &Mark) -> Option<Made> {
    let name = part["name"].as_str().unwrap_or_default().to_lowercase();
    let rest = name.strip_prefix(&format!("{}-", of.group).to_lowercase());
    let (uid, rest) = rest?.split_once('-')?;
    let of_end = |end: &str| {
        // Data disks have their number at the end.
        let (machine, holds_data) = match end.strip_suffix('-') {
            Some(end) => {
                let (rest, lun) = rest.rsplit_once('-')?;
                number(lun)?;
                (rest.strip_suffix(end)?, true)
            }
            None => (rest.strip_suffix(end)?, false),
        };
        let ordinal = ordinal(machine)?;
        Some(Made {
            ordinal,
            holds_data,
        })
    };
    let made = sort.ends.iter().find_map(|end| of_end(end));
    made.filter(|_| uid.ends_with(&of.uid))
}

/// Of a machine: `0`, or with the try of its name `0-a1`.
fn ordinal(text: &str) -> Option<u64> {
    let (ordinal, attempt) = text.split_once("-a").unwrap_or((text, "0"));
    number(attempt)?;
    number(ordinal)
}

fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
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
                let is_left = is_left(&part, &SORTS[sort], group, 0);
                assert_eq!(is_left, expected, "{part}");
            }
        }
    }

    /// Of a machine that was in state, and of one that never came to be.
    #[test]
    fn a_data_disk_that_somebody_detached_is_no_leftover() {
        let own = "0f3c9a1e5b7d2468";
        let mark = |uid: &str, unsaved, origin: &str| Mark {
            cluster: "prod".to_owned(),
            group: "w".to_owned(),
            uid: uid.to_owned(),
            unsaved,
            origin: origin.to_owned(),
            ..Mark::default()
        };
        let (group, killed) = (mark("u1", true, own), mark("u2", true, own));
        for (name, of, expected) in [
            ("w-u1-2-data-0", &group, false),
            ("w-u1-2-a1-data-0", &group, false),
            ("w-u1-3-data-0", &group, true),
            ("w-u1-2-os", &group, true),
            ("w-u2-2-data-0", &killed, true),
        ] {
            let part = json!({"name": name, "tags": of.written()});
            assert_eq!(is_left(&part, &SORTS[2], &group, 3), expected, "{name}");
        }
    }
}
