//! Both codecs: exact bytes, and what they refuse.

use std::collections::BTreeMap;

use super::{Number, Refinement, Type, Value};

fn object(attributes: &[(&str, Type)]) -> Type {
    Type::Object(
        attributes
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), kind.clone()))
            .collect(),
    )
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    )
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[track_caller]
fn assert_same(found: &Value, wanted: &Value) {
    assert!(found == wanted, "{} is not {}", shown(found), shown(wanted));
}

/// With contents: these are no secrets.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("{number:?}"),
        Value::String(text) => format!("{text:?}"),
        Value::List(elements) => format!("{:?}", elements.iter().map(shown).collect::<Vec<_>>()),
        Value::Map(entries) => {
            format!(
                "{:?}",
                entries
                    .iter()
                    .map(|(key, value)| (key, shown(value)))
                    .collect::<BTreeMap<_, _>>()
            )
        }
        Value::Unknown(Refinement(body)) => format!("Unknown({body:x?})"),
        Value::Dynamic(kind, value) => format!("Dynamic({kind:?}, {})", shown(value)),
        Value::Bool(bool) => bool.to_string(),
        Value::Null => "Null".to_owned(),
    }
}

#[test]
fn values_have_the_bytes_that_core_writes() {
    let cases: [(&[u8], Type, Value); 19] = [
        (b"\xc0", Type::String, Value::Null),
        (b"\xc0", Type::Dynamic, Value::Null),
        (b"\xd4\x00\x00", Type::String, Value::unknown()),
        (b"\xd4\x00\x00", Type::Dynamic, Value::unknown()),
        (
            b"\xc7\x07\x0c\x82\x01\xc2\x02\xa2ab",
            Type::String,
            Value::Unknown(Refinement(Some(b"\x82\x01\xc2\x02\xa2ab".to_vec()))),
        ),
        (
            b"\xc7\x03\x0c\x81\x01\xc2",
            Type::Bool,
            Value::Unknown(Refinement::not_null()),
        ),
        (
            b"\xd8\x0c\x81\x02\xadprefix-of-16b",
            Type::String,
            Value::Unknown(Refinement(Some(b"\x81\x02\xadprefix-of-16b".to_vec()))),
        ),
        (b"\xc3", Type::Bool, Value::Bool(true)),
        (b"\x07", Type::Number, Value::Number(Number::Int(7))),
        (
            b"\xd1\xff\x00",
            Type::Number,
            Value::Number(Number::Int(-256)),
        ),
        (
            b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00",
            Type::Number,
            Value::Number(Number::Float(0.5)),
        ),
        (
            b"\xa30.1",
            Type::Number,
            Value::Number(Number::Decimal("0.1".to_owned())),
        ),
        (b"\xa2hi", Type::String, text("hi")),
        (
            b"\x92\xa1a\xc0",
            Type::List(Box::new(Type::String)),
            Value::List(vec![text("a"), Value::Null]),
        ),
        (
            b"\x91\x01",
            Type::Set(Box::new(Type::Number)),
            Value::List(vec![Value::Number(Number::Int(1))]),
        ),
        (
            b"\x92\xc2\xa1a",
            Type::Tuple(vec![Type::Bool, Type::String]),
            Value::List(vec![Value::Bool(false), text("a")]),
        ),
        (
            b"\x81\xa1k\x01",
            Type::Map(Box::new(Type::Number)),
            map(&[("k", Value::Number(Number::Int(1)))]),
        ),
        (
            b"\x82\xa1a\x01\xa1b\xd4\x00\x00",
            object(&[("a", Type::Number), ("b", Type::String)]),
            map(&[
                ("a", Value::Number(Number::Int(1))),
                ("b", Value::unknown()),
            ]),
        ),
        (
            b"\x92\xc4\x08\"string\"\xa1x",
            Type::Dynamic,
            Value::Dynamic(Box::new(Type::String), Box::new(text("x"))),
        ),
    ];
    for (bytes, kind, value) in cases {
        assert_same(&Value::from_msgpack(bytes, &kind).unwrap(), &value);
        assert_eq!(value.to_msgpack(&kind).unwrap(), bytes, "{}", shown(&value));
    }
}

#[test]
fn integers_of_the_64th_bit_are_written_as_digits() {
    let value = Value::Number(Number::Uint(u64::MAX));
    let digits = b"\xb418446744073709551615";
    assert_eq!(value.to_msgpack(&Type::Number).unwrap(), digits);
    for bytes in [&digits[..], b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"] {
        assert_same(&Value::from_msgpack(bytes, &Type::Number).unwrap(), &value);
    }
}

