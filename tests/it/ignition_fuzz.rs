//! What fuzzing found worth keeping, replayed: the checks are those of `fuzz/fuzz_targets`, which
//! make new cases from these.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use flatcar::ignition::{
    self, Document, Input, Options, Origin, Rendered, Report, canonical, differences,
    merge_hostname,
};

use crate::harness::ROOT;

#[test]
fn any_bytes_as_a_document_end_in_a_report_or_a_config() {
    replay("yaml", |bytes| {
        let (rendered, report) = render(&[(Origin::Content, &String::from_utf8_lossy(bytes))]);
        let said = report
            .entries
            .iter()
            .any(|entry| !entry.to_string().is_empty());
        (rendered.is_none() && !said).then_some("nothing came of it, and nothing is said")
    });
}

#[test]
fn what_is_rendered_of_any_bytes_is_read_back_the_same() {
    let read_back = Cell::new(0);
    replay("translate", |bytes| {
        let (choice, body) = bytes.split_first()?;
        let version = ["1.0.0", "1.1.0", "1.2.0-experimental"][usize::from(choice % 3)];
        let body = String::from_utf8_lossy(body);
        let text = format!("variant: flatcar\nversion: {version}\n{body}");
        let first = render(&[(Origin::Content, &text)]).0?;
        if choice % 3 == 2 {
            // Ignition's experimental versions are written and not read.
            return None;
        }
        let second = render(&[(Origin::Content, &first.json)]).0;
        read_back.set(read_back.get() + 1);
        let same = second.is_some_and(|second| second.json == first.json);
        (!same).then_some("what was rendered is not read back the same")
    });
    assert!(read_back.get() >= 5, "{read_back:?} cases are configs");
}

#[test]
fn any_two_documents_merge_the_same_way_each_time() {
    replay("merge", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (base, snippet) = text.split_once("\n%%\n").unwrap_or((&text, ""));
        let mut documents = vec![(Origin::Content, base), (Origin::Snippet(0), snippet)];
        documents.retain(|(_, text)| !text.is_empty());
        let (first, second) = (render(&documents).0, render(&documents).0);
        if first.as_ref().map(|config| &config.json) != second.as_ref().map(|config| &config.json) {
            return Some("two merges of the same differ");
        }
        // The comparison takes whatever stands in a state.
        let _ = (
            canonical(base),
            differences(base, snippet),
            merge_hostname(base, "worker-0"),
        );
        let config = first?.json;
        if merge_hostname(&config, "worker-0").is_ok_and(|named| canonical(&named).is_empty()) {
            return Some("a host name spoils a config");
        }
        (!differences(&config, &config).is_empty()).then_some("a config differs from itself")
    });
}

/// Every case of a target; `check` says what is wrong with one. A panic is reported with the case,
/// too.
fn replay(target: &str, check: impl Fn(&[u8]) -> Option<&'static str>) {
    let folder = Path::new(ROOT).join("tests/fixtures/fuzz").join(target);
    let mut faults = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
        if let Some(fault) = checked.unwrap_or(Some("it panics")) {
            faults.push(format!("{}: {fault}", path.display()));
        }
        cases += 1;
    }
    assert!(cases >= 50, "only {cases} cases");
    assert!(faults.is_empty(), "{faults:#?}");
}

fn render(documents: &[(Origin, &str)]) -> (Option<Rendered>, Report) {
    let documents = documents
        .iter()
        .map(|(origin, text)| Document {
            origin: *origin,
            text: (*text).to_owned(),
        })
        .collect();
    ignition::render(&Input { documents }, &Options::default())
}
