//! How much of what is wrong is kept, and how much of that is told: something that is wrong a million times costs no memory for each, and
//! nobody reads a million lines.

use std::fmt;

use crate::ignition::config::report::{Report, ReportEntry, Severity};

/// So many errors, and so many warnings, of one document or report are kept.
const KEPT: usize = 1000;
/// So many entries of one report are told, errors first.
const TOLD: usize = 200;

/// Counts of errors and warnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of errors.
    pub errors: usize,
    /// Of warnings.
    pub warnings: usize,
}

/// How many problems were found: those that are kept, and those beyond.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    kept: Counts,
    more: Counts,
}

impl Counts {
    fn of(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }

    /// Whether there is none.
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
    /// How many more problems of this severity are kept; counts them all.
    pub(crate) fn take(&mut self, severity: Severity, count: usize) -> usize {
        let kept = self.kept.of(severity);
        let taken = count.min(KEPT - *kept);
        *kept += taken;
        *self.more.of(severity) += count - taken;
        taken
    }

    /// Counts what another one has beyond what it kept.
    pub(crate) fn append(&mut self, other: Self) {
        self.more.errors += other.more.errors;
        self.more.warnings += other.more.warnings;
    }
}

impl Report {
    /// What to tell, in order, and how much there is beyond that. Warnings give way to errors.
    pub fn told(&self) -> (Vec<&ReportEntry>, Counts) {
        self.told_of(|_| true)
    }

    /// The same of the entries that are `wanted`.
    pub fn told_of(&self, wanted: impl Fn(&ReportEntry) -> bool) -> (Vec<&ReportEntry>, Counts) {
        let is_error = |entry: &ReportEntry| entry.severity == Severity::Error;
        let wanted: Vec<&ReportEntry> = self
            .entries
            .iter()
            .filter(|entry| entry.told && wanted(entry))
            .collect();
        let errors = wanted.iter().filter(|entry| is_error(entry)).count();
        let (mut errors_left, mut warnings_left) = (errors.min(TOLD), TOLD.saturating_sub(errors));
        let (mut told, mut more) = (Vec::new(), self.tally.more);
        for entry in wanted {
            let left = match is_error(entry) {
                true => &mut errors_left,
                false => &mut warnings_left,
            };
            match left.checked_sub(1) {
                Some(fewer) => {
                    *left = fewer;
                    told.push(entry);
                }
                None => *more.of(entry.severity) += 1,
            }
        }
        (told, more)
    }
}
