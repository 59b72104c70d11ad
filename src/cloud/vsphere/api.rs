//! The Web Services API in JSON as we use it: one method, the properties of many objects at once,
//! and a task that a method begins.
//!
//! In: `("vSphere PowerOnVM_Task", vm-12)`. Out: what the method returns, or a [`CloudError`] by
//! the type of the fault. A session that the server has ended is opened anew, and the call sent
//! once more: what is refused so was not carried out. See: *vSphere Web Services API*, 8.0 U1
//! (VI/JSON); `PropertyCollector`, `Task`.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::fault::{MEANINGS, fault, is_logged_out, localized, meant, refusal};
use super::given::Given;
use super::object::{Found, Object, Query, Ref, start};
use crate::http::api::{Call, Client};
use crate::http::rest::{Effect, Failure};
use crate::http::token::Token;
use crate::worker_group::cloud::{Answered, CloudError, Kind, Pages, read};

/// One login for all groups of a provider. Holds a password: no `Debug`.
pub(super) struct Session {
    client: Client,
    token: Token,
    base: Url,
    login: Login,
    pub(super) content: Content,
    /// Certificates go unchecked.
    pub(super) is_insecure: bool,
    pub(super) given: Given,
}

/// Who logs in. Holds a password: no `Debug`.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// What the server says of itself. See: `ServiceContent`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    pub(super) root_folder: Ref,
    property_collector: Ref,
    search_index: Option<Ref>,
    session_manager: Option<Ref>,
    storage_resource_manager: Option<Ref>,
    pub(super) about: About,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    #[serde(default)]
    pub(super) full_name: String,
    #[serde(default)]
    pub(super) api_type: String,
    #[serde(default)]
    pub(super) instance_uuid: String,
}

impl Session {
    /// Asks what the server is, and logs in.
    ///
    /// # Errors
    /// It is not answered, or refused.
    pub(super) async fn open(
        client: Client,
        base: Url,
        login: Login,
        is_insecure: bool,
    ) -> Result<Self, Failure> {
        let call = Call::get("ServiceInstance/ServiceInstance/content");
        let answer = client.send(&base, &call).await?;
        if let Some(fault) = fault(&answer) {
            return Err(refusal(&fault));
        }
        let answer = answer.json()?;
        let content: Content = serde_json::from_value(answer)
            .map_err(|error| Failure::Impossible(format!("something unexpected: {error}")))?;
        let first = login.session(&client, &base, &content).await?;
        Ok(Self {
            token: Token::new(SESSION, first),
            client,
            base,
            login,
            content,
            is_insecure,
            given: Given::default(),
        })
    }

    /// Ends the session, which counts among those that a server allows.
    pub(super) async fn close(&self) {
        if let Some(manager) = &self.content.session_manager {
            let call = Call::post(path(manager, "Logout"), Json::Null);
            let call = call.header(SESSION, self.token.current().await);
            // One that is not ended ends by itself after half an hour.
            let _ = self.client.send(&self.base, &call).await;
        }
    }

    /// Calls a method of an object. `action` is its name behind `vSphere `, `object` what it is
    /// about in the user's words.
    ///
    /// # Errors
    /// As [`MEANINGS`] say of the fault; of what creates and was not answered, that it is
    /// ambiguous.
    pub(super) async fn call(
        &self,
        action: &'static str,
        object: &str,
        on: &Ref,
        effect: Effect,
        body: Json,
    ) -> Answered<Json> {
        let method = action.rsplit(' ').next().unwrap_or(action);
        let mut call = Call::post(path(on, method), body);
        call.effect = effect;
        let login = || self.login.session(&self.client, &self.base, &self.content);
        let answer = self
            .token
            .ask_unless(&self.client, &self.base, &call, login, is_logged_out);
        let unanswered =
            |failure| CloudError::unanswered(action, object, effect, failure, MEANINGS);
        let answer = answer.await.map_err(unanswered)?;
        match fault(&answer) {
            Some(fault) => {
                let error = meant(action, object, &fault, "");
                // The server may have failed after it had begun.
                let kind = error.kind.after(effect);
                Err(error.being(kind))
            }
            None => answer.json().map_err(unanswered),
        }
    }

