//! What became of a machine, as its events tell it: KubeVirt shows a console to whoever stays
//! connected, and to nobody else.
//!
//! In: `workers-k3x9-0`. Out: `2026-11-30T01:00:01Z FailedMount: …`, a line an event, the last
//! ones.

use serde_json::Value as Json;

use super::api::{EVENTS, Session};
use crate::protocol::visible::{cut, one_line};
use crate::worker_group::cloud::Answered;

/// Those of a machine, of its instance and of what else has its name.
pub(super) async fn last(
    session: &Session,
    namespace: &str,
    name: &str,
) -> Answered<Option<String>> {
    let selector = format!("involvedObject.name={name}");
    let query = [("fieldSelector", selector.as_str())];
    let mut events: Vec<Json> = session.list(EVENTS, namespace, &query, name).await?;
    let text = |event: &Json, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    events.sort_by_key(|event| text(event, "lastTimestamp"));
    let last = events.iter().skip(events.len().saturating_sub(MOST));
    let lines: Vec<String> = last
        .map(|event| {
            let [moment, reason, message] =
                ["lastTimestamp", "reason", "message"].map(|key| text(event, key));
            cut(&one_line(&format!("{moment} {reason}: {message}")), CHARS).into_owned()
        })
        .collect();
    Ok((!lines.is_empty()).then(|| lines.join("\n")))
}

const MOST: usize = 20;
const CHARS: usize = 300;
