//! What users name, as objects of the inventory: the template, and where its clones go.
//!
//! In: `{cluster: "c1", datastore: "ssd", folder: "workers"}`. Out: `resgroup-9`, `datastore-12`,
//! `group-v30`; or which attribute names what is not there. A name stands below its datacenter, and
//! a path that begins with `/` for itself. See: *vSphere Web Services API*,
//! `SearchIndex.FindByInventoryPath`.

use serde_json::{Value as Json, json};

use super::api::Session;
use super::object::{Object, Query, Ref, start};
use super::shape::Shape;
use crate::worker_group::cloud::{Answered, CloudError, Kind};

/// Where clones go.
pub(super) struct Place {
    pub(super) folder: Ref,
    pub(super) pool: Ref,
    pub(super) host: Option<Ref>,
    pub(super) datastore: Option<Ref>,
    pub(super) datastore_cluster: Option<Ref>,
    /// Backings of the network adapters, in the order of the shape.
    pub(super) networks: Vec<Json>,
}

/// What is cloned.
pub(super) struct Source {
    pub(super) of: Ref,
    /// The newest snapshot.
    pub(super) snapshot: Option<Ref>,
    /// The first disk, as the API has it.
    pub(super) disk: Option<Json>,
    /// Its network adapters: type and key.
    pub(super) adapters: Vec<Json>,
}

impl Source {
    /// In KiB.
    pub(super) fn disk_size(&self) -> Option<i64> {
        self.disk.as_ref()?["capacityInKB"].as_i64()
    }
}

/// A datacenter, and its path in the inventory.
pub(super) struct Datacenter<'a> {
    session: &'a Session,
    path: String,
}

/// The path of the datacenter that is named, or of the only one.
///
/// # Errors
/// There is none of the name, or there are several and none is named.
pub(super) async fn datacenter(session: &Session, named: Option<&str>) -> Answered<String> {
    let all = datacenters(session).await?;
    if let Some(name) = named {
        let name = name.trim_start_matches('/');
        let is_it = |(path, of): &&(String, Ref)| path == name || of.value == name;
        let found = all.iter().find(is_it).map(|(path, _)| path.clone());
        return found.ok_or_else(|| DATACENTER.missing(name));
    }
    if let [(path, _)] = &all[..] {
        return Ok(path.clone());
    }
    let paths: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    let words = format!("{} datacenters ({}); name one", all.len(), paths.join(", "));
    let error = CloudError::new(Kind::BadRequest, DATACENTER.action, "the group", words);
    Err(error.blaming(DATACENTER.attribute))
}

impl<'a> Datacenter<'a> {
    /// Of this path.
    pub(super) fn new(session: &'a Session, path: &str) -> Self {
        let path = path.to_owned();
        Self { session, path }
    }

    /// What is cloned.
    ///
    /// # Errors
    /// There is nothing of the name.
    pub(super) async fn source(&self, image: &str) -> Answered<Source> {
        let of = self.named(&TEMPLATE, image).await?;
        let paths = ["snapshot.currentSnapshot", "config.hardware.device"].map(str::to_owned);
        let found = self.properties(&TEMPLATE, &of, image, &paths).await?;
        let devices = found.list("config.hardware.device");
        let is = |device: &&Json, kind: &str| device["_typeName"] == kind;
        let named = |device: &Json| json!({"_typeName": device["_typeName"], "key": device["key"]});
        // Only network adapters have an address.
        let adapters = devices.iter().filter(|one| one["addressType"].is_string());
        Ok(Source {
            of,
            snapshot: found.reference("snapshot.currentSnapshot"),
            disk: devices.iter().find(|one| is(one, "VirtualDisk")).cloned(),
            adapters: adapters.map(named).collect(),
        })
    }

    /// Where clones go.
    ///
    /// # Errors
    /// The first name of which there is nothing.
    pub(super) async fn place(&self, shape: &Shape) -> Answered<Place> {
        let (pool, host) = self.pool(shape).await?;
        let folder = shape.folder.as_deref().unwrap_or_default();
        let folder = self.named(&FOLDER, folder).await?;
        let datastore = match &shape.datastore {
            Some(name) => Some(self.named(&STORE, name).await?),
            None => None,
        };
        let datastore_cluster = match &shape.datastore_cluster {
            Some(name) => Some(self.named(&POD, name).await?),
            None => None,
        };
        let mut networks = Vec::new();
        for interface in &shape.network_interface {
            networks.push(self.network(&interface.network).await?);
        }
        Ok(Place {
            folder,
            pool,
            host,
            datastore,
            datastore_cluster,
            networks,
        })
    }

