//! YAML text in, nodes with line, column and resolved tag out, as the reference's reader (yaml.v3
//! 3.0.1) makes them.
//!
//! Events come from `libyaml-safer`, whose scanner is that reader's ancestor; where the two differ,
//! the differences are here. Nodes live in one list and refer to each other by number, so that
//! depth costs no stack and an alias may point at its own ancestor.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use libyaml_safer::{ErrorKind, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use crate::protocol::log::expecting_panics;
use crate::text::scalar;

/// Nesting beyond this is refused, as the reference does.
const DEPTH_MAX: usize = 10_000;
/// Brackets inside each other beyond this are refused: libyaml-safer looks at each of them for each
/// token. The reference has no such limit.
const BRACKETS_MAX: usize = 1_000;
/// Values beyond this are refused: each costs a hundred bytes, whatever little it says.
pub(crate) const NODES_MAX: usize = 1_000_000;
/// A mapping of more keys than this gets an index.
const SEARCHED_MAX: usize = 32;

/// A parsed document: YAML, or JSON read by [`crate::text::json`].
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    root: Option<NodeId>,
    /// Places of the keys of large mappings, made when one is asked for.
    indexes: RefCell<HashMap<NodeId, HashMap<String, usize>>>,
}

/// The number of a node in its document.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

/// A node. Its text may be a secret: no `Debug`.
pub(crate) struct Node {
    pub(crate) content: Content,
    /// Short form: `!!str`, `!foo`. Resolved for plain scalars, "" for untagged collections.
    pub(crate) tag: Cow<'static, str>,
    /// A scalar's text, an alias's name.
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: u64,
    /// From 1, in characters.
    pub(crate) column: u64,
}

/// What a node is.
pub(crate) enum Content {
    Scalar,
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
    Alias(NodeId),
}

/// Why the text is no YAML.
pub(crate) struct SyntaxError {
    /// The reference's words, after `yaml: `, which may quote what stands there.
    pub(crate) exact: String,
    /// The same without quoting and without the line.
    pub(crate) message: String,
    /// The line as the reference counts it, which may be one too low; `None` where neither it nor
    /// we know one.
    pub(crate) line: Option<u64>,
    /// Where we know it.
    pub(crate) column: Option<u64>,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            root: None,
            indexes: RefCell::default(),
        }
    }

    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() >= NODES_MAX
    }

    pub(crate) fn set_root(&mut self, id: NodeId) {
        self.root = Some(id);
    }

    /// The document's node; `None` when there is nothing in it.
    pub(crate) fn root(&self) -> Option<NodeId> {
        self.root
    }

    pub(crate) fn get(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// The value of a key; of the last one where the key repeats.
    pub(crate) fn child(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.pair(id, key).map(|(_, value)| value)
    }

    /// A key's node and its value's; the last ones where the key repeats.
    pub(crate) fn pair(&self, id: NodeId, key: &str) -> Option<(NodeId, NodeId)> {
        let Content::Mapping(pairs) = &self.get(id).content else {
            return None;
        };
        if pairs.len() <= SEARCHED_MAX {
            let mut found = pairs.iter().rev();
            return found.find(|(k, _)| self.get(*k).text == key).copied();
        }
        let mut indexes = self.indexes.borrow_mut();
        let index = indexes.entry(id).or_insert_with(|| {
            let keys = (0..).zip(pairs);
            keys.map(|(at, (key, _))| (self.get(*key).text.clone(), at))
                .collect()
        });
        index.get(key).and_then(|at| pairs.get(*at)).copied()
    }

    /// A null, however it is written.
    pub(crate) fn is_null(&self, id: NodeId) -> bool {
        let node = self.get(id);
        matches!(node.content, Content::Scalar)
            && node.tag == scalar::NULL
            && scalar::resolve(scalar::NULL, &node.text).is_ok()
    }

    pub(crate) fn element(&self, id: NodeId, index: usize) -> Option<NodeId> {
        match &self.get(id).content {
            Content::Sequence(items) => items.get(index).copied(),
            _ => None,
        }
    }
}

