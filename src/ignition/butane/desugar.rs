//! What every kind of sugar needs when it is taken out: where to report, whom to blame for what is
//! made, how contents are embedded, and which paths are taken.

use std::collections::HashMap;

use crate::ignition::butane::files::Files;
use crate::ignition::config::report::Problems;
use crate::ignition::config::{FieldSource, Object, Path, Source, Value};
use crate::ignition::packing::data_url;

pub(crate) const NODE_EXISTS: &str =
    "matching filesystem node has existing contents or different type";

/// What desugaring needs to know, and where it puts what goes wrong.
pub(crate) struct Desugar<'a> {
    /// The document's number, for blame.
    pub(crate) document: usize,
    pub(crate) files: &'a Files,
    pub(crate) problems: Problems,
}

impl Desugar<'_> {
    /// Blame for one field on a place in the document.
    pub(crate) fn blame(&self, field: &'static str, path: Path) -> FieldSource {
        FieldSource {
            field,
            index: None,
            source: Source {
                document: self.document,
                path,
                whole: false,
            },
        }
    }

    /// Blame for all of an object on one place.
    pub(crate) fn blame_whole(&self, path: Path) -> Option<Box<Source>> {
        Some(Box::new(Source {
            document: self.document,
            path,
            whole: true,
        }))
    }
}

/// Makes `bytes` the contents of a resource. They are packed when that is shorter, unless the user
/// says that they already are.
pub(crate) fn set_contents(resource: &mut Object, bytes: &[u8], path: Path, desugar: &Desugar<'_>) {
    if resource.filled("compression").is_some() {
        resource.set("source", Value::Text(data_url::as_they_are(bytes)));
    } else {
        let url = data_url::shortest(bytes);
        resource.set("source", Value::Text(url.source));
        resource.set("compression", Value::Text(url.compression.to_owned()));
        resource
            .field_sources
            .push(desugar.blame("compression", path.clone()));
    }
    resource.field_sources.push(desugar.blame("source", path));
}

/// The paths that a config already has, and where.
pub(crate) struct TakenPaths {
    files: HashMap<String, usize>,
    links: HashMap<String, usize>,
    directories: HashMap<String, usize>,
}

impl TakenPaths {
    pub(crate) fn of(storage: &Object) -> Self {
        let of = |list: &str| {
            let nodes = storage.objects(list).iter().enumerate();
            nodes
                .map(|(index, node)| (node.name("path").to_owned(), index))
                .collect()
        };
        Self {
            files: of("files"),
            links: of("links"),
            directories: of("directories"),
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        [&self.files, &self.links, &self.directories]
            .iter()
            .any(|nodes| nodes.contains_key(path))
    }

    /// The place of the file of this path among the files.
    pub(crate) fn file(&self, path: &str) -> Option<usize> {
        self.files.get(path).copied()
    }

    /// The place of the link of this path among the links.
    pub(crate) fn link(&self, path: &str) -> Option<usize> {
        self.links.get(path).copied()
    }

    /// Appends a node to its list.
    pub(crate) fn add(&mut self, storage: &mut Object, node: Object) {
        let (list, nodes) = match node.shape.name {
            "File" => ("files", &mut self.files),
            "Link" => ("links", &mut self.links),
            _ => ("directories", &mut self.directories),
        };
        let list = storage.objects_mut(list);
        nodes.insert(node.name("path").to_owned(), list.len());
        list.push(node);
    }
}
