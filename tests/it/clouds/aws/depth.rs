//! What EC2 alone promises, on the same stand-in as the common list.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, HttpTokensState, Instance, InstanceAttributeName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flatcar::provider::{Severity, Value};
use flatcar::worker_group::cloud::{Cloud, Growth, Kind, Machine, Phase, Spec};
use futures::FutureExt as _;
use serde_json::{Value as Json, json};

use super::subject::{Aws, REGION};
use crate::harness::scratch;
use crate::worker_group::{Act, Behaviour, Bench, Shown, connect};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        pub(super) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "machines are spread over the subnets in turn" => spread,
    "a subnet without capacity is passed over, and a repeat finds the machine in the next one" => next_subnet,
    "a group without capacity anywhere is told so, on the type" => no_capacity,
    "a client token whose instance has ended answers that instance, whatever it was made from" => token_of_the_dead,
    "volumes and interfaces carry whose they are and the user's tags, and change with them" => parts,
    "security groups change in place, and a shape without any leaves them" => regroup,
    "no volume outlives its machine" => no_volume_stays,
    "the metadata service wants tokens, and volumes are encrypted" => safe_by_default,
    "user data is what was given, or a wrapper around it" => user_data,
    "a machine that may not be terminated is told as forbidden, and stays" => protected,
    "a young instance that somebody ended says why, and is gone once it has been deleted" => ended_young,
    "an image of another architecture is refused by the preflight, on the type" => architecture,
    "an instance type that does not exist is refused by the preflight, on the type" => bad_type,
    "a type that one zone does not have is no fault for the preflight, and one that none has is told with every subnet" => type_not_everywhere,
    "a missing permission is told once by the preflight" => preflight_forbidden,
    "questions that may not be asked do not stop the preflight" => preflight_blind,
    "a question that is worth another try is left by the preflight to whoever asks" => preflight_again,
    "a list is one call, and so are marks on many machines" => calls_are_few,
    "an endpoint where nobody listens is told as such, and no create is ambiguous there" => nobody_listens,
    "an answer that is cut short makes a create ambiguous, and a list a failure" => cut_short,
    "profile, region and keys come from files" => files,
    "credentials that cannot be had are told as missing, with what to set" => no_credentials,
    "a role is taken on" => role,
    "an account that is said is not asked for" => said_account,
}

async fn spread(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    for ordinal in 0..3 {
        bench.create(ordinal).await.expect("creates");
    }
    let subnets: Vec<String> = instances(bench)
        .await
        .into_values()
        .filter_map(|instance| instance.subnet_id)
        .collect();
    assert_eq!(subnets, aws.world.subnets);
    let mut told: Vec<String> = bench
        .list()
        .await
        .into_iter()
        .filter_map(|machine| machine.observed.get("subnet_ids").cloned())
        .collect();
    told.sort();
    let mut expected = aws.world.subnets.clone();
    expected.sort();
    assert_eq!(told, expected);
    Ok(())
}

async fn regroup(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let subnets = aws
        .world
        .ec2
        .describe_subnets()
        .subnet_ids(&aws.world.subnets[0]);
    let subnets = subnets.send().await.expect("has subnets");
    let network = subnets.subnets()[0].vpc_id().expect("a VPC").to_owned();
    let made = aws
        .world
        .ec2
        .create_security_group()
        .group_name(format!("more-{}", bench.mark.cluster))
        .description("for tests")
        .vpc_id(network)
        .send()
        .await
        .expect("makes a group");
    let more = made.group_id().expect("an id").to_owned();
    let machines = [
        bench.create(0).await.expect("creates"),
        bench.create(1).await.expect("creates"),
    ];
    let mut both = [aws.group.clone(), more];
    both.sort();
    // moto answers the groups of the create beside those that an interface was given since, and
    // takes groups that there are none of: what it can show is that more come, and that nothing
    // said changes nothing.
    for groups in [json!(both), json!(null)] {
        let shape = bench.shape_with(&[("vpc_security_group_ids", groups)]);
        let marked = bench.cloud.mark(&machines, &bench.mark, &shape).await;
        marked.expect("changes them");
        for machine in bench.list().await {
            let has = machine.observed.get("vpc_security_group_ids");
            assert_eq!(has, Some(&both.join(",")), "{}", machine.name);
        }
    }
    Ok(())
}