    /// Properties of all objects that a query finds, a page after the other. One that does not
    /// exist is left out, which is definite.
    ///
    /// # Errors
    /// Those of [`Session::call`], and that a session ended between two pages.
    pub(super) async fn query(&self, object: &str, query: Query<'_>) -> Answered<Vec<Object>> {
        let of = query.of.iter().map(
            |(kind, paths)| json!({"_typeName": "PropertySpec", "type": kind, "pathSet": paths}),
        );
        let spec = json!({
            "_typeName": "PropertyFilterSpec",
            "propSet": of.collect::<Vec<_>>(),
            "objectSet": query.from,
            "reportMissingObjectsInResults": true,
        });
        let first = json!({"specSet": [spec], "options": {"maxObjects": PAGE}});
        let collector = &self.content.property_collector;
        let page = async |token: Option<String>| {
            let (action, body) = match token {
                None => (RETRIEVE, first.clone()),
                Some(token) => (CONTINUE, json!({"token": token})),
            };
            let answer = self.call(action, object, collector, Effect::Reads, body);
            // Another session knows nothing of the pages of one that has ended.
            let later = |error: CloudError| match error.kind {
                Kind::BadRequest if action == CONTINUE => error.being(Kind::Unavailable),
                _ => error,
            };
            let mut answer = answer.await.map_err(later)?;
            let next = answer["token"].as_str().map(str::to_owned);
            let found: Vec<Found> = match answer["objects"].take() {
                Json::Null => Vec::new(),
                objects => read(objects, action)?,
            };
            let found = found.into_iter().filter_map(|one| one.object().transpose());
            let found: Result<Vec<Object>, Json> = found.collect();
            let found = found.map_err(|unread| localized(action, object, &unread))?;
            Ok((found, next))
        };
        Pages::new(RETRIEVE, object).all(page).await
    }

