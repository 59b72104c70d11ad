//! OpenPGP keys made for a test, of the shape of Flatcar's: a primary key and signing subkeys with
//! a start and an end.
//!
//! `Key::new(&[Subkey::from("2025-03-07").years(2)])`, then `key.detached(0, "2026-08-13",
//! b"...")`, `key.public()`.

use flatcar::flatcar::Date;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder,
    SignedKeyDetails, SignedPublicKey, SignedPublicSubKey, SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, RevocationCode, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData,
    UserId,
};
use pgp::ser::Serialize;
use pgp::types::{
    Duration, KeyDetails, PacketHeaderVersion, Password, SignedUser, SigningKey, Tag, Timestamp,
};

/// A subkey to be.
#[derive(Clone)]
pub(crate) struct Subkey {
    created: &'static str,
    years: u32,
    signs: bool,
    backed: bool,
    revoked: Option<(RevocationCode, &'static str)>,
}

impl Subkey {
    /// Lives one year from that day.
    pub(crate) fn from(created: &'static str) -> Self {
        Self {
            created,
            years: 1,
            signs: true,
            backed: true,
            revoked: None,
        }
    }
    /// Lives so many years.
    pub(crate) fn years(self, years: u32) -> Self {
        Self { years, ..self }
    }
    /// Its primary key does not allow it to sign.
    pub(crate) fn not_for_signing(self) -> Self {
        Self {
            signs: false,
            ..self
        }
    }
    /// It does not itself say that it belongs to the primary key.
    pub(crate) fn claimed(self) -> Self {
        Self {
            backed: false,
            ..self
        }
    }
    /// Its primary key took it away.
    pub(crate) fn revoked(self, code: RevocationCode, on: &'static str) -> Self {
        Self {
            revoked: Some((code, on)),
            ..self
        }
    }
}

/// A key with its secrets.
pub(crate) struct Key {
    secret: SignedSecretKey,
    public: SignedPublicKey,
}

impl Key {
    /// Made afresh, from 2018 on.
    pub(crate) fn new(subkeys: &[Subkey]) -> Self {
        let created = moment("2018-02-26");
        let mut params = SecretKeyParamsBuilder::default();
        let subkey_params: Vec<_> = subkeys
            .iter()
            .map(|subkey| {
                SubkeyParamsBuilder::default()
                    .key_type(KeyType::Ed25519Legacy)
                    .can_sign(true)
                    .created_at(moment(subkey.created))
                    .build()
                    .unwrap()
            })
            .collect();
        params
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .created_at(created)
            .primary_user_id("Test Buildbot <buildbot@example.org>".to_owned())
            .subkeys(subkey_params);
        let secret = params
            .build()
            .unwrap()
            .generate(rand::thread_rng())
            .unwrap();
        let public = public(&secret, created, subkeys);
        Self { secret, public }
    }

    /// The public key, armored.
    pub(crate) fn public(&self) -> String {
        self.public
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }

    /// Of the primary key, upper case.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:X}", self.public.fingerprint())
    }

    /// The public key as it is once the primary key has taken the first subkey away.
    pub(crate) fn with_subkey_revoked(&self, code: RevocationCode, on: &str) -> String {
        let primary = &self.secret.primary_key;
        let mut public = self.public.clone();
        let subkey = &mut public.public_subkeys[0];
        let reason = SubpacketData::RevocationReason(code, "".into());
        let revocation = config(
            SignatureType::SubkeyRevocation,
            primary,
            moment(on),
            vec![reason],
        )
        .sign_subkey_binding(
            primary,
            primary.public_key(),
            &Password::empty(),
            &subkey.key,
        )
        .unwrap();
        subkey.signatures.push(revocation);
        public.to_armored_string(ArmorOptions::default()).unwrap()
    }

    /// A binary detached signature by a subkey, made on a day.
    pub(crate) fn detached(&self, subkey: usize, on: &str, file: &[u8]) -> Vec<u8> {
        self.detached_for(subkey, on, 0, file)
    }

    /// One that counts for so many days; none: for ever.
    pub(crate) fn detached_for(&self, subkey: usize, on: &str, days: u32, file: &[u8]) -> Vec<u8> {
        let key = &self.secret.secret_subkeys[subkey].key;
        let config = config(SignatureType::Binary, key, moment(on), lifetime(days));
        let signature = config.sign(key, &Password::empty(), file).unwrap();
        DetachedSignature::new(signature).to_bytes().unwrap()
    }

