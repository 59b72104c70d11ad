//! Resources: plan, apply, read, import, upgrade. Create, update or delete is decided here.

use super::{Service, bugs_at, guarded, only, recorded, validated};
use crate::protocol::tfplugin6 as pb;
use crate::provider::object::{
    complete_proposal, contradictions, fill_defaults, null_write_only, replaced, restore_unknowns,
    settle, write_only_set,
};
use crate::provider::tables::AnyResource;
use crate::provider::wire::{self, bug, decode, decode_stored, encode, identity_type, type_of};
use crate::provider::{
    Context, Diagnostic, Diagnostics, Ledger, Outcome, PlanRequest, Stored, Value,
};

impl Service {
    fn resource(&self, type_name: &str) -> Result<&dyn AnyResource, Diagnostics> {
        let rows = &self.provider.resources;
        self.row(rows, |row| row.name(), type_name, "resource")
    }

    pub(super) fn validate_resource(
        &self,
        request: pb::validate_resource_config::Request,
    ) -> Result<pb::validate_resource_config::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let schema = resource.schema();
        let config = decode(request.config.as_ref(), &type_of(schema))?;
        let mut problems = Diagnostics::none();
        let capabilities = request.client_capabilities.unwrap_or_default();
        if !capabilities.write_only_attributes_allowed {
            for path in write_only_set(&schema.attributes, &config) {
                let detail = "A write-only attribute needs Terraform 1.11 or OpenTofu 1.11, or newer. Update it, or use the attribute \
                              without `_wo`, whose value is kept in the state.";
                problems.push(
                    Diagnostic::error("Write-only attribute is not supported", detail).at(path),
                );
            }
        }
        problems.extend(validated(schema, config, |config| {
            resource.validate(config)
        }));
        Ok(only(problems))
    }

    pub(super) fn plan(
        &self,
        request: pb::plan_resource_change::Request,
    ) -> Result<pb::plan_resource_change::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let attributes = &resource.schema().attributes;
        let kind = type_of(resource.schema());
        let prior = decode(request.prior_state.as_ref(), &kind)?;
        let written = decode(request.config.as_ref(), &kind)?;
        let mut proposed = decode(request.proposed_new_state.as_ref(), &kind)?;
        if proposed.is_null() {
            return Ok(pb::plan_resource_change::Response {
                planned_state: encode(&Value::Null, &kind)?,
                planned_private: request.prior_private,
                planned_identity: request.prior_identity,
                ..only(resource.plan_destroy(&prior))
            });
        }
        let prior = Some(prior).filter(|prior| !prior.is_null());
        let mut config = written.clone();
        fill_defaults(attributes, &mut config);
        complete_proposal(attributes, &written, prior.as_ref(), &mut proposed);
        null_write_only(attributes, &mut proposed);

        let outcome = resource.plan(PlanRequest {
            prior: prior.clone().map(|model| Stored {
                model,
                private: request.prior_private.clone(),
            }),
            config,
            proposed,
        });
        let mut problems = outcome.problems;
        let Some(mut planned) = outcome.value else {
            if !problems.has_errors() {
                problems.push(bug(
                    "No plan",
                    "Nothing was planned, and no reason was given.",
                ));
            }
            return Ok(only(problems));
        };
        null_write_only(attributes, &mut planned.model);
        restore_unknowns(&written, &mut planned.model);
        problems.extend(bugs_at(
            contradictions(attributes, &written, prior.as_ref(), &planned.model),
            "Plan contradicts the configuration",
            "The planned value is another one than the configuration's.",
        ));
        if let Some(prior) = &prior {
            if *prior == planned.model {
                planned.model = prior.clone();
                planned.private = request.prior_private;
                planned.requires_replace.clear();
            }
            for path in replaced(attributes, prior, &planned.model) {
                if !planned.requires_replace.contains(&path) {
                    planned.requires_replace.push(path);
                }
            }
        }
        Ok(pb::plan_resource_change::Response {
            planned_state: encode(&planned.model, &kind)?,
            requires_replace: planned
                .requires_replace
                .iter()
                .map(wire::attribute_path)
                .collect(),
            planned_private: planned.private,
            // A new object has none yet, and one that is replaced gets another.
            planned_identity: request.prior_identity.filter(|_| prior.is_some()),
            ..only(problems)
        })
    }

    pub(super) async fn apply(
        &self,
        request: pb::apply_resource_change::Request,
    ) -> Result<pb::apply_resource_change::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let attributes = &resource.schema().attributes;
        let kind = type_of(resource.schema());
        let prior = decode(request.prior_state.as_ref(), &kind)?;
        let planned = decode(request.planned_state.as_ref(), &kind)?;
        let mut config = decode(request.config.as_ref(), &kind)?;
        fill_defaults(attributes, &mut config);
        let context = Context {
            ledger: Ledger::default(),
            ..self.context()
        };
        let ledger = &context.ledger;
        let stored = |model: &Value| Stored {
            model: model.clone(),
            private: request.planned_private.clone(),
        };

        let (outcome, kept) = match (prior.is_null(), planned.is_null()) {
            (true, true) => (Outcome::gone(), None),
            (true, false) => {
                let create = resource.create(&context, stored(&planned), config);
                (missing_after_create(recorded(ledger, create).await), None)
            }
            (false, false) => {
                let update = resource.update(&context, stored(&prior), stored(&planned), config);
                (recorded(ledger, update).await, Some(stored(&prior)))
            }
            (false, true) => {
                let outcome = recorded(ledger, resource.delete(&context, stored(&prior))).await;
                let failed = outcome.problems.has_errors();
                (left_after_delete(outcome), failed.then(|| stored(&prior)))
            }
        };
        let mut problems = outcome.problems;
        let Some(state) = outcome.value.or(kept) else {
            return Ok(pb::apply_resource_change::Response {
                new_state: encode(&Value::Null, &kind)?,
                ..only(problems)
            });
        };
        // A state that does not fit the schema is a bug of ours, and no reason to forget what
        // exists.
        let instead = if planned.is_null() { &prior } else { &planned };
        let saved = saved(resource, state, Some(instead), &mut problems);
        Ok(pb::apply_resource_change::Response {
            new_state: saved.state,
            private: saved.private,
            new_identity: saved.identity,
            ..only(problems)
        })
    }

    pub(super) async fn read(
        &self,
        request: pb::read_resource::Request,
    ) -> Result<pb::read_resource::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let kind = type_of(resource.schema());
        let current = decode(request.current_state.as_ref(), &kind)?;
        if current.is_null() {
            return Ok(pb::read_resource::Response {
                new_state: request.current_state,
                ..only(Diagnostics::none())
            });
        }
        let state = Stored {
            model: current.clone(),
            private: request.private.clone(),
        };
        let outcome = guarded(resource.read(&self.context(), state)).await;
        let mut problems = outcome.problems;
        match outcome.value {
            Some(state) => {
                let saved = saved(resource, state, Some(&current), &mut problems);
                Ok(pb::read_resource::Response {
                    new_state: saved.state,
                    private: saved.private,
                    new_identity: saved.identity.or(request.current_identity),
                    ..only(problems)
                })
            }
            None if problems.has_errors() => Ok(pb::read_resource::Response {
                new_state: request.current_state,
                private: request.private,
                new_identity: request.current_identity,
                ..only(problems)
            }),
            None => Ok(pb::read_resource::Response {
                new_state: encode(&Value::Null, &kind)?,
                ..only(problems)
            }),
        }
    }

    pub(super) async fn import(
        &self,
        request: pb::import_resource_state::Request,
    ) -> Result<pb::import_resource_state::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let identity = request.identity.and_then(|identity| identity.identity_data);
        let identity = decode(
            identity.as_ref(),
            &identity_type(&resource.identity_schema()),
        )?;
        let outcome = guarded(resource.import(&self.context(), request.id, identity)).await;
        let mut problems = outcome.problems;
        let imported_resources = match outcome.value {
            Some(state) => {
                let saved = saved(resource, state, None, &mut problems);
                vec![pb::import_resource_state::ImportedResource {
                    type_name: request.type_name,
                    state: saved.state,
                    private: saved.private,
                    identity: saved.identity,
                }]
            }
            None => {
                if !problems.has_errors() {
                    problems.push(bug(
                        "Nothing imported",
                        "Nothing was found, and no reason was given.",
                    ));
                }
                Vec::new()
            }
        };
        Ok(pb::import_resource_state::Response {
            imported_resources,
            ..only(problems)
        })
    }

    pub(super) fn upgrade_state(
        &self,
        request: pb::upgrade_resource_state::Request,
    ) -> Result<pb::upgrade_resource_state::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let raw = request.raw_state.unwrap_or_default();
        let state = upgraded(resource, request.version, &raw)?;
        Ok(pb::upgrade_resource_state::Response {
            upgraded_state: encode(&state, &type_of(resource.schema()))?,
            ..only(Diagnostics::none())
        })
    }

    pub(super) fn upgrade_identity(
        &self,
        request: pb::upgrade_resource_identity::Request,
    ) -> Result<pb::upgrade_resource_identity::Response, Diagnostics> {
        let resource = self.resource(&request.type_name)?;
        let kind = identity_type(&resource.identity_schema());
        let raw = request.raw_identity.unwrap_or_default();
        if request.version != 0 {
            return Err(newer("identity", request.version, 0).into());
        }
        let identity = decode_stored(&raw.json, &kind)?;
        Ok(pb::upgrade_resource_identity::Response {
            upgraded_identity: Some(pb::ResourceIdentityData {
                identity_data: encode(&identity, &kind)?,
            }),
            ..only(Diagnostics::none())
        })
    }

    /// The same resource may come from another source address (a mirror, a fork, a namespace that
    /// moved).
    pub(super) fn move_state(
        &self,
        request: pb::move_resource_state::Request,
    ) -> Result<pb::move_resource_state::Response, Diagnostics> {
        let resource = self.resource(&request.target_type_name)?;
        if request.source_type_name != request.target_type_name {
            let detail = format!(
                "The state of `{}` ({}) cannot become one of `{}`. Remove the `moved` block, and import the object instead.",
                request.source_type_name, request.source_provider_address, request.target_type_name
            );
            return Err(Diagnostic::error("Could not move the resource", detail).into());
        }
        let raw = request.source_state.unwrap_or_default();
        let state = upgraded(resource, request.source_schema_version, &raw)?;
        let mut problems = Diagnostics::none();
        let stored = Stored {
            model: state,
            private: request.source_private,
        };
        let saved = saved(resource, stored, None, &mut problems);
        Ok(pb::move_resource_state::Response {
            target_state: saved.state,
            target_private: saved.private,
            target_identity: saved.identity,
            ..only(problems)
        })
    }
}

