//! Stand-ins of cloud APIs, started on ports of their own, and ended with the value.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{ROOT, scratch, skip};

#[cfg(feature = "aws")]
/// EC2 and STS: moto behind a layer that keeps client tokens (`tests/servers/aws.sh`).
pub(crate) struct Aws {
    /// `http://127.0.0.1:5500`
    pub(crate) endpoint: String,
    /// With its pid files and logs.
    work: TempDir,
}

#[cfg(feature = "aws")]
impl Aws {
    /// Always one of its own, never the one of `tests/servers/with`: faults and times that are ordered here meet nobody else. `None` after
    /// having said why.
    pub(crate) fn start() -> Option<Self> {
        match Self::start_own() {
            Ok(server) => Some(server),
            Err(why) => {
                skip(&format!("no stand-in of AWS: {why}"));
                None
            }
        }
    }

    fn start_own() -> Result<Self, String> {
        let home = std::env::var("HOME").map_err(|_| "HOME is not set".to_owned())?;
        let cache = Path::new(&home).join(".cache/terraform-provider-flatcar/servers");
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        {
            // What was installed is kept, and shared with other runs.
            let lock = File::create(cache.join("aws.lock")).map_err(|error| error.to_string())?;
            lock.lock().map_err(|error| error.to_string())?;
            run(&["install", &text(&cache.join("aws"))])?;
        }
        let work = scratch();
        link(&cache.join("aws/venv"), &work.path().join("venv"))?;
        let said = run(&["start", &text(work.path()), &free_ports(3).to_string()])?;
        let endpoint = said
            .split_whitespace()
            .find_map(|word| word.strip_prefix("AWS_ENDPOINT_URL="))
            .ok_or("aws.sh did not say where it listens")?
            .to_owned();
        Ok(Self { endpoint, work })
    }
}

#[cfg(feature = "aws")]
impl Drop for Aws {
    fn drop(&mut self) {
        // By the pid files of its work folder.
        let _ = run(&["stop", &text(self.work.path())]);
    }
}

/// Keystone, Nova, Glance, Neutron and Placement themselves, over a hypervisor that pretends (`tests/servers/openstack.sh`).
#[cfg(feature = "openstack")]
pub(crate) struct OpenStack {
    /// `http://127.0.0.1:20000/v3`
    pub(crate) auth_url: String,
    work: TempDir,
}

#[cfg(feature = "openstack")]
impl OpenStack {
    /// `None` where nobody asked for it: seventeen processes and 1.7 GB are more than a test run should take unasked.
    pub(crate) fn start() -> Option<Self> {
        std::env::var_os("FLATCAR_ACC_OPENSTACK")?;
        match Self::start_own() {
            Ok(server) => Some(server),
            Err(why) => {
                skip(&format!("no OpenStack: {why}"));
                None
            }
        }
    }

    fn start_own() -> Result<Self, String> {
        let home = std::env::var("HOME").map_err(|_| "HOME is not set".to_owned())?;
        let cache = Path::new(&home).join(".cache/terraform-provider-flatcar/servers");
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        {
            let lock =
                File::create(cache.join("openstack.lock")).map_err(|error| error.to_string())?;
            lock.lock().map_err(|error| error.to_string())?;
            script(
                "openstack.sh",
                &["install", &text(&cache.join("openstack"))],
            )?;
        }
        let work = scratch();
        link(&cache.join("openstack/venv"), &work.path().join("venv"))?;
        // Below the ports that clients get: it takes a minute to start, and its ports must stay free.
        let port = (20_000..30_000)
            .step_by(20)
            .find(|first| {
                (*first..first + 9).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
            })
            .ok_or("no ports are free")?;
        script(
            "openstack.sh",
            &["start", &text(work.path()), &port.to_string()],
        )?;
        Ok(Self {
            auth_url: format!("http://127.0.0.1:{port}/v3"),
            work,
        })
    }
}

#[cfg(feature = "openstack")]
impl Drop for OpenStack {
    fn drop(&mut self) {
        let _ = script("openstack.sh", &["stop", &text(self.work.path())]);
    }
}

#[cfg(feature = "aws")]
fn run(arguments: &[&str]) -> Result<String, String> {
    script("aws.sh", arguments)
}

fn script(name: &str, arguments: &[&str]) -> Result<String, String> {
    let script = Path::new(ROOT).join("tests/servers").join(name);
    let output = Command::new(&script)
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or(name).to_owned())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(unix)]
fn link(from: &PathBuf, to: &PathBuf) -> Result<(), String> {
    std::os::unix::fs::symlink(from, to).map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn link(_: &PathBuf, _: &PathBuf) -> Result<(), String> {
    Err("the start script needs a Unix".to_owned())
}

#[cfg(feature = "aws")]
/// The first of so many ports in a row that nobody listens on.
fn free_ports(count: u16) -> u16 {
    loop {
        let Ok(listener) = TcpListener::bind("127.0.0.1:0") else {
            continue;
        };
        let Ok(first) = listener.local_addr().map(|address| address.port()) else {
            continue;
        };
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if first < u16::MAX - count && (first + 1..first + count).all(is_free) {
            return first;
        }
    }
}
