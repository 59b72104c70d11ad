//! What a user says about access to Azure: the attribute `azure` of the provider block, as schema
//! and as struct.
//!
//! In: `{ subscription_id = "…", use_oidc = true }`. Out: a struct in which nothing is empty; what
//! it does not say comes from the variables that azurerm reads. See: the provider azurerm,
//! "Authenticating to Azure".

use reqwest::Url;
use serde::Deserialize;

use crate::http::{ENDPOINT_SAYS, is_endpoint};
use crate::provider::{Attribute, Diagnostic};
use crate::worker_group::cloud::or_variable;

/// The attribute `azure` of the provider block; names are those of azurerm.
pub(super) fn provider_schema() -> Attribute {
    let text = |name, says: &str, variables: &[&str]| {
        Attribute::string(name, says)
            .environment(variables, "")
            .optional()
    };
    let flag = |name, says: &str, variables: &[&str], then: &str| {
        Attribute::bool(name, says)
            .environment(variables, then)
            .optional()
    };
    let url = |name, says: &str, variables: &[&str], then: &str| {
        let url = Attribute::string(name, says)
            .environment(variables, then)
            .optional();
        url.pattern(ENDPOINT_SAYS, is_endpoint).or_empty()
    };
    Attribute::object(
        "azure",
        "Access to Azure. What is not set here, or is an empty string, comes from the `ARM_*` variables. The first of these that is complete logs \
         in, as in azurerm: a client certificate, a client secret, an OIDC token, an OIDC token that is asked for, a managed identity, the \
         Azure CLI.",
        vec![
            Attribute::string("subscription_id", "Subscription.").environment(&["ARM_SUBSCRIPTION_ID"], "the Azure CLI's").optional(),
            text("tenant_id", "Tenant.", &["ARM_TENANT_ID"]),
            text("client_id", "Client (application) id.", &["ARM_CLIENT_ID"]),
            text("client_secret", "Secret of the client.", &["ARM_CLIENT_SECRET"]).sensitive(),
            text("client_secret_file_path", "File with the secret of the client.", &["ARM_CLIENT_SECRET_FILE_PATH"]),
            text("client_certificate", "Certificate of the client and its private key, in PEM.", &["ARM_CLIENT_CERTIFICATE"]).sensitive(),
            text(
                "client_certificate_path",
                "File with the certificate of the client and its private key, in PEM",
                &["ARM_CLIENT_CERTIFICATE_PATH"],
            ),
            flag("use_oidc", "Whether an OIDC token logs in.", &["ARM_USE_OIDC"], "`false`"),
            text("oidc_token", "OIDC token.", &["ARM_OIDC_TOKEN"]).sensitive(),
            text("oidc_token_file_path", "File with an OIDC token; read at each login.", &["ARM_OIDC_TOKEN_FILE_PATH"]),
            text(
                "oidc_request_url",
                "URL where the system that runs this gives OIDC tokens.",
                &["ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL"],
            ),
            text(
                "oidc_request_token",
                "Token that lets in there.",
                &["ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"],
            )
            .sensitive(),
            flag(
                "use_aks_workload_identity",
                "Whether the workload identity of a pod on AKS logs in, by `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_CLIENT_ID` and \
                 `AZURE_TENANT_ID`.",
                &["ARM_USE_AKS_WORKLOAD_IDENTITY"],
                "`false`",
            ),
            flag("use_msi", "Whether the managed identity of this machine logs in.", &["ARM_USE_MSI"], "`false`"),
            url("msi_endpoint", "URL that gives the tokens of managed identities.", &["ARM_MSI_ENDPOINT"], "Azure's own"),
            flag("use_cli", "Whether the Azure CLI logs in, where nothing else does.", &["ARM_USE_CLI"], "`true`"),
            Attribute::string("environment", "Azure's cloud.").environment(&["ARM_ENVIRONMENT"], "`public`")
                .optional()
                .one_of(ENVIRONMENTS.map(|known| known.name))
                .or_empty(),
            url("resource_manager_endpoint", "URL of Resource Manager", &["ARM_ENDPOINT"], "the environment's"),
            url("authority_host", "URL of Entra ID", &["AZURE_AUTHORITY_HOST"], "the environment's"),
            Attribute::string("ca_file", "File of PEM certificates that are trusted beside the system's.").optional(),
        ],
    )
    .optional()
}

/// The attribute, as a struct. Holds secrets: no `Debug`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) subscription_id: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<String>,
    pub(super) client_secret_file_path: Option<String>,
    pub(super) client_certificate: Option<String>,
    pub(super) client_certificate_path: Option<String>,
    pub(super) use_oidc: Option<bool>,
    pub(super) oidc_token: Option<String>,
    pub(super) oidc_token_file_path: Option<String>,
    pub(super) oidc_request_url: Option<String>,
    pub(super) oidc_request_token: Option<String>,
    pub(super) use_aks_workload_identity: Option<bool>,
    pub(super) use_msi: Option<bool>,
    pub(super) msi_endpoint: Option<String>,
    pub(super) use_cli: Option<bool>,
    environment: Option<String>,
    resource_manager_endpoint: Option<String>,
    authority_host: Option<String>,
    pub(super) ca_file: Option<String>,
}

