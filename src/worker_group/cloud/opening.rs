//! How a cloud is opened, and what it implements: its own provider block read, its login tried
//! again, its scope compared, its shape typed and its user data packed before it is asked.
//!
//! In: a row of the table, a context, a shape and the scope that state knows. Out: a [`Cloud`] that
//! the engine asks, or what stands in the way.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{
    Cloud, CloudError, Deletion, Entry, Growth, Kind, Lack, Machine, Manner, Mark, Members, Spec,
};
use crate::flatcar::platform;
use crate::http::{certificates, of_home};
use crate::ignition::user_data::{Compress, pack};
use crate::protocol::log;
use crate::provider::{Context, Diagnostic, Diagnostics, Model, Path, Value};

/// What [`Entry::connect`] answers.
pub type Connecting<'a> = BoxFuture<'a, Result<Box<dyn Cloud>, Diagnostics>>;

/// What [`Entry::connect`] needs.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// For `context.configuration`, of which it reads only its own attribute, and for cancellation.
    pub context: &'a Context,
    /// The shape (attribute `name` of the group); null in an import that knows only the scope.
    pub shape: &'a Value,
    /// The scope that state recorded, if any (`"eu-central-1"`, an account and region ...): another
    /// one is an error.
    pub scope: Option<&'a str>,
}

impl Entry {
    /// Opens a client, and compares where it is with the scope that state knows.
    ///
    /// # Errors
    /// What is missing, wrong or refused, or that the group is elsewhere.
    pub async fn open(&'static self, connect: Connect<'_>) -> Result<Box<dyn Cloud>, Diagnostics> {
        let cloud = (self.connect)(connect).await?;
        let Some(expected) = connect.scope else {
            return Ok(cloud);
        };
        let actual = cloud.scope().await.map_err(|error| {
            error.problem(
                format!("Could not find out the {}", self.scope),
                &format!("Check {} of the provider block.", self.name),
            )
        })?;
        match actual == expected {
            true => Ok(cloud),
            false => Err(self.elsewhere(expected, &actual)),
        }
    }

    /// That state knows another scope than the provider block's.
    pub fn elsewhere(&self, expected: &str, actual: &str) -> Diagnostics {
        Diagnostic::error(
            format!("The group is in another {}", self.scope),
            format!(
                "State or import id name {expected}, and the provider is set up for {actual}. Set up {} of the provider block for the \
                 former; a group moves to another {} by being made anew there.",
                self.name, self.scope
            ),
        )
        .into()
    }

    /// The cloud's own attribute of the provider block as a struct: an empty string counts as left
    /// out. What was unknown when the configuration was checked is checked here.
    ///
    /// # Errors
    /// Part of it is not known yet, or not as the schema says. On no path: paths are of the
    /// resource that asks.
    pub fn settings<T: DeserializeOwned + Default>(
        &self,
        context: &Context,
    ) -> Result<T, Diagnostics> {
        context.checked_setting(&(self.provider_schema)())
    }
}

/// What the provider block sets, else the first of these variables that is not empty: one that is
/// set to nothing is not set.
pub fn or_variable(setting: Option<String>, names: &[&str]) -> Option<String> {
    let said = || {
        let mut said = names.iter().filter_map(|name| std::env::var(name).ok());
        said.find(|value| !value.is_empty())
    };
    setting.or_else(said)
}

/// Certificates of an authority that the user names by a file, which may be below `~/`; `sets` is
/// what names it: `"aws.ca_bundle of the provider block, or AWS_CA_BUNDLE,"`.
///
/// # Errors
/// That it cannot be read, or holds no certificate.
pub fn authority(file: &str, summary: &str, sets: &str) -> Result<Vec<u8>, Diagnostic> {
    certificates(&of_home(file)).map_err(|why| {
        let detail = format!("{file}: {why}. Set {sets} to a file of PEM certificates.");
        Diagnostic::error(summary, detail)
    })
}

/// A login, tried again while it may pass: as often, and with the same pauses, as any call of the
/// engine. `passing` says what was answered where that may be another thing a little later.
///
/// # Errors
/// The last one.
pub async fn logged_in<T, E, F: Future<Output = Result<T, E>>>(
    action: &'static str,
    mut login: impl FnMut() -> F,
    passing: impl Fn(&E) -> Option<String>,
) -> Result<T, E> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match login().await {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let (Some(answer), Some(pause)) = (passing(&error), pauses.next()) else {
            return Err(error);
        };
        log::warn(
            "tries a call to the cloud again",
            &[
                ("call", &action),
                ("answer", &answer),
                ("pause_ms", &pause.as_millis()),
            ],
        );
        sleep(pause).await;
    }
}

