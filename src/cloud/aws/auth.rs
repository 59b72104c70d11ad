//! Who asks and where: the attribute `aws` of the provider block, AWS's own variables and files, and the account behind them.
//!
//! In: `{ region = "eu-central-1", profile = "prod" }`. Out: one connected session for the life of a configuration, and the scope that
//! state records: `"123456789012/eu-central-1"`. The account is part of it, for with another account's credentials every machine
//! would look gone; it costs one STS GetCallerIdentity, which needs no permission, and only when nobody has said the account.

use std::collections::HashSet;
use std::path::Path as FsPath;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_ec2::config::{Credentials, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use futures::FutureExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::bounded::bounded;
use super::failure::fault;
use super::renewal::{Again, Renewable, WholeAnswers};
use super::tagging::{self, DefaultTags, IgnoreTags, Tagging};
use crate::http::{ENDPOINT_SAYS, is_endpoint, redacted, small_file};
use crate::provider::{
    Attribute, Diagnostic, Diagnostics, Model as _, Path, Type, Value, without_empty,
};
use crate::worker_group::cloud::{CloudError, Kind};

/// The attribute `aws` of the provider block.
pub(super) fn provider_schema() -> Attribute {
    let mut attributes = access();
    attributes.extend(tagging::attributes());
    Attribute::object(
        "aws",
        "Access to AWS. What is left out, or is an empty string, comes from AWS's own environment variables and files, as with its command \
         line.",
        attributes,
    )
    .optional()
    .check("", |aws, at| Diagnostics(keys_together(aws, at).into_iter().collect()))
}

fn access() -> Vec<Attribute> {
    vec![
            Attribute::string("region", "Region. Without it `AWS_REGION`, then the profile's.")
                .optional()
                .pattern(REGION_SAYS, is_region)
                .or_empty(),
            Attribute::string("profile", "Profile. Without it `AWS_PROFILE`, then `default`.").optional(),
            Attribute::string("access_key", "Access key id; `secret_key` goes with it. Without it `AWS_ACCESS_KEY_ID`, then the profile's.")
                .optional()
                .sensitive(),
            Attribute::string("secret_key", "Secret access key; `access_key` goes with it.")
                .optional()
                .sensitive(),
            Attribute::string("token", "Session token of temporary keys.").optional().sensitive(),
            Attribute::object(
                "assume_role",
                "A role to take on with those credentials.",
                vec![
                    Attribute::string("role_arn", "ARN of the role.").required().filled(),
                    Attribute::string("external_id", "External id that the role wants.").optional(),
                    Attribute::string("session_name", "Session name, for the account's logs.").default(SESSION_NAME),
                ],
            )
            .optional(),
            Attribute::string(
                "account_id",
                "Account that the credentials belong to, 12 digits; part of what state records. Without it STS is asked. Set it where STS \
                 cannot be reached.",
            )
            .optional()
            .pattern("12 digits", |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .or_empty(),
            Attribute::list("shared_config_files", "Files to read in place of `~/.aws/config`.", Type::String)
                .optional()
                .filled(),
            Attribute::list("shared_credentials_files", "Files to read in place of `~/.aws/credentials`.", Type::String)
                .optional()
                .filled(),
            Attribute::string(
                "endpoint",
                "URL of EC2, load balancing and STS. Without it `AWS_ENDPOINT_URL`, then the profile's, then Amazon's. The variable is refused \
                 when it is set to an empty string.",
            )
            .optional()
            .pattern(ENDPOINT_SAYS, is_endpoint)
            .or_empty(),
            Attribute::string(
                "ca_bundle",
                "File of PEM certificates that are trusted beside the system's. Without it `AWS_CA_BUNDLE`.",
            )
            .optional(),
            Attribute::number("max_retries", "Most retries of a call. Without it `AWS_MAX_ATTEMPTS`, then 2.")
                .optional()
                .range(0..=100),
    ]
}

/// Half a pair of keys; nothing while one of them is not known.
fn keys_together(aws: &Value, at: &Path) -> Option<Diagnostic> {
    let Value::Map(fields) = aws else {
        return None;
    };
    let is_set = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Some(false),
        Some(Value::String(text)) => Some(!text.is_empty()),
        Some(_) => None,
    };
    let missing = match (is_set("access_key")?, is_set("secret_key")?) {
        (true, false) => "secret_key",
        (false, true) => "access_key",
        _ => return None,
    };
    let detail =
        "aws.access_key and aws.secret_key of the provider block go together. Set both or none.";
    Some(Diagnostic::error("AWS keys are incomplete", detail).at(at.attribute(missing)))
}

/// What stands in a host name and in a signature.
fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The attribute `aws` of the provider block, as a struct. Holds secrets: no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    region: Option<String>,
    profile: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    token: Option<String>,
    assume_role: Option<AssumeRole>,
    account_id: Option<String>,
    shared_config_files: Option<Vec<String>>,
    shared_credentials_files: Option<Vec<String>>,
    endpoint: Option<String>,
    ca_bundle: Option<String>,
    max_retries: Option<u32>,
    default_tags: Option<DefaultTags>,
    ignore_tags: Option<IgnoreTags>,
}