    /// The resource pool, and the host where one is named.
    async fn pool(&self, shape: &Shape) -> Answered<(Ref, Option<Ref>)> {
        if let Some(name) = &shape.resource_pool {
            let pool = self.named(&POOL, name).await?;
            return Ok((pool, None));
        }
        if let Some(name) = &shape.cluster {
            let cluster = self.named(&CLUSTER, name).await?;
            return Ok((self.root_pool(&CLUSTER, &cluster, name).await?, None));
        }
        let name = shape.host.as_deref().unwrap_or_default();
        let host = self.named(&HOST, name).await?;
        if host.kind != "HostSystem" {
            return Ok((self.root_pool(&HOST, &host, name).await?, None));
        }
        let found = self
            .properties(&HOST, &host, name, &["parent".to_owned()])
            .await?;
        let parent = found
            .reference("parent")
            .ok_or_else(|| HOST.missing(name))?;
        Ok((self.root_pool(&HOST, &parent, name).await?, Some(host)))
    }

    async fn root_pool(&self, sort: &Sort, of: &Ref, name: &str) -> Answered<Ref> {
        let found = self
            .properties(sort, of, name, &["resourcePool".to_owned()])
            .await?;
        found
            .reference("resourcePool")
            .ok_or_else(|| sort.missing(name))
    }

    /// What an adapter names its network by.
    async fn network(&self, name: &str) -> Answered<Json> {
        let network = self.named(&NETWORK, name).await?;
        if network.kind == "Network" {
            let found = self
                .properties(&NETWORK, &network, name, &["name".to_owned()])
                .await?;
            return Ok(json!({
                "_typeName": "VirtualEthernetCardNetworkBackingInfo",
                "deviceName": found.text("name"),
            }));
        }
        let paths = ["key", "config.distributedVirtualSwitch"].map(str::to_owned);
        let group = self.properties(&NETWORK, &network, name, &paths).await?;
        let switch = group.reference("config.distributedVirtualSwitch");
        let switch = switch.ok_or_else(|| NETWORK.missing(name))?;
        let found = self
            .properties(&NETWORK, &switch, name, &["uuid".to_owned()])
            .await?;
        Ok(json!({
            "_typeName": "VirtualEthernetCardDistributedVirtualPortBackingInfo",
            "port": {
                "_typeName": "DistributedVirtualSwitchPortConnection",
                "switchUuid": found.text("uuid"),
                "portgroupKey": group.text("key"),
            },
        }))
    }

    /// An object by its id, its whole path, or what stands below a folder of the datacenter.
    async fn named(&self, sort: &Sort, name: &str) -> Answered<Ref> {
        if let Some(kind) = kind_of(name) {
            // Whether there is one its properties tell.
            let of = Ref::new(kind, name);
            let found = self
                .properties(sort, &of, name, &["name".to_owned()])
                .await?;
            return match sort.kinds.contains(&kind) {
                true => Ok(found.of),
                false => Err(sort.missing(name)),
            };
        }
        let path = match name.strip_prefix('/') {
            Some(whole) => whole.to_owned(),
            None => format!("{}/{}/{name}", self.path, sort.below),
        };
        let found = self.session.at_path(path.trim_end_matches('/')).await?;
        let is_kind = |of: &Ref| sort.kinds.contains(&of.kind.as_str());
        found.filter(is_kind).ok_or_else(|| sort.missing(name))
    }

    async fn properties(
        &self,
        sort: &Sort,
        of: &Ref,
        name: &str,
        paths: &[String],
    ) -> Answered<Object> {
        let asked = [of.clone()];
        let found = self
            .session
            .properties(name, &of.kind, &asked, paths)
            .await?;
        found.into_iter().next().ok_or_else(|| sort.missing(name))
    }
}

