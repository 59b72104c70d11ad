//! Through the provider's door: certificates as go-plugin makes them, TLS, HTTP/2 over the socket,
//! calls by path.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::codegen::{Service, http::Uri, http::uri::PathAndQuery};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::{OF_AN_OPERATION, within};

/// As go-plugin makes it: self-signed, P-521, CA:TRUE, `localhost`.
pub(crate) struct ClientCertificate {
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl ClientCertificate {
    pub(crate) fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            der: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    /// The certificate of one with the key of another: what somebody has who saw the certificate
    /// only.
    pub(crate) fn with_key_of(&self, other: &Self) -> Self {
        Self {
            der: self.der.clone(),
            key: other.key.clone(),
        }
    }

    /// As `PLUGIN_CLIENT_CERT` has it.
    pub(crate) fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }
}

/// Any unary call over a channel.
pub(crate) async fn call<Q, A>(
    channel: &Channel,
    path: &'static str,
    request: Q,
) -> Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut grpc = grpc(channel);
    let answer = async {
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = tonic_prost::ProstCodec::default();
        grpc.unary(
            Request::new(request),
            PathAndQuery::from_static(path),
            codec,
        )
        .await
    };
    let answer = within(OF_AN_OPERATION, path, answer).await;
    answer.map(Response::into_inner)
}

pub(super) fn grpc(channel: &Channel) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(channel.clone())
        .max_decoding_message_size(256 << 20)
        .max_encoding_message_size(256 << 20)
}

/// Why there is no connection.
pub(crate) type Refused = String;

/// Connects and pings: a TLS server that wants no certificate of ours says so only after its
/// handshake.
pub(crate) async fn connect(socket: &Path, tls: Option<ClientConfig>) -> Result<Channel, Refused> {
    let channel = dial(socket, tls).await?;
    let ping = flatcar::protocol::health::HealthCheckRequest {
        service: "plugin".to_owned(),
    };
    let _: flatcar::protocol::health::HealthCheckResponse =
        call(&channel, "/grpc.health.v1.Health/Check", ping)
            .await
            .map_err(|error| format!("{error:?}"))?;
    Ok(channel)
}

/// Connects, and asks nothing.
pub(crate) async fn dial(socket: &Path, tls: Option<ClientConfig>) -> Result<Channel, Refused> {
    let dialer = Dialer {
        socket: socket.to_owned(),
        tls: tls.map(Arc::new),
    };
    Endpoint::from_static("http://localhost")
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(4 << 20)
        .connect_with_connector(dialer)
        .await
        .map_err(|error| format!("{error:?}"))
}

/// The server's certificate is the only root, and its name has to be `localhost`: as in Go.
pub(super) fn client_config(
    server: CertificateDer<'static>,
    certificate: Option<&ClientCertificate>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(server).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(ClientCertificate { der, key }) => {
            let key = PrivateKeyDer::try_from(key.clone()).expect("a key");
            let key = aws_lc_rs::sign::any_supported_type(&key).expect("a key that signs");
            // Unlike the ordinary way, this one does not look whether the two belong together.
            let pair = CertifiedKey::new(vec![der.clone()], key);
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Dialer {
    socket: PathBuf,
    tls: Option<Arc<ClientConfig>>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _address: Uri) -> Self::Future {
        let (socket, tls) = (self.socket.clone(), self.tls.clone());
        Box::pin(async move {
            let stream = UnixStream::connect(socket).await?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                Some(config) => {
                    let name = ServerName::try_from("localhost").expect("a name");
                    Box::new(TlsConnector::from(config).connect(name, stream).await?)
                }
            };
            Ok(TokioIo::new(stream))
        })
    }
}
