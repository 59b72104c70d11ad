//! Our translator beside the real one, on configs made from the schema: the same JSON, report and
//! failure for each.
//!
//! `FLATCAR_REFERENCE` names the binary of `tests/differential`; without it there is nothing to
//! compare with. `FLATCAR_SEED` and `FLATCAR_ROUNDS` choose the configs.

mod generator;

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use self::generator::{Generator, Random, torn};
use crate::ignition::{Document, Input, Options, Origin, Style, render};
use crate::text::go::NO_UTF8;

#[test]
fn generated_configs_give_what_the_reference_gives() {
    let Some(reference) = std::env::var_os("FLATCAR_REFERENCE") else {
        return;
    };
    let number = |name: &str, default: u64| -> u64 {
        std::env::var(name)
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(default)
    };
    let (seed, rounds) = (number("FLATCAR_SEED", 1), number("FLATCAR_ROUNDS", 300));
    let files = files_dir();
    let files_dir = files.path().to_string_lossy().into_owned();
    let documents: Vec<(String, bool, bool)> = (0..rounds)
        .map(|round| {
            let mut random = Random(
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    ^ (round + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9),
            );
            let mut text = Generator::new(&mut random).document();
            let is_torn = random.one_in(3);
            if is_torn {
                text = torn(&text, &mut random);
            }
            (text, random.one_in(3), is_torn)
        })
        .collect();
    let lines: Vec<String> = documents
        .iter()
        .map(|(text, pretty, _)| {
            json!({ "text": text, "files_dir": files_dir, "pretty": pretty }).to_string()
        })
        .collect();
    let answers = ask(&reference, "translate", &lines);

    let mut renderings: Vec<String> = Vec::new();
    let (mut broken, mut different) = (0, Vec::new());
    for (index, ((text, pretty, is_torn), answer)) in documents.iter().zip(&answers).enumerate() {
        let theirs = sorted(&format!(
            "{}\n{}{}",
            answer["json"].as_str().unwrap(),
            answer["report"].as_str().unwrap(),
            answer["error"].as_str().unwrap()
        ));
        let ours = sorted(&ours(text, *pretty, &files_dir));
        if let Some(rendered) = ct(text, &files_dir) {
            renderings.push(json!(rendered).to_string());
        }
        if *is_torn && (ours == BROKEN) != (theirs == BROKEN) {
            // Whether a torn text is still YAML, the two scanners see alike but for a few.
            broken += 1;
        } else if ours != theirs {
            different.push((index, text, ours, theirs));
        }
    }
    eprintln!(
        "{} of {rounds} configs equal, {} rendered, {broken} broken to one side alone, seed {seed}",
        documents.len() - different.len() - broken,
        renderings.len()
    );
    let refused: Vec<Json> = ask(&reference, "validate", &renderings)
        .into_iter()
        .filter(|answer| !answer.is_null())
        .collect();
    assert!(
        refused.is_empty(),
        "Ignition refuses what is rendered: {refused:?}"
    );
    assert!(
        broken * 1000 <= documents.len(),
        "{broken} torn configs are YAML to one side alone"
    );
    let shown = different.iter().take(number("FLATCAR_SHOWN", 5) as usize);
    let shown: Vec<String> = shown
        .map(|(index, text, ours, theirs)| {
            format!("#{index}\n{text}\n--- ours\n{ours}\n--- theirs\n{theirs}")
        })
        .collect();
    assert!(
        different.is_empty(),
        "{} different\n{}",
        different.len(),
        shown.join("\n\n")
    );
}

/// In terraform-provider-ct's style, which nothing above compares.
fn ct(text: &str, files_dir: &str) -> Option<String> {
    let input = Input {
        documents: vec![Document {
            origin: Origin::Content,
            text: text.to_owned(),
        }],
    };
    let options = Options {
        files_dir: Some(files_dir.into()),
        style: Style::Ct,
        data_unchecked: true,
        ..Options::default()
    };
    render(&input, &options).0.map(|rendered| rendered.json)
}

/// One answer of the reference for each question, all JSON.
fn ask(reference: &OsStr, what: &str, questions: &[String]) -> Vec<Json> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), questions.join("\n")).unwrap();
    let answers = Command::new(reference)
        .arg(what)
        .stdin(fs::File::open(file.path()).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let answers: Vec<Json> = serde_json::Deserializer::from_slice(&answers.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(answers.len(), questions.len(), "the reference gave up");
    answers
}

/// Stands for all words about what is no YAML.
const BROKEN: &str = "\nError unmarshaling yaml: yaml: ";

fn ours(text: &str, pretty: bool, files_dir: &str) -> String {
    let input = Input {
        documents: vec![Document {
            origin: Origin::Content,
            text: text.to_owned(),
        }],
    };
    let options = Options {
        pretty,
        files_dir: Some(files_dir.into()),
        data_unchecked: true,
        ..Options::default()
    };
    let (rendered, report) = render(&input, &options);
    let json = rendered.map_or_else(String::new, |rendered| rendered.json);
    let failure = report.reference_failure().unwrap_or_default().to_owned();
    format!("{json}\n{}{failure}", report.reference_entries()).replace(NO_UTF8, "\u{fffd}")
}

/// Where the reference itself is random: the order of unused keys, and which of several colliding
/// partitions it names. And where we differ on purpose: the words for broken YAML are those of its
/// scanner, which looks further ahead than ours.
fn sorted(text: &str) -> String {
    if text.starts_with(BROKEN) && text.lines().count() == 2 {
        return BROKEN.to_owned();
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if line.ends_with(": partition numbers collide") {
            *line = "partition numbers collide".to_owned();
        }
    }
    let is_unused = |line: &String| line.contains(": unused key ");
    for run in lines.chunk_by_mut(|a, b| is_unused(a) && is_unused(b)) {
        run.sort();
    }
    lines.join("\n")
}

fn files_dir() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("tree/etc/deep")).unwrap();
    for (name, contents) in [
        ("a", "hello\n"),
        (
            "b.service",
            "[Unit]\nDescription=b\n[Install]\nWantedBy=x\n",
        ),
        ("keys", "one\n\ntwo\r\n# three\n"),
        ("tree/etc/a", "a"),
        ("tree/etc/deep/b", "b"),
        ("tree/a-b", "x"),
        ("tree/a", "y"),
    ] {
        fs::write(path(name), contents).unwrap();
    }
    fs::write(path("bytes"), [0u8, 255, 254, b'a']).unwrap();
    fs::write(path("long"), "some words again and again\n".repeat(40)).unwrap();
    std::os::unix::fs::symlink("a", path("tree/link")).unwrap();
    directory
}
