//! Credentials as OpenStack's users have them: the provider block, then `clouds.yaml` (`cloud` or `OS_CLOUD`), else the `OS_*` variables.
//!
//! In: the provider block's `openstack`. Out: a session of openstack_sdk, or the attribute or variable that would set what is missing.

use openstack_sdk::config::{CloudConfig, ConfigFile};
use openstack_sdk::{AsyncOpenStack, OpenStackError};
use serde_json::json;

use crate::provider::{Attribute, Diagnostic, Diagnostics, Model as _, Path, Value};

/// The attribute `openstack` of the provider block; names are those of OpenStack's own provider.
pub(super) fn provider_schema() -> Attribute {
    Attribute::object(
        "openstack",
        "Access to an OpenStack cloud. What is not set here comes from `clouds.yaml` if `cloud` or `OS_CLOUD` names an entry, else from \
         the `OS_*` variables.",
        vec![
            Attribute::string("cloud", "Entry of `clouds.yaml`; or `OS_CLOUD`.").optional(),
            Attribute::string("auth_url", "URL of Keystone; or `OS_AUTH_URL`.").optional(),
            Attribute::string("region", "Region; or `OS_REGION_NAME`.").optional(),
            Attribute::string("user_name", "Name of the user; or `OS_USERNAME`.").optional(),
            Attribute::string("password", "Password of the user; or `OS_PASSWORD`.").optional().sensitive(),
            Attribute::string("user_domain_name", "Domain of the user; or `OS_USER_DOMAIN_NAME`.").optional(),
            Attribute::string("tenant_name", "Name of the project; or `OS_PROJECT_NAME`, `OS_TENANT_NAME`.").optional(),
            Attribute::string("project_domain_name", "Domain of the project; or `OS_PROJECT_DOMAIN_NAME`.").optional(),
            Attribute::string("application_credential_id", "Application credential; or `OS_APPLICATION_CREDENTIAL_ID`.").optional(),
            Attribute::string("application_credential_secret", "Its secret; or `OS_APPLICATION_CREDENTIAL_SECRET`.")
                .optional()
                .sensitive(),
            Attribute::string("token", "Token of Keystone instead of a password; or `OS_TOKEN`.").optional().sensitive(),
            Attribute::string("cacert_file", "File with the certificate authority of the APIs; or `OS_CACERT`.").optional(),
            Attribute::bool("insecure", "Whether certificates go unchecked; draws a warning.").default(false),
            Attribute::string("endpoint_type", "Kind of endpoint; or `OS_INTERFACE`, `OS_ENDPOINT_TYPE`.")
                .optional()
                .one_of(["public", "internal", "admin"]),
        ],
    )
    .optional()
}

/// The attribute `openstack` of the provider block, as a struct. Holds secrets: no `Debug`.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Settings {
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

/// Logs in. Nothing is written to the disk: the SDK's cache of tokens is off.
///
/// # Errors
/// What is missing, unknown or refused, with the attribute or variable that would set it.
pub(super) async fn session(setting: &Value) -> Result<AsyncOpenStack, Diagnostics> {
    let settings = match setting {
        Value::Null => Settings::default(),
        given => Settings::from_value(given).map_err(|_| unknown(given))?,
    };
    let config = config(&settings)?;
    let auth_url = config
        .auth
        .as_ref()
        .and_then(|auth| auth.auth_url.as_deref());
    let Some(auth_url) = auth_url.map(str::to_owned) else {
        return Err(Diagnostic::error(
            "OpenStack is not configured",
            "There is no URL of Keystone. Set openstack.auth_url or openstack.cloud in the provider block, or the variable OS_AUTH_URL \
             or OS_CLOUD.",
        )
        .into());
    };
    AsyncOpenStack::builder(&config)
        .disable_auth_cache(true)
        .connect()
        .await
        .map_err(|error| refused(&auth_url, &error).into())
}

