//! What tells a group from every other one, for `import { identity = { ... } }`.

use super::Fields;
use crate::provider::{Attr, IdentityAttribute, Type, Value};

/// The schema of a group's identity.
pub(crate) fn identity_schema() -> Vec<IdentityAttribute> {
    let text = |name, description, required_for_import| IdentityAttribute {
        name,
        kind: Type::String,
        description,
        required_for_import,
    };
    vec![
        text("cloud", "Name of the cloud.", true),
        text(
            "scope",
            "Where on the cloud, such as account and region.",
            true,
        ),
        text("cluster", "Name of the cluster.", true),
        text("name", "Name of the group.", true),
        text("uid", "Tells groups of one name apart.", false),
    ]
}

/// The identity of a stored group.
pub(crate) fn identity(fields: &Fields) -> Value {
    let text = |value: &Attr<String>| match value {
        Attr::Known(text) => Value::String(text.clone()),
        Attr::Null | Attr::Unknown => Value::Null,
    };
    let pairs = [
        ("cloud", text(&fields.cloud)),
        ("scope", text(&fields.scope)),
        ("cluster", text(&fields.cluster)),
        ("name", text(&fields.name)),
        ("uid", text(&fields.uid)),
    ];
    Value::Map(pairs.map(|(key, value)| (key.to_owned(), value)).into())
}
