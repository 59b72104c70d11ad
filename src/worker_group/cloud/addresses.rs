//! Addresses of machines where nobody hands any out: which of a list a machine takes, and the unit
//! that tells its guest.
//!
//! In: `{cidr = "10.0.0.0/24", gateway = "10.0.0.1", list = ["10.0.0.10-10.0.0.29"]}`, an ordinal,
//! and user data. Out: `10.0.0.12` and those that follow it; and user data with a unit of
//! systemd-networkd. What is in use a cloud knows, and [`Pool`] keeps apart what is taken at a
//! time. See: systemd.network(5).
//!
//! [`Pool`]: super::Pool

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::ignition::merge_file;
use crate::provider::convert::or_empty;
use crate::provider::{Attribute, Diagnostics, Path, Type, Value};

/// The attribute of one machine's shape.
pub fn schema() -> Attribute {
    Attribute::object(
        ADDRESSES,
        "Addresses of the machines where no DHCP gives them any. Each machine takes one that is free, that of its ordinal first, and keeps it.",
        vec![
            Attribute::string("cidr", "Network of the addresses, such as `10.0.0.0/24`.")
                .required()
                .pattern("An address and the length of its network's prefix", |text| Network::read(text).is_some()),
            Attribute::string("gateway", "Gateway of the machines; without it they reach their own network alone.")
                .optional()
                .pattern(ADDRESS_SAYS, is_address),
            Attribute::list("dns", "Name servers of the machines.", Type::String).optional().length(0..=8),
            Attribute::list(
                "list",
                "Addresses, and ranges of them such as `10.0.0.10-10.0.0.29`: as many as `replicas` and `max_surge` together. The list may grow; \
                 machines whose own address left it are replaced.",
                Type::String,
            )
            .required()
            .length(1..=256),
            Attribute::string("interface", "Network interface of the guest, as `Name=` of systemd.network takes it.")
                .default("en*")
                .pattern("A name, with `*` and `?` for what may be anything", is_interface),
        ],
    )
    .optional()
}

/// The attribute as a struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Addresses {
    cidr: String,
    gateway: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    dns: Vec<String>,
    list: Vec<String>,
    interface: Option<String>,
}

impl Addresses {
    /// All that are listed, each once, that of an ordinal first.
    pub fn in_turn(&self, ordinal: u64) -> Vec<String> {
        let mut known = BTreeSet::new();
        let ranges = self.list.iter().filter_map(|text| range(text));
        let mut all: Vec<String> = ranges
            .flat_map(|range| each(&range))
            .filter(|address| known.insert(*address))
            .map(|address| address.to_string())
            .collect();
        let length = u64::try_from(all.len()).unwrap_or(u64::MAX).max(1);
        let first = usize::try_from(ordinal % length).unwrap_or_default();
        all.rotate_left(first);
        all
    }

    /// User data of the machine that has this address: Ignition JSON with a unit more.
    ///
    /// # Errors
    /// Why they cannot take it.
    pub fn given(&self, user_data: &[u8], address: &str) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(user_data).map_err(|error| error.to_string())?;
        let merged = merge_file(text, UNIT, &self.unit(address));
        let merged = merged.map_err(|_| "It is not Ignition JSON, or its ignition.config.replace would discard the unit that gives a machine its address")?;
        Ok(merged.into_bytes())
    }

    fn unit(&self, address: &str) -> String {
        let bits = Network::read(&self.cidr).map_or(0, |network| network.bits);
        let interface = self.interface.as_deref().unwrap_or("en*");
        let mut unit =
            format!("[Match]\nName={interface}\n\n[Network]\nDHCP=no\nAddress={address}/{bits}\n");
        for (key, values) in [("Gateway", self.gateway.as_slice()), ("DNS", &self.dns)] {
            for value in values {
                unit += &format!("{key}={value}\n");
            }
        }
        unit
    }
}