    /// A clear-signed text.
    pub(crate) fn clear(&self, subkey: usize, on: &str, text: &str) -> String {
        self.clear_for(subkey, on, 0, text)
    }

    /// One whose signature counts for so many days; none: for ever.
    pub(crate) fn clear_for(&self, subkey: usize, on: &str, days: u32, text: &str) -> String {
        let key = &self.secret.secret_subkeys[subkey].key;
        let config = config(SignatureType::Text, key, moment(on), lifetime(days));
        CleartextSignedMessage::new(text, config, key, &Password::empty())
            .unwrap()
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }
}

fn lifetime(days: u32) -> Vec<SubpacketData> {
    let ends = (days > 0).then(|| Duration::from_secs(days * 86_400));
    ends.map(SubpacketData::SignatureExpirationTime)
        .into_iter()
        .collect()
}

fn moment(day: &str) -> Timestamp {
    // At noon, so that no test depends on where a day begins.
    let noon = Date::starting(day).unwrap().start() + std::time::Duration::from_secs(43_200);
    Timestamp::try_from(noon).unwrap()
}

fn config(
    kind: SignatureType,
    key: &impl SigningKey,
    at: Timestamp,
    more: Vec<SubpacketData>,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), HashAlgorithm::Sha512);
    let hashed = [
        SubpacketData::SignatureCreationTime(at),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ];
    config.hashed_subpackets = hashed
        .into_iter()
        .chain(more)
        .map(|data| Subpacket::regular(data).unwrap())
        .collect();
    let issuer = SubpacketData::IssuerKeyId(key.legacy_key_id());
    config.unhashed_subpackets = vec![Subpacket::regular(issuer).unwrap()];
    config
}

/// The public key with bindings of chosen days, which the generator of rPGP dates today.
fn public(secret: &SignedSecretKey, created: Timestamp, subkeys: &[Subkey]) -> SignedPublicKey {
    let none = Password::empty();
    let primary = &secret.primary_key;
    let primary_public = primary.public_key();
    let flags = |signs: bool, certifies: bool| {
        let mut flags = KeyFlags::default();
        flags.set_sign(signs);
        flags.set_certify(certifies);
        SubpacketData::KeyFlags(flags)
    };
    let user = UserId::from_str(
        PacketHeaderVersion::New,
        "Test Buildbot <buildbot@example.org>",
    )
    .unwrap();
    let own = config(
        SignatureType::CertPositive,
        primary,
        created,
        vec![flags(true, true)],
    )
    .sign_certification(primary, primary_public, &none, Tag::UserId, &user)
    .unwrap();
    let bound = subkeys
        .iter()
        .zip(&secret.secret_subkeys)
        .map(|(wish, subkey)| {
            let (subkey, made) = (&subkey.key, moment(wish.created));
            let subkey_public = subkey.public_key();
            let back = config(SignatureType::KeyBinding, subkey, made, Vec::new())
                .sign_primary_key_binding(subkey, subkey_public, &none, primary_public)
                .unwrap();
            let lives = Duration::from_secs(wish.years * 365 * 86_400);
            let mut more = vec![
                flags(wish.signs, false),
                SubpacketData::KeyExpirationTime(lives),
            ];
            if wish.backed {
                more.push(SubpacketData::EmbeddedSignature(Box::new(back)));
            }
            let bind = |kind, at, more| {
                config(kind, primary, at, more)
                    .sign_subkey_binding(primary, primary_public, &none, subkey_public)
                    .unwrap()
            };
            let mut signatures: Vec<Signature> =
                vec![bind(SignatureType::SubkeyBinding, made, more)];
            if let Some((code, on)) = &wish.revoked {
                let reason = SubpacketData::RevocationReason(*code, "".into());
                signatures.insert(
                    0,
                    bind(SignatureType::SubkeyRevocation, moment(on), vec![reason]),
                );
            }
            SignedPublicSubKey::new(subkey_public.clone(), signatures)
        });
    SignedPublicKey::new(
        primary_public.clone(),
        SignedKeyDetails::new(
            Vec::new(),
            Vec::new(),
            vec![SignedUser::new(user, vec![own])],
            Vec::new(),
        ),
        bound.collect(),
    )
}
