//! Resource Manager as we use it: one login, calls, pages and long-running operations. What
//! refusals mean is in `failure`.
//!
//! In: `Call::get(".../virtualMachines").query("api-version", COMPUTE)`. Out: the answer's JSON, or
//! a [`CloudError`] of the innermost code. See: Azure Resource Manager, "Track asynchronous
//! operations"; Compute 2024-11-01, Network 2024-05-01.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use super::auth::Login;
use super::failure::{of_fault, refused};
use super::settings::Config;
use crate::http::api::{Answer, Call, Client, Settings as Http};
use crate::http::rest::{Effect, Failure};
use crate::http::token::Token;
use crate::http::wait;
use crate::protocol::visible::without_values;
use crate::provider::{Diagnostic, Diagnostics};
use crate::worker_group::cloud::{Answered, CloudError, Kind, Pages, authority, logged_in};

/// One login for all groups of a provider.
pub(super) struct Session {
    client: Client,
    manager: Url,
    login: Login,
    token: Token,
    pub(super) subscription: String,
}

/// What was answered, and where the operation that it began is followed.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) json: Json,
    operation: Option<Url>,
    pause: Duration,
}

impl Session {
    /// Logs in, by the attribute `azure` of the provider block.
    ///
    /// # Errors
    /// What is missing or refused, with the attribute or variable that would set it.
    pub(super) async fn open(config: Config) -> Result<Self, Diagnostics> {
        let config = config.whole();
        let (manager, entra, audience) = config.places()?;
        let login = Login::of(&config, entra.clone(), audience)?;
        let mut http = Http::default();
        if let Some(file) = &config.ca_file {
            let summary = "Could not read the certificate authority";
            http.extra_roots = authority(file, summary, "azure.ca_file of the provider block")?;
        }
        let client = Client::new(&http).map_err(|why| {
            Diagnostic::error("Could not set up TLS for Azure", format!("{why}."))
        })?;
        let passing = |failure: &Failure| {
            failure
                .is_passing()
                .then(|| without_values(&failure.to_string()))
        };
        let entered = logged_in("Entra ID POST token", || login.enter(&client), passing).await;
        let entered = entered.map_err(|failure| {
            let words = without_values(&failure.to_string());
            let detail = format!("Entra ID at {entra} answered: {words}. {}", login.check());
            Diagnostic::error("Could not log in to Azure", detail)
        })?;
        let subscription = config.subscription_id.or(entered.subscription).ok_or_else(|| {
            let detail = "There is no subscription, and the Azure CLI is set to none. Set azure.subscription_id or ARM_SUBSCRIPTION_ID.";
            Diagnostic::error("Azure is not configured", detail)
        })?;
        Ok(Self {
            client,
            manager,
            login,
            token: Token::new("authorization", entered.token),
            subscription,
        })
    }

