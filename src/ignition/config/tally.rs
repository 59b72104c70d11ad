//! Counts of problems: what is wrong a million times costs no memory for each, and nobody reads a
//! million lines.

use std::fmt;

/// Of one document or report, this many errors and this many warnings are kept.
const KEPT: usize = 1000;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The config is rendered all the same; strict mode fails.
    Warning,
    /// Nothing is rendered.
    Error,
}

/// Counts of errors and warnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many errors.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
}

/// How many problems were found: those that are kept, and those beyond them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    kept: Counts,
    more: Counts,
}

impl Counts {
    /// The count of one severity.
    pub(super) fn of(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `2 more errors and 1 more warning`.
impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |count: usize, word: &str| match count {
            1 => format!("1 more {word}"),
            count => format!("{count} more {word}s"),
        };
        match (self.errors, self.warnings) {
            (errors, 0) => out.write_str(&words(errors, "error")),
            (0, warnings) => out.write_str(&words(warnings, "warning")),
            (errors, warnings) => write!(
                out,
                "{} and {}",
                words(errors, "error"),
                words(warnings, "warning")
            ),
        }
    }
}

impl Tally {
    /// Counts problems of one severity, and returns how many of them are to be kept.
    pub(crate) fn take(&mut self, severity: Severity, count: usize) -> usize {
        let kept = self.kept.of(severity);
        let taken = count.min(KEPT - *kept);
        *kept += taken;
        *self.more.of(severity) += count - taken;
        taken
    }

    /// How many there are beyond those that are kept.
    pub(super) fn more(&self) -> Counts {
        self.more
    }

    /// Counts what another one has beyond what it kept.
    pub(crate) fn append(&mut self, other: Self) {
        self.more.errors += other.more.errors;
        self.more.warnings += other.more.warnings;
    }
}
