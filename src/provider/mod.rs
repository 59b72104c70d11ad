//! Terraform's words for our code. A data source, resource, ephemeral resource or function is a
//! schema, a model and its operations; everything of the wire is here and in `protocol`.

pub mod convert;
pub mod diagnostics;
pub mod duration;
mod ledger;
mod made_up;
mod object;
pub mod reference;
pub mod rules;
#[cfg(test)]
mod sample;
pub mod schema;
pub mod service;
mod shared;
mod tables;
#[cfg(test)]
pub(crate) mod validity;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use crate::protocol::value::{Type, Value};
pub use convert::{Attr, Model};
pub use diagnostics::{Diagnostic, Diagnostics, Path, Severity};
pub use ledger::Ledger;
pub use made_up::is_made_up;
pub(crate) use object::check;
pub use object::without_empty;
pub use schema::{Attribute, IdentityAttribute, Schema};
pub use service::Service;
pub use shared::Shared;
pub use tables::Provider;

/// What every operation that may touch a network gets.
#[derive(Clone)]
pub struct Context {
    /// The provider block as ConfigureProvider sent it, an object of the provider schema; may hold
    /// unknowns; all null before it was configured.
    pub configuration: Arc<Value>,
    /// Cancelled by StopProvider, Shutdown and SIGTERM: return soon, with the newest known state.
    pub cancel: CancellationToken,
    /// When the operation has to be over, where whoever began it has said so: what waits inside
    /// gives up before, and says for what it waited.
    pub until: Option<Instant>,
    /// What data sources and resources of one configuration share (the HTTP cache, open
    /// connections); one of each type.
    pub shared: Arc<Shared>,
    /// Where a create, an update or a delete writes down what exists, as often as it likes: that is
    /// saved should it panic.
    pub ledger: Ledger,
}

impl Context {
    /// Of a provider configured so; never cancelled. What a test hands to an operation.
    pub fn of(configuration: Value) -> Self {
        Self {
            configuration: Arc::new(configuration),
            cancel: CancellationToken::new(),
            until: None,
            shared: Arc::default(),
            ledger: Ledger::default(),
        }
    }
    /// The same, for an operation that has to be over by then.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            until: Some(deadline),
            ..self.clone()
        }
    }
    /// An attribute of the provider block; null where it is not set, or no such attribute exists.
    pub fn setting(&self, name: &str) -> &Value {
        match &*self.configuration {
            Value::Map(attributes) => attributes.get(name).unwrap_or(&Value::Null),
            _ => &Value::Null,
        }
    }
    /// [`Context::setting`] as a struct, wholly known.
    ///
    /// # Errors
    /// Part of it is unknown, as the values of resources are before they are applied; the parts are
    /// named.
    pub fn known_setting<T: DeserializeOwned>(&self, name: &str) -> Result<T, Diagnostics> {
        let at = Path::of(name);
        let value = self.setting(name);
        match unknown_settings(value, &at) {
            Some(unknown) => Err(unknown.into()),
            None => convert::from_value(value, &at),
        }
    }
    /// An attribute of the provider block as a struct: an empty string counts as left out, and an
    /// attribute that is left out is the struct's default. What was unknown when the configuration
    /// was checked is checked here.
    ///
    /// # Errors
    /// Part of it is not known yet, or not as the schema says. On no path: paths are of the
    /// resource that asks.
    pub fn checked_setting<T: DeserializeOwned + Default>(
        &self,
        schema: &Attribute,
    ) -> Result<T, Diagnostics> {
        let at = Path::of(schema.name);
        let value = self.setting(schema.name);
        if let Some(unknown) = unknown_settings(value, &at) {
            return Err(unknown.into());
        }
        if value.is_null() {
            return Ok(T::default());
        }
        let block = Value::Map([(schema.name.to_owned(), value.clone())].into());
        let mut problems = check(std::slice::from_ref(schema), &block);
        if problems.has_errors() {
            for problem in &mut problems.0 {
                problem.path = None;
            }
            return Err(problems);
        }
        convert::from_value(&without_empty(value), &at)
    }
}

/// What to tell of a part of the provider block that is not wholly known. On no path: paths are of
/// the resource that asks.
pub(crate) fn unknown_settings(value: &Value, at: &Path) -> Option<Diagnostic> {
    let names = object::unknowns(value, at);
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} in the provider block is not known until other resources are applied, and is needed now. Apply those resources first with \
         `-target`, or write a value that is known: a literal, or a variable.",
        names.join(", ")
    );
    Some(Diagnostic::error("Provider block is not known yet", detail))
}

