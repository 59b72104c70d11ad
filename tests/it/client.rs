//! A core's side of the wire, without a core: starts the built provider, shakes hands as
//! go-plugin's client does (its own P-521 CA certificate, the provider's as the only root) and
//! calls by path.
//!
//! `let plugin = Plugin::start().await;`, then `plugin.schemas()`,
//! `plugin.plan("flatcar_worker_group", ...)`, `plugin.shutdown()`.

mod door;
mod values;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flatcar::protocol::plugin::Empty;
use flatcar::protocol::tfplugin6::{self as pb, DynamicValue};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use door::{ClientCertificate, Refused, call, connect};
pub(crate) use values::{dynamic, object, object_type, value};

use crate::harness::{provider, scratch};
use door::{client_config, grpc};

/// What a core puts into `TF_PLUGIN_MAGIC_COOKIE`.
pub(crate) const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// How the provider is started. The environment of the tests does not reach it.
pub(crate) struct Setup {
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    certificate: Option<ClientCertificate>,
    /// Where its socket lies: it outlives a provider that is killed.
    scratch: TempDir,
}

impl Setup {
    /// As a core does it, with a certificate.
    pub(crate) fn core() -> Self {
        let certificate = ClientCertificate::new();
        Self::without_certificate()
            .set("PLUGIN_CLIENT_CERT", &certificate.pem())
            .with(certificate)
    }

    /// As a core does it under `TF_DISABLE_PLUGIN_TLS`.
    pub(crate) fn without_certificate() -> Self {
        Self::bare()
            .set("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
            .set("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .set("PLUGIN_MIN_PORT", "10000")
            .set("PLUGIN_MAX_PORT", "25000")
    }

    /// By hand: `PATH`, a temporary directory, and nothing else.
    pub(crate) fn bare() -> Self {
        let scratch = scratch();
        let variable = |name: &str, value: String| (name.to_owned(), value);
        let environment = BTreeMap::from([
            variable("PATH", std::env::var("PATH").unwrap_or_default()),
            variable("TMPDIR", scratch.path().display().to_string()),
        ]);
        Self {
            environment,
            arguments: Vec::new(),
            certificate: None,
            scratch,
        }
    }

    /// One more variable.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One more argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    fn with(mut self, certificate: ClientCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The process, with all its ends piped.
    pub(crate) fn spawn(&self) -> Child {
        Command::new(provider())
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the provider starts")
    }

    /// Starts it and connects.
    pub(crate) async fn start(self) -> Plugin {
        self.start_unconnected().await.connected().await
    }

    /// Starts it and reads its line.
    pub(crate) async fn start_unconnected(self) -> Plugin {
        let mut child = self.spawn();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let log = tokio::spawn(async move {
            let mut text = Vec::new();
            stderr
                .read_to_end(&mut text)
                .await
                .expect("stderr is readable");
            String::from_utf8(text).expect("the log is UTF-8")
        });
        let mut line = String::new();
        soon("the handshake line", stdout.read_line(&mut line))
            .await
            .expect("stdout is readable");
        let line = line.trim_end_matches('\n').to_owned();
        Plugin {
            child,
            stdout,
            log,
            line,
            channel: None,
            certificate: self.certificate,
            _scratch: self.scratch,
        }
    }
}

/// A running provider.
pub(crate) struct Plugin {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: tokio::task::JoinHandle<String>,
    /// The handshake line.
    pub(crate) line: String,
    channel: Option<Channel>,
    certificate: Option<ClientCertificate>,
    _scratch: TempDir,
}

/// What a provider left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// After the handshake line.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) log: String,
}

impl Plugin {
    /// As a core does it.
    pub(crate) async fn start() -> Self {
        Setup::core().start().await
    }

    /// Connects as the core that started it.
    pub(crate) async fn connected(self) -> Self {
        let channel = self
            .connect(self.certificate.as_ref())
            .await
            .expect("the provider lets us in");
        Self {
            channel: Some(channel),
            ..self
        }
    }

    /// The certificate that it was started with.
    pub(crate) fn certificate(&self) -> &ClientCertificate {
        self.certificate
            .as_ref()
            .expect("started with a certificate")
    }

    /// Its process, which is ours to end.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// A field of the handshake line, from 0.
    pub(crate) fn field(&self, index: usize) -> &str {
        self.line.split('|').nth(index).unwrap_or_default()
    }

    /// The path in the handshake line.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(self.field(3))
    }

    /// The next line on stdout, which only `-debug` has.
    pub(crate) async fn next_line(&mut self) -> String {
        let mut line = String::new();
        soon("a line", self.stdout.read_line(&mut line))
            .await
            .expect("stdout is readable");
        line
    }

