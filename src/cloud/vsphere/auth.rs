//! Access as users of the vSphere provider have it: the provider block, then its variables.
//!
//! In: the attribute `vsphere` of the provider block. Out: a [`Session`], or what would set what is
//! missing. See: the vSphere provider's "Argument Reference".

use reqwest::Url;
use serde::Deserialize;

use super::api::{Login, Session};
use crate::http::api::{Client, Settings as Http};
use crate::http::rest::Failure;
use crate::http::thumbprint::{THUMBPRINT_SAYS, Thumbprint};
use crate::http::{is_endpoint, is_private};
use crate::protocol::log;
use crate::provider::{Attribute, Diagnostic, Diagnostics};
use crate::worker_group::cloud::{authority, logged_in, or_variable};

/// The attribute `vsphere` of the provider block; names are those of the vSphere provider.
pub(super) fn provider_schema() -> Attribute {
    Attribute::object(
        "vsphere",
        "Access to a vCenter Server, 8.0 U1 or newer. What is left out, or is an empty string, comes from the variables of the vSphere provider.",
        vec![
            Attribute::string("vsphere_server", "Its host name, with a port where that is not 443; a URL with `http` only on this machine.")
                .environment(&[SERVER], "")
                .optional()
                .pattern(SERVER_SAYS, |text| url(text).is_some())
                .or_empty(),
            Attribute::string("user", "User, such as `workers@vsphere.local`.").environment(&[USER], "").optional(),
            Attribute::string("password", "The user's password.").environment(&[PASSWORD], "").optional().sensitive(),
            Attribute::string("ca_file", "File of PEM certificates that are trusted beside the system's.").environment(&[CA], "").optional(),
            Attribute::string("thumbprint", "SHA-256 of the server's own certificate, the only one that is trusted then: `openssl x509 -fingerprint -sha256`.")
                .environment(&[THUMBPRINT], "")
                .optional()
                .pattern(THUMBPRINT_SAYS, |text| Thumbprint::read(text).is_some())
                .or_empty(),
            Attribute::bool("allow_unverified_ssl", "Whether certificates go unchecked; draws a warning.").default(false),
        ],
    )
    .optional()
}

/// The same as a struct. Holds a secret: no `Debug`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    vsphere_server: Option<String>,
    user: Option<String>,
    password: Option<String>,
    ca_file: Option<String>,
    thumbprint: Option<String>,
    allow_unverified_ssl: Option<bool>,
}

/// Logs in. Nothing is written to the disk.
///
/// # Errors
/// What is missing or refused, with the attribute or variable that would set it.
pub(super) async fn login(settings: Settings) -> Result<Session, Diagnostics> {
    let needed = |setting: Option<String>, name: &str, variable: &str| {
        or_variable(setting, &[variable]).ok_or_else(|| {
            let detail = format!(
                "No {name} is known. Set vsphere.{name} of the provider block, or {variable}."
            );
            Diagnostic::error(UNSET, detail)
        })
    };
    let server = needed(settings.vsphere_server, "vsphere_server", SERVER)?;
    let base = url(&server).ok_or_else(|| {
        let detail = format!("Accepted for vsphere.vsphere_server of the provider block, or {SERVER}: {SERVER_SAYS}. Correct it.");
        Diagnostic::error(UNSET, detail)
    })?;
    let user = needed(settings.user, "user", USER)?;
    let password = needed(settings.password, "password", PASSWORD)?;
    let mut http = Http {
        insecure: settings.allow_unverified_ssl == Some(true),
        ..Http::default()
    };
    if let Some(file) = or_variable(settings.ca_file, &[CA]) {
        let sets = format!("vsphere.ca_file of the provider block, or {CA},");
        http.extra_roots = authority(&file, "Could not read the CA file for vSphere", &sets)?;
    }
    if let Some(text) = or_variable(settings.thumbprint, &[THUMBPRINT]) {
        http.thumbprint = Some(Thumbprint::read(&text).ok_or_else(|| {
            let detail = format!(
                "Accepted for vsphere.thumbprint of the provider block, or {THUMBPRINT}: {THUMBPRINT_SAYS}. Correct it."
            );
            Diagnostic::error(UNSET, detail)
        })?);
    }
    if http.insecure {
        log::warn("certificates of the vCenter Server go unchecked", &[]);
    }
    let host = base.host_str().unwrap_or_default().to_owned();
    let passing = |failure: &Failure| failure.is_passing().then(|| failure.to_string());
    let open = || async {
        let client = Client::new(&http).map_err(Failure::Impossible)?;
        let login = Login {
            user: user.clone(),
            password: password.clone(),
        };
        Session::open(client, base.clone(), login, http.insecure).await
    };
    let session = logged_in(LOGIN, open, passing).await;
    let session = session.map_err(|failure| refused(&host, &failure))?;
    let about = &session.content.about;
    if about.api_type != VCENTER || about.instance_uuid.is_empty() {
        session.close().await;
        let detail = format!(
            "{host} is {}, and machines are cloned by a vCenter Server. Set vsphere.vsphere_server of the provider block to one.",
            about.full_name
        );
        return Err(Diagnostic::error("Not a vCenter Server", detail).into());
    }
    Ok(session)
}

