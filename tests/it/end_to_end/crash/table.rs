//! All points, some at a time, and what came of them: `docs/crash-table.md`.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::point::{End, Point};
use super::{SCENARIOS, Scenario};
use crate::harness::ROOT;

/// What came of a point: whether its call was made, or what was wrong.
pub(super) type Tried = Result<bool, String>;

/// Tries the points, some at a time.
pub(super) fn try_all(points: &[Point], tried: impl Fn(&Point) -> bool + Sync) -> Vec<Tried> {
    let jobs = std::env::var("FLATCAR_CRASH_JOBS").ok();
    let jobs = jobs.and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS);
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
                    all.lock().expect("no panic").push((index, result));
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
    missed: usize,
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
        points: &[Point],
        tried: &[Tried],
    ) -> Self {
        let mut table = Self {
            cloud,
            rows: Vec::new(),
            missed: 0,
            wrong: Vec::new(),
        };
        for (scenario, calls) in SCENARIOS.iter().zip(calls) {
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
                    Ok(false) => table.missed += 1,
                    Err(why) => {
                        end.1 += 1;
                        let call = calls.get(point.number - 1).map_or("", String::as_str);
                        table.wrong.push(format!(
                            "{cloud} {}, {} call {} of {} ({call}): {why}",
                            scenario.name,
                            point.end.word(),
                            point.number,
                            calls.len(),
                        ));
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

    /// Points that no apply came to: polls are as many as there is time for.
    pub(super) fn missed(&self) -> usize {
        self.missed
    }

    /// Puts this cloud's rows into the page.
    pub(super) fn write(&self) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().expect("no panic");
        let page = format!("{ROOT}/docs/crash-table.md");
        let text = fs::read_to_string(&page).expect("the page");
        let (before, rows) = text.split_at(text.find("\n| ---").expect("a table") + 1);
        let mut lines = rows.lines();
        let rule = lines.next().expect("below its head");
        let ours = format!("| {} |", self.cloud);
        let others = lines.filter(|line| !line.starts_with(&ours));
        let mut rows: Vec<String> = others.map(str::to_owned).collect();
        rows.extend(self.to_string().lines().map(str::to_owned));
        // Each cloud's rows stay in their order.
        rows.sort_by_key(|row| row.split('|').nth(1).unwrap_or_default().to_owned());
        fs::write(page, format!("{before}{rule}\n{}\n", rows.join("\n"))).expect("the page");
    }
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
