//! Names and bodies of what a machine is made of, its network interface, its address and itself:
//! pure.
//!
//! In: a spec, its shape, user data in base64. Out: bodies of PUTs. Every part carries the marks,
//! and goes with its machine. See: Compute 2024-11-01 `VirtualMachines_CreateOrUpdate`, Network
//! 2024-05-01 `NetworkInterfaces_CreateOrUpdate`, `PublicIPAddresses_CreateOrUpdate`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::claims::{claims_of, name_of};
use super::shape::{Disk, IMAGE, OWN, Shape};
use crate::http::rest::whole;
use crate::worker_group::cloud::{Mark, Spec};

/// Where the machines of a group are.
pub(super) struct Place {
    /// In lower-case letters, as the group: ids that Azure answers are written in any.
    pub(super) subscription: String,
    /// `None` for who knows no shape and no scope: the whole subscription.
    pub(super) group: Option<String>,
}

impl Place {
    pub(super) fn new(subscription: &str, group: Option<&str>) -> Self {
        Self {
            subscription: subscription.to_lowercase(),
            group: group.map(str::to_lowercase),
        }
    }

    /// All of a sort: `"Microsoft.Compute/virtualMachines"`.
    pub(super) fn all(&self, kind: &str) -> String {
        let group = self
            .group
            .as_ref()
            .map(|group| format!("/resourceGroups/{group}"));
        format!(
            "/subscriptions/{}{}/providers/{kind}",
            self.subscription,
            group.unwrap_or_default()
        )
    }

    /// What is in the subscription, whatever its group: `"Microsoft.Compute/skus"`.
    pub(super) fn of_subscription(&self, path: &str) -> String {
        format!("/subscriptions/{}/providers/{path}", self.subscription)
    }

    /// The path of a machine as we write it, of one that Azure has written.
    pub(super) fn canonical(id: &str) -> Option<String> {
        let parts: Vec<&str> = id.trim_start_matches('/').split('/').collect();
        let [_, subscription, _, group, _, _, _, name, ..] = parts[..] else {
            return None;
        };
        let place = Self::new(subscription, Some(group));
        Some(format!("{}/{name}", place.all(MACHINES)))
    }
}

/// Ids of what one machine is made of.
pub(super) struct Parts {
    pub(super) machine: String,
    pub(super) nic: String,
    pub(super) address: String,
}

impl Parts {
    /// Of a spec. A raised attempt has names of its own: those of the last one may be going still.
    pub(super) fn of(place: &Place, spec: &Spec<'_>) -> Self {
        let name = match spec.attempt {
            0 => spec.name.to_owned(),
            attempt => format!("{}-a{attempt}", spec.name),
        };
        Self::named(place, &name)
    }

    /// Of a machine by its path.
    pub(super) fn by_path(machine: &str) -> Option<Self> {
        let parts: Vec<&str> = machine.split('/').collect();
        let ["", _, subscription, _, group, .., name] = parts[..] else {
            return None;
        };
        Some(Self::named(&Place::new(subscription, Some(group)), name))
    }

    fn named(place: &Place, name: &str) -> Self {
        Self {
            machine: format!("{}/{name}", place.all(MACHINES)),
            nic: format!("{}/{name}{NIC}", place.all(NICS)),
            address: format!("{}/{name}{ADDRESS}", place.all(ADDRESSES)),
        }
    }

    /// `workers-k3v9x2ab-0`, or with `-a1` after it.
    pub(super) fn name(&self) -> &str {
        self.machine.rsplit('/').next().unwrap_or_default()
    }
}

