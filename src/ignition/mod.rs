//! Butane (`variant: flatcar`) and presets in, Ignition 3 and per-platform user data out. Knows nothing of Terraform but in its faces.
//!
//! Source: the facts about Butane 0.28 and Ignition 2.26.

pub(crate) mod data_url;
mod deflate;
pub(crate) mod unit;
pub mod user_data;

/// What to translate.
#[derive(Clone, Default)]
pub struct Input {
    /// Butane YAML or Ignition JSON, lowest first: presets, content, snippets. The label is the attribute to blame.
    pub documents: Vec<Document>,
}

/// One document. Its text may hold secrets: no `Debug`.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Document {
    pub origin: Origin,
    pub text: String,
}

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Origin {
    Preset(&'static str),
    Content,
    Snippet(usize),
}
