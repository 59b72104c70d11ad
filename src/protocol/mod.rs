//! The wire: go-plugin's handshake and the Terraform plugin protocol, version 6, with nothing of
//! ours in it.
//!
//! [`serve`] is the life of the process: a core starts it, it prints one line that says where it
//! listens (`1|6|unix|/tmp/flatcar-4711-2a/s|grpc|MIIB...`), answers the calls of
//! `tfplugin6.Provider` there, and ends when it is told to.
//! See: go-plugin `server.go`; terraform `docs/plugin-protocol/tfplugin6.proto`.

#[rustfmt::skip]
#[expect(missing_docs, clippy::all, reason = "generated")]
mod r#gen;
mod listener;
pub mod log;
mod side;
mod signals;
mod tls;
pub mod value;
pub mod visible;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use listener::Listener;
use tfplugin6::provider_server::{Provider, ProviderServer};

pub use r#gen::{health, plugin, tfplugin6};

/// Who is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Source address: `registry.terraform.io/flatcar-iac/flatcar`.
    pub address: &'static str,
    /// `0.1.0`
    pub version: &'static str,
    /// Cancelled when work is to end: by Shutdown, by SIGTERM, and when the core is gone.
    /// StopProvider is a call to the provider, which cancels the same token.
    pub cancel: CancellationToken,
}

/// Serves one core until it says Shutdown, or, with `-debug`, any number of them until SIGINT.
pub fn serve<P: Provider>(provider: P, options: Options) -> ExitCode {
    let how = match How::asked(std::env::args_os().skip(1)) {
        Ok(how) => how,
        Err(unknown) => {
            return complain(&format!(
                "unknown argument {unknown:?}; known are -debug and -version"
            ));
        }
    };
    if how == How::Version {
        return match writeln!(
            std::io::stdout(),
            "terraform-provider-flatcar v{}",
            options.version
        ) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if how == How::Plugin && variable("TF_PLUGIN_MAGIC_COOKIE").as_deref() != Some(COOKIE) {
        return complain(
            "This is a plugin of Terraform and OpenTofu, which start it themselves; it does nothing on its own. \
             Declare `flatcar` under `required_providers` and run `terraform init`. \
             To attach a debugger, start it with -debug.",
        );
    }
    log::init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("could not start threads: {error}")),
    };
    let served = runtime.block_on(run(provider, &options, how));
    // What still runs was told to end and had its time.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string()),
    }
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Started by a core.
    Plugin,
    /// Started by a developer; cores find it through `TF_REATTACH_PROVIDERS`.
    Debug,
    /// Print the version.
    Version,
}

impl How {
    fn asked(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, OsString> {
        let mut how = Self::Plugin;
        for argument in arguments {
            how = match argument.to_str() {
                Some("-debug" | "--debug") => Self::Debug,
                Some("-version" | "--version") => Self::Version,
                _ => return Err(argument),
            };
        }
        Ok(how)
    }
}

/// Why nothing could be served.
#[derive(Debug)]
enum ServeError {
    Listen(std::io::Error),
    Certificate(tls::TlsError),
    Announce(std::io::Error),
    Serve(tonic::transport::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => write!(f, "could not listen for the core: {error}"),
            Self::Certificate(error) => write!(f, "could not set up TLS: {error}"),
            Self::Announce(error) => {
                write!(f, "could not write to stdout where to connect: {error}")
            }
            Self::Serve(error) => write!(f, "could not serve: {error}"),
        }
    }
}

async fn run<P: Provider>(provider: P, options: &Options, how: How) -> Result<(), ServeError> {
    let end = End {
        cancel: options.cancel.clone(),
        ..End::default()
    };
    signals::watch(how, &end).map_err(ServeError::Listen)?;
    let client_certificate = match how {
        How::Plugin => variable("PLUGIN_CLIENT_CERT").filter(|pem| !pem.is_empty()),
        How::Debug | How::Version => None,
    };
    let identity = client_certificate
        .map(|pem| tls::Identity::for_client(&pem))
        .transpose()
        .map_err(ServeError::Certificate)?;
    let mut listener = Listener::bind().await.map_err(ServeError::Listen)?;
    let line = match how {
        How::Plugin => handshake(&listener, identity.as_ref()),
        How::Debug | How::Version => reattach(&listener, options.address),
    };
    let _directory = listener.directory.take();
    announce(&line).map_err(ServeError::Announce)?;
    log::write(
        log::Module::Sdk,
        log::Level::Debug,
        "listening",
        &[("address", &listener.address())],
    );

    let served = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(
            ProviderServer::new(provider)
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES),
        )
        .add_service(side::controller(&end))
        .add_service(side::broker(&end))
        .add_service(side::stdio(&end))
        .add_service(side::health(&end))
        .serve_with_incoming_shutdown(
            listener.connections(identity.map(|identity| identity.acceptor), &end),
            end.soon.cancelled(),
        );
    tokio::select! {
        served = served => served.map_err(ServeError::Serve),
        () = late(&end.soon, PATIENCE) => Ok(()),
        () = late(&end.now, ANSWER_TIME) => Ok(()),
    }
}

