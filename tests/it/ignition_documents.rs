//! What the reference has no say in: Ignition JSON as a document, several documents, strictness,
//! and the shape of what comes out.

use flatcar::ignition::{
    self, Document, Input, Options, Origin, Rendered, Report, Severity, Style,
};

fn render(texts: &[&str], options: &Options) -> (Option<Rendered>, Report) {
    let documents = texts.iter().enumerate().map(|(index, text)| Document {
        origin: match index {
            0 => Origin::Content,
            index => Origin::Snippet(index - 1),
        },
        text: (*text).to_owned(),
    });
    let input = Input {
        documents: documents.collect(),
    };
    ignition::render(&input, options)
}

fn json(texts: &[&str]) -> String {
    let (rendered, report) = render(texts, &Options::default());
    rendered
        .unwrap_or_else(|| panic!("{}", report.reference_text()))
        .json
}

const BUTANE: &str = "variant: flatcar\nversion: 1.0.0\npasswd: {users: [{name: core}]}\n";

#[test]
fn documents_are_lifted_to_the_highest_version_among_them() {
    let cases = [
        (vec![BUTANE], "3.3.0"),
        (vec![BUTANE, r#"{"ignition":{"version":"3.0.0"}}"#], "3.3.0"),
        (vec![BUTANE, r#"{"ignition":{"version":"3.5.0"}}"#], "3.5.0"),
        (
            vec![
                r#"{"ignition":{"version":"3.1.0"}}"#,
                "variant: flatcar\nversion: 1.1.0\n",
            ],
            "3.4.0",
        ),
        (
            vec![BUTANE, "variant: flatcar\nversion: 1.2.0-experimental\n"],
            "3.7.0-experimental",
        ),
    ];
    for (documents, spec) in cases {
        let (rendered, _) = render(&documents, &Options::default());
        let rendered = rendered.unwrap();
        assert_eq!(rendered.spec, spec);
        assert!(
            rendered.json.contains(&format!(r#""version":"{spec}""#)),
            "{}",
            rendered.json
        );
    }
}

#[test]
fn ignition_json_is_written_again_in_order_and_with_everything_that_its_version_has() {
    let text = r#"
        {"systemd": {"units": [{"name": "a.service", "enabled": false}]},
         "storage": {"luks": [{"name": "l", "device": "/dev/a", "discard": true, "cex": {"enabled": true}}],
                     "files": [{"mode": 420, "path": "/a", "contents": {"source": "data:,x"}}]},
         "ignition": {"version": "3.5.0"}}"#;
    assert_eq!(
        json(&[text]),
        r#"{"ignition":{"version":"3.5.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:,x"},"mode":420}],"luks":[{"cex":{"enabled":true},"device":"/dev/a","discard":true,"name":"l"}]},"systemd":{"units":[{"enabled":false,"name":"a.service"}]}}"#
    );
}

#[test]
fn problems_of_ignition_json_have_its_names_and_places() {
    let text = "{\n  \"ignition\": {\"version\": \"3.2.0\"},\n  \"kernelArguments\": {},\n  \"storage\": {\n    \"disks\": [{\"device\": \
                \"/dev/a\", \"partitions\": [{\"number\": 1, \"typeGuid\": \"x\"}]}]\n  }\n}\n";
    let (rendered, report) = render(&[BUTANE, text], &Options::default());
    assert!(rendered.is_none());
    let lines: Vec<String> = report.entries.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "error at $.storage.disks.0.partitions.0.typeGuid, line 5 col 77: doesn't match the form \"01234567-89AB-CDEF-EDCB-A98765432101\"",
            // Of 3.3.0.
            "warning at $.kernelArguments, line 3 col 3: unused key kernelArguments",
        ]
    );
    assert!(
        report
            .entries
            .iter()
            .all(|entry| entry.origin == Origin::Snippet(0))
    );
}

#[test]
fn ignition_json_of_the_wrong_types_is_told_field_by_field() {
    let text = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":1,"mode":"0644"}],"links":{}}}"#;
    let (rendered, report) = render(&[text], &Options::default());
    assert!(rendered.is_none());
    let lines: Vec<String> = report.entries.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "error at line 1 col 61: cannot unmarshal number into string",
            "error at line 1 col 70: cannot unmarshal string into int",
            "error at line 1 col 87: cannot unmarshal object into []types.Link",
        ]
    );
}

#[test]
fn every_document_is_reported_on_even_when_an_earlier_one_is_wrong() {
    let wrong = "variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: a}]}\n";
    let (rendered, report) = render(
        &[wrong, "variant: flatcar\nversion: [", wrong],
        &Options::default(),
    );
    assert!(rendered.is_none());
    let origins: Vec<Origin> = report.entries.iter().map(|entry| entry.origin).collect();
    assert_eq!(
        origins,
        [Origin::Content, Origin::Snippet(0), Origin::Snippet(1)]
    );
}

#[test]
fn a_snippet_goes_over_content_and_a_later_snippet_over_an_earlier_one() {
    let file = |contents: &str| {
        format!(
            "variant: flatcar\nversion: 1.1.0\nstorage: {{files: [{{path: /a, contents: {{inline: {contents}}}}}]}}\n"
        )
    };
    let merged = json(&[&file("one"), &file("two"), &file("three")]);
    assert!(
        merged.contains("data:,three") && !merged.contains("data:,one"),
        "{merged}"
    );
}

#[test]
fn strict_fails_on_a_warning_and_says_which() {
    let text = "variant: flatcar\nversion: 1.1.0\nbogus: 1\n";
    let strict = Options {
        strict: true,
        ..Options::default()
    };
    let (rendered, report) = render(&[text], &strict);
    assert!(rendered.is_none());
    assert_eq!(report.entries.len(), 1);
    assert_eq!(report.entries[0].severity, Severity::Warning);
    assert!(render(&[text], &Options::default()).0.is_some());
}

#[test]
fn ct_style_keeps_empty_objects_and_takes_nothing_newer_than_it_writes() {
    let ct = Options {
        style: Style::Ct,
        ..Options::default()
    };
    let (rendered, _) = render(&[BUTANE], &ct);
    assert_eq!(
        rendered.unwrap().json,
        r#"{"ignition":{"config":{"replace":{"verification":{}}},"proxy":{},"security":{"tls":{}},"timeouts":{},"version":"3.4.0"},"kernelArguments":{},"passwd":{"users":[{"name":"core"}]},"storage":{},"systemd":{}}"#
    );
    let (rendered, report) = render(
        &[BUTANE, "variant: flatcar\nversion: 1.2.0-experimental\n"],
        &ct,
    );
    assert!(rendered.is_none());
    assert_eq!(
        report.entries[0].to_string(),
        "error at $.version, line 2 col 10: unsupported config version"
    );
}

#[test]
fn no_document_at_all_is_an_empty_config_or_none() {
    let (rendered, report) = render(&[], &Options::default());
    assert!(rendered.is_none() || report.entries.is_empty());
}

#[test]
fn other_implementations_read_what_is_written() {
    let text = "variant: flatcar\nversion: 1.1.0\nstorage:\n  filesystems: [{device: /dev/a, format: ext4, path: /a, with_mount_unit: true}]\n";
    for style in [Style::Butane, Style::Ct] {
        let options = Options {
            style,
            ..Options::default()
        };
        let (rendered, _) = render(&[text], &options);
        let (config, warnings) =
            ignition_config::Config::parse_slice(rendered.unwrap().json.as_bytes()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(matches!(config, ignition_config::Config::V3_4(_)));
    }
}