async fn next_subnet(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    aws.rules(json!([{
        "service": "ec2", "operation": "RunInstances", "times": 1,
        "error": {"code": "InsufficientInstanceCapacity", "status": 500},
    }]))
    .await;
    let cloud = bench.plainly().await;
    let made = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect("creates");
    assert_eq!(
        instances(bench).await[&made.name].subnet_id.as_ref(),
        Some(&aws.world.subnets[1])
    );
    // The first subnet has capacity again: it must not make another one.
    let again = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect("answers");
    assert_eq!(again.id, made.id);
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn no_capacity(bench: &Bench<'_>) -> Shown {
    Aws::of(bench)
        .rules(json!([{
            "service": "ec2", "operation": "RunInstances",
            "error": {"code": "InsufficientInstanceCapacity", "status": 500},
        }]))
        .await;
    let cloud = bench.plainly().await;
    let before = fired(bench).await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("there is none");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::Quota, Some("aws.instance_type")),
        "{error}"
    );
    // One try a subnet.
    assert_eq!(
        fired(bench).await - before,
        Aws::of(bench).world.subnets.len()
    );
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn token_of_the_dead(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let machine = bench.create(0).await.expect("creates");
    let name = bench.name(0);
    let other = Spec {
        image: bench.subject.images()[1],
        ..bench.spec(&name, 0)
    };
    // By somebody else, and the token is asked for by another process.
    aws.timing(json!({"stopping": 3600})).await;
    bench.subject.behind(&machine, Act::Remove).await?;
    let cloud = bench.plainly().await;
    let going = cloud.create(&other).await.expect("answers");
    assert_eq!((&going.id, going.phase), (&machine.id, Phase::Deleting));
    aws.timing(json!({"stopping": 0})).await;
    // EC2 drops the tags of what has ended, in time.
    for act in [None, Some(Act::Unmark)] {
        if let Some(act) = act {
            bench.subject.behind(&machine, act).await?;
        }
        let ended = cloud.create(&other).await.expect("answers");
        assert_eq!((&ended.id, ended.phase), (&machine.id, Phase::Failed));
        assert_eq!((&ended.name, &ended.mark.uid), (&name, &bench.mark.uid));
        assert!(ended.created.is_some(), "{ended:?}");
    }
    assert!(bench.list().await.is_empty());
    let raised = Spec {
        attempt: 1,
        ..other
    };
    let made = cloud.create(&raised).await.expect("creates");
    assert_ne!(made.id, machine.id);
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn parts(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    // moto tags volumes in RunInstances, and interfaces only afterwards.
    let of_volume = &parts_tags(bench, &machine).await[0];
    assert_eq!(of_volume["flatcar-uid"], bench.mark.uid);
    assert_eq!(of_volume["flatcar-machine"], machine.name);
    assert_eq!(of_volume["team"], "a");
    assert!(!of_volume.contains_key("flatcar-unsaved"), "{of_volume:?}");
    let shape = bench.shape_with(&[("tags", json!({"team": "b"}))]);
    bench
        .cloud
        .mark(std::slice::from_ref(&machine), &bench.mark, &shape)
        .await
        .expect("marks");
    for tags in parts_tags(bench, &machine).await {
        assert_eq!(tags["flatcar-uid"], bench.mark.uid);
        assert_eq!(tags["team"], "b");
        assert!(!tags.contains_key("cost"), "{tags:?}");
        assert!(!tags.contains_key("flatcar-unsaved"), "{tags:?}");
    }
    Ok(())
}

async fn no_volume_stays(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&[(
        "data_volumes",
        json!([{"device_name": "/dev/sdf", "size": 8}]),
    )]);
    let name = bench.name(0);
    let machine = bench
        .cloud
        .create(&Spec {
            shape: &shape,
            ..bench.spec(&name, 0)
        })
        .await
        .expect("creates");
    assert_eq!(volumes(bench).await, 2);
    bench.delete(&machine).await;
    assert_eq!(volumes(bench).await, 0);
    Ok(())
}

