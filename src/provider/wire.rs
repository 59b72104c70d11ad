//! Between our words and the protocol's messages: schemas, diagnostics, paths, values.

use std::time::SystemTime;

use super::diagnostics::Step;
use super::schema::{Kind, Parameter, Signature, object_type};
use super::{
    Attribute, Diagnostic, Diagnostics, IdentityAttribute, Path, Schema, Severity, Type, Value,
};
use crate::protocol::tfplugin6 as pb;
use crate::protocol::value::{CodecError, CodecStep};
use crate::protocol::visible::{cut, one_line, visible};

/// Ends every sentence about a fault of ours.
pub(super) const BUG: &str = "This is a bug in the provider; please report it with the log.";

/// A fault of ours.
pub(super) fn bug(summary: impl Into<String>, detail: &str) -> Diagnostic {
    Diagnostic::error(summary, format!("{detail} {BUG}"))
}

/// The type of the objects of a schema.
pub(super) fn type_of(schema: &Schema) -> Type {
    object_type(&schema.attributes)
}

/// The type of an identity.
pub(super) fn identity_type(identity: &[IdentityAttribute]) -> Type {
    let attributes = identity
        .iter()
        .map(|attribute| (attribute.name.to_owned(), attribute.kind.clone()));
    Type::Object(attributes.collect())
}

/// Reads a value; none at all is null.
pub(super) fn decode(value: Option<&pb::DynamicValue>, kind: &Type) -> Result<Value, Diagnostics> {
    let decoded = match value {
        Some(value) if !value.msgpack.is_empty() => Value::from_msgpack(&value.msgpack, kind),
        Some(value) if !value.json.is_empty() => Value::from_json(&value.json, kind),
        _ => return Ok(Value::Null),
    };
    decoded.map_err(|error| {
        let detail = format!(
            "What Terraform sent is not a value of the schema: {}.",
            error.message
        );
        at_step(bug("Could not read a value", &detail), error).into()
    })
}

/// Writes a value, as MessagePack.
pub(super) fn encode(value: &Value, kind: &Type) -> Result<Option<pb::DynamicValue>, Diagnostics> {
    match value.to_msgpack(kind) {
        Ok(msgpack) => Ok(Some(pb::DynamicValue {
            msgpack,
            json: Vec::new(),
        })),
        Err(error) => {
            let detail = format!(
                "The answer is not a value of the schema: {}.",
                error.message
            );
            Err(at_step(bug("Could not write a value", &detail), error).into())
        }
    }
}

/// Reads stored state or a stored identity: keys that the type lacks are skipped, missing ones are
/// null.
pub(super) fn decode_stored(json: &[u8], kind: &Type) -> Result<Value, Diagnostics> {
    Value::from_json(json, kind).map_err(|error| {
        Diagnostic::error(
            "Could not read the stored state",
            format!(
                "It does not have the form of its schema version: {error}. Restore the state from a backup, or remove the object from \
                 the state and import it."
            ),
        )
        .into()
    })
}

fn at_step(diagnostic: Diagnostic, error: CodecError) -> Diagnostic {
    let steps = error.path.into_iter().map(|step| match step {
        CodecStep::Attribute(name) => Step::Attribute(name),
        CodecStep::Index(index) => Step::Index(i64::try_from(index).unwrap_or(i64::MAX)),
        CodecStep::Key(key) => Step::Key(key),
    });
    diagnostic.at(Path(steps.collect()))
}

/// A text as core shows it: whatever came into it from outside, a terminal shows it and obeys
/// nothing.
pub(super) fn shown(text: &str) -> String {
    cut(&visible(text), DETAIL_CHARS).into_owned()
}

/// More than any that we write, and less than what makes a terminal, or a call, too long.
const SUMMARY_CHARS: usize = 200;
const DETAIL_CHARS: usize = 32_000;

/// Problems as core shows them.
pub(super) fn diagnostics(problems: Diagnostics) -> Vec<pb::Diagnostic> {
    let diagnostic = |problem: Diagnostic| pb::Diagnostic {
        severity: match problem.severity {
            Severity::Error => pb::diagnostic::Severity::Error.into(),
            Severity::Warning => pb::diagnostic::Severity::Warning.into(),
        },
        summary: cut(&one_line(&problem.summary), SUMMARY_CHARS).into_owned(),
        detail: shown(&problem.detail),
        attribute: problem
            .path
            .filter(|path| !path.0.is_empty())
            .map(|path| attribute_path(&path)),
    };
    problems.bounded().0.into_iter().map(diagnostic).collect()
}

/// A path as core takes it.
pub(super) fn attribute_path(path: &Path) -> pb::AttributePath {
    use pb::attribute_path::step::Selector;
    let step = |step: &Step| pb::attribute_path::Step {
        selector: Some(match step {
            Step::Attribute(name) => Selector::AttributeName(name.clone()),
            Step::Index(index) => Selector::ElementKeyInt(*index),
            Step::Key(key) => Selector::ElementKeyString(key.clone()),
        }),
    };
    pb::AttributePath {
        steps: path.0.iter().map(step).collect(),
    }
}

