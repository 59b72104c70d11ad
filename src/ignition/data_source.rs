//! `data "flatcar_ignition"`: the schema, and from its attributes to Ignition, user data and diagnostics. The ephemeral twin is the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::preset::{self, Contradiction, Proxy, Updates};
use super::release::check_release;
use super::user_data::{Compress, pack};
use super::{Document, Input, Options, Origin, ReportEntry, Severity, Style, render};
use crate::flatcar::{PLATFORMS, Version, platform};
use crate::provider::convert::from_value;
use crate::provider::{
    Attr, Attribute, Context, DataSource, Diagnostic, Diagnostics, Outcome, Path, Schema, Type,
    Value,
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
    async fn read(&self, _context: &Context, config: Model) -> Outcome<Model> {
        answer(config)
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
    proxy: Value,
    rendered: Option<String>,
    user_data: Option<String>,
    sha256: Option<String>,
    size: Option<usize>,
    user_data_size: Option<usize>,
    ignition_spec: Option<String>,
    warnings: Option<Vec<String>>,
}

/// Of the data source and of its ephemeral twin.
pub(super) fn schema() -> Schema {
    Schema::new(
        0,
        "Ignition configuration from Butane (`variant: flatcar`), Ignition JSON and typed presets: translated, merged and checked while \
         planning. Everything that is wrong is reported, with path, line and column, on the attribute that caused it. Presets are the \
         lowest layer, `content` is merged over them, then `snippets` in order, by Ignition's rules: objects member by member, files by \
         path, units and users by name.",
        vec![
            Attribute::string(
                "content",
                "Butane YAML (`variant: flatcar`, version 1.0.0, 1.1.0 or 1.2.0-experimental) or Ignition JSON (3.0 to 3.5). At least one of \
                 `content`, `snippets` and the presets must be set.",
            )
            .optional(),
            Attribute::list(
                "snippets",
                "Further documents of either kind, merged over `content` in order. Null and empty ones are skipped.",
                Type::String,
            )
            .optional()
            .skips_nulls(),
            Attribute::string(
                "files_dir",
                "Directory of the files that `local:` and `trees:` name. Nothing outside it is read, through a symbolic link either.",
            )
            .optional(),
            Attribute::bool("strict", "Whether warnings are errors.").default(false),
            Attribute::bool("pretty_print", "Whether `rendered` is indented.").default(false),
            Attribute::string(
                "output_format",
                "Form of `rendered`: `butane` is byte for byte what the `butane` command prints, `ct` what `ct_config` of \
                 terraform-provider-ct renders, so that moving from it changes no machine.",
            )
            .default(OUTPUT_FORMATS[0].0)
            .one_of(OUTPUT_FORMATS.map(|(name, _)| name)),
            Attribute::string("platform", "Platform that `user_data` is for; without it there is none.")
                .optional()
                .one_of(PLATFORMS.iter().map(|platform| platform.name)),
            Attribute::string(
                "compress",
                "When `user_data` is wrapped in a small config that holds the real one compressed: `auto` when it is larger than the platform \
                 takes.",
            )
            .default(Compress::NAMES[0])
            .one_of(Compress::NAMES),
            Attribute::string(
                "flatcar_version",
                "Release that must be able to read the config, such as `data.flatcar_image.x.version`, or the `ignition_spec` of an image.",
            )
            .optional()
            .pattern("Three numbers with dots, such as `4593.2.5`", |text| text.parse::<Version>().is_ok()),
            Attribute::list(
                "ssh_authorized_keys",
                "Preset: public keys of user `core`, each as in `authorized_keys`. An element may be a whole such file.",
                Type::String,
            )
            .optional()
            .skips_nulls(),
            updates(),
            proxy(),
            Attribute::string("rendered", "Ignition JSON.").computed().sensitive(),
            Attribute::string(
                "user_data",
                "What the API of `platform` takes as user data, wrapped where the config is too large, in base64 where the API wants that. For \
                 `aws_instance` and the like; `flatcar_worker_group` takes `rendered`.",
            )
            .computed()
            .sensitive(),
            Attribute::string("sha256", "SHA-256 of `rendered`, in hexadecimal.").computed(),
            Attribute::number("size", "Size of `rendered` in bytes.").computed(),
            Attribute::number(
                "user_data_size",
                "Size of `user_data` in bytes as `platform` counts them against its limit: before base64 on most, after it on some.",
            )
            .computed(),
            Attribute::string("ignition_spec", "Version of the Ignition specification of `rendered`.").computed(),
            Attribute::list("warnings", "Warnings of the translation, one line each, as the `butane` command prints them.", Type::String)
                .computed(),
        ],
    )
}

const OUTPUT_FORMATS: [(&str, Style); 2] = [("butane", Style::Butane), ("ct", Style::Ct)];

fn profile() -> Attribute {
    Attribute::number(
        "profile",
        "Version of what the preset writes. What a profile writes for an input never changes.",
    )
    .default(preset::PROFILE)
    .range(1..=preset::PROFILE)
}

fn updates() -> Attribute {
    Attribute::object(
        "updates",
        "Preset: how machines update themselves. Writes `/etc/flatcar/update.conf`.",
        vec![
            Attribute::bool(
                "automatic",
                "Whether the machine fetches updates. Without, `SERVER=disabled` is written, as Flatcar documents: an update by hand still works.",
            )
            .default(true),
            Attribute::string(
                "reboot_strategy",
                "How the machine reboots into an update. Left out it is `reboot`, and `off` with `automatic = false`.",
            )
            .optional()
            .one_of(preset::REBOOT_STRATEGIES),
            Attribute::object(
                "reboot_window",
                "Time in which the machine may reboot.",
                vec![
                    Attribute::string("start", "Beginning of the window, of every week or day.")
                        .required()
                        .pattern("A time such as `Thu 04:00` or `04:00`", preset::is_window_start),
                    Attribute::string("length", "Length of the window.").required().duration(),
                ],
            )
            .optional(),
            Attribute::string("channel", "Channel to follow in place of the image's, or group of one's own update server.")
                .optional()
                .pattern("A word of letters, digits, `-`, `_` and `.`", preset::is_group),
            Attribute::string("server", "Address of an update server of one's own, such as Nebraska.")
                .optional()
                .pattern("An address that starts with `http://` or `https://`", preset::is_address),
            profile(),
        ],
    )
    .optional()
}

fn proxy() -> Attribute {
    let address = |name, description| {
        Attribute::string(name, description).optional().pattern(
            "An address that starts with `http://` or `https://`",
            preset::is_address,
        )
    };
    Attribute::object(
        "proxy",
        "Preset: a proxy for Ignition itself, all services (containerd, kubelet and update-engine among them) and shells.",
        vec![
            address("http_proxy", "Proxy for `http://`."),
            address("https_proxy", "Proxy for `https://`."),
            Attribute::list("no_proxy", "Hosts, domains and networks that are reached directly.", Type::String)
                .optional()
                .pattern("Words without blanks, commas and quotes", |text| preset::is_word(text) && !text.contains(',')),
            profile(),
        ],
    )
    .optional()
}

/// What can be said before everything is known.
pub(super) fn validate(config: &Model) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let sources = [
        config.content.is_null(),
        config.snippets.is_null(),
        config.ssh_authorized_keys.is_null(),
        config.updates.is_null(),
        config.proxy.is_null(),
    ];
    if sources.iter().all(|absent| *absent) {
        problems.push(Diagnostic::error(
            "Nothing to render",
            "At least one of content, snippets, ssh_authorized_keys, updates and proxy must be set.",
        ));
        return problems;
    }
    // Files that are read may be made by this very apply.
    if config.files_dir.is_null() && config.is_wholly_known() {
        let found = answer(config.clone()).problems;
        problems.extend(Diagnostics(
            found
                .0
                .into_iter()
                .filter(|problem| problem.severity == crate::provider::Severity::Error)
                .collect(),
        ));
    } else {
        presets(config, &mut problems);
    }
    problems
}

