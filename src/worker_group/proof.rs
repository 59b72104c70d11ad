//! What proves that a machine is one that its group made: a mark that is keyed, by a secret of the
//! group, to the machine's own name.
//!
//! In: a name, `workers-k3v9x2ab-3`. Out: `[0-9a-f]{32}`, written by the call that creates the
//! machine. Tags, and the proof among them, can be copied to another machine; the copy then has the
//! name of one that state knows by its id, and is a stranger. The secret is in state, as an
//! attribute that no core shows: private state is lost where a provider is killed in an apply.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::cloud::Machine;

/// A group's secret; empty where none was made yet.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// Another one; empty where the system has no random numbers.
    pub(crate) fn new() -> Self {
        let mut random = [0_u8; 16];
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        match provider.secure_random.fill(&mut random) {
            Ok(()) => Self(hex(&random)),
            Err(_) => Self::default(),
        }
    }

    /// This one, or a new one where there is none.
    pub(crate) fn or_new(self) -> Self {
        match self.is_empty() {
            true => Self::new(),
            false => self,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of a machine of this name; empty without a secret.
    pub(crate) fn proof(&self, name: &str) -> String {
        match self.is_empty() {
            true => String::new(),
            false => hex(&keyed(self.0.as_bytes(), name.as_bytes())[..16]),
        }
    }

    /// Whether a machine carries the proof of its name.
    pub(crate) fn proves(&self, machine: &Machine) -> bool {
        !self.is_empty() && machine.mark.proof == self.proof(&machine.name)
    }
}

/// Whether a name is one that a group makes: the prefix `workers-k3v9x2ab-` and an ordinal.
pub(crate) fn is_own_name(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(is_ordinal)
}

/// Whether a name is one that a group of this name makes, whatever its uid: what is taken over
/// keeps its name.
pub(crate) fn is_name_of(name: &str, group: &str) -> bool {
    let rest = name
        .strip_prefix(group)
        .and_then(|rest| rest.strip_prefix('-'));
    let parts = rest.and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(uid, ordinal)| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !uid.is_empty() && uid.bytes().all(is_letter) && is_ordinal(ordinal)
    })
}

/// As they are written: no sign, no zero first, and not so long that the next one could be none.
fn is_ordinal(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (1..=MOST_DIGITS).contains(&text.len()) && (text == "0" || !text.starts_with('0'))
}

/// HMAC-SHA256 of a key of at most 64 bytes.
fn keyed(key: &[u8], text: &[u8]) -> [u8; 32] {
    let block = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(block(0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(block(0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of an ordinal: more machines than any group has in its life.
const MOST_DIGITS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 and 1.
    #[test]
    fn the_key_is_hmac_sha256() {
        let keyed = |key: &[u8], text: &[u8]| hex(&keyed(key, text));
        assert_eq!(
            keyed(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            keyed(&[0x0b; 20], b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn a_proof_is_of_one_name_and_one_secret_and_no_secret_is_printed() {
        let (one, other) = (Secret::new(), Secret::new());
        assert_eq!(one.proof("w-u-0"), one.proof("w-u-0"));
        assert_ne!(one.proof("w-u-0"), one.proof("w-u-1"));
        assert_ne!(one.proof("w-u-0"), other.proof("w-u-0"));
        assert_eq!(Secret::default().proof("w-u-0"), "");
        assert_eq!(format!("{one:?}"), "Secret(***)");
        assert_eq!(one.clone().or_new(), one);
        assert!(!Secret::default().or_new().is_empty());
    }

    #[test]
    fn names_are_those_that_a_group_makes() {
        for (name, own, of_group) in [
            ("web-app-k3x9-0", true, true),
            ("web-app-k3x9-12", true, true),
            ("web-app-b7q2-12", false, true),
            ("web-app-k3x9-", false, false),
            ("web-app-k3x9-01", false, false),
            ("web-app-k3x9-+1", false, false),
            ("web-app-k3x9--1", false, false),
            ("web-app-k3x9-18446744073709551615", false, false),
            ("web-app-0", false, false),
            ("web-app", false, false),
            ("web-app2-k3x9-0", false, false),
            ("web-app-k3x9-0-copy", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_own_name(name, "web-app-k3x9-"), own, "{name}");
            assert_eq!(is_name_of(name, "web-app"), of_group, "{name}");
        }
    }
}
