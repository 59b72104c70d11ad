//! A server that is known by the hash of its own certificate, whoever has signed it and whatever
//! name it has.
//!
//! In: `7A:4D:…`, 32 bytes of SHA-256 in hexadecimal digits, with or without colons. Out: a TLS
//! configuration that trusts this certificate, and no other one.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a certificate in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// `None` where it is no such text.
    pub fn read(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// What trusts this certificate.
    ///
    /// # Errors
    /// The cryptography of this process speaks no version of TLS.
    pub(super) fn trusted(self) -> Result<ClientConfig, String> {
        let provider = CryptoProvider::get_default().cloned();
        let provider =
            provider.unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let verifier = OneServer {
            thumbprint: self,
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(config.with_no_client_auth())
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, byte) in self.0.iter().enumerate() {
            let colon = if number == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// Whoever has the certificate also has its key: that handshakes are signed by it is checked as
/// ever.
#[derive(Debug)]
struct OneServer {
    thumbprint: Thumbprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneServer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is = Thumbprint(Sha256::digest(certificate).into());
        match is == self.thumbprint {
            true => Ok(ServerCertVerified::assertion()),
            // Of an error of ours rustls would show the fields.
            false => Err(Error::General(format!(
                "the server's certificate has the thumbprint {is}"
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// What [`Thumbprint::read`] takes.
pub const THUMBPRINT_SAYS: &str =
    "SHA-256 of a certificate: 64 hexadecimal digits, with or without colons between the bytes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_certificate_is_trusted_and_no_other() {
        let certificate = || {
            let made = rcgen::generate_simple_self_signed(vec!["vc.example.com".to_owned()]);
            made.unwrap().cert.der().clone()
        };
        let (known, other) = (certificate(), certificate());
        let of = Thumbprint(Sha256::digest(&known).into());
        let verifier = OneServer {
            thumbprint: Thumbprint::read(&of.to_string()).unwrap(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        };
        let name = ServerName::try_from("10.0.0.1").unwrap();
        let now = UnixTime::now();
        let verify = |one| verifier.verify_server_cert(one, &[], &name, &[], now);
        assert!(verify(&known).is_ok());
        let error = verify(&other).unwrap_err();
        let is = Thumbprint(Sha256::digest(&other).into());
        assert!(error.to_string().contains(&is.to_string()), "{error}");
    }

    #[test]
    fn a_thumbprint_is_sha_256_in_hexadecimal_digits() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(Thumbprint::read(&plain), Thumbprint::read(&colons));
        assert_eq!(Thumbprint::read(&plain).unwrap().to_string(), colons);
        for text in [
            "",
            "ab",
            &"ab".repeat(20),
            &"ab".repeat(33),
            &"xy".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(Thumbprint::read(text), None, "{text}");
        }
    }
}
