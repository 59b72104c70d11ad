//! The provider as tables of data sources, resources, ephemeral resources and functions.

use std::sync::OnceLock;

use futures::future::BoxFuture;

use super::convert::Model;
use super::{
    Context, DataSource, Diagnostics, Ephemeral, Function, IdentityAttribute, Opened, Outcome,
    PlanRequest, Planned, Renewed, Resource, Schema, Stored, Value,
};

/// Everything that one provider serves. Schemas are built at first need.
pub struct Provider {
    /// Local name, and the prefix of every type: `"flatcar"`.
    pub name: &'static str,
    /// Source address: `"registry.terraform.io/flatcar-iac/flatcar"`.
    pub address: &'static str,
    schema: fn() -> Schema,
    built: OnceLock<Schema>,
    pub(super) data_sources: Vec<Box<dyn AnyDataSource>>,
    pub(super) resources: Vec<Box<dyn AnyResource>>,
    pub(super) ephemerals: Vec<Box<dyn AnyEphemeral>>,
    pub(super) functions: Vec<Box<dyn Function>>,
}

impl Provider {
    /// Serves nothing yet; `schema` is that of the provider block.
    pub fn new(name: &'static str, address: &'static str, schema: fn() -> Schema) -> Self {
        Self {
            name,
            address,
            schema,
            built: OnceLock::new(),
            data_sources: Vec::new(),
            resources: Vec::new(),
            ephemerals: Vec::new(),
            functions: Vec::new(),
        }
    }
    /// Adds a row.
    #[must_use]
    pub fn data_source<D: DataSource>(mut self, data_source: D) -> Self {
        self.data_sources.push(Box::new(Row::new(data_source)));
        self
    }
    /// Adds a row.
    #[must_use]
    pub fn resource<R: Resource>(mut self, resource: R) -> Self {
        self.resources.push(Box::new(Row::new(resource)));
        self
    }
    /// Adds a row.
    #[must_use]
    pub fn ephemeral<E: Ephemeral>(mut self, ephemeral: E) -> Self {
        self.ephemerals.push(Box::new(Row::new(ephemeral)));
        self
    }
    /// Adds a row.
    #[must_use]
    pub fn function(mut self, function: impl Function) -> Self {
        self.functions.push(Box::new(function));
        self
    }
    /// The schema of the provider block.
    pub fn schema(&self) -> &Schema {
        self.built.get_or_init(self.schema)
    }
}

/// An operation's author and its schema, built at first need.
struct Row<T> {
    author: T,
    schema: OnceLock<Schema>,
}

impl<T> Row<T> {
    fn new(author: T) -> Self {
        Self {
            author,
            schema: OnceLock::new(),
        }
    }
}

/// Runs a pure check over a model. A model that cannot hold unknowns waits until they are known:
/// core validates again then.
fn validated<M: Model>(config: &Value, check: impl FnOnce(M) -> Diagnostics) -> Diagnostics {
    match M::from_value(config) {
        Ok(model) => check(model),
        Err(_) if !config.is_wholly_known() => Diagnostics::none(),
        Err(problems) => problems,
    }
}

/// A data source without its type.
pub(super) trait AnyDataSource: Send + Sync {
    fn name(&self) -> &'static str;
    fn schema(&self) -> &Schema;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn read<'a>(&'a self, context: &'a Context, config: Value) -> BoxFuture<'a, Outcome<Value>>;
    #[cfg(test)]
    fn round_trip(&self, value: &Value) -> Result<Value, Diagnostics>;
}

impl<D: DataSource> AnyDataSource for Row<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }
    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.author.schema())
    }
    fn validate(&self, config: &Value) -> Diagnostics {
        validated(config, |model| self.author.validate(model))
    }
    fn read<'a>(&'a self, context: &'a Context, config: Value) -> BoxFuture<'a, Outcome<Value>> {
        Box::pin(async move {
            match D::Model::from_value(&config) {
                Ok(config) => self
                    .author
                    .read(context, config)
                    .await
                    .map(|model| model.to_value()),
                Err(problems) => Outcome::failed(problems),
            }
        })
    }
    #[cfg(test)]
    fn round_trip(&self, value: &Value) -> Result<Value, Diagnostics> {
        D::Model::from_value(value).map(|model| model.to_value())
    }
}

