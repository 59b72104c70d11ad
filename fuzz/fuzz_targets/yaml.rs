//! Any bytes as a document: the YAML reader ends, in a report or a config, and every report can be
//! written.
#![no_main]

use flatcar::ignition::{Document, Input, Options, Origin, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fuzz::abort_on_panic(), |bytes: &[u8]| {
    let document = Document {
        origin: Origin::Content,
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    let input = Input {
        documents: vec![document],
    };
    let (rendered, report) = render(&input, &Options::default());
    let said = report.entries.iter().any(|entry| !entry.to_string().is_empty());
    assert!(rendered.is_some() || said, "nothing came of it, and nothing is said");
});
