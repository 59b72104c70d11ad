//! Kinds of credentials, and how each logs in: by its own way, then as other service accounts.
//!
//! In: a file of credentials in JSON. Out: what stands in the header `authorization`. Every
//! endpoint that gets a secret speaks https, or is on this machine. See: RFC 7523 (service
//! accounts), RFC 6749 section 6 (users), RFC 8693 (workload identity federation), Google's
//! AIP-4110 to AIP-4117, and IAM Service Account Credentials API `generateAccessToken`.

use std::time::{Duration, SystemTime};

use reqwest::Url;
use serde_json::{Map, Value as Json, json};

use super::subject::{Subject, Wrong, text, url_of};
use crate::http::api::{Answer, Call, Client};
use crate::http::jwt::Key;
use crate::http::rest::Failure;
use crate::protocol::visible::{cut, one_line};

/// Who logs in, and as whom in the end. Holds secrets: no `Debug`.
pub(super) struct Credential {
    way: Way,
    /// That of a key file.
    pub(super) project: Option<String>,
    /// Service accounts to act as, one after the other.
    acts: Vec<Act>,
}

enum Way {
    Token(String),
    Key {
        email: String,
        key: Key,
        key_id: Option<String>,
        token_uri: Url,
    },
    User {
        fields: Vec<(&'static str, String)>,
        token_uri: Url,
    },
    Federated {
        fields: Vec<(&'static str, String)>,
        token_url: Url,
        subject: Subject,
    },
    Metadata(Url),
}

struct Act {
    url: Url,
    delegates: Vec<String>,
}

impl Credential {
    fn new(way: Way) -> Self {
        Self {
            way,
            project: None,
            acts: Vec::new(),
        }
    }

    pub(super) fn of_token(token: String) -> Self {
        Self::new(Way::Token(token))
    }

    /// The metadata server of a machine at Google. It is asked in the clear, within that machine.
    pub(super) fn of_metadata(host: &str) -> Result<Self, Wrong> {
        let url = format!("http://{host}/{METADATA_PATH}").parse();
        let url = url.map_err(|_| "it is no name of a host".to_owned())?;
        Ok(Self::new(Way::Metadata(url)))
    }

    /// Of the contents of a file.
    pub(super) fn of_file(text: &str) -> Result<Self, Wrong> {
        let file: Json = serde_json::from_str(text).map_err(|_| "it is no JSON".to_owned())?;
        Self::of_json(&file, 0)
    }

    fn of_json(file: &Json, depth: usize) -> Result<Self, Wrong> {
        let text = |name: &str| text(file, name);
        let url = |name: &str| url_of(&text(name)?, name);
        let token_uri = || url_of(file["token_uri"].as_str().unwrap_or(TOKEN_URI), "token_uri");
        match file["type"].as_str().unwrap_or_default() {
            "service_account" => {
                let key = Key::from_pem(&text("private_key")?);
                let way = Way::Key {
                    email: text("client_email")?,
                    key: key.map_err(|why| format!("its private_key: {why}"))?,
                    key_id: text("private_key_id").ok(),
                    token_uri: token_uri()?,
                };
                Ok(Self {
                    project: text("project_id").ok(),
                    ..Self::new(way)
                })
            }
            "authorized_user" => Ok(Self::new(Way::User {
                fields: vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", text("client_id")?),
                    ("client_secret", text("client_secret")?),
                    ("refresh_token", text("refresh_token")?),
                ],
                token_uri: token_uri()?,
            })),
            "impersonated_service_account" if depth < MOST_DEPTH => {
                let mut source = Self::of_json(&file["source_credentials"], depth + 1)?;
                let delegates = file["delegates"].as_array().into_iter().flatten();
                let delegates = delegates.filter_map(|one| one.as_str().map(str::to_owned));
                source.acts.push(Act {
                    url: url(IMPERSONATION)?,
                    delegates: delegates.collect(),
                });
                Ok(source)
            }
            "external_account" => {
                let fields = vec![
                    ("grant_type", EXCHANGE.to_owned()),
                    ("audience", text("audience")?),
                    ("scope", SCOPE.to_owned()),
                    ("requested_token_type", ACCESS_TOKEN.to_owned()),
                    ("subject_token_type", text("subject_token_type")?),
                ];
                let mut credential = Self::new(Way::Federated {
                    fields,
                    token_url: url("token_url")?,
                    subject: Subject::of(&file["credential_source"])?,
                });
                if file[IMPERSONATION].is_string() {
                    credential.acts.push(Act {
                        url: url(IMPERSONATION)?,
                        delegates: Vec::new(),
                    });
                }
                Ok(credential)
            }
            "" => Err("it has no type".to_owned()),
            _ => Err(format!(
                "its type is none of those that log in here: {KINDS}"
            )),
        }
    }

    /// Acts as a service account in the end. `place` is where IAM is.
    pub(super) fn act_as(
        &mut self,
        place: &str,
        email: &str,
        delegates: Vec<String>,
    ) -> Result<(), Wrong> {
        let place = place.trim_end_matches('/');
        let url = format!("{place}/projects/-/serviceAccounts/{email}:generateAccessToken");
        let url = url_of(&url, "the URL of IAM")?;
        self.acts.push(Act { url, delegates });
        Ok(())
    }

    /// What stands in the header `authorization`.
    ///
    /// # Errors
    /// Somebody does not answer, or refuses.
    pub(super) async fn bearer(&self, client: &Client) -> Result<String, Failure> {
        let mut token = self.token(client).await?;
        for act in &self.acts {
            let account = |email: &String| format!("projects/-/serviceAccounts/{email}");
            let delegates: Vec<String> = act.delegates.iter().map(account).collect();
            let body = json!({"scope": [SCOPE], "lifetime": "3600s", "delegates": delegates});
            let call = Call::post("", body).repeatable();
            let call = call.header("authorization", format!("Bearer {token}"));
            token = token_of(&client.send(&act.url, &call).await?, "accessToken")?;
        }
        Ok(format!("Bearer {token}"))
    }

    async fn token(&self, client: &Client) -> Result<String, Failure> {
        let (url, call) = match &self.way {
            Way::Token(token) => return Ok(token.clone()),
            Way::Key {
                email,
                key,
                key_id,
                token_uri,
            } => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = since.unwrap_or_default().as_secs();
                let claims = json!({
                    "iss": email, "scope": SCOPE, "aud": token_uri.as_str(), "iat": now, "exp": now + LIFETIME.as_secs(),
                });
                let mut head = Map::new();
                head.extend(key_id.clone().map(|id| ("kid".to_owned(), id.into())));
                let assertion = key.sign(head, &claims);
                let assertion = assertion.map_err(|why| Failure::Impossible(why.to_owned()))?;
                let fields = vec![("grant_type", BY_KEY.to_owned()), ("assertion", assertion)];
                (token_uri, Call::form("", fields))
            }
            Way::User { fields, token_uri } => (token_uri, Call::form("", fields.clone())),
            Way::Federated {
                fields,
                token_url,
                subject,
            } => {
                let mut fields = fields.clone();
                fields.push(("subject_token", subject.token(client).await?));
                (token_url, Call::form("", fields))
            }
            Way::Metadata(url) => {
                let call = Call::get("").query("scopes", SCOPE);
                let answer = client.send(url, &call.header(FLAVOR, GOOGLE)).await?;
                // Whoever answers to this name elsewhere is somebody else.
                return match answer.header(FLAVOR) {
                    Some(GOOGLE) => token_of(&answer, "access_token"),
                    _ => Err(Failure::NotSent(
                        "nothing: it is no metadata server".to_owned(),
                    )),
                };
            }
        };
        token_of(&client.send(url, &call).await?, "access_token")
    }