/// All datacenters, with their paths.
async fn datacenters(session: &Session) -> Answered<Vec<(String, Ref)>> {
    let folders = json!([{
        "_typeName": "TraversalSpec",
        "name": "folders",
        "type": "Folder",
        "path": "childEntity",
        "skip": false,
        "selectSet": [{"_typeName": "SelectionSpec", "name": "folders"}],
    }]);
    let paths = ["name", "parent"].map(str::to_owned);
    let root = &session.content.root_folder;
    let query = Query {
        of: &[("Folder", &paths), ("Datacenter", &paths)],
        from: vec![start(root, folders)],
    };
    let all = session.query("the datacenters", query).await?;
    let path_of = |one: &Object| {
        let mut parts = vec![one.text("name").to_owned()];
        let mut above = one.reference("parent");
        // Folders are in each other, and no deeper than there are any.
        for _ in 0..all.len() {
            let Some(of) = above.filter(|of| of != root) else {
                break;
            };
            let folder = all.iter().find(|one| one.of == of);
            parts.extend(folder.map(|one| one.text("name").to_owned()));
            above = folder.and_then(|one| one.reference("parent"));
        }
        parts.reverse();
        parts.join("/")
    };
    let datacenters = all.iter().filter(|one| one.of.kind == "Datacenter");
    Ok(datacenters
        .map(|one| (path_of(one), one.of.clone()))
        .collect())
}

/// Which type an id is of, by the prefix that vCenter Server gives it.
fn kind_of(text: &str) -> Option<&'static str> {
    let (prefix, number) = text.rsplit_once('-')?;
    let digits = number.trim_start_matches(|of: char| of.is_ascii_lowercase());
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let letters = &number[..number.len() - digits.len()];
    IDS.iter()
        .find(|(of, with, _)| is_number && *of == prefix && *with == letters)
        .map(|(_, _, kind)| *kind)
}

/// `domain-c7` is a cluster: what stands before the number, and the type.
const IDS: &[(&str, &str, &str)] = &[
    ("vm", "", "VirtualMachine"),
    ("group", "v", "Folder"),
    ("group", "p", "StoragePod"),
    ("resgroup", "", "ResourcePool"),
    ("resgroup", "v", "VirtualApp"),
    ("domain", "c", COMPUTES[0]),
    ("domain", "s", COMPUTES[1]),
    ("host", "", "HostSystem"),
    ("datastore", "", "Datastore"),
    ("network", "", "Network"),
    ("dvportgroup", "", "DistributedVirtualPortgroup"),
];
const COMPUTES: [&str; 2] = ["ClusterComputeResource", "ComputeResource"];

/// Things of one sort, as users name them.
struct Sort {
    action: &'static str,
    what: &'static str,
    attribute: &'static str,
    /// The folder of a datacenter that they are in.
    below: &'static str,
    kinds: &'static [&'static str],
}

impl Sort {
    const fn new(
        what: &'static str,
        attribute: &'static str,
        below: &'static str,
        kinds: &'static [&'static str],
    ) -> Self {
        Self {
            action: "vSphere FindByInventoryPath",
            what,
            attribute,
            below,
            kinds,
        }
    }

    fn missing(&self, name: &str) -> CloudError {
        let words = format!("no {} of this name", self.what);
        CloudError::new(Kind::BadRequest, self.action, name, words).blaming(self.attribute)
    }
}

const DATACENTER: Sort = Sort::new("datacenter", "vsphere.datacenter", "", &["Datacenter"]);
const TEMPLATE: Sort = Sort::new("template or machine", "image", "vm", &["VirtualMachine"]);
const FOLDER: Sort = Sort::new("folder", "vsphere.folder", "vm", &["Folder"]);
const STORE: Sort = Sort::new(
    "datastore",
    "vsphere.datastore",
    "datastore",
    &["Datastore"],
);
const POD: Sort = Sort::new(
    "cluster of datastores",
    "vsphere.datastore_cluster",
    "datastore",
    &["StoragePod"],
);
const POOL: Sort = Sort::new(
    "resource pool",
    "vsphere.resource_pool",
    "host",
    &["ResourcePool", "VirtualApp"],
);
const CLUSTER: Sort = Sort::new("cluster", "vsphere.cluster", "host", &COMPUTES);
const HOST: Sort = Sort::new(
    "host",
    "vsphere.host",
    "host",
    &["HostSystem", COMPUTES[0], COMPUTES[1]],
);
const NETWORK: Sort = Sort::new(
    "network",
    "vsphere.network_interface",
    "network",
    &["Network", "DistributedVirtualPortgroup"],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        for (text, kind) in [
            ("vm-42", Some("VirtualMachine")),
            ("group-v3", Some("Folder")),
            ("group-p9", Some("StoragePod")),
            ("domain-c7", Some("ClusterComputeResource")),
            ("resgroup-8", Some("ResourcePool")),
            ("resgroup-v8", Some("VirtualApp")),
            ("dvportgroup-14", Some("DistributedVirtualPortgroup")),
            ("vm-", None),
            ("vm-4a", None),
            ("flatcar-4593.2.5", None),
            ("host", None),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }
}
