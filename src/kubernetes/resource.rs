//! `resource "flatcar_node_drain"`: Nodes that are emptied while it says so, when its triggers
//! change, and before what it stands for is destroyed.
//!
//! Nothing is asked in a plan but, where the Nodes are to be empty, whether they still are closed.

pub(crate) mod options;
mod round;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::options::Options;
use self::round::{Due, Round, Work};
use self::schema::{DRAIN, LEAVE, UNCORDON, node_drain};
use super::chosen::Choice;
use super::provider_block::api;
use super::{Connection, Drain, OnTimeout, Rules};
use crate::provider::{
    Attr, Context, Diagnostic, Diagnostics, IdentityAttribute, Outcome, PlanRequest, Planned,
    Resource, Schema, Severity, Stored, Value, duration,
};

/// `resource "flatcar_node_drain"`.
pub struct FlatcarNodeDrain;

/// The attributes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    nodes: Attr<Vec<Attr<String>>>,
    selector: Attr<String>,
    drained: Attr<bool>,
    triggers: Attr<BTreeMap<String, Attr<String>>>,
    on_destroy: Attr<String>,
    parallelism: Attr<i64>,
    timeout: Attr<String>,
    on_timeout: Attr<String>,
    grace_period: Attr<String>,
    delete_emptydir_data: Attr<bool>,
    ignore_daemonsets: Attr<bool>,
    force: Attr<bool>,
    timeouts: Attr<Timeouts>,
    emptied: Attr<Vec<Attr<String>>>,
}

/// `timeouts`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
struct Timeouts {
    create: Attr<String>,
    update: Attr<String>,
    delete: Attr<String>,
}

impl Model {
    fn is_drained(&self) -> bool {
        self.drained.known() == Some(&true)
    }

    /// The Nodes; none chosen where that is not known.
    fn choice(&self) -> Choice {
        match self.selector.known() {
            Some(selector) => Choice::Labels(selector.clone()),
            None => Choice::Names(names(self.nodes.known())),
        }
    }

    fn drain(&self) -> (Drain, Rules) {
        let written = Options {
            timeout: &self.timeout,
            on_timeout: &self.on_timeout,
            grace_period: &self.grace_period,
            delete_emptydir_data: &self.delete_emptydir_data,
            ignore_daemonsets: &self.ignore_daemonsets,
            force: &self.force,
        };
        // An apply has no unknown value.
        let usual = Drain {
            timeout: Duration::from_secs(900),
            on_timeout: None,
        };
        written.known().unwrap_or((usual, Rules::default()))
    }

    /// What is to be done about the Nodes.
    fn due(&self, prior: Option<&Self>) -> Due {
        let was = prior.is_some_and(Self::is_drained);
        // A drain that came to no end has closed some.
        let may_be = prior.is_some_and(|prior| prior.drained.is_null());
        let differs = |of: fn(&Self, &Self) -> bool| prior.is_some_and(|prior| of(prior, self));
        let is_triggered = differs(|prior, next| prior.triggers != next.triggers);
        let are_others = differs(|prior, next| {
            names(prior.nodes.known()) != names(next.nodes.known())
                || prior.selector != next.selector
        });
        match (self.is_drained(), was) {
            (true, false) => Due::Close,
            (true, true) if is_triggered || are_others => Due::Close,
            (true, true) => Due::Nothing,
            (false, _) if is_triggered => Due::Pass,
            (false, false) if !may_be => Due::Nothing,
            (false, _) => Due::Open,
        }
    }

    fn is_unknown(&self) -> bool {
        let is_unknown_element = |nodes: &Vec<Attr<String>>| nodes.iter().any(Attr::is_unknown);
        self.drained.is_unknown()
            || self.triggers.is_unknown()
            || self
                .triggers
                .known()
                .is_some_and(|all| all.values().any(Attr::is_unknown))
            || self.selector.is_unknown()
            || self.nodes.is_unknown()
            || self.nodes.known().is_some_and(is_unknown_element)
    }

    fn limit(&self, of: fn(&Timeouts) -> &Attr<String>) -> Duration {
        let written = self.timeouts.known().and_then(|all| of(all).known());
        let limit = written.and_then(|text| duration::parse(text));
        limit.unwrap_or(schema::LIMIT)
    }