async fn safe_by_default(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    let instance = &instances(bench).await[&machine.name];
    let tokens = instance
        .metadata_options()
        .and_then(|options| options.http_tokens());
    assert_eq!(tokens, Some(&HttpTokensState::Required));
    let answer = Aws::of(bench)
        .world
        .ec2
        .describe_volumes()
        .filters(of_cluster(bench))
        .send()
        .await
        .expect("describes");
    assert!(
        answer
            .volumes()
            .iter()
            .all(|volume| volume.encrypted() == Some(true)),
        "{answer:?}"
    );
    Ok(())
}

async fn user_data(bench: &Bench<'_>) -> Shown {
    let small = r#"{"ignition":{"version":"3.4.0"}}"#.to_owned();
    let large = format!(
        r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/a","contents":{{"source":"data:,{}"}}}}]}}}}"#,
        "a".repeat(40_000)
    );
    for (ordinal, text) in (0..).zip([&small, &large]) {
        let name = bench.name(ordinal);
        let spec = Spec {
            user_data: text.as_bytes(),
            ..bench.spec(&name, ordinal)
        };
        let machine = bench.cloud.create(&spec).await.expect("creates");
        let stored = stored_user_data(bench, &machine).await;
        if text == &small {
            assert_eq!(stored, small);
        } else {
            assert!(stored.len() <= 16_384, "{}", stored.len());
            let wrapper: Json = serde_json::from_str(&stored).expect("is JSON");
            assert_eq!(
                wrapper["ignition"]["config"]["replace"]["compression"],
                "gzip"
            );
        }
    }
    Ok(())
}

async fn protected(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let machine = bench.create(0).await.expect("creates");
    let protect = |on: bool| {
        aws.world
            .ec2
            .modify_instance_attribute()
            .instance_id(&machine.id)
            .disable_api_termination(
                aws_sdk_ec2::types::AttributeBooleanValue::builder()
                    .value(on)
                    .build(),
            )
            .send()
    };
    protect(true).await.expect("protects");
    let error = bench
        .cloud
        .delete(&machine)
        .await
        .expect_err("it is protected");
    assert_eq!(error.kind, Kind::Forbidden, "{error}");
    assert!(error.message.contains("disableApiTermination"), "{error}");
    assert_eq!(bench.list().await.len(), 1);
    protect(false).await.expect("lifts the protection");
    bench.delete(&machine).await;
    Ok(())
}

async fn ended_young(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    Aws::of(bench)
        .world
        .ec2
        .terminate_instances()
        .instance_ids(&machine.id)
        .send()
        .await
        .expect("terminates");
    let cloud = bench.plainly().await;
    assert!(bench.list().await.is_empty());
    let ids = std::slice::from_ref(&machine.id);
    let found = cloud.find(ids).await.expect("finds");
    assert_eq!(found.len(), 1, "an absence so young would not be believed");
    assert_eq!(found[0].phase, Phase::Failed);
    assert!(found[0].message.is_some(), "{found:?}");
    cloud.delete(&found[0]).await.expect("deletes");
    assert!(cloud.find(ids).await.expect("finds").is_empty());
    Ok(())
}

async fn architecture(bench: &Bench<'_>) -> Shown {
    let problems = bench
        .cloud
        .preflight("ami-0f1a7ca7000000003", &bench.shape, Growth::by(1))
        .await
        .expect("asks");
    assert_eq!(problems.0.len(), 1, "{problems:?}");
    let path = problems.0[0].path.as_ref().map(ToString::to_string);
    assert_eq!(path.as_deref(), Some("aws.instance_type"));
    assert!(problems.0[0].detail.contains("arm64"), "{problems:?}");
    Ok(())
}

async fn bad_type(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&[("instance_type", json!("m5.gigantic"))]);
    let problems = bench
        .cloud
        .preflight(bench.image(), &shape, Growth::by(1))
        .await
        .expect("asks");
    assert_eq!(problems.0.len(), 1, "{problems:?}");
    let path = problems.0[0].path.as_ref().map(ToString::to_string);
    assert_eq!(path.as_deref(), Some("aws.instance_type"));
    Ok(())
}