#[derive(Clone, Serialize, Deserialize)]
struct AssumeRole {
    role_arn: String,
    external_id: Option<String>,
    session_name: Option<String>,
}

/// An open session: one for all groups of a configuration.
pub(super) struct Session {
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) elb: aws_sdk_elasticloadbalancingv2::Client,
    pub(super) region: String,
    pub(super) tagging: Tagging,
    sts: aws_sdk_sts::Client,
    /// The user's own, if any.
    pub(super) endpoint: Option<String>,
    account: OnceCell<String>,
    /// Ids that this process has ended, or has seen going: EC2 answers a repeated client token with them all the same.
    pub(super) ended: Mutex<HashSet<String>>,
}

impl Session {
    /// Reads configuration, variables and files; dials nothing but what an assumed role or a metadata service needs.
    ///
    /// # Errors
    /// What is missing or wrong, and which attribute or variable would set it.
    pub(super) async fn open(configuration: &Value) -> Result<Self, Diagnostics> {
        let config = Config::of(configuration)?;
        check_endpoints(|name| std::env::var_os(name).map(|url| url.to_string_lossy().into()))?;
        let (sdk, again) = renewable(&config, load(&config).await?)?;
        let region = sdk.region().map(ToString::to_string);
        let Some(region) = region.filter(|region| !region.is_empty()) else {
            return Err(Diagnostic::error(
                "AWS region is not set",
                "Neither the provider block, nor AWS_REGION, nor the profile names a region. Set aws.region of the provider block.",
            )
            .into());
        };
        if !is_region(&region) {
            return Err(Diagnostic::error(
                "AWS region has the wrong form",
                format!(
                    "The region of AWS_REGION or of the profile is {region:?}. Accepted: {REGION_SAYS}, such as eu-central-1."
                ),
            )
            .into());
        }
        Ok(Self {
            ec2: aws_sdk_ec2::Client::from_conf(
                aws_sdk_ec2::config::Builder::from(&sdk)
                    .interceptor(WholeAnswers)
                    .retry_classifier(again.clone())
                    .build(),
            ),
            elb: aws_sdk_elasticloadbalancingv2::Client::from_conf(
                aws_sdk_elasticloadbalancingv2::config::Builder::from(&sdk)
                    .interceptor(WholeAnswers)
                    .retry_classifier(again.clone())
                    .build(),
            ),
            sts: aws_sdk_sts::Client::from_conf(
                aws_sdk_sts::config::Builder::from(&sdk)
                    .interceptor(WholeAnswers)
                    .retry_classifier(again)
                    .build(),
            ),
            endpoint: sdk.endpoint_url().map(redacted),
            tagging: Tagging::of(config.default_tags.as_ref(), config.ignore_tags.as_ref()),
            region,
            account: OnceCell::new_with(config.account_id),
            ended: Mutex::default(),
        })
    }

    /// `"123456789012/eu-central-1"`.
    pub(super) async fn scope(&self) -> Result<String, CloudError> {
        let account = self
            .account
            .get_or_try_init(|| async {
                let answer = self.sts.get_caller_identity().send().await;
                let answer = answer.map_err(|error| {
                    self.unasked(fault("STS GetCallerIdentity", "the account", &error))
                })?;
                answer
                    .account()
                    .map(str::to_owned)
                    .ok_or_else(|| CloudError {
                        action: "STS GetCallerIdentity",
                        object: "the account".to_owned(),
                        kind: Kind::Unavailable,
                        message: "without an account".to_owned(),
                        attribute: None,
                        retry_after: None,
                    })
            })
            .await?;
        Ok(format!("{account}/{}", self.region))
    }

