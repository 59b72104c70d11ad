//! What a preflight finds: each fault once, on its attribute.
//!
//! In: answers, and what does not fit together. Out: diagnostics; or a question that was not
//! answered and is worth another try, which ends the preflight.

use super::{CloudError, Growth};
use crate::provider::{Diagnostic, Diagnostics, Path};

/// What a cloud says of a refusal before an apply; faults of one cause are said once.
pub struct Refusal {
    /// What tells it from others.
    pub cause: String,
    /// At most 60 characters.
    pub summary: &'static str,
    /// Whole sentences: what exists, and what to do.
    pub advice: &'static str,
}

/// The faults found so far.
pub struct Findings {
    refusal: Option<fn(&CloudError) -> Option<Refusal>>,
    causes: Vec<String>,
    problems: Diagnostics,
}

impl Findings {
    /// None so far. `refusal` words a refusal, or passes over one that is no fault of the group.
    pub fn new(refusal: fn(&CloudError) -> Option<Refusal>) -> Self {
        Self {
            refusal: Some(refusal),
            causes: Vec::new(),
            problems: Diagnostics::none(),
        }
    }

    /// For who needs every answer: the first refusal is the error.
    pub fn strict() -> Self {
        Self {
            refusal: None,
            ..Self::new(|_| None)
        }
    }

    /// What was answered; a refusal is a finding.
    ///
    /// # Errors
    /// What is worth another try.
    pub fn of<T>(&mut self, answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_retryable() || self.refusal.is_none() => Err(error),
            Err(error) => {
                self.refused(&error);
                Ok(None)
            }
        }
    }

    /// A refusal, unless one of its cause was found before.
    pub fn refused(&mut self, error: &CloudError) {
        let Some(refusal) = self.refusal.and_then(|worded| worded(error)) else {
            return;
        };
        if !self.causes.contains(&refusal.cause) {
            self.causes.push(refusal.cause);
            let problem = error.problem(refusal.summary, refusal.advice);
            self.problems.push(problem);
        }
    }

    /// Something that does not exist, or does not fit the rest.
    pub fn misfit(&mut self, at: Path, summary: impl Into<String>, detail: impl Into<String>) {
        self.problems
            .push(Diagnostic::error(summary, detail).at(at));
    }

    /// Names of a list that are none of those that there are: `detail` says of each what there is.
    pub fn missing<S: AsRef<str>>(
        &mut self,
        at: &Path,
        listed: &[S],
        known: &[&str],
        summary: &str,
        detail: impl Fn(&str) -> String,
    ) {
        for (index, name) in listed.iter().map(AsRef::as_ref).enumerate() {
            if !known.contains(&name) {
                self.misfit(at.index(index), summary, detail(name));
            }
        }
    }

    /// A warning where there is room for no more than `left` machines; an error where there is none
    /// for a single one, for a roll gives back what it takes. `detail` has how many come, and what
    /// to do before what the cloud itself advises.
    pub fn room(
        &mut self,
        growth: Growth,
        left: usize,
        summaries: (&str, Option<&str>),
        at: Option<Path>,
        detail: impl FnOnce(usize, &str) -> String,
    ) {
        let Some(advice) = growth.advice(left) else {
            return;
        };
        let detail = detail(growth.at_once, advice);
        let problem = match summaries {
            (_, Some(none)) if left == 0 => Diagnostic::error(none, detail),
            (short, _) => Diagnostic::warning(short, detail),
        };
        self.problems.push(Diagnostic {
            path: at,
            ..problem
        });
    }

    /// [`Findings::room`] in a quota of what machines take (`"cores"`): there is so much, of which
    /// so much is used, and a machine takes so much. A negative limit is none.
    pub fn quota(&mut self, growth: Growth, what: &str, [most, used, each]: [i64; 3]) {
        if most < 0 || each <= 0 {
            return;
        }
        let left = usize::try_from(most.saturating_sub(used).max(0) / each).unwrap_or(usize::MAX);
        let short = format!("Quota of {what} may not be enough");
        let none = format!("Quota of {what} is exhausted");
        self.room(growth, left, (&short, Some(&none)), None, |more, advice| {
            format!(
                "The project may have {most} {what} and uses {used}; a machine takes {each}, and {more} more than now are to exist at a time. \
                 {advice}Ask for a larger quota, or choose fewer or smaller machines."
            )
        });
    }

    /// Another fault.
    pub fn push(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.problems.has_errors()
    }

    /// All of them.
    pub fn told(self) -> Diagnostics {
        self.problems
    }
}
