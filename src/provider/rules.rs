//! Checks of several values together, which no attribute's own schema makes. Pure; what is not
//! known yet is not checked.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Diagnostics, Path, Value};

/// Both of two attributes of an object, or neither, where exactly one is needed.
pub fn exactly_one(object: &Value, [a, b]: [&str; 2], at: Path) -> Diagnostics {
    let fields = [object.field(a), object.field(b)];
    let is_unknown = |field: &&Value| matches!(field, Value::Unknown(_));
    let mut problems = Diagnostics::none();
    let found = match fields.map(Value::is_null) {
        _ if fields.iter().any(is_unknown) => return problems,
        [true, true] => "neither is",
        [false, false] => "both are",
        _ => return problems,
    };
    problems.wrong(
        at,
        format!("Exactly one of {a} and {b} is needed"),
        format!("Of {a} and {b} {found} set. Set one of the two."),
    );
    problems
}

/// Half of a pair of texts that go together: the attribute that is missing. An empty one is
/// missing.
pub fn missing_half<'a>(object: &Value, [a, b]: [&'a str; 2]) -> Option<&'a str> {
    let is_set = |name: &str| match object.field(name) {
        Value::Null => Some(false),
        value => value.text().map(|text| !text.is_empty()),
    };
    match (is_set(a)?, is_set(b)?) {
        (true, false) => Some(b),
        (false, true) => Some(a),
        _ => None,
    }
}

/// Addresses of a list that are none, or are there twice.
pub fn addresses(listed: &[Value], at: &Path) -> Diagnostics {
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    let mut problems = Diagnostics::none();
    for (number, text) in listed.iter().map(Value::text).enumerate() {
        let Some(text) = text else { continue };
        let (summary, detail) = match text.parse() {
            Ok(address) if seen.insert(address) => continue,
            Ok(_) => (
                "Address is listed twice",
                format!("{text} can be of one server only. Take one of them out."),
            ),
            Err(_) => (
                "Not an IP address",
                format!("{text:?} is none. Write an address of the network, such as 10.0.0.5."),
            ),
        };
        problems.wrong(at.index(number), summary, detail);
    }
    problems
}
