//! Where the API of a cluster is, whom to trust there, and what logs in:
//! `https://api.prod.example:6443`, an authority in PEM, a token. Nothing of it that is secret can
//! be shown.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::http::small_file;

/// A program that logs in.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Exec {
    /// `client.authentication.k8s.io/v1`
    pub api_version: String,
    pub command: String,
    pub args: Option<Vec<String>>,
    /// Beside the environment that the provider has.
    pub env: Option<std::collections::BTreeMap<String, String>>,
    /// What the kubeconfig says to whoever has no such program.
    #[serde(skip)]
    pub install_hint: Option<String>,
    /// Whether the program is told of the cluster.
    #[serde(skip)]
    pub provide_cluster_info: bool,
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be sent and never shown.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A cluster's API, and how to log in there. Holds secrets: no `Debug`.
#[derive(Clone, Default)]
pub struct Endpoint {
    /// `https://api.prod.example:6443`, perhaps with a path.
    pub(super) server: String,
    /// PEM certificates that are trusted there; `None`: the system's.
    pub(super) roots: Option<Vec<u8>>,
    /// The name that its certificate has, where it is not the server's.
    pub(super) server_name: Option<String>,
    pub(super) proxy: Option<Secret>,
    pub(super) insecure: bool,
    /// Certificate and key.
    pub(super) identity: Option<(Source, Source)>,
    pub(super) bearer: Bearer,
    /// Whom to act as: a user and groups.
    pub(super) acts_as: Option<(String, Vec<String>)>,
}

/// Where a secret is.
#[derive(Clone)]
pub(super) enum Source {
    Text(Secret),
    /// It may be another one later.
    File(PathBuf),
}

impl Source {
    /// What it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.0.clone().into_bytes()),
            Self::File(path) => {
                small_file(path).map_err(|why| format!("{}: {why}", path.display()))
            }
        }
    }
}

/// What is sent with each call.
#[derive(Clone, Default)]
pub(super) enum Bearer {
    #[default]
    None,
    Token(Source),
    /// A program gives a token, or a certificate.
    Exec(Box<Exec>),
}

/// Why there is no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(pub String);

/// Base64, as kubeconfigs have it.
///
/// # Errors
/// It is none.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD
        .decode(text)
        .map_err(|_| "is not base64".to_owned())
}