    /// Properties of these objects, all of one type.
    ///
    /// # Errors
    /// Those of [`Session::query`], and that one of them is not shown to this user.
    pub(super) async fn properties(
        &self,
        object: &str,
        kind: &str,
        of: &[Ref],
        paths: &[String],
    ) -> Answered<Vec<Object>> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let from = of.iter().map(|one| start(one, Json::Null));
        let query = Query {
            of: &[(kind, paths)],
            from: from.collect(),
        };
        let found = self.query(object, query).await?;
        let hidden = found.iter().find_map(|one| one.hidden.as_ref());
        match hidden {
            Some(hidden) => Err(localized(RETRIEVE, object, hidden)),
            None => Ok(found),
        }
    }

    /// What stands at a path of the inventory, such as `DC0/vm/flatcar`.
    ///
    /// # Errors
    /// Those of [`Session::call`].
    pub(super) async fn at_path(&self, at: &str) -> Answered<Option<Ref>> {
        const FIND: &str = "vSphere FindByInventoryPath";
        self.found(FIND, at, json!({"inventoryPath": at})).await
    }

    /// The child of a folder that has this name.
    ///
    /// # Errors
    /// Those of [`Session::call`].
    pub(super) async fn child(&self, folder: &Ref, name: &str) -> Answered<Option<Ref>> {
        const FIND: &str = "vSphere FindChild";
        self.found(FIND, name, json!({"entity": folder.json(), "name": name}))
            .await
    }

    async fn found(&self, action: &'static str, object: &str, body: Json) -> Answered<Option<Ref>> {
        let index = self.content.search_index.as_ref().ok_or_else(|| {
            CloudError::new(
                Kind::BadRequest,
                action,
                object,
                "nothing: the server has no index",
            )
        })?;
        match self
            .call(action, object, index, Effect::Reads, body)
            .await?
        {
            Json::Null => Ok(None),
            answer => read(answer, action).map(Some),
        }
    }

    /// The datastore of a cluster of datastores that has room for what is asked for.
    ///
    /// # Errors
    /// Those of [`Session::call`].
    pub(super) async fn recommended(&self, object: &str, spec: Json) -> Answered<Option<Ref>> {
        const RECOMMEND: &str = "vSphere RecommendDatastores";
        let Some(manager) = &self.content.storage_resource_manager else {
            return Ok(None);
        };
        let body = json!({"storageSpec": spec});
        let answer = self
            .call(RECOMMEND, object, manager, Effect::Reads, body)
            .await?;
        let first = &answer["recommendations"][0]["action"][0]["destination"];
        Ok(serde_json::from_value(first.clone()).ok())
    }

    /// What a task came to; `None`: it goes on after so long.
    ///
    /// # Errors
    /// What it ended in; or that nobody knows, which is ambiguous.
    pub(super) async fn finished(
        &self,
        action: &'static str,
        object: &str,
        task: &Ref,
        patience: Duration,
    ) -> Answered<Option<Json>> {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        let of = [task.clone()];
        let paths = ["info.state", "info.error", "info.result"].map(str::to_owned);
        loop {
            let asked = self.properties(object, TASK, &of, &paths).await;
            match asked.as_ref().map(|found| found.first()) {
                // It was taken on: what it comes to can be asked for again.
                Err(error) if error.is_retryable() && Instant::now() + pause < until => {}
                Err(error) => return Err(error.clone().being(Kind::Ambiguous)),
                Ok(None) => {
                    let words = format!("nothing any more of {}", task.value);
                    let error = CloudError::new(Kind::Ambiguous, action, object, words);
                    return Err(error.caused_by(FORGOTTEN, None));
                }
                Ok(Some(found)) => match found.text("info.state") {
                    "success" => return Ok(Some(found.get("info.result").clone())),
                    "error" => {
                        let error = found.get("info.error");
                        return Err(localized(action, object, error));
                    }
                    _ => {}
                },
            }
            if Instant::now() + pause >= until {
                return Ok(None);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Begins a task and waits for its end.
    ///
    /// # Errors
    /// What it ended in, or that it goes on.
    pub(super) async fn carried_out(
        &self,
        action: &'static str,
        object: &str,
        on: &Ref,
        body: Json,
    ) -> Answered<Json> {
        let task = self.call(action, object, on, Effect::Repeats, body).await?;
        let task: Ref = read(task, action)?;
        let ended = self.finished(action, object, &task, PATIENCE).await?;
        ended.ok_or_else(|| {
            let words = format!("nothing yet: {} goes on", task.value);
            CloudError::new(Kind::Unavailable, action, object, words)
        })
    }
}

impl Login {
    /// A session's id.
    async fn session(
        &self,
        client: &Client,
        base: &Url,
        content: &Content,
    ) -> Result<String, Failure> {
        let impossible = |why: &str| Failure::Impossible(format!("nothing: {why}"));
        let manager = content.session_manager.as_ref();
        let manager = manager.ok_or_else(|| impossible("the server has no sessions"))?;
        let body = json!({"userName": self.user, "password": self.password});
        let call = Call::post(path(manager, "Login"), body).repeatable();
        let answer = client.send(base, &call).await?;
        if let Some(fault) = fault(&answer) {
            return Err(refusal(&fault));
        }
        let session = answer.header(SESSION).map(str::to_owned);
        answer.json()?;
        session.ok_or_else(|| impossible("a login without a session"))
    }
}

fn path(on: &Ref, method: &str) -> String {
    format!("{}/{}/{method}", on.kind, on.value)
}

/// Where a session's id stands in requests and in the answer to a login.
const SESSION: &str = "vmware-api-session-id";
/// The action of every query.
pub(super) const RETRIEVE: &str = "vSphere RetrievePropertiesEx";
const CONTINUE: &str = "vSphere ContinueRetrievePropertiesEx";
const TASK: &str = "Task";
/// The code of a task that the server no longer knows.
pub(super) const FORGOTTEN: &str = "TaskForgotten";
/// Objects in an answer.
const PAGE: u32 = 500;
/// For tasks that take moments: a reconfiguration, a start.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
