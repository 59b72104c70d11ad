//! Credentials as OpenStack's users have them: the provider block, then `clouds.yaml` (`cloud` or
//! `OS_CLOUD`), else the `OS_*` variables.
//!
//! In: the provider block's `openstack`. Out: a session, or the attribute or variable that would
//! set what is missing. Files and variables are read by openstack_sdk_core; what is sent is ours,
//! by `way` and `keystone`.

use std::time::Duration;

use openstack_sdk_core::config::CloudConfig;
use serde_json::{Map, Value as Json, json};

use super::api::Session;
use super::clouds::entry;
use super::keystone::Keystone;
use super::way::{Need, Said, Way};
use crate::http::api::{Client, Settings as Http};
use crate::http::rest::Failure;
use crate::http::{ENDPOINT_SAYS, is_endpoint};
use crate::protocol::visible::without_values;
use crate::provider::{Attribute, Diagnostic, Diagnostics};
use crate::worker_group::cloud::{authority, logged_in, or_variable};

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

/// Logs in, by the attribute `openstack` of the provider block. Nothing is written to the disk.
///
/// # Errors
/// What is missing, unknown or refused, with the attribute or variable that would set it.
pub(super) async fn login(block: &Map<String, Json>) -> Result<Session, Diagnostics> {
    let said = all_that_is_said(block)?;
    let way = complete(&said)?;
    let keystone = keystone(&said, way)?;
    let passing = |failure: &Failure| failure.is_passing().then(|| answer(failure));
    let login = logged_in("Keystone POST auth/tokens", || keystone.login(), passing).await;
    let login = login.map_err(|failure| {
        let (url, answer) = (&said["auth_url"], answer(&failure));
        let detail = format!("Keystone at {url} answered: {answer}. {}", way.check);
        Diagnostic::error("Could not log in to OpenStack", detail)
    })?;
    Ok(Session::new(keystone, login, is_insecure(&said)))
}

/// What Keystone said. Its words name services and URLs, never credentials.
fn answer(failure: &Failure) -> String {
    without_values(&failure.to_string())
}

fn is_insecure(said: &Said) -> bool {
    said.get("verify").is_some_and(|verify| verify == "false")
}

/// How a complete configuration logs in.
fn keystone(said: &Said, way: &Way) -> Result<Keystone, Diagnostics> {
    let url = said.get("auth_url").map_or("", String::as_str);
    // Before it is asked, and said: there may be a password in it.
    let url = url.parse().ok().filter(|_| is_endpoint(url));
    let url = url.ok_or_else(|| {
        let detail = format!(
            "Accepted for OS_AUTH_URL and for auth_url in clouds.yaml: {ENDPOINT_SAYS}. Correct it."
        );
        Diagnostic::error("URL of Keystone has the wrong form", detail)
    })?;
    let mut http = Http {
        insecure: is_insecure(said),
        ..Http::default()
    };
    if let Some(file) = said.get("cacert") {
        let summary = "Could not read the certificate authority";
        let sets = "openstack.cacert_file of the provider block, or OS_CACERT,";
        http.extra_roots = authority(file, summary, sets)?;
    }
    let seconds = said.get("api_timeout").and_then(|text| text.parse().ok());
    if let Some(seconds) = seconds {
        http.timeout = Duration::from_secs(seconds).min(LONGEST_CALL);
    }
    let client = Client::new(&http)
        .map_err(|why| Diagnostic::error("Could not set up TLS for OpenStack", format!("{why}.")));
    let overrides = said.iter().filter_map(|(name, url)| {
        let kind = name.strip_suffix("_endpoint_override")?;
        Some((kind.replace('_', "-"), url.parse().ok()?))
    });
    // Old clients say `publicURL`.
    let interface = said.get("interface").map_or("public", String::as_str);
    Ok(Keystone {
        client: client?,
        url,
        body: way.body(said),
        region: said.get("region_name").cloned(),
        interface: interface.trim_end_matches("URL").to_owned(),
        overrides: overrides.collect(),
    })
}

