//! A token that an API lets calls in by: one for all calls of a client, and another one when it is
//! refused.
//!
//! In: the header that it stands in (`"x-auth-token"`, `"authorization"`), and how to log in. Out:
//! answers. A token of which it is known when it ends is had anew before that. A call that is
//! answered with 401, or with what the API says in its place, is sent once more with a new token,
//! be it one that creates: what was refused so was not carried out.

use std::future::Future;

use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{Answer, Call, Client};
use super::rest::Failure;

/// A token that a login has answered. A secret: no `Debug`.
#[derive(Clone)]
pub struct Fresh {
    /// As it stands in the header.
    pub text: String,
    /// From when on another one is asked for, before this one ends; `None`: nobody says.
    pub until: Option<Instant>,
}

impl From<String> for Fresh {
    fn from(text: String) -> Self {
        Self { text, until: None }
    }
}

/// The token that holds now. A secret: no `Debug`.
pub struct Token {
    header: &'static str,
    current: Mutex<Fresh>,
}

impl Token {
    /// One that a login has answered.
    pub fn new(header: &'static str, first: impl Into<Fresh>) -> Self {
        let current = Mutex::new(first.into());
        Self { header, current }
    }

    /// As it is now.
    pub async fn current(&self) -> String {
        self.current.lock().await.text.clone()
    }

    /// Sends a call to what is below a URL, and reads its answer. `login` answers another token.
    ///
    /// # Errors
    /// There is no answer, or it is a refusal; where the login is not answered either, that nobody
    /// has got the call.
    pub async fn send<T: Into<Fresh>, F: Future<Output = Result<T, Failure>>>(
        &self,
        client: &Client,
        base: &Url,
        call: &Call,
        login: impl FnOnce() -> F,
    ) -> Result<Json, Failure> {
        self.ask(client, base, call, login).await?.json()
    }

    /// The same, and the answer as it came: a refusal is one.
    ///
    /// # Errors
    /// There is no answer; or the login is not answered either, and nobody has got the call.
    pub async fn ask<T: Into<Fresh>, F: Future<Output = Result<T, Failure>>>(
        &self,
        client: &Client,
        base: &Url,
        call: &Call,
        login: impl FnOnce() -> F,
    ) -> Result<Answer, Failure> {
        let is_ended = |answer: &Answer| answer.status == 401;
        self.ask_unless(client, base, call, login, is_ended).await
    }

    /// The same of an API that says otherwise that a token has ended; what is answered so was not
    /// carried out.
    ///
    /// # Errors
    /// Those of [`Token::ask`].
    pub async fn ask_unless<T: Into<Fresh>, F: Future<Output = Result<T, Failure>>>(
        &self,
        client: &Client,
        base: &Url,
        call: &Call,
        login: impl FnOnce() -> F,
        is_ended: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, Failure> {
        let send = async |token: &str| {
            let call = call.clone().header(self.header, token);
            client.send(base, &call).await
        };
        let now = self.current.lock().await.clone();
        if now.until.is_some_and(|until| Instant::now() >= until) {
            // Where nobody gives another one, this one may hold still.
            let token = self.renewed(&now.text, login).await;
            return send(&token.unwrap_or(now.text)).await;
        }
        let answer = send(&now.text).await?;
        if !is_ended(&answer) {
            return Ok(answer);
        }
        match self.renewed(&now.text, login).await {
            Ok(token) => send(&token).await,
            Err(failure) if failure.is_passing() => Err(Failure::NotSent(failure.to_string())),
            Err(_) => Ok(answer),
        }
    }

    /// Another one than this: the first of the calls that are refused logs in, and the others wait
    /// for it.
    async fn renewed<T: Into<Fresh>, F: Future<Output = Result<T, Failure>>>(
        &self,
        refused: &str,
        login: impl FnOnce() -> F,
    ) -> Result<String, Failure> {
        let mut token = self.current.lock().await;
        if token.text == refused {
            *token = login().await?.into();
        }
        Ok(token.text.clone())
    }
}
