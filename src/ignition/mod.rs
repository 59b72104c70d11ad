//! Butane (`variant: flatcar`) and presets in, Ignition 3 and per-platform user data out. Knows nothing of Terraform but in its faces.
//!
//! [`render`] is the way in: documents are translated one by one, lifted to one version of Ignition, merged in order, and validated
//! again. Everything that is wrong is in the [`Report`], each entry with the document and the place to blame.
//!
//! Source: the facts about Butane 0.28 and Ignition 2.26.

mod butane;
mod config;
pub mod data_source;
#[cfg(test)]
mod differential;
pub mod ephemeral;
pub mod function;
mod packing;
pub mod preset;
mod release;
mod render;
mod rendered;
mod text;

use std::fmt;
use std::path::PathBuf;

pub use config::report::{Report, ReportEntry, Severity};
pub use config::tally::Counts;
pub use packing::user_data;
pub use release::{check_release, unread};
pub use render::{merge_unchecked, render};
pub use rendered::{
    Unusable, canonical, check_user_data, differences, merge_hostname, refusals, version_of,
};

/// What to translate.
#[derive(Clone, Default)]
pub struct Input {
    /// Butane YAML or Ignition JSON, lowest first: presets, content, snippets. The label is the attribute to blame.
    pub documents: Vec<Document>,
}

/// One document. Its text may hold secrets: no `Debug`.
#[derive(Clone)]
pub struct Document {
    /// Whose it is.
    pub origin: Origin,
    /// Butane YAML or Ignition JSON.
    pub text: String,
}

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A preset, by its attribute.
    Preset(&'static str),
    /// `content`.
    Content,
    /// `snippets[n]`.
    Snippet(usize),
    /// A parameter of a function, by its name.
    Argument(&'static str),
    /// One of a function's further arguments: `overlays[n]`.
    Further(&'static str, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(name) | Self::Argument(name) => out.write_str(name),
            Self::Content => out.write_str("content"),
            Self::Snippet(index) => write!(out, "snippets[{index}]"),
            Self::Further(name, index) => write!(out, "{name}[{index}]"),
        }
    }
}

/// How to translate and how to write.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Any entry of the report is a failure.
    pub strict: bool,
    /// Indent the JSON.
    pub pretty: bool,
    /// The root of `local:` and `trees:`; nothing outside it is read.
    pub files_dir: Option<PathBuf>,
    /// Whose bytes to write.
    pub style: Style,
    /// Data that the config carries is taken as it is: the reference does not look into it, and of a config that is not whole yet nobody can.
    pub data_unchecked: bool,
}

/// Whose bytes to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// The `butane` command's: what is empty is left out.
    #[default]
    Butane,
    /// terraform-provider-ct's: Ignition 3.4.0, empty objects are kept.
    Ct,
}

/// A rendered config. It may hold secrets: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Ignition JSON, without a line feed at its end.
    pub json: String,
    /// Its `ignition.version`: `"3.4.0"`.
    pub spec: &'static str,
    /// The document that this version comes from: the first of those with the highest.
    pub raised_by: Origin,
}
