//! Butane (`variant: flatcar`) and presets in, Ignition 3 and per-platform user data out. Knows
//! nothing of Terraform but in its faces.
//!
//! [`render`] is the way in: documents are translated one by one, lifted to one version of
//! Ignition, merged in order, and validated again. Everything that is wrong is in the [`Report`],
//! each entry with the document and the place to blame.
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

pub use config::report::{Origin, Report, ReportEntry, Severity};
pub use config::tally::Counts;
pub use config::to_json::Style;
pub use packing::user_data;
pub use release::{check_release, unread};
pub use render::{Document, Input, Options, Rendered, merge_unchecked, render};
pub use rendered::{
    Unusable, canonical, check_user_data, differences, merge_file, merge_hostname, refusals,
    version_of,
};