impl Config {
    /// With the variables where it says nothing.
    pub(super) fn whole(self) -> Self {
        let flag = |set: Option<bool>, variable| {
            let said = || or_variable(None, &[variable]);
            set.or_else(|| Some(matches!(&*said()?.to_ascii_lowercase(), "true" | "1")))
        };
        let pod = flag(
            self.use_aks_workload_identity,
            "ARM_USE_AKS_WORKLOAD_IDENTITY",
        );
        let of_pod = |variable: &'static str| match pod {
            Some(true) => or_variable(None, &[variable]),
            _ => None,
        };
        let text = |set: Option<String>, variable| or_variable(set, &[variable]);
        Self {
            subscription_id: text(self.subscription_id, "ARM_SUBSCRIPTION_ID"),
            tenant_id: text(self.tenant_id, "ARM_TENANT_ID").or_else(|| of_pod("AZURE_TENANT_ID")),
            client_id: text(self.client_id, "ARM_CLIENT_ID").or_else(|| of_pod("AZURE_CLIENT_ID")),
            client_secret: text(self.client_secret, "ARM_CLIENT_SECRET"),
            client_secret_file_path: text(
                self.client_secret_file_path,
                "ARM_CLIENT_SECRET_FILE_PATH",
            ),
            client_certificate: text(self.client_certificate, "ARM_CLIENT_CERTIFICATE"),
            client_certificate_path: text(
                self.client_certificate_path,
                "ARM_CLIENT_CERTIFICATE_PATH",
            ),
            use_oidc: flag(self.use_oidc, "ARM_USE_OIDC"),
            oidc_token: text(self.oidc_token, "ARM_OIDC_TOKEN"),
            oidc_token_file_path: text(self.oidc_token_file_path, "ARM_OIDC_TOKEN_FILE_PATH")
                .or_else(|| of_pod("AZURE_FEDERATED_TOKEN_FILE")),
            oidc_request_url: or_variable(
                self.oidc_request_url,
                &["ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL"],
            ),
            oidc_request_token: or_variable(
                self.oidc_request_token,
                &["ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"],
            ),
            use_aks_workload_identity: pod,
            use_msi: flag(self.use_msi, "ARM_USE_MSI"),
            msi_endpoint: text(self.msi_endpoint, "ARM_MSI_ENDPOINT"),
            use_cli: flag(self.use_cli, "ARM_USE_CLI"),
            environment: text(self.environment, "ARM_ENVIRONMENT"),
            resource_manager_endpoint: text(self.resource_manager_endpoint, "ARM_ENDPOINT"),
            authority_host: text(self.authority_host, "AZURE_AUTHORITY_HOST"),
            ca_file: self.ca_file,
        }
    }

    /// Resource Manager, Entra ID, and whom tokens are for.
    pub(super) fn places(&self) -> Result<(Url, Url, String), Diagnostic> {
        let named = self.environment.as_deref().unwrap_or("public");
        let found = ENVIRONMENTS.iter().find(|known| known.name == named);
        let environment = found.ok_or_else(|| {
            let known = ENVIRONMENTS.map(|known| known.name).join(", ");
            let detail = format!("ARM_ENVIRONMENT is {named:?}. Set it to one of {known}.");
            Diagnostic::error("Azure has no such environment", detail)
        })?;
        let manager = self.resource_manager_endpoint.as_deref();
        let manager = safe(
            manager.unwrap_or(environment.manager),
            "azure.resource_manager_endpoint or ARM_ENDPOINT",
        )?;
        let authority = self
            .authority_host
            .as_deref()
            .unwrap_or(environment.authority);
        let authority = safe(authority, "azure.authority_host or AZURE_AUTHORITY_HOST")?;
        Ok((manager, authority, environment.manager.to_owned()))
    }
}

/// A URL that a secret may be sent to: https, or this machine, or its metadata service. It is not
/// told: there may be a password in it.
pub(super) fn safe(text: &str, sets: &str) -> Result<Url, Diagnostic> {
    let url: Option<Url> = text
        .parse()
        .ok()
        .filter(|url: &Url| url.username().is_empty() && url.password().is_none());
    let is_safe = |url: &Url| {
        let host = url.host_str().unwrap_or_default();
        let is_near = ["127.0.0.1", "[::1]", "localhost", "169.254.169.254"].contains(&host);
        url.scheme() == "https" || (url.scheme() == "http" && is_near)
    };
    url.filter(is_safe).ok_or_else(|| {
        let detail = format!("Tokens are sent by https only, unless it is to this machine. Set {sets} to a URL that begins with https://, without user and password.");
        Diagnostic::error("URL of Azure cannot be used", detail)
    })
}

struct Environment {
    name: &'static str,
    manager: &'static str,
    authority: &'static str,
}

const ENVIRONMENTS: [Environment; 3] = [
    Environment {
        name: "public",
        manager: "https://management.azure.com/",
        authority: "https://login.microsoftonline.com/",
    },
    Environment {
        name: "usgovernment",
        manager: "https://management.usgovcloudapi.net/",
        authority: "https://login.microsoftonline.us/",
    },
    Environment {
        name: "china",
        manager: "https://management.chinacloudapi.cn/",
        authority: "https://login.chinacloudapi.cn/",
    },
];