/// The provider block over `clouds.yaml` or the variables.
fn config(settings: &Settings) -> Result<CloudConfig, Diagnostics> {
    let environment = CloudConfig::from_env().map_err(|error| {
        Diagnostic::error(
            "Could not read the OS_* variables",
            format!("One of them has no meaning: {error}. Correct or unset it."),
        )
    })?;
    let variable = |name: &str| environment.options.get(name)?.clone().into_string().ok();
    let auth_type = if settings.application_credential_id.is_some() {
        Some("v3applicationcredential")
    } else if settings.token.is_some() {
        Some("v3token")
    } else {
        None
    };
    let mut given: CloudConfig = serde_json::from_value(json!({
        "auth": {
            "auth_url": settings.auth_url,
            "username": settings.user_name,
            "password": settings.password,
            "user_domain_name": settings.user_domain_name,
            "project_name": settings.tenant_name,
            "project_domain_name": settings.project_domain_name,
            "application_credential_id": settings.application_credential_id,
            "application_credential_secret": settings.application_credential_secret,
            "token": settings.token,
        },
        "auth_type": auth_type,
        "region_name": settings.region,
        "cacert": settings.cacert_file,
        "verify": settings.insecure.unwrap_or(false).then_some(false),
        "interface": settings.endpoint_type,
    }))
    .map_err(|error| {
        Diagnostic::error(
            "Could not read the provider block",
            format!("{error}. This is a bug in the provider; please report it with the log."),
        )
    })?;
    let cloud = settings.cloud.clone().or_else(|| variable("cloud"));
    match cloud {
        Some(cloud) => {
            let files = ConfigFile::new().map_err(|error| {
                Diagnostic::error(
                    "Could not read clouds.yaml",
                    format!("{error}. Correct the file."),
                )
                .at(Path::of("openstack.cloud"))
            })?;
            match files.get_cloud_config(&cloud) {
                Ok(Some(entry)) => given.update(&entry),
                _ => {
                    let mut known = files.get_available_clouds();
                    known.sort();
                    let known = match known.is_empty() {
                        true => "There is no clouds.yaml in this directory, in ~/.config/openstack or /etc/openstack".to_owned(),
                        false => format!("There are {}", known.join(", ")),
                    };
                    return Err(Diagnostic::error(
                        "clouds.yaml has no such entry",
                        format!("{known}. Name one of its entries in openstack.cloud or OS_CLOUD."),
                    )
                    .into());
                }
            }
        }
        None => given.update(&environment),
    }
    let auth = given.auth.get_or_insert_default();
    if auth.project_name.is_none() && auth.project_id.is_none() {
        auth.project_name = variable("tenant_name");
    }
    // An application credential is its own scope and its own method, wherever it came from.
    if given.auth_type.is_none() && auth.application_credential_id.is_some() {
        given.auth_type = Some("v3applicationcredential".to_owned());
    }
    if given.interface.is_none() {
        given.interface = Some(variable("endpoint_type").unwrap_or_else(|| "public".to_owned()));
    }
    Ok(given)
}

fn refused(auth_url: &str, error: &OpenStackError) -> Diagnostic {
    // The words of the SDK name services and URLs, never credentials.
    Diagnostic::error(
        "Could not log in to OpenStack",
        format!(
            "Keystone at {auth_url} answered: {error}. Check openstack.auth_url, the user, its domain and the project in the provider \
             block, or the OS_* variables and clouds.yaml where it leaves them out."
        ),
    )
}

fn unknown(setting: &Value) -> Diagnostics {
    let names: Vec<String> = match setting {
        Value::Map(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_wholly_known())
            .map(|(name, _)| format!("openstack.{name}"))
            .collect(),
        _ => vec!["openstack".to_owned()],
    };
    Diagnostic::error(
        "OpenStack is not configured yet",
        format!(
            "{} of the provider block is not known before other resources are applied. Apply those first with -target, or write a \
             literal.",
            names.join(", ")
        ),
    )
    .into()
}
