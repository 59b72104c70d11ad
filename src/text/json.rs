//! JSON in: nodes with positions, and Go's words for what is no JSON.

use std::borrow::Cow;

use crate::text::yaml::{Content, NODES_MAX, Node, NodeId, Nodes};
use crate::text::{go, scalar};

/// Nesting beyond this is refused, as Go does.
const DEPTH_MAX: usize = 10_000;

/// Why a text is no JSON.
pub(crate) struct JsonError {
    /// Go's words, which may quote a character of the text.
    pub(crate) exact: String,
    /// The same without quoting.
    pub(crate) message: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// Reads one JSON value. Numbers, booleans and null keep their text, with the tag that YAML has for
/// them.
pub(crate) fn parse(text: &str) -> Result<Nodes, JsonError> {
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
        column: 1,
        nodes: Nodes::new(),
    };
    let root = reader.value()?;
    reader.blanks();
    match reader.peek() {
        None => {
            reader.nodes.set_root(root);
            Ok(reader.nodes)
        }
        Some(_) => Err(reader.unexpected("after top-level value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    column: u64,
    nodes: Nodes,
}

/// A collection that is not at its end yet.
enum Open {
    Array(NodeId, Vec<NodeId>),
    Object(NodeId, Vec<(NodeId, NodeId)>, NodeId),
}

impl Reader<'_> {
    /// A value with everything in it. Depth costs no stack.
    fn value(&mut self) -> Result<NodeId, JsonError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut done = match self.begin(&mut open)? {
                Some(done) => done,
                None => continue,
            };
            // Ends as many collections as end here.
            loop {
                let Some(innermost) = open.pop() else {
                    return Ok(done);
                };
                self.blanks();
                match innermost {
                    Open::Array(id, mut items) => {
                        items.push(done);
                        match self.peek() {
                            Some(',') => {
                                self.next();
                                open.push(Open::Array(id, items));
                                break;
                            }
                            Some(']') => {
                                self.next();
                                self.nodes.get_mut(id).content = Content::Sequence(items);
                                done = id;
                            }
                            _ => return Err(self.unexpected("after array element")),
                        }
                    }
                    Open::Object(id, mut pairs, key) => {
                        pairs.push((key, done));
                        match self.peek() {
                            Some(',') => {
                                self.next();
                                let key = self.key()?;
                                open.push(Open::Object(id, pairs, key));
                                break;
                            }
                            Some('}') => {
                                self.next();
                                self.nodes.get_mut(id).content = Content::Mapping(pairs);
                                done = id;
                            }
                            _ => return Err(self.unexpected("after object key:value pair")),
                        }
                    }
                }
            }
        }
    }

