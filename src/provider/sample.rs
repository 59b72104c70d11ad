//! A provider for tests: one of each kind. The name of a `sample_thing` orders what becomes of it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::provider::convert::to_value;
use crate::provider::schema::{Parameter, Signature};
use crate::provider::{
    Attr, Attribute, Context, DataSource, Diagnostic, Diagnostics, Ephemeral, Function,
    FunctionError, IdentityAttribute, Opened, Outcome, Path, PlanRequest, Planned, Provider,
    Renewed, Resource, Schema, Stored, Type, Value,
};

pub(super) fn provider() -> Provider {
    let schema = || {
        let url = Attribute::string("url", "Address.").default("https://example.org");
        let server = Attribute::object("server", "Server.", vec![url]).defaulted();
        Schema::new(
            0,
            "Sample.",
            vec![
                server,
                Attribute::string("token", "Token.").optional().sensitive(),
            ],
        )
    };
    Provider::new("sample", "example.org/test/sample", schema)
        .resource(Thing)
        .data_source(Echo)
        .ephemeral(Lease)
        .function(Join)
}

#[derive(Clone, Serialize, Deserialize)]
struct Disk {
    gb: Attr<u64>,
    serial: Attr<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct ThingModel {
    name: Attr<String>,
    size: Attr<u64>,
    mode: Attr<String>,
    tags: Attr<BTreeMap<String, Attr<String>>>,
    disk: Attr<Disk>,
    disks: Attr<BTreeMap<String, Disk>>,
    limits: Attr<Limits>,
    secret: Attr<String>,
    secret_wo: Attr<String>,
    anything: Value,
    uid: Attr<String>,
    etag: Attr<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Limits {
    cpu: Attr<u64>,
    used: Attr<u64>,
}

struct Thing;

/// Comes to be as planned, and what was left to the provider is settled.
fn settled(mut model: ThingModel) -> ThingModel {
    let size = model.size.known().copied().unwrap_or_default();
    if model.uid.is_unknown() {
        model.uid = Attr::Known("u-1".to_owned());
    }
    model.etag = Attr::Known(format!("e-{size}"));
    if let Attr::Known(disk) = &mut model.disk
        && disk.serial.is_unknown()
    {
        disk.serial = Attr::Known("s-1".to_owned());
    }
    if let Attr::Known(disks) = &mut model.disks {
        for disk in disks.values_mut() {
            disk.serial = Attr::Known("s-2".to_owned());
        }
    }
    if let Attr::Known(limits) = &mut model.limits {
        limits.used = Attr::Known(0);
    }
    model
}

fn refused() -> Diagnostics {
    Diagnostic::error("Could not create", "The cloud said no.").into()
}

impl Resource for Thing {
    type Model = ThingModel;
    const NAME: &'static str = "thing";

    fn schema(&self) -> Schema {
        let disk = || {
            vec![
                Attribute::number("gb", "Size.").required().range(1..=100),
                Attribute::string("serial", "Number.").computed(),
            ]
        };
        Schema::new(
            2,
            "Thing.",
            vec![
                Attribute::string("name", "Name.")
                    .required()
                    .requires_replace(),
                Attribute::number("size", "Size.").default(1).range(0..=9),
                Attribute::string("mode", "Mode.")
                    .default("calm")
                    .one_of(["calm", "wild"]),
                Attribute::map("tags", "Tags.", Type::String).optional(),
                Attribute::object("disk", "Disk.", disk()).optional(),
                Attribute::map_of("disks", "Disks by name.", disk()).optional(),
                Attribute::object(
                    "limits",
                    "Limits.",
                    vec![
                        Attribute::number("cpu", "Processors.").default(2),
                        Attribute::number("used", "Used.").computed(),
                    ],
                )
                .defaulted(),
                Attribute::string("secret", "Secret.")
                    .optional()
                    .sensitive(),
                Attribute::string("secret_wo", "Secret.")
                    .optional()
                    .write_only(),
                Attribute::dynamic("anything", "Anything.").optional(),
                Attribute::string("uid", "Id.").computed(),
                Attribute::string("etag", "Tag.").computed(),
            ],
        )
    }
    fn identity_schema(&self) -> Vec<IdentityAttribute> {
        vec![IdentityAttribute {
            name: "uid",
            kind: Type::String,
            description: "Id.",
            required_for_import: true,
        }]
    }
    fn identity(&self, model: &ThingModel) -> Value {
        to_value(&json!({"uid": model.uid.known()}))
    }
    fn validate(&self, config: ThingModel) -> Diagnostics {
        match config.name.known() {
            Some(name) if name.is_empty() => Diagnostic::error("Name is empty", "Write one.")
                .at(Path::of("name"))
                .into(),
            _ => Diagnostics::none(),
        }
    }
    fn plan(&self, request: PlanRequest<ThingModel>) -> Outcome<Planned<ThingModel>> {
        let mut model = request.proposed;
        let name = request.config.name.known().map(String::as_str);
        if let Some(prior) = &request.prior
            && prior.model.size != model.size
        {
            model.etag = Attr::Unknown;
        }
        if name == Some("plan-panics") {
            panic!("s3cret");
        }
        if name == Some("plan-contradicts") {
            model.size = Attr::Known(9);
        }
        let replaces = name == Some("replace-me");
        Outcome::of(Planned {
            model,
            requires_replace: replaces.then(|| Path::of("size")).into_iter().collect(),
            private: b"planned".to_vec(),
        })
    }
    fn plan_destroy(&self, prior: &ThingModel) -> Diagnostics {
        match prior.name.known().map(String::as_str) {
            Some("protected") => {
                Diagnostic::error("Could not plan a destroy", "It is protected.").into()
            }
            _ => Diagnostics::none(),
        }
    }
    async fn read(&self, _: &Context, state: Stored<ThingModel>) -> Outcome<Stored<ThingModel>> {
        match state.model.name.known().map(String::as_str) {
            Some("gone") => Outcome::gone(),
            Some("silent") => Outcome::failed(Diagnostic::error("Could not read", "No answer.")),
            Some("read-panics") => panic!("s3cret"),
            _ => Outcome::of(state),
        }
    }
    async fn create(
        &self,
        context: &Context,
        planned: Stored<ThingModel>,
        config: ThingModel,
    ) -> Outcome<Stored<ThingModel>> {
        let name = planned.model.name.known().cloned().unwrap_or_default();
        let mut model = settled(planned.model);
        let private = config.secret_wo.known().map(|_| b"with secret".to_vec());
        let private = private.unwrap_or(planned.private);
        let mut problems = Diagnostics::none();
        match name.as_str() {
            "never" => return Outcome::failed(refused()),
            "forgotten" => return Outcome::gone(),
            "create-panics" => panic!("s3cret"),
            "half" => {
                model.etag = Attr::Unknown;
                problems = refused();
            }
            "unsettled" => model.etag = Attr::Unknown,
            "leaks" => model.secret_wo = config.secret_wo,
            "create-panics-late" => {
                context.ledger.write(&Stored { model, private });
                panic!("s3cret")
            }
            "slow" => {
                context.cancel.cancelled().await;
                problems = Diagnostic::error("Interrupted", "Apply again.").into();
            }
            _ => {}
        }
        Outcome {
            value: Some(Stored { model, private }),
            problems,
        }
    }
    async fn update(
        &self,
        context: &Context,
        prior: Stored<ThingModel>,
        planned: Stored<ThingModel>,
        _: ThingModel,
    ) -> Outcome<Stored<ThingModel>> {
        match prior.model.name.known().map(String::as_str) {
            Some("never") => Outcome::failed(refused()),
            Some("update-panics") => panic!("s3cret"),
            Some("update-panics-late") => {
                context.ledger.write(&Stored {
                    model: settled(planned.model),
                    private: planned.private,
                });
                panic!("s3cret")
            }
            _ => Outcome::of(Stored {
                model: settled(planned.model),
                private: planned.private,
            }),
        }
    }
    async fn delete(
        &self,
        _: &Context,
        mut prior: Stored<ThingModel>,
    ) -> Outcome<Stored<ThingModel>> {
        match prior.model.name.known().map(String::as_str) {
            Some("never") => Outcome::failed(refused()),
            Some("delete-panics") => panic!("s3cret"),
            Some("stays") => Outcome::of(prior),
            Some("half") => {
                prior.model.tags = Attr::Null;
                Outcome {
                    value: Some(prior),
                    problems: refused(),
                }
            }
            _ => Outcome::gone(),
        }
    }
    async fn import(
        &self,
        _: &Context,
        id: String,
        identity: Value,
    ) -> Outcome<Stored<ThingModel>> {
        let uid = match &identity {
            Value::Map(identity) => identity.get("uid").cloned().unwrap_or(Value::Null),
            _ => to_value(&id),
        };
        if uid == to_value("absent") {
            return Outcome::failed(Diagnostic::error("Could not import", "There is none."));
        }
        let mut model = match self.upgrade(1, json!({"label": "imported"})) {
            Ok(model) => model,
            Err(problems) => return Outcome::failed(problems),
        };
        model.uid = match uid {
            Value::String(uid) => Attr::Known(uid),
            _ => Attr::Null,
        };
        Outcome::of(Stored {
            model,
            private: b"imported".to_vec(),
        })
    }
    /// Version 1 called `name` `label`.
    fn upgrade(&self, version: i64, state: serde_json::Value) -> Result<ThingModel, Diagnostics> {
        if version != 1 {
            return Err(Diagnostic::error("Version 0 was never released", "Import it.").into());
        }
        Ok(ThingModel {
            name: Attr::from(state["label"].as_str().map(str::to_owned)),
            size: Attr::Known(1),
            mode: Attr::Known("calm".to_owned()),
            tags: Attr::Null,
            disk: Attr::Null,
            disks: Attr::Null,
            limits: Attr::Known(Limits {
                cpu: Attr::Known(2),
                used: Attr::Known(0),
            }),
            secret: Attr::Null,
            secret_wo: Attr::Null,
            anything: Value::Null,
            uid: Attr::Known("u-1".to_owned()),
            etag: Attr::Known("e-1".to_owned()),
        })
    }
}

/// Its fields cannot be unknown: validation waits until they are known.
#[derive(Serialize, Deserialize)]
struct EchoModel {
    text: String,
    times: u64,
    out: Option<String>,
}

struct Echo;

impl DataSource for Echo {
    type Model = EchoModel;
    const NAME: &'static str = "echo";

    fn schema(&self) -> Schema {
        Schema::new(
            0,
            "Echo.",
            vec![
                Attribute::string("text", "Text.").required().length(1..=20),
                Attribute::number("times", "Times.").default(2),
                Attribute::string("out", "Answer.").computed(),
            ],
        )
    }
    fn validate(&self, config: EchoModel) -> Diagnostics {
        if config.text == "forbidden" {
            return Diagnostic::error("Forbidden text", "Write another.").into();
        }
        Diagnostics::none()
    }
    async fn read(&self, context: &Context, mut config: EchoModel) -> Outcome<EchoModel> {
        let out = config.text.repeat(usize::try_from(config.times).unwrap());
        let mut problems = Diagnostics::none();
        match config.text.as_str() {
            "panics" => panic!("s3cret"),
            "fails" => return Outcome::failed(Diagnostic::error("No", "No.")),
            "nothing" => return Outcome::gone(),
            "changed" => config.text = "other".to_owned(),
            "warns" => problems = Diagnostic::warning("Old", "Update.").into(),
            _ => {}
        }
        let server = context.setting("server");
        config.out = Some(match server {
            Value::Unknown(_) => "unknown server".to_owned(),
            _ => out,
        });
        Outcome {
            value: Some(config),
            problems,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LeaseModel {
    ttl: String,
    token: Option<String>,
}

struct Lease;

pub(super) const RENEW_AT: Duration = Duration::from_secs(1_800_000_000);

impl Ephemeral for Lease {
    type Model = LeaseModel;
    const NAME: &'static str = "lease";

    fn schema(&self) -> Schema {
        Schema::new(
            0,
            "Lease.",
            vec![
                Attribute::string("ttl", "Time to live.")
                    .default("30m")
                    .duration(),
                Attribute::string("token", "Token.").computed().sensitive(),
            ],
        )
    }
    fn validate(&self, _: LeaseModel) -> Diagnostics {
        Diagnostics::none()
    }
    async fn open(&self, _: &Context, mut config: LeaseModel) -> Outcome<Opened<LeaseModel>> {
        config.token = Some("t0ken".to_owned());
        Outcome::of(Opened {
            model: config,
            private: b"lease 1".to_vec(),
            renew_at: Some(SystemTime::UNIX_EPOCH + RENEW_AT),
        })
    }
    async fn renew(&self, _: &Context, mut private: Vec<u8>) -> Outcome<Renewed> {
        private.extend(b" renewed");
        Outcome::of(Renewed {
            private,
            renew_at: None,
        })
    }
    async fn close(&self, _: &Context, private: Vec<u8>) -> Diagnostics {
        Diagnostic::warning("Closed", String::from_utf8_lossy(&private)).into()
    }
}

struct Join;

impl Function for Join {
    fn name(&self) -> &'static str {
        "join"
    }
    fn signature(&self) -> Signature {
        let parameter = |name, allow_null| Parameter {
            name,
            kind: Type::String,
            description: "Text.",
            allow_null,
        };
        Signature {
            summary: "Joins texts",
            description: "Joins texts.",
            parameters: vec![parameter("separator", false)],
            variadic: Some(parameter("texts", true)),
            result: Type::String,
        }
    }
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        let texts: Vec<String> = arguments
            .iter()
            .filter_map(|argument| match argument {
                Value::String(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        match texts[0].as_str() {
            "panics" => panic!("s3cret"),
            "refuses" => Err(FunctionError {
                argument: Some(1),
                text: "not this one".to_owned(),
            }),
            "wrong" => Ok(Value::Bool(true)),
            separator => Ok(Value::String(texts[1..].join(separator))),
        }
    }
}
