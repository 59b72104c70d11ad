//! Groups through the RPC service, on a cloud in memory; between the calls, what core does.

mod cluster;
mod create;
mod delete;
mod holders;
mod import;
mod life;
mod overtaken;
mod plan;
mod promises;
mod read;
mod shape;
mod time;
mod update;
mod validate;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::*;
use crate::protocol::tfplugin6 as pb;
use crate::protocol::tfplugin6::provider_server::Provider as _;
use crate::provider::schema::{Kind as AttributeKind, object_type};
use crate::provider::service::Service;
use crate::provider::{Attribute, Model as _, Provider, Type};
use crate::worker_group::cloud::memory::{self, Call, Fault, Memory};
use crate::worker_group::cloud::{Change, Kind, Mark, Phase};

/// The table of clouds.
static CLOUDS: &[&Entry] = &[&memory::ENTRY, &SECOND];

/// Another cloud, with the same machines.
static SECOND: Entry = Entry {
    name: "second",
    provider_schema: || Attribute::object("second", "Another cloud.", Vec::new()).optional(),
    group_schema: || Attribute {
        name: "second",
        ..(memory::ENTRY.group_schema)()
    },
    fields: &[("tags", Change::InPlace)],
    set_hostname: true,
    platform: "sandbox",
    scope: "second cloud",
    manner: memory::ENTRY.manner,
    lacks: &[],
    validate: |_| Diagnostics::none(),
    connect: |connect| (memory::ENTRY.connect)(connect),
};

const IGNITION: &str = r#"{"ignition":{"version":"3.3.0"}}"#;

fn with_motd(text: &str) -> String {
    json!({
        "ignition": {"version": "3.3.0"},
        "storage": {"files": [{"path": "/etc/motd", "contents": {"source": format!("data:,{text}")}}]}
    })
    .to_string()
}

/// A core with one resource in one state.
struct World {
    service: Service,
    memory: Memory,
    state: Value,
    private: Vec<u8>,
    /// Whether the last apply ended with an error.
    failed: bool,
}

struct Plan {
    planned: Value,
    private: Vec<u8>,
    config: Value,
    replaces: bool,
    said: Vec<String>,
}

fn provider(resource: WorkerGroup) -> Provider {
    let schema = || Schema::new(0, "For tests.", vec![(memory::ENTRY.provider_schema)()]);
    Provider::new("flatcar", "example.com/flatcar/flatcar", schema).resource(resource)
}

fn kind() -> Type {
    object_type(&schema(CLOUDS).attributes)
}

fn dynamic(value: &Value, kind: &Type) -> Option<pb::DynamicValue> {
    Some(pb::DynamicValue {
        msgpack: value.to_msgpack(kind).unwrap(),
        json: Vec::new(),
    })
}

fn undynamic(value: Option<pb::DynamicValue>) -> Value {
    Value::from_msgpack(&value.unwrap().msgpack, &kind()).unwrap()
}

fn said(diagnostics: &[pb::Diagnostic]) -> Vec<String> {
    let said = |problem: &pb::Diagnostic| {
        assert!(!problem.detail.contains("s3cret"), "{}", problem.detail);
        assert!(problem.summary.len() <= 60, "{}", problem.summary);
        format!("{}: {}", problem.summary, problem.detail)
    };
    diagnostics.iter().map(said).collect()
}

/// Core's proposal: the configuration, and prior values of computed attributes that it leaves out.
fn propose(attributes: &[Attribute], prior: &Value, config: &Value) -> Value {
    let (Value::Map(prior), Value::Map(config)) = (prior, config) else {
        return config.clone();
    };
    let merged = attributes.iter().map(|attribute| {
        let (before, written) = (&prior[attribute.name], &config[attribute.name]);
        let value = match (&attribute.kind, written) {
            (_, Value::Null) if attribute.computed => before.clone(),
            (AttributeKind::Object(inner), Value::Map(_)) => propose(inner, before, written),
            _ => written.clone(),
        };
        (attribute.name.to_owned(), value)
    });
    Value::Map(merged.collect())
}

/// Every known leaf of the plan is in the result.
fn fits(planned: &Value, result: &Value, path: &str) {
    match (planned, result) {
        (Value::Unknown(_), result) => assert!(!matches!(result, Value::Unknown(_)), "{path}"),
        (Value::Map(planned), Value::Map(result)) => {
            let keys = |map: &BTreeMap<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(planned), keys(result), "{path}");
            for (key, planned) in planned {
                fits(planned, &result[key], &format!("{path}.{key}"));
            }
        }
        (Value::List(planned), Value::List(result)) => {
            assert_eq!(planned.len(), result.len(), "{path}");
            for (index, planned) in planned.iter().enumerate() {
                fits(planned, &result[index], &format!("{path}[{index}]"));
            }
        }
        (planned, result) => assert!(planned == result, "{path}"),
    }
}

