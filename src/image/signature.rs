//! OpenPGP policy: which signature by which key proves a file.
//!
//! In: a file, its detached or clear signature, the accepted primary keys. Out: [`Signer`], or a
//! [`Refusal`] that says what failed. rPGP does the arithmetic and applies no policy; the policy is
//! this: the primary key is one of ours by fingerprint; the signing subkey is bound to it, both
//! ways; at the time of the signature the subkey was not expired, and may sign; a subkey or primary
//! key whose secret may have leaked is refused whatever the date says; hashes are SHA-256, SHA-384
//! or SHA-512. Old releases so verify after their subkey's end. A signature that has an end of its
//! own counts until then, and one from the future (by more than a day, for clocks) does not. What
//! is longer than a signature can be is refused before anything is computed.
//!
//! See: RFC 9580, 5.2 and 7; facts of the key itself in `flatcar::SIGNING_KEY`.

use std::fmt;
use std::io::Cursor;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use pgp::composed::{
    CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, Timestamp};

use crate::flatcar::{Date, SIGNING_KEY, SIGNING_KEY_FINGERPRINT};

/// No detached signature and no signed list of digests is longer; one of Flatcar's has some hundred
/// bytes.
pub const MOST_BYTES: usize = 64 * 1024;

/// More signatures of one file are not looked at: each may cost a hash of the whole file.
const MOST_SIGNATURES: usize = 8;

/// So far may the clock of whoever signed be before ours.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(24 * 60 * 60);

/// The accepted keys, parsed once; what binds a subkey is verified when a signature first names it.
#[derive(Debug)]
pub struct Keyring {
    certificates: Vec<Certificate>,
}

/// Who signed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Of the primary key, 40 upper-case hexadecimal digits.
    pub fingerprint: String,
    /// As the signature states it.
    pub signed_at: SystemTime,
}