    /// Whether another try may come to something else. Where there is no metadata server, there is
    /// none a moment later.
    pub(super) fn may_pass(&self, failure: &Failure) -> bool {
        let is_nowhere = matches!(
            (&self.way, failure),
            (Way::Metadata(_), Failure::NotSent(_))
        );
        failure.is_passing() && !is_nowhere
    }

    /// What a login was answered with, and what to do.
    pub(super) fn refusal(&self, failure: &Failure) -> String {
        let words = failure.to_string();
        let answered = cut(&one_line(&words), WORDS_CHARS).into_owned();
        let (who, advice) = match &self.way {
            Way::Metadata(url) => {
                let host = url.host_str().unwrap_or_default();
                return format!(
                    "No credentials are set, and the metadata server at {host}, where machines at Google find some, answered {answered}. Set \
                     gcp.credentials of the provider block or GOOGLE_CREDENTIALS, or run gcloud auth application-default login."
                );
            }
            Way::Token(_) => (
                "the access token",
                "Set another gcp.access_token, or GOOGLE_OAUTH_ACCESS_TOKEN.",
            ),
            Way::Key { .. } => (
                "the service account's key",
                "Look whether the key was deleted or has expired, and whether the clock is right.",
            ),
            Way::User { .. } => (
                "the user's credentials",
                "Run gcloud auth application-default login again.",
            ),
            Way::Federated { .. } => (
                "workload identity federation",
                "Look at the provider's audience and conditions, and at credential_source.",
            ),
        };
        let acts = match self.acts.is_empty() {
            true => "",
            false => {
                " Acting as a service account takes roles/iam.serviceAccountTokenCreator on it."
            }
        };
        format!("The login by {who} was answered {answered}. {advice}{acts}")
    }
}

/// What a token endpoint has answered; its words for a refusal are OAuth's. See: RFC 6749 section
/// 5.2.
fn token_of(answer: &Answer, key: &str) -> Result<String, Failure> {
    let said: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let (400.., Some(error)) = (answer.status, said["error"].as_str()) {
        let more = said["error_description"].as_str().unwrap_or_default();
        return Err(Failure::Refused {
            status: answer.status,
            words: format!("{error}: {more}"),
            retry_after: None,
        });
    }
    answer.json()?;
    let token = said[key].as_str().filter(|token| !token.is_empty());
    token
        .map(str::to_owned)
        .ok_or_else(|| Failure::Lost(format!("{} with no token", answer.status)))
}

pub(super) const IAM: &str = "https://iamcredentials.googleapis.com/v1";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const METADATA_PATH: &str = "computeMetadata/v1/instance/service-accounts/default/token";
const FLAVOR: &str = "metadata-flavor";
const GOOGLE: &str = "Google";
const BY_KEY: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const IMPERSONATION: &str = "service_account_impersonation_url";
const KINDS: &str =
    "service_account, authorized_user, impersonated_service_account, external_account";
/// The longest that Google takes.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// One that acts as another, on top of one: no more is written by any tool.
const MOST_DEPTH: usize = 3;
const WORDS_CHARS: usize = 400;
