//! Logging in at Entra ID, in azurerm's order: certificate, secret, OIDC token, OIDC token that is
//! asked for, managed identity, CLI.
//!
//! In: a [`Config`]. Out: who logs in, and a token for Resource Manager; or what is missing, with
//! the attribute and the variable that would set it. See: Microsoft identity platform, "client
//! credentials flow"; Azure Instance Metadata Service, `2018-02-01`.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::settings::{Config, safe};
use crate::http::api::{Call, Client};
use crate::http::jwt::Key;
use crate::http::rest::{self, Failure};
use crate::http::token::Fresh;
use crate::http::{of_home, small_file};
use crate::provider::{Diagnostic, Diagnostics};

/// How to log in. Holds secrets: no `Debug`.
pub(super) struct Login {
    way: Way,
    authority: Url,
    tenant: String,
    client_id: Option<String>,
    /// Whom the token is for: `"https://management.azure.com/"`.
    audience: String,
    /// Whose token the CLI gives.
    subscription: Option<String>,
}

enum Way {
    Certificate { key: Key, thumbprint: String },
    Secret(String),
    Token(String),
    TokenFile(String),
    Asked { url: Url, bearer: String },
    Managed(Url),
    Cli,
}

/// A token, and the subscription that the CLI is set to.
pub(super) struct Entered {
    pub(super) token: Fresh,
    pub(super) subscription: Option<String>,
}

impl From<Entered> for Fresh {
    fn from(entered: Entered) -> Self {
        entered.token
    }
}

impl Login {
    /// The first way that is complete. Asks nobody.
    pub(super) fn of(
        config: &Config,
        authority: Url,
        audience: String,
    ) -> Result<Self, Diagnostics> {
        let way = way(config)?;
        let by_client = !matches!(way, Way::Managed(_) | Way::Cli);
        let mut missing = Vec::new();
        if by_client && config.tenant_id.is_none() {
            missing.push("the tenant (azure.tenant_id of the provider block, or ARM_TENANT_ID)");
        }
        if by_client && config.client_id.is_none() {
            missing.push("the client (azure.client_id of the provider block, or ARM_CLIENT_ID)");
        }
        if !matches!(way, Way::Cli) && config.subscription_id.is_none() {
            missing.push("the subscription (azure.subscription_id of the provider block, or ARM_SUBSCRIPTION_ID)");
        }
        if !missing.is_empty() {
            let detail = format!("What is missing: {}. Set it.", missing.join("; "));
            return Err(Diagnostic::error("Azure is not configured", detail).into());
        }
        Ok(Self {
            way,
            authority,
            tenant: config.tenant_id.clone().unwrap_or_default(),
            client_id: config.client_id.clone(),
            audience,
            subscription: config.subscription_id.clone(),
        })
    }

