//! The backend address pools that a machine says it is in, in its tags: a tag holds 256 characters,
//! and there are three of them.
//!
//! In: ids of pools. Out: names that tell those of one subscription apart, as tags; and back.

use std::collections::{BTreeMap, BTreeSet};

use super::shape::CLAIMS;

/// What a machine's tags call a pool:
/// `workers-rg/providers/Microsoft.Network/loadBalancers/web/backendAddressPools/workers`.
pub(super) fn name_of(pool: &str) -> &str {
    let mut rest = pool.splitn(5, '/');
    rest.nth(4).unwrap_or(pool)
}

/// Names as they stand in the tags of a machine.
pub(super) fn claims_of<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let names: Vec<&str> = names.into_iter().collect();
    let whole: Vec<char> = names.join(",").chars().collect();
    let mut parts = whole
        .chunks(256)
        .map(|part| part.iter().collect::<String>());
    CLAIMS
        .iter()
        .map(|key| ((*key).to_owned(), parts.next().unwrap_or_default()))
        .collect()
}

/// The inverse.
pub(super) fn claims(tag: impl Fn(&str) -> String) -> BTreeSet<String> {
    let whole: String = CLAIMS.iter().map(|key| tag(key)).collect();
    whole
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "/subscriptions/s/resourceGroups/Net/providers/Microsoft.Network/loadBalancers/lb/backendAddressPools/workers";

    #[test]
    fn names_go_into_tags_and_come_back() {
        let names = ["a".repeat(200), name_of(POOL).to_owned(), "c".repeat(100)];
        assert_eq!(
            names[1],
            "Net/providers/Microsoft.Network/loadBalancers/lb/backendAddressPools/workers"
        );
        let tags = claims_of(names.iter().map(String::as_str));
        assert!(tags.values().all(|value| value.len() <= 256), "{tags:?}");
        assert_eq!(claims(|key| tags[key].clone()), names.into_iter().collect());
    }
}
