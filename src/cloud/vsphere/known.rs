//! What a machine is known by: the id that vCenter Server calls it by, and the number that is its
//! own. A server that was restored from a backup counts on from there, and gives ids once more.
//!
//! In: a virtual machine as a query answers it. Out: an id,
//! `vm-12|502e71fa-1a00-759b-e40f-ce778e915f16`, and its halves. See: *vSphere Web Services API*,
//! `VirtualMachineConfigInfo.instanceUuid`.

use super::VM;
use super::object::{Object, Ref};

/// Where the number stands.
pub(super) const NUMBER: &str = "config.instanceUuid";

/// `vm-12` alone, where the machine's configuration cannot be read now.
pub(super) fn id_of(machine: &Object) -> String {
    match machine.text(NUMBER) {
        "" => machine.of.value.clone(),
        number => format!("{}{MARK}{}", machine.of.value, number.to_lowercase()),
    }
}

/// What calls are about; `None`: no server gives such an id. What state records may have been
/// written by anybody, and stands in the path of a call.
pub(super) fn reference(id: &str) -> Option<Ref> {
    let (called, number) = id.split_once(MARK)?;
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_called = !called.is_empty() && called.bytes().all(is_one);
    (is_called && !number.is_empty()).then(|| Ref::new(VM, called))
}

/// Whether an object is the machine of this id; `None`: it does not say now, and is there.
pub(super) fn is(id: &str, object: &Object) -> Option<bool> {
    match object.text(NUMBER) {
        "" => None,
        _ => Some(id_of(object) == id),
    }
}

/// In no name of an object.
const MARK: char = '|';

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_has_what_the_server_says_and_what_is_the_machines_own() {
        let object = |number: &str| {
            let properties = serde_json::from_value(json!({NUMBER: number})).unwrap();
            Object::new(Ref::new(VM, "vm-12"), properties)
        };
        let id = id_of(&object("502E-7A"));
        assert_eq!(id, "vm-12|502e-7a");
        assert_eq!(reference(&id), Some(Ref::new(VM, "vm-12")));
        assert_eq!(is(&id, &object("502e-7a")), Some(true));
        assert_eq!(is(&id, &object("9")), Some(false));
        assert_eq!(is(&id, &object("")), None);
    }

    #[test]
    fn an_id_that_leads_elsewhere_is_none() {
        for (id, is_one) in [
            ("vm-12|5", true),
            ("vm-12", false),
            ("vm-12|", false),
            ("", false),
            ("|5", false),
            ("vm-12/Destroy_Task|5", false),
            ("..|5", false),
            ("vm 12|5", false),
        ] {
            assert_eq!(reference(id).is_some(), is_one, "{id}");
        }
    }
}
