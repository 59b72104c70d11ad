//! What is refused before EC2 is asked: of a shape, and of the provider block.

use super::*;

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
    let config = Value::Map([("aws".to_owned(), complete(&schema, written))].into());
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
    let aws = complete(&settings::provider_schema(), &block);
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
