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

/// One problem. `summary`: what failed, at most 60 characters, no full stop. `detail`: what answered, what exists now, what to do.
/// Never a configured value in either: core does not redact them.
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
