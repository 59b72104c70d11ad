//! EC2 from behind: moto, reached through a proxy that can leave a call unanswered.
//!
//! The provider's endpoint is the proxy; these tests themselves ask moto directly. Several tests
//! share one moto, each with an account of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::core::{Core, Workspace};
use crate::end_to_end::crash::{Wired, each_point};
use crate::end_to_end::life::whole_life;
use crate::end_to_end::{GROUP, Stage, by_name, complete, settled, workspace};
use crate::harness;
use crate::proxy::Proxy;

#[test]
fn a_group_lives_on_aws_under_terraform() {
    if let (Some(core), Some(moto)) = (Core::find("terraform"), Moto::find()) {
        whole_life(&core, &moto);
    }
}

#[test]
fn a_group_lives_on_aws_under_opentofu() {
    if let (Some(core), Some(moto)) = (Core::find("tofu"), Moto::find()) {
        whole_life(&core, &moto);
    }
}

#[test]
fn an_apply_on_aws_goes_on_wherever_it_ended() {
    each_point("aws", 36, || {
        Some(Box::new(Moto::find_with_a_target_group()?))
    });
}

#[test]
fn a_group_gets_traffic_on_aws_and_loses_it_before_it_goes() {
    let (Some(core), Some(moto)) = (Core::find("terraform"), Moto::find_with_a_target_group())
    else {
        return;
    };
    let workspace = workspace(&core, &moto);
    let ids = |machines: &BTreeMap<String, String>| -> Option<BTreeSet<String>> {
        Some(machines.values().cloned().collect())
    };
    workspace.apply();
    let first = complete(&workspace, &moto, 3);
    assert_eq!(moto.targets(), ids(&first));
    settled(&workspace);

    // Somebody takes one out: that one alone is put back, and no machine is replaced.
    let (name, id) = first.iter().next().expect("a machine");
    moto.deregister(id);
    let plan = workspace.plan();
    assert_eq!(
        plan.rollout(GROUP),
        [(
            name.clone(),
            "update".to_owned(),
            "aws.target_group_arns changed".to_owned()
        )],
        "{}",
        plan.text
    );
    workspace.apply();
    assert_eq!(complete(&workspace, &moto, 3), first);
    assert_eq!(moto.targets(), ids(&first));
    settled(&workspace);

    workspace.variables(&json!({"message": "second"}));
    workspace.apply();
    let second = complete(&workspace, &moto, 3);
    assert!(
        first.keys().all(|name| !second.contains_key(name)),
        "all rolled: {first:?}, {second:?}"
    );
    assert_eq!(moto.targets(), ids(&second));
    settled(&workspace);

    workspace.destroy();
    complete(&workspace, &moto, 0);
    assert_eq!(moto.targets(), Some(BTreeSet::new()));
}

/// What moto says that it is.
const REGION: &str = "eu-central-1";

/// The header by which moto tells accounts apart.
const ACCOUNT: &str = "x-moto-account-id";

/// The environment variable that `tests/servers/with aws` sets.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_EC2";

/// One test's view of the moto that runs beside the tests.
pub(crate) struct Moto {
    port: u16,
    proxy: Proxy,
    /// Of nobody else: moto looks through all instances of an account at each call.
    account: String,
    cluster: String,
    /// The ARN of a target group that every machine is to be in.
    target_group: Option<String>,
}

impl Moto {
    /// The moto that runs, or `skipped: …`; also where this build has no AWS.
    pub(crate) fn find() -> Option<Self> {
        if !cfg!(feature = "aws") {
            harness::skip("this build has no AWS");
            return None;
        }
        let endpoint = std::env::var(ENDPOINT).unwrap_or_default();
        let port = endpoint.strip_prefix("http://127.0.0.1:");
        let Some(port) = port.and_then(|port| port.parse().ok()) else {
            harness::skip("moto does not run: tests/servers/with aws -- cargo test");
            return None;
        };
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let account = format!("{:012}", 100_000_000_000 + number);
        let proxy = Proxy::start(&[&endpoint]);
        proxy.add(ACCOUNT, &account);
        Some(Self {
            port,
            proxy,
            account,
            cluster: format!("e2e-{}-{number}", std::process::id()),
            target_group: None,
        })
    }

    /// The same with a target group behind a listener, which lets deregistered targets finish for a
    /// second.
    pub(crate) fn find_with_a_target_group() -> Option<Self> {
        let mut moto = Self::find()?;
        let between = |text: &str, from: &str| -> Option<String> {
            let (_, after) = text.split_once(from)?;
            Some(after.split('<').next()?.to_owned())
        };
        let subnets = moto.ask("DescribeSubnets", &[]);
        let vpc = between(&subnets, "<vpcId>").expect("a VPC");
        let ids: Vec<&str> = subnets.split("<subnetId>").skip(1).collect();
        let ids: Vec<&str> = ids.iter().filter_map(|id| id.split('<').next()).collect();
        let name = moto.cluster.clone();
        let made = moto.balance(
            "CreateTargetGroup",
            &[
                ("Name", &name),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("VpcId", &vpc),
            ],
        );
        let group = between(&made, "<TargetGroupArn>").expect("an ARN");
        moto.balance(
            "ModifyTargetGroupAttributes",
            &[
                ("TargetGroupArn", &group),
                (
                    "Attributes.member.1.Key",
                    "deregistration_delay.timeout_seconds",
                ),
                ("Attributes.member.1.Value", "1"),
            ],
        );
        let made = moto.balance(
            "CreateLoadBalancer",
            &[
                ("Name", &name),
                ("Subnets.member.1", ids[0]),
                ("Subnets.member.2", ids[1]),
            ],
        );
        let balancer = between(&made, "<LoadBalancerArn>").expect("an ARN");
        moto.balance(
            "CreateListener",
            &[
                ("LoadBalancerArn", &balancer),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("DefaultActions.member.1.Type", "forward"),
                ("DefaultActions.member.1.TargetGroupArn", &group),
            ],
        );
        moto.target_group = Some(group);
        Some(moto)
    }

