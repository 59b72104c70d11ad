//! Input that nobody means well with: bounded, a clear word for each, and never a panic.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flatcar::ignition::{self, Document, Input, Options, Origin, Report, Style};

const HEADER: &str = "variant: flatcar\nversion: 1.1.0\n";
/// What takes longer than this does not end, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(600);

fn report(text: &str, files_dir: Option<PathBuf>) -> Report {
    let started = Instant::now();
    let input = Input {
        documents: vec![Document {
            origin: Origin::Content,
            text: text.to_owned(),
        }],
    };
    let options = Options {
        files_dir,
        ..Options::default()
    };
    let (rendered, report) = ignition::render(&input, &options);
    assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
    assert_eq!(
        rendered.is_none(),
        report.is_fatal(),
        "an error without a word"
    );
    report
}

fn message(text: &str) -> String {
    let report = report(text, None);
    report
        .entries
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[test]
fn a_megabyte_of_noise_is_refused() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = vec![0u8; 1 << 20];
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[0];
    }
    assert!(report(&String::from_utf8_lossy(&noise), None).is_fatal());
    let printable: String = noise.iter().map(|b| char::from(32 + b % 95)).collect();
    assert!(report(&printable, None).is_fatal());
}

#[test]
fn depth_without_end_is_refused() {
    const DEPTH: usize = 100_000;
    let nested = |open: &str, close: &str| {
        format!("{HEADER}x: {}{}\n", open.repeat(DEPTH), close.repeat(DEPTH))
    };
    for text in [
        nested("[", "]"),
        nested("{a: ", "}"),
        nested("- ", ""),
        nested("? ", ""),
        format!("{{\"ignition\":{}", "[".repeat(DEPTH)),
        format!(
            "{{\"ignition\":{{\"version\":\"3.4.0\"}},\"x\":{}1{}}}",
            "{\"a\":".repeat(DEPTH),
            "}".repeat(DEPTH)
        ),
        (0..5_000)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect(),
    ] {
        assert!(report(&text, None).is_fatal(), "{:.80}", text);
    }
}

#[test]
fn alias_bombs_and_circles_are_refused() {
    let mut bomb = format!("{HEADER}a0: &a0 {{mode: 0644}}\n");
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} {{<<: [{aliases}]}}\n"));
    }
    bomb.push_str("storage: {files: [{path: /a, <<: *a39}]}\n");
    assert!(
        message(&bomb).ends_with("document contains excessive aliasing"),
        "{}",
        message(&bomb)
    );

    let mut chain = format!("{HEADER}a0: &a0 {{mode: 0644}}\n");
    for level in 1..5_000 {
        chain.push_str(&format!("a{level}: &a{level} {{<<: *a{}}}\n", level - 1));
    }
    chain.push_str("storage: {files: [{path: /a, <<: *a4999}]}\n");
    assert!(
        message(&chain).ends_with("more than 64 merge keys inside each other"),
        "{}",
        message(&chain)
    );

    let circle =
        format!("{HEADER}storage: {{files: [{{path: /a, contents: &c {{<<: *c, inline: x}}}}]}}\n");
    assert!(
        message(&circle).contains("value contains itself"),
        "{}",
        message(&circle)
    );
}

#[test]
fn many_faults_are_told_in_bounded_time() {
    let keys = "a: 1\n".repeat(20_000);
    assert!(report(&format!("{HEADER}{keys}"), None).is_fatal());
    let users: String = (0..20_000)
        .map(|_| "  - {name: core, uid: \"x\"}\n")
        .collect();
    assert!(report(&format!("{HEADER}passwd:\n  users:\n{users}"), None).is_fatal());
    let files: String = (0..5_000).map(|n| format!("  - path: a{n}\n")).collect();
    let many: String = (0..20_000)
        .map(|n| format!("  - {{path: /a{n}, target: /b}}\n"))
        .collect();
    let nodes: String = (0..20_000)
        .map(|n| format!("  - path: /b{n}/c\n"))
        .collect();
    let clean = report(
        &format!("{HEADER}storage:\n  links:\n{many}  files:\n{nodes}"),
        None,
    );
    assert!(clean.entries.is_empty());
    let report = report(&format!("{HEADER}storage:\n  files:\n{files}"), None);
    assert_eq!(report.entries.len(), 1_000);
    let (told, beyond) = report.shown();
    assert_eq!((told.len(), beyond.errors), (200, 4_800));
}