/// Why a signature proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be read as an OpenPGP signature.
    Unreadable(String),
    /// It is by a key that is not among the accepted ones; its id, as far as it says one.
    UnknownKey(String),
    /// It does not fit the file: one of the two was changed, or they do not belong together.
    Mismatch(String),
    /// The key was revoked.
    Revoked(String),
    /// The key had expired when the signature was made: fingerprint, expiry, date of the signature.
    Expired(String, Date, Date),
    /// The signature claims a time before the key existed.
    TooEarly(String, Date),
    /// The signature's own lifetime has ended: fingerprint, end.
    Lapsed(String, Date),
    /// The signature claims a time that is still to come: fingerprint, date of the signature,
    /// today.
    Future(String, Date, Date),
    /// The key may not sign, or is not bound to its primary key.
    NotForSigning(String),
    /// A hash that no longer protects.
    WeakHash(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable(why) => write!(f, "the signature cannot be read: {why}"),
            Refusal::UnknownKey(id) if id.is_empty() => {
                write!(f, "the signature does not say by which key it is")
            }
            Refusal::UnknownKey(id) => write!(f, "it is signed by key {id}, which is not accepted"),
            Refusal::Mismatch(key) => write!(
                f,
                "the signature by key {key} does not fit the file: one of them was changed, or they do not belong together"
            ),
            Refusal::Revoked(key) => write!(f, "it is signed by key {key}, which was revoked"),
            Refusal::Expired(key, end, signed) => write!(
                f,
                "it is signed by key {key}, which expired on {end}, before the signature was made on {signed}"
            ),
            Refusal::TooEarly(key, signed) => write!(
                f,
                "it claims to be signed on {signed}, when key {key} did not exist"
            ),
            Refusal::Lapsed(key, end) => write!(
                f,
                "the signature by key {key} was made to count until {end} only"
            ),
            Refusal::Future(key, signed, today) => write!(
                f,
                "the signature by key {key} is dated {signed}, which is still to come: today is {today} by the clock of this machine"
            ),
            Refusal::NotForSigning(key) => write!(
                f,
                "it is signed by key {key}, which is not valid for signing under its primary key"
            ),
            Refusal::WeakHash(hash) => write!(
                f,
                "it is signed with the hash {hash}; only SHA-256, SHA-384 and SHA-512 are accepted"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl Keyring {
    /// Flatcar's own key, and every key of `extra`: armored public keys, one after another.
    ///
    /// # Errors
    /// A sentence that says why a key cannot be read.
    pub fn new(extra: &str) -> Result<Self, String> {
        let mut certificates = parse(SIGNING_KEY)?;
        // Pinned: the file beside the code is only as good as this check.
        certificates.retain(|certificate| certificate.fingerprint == SIGNING_KEY_FINGERPRINT);
        if !extra.trim().is_empty() {
            certificates.extend(parse_each(extra)?);
        }
        Ok(Self { certificates })
    }

    /// Fingerprints of the accepted primary keys.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.certificates
            .iter()
            .map(|certificate| certificate.fingerprint.as_str())
    }

    /// Checks a detached signature, binary or armored.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn verify_detached(
        &self,
        file: &[u8],
        signature: &[u8],
        now: SystemTime,
    ) -> Result<Signer, Refusal> {
        let unreadable = |problem: pgp::errors::Error| Refusal::Unreadable(problem.to_string());
        short_enough(signature.len())?;
        let (signatures, _) =
            DetachedSignature::from_reader_many(Cursor::new(signature)).map_err(unreadable)?;
        let mut read = Vec::new();
        for signature in signatures.take(MOST_SIGNATURES + 1) {
            read.push(signature.map_err(unreadable)?.signature);
        }
        self.any_of(&read, &[SignatureType::Binary], file, now)
    }

    /// Checks a clear-signed text; what is returned is exactly what was signed, with `\n` as line
    /// end.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn verify_clear(&self, text: &str, now: SystemTime) -> Result<(Signer, String), Refusal> {
        short_enough(text.len())?;
        let (message, _) = CleartextSignedMessage::from_string(text)
            .map_err(|problem| Refusal::Unreadable(problem.to_string()))?;
        let signed = message.signed_text();
        let signer = self.any_of(
            message.signatures(),
            &[SignatureType::Text, SignatureType::Binary],
            signed.as_bytes(),
            now,
        )?;
        Ok((signer, signed.replace("\r\n", "\n")))
    }

    /// One good signature is enough; otherwise the first one's fault is told.
    fn any_of(
        &self,
        signatures: &[Signature],
        types: &[SignatureType],
        content: &[u8],
        now: SystemTime,
    ) -> Result<Signer, Refusal> {
        if signatures.len() > MOST_SIGNATURES {
            return Err(Refusal::Unreadable(format!(
                "there are more than {MOST_SIGNATURES} signatures in it"
            )));
        }
        let mut first = None;
        for signature in signatures {
            match self.verify(signature, types, content, now) {
                Ok(signer) => return Ok(signer),
                Err(refusal) => first = first.or(Some(refusal)),
            }
        }
        Err(first.unwrap_or_else(|| Refusal::Unreadable("there is none in it".to_owned())))
    }

    fn verify(
        &self,
        signature: &Signature,
        types: &[SignatureType],
        content: &[u8],
        now: SystemTime,
    ) -> Result<Signer, Refusal> {
        if !signature.typ().is_some_and(|typ| types.contains(&typ)) {
            let kind = signature.typ();
            return Err(Refusal::Unreadable(format!("it is of type {kind:?}")));
        }
        if let Some(weak) = weak_hash(signature) {
            return Err(Refusal::WeakHash(weak));
        }
        let Some(signed_at) = signature.created() else {
            return Err(Refusal::Unreadable("it has no date".to_owned()));
        };
        // A key may be here twice: built in, and newer in `signing_keys`. What takes a key away
        // counts from either.
        let candidates: Vec<_> = self
            .certificates
            .iter()
            .filter_map(|certificate| Some((certificate, certificate.component(signature)?)))
            .map(|(certificate, component)| {
                let verdict = certificate.may_sign(component, signed_at);
                (certificate, component, verdict)
            })
            .collect();
        let revoked = candidates
            .iter()
            .find(|(_, _, verdict)| matches!(verdict, Err(Refusal::Revoked(_))));
        let chosen = revoked
            .or_else(|| candidates.iter().find(|(_, _, verdict)| verdict.is_ok()))
            .or_else(|| candidates.first());
        let Some((certificate, component, verdict)) = chosen else {
            return Err(Refusal::UnknownKey(issuer(signature)));
        };
        verdict.clone()?;
        certificate
            .check(*component, signature, content)
            .map_err(|_| Refusal::Mismatch(certificate.name(*component)))?;
        let span = signature.signature_expiration_time();
        in_its_time(signed_at.into(), span, now, certificate.name(*component))?;
        Ok(Signer {
            fingerprint: certificate.fingerprint.clone(),
            signed_at: signed_at.into(),
        })
    }
}

