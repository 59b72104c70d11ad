//! Data sources, ephemeral resources and functions.

use std::collections::BTreeMap;

use super::{Service, bugs_at, guarded, only, validated};
use crate::protocol::tfplugin6 as pb;
use crate::provider::object::{contradictions, fill_defaults};
use crate::provider::tables::{AnyDataSource, AnyEphemeral};
use crate::provider::wire::{self, bug, decode, encode, type_of};
use crate::provider::{Attribute, Diagnostics, Value};

impl Service {
    fn data_source(&self, type_name: &str) -> Result<&dyn AnyDataSource, Diagnostics> {
        let rows = &self.provider.data_sources;
        self.row(rows, |row| row.name(), type_name, "data source")
    }

    fn ephemeral(&self, type_name: &str) -> Result<&dyn AnyEphemeral, Diagnostics> {
        let rows = &self.provider.ephemerals;
        self.row(rows, |row| row.name(), type_name, "ephemeral resource")
    }

    pub(super) fn validate_data_source(
        &self,
        request: pb::validate_data_resource_config::Request,
    ) -> Result<pb::validate_data_resource_config::Response, Diagnostics> {
        let data_source = self.data_source(&request.type_name)?;
        let schema = data_source.schema();
        let config = decode(request.config.as_ref(), &type_of(schema))?;
        Ok(only(validated(schema, config, |config| {
            data_source.validate(config)
        })))
    }

    pub(super) async fn read_data(
        &self,
        request: pb::read_data_source::Request,
    ) -> Result<pb::read_data_source::Response, Diagnostics> {
        let data_source = self.data_source(&request.type_name)?;
        let schema = data_source.schema();
        let kind = type_of(schema);
        let written = decode(request.config.as_ref(), &kind)?;
        let mut config = written.clone();
        fill_defaults(&schema.attributes, &mut config);
        let outcome = guarded(data_source.read(&self.context(), config)).await;
        let mut problems = outcome.problems;
        // What the provider may fill in it may also read back as what it was found to mean: `~>
        // 4593.2` as `4593.2.5`. Core allows that in data sources.
        let fixed: Vec<Attribute> = (schema.attributes.iter())
            .filter(|attribute| !attribute.computed)
            .cloned()
            .collect();
        let state = answered(&fixed, &written, outcome.value, &mut problems)
            .and_then(|state| {
                encode(&state, &kind)
                    .map_err(|more| problems.extend(more))
                    .ok()
            })
            .flatten();
        Ok(pb::read_data_source::Response {
            state,
            ..only(problems)
        })
    }

    pub(super) fn validate_ephemeral(
        &self,
        request: pb::validate_ephemeral_resource_config::Request,
    ) -> Result<pb::validate_ephemeral_resource_config::Response, Diagnostics> {
        let ephemeral = self.ephemeral(&request.type_name)?;
        let schema = ephemeral.schema();
        let config = decode(request.config.as_ref(), &type_of(schema))?;
        Ok(only(validated(schema, config, |config| {
            ephemeral.validate(config)
        })))
    }

    pub(super) async fn open_ephemeral(
        &self,
        request: pb::open_ephemeral_resource::Request,
    ) -> Result<pb::open_ephemeral_resource::Response, Diagnostics> {
        let ephemeral = self.ephemeral(&request.type_name)?;
        let schema = ephemeral.schema();
        let kind = type_of(schema);
        let written = decode(request.config.as_ref(), &kind)?;
        let mut config = written.clone();
        fill_defaults(&schema.attributes, &mut config);
        let outcome = guarded(ephemeral.open(&self.context(), config)).await;
        let mut problems = outcome.problems;
        let (model, private, renew_at) = match outcome.value {
            Some(opened) => (Some(opened.model), Some(opened.private), opened.renew_at),
            None => (None, None, None),
        };
        let result = answered(&schema.attributes, &written, model, &mut problems)
            .and_then(|result| {
                encode(&result, &kind)
                    .map_err(|more| problems.extend(more))
                    .ok()
            })
            .flatten();
        Ok(pb::open_ephemeral_resource::Response {
            result,
            private,
            renew_at: renew_at.map(wire::timestamp),
            ..only(problems)
        })
    }

