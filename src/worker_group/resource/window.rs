//! What `roll_window` has to say about a plan, and whether an apply may begin.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::flatcar::Date;
use crate::provider::{Diagnostic, Diagnostics, Path};
use crate::worker_group::model::{Fields, Stands, Window};
use crate::worker_group::plan::Changes;

use super::report::count;

/// When an apply of `changes` has to begin with no further replacement; `None`: it need not. An
/// error: it may not begin now, and there is nothing else to do.
pub(super) fn window_closes(
    fields: &Fields,
    changes: &Changes,
    now: SystemTime,
) -> Result<Option<Instant>, Diagnostic> {
    match stands(fields, changes, now) {
        None => Ok(None),
        Some(Stands::Open(until)) => {
            let left = until.duration_since(now).unwrap_or_default();
            Ok(Instant::now().checked_add(left))
        }
        Some(Stands::Closed(_)) if changes.list.len() > 2 * changes.rolled => {
            Ok(Some(Instant::now()))
        }
        Some(Stands::Closed(until)) => Err(Diagnostic::error(
            "Roll window is closed",
            format!(
                "{} would be replaced, and may be from {} on. Nothing was changed. Apply again then; with another roll_window, or without one, it may be sooner.",
                count(changes.rolled, "healthy machine"),
                Date::stamp(until)
            ),
        )
        .at(Path::of("roll_window"))),
    }
}

/// What is to be known of an apply that would be refused now.
pub(super) fn foreseen(fields: &Fields, changes: &Changes, now: SystemTime) -> Diagnostics {
    let Some(Stands::Closed(until)) = stands(fields, changes, now) else {
        return Diagnostics::none();
    };
    let detail = format!(
        "This plan replaces {}, and no apply does that before {}, when the window opens.",
        count(changes.rolled, "healthy machine"),
        Date::stamp(until)
    );
    let warning = Diagnostic::warning("Roll window is closed", detail);
    warning.at(Path::of("roll_window")).into()
}

/// `None`: no healthy machine is replaced, or that may be at any time.
fn stands(fields: &Fields, changes: &Changes, now: SystemTime) -> Option<Stands> {
    let window = fields.roll_window.known().filter(|_| changes.rolled > 0)?;
    Some(Window::of(window)?.stands(now))
}