    fn parallelism(&self) -> usize {
        let written = self.parallelism.known().copied();
        written
            .and_then(|many| usize::try_from(many).ok())
            .unwrap_or(1)
            .max(1)
    }
}

impl Resource for FlatcarNodeDrain {
    type Model = Model;
    const NAME: &'static str = "node_drain";

    fn schema(&self) -> Schema {
        node_drain()
    }

    fn identity_schema(&self) -> Vec<IdentityAttribute> {
        Vec::new()
    }

    fn identity(&self, _model: &Model) -> Value {
        Value::Null
    }

    fn validate(&self, config: Model) -> Diagnostics {
        schema::chooses(&config.nodes, &config.selector)
    }

    fn plan(&self, request: PlanRequest<Model>) -> Outcome<Planned<Model>> {
        let mut model = request.proposed;
        let prior = request.prior.as_ref().map(|prior| &prior.model);
        let emptied = prior.map(|prior| prior.emptied.clone());
        model.emptied = match model.is_unknown() || model.due(prior) != Due::Nothing {
            true => Attr::Unknown,
            false => emptied.unwrap_or(Attr::Known(Vec::new())),
        };
        Outcome::of(Planned {
            model,
            requires_replace: Vec::new(),
            private: Vec::new(),
        })
    }

    fn plan_destroy(&self, _prior: &Model) -> Diagnostics {
        Diagnostics::none()
    }

    async fn read(&self, context: &Context, state: Stored<Model>) -> Outcome<Stored<Model>> {
        if !state.model.is_drained() {
            return Outcome::of(state);
        }
        let deadline = Instant::now() + GLANCE;
        let looked = async {
            let connection = opened(context, &state.model).await?;
            let round = Round::of(&connection, &state.model, deadline);
            round.are_closed(&state.model.choice()).await
        };
        match within(context, deadline, looked).await {
            Ok(true) => Outcome::of(state),
            // Somebody has opened one, or one has come: the next apply empties it.
            Ok(false) => Outcome::of(Stored {
                model: Model {
                    drained: Attr::Known(false),
                    ..state.model
                },
                ..state
            }),
            Err(problems) => Outcome {
                value: Some(state),
                problems: as_warnings(problems, UNSEEN),
            },
        }
    }

    async fn create(
        &self,
        context: &Context,
        planned: Stored<Model>,
        _config: Model,
    ) -> Outcome<Stored<Model>> {
        let limit = planned.model.limit(|timeouts| &timeouts.create);
        let due = planned.model.due(None);
        let (emptied, problems) = perform(context, &planned.model, None, due, limit).await;
        let failed = problems.has_errors();
        let mut model = planned.model;
        if failed {
            model.drained = Attr::Known(false);
        }
        model.emptied = known(emptied);
        Outcome {
            value: Some(Stored { model, ..planned }),
            problems,
        }
    }

    async fn update(
        &self,
        context: &Context,
        prior: Stored<Model>,
        planned: Stored<Model>,
        _config: Model,
    ) -> Outcome<Stored<Model>> {
        let due = planned.model.due(Some(&prior.model));
        let before = prior.model.emptied.clone();
        if due == Due::Nothing {
            let model = Model {
                emptied: before,
                ..planned.model
            };
            return Outcome::of(Stored { model, ..planned });
        }
        let limit = planned.model.limit(|timeouts| &timeouts.update);
        let earlier = Some(&prior.model);
        let (emptied, problems) = perform(context, &planned.model, earlier, due, limit).await;
        // What was asked for and not done stays asked for: the next plan finds the same difference,
        // and one that asks for the opposite of a drain finds one, too.
        let is_half_closed = due == Due::Close && !prior.model.is_drained();
        let mut stored = match problems.has_errors() {
            true => prior,
            false => planned,
        };
        if problems.has_errors() && is_half_closed {
            stored.model.drained = Attr::Null;
        }
        stored.model.emptied = match (due, problems.has_errors()) {
            (Due::Open, true) => before,
            _ => known(emptied),
        };
        Outcome {
            value: Some(stored),
            problems,
        }
    }