/// A collection that is not at its end yet.
struct Open {
    id: NodeId,
    children: Children,
    /// The line on which it began, from 0, when it is in brackets.
    flow_line: Option<u64>,
}

enum Children {
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>, Option<NodeId>),
}

impl Open {
    /// What the reference says about a question mark inside a plain scalar in brackets, which
    /// libyaml-safer takes.
    fn question_mark(&self) -> Option<SyntaxError> {
        let problem = match self.children {
            Children::Sequence(_) => "did not find expected ',' or ']'",
            Children::Mapping(..) => "did not find expected ',' or '}'",
        };
        self.flow_line.map(|line| problem_at(line, problem))
    }
}

/// Reads the first document of `text`.
pub(crate) fn parse(text: &str) -> Result<Nodes, SyntaxError> {
    // Marks count bytes, and not a leading byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let colons = PlainColons::of(text);
    let end = Ending::of(text);
    let mut text = end.finished(text);
    for _ in 0..COLONS_MAX {
        // libyaml-safer panics where its forebear does something undefined: at `[!tag, x]`, at
        // `!%ff`.
        let parsed = expecting_panics(|| parse_once(&text, &colons, &end));
        match parsed.unwrap_or_else(|_| Err(problem_at(0, BROKEN_TAG)))? {
            Parsed::Whole(nodes) => return Ok(nodes),
            Parsed::StoppedAtColon(at) => text = Cow::Owned(colons.hide(&text, at)),
        }
    }
    Err(problem_at(0, UNEXPECTED_COLON))
}

/// How the text ends. libyaml-safer panics in a block scalar that ends with the text and without a
/// line break, so the text gets one, and the scalar loses it again.
struct Ending {
    /// Bytes of the text before the break that was added; `None` when none was.
    unbroken: Option<u64>,
    /// Bytes of the text without blanks on its last line.
    kept: usize,
}

impl Ending {
    fn of(text: &str) -> Self {
        let last = text
            .rfind(BREAKS)
            .map_or(text, |at| text[at..].trim_start_matches(BREAKS));
        let kept = match last.bytes().all(|b| b == b' ') {
            true => text.len() - last.len(),
            false => text.len(),
        };
        let broken =
            text[..kept].is_empty() || text[..kept].ends_with(BREAKS) || !text.contains(['|', '>']);
        Self {
            unbroken: (!broken).then_some(kept as u64),
            kept,
        }
    }

    fn finished<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.unbroken {
            None => Cow::Borrowed(&text[..self.kept]),
            Some(_) => Cow::Owned(format!("{}\n", &text[..self.kept])),
        }
    }

    /// What a block scalar that ends at this byte had without the added break.
    fn unfinished(&self, mut value: String, ends_at: u64) -> String {
        if self.unbroken.is_some_and(|end| ends_at > end) && value.ends_with('\n') {
            value.pop();
        }
        value
    }
}

const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

enum Parsed {
    Whole(Nodes),
    /// libyaml-safer refuses the colon at this byte.
    StoppedAtColon(u64),
}

/// So many colons are hidden from libyaml-safer.
const COLONS_MAX: usize = 100;
const BROKEN_TAG: &str = "did not find expected whitespace or line break after a tag";
const UNEXPECTED_COLON: &str = "found unexpected ':'";

/// Colons before a comma or bracket in a flow collection (`[fe80::]`): text to the reference, an
/// error to libyaml-safer. They are hidden from it behind a character that the text does not have.
struct PlainColons {
    mask: Option<char>,
}

impl PlainColons {
    fn of(text: &str) -> Self {
        let candidate = [":]", ":,", ":}", ":[", ":{", ":?"]
            .iter()
            .any(|pair| text.contains(pair));
        Self {
            mask: candidate
                .then(|| ('\u{e000}'..'\u{f8ff}').find(|c| !text.contains(*c)))
                .flatten(),
        }
    }