fn missing_after_create(mut outcome: Outcome<Stored<Value>>) -> Outcome<Stored<Value>> {
    if outcome.value.is_none() && !outcome.problems.has_errors() {
        outcome.problems.push(bug(
            "No state after create",
            "What was created is not recorded, and no error was reported. Look for it and remove it.",
        ));
    }
    outcome
}

fn left_after_delete(mut outcome: Outcome<Stored<Value>>) -> Outcome<Stored<Value>> {
    if outcome.value.is_some() && !outcome.problems.has_errors() {
        outcome.problems.push(bug(
            "State left after delete",
            "Part of the object still exists, and no error was reported. Run destroy again.",
        ));
    }
    outcome
}

/// State as core stores it.
struct Saved {
    state: Option<pb::DynamicValue>,
    private: Vec<u8>,
    identity: Option<pb::ResourceIdentityData>,
}

/// Writes what exists: no unknowns, no write-only values, identity always. `instead` is written
/// where the state does not fit the schema.
fn saved(
    resource: &dyn AnyResource,
    mut stored: Stored<Value>,
    instead: Option<&Value>,
    problems: &mut Diagnostics,
) -> Saved {
    let attributes = &resource.schema().attributes;
    let kind = type_of(resource.schema());
    if settle(&mut stored.model) && !problems.has_errors() {
        problems.push(bug(
            "State is not known",
            "Part of the new state is still unknown; it is recorded as null.",
        ));
    }
    null_write_only(attributes, &mut stored.model);
    let state = encode(&stored.model, &kind).unwrap_or_else(|more| {
        problems.extend(more);
        let mut instead = instead.cloned().unwrap_or(Value::Null);
        settle(&mut instead);
        encode(&instead, &kind).unwrap_or_default()
    });
    Saved {
        state,
        private: stored.private,
        identity: identity(resource, &stored.model, problems),
    }
}

