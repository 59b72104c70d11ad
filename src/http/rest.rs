//! Calls of an API in JSON, whoever sends them: what they do, and what stands in the way of an
//! answer.
//!
//! In: an answer's status, headers and body, or how it was lost. Out: its JSON, or a [`Failure`]
//! that says whether the call may have been carried out all the same.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;

use super::wait;

/// What a call does, carried out once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It changes something, and the same a second time.
    Repeats,
    /// It makes one more: a lost answer has to be looked after.
    Creates,
}

/// Why there is no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody has got the call; a later one may get through.
    NotSent(String),
    /// It cannot be sent, now and later.
    Impossible(String),
    /// It was sent, and the answer did not come, or cannot be read.
    Lost(String),
    /// It was answered at such a length that the answer was not read to its end, and the next one
    /// would not be either.
    TooLarge(String),
    /// It was answered with a refusal.
    Refused {
        /// `409`
        status: u16,
        /// The service's own, where a program can read them.
        words: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// Whether the same call, where it may be sent again, may be answered otherwise a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Lost(_) => true,
            Self::Refused { status, .. } => matches!(status, 429 | 500..),
            Self::Impossible(_) | Self::TooLarge(_) => false,
        }
    }
}

/// As it follows *answered*: `409 No such net`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(words)
            | Self::Impossible(words)
            | Self::Lost(words)
            | Self::TooLarge(words) => f.write_str(words),
            Self::Refused { status, words, .. } => write!(f, "{status} {words}"),
        }
    }
}

/// What an answer holds; null where it has no body.
///
/// # Errors
/// It is a refusal, or a success whose body is not JSON.
pub fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Json, Failure> {
    if !(200..300).contains(&status) {
        return Err(Failure::Refused {
            status,
            words: words_of(body),
            retry_after: retry_after.and_then(|asked| wait::asked(asked, SystemTime::now())),
        });
    }
    if body.is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_slice(body)
        .map_err(|_| Failure::Lost(format!("{status} with a body that is not JSON")))
}

/// A service's own words: the `message` at the top, or in an object of the top: `{"badRequest":
/// {"code": 400, "message": "..."}}`, and Google's own word for the reason behind it: `{"error":
/// {"message": "...", "errors": [{"reason": "quotaExceeded"}]}}`. A page in HTML has none.
fn words_of(body: &[u8]) -> String {
    let parsed: Option<Json> = serde_json::from_slice(body).ok();
    let message = parsed.as_ref().and_then(|fault| {
        let fault = fault.as_object()?;
        let mut within = std::iter::once(fault).chain(fault.values().filter_map(Json::as_object));
        within.find_map(|object| object.get("message")?.as_str())
    });
    let reason = parsed
        .as_ref()
        .and_then(|fault| fault.pointer("/error/errors/0/reason")?.as_str());
    let cut = |text: &str| text.chars().take(MESSAGE_CHARS).collect::<String>();
    match (message, reason) {
        (Some(message), None) => cut(message),
        (Some(message), Some(reason)) => format!("{} ({})", cut(message), cut(reason)),
        (None, _) => "without words that a program can read".to_owned(),
    }
}

/// An object of a request without what is left out, for APIs that take no null.
pub fn whole(mut object: Json) -> Json {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}

const MESSAGE_CHARS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_json_or_says_why_not() {
        let refused = |status, words: &str, seconds: Option<u64>| {
            Err(Failure::Refused {
                status,
                words: words.to_owned(),
                retry_after: seconds.map(Duration::from_secs),
            })
        };
        let mute = "without words that a program can read";
        for (status, asked, body, expected) in [
            (200, None, r#"{"a": 1}"#, Ok(serde_json::json!({"a": 1}))),
            (204, None, "", Ok(Json::Null)),
            (
                200,
                None,
                "<html>",
                Err(Failure::Lost("200 with a body that is not JSON".to_owned())),
            ),
            (
                403,
                None,
                r#"{"forbidden": {"code": 403, "message": "Quota exceeded"}}"#,
                refused(403, "Quota exceeded", None),
            ),
            (
                409,
                Some("3"),
                r#"{"NeutronError": {"type": "X", "message": "No such net", "detail": ""}}"#,
                refused(409, "No such net", Some(3)),
            ),
            (
                400,
                None,
                r#"{"message": "of the top", "error": {"message": "inner"}}"#,
                refused(400, "of the top", None),
            ),
            (
                403,
                None,
                r#"{"error": {"code": 403, "message": "Quota 'CPUS' exceeded.", "errors": [{"reason": "quotaExceeded"}]}}"#,
                refused(403, "Quota 'CPUS' exceeded. (quotaExceeded)", None),
            ),
            (502, None, "<html>", refused(502, mute, None)),
        ] {
            let answer = read(status, asked, body.as_bytes());
            assert_eq!(answer, expected, "{status} {body}");
        }
    }
}
