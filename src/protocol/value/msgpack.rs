//! MessagePack by type. In: `82 a1 61 01 a1 62 d4 00 00` and `object({a = number, b = string})`;
//! out: `{a: 1, b: unknown}`.
//!
//! Lengths in headers are believed only as far as bytes follow, and nesting is bounded.

use std::collections::BTreeMap;

use rmp::Marker;
use rmp::{decode, encode as write};

use super::{CodecError, CodecStep, MAX_DEPTH, Number, Refinement, Type, Value};

pub(super) fn decode(bytes: &[u8], kind: &Type) -> Result<Value, CodecError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(kind, MAX_DEPTH)?;
    if !reader.rest.is_empty() {
        return Err(CodecError::new("bytes follow the end of the value"));
    }
    Ok(value)
}

pub(super) fn encode(value: &Value, kind: &Type) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    put(&mut out, value, kind, MAX_DEPTH)?;
    Ok(out)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, kind: &Type, depth: usize) -> Result<Value, CodecError> {
        let depth = depth.checked_sub(1).ok_or_else(CodecError::too_deep)?;
        let marker = self.peek()?;
        // Unknown, whatever the number of the extension: newer cores may refine in ways that we do
        // not know.
        if matches!(family(marker), Family::Ext) {
            return self.unknown();
        }
        if marker == Marker::Null {
            self.rest = &self.rest[1..];
            return Ok(Value::Null);
        }
        match kind {
            Type::Bool => match marker {
                Marker::True | Marker::False => {
                    self.rest = &self.rest[1..];
                    Ok(Value::Bool(marker == Marker::True))
                }
                _ => Err(mismatch(kind, marker)),
            },
            Type::Number => self.number(marker).map(Value::Number),
            Type::String => Ok(Value::String(self.text(kind)?.to_owned())),
            Type::List(element) | Type::Set(element) => {
                let elements =
                    (0..self.array(kind)?).map(|index| self.element(element, index, depth));
                elements.collect::<Result<_, _>>().map(Value::List)
            }
            Type::Tuple(kinds) => {
                let length = self.array(kind)?;
                if length != kinds.len() {
                    let wanted = kinds.len();
                    return Err(CodecError::new(format!(
                        "{wanted} elements are required, not {length}"
                    )));
                }
                let elements = kinds.iter().enumerate();
                let elements = elements.map(|(index, kind)| self.element(kind, index, depth));
                elements.collect::<Result<_, _>>().map(Value::List)
            }
            Type::Map(element) => {
                let mut entries = BTreeMap::new();
                for _ in 0..self.map(kind)? {
                    let key = self.text(&Type::String)?.to_owned();
                    let value = self
                        .value(element, depth)
                        .map_err(|error| error.under(CodecStep::Key(key.clone())))?;
                    entries.insert(key, value);
                }
                Ok(Value::Map(entries))
            }
            Type::Object(attributes) => self.object(kind, attributes, depth),
            Type::Dynamic => self.dynamic(kind, depth),
        }
    }

    fn element(&mut self, kind: &Type, index: usize, depth: usize) -> Result<Value, CodecError> {
        self.value(kind, depth)
            .map_err(|error| error.under(CodecStep::Index(index)))
    }

    fn object(
        &mut self,
        kind: &Type,
        attributes: &BTreeMap<String, Type>,
        depth: usize,
    ) -> Result<Value, CodecError> {
        let mut entries = BTreeMap::new();
        for _ in 0..self.map(kind)? {
            let name = self.text(&Type::String)?.to_owned();
            let at = |error: CodecError| error.under(CodecStep::Attribute(name.clone()));
            let Some(kind) = attributes.get(&name) else {
                return Err(at(CodecError::new("there is no such attribute")));
            };
            let value = self.value(kind, depth).map_err(at)?;
            entries.insert(name, value);
        }
        match attributes.keys().find(|name| !entries.contains_key(*name)) {
            Some(missing) => Err(CodecError::new("the attribute is missing")
                .under(CodecStep::Attribute(missing.clone()))),
            None => Ok(Value::Map(entries)),
        }
    }

    /// `[type as JSON, value]`
    fn dynamic(&mut self, kind: &Type, depth: usize) -> Result<Value, CodecError> {
        if self.array(kind)? != 2 {
            return Err(mismatch(kind, Marker::FixArray(0)));
        }
        let marker = self.peek()?;
        let inner = if matches!(family(marker), Family::Bin) {
            let length = decode::read_bin_len(&mut self.rest).map_err(|_| truncated())?;
            Type::from_json(self.take(length)?)?
        } else {
            Type::from_json(self.text(kind)?.as_bytes())?
        };
        let value = self.value(&inner, depth)?;
        Ok(Value::Dynamic(Box::new(inner), Box::new(value)))
    }

    fn unknown(&mut self) -> Result<Value, CodecError> {
        let meta = decode::read_ext_meta(&mut self.rest).map_err(|_| truncated())?;
        let body = self.take(meta.size)?;
        let refined = meta.typeid == REFINED_UNKNOWN && says_something(body);
        Ok(Value::Unknown(Refinement(refined.then(|| body.to_vec()))))
    }

    fn number(&mut self, marker: Marker) -> Result<Number, CodecError> {
        match family(marker) {
            Family::Int if marker == Marker::U64 => decode::read_u64(&mut self.rest)
                .map(Number::from)
                .map_err(|_| truncated()),
            Family::Int => decode::read_int::<i64, _>(&mut self.rest)
                .map(Number::Int)
                .map_err(|_| truncated()),
            Family::Float => {
                let float = if marker == Marker::F32 {
                    decode::read_f32(&mut self.rest).map(f64::from)
                } else {
                    decode::read_f64(&mut self.rest)
                };
                match float {
                    Ok(float) if float.is_nan() => {
                        Err(CodecError::new("a number is required, not NaN"))
                    }
                    Ok(float) => Ok(Number::Float(float)),
                    Err(_) => Err(truncated()),
                }
            }
            Family::Str => Number::parse(self.text(&Type::Number)?)
                .ok_or_else(|| CodecError::new("a number is required, and this text is none")),
            _ => Err(mismatch(&Type::Number, marker)),
        }
    }

    fn text(&mut self, kind: &Type) -> Result<&'a str, CodecError> {
        let marker = self.peek()?;
        if !matches!(family(marker), Family::Str) {
            return Err(mismatch(kind, marker));
        }
        let length = decode::read_str_len(&mut self.rest).map_err(|_| truncated())?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| CodecError::new("the text is not UTF-8"))
    }

    fn array(&mut self, kind: &Type) -> Result<usize, CodecError> {
        let marker = self.peek()?;
        if !matches!(family(marker), Family::Array) {
            return Err(mismatch(kind, marker));
        }
        let length = decode::read_array_len(&mut self.rest).map_err(|_| truncated())?;
        self.plausible(length, 1)
    }

    fn map(&mut self, kind: &Type) -> Result<usize, CodecError> {
        let marker = self.peek()?;
        if !matches!(family(marker), Family::Map) {
            return Err(mismatch(kind, marker));
        }
        let length = decode::read_map_len(&mut self.rest).map_err(|_| truncated())?;
        self.plausible(length, 2)
    }

    /// A length is refused at once when fewer bytes follow than that many elements need.
    fn plausible(&self, length: u32, bytes_each: usize) -> Result<usize, CodecError> {
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.rest.len() / bytes_each)
            .ok_or_else(truncated)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], CodecError> {
        let (head, tail) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or_else(truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn peek(&self) -> Result<Marker, CodecError> {
        self.rest
            .first()
            .copied()
            .map(Marker::from_u8)
            .ok_or_else(truncated)
    }
}

fn put(out: &mut Vec<u8>, value: &Value, kind: &Type, depth: usize) -> Result<(), CodecError> {
    let depth = depth.checked_sub(1).ok_or_else(CodecError::too_deep)?;
    match (value, kind) {
        (Value::Null, _) => write::write_nil(out).map_err(unwritable)?,
        (Value::Unknown(Refinement(Some(body))), _) if says_something(body) => {
            write::write_ext_meta(out, length(body.len())?, REFINED_UNKNOWN).map_err(unwritable)?;
            out.extend_from_slice(body);
        }
        (Value::Unknown(_), _) => out.extend_from_slice(&PLAIN_UNKNOWN),
        (Value::Bool(bool), Type::Bool) => write::write_bool(out, *bool).map_err(unwritable)?,
        (Value::Number(number), Type::Number) => put_number(out, number)?,
        (Value::String(text), Type::String) => write::write_str(out, text).map_err(unwritable)?,
        (Value::List(elements), Type::List(kind) | Type::Set(kind)) => {
            write::write_array_len(out, length(elements.len())?).map_err(unwritable)?;
            for (index, element) in elements.iter().enumerate() {
                put(out, element, kind, depth)
                    .map_err(|error| error.under(CodecStep::Index(index)))?;
            }
        }
        (Value::List(elements), Type::Tuple(kinds)) if elements.len() == kinds.len() => {
            write::write_array_len(out, length(elements.len())?).map_err(unwritable)?;
            for (index, (element, kind)) in elements.iter().zip(kinds).enumerate() {
                put(out, element, kind, depth)
                    .map_err(|error| error.under(CodecStep::Index(index)))?;
            }
        }
        (Value::Map(entries), Type::Map(kind)) => {
            write::write_map_len(out, length(entries.len())?).map_err(unwritable)?;
            for (key, element) in entries {
                write::write_str(out, key).map_err(unwritable)?;
                put(out, element, kind, depth)
                    .map_err(|error| error.under(CodecStep::Key(key.clone())))?;
            }
        }
        (Value::Map(entries), Type::Object(attributes)) => {
            write::write_map_len(out, length(attributes.len())?).map_err(unwritable)?;
            for (name, value, kind) in super::attributes(entries, attributes)? {
                write::write_str(out, name).map_err(unwritable)?;
                put(out, value, kind, depth)
                    .map_err(|error| error.under(CodecStep::Attribute(name.clone())))?;
            }
        }
        (Value::Dynamic(inner, value), Type::Dynamic) => {
            write::write_array_len(out, 2).map_err(unwritable)?;
            write::write_bin(out, &inner.to_json()).map_err(unwritable)?;
            put(out, value, inner, depth)?;
        }
        _ => return Err(CodecError::mismatch(kind, value.word())),
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, number: &Number) -> Result<(), CodecError> {
    match number {
        Number::Int(int) => write::write_sint(out, *int).map(drop).map_err(unwritable),
        // Core's own encoder knows no unsigned integers; from 2^63 on it writes the digits.
        Number::Uint(uint) => write::write_str(out, &uint.to_string()).map_err(unwritable),
        Number::Float(float) if float.is_nan() => {
            Err(CodecError::new("a number is required, not NaN"))
        }
        Number::Float(float) => write::write_f64(out, *float).map_err(unwritable),
        Number::Decimal(text) => write::write_str(out, text).map_err(unwritable),
    }
}

/// An empty map refines nothing, and core refuses it.
fn says_something(body: &[u8]) -> bool {
    !matches!(body, [] | [0x80])
}

fn length(length: usize) -> Result<u32, CodecError> {
    u32::try_from(length).map_err(|_| CodecError::new("this is longer than MessagePack can say"))
}

fn unwritable<E>(_: E) -> CodecError {
    CodecError::new("the value could not be written")
}

fn truncated() -> CodecError {
    CodecError::new("the value ends too early")
}

fn mismatch(kind: &Type, marker: Marker) -> CodecError {
    let found = match family(marker) {
        Family::Null => "null",
        Family::Bool => "a bool",
        Family::Int | Family::Float => "a number",
        Family::Str => "a string",
        Family::Bin => "bytes",
        Family::Array => "a list",
        Family::Map => "a map",
        Family::Ext => "an unknown",
        Family::Reserved => "a reserved byte",
    };
    CodecError::mismatch(kind, found)
}

enum Family {
    Null,
    Bool,
    Int,
    Float,
    Str,
    Bin,
    Array,
    Map,
    Ext,
    Reserved,
}

fn family(marker: Marker) -> Family {
    use Marker as M;
    match marker {
        M::Null => Family::Null,
        M::True | M::False => Family::Bool,
        M::FixPos(_)
        | M::FixNeg(_)
        | M::U8
        | M::U16
        | M::U32
        | M::U64
        | M::I8
        | M::I16
        | M::I32
        | M::I64 => Family::Int,
        M::F32 | M::F64 => Family::Float,
        M::FixStr(_) | M::Str8 | M::Str16 | M::Str32 => Family::Str,
        M::Bin8 | M::Bin16 | M::Bin32 => Family::Bin,
        M::FixArray(_) | M::Array16 | M::Array32 => Family::Array,
        M::FixMap(_) | M::Map16 | M::Map32 => Family::Map,
        M::FixExt1
        | M::FixExt2
        | M::FixExt4
        | M::FixExt8
        | M::FixExt16
        | M::Ext8
        | M::Ext16
        | M::Ext32 => Family::Ext,
        M::Reserved => Family::Reserved,
    }
}

const PLAIN_UNKNOWN: [u8; 3] = [0xd4, 0x00, 0x00];

/// Number of the extension that carries a [`Refinement`].
const REFINED_UNKNOWN: i8 = 12;