/// What is wrong with the attribute; values may be unknown. Paths begin with it.
pub fn validate(addresses: &Value) -> Diagnostics {
    let mut found = Diagnostics::none();
    let text = |field: &str| addresses.field(field).text();
    let Some(network) = text("cidr").and_then(Network::read) else {
        return found;
    };
    let at = Path::of(ADDRESSES);
    let gateway = text("gateway").and_then(|text| text.parse::<IpAddr>().ok());
    // One that holds on the link alone is a router of IPv6.
    let is_near = |gateway: IpAddr| match gateway {
        IpAddr::V6(gateway) if gateway.is_unicast_link_local() => true,
        gateway => network.has(gateway),
    };
    if let Some(gateway) = gateway.filter(|gateway| !is_near(*gateway)) {
        let detail = format!(
            "{gateway} is not in {}. Correct one of them.",
            network.text()
        );
        found.wrong(at.attribute("gateway"), "Gateway is elsewhere", detail);
    }
    for (number, server) in addresses.field("dns").elements().iter().enumerate() {
        if server.text().is_some_and(|server| !is_address(server)) {
            let at = at.attribute("dns").index(number);
            found.wrong(
                at,
                "Name server is no address",
                format!("{ADDRESS_SAYS} is wanted."),
            );
        }
    }
    let mut all: u128 = 0;
    for (number, listed) in addresses.field("list").elements().iter().enumerate() {
        let Some(listed) = listed.text() else {
            continue;
        };
        let at = at.attribute("list").index(number);
        let Some(range) = range(listed) else {
            let detail = format!(
                "{listed:?} is no address, and no range such as 10.0.0.10-10.0.0.29. Correct it."
            );
            found.wrong(at, "Address has the wrong form", detail);
            continue;
        };
        all = all.saturating_add(number_of(*range.end()) - number_of(*range.start()));
        let mut reserved = network.reserved().into_iter().chain(gateway);
        if !network.has(*range.start()) || !network.has(*range.end()) {
            let detail = format!(
                "{listed} is not in {}. Correct one of them.",
                network.text()
            );
            found.wrong(at, "Address is elsewhere", detail);
        } else if let Some(reserved) = reserved.find(|one| holds(listed, &one.to_string())) {
            let detail = format!(
                "{reserved} is the gateway's, or the network's own, and {listed} has it. Leave it out."
            );
            found.wrong(at, "Address cannot be a machine's", detail);
        }
    }
    if all >= MOST {
        let detail = format!("They are more than {MOST}. List fewer.");
        found.wrong(at.attribute("list"), "Too many addresses", detail);
    }
    found
}

/// Whether a range of a list, `10.0.0.10-10.0.0.29`, has an address.
pub fn holds(listed: &str, address: &str) -> bool {
    let address = address.parse::<IpAddr>().ok();
    address.is_some_and(|address| range(listed).is_some_and(|range| range.contains(&address)))
}

/// Both ends of a range; one address is a range of one.
fn range(text: &str) -> Option<RangeInclusive<IpAddr>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let is_one = first.is_ipv4() == last.is_ipv4() && first <= last;
    is_one.then_some(first..=last)
}

