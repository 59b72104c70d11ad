//! Both codecs over arbitrary types and values: there and back, as another reader sees it, and
//! damaged.

use proptest::prelude::*;

use super::tests::shown;
use super::{CodecError, Number, Refinement, Type, Value};

fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Bool),
        Just(Type::Number),
        Just(Type::String),
        Just(Type::Dynamic)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|kind| Type::List(Box::new(kind))),
            inner.clone().prop_map(|kind| Type::Set(Box::new(kind))),
            inner.clone().prop_map(|kind| Type::Map(Box::new(kind))),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Type::Tuple),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(Type::Object),
        ]
    })
}

fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::Int),
        any::<u64>().prop_map(Number::from),
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(Number::Float),
        "-?[0-9]{1,40}(\\.[0-9]{1,40})?(e-?[0-9]{1,3})?"
            .prop_map(|text| Number::parse(&text).unwrap()),
    ]
}

fn any_value(kind: &Type, unknowns: bool) -> BoxedStrategy<Value> {
    let known = match kind {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Number => any_number().prop_map(Value::Number).boxed(),
        Type::String => any::<String>().prop_map(Value::String).boxed(),
        Type::Dynamic => prop_oneof![Just(Type::Number), Just(Type::List(Box::new(Type::String)))]
            .prop_flat_map(move |kind| {
                any_value(&kind, unknowns)
                    .prop_map(move |value| Value::Dynamic(Box::new(kind.clone()), Box::new(value)))
            })
            .boxed(),
        Type::List(kind) | Type::Set(kind) => {
            prop::collection::vec(any_value(kind, unknowns), 0..6)
                .prop_map(Value::List)
                .boxed()
        }
        Type::Map(kind) => {
            prop::collection::btree_map(any::<String>(), any_value(kind, unknowns), 0..6)
                .prop_map(Value::Map)
                .boxed()
        }
        Type::Tuple(kinds) => kinds
            .iter()
            .map(|kind| any_value(kind, unknowns))
            .collect::<Vec<_>>()
            .prop_map(Value::List)
            .boxed(),
        Type::Object(attributes) => {
            let names: Vec<_> = attributes.keys().cloned().collect();
            let values: Vec<_> = attributes
                .values()
                .map(|kind| any_value(kind, unknowns))
                .collect();
            values
                .prop_map(move |values| Value::Map(names.clone().into_iter().zip(values).collect()))
                .boxed()
        }
    };
    let unknown = prop_oneof![
        Just(Value::unknown()),
        Just(Value::Unknown(Refinement::not_null())),
        prop::collection::vec(any::<u8>(), 2..300)
            .prop_map(|body| Value::Unknown(Refinement(Some(body)))),
    ];
    if unknowns {
        prop_oneof![6 => known, 1 => Just(Value::Null), 1 => unknown].boxed()
    } else {
        prop_oneof![7 => known, 1 => Just(Value::Null)].boxed()
    }
}

fn typed(unknowns: bool) -> impl Strategy<Value = (Type, Value)> {
    any_type().prop_flat_map(move |kind| {
        any_value(&kind, unknowns).prop_map(move |value| (kind.clone(), value))
    })
}

proptest! {
    #[test]
    fn msgpack_there_and_back_is_the_same((kind, value) in typed(true)) {
        let bytes = value.to_msgpack(&kind).unwrap();
        let back = Value::from_msgpack(&bytes, &kind).unwrap();
        prop_assert!(back == value, "{} is not {}", shown(&back), shown(&value));
        prop_assert_eq!(back.to_msgpack(&kind).unwrap(), bytes);
    }

    #[test]
    fn another_reader_sees_one_whole_message((kind, value) in typed(true)) {
        let bytes = value.to_msgpack(&kind).unwrap();
        let mut rest = bytes.as_slice();
        let other = rmpv::decode::read_value(&mut rest).unwrap();
        prop_assert!(rest.is_empty());
        // What another writer makes of it (the shortest forms too) is what ours made.
        let mut again = Vec::new();
        rmpv::encode::write_value(&mut again, &other).unwrap();
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn json_there_and_back_is_the_same((kind, value) in typed(false)) {
        let text = value.to_json(&kind).unwrap();
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        let back = Value::from_json(text.as_bytes(), &kind).unwrap();
        prop_assert!(back == value, "{} is not {}", shown(&back), shown(&value));
    }

    #[test]
    fn types_there_and_back_are_the_same(kind in any_type()) {
        prop_assert_eq!(Type::from_json(&kind.to_json()).unwrap(), kind);
    }

    #[test]
    fn what_is_read_can_be_written((kind, bytes) in (any_type(), prop::collection::vec(any::<u8>(), 0..64))) {
        let decoded: [Result<Value, CodecError>; 2] = [Value::from_msgpack(&bytes, &kind), Value::from_json(&bytes, &kind)];
        prop_assert!(decoded.iter().flatten().all(|value| value.to_msgpack(&kind).is_ok()));
    }

    #[test]
    fn damaged_messages_are_refused_or_read_as_something_else(((kind, value), at, byte) in (typed(true), any::<prop::sample::Index>(), any::<u8>())) {
        let mut bytes = value.to_msgpack(&kind).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Value::from_msgpack(&bytes, &kind) {
            prop_assert!(read.to_msgpack(&kind).is_ok());
        }
        bytes.truncate(at);
        prop_assert!(Value::from_msgpack(&bytes, &kind).is_err());
    }
}
