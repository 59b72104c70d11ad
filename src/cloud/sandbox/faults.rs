//! What a sandbox lacks and gets wrong, as its user orders it in `faults.json`. The format is
//! documented in `docs/guides/sandbox.md`.
//!
//! In: `{"quota": 3, "rules": [{"call": "create", "nth": 2, "fault": "lost"}]}` and the calls as
//! they come. Out: for each call, the fault that it meets. What has been counted is kept beside it,
//! so that several processes count together.

use std::collections::BTreeMap;
use std::io;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::store::{Locked, sha256_hex};

/// `faults.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Conditions {
    /// How many machines the directory holds at most.
    #[serde(deserialize_with = "whole_or_null")]
    pub(super) quota: Option<usize>,
    /// The images that boot; absent: any.
    pub(super) images: Option<Vec<String>>,
    /// The zones that exist; absent: any.
    pub(super) zones: Option<Vec<String>>,
    /// How long a deleted machine is going.
    #[serde(deserialize_with = "seconds")]
    pub(super) delete_seconds: f64,
    /// How long after its creation a list may not show a machine.
    #[serde(deserialize_with = "seconds")]
    pub(super) list_lag_seconds: f64,
    /// Whether each call adds a line to `calls.jsonl`.
    pub(super) log_calls: bool,
    #[serde(deserialize_with = "rules")]
    pub(super) rules: Vec<Rule>,
}

/// One fault and the calls that meet it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) call: Call,
    /// Only calls about this machine; `*` at either end stands for anything. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) machine: Option<String>,
    /// The first of these calls that meets the fault, from 1.
    #[serde(default = "one", deserialize_with = "whole")]
    pub(super) nth: u64,
    /// How many of them meet it from then on; 0: all.
    #[serde(default = "one", deserialize_with = "whole")]
    pub(super) times: u64,
    pub(super) fault: Fault,
    /// What `delay`, `unlisted`, `slow_delete` and `throttled` measure.
    #[serde(default, deserialize_with = "seconds")]
    pub(super) seconds: f64,
}

/// A call of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Call {
    List,
    Find,
    Create,
    Delete,
    Mark,
    Start,
    Preflight,
    Console,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// Refused: quota or capacity.
    Quota,
    /// Refused: asked too often; `seconds` is what the answer asks to wait.
    Throttled,
    /// Refused: the cloud is in trouble.
    Unavailable,
    /// Refused: not allowed.
    Forbidden,
    /// Refused: credentials have expired.
    Unauthenticated,
    /// Refused: the request is wrong.
    BadRequest,
    /// Carried out, and the answer is lost.
    Lost,
    /// Not carried out, and nobody knows.
    LostBefore,
    /// Carried out and answered after `seconds`.
    Delay,
    /// Never answered, not carried out: for a test that kills the provider right before a call.
    StallBefore,
    /// Never answered, carried out: for a test that kills the provider right after a call.
    StallAfter,
    /// The machine that this create makes fails when its boot time is over.
    BootFails,
    /// The machine that this create makes stays pending.
    BootHangs,
    /// The machine that this create makes is not shown by lists for `seconds`.
    Unlisted,
    /// The machine that this delete ends is going for `seconds`.
    SlowDelete,
}

/// A fault that a call meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Met {
    pub(super) fault: Fault,
    pub(super) seconds: f64,
}

impl Conditions {
    /// As they stand in the directory; none where there is no file.
    pub(super) fn load(locked: &Locked<'_>) -> io::Result<Self> {
        Ok(locked.load(FILE)?.unwrap_or_default())
    }

