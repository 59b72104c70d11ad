//! JSON by type, as state files have it. In: `{"a":0.1}` and `object({a = number})`; out: `{a:
//! 0.1}`, digit by digit.
//!
//! The text is read here and not by `serde_json`, whose numbers are binary fractions.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{CodecError, CodecStep, MAX_DEPTH, Number, Type, Value};

pub(super) fn decode(text: &[u8], kind: &Type) -> Result<Value, CodecError> {
    let text = std::str::from_utf8(text).map_err(|_| CodecError::new("the text is not UTF-8"))?;
    let mut reader = Reader { rest: text };
    let value = reader.value(kind, MAX_DEPTH)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(CodecError::new("text follows the end of the value")),
    }
}

pub(super) fn encode(value: &Value, kind: &Type) -> Result<String, CodecError> {
    let mut out = String::new();
    put(&mut out, value, kind, MAX_DEPTH)?;
    Ok(out)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, kind: &Type, depth: usize) -> Result<Value, CodecError> {
        let depth = depth.checked_sub(1).ok_or_else(CodecError::too_deep)?;
        let first = self.peek();
        if first == Some('n') {
            self.word("null")?;
            return Ok(Value::Null);
        }
        match (kind, first) {
            (Type::Bool, Some('t')) => self.word("true").map(|()| Value::Bool(true)),
            (Type::Bool, Some('f')) => self.word("false").map(|()| Value::Bool(false)),
            (Type::Number, Some('-' | '0'..='9')) => self.number().map(Value::Number),
            (Type::String, Some('"')) => self.string().map(Value::String),
            (Type::List(element) | Type::Set(element), Some('[')) => {
                self.array(|_| Some(element), depth).map(Value::List)
            }
            (Type::Tuple(kinds), Some('[')) => {
                let elements = self.array(|index| kinds.get(index), depth)?;
                if elements.len() != kinds.len() {
                    let (wanted, found) = (kinds.len(), elements.len());
                    return Err(CodecError::new(format!(
                        "{wanted} elements are required, not {found}"
                    )));
                }
                Ok(Value::List(elements))
            }
            (Type::Map(element), Some('{')) => {
                let mut entries = BTreeMap::new();
                self.members(|reader, key| {
                    let value = reader
                        .value(element, depth)
                        .map_err(|error| error.under(CodecStep::Key(key.clone())))?;
                    entries.insert(key, value);
                    Ok(())
                })?;
                Ok(Value::Map(entries))
            }
            (Type::Object(attributes), Some('{')) => {
                let mut entries: BTreeMap<String, Value> = attributes
                    .keys()
                    .map(|name| (name.clone(), Value::Null))
                    .collect();
                self.members(|reader, name| match attributes.get(&name) {
                    Some(kind) => {
                        let value = reader
                            .value(kind, depth)
                            .map_err(|error| error.under(CodecStep::Attribute(name.clone())))?;
                        entries.insert(name, value);
                        Ok(())
                    }
                    None => reader.skip().map(drop),
                })?;
                Ok(Value::Map(entries))
            }
            (Type::Dynamic, Some('{')) => self.dynamic(depth),
            (_, Some(found)) => Err(CodecError::mismatch(kind, starting_with(found))),
            (_, None) => Err(truncated()),
        }
    }

    /// `{"value": ..., "type": ...}` in either order.
    fn dynamic(&mut self, depth: usize) -> Result<Value, CodecError> {
        let (mut value, mut kind) = (None, None);
        self.members(|reader, name| {
            let text = reader.skip()?;
            match name.as_str() {
                "value" => value = Some(text),
                "type" => kind = Some(Type::from_json(text.as_bytes())?),
                _ => {}
            }
            Ok(())
        })?;
        let (Some(value), Some(kind)) = (value, kind) else {
            return Err(CodecError::new(
                "a dynamic value needs both `value` and `type`",
            ));
        };
        let inner = Reader { rest: value }.value(&kind, depth)?;
        Ok(Value::Dynamic(Box::new(kind), Box::new(inner)))
    }

    fn array<'t>(
        &mut self,
        kind: impl Fn(usize) -> Option<&'t Type>,
        depth: usize,
    ) -> Result<Vec<Value>, CodecError> {
        let mut elements = Vec::new();
        self.expect('[')?;
        if self.accept(']') {
            return Ok(elements);
        }
        loop {
            let index = elements.len();
            let Some(kind) = kind(index) else {
                return Err(CodecError::new(format!(
                    "{index} elements are required, not more"
                )));
            };
            let element = self
                .value(kind, depth)
                .map_err(|error| error.under(CodecStep::Index(index)))?;
            elements.push(element);
            if self.accept(']') {
                return Ok(elements);
            }
            self.expect(',')?;
        }
    }

    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, String) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        self.expect('{')?;
        if self.accept('}') {
            return Ok(());
        }
        loop {
            let name = self.string()?;
            self.expect(':')?;
            member(self, name)?;
            if self.accept('}') {
                return Ok(());
            }
            self.expect(',')?;
        }
    }

    fn number(&mut self) -> Result<Number, CodecError> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Number::parse(text)
            .ok_or_else(|| CodecError::new("a number is required, and this text is none"))
    }

    fn string(&mut self) -> Result<String, CodecError> {
        self.peek();
        let literal = self.literal()?;
        serde_json::from_str(literal).map_err(|_| CodecError::new("the text is not a JSON string"))
    }

    /// A string with its quotes and escapes.
    fn literal(&mut self) -> Result<&'a str, CodecError> {
        let mut escaped = false;
        let inside = self
            .rest
            .strip_prefix('"')
            .ok_or_else(|| CodecError::new("a string is required here"))?;
        for (position, byte) in inside.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    let (literal, rest) = self.rest.split_at(position + 2);
                    self.rest = rest;
                    return Ok(literal);
                }
                _ => {}
            }
        }
        Err(truncated())
    }

    /// Steps over one value of any kind, without recursion, and returns its text.
    fn skip(&mut self) -> Result<&'a str, CodecError> {
        self.peek();
        let start = self.rest;
        let mut open = 0_usize;
        loop {
            match self.peek().ok_or_else(truncated)? {
                '"' => drop(self.literal()?),
                '[' | '{' => {
                    open += 1;
                    self.rest = &self.rest[1..];
                    continue;
                }
                ']' | '}' if open > 0 => {
                    open -= 1;
                    self.rest = &self.rest[1..];
                }
                ',' | ':' if open > 0 => {
                    self.rest = &self.rest[1..];
                    continue;
                }
                _ => {
                    let end = self
                        .rest
                        .find(|c: char| {
                            c.is_ascii_whitespace() || matches!(c, ',' | ':' | ']' | '}' | '"')
                        })
                        .unwrap_or(self.rest.len());
                    if end == 0 {
                        return Err(CodecError::new("a value is required here"));
                    }
                    self.rest = &self.rest[end..];
                }
            }
            if open == 0 {
                return Ok(&start[..start.len() - self.rest.len()]);
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), CodecError> {
        self.rest = self
            .rest
            .strip_prefix(word)
            .ok_or_else(|| CodecError::new(format!("{word} is required here")))?;
        Ok(())
    }

    fn expect(&mut self, wanted: char) -> Result<(), CodecError> {
        if self.accept(wanted) {
            return Ok(());
        }
        Err(CodecError::new(format!("`{wanted}` is required here")))
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.chars().next()
    }
}

