//! YAML text in, nodes with line, column and resolved tag out, as the reference's reader (yaml.v3 3.0.1) makes them.
//!
//! Events come from `libyaml-safer`, whose scanner is that reader's ancestor; where the two differ, the differences are here.
//! Nodes live in one list and refer to each other by number, so that depth costs no stack and an alias may point at its own
//! ancestor.

use std::borrow::Cow;
use std::collections::HashMap;

use libyaml_safer::{ErrorKind, EventData, Parser, ScalarStyle};

use crate::ignition::scalar;

/// Nesting beyond this is refused, as the reference does.
const DEPTH_MAX: usize = 10_000;

/// A parsed document: YAML, or JSON read by `json_input`.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    root: Option<NodeId>,
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
    /// The reference's words, after `yaml: `.
    pub(crate) message: String,
    /// The line as the reference counts it, which may be one too low; `None` where it names none.
    pub(crate) line: Option<u64>,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            root: None,
        }
    }

    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
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
        match &self.get(id).content {
            Content::Mapping(pairs) => pairs
                .iter()
                .rev()
                .find(|(k, _)| self.get(*k).text == key)
                .map(|(_, value)| *value),
            _ => None,
        }
    }

    pub(crate) fn element(&self, id: NodeId, index: usize) -> Option<NodeId> {
        match &self.get(id).content {
            Content::Sequence(items) => items.get(index).copied(),
            _ => None,
        }
    }
}

/// A collection that is not at its end yet.
enum Open {
    Sequence(NodeId, Vec<NodeId>),
    Mapping(NodeId, Vec<(NodeId, NodeId)>, Option<NodeId>),
}

/// Reads the first document of `text`.
pub(crate) fn parse(text: &str) -> Result<Nodes, SyntaxError> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut nodes = Nodes::new();
    let mut anchors: HashMap<String, NodeId> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let escapes = SlashEscapes::of(text);

    loop {
        let event = parser.parse().map_err(|error| syntax_error(&error))?;
        let (line, column) = (event.start_mark.line + 1, event.start_mark.column + 1);
        let node = |content, tag, text| Node {
            content,
            tag,
            text,
            line,
            column,
        };
        let done = match event.data {
            EventData::StreamEnd | EventData::DocumentEnd { .. } => return Ok(nodes),
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
                        message: format!("unknown anchor '{anchor}' referenced"),
                        line: None,
                    });
                }
            },
            EventData::SequenceStart { anchor, tag, .. } => {
                let id = nodes.push(node(
                    Content::Sequence(Vec::new()),
                    collection_tag(tag),
                    String::new(),
                ));
                anchors.extend(anchor.map(|anchor| (anchor, id)));
                open.push(Open::Sequence(id, Vec::new()));
                check_depth(open.len(), event.start_mark.line)?;
                continue;
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let id = nodes.push(node(
                    Content::Mapping(Vec::new()),
                    collection_tag(tag),
                    String::new(),
                ));
                anchors.extend(anchor.map(|anchor| (anchor, id)));
                open.push(Open::Mapping(id, Vec::new(), None));
                check_depth(open.len(), event.start_mark.line)?;
                continue;
            }
            EventData::SequenceEnd | EventData::MappingEnd => match open.pop() {
                Some(Open::Sequence(id, items)) => {
                    nodes.get_mut(id).content = Content::Sequence(items);
                    id
                }
                Some(Open::Mapping(id, pairs, _)) => {
                    nodes.get_mut(id).content = Content::Mapping(pairs);
                    id
                }
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => nodes.set_root(done),
            Some(Open::Sequence(_, items)) => items.push(done),
            Some(Open::Mapping(_, pairs, key)) => match key.take() {
                None => *key = Some(done),
                Some(key) => pairs.push((key, done)),
            },
        }
    }
}

fn check_depth(depth: usize, line: u64) -> Result<(), SyntaxError> {
    if depth <= DEPTH_MAX {
        return Ok(());
    }
    Err(problem_at(line + 1, "exceeded max depth of 10000"))
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

/// The reference's choice of a line: the context's if it has one, else the problem's; only the scanner's count from 1.
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
        message: match line {
            0 => problem.to_owned(),
            line => format!("line {line}: {problem}"),
        },
        line: (line != 0).then_some(line),
    }
}

/// `\/` in double quotes: libyaml-safer takes it, the reference does not.
struct SlashEscapes {
    /// Index in characters of each backslash that escapes a slash, were it in double quotes.
    at: Vec<u64>,
}

impl SlashEscapes {
    fn of(text: &str) -> Self {
        let mut at = Vec::new();
        if text.contains("\\/") {
            let mut escaped = false;
            let mut index = 0;
            // A leading byte order mark is no character to the scanner.
            for c in text.strip_prefix('\u{feff}').unwrap_or(text).chars() {
                if escaped && c == '/' {
                    at.push(index - 1);
                }
                escaped = c == '\\' && !escaped;
                index += 1;
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