fn configuration(changes: &Json) -> Value {
    let mut config = json!({
        "name": "w", "cluster": "prod", "replicas": 3, "image": "flatcar", "user_data": IGNITION,
        "memory": {}, "machine_timeout": "5m"
    });
    let mut unknown = Vec::new();
    for (key, value) in changes.as_object().unwrap() {
        if value == "<unknown>" {
            unknown.push(key.clone());
            config[key] = Json::Null;
        } else {
            config[key] = value.clone();
        }
    }
    let mut value = Value::from_json(config.to_string().as_bytes(), &kind()).unwrap();
    if let Value::Map(attributes) = &mut value {
        attributes.extend(unknown.into_iter().map(|key| (key, Value::unknown())));
    }
    value
}

/// The identity that a core has of the group.
fn identity_of(uid: &str) -> pb::ResourceIdentityData {
    let identity = [
        ("cloud", "memory"),
        ("scope", "memory/1"),
        ("cluster", "prod"),
        ("name", "w"),
        ("uid", uid),
    ];
    let identity = identity.map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())));
    let attributes = identity_schema().into_iter();
    let kind = Type::Object(attributes.map(|a| (a.name.to_owned(), a.kind)).collect());
    pb::ResourceIdentityData {
        identity_data: dynamic(&Value::Map(identity.into()), &kind),
    }
}

impl World {
    async fn new(id: &str, memory: Memory) -> Self {
        Self::on(id, memory::open(id, memory)).await
    }

    async fn on(id: &str, memory: Memory) -> Self {
        Self::with(WorkerGroup::new(CLOUDS), id, memory).await
    }

    /// A process whose environment lifts the protection of these groups.
    async fn lifting(groups: &str, id: &str) -> Self {
        let resource = WorkerGroup {
            lift: groups.to_owned(),
            ..WorkerGroup::new(CLOUDS)
        };
        Self::with(resource, id, memory::reopen(id)).await
    }

    async fn with(resource: WorkerGroup, id: &str, memory: Memory) -> Self {
        let service = Service::new(provider(resource), CancellationToken::new());
        let of = object_type(&[(memory::ENTRY.provider_schema)()]);
        let config = Value::from_json(json!({"memory": {"id": id}}).to_string().as_bytes(), &of);
        let request = pb::configure_provider::Request {
            config: dynamic(&config.unwrap(), &of),
            ..Default::default()
        };
        service
            .configure_provider(Request::new(request))
            .await
            .unwrap();
        Self {
            service,
            memory,
            state: Value::Null,
            private: Vec::new(),
            failed: false,
        }
    }

    /// Another process of this state on the same cloud, without what was recorded.
    async fn again(id: &str) -> Self {
        Self::on(id, memory::reopen(id)).await
    }

    /// Core takes the stored state up before each operation.
    async fn take_up(&mut self) {
        let request = pb::upgrade_resource_state::Request {
            type_name: "flatcar_worker_group".to_owned(),
            version: schema(CLOUDS).version,
            raw_state: Some(pb::RawState {
                json: self.state.to_json(&kind()).unwrap().into_bytes(),
                ..Default::default()
            }),
        };
        let response = self.service.upgrade_resource_state(Request::new(request));
        let response = response.await.unwrap().into_inner();
        assert_eq!(said(&response.diagnostics), NOTHING);
        self.state = undynamic(response.upgraded_state);
    }

    /// A process of another state on the same cloud.
    async fn elsewhere(id: &str) -> Self {
        let resource = WorkerGroup {
            origin: OnceLock::from("0123456789abcdef".to_owned()),
            ..WorkerGroup::new(CLOUDS)
        };
        Self::with(resource, id, memory::reopen(id)).await
    }

    /// What an apply of this group has made that was cut off before it was recorded.
    fn made(&self, ordinal: u64) {
        let name = self.machine(ordinal);
        let mark = self.memory.machines().remove(0).mark;
        let fields = self.group().fields;
        let proof = fields.proof_key.known().unwrap().proof(&name);
        self.memory.put(&name, &Mark { proof, ..mark });
    }

    async fn refresh(&mut self) -> Vec<String> {
        self.take_up().await;
        let request = pb::read_resource::Request {
            type_name: "flatcar_worker_group".to_owned(),
            current_state: dynamic(&self.state, &kind()),
            private: self.private.clone(),
            ..Default::default()
        };
        let response = self.service.read_resource(Request::new(request)).await;
        let response = response.unwrap().into_inner();
        self.state = undynamic(response.new_state);
        self.private = response.private;
        said(&response.diagnostics)
    }

    async fn plan(&self, changes: Json) -> Plan {
        let config = configuration(&changes);
        let attributes = schema(CLOUDS).attributes;
        let request = pb::plan_resource_change::Request {
            type_name: "flatcar_worker_group".to_owned(),
            prior_state: dynamic(&self.state, &kind()),
            proposed_new_state: dynamic(&propose(&attributes, &self.state, &config), &kind()),
            config: dynamic(&config, &kind()),
            prior_private: self.private.clone(),
            ..Default::default()
        };
        let response = self
            .service
            .plan_resource_change(Request::new(request))
            .await;
        let response = response.unwrap().into_inner();
        Plan {
            planned: undynamic(response.planned_state),
            private: response.planned_private,
            config,
            replaces: !response.requires_replace.is_empty(),
            said: said(&response.diagnostics),
        }
    }

