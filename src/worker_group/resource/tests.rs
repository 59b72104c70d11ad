//! Groups through the RPC service, on a cloud in memory; between the calls, what core does.

mod promises;

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

mod cluster;
mod holders;
mod shape;

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

#[test]
fn the_schemas_that_a_row_brings_are_such_as_core_takes() {
    let provider = provider(WorkerGroup::new(CLOUDS));
    let faults = crate::provider::validity::faults(&provider);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_created_scaled_rolled_repaired_and_destroyed() {
    let mut world = World::new("life", Memory::default()).await;
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{problems:?}");
    assert_eq!(world.ordinals(), [0, 1, 2]);
    assert!(world.memory.machines().iter().all(|m| !m.mark.unsaved));
    let booted = world.memory.user_data(&world.machine(1)).unwrap();
    assert!(
        booted.contains(&format!("data:,{}", world.machine(1))),
        "{booted}"
    );
    world.is_settled(json!({})).await;
    assert!(world.memory.machines().iter().all(|m| !m.mark.unsaved));

    let (rollout, problems) = world.run(json!({"replicas": 5})).await;
    assert_eq!(
        rollout,
        ["create 3: scale out to 5", "create 4: scale out to 5"]
    );
    assert_eq!(problems, NOTHING);
    world.is_settled(json!({"replicas": 5})).await;
    assert!(world.memory.machines().iter().all(|m| !m.mark.unsaved));

    world.memory.remove(&world.machine(1));
    let (rollout, problems) = world.run(json!({"replicas": 5})).await;
    assert_eq!(rollout, ["create 5: replaces 1, which is gone"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 2, 3, 4, 5]);
    world.is_settled(json!({"replicas": 5})).await;

    let (rollout, problems) = world.run(json!({"replicas": 3})).await;
    assert_eq!(
        rollout,
        ["delete 5: scale in to 3", "delete 4: scale in to 3"]
    );
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 2, 3]);

    world.memory.set(&world.machine(2), Phase::Stopped);
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(rollout, ["delete 2: stopped", "create 6: replaces 2"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 3, 6]);

    assert_eq!(world.destroy().await, NOTHING);
    assert!(world.state.is_null());
    assert!(world.memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_machine_by_machine_what_changes_and_why_and_apply_does_that() {
    let cases = [
        (
            "user-data",
            json!({"user_data": with_motd("s3cret")}),
            "user_data: ",
        ),
        (
            "size",
            json!({"memory": {"size": "large"}}),
            "memory.size changed",
        ),
        (
            "triggers",
            json!({"replace_triggers": {"kernel": "2"}}),
            "replace_triggers[\"kernel\"] changed",
        ),
    ];
    for (id, changes, reason) in cases {
        let mut world = World::new(&format!("why-{id}"), Memory::default()).await;
        world.run(json!({"user_data": with_motd("a")})).await;
        let mut changes = changes;
        if changes.get("user_data").is_none() {
            changes["user_data"] = json!(with_motd("a"));
        }
        let (rollout, problems) = world.run(changes.clone()).await;
        assert_eq!(problems, NOTHING);
        assert_eq!(rollout.len(), 6, "{rollout:?}");
        // In the order of their beginning: one more machine may exist, none may be missing.
        assert_eq!(rollout[0], "create 3: replaces 0");
        assert!(
            rollout[1].starts_with(&format!("delete 0: {reason}")),
            "{rollout:?}"
        );
        assert_eq!(world.ordinals(), [3, 4, 5]);
        world.is_settled(changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_spelled_otherwise_rolls_nothing() {
    let mut world = World::new("spelling", Memory::default()).await;
    world.run(json!({})).await;
    let spaced = "{ \"ignition\" : { \"version\" : \"3.3.0\" } }";
    for changes in [
        json!({"user_data": spaced}),
        json!({"memory": {"size": "small"}}),
        json!({"image_update": "roll"}),
        json!({"image_update": "pinned"}),
        json!({"user_data_update": "new_only"}),
        json!({"rolling_update": {"max_surge": "50%"}}),
        json!({"set_hostname": true}),
        json!({"timeouts": {"create": "1h"}}),
    ] {
        let before = world.memory.log().len();
        let (_, problems) = world.run(changes.clone()).await;
        assert_eq!(problems, NOTHING, "{changes}");
        assert_eq!(world.memory.log().len(), before, "{changes}");
        world.is_settled(changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_rolls_as_image_update_says() {
    let other = |policy: &str| json!({"image": "other", "image_update": policy});
    let mut world = World::new("image", Memory::default()).await;
    world.run(json!({})).await;
    let (rollout, _) = world.run(other("new_only")).await;
    assert_eq!(rollout, NOTHING);
    let mut more = other("new_only");
    more["replicas"] = json!(4);
    world.run(more).await;
    let images = |world: &World| {
        let mut images: Vec<String> = world
            .memory
            .machines()
            .into_iter()
            .map(|m| m.image)
            .collect();
        images.sort();
        images.join(" ")
    };
    assert_eq!(images(&world), "flatcar flatcar flatcar other");
    let mut pinned = other("pinned");
    pinned["replicas"] = json!(5);
    world.run(pinned).await;
    assert_eq!(images(&world), "flatcar flatcar flatcar flatcar other");
    let mut roll = other("roll");
    roll["replicas"] = json!(5);
    let (rollout, problems) = world.run(roll).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout[1], "delete 0: image: flatcar -> other");
    assert_eq!(rollout.len(), 8);
    assert_eq!(images(&world), "other other other other other");
}

#[tokio::test(start_paused = true)]
async fn a_write_only_user_data_rolls_by_its_version_and_is_in_no_state() {
    let wo = |secret: &str, version: i64| json!({"user_data": null, "user_data_wo": with_motd(secret), "user_data_wo_version": version});
    let mut world = World::new("wo", Memory::default()).await;
    let (_, problems) = world.run(wo("s3cret-1", 1)).await;
    assert_eq!(problems, NOTHING);
    assert!(
        world
            .memory
            .user_data(&world.machine(0))
            .unwrap()
            .contains("s3cret-1")
    );
    let stored = world.state.to_json(&kind()).unwrap();
    assert!(!stored.contains("s3cret"));
    world.is_settled(wo("s3cret-2", 1)).await;
    let (rollout, _) = world.run(wo("s3cret-3", 2)).await;
    assert_eq!(rollout[1], "delete 0: user_data_wo_version: 1 -> 2");
    assert!(
        world
            .memory
            .user_data(&world.machine(3))
            .unwrap()
            .contains("s3cret-3")
    );
}

#[tokio::test(start_paused = true)]
async fn tags_change_in_place_and_drift_is_mended() {
    let tags = |owner: &str| json!({"memory": {"tags": {"owner": owner}}});
    let mut world = World::new("tags", Memory::default()).await;
    world.run(tags("a")).await;
    let (rollout, problems) = world.run(tags("b")).await;
    assert_eq!(rollout[0], "update 0: memory.tags changed");
    assert_eq!((rollout.len(), problems.len()), (3, 0));
    assert_eq!(world.ordinals(), [0, 1, 2]);
    assert!(
        world
            .memory
            .machines()
            .iter()
            .all(|m| m.observed["tags.owner"] == "b")
    );
    world.is_settled(tags("b")).await;

    world.memory.observe(&world.machine(1), "tags.owner", "x");
    let (rollout, _) = world.run(tags("b")).await;
    assert_eq!(rollout, ["update 1: memory.tags changed"]);
    world.is_settled(tags("b")).await;

    world.memory.observe(&world.machine(1), "size", "huge");
    let (rollout, _) = world.run(tags("b")).await;
    assert_eq!(
        rollout,
        [
            "create 3: replaces 1",
            "delete 1: memory.size changed outside of this configuration"
        ]
    );
    world.is_settled(tags("b")).await;

    world
        .memory
        .order(Call::Mark, "", Fault::Refused(Kind::Forbidden));
    let (_, problems) = world.run(tags("c")).await;
    assert!(
        problems[0].starts_with("Could not change machines in place"),
        "{problems:?}"
    );
    let (rollout, problems) = world.run(tags("c")).await;
    assert_eq!((rollout.len(), problems.len()), (3, 0));
    world.is_settled(tags("c")).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_is_planned_and_left_alone() {
    let mut world = World::new("paused", Memory::default()).await;
    world.run(json!({})).await;
    let paused = json!({"paused": true, "user_data": with_motd("b")});
    let before = world.memory.log().len();
    let (rollout, problems) = world.run(paused.clone()).await;
    // What is planned is nothing, and what is left undone is told.
    assert_eq!(rollout, NOTHING);
    let first = format!(
        "Group is paused: 6 steps are left undone: create {} (replaces {}); delete {} (user_data: ",
        world.machine(3),
        world.machine(0),
        world.machine(0)
    );
    assert!(problems[0].starts_with(&first), "{problems:?}");
    assert_eq!(world.memory.log().len(), before);
    world.refresh().await;
    let plan = world.plan(paused).await;
    assert!(plan.planned == world.state);
    let (rollout, problems) = world.run(json!({"user_data": with_motd("b")})).await;
    assert_eq!(problems, NOTHING);
    assert!(rollout[1].starts_with("delete 0: user_data"), "{rollout:?}");
    assert_eq!(world.ordinals(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_input_makes_what_depends_on_it_unknown_and_nothing_else() {
    let mut world = World::new("unknown", Memory::default()).await;
    world.run(json!({})).await;
    for key in ["user_data", "image", "replicas", "replace_triggers"] {
        let plan = world.plan(json!({key: "<unknown>"})).await;
        let group = Group::from_value(&plan.planned).unwrap();
        assert!(group.fields.rollout.is_unknown(), "{key}");
        assert!(group.fields.machines.is_unknown(), "{key}");
        assert!(group.fields.generation.is_unknown(), "{key}");
        assert!(group.fields.uid.known().is_some(), "{key}");
        assert_eq!(plan.said, NOTHING);
    }
    let fresh = World::new("unknown-create", Memory::default()).await;
    let plan = fresh.plan(json!({"user_data": "<unknown>"})).await;
    let group = Group::from_value(&plan.planned).unwrap();
    assert_eq!(group.fields.rollout, Whole::Known(Vec::new()));
    assert_eq!(group.fields.cloud, Attr::Known("memory".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_protected_group_refuses_to_be_destroyed() {
    let mut world = World::new("protected", Memory::default()).await;
    world.run(json!({"deletion_protection": true})).await;
    let problems = world.destroy().await;
    assert!(
        problems[0].starts_with("Group is protected from deletion"),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.run(json!({})).await;
    assert_eq!(world.destroy().await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn what_a_replacement_deposed_is_deleted_in_spite_of_its_protection_where_the_environment_says_so()
 {
    for (flag, summary) in [
        ("deletion_protection", "Group is protected from deletion"),
        ("paused", "Group is paused"),
    ] {
        let id = format!("lifted-{flag}");
        let mut old = World::new(&id, Memory::default()).await;
        old.run(json!({})).await;
        old.run(json!({flag: true})).await;
        let refused = [old.plan_destroy().await, old.destroy().await];
        for said in refused {
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(summary), "{said:?}");
            assert!(
                said[0].contains("deposed") && said[0].contains("FLATCAR_LIFT_PROTECTION=prod/w "),
                "{said:?}"
            );
        }
        for (list, is_lifted) in [("prod/wx,prod,w,/,prod/,*", false), ("test/w,prod/w", true)] {
            let mut world = World::lifting(list, &id).await;
            (world.state, world.private) = (old.state.clone(), old.private.clone());
            let planned = world.plan_destroy().await;
            let summary = match is_lifted {
                true => "Protection of the group is lifted: FLATCAR_LIFT_PROTECTION names prod/w",
                false => summary,
            };
            assert!(planned[0].starts_with(summary), "{list} {planned:?}");
            let problems = world.destroy().await;
            assert_eq!(problems.is_empty(), is_lifted, "{list} {problems:?}");
            assert_eq!(world.memory.names().is_empty(), is_lifted, "{list}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_protected_group_is_not_emptied_either() {
    let mut world = World::new("protected-empty", Memory::default()).await;
    let protected =
        |replicas: u8, on: bool| json!({"deletion_protection": on, "replicas": replicas});
    world.run(protected(3, true)).await;
    world.refresh().await;
    let plan = world.plan(protected(0, true)).await;
    assert!(
        plan.said[0].starts_with("Group is protected from deletion")
            && plan.said[0].contains("all 3 machines"),
        "{:?}",
        plan.said
    );
    // One at a time is no deletion of the group.
    let (rollout, problems) = world.run(protected(1, true)).await;
    assert_eq!((rollout.len(), problems.len()), (2, 0), "{problems:?}");
    let paused = json!({"deletion_protection": true, "replicas": 0, "paused": true});
    let plan = world.plan(paused).await;
    assert!(
        plan.said[0].starts_with("Group is paused"),
        "{:?}",
        plan.said
    );
    let (rollout, problems) = world.run(protected(0, false)).await;
    assert_eq!((rollout.len(), problems.len()), (1, 0), "{problems:?}");
    let (_, problems) = world.run(protected(0, true)).await;
    assert_eq!(problems, NOTHING, "there is nothing to protect");
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_is_neither_destroyed_nor_replaced() {
    let mut world = World::new("paused-destroy", Memory::default()).await;
    world.run(json!({})).await;
    world.run(json!({"paused": true})).await;
    for changes in [
        json!({"paused": true, "name": "v"}),
        json!({"cluster": "test"}),
    ] {
        let plan = world.plan(changes).await;
        assert!(
            plan.said[0].starts_with("Group is paused"),
            "{:?}",
            plan.said
        );
    }
    let problems = world.destroy().await;
    assert!(problems[0].starts_with("Group is paused"), "{problems:?}");
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.run(json!({})).await;
    assert_eq!(world.destroy().await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn a_paused_creation_makes_no_machine_and_says_so() {
    let mut world = World::new("paused-create", Memory::default()).await;
    let (_, problems) = world.run(json!({"paused": true})).await;
    assert!(
        problems[0].starts_with("Group is paused: No machine was created."),
        "{problems:?}"
    );
    assert!(world.memory.names().is_empty());
    assert_eq!(
        world.destroy().await,
        NOTHING,
        "there is nothing to protect"
    );

    let mut world = World::new("paused-leftover", Memory::default()).await;
    world.run(json!({"replicas": 2})).await;
    world.memory.cut_off();
    let mut next = World::again("paused-leftover").await;
    let (_, problems) = next.run(json!({"paused": true})).await;
    assert!(
        problems[0].starts_with("Existing machines were taken over: 2 machines")
            && problems[1].contains("2 that exist were taken over"),
        "{problems:?}"
    );
    assert_eq!(next.ordinals(), [0, 1]);
    let (rollout, problems) = next.run(json!({})).await;
    assert_eq!(
        (rollout.len(), problems.len()),
        (1, 0),
        "{rollout:?} {problems:?}"
    );
    assert_eq!(next.memory.machines().len(), 3);
    next.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_falls_short_says_what_exists_and_the_next_apply_goes_on() {
    let mut world = World::new("short", Memory::default()).await;
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Quota));
    let (_, problems) = world.run(json!({})).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("2 of 3 machines exist and are recorded"),
        "{problems:?}"
    );
    assert!(problems[0].contains("terraform untaint"), "{problems:?}");
    assert_eq!(world.ordinals().len(), 2);
    // Untainted.
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(
        (rollout.len(), problems.len()),
        (1, 0),
        "{rollout:?} {problems:?}"
    );
    assert_eq!(world.ordinals().len(), 3);
    world.is_settled(json!({})).await;

    let mut world = World::new("short-warn", Memory::default()).await;
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Quota));
    let (_, problems) = world.run(json!({"on_incomplete_create": "warn"})).await;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("of them run"), "{problems:?}");
    assert!(
        problems[0].contains("The next apply completes"),
        "{problems:?}"
    );
    assert!(!problems[0].contains("untaint"), "{problems:?}");
    assert_eq!(world.ordinals().len(), 2);

    for policy in ["error", "warn"] {
        let mut world = World::new(&format!("short-none-{policy}"), Memory::default()).await;
        for _ in 0..7 {
            let refused = Fault::Refused(Kind::Quota);
            world.memory.order(Call::Create, "", refused);
        }
        let changes = json!({"on_incomplete_create": policy, "replicas": 7});
        let (_, problems) = world.run(changes).await;
        assert_eq!(problems.len(), 1, "one cause, one error: {problems:?}");
        assert!(problems[0].contains("befell 7 machines"), "{problems:?}");
        assert!(problems[0].contains("-4 and 2 more"), "{problems:?}");
        assert!(problems[0].contains("No machine exists"), "{problems:?}");
        assert!(!problems[0].contains("untaint"), "{problems:?}");
        assert!(world.state.is_null());
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_ends_short_fails_or_warns_as_the_group_says_and_is_completed() {
    // what befalls creates, how often, machines that exist then, what is said
    let cases = [
        (
            Fault::Refused(Kind::Quota),
            1,
            2,
            "No quota or capacity for machine",
        ),
        (
            Fault::Refused(Kind::Forbidden),
            2,
            1,
            "Could not create machine",
        ),
        // One more than a creation makes again.
        (Fault::Dead, 6, 3, "Machine does not serve"),
    ];
    for (number, (fault, times, exist, said)) in cases.into_iter().enumerate() {
        for (policy, fails) in [
            (Json::Null, true),
            (json!("error"), true),
            (json!("warn"), false),
        ] {
            let what = format!("{fault:?} {policy}");
            let id = format!("ends-short-{number}-{policy}");
            let mut world = World::new(&id, Memory::default()).await;
            for _ in 0..times {
                world.memory.order(Call::Create, "", fault);
            }
            let config = json!({"on_incomplete_create": policy});
            let (_, problems) = world.run(config.clone()).await;
            assert_eq!(problems.len(), 1, "{what}: {problems:?}");
            assert!(problems[0].contains(said), "{what}: {problems:?}");
            assert_eq!(world.failed, fails, "{what}: {problems:?}");
            assert_eq!(world.ordinals().len(), exist, "{what}: {problems:?}");
            assert_eq!(problems[0].contains("untaint"), fails, "{what}");
            if fails {
                continue;
            }
            let (_, problems) = world.run(config.clone()).await;
            assert_eq!(problems, NOTHING, "{what}");
            assert_eq!(world.ordinals().len(), 3, "{what}");
            world.is_settled(config).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_makes_dead_machines_again() {
    let mut world = World::new("dead", Memory::default()).await;
    world.memory.order(Call::Create, "", Fault::Dead);
    world.memory.order(Call::Create, "", Fault::Stops);
    let (_, problems) = world.run(json!({})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_creation_that_never_returned_left_is_taken_over() {
    let mut world = World::new("leftover", Memory::default()).await;
    world.run(json!({})).await;
    // The state was never saved.
    world.memory.cut_off();
    let mut next = World::again("leftover").await;
    let (_, problems) = next.run(json!({"replicas": 4})).await;
    let [told] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert!(
        told.starts_with("Existing machines were taken over: 3 machines of this cluster"),
        "{told}"
    );
    for words in [world.machine(2).as_str(), "of this state", "was cut off"] {
        assert!(told.contains(words), "{words} {told}");
    }
    assert_eq!(next.memory.machines().len(), 4);
    assert_eq!(next.ordinals().len(), 4);
    assert_eq!(
        next.memory
            .log()
            .iter()
            .filter(|l| l.starts_with("create"))
            .count(),
        4
    );
    next.is_settled(json!({"replicas": 4})).await;
    assert_eq!(next.destroy().await, NOTHING);
    assert!(next.memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn machines_of_another_state_are_treated_as_on_existing_says() {
    for (policy, problems_start, machines, adopted) in [
        ("fail", Some("Group exists already"), 3, false),
        ("keep", Some("Another group of this name exists"), 6, false),
        ("adopt", None, 3, true),
    ] {
        let id = format!("existing-{policy}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        world.refresh().await;
        let old = world.uid();
        let mut next = World::again(&id).await;
        let (_, problems) = next.run(json!({"on_existing": policy})).await;
        let first = problems
            .first()
            .map(|p| p.split(':').next().unwrap_or_default());
        assert_eq!(first, problems_start, "{policy} {problems:?}");
        assert_eq!(next.memory.machines().len(), machines, "{policy}");
        let of_old = next
            .memory
            .machines()
            .iter()
            .filter(|m| m.mark.uid == old)
            .count();
        assert_eq!(of_old == 0, adopted, "{policy}");
        assert_eq!(next.state.is_null(), policy == "fail");
        if policy == "keep" {
            assert_eq!(next.destroy().await, NOTHING);
            assert_eq!(next.memory.machines().len(), 3, "the old group's stay");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn machines_that_another_creation_made_and_no_state_has_refreshed_yet_are_never_deleted() {
    for (policy, summary, machines) in [
        ("fail", Some("Group exists already"), 3),
        ("keep", Some("Another group of this name exists"), 6),
        ("adopt", None, 3),
    ] {
        for phase in [Phase::Running, Phase::Pending] {
            let id = format!("unsaved-{policy}-{phase:?}");
            let mut world = World::new(&id, Memory::default()).await;
            world.run(json!({})).await;
            world.memory.cut_off();
            for name in world.memory.names() {
                world.memory.set(&name, phase);
            }
            let ids = |world: &World| {
                let machines = world.memory.machines().into_iter();
                machines.map(|m| m.id).collect::<BTreeSet<_>>()
            };
            let before = ids(&world);
            let mut next = World::again(&id).await;
            let other = json!({"on_existing": policy, "user_data": with_motd("b")});
            let (_, problems) = next.run(other.clone()).await;
            let first = problems.iter().find_map(|p| p.split(':').next());
            let expected = match phase {
                Phase::Running => summary,
                _ => summary.or(first),
            };
            assert_eq!(first, expected, "{id} {problems:?}");
            assert!(ids(&next).is_superset(&before), "{id}");
            assert_eq!(ids(&next).len(), machines, "{id}");
            assert_eq!(next.state.is_null(), policy == "fail", "{id}");
            if policy == "adopt" && phase == Phase::Running {
                let (rollout, _) = next.run(other).await;
                assert!(rollout[1].starts_with("delete "), "{rollout:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_a_creation_that_never_returned_left_only_what_broke_is_deleted() {
    // One that failed is not worth a mark.
    for (phase, taken) in [(Phase::Stopped, 4), (Phase::Failed, 3)] {
        a_broken_leftover_is_deleted(phase, taken).await;
    }
}

async fn a_broken_leftover_is_deleted(phase: Phase, taken: usize) {
    let id = format!("leftover-{phase:?}");
    let mut world = World::new(&id, Memory::default()).await;
    world.run(json!({"replicas": 4})).await;
    world.memory.cut_off();
    let broken = world.machine(0);
    world.memory.set(&broken, phase);
    let mut next = World::again(&id).await;
    let (_, problems) = next.run(json!({"replicas": 2})).await;
    assert!(
        problems.len() == 1 && problems[0].contains(&format!("{taken} machines of this cluster")),
        "{problems:?}"
    );
    assert!(!next.memory.names().contains(&broken));
    assert_eq!(next.ordinals(), [1, 2, 3]);
    let (rollout, problems) = next.run(json!({"replicas": 2})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout.len(), 1, "{rollout:?}");
    assert_eq!(next.ordinals().len(), 2);
    next.is_settled(json!({"replicas": 2})).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_adopts_its_predecessor_keeps_the_machines_when_that_is_destroyed() {
    let mut old = World::new("adopted", Memory::default()).await;
    old.run(json!({})).await;
    old.refresh().await;
    let mut next = World::again("adopted").await;
    let (_, problems) = next.run(json!({"on_existing": "adopt"})).await;
    assert_eq!(problems, NOTHING);
    let problems = old.destroy().await;
    let told = "Machines belong to another group now: Another group has adopted 3 machines";
    assert!(
        problems.len() == 1 && problems[0].starts_with(told),
        "{problems:?}"
    );
    assert!(old.state.is_null());
    assert_eq!(next.ordinals(), [0, 1, 2]);
    next.is_settled(json!({"on_existing": "adopt"})).await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_tells_of_machines_that_were_adopted_or_that_another_creation_left() {
    for (policy, summary, kept) in [
        ("adopt", "Machines belong to another group now", 0),
        ("keep", "Machines of another creation exist", 3),
    ] {
        let id = format!("strangers-{policy}");
        let mut old = World::new(&id, Memory::default()).await;
        old.run(json!({})).await;
        old.refresh().await;
        let mut next = World::again(&id).await;
        next.run(json!({"on_existing": policy})).await;
        if policy == "keep" {
            next.memory.cut_off();
        }
        let problems = old.refresh().await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(summary), "{problems:?}");
        let name = next.group().fields.machines.known().unwrap().clone();
        let name = name.keys().next().unwrap().clone();
        assert!(problems[0].contains(&name), "{problems:?}");
        let known = old.group().fields.machines.known().unwrap().len();
        assert_eq!(known, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_marks_were_taken_off_is_still_the_one_that_was_recorded() {
    let mut world = World::new("unmarked", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let name = world.machine(1);
    world.memory.unmark(&name);
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(rollout, ["update 1: marks changed"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 1, 2]);
    let marks = world.memory.machines().into_iter().map(|machine| Mark {
        proof: String::new(),
        ..machine.mark
    });
    let marks: Vec<Mark> = marks.collect();
    assert_eq!(marks[0], marks[1]);
    world.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_somebody_changed_is_mended_and_rolls_nothing() {
    for generation in ["", "something else"] {
        let id = format!("remarked-{generation}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        world.refresh().await;
        let mark = world.memory.machines().remove(1).mark;
        world.memory.remark(&world.machine(1), generation);
        let (rollout, problems) = world.run(json!({})).await;
        assert_eq!(rollout, ["update 1: marks changed"]);
        assert_eq!(problems, NOTHING);
        assert_eq!(world.memory.machines().remove(1).mark, mark);
        world.is_settled(json!({})).await;
        // Nor where the plan did not know of it.
        let plan = world.plan(json!({"replicas": 4})).await;
        world.memory.remark(&world.machine(1), generation);
        let problems = world.apply(plan).await.join("");
        assert!(problems.contains("as well: marks changed"), "{problems}");
        assert_eq!(world.ordinals(), [0, 1, 2, 3]);
        world.is_settled(json!({"replicas": 4})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_blocks_of_one_name_in_one_run_are_an_error() {
    let mut world = World::new("twice", Memory::default()).await;
    world.run(json!({})).await;
    world.state = Value::Null;
    let (_, problems) = world.run(json!({})).await;
    assert!(
        problems[0].starts_with("Two groups have one cluster and name"),
        "{problems:?}"
    );
    assert_eq!(world.memory.machines().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_does_not_answer_changes_nothing_in_state() {
    let mut world = World::new("silent", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let before = world.state.clone();
    for kind in [
        Kind::Forbidden,
        Kind::Unauthenticated,
        Kind::BadRequest,
        Kind::NotFound,
    ] {
        world.memory.order(Call::List, "", Fault::Refused(kind));
        let problems = world.refresh().await;
        assert!(
            problems[0].starts_with("Could not read the group's machines"),
            "{problems:?}"
        );
        assert!(world.state == before);
    }
}

#[tokio::test(start_paused = true)]
async fn machines_that_state_lost_are_taken_back() {
    let mut world = World::new("lost-state", Memory::default()).await;
    world.run(json!({"replicas": 2})).await;
    let (older, private) = (world.state.clone(), world.private.clone());
    world.run(json!({"replicas": 4})).await;
    world.state = older;
    world.private = private;
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
    assert_eq!(world.ordinals(), [0, 1, 2, 3]);
    let (rollout, _) = world.run(json!({"replicas": 5})).await;
    assert_eq!(rollout, ["create 4: scale out to 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_young_machine_that_is_not_listed_yet_is_not_gone() {
    let memory = Memory {
        window: Duration::from_secs(300),
        ..Memory::default()
    };
    let mut world = World::new("young", memory).await;
    world.run(json!({"replicas": 1})).await;
    let name = world.machine(0);
    let taken = world.memory.hide(&name, SystemTime::now());
    world.refresh().await;
    assert_eq!(world.group().fields.machines.known().unwrap().len(), 1);
    world.memory.unhide(taken);
    world.is_settled(json!({"replicas": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_goes_by_itself_is_no_matter() {
    let memory = Memory {
        deletion: Duration::from_secs(600),
        ..Memory::default()
    };
    let mut world = World::new("twin-going", memory).await;
    world.run(json!({})).await;
    world.refresh().await;
    let first = world.memory.machines().remove(1);
    world.memory.put(&first.name, &first.mark);
    let twin = world.memory.machines().pop().unwrap();
    let of_state = |world: &World| {
        let group = world.group();
        let machines = group.fields.machines.known().unwrap();
        machines[&first.name].clone()
    };
    crate::worker_group::cloud::Answers::delete(&world.memory, &twin)
        .await
        .unwrap();
    world.is_settled(json!({})).await;
    assert_eq!(of_state(&world).id, first.id);
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!(rollout, ["create 3: scale out to 4"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(of_state(&world).id, first.id);
    assert_eq!(of_state(&world).phase, "running");
    assert_eq!(world.memory.names().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_destroy_names_what_a_replacement_that_was_cut_off_leaves_running() {
    let keep = json!({"on_existing": "keep", "replicas": 1});
    let mut old = World::new("cut-off", Memory::default()).await;
    old.run(keep.clone()).await;
    old.refresh().await;
    // The process that replaces it is killed, and its state is lost.
    let mut lost = World::again("cut-off").await;
    lost.run(keep.clone()).await;
    lost.memory.cut_off();
    // The next one changes nothing, and destroys.
    let mut next = World::again("cut-off").await;
    (next.state, next.private) = (old.state.clone(), old.private.clone());
    let (rollout, problems) = next.run(keep).await;
    assert_eq!((rollout.len(), problems.len()), (0, 1), "{problems:?}");
    let problems = next.destroy().await;
    assert!(next.state.is_null());
    assert_eq!(next.memory.names(), [lost.machine(0)]);
    let told = format!(
        "Machines of another creation are left: 1 machine of this cluster and name was not deleted with the group, but made by a \
         creation whose state was never seen: {}. Where a replacement",
        lost.machine(0)
    );
    assert!(
        problems.len() == 1 && problems[0].starts_with(&told),
        "{problems:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_touches_no_machine_has_no_step_whatever_the_last_apply_did() {
    let mut world = World::new("no-step", Memory::default()).await;
    world.run(json!({"replicas": 2})).await;
    let (last, _) = world.run(json!({"replicas": 3})).await;
    assert_eq!(last.len(), 1);
    let longer = json!({"machine_timeout": "6m"});
    for changes in [json!({}), longer.clone(), longer.clone()] {
        world.refresh().await;
        let plan = world.plan(changes.clone()).await;
        assert_eq!(world.rollout(&plan.planned), NOTHING, "{changes}");
        world.apply(plan).await;
    }
    let (last, _) = world.run(json!({"replicas": 1})).await;
    assert_eq!(last.len(), 2);
    world.memory.remove(&world.machine(0));
    let (rollout, problems) = world.run(json!({"replicas": 0})).await;
    assert_eq!((rollout, problems), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_replaces_another_of_its_name_leaves_its_machines_alone_and_each_goes_with_its_own()
 {
    let mut old = World::new("replace", Memory::default()).await;
    old.run(json!({})).await;
    old.refresh().await;
    // create_before_destroy: one process creates the new group, then deletes the old one.
    let keep = json!({"on_existing": "keep"});
    let (state, private) = (
        std::mem::replace(&mut old.state, Value::Null),
        old.private.clone(),
    );
    let mut world = World::again("replace").await;
    let (_, problems) = world.run(keep.clone()).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (new_state, new_private) = (world.state.clone(), world.private.clone());
    world.state = state;
    world.private = private;
    assert_eq!(world.destroy().await, NOTHING);
    world.state = new_state;
    world.private = new_private;
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(keep).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_or_a_cluster_that_changes_replaces_the_group() {
    let mut world = World::new("renamed", Memory::default()).await;
    world.run(json!({})).await;
    let both = json!({"name": "v", "cluster": "test", "replicas": 2});
    for (changes, what) in [
        (json!({"name": "v"}), "A change of name makes"),
        (json!({"cluster": "test"}), "A change of cluster makes"),
        (both, "2 others"),
    ] {
        let plan = world.plan(changes).await;
        assert!(plan.replaces);
        let [said] = &plan.said[..] else {
            panic!("{:?}", plan.said)
        };
        assert!(said.starts_with("Group is replaced: "), "{said}");
        assert!(said.contains(what), "{said}");
        assert!(said.contains(&world.machine(2)), "{said}");
    }
    let plan = world.plan(json!({"replicas": 1})).await;
    assert!(!plan.replaces);
    assert_eq!(plan.said, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn another_cloud_replaces_the_group_and_the_plan_says_which_machines_go() {
    let mut world = World::new("moved", Memory::default()).await;
    world.run(json!({})).await;
    let moved = json!({"memory": null, "second": {}});
    let plan = world.plan(moved.clone()).await;
    assert!(plan.replaces);
    assert_eq!(plan.said.len(), 1, "{:?}", plan.said);
    assert!(
        plan.said[0].starts_with("Group is replaced: A change of memory and second makes"),
        "{:?}",
        plan.said
    );
    assert!(plan.said[0].contains(&world.machine(0)), "{:?}", plan.said);
    world.run(json!({"deletion_protection": true})).await;
    let plan = world.plan(moved).await;
    assert!(
        plan.said[0].starts_with("Group is protected from deletion"),
        "{:?}",
        plan.said
    );
}

#[tokio::test(start_paused = true)]
async fn user_data_for_new_machines_only_rolls_nothing() {
    let mut world = World::new("wanted-new", Memory::default()).await;
    world.run(json!({})).await;
    let changed = |replicas: u8| json!({"user_data": with_motd("new"), "user_data_update": "new_only", "replicas": replicas});
    let (rollout, problems) = world.run(changed(3)).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
    let (rollout, _) = world.run(changed(4)).await;
    assert_eq!(rollout, ["create 3: scale out to 4"]);
    for (ordinal, new) in [(2, false), (3, true)] {
        let booted = world.memory.user_data(&world.machine(ordinal)).unwrap();
        assert_eq!(booted.contains("data:,new"), new, "{booted}");
    }
    world.is_settled(changed(4)).await;
}

#[tokio::test(start_paused = true)]
async fn without_set_hostname_user_data_is_booted_as_it_is() {
    let mut world = World::new("hostname", Memory::default()).await;
    world.run(json!({})).await;
    let plain = json!({"set_hostname": false});
    let (rollout, problems) = world.run(plain.clone()).await;
    assert_eq!((rollout.len(), problems.len()), (6, 0), "{rollout:?}");
    assert!(
        rollout.contains(&"delete 0: user_data: set_hostname changed".to_owned()),
        "{rollout:?}"
    );
    let booted = world.memory.user_data(&world.machine(3)).unwrap();
    assert_eq!(booted, IGNITION);
    world.is_settled(plain).await;
}

#[tokio::test(start_paused = true)]
async fn shares_in_percent_hold_for_a_whole_roll() {
    // Of three: two more (rounded up), one fewer (rounded down).
    let rolled = |motd: &str| {
        json!({
            "user_data": with_motd(motd),
            "rolling_update": {"max_surge": "50%", "max_unavailable": "34%", "canary": false}
        })
    };
    let mut world = World::new("percent", Memory::default()).await;
    world.run(rolled("a")).await;
    let (rollout, problems) = world.run(rolled("b")).await;
    assert_eq!((rollout.len(), problems.len()), (6, 0), "{rollout:?}");
    let first: Vec<&str> = rollout.iter().map(|step| &step[..8]).collect();
    assert_eq!(
        first[..3],
        ["delete 0", "create 3", "create 4"],
        "{rollout:?}"
    );
    assert_eq!(
        (world.memory.most(), world.memory.fewest_ready()),
        (5, Some(2))
    );
    assert_eq!(world.ordinals(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_as_allowed_are_made_again_in_a_roll() {
    for (allowed, problems) in [(2, 0), (1, 1)] {
        let mut world = World::new(&format!("budget-{allowed}"), Memory::default()).await;
        world.run(json!({})).await;
        world.memory.order(Call::Create, "", Fault::Dead);
        world.memory.order(Call::Create, "", Fault::Dead);
        let rolled =
            json!({"replace_triggers": {"x": "1"}, "rolling_update": {"max_failures": allowed}});
        let (_, said) = world.run(rolled.clone()).await;
        assert_eq!(said.len(), problems, "{allowed} {said:?}");
        let (_, said) = world.run(rolled.clone()).await;
        assert_eq!(said, NOTHING, "{allowed}");
        world.is_settled(rolled).await;
    }
}

#[tokio::test(start_paused = true)]
async fn remove_first_names_what_goes() {
    let mut world = World::new("named", Memory::default()).await;
    world.run(json!({})).await;
    let named = json!({"replicas": 2, "remove_first": [world.machine(0)]});
    let (rollout, problems) = world.run(named.clone()).await;
    assert_eq!(rollout, ["delete 0: scale in to 2 (named in remove_first)"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [1, 2]);
    world.is_settled(named).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_boots_another_image_or_never_comes_up_is_replaced_alone() {
    let mut world = World::new("drifted", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    world.memory.reimage(&world.machine(1), "other");
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(
        rollout,
        [
            "create 3: replaces 1",
            "delete 1: image changed outside of this configuration"
        ]
    );
    assert_eq!(problems, NOTHING);
    // It has been pending since an hour, and has five minutes.
    let four = json!({"replicas": 4, "timeouts": {"update": "30s"}});
    world.memory.order(Call::Create, "", Fault::Hangs);
    let (_, problems) = world.run(four.clone()).await;
    assert!(
        problems[0].starts_with("Timeout of the operation is over"),
        "{problems:?}"
    );
    let late = world.machine(4);
    let since = SystemTime::now() - Duration::from_secs(3600);
    let hidden = world.memory.hide(&late, since);
    world.memory.unhide(hidden);
    let (rollout, problems) = world.run(four.clone()).await;
    assert_eq!(
        rollout,
        [
            "delete 4: not running within machine_timeout",
            "create 5: replaces 4"
        ]
    );
    assert_eq!(problems, NOTHING);
    world.is_settled(four).await;
}

#[tokio::test(start_paused = true)]
async fn another_image_is_still_drift_after_an_apply_that_failed() {
    let mut world = World::new("drifted-still", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    world.memory.reimage(&world.machine(1), "other");
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Forbidden));
    let (_, problems) = world.run(json!({})).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (rollout, problems) = world.run(json!({})).await;
    let drifted = "delete 1: image changed outside of this configuration".to_owned();
    assert!(rollout.contains(&drifted), "{rollout:?}");
    assert_eq!(problems, NOTHING);
    world.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_and_was_not_missed_gives_no_reason_later() {
    let mut world = World::new("not-missed", Memory::default()).await;
    world.run(json!({})).await;
    world.memory.remove(&world.machine(0));
    let (rollout, problems) = world.run(json!({"replicas": 2})).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
    let (rollout, _) = world.run(json!({})).await;
    assert_eq!(rollout, ["create 3: scale out to 3"]);
}

#[tokio::test(start_paused = true)]
async fn machines_of_a_predecessor_that_are_going_are_nobodys() {
    let memory = Memory {
        deletion: Duration::from_secs(600),
        ..Memory::default()
    };
    let mut old = World::new("going", memory).await;
    old.run(json!({})).await;
    old.refresh().await;
    for machine in old.memory.machines() {
        crate::worker_group::cloud::Answers::delete(&old.memory, &machine)
            .await
            .unwrap();
    }
    let mut next = World::again("going").await;
    let (_, problems) = next.run(json!({})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(next.memory.names().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn each_operation_ends_within_its_own_timeout() {
    let timeouts = json!({"create": "20s", "read": "10s", "update": "30s", "delete": "40s"});
    let config = |motd: &str| json!({"timeouts": timeouts, "user_data": with_motd(motd)});
    let within = |start: Instant, seconds: u64, what: &str| {
        let took = start.elapsed();
        assert!(took <= Duration::from_secs(seconds), "{what} {took:?}");
        assert!(
            took >= Duration::from_secs(seconds * 9 / 10),
            "{what} {took:?}"
        );
    };
    let slow = Memory {
        boot: Duration::from_secs(100),
        ..Memory::default()
    };
    let mut world = World::new("timeout-create", slow).await;
    let start = Instant::now();
    let (_, problems) = world.run(config("a")).await;
    within(start, 20, "create");
    assert!(
        problems[0].starts_with("Timeout of the operation is over: It may take 20s, "),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);

    let mut world = World::new("timeout", Memory::default()).await;
    world.run(config("a")).await;
    world.refresh().await;
    let before = world.state.clone();
    world.memory.order(Call::List, "", Fault::Silent);
    let start = Instant::now();
    let problems = world.refresh().await;
    within(start, 10, "read");
    assert!(
        problems[0].contains("nothing within 10 seconds"),
        "{problems:?}"
    );
    assert!(world.state == before);

    world.memory.order(Call::Create, "", Fault::Hangs);
    let plan = world.plan(config("b")).await;
    let start = Instant::now();
    let problems = world.apply(plan).await;
    within(start, 30, "update");
    assert!(
        problems[0].starts_with("Timeout of the operation is over"),
        "{problems:?}"
    );
    world.memory.order(Call::Delete, "", Fault::Silent);
    let start = Instant::now();
    let problems = world.destroy().await;
    within(start, 40, "delete");
    assert!(!problems.is_empty());
    assert!(!world.state.is_null());
    assert_eq!(world.destroy().await, NOTHING);
    assert!(world.memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn once_the_time_is_used_up_nothing_more_is_asked() {
    let config =
        |owner: &str| json!({"timeouts": {"update": "30s"}, "memory": {"tags": {"owner": owner}}});
    let mut world = World::new("timeout-sweep", Memory::default()).await;
    world.run(config("a")).await;
    world.refresh().await;
    let swept = world.memory.calls(Call::Sweep);
    assert_eq!(swept, 1);
    let plan = world.plan(config("b")).await;
    world.memory.order(Call::Mark, "", Fault::Silent);
    world.memory.order(Call::Sweep, "", Fault::Silent);
    let problems = world.apply(plan).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("Could not change machines in place"),
        "{problems:?}"
    );
    assert_eq!(world.memory.calls(Call::Sweep), swept);
}

#[tokio::test(start_paused = true)]
async fn where_a_cloud_does_not_say_what_exists_it_is_asked_for_nothing_more() {
    let memory = Memory {
        deletion: Duration::from_secs(10),
        ..Memory::default()
    };
    let mut world = World::new("blind-sweep", memory).await;
    world.run(json!({})).await;
    world.refresh().await;
    let swept = world.memory.calls(Call::Sweep);
    let refused = Fault::Refused(Kind::Forbidden);
    world.memory.order(Call::Find, "", refused);
    let problems = world.destroy().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("Could not list the group's machines"),
        "{problems:?}"
    );
    assert_eq!(world.memory.calls(Call::Sweep), swept);
    assert_eq!(world.destroy().await, NOTHING);
    assert_eq!(world.memory.calls(Call::Sweep), swept + 1);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_in_trouble_is_told_of_once() {
    for (kind, told) in [(Kind::Unavailable, 1), (Kind::Forbidden, 2)] {
        let id = format!("trouble-{kind:?}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        world.refresh().await;
        world
            .memory
            .order(Call::Create, "", Fault::Refused(Kind::BadRequest));
        for _ in 0..5 {
            world.memory.order(Call::Sweep, "", Fault::Refused(kind));
        }
        let (_, problems) = world.run(json!({"replicas": 4})).await;
        assert_eq!(problems.len(), told, "{problems:?}");
        assert!(problems[0].starts_with("Could not create machine"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_of_version_0_is_read() {
    let world = World::new("version-0", Memory::default()).await;
    let request = pb::upgrade_resource_state::Request {
        type_name: "flatcar_worker_group".to_owned(),
        version: 0,
        raw_state: Some(pb::RawState {
            json: include_bytes!("state_v0.json").to_vec(),
            ..Default::default()
        }),
    };
    let response = world
        .service
        .upgrade_resource_state(Request::new(request))
        .await;
    let response = response.unwrap().into_inner();
    assert_eq!(said(&response.diagnostics), NOTHING);
    let group = Group::from_value(&undynamic(response.upgraded_state)).unwrap();
    assert_eq!(group.fields.uid, Attr::Known("k3v9x2ab".to_owned()));
    assert_eq!(group.fields.machines.known().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_imported_group_is_planned_without_touching_a_machine() {
    let id = "import";
    let mut world = World::new(id, Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let uid = world.uid();
    for by_id in [true, false] {
        let asked = if by_id { "memory/memory/1/prod/w" } else { "" };
        let identity = (!by_id).then(|| identity_of(&uid));
        world.import(asked, identity).await;
        // A configuration that is generated from it has its cloud in it.
        let Value::Map(shape) = &world.group().clouds["memory"] else {
            panic!("no shape")
        };
        assert_eq!(shape["size"], Value::String("small".to_owned()));
        assert_eq!(shape["tags"], Value::Null);
        assert_eq!(world.refresh().await, NOTHING);
        let before = world.memory.log().len();
        let plan = world.plan(json!({})).await;
        assert!(!plan.replaces);
        let (rollout, problems) = world.run(json!({})).await;
        assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
        assert_eq!(world.memory.log().len(), before);
        assert_eq!(world.uid(), uid);
        world.is_settled(json!({})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_uid_that_no_machine_of_the_group_has_is_not_imported() {
    let mut world = World::new("import-uid", Memory::default()).await;
    world.run(json!({})).await;
    let uid = world.uid();
    let machines = world.memory.machines();
    let asked = |uid: &str| Some(uid.to_owned());
    let problem = one_uid(&machines, asked("zzzzzzzz"), "prod", "w").unwrap_err();
    assert_eq!(problem.summary, "Group of this uid does not exist");
    assert!(problem.detail.contains(&uid), "{}", problem.detail);
    assert_eq!(one_uid(&machines, asked(&uid), "prod", "w").unwrap(), uid);
    let none = one_uid(&[], asked("zzzzzzzz"), "prod", "w");
    assert_eq!(none.unwrap(), "zzzzzzzz", "a group of no machines exists");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_not_imported() {
    let world = World::new("import-none", Memory::default()).await;
    for (id, summary) in [
        ("memory/memory/1/prod/w", "Group does not exist"),
        ("memory/prod/w", "Import id has the wrong form"),
        ("", "Import id has the wrong form"),
        ("mars/x/prod/w", "Cloud is not known to this provider"),
        ("memory/elsewhere/prod/w", "The group is in another memory"),
        // Some clouds would take these for patterns.
        ("memory/memory/1/p*/*", "Import id has the wrong form"),
        ("memory/memory/1/prod/w?", "Import id has the wrong form"),
        ("memory/memory/1/Prod/w", "Import id has the wrong form"),
    ] {
        let request = pb::import_resource_state::Request {
            type_name: "flatcar_worker_group".to_owned(),
            id: id.to_owned(),
            ..Default::default()
        };
        let response = world
            .service
            .import_resource_state(Request::new(request))
            .await;
        let problems = said(&response.unwrap().into_inner().diagnostics);
        assert!(problems[0].starts_with(summary), "{id} {problems:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_the_cloud_has_overtaken_is_finished_safely() {
    let mut world = World::new("overtaken", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let plan = world.plan(json!({"replicas": 4})).await;
    assert_eq!(world.rollout(&plan.planned), ["create 3: scale out to 4"]);
    world.memory.remove(&world.machine(0));
    world.memory.set(&world.machine(1), Phase::Stopped);
    let stopped = world.machine(1);
    let problems = world.apply(plan).await.join("\n");
    for words in ["Group has changed since the plan", &stopped] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    assert!(
        world.memory.names().contains(&stopped),
        "it was not planned to go"
    );
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout[0], "delete 1: stopped");
    assert_eq!(world.ordinals().len(), 4);
    world.is_settled(json!({"replicas": 4})).await;
}

/// What happens on the cloud between a plan and its apply.
struct Overtaken {
    id: &'static str,
    /// `replicas` before.
    before: u8,
    /// What the plan has seen already.
    seen: fn(&World),
    changes: Json,
    happens: fn(&World),
    /// All of these are told, with ordinals for names.
    says: &'static [&'static str],
    /// What exists afterwards.
    left: &'static [u64],
}

impl Overtaken {
    const CASE: Self = Self {
        id: "",
        before: 3,
        seen: |_| (),
        changes: Json::Null,
        happens: |_| (),
        says: &[],
        left: &[],
    };
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_plan_and_apply_is_told_what_is_still_right_is_done_and_nothing_surprises()
 {
    let case = Overtaken::CASE;
    let cases = [
        Overtaken {
            id: "roll-lost",
            changes: json!({"user_data": with_motd("b")}),
            happens: |world| world.memory.remove(&world.machine(1)),
            says: &["delete of 1 was not needed any more"],
            left: &[3, 4, 5],
            ..case
        },
        Overtaken {
            id: "roll-all-lost",
            changes: json!({"user_data": with_motd("b")}),
            happens: |world| (0..3).for_each(|n| world.memory.remove(&world.machine(n))),
            says: &["delete of 0 was not needed", "delete of 2 was not needed"],
            left: &[3, 4, 5],
            ..case
        },
        Overtaken {
            id: "repair-recovered",
            seen: |world| world.memory.set(&world.machine(1), Phase::Stopped),
            changes: json!({}),
            happens: |world| world.memory.set(&world.machine(1), Phase::Running),
            says: &["delete of 1 was not needed", "create of 3 was not needed"],
            left: &[0, 1, 2],
            ..case
        },
        Overtaken {
            id: "overdue-came-up",
            seen: |world| {
                let since = SystemTime::now() - Duration::from_secs(3600);
                world.memory.hang(&world.machine(1), since);
            },
            changes: json!({}),
            happens: |world| world.memory.set(&world.machine(1), Phase::Running),
            says: &["delete of 1 was not needed", "create of 3 was not needed"],
            left: &[0, 1, 2],
            ..case
        },
        Overtaken {
            id: "scale-out-lost",
            changes: json!({"replicas": 4}),
            happens: |world| world.memory.remove(&world.machine(0)),
            says: &["create of 4 was needed as well"],
            left: &[1, 2, 3, 4],
            ..case
        },
        // Two were planned to go; with one that broke meanwhile only one may, and the broken one was not planned to.
        Overtaken {
            id: "scale-in-broken",
            before: 5,
            changes: json!({}),
            happens: |world| world.memory.set(&world.machine(0), Phase::Stopped),
            says: &[
                "0 would have to go and is left for the next plan: stopped",
                "Scale-in cannot go on",
                "Not removed: ",
            ],
            left: &[0, 1, 2, 3],
            ..case
        },
        Overtaken {
            id: "scale-in-lost",
            before: 5,
            changes: json!({}),
            happens: |world| world.memory.remove(&world.machine(0)),
            says: &["delete of 3 was not needed any more"],
            left: &[1, 2, 3],
            ..case
        },
        Overtaken {
            id: "grown-by-others",
            changes: json!({"replicas": 4}),
            happens: |world| {
                world.made(3);
            },
            says: &["create of 3 was not needed"],
            left: &[0, 1, 2, 3],
            ..case
        },
        Overtaken {
            id: "tags-lost",
            changes: json!({"memory": {"tags": {"owner": "b"}}}),
            happens: |world| world.memory.remove(&world.machine(2)),
            says: &[
                "update of 2 was not needed",
                "create of 3 was needed as well: replaces 2, which is gone",
            ],
            left: &[0, 1, 3],
            ..case
        },
        Overtaken {
            id: "drifted",
            changes: json!({"replicas": 4}),
            happens: |world| world.memory.observe(&world.machine(0), "size", "huge"),
            says: &[
                "0 would have to go and is left for the next plan: memory.size changed outside",
            ],
            left: &[0, 1, 2, 3],
            ..case
        },
    ];
    for case in cases {
        let id = case.id;
        let mut world = World::new(&format!("overtaken-{id}"), Memory::default()).await;
        world.run(json!({"replicas": case.before})).await;
        (case.seen)(&world);
        world.refresh().await;
        let plan = world.plan(case.changes.clone()).await;
        assert!(!world.rollout(&plan.planned).is_empty(), "{id}");
        (case.happens)(&world);
        let before: BTreeSet<String> = world.memory.names().into_iter().collect();
        let planned = Group::from_value(&plan.planned).unwrap();
        let lines = planned.fields.rollout.known().cloned().unwrap();
        let planned: Vec<Step> = lines.iter().filter_map(|line| Step::parse(line)).collect();
        let problems = world.apply(plan).await.join("\n");
        let short = problems.replace(&format!("w-{}-", world.uid()), "");
        assert!(
            short.contains("Group has changed since the plan"),
            "{id} {short}"
        );
        for words in case.says {
            assert!(short.contains(words), "{id}: no {words:?} in {short}");
        }
        assert_eq!(world.ordinals(), case.left, "{id} {short}");
        let after: BTreeSet<String> = world.memory.names().into_iter().collect();
        for name in before.difference(&after) {
            let step = planned.iter().find(|step| step.machine == *name);
            assert_eq!(
                step.map(|step| step.action.as_str()),
                Some("delete"),
                "{id} {name}"
            );
        }
        // What was left undone is in the next plan.
        let (_, problems) = world.run(case.changes.clone()).await;
        assert_eq!(problems, NOTHING, "{id}");
        let replicas = case.changes["replicas"].as_u64().unwrap_or(3);
        assert_eq!(world.ordinals().len() as u64, replicas, "{id}");
        world.is_settled(case.changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_another_state_has_adopted_since_the_plan_is_not_made_anew() {
    let id = "overtaken-adopted";
    let mut world = World::new(id, Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let plan = world.plan(json!({"replicas": 4})).await;
    let mut other = World::again(id).await;
    other.run(json!({"on_existing": "adopt"})).await;
    let before = world.memory.names();
    let state = world.state.clone();
    let problems = world.apply(plan).await;
    assert!(
        problems[0].starts_with("Machines belong to another group now"),
        "{problems:?}"
    );
    assert!(problems[0].contains("Nothing was changed"), "{problems:?}");
    assert_eq!(world.memory.names(), before);
    assert!(world.state == state);
}

#[tokio::test(start_paused = true)]
async fn a_preflight_refuses_before_anything_is_deleted() {
    let mut world = World::new("preflight", Memory::default()).await;
    world.run(json!({})).await;
    let absent = json!({"image": "absent", "image_update": "roll"});
    let (_, problems) = world.run(absent).await;
    assert!(
        problems[0].starts_with("Image does not exist"),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(json!({})).await;

    // Where no machine is made, its image is not asked for.
    let (rollout, problems) = world
        .run(json!({"image": "absent", "memory": {"tags": {"owner": "b"}}}))
        .await;
    assert_eq!((rollout.len(), problems.len()), (3, 0), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_stopped_goes_on_with_its_reasons() {
    let mut world = World::new("goes-on", Memory::default()).await;
    world.run(json!({})).await;
    world.memory.order(Call::Create, "", Fault::Dead);
    let rolled = json!({"replace_triggers": {"x": "1"}});
    let (_, problems) = world.run(rolled.clone()).await;
    assert!(
        problems[0].starts_with("Machine does not serve"),
        "{problems:?}"
    );
    assert!(problems[0].contains("Apply again to go on"), "{problems:?}");
    let (rollout, problems) = world.run(rolled.clone()).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout[0], "delete 3: scale in to 3 (failed)");
    assert!(
        rollout.contains(&"delete 0: replace_triggers[\"x\"] changed".to_owned()),
        "{rollout:?}"
    );
    // 4 and 5 were planned and never made: an ordinal is not used again all the same.
    assert_eq!(world.ordinals(), [6, 7, 8]);
    world.is_settled(rolled).await;
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_refused_on_its_attribute() {
    let world = World::new("bad", Memory::default()).await;
    let cases = [
        (json!({}), ""),
        (json!({"name": "Workers"}), "name"),
        (json!({"name": "w-"}), "name"),
        (json!({"name": "a".repeat(41)}), "name"),
        (json!({"cluster": "1"}), "cluster"),
        (json!({"replicas": -1}), "replicas"),
        (json!({"replicas": 10001}), "replicas"),
        (json!({"memory": null}), "memory"),
        (json!({"second": {}}), "second"),
        (json!({"memory": null, "second": {}}), ""),
        (json!({"memory": "<unknown>"}), ""),
        (
            json!({"rolling_update": {"max_unavailable": "-1"}}),
            "rolling_update.max_unavailable",
        ),
        (
            json!({"rolling_update": {"parallelism": 0}}),
            "rolling_update.parallelism",
        ),
        (
            json!({"rolling_update": {"max_failures": -1}}),
            "rolling_update.max_failures",
        ),
        (
            json!({"user_data": r#"{"ignition":{"version":"3.99.0"}}"#}),
            "user_data",
        ),
        (
            json!({"user_data": r#"{"ignition":{"version":"3.4.0"},"storage":1}"#}),
            "user_data",
        ),
        (
            json!({
                "user_data": null,
                "user_data_wo": r#"{"ignition":{"version":"3.4.0"},"storage":1}"#,
                "user_data_wo_version": 1
            }),
            "user_data_wo",
        ),
        (
            json!({"rolling_update": {"max_surge": "101%"}}),
            "rolling_update.max_surge",
        ),
        (json!({"rolling_update": {"max_surge": "0"}}), ""),
        (json!({"rolling_update": {"max_unavailable": "0"}}), ""),
        (json!({"timeouts": {"read": "0s"}}), "timeouts.read"),
        (json!({"timeouts": {"create": "1s"}}), ""),
        (
            json!({"rolling_update": {"max_surge": "0", "max_unavailable": "0%"}}),
            "rolling_update.max_unavailable",
        ),
        (
            json!({"user_data": "aGVsbG8gd29ybGQsIGhlbGxvIHdvcmxk"}),
            "user_data",
        ),
        (
            json!({"user_data_wo": IGNITION, "user_data_wo_version": 1}),
            "user_data_wo",
        ),
        (
            json!({"user_data": null, "user_data_wo": IGNITION}),
            "user_data_wo_version",
        ),
        (
            json!({"user_data": null, "user_data_wo_version": 1}),
            "user_data_wo",
        ),
        (json!({"machine_timeout": "soon"}), "machine_timeout"),
        (json!({"machine_timeout": "0s"}), "machine_timeout"),
        (json!({"machine_timeout": "0"}), "machine_timeout"),
        (json!({"machine_timeout": "1ms"}), ""),
        (json!({"rolling_update": {"min_ready": "0s"}}), ""),
        (json!({"image": ""}), "image"),
        (json!({"image": "  "}), "image"),
        (json!({"image": "flatcar\n"}), "image"),
        (json!({"image": "a\nb"}), "image"),
        (json!({"image": "a\u{0}b"}), "image"),
        (json!({"image": "a".repeat(1025)}), "image"),
        (json!({"image": "Flatcar stable"}), ""),
        (json!({"on_existing": "steal"}), "on_existing"),
        (json!({"user_data": "<unknown>", "image": "<unknown>"}), ""),
    ];
    for (changes, path) in cases {
        let request = pb::validate_resource_config::Request {
            type_name: "flatcar_worker_group".to_owned(),
            config: dynamic(&configuration(&changes), &kind()),
            client_capabilities: Some(pb::ClientCapabilities {
                write_only_attributes_allowed: true,
                ..Default::default()
            }),
        };
        let response = world
            .service
            .validate_resource_config(Request::new(request))
            .await;
        let diagnostics = response.unwrap().into_inner().diagnostics;
        let paths: Vec<String> = diagnostics.iter().map(path_of).collect();
        match path {
            "" => assert!(
                paths.is_empty(),
                "{changes} {paths:?} {:?}",
                said(&diagnostics)
            ),
            path => assert_eq!(paths, [path], "{changes} {:?}", said(&diagnostics)),
        }
    }
}

fn path_of(problem: &pb::Diagnostic) -> String {
    use pb::attribute_path::step::Selector;
    let steps = problem.attribute.iter().flat_map(|path| &path.steps);
    let names: Vec<String> = steps
        .map(|step| match step.selector.as_ref().unwrap() {
            Selector::AttributeName(name) => name.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    match names.is_empty() {
        true => "(none)".to_owned(),
        false => names.join("."),
    }
}
