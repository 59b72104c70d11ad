//! Target groups of load balancers: what a machine's membership promises, on moto with a layer that
//! gives targets their time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client as Ec2;
use aws_sdk_elasticloadbalancingv2::Client as Elb;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ProtocolEnum, TargetDescription, TargetGroupAttribute, TargetTypeEnum,
};
use flatcar::kubernetes::Host;
use flatcar::provider::{Diagnostics, Severity, Value};
use flatcar::worker_group::cloud::{Cloud, Growth, Kind, Machine, Members, Spec};
use futures::FutureExt as _;
use futures::future::join_all;
use serde_json::json;

use super::depth::{calls, instances};
use super::subject::Aws;
use crate::worker_group::{Act, Behaviour, Bench, Shown, connect};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        pub(super) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "a machine is registered when it is ready, and counts once every target group finds it healthy" => registered_when_ready,
    "a machine says why it gets no traffic" => says_why,
    "a target group that no load balancer uses keeps nobody waiting" => unused,
    "a machine that leaves is deregistered, and waited for until it is drained" => drained,
    "a machine that never got traffic, or is stopped, is not waited for" => not_waited_for,
    "many machines are registered, looked at and deregistered in one call a target group" => few_calls,
    "what somebody deregistered is seen by a list, and registered again in place" => mended,
    "another list moves machines in place, and their tag says where they are" => moved,
    "a machine leaves a target group too that is on the list no more" => leaves_the_old_one,
    "a target group that is gone stands in the way of no list, no change and no deletion" => gone_group,
    "the preflight refuses what does not exist, is in another VPC or takes no instances, on the attribute" => preflight,
    "permissions that are missing are named by the preflight, before anything is registered" => forbidden,
    "load balancing that does not answer is no absence" => down,
}

async fn registered_when_ready(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let arns = [group(bench, 0).await, group(bench, 0).await];
    let (cloud, shape) = balanced(bench, &arns).await;
    let machine = create(bench, cloud.as_ref(), &shape, 0).await;
    assert!(
        registered(bench, &arns[0]).await.is_empty(),
        "not by itself"
    );
    aws.timing(json!({"healthy": 3600})).await;
    list(bench, cloud.as_ref()).await;
    let hosts = [host(&machine)];
    assert!(serving(cloud.as_ref(), &hosts).await.is_empty());
    for arn in &arns {
        assert_eq!(registered(bench, arn).await, ids(&[&machine]));
    }
    list(bench, cloud.as_ref()).await;
    assert!(
        serving(cloud.as_ref(), &hosts).await.is_empty(),
        "initial is not healthy"
    );
    aws.timing(json!({"healthy": 0})).await;
    list(bench, cloud.as_ref()).await;
    assert_eq!(serving(cloud.as_ref(), &hosts).await, names(&[&machine]));
    Ok(())
}

async fn says_why(bench: &Bench<'_>) -> Shown {
    let arn = group(bench, 0).await;
    let (cloud, shape) = balanced(bench, &[arn]).await;
    let machine = create(bench, cloud.as_ref(), &shape, 0).await;
    list(bench, cloud.as_ref()).await;
    serving(cloud.as_ref(), &[host(&machine)]).await;
    Aws::of(bench).timing(json!({"unhealthy": 1})).await;
    let listed = list(bench, cloud.as_ref()).await;
    let message = listed[0].message.as_deref().unwrap_or_default();
    assert!(message.contains("unhealthy in target group"), "{message}");
    assert!(message.contains("Target.Timeout"), "{message}");
    assert!(serving(cloud.as_ref(), &[host(&machine)]).await.is_empty());
    Ok(())
}