    /// Counts a call about these machines (none: about the group) and says what it meets: the first
    /// rule that fires.
    pub(super) fn meet(
        &self,
        locked: &Locked<'_>,
        call: Call,
        machine: &str,
    ) -> io::Result<Option<Met>> {
        if self.log_calls {
            let line = serde_json::json!({"call": call, "machine": machine});
            locked.append("calls.jsonl", &line.to_string())?;
        }
        if self.rules.is_empty() {
            return Ok(None);
        }
        let mut counted: Counted = locked.load(COUNTED)?.unwrap_or_default();
        let mut met = None;
        for rule in &self.rules {
            if rule.call != call || !matches(rule.machine.as_deref(), machine) {
                continue;
            }
            // A rule that was edited is another rule and counts from the start.
            let count = counted
                .0
                .entry(sha256_hex(&serde_json::to_vec(rule)?)[..16].to_owned())
                .or_default();
            *count = count.saturating_add(1);
            let last = rule.nth.saturating_add(rule.times);
            let fires = *count >= rule.nth && (rule.times == 0 || *count < last);
            if fires && met.is_none() {
                met = Some(Met {
                    fault: rule.fault,
                    seconds: rule.seconds,
                });
            }
        }
        locked.store(COUNTED, &counted)?;
        Ok(met)
    }
}

/// How many calls each rule has seen.
#[derive(Default, Serialize, Deserialize)]
struct Counted(BTreeMap<String, u64>);

fn matches(pattern: Option<&str>, machine: &str) -> bool {
    match pattern {
        None | Some("*") => true,
        Some(pattern) => match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => machine.ends_with(end),
            (None, Some(start)) => machine.starts_with(start),
            (None, None) => machine == pattern,
        },
    }
}

fn one() -> u64 {
    1
}

/// In the words of those who write the file, who know no types of Rust.
fn whole<'de, D: Deserializer<'de>>(written: D) -> Result<u64, D::Error> {
    whole_or_null(written)?.ok_or_else(|| D::Error::custom(WHOLE))
}

fn whole_or_null<'de, N: TryFrom<u64>, D: Deserializer<'de>>(
    written: D,
) -> Result<Option<N>, D::Error> {
    let value = serde_json::Value::deserialize(written)?;
    let number = value.as_u64().and_then(|number| N::try_from(number).ok());
    match number {
        None if !value.is_null() => Err(D::Error::custom(WHOLE)),
        number => Ok(number),
    }
}

/// From none to a year.
fn seconds<'de, D: Deserializer<'de>>(written: D) -> Result<f64, D::Error> {
    let value = serde_json::Value::deserialize(written)?;
    let seconds = value.as_f64();
    let seconds = seconds.filter(|seconds| (0.0..=MOST_SECONDS).contains(seconds));
    seconds.ok_or_else(|| D::Error::custom(SECONDS))
}

/// Each by itself, so that what is wrong in one is reported with its number.
fn rules<'de, D: Deserializer<'de>>(written: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<serde_json::Value>::deserialize(written)?;
    let numbered = rules.into_iter().zip(1..);
    let rules = numbered.map(|(rule, number)| {
        Rule::deserialize(rule).map_err(|error| D::Error::custom(format!("rule {number}: {error}")))
    });
    rules.collect()
}

const MOST_SECONDS: f64 = 31_536_000.0;
const SECONDS: &str = "expected seconds, from 0 to 31536000, a year";
const WHOLE: &str = "expected a whole number from 0";

