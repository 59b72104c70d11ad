//! One document to an Ignition config: its header read, its nodes decoded, its sugar taken out, and
//! everything that is wrong reported.
//!
//! [`translate`] is the way in. A document goes through `header`, `decode`, `source` and `sugar`.

mod confined;
mod decode;
mod desugar;
pub(super) mod files;
pub(super) mod header;
mod inline_config;
mod quadlets;
pub(super) mod source;
mod sugar;
pub(super) mod translate;
mod trees;
