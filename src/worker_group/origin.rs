//! Which state an apply works for: what tells a create that was cut off, and is repeated, from
//! another state's.
//!
//! In: where the core runs, as far as a provider can see it. Out: `[0-9a-f]{16}`, a hash that
//! machines carry while their create is under way; empty where two states may look alike from here.
//! State locking keeps two applies of one state apart, so machines of the same origin that no state
//! has are what a crash left; without an origin nothing is taken for that. Of a backend counts only
//! what says where a state lies ([`BACKENDS`]): a credential would change with every rotation.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// What identifies a state.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Of a workspace whose runs are elsewhere each time: `acme/prod`.
    Slug(String),
    /// In a backend: its type, where in it, and the workspace.
    Backend(String, Vec<(&'static str, Json)>, String),
    /// In a file: host, directory, workspace.
    Local(String, String, String),
}

/// A type of backend, and the settings that say where a state lies in it.
struct Backend {
    name: &'static str,
    /// Without one of these, and of the variable that stands in for it, two states look alike.
    needed: &'static [Setting],
    also: &'static [Setting],
}

/// A setting, and the variable that stands in for it; `""`: there is none.
type Setting = (&'static str, &'static str);

/// As Terraform 1.14 and OpenTofu 1.10 have them. A state in any other has no origin.
const BACKENDS: [Backend; 12] = [
    Backend {
        name: "azurerm",
        needed: &[
            ("storage_account_name", ""),
            ("container_name", ""),
            ("key", ""),
        ],
        also: &[("environment", "ARM_ENVIRONMENT")],
    },
    Backend {
        name: "cloud",
        needed: &[("organization", "TF_CLOUD_ORGANIZATION")],
        also: &[
            ("hostname", "TF_CLOUD_HOSTNAME"),
            ("workspaces", "TF_CLOUD_PROJECT"),
        ],
    },
    Backend {
        name: "consul",
        needed: &[("address", "CONSUL_HTTP_ADDR"), ("path", "")],
        also: &[("datacenter", "")],
    },
    Backend {
        name: "cos",
        needed: &[("bucket", "")],
        also: &[
            ("region", "TENCENTCLOUD_REGION"),
            ("prefix", ""),
            ("key", ""),
        ],
    },
    Backend {
        name: "gcs",
        needed: &[("bucket", "")],
        also: &[("prefix", "")],
    },
    Backend {
        name: "http",
        needed: &[("address", "TF_HTTP_ADDRESS")],
        also: &[],
    },
    Backend {
        name: "kubernetes",
        needed: &[("host", "KUBE_HOST"), ("secret_suffix", "")],
        also: &[("namespace", "KUBE_NAMESPACE")],
    },
    Backend {
        name: "oci",
        needed: &[("bucket", ""), ("namespace", "")],
        also: &[("region", ""), ("key", ""), ("workspace_key_prefix", "")],
    },
    Backend {
        name: "oss",
        needed: &[("bucket", "")],
        also: &[("region", "ALICLOUD_REGION"), ("prefix", ""), ("key", "")],
    },
    Backend {
        name: "pg",
        needed: &[("conn_str", "PG_CONN_STR")],
        also: &[
            ("schema_name", "PG_SCHEMA_NAME"),
            ("table_name", "PG_TABLE_NAME"),
        ],
    },
    Backend {
        name: "remote",
        needed: &[("organization", "")],
        also: &[("hostname", ""), ("workspaces", "")],
    },
    Backend {
        name: "s3",
        needed: &[("bucket", ""), ("key", "")],
        also: &[
            ("endpoints", "AWS_ENDPOINT_URL_S3"),
            ("endpoint", "AWS_S3_ENDPOINT"),
            ("workspace_key_prefix", ""),
        ],
    },
];

/// The origin of this process, read from its environment and working directory.
pub(crate) fn read() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let directory = std::env::current_dir().unwrap_or_default();
    let host = text(Path::new("/proc/sys/kernel/hostname"))
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| variable("COMPUTERNAME"));
    let state = state(&variable, &directory, host.unwrap_or_default());
    state.as_ref().map(origin_of).unwrap_or_default()
}

/// `None`: two states may look alike.
fn state(
    variable: &dyn Fn(&str) -> Option<String>,
    directory: &Path,
    host: String,
) -> Option<State> {
    if let Some(slug) = variable("TFC_WORKSPACE_SLUG") {
        return Some(State::Slug(slug));
    }
    let data = variable("TF_DATA_DIR").map_or_else(|| PathBuf::from(".terraform"), PathBuf::from);
    let data = directory.join(data);
    let workspace = variable("TF_WORKSPACE")
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
        let place = place(kind, &backend["config"], variable)?;
        return Some(State::Backend(kind.to_owned(), place, workspace));
    }
    let path = backend.and_then(|backend| backend["config"]["path"].as_str().map(PathBuf::from));
    let directory = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let file = path.map_or(directory.clone(), |path| directory.join(path));
    Some(State::Local(host, file.display().to_string(), workspace))
}