pub(super) fn address(spec: &Spec<'_>, shape: &Shape) -> Json {
    json!({
        "location": shape.location, "tags": tags(spec, shape), "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    })
}

pub(super) fn nic(spec: &Spec<'_>, shape: &Shape, parts: &Parts) -> Json {
    let asgs: Vec<Json> = shape
        .application_security_group_ids
        .iter()
        .map(by_id)
        .collect();
    let address = shape
        .public_ip
        .then(|| json!({"id": parts.address, "properties": {"deleteOption": "Delete"}}));
    let config = whole(json!({
        "subnet": by_id(&shape.subnet_id), "primary": true, "privateIPAllocationMethod": "Dynamic",
        "publicIPAddress": address, "applicationSecurityGroups": (!asgs.is_empty()).then_some(asgs),
    }));
    let properties = whole(json!({
        "ipConfigurations": [{"name": IP_CONFIGURATION, "properties": config}],
        "networkSecurityGroup": shape.network_security_group_id.as_ref().map(by_id),
        "enableAcceleratedNetworking": shape.accelerated_networking_enabled.then_some(true),
    }));
    json!({"location": shape.location, "tags": tags(spec, shape), "properties": properties})
}

/// `user_data` is in Azure's form: base64.
pub(super) fn machine(
    spec: &Spec<'_>,
    shape: &Shape,
    parts: &Parts,
    zone: Option<&str>,
    user_data: &str,
) -> Json {
    let is_custom = shape.user_data_as == "custom_data";
    let keys = match shape.admin_ssh_keys.is_empty() {
        true => vec![NOBODYS_KEY.to_owned()],
        false => shape.admin_ssh_keys.clone(),
    };
    let user = &shape.admin_username;
    let keys: Vec<Json> = keys
        .iter()
        .map(|key| json!({"path": format!("/home/{user}/.ssh/authorized_keys"), "keyData": key}))
        .collect();
    let os_profile = whole(json!({
        "computerName": spec.name, "adminUsername": user, "customData": is_custom.then_some(user_data),
        "linuxConfiguration": {"disablePasswordAuthentication": true, "ssh": {"publicKeys": keys}},
    }));
    let data = shape.data_disks.iter().enumerate().map(|(lun, disk)| {
        let name = format!("{}-data-{lun}", parts.name());
        whole(json!({
            "lun": lun, "name": name, "createOption": "Empty", "deleteOption": "Delete", "diskSizeGB": disk.size_gb, "managedDisk": managed(disk),
        }))
    });
    let data: Vec<Json> = data.collect();
    let storage = whole(json!({
        "imageReference": image(spec.image), "osDisk": os_disk(shape, parts), "dataDisks": (!data.is_empty()).then_some(data),
    }));
    let group = |id: &Option<String>| id.as_ref().map(by_id);
    let properties = whole(json!({
        "hardwareProfile": {"vmSize": shape.vm_size},
        "storageProfile": storage,
        "osProfile": os_profile,
        "networkProfile": {"networkInterfaces": [{"id": parts.nic, "properties": {"primary": true, "deleteOption": "Delete"}}]},
        "userData": (!is_custom).then_some(user_data),
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": shape.boot_diagnostics}},
        "priority": shape.is_spot().then_some("Spot"),
        "evictionPolicy": shape.is_spot().then(|| shape.eviction_policy.as_deref().unwrap_or("Deallocate")),
        "billingProfile": shape.max_bid_price.filter(|_| shape.is_spot()).map(|price| json!({"maxPrice": price})),
        "proximityPlacementGroup": group(&shape.proximity_placement_group_id),
        "capacityReservation": group(&shape.capacity_reservation_group_id).map(|id| json!({"capacityReservationGroup": id})),
    }));
    let identity = shape.identity.as_ref().map(|identity| {
        let ids: BTreeMap<&String, Json> = identity.identity_ids.iter().map(|id| (id, json!({}))).collect();
        whole(json!({"type": identity.kind, "userAssignedIdentities": (!ids.is_empty()).then_some(ids)}))
    });
    whole(json!({
        "location": shape.location, "tags": tags(spec, shape), "zones": zone.map(|zone| [zone]), "plan": shape.plan, "identity": identity,
        "properties": properties,
    }))
}

fn os_disk(shape: &Shape, parts: &Parts) -> Json {
    let disk = shape.os_disk.clone().unwrap_or_default();
    whole(json!({
        "name": format!("{}{OS_DISK}", parts.name()), "createOption": "FromImage", "deleteOption": "Delete", "osType": "Linux",
        "caching": if disk.ephemeral { "ReadOnly" } else { "ReadWrite" },
        "diffDiskSettings": disk.ephemeral.then(|| json!({"option": "Local"})),
        "diskSizeGB": disk.disk.size_gb, "managedDisk": managed(&disk.disk),
    }))
}

fn managed(disk: &Disk) -> Option<Json> {
    let managed = whole(json!({
        "storageAccountType": disk.storage_account_type, "diskEncryptionSet": disk.disk_encryption_set_id.as_ref().map(by_id),
    }));
    managed
        .as_object()
        .is_some_and(|fields| !fields.is_empty())
        .then_some(managed)
}

fn by_id(id: impl AsRef<str>) -> Json {
    json!({"id": id.as_ref()})
}

/// How Azure is told an image, and back: [`image_text`].
fn image(text: &str) -> Json {
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        _ if lower.starts_with("/communitygalleries/") => json!({"communityGalleryImageId": text}),
        _ if lower.starts_with("/sharedgalleries/") => json!({"sharedGalleryImageId": text}),
        [publisher, offer, sku, version] => {
            json!({"publisher": publisher, "offer": offer, "sku": sku, "version": version})
        }
        _ => json!({"id": text}),
    }
}

/// An `imageReference` as users write it.
pub(super) fn image_text(reference: &Json) -> String {
    let text = |key: &str| reference[key].as_str();
    let id = text("communityGalleryImageId")
        .or(text("sharedGalleryImageId"))
        .or(text("id"));
    let urn = || {
        ["publisher", "offer", "sku", "version"]
            .map(|key| text(key).unwrap_or_default())
            .join(":")
    };
    id.map_or_else(urn, str::to_owned)
}

/// The mark, the user's, and what only a create knows.
fn tags(spec: &Spec<'_>, shape: &Shape) -> BTreeMap<String, String> {
    let mut tags = OWN.written(&shape.tags);
    tags.extend(spec.mark.written());
    if spec.image.len() <= TAG_CHARS {
        tags.insert(IMAGE.to_owned(), spec.image.to_owned());
    }
    let pools = &shape.load_balancer_backend_address_pool_ids;
    if !pools.is_empty() {
        tags.extend(claims_of(pools.iter().map(|pool| name_of(pool))));
    }
    tags
}

/// What is written on a machine that exists.
pub(super) fn retagged(mark: &Mark, shape: Option<&Shape>) -> BTreeMap<String, String> {
    let mut tags = shape
        .map(|shape| OWN.written(&shape.tags))
        .unwrap_or_default();
    tags.extend(mark.written());
    tags
}

/// A public key of RSA that nobody has the private half of, for Azure wants one. Its number is the
/// one of 2,048 bits of the RSA Factoring Challenge: whoever made it destroyed its factors, and
/// nobody has found them since 1991.
const NOBODYS_KEY: &str = concat!(
    "ssh-rsa ",
    "AAAAB3NzaC1yc2EAAAADAQABAAABAQDHlwzu3MOwdUSQIBp6phPNc5EQgceQ9fGocm9GNVC7W3/w244eoRiexy+T",
    "0WUAEb1yGu6swqzeMqBBB/BkjCgTox9bC3dl/4tEtLb/yTOEtkbrCcfPXoWS1A6jPIADnzW08UoEtR97/Xgb5NFn",
    "MWS6jrmRwsTXMLu+NfWSve9SSvfo2u/SbGb8AsR5r4nWTTc/RCcJQ53mbOuVXz6jfVFZ9hNYCfhTNLXLGBOt3IDN",
    "BWCfEKxqla1lhyyQlSW9rTK8cpWSZCkg8kxh3Fs8O3kj5WsWpNnTc9hyHySj/A8bMTH1VhUXKGa8zDD5UFTIJOcz",
    "petoF/e8FjmdSMY2HMfl",
    " nobody"
);

pub(super) const MACHINES: &str = "Microsoft.Compute/virtualMachines";
pub(super) const DISKS: &str = "Microsoft.Compute/disks";
pub(super) const NICS: &str = "Microsoft.Network/networkInterfaces";
pub(super) const ADDRESSES: &str = "Microsoft.Network/publicIPAddresses";
pub(super) const NIC: &str = "-nic";
pub(super) const ADDRESS: &str = "-ip";
const OS_DISK: &str = "-os";
const IP_CONFIGURATION: &str = "primary";
const TAG_CHARS: usize = 256;

#[cfg(test)]
mod tests;
