//! Who asks and where: the provider block, AWS's variables and files, and their account.
//!
//! In: `{ region = "eu-central-1", profile = "prod" }`. Out: one session for the life of a
//! configuration, and the scope that state records: `"123456789012/eu-central-1"`. With another
//! account every machine would look gone; STS GetCallerIdentity says it where nobody else has.

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
use tokio::sync::OnceCell;

use super::bounded::bounded;
use super::failure::asked;
use super::renewal::{Renewable, RetryExpired, WholeAnswers};
use super::settings::{Config, REGION_SAYS, SESSION_NAME, is_region};
use crate::http::{ENDPOINT_SAYS, is_endpoint, redacted, small_file};
use crate::provider::{Diagnostic, Diagnostics};
use crate::worker_group::cloud::tagging::Tagging;
use crate::worker_group::cloud::{Answered, CloudError, Kind, authority, or_variable};

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
    /// Ids that are ended, or were seen going: EC2 answers a repeated token with them as well.
    pub(super) ended: Mutex<HashSet<String>>,
}

impl Session {
    /// Dials nothing but what an assumed role or a metadata service needs.
    ///
    /// # Errors
    /// What is missing or wrong, and which attribute or variable would set it.
    pub(super) async fn open(config: Config) -> Result<Self, Diagnostics> {
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
        // Every client of an SDK has a type of its own for its settings.
        macro_rules! client {
            ($service:ident) => {
                $service::Client::from_conf(
                    $service::config::Builder::from(&sdk)
                        .interceptor(WholeAnswers)
                        .retry_classifier(again.clone())
                        .build(),
                )
            };
        }
        Ok(Self {
            ec2: client!(aws_sdk_ec2),
            elb: client!(aws_sdk_elasticloadbalancingv2),
            sts: client!(aws_sdk_sts),
            endpoint: sdk.endpoint_url().map(redacted),
            tagging: Tagging::of(config.default_tags.as_ref(), config.ignore_tags.as_ref()),
            region,
            account: OnceCell::new_with(config.account_id),
            ended: Mutex::default(),
        })
    }

    /// `"123456789012/eu-central-1"`.
    pub(super) async fn scope(&self) -> Answered<String> {
        const ASK: &str = "STS GetCallerIdentity";
        let ask = || async {
            let answer = asked(ASK, "the account", self.sts.get_caller_identity().send()).await;
            let account = answer.map_err(|error| self.unasked(error))?.account;
            account.ok_or_else(|| {
                let words = "without an account";
                CloudError::new(Kind::Unavailable, ASK, "the account", words)
            })
        };
        let account = self.account.get_or_try_init(ask).await?;
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

/// The SDK panics on an empty variable, and prints whole requests with one that is no URL.
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
fn renewable(config: &Config, sdk: SdkConfig) -> Result<(SdkConfig, RetryExpired), Diagnostics> {
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
    Ok((sdk, RetryExpired(renewable)))
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
    let names = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    let region = or_variable(config.region.clone(), &names);
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
    } else if names.into_iter().any(is_empty) {
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
    let mut files = Vec::new();
    for (name, listed) in [
        ("AWS_CONFIG_FILE", &config.shared_config_files),
        (
            "AWS_SHARED_CREDENTIALS_FILE",
            &config.shared_credentials_files,
        ),
    ] {
        let said = || std::env::var(name).into_iter().collect();
        files.extend(listed.clone().unwrap_or_else(said));
    }
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
    for path in config.shared_config_files.iter().flatten() {
        files = files.with_file(EnvConfigFileKind::Config, path);
    }
    for path in config.shared_credentials_files.iter().flatten() {
        files = files.with_file(EnvConfigFileKind::Credentials, path);
    }
    Some(files.build())
}

/// The SDK's own client knows neither proxies nor a CA of the user's.
fn http_client(config: &Config) -> Result<SharedHttpClient, Diagnostics> {
    let bundle = or_variable(config.ca_bundle.clone(), &["AWS_CA_BUNDLE"]);
    let mut store = tls::TrustStore::default();
    if let Some(path) = bundle {
        // Checked here: the SDK panics on what is no certificate.
        let summary = "Could not read the CA bundle for AWS";
        let sets = "aws.ca_bundle of the provider block, or AWS_CA_BUNDLE,";
        let pem = authority(&path, summary, sets)?;
        store = store.with_pem_certificate(pem);
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

/// Variables of endpoints of the services that are asked, by the SDK itself too.
const ENDPOINTS: [&str; 6] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_SSO_OIDC",
];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the engine's own limit, so that a silent call is made once more with the same token.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(25);