/// The provider block over `clouds.yaml` or the variables.
fn all_that_is_said(block: &Map<String, Json>) -> Result<Said, Diagnostics> {
    let environment = CloudConfig::from_env().map_err(|error| {
        let why = without_values(&error.to_string());
        let detail = format!("One of them has no meaning: {why}. Correct or unset it.");
        Diagnostic::error("Could not read the OS_* variables", detail)
    })?;
    let mut environment = flat(environment);
    // Reading them, the SDK takes its own default for what is said.
    environment.remove("interface");
    let interface = or_variable(None, &["OS_INTERFACE", "OS_ENDPOINT_TYPE"]);
    environment.extend(interface.map(|kind| ("interface".to_owned(), kind)));
    let mut said = given(block);
    let rest = match said.get("cloud").or_else(|| environment.get("cloud")) {
        Some(cloud) => flat(entry(cloud, environment.get("client_config_file"))?),
        None => environment.clone(),
    };
    complement(&mut said, &rest);
    if !said.contains_key("project_name") && !said.contains_key("project_id") {
        for of in ["name", "id"] {
            let tenant = environment.get(&format!("tenant_{of}")).cloned();
            said.extend(tenant.map(|tenant| (format!("project_{of}"), tenant)));
        }
    }
    Ok(said)
}

/// What the provider block says.
fn given(block: &Map<String, Json>) -> Said {
    let called = |name: &str| {
        let other = CALLED.iter().find(|(ours, _)| *ours == name);
        other.map_or(name, |(_, theirs)| theirs).to_owned()
    };
    let said = block.iter();
    let said = said.filter_map(|(name, value)| Some((called(name), value.as_str()?.to_owned())));
    let mut said: Said = said.collect();
    if block.get("insecure") == Some(&json!(true)) {
        said.insert("verify".to_owned(), "false".to_owned());
    }
    // How to log in holds, whatever else file or variables have.
    let way = Way::by(&said);
    said.extend(way.map(|way| ("auth_type".to_owned(), way.name.to_owned())));
    said
}

/// Adds what is not said yet. Who says a name does not mean the id that somebody else says.
fn complement(said: &mut Said, rest: &Said) {
    let is_other = |name: &String| {
        let of = name.strip_suffix("_id");
        of.is_some_and(|of| said.contains_key(&format!("{of}_name")))
    };
    let rest = rest.iter().filter(|(name, _)| !is_other(name));
    let rest: Vec<_> = rest
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in rest {
        said.entry(name).or_insert(value);
    }
}

/// What a file or the variables say: what is set to nothing is not said.
fn flat(config: CloudConfig) -> Said {
    let auth = serde_json::to_value(config.auth.unwrap_or_default());
    // Every field of it is there, null where it is not said.
    let mut said = auth
        .ok()
        .and_then(|auth| auth.as_object().cloned())
        .unwrap_or_default();
    for (name, value) in config.options {
        said.entry(name)
            .or_insert_with(|| json!(value.into_string().ok()));
    }
    for (name, value) in [
        ("auth_type", config.auth_type),
        ("interface", config.interface),
        ("region_name", config.region_name),
        ("cacert", config.cacert),
        ("verify", config.verify.map(|verify| verify.to_string())),
    ] {
        said.insert(name.to_owned(), json!(value));
    }
    let user = said.remove("username").unwrap_or_default();
    said.insert("user_name".to_owned(), user);
    let text = |value: Json| Some(value.as_str()?.to_owned()).filter(|text| !text.is_empty());
    let said = said.into_iter();
    said.filter_map(|(name, value)| Some((name, text(value)?)))
        .collect()
}

