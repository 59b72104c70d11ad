//! Values and types as a core sends and reads them.

use flatcar::protocol::tfplugin6::{self as pb, DynamicValue};
use flatcar::protocol::value::{Type, Value};

/// The object type of a schema's block, nested attributes and blocks included.
pub(crate) fn object_type(schema: &pb::Schema) -> Type {
    block_type(schema.block.as_ref().expect("a schema has a block"))
}

fn block_type(block: &pb::schema::Block) -> Type {
    use pb::schema::nested_block::NestingMode;

    let attributes = block.attributes.iter().map(attribute_type);
    let blocks = block.block_types.iter().map(|nested| {
        let inner = Box::new(block_type(
            nested.block.as_ref().expect("a nested block has a block"),
        ));
        let kind = match nested.nesting() {
            NestingMode::List => Type::List(inner),
            NestingMode::Set => Type::Set(inner),
            NestingMode::Map => Type::Map(inner),
            NestingMode::Single | NestingMode::Group | NestingMode::Invalid => *inner,
        };
        (nested.type_name.clone(), kind)
    });
    Type::Object(attributes.chain(blocks).collect())
}

fn attribute_type(attribute: &pb::schema::Attribute) -> (String, Type) {
    use pb::schema::object::NestingMode;

    let kind = match &attribute.nested_type {
        None => Type::from_json(&attribute.r#type).expect("a type"),
        Some(nested) => {
            let inner = Box::new(Type::Object(
                nested.attributes.iter().map(attribute_type).collect(),
            ));
            match nested.nesting() {
                NestingMode::List => Type::List(inner),
                NestingMode::Set => Type::Set(inner),
                NestingMode::Map => Type::Map(inner),
                NestingMode::Single | NestingMode::Invalid => *inner,
            }
        }
    };
    (attribute.name.clone(), kind)
}

/// As core sends a value.
pub(crate) fn dynamic(value: &Value, kind: &Type) -> DynamicValue {
    DynamicValue {
        msgpack: value.to_msgpack(kind).expect("a value of the type"),
        json: Vec::new(),
    }
}

/// As core reads a value; none is null.
pub(crate) fn value(dynamic: Option<&DynamicValue>, kind: &Type) -> Value {
    match dynamic {
        None => Value::Null,
        Some(dynamic) if dynamic.msgpack.is_empty() => Value::Null,
        Some(dynamic) => Value::from_msgpack(&dynamic.msgpack, kind).expect("a value of the type"),
    }
}

/// An object of the type: the attributes from JSON, all others null.
pub(crate) fn object(json: &str, kind: &Type) -> Value {
    Value::from_json(json.as_bytes(), kind).expect("an object of the type")
}
