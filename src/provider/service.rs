//! The RPCs of `tfplugin6.Provider`: each one decodes, looks up, calls and encodes. What a panic in
//! one call costs is that call.
//!
//! See: terraform `docs/resource-instance-change-lifecycle.md`, protocol 6.11. What is not here
//! (lists, actions, state stores) answers UNIMPLEMENTED, by which core knows that it is not there.

mod call;
mod data;
mod resource;

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use self::call::{Asks as _, Call};
use super::object::{check, fill_defaults};
use super::wire::{self, bug, decode, type_of};
use super::{
    Context, Diagnostic, Diagnostics, Ledger, Outcome, Provider, Schema, Shared, Stored, Value,
};
use crate::protocol::tfplugin6 as pb;

/// A provider behind the protocol.
pub struct Service {
    provider: Provider,
    /// Cancelled when the process is about to end.
    process: CancellationToken,
    context: RwLock<Context>,
}

impl Service {
    /// Serves the provider until `process` is cancelled (Shutdown, SIGTERM), which also cancels
    /// every operation.
    pub fn new(provider: Provider, process: CancellationToken) -> Self {
        let context = Context {
            configuration: Arc::new(Value::Null),
            cancel: process.child_token(),
            until: None,
            shared: Arc::new(Shared::default()),
            ledger: Ledger::default(),
        };
        Self {
            provider,
            process,
            context: RwLock::new(context),
        }
    }

    fn context(&self) -> Context {
        self.context
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn type_name(&self, name: &str) -> String {
        format!("{}_{name}", self.provider.name)
    }

    /// The row of a type, among those that are called so here.
    fn row<'a, T: ?Sized>(
        &self,
        rows: &'a [Box<T>],
        name: fn(&T) -> &'static str,
        type_name: &str,
        what: &str,
    ) -> Result<&'a T, Diagnostics> {
        let row = rows
            .iter()
            .find(|row| self.type_name(name(row)) == type_name);
        row.map(|row| &**row).ok_or_else(|| {
            let known: Vec<String> = rows.iter().map(|row| self.type_name(name(row))).collect();
            let detail = format!(
                "This provider has no {what} `{type_name}`. It has: {}. Use a version of the provider that has it.",
                known.join(", ")
            );
            Diagnostic::error(format!("Unknown {what}"), detail).into()
        })
    }

    fn metadata(&self) -> pb::get_metadata::Response {
        pb::get_metadata::Response {
            server_capabilities: Some(CAPABILITIES),
            data_sources: self
                .provider
                .data_sources
                .iter()
                .map(|row| pb::get_metadata::DataSourceMetadata {
                    type_name: self.type_name(row.name()),
                })
                .collect(),
            resources: self
                .provider
                .resources
                .iter()
                .map(|row| pb::get_metadata::ResourceMetadata {
                    type_name: self.type_name(row.name()),
                })
                .collect(),
            functions: self
                .provider
                .functions
                .iter()
                .map(|row| pb::get_metadata::FunctionMetadata {
                    name: row.name().to_owned(),
                })
                .collect(),
            ephemeral_resources: self
                .provider
                .ephemerals
                .iter()
                .map(|row| pb::get_metadata::EphemeralMetadata {
                    type_name: self.type_name(row.name()),
                })
                .collect(),
            ..pb::get_metadata::Response::default()
        }
    }

    fn schemas(&self) -> pb::get_provider_schema::Response {
        let provider = &self.provider;
        let named = |name: &str, schema: &Schema| (self.type_name(name), wire::schema(schema));
        pb::get_provider_schema::Response {
            provider: Some(wire::provider_schema(provider.schema())),
            server_capabilities: Some(CAPABILITIES),
            resource_schemas: provider
                .resources
                .iter()
                .map(|row| named(row.name(), row.schema()))
                .collect(),
            data_source_schemas: provider
                .data_sources
                .iter()
                .map(|row| named(row.name(), row.schema()))
                .collect(),
            ephemeral_resource_schemas: provider
                .ephemerals
                .iter()
                .map(|row| named(row.name(), row.schema()))
                .collect(),
            functions: self.functions(),
            ..pb::get_provider_schema::Response::default()
        }
    }

    fn identity_schemas(&self) -> pb::get_resource_identity_schemas::Response {
        let mut schemas = BTreeMap::new();
        for row in &self.provider.resources {
            let identity = row.identity_schema();
            if !identity.is_empty() {
                schemas.insert(self.type_name(row.name()), wire::identity_schema(&identity));
            }
        }
        pb::get_resource_identity_schemas::Response {
            identity_schemas: schemas,
            diagnostics: Vec::new(),
        }
    }

    fn validate_provider(&self, config: Option<&pb::DynamicValue>) -> Result<(), Diagnostics> {
        let schema = self.provider.schema();
        let config = decode(config, &type_of(schema))?;
        let problems = check(&schema.attributes, &config);
        if problems.is_empty() {
            return Ok(());
        }
        Err(problems)
    }

    /// Replaces the configuration and what was made from the old one. A StopProvider ends with it:
    /// in reattach mode one process serves several runs.
    fn configure(&self, config: Option<&pb::DynamicValue>) -> Result<(), Diagnostics> {
        let schema = self.provider.schema();
        let mut config = decode(config, &type_of(schema))?;
        fill_defaults(&schema.attributes, &mut config);
        let context = Context {
            configuration: Arc::new(config),
            cancel: self.process.child_token(),
            until: None,
            shared: Arc::new(Shared::default()),
            ledger: Ledger::default(),
        };
        *self.context.write().unwrap_or_else(PoisonError::into_inner) = context;
        Ok(())
    }

    /// Runs one call; a panic in it becomes a diagnostic.
    async fn answer<R: Answer>(
        &self,
        call: Call,
        work: impl Future<Output = Result<R, Diagnostics>>,
    ) -> Result<Response<R>, Status> {
        call.begins();
        let answered = AssertUnwindSafe(work).catch_unwind().await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(problems)) => R::refused(wire::diagnostics(problems)),
            Err(_) => R::refused(wire::diagnostics(panicked().into())),
        };
        call.answered(response.diagnostics());
        Ok(Response::new(response))
    }
}

