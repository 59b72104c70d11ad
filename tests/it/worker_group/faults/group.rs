//! A group as a core drives it, over the wire and without a core: `Group::start(&provider)` →
//! `apply(&config)` (refresh, plan, apply) → `destroy()`. State is kept as a core keeps it: what an
//! operation answers, errors or not; a create that failed with a state is tainted, and the next
//! apply replaces the group.

use std::collections::{BTreeMap, BTreeSet};

use flatcar::protocol::tfplugin6 as pb;
use flatcar::protocol::value::{Type, Value};
use serde_json::Value as Json;

use crate::client::{Plugin, Setup, dynamic, object, object_type, value};

/// An error as the user reads it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) summary: String,
    pub(crate) detail: String,
}

/// One group, its state, and a provider that serves nobody else.
pub(crate) struct Group {
    plugin: Plugin,
    kind: Type,
    computed: BTreeSet<String>,
    state: Value,
    private: Vec<u8>,
    tainted: bool,
    /// Whether the last apply had something to do for a group that there was.
    pub(crate) changed: bool,
    /// What the last operations warned of.
    pub(crate) warnings: Vec<String>,
}

impl Group {
    /// Goes on with another provider block, in another process.
    pub(crate) async fn restart(&mut self, provider: &Json) {
        let next = Self::start(provider).await;
        let last = std::mem::replace(&mut self.plugin, next.plugin);
        last.shutdown().await;
    }

    /// Starts a provider with this provider block.
    pub(crate) async fn start(provider: &Json) -> Self {
        let setup = Setup::without_certificate().set("TF_LOG_PROVIDER", "warn");
        let plugin = setup.start().await;
        let schemas = plugin.schemas().await;
        let block = object_type(schemas.provider.as_ref().expect("a provider block"));
        let config = dynamic(&object(&provider.to_string(), &block), &block);
        assert_eq!(plugin.configure(config).await.diagnostics, vec![]);
        let schema = &schemas.resource_schemas[GROUP];
        let attributes = &schema.block.as_ref().expect("a block").attributes;
        let computed = attributes.iter().filter(|attribute| attribute.computed);
        Self {
            kind: object_type(schema),
            computed: computed.map(|attribute| attribute.name.clone()).collect(),
            plugin,
            state: Value::Null,
            private: Vec::new(),
            tainted: false,
            changed: false,
            warnings: Vec::new(),
        }
    }

    /// Refresh, plan, apply: as far as each goes without an error.
    pub(crate) async fn apply(&mut self, config: &Json) -> Vec<Problem> {
        let problems = self.refresh().await;
        if !problems.is_empty() {
            return problems;
        }
        if self.tainted {
            let problems = self.perform(Value::Null, None).await;
            if !problems.is_empty() {
                return problems;
            }
        }
        let config = object(&config.to_string(), &self.kind);
        let (planned, problems) = self.plan(&config).await;
        let Some((planned, private)) = planned.filter(|_| problems.is_empty()) else {
            return problems;
        };
        let changed = planned != self.state;
        self.changed = changed && !self.state.is_null();
        if !changed {
            return Vec::new();
        }
        self.perform(planned, Some((config, private))).await
    }

    /// Refresh, and the end of the group.
    pub(crate) async fn destroy(&mut self) -> Vec<Problem> {
        let problems = self.refresh().await;
        match problems.is_empty() && !self.state.is_null() {
            true => self.perform(Value::Null, None).await,
            false => problems,
        }
    }

    /// A refresh and a plan; what they find to do or to say.
    pub(crate) async fn unsettled(&mut self, config: &Json) -> Option<String> {
        self.warnings.clear();
        let problems = self.refresh().await;
        let config = object(&config.to_string(), &self.kind);
        let (planned, more) = self.plan(&config).await;
        if let Some(problem) = problems.into_iter().chain(more).next() {
            return Some(format!("a plan says {problem:?}"));
        }
        if let Some(warning) = self.warnings.first() {
            return Some(format!("a plan warns: {warning}"));
        }
        let settled = planned.is_some_and(|(planned, _)| planned == self.state);
        (!settled).then(|| "the next plan finds something to do".to_owned())
    }

    /// Whether a warning with this summary has been given since the last plan.
    pub(crate) fn warned(&self, summary: &str) -> bool {
        self.warnings.iter().any(|warning| warning == summary)
    }