    pub(super) async fn renew_ephemeral(
        &self,
        request: pb::renew_ephemeral_resource::Request,
    ) -> Result<pb::renew_ephemeral_resource::Response, Diagnostics> {
        let ephemeral = self.ephemeral(&request.type_name)?;
        let private = request.private.unwrap_or_default();
        let outcome = guarded(ephemeral.renew(&self.context(), private)).await;
        let (private, renew_at) = match outcome.value {
            Some(renewed) => (Some(renewed.private), renewed.renew_at),
            None => (None, None),
        };
        Ok(pb::renew_ephemeral_resource::Response {
            private,
            renew_at: renew_at.map(wire::timestamp),
            ..only(outcome.problems)
        })
    }

    pub(super) async fn close_ephemeral(
        &self,
        request: pb::close_ephemeral_resource::Request,
    ) -> Result<pb::close_ephemeral_resource::Response, Diagnostics> {
        let ephemeral = self.ephemeral(&request.type_name)?;
        let private = request.private.unwrap_or_default();
        Ok(only(ephemeral.close(&self.context(), private).await))
    }

    pub(super) fn functions(&self) -> BTreeMap<String, pb::Function> {
        self.provider
            .functions
            .iter()
            .map(|function| {
                let definition = wire::function(&function.signature());
                (function.name().to_owned(), definition)
            })
            .collect()
    }

    pub(super) fn call(&self, request: pb::call_function::Request) -> pb::call_function::Response {
        match self.called(&request) {
            Ok(result) => pb::call_function::Response {
                result,
                error: None,
            },
            Err((argument, text)) => pb::call_function::Response {
                result: None,
                error: Some(pb::FunctionError {
                    // Core puts it into a sentence of its own.
                    text: wire::shown(text.trim_end_matches('.')),
                    function_argument: argument.and_then(|index| i64::try_from(index).ok()),
                }),
            },
        }
    }

    /// The result, or the argument to blame and why.
    fn called(
        &self,
        request: &pb::call_function::Request,
    ) -> Result<Option<pb::DynamicValue>, (Option<usize>, String)> {
        let functions = &self.provider.functions;
        let Some(function) = functions.iter().find(|row| row.name() == request.name) else {
            let known: Vec<&str> = functions.iter().map(|row| row.name()).collect();
            let text = format!(
                "this provider has no function `{}`; it has: {}",
                request.name,
                known.join(", ")
            );
            return Err((None, text));
        };
        let signature = function.signature();
        let told = |problems: Diagnostics| {
            let details = problems.0.into_iter().map(|problem| problem.detail);
            details.collect::<Vec<_>>().join("\n")
        };
        let mut arguments = Vec::with_capacity(request.arguments.len());
        for (index, argument) in request.arguments.iter().enumerate() {
            let parameter = signature
                .parameters
                .get(index)
                .or(signature.variadic.as_ref());
            let Some(parameter) = parameter else {
                return Err((Some(index), "there is no such parameter".to_owned()));
            };
            let value = decode(Some(argument), &parameter.kind)
                .map_err(|problems| (Some(index), told(problems)))?;
            if value.is_null() && !parameter.allow_null {
                let text = format!("`{}` must not be null", parameter.name);
                return Err((Some(index), text));
            }
            arguments.push(value);
        }
        if let Some(missing) = signature.parameters.get(arguments.len()) {
            return Err((None, format!("`{}` is missing", missing.name)));
        }
        let result = function
            .call(arguments)
            .map_err(|error| (error.argument, error.text))?;
        encode(&result, &signature.result).map_err(|problems| (None, told(problems)))
    }
}

/// What a data source or ephemeral resource answered, if it is an answer: wholly known, and as the
/// user wrote it.
fn answered(
    attributes: &[Attribute],
    written: &Value,
    value: Option<Value>,
    problems: &mut Diagnostics,
) -> Option<Value> {
    let Some(value) = value else {
        if !problems.has_errors() {
            problems.push(bug(
                "No answer",
                "Nothing was read, and no reason was given.",
            ));
        }
        return None;
    };
    if !value.is_wholly_known() {
        problems.push(bug(
            "Answer is not known",
            "Part of what was read is unknown.",
        ));
        return None;
    }
    problems.extend(bugs_at(
        contradictions(attributes, written, None, &value),
        "Answer contradicts the configuration",
        "What was read has another value here than the configuration.",
    ));
    Some(value)
}
