//! An Ignition config read from JSON nodes, by Go's rules: names match whatever their case, null is
//! nothing, the last of a repeated key counts.

use crate::ignition::config::fields::CONFIG;
use crate::ignition::config::report::{Problem, Problems, Severity, UNUSED_KEY};
use crate::ignition::config::{
    At, Field, Format, Kind, Object, Path, Shape, Step, Value, keys, object_in, objects_in,
};
use crate::text::scalar;
use crate::text::yaml::{Content, NodeId, Nodes};

/// Mismatches beyond this are not reported.
const MISMATCHES_MAX: usize = 1000;

/// Something that is not of the type that its field has.
pub(crate) struct Mismatch {
    /// Go's words.
    pub(crate) exact: String,
    /// The same words without a quoted number.
    pub(crate) message: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// Fills a config. Mismatches leave their field unset.
pub(crate) fn decode(nodes: &Nodes, spec_minor: u8) -> (Object, Vec<Mismatch>) {
    let mut config = Object::new(&CONFIG);
    let mut decoder = Decoder {
        nodes,
        spec_minor,
        fields: Vec::new(),
        mismatches: Vec::new(),
    };
    if let Some(root) = nodes.root() {
        decoder.object(root, &mut config);
    }
    (config, decoder.mismatches)
}

struct Decoder<'a> {
    nodes: &'a Nodes,
    spec_minor: u8,
    /// The object and its field on the way down, for Go's words.
    fields: Vec<(&'static Shape, &'static Field)>,
    mismatches: Vec<Mismatch>,
}

impl Decoder<'_> {
    fn object(&mut self, id: NodeId, out: &mut Object) {
        let nodes = self.nodes;
        let Content::Mapping(pairs) = &nodes.get(id).content else {
            if !self.is_null(id) {
                self.mismatch(id, &format!("types.{}", out.shape.name));
            }
            return;
        };
        for (key, value) in pairs {
            let name = &nodes.get(*key).text;
            let minor = self.spec_minor;
            let matching = |exact: bool| {
                move |field: &Field| {
                    known(field, minor)
                        && if exact {
                            field.json == name
                        } else {
                            field.json.eq_ignore_ascii_case(name)
                        }
                }
            };
            let shape = out.shape;
            let field = shape
                .fields
                .iter()
                .find(|field| matching(true)(field))
                .or_else(|| shape.fields.iter().find(|field| matching(false)(field)));
            if let Some(field) = field {
                self.fields.push((shape, field));
                self.value(*value, field, out);
                self.fields.pop();
            }
        }
    }

    fn value(&mut self, id: NodeId, field: &'static Field, out: &mut Object) {
        if self.is_null(id) {
            // Null clears what may be absent and leaves the rest.
            if !matches!(field.kind, Kind::Object(_)) && !field.always {
                out.set(field.name, Value::Unset);
            }
            return;
        }
        let element = element_type(out.shape, field);
        let nodes = self.nodes;
        let node = nodes.get(id);
        let slot = out.get_mut(field.name);
        match (&field.kind, &node.content) {
            (Kind::Object(shape), _) => self.object(id, object_in(slot, shape)),
            (Kind::Bool, Content::Scalar) if node.tag == scalar::BOOL => {
                *slot = Value::Bool(node.text == "true")
            }
            (Kind::Int, Content::Scalar)
                if node.tag == scalar::INT && node.text.parse::<i64>().is_ok() =>
            {
                *slot = node.text.parse().map_or(Value::Unset, Value::Int);
            }
            (Kind::Text, Content::Scalar) if node.tag == scalar::STR => {
                *slot = Value::Text(node.text.clone())
            }
            (Kind::Texts(_), Content::Sequence(items)) => {
                let mut texts = Vec::new();
                for item in items {
                    let node = nodes.get(*item);
                    match node.content {
                        Content::Scalar if node.tag == scalar::STR => texts.push(node.text.clone()),
                        _ if self.is_null(*item) => texts.push(String::new()),
                        _ => self.mismatch(*item, &element),
                    }
                }
                *slot = Value::Texts(texts);
            }
            (Kind::Objects(shape, _), Content::Sequence(items)) => {
                let mut objects = Vec::new();
                for item in items {
                    let mut object = Object::new(shape);
                    self.object(*item, &mut object);
                    objects.push(object);
                }
                *objects_in(slot) = objects;
            }
            (kind, _) => {
                let go_type = match kind {
                    Kind::Bool => "bool".to_owned(),
                    Kind::Int => "int".to_owned(),
                    Kind::Texts(_) => format!("[]{element}"),
                    Kind::Objects(shape, "") => format!("[]types.{}", shape.name),
                    Kind::Objects(_, list) => format!("types.{list}"),
                    _ => "string".to_owned(),
                };
                self.mismatch(id, &go_type);
            }
        }
    }

    fn is_null(&self, id: NodeId) -> bool {
        let node = self.nodes.get(id);
        matches!(node.content, Content::Scalar) && node.tag == scalar::NULL
    }

    fn mismatch(&mut self, id: NodeId, go_type: &str) {
        if self.mismatches.len() >= MISMATCHES_MAX {
            return;
        }
        let node = self.nodes.get(id);
        let (what, quoted) = match (&node.content, &*node.tag) {
            (Content::Mapping(_), _) => ("object", String::new()),
            (Content::Sequence(_), _) => ("array", String::new()),
            (_, scalar::BOOL) => ("bool", String::new()),
            (_, scalar::STR) => ("string", String::new()),
            (_, scalar::INT | scalar::FLOAT) if go_type == "int" => {
                ("number", format!(" {}", node.text))
            }
            _ => ("number", String::new()),
        };
        let place = match self.fields.last() {
            None => "value".to_owned(),
            Some((shape, _)) => {
                let names =
                    self.fields
                        .iter()
                        .map(|(shape, field)| match embedded_in(shape, field) {
                            "" => field.json.to_owned(),
                            embedded => format!("{embedded}.{}", field.json),
                        });
                format!(
                    "struct field {}.{}",
                    shape.name,
                    names.collect::<Vec<_>>().join(".")
                )
            }
        };
        self.mismatches.push(Mismatch {
            exact: format!(
                "json: cannot unmarshal {what}{quoted} into Go {place} of type {go_type}"
            ),
            message: format!("cannot unmarshal {what} into {go_type}"),
            line: node.line,
            column: node.column,
        });
    }
}

