//! EC2 and STS: moto behind a layer that keeps client tokens (`tests/servers/aws.sh`), started on
//! ports of its own, and ended with the value.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{ROOT, scratch, skip};

/// One EC2.
pub(crate) struct Aws {
    /// `http://127.0.0.1:5500`
    pub(crate) endpoint: String,
    /// With its pid files and logs.
    work: TempDir,
}

impl Aws {
    /// Always one of its own, never the one of `tests/servers/with`: faults and times that are
    /// ordered here meet nobody else. `None` after having said why.
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

impl Drop for Aws {
    fn drop(&mut self) {
        // By the pid files of its work folder.
        let _ = run(&["stop", &text(self.work.path())]);
    }
}

fn run(arguments: &[&str]) -> Result<String, String> {
    let script = Path::new(ROOT).join("tests/servers/aws.sh");
    let output = Command::new(&script)
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or("aws.sh failed").to_owned())
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