#[test]
fn every_extension_is_an_unknown() {
    let bodies: [&[u8]; 7] = [
        b"\xd4\x00\x00",
        b"\xd4\x00\xff",
        b"\xd5\x05ab",
        b"\xc7\x00\x00",
        b"\xc7\x00\x0c",
        b"\xc7\x01\x0c\x80",
        b"\xc8\x00\x05\x7fabcde",
    ];
    let kinds = [
        Type::Bool,
        Type::Number,
        Type::String,
        Type::Dynamic,
        Type::List(Box::new(Type::String)),
        object(&[("a", Type::Bool)]),
    ];
    for bytes in bodies {
        for kind in &kinds {
            let value = Value::from_msgpack(bytes, kind).unwrap();
            assert_same(&value, &Value::unknown());
            assert_eq!(value.to_msgpack(kind).unwrap(), b"\xd4\x00\x00");
        }
    }
}

#[test]
fn malformed_messages_are_refused_with_their_path() {
    let strings = Type::List(Box::new(Type::String));
    let nested = object(&[("m", Type::Map(Box::new(strings.clone())))]);
    let deep = object(&[("a", Type::Tuple(vec![Type::Dynamic]))]);
    let cases: [(&[u8], &Type, &str); 19] = [
        (b"", &Type::String, "the value ends too early"),
        (b"\xa5hi", &Type::String, "the value ends too early"),
        (
            b"\xdd\xff\xff\xff\xff",
            &strings,
            "the value ends too early",
        ),
        (b"\xdf\xff\xff\xff\xff", &nested, "the value ends too early"),
        (
            b"\xdb\xff\xff\xff\xff",
            &Type::String,
            "the value ends too early",
        ),
        (
            b"\xc9\xff\xff\xff\xff\x00",
            &Type::String,
            "the value ends too early",
        ),
        (
            b"\xc1",
            &Type::String,
            "a string is required, not a reserved byte",
        ),
        (b"\xa1\xff", &Type::String, "the text is not UTF-8"),
        (
            b"\xc0\xc0",
            &Type::String,
            "bytes follow the end of the value",
        ),
        (b"\x01", &Type::String, "a string is required, not a number"),
        (
            b"\xa3two",
            &Type::Number,
            "a number is required, and this text is none",
        ),
        (
            b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
            &Type::Number,
            "a number is required, not NaN",
        ),
        (b"\x80", &nested, "m: the attribute is missing"),
        (
            b"\x82\xa1m\xc0\xa1x\xc0",
            &nested,
            "x: there is no such attribute",
        ),
        (
            b"\x81\xa1m\x81\xa1k\x92\xa1a\xc3",
            &nested,
            "m[\"k\"][1]: a string is required, not a bool",
        ),
        (
            b"\x81\xa1a\x91\x92\xc4\x06\"what\"\xc0",
            &deep,
            "a[0]: this is not a type",
        ),
        (
            b"\x81\xa1a\x91\xa1x",
            &deep,
            "a[0]: a value with its type is required, not a string",
        ),
        (b"\x81\xa1a\x90", &deep, "a: 1 elements are required, not 0"),
        (
            b"\x91\xc0",
            &Type::Tuple(vec![]),
            "0 elements are required, not 1",
        ),
    ];
    for (bytes, kind, wanted) in cases {
        let error = Value::from_msgpack(bytes, kind).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{bytes:x?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let layer = b"\x92\xa9\"dynamic\"";
    for (levels, fits) in [(100, true), (200, false), (10_000, false)] {
        let mut bytes = layer.repeat(levels);
        bytes.push(0xc0);
        assert_eq!(Value::from_msgpack(&bytes, &Type::Dynamic).is_ok(), fits);

        let mut json = "{\"type\":\"dynamic\",\"value\":".repeat(levels);
        json += "null";
        json += &"}".repeat(levels);
        assert_eq!(
            Value::from_json(json.as_bytes(), &Type::Dynamic).is_ok(),
            fits
        );
    }
}

#[test]
fn a_value_of_another_type_is_not_written() {
    let kind = object(&[("a", Type::String)]);
    for (value, wanted) in [
        (map(&[]), "a: the attribute is missing"),
        (
            map(&[("a", Value::Null), ("b", Value::Null)]),
            "b: there is no such attribute",
        ),
        (
            map(&[("a", Value::Bool(true))]),
            "a: a string is required, not a bool",
        ),
        (Value::List(vec![]), "an object is required, not a list"),
    ] {
        assert_eq!(value.to_msgpack(&kind).unwrap_err().to_string(), wanted);
        assert_eq!(value.to_json(&kind).unwrap_err().to_string(), wanted);
    }
    let unknown = map(&[("a", Value::unknown())]).to_json(&kind).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "a: the value is unknown, which JSON cannot say"
    );
}

#[test]
fn json_is_read_as_state_files_have_it() {
    let kind = object(&[
        ("name", Type::String),
        ("ratio", Type::Number),
        ("tags", Type::Map(Box::new(Type::String))),
        ("any", Type::Dynamic),
    ]);
    let state = br#" { "any": {"value":[true,"x"],"type":["tuple",["bool","string"]]}, "name" : "a\"\u00e9}",
        "gone": {"deep": [1, {"x": "]"}], "n": -1e9}, "ratio":0.1000000000000000055, "also_gone": null } "#;
    let value = Value::from_json(state, &kind).unwrap();
    let pair = Value::List(vec![Value::Bool(true), text("x")]);
    assert_same(
        &value,
        &map(&[
            ("name", text("a\"é}")),
            (
                "ratio",
                Value::Number(Number::Decimal("0.1000000000000000055".to_owned())),
            ),
            ("tags", Value::Null),
            (
                "any",
                Value::Dynamic(
                    Box::new(Type::Tuple(vec![Type::Bool, Type::String])),
                    Box::new(pair),
                ),
            ),
        ]),
    );
    assert_eq!(
        value.to_json(&kind).unwrap(),
        r#"{"any":{"value":[true,"x"],"type":["tuple",["bool","string"]]},"name":"a\"é}","ratio":0.1000000000000000055,"tags":null}"#
    );
}