fn short_enough(bytes: usize) -> Result<(), Refusal> {
    match bytes <= MOST_BYTES {
        true => Ok(()),
        false => Err(Refusal::Unreadable(format!(
            "it is longer than {MOST_BYTES} bytes"
        ))),
    }
}

/// Whether a signature of `signed`, which counts for `span`, counts now.
fn in_its_time(
    signed: SystemTime,
    span: Option<pgp::types::Duration>,
    now: SystemTime,
    key: String,
) -> Result<(), Refusal> {
    // Zero means that there is no end.
    let end = span
        .filter(|span| span.as_secs() > 0)
        .and_then(|span| signed.checked_add(Duration::from(span)));
    if let Some(end) = end.filter(|end| *end <= now) {
        return Err(Refusal::Lapsed(key, Date::of(end)));
    }
    match signed.duration_since(now) {
        Ok(ahead) if ahead > CLOCKS_DIFFER_BY => {
            Err(Refusal::Future(key, Date::of(signed), Date::of(now)))
        }
        _ => Ok(()),
    }
}

/// One accepted primary key with its subkeys.
#[derive(Debug)]
struct Certificate {
    fingerprint: String,
    key: SignedPublicKey,
    primary: OnceLock<Life>,
    subkeys: Vec<OnceLock<Life>>,
}

/// Which key of a certificate.
#[derive(Debug, Clone, Copy)]
enum Component {
    Primary,
    Subkey(usize),
}

/// What verified signatures of the primary key say about a key.
#[derive(Debug, Default)]
struct Life {
    /// Newest last.
    bindings: Vec<Binding>,
    /// When, and whether the secret may have leaked.
    revocations: Vec<(Timestamp, bool)>,
}

#[derive(Debug)]
struct Binding {
    made: Timestamp,
    expires: Option<SystemTime>,
    may_sign: bool,
}

impl Certificate {
    fn new(key: SignedPublicKey) -> Self {
        Self {
            fingerprint: hex(key.fingerprint().as_bytes()),
            primary: OnceLock::new(),
            subkeys: key.public_subkeys.iter().map(|_| OnceLock::new()).collect(),
            key,
        }
    }

    /// The key that a signature says it is by.
    fn component(&self, signature: &Signature) -> Option<Component> {
        let is_by = |key: &dyn KeyDetails| {
            signature
                .issuer_fingerprint()
                .iter()
                .any(|fingerprint| **fingerprint == key.fingerprint())
                || signature
                    .issuer_key_id()
                    .iter()
                    .any(|id| **id == key.legacy_key_id())
        };
        if is_by(&self.key) {
            return Some(Component::Primary);
        }
        let position = self.key.public_subkeys.iter().position(|key| is_by(key))?;
        Some(Component::Subkey(position))
    }

    fn name(&self, component: Component) -> String {
        match component {
            Component::Primary => self.fingerprint.clone(),
            Component::Subkey(position) => self
                .key
                .public_subkeys
                .get(position)
                .map(|key| hex(key.fingerprint().as_bytes()))
                .unwrap_or_default(),
        }
    }