    /// Sends a call. `action` is the API's word (`"Azure PUT virtualMachines"`), `object` what it
    /// is about.
    ///
    /// # Errors
    /// As [`MEANINGS`] say; a create whose answer was lost is ambiguous.
    pub(super) async fn ask(
        &self,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Reply> {
        self.ask_at(&self.manager, action, object, call).await
    }

    /// The same, of which the JSON is all.
    pub(super) async fn send(
        &self,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Json> {
        Ok(self.ask(action, object, call).await?.json)
    }

    async fn ask_at(
        &self,
        base: &Url,
        action: &'static str,
        object: &str,
        call: Call,
    ) -> Answered<Reply> {
        let effect = call.effect;
        let unanswered = |failure| CloudError::unanswered(action, object, effect, failure, &[]);
        let login = async || self.login.enter(&self.client).await;
        let answer = self
            .token
            .ask(&self.client, base, &call, login)
            .await
            .map_err(unanswered)?;
        if !(200..300).contains(&answer.status) {
            return Err(refused(action, object, effect, &answer));
        }
        let link = |name| answer.header(name).and_then(|link| self.own(link));
        Ok(Reply {
            status: answer.status,
            json: answer.json().map_err(unanswered)?,
            operation: link("azure-asyncoperation").or_else(|| link("location")),
            pause: asked_to_wait(&answer).unwrap_or(PAUSE),
        })
    }

    /// A link that an answer names, where it leads to who has answered: the token goes nowhere
    /// else.
    fn own(&self, link: &str) -> Option<Url> {
        let link: Url = link.parse().ok()?;
        // A region's own front end answers, too.
        let of_region = format!(".{}", self.manager.host_str()?);
        let is_of_region = link.scheme() == "https" && link.host_str()?.ends_with(&of_region);
        (link.origin() == self.manager.origin() || is_of_region).then_some(link)
    }

    /// All that a question finds, page by page.
    ///
    /// # Errors
    /// Those of [`Session::ask`]: what is cut short is no answer.
    pub(super) async fn all(
        &self,
        action: &'static str,
        object: &str,
        question: Call,
    ) -> Answered<Vec<Json>> {
        let page = async |next: Option<String>| {
            let reply = match next {
                None => self.ask(action, object, question.clone()).await?,
                Some(next) => {
                    let strange = || {
                        CloudError::new(
                            Kind::Unavailable,
                            action,
                            object,
                            "a next page that is somewhere else",
                        )
                    };
                    let next = self.own(&next).ok_or_else(strange)?;
                    self.ask_at(&next, action, object, Call::get("")).await?
                }
            };
            let mut json = reply.json;
            let next = json["nextLink"].as_str().map(str::to_owned);
            match json["value"].take() {
                Json::Array(found) => Ok((found, next)),
                _ => Err(CloudError::new(
                    Kind::Unavailable,
                    action,
                    object,
                    "something unexpected: no list",
                )),
            }
        };
        Pages::new(action, object).all(page).await
    }

    /// Waits for the end of what a call has begun.
    ///
    /// # Errors
    /// It failed; or it takes longer than one question may, and nothing is known.
    pub(super) async fn finished(
        &self,
        action: &'static str,
        object: &str,
        reply: &Reply,
    ) -> Answered<()> {
        let is_over = |state: &Json| matches!(state.as_str(), None | Some("Succeeded"));
        let Some(link) = reply.operation.as_ref().filter(|_| {
            reply.json.is_null() || !is_over(&reply.json["properties"]["provisioningState"])
        }) else {
            return Ok(());
        };
        let (until, mut pause) = (Instant::now() + PATIENCE, reply.pause);
        while Instant::now() + pause < until {
            sleep(pause).await;
            let reply = self.ask_at(link, action, object, Call::get("")).await?;
            pause = reply.pause;
            match reply.json["status"].as_str() {
                Some("Failed" | "Canceled") => {
                    return Err(of_fault(action, object, Effect::Repeats, 409, &reply.json));
                }
                // A `Location` answers 202 until it is over, and then nothing, or what it is about.
                Some("Succeeded") => return Ok(()),
                None if reply.operation.is_none() => return Ok(()),
                _ => {}
            }
        }
        Err(CloudError::new(
            Kind::Unavailable,
            action,
            object,
            "that it is still going on",
        ))
    }

    /// What is at an address that Resource Manager has named, and where our token is not to go; the
    /// address is a secret.
    pub(super) async fn read_signed(&self, address: &str) -> Option<Vec<u8>> {
        let url = super::settings::safe(address, "it").ok()?;
        let answer = self.client.send(&url, &Call::get("")).await.ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

fn asked_to_wait(answer: &Answer) -> Option<Duration> {
    let asked = wait::asked(answer.header("retry-after")?, std::time::SystemTime::now())?;
    Some(asked.clamp(SHORTEST, LONGEST))
}

/// Versions of the APIs.
pub(super) const COMPUTE: &str = "2024-11-01";
pub(super) const DISKS: &str = "2024-03-02";
pub(super) const GALLERIES: &str = "2024-03-03";
pub(super) const NETWORK: &str = "2024-05-01";
pub(super) const RESOURCES: &str = "2024-03-01";
pub(super) const SKUS: &str = "2021-07-01";
pub(super) const MARKETPLACE: &str = "2021-01-01";

const PAUSE: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(15);
/// Less than the engine waits for an answer.
const PATIENCE: Duration = Duration::from_secs(50);
