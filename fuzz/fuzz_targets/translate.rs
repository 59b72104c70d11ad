//! Any bytes as the body of a Butane document of each version: what is rendered is JSON, and
//! rendering it again changes nothing.
#![no_main]

use flatcar::ignition::{Document, Input, Options, Origin, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fuzz::abort_on_panic(), |bytes: &[u8]| {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let version = ["1.0.0", "1.1.0", "1.2.0-experimental"][usize::from(choice % 3)];
    let text = format!("variant: flatcar\nversion: {version}\n{}", String::from_utf8_lossy(body));
    let Some(first) = rendered(text) else {
        return;
    };
    // Ignition's experimental versions are written and not read: there is no second round for them.
    if choice % 3 < 2 {
        let second = rendered(first.clone());
        assert_eq!(second.as_deref(), Some(first.as_str()), "what was rendered is not read back the same");
    }
});

fn rendered(text: String) -> Option<String> {
    let document = Document {
        origin: Origin::Content,
        text,
    };
    let input = Input {
        documents: vec![document],
    };
    render(&input, &Options::default()).0.map(|rendered| rendered.json)
}