    /// Columns count characters, so they stay right.
    fn hide(&self, text: &str, at: u64) -> String {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        match (
            self.mask,
            text.get(..at),
            text.get(at..).and_then(|rest| rest.strip_prefix(':')),
        ) {
            (Some(mask), Some(before), Some(after)) => format!("{before}{mask}{after}"),
            _ => text.to_owned(),
        }
    }

    fn show(&self, text: String) -> String {
        match self.mask {
            Some(mask) if text.contains(mask) => text.replace(mask, ":"),
            _ => text,
        }
    }
}

fn parse_once(text: &str, colons: &PlainColons, end: &Ending) -> Result<Parsed, SyntaxError> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut nodes = Nodes::new();
    let mut anchors: HashMap<String, NodeId> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let escapes = SlashEscapes::of(text);

    loop {
        let event = match parser.parse() {
            Ok(event) => event,
            Err(error) if error.problem() == UNEXPECTED_COLON && colons.mask.is_some() => {
                return Ok(Parsed::StoppedAtColon(
                    error.problem_mark().map_or(0, |mark| mark.index),
                ));
            }
            Err(error) => return Err(syntax_error(&error)),
        };
        if nodes.is_full() {
            let problem = format!("more than {NODES_MAX} values");
            return Err(problem_at(event.start_mark.line + 1, &problem));
        }
        let (line, column) = (event.start_mark.line + 1, event.start_mark.column + 1);
        let node = |content, tag, text| Node {
            content,
            tag,
            text,
            line,
            column,
        };
        let done = match event.data {
            EventData::StreamEnd | EventData::DocumentEnd { .. } => {
                return Ok(Parsed::Whole(nodes));
            }
            EventData::DocumentStart {
                version_directive: Some(version),
                ..
            } if (version.major, version.minor) != (1, 1) => {
                // libyaml-safer takes 1.2 too.
                return Err(problem_at(
                    event.start_mark.line,
                    "found incompatible YAML document",
                ));
            }
            EventData::Scalar {
                anchor,
                tag,
                value,
                style,
                ..
            } => {
                if style == ScalarStyle::DoubleQuoted {
                    escapes.check(
                        event.start_mark.index,
                        event.end_mark.index,
                        event.start_mark.line,
                    )?;
                }
                let plain = matches!(style, ScalarStyle::Plain | ScalarStyle::Any);
                let mut value = colons.show(value);
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    value = end.unfinished(value, event.end_mark.index);
                }
                if plain
                    && value.contains('?')
                    && let Some(error) = open.last().and_then(Open::question_mark)
                {
                    return Err(error);
                }
                let tag = scalar_tag(tag, &value, plain);
                let id = nodes.push(node(Content::Scalar, tag, value));
                anchors.extend(anchor.map(|anchor| (anchor, id)));
                id
            }
            EventData::Alias { anchor } => match anchors.get(&anchor) {
                Some(target) => {
                    nodes.push(node(Content::Alias(*target), Cow::Borrowed(""), anchor))
                }
                None => {
                    return Err(SyntaxError {
                        exact: format!("unknown anchor '{anchor}' referenced"),
                        message: "unknown anchor referenced".to_owned(),
                        line: Some(line),
                        column: Some(column),
                    });
                }
            },
            EventData::SequenceStart {
                anchor, tag, style, ..
            } => {
                let id = nodes.push(node(
                    Content::Sequence(Vec::new()),
                    collection_tag(tag),
                    String::new(),
                ));
                anchors.extend(anchor.map(|anchor| (anchor, id)));
                open.push(Open {
                    id,
                    children: Children::Sequence(Vec::new()),
                    flow_line: (style == SequenceStyle::Flow).then_some(event.start_mark.line),
                });
                check_depth(&open, event.start_mark.line)?;
                continue;
            }
            EventData::MappingStart {
                anchor, tag, style, ..
            } => {
                let id = nodes.push(node(
                    Content::Mapping(Vec::new()),
                    collection_tag(tag),
                    String::new(),
                ));
                anchors.extend(anchor.map(|anchor| (anchor, id)));
                open.push(Open {
                    id,
                    children: Children::Mapping(Vec::new(), None),
                    flow_line: (style == MappingStyle::Flow).then_some(event.start_mark.line),
                });
                check_depth(&open, event.start_mark.line)?;
                continue;
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                let Some(done) = open.pop() else { continue };
                nodes.get_mut(done.id).content = match done.children {
                    Children::Sequence(items) => Content::Sequence(items),
                    Children::Mapping(pairs, _) => Content::Mapping(pairs),
                };
                done.id
            }
            _ => continue,
        };
        match open.last_mut().map(|open| &mut open.children) {
            None => nodes.set_root(done),
            Some(Children::Sequence(items)) => items.push(done),
            Some(Children::Mapping(pairs, key)) => match key.take() {
                None => *key = Some(done),
                Some(key) => pairs.push((key, done)),
            },
        }
    }
}

