//! Which address a machine takes, where its shape lists them.
//!
//! In: a spec. Out: an address that no machine has, be it that its advanced parameters say so or
//! that its guest reports it. Two processes may take one at a time, and neither sees the other's
//! clone before that is made: a machine is powered on only when it has its address alone, and one
//! that has not is destroyed again.

use std::collections::BTreeMap;

use serde_json::json;

use super::api::Session;
use super::machine::{self, Virtual};
use super::object::{Query, Ref, start};
use super::request::CLONE;
use super::{VM, everywhere, known};
use crate::worker_group::cloud::addresses::{Addresses, LISTED};
use crate::worker_group::cloud::{Answered, CloudError, Kind, Machine, Spec};

/// Who has which addresses.
pub(super) struct InUse(BTreeMap<Ref, Holder>);

#[derive(Default)]
struct Holder {
    name: String,
    addresses: Vec<String>,
}

impl InUse {
    /// What all machines carry, and what their guests take for their first; of those of a folder
    /// all that their guests report.
    ///
    /// # Errors
    /// The server does not say.
    pub(super) async fn found(
        session: &Session,
        object: &str,
        folder: Option<&Ref>,
    ) -> Answered<Self> {
        let mut all: BTreeMap<Ref, Holder> = BTreeMap::new();
        let mut add = |found: Vec<super::Object>| {
            for one in found {
                let holder = all.entry(one.of.clone()).or_default();
                holder.addresses.extend(Virtual(&one).all_addresses());
                if holder.name.is_empty() {
                    holder.name = one.text("name").to_owned();
                }
            }
        };
        let root = start(&session.content.root_folder, everywhere());
        let query = Query {
            of: &[(VM, &machine::first_address())],
            from: vec![root],
        };
        add(session.query(object, query).await?);
        if let Some(folder) = folder {
            let children = json!([{
                "_typeName": "TraversalSpec", "type": "Folder", "path": "childEntity", "skip": false,
            }]);
            let query = Query {
                of: &[(VM, &["guest.net".to_owned()])],
                from: vec![start(folder, children)],
            };
            add(session.query(object, query).await?);
        }
        Ok(Self(all))
    }

    /// How many of these are free.
    pub(super) fn free(&self, addresses: &Addresses) -> usize {
        let all = addresses.in_turn(0).into_iter();
        all.filter(|one| !self.has(one)).count()
    }

    fn has(&self, address: &str) -> bool {
        self.0
            .values()
            .any(|one| one.addresses.iter().any(|has| has == address))
    }

    fn has_machine(&self, name: &str) -> bool {
        self.0.values().any(|one| one.name == name)
    }

    /// The name of another machine that has the address of one.
    fn rival(&self, of: &Ref, address: &str) -> Option<&str> {
        let others = self.0.iter().filter(|(other, _)| *other != of);
        let mut rivals = others.filter(|(_, one)| one.addresses.iter().any(|has| has == address));
        rivals.next().map(|(_, one)| one.name.as_str())
    }
}

/// Takes one, that of the ordinal first.
///
/// # Errors
/// All are in use.
pub(super) async fn take(
    session: &Session,
    spec: &Spec<'_>,
    addresses: &Addresses,
    folder: &Ref,
) -> Answered<String> {
    let in_use = InUse::found(session, spec.name, Some(folder)).await?;
    // Whoever has met another at its own begins elsewhere: the other one may, too.
    let listed = addresses.in_turn(match session.given.met(spec.name) {
        0 => spec.ordinal,
        times => spread(spec.name, times),
    });
    let taken = session.given.pool.take(
        spec.name,
        &[&listed],
        |one| in_use.has(one),
        |name| in_use.has_machine(name),
    );
    let taken = taken
        .ok()
        .and_then(|taken| taken.into_iter().flatten().next());
    taken.ok_or_else(|| {
        let words =
            "nothing: all addresses are in use. List as many as replicas and max_surge together";
        let error = CloudError::new(Kind::Quota, CLONE, spec.name, words);
        error.blaming(BLAMED)
    })
}

/// That none of these machines, which are to be powered on, has an address that another one has.
///
/// # Errors
/// One has.
pub(super) async fn alone(session: &Session, machines: &[Machine]) -> Answered<()> {
    let with = machines.iter().filter_map(|one| {
        let address = one
            .observed
            .get(LISTED)
            .filter(|address| !address.is_empty());
        Some((one, known::reference(&one.id)?, address?))
    });
    let with: Vec<(&Machine, Ref, &String)> = with.collect();
    let Some((first, ..)) = with.first() else {
        return Ok(());
    };
    let in_use = InUse::found(session, &first.name, None).await?;
    for (machine, of, address) in with {
        if let Some(rival) = in_use.rival(&of, address) {
            let words = format!("nothing: its address {address} is that of {rival}, too");
            let error = CloudError::new(Kind::BadRequest, POWER_ON, &machine.name, words);
            return Err(error.caused_by(TWICE, None).blaming(BLAMED));
        }
    }
    Ok(())
}

/// Somewhere, and not where others of the same ordinal are.
fn spread(name: &str, times: u64) -> u64 {
    let bytes = name.bytes().chain(times.to_le_bytes());
    bytes.fold(14_695_981_039_346_656_037, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    })
}

const POWER_ON: &str = "vSphere PowerOnVM_Task";
pub(super) const BLAMED: &str = "vsphere.addresses";
/// The code of an address that two machines have.
pub(super) const TWICE: &str = "AddressInUse";