fn put(out: &mut String, value: &Value, kind: &Type, depth: usize) -> Result<(), CodecError> {
    let depth = depth.checked_sub(1).ok_or_else(CodecError::too_deep)?;
    match (value, kind) {
        (Value::Null, _) => out.push_str("null"),
        (Value::Unknown(_), _) => {
            return Err(CodecError::new(
                "the value is unknown, which JSON cannot say",
            ));
        }
        (Value::Bool(bool), Type::Bool) => out.push_str(if *bool { "true" } else { "false" }),
        (Value::Number(number), Type::Number) => {
            if let Number::Float(float) = number
                && !float.is_finite()
            {
                return Err(CodecError::new(
                    "the number is infinite, which JSON cannot say",
                ));
            }
            write!(out, "{number}").map_err(unwritable)?;
        }
        (Value::String(text), Type::String) => put_string(out, text)?,
        (Value::List(elements), Type::List(kind) | Type::Set(kind)) => {
            put_elements(
                out,
                elements.iter().map(|element| (element, &**kind)),
                depth,
            )?;
        }
        (Value::List(elements), Type::Tuple(kinds)) if elements.len() == kinds.len() => {
            put_elements(out, elements.iter().zip(kinds), depth)?;
        }
        (Value::Map(entries), Type::Map(kind)) => {
            let members = entries.iter().map(|(key, value)| (key, value, &**kind));
            put_members(out, members, CodecStep::Key, depth)?;
        }
        (Value::Map(entries), Type::Object(attributes)) => {
            let members = super::attributes(entries, attributes)?;
            put_members(out, members.into_iter(), CodecStep::Attribute, depth)?;
        }
        (Value::Dynamic(inner, value), Type::Dynamic) => {
            out.push_str("{\"value\":");
            put(out, value, inner, depth)?;
            write!(out, ",\"type\":{}}}", inner.json()).map_err(unwritable)?;
        }
        _ => return Err(CodecError::mismatch(kind, value.word())),
    }
    Ok(())
}

fn put_elements<'a>(
    out: &mut String,
    elements: impl Iterator<Item = (&'a Value, &'a Type)>,
    depth: usize,
) -> Result<(), CodecError> {
    out.push('[');
    for (index, (element, kind)) in elements.enumerate() {
        if index > 0 {
            out.push(',');
        }
        put(out, element, kind, depth).map_err(|error| error.under(CodecStep::Index(index)))?;
    }
    out.push(']');
    Ok(())
}

fn put_members<'a>(
    out: &mut String,
    members: impl Iterator<Item = (&'a String, &'a Value, &'a Type)>,
    step: fn(String) -> CodecStep,
    depth: usize,
) -> Result<(), CodecError> {
    out.push('{');
    for (index, (name, value, kind)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        put_string(out, name)?;
        out.push(':');
        put(out, value, kind, depth).map_err(|error| error.under(step(name.clone())))?;
    }
    out.push('}');
    Ok(())
}

fn put_string(out: &mut String, text: &str) -> Result<(), CodecError> {
    *out += &serde_json::to_string(text).map_err(unwritable)?;
    Ok(())
}

fn starting_with(first: char) -> &'static str {
    match first {
        't' | 'f' => "a bool",
        '-' | '0'..='9' => "a number",
        '"' => "a string",
        '[' => "a list",
        '{' => "a map",
        _ => "something that is not JSON",
    }
}

fn unwritable<E>(_: E) -> CodecError {
    CodecError::new("the value could not be written")
}

fn truncated() -> CodecError {
    CodecError::new("the value ends too early")
}