    /// Takes an instance out of the target group.
    pub(crate) fn deregister(&self, id: &str) {
        let group = self.target_group.as_deref().expect("a target group");
        self.balance(
            "DeregisterTargets",
            &[("TargetGroupArn", group), ("Targets.member.1.Id", id)],
        );
    }

    /// Where the provider finds EC2.
    pub(crate) fn endpoint(&self) -> String {
        self.proxy.endpoint(0)
    }

    /// The cluster's machines that are not gone, as XML. One RunInstances makes one reservation,
    /// and here one machine.
    fn describe(&self) -> Vec<String> {
        let answer = self.ask(
            "DescribeInstances",
            &[
                ("Filter.1.Name", "tag:flatcar-cluster"),
                ("Filter.1.Value.1", &self.cluster),
                ("Filter.2.Name", "instance-state-name"),
                ("Filter.2.Value.1", "pending"),
                ("Filter.2.Value.2", "running"),
                ("Filter.2.Value.3", "stopped"),
            ],
        );
        let reservations = answer.split("<reservationId>").skip(1);
        reservations.map(str::to_owned).collect()
    }

    /// Asks moto for an action of EC2 and gives its XML.
    fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.ask_of("ec2", "2016-11-15", action, parameters)
    }

    /// The same of load balancing.
    fn balance(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.ask_of("elasticloadbalancing", "2015-12-01", action, parameters)
    }

    fn ask_of(
        &self,
        service: &str,
        version: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> String {
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={value}"));
        }
        // In HTTP/1.0 an answer ends with its connection.
        let request = format!(
            "POST / HTTP/1.0\r\nHost: 127.0.0.1\r\n{ACCOUNT}: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.account,
            form.len()
        );
        let mut moto = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("moto listens");
        moto.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        moto.read_to_string(&mut answer).expect("moto answers");
        let status = answer.split(' ').nth(1);
        assert_eq!(status, Some("200"), "{action}: {answer}");
        answer
    }
}

impl Stage for Moto {
    fn provider(&self) -> String {
        format!(
            r#"aws = {{ region = "{REGION}", access_key = "test", secret_key = "test", endpoint = "{}" }}"#,
            self.endpoint()
        )
    }

    fn shape(&self) -> String {
        match &self.target_group {
            None => r#"aws = { instance_type = "t3.small" }"#.to_owned(),
            Some(arn) => {
                format!(r#"aws = {{ instance_type = "t3.small", target_group_arns = ["{arn}"] }}"#)
            }
        }
    }

    fn image(&self) -> String {
        r#""ami-0f1a7ca7000000001""#.to_owned()
    }

    fn cluster(&self) -> String {
        self.cluster.clone()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        let machine = |reservation: &String| {
            let (_, id) = reservation.split_once("<instanceId>")?;
            let id = id.split('<').next()?.to_owned();
            Some((tag(reservation, "Name")?, id))
        };
        by_name(self.describe().iter().filter_map(machine))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        let id = &self.machines(workspace)[name];
        self.ask("TerminateInstances", &[("InstanceId.1", id)]);
    }

    fn scope(&self, _: &Workspace) -> String {
        format!("{}/{REGION}", self.account)
    }

    fn marks(&self, _: &Workspace) -> BTreeMap<String, (String, bool)> {
        let reservations = self.describe();
        let mark = |reservation: &String| {
            let name = tag(reservation, "Name")?;
            let uid = tag(reservation, "flatcar-uid").unwrap_or_default();
            let unsaved = tag(reservation, "flatcar-unsaved");
            Some((
                name,
                (uid, !unsaved.is_some_and(|word| word.starts_with("false"))),
            ))
        };
        reservations.iter().filter_map(mark).collect()
    }

    fn targets(&self) -> Option<BTreeSet<String>> {
        let group = self.target_group.as_deref()?;
        let answer = self.balance("DescribeTargetHealth", &[("TargetGroupArn", group)]);
        let targets = answer.split("<Id>").skip(1);
        let stay = targets.filter(|target| !target.contains("<State>draining<"));
        stay.map(|target| target.split('<').next().map(str::to_owned))
            .collect()
    }
}

/// The value of an instance's tag.
fn tag(reservation: &str, key: &str) -> Option<String> {
    let (_, after) = reservation.split_once(&format!("<key>{key}</key>"))?;
    let (_, value) = after.split_once("<value>")?;
    Some(value.split('<').next()?.to_owned())
}

impl Wired for Moto {
    /// Targets have a second when they leave.
    const TIMEOUT: &str = "30s";

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}
