//! Mutual TLS as go-plugin means it: each side makes a certificate for this one run and hands it
//! over outside the connection; neither has an issuer. So the core's certificate is compared, not
//! verified up to a root.
//!
//! In: `PLUGIN_CLIENT_CERT`, PEM of a self-signed P-521 certificate that says CA:TRUE, which no
//! ordinary verifier takes for a client.
//! Out: an acceptor, and our own certificate for the sixth field of the handshake line, base64
//! without padding.
//! See: go-plugin `mtls.go`.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;

/// Who we are in this run, and whom we let in.
pub(super) struct Identity {
    pub(super) acceptor: TlsAcceptor,
    /// DER in base64 without padding.
    pub(super) certificate: String,
}

impl Identity {
    /// A fresh key and certificate, and a door for the one client that holds the key of the
    /// certificate in `pem`.
    ///
    /// # Errors
    /// When `pem` is no certificate, or none could be made.
    pub(super) fn for_client(pem: &str) -> Result<Self, TlsError> {
        let client = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(TlsError::Client)?;
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        // The name that go-plugin's clients ask for.
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .map_err(TlsError::Make)?;
        let crypto = Arc::new(aws_lc_rs::default_provider());
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(TlsError::Key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configure)?
            .with_client_cert_verifier(Arc::new(OneClient {
                client: client.into_owned(),
                crypto,
            }))
            .with_single_cert(vec![certificate.der().clone()], private)
            .map_err(TlsError::Configure)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // There is one connection; nothing will be resumed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: STANDARD_NO_PAD.encode(certificate.der()),
        })
    }
}

/// Why there is no TLS.
#[derive(Debug)]
pub(super) enum TlsError {
    Client(pem::Error),
    Make(rcgen::Error),
    Key(&'static str),
    Configure(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => write!(f, "PLUGIN_CLIENT_CERT is no certificate: {error}"),
            Self::Make(error) => write!(f, "no certificate could be made: {error}"),
            Self::Key(error) => write!(f, "no key could be made: {error}"),
            Self::Configure(error) => write!(f, "{error}"),
        }
    }
}

/// Lets in whoever shows exactly this certificate and signs the handshake with its key.
#[derive(Debug)]
struct OneClient {
    client: CertificateDer<'static>,
    crypto: Arc<CryptoProvider>,
}

impl ClientCertVerifier for OneClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // A certificate is public, so how long the comparison takes tells nothing.
        if *end_entity == self.client {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.crypto.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.crypto.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_may_sign_with_p521() {
        let key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(vec![])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let verifier = OneClient {
            client: client.der().clone(),
            crypto: Arc::new(aws_lc_rs::default_provider()),
        };
        let schemes = verifier.supported_verify_schemes();
        assert!(schemes.contains(&SignatureScheme::ECDSA_NISTP521_SHA512));
        assert!(verifier.client_auth_mandatory());
    }

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        for pem in ["x", "-----BEGIN CERTIFICATE-----\n-----END", ""] {
            let error = Identity::for_client(pem).err().unwrap();
            assert!(
                error
                    .to_string()
                    .starts_with("PLUGIN_CLIENT_CERT is no certificate"),
                "{error}"
            );
        }
    }
}
