//! All points, some at a time, and what came of them: `docs/crash-table.md`.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::point::{End, Point};
use super::{SCENARIOS, Scenario};
use crate::harness::ROOT;

/// What came of a point: whether its call was made, or what was wrong.
pub(super) type Tried = Result<bool, String>;

/// Tries the points, some at a time. All that were asked for take up to hours, so each is told as
/// it comes, past the capture of the tests' output.
pub(super) fn try_all(
    points: &[Point<'_>],
    tried: impl Fn(&Point<'_>) -> bool + Sync,
) -> Vec<Tried> {
    let jobs = std::env::var("FLATCAR_CRASH_JOBS").ok();
    let jobs = jobs.and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS);
    let tells = std::env::var_os("FLATCAR_CRASH").is_some();
    let next = AtomicUsize::new(0);
    let all: Mutex<Vec<(usize, Tried)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(point) = points.get(index) else {
                        return;
                    };
                    let result = catch_unwind(AssertUnwindSafe(|| tried(point)));
                    let result = result.map_err(|panic| {
                        let text = panic.downcast_ref::<String>().cloned();
                        let word = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                        text.or(word).unwrap_or_default()
                    });
                    let mut all = all.lock().expect("no panic");
                    all.push((index, result));
                    let (done, of) = (all.len(), points.len());
                    let (_, result) = &all[done - 1];
                    if tells {
                        // Nobody may be listening.
                        let _ = writeln!(io::stderr(), "{done} of {of}: {point}: {result:?}");
                    }
                }
            });
        }
    });
    let mut all = all.into_inner().expect("no panic");
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, tried)| tried).collect()
}

/// The points of one cloud.
pub(super) struct Table {
    cloud: &'static str,
    rows: Vec<Row>,
    missed: Vec<String>,
    wrong: Vec<String>,
}

struct Row {
    scenario: &'static Scenario,
    calls: usize,
    /// Of each end: recovered, and tried.
    ends: Vec<(usize, usize)>,
}

impl Table {
    pub(super) fn of(
        cloud: &'static str,
        calls: &[Vec<String>],
        points: &[Point<'_>],
        tried: &[Tried],
    ) -> Self {
        let mut table = Self {
            cloud,
            rows: Vec::new(),
            missed: Vec::new(),
            wrong: Vec::new(),
        };
        for (scenario, calls) in SCENARIOS.iter().zip(calls) {
            if calls.is_empty() {
                continue;
            }
            let mut row = Row {
                scenario,
                calls: calls.len(),
                ends: vec![(0, 0); End::ALL.len()],
            };
            for (point, tried) in points.iter().zip(tried) {
                if point.scenario.name != scenario.name {
                    continue;
                }
                let end = &mut row.ends[point.end as usize];
                match tried {
                    Ok(true) => *end = (end.0 + 1, end.1 + 1),
                    Ok(false) => table.missed.push(format!("{cloud} {point}")),
                    Err(why) => {
                        end.1 += 1;
                        let of = calls.len();
                        table.wrong.push(format!("{cloud} {point} of {of}: {why}"));
                    }
                }
            }
            table.rows.push(row);
        }
        table
    }

    /// Points at which the next apply did not finish the job.
    pub(super) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// Points that no apply came to: looks are as many as there is time for.
    pub(super) fn missed(&self) -> &[String] {
        &self.missed
    }

    /// Puts this cloud's rows into the page; those of a sample only where no row counts more
    /// points.
    pub(super) fn write(&self, full: bool) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().expect("no panic");
        let page = format!("{ROOT}/docs/crash-table.md");
        let text = fs::read_to_string(&page).expect("the page");
        fs::write(page, self.put_into(&text, full)).expect("the page");
    }

    fn put_into(&self, page: &str, full: bool) -> String {
        let (before, rows) = page.split_at(page.find("\n| ---").expect("a table") + 1);
        let mut lines = rows.lines();
        let rule = lines.next().expect("below its head");
        let (ours, mut rows): (Vec<&str>, Vec<&str>) =
            lines.partition(|row| column(row, 1) == self.cloud);
        let news = self.to_string();
        rows.extend(SCENARIOS.iter().filter_map(|scenario| {
            let is_of = |row: &&str| column(row, 2) == scenario.name;
            let old = ours.iter().copied().find(is_of);
            let new = news.lines().find(is_of);
            let counts_more = |old: &&str| new.is_none_or(|new| !full && tried(old) > tried(new));
            old.filter(counts_more).or(new)
        }));
        // Each cloud's rows stay in their order.
        rows.sort_by_key(|row| column(row, 1));
        format!("{before}{rule}\n{}\n", rows.join("\n"))
    }
}

fn column(row: &str, number: usize) -> &str {
    row.split('|').nth(number).unwrap_or_default().trim()
}

/// Points of a row, by its last column: 50, of `49 of 50`.
fn tried(row: &str) -> usize {
    let sums = row.trim_end_matches('|').rsplit("of ").next();
    sums.and_then(|sum| sum.trim().parse().ok()).unwrap_or(0)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let sum = |of: fn(&(usize, usize)) -> usize| row.ends.iter().map(of).sum::<usize>();
            let ends: Vec<String> = row
                .ends
                .iter()
                .map(|(recovered, tried)| format!("{recovered} of {tried}"))
                .collect();
            writeln!(
                f,
                "| {} | {} | {} | {} | {} of {} |",
                self.cloud,
                row.scenario.name,
                row.calls,
                ends.join(" | "),
                sum(|end| end.0),
                sum(|end| end.1),
            )?;
        }
        Ok(())
    }
}

/// Points wait more than they work.
const JOBS: usize = 6;

mod tests {
    use super::super::Call;
    use super::*;

    #[test]
    fn a_sample_replaces_no_row_that_counts_more_points() {
        let mut calls = vec![Vec::new(); SCENARIOS.len()];
        calls[0] = vec!["List".to_owned(), "Create".to_owned()];
        let points: Vec<Point<'_>> = (1..=2)
            .map(|number| Point {
                scenario: &SCENARIOS[0],
                end: End::AnswerLost,
                call: Call::of(&calls[0], number),
            })
            .collect();
        let tried = [Ok(true), Err("it is doubled".to_owned())];
        let table = Table::of("aws", &calls, &points, &tried);
        let new = "| aws | create | 2 | 0 of 0 | 0 of 0 | 0 of 0 | 0 of 0 | 1 of 2 | 1 of 2 |";
        assert!(table.to_string().starts_with(new), "{table}");
        let row = |of: usize| format!("| aws | create | 7 | {of} of {of} | {of} of {of} |");
        for (of, full, stays) in [
            (1, false, false),
            (2, false, false),
            (3, false, true),
            (3, true, false),
        ] {
            let page = format!(
                "# Page\n\n| cloud |\n| --- |\n| aws-2 | create | 9 of 9 |\n{}\n| aws | roll | 8 of 8 |\n",
                row(of)
            );
            let text = table.put_into(&page, full);
            assert_eq!(text.contains(&row(of)), stays, "{of}, {full}: {text}");
            assert_eq!(text.contains(new), !stays, "{of}, {full}: {text}");
            assert!(text.contains("| aws-2 | create | 9 of 9 |\n"), "{text}");
            assert!(text.contains("| aws | roll | 8 of 8 |\n"), "{text}");
        }
    }
}
