//! Ignition JSON out: the reference's order of fields, its escaping, and both of its styles.
//!
//! `Style::Butane` leaves out what is empty, as the `butane` command does; `Style::Ct` keeps empty
//! objects, as terraform-provider-ct does.

use crate::ignition::config::{Field, Kind, Object, Shape, Value};
use crate::text::go::NO_UTF8;

/// Whose bytes to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Those of the `butane` command: what is empty is left out.
    #[default]
    Butane,
    /// Those of terraform-provider-ct: Ignition 3.4.0, and empty objects are kept.
    Ct,
}

/// How to write.
#[derive(Clone, Copy)]
pub(crate) struct Writing {
    pub(crate) style: Style,
    pub(crate) pretty: bool,
    /// Fields that this minor version of Ignition lacks are left out.
    pub(crate) spec_minor: u8,
}

/// The config as JSON, without a line feed at its end.
pub(crate) fn write(config: &Object, writing: Writing) -> String {
    let mut writer = Writer {
        out: String::new(),
        writing,
        depth: 0,
    };
    writer.object(config.shape, Some(config));
    writer.out
}

struct Writer {
    out: String,
    writing: Writing,
    depth: usize,
}

impl Writer {
    fn object(&mut self, shape: &'static Shape, object: Option<&Object>) {
        self.open('{');
        let mut first = true;
        for (index, field) in shape.fields.iter().enumerate() {
            let value = object.map_or(&Value::Unset, |object| object.nth(index));
            if field.spec > self.writing.spec_minor || !self.is_written(field, value) {
                continue;
            }
            self.next(&mut first);
            quote(field.json, self.writing.style, &mut self.out);
            self.out
                .push_str(if self.writing.pretty { ": " } else { ":" });
            self.value(field, value);
        }
        self.close('}', first);
    }

    fn is_written(&self, field: &Field, value: &Value) -> bool {
        match (&field.kind, value) {
            _ if field.always => true,
            (Kind::Object(_), _) if self.writing.style == Style::Ct => true,
            (Kind::Object(_), Value::Object(object)) => !is_blank(object),
            (_, Value::Unset | Value::Bytes(_)) => false,
            // These two are plain in the reference: their zero is as good as nothing.
            (Kind::Int, Value::Int(0)) => field.name != "number",
            (Kind::Text, Value::Text(text)) => !(text.is_empty() && field.name == "url"),
            (_, value) => !value.is_empty(),
        }
    }

    fn value(&mut self, field: &Field, value: &Value) {
        match (&field.kind, value) {
            (Kind::Object(shape), Value::Object(object)) => self.object(shape, Some(object)),
            (Kind::Object(shape), _) => self.object(shape, None),
            (_, Value::Bool(true)) => self.out.push_str("true"),
            (_, Value::Bool(false)) => self.out.push_str("false"),
            (_, Value::Int(int)) => self.out.push_str(&int.to_string()),
            (_, Value::Text(text)) => quote(text, self.writing.style, &mut self.out),
            (_, Value::Texts(texts)) => {
                self.open('[');
                let mut first = true;
                for text in texts {
                    self.next(&mut first);
                    quote(text, self.writing.style, &mut self.out);
                }
                self.close(']', first);
            }
            (_, Value::Objects(objects)) => {
                self.open('[');
                let mut first = true;
                for object in objects {
                    self.next(&mut first);
                    self.object(object.shape, Some(object));
                }
                self.close(']', first);
            }
            // A required name is written even where it is not set.
            _ => self.out.push_str("\"\""),
        }
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.depth -= 1;
        if !empty {
            self.line();
        }
        self.out.push(bracket);
    }

    fn next(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        if self.writing.pretty {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("  ");
            }
        }
    }
}

/// Nothing in it would be written.
fn is_blank(object: &Object) -> bool {
    object.entries().all(|(field, value)| {
        field.spec == 255
            || match value {
                Value::Object(object) => is_blank(object),
                value => value.is_empty() && !field.always,
            }
    })
}

/// A JSON string as Go writes it, HTML escaping included.
pub(crate) fn quote(text: &str, style: Style, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut plain = 0;
    for (index, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            // The reference's own encoder is an old copy of Go's; ct uses today's.
            '\u{8}' if style == Style::Ct => "\\b",
            '\u{c}' if style == Style::Ct => "\\f",
            '<' => "\\u003c",
            '>' => "\\u003e",
            '&' => "\\u0026",
            NO_UTF8 => "\\ufffd",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            '\0'..'\u{20}' => "",
            _ => continue,
        };
        out.push_str(&text[plain..index]);
        match escape {
            "" => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            escape => out.push_str(escape),
        }
        plain = index + c.len_utf8();
    }
    out.push_str(&text[plain..]);
    out.push('"');
}