async fn unused(bench: &Bench<'_>) -> Shown {
    let arn = made(bench, 0, TargetTypeEnum::Instance, None).await;
    let (cloud, shape) = balanced(bench, std::slice::from_ref(&arn)).await;
    let machine = create(bench, cloud.as_ref(), &shape, 0).await;
    list(bench, cloud.as_ref()).await;
    serving(cloud.as_ref(), &[host(&machine)]).await;
    list(bench, cloud.as_ref()).await;
    assert_eq!(
        serving(cloud.as_ref(), &[host(&machine)]).await,
        names(&[&machine])
    );
    Ok(())
}

async fn drained(bench: &Bench<'_>) -> Shown {
    let arn = group(bench, 2).await;
    let (cloud, shape) = balanced(bench, std::slice::from_ref(&arn)).await;
    let machines = serve(bench, cloud.as_ref(), &shape, 2).await;
    let [goes, stays] = &machines[..] else {
        panic!("two machines")
    };
    let members = members(cloud.as_ref());
    assert!(members.out(&[host(goes)]).is_empty(), "it serves still");
    let began = Instant::now();
    members.leave(&[host(goes)]).await.expect("leaves");
    members.left(&host(goes)).await.expect("is awaited");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert_eq!(registered(bench, &arn).await, ids(&[stays]));
    list(bench, cloud.as_ref()).await;
    let both = [host(goes), host(stays)];
    assert_eq!(members.out(&both), names(&[goes]));
    // In a process that knows nothing of it, too.
    let (other, _) = balanced(bench, &[arn]).await;
    list(bench, other.as_ref()).await;
    assert_eq!(self::members(other.as_ref()).out(&both), names(&[goes]));
    Ok(())
}

async fn not_waited_for(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let arn = group(bench, 3_599).await;
    let (cloud, shape) = balanced(bench, &[arn]).await;
    let stopped = serve(bench, cloud.as_ref(), &shape, 1).await.remove(0);
    bench.subject.behind(&stopped, Act::Stop).await?;
    aws.timing(json!({"healthy": 3600})).await;
    let initial = create(bench, cloud.as_ref(), &shape, 1).await;
    list(bench, cloud.as_ref()).await;
    serving(cloud.as_ref(), &[host(&initial)]).await;
    let members = members(cloud.as_ref());
    let began = Instant::now();
    let hosts = [host(&stopped), host(&initial)];
    members.leave(&hosts).await.expect("leave");
    for host in &hosts {
        members.left(host).await.expect("is awaited");
    }
    // Nor anything like the delay of an hour.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1_800), "{took:?}");
    Ok(())
}

async fn few_calls(bench: &Bench<'_>) -> Shown {
    let arns = [group(bench, 1).await, group(bench, 1).await];
    let (cloud, shape) = balanced(bench, &arns).await;
    let machines = join_all((0..6).map(|n| create(bench, cloud.as_ref(), &shape, n))).await;
    let hosts: Vec<Host> = machines.iter().map(host).collect();
    let before = calls(bench).await;
    list(bench, cloud.as_ref()).await;
    assert_eq!(
        calls(bench).await - before,
        3,
        "a list, and two target groups"
    );
    let before = calls(bench).await;
    serving(cloud.as_ref(), &hosts).await;
    assert_eq!(calls(bench).await - before, 2, "registers six in two");
    list(bench, cloud.as_ref()).await;
    let before = calls(bench).await;
    assert_eq!(serving(cloud.as_ref(), &hosts).await.len(), 6);
    assert_eq!(calls(bench).await - before, 0, "by the list");
    let members = members(cloud.as_ref());
    let before = calls(bench).await;
    members.leave(&hosts).await.expect("leave");
    // Each asked once for its delay.
    let spent = calls(bench).await - before;
    assert!(spent <= 6, "deregisters six in two: {spent}");
    let before = calls(bench).await;
    join_all(hosts.iter().map(|host| members.left(host))).await;
    let spent = calls(bench).await - before;
    assert!(spent <= 12, "six are awaited together: {spent}");
    Ok(())
}

