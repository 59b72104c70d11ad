//! Problems for the user: severity, summary, detail, and the attribute that is to blame.

use std::fmt;

/// A step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// `.name` of an object.
    Attribute(String),
    /// `[2]` of a list.
    Index(i64),
    /// `["key"]` of a map.
    Key(String),
}

/// Where in a configuration or state: `aws.subnet_ids[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The object itself.
    pub fn root() -> Self {
        Self::default()
    }
    /// From dotted attribute names: `Path::of("aws.subnet_ids")`.
    pub fn of(dotted: &str) -> Self {
        Self(
            dotted
                .split('.')
                .filter(|name| !name.is_empty())
                .map(|name| Step::Attribute(name.to_owned()))
                .collect(),
        )
    }
    /// This path and one attribute more.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Self {
        self.with(Step::Attribute(name.to_owned()))
    }
    /// This path and one index more.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(i64::try_from(index).unwrap_or(i64::MAX)))
    }
    /// This path and one map key more.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }
    /// `self` as seen from `parent`.
    #[must_use]
    pub fn under(&self, parent: &Path) -> Self {
        Self(parent.0.iter().chain(&self.0).cloned().collect())
    }
    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Attribute(name) if position == 0 => write!(f, "{name}")?,
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem. `summary`: what failed, at most 60 characters, no full stop. `detail`: what
/// answered, what exists now, what to do. Never a configured value in either: core does not redact
/// them.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Diagnostic {
    pub severity: Severity,
    pub summary: String,
    pub detail: String,
    /// The attribute to blame; `None` where none is.
    pub path: Option<Path>,
}

impl Diagnostic {
    /// An error that no attribute is to blame for.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            path: None,
        }
    }
    /// A warning; its detail says what to do.
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(summary, detail)
        }
    }
    /// Blames an attribute.
    #[must_use]
    pub fn at(self, path: Path) -> Self {
        Self {
            path: Some(path),
            ..self
        }
    }
}

/// So many problems of one call are told: nobody reads more, and a call that answers megabytes of
/// them is refused by core.
const TOLD: usize = 300;

/// All problems of a call, in source order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }
    /// Adds an error on a path.
    pub fn wrong(&mut self, at: Path, summary: impl Into<String>, detail: impl Into<String>) {
        self.push(Diagnostic::error(summary, detail).at(at));
    }
    /// Adds all of another.
    pub fn extend(&mut self, other: Diagnostics) {
        self.0.extend(other.0);
    }
    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }
    /// Nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The first few hundred, errors before warnings where not all fit, and how many there are
    /// beyond.
    #[must_use]
    pub fn bounded(self) -> Self {
        let count = |severity| {
            let of_it = self.0.iter().filter(|problem| problem.severity == severity);
            of_it.count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors + warnings <= TOLD {
            return self;
        }
        let mut errors_left = errors.min(TOLD);
        let mut warnings_left = TOLD - errors_left;
        let more = [
            (errors - errors_left, "error"),
            (warnings - warnings_left, "warning"),
        ];
        let more: Vec<String> = more
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| {
                format!("{count} more {word}{}", if count == 1 { "" } else { "s" })
            })
            .collect();
        let beyond = format!(
            "There are {}, which are not shown. Correct those that are shown, and try again to see the rest.",
            more.join(" and ")
        );
        let summary = "There are more problems";
        let last = match errors > errors_left {
            true => Diagnostic::error(summary, beyond),
            false => Diagnostic::warning(summary, beyond),
        };
        let told = self.0.into_iter().filter(|problem| {
            let left = match problem.severity {
                Severity::Error => &mut errors_left,
                Severity::Warning => &mut warnings_left,
            };
            let told = *left > 0;
            *left = left.saturating_sub(1);
            told
        });
        Self(told.chain([last]).collect())
    }
    /// The same, with every path (and every missing path) seen from `parent`.
    #[must_use]
    pub fn under(mut self, parent: &Path) -> Self {
        for diagnostic in &mut self.0 {
            diagnostic.path = Some(diagnostic.path.take().unwrap_or_default().under(parent));
        }
        self
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_hundred_are_told_and_how_many_there_are_beyond() {
        for (errors, warnings, told_errors, told_warnings, last) in [
            (300, 0, 300, 0, None),
            (2, 298, 2, 298, None),
            (2, 9_000, 2, 299, Some("are 8702 more warnings,")),
            (
                9_000,
                2,
                301,
                0,
                Some("8700 more errors and 2 more warnings"),
            ),
        ] {
            let warning = std::iter::repeat_n(Diagnostic::warning("w", ""), warnings);
            let error = std::iter::repeat_n(Diagnostic::error("e", ""), errors);
            let bounded = Diagnostics(warning.chain(error).collect()).bounded();
            let count = |severity| bounded.0.iter().filter(|d| d.severity == severity).count();
            let counts = (count(Severity::Error), count(Severity::Warning));
            assert_eq!(counts, (told_errors, told_warnings));
            let detail = &bounded.0[bounded.0.len() - 1].detail;
            assert!(detail.contains(last.unwrap_or_default()), "{detail}");
        }
    }
}