    /// Connects once more, with the certificate of choice, and sees whether a call comes through.
    pub(crate) async fn connect(
        &self,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Channel, Refused> {
        let tls = (!self.field(5).is_empty()).then(|| {
            let server = STANDARD_NO_PAD
                .decode(self.field(5))
                .expect("unpadded base64");
            client_config(server.into(), certificate)
        });
        connect(&self.socket(), tls).await
    }

    /// Any unary call: `/tfplugin6.Provider/GetProviderSchema`.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        call(self.channel.as_ref().expect("connected"), path, request).await
    }

    /// Any call that answers with a stream.
    pub(crate) async fn stream<Q, A>(
        &self,
        path: &'static str,
        request: Q,
    ) -> Result<Streaming<A>, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = grpc(self.channel.as_ref().expect("connected"));
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = tonic_prost::ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        grpc.server_streaming(Request::new(request), path, codec)
            .await
            .map(Response::into_inner)
    }

    /// GetProviderSchema.
    pub(crate) async fn schemas(&self) -> pb::get_provider_schema::Response {
        let request = pb::get_provider_schema::Request {};
        self.call("/tfplugin6.Provider/GetProviderSchema", request)
            .await
            .expect("an answer")
    }

    /// ConfigureProvider.
    pub(crate) async fn configure(&self, config: DynamicValue) -> pb::configure_provider::Response {
        let request = pb::configure_provider::Request {
            terraform_version: "1.11.4".to_owned(),
            config: Some(config),
            client_capabilities: None,
        };
        self.call("/tfplugin6.Provider/ConfigureProvider", request)
            .await
            .expect("an answer")
    }

    /// ValidateResourceConfig, by a core that knows write-only attributes.
    pub(crate) async fn validate(
        &self,
        type_name: &str,
        config: DynamicValue,
    ) -> Vec<pb::Diagnostic> {
        let request = pb::validate_resource_config::Request {
            type_name: type_name.to_owned(),
            config: Some(config),
            client_capabilities: Some(pb::ClientCapabilities {
                write_only_attributes_allowed: true,
                ..Default::default()
            }),
        };
        let answer: pb::validate_resource_config::Response = self
            .call("/tfplugin6.Provider/ValidateResourceConfig", request)
            .await
            .expect("an answer");
        answer.diagnostics
    }

    /// PlanResourceChange.
    pub(crate) async fn plan(
        &self,
        request: pb::plan_resource_change::Request,
    ) -> pb::plan_resource_change::Response {
        self.call("/tfplugin6.Provider/PlanResourceChange", request)
            .await
            .expect("an answer")
    }

    /// ApplyResourceChange.
    pub(crate) async fn apply(
        &self,
        request: pb::apply_resource_change::Request,
    ) -> pb::apply_resource_change::Response {
        self.call("/tfplugin6.Provider/ApplyResourceChange", request)
            .await
            .expect("an answer")
    }

    /// ReadResource.
    pub(crate) async fn read(
        &self,
        request: pb::read_resource::Request,
    ) -> pb::read_resource::Response {
        self.call("/tfplugin6.Provider/ReadResource", request)
            .await
            .expect("an answer")
    }

    /// ReadDataSource.
    pub(crate) async fn read_data(
        &self,
        type_name: &str,
        config: DynamicValue,
    ) -> pb::read_data_source::Response {
        let request = pb::read_data_source::Request {
            type_name: type_name.to_owned(),
            config: Some(config),
            ..Default::default()
        };
        self.call("/tfplugin6.Provider/ReadDataSource", request)
            .await
            .expect("an answer")
    }

    /// CallFunction, its arguments with their types.
    pub(crate) async fn function(
        &self,
        name: &str,
        arguments: Vec<DynamicValue>,
    ) -> pb::call_function::Response {
        let request = pb::call_function::Request {
            name: name.to_owned(),
            arguments,
        };
        self.call("/tfplugin6.Provider/CallFunction", request)
            .await
            .expect("an answer")
    }

    /// Says Shutdown, as core does at the end, and waits for the exit.
    pub(crate) async fn shutdown(self) -> Ended {
        let _: Empty = self
            .call("/plugin.GRPCController/Shutdown", Empty {})
            .await
            .expect("an answer");
        self.ended().await
    }

    /// Hangs up, as a core that dies does.
    pub(crate) fn hang_up(&mut self) {
        self.channel = None;
    }

    /// Sends a signal by name: `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for the exit; the connection stays.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = soon("the exit", self.child.wait())
            .await
            .expect("it can be waited for");
        let mut stdout = String::new();
        self.stdout
            .read_to_string(&mut stdout)
            .await
            .expect("stdout is readable");
        Ended {
            status,
            stdout,
            log: self.log.await.expect("the log was read"),
        }
    }
}

/// Nothing here should take long; what takes ten minutes has hung, on whatever machine.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(OF_AN_OPERATION, what, future).await
}

async fn within<T>(time: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(time, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited {time:?} for {what}"),
    }
}

/// An operation on services that are no stand-ins, with tries of what is refused, and others on the
/// same machine.
const OF_AN_OPERATION: Duration = Duration::from_secs(600);