async fn mended(bench: &Bench<'_>) -> Shown {
    let arn = group(bench, 1).await;
    let (cloud, shape) = balanced(bench, std::slice::from_ref(&arn)).await;
    let machines = serve(bench, cloud.as_ref(), &shape, 2).await;
    let key = format!("target_group_arns.{arn}");
    let wanted = cloud.wanted(&shape);
    for machine in list(bench, cloud.as_ref()).await {
        assert_eq!(machine.observed.get(&key), wanted.get(&key), "{machine:?}");
    }
    Aws::of(bench)
        .world
        .elb
        .deregister_targets()
        .target_group_arn(&arn)
        .targets(TargetDescription::builder().id(&machines[0].id).build())
        .send()
        .await
        .expect("deregisters");
    let listed = list(bench, cloud.as_ref()).await;
    let lacks: Vec<&str> = listed
        .iter()
        .filter(|machine| !machine.observed.contains_key(&key))
        .map(|machine| machine.name.as_str())
        .collect();
    assert_eq!(lacks, [machines[0].name.as_str()]);
    let (lacking, _): (Vec<Machine>, Vec<Machine>) = listed
        .into_iter()
        .partition(|machine| machine.name == machines[0].name);
    cloud
        .mark(&lacking, &bench.mark, &shape)
        .await
        .expect("mends");
    assert_eq!(
        registered(bench, &arn).await,
        ids(&[&machines[0], &machines[1]])
    );
    Ok(())
}

async fn moved(bench: &Bench<'_>) -> Shown {
    let arns = [group(bench, 0).await, group(bench, 0).await];
    let (cloud, shape) = balanced(bench, &arns[..1]).await;
    let machines = serve(bench, cloud.as_ref(), &shape, 2).await;
    let tag = |instance: &aws_sdk_ec2::types::Instance| {
        let tag = instance.tags().iter().find(|tag| tag.key() == Some(TAG));
        tag.and_then(|tag| tag.value().map(str::to_owned))
    };
    let end = |arn: &str| arn.rsplit('/').next().map(str::to_owned);
    for instance in instances(bench).await.values() {
        assert_eq!(tag(instance), end(&arns[0]));
    }
    let (cloud, other) = balanced(bench, &arns[1..]).await;
    let listed = list(bench, cloud.as_ref()).await;
    cloud
        .mark(&listed, &bench.mark, &other)
        .await
        .expect("moves");
    assert!(registered(bench, &arns[0]).await.is_empty());
    let both = ids(&[&machines[0], &machines[1]]);
    assert_eq!(registered(bench, &arns[1]).await, both);
    for instance in instances(bench).await.values() {
        assert_eq!(tag(instance), end(&arns[1]));
    }
    // And out of all of them.
    let (cloud, none) = balanced(bench, &[]).await;
    let listed = list(bench, cloud.as_ref()).await;
    cloud
        .mark(&listed, &bench.mark, &none)
        .await
        .expect("moves");
    assert!(registered(bench, &arns[1]).await.is_empty());
    Ok(())
}

async fn leaves_the_old_one(bench: &Bench<'_>) -> Shown {
    let arns = [group(bench, 1).await, group(bench, 1).await];
    let (cloud, shape) = balanced(bench, &arns[..1]).await;
    let machine = serve(bench, cloud.as_ref(), &shape, 1).await.remove(0);
    // The list has changed together with what rolls: this machine goes without having been moved.
    let (cloud, _) = balanced(bench, &arns[1..]).await;
    list(bench, cloud.as_ref()).await;
    let members = members(cloud.as_ref());
    assert!(
        members.out(&[host(&machine)]).is_empty(),
        "it serves in the old one"
    );
    let began = Instant::now();
    members.leave(&[host(&machine)]).await.expect("leaves");
    members.left(&host(&machine)).await.expect("is awaited");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(registered(bench, &arns[0]).await.is_empty());
    Ok(())
}