/// Where a state lies in a backend; `None` where its settings do not say.
fn place(
    kind: &str,
    settings: &Json,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Option<Vec<(&'static str, Json)>> {
    let backend = BACKENDS.iter().find(|backend| backend.name == kind)?;
    let value = |(name, instead): &Setting| {
        let written = settings.get(name).filter(|value| says_something(value));
        let value = written
            .cloned()
            .or_else(|| variable(instead).map(Json::String))?;
        let value = match (*name, value.as_str()) {
            ("conn_str", Some(text)) => Json::String(database(text)?),
            _ => without_logins(&value),
        };
        Some((*name, value))
    };
    let needed: Option<Vec<_>> = backend.needed.iter().map(value).collect();
    let mut place = needed?;
    place.extend(backend.also.iter().filter_map(value));
    Some(place)
}

fn says_something(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(values) => values.iter().any(says_something),
        Json::Object(fields) => fields.values().any(says_something),
        Json::Bool(_) | Json::Number(_) => true,
    }
}

/// Which database a connection string means, without who logs in; `None` where it says none.
fn database(text: &str) -> Option<String> {
    if let Some(place) = place_of(text) {
        return Some(place);
    }
    let words = text
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    let word = |wanted: &str| {
        let mut found = words.clone().filter(|(key, _)| *key == wanted);
        found.next().map(|(_, value)| value.to_owned())
    };
    let host = word("host").or_else(|| word("hostaddr"))?;
    Some(format!("{host}:{:?}/{}", word("port"), word("dbname")?))
}

/// Where an address leads, without who logs in and what is asked; `None` where it is none.
fn place_of(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(format!("{host}:{:?}{}", url.port(), url.path()))
}