/// How the process is told to end. Whoever ends it cancels the work too.
#[derive(Debug, Clone, Default)]
struct End {
    /// Of the provider's work.
    cancel: CancellationToken,
    /// No new calls; those under way may answer, for they have state to save.
    soon: CancellationToken,
    /// Whoever asked waits for the exit and for nothing else.
    now: CancellationToken,
}

impl End {
    fn soon(&self) {
        self.cancel.cancel();
        self.soon.cancel();
    }

    fn now(&self) {
        self.soon();
        self.now.cancel();
    }
}

async fn late(end: &CancellationToken, patience: Duration) {
    end.cancelled().await;
    tokio::time::sleep(patience).await;
}

/// `CORE-PROTOCOL|PROTOCOL|NETWORK|ADDRESS|grpc|CERTIFICATE`, and a seventh field only for those
/// that ask whether we multiplex: others would take it for a part of the sixth. Without a
/// certificate of the core's there must be none of ours.
fn handshake(listener: &Listener, identity: Option<&tls::Identity>) -> String {
    let certificate = identity
        .map(|identity| identity.certificate.as_str())
        .unwrap_or_default();
    let (network, address) = (listener.network(), listener.address());
    let multiplex = variable("PLUGIN_MULTIPLEX_GRPC")
        .filter(|asked| !asked.is_empty())
        .map_or("", |_| "|false");
    format!("1|6|{network}|{address}|grpc|{certificate}{multiplex}")
}

/// `Test` keeps a core from killing a process that it did not start.
fn reattach(listener: &Listener, address: &str) -> String {
    let entry = serde_json::json!({
        address: {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": std::process::id(),
            "Test": true,
            "Addr": { "Network": listener.network(), "String": listener.address() },
        }
    });
    let quoted = entry.to_string().replace('\'', r"'\''");
    format!(
        "The provider serves until SIGINT. Cores find it by this variable:\n\nTF_REATTACH_PROVIDERS='{quoted}'"
    )
}

/// The only bytes that ever go to stdout.
fn announce(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn complain(what: &str) -> ExitCode {
    // Nobody is left to hear that stderr is gone.
    let _ = writeln!(std::io::stderr(), "{what}");
    ExitCode::FAILURE
}

/// An environment variable, if it is text.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

impl fmt::Debug for tfplugin6::DynamicValue {
    /// Sizes only: configuration and state hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicValue")
            .field("msgpack_bytes", &self.msgpack.len())
            .field("json_bytes", &self.json.len())
            .finish()
    }
}

impl fmt::Debug for tfplugin6::RawState {
    /// Sizes only: state holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawState")
            .field("json_bytes", &self.json.len())
            .field("flatmap_keys", &self.flatmap.len())
            .finish()
    }
}

/// What both cores put into `TF_PLUGIN_MAGIC_COOKIE`. See: terraform `internal/plugin6/serve.go`.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// In each direction, as in HashiCorp's own servers.
const MESSAGE_BYTES: usize = 256 << 20;

/// A message of many megabytes should not wait for a window update every 64 KiB.
const WINDOW_BYTES: u32 = 4 << 20;

/// A core has at most ten calls under way by default, and nearly all of them wait for a network.
const WORKERS: usize = 2;

/// A core kills what has not exited two seconds after Shutdown; the answer needs no more than this.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// For calls under way at SIGTERM to bring home their state; service managers wait a little longer.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_understood() {
        let asked = |arguments: &[&str]| How::asked(arguments.iter().map(OsString::from));
        for (arguments, how) in [
            (&[][..], How::Plugin),
            (&["-debug"], How::Debug),
            (&["--debug"], How::Debug),
            (&["-version"], How::Version),
            (&["--version"], How::Version),
        ] {
            assert_eq!(asked(arguments), Ok(how));
        }
        assert_eq!(asked(&["-debug", "serve"]), Err(OsString::from("serve")));
    }

    #[test]
    fn messages_of_values_show_sizes_only() {
        let value = tfplugin6::DynamicValue {
            msgpack: b"\xa7hunter2".to_vec(),
            json: Vec::new(),
        };
        let raw = tfplugin6::RawState {
            json: b"hunter2".to_vec(),
            ..Default::default()
        };
        assert_eq!(
            format!("{value:?}"),
            "DynamicValue { msgpack_bytes: 8, json_bytes: 0 }"
        );
        assert_eq!(
            format!("{raw:?}"),
            "RawState { json_bytes: 7, flatmap_keys: 0 }"
        );
    }
}