fn identity(
    resource: &dyn AnyResource,
    state: &Value,
    problems: &mut Diagnostics,
) -> Option<pb::ResourceIdentityData> {
    let schema = resource.identity_schema();
    if schema.is_empty() {
        return None;
    }
    let data = resource
        .identity(state)
        .and_then(|identity| encode(&identity, &identity_type(&schema)));
    match data {
        Ok(identity_data) => Some(pb::ResourceIdentityData { identity_data }),
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

/// Stored state in the form of today's schema.
fn upgraded(
    resource: &dyn AnyResource,
    version: i64,
    raw: &pb::RawState,
) -> Result<Value, Diagnostics> {
    let schema = resource.schema();
    if !raw.flatmap.is_empty() {
        let detail = "It is in the form of Terraform 0.11, which this provider never wrote. Remove the object from the state and import it.";
        return Err(Diagnostic::error("Could not read the stored state", detail).into());
    }
    let mut state = match version.cmp(&schema.version) {
        std::cmp::Ordering::Equal => decode_stored(&raw.json, &type_of(schema))?,
        std::cmp::Ordering::Greater => {
            return Err(newer("state", version, schema.version).into());
        }
        std::cmp::Ordering::Less => {
            let json = serde_json::from_slice(&raw.json).map_err(|_| {
                Diagnostics::from(Diagnostic::error(
                    "Could not read the stored state",
                    "It is not JSON. Restore the state from a backup, or remove the object from the state and import it.",
                ))
            })?;
            resource.upgrade(version, json)?
        }
    };
    if !state.is_null() {
        state = resource.taken_up(state);
    }
    null_write_only(&schema.attributes, &mut state);
    Ok(state)
}

fn newer(what: &str, version: i64, ours: i64) -> Diagnostic {
    Diagnostic::error(
        format!("Stored {what} is of a newer provider"),
        format!(
            "Its version is {version}, and this provider knows versions up to {ours}. Use the newer version of the provider."
        ),
    )
}