    async fn apply(&mut self, plan: Plan) -> Vec<String> {
        let request = pb::apply_resource_change::Request {
            type_name: "flatcar_worker_group".to_owned(),
            prior_state: dynamic(&self.state, &kind()),
            planned_state: dynamic(&plan.planned, &kind()),
            config: dynamic(&plan.config, &kind()),
            planned_private: plan.private,
            ..Default::default()
        };
        let response = self
            .service
            .apply_resource_change(Request::new(request))
            .await;
        let response = response.unwrap().into_inner();
        let error = pb::diagnostic::Severity::Error;
        let failed = response.diagnostics.iter().any(|d| d.severity() == error);
        self.state = undynamic(response.new_state);
        self.private = response.private;
        self.failed = failed;
        if !failed {
            fits(&plan.planned, &self.state, "");
            assert!(self.state.is_wholly_known());
        }
        said(&response.diagnostics)
    }

    /// A whole run: refresh, plan, apply; what the plan said, and the problems.
    async fn run(&mut self, changes: Json) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        if !self.state.is_null() {
            problems.extend(self.refresh().await);
        }
        let plan = self.plan(changes).await;
        problems.extend(plan.said.clone());
        let rollout = self.rollout(&plan.planned);
        if plan.planned != self.state {
            problems.extend(self.apply(plan).await);
        }
        (rollout, problems)
    }

    /// A refresh and a plan; nothing is planned.
    async fn is_settled(&mut self, changes: Json) {
        assert_eq!(self.refresh().await, Vec::<String>::new());
        let plan = self.plan(changes).await;
        assert!(
            plan.planned == self.state,
            "{:?}",
            self.rollout(&plan.planned)
        );
        assert!(plan.said.is_empty(), "{:?}", plan.said);
    }

    /// Takes the group over into a state that knows nothing of it.
    async fn import(&mut self, id: &str, identity: Option<pb::ResourceIdentityData>) {
        let request = pb::import_resource_state::Request {
            type_name: "flatcar_worker_group".to_owned(),
            id: id.to_owned(),
            identity,
            ..Default::default()
        };
        let response = self
            .service
            .import_resource_state(Request::new(request))
            .await;
        let mut response = response.unwrap().into_inner();
        assert_eq!(said(&response.diagnostics), NOTHING);
        let imported = response.imported_resources.remove(0);
        self.state = undynamic(imported.state);
        self.private = imported.private;
    }

    /// What a plan to delete this object says.
    async fn plan_destroy(&self) -> Vec<String> {
        let request = pb::plan_resource_change::Request {
            type_name: "flatcar_worker_group".to_owned(),
            prior_state: dynamic(&self.state, &kind()),
            proposed_new_state: dynamic(&Value::Null, &kind()),
            config: dynamic(&Value::Null, &kind()),
            prior_private: self.private.clone(),
            ..Default::default()
        };
        let response = self.service.plan_resource_change(Request::new(request));
        said(&response.await.unwrap().into_inner().diagnostics)
    }

    async fn destroy(&mut self) -> Vec<String> {
        let request = pb::apply_resource_change::Request {
            type_name: "flatcar_worker_group".to_owned(),
            prior_state: dynamic(&self.state, &kind()),
            planned_state: dynamic(&Value::Null, &kind()),
            config: dynamic(&Value::Null, &kind()),
            planned_private: self.private.clone(),
            ..Default::default()
        };
        let response = self
            .service
            .apply_resource_change(Request::new(request))
            .await;
        let response = response.unwrap().into_inner();
        self.state = undynamic(response.new_state);
        said(&response.diagnostics)
    }

    fn group(&self) -> Group {
        Group::from_value(&self.state).unwrap()
    }

    fn uid(&self) -> String {
        self.group().fields.uid.known().unwrap().clone()
    }

    fn machine(&self, ordinal: u64) -> String {
        format!("w-{}-{ordinal}", self.uid())
    }

    /// `delete 0: reason`, with ordinals for names.
    fn rollout(&self, planned: &Value) -> Vec<String> {
        let group = Group::from_value(planned).unwrap();
        let lines = group.fields.rollout.known().cloned().unwrap_or_default();
        let steps = lines.iter().map(|line| Step::parse(line).unwrap());
        steps
            .map(|step| {
                let prefix = step.machine.rsplit_once('-').unwrap().0.to_owned();
                step.to_string().replace(&format!("{prefix}-"), "")
            })
            .collect()
    }

    /// Ordinals of the machines that the cloud has; state knows the same ones.
    fn ordinals(&self) -> Vec<u64> {
        let names = self.memory.names();
        let group = self.group();
        let machines = group.fields.machines.known().unwrap();
        assert_eq!(machines.keys().cloned().collect::<Vec<_>>(), names);
        let mut ordinals: Vec<u64> = names
            .iter()
            .filter_map(|name| crate::worker_group::plan::ordinal(name))
            .collect();
        ordinals.sort();
        ordinals
    }
}

const NOTHING: [&str; 0] = [];
