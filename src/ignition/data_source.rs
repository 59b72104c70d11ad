//! `data "flatcar_ignition"`: the schema, and from its attributes to Ignition, user data and
//! diagnostics. The ephemeral twin is the same.

mod checksums;
mod diagnostics;
mod schema;
mod sysext;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::diagnostics::{beyond, blamed, diagnostic, warnings};
use self::schema::OUTPUT_FORMATS;
pub(super) use self::schema::schema;
pub use self::sysext::FlatcarSysext;
use super::butane::header;
use super::preset::download::Checksums;
use super::preset::kubernetes::{Kubernetes, server_host};
use super::preset::{self, Contradiction, Proxy, Updates};
use super::user_data::{Compress, UserData, pack};
use super::{
    Document, Input, Options, Origin, ReportEntry, Severity, check_release, render, unread,
};
use crate::flatcar::platform;
use crate::provider::convert::from_value;
use crate::provider::{
    Attr, Context, DataSource, Diagnostic, Diagnostics, Outcome, Path, Schema, Value, is_made_up,
};

/// `data "flatcar_ignition"`.
pub struct FlatcarIgnition;

impl DataSource for FlatcarIgnition {
    type Model = Model;
    const NAME: &'static str = "ignition";

    fn schema(&self) -> Schema {
        schema()
    }
    fn validate(&self, config: Model) -> Diagnostics {
        validate(&config)
    }
    async fn read(&self, context: &Context, config: Model) -> Outcome<Model> {
        read(context, config).await
    }
}

/// What is to be had only from elsewhere is fetched, then everything is rendered.
pub(super) async fn read(context: &Context, config: Model) -> Outcome<Model> {
    let mut problems = Diagnostics::none();
    // What is wrong with it is reported where it is rendered.
    let kubernetes = config.kubernetes(&mut Diagnostics::none());
    let checksums = checksums::of(context, kubernetes.as_ref(), &mut problems).await;
    let answered = answer(config, &checksums);
    problems.extend(answered.problems);
    match problems.has_errors() {
        true => Outcome::failed(problems),
        false => Outcome {
            value: answered.value,
            problems,
        },
    }
}

/// The attributes. Many are secrets: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Model {
    content: Attr<String>,
    snippets: Attr<Vec<Attr<String>>>,
    files_dir: Attr<String>,
    strict: Attr<bool>,
    pretty_print: Attr<bool>,
    output_format: Attr<String>,
    platform: Attr<String>,
    compress: Attr<String>,
    flatcar_version: Attr<String>,
    ssh_authorized_keys: Attr<Vec<Attr<String>>>,
    updates: Value,
    kubernetes: Value,
    proxy: Value,
    rendered: Option<String>,
    user_data: Option<String>,
    sha256: Option<String>,
    size: Option<usize>,
    user_data_size: Option<usize>,
    ignition_spec: Option<String>,
    warnings: Option<Vec<String>>,
}

/// Finds what is wrong before everything is known. Core validates again right before it reads, and
/// reading reports the warnings of what has no errors: here they are reported beside an error only,
/// for nothing is read then.
pub(super) fn validate(config: &Model) -> Diagnostics {
    if config.sources().iter().all(|(_, absent)| *absent) {
        return nothing_to_render(config).into();
    }
    let found = match config.can_be_rendered() {
        true => answer(unmocked(config.clone()), &Checksums::default()).problems,
        false => piecewise(config),
    };
    match found.has_errors() {
        true => found,
        false => Diagnostics::none(),
    }
}

/// Without a release that a mock may have made up. A read, which a mock does itself, refuses it.
fn unmocked(mut config: Model) -> Model {
    if (config.flatcar_version.known()).is_some_and(|text| is_made_up(text)) {
        config.flatcar_version = Attr::Null;
    }
    config
}

/// Each known document for itself: what is unknown yet may be merged over it, and local files may
/// not be there yet.
fn piecewise(config: &Model) -> Diagnostics {
    let mut problems = Diagnostics::none();
    // What is unknown yet may be merged over data that does not fit.
    let options = Options {
        data_unchecked: true,
        ..config.options()
    };
    let strict = config.is_strict();
    for document in documents(config, &Checksums::default(), &mut problems) {
        let input = Input {
            documents: vec![document],
        };
        let (_, report) = render(&input, &options);
        let (entries, more) = report.shown_of(|entry| !is_wanted(entry) && !entry.of_files);
        for entry in entries {
            problems.push(diagnostic(entry, strict));
        }
        problems.extend(beyond(more, strict));
    }
    problems
}