const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// What a cloud implements: the questions of [`Cloud`], with its own shape. What they promise
/// stands there.
#[async_trait]
pub trait Answers: Send + Sync + Sized + 'static {
    /// One machine's shape: the attribute of the group as a struct.
    type Shape: Model + Sync;
    /// The row, for what is the same of all its clouds.
    const ENTRY: &'static Entry;

    /// As [`Cloud::scope`].
    async fn scope(&self) -> Result<String, CloudError>;
    /// As [`Cloud::list`].
    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError>;
    /// As [`Cloud::find`].
    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError>;
    /// As [`Cloud::create`]. User data are packed and encoded as the platform takes them.
    async fn create(
        &self,
        spec: &Spec<'_>,
        shape: Self::Shape,
        user_data: String,
    ) -> Result<Machine, CloudError>;
    /// As [`Cloud::delete`].
    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError>;
    /// As [`Cloud::start`].
    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError>;
    /// As [`Cloud::sweep`]; not asked where the row lacks [`Lack::Leftovers`].
    async fn sweep(&self, group: &Mark, _first: u64) -> Result<(), CloudError> {
        let object = format!("{}/{}", group.cluster, group.group);
        let unsaid = "nothing: the row of this cloud does not say that it lacks leftovers";
        Err(CloudError::new(Kind::Bug, "Sweep", object, unsaid))
    }
    /// As [`Cloud::mark`]; no shape: marks alone.
    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: Option<Self::Shape>,
    ) -> Result<(), CloudError>;
    /// As [`Cloud::wanted`].
    fn wanted(&self, shape: &Self::Shape) -> BTreeMap<String, String>;
    /// As [`Cloud::preflight`].
    async fn preflight(
        &self,
        image: &str,
        shape: Self::Shape,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError>;
    /// As [`Cloud::console`].
    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError>;
    /// As [`Cloud::members`]; `None` only where the row lacks [`Lack::Members`].
    fn members(&self) -> Option<&dyn Members> {
        None
    }
    /// As [`Cloud::manner`]: the row's.
    fn manner(&self) -> Manner {
        Self::ENTRY.manner
    }

    /// As the engine asks it.
    fn opened(self) -> Box<dyn Cloud> {
        Box::new(Opened(self))
    }
}

/// A cloud that is open.
struct Opened<C>(C);

#[async_trait]
impl<C: Answers> Cloud for Opened<C> {
    async fn scope(&self) -> Result<String, CloudError> {
        self.0.scope().await
    }

    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError> {
        self.0.list(cluster, group).await
    }

    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError> {
        self.0.find(ids).await
    }

    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError> {
        let shape = read::<C>("Create", spec.name, spec.shape)?;
        let user_data = packed(C::ENTRY, spec)?;
        self.0.create(spec, shape, user_data).await
    }

    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError> {
        self.0.delete(machine).await
    }

    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError> {
        self.0.start(machines).await
    }

    async fn sweep(&self, group: &Mark, first: u64) -> Result<(), CloudError> {
        match C::ENTRY.lacks(Lack::Leftovers) {
            true => Ok(()),
            false => self.0.sweep(group, first).await,
        }
    }

    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError> {
        let shape = match shape {
            Value::Null => None,
            shape => Some(read::<C>("Mark", &mark.group, shape)?),
        };
        self.0.mark(machines, mark, shape).await
    }

    fn wanted(&self, shape: &Value) -> BTreeMap<String, String> {
        let shape = C::Shape::from_value(shape);
        shape.map_or_else(|_| BTreeMap::new(), |shape| self.0.wanted(&shape))
    }

    async fn preflight(
        &self,
        image: &str,
        shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError> {
        match C::Shape::from_value(shape) {
            Ok(shape) => self.0.preflight(image, shape, growth).await,
            Err(problems) => Ok(problems.under(&Path::of(C::ENTRY.name))),
        }
    }

    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError> {
        self.0.console(machine).await
    }

    fn members(&self) -> Option<&dyn Members> {
        self.0.members()
    }

    fn manner(&self) -> Manner {
        self.0.manner()
    }
}

fn read<C: Answers>(
    action: &'static str,
    object: &str,
    shape: &Value,
) -> Result<C::Shape, CloudError> {
    C::Shape::from_value(shape).map_err(|problems| {
        let texts: Vec<&str> = problems.0.iter().map(|one| one.detail.as_str()).collect();
        let error = CloudError::new(Kind::BadRequest, action, object, texts.join(" "));
        error.blaming(C::ENTRY.name)
    })
}

/// User data of a spec as the cloud's platform takes them.
///
/// # Errors
/// They cannot be packed, on `user_data`.
pub fn packed(entry: &Entry, spec: &Spec<'_>) -> Result<String, CloudError> {
    let refused = |message: String| {
        CloudError::new(Kind::BadRequest, "Create", spec.name, message).blaming("user_data")
    };
    let text = std::str::from_utf8(spec.user_data).map_err(|error| refused(error.to_string()))?;
    let Some(platform) = platform(entry.platform) else {
        return Err(refused("no platform of this name is known".to_owned()));
    };
    let packed = pack(text, platform, Compress::Auto);
    packed
        .map(|packed| packed.text)
        .map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_login_is_tried_while_it_may_pass_and_not_without_end() {
        for (passes_at, is_passing, tries, is_in) in [
            (1, true, 1, true),
            (3, true, 3, true),
            (5, true, 5, true),
            (6, true, 5, false),
            (2, false, 1, false),
        ] {
            let tried = Cell::new(0);
            let login = || {
                tried.set(tried.get() + 1);
                let answer = match tried.get() < passes_at {
                    true => Err("refused"),
                    false => Ok(()),
                };
                async move { answer }
            };
            let passing = |error: &&str| is_passing.then(|| (*error).to_owned());
            let answer = logged_in("Login", login, passing).await;
            assert_eq!((tried.get(), answer.is_ok()), (tries, is_in), "{passes_at}");
        }
    }
}
