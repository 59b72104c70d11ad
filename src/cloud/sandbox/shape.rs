//! What a user says about one machine of the sandbox: the attribute `sandbox` of the group as
//! schema, as struct, and what can be checked without looking into the directory.

use std::collections::BTreeMap;

pub(super) use crate::provider::schema::{SOME_WORD, is_some_word};
use crate::provider::{Attribute, Diagnostic, Diagnostics, Path, Type, Value};

/// The attribute `sandbox` of the group: one machine's shape.
pub(super) fn group_schema() -> Attribute {
    Attribute::object(
        "sandbox",
        "Machines that exist in a directory only: for demonstrations and tests of modules.",
        vec![
            Attribute::string(
                "boot_time",
                "Time that a machine is pending before it runs.",
            )
            .default("0s")
            .duration(),
            Attribute::string("zone", "Zone that the machines are in.")
                .default("sandbox-a")
                .pattern(SOME_WORD, is_some_word),
            Attribute::string("size", "Size of a machine; any word.")
                .default("small")
                .pattern(SOME_WORD, is_some_word),
            Attribute::map(
                "tags",
                "Tags of the machines; changed in place.",
                Type::String,
            )
            .optional(),
        ],
    )
    .optional()
}

/// The attribute `sandbox` of the group, as a struct.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Shape {
    pub(super) boot_time: String,
    pub(super) zone: String,
    pub(super) size: String,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

/// What the schema cannot say: keys of tags.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let Value::Map(shape) = shape else {
        return problems;
    };
    if let Some(Value::Map(tags)) = shape.get("tags") {
        for key in tags.keys().filter(|key| key.trim().is_empty()) {
            let detail = format!(
                "The key is {key:?}, and a tag's key has at least one character that is no blank."
            );
            problems
                .push(Diagnostic::error("Tag has no key", detail).at(Path::of("tags").key(key)));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::provider::convert::to_value;
    use crate::provider::schema::Kind as AttributeKind;

    #[test]
    fn what_is_no_word_is_refused_on_its_attribute() {
        let AttributeKind::Object(attributes) = group_schema().kind else {
            unreachable!()
        };
        let said_by_schema = |name: &str, value: &Value| {
            let attribute = attributes.iter().find(|known| known.name == name).unwrap();
            let checks = attribute.checks.iter();
            Diagnostics(
                checks
                    .flat_map(|check| check(value, &Path::of(name)).0)
                    .collect(),
            )
        };
        let cases: [(&str, Json, &[&str]); 8] = [
            ("zone", json!(""), &["zone"]),
            ("zone", json!("sandbox-b"), &[]),
            ("size", json!(" "), &["size"]),
            ("size", json!("large"), &[]),
            ("tags", json!({"": "x", "a": ""}), &["tags[\"\"]"]),
            ("tags", json!({" ": "x"}), &["tags[\" \"]"]),
            ("tags", json!({"a": "b"}), &[]),
            ("tags", Json::Null, &[]),
        ];
        for (name, value, paths) in cases {
            let value = to_value(&value);
            let mut problems = said_by_schema(name, &value);
            problems.extend(validate(&Value::Map(
                [(name.to_owned(), value.clone())].into(),
            )));
            let found: Vec<String> = problems
                .0
                .iter()
                .filter_map(|problem| Some(problem.path.as_ref()?.to_string()))
                .collect();
            assert_eq!(found, paths, "{name} = {value:?}: {problems:?}");
        }
    }
}