    /// What to look at where it is refused.
    pub(super) fn check(&self) -> &'static str {
        match self.way {
            Way::Certificate { .. } => {
                "Check azure.client_certificate and its path, azure.client_id and azure.tenant_id, or the ARM_* variables."
            }
            Way::Secret(_) => {
                "Check azure.client_id, azure.client_secret and azure.tenant_id, or the ARM_* variables, and whether the secret has expired."
            }
            Way::Token(_) | Way::TokenFile(_) | Way::Asked { .. } => {
                "Check azure.client_id, azure.tenant_id and azure.oidc_*, or the ARM_* variables, and the federated credential of the application."
            }
            Way::Managed(_) => {
                "Check that this machine has a managed identity, and azure.client_id or ARM_CLIENT_ID where it has several."
            }
            Way::Cli => {
                "Run az login; or set azure.client_id with azure.client_secret, azure.client_certificate, azure.use_oidc or azure.use_msi (or the ARM_* variables)."
            }
        }
    }

    /// Logs in.
    pub(super) async fn enter(&self, client: &Client) -> Result<Entered, Failure> {
        let assertion = match &self.way {
            Way::Cli => return self.ask_cli().await,
            Way::Managed(url) => return self.ask_machine(client, url).await,
            Way::Secret(secret) => {
                return self
                    .ask(client, vec![("client_secret", secret.clone())])
                    .await;
            }
            Way::Certificate { key, thumbprint } => self.signed(key, thumbprint)?,
            Way::Token(token) => token.clone(),
            Way::TokenFile(path) => {
                file(path).map_err(|why| impossible(&format!("{path}: {why}")))?
            }
            Way::Asked { url, bearer } => {
                let call = Call::get("").query("audience", FEDERATED);
                let call = call.header("authorization", format!("Bearer {bearer}"));
                let answer = client.send(url, &call).await?.json()?;
                answer["value"]
                    .as_str()
                    .ok_or_else(|| Failure::Lost("no token".to_owned()))?
                    .to_owned()
            }
        };
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned();
        self.ask(
            client,
            vec![
                ("client_assertion_type", kind),
                ("client_assertion", assertion),
            ],
        )
        .await
    }

    async fn ask(
        &self,
        client: &Client,
        credential: Vec<(&'static str, String)>,
    ) -> Result<Entered, Failure> {
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", self.client_id.clone().unwrap_or_default()),
            ("scope", format!("{}.default", self.audience)),
        ];
        form.extend(credential);
        let call = Call::form(format!("{}/oauth2/v2.0/token", self.tenant), form);
        let answer = client.send(&self.authority, &call).await?;
        let said: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        match said["error_description"].as_str() {
            Some(words) if answer.status >= 400 => Err(Failure::Refused {
                status: answer.status,
                // What follows are ids of this request.
                words: words
                    .split(" Trace ID")
                    .next()
                    .unwrap_or_default()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(500)
                    .collect(),
                retry_after: None,
            }),
            _ => entered(&answer.json()?),
        }
    }

    async fn ask_machine(&self, client: &Client, url: &Url) -> Result<Entered, Failure> {
        let call = Call::get("")
            .query("api-version", "2018-02-01")
            .query("resource", &self.audience);
        let call = call
            .queries("client_id", self.client_id.as_ref())
            .header("metadata", "true");
        entered(&client.send(url, &call).await?.json()?)
    }

    /// `az account get-access-token`.
    async fn ask_cli(&self) -> Result<Entered, Failure> {
        let mut command = Command::new("az");
        command.args([
            "account",
            "get-access-token",
            "--output",
            "json",
            "--resource",
            self.audience.as_str(),
        ]);
        match (&self.subscription, self.tenant.as_str()) {
            (Some(subscription), _) => command.args(["--subscription", subscription.as_str()]),
            (None, "") => &mut command,
            (None, tenant) => command.args(["--tenant", tenant]),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|_| impossible("the program az is not installed, or cannot be run"))?;
        let out = child.stdout.take();
        let said = async {
            let mut said = Vec::new();
            if let Some(out) = out {
                let _ = out.take(CLI_BYTES).read_to_end(&mut said).await;
            }
            (said, child.wait().await)
        };
        let (said, ended) = timeout(CLI_PATIENCE, said)
            .await
            .map_err(|_| impossible("az does not come to an end"))?;
        match ended {
            Ok(status) if status.success() => entered(&rest::read(200, None, &said)?),
            _ => Err(impossible("az account get-access-token failed")),
        }
    }

    /// What a certificate proves that its key is here with.
    fn signed(&self, key: &Key, thumbprint: &str) -> Result<String, Failure> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let path = format!("{}/oauth2/v2.0/token", self.tenant);
        let audience = self
            .authority
            .join(&path)
            .map_err(|_| impossible("the tenant is none"))?;
        let mut id = [0; 16];
        rustls::crypto::aws_lc_rs::default_provider()
            .secure_random
            .fill(&mut id)
            .map_err(|_| impossible("no random numbers"))?;
        let claims = json!({
            "aud": audience.as_str(), "iss": self.client_id, "sub": self.client_id,
            "jti": URL_SAFE_NO_PAD.encode(id), "nbf": now.saturating_sub(60), "exp": now + 600,
        });
        let head = Map::from_iter([("x5t#S256".to_owned(), json!(thumbprint))]);
        key.sign(head, &claims).map_err(impossible)
    }
}