/// What an operation found or did, together with its problems. An error beside a value still saves
/// the value.
pub struct Outcome<T> {
    /// What exists now. `None`: nothing (a resource that is gone), or nothing that could be said (a
    /// data source that failed).
    pub value: Option<T>,
    /// Errors and warnings.
    pub problems: Diagnostics,
}

impl<T> Outcome<T> {
    /// A value and nothing to say.
    pub fn of(value: T) -> Self {
        Self {
            value: Some(value),
            problems: Diagnostics::none(),
        }
    }
    /// No value, and why.
    pub fn failed(problems: impl Into<Diagnostics>) -> Self {
        Self {
            value: None,
            problems: problems.into(),
        }
    }
    /// Nothing is there, and nothing to say: a resource that is gone.
    pub fn gone() -> Self {
        Self {
            value: None,
            problems: Diagnostics::none(),
        }
    }
    /// The same problems beside another value.
    pub fn map<U>(self, value: impl FnOnce(T) -> U) -> Outcome<U> {
        Outcome {
            value: self.value.map(value),
            problems: self.problems,
        }
    }
}

/// `data "flatcar_<name>"`.
pub trait DataSource: Send + Sync + 'static {
    /// The attributes as a struct.
    type Model: Model;
    /// `"image"` for `flatcar_image`.
    const NAME: &'static str;
    /// The attributes.
    fn schema(&self) -> Schema;
    /// Pure checks beyond the schema's own validators. Values may be unknown; dials nothing.
    fn validate(&self, config: Self::Model) -> Diagnostics;
    /// Reads with wholly known configuration, defaults filled in.
    fn read(
        &self,
        context: &Context,
        config: Self::Model,
    ) -> impl Future<Output = Outcome<Self::Model>> + Send;
}

/// `ephemeral "flatcar_<name>"`: opened in plan and in apply, never in state.
pub trait Ephemeral: Send + Sync + 'static {
    /// The attributes as a struct.
    type Model: Model;
    /// `"ignition"` for `flatcar_ignition`.
    const NAME: &'static str;
    /// The attributes.
    fn schema(&self) -> Schema;
    /// Pure checks beyond the schema's own validators.
    fn validate(&self, config: Self::Model) -> Diagnostics;
    /// Opens; returns the result, what close needs (private bytes), and when to renew. Cheap and
    /// without traces, or closed.
    fn open(
        &self,
        context: &Context,
        config: Self::Model,
    ) -> impl Future<Output = Outcome<Opened<Self::Model>>> + Send;
    /// Renews what open began; called only where open or renew said when. Answers the private bytes
    /// and the next time.
    fn renew(
        &self,
        _context: &Context,
        _private: Vec<u8>,
    ) -> impl Future<Output = Outcome<Renewed>> + Send {
        let nobody_asked = Diagnostic::error(
            "Could not renew an ephemeral resource",
            "It has nothing to renew. This is a bug in the provider; please report it with the log.",
        );
        std::future::ready(Outcome::failed(nobody_asked))
    }
    /// Ends what open began.
    fn close(
        &self,
        context: &Context,
        private: Vec<u8>,
    ) -> impl Future<Output = Diagnostics> + Send;
}

/// What [`Ephemeral::open`] answers.
pub struct Opened<M> {
    /// The result, all attributes; equal to the configuration where that is not null.
    pub model: M,
    /// Handed to renew and close.
    pub private: Vec<u8>,
    /// When it must be renewed, if ever.
    pub renew_at: Option<SystemTime>,
}

/// What [`Ephemeral::renew`] answers.
pub struct Renewed {
    /// Handed to the next renew and to close.
    pub private: Vec<u8>,
    /// When it must be renewed again, if ever.
    pub renew_at: Option<SystemTime>,
}

/// `provider::flatcar::<name>(...)`: pure.
pub trait Function: Send + Sync + 'static {
    /// `"ignition"`.
    fn name(&self) -> &'static str;
    /// Parameters and result.
    fn signature(&self) -> schema::Signature;
    /// Calls it; variadic arguments come flat, after the positional ones.
    /// # Errors
    /// One text; with the index of the argument to blame where there is one.
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError>;
}

