//! What Go makes of texts, where the reference shows it: paths in their simplest form, strings
//! quoted, bytes that are no UTF-8.
//!
//! `clean("/a//b/../c")` is `/a/c`, `quote("a\n")` is `"a\n"` with its quotation marks.

use std::borrow::Cow;

/// A path without `//`, `.`, `..` where they can be resolved by text alone; "." for nothing.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// A string as Go quotes it (`%q`).
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        let escape: Cow<'static, str> = match char {
            '"' => r#"\""#.into(),
            '\\' => r"\\".into(),
            '\u{7}' => r"\a".into(),
            '\u{8}' => r"\b".into(),
            '\u{c}' => r"\f".into(),
            '\n' => r"\n".into(),
            '\r' => r"\r".into(),
            '\t' => r"\t".into(),
            '\u{b}' => r"\v".into(),
            printable if is_printable(printable) => {
                quoted.push(printable);
                continue;
            }
            '\0'..'\u{80}' => format!(r"\x{:02x}", u32::from(char)).into(),
            '\u{80}'..='\u{ffff}' => format!(r"\u{:04x}", u32::from(char)).into(),
            _ => format!(r"\U{:08x}", u32::from(char)).into(),
        };
        quoted.push_str(&escape);
    }
    quoted.push('"');
    quoted
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII blank.
fn is_printable(char: char) -> bool {
    // Within a string std escapes exactly the others; only at its start marks too, hence the
    // letter.
    let text: String = ['a', char].into_iter().collect();
    char == '\'' || text.escape_debug().eq(text.chars())
}

/// Stands in a text for a byte that is no UTF-8. It is no character, and the JSON writer turns it
/// into `\\ufffd`.
pub(crate) const NO_UTF8: char = '\u{10ffff}';

/// Bytes as text, with one [`NO_UTF8`] for each byte that is no UTF-8, as Go reads them.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| NO_UTF8));
    }
    text
}
