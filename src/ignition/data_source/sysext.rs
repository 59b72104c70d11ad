//! `data "flatcar_sysext"`: an extension of the sysext bakery, to the snippet that puts it on a
//! machine.

use serde::{Deserialize, Serialize};

use super::checksums::look_up;
use crate::ignition::preset::download::{Checksums, is_sha256, is_source};
use crate::ignition::preset::is_address;
use crate::ignition::preset::kubernetes::ARCHITECTURES;
use crate::ignition::preset::sysext::{
    CHECKSUMS_URL, Sysext, URL, is_list_for_machines, is_name, is_version,
};
use crate::provider::{
    Attr, Attribute, Context, DataSource, Diagnostic, Diagnostics, Outcome, Path, Schema,
};

/// `data "flatcar_sysext"`.
pub struct FlatcarSysext;

/// Its attributes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SysextModel {
    name: Attr<String>,
    version: Attr<String>,
    architecture: Attr<String>,
    url: Attr<String>,
    checksums_url: Attr<String>,
    sha256: Attr<String>,
    auto_update: Attr<bool>,
    file_name: Option<String>,
    snippet: Option<String>,
}

impl DataSource for FlatcarSysext {
    type Model = SysextModel;
    const NAME: &'static str = "sysext";

    fn schema(&self) -> Schema {
        let mut attributes = inputs();
        attributes.extend([
            Attribute::string("file_name", "Name of its file on the machine, below `/opt/extensions/<name>`.").computed(),
            Attribute::string(
                "snippet",
                "Butane for `snippets` of `flatcar_ignition`: the file, which Ignition fetches and checks by its hash, the link in \
                 `/etc/extensions`, and with `auto_update` what looks for newer ones.",
            )
            .computed(),
        ]);
        Schema::new(
            0,
            "A system extension (systemd-sysext) of Flatcar's sysext bakery, or of one's own: from its name and version to its address, its \
             hash and the snippet that puts it on a machine. The bakery's list of hashes is not signed; it is read over TLS, once in a \
             plan. A machine takes only what has that hash.",
            attributes,
        )
    }

    fn validate(&self, config: SysextModel) -> Diagnostics {
        contradictions(&config)
    }

    async fn read(&self, context: &Context, config: SysextModel) -> Outcome<SysextModel> {
        let problems = contradictions(&config);
        if problems.has_errors() {
            return Outcome::failed(problems);
        }
        let sysext = config.sysext();
        let download = sysext.download();
        let mut checksums = Checksums::default();
        let hint = |file: &[u8]| others(&sysext.listed(file));
        if let Err(why) = look_up(context, &download, &mut checksums, hint).await {
            return Outcome::failed(why);
        }
        let file_name = download.path.rsplit('/').next().map(str::to_owned);
        Outcome::of(SysextModel {
            sha256: Attr::Known(checksums.of(&download).to_owned()),
            snippet: Some(sysext.snippet(&checksums)),
            url: Attr::Known(download.url),
            checksums_url: Attr::Known(download.checksums_url),
            file_name,
            ..config
        })
    }
}

fn inputs() -> Vec<Attribute> {
    vec![
        Attribute::string("name", "Name of the extension, such as `tailscale`: machines find it under this name alone.")
            .required()
            .pattern(
                "A name of at most 64 letters, digits, `-`, `_` and `.`, which starts with a letter or a digit",
                is_name,
            ),
        Attribute::string("version", "Its version, exactly as its file has it, such as `v1.78.1`.")
            .required()
            .pattern(
                "A version of at most 64 letters, digits, `-`, `_`, `.`, `+` and `~`, which starts with a letter or a digit",
                is_version,
            ),
        Attribute::string("architecture", "Processor of the machines.")
            .null_means(ARCHITECTURES[0])
            .one_of(ARCHITECTURES),
        Attribute::string(
            "url",
            &format!(
                "Address of the file for the machines; `{{name}}`, `{{version}}` and `{{arch}}` (`x86-64` or `arm64`) are filled in. \
                 Left out it is `{URL}`."
            ),
        )
        .optional()
        .computed()
        .pattern("An address that starts with `http://` or `https://`", is_address),
        Attribute::string(
            "checksums_url",
            &format!(
                "Address of the list that has its SHA-256, read where `sha256` is left out; the same is filled in; `file://` is a mirror \
                 here; over `http://` nobody vouches for it. Left out it is `{CHECKSUMS_URL}`."
            ),
        )
        .optional()
        .computed()
        .pattern("An address that starts with `https://`, `http://` or `file://`", is_source),
        Attribute::string(
            "sha256",
            "Its SHA-256. Left out it is looked up, and machines change when the file does.",
        )
        .optional()
        .computed()
        .pattern("64 hexadecimal digits", is_sha256),
        Attribute::bool(
            "auto_update",
            "Whether machines look for newer versions once a day, and ask for a reboot (`/run/reboot-required`) that somebody such as \
             kured has to do. What they fetch then is checked against the list of the same server, not against a hash in the configuration.",
        )
        .null_means(false),
    ]
}