impl Model {
    fn is_wholly_known(&self) -> bool {
        let list = |list: &Attr<Vec<Attr<String>>>| match list {
            Attr::Unknown => false,
            Attr::Null => true,
            Attr::Known(elements) => !elements.iter().any(Attr::is_unknown),
        };
        ![
            &self.content,
            &self.output_format,
            &self.platform,
            &self.compress,
            &self.flatcar_version,
        ]
        .iter()
        .any(|attribute| attribute.is_unknown())
            && !self.strict.is_unknown()
            && !self.pretty_print.is_unknown()
            && list(&self.snippets)
            && list(&self.ssh_authorized_keys)
            && self.updates.is_wholly_known()
            && self.proxy.is_wholly_known()
    }
}

/// Everything, of a wholly known configuration.
pub(super) fn answer(config: Model) -> Outcome<Model> {
    let mut problems = Diagnostics::none();
    let documents = documents(&config, &mut problems);
    if documents.is_empty() && !problems.has_errors() {
        problems.push(Diagnostic::error(
            "Nothing to render",
            "Every one of content and snippets is null or empty.",
        ));
    }
    if problems.has_errors() {
        return Outcome::failed(problems);
    }
    let word = |attribute: &Attr<String>| attribute.known().cloned().unwrap_or_default();
    let options = Options {
        // Whether a warning fails is decided here, for there are some that a preset must live with.
        strict: false,
        pretty: config.pretty_print.known().copied().unwrap_or_default(),
        files_dir: config.files_dir.known().map(PathBuf::from),
        style: OUTPUT_FORMATS
            .into_iter()
            .find(|(name, _)| *name == word(&config.output_format))
            .map(|(_, style)| style)
            .unwrap_or_default(),
    };
    let (rendered, report) = render(&Input { documents }, &options);
    let strict = config.strict.known().copied().unwrap_or_default();
    let entries: Vec<&ReportEntry> = report
        .entries
        .iter()
        .filter(|entry| !is_wanted(entry))
        .collect();
    for entry in &entries {
        problems.push(diagnostic(entry, strict));
    }
    let Some(rendered) = rendered.filter(|_| !problems.has_errors()) else {
        if !problems.has_errors() {
            problems.push(Diagnostic::error(
                "Could not render the config",
                "The documents give no config, and nothing says why. This is a bug in the provider; please report it with the log.",
            ));
        }
        return Outcome::failed(problems);
    };
    if let Some(Err(why)) = config
        .flatcar_version
        .known()
        .and_then(|text| text.parse().ok())
        .map(|release| check_release(rendered.spec, release))
    {
        problems.push(
            Diagnostic::error("This release cannot read the config", why)
                .at(Path::of("flatcar_version")),
        );
    }
    let compress = Compress::named(&word(&config.compress)).unwrap_or_default();
    let user_data = match config
        .platform
        .known()
        .and_then(|name| platform(name))
        .map(|platform| pack(&rendered.json, platform, compress))
    {
        Some(Ok(user_data)) => Some(user_data),
        Some(Err(too_large)) => {
            problems.push(
                Diagnostic::error(
                    "The config is too large for the platform",
                    too_large.to_string(),
                )
                .at(Path::of("platform")),
            );
            None
        }
        None => None,
    };
    if let Some(warning) = user_data
        .as_ref()
        .and_then(|user_data| user_data.warning.clone())
    {
        problems.push(
            Diagnostic::warning("The config is large for the platform", warning)
                .at(Path::of("platform")),
        );
    }
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
            warnings: Some(entries.iter().map(|entry| entry.to_string()).collect()),
            rendered: Some(rendered.json),
            user_data_size: user_data.as_ref().map(|user_data| user_data.size),
            user_data: user_data.map(|user_data| user_data.text),
            ..config
        }),
        problems,
    }
}