#[test]
fn malformed_json_is_refused_with_its_path() {
    let kind = object(&[("l", Type::List(Box::new(Type::Number)))]);
    for (json, wanted) in [
        ("", "the value ends too early"),
        ("{", "a string is required here"),
        ("{\"l\"", "`:` is required here"),
        ("{\"l\":[1,2", "l: `,` is required here"),
        (
            "{\"l\":[1,\"a\"]}",
            "l[1]: a number is required, not a string",
        ),
        (
            "{\"l\":[1,1-1]}",
            "l[1]: a number is required, and this text is none",
        ),
        ("{\"l\":nul}", "l: null is required here"),
        ("{\"l\":[]} x", "text follows the end of the value"),
        ("{\"x\":}", "a value is required here"),
        ("{\"x\":[", "the value ends too early"),
        ("[]", "an object is required, not a list"),
    ] {
        let error = Value::from_json(json.as_bytes(), &kind).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{json}");
    }
    assert!(Value::from_json(b"\"\\x\"", &Type::String).is_err());
    assert!(Value::from_json(b"\"\xff\"", &Type::String).is_err());
}

#[test]
fn types_have_the_json_that_schemas_use() {
    for json in [
        r#""bool""#,
        r#""dynamic""#,
        r#"["list","string"]"#,
        r#"["set",["object",{"a":"number","b":["map","bool"]}]]"#,
        r#"["tuple",["string",["list","dynamic"]]]"#,
    ] {
        let kind = Type::from_json(json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(kind.to_json()).unwrap(), json);
    }
    for json in [
        r#""str""#,
        r#"["list"]"#,
        r#"["object",{"a":"bool"},["a"]]"#,
        "{}",
        "1",
        "",
        "[[[",
    ] {
        assert!(Type::from_json(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn numbers_keep_every_digit_and_compare_by_value() {
    for same in [
        vec!["1", "1.0", "10e-1", "0.1e1", "01", "+1"],
        vec!["0", "-0", "0.000", "0e5"],
        vec!["18446744073709551616", "1.8446744073709551616e19"],
        vec!["-0.1", "-0.10", "-1e-1"],
        vec!["1e400", "10e399", "0.01e402"],
    ] {
        for other in &same {
            assert_eq!(
                Number::parse(same[0]).unwrap(),
                Number::parse(other).unwrap(),
                "{other}"
            );
        }
    }
    let ascending = [
        "-1e2147483647",
        "-1e400",
        "-18446744073709551616",
        "-2",
        "-1.5",
        "-1e-400",
        "0",
        "1e-400",
        "0.1",
        "0.11",
        "0.5",
        "1",
        "9",
        "10",
        "9223372036854775808",
        "18446744073709551616",
        "1e400",
        "1e2147483647",
    ];
    let numbers = ascending.map(|text| Number::parse(text).unwrap());
    assert!(numbers.is_sorted_by(|a, b| a < b));
    for (number, text) in numbers.iter().zip(ascending) {
        let printed = Number::parse(&number.to_string()).unwrap();
        assert_eq!(&printed, number, "{text} is printed as {number}");
    }
    assert_eq!(Number::Float(1.0), Number::Int(1));
    assert_ne!(Number::Float(0.1), Number::parse("0.1").unwrap());
    assert_eq!(Number::Float(0.5), Number::parse("0.5").unwrap());
    assert!(Number::Float(f64::INFINITY) > numbers[numbers.len() - 1]);
    assert_eq!(Number::Float(3.0).as_i64(), Some(3));
    assert_eq!(Number::parse("1e3").unwrap().as_i64(), Some(1000));
    assert_eq!(Number::parse("1.5").unwrap().as_i64(), None);
    assert_eq!(Number::Uint(u64::MAX).as_u64(), Some(u64::MAX));
    assert_eq!(Number::Int(-1).as_u64(), None);
    for wrong in [
        "",
        "-",
        ".",
        "1.",
        ".5",
        "1e",
        "0x10",
        "1_000",
        "NaN",
        "inf",
        "1e99999999999",
        "1e9223372036854775807",
        "1e-9223372036854775808",
        "0.1e-9223372036854775808",
        " 1",
        "--1",
    ] {
        assert!(Number::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn debug_shows_no_contents() {
    let secret = map(&[
        ("password", text("hunter2")),
        ("pin", Value::Number(Number::Int(4711))),
        (
            "any",
            Value::Dynamic(Box::new(Type::String), Box::new(text("hunter2"))),
        ),
        (
            "soon",
            Value::Unknown(Refinement(Some(b"\x81\x02\xa7hunter2".to_vec()))),
        ),
    ]);
    let shown = format!("{secret:?} {secret:#?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("4711"),
        "{shown}"
    );
    assert!(shown.contains("password"));
}

/// One line each: type, MessagePack in hex, JSON or `-`, as go-cty 1.20.0 writes random values.
#[test]
fn go_cty_writes_the_same_bytes() {
    let cases = include_str!("go_cty.tsv");
    for line in cases.lines() {
        let [kind, msgpack, json] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let kind = Type::from_json(kind.as_bytes()).unwrap();
        let hex = |at: usize| u8::from_str_radix(&msgpack[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..msgpack.len()).step_by(2).map(hex).collect();
        let value = Value::from_msgpack(&bytes, &kind).unwrap();
        assert_eq!(value.to_msgpack(&kind).unwrap(), bytes, "{line}");
        if json == "-" {
            assert!(!value.is_wholly_known(), "{line}");
            continue;
        }
        assert_same(&Value::from_json(json.as_bytes(), &kind).unwrap(), &value);
        assert_same(
            &Value::from_json(value.to_json(&kind).unwrap().as_bytes(), &kind).unwrap(),
            &value,
        );
    }
}

#[test]
fn no_depth_costs_the_stack() {
    const DEPTH: usize = 100_000;
    let too_deep = "this is nested deeper than 128 levels";
    let packed = [b"\x92\xa9\"dynamic\"".repeat(DEPTH), b"\xc0".to_vec()].concat();
    let error = Value::from_msgpack(&packed, &Type::Dynamic).unwrap_err();
    assert_eq!(error.message, too_deep);

    let nested = |open: &str, close: &str| {
        format!("{}0{}", open.repeat(DEPTH), close.repeat(DEPTH)).into_bytes()
    };
    let dynamic = nested("{\"type\":\"dynamic\",\"value\":", "}");
    let error = Value::from_json(&dynamic, &Type::Dynamic).unwrap_err();
    assert_eq!(error.message, too_deep);
    assert!(Type::from_json(&nested("[\"list\",", "]")).is_err());
    let list = [b"[\"list\",".repeat(DEPTH), b"]".repeat(DEPTH)].concat();
    let of_lists = [
        b"\x92\xdb".to_vec(),
        u32::try_from(list.len()).unwrap().to_be_bytes().to_vec(),
        list,
        b"\xc0".to_vec(),
    ];
    let error = Value::from_msgpack(&of_lists.concat(), &Type::Dynamic).unwrap_err();
    assert_eq!(error.message, "this is not a type");

    // What the type lacks is stepped over.
    let state = [b"{\"gone\":".to_vec(), nested("[", "]"), b"}".to_vec()].concat();
    let kind = object(&[("a", Type::Bool)]);
    assert_same(
        &Value::from_json(&state, &kind).unwrap(),
        &map(&[("a", Value::Null)]),
    );

    let (mut value, mut kind) = (Value::Null, Type::Bool);
    for _ in 0..130 {
        (value, kind) = (Value::List(vec![value]), Type::List(Box::new(kind)));
    }
    assert_eq!(value.to_msgpack(&kind).unwrap_err().message, too_deep);
    assert_eq!(value.to_json(&kind).unwrap_err().message, too_deep);
}
