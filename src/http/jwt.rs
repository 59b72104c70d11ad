//! JSON Web Tokens that a private key of RSA signs (RS256): how programs log in without a password.
//!
//! In: a key in PEM, PKCS#8 or PKCS#1; what the head says beside the algorithm, `{"kid": "1"}`;
//! claims, `{"iss": "a@b", "exp": 1}`. Out: three parts of base64url with points between them. See:
//! RFC 7515, 7519, and 7518 section 3.3.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use serde_json::{Map, Value as Json};

/// A key that signs. A secret: no `Debug`.
#[derive(Clone)]
pub struct Key(Arc<dyn SigningKey>);

impl Key {
    /// The first private key of a PEM text.
    ///
    /// # Errors
    /// There is none, or it is none of RSA; nothing of it is told.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| "it holds no private key in PEM")?;
        let key = any_supported_type(&der).map_err(|_| BROKEN)?;
        match key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]) {
            Some(_) => Ok(Self(key)),
            None => Err("the private key is none of RSA"),
        }
    }

    /// A token. `head` is what its head says beside `alg` and `typ`: `kid`, `x5t`.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, head: Map<String, Json>, claims: &Json) -> Result<String, &'static str> {
        let scheme = [SignatureScheme::RSA_PKCS1_SHA256];
        let signer = self.0.choose_scheme(&scheme).ok_or(BROKEN)?;
        let mut whole: Map<String, Json> = head;
        whole.insert("alg".to_owned(), "RS256".into());
        whole.insert("typ".to_owned(), "JWT".into());
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let head = Json::Object(whole).to_string();
        let signed = format!("{}.{}", part(&head), part(&claims.to_string()));
        let signature = signer.sign(signed.as_bytes()).map_err(|_| BROKEN)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

const BROKEN: &str = "the private key is none that can sign";

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
    use serde_json::json;

    use super::*;

    fn pem(pair: &KeyPair) -> String {
        let text = STANDARD.encode(pair.serialize_der());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    #[test]
    fn a_token_says_head_and_claims_and_is_signed_by_the_key() {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let key = Key::from_pem(&pem(&pair)).unwrap();
        let head = json!({"kid": "1"}).as_object().cloned().unwrap();
        let claims = json!({"iss": "a@b", "exp": 1_795_510_801});
        let token = key.sign(head, &claims).unwrap();
        let parts: Vec<Vec<u8>> = token
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap())
            .collect();
        let [head, said, signature] = &parts[..] else {
            panic!("three parts, not {token}");
        };
        let read = |part: &[u8]| serde_json::from_slice::<Json>(part).unwrap();
        assert_eq!(
            read(head),
            json!({"kid": "1", "alg": "RS256", "typ": "JWT"})
        );
        assert_eq!(read(said), claims);
        let signed = token.rsplit_once('.').unwrap().0.as_bytes();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let known = provider.signature_verification_algorithms.mapping;
        let of_scheme = known
            .iter()
            .find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256);
        let algorithm = of_scheme.unwrap().1[0];
        let public = pair.public_key_raw();
        let is_signed = |bytes: &[u8]| algorithm.verify_signature(public, bytes, signature).is_ok();
        assert!(is_signed(signed));
        assert!(!is_signed(&signed[1..]));
    }

    #[test]
    fn what_is_no_key_of_rsa_is_refused_without_a_word_of_it() {
        let curve = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let broken = "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n";
        for (pem, why) in [
            ("", "no private key"),
            ("s3cret", "no private key"),
            (broken, "none that can sign"),
            (&pem(&curve), "none of RSA"),
        ] {
            let Err(told) = Key::from_pem(pem) else {
                panic!("{why}");
            };
            assert!(told.contains(why), "{told}");
        }
    }
}
