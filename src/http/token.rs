//! A token that an API lets calls in by: one for all calls of a client, and another one when it is refused.
//!
//! In: the header that it stands in (`"x-auth-token"`, `"authorization"`), and how to log in. Out: answers. A call that is answered
//! with 401 is sent once more with a new token, be it one that creates: what was refused so was not carried out.

use std::future::Future;

use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::api::{Call, Client};
use super::rest::Failure;

/// The token that holds now. A secret: no `Debug`.
pub struct Token {
    header: &'static str,
    current: Mutex<String>,
}

impl Token {
    /// One that a login has answered, as it stands in the header.
    pub fn new(header: &'static str, first: String) -> Self {
        let current = Mutex::new(first);
        Self { header, current }
    }

    /// As it is now.
    pub async fn current(&self) -> String {
        self.current.lock().await.clone()
    }

    /// Sends a call to what is below a URL, and reads its answer. `login` answers another token.
    ///
    /// # Errors
    /// There is no answer, or it is a refusal; where the login is not answered either, that nobody has got the call.
    pub async fn send<F: Future<Output = Result<String, Failure>>>(
        &self,
        client: &Client,
        base: &Url,
        call: &Call,
        login: impl FnOnce() -> F,
    ) -> Result<Json, Failure> {
        let send = async |token: &str| {
            let call = call.clone().header(self.header, token);
            client.send(base, &call).await
        };
        let token = self.current().await;
        let answer = send(&token).await?;
        if answer.status != 401 {
            return answer.json();
        }
        match self.renewed(&token, login).await {
            Ok(token) => send(&token).await?.json(),
            Err(failure) if failure.is_passing() => Err(Failure::NotSent(failure.to_string())),
            Err(_) => answer.json(),
        }
    }

    /// Another one than this: the first of the calls that are refused logs in, and the others wait for it.
    async fn renewed<F: Future<Output = Result<String, Failure>>>(
        &self,
        refused: &str,
        login: impl FnOnce() -> F,
    ) -> Result<String, Failure> {
        let mut token = self.current.lock().await;
        if *token == refused {
            *token = login().await?;
        }
        Ok(token.clone())
    }
}