fn way(config: &Config) -> Result<Way, Diagnostics> {
    let said = |text: &Option<String>, path: &Option<String>, sets: &str| match (text, path) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(path)) => file(path).map(Some).map_err(|why| {
            let detail = format!("{path}: {why}. Correct {sets}.");
            Diagnostic::error("Could not read a credential of Azure", detail)
        }),
        (None, None) => Ok(None),
    };
    let certificate = said(
        &config.client_certificate,
        &config.client_certificate_path,
        "azure.client_certificate_path or ARM_CLIENT_CERTIFICATE_PATH",
    )?;
    if let Some(pem) = certificate {
        return certified(&pem);
    }
    let secret = said(
        &config.client_secret,
        &config.client_secret_file_path,
        "azure.client_secret_file_path or ARM_CLIENT_SECRET_FILE_PATH",
    )?;
    if let Some(secret) = secret {
        return Ok(Way::Secret(secret));
    }
    if config.use_oidc == Some(true) || config.use_aks_workload_identity == Some(true) {
        return match (&config.oidc_token, &config.oidc_token_file_path, &config.oidc_request_url, &config.oidc_request_token) {
            (Some(token), ..) => Ok(Way::Token(token.clone())),
            (_, Some(path), ..) => Ok(Way::TokenFile(path.clone())),
            (_, _, Some(url), Some(bearer)) => Ok(Way::Asked {
                url: safe(url, "azure.oidc_request_url or ARM_OIDC_REQUEST_URL")?,
                bearer: bearer.clone(),
            }),
            _ => Err(Diagnostic::error(
                "Azure is not configured",
                "OIDC is to log in, and there is no token. Set azure.oidc_token (or ARM_OIDC_TOKEN), azure.oidc_token_file_path (or \
                 ARM_OIDC_TOKEN_FILE_PATH; on AKS AZURE_FEDERATED_TOKEN_FILE), or azure.oidc_request_url with azure.oidc_request_token (or \
                 ARM_OIDC_REQUEST_URL with ARM_OIDC_REQUEST_TOKEN).",
            )
            .into()),
        };
    }
    if config.use_msi == Some(true) {
        let url = config.msi_endpoint.as_deref().unwrap_or(METADATA);
        return Ok(Way::Managed(safe(
            url,
            "azure.msi_endpoint or ARM_MSI_ENDPOINT",
        )?));
    }
    match config.use_cli {
        Some(false) => Err(Diagnostic::error(
            "Azure is not configured",
            "Nobody logs in. Set azure.client_id with azure.client_secret, azure.client_certificate or azure.use_oidc, or set azure.use_msi or \
             azure.use_cli (or the ARM_* variables of these names).",
        )
        .into()),
        _ => Ok(Way::Cli),
    }
}

fn certified(pem: &str) -> Result<Way, Diagnostics> {
    let refused = |why: &str| {
        let detail = format!(
            "{why}. Set azure.client_certificate or azure.client_certificate_path (or ARM_CLIENT_CERTIFICATE, ARM_CLIENT_CERTIFICATE_PATH) to PEM \
             with certificate and private key; openssl pkcs12 -in client.pfx -nodes -out client.pem makes it of a PKCS#12 file."
        );
        Diagnostics::from(Diagnostic::error(
            "Client certificate cannot be used",
            detail,
        ))
    };
    let key = Key::from_pem(pem).map_err(refused)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| refused("it holds no certificate in PEM"))?;
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
    Ok(Way::Certificate { key, thumbprint })
}

/// What a small file says, without the ends of its lines.
fn file(path: &str) -> Result<String, String> {
    // A PKCS#12 is no text: what is none of it is told by who needs it.
    Ok(String::from_utf8_lossy(&small_file(&of_home(path))?)
        .trim()
        .to_owned())
}

fn impossible(why: &str) -> Failure {
    Failure::Impossible(why.to_owned())
}

/// An answer of Entra ID, of the metadata service or of the CLI.
fn entered(answer: &Json) -> Result<Entered, Failure> {
    let text = |key: &str| answer[key].as_str().filter(|text| !text.is_empty());
    let token = text("access_token").or(text("accessToken"));
    let token = token.ok_or_else(|| Failure::Lost("an answer without a token".to_owned()))?;
    let number = |key: &str| answer[key].as_u64().or(text(key)?.parse().ok());
    let at = || {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()?
            .as_secs();
        Some(number("expires_on")?.saturating_sub(now))
    };
    let life = number("expires_in")
        .or_else(at)
        .map(|life| Duration::from_secs(life.min(LONGEST)));
    Ok(Entered {
        token: Fresh {
            text: format!("Bearer {token}"),
            until: life.map(|life| Instant::now() + life.saturating_sub(BEFORE.min(life / 2))),
        },
        subscription: text("subscription").map(str::to_owned),
    })
}

const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// Whom a token is for that another system gives, and Entra ID takes.
const FEDERATED: &str = "api://AzureADTokenExchange";
const CLI_BYTES: u64 = 1024 * 1024;
/// The CLI is written in Python, and asks Entra ID.
const CLI_PATIENCE: Duration = Duration::from_secs(40);
/// So long before its end a token is had anew.
const BEFORE: Duration = Duration::from_secs(300);
const LONGEST: u64 = 86_400;