    /// Name and id of each machine in state that is not going.
    pub(crate) fn machines(&self) -> BTreeMap<String, String> {
        let Value::Map(attributes) = &self.state else {
            return BTreeMap::new();
        };
        let Some(Value::Map(machines)) = attributes.get("machines") else {
            return BTreeMap::new();
        };
        let id = |machine: &Value| match machine {
            Value::Map(fields) => match fields.get("id") {
                Some(Value::String(id)) => id.clone(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let is_going = |machine: &Value| {
            let Value::Map(fields) = machine else {
                return false;
            };
            fields.get("phase") == Some(&Value::String("deleting".to_owned()))
        };
        machines
            .iter()
            .filter(|(_, machine)| !is_going(machine))
            .map(|(name, machine)| (name.clone(), id(machine)))
            .collect()
    }

    /// Ends the provider; its log.
    pub(crate) async fn end(self) -> String {
        self.plugin.shutdown().await.log
    }

    async fn refresh(&mut self) -> Vec<Problem> {
        if self.state.is_null() {
            return Vec::new();
        }
        let request = pb::read_resource::Request {
            type_name: GROUP.to_owned(),
            current_state: Some(dynamic(&self.state, &self.kind)),
            private: self.private.clone(),
            ..Default::default()
        };
        let answer = self.plugin.read(request).await;
        let problems = self.sort(&answer.diagnostics);
        // A core keeps what it has where a refresh fails.
        if problems.is_empty() {
            self.state = value(answer.new_state.as_ref(), &self.kind);
            self.private = answer.private;
        }
        problems
    }

    async fn plan(&mut self, config: &Value) -> (Option<(Value, Vec<u8>)>, Vec<Problem>) {
        let request = pb::plan_resource_change::Request {
            type_name: GROUP.to_owned(),
            prior_state: Some(dynamic(&self.state, &self.kind)),
            proposed_new_state: Some(dynamic(&self.propose(config), &self.kind)),
            config: Some(dynamic(config, &self.kind)),
            prior_private: self.private.clone(),
            ..Default::default()
        };
        let answer = self.plugin.plan(request).await;
        let problems = self.sort(&answer.diagnostics);
        let planned = value(answer.planned_state.as_ref(), &self.kind);
        (Some((planned, answer.planned_private)), problems)
    }

    /// Applies a plan; without one, the end of the group.
    async fn perform(&mut self, planned: Value, of: Option<(Value, Vec<u8>)>) -> Vec<Problem> {
        let creates = self.state.is_null();
        let (config, private) = of.unwrap_or((Value::Null, self.private.clone()));
        let request = pb::apply_resource_change::Request {
            type_name: GROUP.to_owned(),
            prior_state: Some(dynamic(&self.state, &self.kind)),
            planned_state: Some(dynamic(&planned, &self.kind)),
            config: Some(dynamic(&config, &self.kind)),
            planned_private: private,
            ..Default::default()
        };
        let answer = self.plugin.apply(request).await;
        let problems = self.sort(&answer.diagnostics);
        self.state = value(answer.new_state.as_ref(), &self.kind);
        self.private = answer.private;
        let exists = !self.state.is_null();
        self.tainted = exists && (self.tainted || (creates && !problems.is_empty()));
        problems
    }

    /// What a core proposes: the configuration, and what was computed before.
    fn propose(&self, config: &Value) -> Value {
        let (Value::Map(config), Value::Map(prior)) = (config, &self.state) else {
            return config.clone();
        };
        let mut proposed = config.clone();
        for (name, value) in &mut proposed {
            if value.is_null() && self.computed.contains(name) {
                *value = prior.get(name).cloned().unwrap_or(Value::Null);
            }
        }
        Value::Map(proposed)
    }

    fn sort(&mut self, diagnostics: &[pb::Diagnostic]) -> Vec<Problem> {
        let error = pb::diagnostic::Severity::Error;
        let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics
            .iter()
            .partition(|diagnostic| diagnostic.severity() == error);
        self.warnings
            .extend(warnings.iter().map(|warning| warning.summary.clone()));
        errors
            .into_iter()
            .map(|error| Problem {
                summary: error.summary.clone(),
                detail: error.detail.clone(),
            })
            .collect()
    }
}

const GROUP: &str = "flatcar_worker_group";
