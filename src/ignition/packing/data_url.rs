//! Data URLs: contents to the URL that the reference would write, and the reference's words for one
//! that does not decode.
//!
//! `"hello\n"` becomes `data:,hello%0A` with the compression `""`; what gains by it becomes
//! `data:;base64,H4sI...` with `"gzip"`.
//!
//! Source: the facts about Butane 0.28 (section 6) and about Ignition 2.26 (section 12.3); RFC
//! 2397.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::deflate;

/// A resource's `source` and `compression`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DataUrl {
    pub(crate) source: String,
    /// `""` or `"gzip"`: always written, so that a child config does not inherit its parent's.
    pub(crate) compression: &'static str,
}

/// The shortest form of some contents.
pub(crate) fn shortest(contents: &[u8]) -> DataUrl {
    let uncompressed = unzipped_length(contents);
    // It must gain more than the word for it costs.
    let gains = |zipped: usize| BASE64.len() + base64_length(zipped) + GZIP.len() < uncompressed;
    if gains(deflate::SHORTEST) {
        let zipped = deflate::gzip(contents);
        if gains(zipped.len()) {
            return DataUrl {
                source: base64_url(&zipped),
                compression: GZIP,
            };
        }
    }
    DataUrl {
        source: as_they_are(contents),
        compression: "",
    }
}