/// Go's name of the elements of a list of texts.
fn element_type(shape: &Shape, field: &Field) -> String {
    let name = match (&field.kind, shape.name, field.name) {
        (Kind::Texts("string"), _, "no_proxy") => "NoProxyItem",
        (Kind::Texts("string"), _, "mount_options") => "MountOption",
        (Kind::Texts("string"), _, "open_options") => "OpenOption",
        (Kind::Texts("string"), shape, _) => return format!("types.{shape}Option"),
        (Kind::Texts(name), ..) => name,
        _ => "",
    };
    format!("types.{name}")
}

/// Go's name of the struct inside a node's struct that has the field.
fn embedded_in(shape: &Shape, field: &Field) -> &'static str {
    match (shape.name, field.name) {
        ("File" | "Directory" | "Link", "group" | "overwrite" | "path" | "user") => "Node",
        ("File", _) => "FileEmbedded1",
        ("Directory", _) => "DirectoryEmbedded1",
        ("Link", _) => "LinkEmbedded1",
        _ => "",
    }
}

fn known(field: &Field, spec_minor: u8) -> bool {
    field.spec <= spec_minor
}

/// Warns of keys that this version of Ignition lacks. Paths are those of the JSON.
pub(crate) fn unused_keys(nodes: &Nodes, config: &Object, spec_minor: u8, problems: &mut Problems) {
    if let Some(root) = nodes.root() {
        unused_in(nodes, root, config, spec_minor, &At::ROOT, problems);
    }
}

fn unused_in(
    nodes: &Nodes,
    id: NodeId,
    object: &Object,
    minor: u8,
    at: &At<'_>,
    problems: &mut Problems,
) {
    let Content::Mapping(pairs) = &nodes.get(id).content else {
        let path = at.path();
        let message = format!(
            "context tree does not match content tree at {path}. Line and column reporting may be inconsistent. Unused keys may not be \
             reported"
        );
        return problems.warning(path, message);
    };
    for (key, _) in pairs {
        let name = &nodes.get(*key).text;
        if object
            .entries()
            .all(|(field, _)| field.json != name || !known(field, minor))
        {
            problems.push(Problem {
                severity: Severity::Warning,
                path: at.path(),
                message: format!("{UNUSED_KEY}{name}"),
                unknown_key: Some(name.clone()),
                of_files: false,
                advice: keys::advice(object.shape, name, minor, Format::Ignition),
            });
        }
    }
    for (field, value) in object.entries().filter(|(field, _)| known(field, minor)) {
        let Some(child) = nodes.child(id, field.json) else {
            continue;
        };
        let at = at.name(field.json);
        match (&field.kind, value) {
            (_, Value::Object(object)) => unused_in(nodes, child, object, minor, &at, problems),
            (Kind::Object(shape), _) => {
                unused_in(nodes, child, &Object::new(shape), minor, &at, problems)
            }
            (_, Value::Objects(objects)) => {
                for (index, object) in objects.iter().enumerate() {
                    if let Some(element) = nodes.element(child, index) {
                        unused_in(nodes, element, object, minor, &at.index(index), problems);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A path in Butane's names, in Ignition's.
pub(crate) fn path_in_json(path: &Path) -> Path {
    let mut shape = Some(&CONFIG);
    let steps = path.0.iter().map(|step| {
        let Step::Name(name) = step else { return *step };
        let field = shape.and_then(|shape| shape.fields.iter().find(|field| field.name == *name));
        shape = field.and_then(|field| match field.kind {
            Kind::Object(shape) | Kind::Objects(shape, _) => Some(shape),
            _ => None,
        });
        field.map_or(*step, |field| Step::Name(field.json))
    });
    Path(steps.collect())
}