async fn gone_group(bench: &Bench<'_>) -> Shown {
    let arns = [
        group(bench, 0).await,
        made(bench, 0, TargetTypeEnum::Instance, None).await,
    ];
    let (cloud, shape) = balanced(bench, &arns).await;
    let machine = serve(bench, cloud.as_ref(), &shape, 1).await.remove(0);
    Aws::of(bench)
        .world
        .elb
        .delete_target_group()
        .target_group_arn(&arns[1])
        .send()
        .await
        .expect("deletes");
    let listed = list(bench, cloud.as_ref()).await;
    assert_eq!(listed.len(), 1);
    let (cloud, fewer) = balanced(bench, &arns[..1]).await;
    let listed = list(bench, cloud.as_ref()).await;
    cloud
        .mark(&listed, &bench.mark, &fewer)
        .await
        .expect("moves");
    let (cloud, _) = balanced(bench, &arns).await;
    list(bench, cloud.as_ref()).await;
    let members = members(cloud.as_ref());
    members.leave(&[host(&machine)]).await.expect("leaves");
    members.left(&host(&machine)).await.expect("is awaited");
    Ok(())
}

async fn preflight(bench: &Bench<'_>) -> Shown {
    let aws = Aws::of(bench);
    let vpc = aws
        .world
        .ec2
        .create_vpc()
        .cidr_block("10.9.0.0/16")
        .send()
        .await;
    let vpc = vpc.expect("creates").vpc.and_then(|vpc| vpc.vpc_id);
    let absent = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/absent/0123456789abcdef";
    let good = group(bench, 0).await;
    let cases = [
        (absent.to_owned(), "TargetGroupNotFound"),
        (
            made(bench, 0, TargetTypeEnum::Instance, vpc.as_deref()).await,
            "VPC",
        ),
        (
            made(bench, 0, TargetTypeEnum::Ip, None).await,
            "target type ip",
        ),
    ];
    let check = async |arns: &[String], new: usize| -> Diagnostics {
        let (cloud, shape) = balanced(bench, arns).await;
        cloud
            .preflight(bench.image(), &shape, Growth::by(new))
            .await
            .expect("asks")
    };
    for new in [0, 2] {
        let problems = check(std::slice::from_ref(&good), new).await;
        assert!(problems.is_empty(), "{problems:?}");
        for (arn, says) in &cases {
            let problems = check(&[good.clone(), arn.clone()], new).await;
            assert_eq!(problems.0.len(), 1, "{problems:?}");
            let problem = &problems.0[0];
            let path = problem.path.as_ref().map(ToString::to_string);
            assert_eq!(
                path.as_deref(),
                Some("aws.target_group_arns"),
                "{problem:?}"
            );
            assert_eq!(problem.severity, Severity::Error);
            let text = format!("{}: {}", problem.summary, problem.detail);
            assert!(text.contains(says), "{text}");
        }
    }
    assert!(registered(bench, &good).await.is_empty());
    Ok(())
}

async fn forbidden(bench: &Bench<'_>) -> Shown {
    let arn = group(bench, 0).await;
    let (cloud, shape) = balanced(bench, &[arn]).await;
    for action in ["RegisterTargets", "DeregisterTargets"] {
        Aws::of(bench)
            .rules(json!([{"service": "elbv2", "operation": action, "error": {"code": "AccessDenied", "status": 403}}]))
            .await;
        let problems = cloud
            .preflight(bench.image(), &shape, Growth::by(1))
            .await
            .expect("asks");
        assert_eq!(problems.0.len(), 1, "{problems:?}");
        let path = problems.0[0].path.as_ref().map(ToString::to_string);
        assert_eq!(path.as_deref(), Some("aws.target_group_arns"));
        let detail = &problems.0[0].detail;
        assert!(
            detail.contains(&format!("elasticloadbalancing:{action}")),
            "{detail}"
        );
    }
    Aws::of(bench)
        .rules(json!([{"service": "elbv2", "operation": "DescribeTargetHealth", "error": {"code": "AccessDenied", "status": 403}}]))
        .await;
    let error = cloud.list("a", "b").await.expect_err("it may not look");
    assert_eq!(error.kind, Kind::Forbidden, "{error}");
    assert!(
        error.to_string().contains("DescribeTargetHealth"),
        "{error}"
    );
    Ok(())
}

