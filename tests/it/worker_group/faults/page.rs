//! `docs/fault-matrix.md`: a section for each cloud, a row for each call of each operation, a column for each fault. Written with `UPDATE=1` by a run of all
//! cells, compared otherwise, as far as cells were run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Call, Cell, Fault, Seen, Stage, cells, life, named};
use crate::harness::ROOT;

/// The tests of several clouds run at a time, and share the page.
static PAGE: Mutex<()> = Mutex::new(());

/// The page says what was seen.
pub(super) fn shows(stage: &dyn Stage, calls: &BTreeSet<Call>, seen: &BTreeMap<Cell, Seen>) {
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(ROOT).join("docs/fault-matrix.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let head = format!("\n## {}\n", stage.name());
    let (before, rest) = page.split_once(&head).expect("the cloud's section");
    let (section, after) = match rest.find("\n## ") {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let all: BTreeSet<Cell> = cells(stage, calls).into_iter().collect();
    let whole = all.iter().all(|cell| seen.contains_key(cell));
    if whole && std::env::var_os("UPDATE").is_some() {
        let table = table(calls, seen);
        let text = format!("{before}{head}\n{table}{after}");
        return std::fs::write(&path, text).expect("writes the page");
    }
    let written = read(section);
    let mut differs = Vec::new();
    for (cell, seen) in seen {
        let word = written.get(cell).map_or("nothing", String::as_str);
        if word != seen.word() {
            differs.push(format!("{}: {}, not {word}", named(cell), seen.word()));
        }
    }
    let others = written.keys().filter(|cell| !all.contains(*cell));
    differs.extend(others.map(|cell| format!("{}: not made", named(cell))));
    assert!(
        differs.is_empty(),
        "docs/fault-matrix.md is not what is seen; run all with UPDATE=1 and read the diff:\n{}",
        differs.join("\n")
    );
}

fn table(calls: &BTreeSet<Call>, seen: &BTreeMap<Cell, Seen>) -> String {
    let mut text = "| operation | call |".to_owned();
    for fault in Fault::ALL {
        text += &format!(" {} |", fault.word());
    }
    text += "\n|";
    text += &"---|".repeat(2 + Fault::ALL.len());
    text += "\n";
    let life = life();
    for call in calls {
        text += &format!("| {} | `{}` |", life[call.0].name, call.1);
        for fault in Fault::ALL {
            let seen = seen.get(&(call.clone(), fault));
            text += &format!(" {} |", seen.map_or("–", |seen| seen.word()));
        }
        text += "\n";
    }
    text
}

fn read(section: &str) -> BTreeMap<Cell, String> {
    let mut cells = BTreeMap::new();
    let life = life();
    for row in section.lines() {
        let mut columns = row.trim_matches('|').split('|').map(str::trim);
        let step = columns.next().unwrap_or_default();
        let call = columns.next().unwrap_or_default().trim_matches('`');
        let Some(step) = life.iter().position(|one| one.name == step) else {
            continue;
        };
        for (fault, word) in Fault::ALL.into_iter().zip(columns) {
            if word != "–" {
                cells.insert(((step, call.to_owned()), fault), word.to_owned());
            }
        }
    }
    cells
}