/// Without names and passwords, and what is asked, in addresses.
fn without_logins(value: &Json) -> Json {
    match value {
        Json::Object(fields) => fields
            .iter()
            .filter(|(_, value)| says_something(value))
            .map(|(name, value)| (name.clone(), without_logins(value)))
            .collect(),
        Json::Array(values) => values.iter().map(without_logins).collect(),
        Json::String(text) => place_of(text).map_or_else(|| value.clone(), Json::String),
        plain => plain.clone(),
    }
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

        fn of_backend(name: &str, settings: &str) -> Self {
            let text = format!(
                r#"{{"version": 3, "backend": {{"type": "{name}", "hash": 1, "config": {settings}}}}}"#
            );
            Self::with(&[("terraform.tfstate", &text)])
        }

        /// With variables: `A=b C=d`.
        fn origin(&self, variables: &str) -> String {
            let variable = |name: &str| {
                let mut set = variables.split(' ').filter_map(|set| set.split_once('='));
                set.find(|(key, _)| *key == name)
                    .map(|(_, value)| value.to_owned())
            };
            let state = state(&variable, self.0.path(), "host".to_owned());
            state.as_ref().map(origin_of).unwrap_or_default()
        }
    }

    #[test]
    fn a_state_in_a_file_is_known_by_host_directory_and_workspace() {
        let here = Folder::with(&[]);
        let there = Folder::with(&[]);
        assert_ne!(here.origin(""), there.origin(""));
        assert_eq!(here.origin(""), here.origin("TF_WORKSPACE=default"));
        assert_ne!(here.origin(""), here.origin("TF_WORKSPACE=test"));
        assert_eq!(here.origin("").len(), 16);

        let slug = "TFC_WORKSPACE_SLUG=acme/prod";
        assert_eq!(here.origin(slug), there.origin(slug));
        assert_ne!(here.origin(slug), here.origin(""));
    }

    #[test]
    fn a_workspace_is_the_one_that_is_selected_or_named() {
        let settings = r#"{"bucket": "b", "key": "k"}"#;
        let one = Folder::of_backend("s3", settings);
        let selected = Folder::of_backend("s3", settings);
        std::fs::write(selected.0.path().join(".terraform/environment"), "test\n").unwrap();
        assert_ne!(one.origin(""), selected.origin(""));
        assert_eq!(one.origin("TF_WORKSPACE=test"), selected.origin(""));
    }

    /// Two states, each with what its backend was initialised with and what is in the environment.
    #[test]
    fn a_state_in_a_backend_is_known_by_where_it_lies_and_by_nothing_else() {
        const NONE: &str = "";
        let http = r#"{"address": null, "username": "u", "lock_address": null}"#;
        let s3 = r#"{"bucket": "b", "key": "prod", "secret_key": "s3cret", "region": null}"#;
        for (name, one, other, same) in [
            // Neither says where its state lies.
            ("http", (http, NONE), (http, NONE), None),
            (
                "pg",
                (r#"{"conn_str": null}"#, NONE),
                (r#"{"conn_str": ""}"#, "PGHOST=a"),
                None,
            ),
            (
                "kubernetes",
                (r#"{"secret_suffix": "s", "config_path": "c"}"#, NONE),
                (r#"{"secret_suffix": "s"}"#, NONE),
                None,
            ),
            (
                "consul",
                (r#"{"path": "p"}"#, NONE),
                (r#"{"path": "p"}"#, NONE),
                None,
            ),
            (
                "cloud",
                (r#"{"workspaces": {"name": "w"}}"#, NONE),
                (r#"{"workspaces": {"name": "w"}}"#, NONE),
                None,
            ),
            (
                "anything",
                (r#"{"path": "p"}"#, NONE),
                (r#"{"path": "p"}"#, NONE),
                None,
            ),
            (
                "s3",
                (r#"{"bucket": "b"}"#, NONE),
                (r#"{"key": "k"}"#, NONE),
                None,
            ),
            // Settings, or variables in their place.
            (
                "http",
                (http, "TF_HTTP_ADDRESS=https://h/a"),
                (http, "TF_HTTP_ADDRESS=https://h/a"),
                Some(true),
            ),
            (
                "http",
                (http, "TF_HTTP_ADDRESS=https://h/a"),
                (http, "TF_HTTP_ADDRESS=https://h/b"),
                Some(false),
            ),
            (
                "http",
                (http, "TF_HTTP_ADDRESS=https://h/a"),
                (r#"{"address": "https://h/a"}"#, NONE),
                Some(true),
            ),
            (
                "pg",
                (r#"{}"#, "PG_CONN_STR=postgres://u:p@h/a"),
                (r#"{}"#, "PG_CONN_STR=postgres://u:p@h/b"),
                Some(false),
            ),
            (
                "pg",
                (r#"{"conn_str": "host=h dbname=a"}"#, NONE),
                (r#"{"conn_str": "host=h dbname=b"}"#, NONE),
                Some(false),
            ),
            (
                "pg",
                (r#"{"schema_name": "a"}"#, "PG_CONN_STR=postgres://h/a"),
                (r#"{}"#, "PG_CONN_STR=postgres://h/a"),
                Some(false),
            ),
            (
                "consul",
                (r#"{"path": "p"}"#, "CONSUL_HTTP_ADDR=a:1"),
                (r#"{"path": "p"}"#, "CONSUL_HTTP_ADDR=b:1"),
                Some(false),
            ),
            (
                "cloud",
                (r#"{}"#, "TF_CLOUD_ORGANIZATION=a TF_WORKSPACE=w"),
                (r#"{}"#, "TF_CLOUD_ORGANIZATION=b TF_WORKSPACE=w"),
                Some(false),
            ),
            (
                "s3",
                (s3, NONE),
                (r#"{"bucket": "b", "key": "test"}"#, NONE),
                Some(false),
            ),
            (
                "s3",
                (s3, "AWS_ENDPOINT_URL_S3=https://a"),
                (s3, "AWS_ENDPOINT_URL_S3=https://b"),
                Some(false),
            ),
            // Credentials, and what else changes with time.
            (
                "s3",
                (s3, NONE),
                (
                    r#"{"bucket": "b", "key": "prod", "secret_key": "other"}"#,
                    NONE,
                ),
                Some(true),
            ),
            (
                "http",
                (
                    r#"{"address": "https://u:p@h/a?x=1", "headers": {"A": "b"}}"#,
                    NONE,
                ),
                (r#"{"address": "https://h/a?x=2"}"#, NONE),
                Some(true),
            ),
            (
                "pg",
                (r#"{}"#, "PG_CONN_STR=postgres://u:p@h/a"),
                (r#"{}"#, "PG_CONN_STR=postgres://v:q@h/a?sslmode=disable"),
                Some(true),
            ),
            (
                "pg",
                (r#"{"conn_str": "host=h dbname=a password='b c'"}"#, NONE),
                (r#"{"conn_str": "user=u host=h dbname=a"}"#, NONE),
                Some(true),
            ),
        ] {
            let origin = |(settings, variables): (&str, &str)| {
                Folder::of_backend(name, settings).origin(variables)
            };
            let what = format!("{name} {one:?} {other:?}");
            let (one, other) = (origin(one), origin(other));
            match same {
                None => assert_eq!((one, other), (String::new(), String::new()), "{what}"),
                Some(same) => {
                    assert_eq!(one == other, same, "{what}");
                    assert_eq!((one.len(), other.len()), (16, 16), "{what}");
                }
            }
        }
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
            let before = folder.origin("");
            let file = folder.0.path().join(".terraform/terraform.tfstate");
            std::fs::write(file, text).unwrap();
            assert_eq!(folder.origin("") == before, is_same, "{text}");
        }
    }
}
