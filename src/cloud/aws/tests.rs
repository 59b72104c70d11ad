//! What is asked of EC2 and what its answers mean, without EC2. `UPDATE=1` rewrites the golden requests in `tests/fixtures/aws`.

use std::path::Path;

use aws_sdk_ec2::error::{ErrorMetadata, ProvideErrorMetadata as _};
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{
    GroupIdentifier, Instance, InstanceState, InstanceType, Placement, StateReason,
};

use serde_json::json;

use super::failure::{CODES, fault};
use super::*;
use crate::provider::schema::Kind as AttributeKind;
use crate::provider::{Attribute, Context, Model as _, Severity, Value, convert};
use crate::worker_group::cloud::Meaning;

/// A shape as core sends it: every attribute is there, defaults filled in.
fn complete(attribute: &Attribute, value: Value) -> Value {
    let fill = |attributes: &[Attribute], value: Value| match value {
        Value::Map(mut fields) => Value::Map(
            attributes
                .iter()
                .map(|attribute| {
                    let value = fields.remove(attribute.name).unwrap_or(Value::Null);
                    (attribute.name.to_owned(), complete(attribute, value))
                })
                .collect(),
        ),
        value => value,
    };
    let value = match (value, &attribute.default) {
        (Value::Null, Some(default)) => default.clone(),
        (value, _) => value,
    };
    match (&attribute.kind, value) {
        (AttributeKind::Object(attributes), value) => fill(attributes, value),
        (AttributeKind::ListOf(attributes), Value::List(values)) => {
            let values = values.into_iter();
            Value::List(values.map(|value| fill(attributes, value)).collect())
        }
        (_, value) => value,
    }
}

fn shape(text: &str) -> Value {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    complete(&shape::group_schema(), convert::to_value(&json))
}

fn mark() -> Mark {
    Mark {
        cluster: "prod".to_owned(),
        group: "workers".to_owned(),
        uid: "k3x9".to_owned(),
        generation: "0123-4567".to_owned(),
        unsaved: true,
        origin: String::new(),
        proof: String::new(),
    }
}

fn spec<'a>(mark: &'a Mark, shape: &'a Value) -> Spec<'a> {
    Spec {
        name: "workers-k3x9-0",
        attempt: 0,
        ordinal: 0,
        mark,
        image: "ami-0a",
        user_data: b"{}",
        shape,
    }
}

fn request(text: &str) -> String {
    let (mark, shape) = (mark(), shape(text));
    let spec = spec(&mark, &shape);
    let shape = Shape::from_value(spec.shape).unwrap();
    let subnet = api::subnets(&shape, 0)[0];
    let input = api::run_instances(&spec, &shape, "e30=", subnet)
        .build()
        .unwrap();
    readable(&format!("{input:#?}"))
}

/// Debug output without what is not set, without `Some`, and with a line a tag.
fn readable(debug: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0);
    let mut is_one_line = false;
    for line in debug.lines() {
        let indented = &line[4 * depth.min((line.len() - line.trim_start().len()) / 4)..];
        let word = line.trim();
        if word.ends_with(": None,") {
            continue;
        }
        if let Some(field) = indented.strip_suffix("Some(") {
            text += if is_one_line {
                field.trim_start()
            } else {
                field
            };
            depth += 1;
            continue;
        }
        if word == ")," {
            depth -= 1;
            continue;
        }
        is_one_line |= word == "Tag {";
        // What follows a field's name stands behind it.
        let goes_on = text.ends_with(": ") || (is_one_line && word != "Tag {");
        text += if goes_on { word } else { indented };
        is_one_line &= word != "},";
        text += if is_one_line { " " } else { "\n" };
    }
    text
}

#[test]
fn requests_are_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/aws");
    let mut cases = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        cases += 1;
        let actual = request(&std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            actual,
            expected,
            "{}; UPDATE=1 rewrites it",
            golden.display()
        );
    }
    assert!(cases >= 14, "{cases}");
}