    /// Reads a scalar or an empty collection (`Some`), or opens a collection.
    fn begin(&mut self, open: &mut Vec<Open>) -> Result<Option<NodeId>, JsonError> {
        self.blanks();
        if open.len() >= DEPTH_MAX {
            return Err(self.error(
                "exceeded max depth".to_owned(),
                "exceeded max depth".to_owned(),
            ));
        }
        if self.nodes.is_full() {
            let message = format!("more than {NODES_MAX} values");
            return Err(self.error(message.clone(), message));
        }
        match self.peek() {
            Some('{') => {
                let id = self.node(Content::Mapping(Vec::new()), "", String::new());
                self.next();
                self.blanks();
                if self.peek() == Some('}') {
                    self.next();
                    return Ok(Some(id));
                }
                let key = self.key()?;
                open.push(Open::Object(id, Vec::new(), key));
                Ok(None)
            }
            Some('[') => {
                let id = self.node(Content::Sequence(Vec::new()), "", String::new());
                self.next();
                self.blanks();
                if self.peek() == Some(']') {
                    self.next();
                    return Ok(Some(id));
                }
                open.push(Open::Array(id, Vec::new()));
                Ok(None)
            }
            Some('"') => self.string().map(Some),
            Some('-' | '0'..='9') => self.number().map(Some),
            Some('t') => self.word("true", scalar::BOOL).map(Some),
            Some('f') => self.word("false", scalar::BOOL).map(Some),
            Some('n') => self.word("null", scalar::NULL).map(Some),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn key(&mut self) -> Result<NodeId, JsonError> {
        self.blanks();
        if self.peek() != Some('"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        self.blanks();
        match self.peek() {
            Some(':') => {
                self.next();
                Ok(key)
            }
            _ => Err(self.unexpected("after object key")),
        }
    }

    fn string(&mut self) -> Result<NodeId, JsonError> {
        let id = self.node(Content::Scalar, scalar::STR, String::new());
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.next();
                    self.nodes.get_mut(id).text = text;
                    return Ok(id);
                }
                Some('\\') => {
                    self.next();
                    text.push(self.escape()?);
                }
                Some('\0'..'\u{20}') | None => return Err(self.unexpected("in string literal")),
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let c = match self.peek() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('u') => {
                self.next();
                return self.unicode();
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.next();
        Ok(c)
    }

    /// After `\u`. A surrogate without its partner becomes U+FFFD.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) || !self.text[self.at..].starts_with("\\u") {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = (self.at, self.line, self.column);
        self.next();
        self.next();
        let second = self.hex()?;
        if (0xdc00..0xe000).contains(&second) {
            let c = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        (self.at, self.line, self.column) = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut value = 0;
        for _ in 0..4 {
            match self.peek().and_then(|c| c.to_digit(16)) {
                Some(digit) => value = value * 16 + digit,
                None => return Err(self.unexpected("in \\u hexadecimal character escape")),
            }
            self.next();
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<NodeId, JsonError> {
        let start = self.at;
        let id = self.node(Content::Scalar, scalar::INT, String::new());
        if self.peek() == Some('-') {
            self.next();
        }
        match self.peek() {
            Some('0') => {
                self.next();
            }
            Some('1'..='9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        let mut tag = scalar::INT;
        if self.peek() == Some('.') {
            tag = scalar::FLOAT;
            self.next();
            if !matches!(self.peek(), Some('0'..='9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            tag = scalar::FLOAT;
            self.next();
            if matches!(self.peek(), Some('+' | '-')) {
                self.next();
            }
            if !matches!(self.peek(), Some('0'..='9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = self.text[start..self.at].to_owned();
        let node = self.nodes.get_mut(id);
        node.text = text;
        node.tag = Cow::Borrowed(tag);
        Ok(id)
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some('0'..='9')) {
            self.next();
        }
    }

    fn word(&mut self, word: &'static str, tag: &'static str) -> Result<NodeId, JsonError> {
        let id = self.node(Content::Scalar, tag, word.to_owned());
        for expected in word.chars() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.next();
        }
        Ok(id)
    }

    fn node(&mut self, content: Content, tag: &'static str, text: String) -> NodeId {
        let (line, column) = (self.line, self.column);
        self.nodes.push(Node {
            content,
            tag: Cow::Borrowed(tag),
            text,
            line,
            column,
        })
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.next();
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.column += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        }
        Some(c)
    }

    fn unexpected(&self, place: &str) -> JsonError {
        match self.peek() {
            None => {
                let message = "unexpected end of JSON input".to_owned();
                self.error(message.clone(), message)
            }
            Some(c) => {
                // Go looks at bytes.
                let byte = c.encode_utf8(&mut [0; 4]).as_bytes()[0];
                let quoted = match char::from(byte) {
                    '\'' => r"'\''".to_owned(),
                    '"' => "'\"'".to_owned(),
                    c => {
                        let quoted = go::quote(c.encode_utf8(&mut [0; 4]));
                        format!("'{}'", quoted.trim_matches('"'))
                    }
                };
                self.error(
                    format!("invalid character {quoted} {place}"),
                    format!("invalid character {place}"),
                )
            }
        }
    }

    fn error(&self, exact: String, message: String) -> JsonError {
        JsonError {
            exact,
            message,
            line: self.line,
            column: self.column,
        }
    }
}