/// The shorter form of contents whose compression the user has set: they are compressed already.
pub(crate) fn as_they_are(contents: &[u8]) -> String {
    if BASE64.len() + base64_length(contents.len()) < COMMA.len() + escaped_length(contents) {
        return base64_url(contents);
    }
    let mut url = String::with_capacity(SCHEME.len() + COMMA.len() + escaped_length(contents));
    url.push_str(SCHEME);
    url.push_str(COMMA);
    for &byte in contents {
        if PLAIN.has(byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.push(char::from(HEX[usize::from(byte >> 4)]));
            url.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    url
}

/// Whether the reference decodes a URL that begins with the scheme `data` in any case.
/// # Errors
/// Its words.
pub(crate) fn check(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix(SCHEME).ok_or("missing data prefix")?;
    let mut text = Text { rest };
    let (after, encoding) = text.media_type()?;
    match encoding {
        Encoding::Escaped => {
            if !DATA.hold(after) {
                return Err("invalid data character".into());
            }
            check_escapes(after)
        }
        Encoding::Base64 => {
            if !BASE64_DATA.hold(after) {
                return Err("invalid data character".into());
            }
            check_base64(after.as_bytes())
        }
    }
}

/// The bytes of a URL that [`check`] takes; `None` for another one.
pub(crate) fn decode(url: &str) -> Option<Vec<u8>> {
    check(url).ok()?;
    let mut text = Text {
        rest: url.strip_prefix(SCHEME)?,
    };
    match text.media_type().ok()? {
        (after, Encoding::Base64) => STANDARD.decode(after.replace('\n', "")).ok(),
        (after, Encoding::Escaped) => {
            let mut bytes = Vec::with_capacity(after.len());
            let mut rest = after.bytes();
            while let Some(byte) = rest.next() {
                bytes.push(match byte {
                    b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
                    byte => byte,
                });
            }
            Some(bytes)
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

const SCHEME: &str = "data:";
const COMMA: &str = ",";
const BASE64: &str = ";base64,";
const GZIP: &str = "gzip";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn base64_url(bytes: &[u8]) -> String {
    let mut url = String::with_capacity(SCHEME.len() + BASE64.len() + base64_length(bytes.len()));
    url.push_str(SCHEME);
    url.push_str(BASE64);
    STANDARD.encode_string(bytes, &mut url);
    url
}

/// Of the better of the two forms without gzip, after the scheme.
fn unzipped_length(contents: &[u8]) -> usize {
    (COMMA.len() + escaped_length(contents)).min(BASE64.len() + base64_length(contents.len()))
}

fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

fn escaped_length(bytes: &[u8]) -> usize {
    let plain = bytes.iter().filter(|byte| PLAIN.has(**byte)).count();
    3 * bytes.len() - 2 * plain
}

/// A set of bytes: letters, digits and these.
struct Bytes([bool; 256]);

impl Bytes {
    const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte = 0u8;
        while byte < 128 {
            set[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut other = 0;
        while other < others.len() {
            set[others[other] as usize] = true;
            other += 1;
        }
        Self(set)
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    fn hold(&self, text: &str) -> bool {
        text.bytes().all(|byte| self.has(byte))
    }
}

/// RFC 2396's unreserved characters.
static PLAIN: Bytes = Bytes::alphanumeric_and(b"-_.!~*'()");
/// What may stand in unencoded data; [`check_escapes`] judges `%`.
static DATA: Bytes = Bytes::alphanumeric_and(b"!$%&'()*+,-./:;=?@_~");
static BASE64_DATA: Bytes = Bytes::alphanumeric_and(b"+/=\n");

/// How the data after the comma is written.
enum Encoding {
    Escaped,
    Base64,
}

/// What is left of a URL.
struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    /// Up to and with the comma.
    fn media_type(&mut self) -> Result<(&'a str, Encoding), String> {
        match self.peek() {
            Some(';' | ',') => {}
            None => return Err("missing comma before data".into()),
            Some(first) if is_token(first) => {
                let start = self.rest;
                self.advance();
                // Two characters are taken for a look at `x-`, whatever the second one is.
                let extension = matches!(first, 'x' | 'X') && self.advance() == Some('-');
                self.tokens(
                    "invalid character for media type",
                    "missing media type slash",
                    &['/'],
                )?;
                let name = &start[..start.len() - self.rest.len()];
                if !extension && !MEDIA.iter().any(|known| name.starts_with(known)) {
                    return Err("invalid media type".into());
                }
                self.advance();
                self.tokens(
                    "invalid character for media subtype",
                    "incomplete media type",
                    &[';', ','],
                )?;
            }
            Some(_) => return Err("invalid character after data prefix".into()),
        }
        while self.advance() == Some(';') {
            if self.parameter()? {
                self.advance();
                return Ok((self.rest, Encoding::Base64));
            }
            if !matches!(self.peek(), Some(';' | ',')) {
                return Err(match self.peek() {
                    None => "missing comma before data",
                    Some(_) => "expected semicolon or comma",
                }
                .into());
            }
        }
        Ok((self.rest, Encoding::Escaped))
    }

    /// After its semicolon; whether it is the word `base64`.
    fn parameter(&mut self) -> Result<bool, String> {
        const UNTERMINATED: &str = "unterminated parameter sequence";
        if matches!(self.peek(), None | Some('=' | ',')) {
            return Err(UNTERMINATED.into());
        }
        let name = self.tokens(
            "invalid character for parameter attribute",
            UNTERMINATED,
            &['=', ','],
        )?;
        if self.peek() == Some(',') {
            return match name {
                "base64" => Ok(true),
                other => Err(format!("expected base64, got {other}")),
            };
        }
        self.advance();
        const INVALID: &str = "invalid character for parameter value";
        const NO_COMMA: &str = "missing comma before data";
        match self.peek() {
            Some('"') => {
                self.advance();
                self.quoted()?;
            }
            Some(first) if is_token(first) => {
                check_escapes(self.tokens(INVALID, NO_COMMA, &[';', ','])?)?;
            }
            Some(_) => return Err(INVALID.into()),
            None => return Err(NO_COMMA.into()),
        }
        Ok(false)
    }

    /// After the left quote, past the right one.
    fn quoted(&mut self) -> Result<(), String> {
        let start = self.rest;
        loop {
            match self.advance() {
                None => return Err("unclosed quoted string".into()),
                Some('"') => break,
                Some('\\') => match self.advance() {
                    Some(escaped) if !escaped.is_ascii() => {
                        return Err("invalid escaped character".into());
                    }
                    _ => {}
                },
                Some(other) if !other.is_ascii() => {
                    return Err("invalid character for parameter value".into());
                }
                Some(_) => {}
            }
        }
        let inside = &start[..start.len() - self.rest.len() - 1];
        if is_go_string(inside.as_bytes()) {
            Ok(())
        } else {
            Err("invalid syntax".into())
        }
    }

    /// Characters of a token up to one of `ends`, which stays.
    fn tokens(&mut self, invalid: &str, missing: &str, ends: &[char]) -> Result<&'a str, String> {
        let start = self.rest;
        loop {
            match self.peek() {
                None => return Err(missing.into()),
                Some(end) if ends.contains(&end) => {
                    return Ok(&start[..start.len() - self.rest.len()]);
                }
                Some(token) if is_token(token) => self.advance(),
                Some(_) => return Err(invalid.into()),
            };
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }
}

/// What a media type begins with, unless it is `x-...`.
const MEDIA: [&str; 7] = [
    "text",
    "image",
    "audio",
    "video",
    "application",
    "message",
    "multipart",
];

/// RFC 2045's token characters.
fn is_token(char: char) -> bool {
    char.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(char)
}

fn check_escapes(text: &str) -> Result<(), String> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            continue;
        }
        for digit in [bytes.next(), bytes.next()] {
            match digit {
                None => return Err("rfc2396: unexpected end of unescape sequence".into()),
                Some(digit) if digit.is_ascii_hexdigit() => {}
                Some(_) => return Err("rfc2396: invalid char 0x25 in unescape sequence".into()),
            }
        }
    }
    Ok(())
}

/// Standard alphabet, padded, line feeds ignored.
fn check_base64(data: &[u8]) -> Result<(), String> {
    let wrong = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let mut digits = 0;
    let mut at = 0;
    while at < data.len() {
        match data[at] {
            b'\n' => {}
            b'=' => return check_padding(data, at, digits % 4).map_or(Ok(()), wrong),
            _ => digits += 1,
        }
        at += 1;
    }
    match digits % 4 {
        0 => Ok(()),
        some => wrong(data.len() - some),
    }
}

/// The byte to blame, if the `=` at `at` after `digits` of a group of four does not end the data
/// well.
fn check_padding(data: &[u8], at: usize, digits: usize) -> Option<usize> {
    let next = |from: usize| {
        (from..data.len())
            .find(|at| data[*at] != b'\n')
            .unwrap_or(data.len())
    };
    let mut end = next(at + 1);
    match digits {
        0 | 1 => return Some(at),
        2 if end == data.len() => return Some(end),
        2 if data[end] != b'=' => return Some(end - 1),
        2 => end = next(end + 1),
        _ => {}
    }
    (end < data.len()).then_some(end)
}

/// Whether this would be a string of Go's between double quotes.
fn is_go_string(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'\n' | b'"' => return false,
            b'\\' => {
                let Some((kind, after)) = rest.split_first() else {
                    return false;
                };
                let (digits, radix, most) = match kind {
                    b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'"' => (0, 10, 0),
                    b'x' => (2, 16, 255),
                    b'u' => (4, 16, 0xffff),
                    b'U' => (8, 16, 0x0010_ffff),
                    b'0'..=b'7' => (3, 8, 255),
                    _ => return false,
                };
                let from = if radix == 8 { rest } else { after };
                let number = from
                    .get(..digits)
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)));
                let Some(number) = number else {
                    return false;
                };
                let value = u32::from_str_radix(number, radix).unwrap_or(0);
                if value > most || (matches!(kind, b'u' | b'U') && char::from_u32(value).is_none())
                {
                    return false;
                }
                rest = &from[digits..];
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(case: &serde_json::Value) -> Vec<u8> {
        match (case["contents"].as_str(), case["contents_base64"].as_str()) {
            (Some(text), _) => text.into(),
            (None, Some(base64)) => STANDARD.decode(base64).expect("a case holds base64"),
            (None, None) => panic!("a case without contents: {case}"),
        }
    }

    #[test]
    fn the_choice_and_the_bytes_are_the_references() {
        let cases: Vec<serde_json::Value> = [
            include_str!("../../../tests/fixtures/ignition/data-url.json"),
            include_str!("../../../tests/fixtures/recorded/vectors/butane/data-url.json"),
        ]
        .into_iter()
        .flat_map(|file| {
            serde_json::from_str::<Vec<serde_json::Value>>(file).expect("fixtures are JSON")
        })
        .collect();
        let different: Vec<String> = cases
            .iter()
            .filter_map(|case| {
                let url = shortest(&contents(case));
                let same = url.source == case["url"] && url.compression == case["compression"];
                (!same).then(|| format!("{}: {} {}", case["name"], url.compression, url.source))
            })
            .collect();
        assert!(different.is_empty(), "of {}: {different:#?}", cases.len());
    }

    #[test]
    fn what_does_not_decode_is_told_in_the_references_words() {
        let own = include_str!("../../../tests/fixtures/ignition/data-url-errors.json");
        let cases: Vec<(String, Option<String>)> =
            serde_json::from_str(own).expect("fixtures are JSON");
        let different: Vec<_> = cases
            .iter()
            .map(|(url, error)| (url, error, check(url).err()))
            .filter(|(_, error, got)| *error != got)
            .collect();
        assert!(different.is_empty(), "of {}: {different:#?}", cases.len());
    }
}