/// An ephemeral resource without its type.
pub(super) trait AnyEphemeral: Send + Sync {
    fn name(&self) -> &'static str;
    fn schema(&self) -> &Schema;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn open<'a>(
        &'a self,
        context: &'a Context,
        config: Value,
    ) -> BoxFuture<'a, Outcome<Opened<Value>>>;
    fn renew<'a>(
        &'a self,
        context: &'a Context,
        private: Vec<u8>,
    ) -> BoxFuture<'a, Outcome<Renewed>>;
    fn close<'a>(&'a self, context: &'a Context, private: Vec<u8>) -> BoxFuture<'a, Diagnostics>;
    #[cfg(test)]
    fn round_trip(&self, value: &Value) -> Result<Value, Diagnostics>;
}

impl<E: Ephemeral> AnyEphemeral for Row<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }
    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.author.schema())
    }
    fn validate(&self, config: &Value) -> Diagnostics {
        validated(config, |model| self.author.validate(model))
    }
    fn open<'a>(
        &'a self,
        context: &'a Context,
        config: Value,
    ) -> BoxFuture<'a, Outcome<Opened<Value>>> {
        Box::pin(async move {
            match E::Model::from_value(&config) {
                Ok(config) => self
                    .author
                    .open(context, config)
                    .await
                    .map(|opened| Opened {
                        model: opened.model.to_value(),
                        private: opened.private,
                        renew_at: opened.renew_at,
                    }),
                Err(problems) => Outcome::failed(problems),
            }
        })
    }
    fn renew<'a>(
        &'a self,
        context: &'a Context,
        private: Vec<u8>,
    ) -> BoxFuture<'a, Outcome<Renewed>> {
        Box::pin(self.author.renew(context, private))
    }
    fn close<'a>(&'a self, context: &'a Context, private: Vec<u8>) -> BoxFuture<'a, Diagnostics> {
        Box::pin(self.author.close(context, private))
    }
    #[cfg(test)]
    fn round_trip(&self, value: &Value) -> Result<Value, Diagnostics> {
        E::Model::from_value(value).map(|model| model.to_value())
    }
}

/// A resource without its type. Every value is an object of its schema.
pub(super) trait AnyResource: Send + Sync {
    fn name(&self) -> &'static str;
    fn schema(&self) -> &Schema;
    fn identity_schema(&self) -> Vec<IdentityAttribute>;
    fn identity(&self, state: &Value) -> Result<Value, Diagnostics>;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn plan(&self, request: PlanRequest<Value>) -> Outcome<Planned<Value>>;
    fn plan_destroy(&self, prior: &Value) -> Diagnostics;
    fn read<'a>(
        &'a self,
        context: &'a Context,
        state: Stored<Value>,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>>;
    fn create<'a>(
        &'a self,
        context: &'a Context,
        planned: Stored<Value>,
        config: Value,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>>;
    fn update<'a>(
        &'a self,
        context: &'a Context,
        prior: Stored<Value>,
        planned: Stored<Value>,
        config: Value,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>>;
    fn delete<'a>(
        &'a self,
        context: &'a Context,
        prior: Stored<Value>,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>>;
    fn import<'a>(
        &'a self,
        context: &'a Context,
        id: String,
        identity: Value,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>>;
    fn upgrade(&self, version: i64, state: serde_json::Value) -> Result<Value, Diagnostics>;
    fn taken_up(&self, state: Value) -> Value;
    #[cfg(test)]
    fn round_trip(&self, value: &Value) -> Result<Value, Diagnostics>;
}

fn stored<M: Model>(state: Stored<Value>) -> Result<Stored<M>, Diagnostics> {
    Ok(Stored {
        model: M::from_value(&state.model)?,
        private: state.private,
    })
}