async fn type_not_everywhere(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let subnets = aws.world.subnets.len();
    assert!(subnets > 1);
    for (code, times, asked, blamed) in [
        ("Unsupported", subnets - 1, subnets - 1, None),
        (
            "Unsupported",
            subnets + 1,
            subnets,
            Some("aws.instance_type"),
        ),
        // Of this minute.
        ("InsufficientInstanceCapacity", subnets, 1, None),
    ] {
        aws.rules(json!([{
            "service": "ec2", "operation": "RunInstances", "times": times,
            "error": {"code": code, "status": 400},
        }]))
        .await;
        let cloud = bench.plainly().await;
        let before = fired(bench).await;
        let problems = cloud
            .preflight(bench.image(), &bench.shape, Growth::by(1))
            .await
            .expect("asks");
        assert_eq!(fired(bench).await - before, asked, "{code} {times}");
        let paths: Vec<String> = problems
            .0
            .iter()
            .filter_map(|problem| problem.path.as_ref())
            .map(ToString::to_string)
            .collect();
        let expected: Vec<&str> = blamed.into_iter().collect();
        assert_eq!(paths, expected, "{problems:?}");
        for problem in &problems.0 {
            let named = |subnet: &String| problem.detail.contains(subnet.as_str());
            assert!(aws.world.subnets.iter().all(named), "{problem:?}");
        }
    }
    Ok(())
}

async fn preflight_forbidden(bench: &Bench<'_>) -> Shown {
    Aws::of(bench)
        .rules(
            json!([{"service": "ec2", "error": {"code": "UnauthorizedOperation", "status": 403}}]),
        )
        .await;
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape, Growth::by(1))
        .await
        .expect("asks");
    assert_eq!(problems.0.len(), 1, "{problems:?}");
    assert_eq!(problems.0[0].severity, Severity::Error);
    assert!(
        problems.0[0].detail.contains("ec2:RunInstances"),
        "{problems:?}"
    );
    Ok(())
}

async fn preflight_blind(bench: &Bench<'_>) -> Shown {
    let rules: Vec<Json> = ["DescribeImages", "DescribeInstanceTypes", "DescribeSubnets"]
        .iter()
        .map(|operation| json!({"service": "ec2", "operation": operation, "error": {"code": "UnauthorizedOperation", "status": 403}}))
        .collect();
    Aws::of(bench).rules(rules.into()).await;
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape, Growth::by(1))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    Ok(())
}

async fn preflight_again(bench: &Bench<'_>) -> Shown {
    let cloud = connected(bench, &bench.subject.configuration(0)).await;
    let trouble = [("Unavailable", 503), ("RequestLimitExceeded", 503)];
    for operation in [
        "DescribeImages",
        "DescribeInstanceTypes",
        "DescribeSubnets",
        "RunInstances",
    ] {
        for (code, status) in trouble {
            let error = json!({"code": code, "status": status});
            let rule = json!({"service": "ec2", "operation": operation, "error": error});
            Aws::of(bench).rules(json!([rule])).await;
            let error = cloud
                .preflight(bench.image(), &bench.shape, Growth::by(1))
                .await
                .expect_err("no answer");
            assert!(error.is_retryable(), "{error}");
            assert!(error.action.contains(operation), "{error}");
        }
    }
    Ok(())
}

async fn calls_are_few(bench: &Bench<'_>) -> Shown {
    for ordinal in 0..5 {
        bench.create(ordinal).await.expect("creates");
    }
    let before = calls(bench).await;
    let machines = bench.list().await;
    assert_eq!(calls(bench).await - before, 1, "a list of five machines");
    let before = calls(bench).await;
    bench
        .cloud
        .mark(&machines, &bench.mark, &Value::Null)
        .await
        .expect("marks");
    assert_eq!(calls(bench).await - before, 1, "marks on five machines");
    let before = calls(bench).await;
    let ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
    bench.cloud.find(&ids).await.expect("finds");
    assert_eq!(
        calls(bench).await - before,
        1,
        "a question for five machines"
    );
    let before = calls(bench).await;
    bench.create(5).await.expect("creates");
    assert_eq!(calls(bench).await - before, 1, "a create");
    Ok(())
}

