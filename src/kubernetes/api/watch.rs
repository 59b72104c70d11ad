//! A watch: what changes in a list, event by event, until its server ends it.

use serde_json::Value as Json;
use tokio::time::{Instant, timeout_at};

use super::{Failed, PATIENCE, WATCH, lost};

/// What changes in a list, event by event.
pub(crate) struct Watch {
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// Its server has ended it by then, or nobody is there any more.
    ends: Instant,
}

/// An event of a watch.
#[derive(Debug)]
pub(crate) enum Event {
    /// It is new, or another one than before.
    Is(Json),
    /// It was deleted; as it was last.
    Gone(Json),
    /// Nothing but a later version of the list.
    Bookmark(String),
}

impl Watch {
    pub(super) fn of(response: reqwest::Response) -> Self {
        Self {
            response,
            buffer: Vec::new(),
            ends: Instant::now() + WATCH + PATIENCE,
        }
    }

    /// The next event; `None` once the watch is over, which it is now and then. A call that is
    /// dropped loses none.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failed> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return event(&line).map(Some);
            }
            let more = timeout_at(self.ends, self.response.chunk()).await;
            let more = more.map_err(|_| Failed::lost("silence"))?;
            match more.map_err(|error| lost(&error))? {
                None => return Ok(None),
                Some(more) if self.buffer.len() + more.len() > MOST_OF_EVENT => {
                    return Err(Failed::hopeless("an event that is too long"));
                }
                Some(more) => self.buffer.extend_from_slice(&more),
            }
        }
    }
}

fn event(line: &[u8]) -> Result<Event, Failed> {
    let unreadable = |_| Failed::lost("an event that is not JSON");
    let mut event: Json = serde_json::from_slice(line).map_err(unreadable)?;
    let object = event["object"].take();
    match event["type"].as_str() {
        Some("ADDED" | "MODIFIED") => Ok(Event::Is(object)),
        Some("DELETED") => Ok(Event::Gone(object)),
        Some("BOOKMARK") => {
            let version = object["metadata"]["resourceVersion"].as_str();
            Ok(Event::Bookmark(version.unwrap_or_default().to_owned()))
        }
        _ => {
            let status = object["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok());
            let body = object.to_string();
            Err(Failed::of(
                status.unwrap_or(500),
                None,
                body.as_bytes(),
                ("", "", "watch"),
            ))
        }
    }
}

const MOST_OF_EVENT: usize = 4 * 1024 * 1024;
