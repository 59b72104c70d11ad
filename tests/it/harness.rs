//! What every integration test may need: the built provider, scratch folders, waiting for another
//! process, and the one way to skip.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The provider that cargo built for these tests, or the one that `FLATCAR_PROVIDER` names: a build
/// that is to be shipped, say.
pub(crate) fn provider() -> PathBuf {
    std::env::var_os("FLATCAR_PROVIDER").map_or_else(
        || env!("CARGO_BIN_EXE_terraform-provider-flatcar").into(),
        PathBuf::from,
    )
}

/// The root of the project.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Says that this test cannot run here, and why; the caller returns. `tests/run` counts the line.
///
/// With `CI=true` it fails instead: there, everything that a test needs has to be there.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI must not skip: {why}"
    );
    println!("skipped: {why}");
}

/// The clouds that a build can have (the default features of `Cargo.toml`), and this one has not.
pub(crate) fn clouds_left_out() -> Vec<String> {
    let manifest = include_str!("../../Cargo.toml");
    let all = manifest
        .lines()
        .find_map(|line| line.strip_prefix("default = ["));
    let names = all.expect("default features").split('"').skip(1).step_by(2);
    let has = |name: &str| flatcar::cloud::ALL.iter().any(|entry| entry.name == name);
    names.filter(|name| !has(name)).map(str::to_owned).collect()
}

/// Whether what takes minutes to build is built (`make testacc`, CI). Otherwise it is used where it
/// is there already.
pub(crate) fn builds() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("TF_ACC") || set("CI")
}

/// A folder that goes away with the value. Its path is short: a unix socket below it stays within
/// 108 bytes.
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("flatcar-it-")
        .tempdir()
        .expect("a scratch folder")
}

/// A file or folder of what was recorded of the reference tools and of Flatcar's release server. A
/// neighbour folder `shared/` (or `FLATCAR_SHARED`) may hold more of it than the project carries,
/// and goes first.
pub(crate) fn recorded(path: &str) -> PathBuf {
    let neighbour = std::env::var_os("FLATCAR_SHARED")
        .map_or_else(|| Path::new(ROOT).join("../shared"), PathBuf::from)
        .join(path);
    if neighbour.exists() {
        return neighbour;
    }
    Path::new(ROOT).join("tests/fixtures/recorded").join(path)
}

/// Waits until another process has done something, and panics with `what` when it has not within
/// ten minutes.
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited ten minutes until {what}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is waited for happens in another process, which has no clock of ours and tells nobody"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}