/// Why a function could not answer.
#[derive(Debug)]
pub struct FunctionError {
    /// The argument to blame, from 0.
    pub argument: Option<usize>,
    /// All problems in one text.
    pub text: String,
}

/// A managed resource with its private bytes, as state stores it.
pub struct Stored<M> {
    /// The attributes.
    pub model: M,
    /// Private state, opaque to core (ours is JSON).
    pub private: Vec<u8>,
}

/// What [`Resource::plan`] is asked. Pure function of these: no clock, no random, no network.
pub struct PlanRequest<M> {
    /// `None`: create (then prior private and identity are ignored).
    pub prior: Option<Stored<M>>,
    /// The configuration, write-only values included; may hold unknowns.
    pub config: M,
    /// Configuration merged over prior state, defaults filled in, write-only values null. On
    /// create, what is computed and not configured is unknown; in an update it is the prior value:
    /// make unknown what this change will change.
    pub proposed: M,
}

/// What [`Resource::plan`] answers.
pub struct Planned<M> {
    /// The planned attributes: start from `proposed`.
    pub model: M,
    /// Attributes whose change replaces the resource; those that the schema says so of are added by
    /// the service.
    pub requires_replace: Vec<Path>,
    /// Handed to apply.
    pub private: Vec<u8>,
}

/// `resource "flatcar_<name>"`. create, update or delete is chosen by the service, never here.
pub trait Resource: Send + Sync + 'static {
    /// The attributes as a struct.
    type Model: Model;
    /// `"worker_group"` for `flatcar_worker_group`.
    const NAME: &'static str;
    /// The attributes.
    fn schema(&self) -> Schema;
    /// What identifies it for `import { identity = {...} }`; values are taken from
    /// [`Resource::identity`].
    fn identity_schema(&self) -> Vec<IdentityAttribute>;
    /// The identity of a stored resource, an object of the identity schema.
    fn identity(&self, model: &Self::Model) -> Value;
    /// Pure checks beyond the schema's own validators. Values may be unknown.
    fn validate(&self, config: Self::Model) -> Diagnostics;
    /// Pure: see [`PlanRequest`].
    fn plan(&self, request: PlanRequest<Self::Model>) -> Outcome<Planned<Self::Model>>;
    /// Plans a destroy: refusals (deletion protection) and warnings. Pure.
    fn plan_destroy(&self, prior: &Self::Model) -> Diagnostics;
    /// Reads what exists. `value: None` only on a definite not-found.
    fn read(
        &self,
        context: &Context,
        state: Stored<Self::Model>,
    ) -> impl Future<Output = Outcome<Stored<Self::Model>>> + Send;
    /// Creates. `config` carries write-only values.
    fn create(
        &self,
        context: &Context,
        planned: Stored<Self::Model>,
        config: Self::Model,
    ) -> impl Future<Output = Outcome<Stored<Self::Model>>> + Send;
    /// Updates in place. `value: None` keeps the prior state. Both private bytes are those that the
    /// plan answered: core sends no others.
    fn update(
        &self,
        context: &Context,
        prior: Stored<Self::Model>,
        planned: Stored<Self::Model>,
        config: Self::Model,
    ) -> impl Future<Output = Outcome<Stored<Self::Model>>> + Send;
    /// Deletes. `value: None` without an error: gone. With an error: what is left.
    fn delete(
        &self,
        context: &Context,
        prior: Stored<Self::Model>,
    ) -> impl Future<Output = Outcome<Stored<Self::Model>>> + Send;
    /// Imports by id, or by identity (an object of the identity schema; then `id` is empty).
    fn import(
        &self,
        context: &Context,
        id: String,
        identity: Value,
    ) -> impl Future<Output = Outcome<Stored<Self::Model>>> + Send;
    /// Lifts the state of an older schema version (its JSON) to this one's. Pure; core asks for the
    /// same version too, which the service answers itself.
    ///
    /// # Errors
    /// The state is of a version, or has a form, that was never released.
    fn upgrade(&self, version: i64, state: serde_json::Value) -> Result<Self::Model, Diagnostics>;
    /// What a stored state says when a core takes it up again, before anything is compared with it:
    /// what only the last apply was about is left out, what an older state lacks is filled in. Such
    /// a change is no drift, and it needs no refresh. Pure.
    fn taken_up(&self, state: Value) -> Value {
        state
    }
}
