//! Credentials as OpenStack's users have them: the provider block, then `clouds.yaml` (`cloud` or `OS_CLOUD`), else the `OS_*` variables.
//!
//! In: the provider block's `openstack`. Out: a session, or the attribute or variable that would set what is missing. Files and
//! variables are read by openstack_sdk_core; what is sent is ours.

use std::path::PathBuf;
use std::time::Duration;

use openstack_sdk_core::config::{Auth, CloudConfig};
use serde_json::Value as Json;

use super::api::Session;
use super::clouds::{entry, without_values};
use super::keystone::{Keystone, Way};
use crate::http::api::{Client, Settings as Http};
use crate::http::rest::Failure;
use crate::http::{ENDPOINT_SAYS, is_endpoint, small_file};
use crate::provider::{Attribute, Diagnostic, Diagnostics};
use crate::worker_group::cloud::logged_in;

/// The attribute `openstack` of the provider block; names are those of OpenStack's own provider.
pub(super) fn provider_schema() -> Attribute {
    Attribute::object(
        "openstack",
        "Access to an OpenStack cloud. What is not set here, or is an empty string, comes from `clouds.yaml` if `cloud` or `OS_CLOUD` names an entry, else from \
         the `OS_*` variables.",
        vec![
            Attribute::string("cloud", "Entry of `clouds.yaml`.").environment(&["OS_CLOUD"], "").optional(),
            Attribute::string("auth_url", "URL of Keystone.").environment(&["OS_AUTH_URL"], "")
                .optional()
                .pattern(ENDPOINT_SAYS, is_endpoint)
                .or_empty(),
            Attribute::string("region", "Region.").environment(&["OS_REGION_NAME"], "").optional(),
            Attribute::string("user_name", "Name of the user.").environment(&["OS_USERNAME"], "").optional(),
            Attribute::string("password", "Password of the user.").environment(&["OS_PASSWORD"], "").optional().sensitive(),
            Attribute::string("user_domain_name", "Domain of the user.").environment(&["OS_USER_DOMAIN_NAME"], "").optional(),
            Attribute::string("tenant_name", "Name of the project.").environment(&["OS_PROJECT_NAME", "OS_TENANT_NAME"], "").optional(),
            Attribute::string("project_domain_name", "Domain of the project.").environment(&["OS_PROJECT_DOMAIN_NAME"], "").optional(),
            Attribute::string("application_credential_id", "Application credential.").environment(&["OS_APPLICATION_CREDENTIAL_ID"], "").optional(),
            Attribute::string("application_credential_secret", "Its secret.").environment(&["OS_APPLICATION_CREDENTIAL_SECRET"], "")
                .optional()
                .sensitive(),
            Attribute::string("token", "Token of Keystone instead of a password.").environment(&["OS_TOKEN"], "").optional().sensitive(),
            Attribute::string("cacert_file", "File with the certificate authority of the APIs.").environment(&["OS_CACERT"], "").optional(),
            Attribute::bool("insecure", "Whether certificates go unchecked; draws a warning.").default(false),
            Attribute::string("endpoint_type", "Kind of endpoint.").environment(&["OS_INTERFACE", "OS_ENDPOINT_TYPE"], "")
                .optional()
                .one_of(["public", "internal", "admin"])
                .or_empty(),
        ],
    )
    .optional()
}

/// The attribute `openstack` of the provider block, as a struct. Holds secrets: no `Debug`.
#[derive(Default, serde::Deserialize)]
pub(super) struct Settings {
    cloud: Option<String>,
    auth_url: Option<String>,
    region: Option<String>,
    user_name: Option<String>,
    password: Option<String>,
    user_domain_name: Option<String>,
    tenant_name: Option<String>,
    project_domain_name: Option<String>,
    application_credential_id: Option<String>,
    application_credential_secret: Option<String>,
    token: Option<String>,
    cacert_file: Option<String>,
    insecure: Option<bool>,
    endpoint_type: Option<String>,
}

/// Logs in. Nothing is written to the disk.
///
/// # Errors
/// What is missing, unknown or refused, with the attribute or variable that would set it.
pub(super) async fn login(settings: &Settings) -> Result<Session, Diagnostics> {
    let config = config(settings)?;
    let way = complete(&config)?;
    let keystone = keystone(&config, way)?;
    let passing = |failure: &Failure| failure.is_passing().then(|| answer(failure));
    let login = logged_in("Keystone POST auth/tokens", || keystone.login(), passing).await;
    let login = login.map_err(|failure| refused(&config, way, &failure))?;
    Ok(Session::new(keystone, login, config.verify == Some(false)))
}

/// What Keystone said. Its words name services and URLs, never credentials.
fn answer(failure: &Failure) -> String {
    without_values(&failure.to_string())
}