fn refused(host: &str, failure: &Failure) -> Diagnostic {
    let (summary, advice) = match failure {
        Failure::Refused { status: 404, .. } => (
            "The vCenter Server is too old",
            "It has no API in JSON, which vCenter Server has from 8.0 U1 on. Upgrade it, or correct vsphere.vsphere_server of the provider block.",
        ),
        Failure::Refused { status: 401, .. } => (
            "Could not log in to vSphere",
            "Check vsphere.user and vsphere.password of the provider block, or VSPHERE_USER and VSPHERE_PASSWORD.",
        ),
        Failure::Refused { status: 403, .. } => (
            "Could not log in to vSphere",
            "The user may not log in there. Check vsphere.user of the provider block, or VSPHERE_USER.",
        ),
        _ => (
            "Could not log in to vSphere",
            "Check vsphere.vsphere_server of the provider block; a certificate of the server's own authority needs ca_file, or thumbprint.",
        ),
    };
    Diagnostic::error(
        summary,
        format!("vSphere at {host} answered {failure}. {advice}"),
    )
}

/// Where the API is: `vcenter.example.com`, `127.0.0.1:8989`, `http://127.0.0.1:8989`.
fn url(server: &str) -> Option<Url> {
    let endpoint = match server.contains("://") {
        true => server.trim_end_matches('/').to_owned(),
        false => format!("https://{server}"),
    };
    let mut url: Url = endpoint.parse().ok()?;
    let is_bare = url.path() == "/" && is_endpoint(&endpoint) && is_private(&url);
    url.set_path(API);
    is_bare.then_some(url)
}

/// The oldest release whose API is spoken in JSON.
const API: &str = "/sdk/vim25/8.0.1.0";
const VCENTER: &str = "VirtualCenter";
const LOGIN: &str = "vSphere Login";
const SERVER: &str = "VSPHERE_SERVER";
const USER: &str = "VSPHERE_USER";
const PASSWORD: &str = "VSPHERE_PASSWORD";
const CA: &str = "VSPHERE_CA_FILE";
const THUMBPRINT: &str = "VSPHERE_THUMBPRINT";
const UNSET: &str = "vSphere is not configured";
const SERVER_SAYS: &str = "A host name, with a port behind `:` where that is not 443";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        for (server, expected) in [
            (
                "vc.example.com",
                Some("https://vc.example.com/sdk/vim25/8.0.1.0"),
            ),
            (
                "10.0.0.1:8443",
                Some("https://10.0.0.1:8443/sdk/vim25/8.0.1.0"),
            ),
            ("[fd00::1]", Some("https://[fd00::1]/sdk/vim25/8.0.1.0")),
            (
                "http://127.0.0.1:80/",
                Some("http://127.0.0.1/sdk/vim25/8.0.1.0"),
            ),
            ("http://vc.example.com", None),
            ("vc.example.com/sdk", None),
            ("user@vc.example.com", None),
            ("ftp://vc.example.com", None),
            ("", None),
        ] {
            let found = url(server);
            assert_eq!(found.as_ref().map(Url::as_str), expected, "{server}");
        }
    }
}
