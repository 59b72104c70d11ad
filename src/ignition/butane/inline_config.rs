//! A config inside a config: what `ignition.config` merges or replaces with, given inline, is
//! validated like one of its own.
//!
//! The reference loses its place here: paths are those of the inner config, positions the outer
//! document's.

use crate::ignition::config::report::Problems;
use crate::ignition::config::validate::{self, VersionProblem};
use crate::ignition::config::versions::spec;
use crate::ignition::config::{Path, from_json};
use crate::text::{go, json};

const INVALID: &str = "config is not valid";
const UNKNOWN_VERSION: &str =
    "skipping validation for the merge/replace ignition config due to an unkown version";

/// Validates the bytes as an Ignition config of the given minor version. `path` leads to the
/// resource.
pub(crate) fn check(inline: &[u8], path: &Path, spec_minor: u8, problems: &mut Problems) {
    let fail = |problems: &mut Problems, message: String| {
        problems.error(Path::default(), message);
        problems.error(path.clone().name("inline"), INVALID);
    };
    let nodes = match json::parse(&go::lossy(inline)) {
        Ok(nodes) => nodes,
        Err(error) => return fail(problems, error.exact),
    };
    let (config, mismatches) = from_json::decode(&nodes, spec_minor);
    if let Some(first) = mismatches.into_iter().next() {
        return fail(problems, first.exact);
    }
    let mut found = Problems::default();
    match validate::version(&config, spec(spec_minor)) {
        Err(VersionProblem::Other) => {
            return problems.warning(path.clone().name("version"), UNKNOWN_VERSION);
        }
        Err(problem) => {
            let path = Path::of(&["ignition", "version"]);
            found.error(path, validate::version_message(&problem));
        }
        Ok(()) => {}
    }
    validate::rules_of(&config, spec_minor, &mut found);
    validate::repeats(&config, &crate::ignition::config::At::ROOT, &mut found);
    for problem in &mut found.list {
        problem.path = from_json::path_in_json(&problem.path);
    }
    from_json::unused_keys(&nodes, &config, spec_minor, &mut found);
    problems.append(found);
}