/// How a complete configuration logs in.
fn keystone(config: &CloudConfig, way: Way) -> Result<Keystone, Diagnostics> {
    let fields = serde_json::to_value(&config.auth).unwrap_or_default();
    let text = |option: &str| config.options.get(option)?.clone().into_string().ok();
    let url = fields["auth_url"].as_str().unwrap_or_default();
    // Before it is asked, and said: there may be a password in it.
    let url = url.parse().ok().filter(|_| is_endpoint(url));
    let url = url.ok_or_else(|| {
        Diagnostic::error(
            "URL of Keystone has the wrong form",
            format!(
                "Accepted for OS_AUTH_URL and for auth_url in clouds.yaml: {ENDPOINT_SAYS}. Correct it."
            ),
        )
    })?;
    let mut http = Http {
        insecure: config.verify == Some(false),
        extra_roots: authority(config)?,
        ..Http::default()
    };
    if let Some(seconds) = text("api_timeout").and_then(|text| text.parse().ok()) {
        http.timeout = Duration::from_secs(seconds).min(LONGEST_CALL);
    }
    let client = Client::new(&http);
    let client = client.map_err(|why| no_authority(config.cacert.as_deref(), &why))?;
    let overrides = config.options.keys().filter_map(|option| {
        let kind = option.strip_suffix("_endpoint_override")?;
        Some((kind.replace('_', "-"), text(option)?.parse().ok()?))
    });
    Ok(Keystone {
        client,
        url,
        body: way.body(&fields),
        region: config.region_name.clone(),
        interface: config.interface.clone().unwrap_or_default(),
        overrides: overrides.collect(),
    })
}

/// Certificates of the authority that the user names.
fn authority(config: &CloudConfig) -> Result<Vec<u8>, Diagnostics> {
    let Some(file) = &config.cacert else {
        return Ok(Vec::new());
    };
    let path = match (file.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(file),
    };
    let roots = small_file(&path);
    roots.map_err(|why| no_authority(path.to_str(), &why).into())
}

fn no_authority(file: Option<&str>, why: &str) -> Diagnostic {
    let file = file.unwrap_or_default();
    Diagnostic::error(
        "Could not read the certificate authority",
        format!(
            "{file}: {why}. Set openstack.cacert_file of the provider block, or OS_CACERT, to a file of PEM certificates."
        ),
    )
}

/// The provider block over `clouds.yaml` or the variables.
fn config(settings: &Settings) -> Result<CloudConfig, Diagnostics> {
    let environment = CloudConfig::from_env();
    let mut environment = environment.map_err(|error| {
        let why = without_values(&error.to_string());
        let detail = format!("One of them has no meaning: {why}. Correct or unset it.");
        Diagnostic::error("Could not read the OS_* variables", detail)
    })?;
    unset_empty(&mut environment);
    let variable = |name: &str| {
        let value = environment.options.get(name)?.clone().into_string().ok();
        value.filter(|value| !value.is_empty())
    };
    let secret = |text: &Option<String>| text.clone().map(Into::into);
    let auth = Auth {
        auth_url: settings.auth_url.clone(),
        username: settings.user_name.clone(),
        password: secret(&settings.password),
        user_domain_name: settings.user_domain_name.clone(),
        project_name: settings.tenant_name.clone(),
        project_domain_name: settings.project_domain_name.clone(),
        application_credential_id: settings.application_credential_id.clone(),
        application_credential_secret: secret(&settings.application_credential_secret),
        token: secret(&settings.token),
        ..Auth::default()
    };
    let mut given = CloudConfig {
        auth: Some(auth),
        region_name: settings.region.clone(),
        cacert: settings.cacert_file.clone(),
        verify: (settings.insecure == Some(true)).then_some(false),
        interface: settings.endpoint_type.clone(),
        ..CloudConfig::default()
    };
    // What the provider block says how to log in holds, whatever else file or variables have.
    given.auth_type = given.auth.as_ref().and_then(method).map(str::to_owned);
    let rest = match settings.cloud.clone().or_else(|| variable("cloud")) {
        Some(cloud) => entry(&cloud, variable("client_config_file"))?,
        None => environment.clone(),
    };
    given.update(&rest);
    let auth = given.auth.get_or_insert_default();
    if auth.project_name.is_none() && auth.project_id.is_none() {
        auth.project_name = variable("tenant_name");
        auth.project_id = variable("tenant_id");
    }
    // `update` leaves it out.
    if auth.username.is_none() {
        auth.user_id = rest.auth.and_then(|auth| auth.user_id);
    }
    let of_fields = method(auth).map(str::to_owned);
    given.auth_type = given.auth_type.or(of_fields);
    if given.interface.is_none() {
        given.interface = Some(variable("endpoint_type").unwrap_or_else(|| "public".to_owned()));
    }
    Ok(given)
}

