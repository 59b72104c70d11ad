//! `data "flatcar_ignition"`: the schema, and from its attributes to Ignition, user data and diagnostics. The ephemeral twin is the same.

mod diagnostics;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::diagnostics::{beyond, diagnostic, warnings};
use super::preset::{self, Contradiction, Proxy, Updates};
use super::release::check_release;
use super::user_data::{Compress, UserData, pack};
use super::{Document, Input, Options, Origin, ReportEntry, Severity, Style, render};
use crate::flatcar::{PLATFORMS, Version, known_platform, platform};
use crate::provider::convert::from_value;
use crate::provider::{
    Attr, Attribute, Context, DataSource, Diagnostic, Diagnostics, Outcome, Path, Schema, Type,
    Value, is_made_up,
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
    let platforms: Vec<String> = PLATFORMS
        .iter()
        .map(|platform| format!("`{}`", platform.name))
        .collect();
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
                "Directory of the files that `local:` and `trees:` name. Nothing outside it is read: a symbolic link is followed as long as it stays inside.",
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
                .check(&format!("One of {}", platforms.join(", ")), check_platform),
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
            .pattern("Three numbers with dots, such as `4593.2.5`", |text| text.parse::<Version>().is_ok() || is_made_up(text)),
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

fn check_platform(value: &Value, path: &Path) -> Diagnostics {
    let Value::String(word) = value else {
        return Diagnostics::none();
    };
    known_platform(word).map_or_else(
        |accepted| {
            Diagnostic::error("Platform is not known here", accepted)
                .at(path.clone())
                .into()
        },
        |_| Diagnostics::none(),
    )
}

fn profile() -> Attribute {
    Attribute::number(
        "profile",
        "Version of what the preset writes. What a profile writes for an input never changes.",
    )
    .default(preset::PROFILE)
    .range(1..=preset::PROFILE)
}

const ADDRESS: &str = "An address that starts with `http://` or `https://`, of printable ASCII without blanks, line breaks, quotes, `\\`, `$` \
                       and backquotes: in a password they are written as in `%20`";

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
                .pattern(ADDRESS, preset::is_address),
            profile(),
        ],
    )
    .optional()
}

fn proxy() -> Attribute {
    let address = |name, description| {
        Attribute::string(name, description)
            .optional()
            .pattern(ADDRESS, preset::is_address)
    };
    Attribute::object(
        "proxy",
        "Preset: a proxy for Ignition itself, all services (containerd, kubelet and update-engine among them) and shells.",
        vec![
            address("http_proxy", "Proxy for `http://`."),
            address("https_proxy", "Proxy for `https://`."),
            Attribute::list("no_proxy", "Hosts, domains and networks that are reached directly.", Type::String)
                .optional()
                .pattern("Words of printable ASCII without blanks, line breaks, commas, quotes, `\\`, `$` and backquotes", preset::is_direct),
            profile(),
        ],
    )
    .optional()
}

