//! What a question to a cloud comes to: an answer, that there is no such thing, or why nothing is
//! known.
//!
//! In: `{"id": "1", "status": "ACTIVE"}`, or a refusal. Out: a struct, or none, or a
//! [`CloudError`].

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{CloudError, Kind};

/// What a call comes to.
pub type Answered<T> = Result<T, CloudError>;

/// An answer in JSON as a struct.
///
/// # Errors
/// It is of another form: the cloud is in trouble.
pub fn read<T: DeserializeOwned>(answer: Json, action: &'static str) -> Answered<T> {
    serde_json::from_value(answer).map_err(|error| {
        let words = format!("something unexpected: {error}");
        CloudError::new(Kind::Unavailable, action, "the cloud", words)
    })
}

/// A definite not-found as `None`.
///
/// # Errors
/// Every other refusal.
pub fn absent<T>(answer: Answered<T>) -> Answered<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
