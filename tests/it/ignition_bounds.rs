//! What documents cost: no stack for their depth, time in proportion to their size, and a few
//! hundred lines for whatever is wrong.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use flatcar::ignition::{self, Document, Input, Options, Origin, Report};

const HEADER: &str = "variant: flatcar\nversion: 1.1.0\n";

fn report(texts: &[&str], files_dir: Option<PathBuf>) -> Report {
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
    let options = Options {
        files_dir,
        ..Options::default()
    };
    ignition::render(&input, &options).1
}

/// Seconds of processor that this thread has had: what waits for others costs nothing.
fn processor() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

#[test]
fn a_tree_deeper_than_any_stack_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join(vec!["a"; 1_800].join("/"));
    fs::create_dir_all(&deep).unwrap();
    let text = format!("{HEADER}storage: {{trees: [{{local: .}}]}}\n");
    let report = report(&[&text], Some(directory.path().to_owned()));
    // Where there are more of them, removing one by one would want as many open files.
    let removed = Command::new("rm").arg("-rf").arg(directory.path()).status();
    assert!(removed.is_ok_and(|status| status.success()));
    let told: Vec<String> = report.entries.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "error at $.storage.trees.0, line 3 col 19: tree of more than 200 directories inside each other"
        ]
    );
}

/// A list of elements, each with its number.
fn each(count: usize, element: impl Fn(usize) -> String) -> String {
    (0..count).map(element).collect::<Vec<_>>().join(",")
}