#[test]
fn what_lies_outside_of_files_dir_is_never_read() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::create_dir(outside.path().join("tree")).unwrap();
    fs::write(outside.path().join("tree/secret"), "secret").unwrap();
    let directory = tempfile::tempdir().unwrap();
    symlink(outside.path().join("secret"), directory.path().join("link")).unwrap();
    symlink(outside.path(), directory.path().join("dir")).unwrap();
    symlink("inside", directory.path().join("fine")).unwrap();
    fs::write(directory.path().join("inside"), "inside").unwrap();
    let absolute = outside.path().join("secret").display().to_string();
    for local in [
        "../secret",
        "a/../../secret",
        "link",
        "dir/secret",
        &absolute,
    ] {
        let text =
            format!("{HEADER}storage: {{files: [{{path: /a, contents: {{local: {local}}}}}]}}\n");
        let report = report(&text, Some(directory.path().to_owned()));
        assert_eq!(report.entries.len(), 1, "{local}");
        let message = &report.entries[0].message;
        let refused = message == "local file path traverses outside the files directory"
            // An absolute path counts from the directory.
            || (local == absolute && message.ends_with("no such file or directory"));
        assert!(refused, "{local}: {message}");
        assert!(
            report.entries[0].advice.is_some() || local == absolute,
            "{local}"
        );
    }
    for tree in ["dir", "dir/tree", ".."] {
        let text = format!("{HEADER}storage: {{trees: [{{local: {tree}}}]}}\n");
        let report = report(&text, Some(directory.path().to_owned()));
        assert_eq!(
            report.entries[0].message, "local file path traverses outside the files directory",
            "{tree}"
        );
    }
    let text = format!("{HEADER}storage: {{files: [{{path: /a, contents: {{local: fine}}}}]}}\n");
    assert!(
        report(&text, Some(directory.path().to_owned()))
            .entries
            .is_empty()
    );
}

#[test]
fn sockets_devices_and_giants_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
    let giant = fs::File::create(directory.path().join("giant")).unwrap();
    giant.set_len(50 << 20).unwrap();
    let local = |name: &str| {
        let text =
            format!("{HEADER}storage: {{files: [{{path: /a, contents: {{local: {name}}}}}]}}\n");
        report(&text, Some(directory.path().to_owned())).entries[0]
            .message
            .clone()
    };
    assert!(
        local("socket").ends_with("no such device or address"),
        "{}",
        local("socket")
    );
    assert!(
        local("giant").contains("52428800 bytes"),
        "{}",
        local("giant")
    );
    let tree = report(
        &format!("{HEADER}storage: {{trees: [{{local: .}}]}}\n"),
        Some(directory.path().to_owned()),
    );
    let messages: Vec<&str> = tree
        .entries
        .iter()
        .map(|entry| entry.message.as_str())
        .collect();
    assert!(
        messages.contains(&"trees may only contain files, directories, and symlinks"),
        "{messages:?}"
    );
    assert!(
        messages
            .iter()
            .any(|message| message.contains("52428800 bytes")),
        "{messages:?}"
    );
}

