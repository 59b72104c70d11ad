//! Pins of certificates: the hash of a certificate's public key, by which a client knows an
//! authority that it has not seen yet.
//!
//! In: PEM certificates. Out: `["sha256:7c4d..."]`, as `kubeadm join
//! --discovery-token-ca-cert-hash` takes them: SHA-256 of the DER SubjectPublicKeyInfo.
//!
//! Source: RFC 5280, section 4.1; X.690, section 8.1; kubeadm's reference of `join`.

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// The pins of PEM certificates, in their order, each once.
///
/// # Errors
/// A sentence that says why there are none.
pub fn pins(pem: &str) -> Result<Vec<String>, String> {
    let mut pins = Vec::new();
    let begins = pem.lines().filter(|line| line.starts_with("-----BEGIN "));
    // A key that stands beside its certificate must not go wherever that goes.
    if begins
        .into_iter()
        .any(|line| line.trim_end() != "-----BEGIN CERTIFICATE-----")
    {
        return Err("it holds something else than certificates".to_owned());
    }
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| NOT_PEM.to_owned())?;
        let key = public_key(&certificate).ok_or("it holds something else than certificates")?;
        let mut pin = String::from("sha256:");
        for byte in Sha256::digest(key) {
            let _ = write!(pin, "{byte:02x}");
        }
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    match pins.is_empty() {
        true => Err(NOT_PEM.to_owned()),
        false => Ok(pins),
    }
}

const NOT_PEM: &str = "it holds no certificate in PEM form";

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`: the version, which certificates of version 1 leave out.
const VERSION: u8 = 0xa0;

/// The SubjectPublicKeyInfo of a DER certificate, its tag and length included.
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut body, _) = element(certificate.contents, SEQUENCE)?;
    if body.contents.first() == Some(&VERSION) {
        body.contents = element(body.contents, VERSION)?.1;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    let mut rest = body.contents;
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        rest = element(rest, tag)?.1;
    }
    Some(element(rest, SEQUENCE)?.0.whole)
}

struct Element<'a> {
    whole: &'a [u8],
    contents: &'a [u8],
}

/// The first element of DER text, which must be of this tag, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // More than four bytes of length are longer than any certificate.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (contents, after) = rest.split_at_checked(length)?;
    let whole = der.get(..der.len() - after.len())?;
    (first == tag).then_some((Element { whole, contents }, after))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn pem(der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn a_pin_is_of_the_public_key_whatever_the_certificate_says_beside_it() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = |name: &str| {
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            pem(params.self_signed(&key).unwrap().der())
        };
        let hash = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
        let expected: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let both = certificate("one.example") + &certificate("a-longer-name.example.com");
        assert_eq!(pins(&both), Ok(vec![format!("sha256:{expected}")]));
    }

    #[test]
    fn what_is_no_certificate_has_no_pin() {
        let key = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let der = key.cert.der();
        assert!(pins(&pem(der)).is_ok());
        for text in [
            String::new(),
            "-----BEGIN CERTIFICATE-----\n".to_owned(),
            pem(b""),
            pem(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            pem(&der[..der.len() - 1]),
            pem(&[0x30, 0x02, 0x30, 0x00]),
            pem(der) + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(pins(&text).is_err(), "{text}");
        }
    }
}