fn valued<M: Model>(outcome: Outcome<Stored<M>>) -> Outcome<Stored<Value>> {
    outcome.map(|stored| Stored {
        model: stored.model.to_value(),
        private: stored.private,
    })
}

impl<R: Resource> AnyResource for Row<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }
    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.author.schema())
    }
    fn identity_schema(&self) -> Vec<IdentityAttribute> {
        self.author.identity_schema()
    }
    fn identity(&self, state: &Value) -> Result<Value, Diagnostics> {
        R::Model::from_value(state).map(|model| self.author.identity(&model))
    }
    fn validate(&self, config: &Value) -> Diagnostics {
        validated(config, |model| self.author.validate(model))
    }
    fn plan(&self, request: PlanRequest<Value>) -> Outcome<Planned<Value>> {
        let typed = || -> Result<_, Diagnostics> {
            Ok(PlanRequest {
                prior: request.prior.map(stored).transpose()?,
                config: R::Model::from_value(&request.config)?,
                proposed: R::Model::from_value(&request.proposed)?,
            })
        };
        match typed() {
            Ok(request) => self.author.plan(request).map(|planned| Planned {
                model: planned.model.to_value(),
                requires_replace: planned.requires_replace,
                private: planned.private,
            }),
            Err(problems) => Outcome::failed(problems),
        }
    }
    fn plan_destroy(&self, prior: &Value) -> Diagnostics {
        match R::Model::from_value(prior) {
            Ok(prior) => self.author.plan_destroy(&prior),
            Err(problems) => problems,
        }
    }
    fn read<'a>(
        &'a self,
        context: &'a Context,
        state: Stored<Value>,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>> {
        Box::pin(async move {
            match stored(state) {
                Ok(state) => valued(self.author.read(context, state).await),
                Err(problems) => Outcome::failed(problems),
            }
        })
    }
    fn create<'a>(
        &'a self,
        context: &'a Context,
        planned: Stored<Value>,
        config: Value,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>> {
        Box::pin(async move {
            match (stored(planned), R::Model::from_value(&config)) {
                (Ok(planned), Ok(config)) => {
                    valued(self.author.create(context, planned, config).await)
                }
                (Err(problems), _) | (_, Err(problems)) => Outcome::failed(problems),
            }
        })
    }
    fn update<'a>(
        &'a self,
        context: &'a Context,
        prior: Stored<Value>,
        planned: Stored<Value>,
        config: Value,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>> {
        Box::pin(async move {
            match (
                stored(prior),
                stored(planned),
                R::Model::from_value(&config),
            ) {
                (Ok(prior), Ok(planned), Ok(config)) => {
                    valued(self.author.update(context, prior, planned, config).await)
                }
                (Err(problems), _, _) | (_, Err(problems), _) | (_, _, Err(problems)) => {
                    Outcome::failed(problems)
                }
            }
        })
    }
    fn delete<'a>(
        &'a self,
        context: &'a Context,
        prior: Stored<Value>,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>> {
        Box::pin(async move {
            match stored(prior) {
                Ok(prior) => valued(self.author.delete(context, prior).await),
                Err(problems) => Outcome::failed(problems),
            }
        })
    }
    fn import<'a>(
        &'a self,
        context: &'a Context,
        id: String,
        identity: Value,
    ) -> BoxFuture<'a, Outcome<Stored<Value>>> {
        Box::pin(async move { valued(self.author.import(context, id, identity).await) })
    }
    fn taken_up(&self, state: Value) -> Value {
        self.author.taken_up(state)
    }
    fn upgrade(&self, version: i64, state: serde_json::Value) -> Result<Value, Diagnostics> {
        self.author
            .upgrade(version, state)
            .map(|model| model.to_value())
    }
    #[cfg(test)]
    fn round_trip(&self, value: &Value) -> Result<Value, Diagnostics> {
        R::Model::from_value(value).map(|model| model.to_value())
    }
}