impl SysextModel {
    fn sysext(&self) -> Sysext {
        let text = |value: &Attr<String>, default: &str| {
            let known = value.known().map_or(default, String::as_str);
            known.to_owned()
        };
        Sysext {
            name: text(&self.name, ""),
            version: text(&self.version, ""),
            architecture: text(&self.architecture, ARCHITECTURES[0]),
            url: text(&self.url, URL),
            checksums_url: text(&self.checksums_url, CHECKSUMS_URL),
            sha256: self.sha256.known().cloned(),
            auto_update: self.auto_update.known().copied().unwrap_or_default(),
        }
    }
}

/// Machines that look for newer ones need a list that they reach and can believe, of the server
/// that the first one is of.
fn contradictions(config: &SysextModel) -> Diagnostics {
    let sysext = config.sysext();
    let is_known = !config.checksums_url.is_unknown();
    let is_elsewhere = !config.url.is_null() && config.checksums_url.is_null();
    let is_list = is_list_for_machines(&sysext.checksums_url) && !is_elsewhere;
    match sysext.auto_update && is_known && !is_list {
        true => Diagnostic::error(
            "Machines cannot look for newer versions",
            "They look for the list beside the extensions, and nobody else checks what they take: checksums_url must be an https:// address that \
             they reach, end with /SHA256SUMS, and be set where url is. Or set auto_update = false.",
        )
        .at(Path::of("checksums_url"))
        .into(),
        false => Diagnostics::none(),
    }
}

/// The newest of a list, for who has asked for one that is not in it.
fn others(versions: &[String]) -> String {
    match versions {
        [] => String::new(),
        _ => {
            let newest: Vec<&str> = versions
                .iter()
                .rev()
                .take(SHOWN)
                .map(String::as_str)
                .collect();
            format!(
                " (it has {} versions, the newest: {})",
                versions.len(),
                newest.join(", ")
            )
        }
    }
}

const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::provider::Value;
    use crate::provider::convert::{from_value, to_value};

    fn config(changes: &Json) -> SysextModel {
        let mut all = json!({
            "name": "tailscale", "version": "v1.78.1", "architecture": null, "url": null, "checksums_url": null, "sha256": null,
            "auto_update": null, "file_name": null, "snippet": null,
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        from_value(&to_value(&all), &Path::root()).unwrap()
    }

    fn said(problems: &Diagnostics) -> Vec<String> {
        let said = problems.0.iter().map(|it| {
            let path = it
                .path
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{path}: {}: {}", it.summary, it.detail)
        });
        said.collect()
    }

    #[tokio::test]
    async fn a_hash_is_the_users_or_the_lists() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("SHA256SUMS");
        let (hash, given) = ("0a".repeat(32), "0B".repeat(32));
        let lines = format!(
            "{hash}  tailscale-v1.78.1-x86-64.raw\n{hash}  tailscale-v1.9.0-x86-64.raw\n{hash}  tailscale-v1.80.0-arm64.raw\n"
        );
        std::fs::write(&list, lines).unwrap();
        let listed = format!("file://{}", list.display());
        let context = Context::of(Value::Null);
        for (changes, expected) in [
            (json!({"checksums_url": listed}), Ok(&hash)),
            (json!({"sha256": given}), Ok(&given.to_lowercase())),
            (
                json!({"checksums_url": listed, "version": "v1.80.0"}),
                Err(
                    "it has no line for tailscale-v1.80.0-x86-64.raw (it has 2 versions, the newest: v1.78.1, v1.9.0).\nSet sha256,",
                ),
            ),
            (
                json!({"sha256": given, "url": "https://m.example/{name}-{version}-{arch}.raw", "auto_update": true}),
                Err("checksums_url: Machines cannot look for newer versions"),
            ),
            (
                json!({"checksums_url": listed, "auto_update": true}),
                Err("checksums_url: Machines cannot look for newer versions"),
            ),
        ] {
            let outcome = FlatcarSysext.read(&context, config(&changes)).await;
            let problems = said(&outcome.problems).join("\n");
            match expected {
                Ok(hash) => {
                    let model = outcome.value.unwrap_or_else(|| panic!("{problems}"));
                    assert_eq!(model.sha256.known(), Some(hash), "{changes}");
                    let snippet = model.snippet.unwrap();
                    assert!(snippet.contains(&format!("sha256-{hash}")), "{snippet}");
                    assert_eq!(model.file_name.unwrap(), "tailscale-v1.78.1-x86-64.raw");
                }
                Err(words) => assert!(problems.contains(words), "{changes}: {problems}"),
            }
        }
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_search() {
        let context = Context::of(Value::Null);
        context.cancel.cancel();
        let nowhere = json!({"checksums_url": "http://127.0.0.1:9/SHA256SUMS"});
        let outcome = FlatcarSysext.read(&context, config(&nowhere)).await;
        assert!(said(&outcome.problems)[0].contains("Interrupted"));
    }
}