#[test]
fn other_formats_are_refused_with_what_to_write_instead() {
    for (text, advice) in [
        ("variant: fcos\nversion: 1.5.0\n", "variant: flatcar"),
        ("variant: openshift\nversion: 4.14.0\n", "variant: flatcar"),
        ("variant: flatcar\nversion: 2.0.0\n", "`1.1.0`"),
        ("variant: flatcar\n", "`1.1.0`"),
        ("etcd: {}\n", "Container Linux Config"),
        (
            "storage: {files: [{filesystem: root, path: /a}]}\n",
            "Container Linux Config",
        ),
        (r#"{"ignition":{"version":"2.3.0"}}"#, "Ignition 2"),
        (r#"{"ignition":{"version":"3.9.0"}}"#, "3.5.0"),
        (r#"{"ignition":{}}"#, "ignition.version"),
    ] {
        let report = report(text, None);
        let told = report.entries[0].advice.clone().unwrap_or_default();
        assert!(told.contains(advice), "{text}: {told}");
    }
}

#[test]
fn reports_name_keys_and_places_but_never_what_stands_there() {
    const SECRET: &str = "hunter2secret";
    let inline = r#"'{"ignition":{"version":"3.4.0"},"storage":hunter2secret}'"#;
    for body in [
        format!("passwd: {{users: [{{name: a, uid: {SECRET}}}]}}\n"),
        format!("passwd: {{users: [{{name: a, uid: !!int {SECRET}}}]}}\n"),
        format!("passwd: {{users: [{{name: a, password_hash: *{SECRET}}}]}}\n"),
        format!("passwd: {{users: [{{name: a, uid: !{SECRET} x}}]}}\n"),
        format!("passwd: {{users: [{{name: a, uid: !!{SECRET} x}}]}}\n"),
        format!("passwd: {{users: [{{name: a, groups: !{SECRET} [x, {{}}]}}, !{SECRET} x]}}\n"),
        format!("passwd: &{SECRET} {{<<: *{SECRET}}}\n"),
        format!("passwd: {{users: [{{name: a, password_hash: [{SECRET}]}}]}}\n"),
        format!("storage: {{files: [{{path: /a, contents: {{source: \"data:;{SECRET},x\"}}}}]}}\n"),
        format!("systemd: {{units: [{{name: a.service, contents: \"[Unit] {SECRET}\"}}]}}\n"),
        format!("ignition: {{config: {{merge: [{{inline: {inline}}}]}}}}\n"),
        format!(
            "storage: {{luks: [{{name: a, device: /b, key_file: {{inline: {SECRET}, local: {SECRET}}}}}]}}\n"
        ),
    ] {
        let report = report(&format!("{HEADER}{body}"), None);
        assert!(report.is_fatal(), "{body}");
        for entry in &report.entries {
            for part in ["hunter2", "h'", SECRET] {
                let shown = format!("{entry} {:?}", entry.advice);
                assert!(!shown.contains(part), "{shown}");
            }
        }
        assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    }
}

#[test]
fn a_forgotten_quote_is_told_by_its_place_and_what_to_do() {
    for (body, line, advice) in [
        (
            "passwd:\n  users:\n    - name: core\n      password_hash: *hunter2\n",
            "error at line 6 col 22: unknown anchor referenced",
            "asterisk in quotes",
        ),
        (
            "passwd:\n  users:\n    - name: core\n      uid: !hunter2 x\n",
            "error at line 6 col 12: cannot unmarshal a tag into int",
            "exclamation mark in quotes",
        ),
    ] {
        let report = report(&format!("{HEADER}{body}"), None);
        let entry = &report.entries[0];
        assert_eq!(entry.to_string(), line);
        assert!(
            entry
                .advice
                .as_ref()
                .is_some_and(|told| told.contains(advice))
        );
        assert!(report.reference_text().contains("hunter2"));
    }
    for (header, line) in [
        (
            "variant: hunter2\nversion: 1.1.0\n",
            "error at $.variant, line 1 col 10: No translator exists for this variant",
        ),
        (
            "variant: fcos\nversion: 1.5.0\n",
            "error at $.variant, line 1 col 10: No translator exists for variant fcos with this version",
        ),
        (
            "variant: flatcar\nversion: 1.1.0-hunter2\n",
            "error at $.version, line 2 col 10: No translator exists for variant flatcar with this version",
        ),
    ] {
        assert_eq!(message(header), line);
    }
}

#[test]
fn documents_that_clash_name_both_sources() {
    let documents = |texts: &[&str]| {
        let origin = |index| {
            if index == 0 {
                Origin::Content
            } else {
                Origin::Snippet(index - 1)
            }
        };
        let documents = texts.iter().enumerate().map(|(index, text)| Document {
            origin: origin(index),
            text: format!("{HEADER}{text}"),
        });
        Input {
            documents: documents.collect(),
        }
    };
    let input = documents(&[
        "storage: {links: [{path: /l, target: /x}]}\n",
        "passwd: {}\n",
        "storage: {files: [{path: /l/below}]}\n",
    ]);
    let (rendered, report) = ignition::render(&input, &Options::default());
    assert!(rendered.is_none());
    assert_eq!(report.entries.len(), 1);
    let entry = &report.entries[0];
    assert_eq!(entry.origin, Origin::Snippet(1));
    assert_eq!(
        entry.to_string(),
        "error at $.storage.files.0, line 3 col 19: file path includes link in config"
    );
    assert_eq!(
        entry.advice.as_deref(),
        Some("content and snippets[1] clash here: change one of the two")
    );
    // What terraform-provider-ct renders is rendered, and told.
    let ct = Options {
        style: Style::Ct,
        ..Options::default()
    };
    let (rendered, report) = ignition::render(&input, &ct);
    assert!(rendered.is_some() && report.entries.len() == 1);

    let input = documents(&[
        "storage: {files: [{path: /a, user: {name: core}}]}\n",
        "storage: {files: [{path: /a, user: {id: 5}}]}\n",
    ]);
    let (_, report) = ignition::render(&input, &Options::default());
    assert_eq!(report.entries[0].message, "cannot set both id and name");
    assert_eq!(
        report.entries[0].advice.as_deref(),
        Some("content and snippets[0] clash here: change one of the two")
    );
}