const FILE: &str = "faults.json";
const COUNTED: &str = "faults.counted.json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::sandbox::store::Store;

    fn met(rules: &str, calls: &[(Call, &str)]) -> Vec<Option<Fault>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        std::fs::write(directory.path().join(FILE), rules).unwrap();
        let locked = store.try_lock(0).unwrap().unwrap();
        let conditions = Conditions::load(&locked).unwrap();
        calls
            .iter()
            .map(|(call, machine)| {
                conditions
                    .meet(&locked, *call, machine)
                    .unwrap()
                    .map(|met| met.fault)
            })
            .collect()
    }

    #[test]
    fn a_rule_fires_on_its_nth_call_and_as_often_as_it_says() {
        let create = [(Call::Create, "w-0"); 4];
        for (rules, fires) in [
            (
                r#"{"rules":[{"call":"create","fault":"quota"}]}"#,
                [true, false, false, false],
            ),
            (
                r#"{"rules":[{"call":"create","nth":2,"times":2,"fault":"quota"}]}"#,
                [false, true, true, false],
            ),
            (
                r#"{"rules":[{"call":"create","nth":3,"times":0,"fault":"quota"}]}"#,
                [false, false, true, true],
            ),
            (
                r#"{"rules":[{"call":"delete","fault":"quota"}]}"#,
                [false; 4],
            ),
        ] {
            let met: Vec<bool> = met(rules, &create).iter().map(Option::is_some).collect();
            assert_eq!(met, fires, "{rules}");
        }
    }

    #[test]
    fn a_rule_counts_only_the_machines_that_it_names() {
        let calls = [
            (Call::Create, "w-0"),
            (Call::Create, "w-1"),
            (Call::Create, "v-1"),
        ];
        for (pattern, fires) in [
            ("w-1", [false, true, false]),
            ("w-*", [true, true, false]),
            ("*-1", [false, true, true]),
            ("*", [true, true, true]),
        ] {
            let rules = format!(
                r#"{{"rules":[{{"call":"create","machine":"{pattern}","times":0,"fault":"lost"}}]}}"#
            );
            let met: Vec<bool> = met(&rules, &calls).iter().map(Option::is_some).collect();
            assert_eq!(met, fires, "{pattern}");
        }
    }

    #[test]
    fn two_rules_of_one_call_come_one_after_the_other() {
        let rules = r#"{"rules":[{"call":"create","fault":"lost"},{"call":"create","nth":2,"fault":"quota"}]}"#;
        assert_eq!(
            met(rules, &[(Call::Create, "w-0"); 3]),
            [Some(Fault::Lost), Some(Fault::Quota), None]
        );
    }

    #[test]
    fn a_misspelt_fault_is_told_and_not_ignored() {
        let text = r#"{"rules":[{"call":"create","fault":"qouta"}]}"#;
        let error = serde_json::from_str::<Conditions>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown variant `qouta`"), "{error}");
        assert!(serde_json::from_str::<Conditions>(r#"{"qouta": 3}"#).is_err());
        let rule =
            |what: &str| format!(r#"{{"rules":[{{"call":"create","fault":"quota",{what}}}]}}"#);
        for text in [
            r#"{"quota": -1}"#.to_owned(),
            r#"{"quota": 1.5}"#.to_owned(),
            r#"{"quota": "3"}"#.to_owned(),
            rule(r#""nth": -1"#),
            rule(r#""times": null"#),
        ] {
            let error = serde_json::from_str::<Conditions>(&text).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("a whole number from 0"), "{text}: {error}");
        }
        let second = |seconds: &str| {
            format!(
                r#"{{"rules":[{{"call":"list","fault":"lost"}},{{"call":"list","fault":"delay","seconds":{seconds}}}]}}"#
            )
        };
        for seconds in [
            "1e19",
            "-1",
            "31536000.1",
            "null",
            "\"3\"",
            "18446744073709551615",
        ] {
            let error = serde_json::from_str::<Conditions>(&second(seconds)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("rule 2: expected seconds, from 0"),
                "{seconds}: {error}"
            );
            for field in ["delete_seconds", "list_lag_seconds"] {
                let text = format!(r#"{{"{field}": {seconds}}}"#);
                let error = serde_json::from_str::<Conditions>(&text).unwrap_err();
                assert!(error.to_string().contains("from 0 to"), "{text}: {error}");
            }
        }
        for text in [second("0"), second("0.5"), second("31536000")] {
            assert!(serde_json::from_str::<Conditions>(&text).is_ok(), "{text}");
        }
        let error = serde_json::from_str::<Conditions>(r#"{"quota": -1}"#).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("a whole number from 0"), "{error}");
        for (text, quota) in [
            (r#"{"quota": 0}"#, Some(0)),
            (r#"{"quota": null}"#, None),
            ("{}", None),
        ] {
            assert_eq!(
                serde_json::from_str::<Conditions>(text).unwrap().quota,
                quota,
                "{text}"
            );
        }
    }
}