    /// Which attribute to look at: of an endpoint that does not answer, STS is not to blame.
    fn unasked(&self, error: CloudError) -> CloudError {
        let advice = match &self.endpoint {
            Some(endpoint) if error.kind == Kind::Unavailable => format!(
                "it was asked at {endpoint}, the endpoint of the provider block's aws or of AWS_ENDPOINT_URL"
            ),
            _ => {
                "aws.account_id of the provider block says the account where STS cannot".to_owned()
            }
        };
        CloudError {
            message: format!("{}; {advice}", error.message),
            ..error
        }
    }
}

impl Config {
    fn of(configuration: &Value) -> Result<Self, Diagnostics> {
        let aws = match configuration {
            Value::Map(configuration) => configuration.get("aws").unwrap_or(&Value::Null),
            _ => &Value::Null,
        };
        if !aws.is_wholly_known() {
            let names: Vec<String> = match aws {
                Value::Map(fields) => fields
                    .iter()
                    .filter(|(_, value)| !value.is_wholly_known())
                    .map(|(name, _)| format!("aws.{name}"))
                    .collect(),
                _ => vec!["aws".to_owned()],
            };
            return Err(Diagnostic::error(
                "AWS is not configured yet",
                format!(
                    "{} of the provider block is not known before other resources are applied. Apply those first with -target, or write \
                     a value that is known.",
                    names.join(", ")
                ),
            )
            .into());
        }
        let config = match aws {
            Value::Null => Self::default(),
            aws => Self::from_value(&without_empty(aws))?,
        };
        // They were unknown when the configuration was checked. Paths are of the resource that asks.
        match keys_together(aws, &Path::root()) {
            Some(problem) => Err(Diagnostic {
                path: None,
                ..problem
            }
            .into()),
            None => Ok(config),
        }
    }
}

/// The SDK panics on a variable that is set to nothing, and prints whole requests with one that is no URL.
///
/// # Errors
/// Such a variable.
pub(super) fn check_endpoints(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Diagnostics> {
    let is_wrong = |name: &&str| variable(name).is_some_and(|url| !is_endpoint(&url));
    match ENDPOINTS.iter().find(|name| is_wrong(name)) {
        None => Ok(()),
        Some(name) => Err(Diagnostic::error(
            "A variable of AWS is no URL",
            format!("Accepted for {name}: {ENDPOINT_SAYS}. Correct it, or unset it."),
        )
        .into()),
    }
}

/// The same, with credentials that are read anew when AWS says that they have ended.
fn renewable(config: &Config, sdk: SdkConfig) -> Result<(SdkConfig, Again), Diagnostics> {
    let config = config.clone();
    let read = move || {
        let config = config.clone();
        async move { load(&config).await.ok()?.credentials_provider() }.boxed()
    };
    let first = sdk.credentials_provider().ok_or_else(|| {
        Diagnostic::error(
            "AWS credentials are not set",
            "Set aws.profile or aws.access_key of the provider block, or AWS_PROFILE.",
        )
    })?;
    let renewable = Arc::new(Renewable::new(first, read));
    let provider: Arc<dyn ProvideCredentials> = renewable.clone();
    let sdk = sdk
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::from(provider))
        .identity_cache(IdentityCache::no_cache())
        .build();
    Ok((sdk, Again(renewable)))
}

async fn load(config: &Config) -> Result<SdkConfig, Diagnostics> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(config)?)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    // An empty variable is none; the SDK takes it at its word.
    let profile = config.profile.clone();
    let profile = profile.or_else(|| is_empty("AWS_PROFILE").then(|| "default".to_owned()));
    let region = config.region.clone().or_else(|| {
        let names = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let mut said = names.iter().filter_map(|name| std::env::var(name).ok());
        said.find(|region| !region.is_empty())
    });
    let mut profile_region = ProfileFileRegionProvider::builder();
    if let Some(profile) = &profile {
        loader = loader.profile_name(profile);
        profile_region = profile_region.profile_name(profile);
    }
    check_files(config)?;
    if let Some(files) = profile_files(config) {
        loader = loader.profile_files(files.clone());
        profile_region = profile_region.profile_files(files);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    } else if is_empty("AWS_REGION") || is_empty("AWS_DEFAULT_REGION") {
        loader = loader.region(profile_region.build());
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(retries) = config.max_retries {
        loader = loader.retry_config(RetryConfig::standard().with_max_attempts(retries + 1));
    }
    if let (Some(access_key), Some(secret_key)) = (&config.access_key, &config.secret_key) {
        loader = loader.credentials_provider(Credentials::new(
            access_key,
            secret_key,
            config.token.clone(),
            None,
            "the provider block",
        ));
    }
    let sdk = loader.load().await;
    let Some(role) = &config.assume_role else {
        return Ok(sdk);
    };
    let mut provider = AssumeRoleProvider::builder(&role.role_arn)
        .session_name(role.session_name.as_deref().unwrap_or(SESSION_NAME))
        .configure(&sdk);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    let provider = SharedCredentialsProvider::new(provider.build().await);
    Ok(sdk.into_builder().credentials_provider(provider).build())
}