/// A variable that is set to nothing is not set.
fn unset_empty(environment: &mut CloudConfig) {
    for text in [
        &mut environment.region_name,
        &mut environment.cacert,
        &mut environment.interface,
        &mut environment.auth_type,
    ] {
        *text = text.take().filter(|text| !text.is_empty());
    }
    let fields = serde_json::to_value(environment.auth.take());
    if let Ok(Json::Object(mut fields)) = fields {
        fields.retain(|_, value| *value != "");
        environment.auth = serde_json::from_value(Json::Object(fields)).ok();
    }
}

/// The way of logging in that these fields are for.
fn method(auth: &Auth) -> Option<&'static str> {
    if auth.application_credential_id.is_some() || auth.application_credential_secret.is_some() {
        Some("v3applicationcredential")
    } else if auth.token.is_some() {
        Some("v3token")
    } else if auth.username.is_some() || auth.user_id.is_some() || auth.password.is_some() {
        Some("v3password")
    } else {
        None
    }
}

/// All that is missing for a login, before anybody is asked.
fn complete(config: &CloudConfig) -> Result<Way, Diagnostics> {
    let no_auth = Auth::default();
    let auth = config.auth.as_ref().unwrap_or(&no_auth);
    let way = config
        .auth_type
        .as_deref()
        .map(|kind| (kind, Way::of(kind)));
    if let Some((kind, None)) = way {
        return Err(Diagnostic::error(
            "No login to OpenStack in this way",
            format!(
                "auth_type of clouds.yaml, or OS_AUTH_TYPE, is {kind:?}. Set it to v3password, v3token or v3applicationcredential."
            ),
        )
        .into());
    }
    let way = way.and_then(|(_, way)| way);
    let of_way: &[(bool, &str)] = match way {
        Some(Way::ApplicationCredential) => &[
            (
                auth.application_credential_id.is_some()
                    || auth.application_credential_name.is_some(),
                "the application credential's id (openstack.application_credential_id or OS_APPLICATION_CREDENTIAL_ID)",
            ),
            (
                auth.application_credential_secret.is_some(),
                "the application credential's secret (openstack.application_credential_secret or OS_APPLICATION_CREDENTIAL_SECRET)",
            ),
        ],
        Some(Way::Password) => &[
            (
                auth.username.is_some() || auth.user_id.is_some(),
                "the user (openstack.user_name or OS_USERNAME)",
            ),
            (
                auth.password.is_some(),
                "the user's password (openstack.password or OS_PASSWORD)",
            ),
        ],
        Some(Way::Token) => &[(
            auth.token.is_some(),
            "the token (openstack.token or OS_TOKEN)",
        )],
        None => &[(
            false,
            "who logs in (openstack.user_name, openstack.application_credential_id or openstack.token, or OS_USERNAME, \
             OS_APPLICATION_CREDENTIAL_ID or OS_TOKEN)",
        )],
    };
    let url = (
        auth.auth_url.is_some(),
        "the URL of Keystone (openstack.auth_url or openstack.cloud in the provider block, or the variable OS_AUTH_URL or OS_CLOUD)",
    );
    let missing = std::iter::once(&url)
        .chain(of_way)
        .filter(|(is_there, _)| !is_there);
    let missing: Vec<&str> = missing.map(|(_, what)| *what).collect();
    match way {
        Some(way) if missing.is_empty() => Ok(way),
        _ => Err(Diagnostic::error(
            "OpenStack is not configured",
            format!("What is missing: {}. Set it.", missing.join("; ")),
        )
        .into()),
    }
}

fn refused(config: &CloudConfig, way: Way, failure: &Failure) -> Diagnostic {
    let auth_url = config.auth.as_ref().and_then(|auth| auth.auth_url.clone());
    let what = match way {
        Way::ApplicationCredential => {
            "Check openstack.application_credential_id and its secret, whether it has expired or was deleted, and openstack.auth_url; or the \
             OS_* variables and clouds.yaml where the provider block leaves them out."
        }
        Way::Token => {
            "Check openstack.token (or OS_TOKEN), whether it has expired, and openstack.auth_url."
        }
        Way::Password => {
            "Check openstack.auth_url, the user, its domain and the project in the provider block, or the OS_* variables and clouds.yaml \
             where it leaves them out."
        }
    };
    Diagnostic::error(
        "Could not log in to OpenStack",
        format!(
            "Keystone at {} answered: {}. {what}",
            auth_url.unwrap_or_default(),
            answer(failure)
        ),
    )
}