async fn nobody_listens(bench: &Bench<'_>) -> Shown {
    let mut configuration = bench.subject.configuration(0);
    // Bound and closed again: free, and nobody's.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    configuration["aws"]["endpoint"] = json!(format!("http://127.0.0.1:{port}"));
    let cloud = connected(bench, &configuration).await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("nobody is there");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.message.to_lowercase().contains("refused"), "{error}");
    let error = cloud.list("a", "b").await.expect_err("nobody is there");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    Ok(())
}

async fn cut_short(bench: &Bench<'_>) -> Shown {
    let cut = |operation: &str| json!([{"service": "ec2", "operation": operation, "response": {"truncate_frac": 0.5}}]);
    let cloud = bench.plainly().await;
    Aws::of(bench).rules(cut("RunInstances")).await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("half an answer");
    assert_eq!(error.kind, Kind::Ambiguous, "{error}");
    Aws::of(bench).rules(cut("DescribeInstances")).await;
    let error = cloud
        .list(&bench.mark.cluster, &bench.mark.group)
        .await
        .expect_err("half an answer");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    bench.subject.calm().await;
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

/// What is shown only where nobody has credentials in the environment, which go before files.
pub(super) const OF_FILES: [&str; 2] = [
    "profile, region and keys come from files",
    "credentials that cannot be had are told as missing, with what to set",
];

/// Whether whoever runs the tests has credentials, or a region, in the environment.
pub(super) fn has_credentials() -> bool {
    ["AWS_ACCESS_KEY_ID", "AWS_REGION"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

async fn files(bench: &Bench<'_>) -> Shown {
    let folder = scratch();
    let (config, credentials) = (
        folder.path().join("config"),
        folder.path().join("credentials"),
    );
    std::fs::write(&config, format!("[profile workers]\nregion = {REGION}\n")).expect("writes");
    std::fs::write(
        &credentials,
        "[workers]\naws_access_key_id = test\naws_secret_access_key = test\n",
    )
    .expect("writes");
    let configuration = json!({"aws": {
        "profile": "workers",
        "shared_config_files": [config],
        "shared_credentials_files": [credentials],
        "endpoint": Aws::of(bench).faulty(),
    }});
    if has_credentials() {
        return Err("the environment has credentials, which go before files");
    }
    let cloud = connected(bench, &configuration).await;
    assert_eq!(
        cloud.scope().await.expect("has a scope"),
        format!("123456789012/{REGION}")
    );
    Ok(())
}

async fn no_credentials(bench: &Bench<'_>) -> Shown {
    if has_credentials() {
        return Err("the environment has credentials, which go before files");
    }
    let folder = scratch();
    let config = folder.path().join("config");
    std::fs::write(
        &config,
        "[profile workers]\ncredential_process = false nobody\n",
    )
    .expect("writes");
    let configuration = json!({"aws": {
        "profile": "workers",
        "region": REGION,
        "shared_config_files": [config],
        "shared_credentials_files": [config],
        "endpoint": Aws::of(bench).faulty(),
    }});
    let cloud = connected(bench, &configuration).await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("nobody may do it");
    assert_eq!(error.kind, Kind::Unauthenticated, "{error}");
    assert!(error.message.contains("aws.profile"), "{error}");
    Ok(())
}

async fn role(bench: &Bench<'_>) -> Shown {
    let mut configuration = bench.subject.configuration(2);
    configuration["aws"]["assume_role"] =
        json!({"role_arn": "arn:aws:iam::210987654321:role/workers", "external_id": "x"});
    let cloud = connected(bench, &configuration).await;
    assert_eq!(
        cloud.scope().await.expect("has a scope"),
        format!("210987654321/{REGION}")
    );
    Ok(())
}

async fn said_account(bench: &Bench<'_>) -> Shown {
    let mut configuration = bench.subject.configuration(0);
    configuration["aws"]["account_id"] = json!("111122223333");
    Aws::of(bench)
        .rules(json!([{"service": "sts", "error": {"code": "AccessDenied", "status": 403}}]))
        .await;
    let cloud = connected(bench, &configuration).await;
    assert_eq!(
        cloud.scope().await.expect("has a scope"),
        format!("111122223333/{REGION}")
    );
    let unsaid = bench.plainly().await;
    let error = unsaid.scope().await.expect_err("STS refuses");
    assert_eq!(error.kind, Kind::Forbidden, "{error}");
    assert!(error.message.contains("aws.account_id"), "{error}");
    Ok(())
}

pub(super) async fn connected(bench: &Bench<'_>, configuration: &Json) -> Box<dyn Cloud> {
    connect(bench.subject, configuration, &bench.shape, None)
        .await
        .unwrap_or_else(|problems| panic!("cannot connect: {problems:?}"))
}

fn of_cluster(bench: &Bench<'_>) -> Filter {
    Filter::builder()
        .name("tag:flatcar-cluster")
        .values(&bench.mark.cluster)
        .build()
}

/// By name.
pub(super) async fn instances(bench: &Bench<'_>) -> BTreeMap<String, Instance> {
    let answer = Aws::of(bench)
        .world
        .ec2
        .describe_instances()
        .filters(of_cluster(bench))
        .send()
        .await
        .expect("describes");
    answer
        .reservations()
        .iter()
        .flat_map(|reservation| reservation.instances())
        .filter_map(|instance| {
            let name = instance
                .tags()
                .iter()
                .find(|tag| tag.key() == Some("Name"))?;
            Some((name.value()?.to_owned(), instance.clone()))
        })
        .collect()
}

async fn volumes(bench: &Bench<'_>) -> usize {
    let answer = Aws::of(bench)
        .world
        .ec2
        .describe_volumes()
        .filters(of_cluster(bench))
        .send()
        .await
        .expect("describes");
    answer.volumes().len()
}

async fn parts_tags(bench: &Bench<'_>, machine: &Machine) -> Vec<BTreeMap<String, String>> {
    let instance = &instances(bench).await[&machine.name];
    let mut ids: Vec<&str> = instance
        .block_device_mappings()
        .iter()
        .filter_map(|device| device.ebs()?.volume_id())
        .collect();
    assert_eq!(ids.len(), 1);
    ids.extend(
        instance
            .network_interfaces()
            .iter()
            .filter_map(|interface| interface.network_interface_id()),
    );
    assert_eq!(ids.len(), 2);
    let mut all = Vec::new();
    for id in ids {
        let filter = Filter::builder().name("resource-id").values(id).build();
        let answer = Aws::of(bench)
            .world
            .ec2
            .describe_tags()
            .filters(filter)
            .send()
            .await
            .expect("describes");
        all.push(
            answer
                .tags()
                .iter()
                .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())))
                .collect(),
        );
    }
    all
}

