//! Drives a real core (Terraform, OpenTofu) on the built provider, in a scratch workspace.
//!
//! `Core::find("tofu")` → `Workspace::new(&core)` → `write("main.tf", …)` → `plan()`, `apply()`,
//! `start(&["apply", …]).interrupt()`. The environment of a core holds nothing but what the
//! workspace sets: no credentials, no `TF_*`, no configuration of the user.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{self, ROOT, provider, scratch, wait_until};

/// An executable core.
#[derive(Clone)]
pub(crate) struct Core {
    /// As in `tests/cores/core.sh`.
    pub(crate) name: &'static str,
    path: PathBuf,
}

impl Core {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Finds, installs or builds it ([`harness::builds`]); says `skipped: …` where that cannot be
    /// done.
    pub(crate) fn find(name: &'static str) -> Option<Self> {
        let output = Command::new(Path::new(ROOT).join("tests/cores/core.sh"))
            .arg(name)
            .args((name != "terraform" && !harness::builds()).then_some("present"))
            .stdin(Stdio::null())
            .output()
            .expect("tests/cores/core.sh starts");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            harness::skip(said.lines().last().unwrap_or("core.sh failed"));
            return None;
        }
        let path = String::from_utf8(output.stdout).expect("a path");
        Some(Self {
            name,
            path: path.trim_end().into(),
        })
    }
}

/// A folder with a configuration, its state, and a core to run in it.
pub(crate) struct Workspace {
    folder: TempDir,
    core: Core,
    environment: BTreeMap<String, String>,
}

impl Workspace {
    /// An empty workspace whose CLI configuration names the built provider as a development
    /// override.
    pub(crate) fn new(core: &Core) -> Self {
        let folder = scratch();
        let home = folder.path().join("home");
        let bin = home.join("bin");
        fs::create_dir_all(&bin).expect("a home");
        // A folder of its own: cores look at every file that starts with the provider's name.
        let place = bin.join("terraform-provider-flatcar");
        // A hard link stays whole while cargo builds a newer one; it needs the same file system.
        fs::hard_link(provider(), &place)
            .or_else(|_| symlink(provider(), &place))
            .expect("a link to the provider");
        let settings = home.join("settings.tfrc");
        fs::write(
            &settings,
            format!(
                "provider_installation {{\n  dev_overrides {{\n    \"flatcar-iac/flatcar\" = {bin:?}\n  }}\n}}\n"
            ),
        )
        .expect("a CLI configuration");
        let path = std::env::var("PATH").unwrap_or_default();
        let environment = [
            ("PATH", path.as_str()),
            ("HOME", &home.display().to_string()),
            ("TMPDIR", &home.display().to_string()),
            ("TF_CLI_CONFIG_FILE", &settings.display().to_string()),
            ("TF_IN_AUTOMATION", "1"),
            ("TF_INPUT", "0"),
            ("CHECKPOINT_DISABLE", "1"),
            // Does nothing without a file `steps` in the sandbox.
            ("FLATCAR_SANDBOX_STEPS", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            folder,
            core: core.clone(),
            environment: environment.into(),
        }
    }

    /// Where the configuration lies.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the configuration; a name ending in `.tfvars.json` or `.tf` is read by the
    /// core.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("below the workspace")).expect("a folder");
        fs::write(path, text).expect("a file of the workspace");
    }

    /// Sets input variables for every run from now on.
    pub(crate) fn variables(&self, values: &Value) {
        self.write("terraform.tfvars.json", &values.to_string());
    }

    /// Sets an environment variable for every run from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Runs the core to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).wait()
    }

    /// Plans, and reads the plan as JSON. Panics when planning fails.
    pub(crate) fn plan(&self) -> Plan {
        let run = self.run(&["plan", "-no-color", "-out=plan.out"]).success();
        let shown = self.run(&["show", "-json", "plan.out"]).success();
        Plan {
            json: serde_json::from_str(&shown.stdout).expect("the plan as JSON"),
            text: run.stdout,
        }
    }

    /// Plans and applies. Panics when that fails.
    pub(crate) fn apply(&self) -> Run {
        self.run(&["apply", "-no-color", "-auto-approve"]).success()
    }

    /// Destroys everything. Panics when that fails.
    pub(crate) fn destroy(&self) -> Run {
        self.run(&["destroy", "-no-color", "-auto-approve"])
            .success()
    }

    /// The attributes of a resource in state (`"flatcar_worker_group.workers"`), or `None` when
    /// state does not have it.
    pub(crate) fn state(&self, address: &str) -> Option<Value> {
        let shown = self.run(&["show", "-json"]).success();
        let state: Value = serde_json::from_str(&shown.stdout).expect("the state as JSON");
        let resources = state["values"]["root_module"]["resources"].as_array()?;
        let found = resources
            .iter()
            .find(|resource| resource["address"] == address)?;
        Some(found["values"].clone())
    }

    /// Starts the core and does not wait for it. It leads a process group, as it does in a
    /// terminal.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let file = |name: &str| {
            File::create(self.path().join("home").join(name)).expect("a file for the output")
        };
        let child = Command::new(&self.core.path)
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .process_group(0)
            .spawn()
            .expect("the core starts");
        Running {
            child,
            ended: None,
            home: self.path().join("home"),
            what: format!("{} {}", self.core.name, arguments.join(" ")),
        }
    }
}