/// A schema of a resource, data source or ephemeral resource.
pub(super) fn schema(schema: &Schema) -> pb::Schema {
    pb::Schema {
        version: schema.version,
        block: Some(pb::schema::Block {
            version: schema.version,
            attributes: schema.attributes.iter().map(attribute).collect(),
            description: schema.description.to_owned(),
            description_kind: pb::StringKind::Markdown.into(),
            ..pb::schema::Block::default()
        }),
    }
}

/// The schema of the provider block, where nothing is computed: its defaults are filled in when it
/// is configured.
pub(super) fn provider_schema(provider: &Schema) -> pb::Schema {
    fn plain(attributes: &mut [pb::schema::Attribute]) {
        for attribute in attributes {
            attribute.computed = false;
            if let Some(nested) = &mut attribute.nested_type {
                plain(&mut nested.attributes);
            }
        }
    }
    let mut schema = schema(provider);
    if let Some(block) = &mut schema.block {
        plain(&mut block.attributes);
    }
    schema
}

fn attribute(attribute: &Attribute) -> pb::schema::Attribute {
    use pb::schema::object::NestingMode;
    let nested = |attributes: &[Attribute], nesting: NestingMode| {
        Some(pb::schema::Object {
            attributes: attributes.iter().map(self::attribute).collect(),
            nesting: nesting.into(),
            ..pb::schema::Object::default()
        })
    };
    let (kind, nested_type) = match &attribute.kind {
        Kind::Plain(kind) => (kind.to_json(), None),
        Kind::Object(inner) => (Vec::new(), nested(inner, NestingMode::Single)),
        Kind::ListOf(inner) => (Vec::new(), nested(inner, NestingMode::List)),
        Kind::MapOf(inner) => (Vec::new(), nested(inner, NestingMode::Map)),
    };
    pb::schema::Attribute {
        name: attribute.name.to_owned(),
        r#type: kind,
        nested_type,
        description: attribute.description.clone(),
        required: attribute.required,
        optional: attribute.optional,
        computed: attribute.computed,
        sensitive: attribute.sensitive,
        description_kind: pb::StringKind::Markdown.into(),
        deprecated: false,
        write_only: attribute.write_only,
        deprecation_message: String::new(),
    }
}

/// The schema of an identity.
pub(super) fn identity_schema(identity: &[IdentityAttribute]) -> pb::ResourceIdentitySchema {
    let attribute =
        |attribute: &IdentityAttribute| pb::resource_identity_schema::IdentityAttribute {
            name: attribute.name.to_owned(),
            r#type: attribute.kind.to_json(),
            required_for_import: attribute.required_for_import,
            optional_for_import: !attribute.required_for_import,
            description: attribute.description.to_owned(),
        };
    pb::ResourceIdentitySchema {
        version: 0,
        identity_attributes: identity.iter().map(attribute).collect(),
    }
}

/// A function's definition.
pub(super) fn function(signature: &Signature) -> pb::Function {
    let parameter = |parameter: &Parameter| pb::function::Parameter {
        name: parameter.name.to_owned(),
        r#type: parameter.kind.to_json(),
        allow_null_value: parameter.allow_null,
        allow_unknown_values: false,
        description: parameter.description.to_owned(),
        description_kind: pb::StringKind::Markdown.into(),
    };
    pb::Function {
        parameters: signature.parameters.iter().map(parameter).collect(),
        variadic_parameter: signature.variadic.as_ref().map(parameter),
        r#return: Some(pb::function::Return {
            r#type: signature.result.to_json(),
        }),
        summary: signature.summary.to_owned(),
        description: signature.description.to_owned(),
        description_kind: pb::StringKind::Markdown.into(),
        deprecation_message: String::new(),
    }
}

/// A moment as the protocol says it.
pub(super) fn timestamp(moment: SystemTime) -> prost_types::Timestamp {
    moment.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_is_shown_and_obeyed_by_no_terminal() {
        let problem = Diagnostic::error(
            "Could not\u{1b}[2J create\nmachine w-1",
            format!(
                "The cloud said \u{202e}no\u{7}:\r\n\u{1b}]0;title\u{7}{}",
                "x".repeat(100_000)
            ),
        );
        let shown = diagnostics(problem.into());
        assert_eq!(shown[0].summary, "Could not create machine w-1");
        let detail = &shown[0].detail;
        assert!(
            detail.starts_with("The cloud said \u{fffd}no\u{fffd}:\nxxx"),
            "{}",
            &detail[..40]
        );
        assert!(detail.ends_with("more characters)") && detail.len() < 33_000);
    }
}
