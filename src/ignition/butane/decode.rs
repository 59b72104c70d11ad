//! Nodes in, a config tree out, driven by the schema: what fits is taken, everything that does not
//! is noted, as the reference's decoder does it.
//!
//! An object that cannot be decoded leaves its field unset and decoding goes on; a scalar that
//! contradicts its own tag ends it.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ignition::config::{Field, Kind, Object, Shape, Value, object_in, objects_in};
use crate::text::go::{self, NO_UTF8, lossy};
use crate::text::scalar::{self, Resolved};
use crate::text::yaml::{Content, NodeId, Nodes};

/// Merge keys inside merge keys beyond this are refused: each costs stack. The reference has no
/// such limit.
const MERGES_MAX: usize = 64;
/// Text that aliases repeat beyond this is refused: a megabyte that is anchored once may be meant a
/// thousand times. The reference counts nodes alone.
const REPEATED_MAX: usize = 16 << 20;
/// Faults beyond this are not reported.
const FAULTS_MAX: usize = 1000;

/// Why a document is not what it should be.
pub(crate) enum DecodeError {
    /// Decoding came to its end: the misfits, and what fits.
    Misfits(Vec<Misfit>, Box<Object>),
    /// Decoding stopped here.
    Stopped(Misfit),
}

/// Something that does not fit, at a place.
pub(crate) struct Misfit {
    pub(crate) line: u64,
    pub(crate) column: u64,
    /// The reference's words, which may quote what stands there.
    pub(crate) exact: String,
    /// The same without quoting.
    pub(crate) message: String,
}

/// Decodes the document into `shape`. `package` and `version` say whose names and which fields
/// count.
pub(crate) fn decode(
    nodes: &Nodes,
    shape: &'static Shape,
    version: u8,
    package: &str,
) -> Result<Object, DecodeError> {
    let mut object = Object::new(shape);
    let Some(root) = nodes.root() else {
        return Ok(object);
    };
    let mut decoder = Decoder {
        nodes,
        version,
        package,
        misfits: Vec::new(),
        decoded: 0,
        aliased: 0,
        repeated: 0,
        alias_depth: 0,
        merges: 0,
        active: HashSet::new(),
        merged: None,
    };
    decoder
        .object(root, &mut object)
        .map_err(DecodeError::Stopped)?;
    match decoder.misfits.is_empty() {
        true => Ok(object),
        false => Err(DecodeError::Misfits(decoder.misfits, Box::new(object))),
    }
}

/// Whether this version of Butane has the field.
pub(crate) fn known(field: &Field, version: u8) -> bool {
    field.since <= version
}

struct Decoder<'d> {
    nodes: &'d Nodes,
    version: u8,
    package: &'d str,
    misfits: Vec<Misfit>,
    /// How many nodes were decoded, and how many of them below an alias: their ratio gives an alias
    /// bomb away.
    decoded: u64,
    aliased: u64,
    /// Bytes of text below aliases.
    repeated: usize,
    alias_depth: usize,
    merges: usize,
    /// Aliases on the way down.
    active: HashSet<NodeId>,
    /// Keys that a merge may not set any more; `None` outside of merges.
    merged: Option<HashSet<String>>,
}

type Taken = Result<bool, Misfit>;