/// All that is missing for a login, before anybody is asked.
fn complete(said: &Said) -> Result<&'static Way, Diagnostics> {
    let way = match said.get("auth_type") {
        None => Way::by(said),
        Some(kind) => Some(Way::of(kind).ok_or_else(|| {
            let detail = format!(
                "auth_type of clouds.yaml, or OS_AUTH_TYPE, is {kind:?}. Set it to v3password, v3token or v3applicationcredential."
            );
            Diagnostic::error("No login to OpenStack in this way", detail)
        })?),
    };
    let needs = std::iter::once(&URL).chain(way.map_or(&[NOBODY][..], |way| way.needs));
    let missing = needs.filter(|(fields, _)| !fields.iter().any(|name| said.contains_key(*name)));
    let missing: Vec<&str> = missing.map(|(_, what)| *what).collect();
    way.filter(|_| missing.is_empty()).ok_or_else(|| {
        let detail = format!("What is missing: {}. Set it.", missing.join("; "));
        Diagnostic::error("OpenStack is not configured", detail).into()
    })
}

/// What `clouds.yaml` calls attributes of the provider block that have another name there.
const CALLED: [(&str, &str); 4] = [
    ("tenant_name", "project_name"),
    ("region", "region_name"),
    ("cacert_file", "cacert"),
    ("endpoint_type", "interface"),
];
const URL: Need = (
    &["auth_url"],
    "the URL of Keystone (openstack.auth_url or openstack.cloud in the provider block, or the variable OS_AUTH_URL or OS_CLOUD)",
);
const NOBODY: Need = (
    &[],
    "who logs in (openstack.user_name, openstack.application_credential_id or openstack.token, or OS_USERNAME, \
     OS_APPLICATION_CREDENTIAL_ID or OS_TOKEN)",
);
/// An API that takes longer does not answer.
const LONGEST_CALL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn password() -> &'static Way {
        Way::of("v3password").unwrap()
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
                json!({"auth_url": "u", "user_name": "demo", "password": "x"}),
                vec![],
            ),
        ] {
            let mut said: Said = serde_json::from_value(fields.clone()).unwrap();
            said.extend(auth_type.map(|kind: &str| ("auth_type".to_owned(), kind.to_owned())));
            let problems = complete(&said).err().unwrap_or_default();
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

    fn block(fields: Json) -> Said {
        given(fields.as_object().unwrap())
    }

    fn from_file(fields: Json) -> Said {
        flat(serde_json::from_value(fields).unwrap())
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_is_not_set() {
        let auth = json!({"auth_url": "", "username": "demo", "password": "", "token": ""});
        let said = from_file(json!({"auth": auth, "region_name": "", "password": "beside"}));
        let expected = json!({"user_name": "demo", "interface": "public"});
        assert_eq!(
            json!(said),
            expected,
            "nor is what stands beside auth a part of it"
        );
    }

    #[test]
    fn what_the_block_says_holds_and_a_name_of_it_is_not_the_id_of_a_file() {
        let file = json!({
            "auth": {
                "username": "f", "user_id": "f", "password": "f", "project_id": "f", "user_domain_id": "f", "project_domain_id": "f",
                "application_credential_id": "f",
            },
            "auth_type": "v3applicationcredential", "verify": true, "compute_endpoint_override": "f",
        });
        let mut said = block(json!({
            "user_name": "b", "password": "b", "tenant_name": "b", "user_domain_name": "b", "insecure": true, "region": null,
        }));
        complement(&mut said, &from_file(file));
        let expected = json!({
            "user_name": "b", "password": "b", "project_name": "b", "user_domain_name": "b", "project_domain_id": "f",
            "application_credential_id": "f", "auth_type": "password", "verify": "false", "interface": "public",
            "compute_endpoint_override": "f",
        });
        assert_eq!(json!(said), expected);
    }

    #[test]
    fn a_keystone_of_a_file_is_refused_without_a_word_of_it() {
        for (url, is_refused) in [
            ("https://keystone:5000/v3", false),
            ("foo", true),
            ("http://user:s3cret@a", true),
        ] {
            let said = block(json!({"auth_url": url}));
            let problems = keystone(&said, password()).err().unwrap_or_default().0;
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
            let said = block(json!({"auth_url": "http://keystone:5000", "cacert_file": cacert}));
            let problems = keystone(&said, password()).err().unwrap_or_default().0;
            assert_eq!(problems.len(), 1, "{cacert}");
            for words in [cacert, why, "openstack.cacert_file"] {
                assert!(problems[0].detail.contains(words), "{words}: {problems:?}");
            }
        }
    }
}