fn is_empty(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// The SDK reads them whole, however long they are. That one is not there is for it to say.
fn check_files(config: &Config) -> Result<(), Diagnostics> {
    let named = |name: &str, listed: &Option<Vec<String>>| match listed {
        Some(files) => files.clone(),
        None => std::env::var(name).into_iter().collect(),
    };
    let mut files = named("AWS_CONFIG_FILE", &config.shared_config_files);
    files.extend(named(
        "AWS_SHARED_CREDENTIALS_FILE",
        &config.shared_credentials_files,
    ));
    for file in files.iter().filter(|file| FsPath::new(file).exists()) {
        if let Err(why) = small_file(file.as_ref()) {
            return Err(Diagnostic::error(
                "Could not read a file of AWS profiles",
                format!(
                    "{file}: {why}. Set aws.shared_config_files and aws.shared_credentials_files of the provider block, or AWS_CONFIG_FILE \
                     and AWS_SHARED_CREDENTIALS_FILE, to files of profiles."
                ),
            )
            .into());
        }
    }
    Ok(())
}

fn profile_files(config: &Config) -> Option<EnvConfigFiles> {
    if config.shared_config_files.is_none() && config.shared_credentials_files.is_none() {
        return None;
    }
    let mut files = EnvConfigFiles::builder()
        .include_default_config_file(config.shared_config_files.is_none())
        .include_default_credentials_file(config.shared_credentials_files.is_none());
    for (kind, paths) in [
        (EnvConfigFileKind::Config, &config.shared_config_files),
        (
            EnvConfigFileKind::Credentials,
            &config.shared_credentials_files,
        ),
    ] {
        for path in paths.iter().flatten() {
            files = files.with_file(kind, path);
        }
    }
    Some(files.build())
}

/// The SDK's own client knows neither proxies nor a CA of the user's.
fn http_client(config: &Config) -> Result<SharedHttpClient, Diagnostics> {
    let bundle = config
        .ca_bundle
        .clone()
        .or_else(|| std::env::var("AWS_CA_BUNDLE").ok())
        .filter(|path| !path.is_empty());
    let mut store = tls::TrustStore::default();
    if let Some(path) = bundle {
        store = store.with_pem_certificate(certificates(&path)?);
    }
    let context = tls::TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|error| Diagnostic::error("Could not set up TLS for AWS", format!("{error}.")))?;
    Ok(bounded(
        aws_smithy_http_client::Builder::new().build_with_connector_fn(
            move |settings, components| {
                let mut builder = Connector::builder().proxy_config(ProxyConfig::from_env());
                builder.set_connector_settings(settings.cloned());
                if let Some(components) = components {
                    builder.set_sleep_impl(components.sleep_impl());
                }
                builder
                    .tls_provider(tls::Provider::Rustls(
                        tls::rustls_provider::CryptoMode::AwsLc,
                    ))
                    .tls_context(context.clone())
                    .build()
            },
        ),
    ))
}

/// Checked here: the SDK panics on what is no certificate.
fn certificates(path: &str) -> Result<Vec<u8>, Diagnostics> {
    let refuse = |what: String| {
        Diagnostic::error(
            "Could not read the CA bundle for AWS",
            format!(
                "{path}: {what}. Set aws.ca_bundle of the provider block, or AWS_CA_BUNDLE, to a file of PEM certificates."
            ),
        )
    };
    let pem = small_file(path.as_ref()).map_err(refuse)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        rustls::RootCertStore::empty()
            .add(certificate)
            .map_err(|error| refuse(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(refuse("no certificate is in it".to_owned()).into());
    }
    Ok(pem)
}

const REGION_SAYS: &str = "Lower-case letters, digits and hyphens";
/// Variables of endpoints of the services that are asked, by the SDK itself too.
const ENDPOINTS: [&str; 6] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_SSO_OIDC",
];
const SESSION_NAME: &str = "terraform-provider-flatcar";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the engine's own limit for an answer, so that a silent call is made once more with the same client token.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(25);