impl Model {
    /// What can be rendered, and whether it is absent.
    fn sources(&self) -> [(&'static str, bool); 6] {
        [
            ("content", self.content.is_null()),
            ("snippets", self.snippets.is_null()),
            ("ssh_authorized_keys", self.ssh_authorized_keys.is_null()),
            ("updates", self.updates.is_null()),
            ("kubernetes", self.kubernetes.is_null()),
            ("proxy", self.proxy.is_null()),
        ]
    }

    /// Whether all documents are known, and the schema takes what they are made of. Files that are
    /// read may be made by this very apply.
    fn can_be_rendered(&self) -> bool {
        let list = |list: &Attr<Vec<Attr<String>>>| match list {
            Attr::Unknown => false,
            Attr::Null => true,
            Attr::Known(elements) => !elements.iter().any(Attr::is_unknown),
        };
        let ignored = &mut Diagnostics::none();
        self.files_dir.is_null()
            && !self.content.is_unknown()
            && !self.output_format.is_unknown()
            && list(&self.snippets)
            && list(&self.ssh_authorized_keys)
            && self.updates.is_wholly_known()
            && self.kubernetes.is_wholly_known()
            && self.proxy.is_wholly_known()
            && known::<Updates>(&self.updates, "updates", ignored)
                .is_none_or(|known| known.is_sound())
            && self
                .kubernetes(ignored)
                .is_none_or(|known| known.is_sound())
            && known::<Proxy>(&self.proxy, "proxy", ignored).is_none_or(|known| known.is_sound())
    }

    fn kubernetes(&self, problems: &mut Diagnostics) -> Option<Kubernetes> {
        known(&self.kubernetes, "kubernetes", problems)
    }

    fn options(&self) -> Options {
        Options {
            // Whether a warning fails is decided here, for there are some that a preset must live
            // with.
            strict: false,
            pretty: self.pretty_print.known().copied().unwrap_or_default(),
            files_dir: self.files_dir.known().map(PathBuf::from),
            style: OUTPUT_FORMATS
                .into_iter()
                .find(|(name, _)| {
                    self.output_format
                        .known()
                        .is_some_and(|format| format == name)
                })
                .map(|(_, style)| style)
                .unwrap_or_default(),
            data_unchecked: false,
        }
    }

    fn is_strict(&self) -> bool {
        self.strict.known().copied().unwrap_or_default()
    }
}

const NO_RELEASE: &str = "A release is three numbers with dots, such as `4593.2.5`.";

/// Everything, of a configuration whose documents are known.
pub(super) fn answer(config: Model, checksums: &Checksums) -> Outcome<Model> {
    let mut problems = Diagnostics::none();
    let documents = documents(&config, checksums, &mut problems);
    if documents.is_empty() {
        if !problems.has_errors() {
            problems.push(nothing_to_render(&config));
        }
        return Outcome::failed(problems);
    }
    let (rendered, report) = render(&Input { documents }, &config.options());
    let (entries, more) = report.shown_of(|entry| !is_wanted(entry));
    for entry in &entries {
        problems.push(diagnostic(entry, config.is_strict()));
    }
    problems.extend(beyond(more, config.is_strict()));
    let Some(rendered) = rendered else {
        if !problems.has_errors() {
            problems.push(Diagnostic::error(
                "Could not render the config",
                "The documents give no config, and nothing says why. This is a bug in the provider; please report it with the log.",
            ));
        }
        return Outcome::failed(problems);
    };
    if let Some(text) = config.flatcar_version.known() {
        let release = text.parse().map_err(|_| NO_RELEASE.to_owned());
        if let Err(why) = release.and_then(|release| check_release(rendered.spec, release)) {
            problems.push(
                Diagnostic::error("This release cannot read the config", why)
                    .at(Path::of("flatcar_version")),
            );
        }
    }
    if config.flatcar_version.is_null()
        && let Some(why) = unread(rendered.spec)
    {
        let summary = "No release reads this config";
        let diagnostic = match config.is_strict() {
            true => Diagnostic::error(summary, why),
            false => Diagnostic::warning(summary, why),
        };
        problems.push(diagnostic.at(blamed(rendered.raised_by)));
    }
    let user_data = user_data(&config, &rendered.json, &mut problems);
    if problems.has_errors() {
        return Outcome::failed(problems);
    }
    Outcome {
        value: Some(Model {
            sha256: Some(
                Sha256::digest(rendered.json.as_bytes())
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            ),
            size: Some(rendered.json.len()),
            ignition_spec: Some(rendered.spec.to_owned()),
            warnings: Some(warnings(&entries, more)),
            rendered: Some(rendered.json),
            user_data_size: user_data.as_ref().map(|user_data| user_data.size),
            user_data: user_data.map(|user_data| user_data.text),
            ..config
        }),
        problems,
    }
}

fn nothing_to_render(config: &Model) -> Diagnostic {
    let set: Vec<&str> = config
        .sources()
        .into_iter()
        .filter(|(_, absent)| !absent)
        .map(|(name, _)| name)
        .collect();
    let mut detail =
        "At least one of content, snippets, ssh_authorized_keys, updates, kubernetes and proxy must be set."
            .to_owned();
    if !set.is_empty() {
        detail.push_str(&format!(" There is nothing in {}.", set.join(" and in ")));
    }
    let diagnostic = Diagnostic::error("Nothing to render", detail);
    match set[..] {
        [alone] => diagnostic.at(Path::of(alone)),
        _ => diagnostic,
    }
}

/// The config as its platform takes it; none without a platform, or where it does not fit.
fn user_data(config: &Model, rendered: &str, problems: &mut Diagnostics) -> Option<UserData> {
    let compress = config
        .compress
        .known()
        .and_then(|word| Compress::named(word))
        .unwrap_or_default();
    if config.platform.is_null() && compress == Compress::Always {
        problems.push(
            Diagnostic::warning(
                "Nothing is compressed without a platform",
                "Only user_data is ever compressed, and without platform there is none. Set platform, or leave out compress.",
            )
            .at(Path::of("compress")),
        );
    }
    if config.compress.is_unknown() {
        return None;
    }
    let platform = config.platform.known().and_then(|name| platform(name))?;
    match pack(rendered, platform, compress) {
        Ok(user_data) => {
            problems.extend(Diagnostics(
                user_data
                    .warning
                    .iter()
                    .map(|warning| {
                        Diagnostic::warning("The config is large for the platform", warning)
                            .at(Path::of("platform"))
                    })
                    .collect(),
            ));
            Some(user_data)
        }
        Err(too_large) => {
            problems.push(
                Diagnostic::error(
                    "The config is too large for the platform",
                    too_large.to_string(),
                )
                .at(Path::of("platform")),
            );
            None
        }
    }
}

/// Presets first, then content, then snippets: the order of merging.
fn documents(config: &Model, checksums: &Checksums, problems: &mut Diagnostics) -> Vec<Document> {
    let mut documents = presets(config, checksums, problems);
    if let Attr::Known(content) = &config.content
        && !header::is_blank(content)
    {
        documents.push(Document {
            origin: Origin::Content,
            text: content.clone(),
        });
    }
    for (index, snippet) in config.snippets.known().into_iter().flatten().enumerate() {
        if let Attr::Known(text) = snippet
            && !header::is_blank(text)
        {
            documents.push(Document {
                origin: Origin::Snippet(index),
                text: text.clone(),
            });
        }
    }
    documents
}

/// The presets that are known, and of keys each that is. The schema reports what is not of the
/// right form; nothing is made of it.
fn presets(config: &Model, checksums: &Checksums, problems: &mut Diagnostics) -> Vec<Document> {
    let mut documents = Vec::new();
    if let Attr::Known(keys) = &config.ssh_authorized_keys {
        let (indexes, keys): (Vec<usize>, Vec<String>) = keys
            .iter()
            .enumerate()
            .filter_map(|(index, key)| key.known().map(|key| (index, key.clone())))
            .unzip();
        let (document, wrong) = preset::ssh_authorized_keys(&keys);
        documents.extend(document);
        for (position, why) in wrong {
            let index = indexes[position];
            problems.push(
                Diagnostic::error(
                    "Not a public key",
                    format!("ssh_authorized_keys[{index}] cannot be used: {why}."),
                )
                .at(Path::of("ssh_authorized_keys").index(index)),
            );
        }
    }
    let updates = known::<Updates>(&config.updates, "updates", problems);
    if let Some(updates) = &updates {
        contradict("updates", updates.contradictions(), problems);
        documents.extend(updates.is_sound().then(|| updates.document()));
    }
    if let Some(kubernetes) = config.kubernetes(problems) {
        contradict("kubernetes", kubernetes.contradictions(), problems);
        let owns_updates = config.updates.is_null();
        let sound = kubernetes.is_sound();
        if updates.is_some_and(|updates| updates.reboots_by_itself()) {
            problems.push(
                Diagnostic::warning(
                    "Machines reboot without a drain",
                    "With this strategy locksmithd reboots a machine as soon as it has an update, whatever runs on it. Write reboot_strategy = \"off\", and \
                     let the group roll to the new release; or let one controller reboot that drains first.",
                )
                .at(Path::of("updates").attribute("reboot_strategy")),
            );
        }
        documents.extend(sound.then(|| kubernetes.document(checksums, owns_updates)));
    }
    if let Some(proxy) = known::<Proxy>(&config.proxy, "proxy", problems) {
        if let Some(kubernetes) = config.kubernetes(&mut Diagnostics::none())
            && !proxy.leaves_out(server_host(&kubernetes.server))
        {
            problems.push(
                Diagnostic::warning(
                    "The kubelet asks the proxy for its API server",
                    "The host of kubernetes.server is not among proxy.no_proxy. Add it, and the networks of Services and pods, or .svc and the \
                     cluster's domain; leave it where the API server is only reached through the proxy.",
                )
                .at(Path::of("proxy").attribute("no_proxy")),
            );
        }
        contradict("proxy", proxy.contradictions(), problems);
        documents.extend(proxy.is_sound().then(|| proxy.document()));
    }
    documents
}

fn known<T: serde::de::DeserializeOwned>(
    value: &Value,
    attribute: &str,
    problems: &mut Diagnostics,
) -> Option<T> {
    if value.is_null() || !value.is_wholly_known() {
        return None;
    }
    match from_value(value, &Path::of(attribute)) {
        Ok(preset) => Some(preset),
        Err(misfit) => {
            problems.extend(misfit);
            None
        }
    }
}

fn contradict(preset: &str, found: Vec<Contradiction>, problems: &mut Diagnostics) {
    for (attribute, why) in found {
        problems.push(
            Diagnostic::error(
                "Two settings contradict each other",
                format!("{preset}.{attribute}: {why}."),
            )
            .at(Path::of(preset).attribute(attribute)),
        );
    }
}

/// The proxy for https is most often reached by http, and the preset is asked for it in so many
/// words.
fn is_wanted(entry: &ReportEntry) -> bool {
    entry.origin == Origin::Preset("proxy")
        && entry.path == "$.ignition.proxy.https_proxy"
        && entry.severity == Severity::Warning
}

#[cfg(test)]
mod tests {
    use super::schema::check_platform;
    use super::*;
    use crate::provider::convert::to_value;
    use crate::provider::diagnostics::Severity;
    use crate::provider::schema::null_object;
    use serde_json::json;