/// What computes for long does so where it keeps nothing else from going on, a StopProvider least
/// of all. Tests of one thread have nowhere else.
fn beside<T>(work: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Handle::try_current();
    match runtime.map(|runtime| runtime.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The same for what computes between its waits.
async fn polled_beside<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| beside(|| work.as_mut().poll(context))).await
}

/// Runs an operation; a panic in it leaves no value.
async fn guarded<T>(operation: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    AssertUnwindSafe(operation)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Outcome::failed(panicked()))
}

/// Runs an operation that changes things; a panic in it leaves what it had written down.
async fn recorded(
    ledger: &Ledger,
    operation: impl Future<Output = Outcome<Stored<Value>>>,
) -> Outcome<Stored<Value>> {
    let ended = AssertUnwindSafe(operation).catch_unwind().await;
    ended.unwrap_or_else(|_| match ledger.take() {
        None => Outcome::failed(panicked()),
        value => Outcome {
            value,
            problems: bug(
                "The provider failed unexpectedly",
                "The operation was not finished; what exists by now is recorded.",
            )
            .into(),
        },
    })
}

/// The panic's own words may hold values of the configuration: they are in the log only.
fn panicked() -> Diagnostic {
    bug(
        "The provider failed unexpectedly",
        "The operation was not finished; what it had changed by then may not be recorded.",
    )
}

/// Checks of the schema, then the author's over the configuration with its defaults. What the
/// schema has refused, the author (or the author's model, which cannot hold it) does not refuse
/// again.
fn validated(
    schema: &Schema,
    mut config: Value,
    author: impl FnOnce(&Value) -> Diagnostics,
) -> Diagnostics {
    let mut problems = check(&schema.attributes, &config);
    fill_defaults(&schema.attributes, &mut config);
    let mut more = author(&config);
    more.0.retain(|again| {
        again.path.is_none() || problems.0.iter().all(|problem| problem.path != again.path)
    });
    problems.extend(more);
    problems
}

/// One bug on each path.
fn bugs_at(paths: Vec<super::Path>, summary: &str, detail: &str) -> Diagnostics {
    let bug_at = |path: super::Path| bug(summary, detail).at(path);
    Diagnostics(paths.into_iter().map(bug_at).collect())
}

const CAPABILITIES: pb::ServerCapabilities = pb::ServerCapabilities {
    plan_destroy: true,
    get_provider_schema_optional: true,
    move_resource_state: true,
    generate_resource_config: false,
};