/// A core at work.
pub(crate) struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    home: PathBuf,
    what: String,
}

impl Running {
    /// Ctrl-C: the core and the provider both get the signal.
    pub(crate) fn interrupt(&self) {
        assert!(signal("-INT", &format!("-{}", self.child.id())), "it runs");
    }

    /// The provider alone is killed, by its pid; the core lives on. Returns whether there was one.
    pub(crate) fn kill_provider(&self) -> bool {
        let children = Command::new("pgrep")
            .args(["-f", "-P", &self.child.id().to_string()])
            .arg("terraform-provider-flatcar")
            .output()
            .expect("pgrep");
        let pids = String::from_utf8_lossy(&children.stdout).into_owned();
        let killed = pids.lines().filter(|pid| signal("-KILL", pid)).count();
        killed > 0
    }

    /// Whether it has said so on its output until now.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        ["stdout", "stderr"].iter().any(|name| {
            let said = fs::read(self.home.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&said).contains(words)
        })
    }

    /// The core alone dies. Returns when the provider has noticed and ended, too.
    pub(crate) fn kill_core(mut self) {
        let group = Group(self.child.id());
        signal("-KILL", &self.child.id().to_string());
        self.end();
        wait_until("the provider notices that its core is gone", || {
            (!group.lives()).then_some(())
        });
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
        }
        self.ended.is_none()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Run {
        let status = self.end();
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(self.home.join(name)).expect("the output"))
                .into_owned()
        };
        Run {
            status,
            stdout: read("stdout"),
            stderr: read("stderr"),
            what: self.what.clone(),
        }
    }

    fn end(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.what);
        wait_until(&what, || {
            self.runs();
            self.ended
        })
    }
}

/// Sends a signal to a process, or to a group where the target begins with a hyphen; whether there
/// was one.
fn signal(signal: &str, target: &str) -> bool {
    let status = Command::new("kill")
        .args([signal, "--", target])
        .stderr(Stdio::null())
        .status();
    status.expect("kill").success()
}

/// The process group of a core, which may outlive it.
struct Group(u32);

impl Group {
    fn lives(&self) -> bool {
        signal("-0", &format!("-{}", self.0))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        signal("-KILL", &format!("-{}", self.0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.runs() {
            signal("-KILL", &format!("-{}", self.child.id()));
            // Reaped, so that no test leaves a process behind.
            let _ = self.child.wait();
        }
    }
}

/// What a core answered.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    what: String,
}

impl Run {
    /// Panics with the output when it failed.
    pub(crate) fn success(self) -> Self {
        assert!(
            self.status.success(),
            "{}: {}\n{}\n{}",
            self.what,
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Panics with the output when it did not fail.
    pub(crate) fn failure(self) -> Self {
        assert!(
            !self.status.success(),
            "{} was expected to fail\n{}\n{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The errors as the core printed them: frames, colours and line breaks taken away, one text
    /// for each.
    pub(crate) fn errors(&self) -> Vec<String> {
        let mut errors: Vec<Vec<&str>> = Vec::new();
        let mut inside = false;
        for line in self.stderr.lines() {
            let line = line.trim_start_matches(['╷', '│', '╵', ' ']).trim_end();
            if line.starts_with("Error: ") {
                errors.push(Vec::new());
                inside = true;
            } else if line.starts_with("Warning: ") {
                inside = false;
            }
            if let (true, Some(error)) = (inside, errors.last_mut())
                && !line.is_empty()
            {
                error.push(line);
            }
        }
        errors.into_iter().map(|lines| lines.join(" ")).collect()
    }
}

/// A plan as `show -json` tells it.
pub(crate) struct Plan {
    pub(crate) json: Value,
    /// What the user saw.
    pub(crate) text: String,
}

impl Plan {
    /// `["create"]`, `["update"]`, `["no-op"]`, `["delete", "create"]` of one resource; empty when
    /// the plan does not name it.
    pub(crate) fn actions(&self, address: &str) -> Vec<String> {
        let Some(change) = self.change(address) else {
            return Vec::new();
        };
        let actions = change["actions"].as_array().expect("actions");
        actions
            .iter()
            .map(|action| action.as_str().expect("a word").to_owned())
            .collect()
    }

    /// The planned value of an attribute; null where it is unknown.
    pub(crate) fn after(&self, address: &str, attribute: &str) -> Value {
        self.change(address)
            .map_or(Value::Null, |change| change["after"][attribute].clone())
    }

    /// `(machine, action, reason)` of each planned step of a worker group.
    pub(crate) fn rollout(&self, address: &str) -> Vec<(String, String, String)> {
        let steps = self.after(address, "rollout");
        let lines = steps.as_array().map(Vec::as_slice).unwrap_or_default();
        let step = |line: &Value| {
            let (action, rest) = line.as_str()?.split_once(' ')?;
            let (machine, reason) = rest.split_once(": ")?;
            Some((machine.to_owned(), action.to_owned(), reason.to_owned()))
        };
        lines
            .iter()
            .map(|line| step(line).expect("action, machine: reason"))
            .collect()
    }

    fn change(&self, address: &str) -> Option<&Value> {
        let changes = self.json["resource_changes"].as_array()?;
        let found = changes.iter().find(|change| change["address"] == address)?;
        Some(&found["change"])
    }
}