fn ignition(members: &str) -> String {
    format!(r#"{{"ignition":{{"version":"3.4.0"}},{members}}}"#)
}

#[test]
fn time_grows_with_the_size_and_no_faster() {
    const COUNT: usize = 30_000;
    let storage = |members: &str| ignition(&format!(r#""storage":{{{members}}}"#));
    let butane = |body: &str| format!("{HEADER}{body}\n");
    let files = |from: usize| {
        each(COUNT, |n| {
            format!(r#"{{"path":"/f{}","user":{{"id":1}}}}"#, n + from)
        })
    };
    let cases: Vec<(&str, Vec<String>)> = vec![
        (
            "unknown keys",
            vec![ignition(&each(COUNT, |n| format!(r#""k{n}":1"#)))],
        ),
        (
            "unknown keys in Butane",
            vec![butane(&format!(
                "storage: {{{}}}",
                each(COUNT, |n| format!("k{n}: 1"))
            ))],
        ),
        (
            "faults behind unknown keys",
            vec![ignition(&format!(
                r#"{},"storage":{{"files":[{}]}}"#,
                each(COUNT, |n| format!(r#""k{n}":1"#)),
                each(COUNT, |n| format!(r#"{{"path":"f{n}"}}"#))
            ))],
        ),
        (
            "wrong types",
            vec![storage(&format!(
                r#""files":[{}]"#,
                each(COUNT, |_| "1".to_owned())
            ))],
        ),
        (
            "links inside each other",
            vec![storage(&format!(
                r#""links":[{}]"#,
                each(1_000, |n| format!(
                    r#"{{"path":"{}","target":"/x"}}"#,
                    "/a".repeat(n + 1)
                ))
            ))],
        ),
        (
            "partitions of which the last two overlap",
            vec![storage(&format!(
                r#""disks":[{{"device":"/dev/a","partitions":[{},{{"number":{COUNT},"label":"x","startMiB":{COUNT},"sizeMiB":9}},{{"number":{},"label":"y","startMiB":{COUNT},"sizeMiB":9}}]}}]"#,
                each(COUNT, |n| format!(
                    r#"{{"number":{},"label":"l{n}","startMiB":{},"sizeMiB":1}}"#,
                    n + COUNT + 2,
                    n + 1
                )),
                COUNT + 1,
            ))],
        ),
        (
            "mount units beside encrypted devices",
            vec![butane(&format!(
                "storage: {{luks: [{}], filesystems: [{}]}}",
                each(5_000, |n| format!(
                    "{{name: l{n}, device: /dev/l{n}, clevis: {{tpm2: true}}}}"
                )),
                each(5_000, |n| format!(
                    "{{device: /dev/f{n}, format: ext4, path: /f{n}, with_mount_unit: true}}"
                ))
            ))],
        ),
        (
            "keys of one user",
            vec![ignition(&format!(
                r#""passwd":{{"users":[{{"name":"core","sshAuthorizedKeys":[{}]}}]}}"#,
                each(COUNT, |_| r#""k""#.to_owned())
            ))],
        ),
        (
            "lists that are merged",
            vec![
                storage(&format!(r#""files":[{}]"#, files(0))),
                storage(&format!(r#""files":[{}]"#, files(COUNT / 2))),
                storage(&format!(r#""directories":[{}]"#, files(COUNT))),
            ],
        ),
        (
            "kernel arguments that are merged",
            vec![
                ignition(&format!(
                    r#""kernelArguments":{{"shouldExist":[{}]}}"#,
                    each(COUNT, |n| format!(r#""a{n}""#))
                )),
                ignition(&format!(
                    r#""kernelArguments":{{"shouldExist":[{}]}}"#,
                    each(COUNT, |n| format!(r#""b{n}""#))
                )),
            ],
        ),
        (
            "clashes of many documents",
            (0..12)
                .map(|document| match document % 2 {
                    0 => storage(&format!(
                        r#""files":[{}]"#,
                        each(1_000, |n| format!(
                            r#"{{"path":"/f{n}","user":{{"id":1}}}}"#
                        ))
                    )),
                    _ => storage(&format!(
                        r#""files":[{}]"#,
                        each(1_000, |n| format!(
                            r#"{{"path":"/f{n}","user":{{"name":"x"}}}}"#
                        ))
                    )),
                })
                .collect(),
        ),
        (
            "a unit of blanks",
            vec![ignition(&format!(
                r#""systemd":{{"units":[{{"name":"a.service","contents":"[A]\n{}"}}]}}"#,
                format!("{}\\n", " ".repeat(2_000)).repeat(150)
            ))],
        ),
        (
            "colons in brackets",
            vec![butane(&format!(
                "x: [{}]\ny: [{}]",
                each(99, |_| "fe80::".to_owned()),
                each(COUNT, |n| n.to_string())
            ))],
        ),
        (
            "brackets with much in them",
            vec![butane(&format!(
                "x: {}{}{}",
                "[".repeat(900),
                each(COUNT, |n| n.to_string()),
                "]".repeat(900)
            ))],
        ),
        (
            "dashes inside each other with much in them",
            vec![butane(&format!(
                "x:\n  {}[{}]",
                "- ".repeat(5_000),
                each(COUNT, |n| n.to_string())
            ))],
        ),
        (
            "lines of one scalar",
            vec![butane(&format!("x: a\n{}", "  b\n".repeat(COUNT)))],
        ),
        (
            "lines of one block",
            vec![butane(&format!("x: |\n{}", "  b\n".repeat(COUNT)))],
        ),
        (
            "lines of comment",
            vec![butane(&format!("{}x: a", "# b: c\n".repeat(COUNT)))],
        ),
        (
            "escapes",
            vec![butane(&format!("x: \"{}\"", "\\x41\\\n".repeat(COUNT)))],
        ),
        (
            "keys that are lists",
            vec![butane(&format!(
                "x:\n{}",
                "  ? [a, b]\n  : c\n".repeat(COUNT / 4)
            ))],
        ),
        (
            "aliases of one another",
            vec![butane(&format!(
                "x: [{}]\nstorage: {{files: [{}]}}",
                each(COUNT, |n| format!("&a{n} /f{n}")),
                each(COUNT / 10, |n| format!("{{path: *a{n}}}"))
            ))],
        ),
    ];
    let mut told = String::new();
    for (name, texts) in cases {
        let size: usize = texts.iter().map(String::len).sum();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let before = processor();
        let report = report(&texts, None);
        let seconds = processor() - before;
        let (entries, _) = report.shown();
        writeln!(
            told,
            "{name}: {} KB in {seconds:.2} s, {} told",
            size / 1000,
            entries.len()
        )
        .unwrap();
        // A debug build on a slow machine takes two seconds for a megabyte; what is quadratic takes
        // minutes.
        if seconds > 10.0 || entries.len() > 200 {
            told.push_str("  is too much\n");
        }
    }
    println!("{told}");
    assert!(!told.contains("is too much"), "{told}");
}

#[test]
fn text_that_an_alias_repeats_is_bounded() {
    let line = format!("{HEADER}x: &a {}\nstorage: {{files: [", "x".repeat(1 << 20));
    let text = format!(
        "{line}{}]}}\n",
        each(1_000, |n| format!(
            "{{path: /{n}, contents: {{inline: *a}}}}"
        ))
    );
    let before = processor();
    let report = report(&[&text], None);
    assert!(processor() - before < 10.0);
    assert_eq!(
        report.entries[0].message,
        "document contains excessive aliasing"
    );
}

#[test]
fn nothings_by_the_million_are_told_as_too_many() {
    let list = each(1_001_000, |_| "0".to_owned());
    for text in [
        format!("{HEADER}x: [{list}]\n"),
        ignition(&format!(r#""x":[{list}]"#)),
    ] {
        assert_eq!(
            report(&[&text], None).entries[0].message,
            "more than 1000000 values"
        );
    }
}
