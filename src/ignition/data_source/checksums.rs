//! Hashes of what a worker fetches, looked up where the user gives none: one fetch per file and
//! plan.

use crate::http::cache::Cache;
use crate::http::{Client, Settings, redacted};
use crate::ignition::preset::download::{Checksums, Download};
use crate::ignition::preset::kubernetes::Kubernetes;
use crate::provider::{Context, Diagnostic, Diagnostics, Path};

/// The bakery's list of all its Kubernetes extensions has some 50 KB.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// One of the process.
struct Files(Cache);

/// What is missing in a worker's downloads; nothing is asked where nothing is.
pub(super) async fn of(
    context: &Context,
    kubernetes: Option<&Kubernetes>,
    problems: &mut Diagnostics,
) -> Checksums {
    let mut checksums = Checksums::default();
    let wanted = kubernetes.filter(|it| it.is_sound() && it.contradictions().is_empty());
    let downloads = wanted.map(Kubernetes::downloads).unwrap_or_default();
    for download in &downloads {
        let none = |_: &[u8]| String::new();
        if let Err(why) = look_up(context, download, &mut checksums, none).await {
            problems.push(why);
        }
    }
    checksums
}

/// What a download's file of checksums says of it, where the user does not. What else the file has,
/// where it does not have that, is for `hint` to say.
pub(super) async fn look_up(
    context: &Context,
    download: &Download,
    checksums: &mut Checksums,
    hint: impl Fn(&[u8]) -> String,
) -> Result<(), Diagnostic> {
    if download.sha256.is_some() {
        return Ok(());
    }
    let attribute = download.attribute;
    let failed = |why: String| {
        let mut steps = attribute.split('.');
        let path = Path::of(steps.next().unwrap_or_default());
        Diagnostic::error(
            "Could not look up a checksum",
            format!(
                "The SHA-256 of {} is not to be had: {why}.\nSet {attribute}, or name a file that has it and can be reached from here.",
                redacted(&download.url)
            ),
        )
        .at(steps.fold(path, |path, step| path.attribute(step)))
    };
    let opened = context.shared.try_of(|| async {
        Ok::<_, Diagnostic>(Files(Cache::new(Client::new(Settings::default()))))
    });
    let files = opened.await?;
    let url = &download.checksums_url;
    let file = tokio::select! {
        file = files.0.get(url, MOST_BYTES) => file,
        () = context.cancel.cancelled() => return Err(Diagnostic::error("Interrupted", "The provider was asked to stop.")),
    };
    let file = file.map_err(|error| failed(error.to_string()))?;
    let taken = checksums.take(download, &file.body);
    taken.map_err(|why| failed(format!("{}: {why}{}", redacted(url), hint(&file.body))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ignition::data_source::tests::{config, reported};
    use crate::ignition::data_source::{answer, read, validate};
    use crate::provider::Value;

    /// A worker whose extension has this list of checksums.
    fn worker(sysext: &serde_json::Value) -> serde_json::Value {
        let cases = include_str!("../../../tests/fixtures/ignition/presets-1.json");
        let cases: serde_json::Value = serde_json::from_str(cases).unwrap();
        let cases = cases.as_array().unwrap().iter();
        let mut case = cases
            .filter(|case| case["name"] == "kubernetes, nothing chosen")
            .map(|case| case["kubernetes"].clone());
        let mut kubernetes = case.next().unwrap();
        kubernetes["sysext"] = sysext.clone();
        json!({ "kubernetes": kubernetes })
    }

    #[tokio::test]
    async fn a_checksum_that_the_user_does_not_give_is_looked_up() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("SHA256SUMS");
        let hash = "0a".repeat(32);
        std::fs::write(&list, format!("{hash}  kubernetes-v1.34.2-x86-64.raw\n")).unwrap();
        let listed = format!("file://{}", list.display());
        let other = format!("file://{}/none", directory.path().display());
        let of = |checksums_url: &str, sha256: Option<&str>| json!({"url": null, "sha256": sha256, "checksums_url": checksums_url});
        let given = "0B".repeat(32);
        let context = Context::of(Value::Null);
        for (sysext, expected) in [
            (of(&listed, None), Ok(&hash)),
            (of(&other, Some(&given)), Ok(&given.to_lowercase())),
            (
                of(&other, None),
                Err(
                    "error kubernetes.sysext.sha256: Could not look up a checksum: The SHA-256 of https://extensions.flatcar.org/extensions/kubernetes-v1.34.2-x86-64.raw is not to be had: read file://",
                ),
            ),
            (
                json!({"url": "https://m.example/other.raw", "sha256": null, "checksums_url": listed}),
                Err(
                    "error kubernetes.sysext.sha256: Could not look up a checksum: The SHA-256 of https://m.example/other.raw is not to be had: file://",
                ),
            ),
        ] {
            // Nothing is fetched before the data source is read.
            assert_eq!(
                reported(&validate(&config(worker(&sysext)))),
                Vec::<String>::new()
            );
            let outcome = read(&context, config(worker(&sysext))).await;
            let said = reported(&outcome.problems);
            match expected {
                Ok(hash) => {
                    let rendered = outcome
                        .value
                        .unwrap_or_else(|| panic!("{said:?}"))
                        .rendered
                        .unwrap();
                    assert!(rendered.contains(&format!("sha256-{hash}")), "{rendered}");
                    assert_eq!(said, Vec::<String>::new());
                }
                Err(start) => {
                    assert!(said.len() == 1 && said[0].starts_with(start), "{said:#?}");
                    assert!(outcome.value.is_none());
                }
            }
        }
    }

    #[test]
    fn an_api_server_behind_a_proxy_is_warned_of() {
        let sysext = json!({"url": null, "sha256": "0a".repeat(32), "checksums_url": null});
        for (no_proxy, expected) in [
            (json!(["localhost"]), vec!["proxy.no_proxy"]),
            (json!(null), vec!["proxy.no_proxy"]),
            (json!([".example.com"]), vec![]),
        ] {
            let mut attributes = worker(&sysext);
            attributes["proxy"] = json!({"http_proxy": null, "https_proxy": "http://proxy:3128", "no_proxy": no_proxy, "profile": 1});
            let outcome = answer(config(attributes), &Checksums::default());
            let paths = outcome
                .problems
                .0
                .iter()
                .map(|it| it.path.as_ref().map(ToString::to_string));
            let paths: Vec<String> = paths.flatten().collect();
            assert_eq!(paths, expected, "{no_proxy}");
            assert!(outcome.value.is_some());
        }
    }

    #[test]
    fn what_reboots_machines_without_a_drain_is_warned_of() {
        let sysext = json!({"url": null, "sha256": "0a".repeat(32), "checksums_url": null});
        for (automatic, strategy, expected) in [
            (true, json!(null), true),
            (true, json!("etcd-lock"), true),
            (true, json!("off"), false),
            (false, json!(null), false),
        ] {
            let mut attributes = worker(&sysext);
            attributes["updates"] = json!({
                "automatic": automatic, "channel": null, "server": null, "reboot_strategy": strategy,
                "reboot_window": null, "profile": 1,
            });
            let outcome = answer(config(attributes), &Checksums::default());
            let paths = outcome
                .problems
                .0
                .iter()
                .map(|it| it.path.as_ref().map(ToString::to_string));
            let paths: Vec<String> = paths.flatten().collect();
            let is_warned = paths == ["updates.reboot_strategy"];
            assert_eq!(is_warned, expected, "{automatic} {strategy} {paths:?}");
            assert!(outcome.value.is_some());
        }
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_search_for_a_checksum() {
        let context = Context::of(Value::Null);
        context.cancel.cancel();
        let sysext =
            json!({"url": null, "sha256": null, "checksums_url": "http://127.0.0.1:9/SHA256SUMS"});
        let outcome = read(&context, config(worker(&sysext))).await;
        assert_eq!(
            reported(&outcome.problems),
            ["error : Interrupted: The provider was asked to stop."]
        );
    }
}