    fn check(
        &self,
        component: Component,
        signature: &Signature,
        content: &[u8],
    ) -> pgp::errors::Result<()> {
        match component {
            Component::Primary => signature.verify(&self.key, content),
            Component::Subkey(position) => match self.key.public_subkeys.get(position) {
                Some(subkey) => signature.verify(&subkey.key, content),
                None => Err("no such subkey".to_owned().into()),
            },
        }
    }

    fn may_sign(&self, component: Component, at: Timestamp) -> Result<(), Refusal> {
        let primary = self.primary.get_or_init(|| primary_life(&self.key));
        let binding = primary.at(at, &self.fingerprint)?;
        let Component::Subkey(position) = component else {
            return match binding.may_sign {
                true => Ok(()),
                false => Err(Refusal::NotForSigning(self.fingerprint.clone())),
            };
        };
        let name = self.name(component);
        let (Some(subkey), Some(life)) = (
            self.key.public_subkeys.get(position),
            self.subkeys.get(position),
        ) else {
            return Err(Refusal::NotForSigning(name));
        };
        let life = life.get_or_init(|| subkey_life(&self.key, subkey));
        match life.at(at, &name)?.may_sign {
            true => Ok(()),
            false => Err(Refusal::NotForSigning(name)),
        }
    }
}

impl Life {
    /// The binding in force at a time.
    fn at(&self, at: Timestamp, name: &str) -> Result<&Binding, Refusal> {
        let revoked = self
            .revocations
            .iter()
            .any(|(made, leaked)| *leaked || *made <= at);
        if revoked {
            return Err(Refusal::Revoked(name.to_owned()));
        }
        if self.bindings.is_empty() {
            return Err(Refusal::NotForSigning(name.to_owned()));
        }
        let moment = SystemTime::from(at);
        let binding = self
            .bindings
            .iter()
            .rfind(|binding| binding.made <= at)
            .ok_or_else(|| Refusal::TooEarly(name.to_owned(), Date::of(moment)))?;
        match binding.expires {
            Some(end) if moment >= end => Err(Refusal::Expired(
                name.to_owned(),
                Date::of(end),
                Date::of(moment),
            )),
            _ => Ok(binding),
        }
    }

    /// Sorts one verified signature of the primary key in.
    fn add(&mut self, signature: &Signature, key_created: Timestamp, may_sign: bool) {
        let Some(made) = signature.created() else {
            return;
        };
        match signature.typ() {
            Some(SignatureType::KeyRevocation | SignatureType::SubkeyRevocation) => {
                let retired = matches!(
                    signature.revocation_reason_code(),
                    Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired)
                );
                self.revocations.push((made, !retired));
            }
            // A hash that can be forged may take a key away, but not bind one.
            _ if weak_hash(signature).is_some() => {}
            _ => {
                let after = |start: Timestamp, span: Option<pgp::types::Duration>| {
                    span.filter(|span| span.as_secs() > 0)
                        .map(|span| SystemTime::from(start) + Duration::from(span))
                };
                let key_end = after(key_created, signature.key_expiration_time());
                let binding_end = after(made, signature.signature_expiration_time());
                self.bindings.push(Binding {
                    made,
                    expires: key_end.into_iter().chain(binding_end).min(),
                    may_sign,
                });
                self.bindings.sort_by_key(|binding| binding.made);
            }
        }
    }
}

fn primary_life(key: &SignedPublicKey) -> Life {
    let mut life = Life::default();
    let details = &key.details;
    let created = key.primary_key.created_at();
    for signature in details
        .revocation_signatures
        .iter()
        .chain(&details.direct_signatures)
    {
        if signature.verify_key(&key.primary_key).is_ok() {
            life.add(signature, created, signature.key_flags().sign());
        }
    }
    for user in &details.users {
        let own: Vec<_> = user
            .signatures
            .iter()
            .filter(|signature| {
                signature
                    .verify_certification(&key.primary_key, Tag::UserId, &user.id)
                    .is_ok()
            })
            .collect();
        let withdrawn =
            |signature: &&Signature| signature.typ() == Some(SignatureType::CertRevocation);
        if own.iter().any(withdrawn) {
            continue;
        }
        for signature in own {
            life.add(signature, created, signature.key_flags().sign());
        }
    }
    life
}

