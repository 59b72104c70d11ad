//! Two documents in one: merged, they are JSON, the merge is the same each time, and comparing
//! configs ends.
#![no_main]

use flatcar::ignition::{Document, Input, Options, Origin, canonical, differences, merge_hostname, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fuzz::abort_on_panic(), |bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (base, snippet) = text.split_once("\n%%\n").unwrap_or((&text, ""));
    let documents = [(Origin::Content, base), (Origin::Snippet(0), snippet)];
    let input = Input {
        documents: documents
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(origin, text)| Document {
                origin,
                text: text.to_owned(),
            })
            .collect(),
    };
    let first = render(&input, &Options::default()).0;
    let second = render(&input, &Options::default()).0;
    assert!(first == second, "two merges of the same differ");
    // The comparison takes whatever stands in a state.
    let _ = (canonical(base), differences(base, snippet), merge_hostname(base, "worker-0"));
    if let Some(rendered) = first {
        let named = merge_hostname(&rendered.json, "worker-0");
        if let Ok(named) = named {
            assert!(!canonical(&named).is_empty(), "a host name spoils a config");
        }
        assert!(differences(&rendered.json, &rendered.json).is_empty(), "a config differs from itself");
    }
});