/// An API that takes longer does not answer.
const LONGEST_CALL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_way_to_log_in_is_that_of_the_fields() {
        for (fields, expected) in [
            (json!({}), None),
            (json!({"auth_url": "http://keystone"}), None),
            (
                json!({"username": "demo", "password": "x"}),
                Some("v3password"),
            ),
            (json!({"token": "x"}), Some("v3token")),
            (
                json!({"application_credential_secret": "x"}),
                Some("v3applicationcredential"),
            ),
            (
                json!({"application_credential_id": "1", "username": "demo"}),
                Some("v3applicationcredential"),
            ),
        ] {
            let auth: Auth = serde_json::from_value(fields.clone()).unwrap();
            assert_eq!(method(&auth), expected, "{fields}");
        }
    }

    #[test]
    fn what_is_missing_is_told_all_at_once_with_what_sets_it() {
        for (auth_type, fields, expected) in [
            (None, json!({}), vec!["OS_AUTH_URL", "OS_USERNAME"]),
            (
                Some("v3password"),
                json!({"auth_url": "u"}),
                vec!["OS_USERNAME", "OS_PASSWORD"],
            ),
            (
                Some("v3applicationcredential"),
                json!({"auth_url": "u", "application_credential_id": "1"}),
                vec!["OS_APPLICATION_CREDENTIAL_SECRET"],
            ),
            (Some("v3token"), json!({"auth_url": "u"}), vec!["OS_TOKEN"]),
            (
                Some("v3websso"),
                json!({"auth_url": "u"}),
                vec!["\"v3websso\""],
            ),
            (
                Some("v3password"),
                json!({"auth_url": "u", "username": "demo", "password": "x"}),
                vec![],
            ),
        ] {
            let config: CloudConfig =
                serde_json::from_value(json!({"auth": fields, "auth_type": auth_type})).unwrap();
            let problems = complete(&config).err().unwrap_or_default();
            assert_eq!(
                problems.0.len(),
                usize::from(!expected.is_empty()),
                "{fields}"
            );
            for word in expected {
                assert!(problems.0[0].detail.contains(word), "{word}: {problems:?}");
            }
        }
    }

    #[test]
    fn a_provider_block_is_checked_before_anybody_logs_in() {
        for (written, blamed) in [
            (
                json!({"auth_url": "", "endpoint_type": "", "cloud": ""}),
                vec![],
            ),
            (json!({"auth_url": "https://keystone:5000/v3"}), vec![]),
            (json!({"auth_url": "foo"}), vec!["openstack.auth_url"]),
            (
                json!({"auth_url": "http://user:s3cret@a"}),
                vec!["openstack.auth_url"],
            ),
            (
                json!({"endpoint_type": "x"}),
                vec!["openstack.endpoint_type"],
            ),
        ] {
            let config = crate::provider::convert::to_value(&json!({"openstack": written}));
            let problems = crate::provider::check(&[provider_schema()], &config).0;
            assert!(!format!("{problems:?}").contains("s3cret"), "{problems:?}");
            let paths: Vec<String> = problems
                .into_iter()
                .filter_map(|problem| Some(problem.path?.to_string()))
                .collect();
            assert_eq!(paths, blamed, "{written}");
        }
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_is_not_set() {
        let fields = json!({"auth_url": "", "username": "demo", "password": "", "token": ""});
        let mut environment: CloudConfig =
            serde_json::from_value(json!({"auth": fields, "region_name": ""})).unwrap();
        unset_empty(&mut environment);
        let auth = environment.auth.unwrap();
        assert_eq!(auth.auth_url, None);
        assert_eq!(auth.username.as_deref(), Some("demo"));
        assert!(auth.password.is_none() && auth.token.is_none());
        assert_eq!(environment.region_name, None);
    }

    #[test]
    fn a_keystone_of_a_file_is_refused_without_a_word_of_it() {
        for (url, is_refused) in [
            ("https://keystone:5000/v3", false),
            ("foo", true),
            ("http://user:s3cret@a", true),
        ] {
            let config = serde_json::from_value(json!({"auth": {"auth_url": url}})).unwrap();
            let problems = keystone(&config, Way::Password).err().unwrap_or_default().0;
            assert_eq!(!problems.is_empty(), is_refused, "{url}");
            assert!(!format!("{problems:?}").contains("s3cret"), "{problems:?}");
        }
    }

    #[test]
    fn an_authority_that_cannot_be_read_is_refused() {
        for (cacert, why) in [
            ("/dev/zero", "not a regular file"),
            ("/does/not/exist.pem", "No such file"),
            ("Cargo.toml", "no PEM certificate"),
        ] {
            let auth = json!({"auth_url": "http://keystone:5000"});
            let config = serde_json::from_value(json!({"auth": auth, "cacert": cacert})).unwrap();
            let problems = keystone(&config, Way::Password).err().unwrap_or_default().0;
            assert_eq!(problems.len(), 1, "{cacert}");
            for words in [cacert, why, "openstack.cacert_file"] {
                assert!(problems[0].detail.contains(words), "{words}: {problems:?}");
            }
        }
    }
}