/// Presets first, then content, then snippets: the order of merging.
fn documents(config: &Model, problems: &mut Diagnostics) -> Vec<Document> {
    let mut documents = presets(config, problems);
    if let Attr::Known(content) = &config.content {
        documents.push(Document {
            origin: Origin::Content,
            text: content.clone(),
        });
    }
    for (index, snippet) in config.snippets.known().into_iter().flatten().enumerate() {
        if let Attr::Known(text) = snippet
            && !text.is_empty()
        {
            documents.push(Document {
                origin: Origin::Snippet(index),
                text: text.clone(),
            });
        }
    }
    documents
}

/// Those that are wholly known.
fn presets(config: &Model, problems: &mut Diagnostics) -> Vec<Document> {
    let mut documents = Vec::new();
    if let Attr::Known(keys) = &config.ssh_authorized_keys
        && !keys.iter().any(Attr::is_unknown)
    {
        let (indexes, keys): (Vec<usize>, Vec<String>) = keys
            .iter()
            .enumerate()
            .filter_map(|(index, key)| key.known().map(|key| (index, key.clone())))
            .unzip();
        match preset::ssh_authorized_keys(&keys) {
            _ if keys.is_empty() => {}
            Ok(document) => documents.push(document),
            Err((position, why)) => problems.push(
                Diagnostic::error(
                    "Not a public key",
                    format!("This element cannot be used: {why}."),
                )
                .at(Path::of("ssh_authorized_keys").index(indexes[position])),
            ),
        }
    }
    if let Some(updates) = known::<Updates>(&config.updates, "updates", problems) {
        contradict("updates", updates.contradictions(), problems);
        documents.push(updates.document());
    }
    if let Some(proxy) = known::<Proxy>(&config.proxy, "proxy", problems) {
        contradict("proxy", proxy.contradictions(), problems);
        documents.push(proxy.document());
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

/// The proxy for https is most often reached by http, and the preset is asked for it in so many words.
fn is_wanted(entry: &ReportEntry) -> bool {
    entry.origin == Origin::Preset("proxy")
        && entry.path == "$.ignition.proxy.https_proxy"
        && entry.severity == Severity::Warning
}

fn diagnostic(entry: &ReportEntry, strict: bool) -> Diagnostic {
    let mut detail = entry.to_string();
    if let Some(advice) = &entry.advice {
        detail.push_str("\n\n");
        detail.push_str(advice.trim_end_matches('.'));
        detail.push('.');
    }
    let path = match entry.origin {
        Origin::Preset(attribute) => Path::of(attribute),
        Origin::Content => Path::of("content"),
        Origin::Snippet(index) => Path::of("snippets").index(index),
    };
    let summary = summary(&entry.message);
    match entry.severity {
        Severity::Warning if !strict => Diagnostic::warning(summary, detail),
        Severity::Warning => {
            detail.push_str("\n\nWith strict = true a warning is an error.");
            Diagnostic::error(summary, detail)
        }
        Severity::Error => Diagnostic::error(summary, detail),
    }
    .at(path)
}

/// The message where it is short, else that there is one.
fn summary(message: &str) -> String {
    const LONGEST: usize = 60;
    let line = message.lines().next().unwrap_or_default();
    if line.is_empty() || line.chars().count() > LONGEST || line.len() < message.len() {
        return "The config has a problem".to_owned();
    }
    let mut letters = line.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::convert::to_value;
    use crate::provider::diagnostics::Severity;
    use crate::provider::schema::null_object;
    use serde_json::json;

    /// Of attributes as a user writes them, defaults filled in by hand; `"?"` is unknown.
    fn config(attributes: serde_json::Value) -> Model {
        let Value::Map(mut object) = null_object(&schema().attributes) else {
            panic!("a schema is of an object");
        };
        for (name, value) in attributes.as_object().expect("an object") {
            let value = if value == "?" {
                Value::unknown()
            } else {
                to_value(value)
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

    fn told(problems: &Diagnostics) -> Vec<String> {
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

    const KEYS: &str =
        "variant: flatcar\nversion: 1.1.0\npasswd:\n  users:\n    - name: core\n      gecos: x\n";

    #[test]
    fn layers_are_merged_presets_first_and_everything_is_put_out() {
        let outcome = answer(config(json!({
            "content": KEYS,
            "snippets": [null, "", r#"{"ignition":{"version":"3.3.0"},"passwd":{"users":[{"name":"core","gecos":"y"}]}}"#],
            "ssh_authorized_keys": ["ssh-ed25519 AAAA"],
            "platform": "aws",
            "flatcar_version": "4593.2.5",
        })));
        assert_eq!(told(&outcome.problems), Vec::<String>::new());
        let model = outcome.value.expect("it renders");
        let rendered = r#"{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"gecos":"y","name":"core","sshAuthorizedKeys":["ssh-ed25519 AAAA"]}]}}"#;
        assert_eq!(model.rendered.as_deref(), Some(rendered));
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
        let outcome = answer(config(json!({"content": KEYS, "snippets": [null, wrong]})));
        assert!(outcome.value.is_none());
        assert_eq!(
            told(&outcome.problems),
            [
                "warning snippets[1]: Unused key odd: warning at $.storage.files.0.odd, line 6 col 7: unused key odd",
                "error snippets[1]: Path not specified: error at $.storage.files.0.path, line 5 col 7: path not specified",
                "error snippets[1]: Path not absolute: error at $.storage.files.1.path, line 7 col 13: path not absolute",
            ]
        );
        assert!(
            outcome
                .problems
                .0
                .iter()
                .all(|problem| !problem.detail.contains("s3cret"))
        );
    }

    #[test]
    fn a_warning_is_put_out_and_in_strict_mode_an_error() {
        let content = format!("{KEYS}odd: 1\n");
        let line = "warning at $.odd, line 7 col 1: unused key odd";
        let outcome = answer(config(json!({"content": content})));
        assert_eq!(
            told(&outcome.problems),
            [format!("warning content: Unused key odd: {line}")]
        );
        assert_eq!(
            outcome.value.and_then(|model| model.warnings),
            Some(vec![line.to_owned()])
        );
        let outcome = answer(config(json!({"content": content, "strict": true})));
        assert_eq!(
            told(&outcome.problems),
            [format!("error content: Unused key odd: {line}")]
        );
        assert!(outcome.value.is_none());
    }

    #[test]
    fn a_proxy_for_https_that_is_reached_by_http_is_no_problem_of_the_users() {
        let proxy = json!({"http_proxy": null, "https_proxy": "http://proxy:3128", "no_proxy": ["localhost"], "profile": 1});
        let outcome = answer(config(
            json!({"proxy": proxy, "strict": true, "content": KEYS}),
        ));
        assert_eq!(told(&outcome.problems), Vec::<String>::new());
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
                "error : Nothing to render: ",
            ),
        ] {
            let outcome = answer(config(attributes.clone()));
            let told = told(&outcome.problems);
            assert!(
                told.len() == 1 && told[0].starts_with(expected),
                "{attributes}: {told:#?}"
            );
            assert!(outcome.value.is_none());
        }
    }

    #[test]
    fn what_is_known_is_checked_before_the_rest_is() {
        let wrong = "variant: flatcar\nversion: 9.9.9\n";
        assert_eq!(told(&validate(&config(json!({})))).len(), 1);
        assert_eq!(
            told(&validate(&config(json!({"content": "?"})))),
            Vec::<String>::new()
        );
        assert_eq!(told(&validate(&config(json!({"content": wrong})))).len(), 1);
        // The file may be made by this apply, and so may the snippet.
        assert_eq!(
            told(&validate(&config(
                json!({"content": wrong, "files_dir": "files"})
            ))),
            Vec::<String>::new()
        );
        assert_eq!(
            told(&validate(&config(
                json!({"content": wrong, "snippets": "?"})
            ))),
            Vec::<String>::new()
        );
        let contradiction = updates(json!({"automatic": false, "server": "https://a"}));
        assert_eq!(
            told(&validate(&config(
                json!({"content": "?", "updates": contradiction})
            )))
            .len(),
            1
        );
        assert_eq!(
            told(&validate(&config(
                json!({"content": format!("{KEYS}odd: 1\n")})
            ))),
            Vec::<String>::new()
        );
    }
}
