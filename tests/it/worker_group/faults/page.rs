//! `docs/fault-matrix.md`: a section for each cloud, a row for each call of each operation, a
//! column for each fault. With `UPDATE=1` a run writes what it has seen, and what no run has seen
//! is blank; otherwise what is written is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Call, Cell, Fault, FaultyCloud, OPERATIONS, Outcome, cells, named};
use crate::harness::ROOT;

/// The tests of several clouds run at a time, and share the page.
static PAGE: Mutex<()> = Mutex::new(());

/// The calls that the page has.
pub(super) fn calls(cloud: &dyn FaultyCloud) -> BTreeSet<Call> {
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let [_, section, _] = parts(cloud);
    rows(&section).map(|(call, _)| call).collect()
}

/// The cells of which the page says what was seen.
pub(super) fn seen(cloud: &dyn FaultyCloud) -> BTreeSet<Cell> {
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let [_, section, _] = parts(cloud);
    read(&section).into_keys().collect()
}

/// The page says what was seen: where it does not.
pub(super) fn shows(
    cloud: &dyn FaultyCloud,
    calls: &BTreeSet<Call>,
    outcomes: &[Outcome],
) -> Vec<String> {
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let [before, section, after] = parts(cloud);
    let all: BTreeSet<Cell> = cells(cloud, calls).into_iter().collect();
    let mut written = read(&section);
    if std::env::var_os("UPDATE").is_some() {
        written.retain(|cell, _| all.contains(cell));
        for (cell, result) in outcomes {
            match result {
                Ok(seen) => written.insert(cell.clone(), seen.word().to_owned()),
                Err(_) => written.remove(cell),
            };
        }
        let table = table(calls, &all, &written);
        std::fs::write(path(), format!("{before}\n{table}{after}")).expect("writes the page");
        return Vec::new();
    }
    let mut differs = Vec::new();
    for (cell, result) in outcomes {
        if let (Ok(seen), Some(word)) = (result, written.get(cell))
            && word != seen.word()
        {
            let seen = seen.word();
            differs.push(format!("{}: {seen}, and the page says {word}", named(cell)));
        }
    }
    let others = written.keys().filter(|cell| !all.contains(*cell));
    differs.extend(others.map(|cell| format!("{}: only on the page", named(cell))));
    let listed: BTreeSet<Call> = rows(&section).map(|(call, _)| call).collect();
    let missing = calls.difference(&listed);
    differs.extend(missing.map(|(step, call)| {
        let operation = OPERATIONS[*step];
        format!("{operation}: {call}: not on the page: write it with UPDATE=1 and read the diff")
    }));
    differs
}

fn path() -> PathBuf {
    Path::new(ROOT).join("docs/fault-matrix.md")
}

/// What is before the cloud's table, with its head; the table; the rest.
fn parts(cloud: &dyn FaultyCloud) -> [String; 3] {
    let page = std::fs::read_to_string(path()).expect("the page");
    let head = format!("\n## {}\n", cloud.name());
    let (before, rest) = page.split_once(&head).expect("the cloud's section");
    let (section, after) = match rest.find("\n## ") {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    [
        format!("{before}{head}"),
        section.to_owned(),
        after.to_owned(),
    ]
}

fn table(calls: &BTreeSet<Call>, all: &BTreeSet<Cell>, written: &BTreeMap<Cell, String>) -> String {
    let mut text = "| operation | call |".to_owned();
    for fault in Fault::ALL {
        text += &format!(" {} |", fault.word());
    }
    text += "\n|";
    text += &"---|".repeat(2 + Fault::ALL.len());
    text += "\n";
    for call in calls {
        text += &format!("| {} | `{}` |", OPERATIONS[call.0], call.1);
        for fault in Fault::ALL {
            let cell = (call.clone(), fault);
            let word = match written.get(&cell) {
                Some(word) => word,
                None if all.contains(&cell) => "",
                None => "–",
            };
            text += &format!(" {word} |");
        }
        text += "\n";
    }
    text
}

fn read(section: &str) -> BTreeMap<Cell, String> {
    let mut cells = BTreeMap::new();
    for (call, columns) in rows(section) {
        for (fault, word) in Fault::ALL.into_iter().zip(columns) {
            if !["–", ""].contains(&word) {
                cells.insert((call.clone(), fault), word.to_owned());
            }
        }
    }
    cells
}

/// The calls, and what is in their columns.
fn rows(section: &str) -> impl Iterator<Item = (Call, Vec<&str>)> {
    section.lines().filter_map(|row| {
        let mut columns = row.trim_matches('|').split('|').map(str::trim);
        let operation = columns.next()?;
        let step = OPERATIONS.iter().position(|one| *one == operation)?;
        let call = columns.next()?.trim_matches('`').to_owned();
        Some(((step, call), columns.collect()))
    })
}