fn subkey_life(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> Life {
    let mut life = Life::default();
    for signature in &subkey.signatures {
        if signature
            .verify_subkey_binding(&key.primary_key, &subkey.key)
            .is_err()
        {
            continue;
        }
        // The subkey has to agree, else anybody could claim another's key as a subkey.
        let agrees = signature.embedded_signature().is_some_and(|back| {
            weak_hash(back).is_none()
                && back
                    .verify_primary_key_binding(&subkey.key, &key.primary_key)
                    .is_ok()
        });
        let may_sign = signature.key_flags().sign() && agrees;
        life.add(signature, subkey.key.created_at(), may_sign);
    }
    life
}

fn weak_hash(signature: &Signature) -> Option<String> {
    match signature.hash_alg() {
        Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512) => None,
        Some(other) => Some(other.to_string()),
        None => Some("unknown".to_owned()),
    }
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|fingerprint| hex(fingerprint.as_bytes()));
    let id = signature.issuer_key_id().first().map(|id| hex(id.as_ref()));
    fingerprint.or(id).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Every armored block of a text; `file("a.asc")` and `file("b.asc")` may simply be joined.
fn parse_each(text: &str) -> Result<Vec<Certificate>, String> {
    const BEGIN: &str = "-----BEGIN PGP ";
    let mut certificates = Vec::new();
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    if starts.is_empty() {
        return Err(
            "there is no armored key (-----BEGIN PGP PUBLIC KEY BLOCK-----) in it".to_owned(),
        );
    }
    for (position, start) in starts.iter().enumerate() {
        let end = starts.get(position + 1).copied().unwrap_or(text.len());
        let block = text.get(*start..end).unwrap_or_default();
        if block.starts_with("-----BEGIN PGP PRIVATE") {
            return Err("it holds a private key; export the public one".to_owned());
        }
        certificates.extend(parse(block.as_bytes())?);
    }
    Ok(certificates)
}

