//! Access as Google's users have it: the provider block, then the variables of Google's own
//! provider, then application default credentials.
//!
//! In: the attribute `gcp` of the provider block. Out: a session in a project, or what would set
//! what is missing. Where credentials are looked for is here, how each kind logs in is in
//! `credential`. See: the Google provider's "Provider Configuration Reference", and "How
//! Application Default Credentials works".

use std::env;
use std::path::PathBuf;

use serde::Deserialize;

use super::api::Session;
use super::credential::{Credential, IAM};
use crate::http::api::{Client, Settings as Http};
use crate::http::rest::Failure;
use crate::http::{ENDPOINT_SAYS, is_endpoint, is_private, of_home, small_file};
use crate::provider::{Attribute, Diagnostic, Diagnostics, Type};
use crate::worker_group::cloud::{authority, logged_in, or_variable};

/// The attribute `gcp` of the provider block; names are those of Google's own provider.
pub(super) fn provider_schema() -> Attribute {
    Attribute::object(
        "gcp",
        "Access to Google Cloud. What is left out, or is an empty string, comes from the variables of Google's own provider, then from application \
         default credentials: `GOOGLE_APPLICATION_CREDENTIALS`, what `gcloud auth application-default login` has written, the metadata server.",
        vec![
            Attribute::string("project", "Project of the machines, by its id; part of what state records.")
                .environment(PROJECT, "that of the key file")
                .optional()
                .pattern(PROJECT_SAYS, is_project)
                .or_empty(),
            Attribute::string("credentials", "A file of credentials in JSON, or its contents: a service account's key, workload identity federation, a user's.")
                .environment(CREDENTIALS, "application default credentials")
                .optional()
                .sensitive(),
            Attribute::string("access_token", "An OAuth 2.0 access token in place of credentials; it cannot be renewed.")
                .environment(TOKEN, "")
                .optional()
                .sensitive(),
            Attribute::string("impersonate_service_account", "E-mail address of a service account to act as.")
                .environment(IMPERSONATE, "")
                .optional()
                .pattern(EMAIL_SAYS, is_email)
                .or_empty(),
            Attribute::list("impersonate_service_account_delegates", "Service accounts in between, each of which may act as the next.", Type::String)
                .optional()
                .pattern(EMAIL_SAYS, is_email),
            Attribute::string("endpoint", "URL of the Compute Engine API, with or without `/compute/v1/`; `http` only on this machine. Google's own without it.")
                .environment(ENDPOINT, "")
                .optional()
                .pattern(ENDPOINT_SAYS, is_endpoint)
                .or_empty(),
            Attribute::string("ca_bundle", "File of PEM certificates that are trusted beside the system's.").environment(CA, "").optional(),
        ],
    )
    .optional()
}

/// The same as a struct. Holds secrets: no `Debug`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    project: Option<String>,
    credentials: Option<String>,
    access_token: Option<String>,
    impersonate_service_account: Option<String>,
    impersonate_service_account_delegates: Option<Vec<String>>,
    endpoint: Option<String>,
    ca_bundle: Option<String>,
}

/// Logs in. Nothing is written to the disk.
///
/// # Errors
/// What is missing or refused, with the attribute or variable that would set it.
pub(super) async fn login(settings: Settings) -> Result<Session, Diagnostics> {
    let mut credential = credential(&settings)?;
    let project = or_variable(settings.project, PROJECT);
    let project = project.or_else(|| credential.project.clone());
    let project = project.filter(|project| is_project(project));
    let project = project.ok_or_else(|| {
        let detail = format!(
            "No project is known. Set gcp.project of the provider block, or {}.",
            PROJECT[0]
        );
        Diagnostic::error("Google Cloud is not configured", detail)
    })?;
    let endpoint = or_variable(settings.endpoint, ENDPOINT);
    let base = base(endpoint.as_deref().unwrap_or(GOOGLE))?;
    if let Some(email) = or_variable(settings.impersonate_service_account, IMPERSONATE) {
        let delegates = settings.impersonate_service_account_delegates;
        let place = or_variable(None, &[IAM_ENDPOINT]);
        let place = place.as_deref().unwrap_or(IAM);
        let acted = credential.act_as(place, &email, delegates.unwrap_or_default());
        acted.map_err(|why| wrong(IAM_ENDPOINT, &why))?;
    }
    let mut http = Http::default();
    if let Some(file) = or_variable(settings.ca_bundle, CA) {
        let sets = format!("gcp.ca_bundle of the provider block, or {},", CA[0]);
        let summary = "Could not read the CA bundle for Google Cloud";
        http.extra_roots = authority(&file, summary, &sets)?;
    }
    let client = Client::new(&http);
    let client = client.map_err(|why| wrong("gcp.ca_bundle", &why))?;
    let passing = |failure: &Failure| credential.may_pass(failure).then(|| failure.to_string());
    let token = logged_in(LOGIN, || credential.bearer(&client), passing).await;
    let token = token.map_err(|failure| {
        let detail = credential.refusal(&failure);
        Diagnostic::error("Could not log in to Google Cloud", detail)
    })?;
    Ok(Session::new(client, credential, token, base, project))
}

