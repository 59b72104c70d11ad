//! Which state an apply works for: what tells a create that was cut off, and is repeated, from
//! another state's.
//!
//! In: where the core runs, as far as a provider can see it. Out: `[0-9a-f]{16}`, a hash that
//! machines carry while their create is under way. State locking keeps two applies of one state
//! apart, so machines of the same origin that no state has are what a crash left. No credential of
//! a backend goes into the hash: it would change with every rotation.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// What identifies a state.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Of a workspace whose runs are elsewhere each time: `acme/prod`.
    Slug(String),
    /// In a backend: its type and settings, and the workspace.
    Backend(String, Json, String),
    /// In a file: host, directory, workspace.
    Local(String, String, String),
}

/// The origin of this process, read from its environment and working directory.
pub(crate) fn read() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let directory = std::env::current_dir().unwrap_or_default();
    let data = variable("TF_DATA_DIR").map_or_else(|| PathBuf::from(".terraform"), PathBuf::from);
    let host = text(Path::new("/proc/sys/kernel/hostname"))
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| variable("COMPUTERNAME"));
    origin_of(&state(
        variable("TFC_WORKSPACE_SLUG"),
        variable("TF_WORKSPACE"),
        &directory.join(data),
        &directory,
        host.unwrap_or_default(),
    ))
}

fn state(
    slug: Option<String>,
    workspace: Option<String>,
    data: &Path,
    directory: &Path,
    host: String,
) -> State {
    if let Some(slug) = slug {
        return State::Slug(slug);
    }
    let workspace = workspace
        .or_else(|| text(&data.join("environment")))
        .unwrap_or_else(|| "default".to_owned());
    let backend = text(&data.join("terraform.tfstate"))
        .and_then(|text| serde_json::from_str::<Json>(&text).ok())
        .map(|mut initialised| initialised["backend"].take());
    let kind = backend
        .as_ref()
        .and_then(|backend| backend["type"].as_str());
    if let (Some(kind), Some(backend)) = (kind, &backend)
        && kind != "local"
    {
        let settings = without_credentials(&backend["config"]);
        return State::Backend(kind.to_owned(), settings, workspace);
    }
    let path = backend.and_then(|backend| backend["config"]["path"].as_str().map(PathBuf::from));
    let directory = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let file = path.map_or(directory.clone(), |path| directory.join(path));
    State::Local(host, file.display().to_string(), workspace)
}

fn origin_of(state: &State) -> String {
    // Debug quotes texts: no two states are written alike.
    let text = format!("{state:?}");
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is left when everything that may be a credential is taken out; `key` itself is where the
/// state lies.
fn without_credentials(settings: &Json) -> Json {
    let is_credential = |name: &str| {
        let words = ["secret", "token", "password", "credential"];
        name.ends_with("_key") || words.iter().any(|word| name.contains(word))
    };
    match settings {
        Json::Object(fields) => fields
            .iter()
            .filter(|(name, value)| !value.is_null() && !is_credential(name))
            .map(|(name, value)| (name.clone(), without_credentials(value)))
            .collect(),
        Json::Array(values) => values.iter().map(without_credentials).collect(),
        plain => plain.clone(),
    }
}

/// A small text file without the blanks around it; `None` where there is none.
fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Of a file that a core writes about a backend: a few hundred bytes.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join(".terraform")).unwrap();
            for (file, text) in files {
                std::fs::write(folder.path().join(".terraform").join(file), text).unwrap();
            }
            Self(folder)
        }

        fn origin(&self, workspace: Option<&str>, slug: Option<&str>) -> String {
            let path = self.0.path();
            let data = path.join(".terraform");
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let host = "host".to_owned();
            origin_of(&state(owned(slug), owned(workspace), &data, path, host))
        }
    }

    const S3: &str = r#"{"version": 3, "backend": {"type": "s3", "hash": 1, "config":
        {"bucket": "b", "key": "prod.tfstate", "secret_key": "s3cret", "region": null}}}"#;

    #[test]
    fn one_state_has_one_origin_wherever_it_is_applied_and_another_state_has_another() {
        let here = Folder::with(&[]);
        let there = Folder::with(&[]);
        assert_ne!(here.origin(None, None), there.origin(None, None));
        assert_eq!(here.origin(None, None), here.origin(Some("default"), None));
        assert_ne!(here.origin(None, None), here.origin(Some("test"), None));
        assert_eq!(here.origin(None, None).len(), 16);

        let one = Folder::with(&[("terraform.tfstate", S3)]);
        let rotated = S3
            .replace("s3cret", "another")
            .replace("\"hash\": 1", "\"hash\": 2");
        let other_host = Folder::with(&[("terraform.tfstate", &rotated)]);
        assert_eq!(one.origin(None, None), other_host.origin(None, None));
        let other_key = S3.replace("prod.tfstate", "test.tfstate");
        let other_key = Folder::with(&[("terraform.tfstate", &other_key)]);
        assert_ne!(one.origin(None, None), other_key.origin(None, None));
        let selected = Folder::with(&[("terraform.tfstate", S3), ("environment", "test\n")]);
        assert_ne!(one.origin(None, None), selected.origin(None, None));
        assert_eq!(one.origin(Some("test"), None), selected.origin(None, None));

        let slug = Some("acme/prod");
        assert_eq!(here.origin(None, slug), there.origin(None, slug));
        assert_ne!(here.origin(None, slug), here.origin(None, None));
    }

    #[test]
    fn a_local_backend_and_a_file_that_is_no_json_count_as_none() {
        for (text, is_same) in [
            ("{", true),
            (
                r#"{"backend": {"type": "local", "config": {"path": null}}}"#,
                true,
            ),
            (
                r#"{"backend": {"type": "local", "config": {"path": "x"}}}"#,
                false,
            ),
        ] {
            let folder = Folder::with(&[]);
            let before = folder.origin(None, None);
            let file = folder.0.path().join(".terraform/terraform.tfstate");
            std::fs::write(file, text).unwrap();
            assert_eq!(folder.origin(None, None) == before, is_same, "{text}");
        }
    }
}