fn check_depth(open: &[Open], line: u64) -> Result<(), SyntaxError> {
    if open.len() > DEPTH_MAX {
        return Err(problem_at(line + 1, "exceeded max depth of 10000"));
    }
    // Within brackets all is in brackets.
    let outside = open.partition_point(|open| open.flow_line.is_none());
    if open.len() - outside > BRACKETS_MAX {
        let problem = format!("more than {BRACKETS_MAX} brackets inside each other");
        return Err(problem_at(line + 1, &problem));
    }
    Ok(())
}

fn scalar_tag(tag: Option<String>, value: &str, plain: bool) -> Cow<'static, str> {
    match tag {
        Some(tag) if !tag.is_empty() && tag != "!" => scalar::short_tag(tag),
        _ if !plain => Cow::Borrowed(scalar::STR),
        _ if value == "<<" => Cow::Borrowed(scalar::MERGE),
        _ => Cow::Borrowed(scalar::resolve_untagged(value).0),
    }
}

fn collection_tag(tag: Option<String>) -> Cow<'static, str> {
    match tag {
        Some(tag) if !tag.is_empty() && tag != "!" => scalar::short_tag(tag),
        _ => Cow::Borrowed(""),
    }
}

/// The reference's choice of a line: the context's if it has one, else the problem's; only the
/// scanner's count from 1.
fn syntax_error(error: &libyaml_safer::Error) -> SyntaxError {
    let first = |mark: Option<libyaml_safer::Mark>| mark.map_or(0, |m| m.line);
    let line = match (first(error.context_mark()), first(error.problem_mark())) {
        (0, 0) => 0,
        (0, problem) => problem + u64::from(error.kind() == ErrorKind::Scanner),
        (context, _) => context + u64::from(error.kind() == ErrorKind::Scanner),
    };
    let problem = match error.problem() {
        "" => "unknown problem parsing YAML content",
        problem => problem,
    };
    problem_at(line, problem)
}

fn problem_at(line: u64, problem: &str) -> SyntaxError {
    SyntaxError {
        exact: match line {
            0 => problem.to_owned(),
            line => format!("line {line}: {problem}"),
        },
        message: problem.to_owned(),
        line: (line != 0).then_some(line),
        column: None,
    }
}

/// `\/` in double quotes: libyaml-safer takes it, the reference does not.
struct SlashEscapes {
    /// The byte of each backslash that escapes a slash, were it in double quotes.
    at: Vec<u64>,
}

impl SlashEscapes {
    fn of(text: &str) -> Self {
        let mut at = Vec::new();
        if text.contains("\\/") {
            let mut escaped = false;
            for (index, byte) in (0..).zip(text.bytes()) {
                if escaped && byte == b'/' {
                    at.push(index - 1);
                }
                escaped = byte == b'\\' && !escaped;
            }
        }
        Self { at }
    }

    fn check(&self, start: u64, end: u64, line: u64) -> Result<(), SyntaxError> {
        let first = self.at.partition_point(|at| *at < start);
        if self.at.get(first).is_none_or(|at| *at >= end) {
            return Ok(());
        }
        let problem = "found unknown escape character";
        // The scanner's problems count lines from 1, but name none on the first.
        Err(problem_at(if line == 0 { 0 } else { line + 1 }, problem))
    }
}