    fn answer_of(config: Model) -> Outcome<Model> {
        answer(config, &Checksums::default())
    }

    /// Of attributes as a user writes them, defaults filled in by hand; `"?"` is unknown.
    pub(super) fn config(attributes: serde_json::Value) -> Model {
        let Value::Map(mut object) = null_object(&schema().attributes) else {
            panic!("a schema is of an object");
        };
        for (name, value) in attributes.as_object().expect("an object") {
            let read = |value: &serde_json::Value| match value == "?" {
                true => Value::unknown(),
                false => to_value(value),
            };
            let value = match value.as_array() {
                Some(elements) => Value::List(elements.iter().map(read).collect()),
                None => read(value),
            };
            assert!(
                object.insert(name.clone(), value).is_some(),
                "{name} is no attribute"
            );
        }
        from_value(&Value::Map(object), &Path::root()).expect("a model")
    }

    fn updates(with: serde_json::Value) -> serde_json::Value {
        let mut object = json!({"automatic": true, "reboot_strategy": null, "reboot_window": null, "channel": null, "server": null, "profile": 1});
        object
            .as_object_mut()
            .expect("an object")
            .extend(with.as_object().expect("an object").clone());
        object
    }

    pub(super) fn reported(problems: &Diagnostics) -> Vec<String> {
        problems
            .0
            .iter()
            .map(|problem| {
                let severity = if problem.severity == Severity::Error {
                    "error"
                } else {
                    "warning"
                };
                let path = problem
                    .path
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                format!(
                    "{severity} {path}: {}: {}",
                    problem.summary,
                    problem.detail.lines().next().unwrap_or_default()
                )
            })
            .collect()
    }

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2mD6pXxFWyNPKiy6tYbWDNoTqWmQ1sFcbzv3b8nVJm";
    const KEYS: &str =
        "variant: flatcar\nversion: 1.1.0\npasswd:\n  users:\n    - name: core\n      gecos: x\n";