fn each(range: &RangeInclusive<IpAddr>) -> impl Iterator<Item = IpAddr> + use<> {
    let (first, last) = (*range.start(), *range.end());
    let numbers = number_of(first)..=number_of(last);
    numbers.take(65_536).filter_map(move |number| match first {
        IpAddr::V4(_) => Some(IpAddr::V4(u32::try_from(number).ok()?.into())),
        IpAddr::V6(_) => Some(IpAddr::V6(number.into())),
    })
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// `10.0.0.0/24`
#[derive(Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (1..=most).contains(&bits).then_some(Self { address, bits })
    }

    fn text(self) -> String {
        format!("{}/{}", self.address, self.bits)
    }

    /// Bits of an address that tell its machines apart.
    fn own(self) -> u32 {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        whole - u32::from(self.bits)
    }

    fn has(self, address: IpAddr) -> bool {
        let part = |address| {
            number_of(address)
                .checked_shr(self.own())
                .unwrap_or_default()
        };
        address.is_ipv4() == self.address.is_ipv4() && part(address) == part(self.address)
    }

    /// First and last of IPv4, unless there are no more than two.
    fn reserved(self) -> Vec<IpAddr> {
        let IpAddr::V4(address) = self.address else {
            return Vec::new();
        };
        if self.own() < 2 {
            return Vec::new();
        }
        let ones = u32::MAX.checked_shr(self.bits.into()).unwrap_or_default();
        let first = u32::from(address) & !ones;
        vec![IpAddr::V4(first.into()), IpAddr::V4((first | ones).into())]
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_interface(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"*?._:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_one)
}

/// The attribute.
pub const ADDRESSES: &str = "addresses";
/// Where the address of a machine stands in [`Machine::observed`]: it may be no other than a
/// listed one.
///
/// [`Machine::observed`]: super::Machine::observed
pub const LISTED: &str = "addresses.list";
const ADDRESS_SAYS: &str = "An address, such as `10.0.0.1`";
/// Before those of the image, which ask DHCP.
const UNIT: &str = "/etc/systemd/network/00-flatcar-worker.network";
const MOST: u128 = 65_536;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::convert::to_value;

    fn addresses(list: &[&str]) -> Addresses {
        Addresses {
            cidr: "10.0.0.0/24".to_owned(),
            gateway: Some("10.0.0.1".to_owned()),
            dns: vec!["10.0.0.2".to_owned(), "10.0.0.3".to_owned()],
            list: list.iter().map(|&one| one.to_owned()).collect(),
            interface: None,
        }
    }

    #[test]
    fn that_of_the_ordinal_comes_first_and_each_once() {
        let all = addresses(&["10.0.0.9", "10.0.0.254-10.0.1.0", "10.0.0.9-10.0.0.10"]);
        let first = [
            "10.0.0.9",
            "10.0.0.254",
            "10.0.0.255",
            "10.0.1.0",
            "10.0.0.10",
        ];
        assert_eq!(all.in_turn(0), first);
        assert_eq!(all.in_turn(5), first);
        assert_eq!(all.in_turn(4)[..2], ["10.0.0.10", "10.0.0.9"]);
        let six = addresses(&["fd00::f-fd00::11"]);
        assert_eq!(six.in_turn(1), ["fd00::10", "fd00::11", "fd00::f"]);
        assert!(addresses(&[]).in_turn(7).is_empty());
    }

    #[test]
    fn a_guest_gets_a_unit_before_those_that_ask_dhcp() {
        let user_data = br#"{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/a"}]}}"#;
        let given = addresses(&["10.0.0.9"])
            .given(user_data, "10.0.0.9")
            .unwrap();
        let given: serde_json::Value = serde_json::from_slice(&given).unwrap();
        let file = &given["storage"]["files"][1];
        assert_eq!(file["path"], UNIT);
        let source = file["contents"]["source"].as_str().unwrap();
        let source = source
            .replace("%0A", "\n")
            .replace("%5B", "[")
            .replace("%5D", "]");
        let source = source
            .replace("%3D", "=")
            .replace("%2F", "/")
            .replace("%2A", "*");
        assert_eq!(
            source,
            "data:,[Match]\nName=en*\n\n[Network]\nDHCP=no\nAddress=10.0.0.9/24\nGateway=10.0.0.1\nDNS=10.0.0.2\nDNS=10.0.0.3\n"
        );
        let replaces = br#"{"ignition":{"version":"3.3.0","config":{"replace":{"source":"https://example.com"}}}}"#;
        for refused in [&b"variant: flatcar"[..], replaces] {
            assert!(addresses(&["10.0.0.9"]).given(refused, "10.0.0.9").is_err());
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_on_its_attribute() {
        for (changes, at) in [
            (json!({}), vec![]),
            (json!({"gateway": "10.0.1.1"}), vec!["addresses.gateway"]),
            (json!({"gateway": null}), vec![]),
            (
                json!({"dns": ["10.0.0.2", "dns.example"]}),
                vec!["addresses.dns[1]"],
            ),
            (
                json!({"list": ["10.0.0.9", "x"]}),
                vec!["addresses.list[1]"],
            ),
            (
                json!({"list": ["10.0.0.9-10.0.0.8"]}),
                vec!["addresses.list[0]"],
            ),
            (
                json!({"list": ["10.0.0.9-fd00::1"]}),
                vec!["addresses.list[0]"],
            ),
            (json!({"list": ["10.0.1.9"]}), vec!["addresses.list[0]"]),
            (
                json!({"list": ["10.0.0.250-10.0.1.2"]}),
                vec!["addresses.list[0]"],
            ),
            // The gateway's, the network's own, and the one for all.
            (
                json!({"list": ["10.0.0.1-10.0.0.4"]}),
                vec!["addresses.list[0]"],
            ),
            (json!({"list": ["10.0.0.0"]}), vec!["addresses.list[0]"]),
            (
                json!({"list": ["10.0.0.250-10.0.0.255"]}),
                vec!["addresses.list[0]"],
            ),
            (
                json!({"cidr": "10.0.0.8/31", "gateway": null, "list": ["10.0.0.8-10.0.0.9"]}),
                vec![],
            ),
            (
                json!({"cidr": "fd00::/64", "gateway": "fe80::1", "list": ["fd00::1-fd00::ff"]}),
                vec![],
            ),
            (
                json!({"cidr": "fd00::/64", "gateway": null, "list": ["fd00::1-fd00::ff:ffff"]}),
                vec!["addresses.list"],
            ),
        ] {
            let mut written = serde_json::to_value(addresses(&["10.0.0.9-10.0.0.20"])).unwrap();
            let changes = changes.as_object().unwrap().clone();
            written.as_object_mut().unwrap().extend(changes);
            let found = validate(&to_value(&written)).0;
            let paths = found
                .iter()
                .filter_map(|one| Some(one.path.as_ref()?.to_string()));
            assert_eq!(paths.collect::<Vec<String>>(), at, "{written}");
        }
    }

    #[test]
    fn a_network_has_what_begins_as_it_does() {
        for (network, address, has) in [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.77/24", "10.0.0.1", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.0/32", "10.0.0.0", true),
            ("128.0.0.0/1", "10.0.0.0", false),
            ("fd00::/64", "fd00::1:0:0:1", true),
            ("fd00::/64", "10.0.0.0", false),
        ] {
            let network = Network::read(network).unwrap();
            assert_eq!(network.has(address.parse().unwrap()), has, "{address}");
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/0", "x/8", "10.0.0.0/x"] {
            assert!(Network::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_range_holds_what_is_between_its_ends() {
        for (listed, address, is_held) in [
            ("10.0.0.10-10.0.0.29", "10.0.0.10", true),
            ("10.0.0.10-10.0.0.29", "10.0.0.30", false),
            ("fd00:0::1", "fd00::1", true),
            ("subnet-1", "subnet-1", false),
            ("10.0.0.10", "10.0.0.1", false),
        ] {
            assert_eq!(holds(listed, address), is_held, "{listed} {address}");
        }
    }
}