/// A response that can carry nothing but problems.
trait Answer {
    fn refused(diagnostics: Vec<pb::Diagnostic>) -> Self;
    fn diagnostics(&self) -> &[pb::Diagnostic];
}

macro_rules! answers {
    ($($rpc:ident)*) => {
        $(impl Answer for pb::$rpc::Response {
            fn refused(diagnostics: Vec<pb::Diagnostic>) -> Self {
                let mut response = Self::default();
                response.diagnostics = diagnostics;
                response
            }
            fn diagnostics(&self) -> &[pb::Diagnostic] {
                &self.diagnostics
            }
        })*
    };
}

answers! {
    get_metadata get_provider_schema get_resource_identity_schemas get_functions
    validate_provider_config validate_resource_config validate_data_resource_config validate_ephemeral_resource_config
    configure_provider upgrade_resource_state upgrade_resource_identity read_resource plan_resource_change
    apply_resource_change import_resource_state move_resource_state read_data_source
    open_ephemeral_resource renew_ephemeral_resource close_ephemeral_resource
}

impl Answer for pb::call_function::Response {
    fn refused(diagnostics: Vec<pb::Diagnostic>) -> Self {
        let texts = diagnostics.into_iter().map(|problem| problem.detail);
        Self {
            result: None,
            error: Some(pb::FunctionError {
                text: texts.collect::<Vec<_>>().join("\n"),
                function_argument: None,
            }),
        }
    }
    fn diagnostics(&self) -> &[pb::Diagnostic] {
        &[]
    }
}

/// The answers of calls that answer problems only.
fn only<R: Answer>(problems: Diagnostics) -> R {
    R::refused(wire::diagnostics(problems))
}

macro_rules! rpcs {
    ($($rpc:ident($service:ident, $request:ident) $work:expr;)*) => {
        #[async_trait]
        impl pb::provider_server::Provider for Service {
            $(async fn $rpc(
                &self,
                request: Request<pb::$rpc::Request>,
            ) -> Result<Response<pb::$rpc::Response>, Status> {
                let $service = self;
                let $request = request.into_inner();
                let call = Call::new(self.provider.address, stringify!($rpc), $request.subject());
                self.answer(call, async move { $work }).await
            })*

            async fn stop_provider(
                &self,
                _: Request<pb::stop_provider::Request>,
            ) -> Result<Response<pb::stop_provider::Response>, Status> {
                self.context().cancel.cancel();
                Ok(Response::new(pb::stop_provider::Response::default()))
            }
        }
    };
}

rpcs! {
    get_metadata(service, request) Ok(service.metadata());
    get_provider_schema(service, request) Ok(service.schemas());
    get_resource_identity_schemas(service, request) Ok(service.identity_schemas());
    validate_provider_config(service, request)
        service.validate_provider(request.config.as_ref()).map(|()| only(Diagnostics::none()));
    configure_provider(service, request)
        service.configure(request.config.as_ref()).map(|()| only(Diagnostics::none()));
    validate_resource_config(service, request) beside(|| service.validate_resource(request));
    upgrade_resource_state(service, request) service.upgrade_state(request);
    upgrade_resource_identity(service, request) service.upgrade_identity(request);
    read_resource(service, request) service.read(request).await;
    plan_resource_change(service, request) beside(|| service.plan(request));
    apply_resource_change(service, request) service.apply(request).await;
    import_resource_state(service, request) service.import(request).await;
    move_resource_state(service, request) service.move_state(request);
    validate_data_resource_config(service, request) beside(|| service.validate_data_source(request));
    read_data_source(service, request) polled_beside(service.read_data(request)).await;
    validate_ephemeral_resource_config(service, request)
        beside(|| service.validate_ephemeral(request));
    open_ephemeral_resource(service, request) polled_beside(service.open_ephemeral(request)).await;
    renew_ephemeral_resource(service, request) service.renew_ephemeral(request).await;
    close_ephemeral_resource(service, request) service.close_ephemeral(request).await;
    get_functions(service, request) Ok(pb::get_functions::Response {
        functions: service.functions(),
        diagnostics: Vec::new(),
    });
    call_function(service, request) Ok(beside(|| service.call(request)));
}

#[cfg(test)]
mod tests;