impl Decoder<'_> {
    /// Counts the node, and follows it if it is an alias. The flag says that the alias must be
    /// closed again.
    fn enter(&mut self, id: NodeId) -> Result<(NodeId, bool), Misfit> {
        self.count(id)?;
        let node = self.nodes.get(id);
        let Content::Alias(target) = node.content else {
            return Ok((id, false));
        };
        if !self.active.insert(id) {
            let exact = format!("anchor '{}' value contains itself", node.text);
            let message = "anchor value contains itself".to_owned();
            return Err(self.stop(id, exact, message));
        }
        self.alias_depth += 1;
        self.count(target)?;
        Ok((target, true))
    }

    fn leave(&mut self, id: NodeId, was_alias: bool) {
        if was_alias {
            self.active.remove(&id);
            self.alias_depth -= 1;
        }
    }

    fn count(&mut self, id: NodeId) -> Result<(), Misfit> {
        self.decoded += 1;
        if self.alias_depth > 0 {
            self.aliased += 1;
            self.repeated += self.nodes.get(id).text.len();
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = self.aliased as f64 / self.decoded as f64;
        let is_bomb =
            self.aliased > 100 && self.decoded > 1000 && ratio > allowed_ratio(self.decoded);
        if is_bomb || self.repeated > REPEATED_MAX {
            let message = "document contains excessive aliasing".to_owned();
            return Err(self.stop(id, message.clone(), message));
        }
        Ok(())
    }

    fn object(&mut self, id: NodeId, out: &mut Object) -> Taken {
        let (target, alias) = self.enter(id)?;
        let taken = self.mapping(target, out);
        self.leave(id, alias);
        taken
    }

    fn mapping(&mut self, id: NodeId, out: &mut Object) -> Taken {
        let nodes = self.nodes;
        let go_type = self.go_name(out.shape.name);
        match &nodes.get(id).content {
            Content::Mapping(pairs) => {
                if self.repeats(pairs) {
                    return Ok(false);
                }
                self.pairs(id, pairs, out)?;
                Ok(true)
            }
            Content::Sequence(_) => self.misfit(id, "!!seq", &go_type),
            _ => self.scalar(id, &go_type, |_, _| None),
        }
    }

    fn pairs(
        &mut self,
        id: NodeId,
        pairs: &[(NodeId, NodeId)],
        out: &mut Object,
    ) -> Result<(), Misfit> {
        let mut outer = self.merged.take();
        let mut merge = None;
        for (key, value) in pairs {
            if self.is_merge(*key) {
                merge = Some(*value);
                continue;
            }
            let mut name = Value::Unset;
            if !self.value(*key, &Kind::Text, &mut name)? {
                continue;
            }
            let Value::Text(name) = name else { continue };
            if let Some(seen) = &mut outer
                && !seen.insert(name.clone())
            {
                continue;
            }
            let version = self.version;
            if let Some((field, slot)) = out
                .entries_mut()
                .find(|(field, _)| field.name == name && known(field, version))
            {
                self.value(*value, &field.kind, slot)?;
            }
        }
        self.merged = outer;
        match merge {
            Some(merge) => self.merge(id, pairs, merge, out),
            None => Ok(()),
        }
    }

    fn is_merge(&self, key: NodeId) -> bool {
        let node = self.nodes.get(key);
        matches!(node.content, Content::Scalar) && node.text == "<<" && node.tag == scalar::MERGE
    }

    fn merge(
        &mut self,
        id: NodeId,
        pairs: &[(NodeId, NodeId)],
        merge: NodeId,
        out: &mut Object,
    ) -> Result<(), Misfit> {
        let outer = self.merged.clone();
        if self.merged.is_none() {
            let keys = pairs
                .iter()
                .map(|(key, _)| self.nodes.get(*key).text.clone());
            self.merged = Some(keys.collect());
        }
        self.merges += 1;
        if self.merges > MERGES_MAX {
            let message = format!("more than {MERGES_MAX} merge keys inside each other");
            return Err(self.stop(id, message.clone(), message));
        }
        let nodes = self.nodes;
        match &nodes.get(merge).content {
            Content::Sequence(items) => {
                for item in items {
                    self.merge_one(*item, out)?;
                }
            }
            _ => self.merge_one(merge, out)?,
        }
        self.merges -= 1;
        self.merged = outer;
        Ok(())
    }

    fn merge_one(&mut self, id: NodeId, out: &mut Object) -> Result<(), Misfit> {
        let target = match self.nodes.get(id).content {
            Content::Alias(target) => target,
            _ => id,
        };
        if !matches!(self.nodes.get(target).content, Content::Mapping(_)) {
            let message = "map merge requires map or sequence of maps as the value".to_owned();
            return Err(self.stop(id, message.clone(), message));
        }
        self.object(id, out).map(|_| ())
    }

    /// Notes keys that repeat in one mapping; the mapping is then not decoded.
    fn repeats(&mut self, pairs: &[(NodeId, NodeId)]) -> bool {
        let nodes = self.nodes;
        let identity = |key: NodeId| {
            let node = nodes.get(key);
            let kind = match node.content {
                Content::Scalar => 0u8,
                Content::Sequence(_) => 1,
                Content::Mapping(_) => 2,
                Content::Alias(_) => 3,
            };
            (kind, node.text.as_str())
        };
        let mut places: HashMap<(u8, &str), Vec<NodeId>> = HashMap::with_capacity(pairs.len());
        for (key, _) in pairs {
            places.entry(identity(*key)).or_default().push(*key);
        }
        if places.len() == pairs.len() {
            return false;
        }
        for (key, _) in pairs {
            let Some(same) = places.remove(&identity(*key)) else {
                continue;
            };
            for (index, first) in same.iter().enumerate() {
                for later in &same[index + 1..] {
                    if self.misfits.len() >= FAULTS_MAX {
                        return true;
                    }
                    let (node, line) = (nodes.get(*later), nodes.get(*first).line);
                    let message = format!(
                        "mapping key {} already defined at line {line}",
                        go::quote(&node.text)
                    );
                    self.misfits.push(Misfit {
                        line: node.line,
                        column: node.column,
                        exact: message.clone(),
                        message,
                    });
                }
            }
        }
        true
    }

    /// Decodes one field. `Ok(false)`: nothing was taken.
    fn value(&mut self, id: NodeId, kind: &Kind, out: &mut Value) -> Taken {
        match kind {
            Kind::Object(shape) => {
                // Null leaves an object as it is.
                if self.is_null(id) {
                    return Ok(false);
                }
                let before = out.is_empty();
                let taken = self.object(id, object_in(out, shape))?;
                if !taken && before {
                    *out = Value::Unset;
                }
                Ok(taken)
            }
            Kind::Bool => self.leaf(id, "bool", out, |node, resolved| match resolved {
                Resolved::Bool(bool) => Some(Value::Bool(bool)),
                Resolved::Text => match node {
                    "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
                        Some(Value::Bool(true))
                    }
                    "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
                        Some(Value::Bool(false))
                    }
                    _ => None,
                },
                _ => None,
            }),
            Kind::Int => self.leaf(id, "int", out, |_, resolved| match resolved {
                Resolved::Int(int) => Some(Value::Int(int)),
                Resolved::Float(float) => truncated(float).map(Value::Int),
                _ => None,
            }),
            Kind::Text => self.leaf(id, "string", out, |text, _| {
                Some(Value::Text(text.to_owned()))
            }),
            Kind::Bytes => self.bytes(id, out),
            Kind::Texts(element) => {
                let element = match *element {
                    "string" => "string".to_owned(),
                    // Types of their own in the first version alone.
                    "LuksOption" | "RaidOption" if self.version > 0 => "string".to_owned(),
                    name => self.go_name(name),
                };
                let mut texts = Vec::new();
                let taken = self.sequence(id, &format!("[]{element}"), |decoder, item| {
                    let mut value = Value::Unset;
                    decoder.leaf(item, &element, &mut value, |text, _| {
                        Some(Value::Text(text.to_owned()))
                    })?;
                    if let Value::Text(text) = value {
                        texts.push(text);
                    }
                    Ok(())
                })?;
                if taken {
                    *out = Value::Texts(texts);
                }
                Ok(taken)
            }
            Kind::Objects(shape, list) => {
                let list = match *list {
                    "" => format!("[]{}", self.go_name(shape.name)),
                    list => self.go_name(list),
                };
                let mut objects = Vec::new();
                let taken = self.sequence(id, &list, |decoder, item| {
                    let mut object = Object::new(shape);
                    if decoder.object(item, &mut object)? {
                        objects.push(object);
                    }
                    Ok(())
                })?;
                if taken {
                    *objects_in(out) = objects;
                }
                Ok(taken)
            }
        }
    }

    fn is_null(&self, id: NodeId) -> bool {
        self.nodes.is_null(id)
    }

    fn sequence(
        &mut self,
        id: NodeId,
        go_type: &str,
        mut item: impl FnMut(&mut Self, NodeId) -> Result<(), Misfit>,
    ) -> Taken {
        let (target, alias) = self.enter(id)?;
        let nodes = self.nodes;
        let taken = match &nodes.get(target).content {
            Content::Sequence(items) => {
                for child in items {
                    item(self, *child)?;
                }
                Ok(true)
            }
            Content::Mapping(pairs) => match self.repeats(pairs) {
                true => Ok(false),
                false => self.misfit(target, "!!map", go_type),
            },
            _ => self.scalar(target, go_type, |_, _| None),
        };
        self.leave(id, alias);
        taken
    }

    fn leaf(
        &mut self,
        id: NodeId,
        go_type: &str,
        out: &mut Value,
        take: impl FnOnce(&str, Resolved) -> Option<Value>,
    ) -> Taken {
        let (target, alias) = self.enter(id)?;
        let nodes = self.nodes;
        let taken = match &nodes.get(target).content {
            Content::Sequence(_) => self.misfit(target, "!!seq", go_type),
            Content::Mapping(pairs) => match self.repeats(pairs) {
                true => Ok(false),
                false => self.misfit(target, "!!map", go_type),
            },
            _ => {
                let mut value = None;
                let taken = self.scalar(target, go_type, |text, resolved| {
                    value = take(text, resolved);
                    value.as_ref().map(|_| ())
                });
                if let Some(value) = value {
                    *out = value;
                }
                taken
            }
        };
        self.leave(id, alias);
        taken
    }

    fn bytes(&mut self, id: NodeId, out: &mut Value) -> Taken {
        let target = match self.nodes.get(id).content {
            Content::Alias(target) => target,
            _ => id,
        };
        let node = self.nodes.get(target);
        if node.tag != scalar::BINARY || !matches!(node.content, Content::Scalar) {
            let taken = self.leaf(id, "string", out, |text, _| {
                Some(Value::Text(text.to_owned()))
            })?;
            if let Value::Text(text) = std::mem::take(out) {
                *out = Value::Bytes(text.into_bytes());
            }
            return Ok(taken);
        }
        self.count(id)?;
        if target != id {
            self.repeated += node.text.len();
        }
        *out = Value::Bytes(self.binary(target)?);
        Ok(true)
    }

    /// Resolves a scalar and offers it. Null is never taken; what is not taken is a misfit.
    fn scalar(
        &mut self,
        id: NodeId,
        go_type: &str,
        take: impl FnOnce(&str, Resolved) -> Option<()>,
    ) -> Taken {
        let node = self.nodes.get(id);
        let binary;
        let (tag, resolved, text) = if node.tag == scalar::BINARY {
            binary = lossy(&self.binary(id)?);
            (node.tag.clone(), Resolved::Text, binary.as_str())
        } else {
            match scalar::resolve(&node.tag, &node.text) {
                Ok((tag, resolved)) => (tag, resolved, node.text.as_str()),
                Err(found) => {
                    let exact = format!("cannot decode {found} `{}` as a {}", node.text, node.tag);
                    let message = format!("cannot decode {found} as a {}", node.tag);
                    return Err(self.stop(id, exact, message));
                }
            }
        };
        if resolved == Resolved::Null {
            return Ok(false);
        }
        match take(text, resolved) {
            Some(()) => Ok(true),
            None => {
                let tag = tag.into_owned();
                self.misfit(id, &tag, go_type)
            }
        }
    }

    fn binary(&self, id: NodeId) -> Result<Vec<u8>, Misfit> {
        let text: String = self
            .nodes
            .get(id)
            .text
            .chars()
            .filter(|c| !matches!(c, '\r' | '\n'))
            .collect();
        STANDARD.decode(text).map_err(|_| {
            let message = "!!binary value contains invalid base64 data".to_owned();
            self.stop(id, message.clone(), message)
        })
    }

    fn misfit(&mut self, id: NodeId, tag: &str, go_type: &str) -> Taken {
        let node = self.nodes.get(id);
        let tag = match &*node.tag {
            "" => tag,
            tag => tag,
        };
        if self.misfits.len() < FAULTS_MAX {
            let quoted = match tag {
                "!!seq" | "!!map" => String::new(),
                _ if node.text.len() > 10 => {
                    format!(
                        " `{}...`",
                        lossy(&node.text.as_bytes()[..7]).replace(NO_UTF8, "\u{fffd}")
                    )
                }
                _ => format!(" `{}`", node.text),
            };
            self.misfits.push(Misfit {
                line: node.line,
                column: node.column,
                exact: format!("cannot unmarshal {tag}{quoted} into {go_type}"),
                message: format!("cannot unmarshal {} into {go_type}", scalar::shown_tag(tag)),
            });
        }
        Ok(false)
    }

    fn stop(&self, id: NodeId, exact: String, message: String) -> Misfit {
        let node = self.nodes.get(id);
        Misfit {
            line: node.line,
            column: node.column,
            exact,
            message,
        }
    }

    fn go_name(&self, name: &str) -> String {
        format!("{}.{name}", self.package)
    }
}

fn allowed_ratio(decoded: u64) -> f64 {
    const LOW: u64 = 400_000;
    const HIGH: u64 = 4_000_000;
    match decoded {
        ..=LOW => 0.99,
        HIGH.. => 0.10,
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        _ => 0.99 - 0.89 * ((decoded - LOW) as f64 / (HIGH - LOW) as f64),
    }
}

/// Towards zero, as the reference's machine converts: what is too small, and 2^63 itself, becomes
/// the least integer.
fn truncated(float: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() || float > LIMIT {
        return None;
    }
    if (-LIMIT..LIMIT).contains(&float) {
        #[expect(clippy::cast_possible_truncation, reason = "within range")]
        return Some(float as i64);
    }
    Some(i64::MIN)
}
