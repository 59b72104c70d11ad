//! From exec to the schema, as the wall clock has it: what a core waits for at each start of a
//! provider.
//!
//! The clock begins at exec, and the client is the tests' own and a light one: what `rpc` in the
//! neighbour folder's `bench/` calls `start_to_schema_ms` begins before exec, and has in it the key
//! that Go makes and signs with. What is left of the client's own work is told. `bench/run rpc`
//! runs both.
//!
//! `cargo bench --no-default-features --bench start -- ROUNDS NAME=PROVIDER...`
#![expect(
    clippy::print_stdout,
    reason = "a table for the terminal and for docs/benchmarks.md"
)]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a provider that does not start is no figure"
)]

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../tests/it/client/door.rs"]
mod door;

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flatcar::protocol::plugin::Empty;
use flatcar::protocol::tfplugin6::get_provider_schema;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use tonic::transport::Channel;

use self::door::{ClientCertificate, call, client_config, dial};

/// What a core puts into `TF_PLUGIN_MAGIC_COOKIE`.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";
const OF_AN_OPERATION: Duration = Duration::from_secs(60);

type Figure = fn(&Start) -> f64;

struct Provider {
    name: String,
    path: String,
    starts: Vec<Start>,
}

/// Milliseconds since exec, but for the last.
struct Start {
    handshake: f64,
    schema: f64,
    /// The client's own processor time until then.
    client: f64,
}

fn main() {
    // Cargo adds `--bench` of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
    let mut providers: Vec<Provider> = arguments.filter_map(|named| Provider::of(&named)).collect();
    let (Some(rounds @ 1..), false) = (rounds, providers.is_empty()) else {
        panic!("usage: start ROUNDS NAME=PROVIDER...");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // As the scripts beside it do: one start of each that does not count, then in turns, and back.
    for round in 0..=rounds {
        let mut turn: Vec<&mut Provider> = providers.iter_mut().collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for provider in turn {
            let start = runtime.block_on(provider.start());
            if round > 0 {
                provider.starts.push(start);
            }
        }
    }
    print(rounds, &providers);
}

impl Provider {
    fn of(named: &str) -> Option<Self> {
        let (name, path) = named.split_once('=')?;
        Some(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            starts: Vec::new(),
        })
    }

    async fn start(&self) -> Start {
        let certificate = ClientCertificate::new();
        let mut command = Command::new(&self.path);
        command
            .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .env("PLUGIN_MIN_PORT", "10000")
            .env("PLUGIN_MAX_PORT", "25000")
            .env("PLUGIN_CLIENT_CERT", certificate.pem())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let (processor, exec) = (processor_time(), Instant::now());
        let mut child = Running(command.spawn().expect("the provider starts"));
        let stdout = child.0.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("stdout is readable");
        let handshake = exec.elapsed();
        let fields: Vec<&str> = line.trim_end().split('|').collect();
        let [_, "6", "unix", socket, "grpc", server] = fields[..] else {
            panic!("{}: no handshake line of protocol 6: {line}", self.name);
        };
        let server = STANDARD_NO_PAD.decode(server).expect("unpadded base64");
        let tls = pinned(server.into(), &certificate);
        let channel = dial(Path::new(socket), Some(tls))
            .await
            .expect("the provider lets us in");
        // Received, and not read: a core's own decoding is its own.
        let _: Empty = schema(&channel).await;
        let start = Start {
            handshake: milliseconds(handshake),
            schema: milliseconds(exec.elapsed()),
            client: milliseconds(processor_time().saturating_sub(processor)),
        };
        let schema: get_provider_schema::Response = schema(&channel).await;
        assert!(
            schema.data_source_schemas.contains_key("flatcar_ignition"),
            "{}: not this provider's schema",
            self.name
        );
        // Some hang up before they answer.
        let _: Result<Empty, _> = call(&channel, "/plugin.GRPCController/Shutdown", Empty {}).await;
        start
    }
}

async fn schema<A: prost::Message + Default + 'static>(channel: &Channel) -> A {
    let path = "/tfplugin6.Provider/GetProviderSchema";
    let schema = call(channel, path, get_provider_schema::Request {}).await;
    schema.expect("a schema")
}

/// Ends with its start.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn within<T>(time: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(time, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited {time:?} for {what}"),
    }
}

/// The server's certificate is compared, whatever it says of itself: the reference library's says
/// that it is an authority, which an ordinary client takes from no server.
fn pinned(server: CertificateDer<'static>, certificate: &ClientCertificate) -> ClientConfig {
    let mut config = client_config(server.clone(), Some(certificate));
    let crypto = Arc::clone(config.crypto_provider());
    let verifier = Pinned { server, crypto };
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(verifier));
    config
}

#[derive(Debug)]
struct Pinned {
    server: CertificateDer<'static>,
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.server {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Of this thread, which does all of the client's work.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The first provider is what the factors refer to.
fn print(rounds: usize, providers: &[Provider]) {
    println!("{rounds} starts each, ABAB; the clock begins at exec; median (min..max)");
    let names: Vec<&str> = providers.iter().map(|one| one.name.as_str()).collect();
    println!("| figure | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let figures: [(&str, Figure); 3] = [
        ("exec to handshake line, ms", |start| start.handshake),
        ("exec to schema received, ms", |start| start.schema),
        ("of it the client's own CPU, ms", |start| start.client),
    ];
    for (title, figure) in figures {
        let mut first = None;
        let cells: Vec<String> = providers
            .iter()
            .map(|provider| {
                let mut all: Vec<f64> = provider.starts.iter().map(figure).collect();
                all.sort_by(f64::total_cmp);
                let (middle, last) = (all[all.len() / 2], all[all.len() - 1]);
                let cell = format!("{middle:.2} ({:.2}..{last:.2})", all[0]);
                match first {
                    None => {
                        first = Some(middle);
                        cell
                    }
                    Some(first) => format!("{cell} x{:.2}", middle / first),
                }
            })
            .collect();
        println!("| {title} | {} |", cells.join(" | "));
    }
}