    async fn delete(&self, context: &Context, prior: Stored<Model>) -> Outcome<Stored<Model>> {
        let model = &prior.model;
        let due = match model.on_destroy.known().map_or(DRAIN, String::as_str) {
            LEAVE => Due::Nothing,
            UNCORDON => Due::Open,
            _ => Due::Clear,
        };
        let limit = model.limit(|timeouts| &timeouts.delete);
        let (emptied, problems) = perform(context, model, Some(model), due, limit).await;
        let goes_on = matches!(
            model.drain().0.on_timeout,
            Some(OnTimeout::Force | OnTimeout::Skip)
        );
        let stays = context.cancel.is_cancelled() || !goes_on;
        match stays && problems.has_errors() {
            true => {
                let mut model = prior.model;
                if due == Due::Clear {
                    model.emptied = known(emptied);
                }
                Outcome {
                    value: Some(Stored { model, ..prior }),
                    problems,
                }
            }
            false => Outcome {
                value: None,
                problems: as_warnings(problems, GOES_ON),
            },
        }
    }

    async fn import(
        &self,
        _context: &Context,
        _id: String,
        _identity: Value,
    ) -> Outcome<Stored<Model>> {
        Outcome::failed(Diagnostic::error(
            "A drain cannot be imported",
            "There is nothing in the cluster that would be one. Write the resource: its creation touches no Node unless drained is true.",
        ))
    }

    fn upgrade(&self, _version: i64, _state: serde_json::Value) -> Result<Model, Diagnostics> {
        Err(Diagnostic::error(
            "Could not read the state",
            "It is of a version of flatcar_node_drain that was never released.",
        )
        .into())
    }
}

/// Does what is due; which Nodes were emptied, as far as it got, and what is to be said.
async fn perform(
    context: &Context,
    model: &Model,
    prior: Option<&Model>,
    due: Due,
    limit: Duration,
) -> (Vec<String>, Diagnostics) {
    let work = Work::new(due, prior.map(Model::choice));
    if due == Due::Nothing {
        return (Vec::new(), Diagnostics::none());
    }
    let deadline = Instant::now() + limit;
    let performed = async {
        let connection = opened(context, model).await?;
        let round = Round::of(&connection, model, deadline);
        round.perform(&model.choice(), &work).await
    };
    let performed = within(context, deadline + LAST_WORDS, performed).await;
    let mut problems = performed.err().unwrap_or_default();
    problems.extend(work.warnings());
    (work.emptied(), problems)
}

async fn opened(context: &Context, model: &Model) -> Result<Connection, Diagnostics> {
    let (_, rules) = model.drain();
    Ok(Connection::new(api(context).await?, rules).of_no_group())
}

/// What comes of work before an interrupt, and within its time.
async fn within<T>(
    context: &Context,
    until: Instant,
    work: impl Future<Output = Result<T, Diagnostics>>,
) -> Result<T, Diagnostics> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(Diagnostic::error(
            "Interrupted",
            "The drain was asked to stop. Nodes that it has closed stay closed: the next apply goes on, and kubectl uncordon opens them.",
        )
        .into()),
        done = work => done,
        () = tokio::time::sleep_until(until) => Err(Diagnostic::error(
            "Cluster does not answer",
            "There was no answer in the time that there is for it (timeouts). Try again later.",
        )
        .into()),
    }
}

fn as_warnings(mut problems: Diagnostics, more: &str) -> Diagnostics {
    for problem in &mut problems.0 {
        if problem.severity == Severity::Error {
            problem.severity = Severity::Warning;
            problem.detail = format!("{}\n{more}", problem.detail);
        }
    }
    problems
}

fn known(names: Vec<String>) -> Attr<Vec<Attr<String>>> {
    Attr::Known(names.into_iter().map(Attr::Known).collect())
}

fn names(nodes: Option<&Vec<Attr<String>>>) -> BTreeSet<String> {
    let nodes = nodes.into_iter().flatten();
    nodes.filter_map(Attr::known).cloned().collect()
}

/// How long a cluster may take to tell a refresh of its Nodes.
const GLANCE: Duration = Duration::from_secs(30);
/// For a drain that ends by itself once its time is over.
const LAST_WORDS: Duration = Duration::from_secs(90);
const UNSEEN: &str =
    "Whether the Nodes are closed goes unseen in this plan: they are taken to be as they were.";
const GOES_ON: &str =
    "The resource is gone all the same, for on_timeout says that nothing is to wait for its Nodes.";

#[cfg(test)]
mod tests;