/// What can be said before everything is known. Core validates again right before it reads, and reading tells the warnings of what has
/// no errors: here they are told beside an error only, for nothing is read then.
pub(super) fn validate(config: &Model) -> Diagnostics {
    if config.sources().iter().all(|(_, absent)| *absent) {
        return nothing_to_render(config).into();
    }
    let found = match config.can_be_rendered() {
        true => answer(unmocked(config.clone())).problems,
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

/// Each known document for itself: what is unknown yet may be merged over it, and local files may not be there yet.
fn piecewise(config: &Model) -> Diagnostics {
    let mut problems = Diagnostics::none();
    // What is unknown yet may be merged over data that does not fit.
    let options = Options {
        data_unchecked: true,
        ..config.options()
    };
    let strict = config.is_strict();
    for document in documents(config, &mut problems) {
        let input = Input {
            documents: vec![document],
        };
        let (_, report) = render(&input, &options);
        let (entries, more) = report.told_of(|entry| !is_wanted(entry) && !entry.of_files);
        for entry in entries {
            problems.push(diagnostic(entry, strict));
        }
        problems.extend(beyond(more, strict));
    }
    problems
}

impl Model {
    /// What can be rendered, and whether it is absent.
    fn sources(&self) -> [(&'static str, bool); 5] {
        [
            ("content", self.content.is_null()),
            ("snippets", self.snippets.is_null()),
            ("ssh_authorized_keys", self.ssh_authorized_keys.is_null()),
            ("updates", self.updates.is_null()),
            ("proxy", self.proxy.is_null()),
        ]
    }

    /// Whether all documents are known, and the schema takes what they are made of. Files that are read may be made by this very apply.
    fn can_be_rendered(&self) -> bool {
        let list = |list: &Attr<Vec<Attr<String>>>| match list {
            Attr::Unknown => false,
            Attr::Null => true,
            Attr::Known(elements) => !elements.iter().any(Attr::is_unknown),
        };
        let told = &mut Diagnostics::none();
        self.files_dir.is_null()
            && !self.content.is_unknown()
            && !self.output_format.is_unknown()
            && list(&self.snippets)
            && list(&self.ssh_authorized_keys)
            && self.updates.is_wholly_known()
            && self.proxy.is_wholly_known()
            && known::<Updates>(&self.updates, "updates", told).is_none_or(|known| known.is_sound())
            && known::<Proxy>(&self.proxy, "proxy", told).is_none_or(|known| known.is_sound())
    }

    fn options(&self) -> Options {
        Options {
            // Whether a warning fails is decided here, for there are some that a preset must live with.
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
pub(super) fn answer(config: Model) -> Outcome<Model> {
    let mut problems = Diagnostics::none();
    let documents = documents(&config, &mut problems);
    if documents.is_empty() {
        if !problems.has_errors() {
            problems.push(nothing_to_render(&config));
        }
        return Outcome::failed(problems);
    }
    let (rendered, report) = render(&Input { documents }, &config.options());
    let (entries, more) = report.told_of(|entry| !is_wanted(entry));
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
        "At least one of content, snippets, ssh_authorized_keys, updates and proxy must be set."
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
fn documents(config: &Model, problems: &mut Diagnostics) -> Vec<Document> {
    let mut documents = presets(config, problems);
    if let Attr::Known(content) = &config.content
        && !content.is_empty()
    {
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

/// Those that are known, of keys each for itself. The schema tells what is not of the right form; nothing is made of it.
fn presets(config: &Model, problems: &mut Diagnostics) -> Vec<Document> {
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
    if let Some(updates) = known::<Updates>(&config.updates, "updates", problems) {
        contradict("updates", updates.contradictions(), problems);
        documents.extend(updates.is_sound().then(|| updates.document()));
    }
    if let Some(proxy) = known::<Proxy>(&config.proxy, "proxy", problems) {
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

/// The proxy for https is most often reached by http, and the preset is asked for it in so many words.
fn is_wanted(entry: &ReportEntry) -> bool {
    entry.origin == Origin::Preset("proxy")
        && entry.path == "$.ignition.proxy.https_proxy"
        && entry.severity == Severity::Warning
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

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2mD6pXxFWyNPKiy6tYbWDNoTqWmQ1sFcbzv3b8nVJm";
    const KEYS: &str =
        "variant: flatcar\nversion: 1.1.0\npasswd:\n  users:\n    - name: core\n      gecos: x\n";

    #[test]
    fn layers_are_merged_presets_first_and_everything_is_put_out() {
        let outcome = answer(config(json!({
            "content": KEYS,
            "snippets": [null, "", r#"{"ignition":{"version":"3.3.0"},"passwd":{"users":[{"name":"core","gecos":"y"}]}}"#],
            "ssh_authorized_keys": [KEY],
            "platform": "aws",
            "flatcar_version": "4593.2.5",
        })));
        assert_eq!(told(&outcome.problems), Vec::<String>::new());
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
                "error : Nothing to render: At least one of content, snippets, ssh_authorized_keys, updates and proxy must be set. There is nothing in content and in snippets.",
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
    fn all_problems_come_at_once_and_warnings_beside_errors() {
        let wrong = "variant: flatcar\nversion: 1.1.0\nodd: 1\nstorage: {files: [{path: a}]}\n";
        let attributes = json!({
            "content": wrong,
            "ssh_authorized_keys": ["AAAA", KEY, "BBBB"],
            "updates": updates(json!({"automatic": false, "server": "https://a"})),
        });
        for problems in [
            validate(&config(attributes.clone())),
            answer(config(attributes)).problems,
        ] {
            let places: Vec<String> = told(&problems)
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
                let begun: Vec<String> = told(&validate(&config(attributes)))
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
        let problems = answer(config(json!({"content": content}))).problems;
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
                assert_eq!(told(&problems), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn a_platform_by_another_name_is_told_what_it_is_called_here() {
        let told = |word: &str| {
            told(&check_platform(
                &Value::String(word.to_owned()),
                &Path::of("platform"),
            ))
        };
        assert!(told("ec2")[0].starts_with(
            "error platform: Platform is not known here: It is called aws here. Accepted: "
        ));
        assert!(told("aws").is_empty());
    }

    #[test]
    fn compression_without_a_platform_is_warned_of() {
        let outcome = answer(config(json!({"content": KEYS, "compress": "always"})));
        assert_eq!(told(&outcome.problems).len(), 1);
        assert!(told(&outcome.problems)[0].starts_with("warning compress: "));
        assert!(outcome.value.is_some());
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
            let problems = told(&validate(&config(unknown.clone())));
            assert_eq!(problems.len(), 1, "{unknown}: {problems:#?}");
        }
        // The file may be made by this apply.
        let local = "variant: flatcar\nversion: 1.1.0\nstorage: {trees: [{local: t}], files: [{path: /a, contents: {local: a}}]}\n";
        for files_dir in ["no-such-directory", "?"] {
            assert_eq!(
                told(&validate(&config(
                    json!({"content": local, "files_dir": files_dir})
                ))),
                Vec::<String>::new()
            );
        }
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
