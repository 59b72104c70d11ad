//! Entries of a report as diagnostics: which attribute is to blame, and what to do.

use crate::ignition::{Counts, Origin, ReportEntry, Severity};
use crate::provider::{Diagnostic, Diagnostics, Path};

/// One entry, on the attribute that its document came from.
pub(super) fn diagnostic(entry: &ReportEntry, strict: bool) -> Diagnostic {
    let mut detail = entry.to_string();
    // Core shows no index where the list is an expression.
    if let Origin::Snippet(_) | Origin::Further(..) = entry.origin {
        detail.push_str(&format!("\n\nIt is in {}.", entry.origin));
    }
    if let Some(advice) = &entry.advice {
        detail.push_str("\n\n");
        detail.push_str(advice.trim_end_matches('.'));
        detail.push('.');
    }
    let summary = summary(&entry.message);
    match entry.severity {
        Severity::Warning if !strict => Diagnostic::warning(summary, detail),
        Severity::Warning => {
            detail.push_str("\n\nWith strict = true a warning is an error.");
            Diagnostic::error(summary, detail)
        }
        Severity::Error => Diagnostic::error(summary, detail),
    }
    .at(blamed(entry.origin))
}

/// The attribute that a document came from.
pub(super) fn blamed(origin: Origin) -> Path {
    match origin {
        Origin::Preset(name) | Origin::Argument(name) => Path::of(name),
        Origin::Content => Path::of("content"),
        Origin::Snippet(index) => Path::of("snippets").index(index),
        Origin::Further(name, index) => Path::of(name).index(index),
    }
}

/// The message where it is short, else that there is a problem.
fn summary(message: &str) -> String {
    const LONGEST: usize = 60;
    let line = message.lines().next().unwrap_or_default();
    if let Some(preset) = line
        .strip_prefix("overrides preset ")
        .and_then(|rest| rest.split(':').next())
    {
        return format!("Preset {preset} is overridden");
    }
    if line.is_empty() || line.chars().count() > LONGEST || line.len() < message.len() {
        return "The config has a problem".to_owned();
    }
    let mut letters = line.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The entries that are shown, and how many there are beyond them.
pub(super) fn warnings(entries: &[&ReportEntry], more: Counts) -> Vec<String> {
    let shown = entries.iter().map(|entry| entry.to_string());
    shown
        .chain((!more.is_empty()).then(|| more.to_string()))
        .collect()
}

/// Says that there are more problems than are shown.
pub(super) fn beyond(more: Counts, strict: bool) -> Diagnostics {
    if more.is_empty() {
        return Diagnostics::none();
    }
    let detail = format!(
        "There are {more}, which are not shown. Correct those that are shown, and plan again to see the rest."
    );
    let summary = "There are more problems";
    match more.errors > 0 || strict {
        true => Diagnostic::error(summary, detail).into(),
        false => Diagnostic::warning(summary, detail).into(),
    }
}