async fn stored_user_data(bench: &Bench<'_>, machine: &Machine) -> String {
    let answer = Aws::of(bench)
        .world
        .ec2
        .describe_instance_attribute()
        .instance_id(&machine.id)
        .attribute(InstanceAttributeName::UserData)
        .send()
        .await
        .expect("describes");
    let text = answer
        .user_data()
        .and_then(|data| data.value())
        .expect("has user data");
    String::from_utf8(STANDARD.decode(text).expect("is base64")).expect("is text")
}

/// How many creates microburst has refused or spoilt so far.
async fn fired(bench: &Bench<'_>) -> usize {
    let aws = Aws::of(bench);
    let answer: Json = aws
        .http
        .get(format!(
            "{}/_microburst/fired?operation=RunInstances&limit=1000",
            aws.faulty()
        ))
        .send()
        .await
        .expect("microburst answers")
        .json()
        .await
        .expect("is JSON");
    let resource = answer
        .as_array()
        .or_else(|| answer["fired"].as_array())
        .expect("a list");
    resource.len()
}

/// How many calls have passed through microburst.
pub(super) async fn calls(bench: &Bench<'_>) -> u64 {
    let aws = Aws::of(bench);
    let answer: Json = aws
        .http
        .get(format!("{}/_microburst/stats", aws.faulty()))
        .send()
        .await
        .expect("microburst answers")
        .json()
        .await
        .expect("is JSON");
    answer["requests"]["total"].as_u64().expect("a number")
}
