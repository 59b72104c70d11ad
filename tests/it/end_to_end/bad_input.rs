//! Wrong input and clouds in trouble: one clear diagnostic each, on its attribute, and never a
//! panic.

use serde_json::{Value, json};

use super::{GROUP, Stage, complete, configuration, recorded};
use crate::clouds::aws::Moto;
use crate::clouds::sandbox::{Sandbox, order};
use crate::core::{Core, Run, Workspace};

/// A configuration that is wrong in one way.
struct Case {
    name: &'static str,
    /// Replaced in [`configuration`] on the sandbox, by what.
    change: (&'static str, &'static str),
    /// `plan`, or `apply` where only the cloud can know.
    command: &'static [&'static str],
    /// The sandbox's `faults.json`.
    faults: Value,
    /// All of these are in the one error.
    says: &'static [&'static str],
}

const PLAN: &[&str] = &["plan", "-no-color"];
const APPLY: &[&str] = &["apply", "-no-color", "-auto-approve"];

fn cases() -> Vec<Case> {
    let case = |name, change, command, says| Case {
        name,
        change,
        command,
        faults: json!({}),
        says,
    };
    vec![
        case(
            "fewer than no machines",
            ("var.replicas", "-1"),
            PLAN,
            &["replicas", "0"],
        ),
        case(
            "no cloud",
            ("sandbox = {}", ""),
            PLAN,
            &["No cloud", "sandbox"],
        ),
        case(
            "a name that clouds refuse",
            (r#"= "workers""#, r#"= "Workers_1""#),
            PLAN,
            &["name", "lower"],
        ),
        case(
            "user data that is packed already",
            (
                "data.flatcar_ignition.worker.rendered",
                "base64encode(data.flatcar_ignition.worker.rendered)",
            ),
            PLAN,
            &["user_data", ".rendered"],
        ),
        case(
            "user data that would discard the host name",
            (
                "data.flatcar_ignition.worker.rendered",
                r#"jsonencode({ ignition = { version = "3.4.0", config = { replace = { source = "https://example.com/a.ign" } } } })"#,
            ),
            PLAN,
            &["user_data", "set_hostname", "replace"],
        ),
        case(
            "a surge that is no number",
            ("parallelism = var.parallelism", r#"max_surge = "many""#),
            PLAN,
            &["max_surge", "percentage"],
        ),
        case(
            "a Butane file without a path",
            ("- path: /etc/motd", "- overwrite: true"),
            PLAN,
            &["content", "$.storage.files.0.path", "line"],
        ),
        case(
            "a boot time that is no duration",
            ("sandbox = {}", r#"sandbox = { boot_time = "soon" }"#),
            PLAN,
            &["sandbox.boot_time", "duration"],
        ),
        case(
            "an image of blanks",
            (r#""flatcar-a""#, r#""  ""#),
            PLAN,
            &["image", "no blank first or last"],
        ),
        case(
            "no time for a machine",
            (
                "replicas       = var.replicas",
                "replicas = var.replicas\n machine_timeout = \"0s\"",
            ),
            PLAN,
            &["machine_timeout", "longer than `0s`"],
        ),
        case(
            "a zone without a name",
            ("sandbox = {}", r#"sandbox = { zone = "" }"#),
            PLAN,
            &["sandbox.zone", "at least one character"],
        ),
        case(
            "a tag without a key",
            ("sandbox = {}", r#"sandbox = { tags = { "" = "x" } }"#),
            PLAN,
            &["Tag has no key", "at least one character"],
        ),
        case(
            "a sandbox without a directory",
            (r#"directory = "cloud""#, r#"directory = """#),
            PLAN,
            &["sandbox.directory", "at least one character"],
        ),
        case(
            "user data for an Ignition that nobody has",
            (
                "data.flatcar_ignition.worker.rendered",
                r#"jsonencode({ ignition = { version = "3.99.0" } })"#,
            ),
            PLAN,
            &["user_data", "$.ignition.version", "3.5.0"],
        ),
        case(
            "user data that no release reads",
            (
                "data.flatcar_ignition.worker.rendered",
                r#"jsonencode({ ignition = { version = "3.7.0-experimental" } })"#,
            ),
            PLAN,
            &["user_data", "No release", "3.5.0 and older"],
        ),
        case(
            "user data that the release in the image's name does not read",
            (r#""flatcar-a""#, r#""flatcar-3510.3.8""#),
            PLAN,
            &["user_data", "Flatcar 3510.3.8", "3.3.0 and older"],
        ),
        case(
            "Butane that no release reads",
            ("version: 1.1.0", "version: 1.2.0-experimental"),
            PLAN,
            &["content", "No release", "3.5.0 and older"],
        ),
        case(
            "a release server with a query",
            (
                r#"provider "flatcar" {"#,
                "provider \"flatcar\" {\n release_server = { url = \"https://m.example/{channel}?a\" }",
            ),
            PLAN,
            &["release_server.url", "without a query"],
        ),
        case(
            "signing keys that are none",
            (
                r#"provider "flatcar" {"#,
                "provider \"flatcar\" {\n release_server = { signing_keys = \"x\" }",
            ),
            PLAN,
            &["release_server.signing_keys", "no armored key"],
        ),
        case(
            "certificates that are none",
            (
                r#"provider "flatcar" {"#,
                "provider \"flatcar\" {\n release_server = { ca_certificate = \"x\" }",
            ),
            PLAN,
            &["release_server.ca_certificate", "no PEM certificate"],
        ),
        Case {
            name: "an image that the cloud does not have",
            change: ("flatcar-a", "flatcar-z"),
            command: APPLY,
            faults: json!({"images": ["flatcar-a"]}),
            says: &["image", "flatcar-z"],
        },
        Case {
            name: "a quota that the group does not fit into",
            change: ("", ""),
            command: APPLY,
            faults: json!({"quota": 2}),
            says: &["quota", "2"],
        },
    ]
}

#[test]
fn a_mistake_is_told_once_and_on_its_attribute() {
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let text = configuration(&Sandbox);
    let mut wrong = Vec::new();
    for case in cases() {
        let workspace = Workspace::new(&core);
        let changed = text.replacen(case.change.0, case.change.1, 1);
        assert!(
            changed != text || case.change.0.is_empty(),
            "{}: nothing was changed",
            case.name
        );
        workspace.write("main.tf", &changed);
        order(&workspace, &case.faults);
        let run = workspace.run(case.command);
        wrong.extend(faults_of(&run, case.says).map(|fault| format!("{}: {fault}", case.name)));
        if Sandbox.machines(&workspace) != recorded(&workspace) {
            wrong.push(format!("{}: what exists is not recorded", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with an answer that should be one error with all these words in it.
fn faults_of(run: &Run, says: &[&str]) -> impl Iterator<Item = String> {
    let errors = run.errors();
    let mut faults = Vec::new();
    if run.status.success() {
        faults.push("it was accepted".to_owned());
    }
    if errors.len() > 1 {
        faults.push(format!("{} errors: {errors:#?}", errors.len()));
    }
    let text = errors.join("\n");
    let missing = says.iter().filter(|word| !text.contains(**word));
    faults.extend(missing.map(|word| format!("no `{word}` in {text}")));
    if text.contains("bug in the provider") || run.stderr.contains("panic") {
        faults.push(run.stderr.clone());
    }
    faults.into_iter()
}

#[test]
fn a_mistake_on_aws_is_told_once_and_on_its_attribute() {
    let (Some(core), Some(moto)) = (Core::find("terraform"), Moto::find()) else {
        return;
    };
    let keys = r#", access_key = "test", secret_key = "test""#;
    let endpoint = format!("{:?}", moto.endpoint());
    let cases: [(&str, &str, &str, &[&str]); 5] = [
        ("no credentials", keys, "", &["credentials", "AWS_"]),
        (
            "nobody listens",
            &endpoint,
            r#""http://127.0.0.1:1""#,
            &["STS", "refused"],
        ),
        (
            "an image that EC2 does not have",
            "ami-0f1a7ca7000000001",
            "ami-0f1a7ca70000000ff",
            &["image", "ami-0f1a7ca70000000ff"],
        ),
        (
            "an image for other machines",
            "ami-0f1a7ca7000000001",
            "ami-0f1a7ca7000000003",
            &["image", "arm64"],
        ),
        (
            "a type that EC2 does not have",
            "t3.small",
            "t9.small",
            &["instance type", "t9.small"],
        ),
    ];
    let text = configuration(&moto);
    let mut wrong = Vec::new();
    for (name, from, to, says) in cases {
        let mut workspace = Workspace::new(&core);
        // No instance metadata service is asked for credentials: there is none here, and finding
        // that out takes time.
        workspace.set("AWS_EC2_METADATA_DISABLED", "true");
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{name}");
        workspace.write("main.tf", &changed);
        let run = workspace.run(APPLY);
        wrong.extend(faults_of(&run, says).map(|fault| format!("{name}: {fault}")));
        assert_eq!(moto.machines(&workspace).len(), 0, "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unknown_message_leaves_the_rollout_unknown_until_apply() {
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let workspace = Workspace::new(&core);
    let text = configuration(&Sandbox);
    let unknown = text.replace("${var.message}", "${terraform_data.late.output}");
    workspace.write("main.tf", &text);
    workspace.apply();
    workspace.write(
        "main.tf",
        &(unknown + r#"resource "terraform_data" "late" { input = timestamp() }"#),
    );
    let plan = workspace.plan();
    assert_eq!(plan.actions(GROUP), ["update"], "{}", plan.text);
    assert_eq!(plan.after(GROUP, "rollout"), Value::Null, "not known yet");
    workspace.apply();
    complete(&workspace, &Sandbox, 3);
}

#[test]
fn a_create_that_falls_short_says_what_exists_and_the_next_apply_completes_it() {
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let workspace = super::workspace(&core, &Sandbox);
    let rules = json!([{"call": "create", "machine": "*-1", "times": 0, "fault": "forbidden"}]);
    order(&workspace, &json!({"rules": rules}));
    let run = workspace.run(APPLY).failure();
    let errors = run.errors().join("\n");
    assert!(errors.contains("2 of 3"), "{errors}");
    assert!(errors.contains("untaint"), "{errors}");
    assert_eq!(Sandbox.machines(&workspace), recorded(&workspace));
    Sandbox.go_on(&workspace);
    let kept = recorded(&workspace);
    workspace.run(&["untaint", GROUP]).success();
    workspace.apply();
    let all = complete(&workspace, &Sandbox, 3);
    assert!(
        kept.iter().all(|(name, id)| all.get(name) == Some(id)),
        "{kept:?} were kept: {all:?}"
    );
}