    #[test]
    fn layers_are_merged_presets_first_and_everything_is_put_out() {
        let outcome = answer_of(config(json!({
            "content": KEYS,
            "snippets": [null, "", r#"{"ignition":{"version":"3.3.0"},"passwd":{"users":[{"name":"core","gecos":"y"}]}}"#],
            "ssh_authorized_keys": [KEY],
            "platform": "aws",
            "flatcar_version": "4593.2.5",
        })));
        assert_eq!(reported(&outcome.problems), Vec::<String>::new());
        let model = outcome.value.expect("it renders");
        let rendered = r#"{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"gecos":"y","name":"core","sshAuthorizedKeys":["KEY"]}]}}"#
            .replace("KEY", KEY);
        assert_eq!(model.rendered.as_ref(), Some(&rendered));
        assert_eq!(
            (model.size, model.user_data_size),
            (Some(rendered.len()), Some(rendered.len()))
        );
        assert!(model.user_data.is_some_and(|text| text.starts_with("eyJp")));
        assert_eq!(model.ignition_spec.as_deref(), Some("3.4.0"));
        assert_eq!(model.sha256.map(|digest| digest.len()), Some(64));
        assert_eq!(model.warnings, Some(Vec::new()));
    }

    #[test]
    fn every_entry_is_one_diagnostic_on_what_caused_it_and_begins_as_butane_prints_it() {
        let wrong = "variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - mode: 0644\n      odd: s3cret\n    - path: etc\n";
        let outcome = answer_of(config(json!({"content": KEYS, "snippets": [null, wrong]})));
        assert!(outcome.value.is_none());
        assert_eq!(
            reported(&outcome.problems),
            [
                "warning snippets[1]: Unused key odd: warning at $.storage.files.0.odd, line 6 col 7: unused key odd",
                "error snippets[1]: Path not specified: error at $.storage.files.0.path, line 5 col 7: path not specified",
                "error snippets[1]: Path not absolute: error at $.storage.files.1.path, line 7 col 13: path not absolute",
            ]
        );
        for problem in &outcome.problems.0 {
            assert!(!problem.detail.contains("s3cret"));
            assert!(
                problem.detail.contains("\n\nIt is in snippets[1]."),
                "{}",
                problem.detail
            );
        }
    }

    #[test]
    fn a_warning_is_put_out_and_in_strict_mode_an_error() {
        let content = format!("{KEYS}odd: 1\n");
        let line = "warning at $.odd, line 7 col 1: unused key odd";
        let outcome = answer_of(config(json!({"content": content})));
        assert_eq!(
            reported(&outcome.problems),
            [format!("warning content: Unused key odd: {line}")]
        );
        assert_eq!(
            outcome.value.and_then(|model| model.warnings),
            Some(vec![line.to_owned()])
        );
        let outcome = answer_of(config(json!({"content": content, "strict": true})));
        assert_eq!(
            reported(&outcome.problems),
            [format!("error content: Unused key odd: {line}")]
        );
        assert!(outcome.value.is_none());
    }

    #[test]
    fn a_proxy_for_https_that_is_reached_by_http_is_no_problem_of_the_users() {
        let proxy = json!({"http_proxy": null, "https_proxy": "http://proxy:3128", "no_proxy": ["localhost"], "profile": 1});
        let outcome = answer_of(config(
            json!({"proxy": proxy, "strict": true, "content": KEYS}),
        ));
        assert_eq!(reported(&outcome.problems), Vec::<String>::new());
        assert!(
            outcome
                .value
                .and_then(|model| model.rendered)
                .is_some_and(|json| json.contains(r#""noProxy":["localhost"]"#))
        );
    }

    #[test]
    fn faults_outside_the_documents_are_on_their_attributes() {
        let large: String = (0..3000u32)
            .map(|n| format!("      {:08x}\n", n.wrapping_mul(2_654_435_761)))
            .collect();
        let large = format!(
            "variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - path: /large\n      contents:\n        inline: |\n{}",
            large.replace("      ", "          ")
        );
        for (attributes, expected) in [
            (
                json!({"content": large, "platform": "aws"}),
                "error platform: The config is too large for the platform: The config has ",
            ),
            (
                json!({"content": KEYS, "flatcar_version": "a1b2c3d4"}),
                "error flatcar_version: This release cannot read the config: A release is three numbers",
            ),
            (
                json!({"content": KEYS, "flatcar_version": "3510.3.8"}),
                "error flatcar_version: This release cannot read the config: Flatcar 3510.3.8 has ",
            ),
            (
                json!({"ssh_authorized_keys": [null, "AAAA"]}),
                "error ssh_authorized_keys[1]: Not a public key: ",
            ),
            (
                json!({"updates": updates(json!({"automatic": false, "server": "https://a"}))}),
                "error updates.server: Two settings contradict each other: updates.server: with automatic = false",
            ),
            (
                json!({"content": null, "snippets": [null, ""]}),
                "error snippets: Nothing to render: At least one of ",
            ),
            (
                json!({"content": "", "snippets": [null, ""]}),
                "error : Nothing to render: At least one of content, snippets, ssh_authorized_keys, updates, kubernetes and proxy must be set. There is nothing in content and in snippets.",
            ),
        ] {
            let outcome = answer_of(config(attributes.clone()));
            let reported = reported(&outcome.problems);
            assert!(
                reported.len() == 1 && reported[0].starts_with(expected),
                "{attributes}: {reported:#?}"
            );
            assert!(outcome.value.is_none());
        }
    }

    #[test]
    fn all_problems_come_at_once_and_warnings_beside_errors() {
        let wrong = "variant: flatcar\nversion: 1.1.0\nodd: 1\nstorage: {files: [{path: a}]}\n";
        let attributes = json!({
            "content": wrong,
            "ssh_authorized_keys": ["AAAA", KEY, "BBBB"],
            "updates": updates(json!({"automatic": false, "server": "https://a"})),
        });
        for problems in [
            validate(&config(attributes.clone())),
            answer_of(config(attributes)).problems,
        ] {
            let places: Vec<String> = reported(&problems)
                .iter()
                .filter_map(|line| line.split_once(": ").map(|(place, _)| place.to_owned()))
                .collect();
            assert_eq!(
                places,
                [
                    "error ssh_authorized_keys[0]",
                    "error ssh_authorized_keys[2]",
                    "error updates.server",
                    "warning content",
                    "error content",
                ]
            );
        }
    }

    #[test]
    fn a_warning_beside_an_error_is_told_whatever_else_is_not_known_yet() {
        let unit = "systemd: {units: [{name: a.service, contents_local: x}]}\n";
        let old =
            format!("variant: flatcar\nversion: 1.0.0\n{unit}storage: {{files: [{{path: a}}]}}\n");
        let misfit = format!(
            "variant: flatcar\nversion: 1.0.0\n{unit}storage: {{files: [{{path: /a, mode: s3cret}}]}}\n"
        );
        let json = r#"{"ignition":{"version":"3.4.0"},"odd":1,"passwd":1}"#;
        for (content, expected) in [
            (
                old.as_str(),
                [
                    "warning content: Unused key contents_local",
                    "error content: Path not absolute",
                ],
            ),
            (
                misfit.as_str(),
                [
                    "error content: Cannot unmarshal !!str into int",
                    "warning content: Unused key contents_local",
                ],
            ),
            (
                json,
                [
                    "error content: Cannot unmarshal number into types.Passwd",
                    "warning content: Unused key odd",
                ],
            ),
        ] {
            for others in [
                json!({}),
                json!({"files_dir": "files"}),
                json!({"snippets": ["?"]}),
            ] {
                let mut attributes = others.clone();
                attributes["content"] = json!(content);
                let begun: Vec<String> = reported(&validate(&config(attributes)))
                    .iter()
                    .map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": "))
                    .collect();
                assert_eq!(begun, expected, "{content} {others}");
            }
        }
    }

    #[test]
    fn a_great_many_problems_are_told_as_a_few_hundred_and_how_many_more() {
        let links: String = (1..1_000)
            .map(|depth| {
                format!(
                    "{}{{\"path\":\"{}\",\"target\":\"/x\"}}",
                    if depth > 1 { "," } else { "" },
                    "/a".repeat(depth)
                )
            })
            .collect();
        let content = format!(
            r#"{{"ignition":{{"version":"3.4.0"}},"odd":1,"storage":{{"links":[{links}]}}}}"#
        );
        let problems = answer_of(config(json!({"content": content}))).problems;
        assert_eq!(problems.0.len(), 201);
        let last = &problems.0[200];
        assert_eq!(last.summary, "There are more problems");
        // Each link below all that are above it, and the key that nobody knows.
        let beyond = 999 * 998 / 2 - 200;
        assert!(
            last.detail.contains(&format!(
                "There are {beyond} more errors and 1 more warning,"
            )),
            "{}",
            last.detail
        );
    }

    #[test]
    fn a_value_that_the_schema_refuses_is_told_once_and_written_nowhere() {
        for address in ["http://a\nB=c", "http://a\"", "http://a'"] {
            let proxy =
                json!({"http_proxy": address, "https_proxy": null, "no_proxy": null, "profile": 1});
            for content in [json!(KEYS), json!(null)] {
                let problems = validate(&config(json!({"proxy": proxy, "content": content})));
                assert_eq!(reported(&problems), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn whatever_a_preset_writes_and_a_later_document_replaces_is_warned_of() {
        let proxy = json!({"http_proxy": "http://proxy:3128", "https_proxy": null, "no_proxy": ["localhost"], "profile": 1});
        let butane = |body: &str| format!("variant: flatcar\nversion: 1.1.0\n{body}\n");
        let ignition = r#"{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc/flatcar/update.conf","overwrite":true,"contents":{"source":"data:,x"}}]}}"#;
        let file = |path: &str| {
            butane(&format!(
                "storage: {{files: [{{path: {path}, overwrite: true, contents: {{inline: x}}}}]}}"
            ))
        };
        for (snippet, expected) in [
            (
                file("/etc/flatcar/update.conf"),
                Some(
                    "warning snippets[0]: Preset updates is overridden: warning at $.storage.files.0, line 3 col 19: overrides preset updates: /etc/flatcar/update.conf",
                ),
            ),
            (
                ignition.to_owned(),
                Some(
                    "warning snippets[0]: Preset updates is overridden: warning at $.storage.files.0, line 1 col 53: overrides preset updates: /etc/flatcar/update.conf",
                ),
            ),
            (
                butane(
                    "storage: {links: [{path: /etc/flatcar/proxy.env, target: /x, overwrite: true}]}",
                ),
                Some(
                    "warning snippets[0]: Preset proxy is overridden: warning at $.storage.links.0, line 3 col 19: overrides preset proxy: /etc/flatcar/proxy.env",
                ),
            ),
            (
                butane(
                    "systemd: {units: [{name: a.service, enabled: true}, {name: kubelet.service, dropins: [{name: 10-proxy.conf, contents: \"[Service]\"}]}]}",
                ),
                Some(
                    "warning snippets[0]: Preset proxy is overridden: warning at $.systemd.units.1.dropins.0, line 3 col 87: overrides preset proxy: 10-proxy.conf of kubelet.service",
                ),
            ),
            (
                butane("ignition: {proxy: {http_proxy: \"http://other\"}}"),
                Some(
                    "warning snippets[0]: Preset proxy is overridden: warning at $.ignition.proxy.http_proxy, line 3 col 32: overrides preset proxy: ignition.proxy.http_proxy",
                ),
            ),
            (
                butane(
                    "storage: {files: [{path: /etc/flatcar/update.conf, append: [{inline: \"REBOOT_STRATEGY=reboot\"}]}]}",
                ),
                Some(
                    "warning snippets[0]: Preset updates is overridden: warning at $.storage.files.0, line 3 col 19: overrides preset updates: /etc/flatcar/update.conf",
                ),
            ),
            // What stands beside, and what says the same, takes nothing away.
            (file("/etc/flatcar/other.conf"), None),
            (
                butane("ignition: {proxy: {http_proxy: \"http://proxy:3128\", no_proxy: [other]}}"),
                None,
            ),
            (
                butane(
                    "systemd: {units: [{name: kubelet.service, enabled: true, dropins: [{name: 20-x.conf, contents: \"[Unit]\"}]}]}",
                ),
                None,
            ),
            (
                butane(
                    "storage: {files: [{path: /etc/flatcar/other.conf, append: [{inline: \"A=1\"}]}]}",
                ),
                None,
            ),
        ] {
            let outcome = answer_of(config(json!({
                "snippets": [snippet],
                "updates": updates(json!({"reboot_strategy": "off"})),
                "proxy": proxy,
            })));
            assert_eq!(
                reported(&outcome.problems),
                Vec::from_iter(expected),
                "{snippet}"
            );
            assert!(outcome.value.is_some_and(|model| {
                model
                    .warnings
                    .is_some_and(|all| all.len() == expected.iter().len())
            }));
        }
    }

    #[test]
    fn a_config_that_no_release_reads_is_warned_of_without_a_release() {
        let newest = "variant: flatcar\nversion: 1.2.0-experimental\n";
        for (attributes, expected) in [
            (
                json!({"content": KEYS, "snippets": [null, newest]}),
                "warning snippets[1]: No release reads this config: No release of Flatcar that this provider knows reads configs of version 3.7.0-experimental: ",
            ),
            (
                json!({"content": newest, "strict": true}),
                "error content: No release reads this config: ",
            ),
            (
                json!({"content": newest, "flatcar_version": "4593.2.5"}),
                "error flatcar_version: This release cannot read the config: ",
            ),
        ] {
            let reported = reported(&answer_of(config(attributes.clone())).problems);
            assert!(
                reported.len() == 1 && reported[0].starts_with(expected),
                "{attributes}: {reported:#?}"
            );
        }
    }

    #[test]
    fn documents_with_nothing_in_them_are_no_documents() {
        for nothing in [
            "",
            " \n",
            "# later\n",
            "---\n",
            "--- # begins\n\n...\n",
            "\u{feff}\n",
        ] {
            let outcome = answer_of(config(
                json!({"content": nothing, "snippets": [nothing, KEYS]}),
            ));
            assert_eq!(
                reported(&outcome.problems),
                Vec::<String>::new(),
                "{nothing:?}"
            );
            let outcome = answer_of(config(json!({"content": nothing, "snippets": [nothing]})));
            assert!(
                reported(&outcome.problems)[0].starts_with("error : Nothing to render: "),
                "{nothing:?}"
            );
        }
        for something in [
            "--- x\n",
            "----\n",
            "x: 1\n# y\n",
            "#cloud-config\npackages: []\n",
        ] {
            let outcome = answer_of(config(json!({"content": something, "snippets": [KEYS]})));
            assert!(outcome.value.is_none(), "{something:?}");
        }
    }

    #[test]
    fn nulls_where_terraform_leaves_something_out_are_no_faults() {
        // As yamlencode and jsonencode write them.
        let butane = "\"variant\": \"flatcar\"\n\"version\": \"1.1.0\"\n\"storage\":\n  \"files\":\n  - \"path\": \"/a\"\n    \"user\": null\n    \"group\": null\n    \"mode\": null\n    \"contents\": null\n    \"append\": null\n\"passwd\": null\n";
        let ignition = r#"{"ignition":{"version":"3.4.0","proxy":null},"storage":{"files":[{"path":"/a","user":null,"mode":null,"contents":null}]},"systemd":null}"#;
        for content in [butane, ignition] {
            let outcome = answer_of(config(json!({"content": content, "strict": true})));
            assert_eq!(reported(&outcome.problems), Vec::<String>::new());
            assert_eq!(
                outcome.value.and_then(|model| model.warnings),
                Some(Vec::new())
            );
        }
        // Below an alias keys go unchecked, which is reported.
        let alias = "variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: /a, user: &u {id: 1}}, {path: /b, user: *u}]}\n";
        let reported = reported(&answer_of(config(json!({"content": alias}))).problems);
        assert!(
            reported.len() == 1 && reported[0].contains("context tree does not match"),
            "{reported:?}"
        );
    }

    #[test]
    fn a_byte_order_mark_before_a_document_is_passed_over() {
        for content in [KEYS, r#"{"ignition":{"version":"3.4.0"}}"#] {
            let outcome = answer_of(config(json!({"content": format!("\u{feff}{content}")})));
            assert_eq!(reported(&outcome.problems), Vec::<String>::new());
            let plain = answer_of(config(json!({"content": content})));
            assert_eq!(
                outcome.value.and_then(|model| model.rendered),
                plain.value.and_then(|model| model.rendered)
            );
        }
    }

    #[test]
    fn modes_that_lost_their_zero_are_told_how_to_write_them() {
        let butane =
            "variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: /a, mode: 600}]}\n";
        let ignition =
            r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","mode":600}]}}"#;
        for content in [butane, ignition] {
            let problems = answer_of(config(json!({"content": content}))).problems;
            let reported = problems.0.iter().any(|problem| {
                problem.detail.contains("unreasonable mode")
                    && problem.detail.contains(r#"parseint("0644", 8)"#)
            });
            assert!(reported, "{content}");
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_hidden() {
        let hidden: Vec<&str> = schema()
            .attributes
            .iter()
            .filter(|attribute| attribute.sensitive)
            .map(|attribute| attribute.name)
            .collect();
        assert_eq!(hidden, ["content", "snippets", "rendered", "user_data"]);
    }

    #[test]
    fn a_platform_by_another_name_is_told_what_it_is_called_here() {
        let reported = |word: &str| {
            reported(&check_platform(
                &Value::String(word.to_owned()),
                &Path::of("platform"),
            ))
        };
        assert!(reported("ec2")[0].starts_with(
            "error platform: Platform is not known here: It is called aws here. Accepted: "
        ));
        assert!(reported("aws").is_empty());
    }

    #[test]
    fn compression_without_a_platform_is_warned_of() {
        let outcome = answer_of(config(json!({"content": KEYS, "compress": "always"})));
        assert_eq!(reported(&outcome.problems).len(), 1);
        assert!(reported(&outcome.problems)[0].starts_with("warning compress: "));
        assert!(outcome.value.is_some());
    }

    #[test]
    fn what_is_known_is_checked_before_the_rest_is() {
        let wrong = "variant: flatcar\nversion: 9.9.9\n";
        assert_eq!(reported(&validate(&config(json!({})))).len(), 1);
        assert_eq!(
            reported(&validate(&config(json!({"content": "?"})))),
            Vec::<String>::new()
        );
        assert_eq!(
            reported(&validate(&config(json!({"content": wrong})))).len(),
            1
        );
        for unknown in [
            json!({"content": wrong, "files_dir": "files"}),
            json!({"content": wrong, "snippets": "?"}),
            json!({"content": wrong, "snippets": ["?"]}),
            json!({"content": wrong, "platform": "?", "compress": "?", "strict": "?"}),
            json!({"content": wrong, "output_format": "?"}),
            json!({"content": wrong, "proxy": "?"}),
            json!({"content": "?", "snippets": ["?", wrong]}),
            json!({"content": "?", "ssh_authorized_keys": ["?", "AAAA"]}),
        ] {
            let problems = reported(&validate(&config(unknown.clone())));
            assert_eq!(problems.len(), 1, "{unknown}: {problems:#?}");
        }
        // The file may be made by this apply.
        let local = "variant: flatcar\nversion: 1.1.0\nstorage: {trees: [{local: t}], files: [{path: /a, contents: {local: a}}]}\n";
        for files_dir in ["no-such-directory", "?"] {
            assert_eq!(
                reported(&validate(&config(
                    json!({"content": local, "files_dir": files_dir})
                ))),
                Vec::<String>::new()
            );
        }
        let contradiction = updates(json!({"automatic": false, "server": "https://a"}));
        assert_eq!(
            reported(&validate(&config(
                json!({"content": "?", "updates": contradiction})
            )))
            .len(),
            1
        );
        assert_eq!(
            reported(&validate(&config(
                json!({"content": format!("{KEYS}odd: 1\n")})
            ))),
            Vec::<String>::new()
        );
    }
}