async fn down(bench: &Bench<'_>) -> Shown {
    let arn = group(bench, 0).await;
    let (_, shape) = balanced(bench, &[arn]).await;
    let cloud = connect(bench.subject, &bench.subject.configuration(0), &shape, None)
        .await
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let trouble = [
        json!({"error": {"code": "ServiceUnavailable", "status": 503}}),
        json!({"response": {"truncate_frac": 0.5}}),
    ];
    for mut trouble in trouble {
        trouble["service"] = json!("elbv2");
        trouble["operation"] = json!("DescribeTargetHealth");
        Aws::of(bench).rules(json!([trouble])).await;
        let error = cloud.list("a", "b").await.expect_err("no answer");
        assert!(error.is_retryable(), "{error}");
    }
    for operation in [
        "DescribeTargetGroups",
        "RegisterTargets",
        "DeregisterTargets",
    ] {
        let error = json!({"code": "ServiceUnavailable", "status": 503});
        let rule = json!({"service": "elbv2", "operation": operation, "error": error});
        Aws::of(bench).rules(json!([rule])).await;
        let asked = cloud.preflight(bench.image(), &shape, Growth::by(0)).await;
        let error = asked.expect_err("no answer");
        assert!(error.is_retryable(), "{error}");
        assert!(error.action.contains(operation), "{error}");
    }
    Ok(())
}

async fn group(bench: &Bench<'_>, delay: u32) -> String {
    let aws = Aws::of(bench);
    listening(&aws.world.ec2, &aws.world.elb, delay).await
}

/// A target group behind a listener, with so many seconds for what is deregistered.
pub(super) async fn listening(ec2: &Ec2, elb: &Elb, delay: u32) -> String {
    let (vpc, subnets) = network(ec2).await;
    let arn = make(elb, delay, TargetTypeEnum::Instance, vpc).await;
    let balancer = elb
        .create_load_balancer()
        .name(unique("lb"))
        .set_subnets(Some(subnets))
        .send()
        .await
        .expect("creates");
    let balancer = balancer.load_balancers()[0]
        .load_balancer_arn()
        .map(str::to_owned);
    elb.create_listener()
        .set_load_balancer_arn(balancer)
        .protocol(ProtocolEnum::Http)
        .port(80)
        .default_actions(
            Action::builder()
                .r#type(ActionTypeEnum::Forward)
                .target_group_arn(&arn)
                .build(),
        )
        .send()
        .await
        .expect("creates");
    arn
}

/// A target group that no load balancer uses.
async fn made(bench: &Bench<'_>, delay: u32, kind: TargetTypeEnum, vpc: Option<&str>) -> String {
    let aws = Aws::of(bench);
    let vpc = match vpc {
        Some(vpc) => vpc.to_owned(),
        None => network(&aws.world.ec2).await.0,
    };
    make(&aws.world.elb, delay, kind, vpc).await
}

/// The VPC, and its subnets.
async fn network(ec2: &Ec2) -> (String, Vec<String>) {
    let answer = ec2.describe_subnets().send().await.expect("describes");
    let vpc = answer.subnets()[0].vpc_id().expect("a VPC").to_owned();
    let subnets = answer.subnets().iter();
    let ids = subnets.filter_map(|subnet| subnet.subnet_id().map(str::to_owned));
    (vpc, ids.collect())
}