/// The first that there is, in the order of Google's own provider.
fn credential(settings: &Settings) -> Result<Credential, Diagnostics> {
    if let Some(token) = or_variable(settings.access_token.clone(), TOKEN) {
        return Ok(Credential::of_token(token));
    }
    if let Some(said) = or_variable(settings.credentials.clone(), CREDENTIALS) {
        let where_from = format!(
            "gcp.credentials of the provider block, or {}",
            CREDENTIALS[0]
        );
        // What is no JSON is the name of a file.
        let text = match said.trim_start().starts_with('{') {
            true => Ok(said),
            false => file(of_home(&said)),
        };
        return read(text, &where_from);
    }
    if let Some(path) = or_variable(None, &[APPLICATION]) {
        return read(file(path.into()), APPLICATION);
    }
    let written_by_gcloud = gcloud().filter(|path| path.exists());
    match written_by_gcloud {
        Some(path) => {
            let where_from = path.display().to_string();
            read(file(path), &where_from)
        }
        None => {
            let host = or_variable(None, &[METADATA_HOST]);
            let host = host.as_deref().unwrap_or(METADATA);
            Credential::of_metadata(host).map_err(|why| wrong(METADATA_HOST, &why))
        }
    }
}

fn file(path: PathBuf) -> Result<String, String> {
    let text = small_file(&path)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()));
    // What is not there may be a secret that stands where a path is expected.
    text.map_err(|why| format!("it names no file that can be read: {why}"))
}

fn read(text: Result<String, String>, where_from: &str) -> Result<Credential, Diagnostics> {
    let credential = text.and_then(|text| Credential::of_file(&text));
    credential.map_err(|why| wrong(where_from, &why))
}

fn wrong(what: &str, why: &str) -> Diagnostics {
    let detail = format!("{what}: {why}.");
    Diagnostic::error("Google Cloud is not configured", detail).into()
}

/// Where `gcloud auth application-default login` writes.
fn gcloud() -> Option<PathBuf> {
    let folder = or_variable(None, &["CLOUDSDK_CONFIG"]).map(PathBuf::from);
    let roaming = || or_variable(None, &["APPDATA"]).map(|of| PathBuf::from(of).join("gcloud"));
    let home = || env::home_dir().map(|home| home.join(".config/gcloud"));
    let folder = folder.or_else(|| match cfg!(windows) {
        true => roaming(),
        false => home(),
    })?;
    Some(folder.join("application_default_credentials.json"))
}

/// With the version of the API, where the user has left it out; tokens go in the clear to nobody.
fn base(endpoint: &str) -> Result<reqwest::Url, Diagnostics> {
    let named = format!("gcp.endpoint of the provider block, or {}", ENDPOINT[0]);
    let url = reqwest::Url::parse(endpoint).ok();
    let url = url.filter(|_| is_endpoint(endpoint));
    let mut url = url.ok_or_else(|| wrong(&named, ENDPOINT_SAYS))?;
    if !is_private(&url) {
        let why =
            "a token would go over http to another machine. Write a URL that begins with https://";
        return Err(wrong(&named, why));
    }
    if url.path().trim_matches('/').is_empty() {
        url.set_path("compute/v1/");
    }
    Ok(url)
}

/// `my-project`, `example.com:my-project`.
fn is_project(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| is_letter(byte) || matches!(byte, b'-' | b'.' | b':');
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= 127
        && ends.iter().all(|end| end.is_some_and(is_letter))
        && text.bytes().all(inner)
}

fn is_email(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
    text.len() <= 254 && text.matches('@').count() == 1 && text.bytes().all(inner)
}

const PROJECT_SAYS: &str = "A project's id: lower-case letters, digits and hyphens, behind a domain and a colon where it has one";
const EMAIL_SAYS: &str = "An e-mail address of a service account";
const LOGIN: &str = "Google POST token";
const GOOGLE: &str = "https://compute.googleapis.com/compute/v1/";
const METADATA: &str = "metadata.google.internal";
const PROJECT: &[&str] = &[
    "GOOGLE_PROJECT",
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "CLOUDSDK_CORE_PROJECT",
];
const CREDENTIALS: &[&str] = &[
    "GOOGLE_CREDENTIALS",
    "GOOGLE_CLOUD_KEYFILE_JSON",
    "GCLOUD_KEYFILE_JSON",
];
const TOKEN: &[&str] = &["GOOGLE_OAUTH_ACCESS_TOKEN"];
const IMPERSONATE: &[&str] = &["GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"];
const ENDPOINT: &[&str] = &["GOOGLE_COMPUTE_CUSTOM_ENDPOINT"];
/// Of Google's command line, the only name that there is for it.
const CA: &[&str] = &["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"];
const APPLICATION: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const METADATA_HOST: &str = "GCE_METADATA_HOST";
const IAM_ENDPOINT: &str = "GOOGLE_IAM_CREDENTIALS_CUSTOM_ENDPOINT";