fn parse(armored: &[u8]) -> Result<Vec<Certificate>, String> {
    let (keys, _) = SignedPublicKey::from_armor_many(Cursor::new(armored))
        .map_err(|problem| problem.to_string())?;
    keys.map(|key| {
        key.map(Certificate::new)
            .map_err(|problem| problem.to_string())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        Keyring::new("").unwrap()
    }

    fn at(date: &str) -> Timestamp {
        Timestamp::try_from(Date::starting(date).unwrap().start()).unwrap()
    }

    #[test]
    fn flatcars_key_is_the_pinned_one() {
        assert_eq!(
            keyring().fingerprints().collect::<Vec<_>>(),
            ["F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"]
        );
    }

    #[test]
    fn flatcars_subkeys_count_in_their_time_and_the_revoked_ones_never() {
        let keyring = keyring();
        let certificate = &keyring.certificates[0];
        let judge = |fingerprint: &str, date: &str| {
            let position = certificate
                .key
                .public_subkeys
                .iter()
                .position(|key| hex(key.fingerprint().as_bytes()) == fingerprint)
                .unwrap();
            match certificate.may_sign(Component::Subkey(position), at(date)) {
                Ok(()) => "good".to_owned(),
                Err(Refusal::Revoked(_)) => "revoked".to_owned(),
                Err(Refusal::Expired(_, end, _)) => format!("expired {end}"),
                Err(Refusal::TooEarly(..)) => "too early".to_owned(),
                Err(other) => other.to_string(),
            }
        };
        for (fingerprint, date, expected) in [
            (
                "52F145DFD00BBDCD928CBB5A32DA80F91EF52974",
                "2026-08-13",
                "good",
            ),
            (
                "52F145DFD00BBDCD928CBB5A32DA80F91EF52974",
                "2025-03-01",
                "too early",
            ),
            (
                "52F145DFD00BBDCD928CBB5A32DA80F91EF52974",
                "2027-03-09",
                "expired 2027-03-08",
            ),
            (
                "E9426D8B67E35DF476BD048185F7C8868837E271",
                "2024-02-14",
                "good",
            ),
            (
                "E9426D8B67E35DF476BD048185F7C8868837E271",
                "2026-08-13",
                "expired 2025-03-06",
            ),
            (
                "8D6DA7853CFE1B1ED346ED0DEDBDF411267EC954",
                "2023-01-24",
                "good",
            ),
            (
                "858A560F97C9AEB22EC1C732961DDDD5250D4A42",
                "2021-11-09",
                "good",
            ),
            (
                "782B3BC9F10CF638A5DCF5105B2910CBFCBEAB91",
                "2020-12-16",
                "good",
            ),
            (
                "C8FE85310122E626753DB0CF3BC20FF8AF9CF1AF",
                "2020-01-01",
                "good",
            ),
            (
                "628CC212938065DAB4E3B949A8ABF005896E394F",
                "2019-01-01",
                "good",
            ),
            (
                "A621F1DA96C93C639506832D603443A1D0FC498C",
                "2018-06-01",
                "revoked",
            ),
            (
                "1E100DD7A677A6F9A532C9F9B51DE377064D542D",
                "2018-03-01",
                "revoked",
            ),
        ] {
            assert_eq!(
                judge(fingerprint, date),
                expected,
                "{fingerprint} at {date}"
            );
        }
    }

    #[test]
    fn extra_keys_that_cannot_be_read_are_told() {
        for (text, expected) in [
            ("nonsense", "no armored key"),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "private key"),
            ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n", ""),
        ] {
            let error = Keyring::new(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let own = String::from_utf8_lossy(SIGNING_KEY);
        assert_eq!(
            Keyring::new(&format!("{own}\n{own}"))
                .unwrap()
                .certificates
                .len(),
            3
        );
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        for bytes in [b"".as_slice(), b"<html>", b"\x00\x01\x02", SIGNING_KEY] {
            let now = SystemTime::now();
            let refusal = keyring().verify_detached(b"x", bytes, now).unwrap_err();
            assert!(matches!(refusal, Refusal::Unreadable(_)), "{refusal}");
        }
        for text in ["", "x", "-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n"] {
            let now = SystemTime::now();
            let refusal = keyring().verify_clear(text, now).unwrap_err();
            assert!(matches!(refusal, Refusal::Unreadable(_)), "{refusal}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_a_signature_is_refused_by_its_length() {
        let long = vec![b'x'; MOST_BYTES + 1];
        let text = String::from_utf8(long.clone()).unwrap();
        let now = SystemTime::now();
        for refusal in [
            keyring().verify_detached(b"x", &long, now).unwrap_err(),
            keyring().verify_clear(&text, now).unwrap_err(),
        ] {
            assert!(
                refusal.to_string().contains("longer than 65536"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_signature_counts_from_a_day_before_its_date_to_its_own_end() {
        let moment = |date: &str| Date::starting(date).unwrap().start();
        let hour = Duration::from_secs(3600);
        let days = |days: u32| Some(pgp::types::Duration::from_secs(days * 86_400));
        let signed = moment("2026-08-13");
        for (span, now, says) in [
            (None, moment("2026-08-13"), ""),
            (None, moment("2099-01-01"), ""),
            (
                Some(pgp::types::Duration::from_secs(0)),
                moment("2099-01-01"),
                "",
            ),
            (None, moment("2026-08-12"), ""),
            (
                None,
                moment("2026-08-12") - hour,
                "is dated 2026-08-13, which is still to come",
            ),
            (None, SystemTime::UNIX_EPOCH, "today is 1970-01-01"),
            (days(7), moment("2026-08-20") - hour, ""),
            (days(7), moment("2026-08-20"), "until 2026-08-20 only"),
            (days(49_000), moment("2099-01-01"), ""),
        ] {
            let verdict = in_its_time(signed, span, now, "K".to_owned());
            let told = verdict.err().map(|refusal| refusal.to_string());
            let told = told.unwrap_or_default();
            assert!(
                told.contains(says) && told.is_empty() == says.is_empty(),
                "{told}"
            );
        }
    }
}