async fn make(elb: &Elb, delay: u32, kind: TargetTypeEnum, vpc: String) -> String {
    let made = elb
        .create_target_group()
        .name(unique("tg"))
        .protocol(ProtocolEnum::Http)
        .port(80)
        .target_type(kind)
        .vpc_id(vpc)
        .send()
        .await
        .expect("creates");
    let arn = made.target_groups()[0].target_group_arn();
    let arn = arn.expect("an ARN").to_owned();
    elb.modify_target_group_attributes()
        .target_group_arn(&arn)
        .attributes(
            TargetGroupAttribute::builder()
                .key("deregistration_delay.timeout_seconds")
                .value(delay.to_string())
                .build(),
        )
        .send()
        .await
        .expect("modifies");
    arn
}

fn unique(what: &str) -> String {
    static NEXT: AtomicI32 = AtomicI32::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The cloud of a group with these target groups.
async fn balanced(bench: &Bench<'_>, arns: &[String]) -> (Box<dyn Cloud>, Value) {
    let shape = bench.shape_with(&[("target_group_arns", json!(arns))]);
    let cloud = connect(bench.subject, &bench.subject.configuration(2), &shape, None).await;
    let cloud = cloud.unwrap_or_else(|problems| panic!("cannot connect: {problems:?}"));
    (cloud, shape)
}

async fn create(bench: &Bench<'_>, cloud: &dyn Cloud, shape: &Value, ordinal: u64) -> Machine {
    let name = bench.name(ordinal);
    let spec = Spec {
        shape,
        ..bench.spec(&name, ordinal)
    };
    cloud.create(&spec).await.expect("creates")
}

/// So many machines that get traffic.
async fn serve(bench: &Bench<'_>, cloud: &dyn Cloud, shape: &Value, count: u64) -> Vec<Machine> {
    let machines = join_all((0..count).map(|n| create(bench, cloud, shape, n))).await;
    let hosts: Vec<Host> = machines.iter().map(host).collect();
    list(bench, cloud).await;
    serving(cloud, &hosts).await;
    list(bench, cloud).await;
    assert_eq!(serving(cloud, &hosts).await.len(), machines.len());
    machines
}

async fn list(bench: &Bench<'_>, cloud: &dyn Cloud) -> Vec<Machine> {
    let listed = cloud.list(&bench.mark.cluster, &bench.mark.group).await;
    listed.unwrap_or_else(|error| panic!("lists: {error}"))
}

fn members(cloud: &dyn Cloud) -> &dyn Members {
    cloud.members().expect("EC2 has them")
}

async fn serving(cloud: &dyn Cloud, hosts: &[Host]) -> BTreeSet<String> {
    members(cloud).enter(hosts).await.expect("enters")
}

fn host(machine: &Machine) -> Host {
    Host {
        name: machine.name.clone(),
        id: machine.id.clone(),
        addresses: machine.addresses.clone(),
        created: machine.created,
    }
}

fn names(machines: &[&Machine]) -> BTreeSet<String> {
    machines
        .iter()
        .map(|machine| machine.name.clone())
        .collect()
}

fn ids(machines: &[&Machine]) -> BTreeSet<String> {
    machines.iter().map(|machine| machine.id.clone()).collect()
}

async fn registered(bench: &Bench<'_>, arn: &str) -> BTreeSet<String> {
    staying(&Aws::of(bench).world.elb, arn).await
}

/// Instances that are in a target group and stay, as it says itself.
pub(super) async fn staying(elb: &Elb, arn: &str) -> BTreeSet<String> {
    let answer = elb
        .describe_target_health()
        .target_group_arn(arn)
        .send()
        .await
        .expect("describes");
    let states: BTreeMap<String, String> = answer
        .target_health_descriptions()
        .iter()
        .filter_map(|told| {
            let state = told.target_health()?.state()?.as_str().to_owned();
            Some((told.target()?.id()?.to_owned(), state))
        })
        .collect();
    let stay = states.into_iter().filter(|(_, state)| state != "draining");
    stay.map(|(id, _)| id).collect()
}

const TAG: &str = "flatcar-target-groups";