#[test]
fn user_data_and_token_are_in_the_request_and_user_data_in_no_debug_output() {
    let (mark, shape) = (mark(), shape(r#"{"instance_type": "m7g.large"}"#));
    let spec = spec(&mark, &shape);
    let shape = Shape::from_value(spec.shape).unwrap();
    let input = api::run_instances(&spec, &shape, "czNjcjN0", None)
        .build()
        .unwrap();
    assert_eq!(input.user_data(), Some("czNjcjN0"));
    assert_eq!(input.client_token().map(str::len), Some(64));
    assert!(!format!("{input:?}").contains("czNjcjN0"));
}

#[test]
fn a_token_changes_with_name_attempt_and_subnet_and_with_nothing_else() {
    let (mark, shape) = (mark(), shape(r#"{"instance_type": "m7g.large"}"#));
    let base = spec(&mark, &shape);
    let token = |spec: &Spec<'_>, subnet| api::client_token(spec, subnet);
    let first = token(&base, Some("subnet-0a"));
    assert_eq!(
        first,
        token(
            &Spec {
                image: "ami-0b",
                user_data: b"",
                ..spec(&mark, &shape)
            },
            Some("subnet-0a")
        )
    );
    assert_ne!(first, token(&base, Some("subnet-0b")));
    assert_ne!(first, token(&base, None));
    assert_ne!(
        first,
        token(
            &Spec {
                attempt: 1,
                ..spec(&mark, &shape)
            },
            Some("subnet-0a")
        )
    );
    assert_ne!(
        first,
        token(
            &Spec {
                name: "workers-k3x9-1",
                ..spec(&mark, &shape)
            },
            Some("subnet-0a")
        )
    );
}

#[test]
fn machines_begin_with_one_subnet_after_the_other_and_try_them_all() {
    let shape = Shape::from_value(&shape(
        r#"{"instance_type": "m7g.large", "subnet_ids": ["a", "b", "c"]}"#,
    ))
    .unwrap();
    let order = |ordinal| -> Vec<&str> {
        api::subnets(&shape, ordinal)
            .into_iter()
            .flatten()
            .collect()
    };
    assert_eq!(order(0), ["a", "b", "c"]);
    assert_eq!(order(1), ["b", "c", "a"]);
    assert_eq!(order(5), ["c", "a", "b"]);
}

#[test]
fn an_instance_is_a_machine_with_all_that_it_says() {
    let instance = Instance::builder()
        .instance_id("i-0a")
        .image_id("ami-0a")
        .instance_type(InstanceType::from("m7g.large"))
        .state(
            InstanceState::builder()
                .name(InstanceStateName::Stopped)
                .build(),
        )
        .state_reason(
            StateReason::builder()
                .code("Client.UserInitiatedShutdown")
                .message("Client.UserInitiatedShutdown: User initiated shutdown")
                .build(),
        )
        .launch_time(DateTime::from_secs(1_000))
        .placement(
            Placement::builder()
                .availability_zone("eu-central-1b")
                .build(),
        )
        .private_ip_address("10.0.0.7")
        .public_ip_address("192.0.2.7")
        .security_groups(GroupIdentifier::builder().group_id("sg-0b").build())
        .security_groups(GroupIdentifier::builder().group_id("sg-0a").build())
        .set_tags(Some(
            api::mark_tags(&mark())
                .into_iter()
                .chain(api::user_tags(
                    &[("team".to_owned(), "a".to_owned())].into(),
                ))
                .chain([
                    api::tag("Name", "renamed by somebody"),
                    api::tag("flatcar-machine", "workers-k3x9-0"),
                    api::tag("aws:autoscaling:groupName", "x"),
                    api::tag("stranger", "1"),
                ])
                .collect(),
        ))
        .build();
    let machine = seen::machine(&instance).unwrap();
    assert_eq!(machine.name, "workers-k3x9-0");
    assert_eq!(machine.mark, mark());
    assert_eq!(machine.phase, Phase::Stopped);
    assert_eq!(
        machine.message.as_deref(),
        Some("Client.UserInitiatedShutdown: User initiated shutdown")
    );
    assert_eq!(machine.addresses, ["10.0.0.7", "192.0.2.7"]);
    assert_eq!(machine.zone, "eu-central-1b");
    assert_eq!(
        machine.created,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000))
    );
    let observed: Vec<(&str, &str)> = machine
        .observed
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        observed,
        [
            ("instance_type", "m7g.large"),
            ("tags.team", "a"),
            ("vpc_security_group_ids", "sg-0a,sg-0b")
        ]
    );
}

#[test]
fn an_instance_without_a_part_of_its_mark_is_nobodys_and_is_found_with_the_rest() {
    let whole = [
        ("flatcar-cluster", "prod"),
        ("flatcar-group", "workers"),
        ("flatcar-uid", "k3x9"),
        ("flatcar-generation", "0123-4567"),
        ("flatcar-unsaved", "true"),
        ("flatcar-machine", "workers-k3x9-0"),
        ("Name", "renamed by somebody"),
    ];
    let bare = Mark {
        cluster: String::new(),
        group: String::new(),
        uid: String::new(),
        generation: String::new(),
        unsaved: false,
        origin: String::new(),
        proof: String::new(),
    };
    let without_uid = Mark {
        uid: String::new(),
        ..mark()
    };
    let unknown = Mark {
        generation: String::new(),
        unsaved: false,
        ..mark()
    };
    let (ours, renamed) = ("workers-k3x9-0", "renamed by somebody");
    let tags = |left: &[&str]| -> Vec<(&str, &str)> {
        let is_left = |(key, _): &&(&str, &str)| !left.contains(key);
        whole.iter().filter(is_left).copied().collect()
    };
    let empty = [tags(&["flatcar-uid"]), vec![("flatcar-uid", "")]].concat();
    for (tags, is_listed, mark, name) in [
        (tags(&[]), true, &mark(), ours),
        (tags(&["flatcar-uid"]), false, &without_uid, ours),
        (empty, false, &without_uid, ours),
        (
            tags(&["flatcar-generation", "flatcar-unsaved"]),
            true,
            &unknown,
            ours,
        ),
        (tags(&["flatcar-machine"]), true, &mark(), renamed),
        (tags(&["flatcar-machine", "Name"]), false, &mark(), ""),
        (vec![("Name", "somebody's")], false, &bare, "somebody's"),
        (vec![], false, &bare, ""),
    ] {
        let tagged = tags.iter().map(|(key, value)| api::tag(key, value));
        let instance = Instance::builder()
            .instance_id("i-0a")
            .set_tags(Some(tagged.collect()))
            .build();
        let found = seen::found(&instance);
        let seen = (found.id.as_str(), &found.mark, found.name.as_str());
        assert_eq!(seen, ("i-0a", mark, name), "{tags:?}");
        let listed = seen::machine(&instance);
        assert_eq!(listed, is_listed.then_some(found), "{tags:?}");
    }
}

#[test]
fn a_token_is_held_by_the_same_machine_or_by_one_that_has_ended() {
    use InstanceStateName::{Running, ShuttingDown, Stopped, Terminated};
    let (ours, shape) = (mark(), shape(r#"{"instance_type": "m7g.large"}"#));
    let spec = spec(&ours, &shape);
    let earlier = Mark {
        generation: "earlier".to_owned(),
        ..mark()
    };
    let others = Mark {
        uid: "b7q2".to_owned(),
        ..mark()
    };
    for (state, tagged, image, phase) in [
        (Running, Some(&ours), "ami-0a", Some(Phase::Running)),
        (Running, Some(&ours), "ami-0b", None),
        (Running, Some(&earlier), "ami-0a", None),
        (Running, Some(&others), "ami-0a", None),
        (Running, None, "ami-0a", None),
        (Stopped, Some(&earlier), "ami-0a", None),
        (
            ShuttingDown,
            Some(&earlier),
            "ami-0b",
            Some(Phase::Deleting),
        ),
        (Terminated, Some(&ours), "ami-0a", Some(Phase::Failed)),
        (Terminated, Some(&earlier), "ami-0b", Some(Phase::Failed)),
        (Terminated, None, "ami-0b", Some(Phase::Failed)),
        (Terminated, Some(&others), "ami-0a", None),
    ] {
        let tags = tagged.map(|mark| {
            let name = [api::tag("flatcar-machine", spec.name)];
            api::mark_tags(mark).into_iter().chain(name).collect()
        });
        let instance = Instance::builder()
            .instance_id("i-0a")
            .image_id(image)
            .state(InstanceState::builder().name(state.clone()).build())
            .launch_time(DateTime::from_secs(1_000))
            .set_tags(tags)
            .build();
        let held = holder(&instance, &spec);
        let seen = held.as_ref().map(|machine| machine.phase);
        assert_eq!(seen, phase, "{state:?} {tagged:?} {image}");
        if let Some(machine) = held {
            assert_eq!(machine.name, spec.name);
            assert_eq!(&machine.mark, tagged.unwrap_or(&ours));
            // Callers tell by it that it is of an earlier apply.
            assert!(machine.created.is_some());
        }
    }
}

#[test]
fn every_state_of_an_instance_has_a_phase() {
    for (state, phase) in [
        (InstanceStateName::Pending, Phase::Pending),
        (InstanceStateName::Running, Phase::Running),
        (InstanceStateName::Stopping, Phase::Stopped),
        (InstanceStateName::Stopped, Phase::Stopped),
        (InstanceStateName::ShuttingDown, Phase::Deleting),
        (InstanceStateName::Terminated, Phase::Failed),
    ] {
        let instance = Instance::builder()
            .state(InstanceState::builder().name(state.clone()).build())
            .build();
        assert_eq!(
            seen::machine_of(&instance, "w", mark()).phase,
            phase,
            "{state:?}"
        );
    }
}

#[test]
fn codes_have_a_kind_and_an_attribute_to_blame() {
    let profile = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
    for (code, message, kind, attribute) in [
        (
            "InvalidSubnetID.NotFound",
            "",
            Kind::BadRequest,
            Some("aws.subnet_ids"),
        ),
        ("InvalidAMIID.NotFound", "", Kind::BadRequest, Some("image")),
        (
            "InvalidAMIID.Malformed",
            "",
            Kind::BadRequest,
            Some("image"),
        ),
        (
            "InvalidGroup.NotFound",
            "",
            Kind::BadRequest,
            Some("aws.vpc_security_group_ids"),
        ),
        (
            "InvalidKeyPair.NotFound",
            "",
            Kind::BadRequest,
            Some("aws.key_name"),
        ),
        (
            "InvalidParameterValue",
            profile,
            Kind::BadRequest,
            Some("aws.iam_instance_profile"),
        ),
        (
            "InvalidParameterValue",
            "something else",
            Kind::BadRequest,
            None,
        ),
        (
            "InsufficientInstanceCapacity",
            "",
            Kind::Quota,
            Some("aws.instance_type"),
        ),
        (
            "InsufficientFreeAddressesInSubnet",
            "",
            Kind::Quota,
            Some("aws.subnet_ids"),
        ),
        ("VcpuLimitExceeded", "", Kind::Quota, None),
        ("VolumeLimitExceeded", "", Kind::Quota, None),
        ("RequestLimitExceeded", "", Kind::RateLimit, None),
        ("UnauthorizedOperation", "", Kind::Forbidden, None),
        ("OperationNotPermitted", "", Kind::Forbidden, None),
        ("OptInRequired", "", Kind::Forbidden, Some("image")),
        ("AuthFailure", "", Kind::Unauthenticated, None),
        ("ExpiredTokenException", "", Kind::Unauthenticated, None),
        ("InvalidInstanceID.NotFound", "", Kind::NotFound, None),
        ("InvalidInstanceID.Malformed", "", Kind::BadRequest, None),
        ("IdempotentParameterMismatch", "", Kind::AlreadyExists, None),
        ("InternalError", "", Kind::Unavailable, None),
        ("NeverHeardOf", "", Kind::BadRequest, None),
    ] {
        assert_eq!(
            Meaning::find(CODES, Some(400), code, message),
            (kind, attribute),
            "{code}"
        );
    }
    let unheard = Meaning::find(CODES, Some(503), "NeverHeardOf", "");
    assert_eq!(unheard.0, Kind::Unavailable);
}

#[test]
fn what_administrators_alone_can_read_is_left_out() {
    let metadata = ErrorMetadata::builder()
        .code("UnauthorizedOperation")
        .message("You are not authorized to perform this operation. Encoded authorization failure message: AAAA")
        .build();
    let error = aws_sdk_ec2::operation::run_instances::RunInstancesError::generic(metadata);
    assert_eq!(
        failure::told(error.code(), error.message(), Some(403)).as_deref(),
        Some("403 UnauthorizedOperation: You are not authorized to perform this operation")
    );
}

fn problems_of(text: &str) -> Vec<String> {
    checks::validate(&shape(text))
        .0
        .into_iter()
        .map(|problem| {
            assert_eq!(problem.severity, Severity::Error);
            assert!(problem.summary.len() <= 60, "{}", problem.summary);
            problem.path.unwrap().to_string()
        })
        .collect()
}

#[test]
fn shapes_that_ec2_would_refuse_are_refused_on_the_attribute() {
    for (text, blamed) in [
        (
            r#""root_volume": {"type": "gp2", "iops": 3000}"#,
            "root_volume.iops",
        ),
        (r#""root_volume": {"type": "io2"}"#, "root_volume.iops"),
        (
            r#""root_volume": {"type": "io1", "iops": 500, "throughput": 200}"#,
            "root_volume.throughput",
        ),
        (
            r#""root_volume": {"encrypted": false, "kms_key_id": "k"}"#,
            "root_volume.kms_key_id",
        ),
        (
            r#""data_volumes": [{"device_name": "/dev/sdf"}]"#,
            "data_volumes[0].size",
        ),
        (
            r#""data_volumes": [{"device_name": "/dev/xvda", "size": 1}]"#,
            "data_volumes[0].device_name",
        ),
        (
            r#""data_volumes": [{"device_name": "/dev/sdf", "size": 1}, {"device_name": "/dev/sdf", "size": 1}]"#,
            "data_volumes[1].device_name",
        ),
        (r#""tags": {"Name": "x"}"#, r#"tags["Name"]"#),
        (r#""tags": {"flatcar-uid": "x"}"#, r#"tags["flatcar-uid"]"#),
        (r#""tags": {"aws:x": "x"}"#, r#"tags["aws:x"]"#),
        (
            r#""placement_partition_number": 1"#,
            "placement_partition_number",
        ),
        (r#""subnet_ids": ["a", "b", "a"]"#, "subnet_ids[2]"),
        (r#""spot": {}, "tenancy": "host""#, "tenancy"),
    ] {
        let problems = problems_of(&format!(r#"{{"instance_type": "m7g.large", {text}}}"#));
        assert_eq!(problems, [blamed], "{text}");
    }
    let good = r#"{"instance_type": "m7g.large", "root_volume": {"iops": 4000, "throughput": 200}, "data_volumes": [{"device_name": "/dev/sdf", "size": 1}], "tags": {"name": "x"}}"#;
    assert!(problems_of(good).is_empty());
}

/// What the schema alone says of an attribute of the provider block, or of the group.
fn refused_by(schema: Attribute, written: &serde_json::Value) -> Vec<String> {
    let config = Value::Map(
        [(
            "aws".to_owned(),
            complete(&schema, convert::to_value(written)),
        )]
        .into(),
    );
    let problems = crate::provider::check(&[schema], &config).0;
    assert!(!format!("{problems:?}").contains("s3cret"), "{problems:?}");
    problems
        .into_iter()
        .map(|problem| problem.path.unwrap().to_string())
        .collect()
}

#[test]
fn blanks_in_a_shape_are_refused_on_their_attribute() {
    for (written, blamed) in [
        (json!({"instance_type": ""}), "aws.instance_type"),
        (json!({"subnet_ids": ["a", " "]}), "aws.subnet_ids[1]"),
        (
            json!({"vpc_security_group_ids": [""]}),
            "aws.vpc_security_group_ids",
        ),
        (
            json!({"iam_instance_profile": ""}),
            "aws.iam_instance_profile",
        ),
        (json!({"key_name": " "}), "aws.key_name"),
        (json!({"placement_group": ""}), "aws.placement_group"),
        (
            json!({"capacity_reservation_id": ""}),
            "aws.capacity_reservation_id",
        ),
        (
            json!({"root_volume": {"device_name": ""}}),
            "aws.root_volume.device_name",
        ),
        (
            json!({"root_volume": {"kms_key_id": ""}}),
            "aws.root_volume.kms_key_id",
        ),
        (
            json!({"data_volumes": [{"device_name": "", "size": 1}]}),
            "aws.data_volumes[0].device_name",
        ),
        (
            json!({"data_volumes": [{"device_name": "/dev/sdf", "snapshot_id": ""}]}),
            "aws.data_volumes[0].snapshot_id",
        ),
    ] {
        let mut shape = json!({"instance_type": "m7g.large"});
        shape
            .as_object_mut()
            .unwrap()
            .extend(written.as_object().unwrap().clone());
        assert_eq!(
            refused_by(shape::group_schema(), &shape),
            [blamed],
            "{written}"
        );
    }
}

#[test]
fn a_provider_block_is_checked_before_anybody_is_asked() {
    let cases: [(serde_json::Value, &[&str]); 13] = [
        (
            json!({"region": "", "profile": "", "endpoint": "", "account_id": "", "access_key": "", "secret_key": ""}),
            &[],
        ),
        (
            json!({"region": "eu-central-1", "endpoint": "http://127.0.0.1:4566"}),
            &[],
        ),
        (json!({"region": "\u{f6} \u{e4}/../x"}), &["aws.region"]),
        (json!({"region": " "}), &["aws.region"]),
        (json!({"endpoint": "foo"}), &["aws.endpoint"]),
        (json!({"endpoint": "http://"}), &["aws.endpoint"]),
        (json!({"endpoint": "http://\u{fc} b"}), &["aws.endpoint"]),
        (
            json!({"endpoint": "http://user:s3cret@127.0.0.1:1"}),
            &["aws.endpoint"],
        ),
        (
            json!({"access_key": "AKIA", "secret_key": ""}),
            &["aws.secret_key"],
        ),
        (json!({"secret_key": "s3cret"}), &["aws.access_key"]),
        (json!({"access_key": "AKIA", "secret_key": "s3cret"}), &[]),
        (
            json!({"shared_config_files": [""]}),
            &["aws.shared_config_files[0]"],
        ),
        (
            json!({"assume_role": {"role_arn": ""}}),
            &["aws.assume_role.role_arn"],
        ),
    ];
    for (written, blamed) in cases {
        assert_eq!(
            refused_by(settings::provider_schema(), &written),
            blamed,
            "{written}"
        );
    }
}

#[tokio::test]
async fn a_string_of_the_provider_block_that_is_empty_is_left_out() {
    let block = json!({"aws": {
        "region": "eu-central-1", "profile": "", "endpoint": "", "token": "", "ca_bundle": "", "account_id": "",
        "access_key": "AKIA", "secret_key": "x",
        "assume_role": null, "shared_config_files": null, "shared_credentials_files": null, "max_retries": 0,
        "default_tags": null, "ignore_tags": null,
    }});
    let context = Context::of(convert::to_value(&block));
    let settings = ENTRY.settings(&context).unwrap();
    let session = Session::open(settings).await.ok().unwrap();
    let endpoint = session.endpoint;
    assert!(
        endpoint
            .as_deref()
            .is_none_or(|url| url.starts_with("http")),
        "{endpoint:?}"
    );
}

#[test]
fn a_variable_that_is_no_url_is_refused_by_name_alone() {
    for (name, url, is_refused) in [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566", false),
        ("AWS_ENDPOINT_URL", "", true),
        ("AWS_ENDPOINT_URL", "foo", true),
        ("AWS_ENDPOINT_URL_EC2", "http://user:s3cret@a", true),
        ("AWS_ENDPOINT_URL_STS", "http://\u{fc} b", true),
        ("AWS_ENDPOINT_URL_S3", "foo", false),
    ] {
        let variable = |asked: &str| (asked == name).then(|| url.to_owned());
        let problems = auth::check_endpoints(variable).err().unwrap_or_default().0;
        assert_eq!(!problems.is_empty(), is_refused, "{name}={url}");
        for problem in problems {
            assert!(problem.detail.contains(name), "{}", problem.detail);
            assert!(!problem.detail.contains("s3cret"), "{}", problem.detail);
        }
    }
}

#[test]
fn a_request_that_cannot_be_made_is_not_printed() {
    type Error =
        aws_sdk_ec2::error::SdkError<aws_sdk_ec2::operation::run_instances::RunInstancesError>;
    let words = "failed to apply endpoint `foo` to request `Request { body: s3cret }`";
    for error in [
        Error::construction_failure(words),
        Error::construction_failure("Request { body: s3cret }"),
        Error::timeout_error(words),
    ] {
        let told = fault("EC2 RunInstances", "w-0", error);
        assert!(!told.to_string().contains("s3cret"), "{told}");
    }
}

#[test]
fn what_is_not_known_yet_is_not_checked() {
    for name in ["root_volume", "data_volumes", "tags", "instance_type"] {
        let Value::Map(mut fields) = shape(r#"{"instance_type": "m7g.large"}"#) else {
            panic!("a shape is an object");
        };
        fields.insert(name.to_owned(), Value::unknown());
        assert!(checks::validate(&Value::Map(fields)).is_empty(), "{name}");
    }
    assert!(checks::validate(&Value::unknown()).is_empty());
}

#[test]
fn forty_two_tags_and_ours_fit() {
    let tags: serde_json::Value = (0..42)
        .map(|number| (format!("a key of some length {number}"), "x".into()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let text = serde_json::json!({"instance_type": "m7g.large", "tags": tags}).to_string();
    let (mark, shape) = (mark(), shape(&text));
    let spec = spec(&mark, &shape);
    let shape = Shape::from_value(spec.shape).unwrap();
    let input = api::run_instances(&spec, &shape, "", None).build().unwrap();
    let tags = input.tag_specifications()[0].tags();
    assert_eq!(tags.len(), 50);
    assert!(
        tags.iter().all(|tag| tag.value().unwrap().len() <= 256),
        "{tags:?}"
    );
}

async fn refused(block: serde_json::Value) -> String {
    let configuration = convert::to_value(&serde_json::json!({"aws": block}));
    let Value::Map(mut blocks) = configuration else {
        panic!("a provider block is an object");
    };
    let aws = blocks.remove("aws").unwrap();
    let aws = complete(&settings::provider_schema(), aws);
    let context = Context::of(Value::Map([("aws".to_owned(), aws)].into()));
    let connected = connect(Connect {
        context: &context,
        shape: &Value::Null,
        scope: None,
    })
    .await;
    let Err(problems) = connected else {
        panic!("it cannot be connected to");
    };
    problems.0[0].detail.clone()
}

#[tokio::test]
async fn a_provider_block_that_cannot_do_says_what_to_set() {
    let half = refused(serde_json::json!({"region": "x", "access_key": "a"})).await;
    assert!(half.contains("aws.secret_key"), "{half}");
    let missing =
        refused(serde_json::json!({"region": "x", "ca_bundle": "/does/not/exist.pem"})).await;
    assert!(
        missing.contains("aws.ca_bundle") && missing.contains("/does/not/exist.pem"),
        "{missing}"
    );
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("empty.pem", ""),
        (
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let broken = refused(serde_json::json!({"region": "x", "ca_bundle": path})).await;
        assert!(broken.contains(name), "{broken}");
    }
    for (field, value) in [
        ("ca_bundle", serde_json::json!("/dev/zero")),
        ("shared_config_files", serde_json::json!(["/dev/zero"])),
        ("shared_credentials_files", serde_json::json!(["/dev/zero"])),
    ] {
        let endless = refused(serde_json::json!({"region": "x", field: value})).await;
        let field = format!("aws.{field}");
        assert!(
            endless.contains("/dev/zero: it is not a regular file"),
            "{endless}"
        );
        assert!(endless.contains(&field), "{endless}");
    }
}

#[test]
fn a_target_group_is_named_by_its_arn() {
    let good =
        "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
    let cases = [
        (good, true),
        (
            "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/web/0123456789abcdef",
            true,
        ),
        ("web", false),
        ("", false),
        (
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/web/0123456789abcdef",
            false,
        ),
        (
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web",
            false,
        ),
    ];
    for (arn, is_good) in cases {
        let shape = shape(&format!(
            r#"{{"instance_type": "m7g.large", "target_group_arns": ["{arn}"]}}"#
        ));
        let problems = (ENTRY.validate)(&shape);
        assert_eq!(problems.is_empty(), is_good, "{arn}: {problems:?}");
        for problem in problems.0 {
            let path = problem.path.map(|path| path.to_string());
            assert_eq!(path.as_deref(), Some("target_group_arns"));
        }
    }
    let shape = shape(&format!(
        r#"{{"instance_type": "m7g.large", "target_group_arns": ["{good}"]}}"#
    ));
    let wanted = Facet::wanted(seen::FACETS, &Shape::from_value(&shape).unwrap());
    let key = format!("target_group_arns.{good}");
    assert_eq!(wanted.get(&key).map(String::as_str), Some("registered"));
}

#[test]
fn a_tag_holds_the_target_groups_that_fit_into_it() {
    let ids: Vec<String> = (0..20).map(|n| format!("{n:016x}")).collect();
    let text = api::claim(ids.iter().map(String::as_str));
    assert!(text.len() <= 256, "{}", text.len());
    assert_eq!(text.split(' ').count(), 15);
}
