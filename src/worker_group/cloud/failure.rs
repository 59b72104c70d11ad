//! What a call that was not carried out comes to: a kind, the attribute to blame, the cloud's own
//! words; and what the codes and the words of an API mean, as rows that each cloud has its own of.
//!
//! In: `400 InvalidSubnetID.NotFound`, and AWS's rows. Out: a bad request, blamed on
//! `aws.subnet_ids`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::http::rest::{Effect, Failure};
use crate::protocol::visible::{cut, visible};
use crate::provider::{Diagnostic, Path};

/// A call that a cloud did not carry out, or whose answer was lost.
#[derive(Debug, Clone)]
pub struct CloudError {
    /// The API's word: `"EC2 RunInstances"`.
    pub action: &'static str,
    /// What it was about: a machine's name, an id.
    pub object: String,
    /// What a caller acts on.
    pub kind: Kind,
    /// The cloud's own words, without secrets: `400 InvalidSubnetID.NotFound: The subnet ID 'x'
    /// does not exist`.
    pub message: String,
    /// The attribute to blame, relative to the group, where the cloud's answer tells:
    /// `"aws.subnet_ids"`.
    pub attribute: Option<&'static str>,
    /// How long the cloud asked to wait.
    pub retry_after: Option<Duration>,
    /// What the API's client said of it.
    pub source: Option<Source>,
}

/// A client's own error, and the API's code in it. It may hold a whole request, and that user data:
/// it is in no `Debug`.
#[derive(Clone)]
pub struct Source(Arc<(String, Option<Box<dyn Error + Send + Sync>>)>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl CloudError {
    /// Of a call about this object, in the words that follow *answered*.
    pub fn new(
        kind: Kind,
        action: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            action,
            object: object.into(),
            kind,
            message: message.into(),
            attribute: None,
            retry_after: None,
            source: None,
        }
    }
    /// Of a call that has this effect, and was not answered as it should be: what rows do not mean
    /// otherwise is of the status's kind. Words are the status and what the service says.
    pub fn unanswered(
        action: &'static str,
        object: &str,
        effect: Effect,
        failure: Failure,
        rows: &[Meaning],
    ) -> Self {
        let words = failure.to_string();
        let of = |kind| Self::new(kind, action, object, words);
        match failure {
            Failure::NotSent(_) => of(Kind::Unavailable),
            Failure::Impossible(_) => of(Kind::BadRequest),
            Failure::Lost(_) => of(Kind::Unavailable.after(effect)),
            // What was asked for may have been done; what is only read is no shorter the next time.
            Failure::TooLarge(_) => of(match effect {
                Effect::Creates => Kind::Ambiguous,
                Effect::Reads | Effect::Repeats => Kind::BadRequest,
            }),
            Failure::Refused {
                status,
                words,
                retry_after,
            } => {
                let (kind, attribute) = Meaning::find(rows, Some(status), "", &words);
                // A server error may come after the work was done.
                let kind = match status {
                    500.. => kind.after(effect),
                    _ => kind,
                };
                // Of what was refused for other reasons the request is not to blame.
                let is_of_request = matches!(kind, Kind::BadRequest | Kind::NotFound);
                Self {
                    attribute: attribute.filter(|_| is_of_request),
                    retry_after,
                    ..of(kind)
                }
            }
        }
    }
    /// The same, with an attribute to blame.
    #[must_use]
    pub fn blaming(self, attribute: &'static str) -> Self {
        Self {
            attribute: Some(attribute),
            ..self
        }
    }
    /// The same, of another kind.
    #[must_use]
    pub fn being(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
    /// The same, and what the API's client said of it: a code such as `"InvalidTarget"`, and its
    /// error.
    #[must_use]
    pub fn caused_by(self, code: &str, error: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(Source(Arc::new((code.to_owned(), error)))),
            ..self
        }
    }
    /// The API's own code, which only its cloud asks for; `""` where there is none.
    pub fn code(&self) -> &str {
        self.source.as_ref().map_or("", |Source(said)| &said.0)
    }
    /// Whether the same call may succeed a little later. An ambiguous one may too, after a look.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            Kind::RateLimit | Kind::Unavailable | Kind::Ambiguous
        )
    }
    /// Whether the thing named definitely does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
    /// As a problem on the attribute that is to blame; `advice` is whole sentences.
    pub fn problem(&self, summary: impl Into<String>, advice: &str) -> Diagnostic {
        let detail = format!("{self}. {advice}");
        let problem = Diagnostic::error(summary, detail.trim_end());
        match self.attribute {
            Some(attribute) => problem.at(Path::of(attribute)),
            None => problem,
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} for {} answered {}",
            self.action,
            self.object,
            cut(&visible(&self.message), MESSAGE_CHARS)
        )
    }
}

impl Error for CloudError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let Source(said) = self.source.as_ref()?;
        let error = said.1.as_deref()?;
        Some(error)
    }
}

/// A cloud's answer may be a whole page.
const MESSAGE_CHARS: usize = 2_000;

/// Kinds of [`CloudError`]; callers ask for these, never for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The thing named does not exist: definite.
    NotFound,
    /// The name is taken by something that is not ours.
    AlreadyExists,
    /// Credentials are missing or wrong.
    Unauthenticated,
    /// Credentials are right and not allowed to.
    Forbidden,
    /// Quota or capacity.
    Quota,
    /// Asked too often; worth a retry.
    RateLimit,
    /// The request is wrong and stays wrong.
    BadRequest,
    /// The cloud is in trouble or does not answer; the call was not carried out, as far as one
    /// knows. Worth a retry.
    Unavailable,
    /// The answer was lost: it may have been carried out. Look before another try.
    Ambiguous,
    /// The provider itself failed in the call, which may have been carried out. Said by the engine,
    /// never by a cloud.
    Bug,
}

impl Kind {
    /// What a status says by itself.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            429 => Self::RateLimit,
            500.. => Self::Unavailable,
            _ => Self::BadRequest,
        }
    }

    /// The same of a call that may have been carried out all the same.
    #[must_use]
    pub fn after(self, effect: Effect) -> Self {
        match (self, effect) {
            (Self::Unavailable, Effect::Creates) => Self::Ambiguous,
            (kind, _) => kind,
        }
    }
}

/// A row of what an API's refusals mean: the first whose status, code and words fit counts.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    status: Option<u16>,
    codes: &'static str,
    words: &'static str,
    kind: Option<Kind>,
    attribute: Option<&'static str>,
}

impl Meaning {
    /// Of any of these codes, with spaces between them; `*` at one end of a code stands for
    /// anything.
    pub const fn codes(kind: Kind, codes: &'static str) -> Self {
        Self {
            status: None,
            codes,
            words: "",
            kind: Some(kind),
            attribute: None,
        }
    }
    /// Of a status, where the words hold these; `""`: whatever they say. `|` stands between
    /// several.
    pub const fn status(status: u16, words: &'static str, kind: Kind) -> Self {
        Self {
            status: Some(status),
            codes: "",
            words,
            kind: Some(kind),
            attribute: None,
        }
    }
    /// That a refusal in these words, or in those after a `|`, is about an attribute, where its own
    /// row says of none.
    pub const fn words(words: &'static str, attribute: &'static str) -> Self {
        Self {
            status: None,
            codes: "",
            words,
            kind: None,
            attribute: Some(attribute),
        }
    }
    /// With an attribute to blame.
    #[must_use]
    pub const fn blaming(self, attribute: &'static str) -> Self {
        Self {
            attribute: Some(attribute),
            ..self
        }
    }

    fn fits(&self, status: Option<u16>, code: &str, words: &str) -> bool {
        let is_one = |known: &str| match (known.strip_prefix('*'), known.strip_suffix('*')) {
            (Some(rest), _) => match rest.strip_suffix('*') {
                Some(part) => code.contains(part),
                None => code.ends_with(rest),
            },
            (None, Some(start)) => code.starts_with(start),
            (None, None) => code == known,
        };
        (self.status.is_none() || self.status == status)
            && (self.codes.is_empty() || self.codes.split(' ').any(is_one))
            && self.words.split('|').any(|these| words.contains(these))
    }

    /// What a refusal means, and the attribute that it is about. What no row knows is of its
    /// status's kind, and without one a bad request.
    pub fn find(
        rows: &[Self],
        status: Option<u16>,
        code: &str,
        words: &str,
    ) -> (Kind, Option<&'static str>) {
        let mut fitting = rows.iter().filter(|row| row.fits(status, code, words));
        let first = fitting.clone().find(|row| row.kind.is_some());
        let kind = first.and_then(|row| row.kind);
        let kind = kind.unwrap_or_else(|| Kind::of_status(status.unwrap_or(400)));
        let said = first.and_then(|row| row.attribute);
        // A code that nobody knows may speak of anything.
        let is_known = first.is_some() || code.is_empty();
        let by_words = fitting.find(|row| row.kind.is_none() && is_known);
        (kind, said.or(by_words.and_then(|row| row.attribute)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &[Meaning] = &[
        Meaning::codes(Kind::Quota, "*LimitExceeded").blaming("x.size"),
        Meaning::codes(Kind::BadRequest, "Invalid* Missing*"),
        Meaning::status(409, "uota", Kind::Quota),
        Meaning::status(409, "", Kind::Unavailable),
        Meaning::words("disk", "x.disk"),
    ];

    #[test]
    fn the_first_row_that_fits_says_the_kind_and_words_say_the_blame_where_it_says_none() {
        for (status, code, words, kind, attribute) in [
            (
                400,
                "VcpuLimitExceeded",
                "disk",
                Kind::Quota,
                Some("x.size"),
            ),
            (
                400,
                "InvalidValue",
                "a disk",
                Kind::BadRequest,
                Some("x.disk"),
            ),
            (400, "MissingValue", "", Kind::BadRequest, None),
            (400, "Unheard", "disk", Kind::BadRequest, None),
            (503, "Unheard", "", Kind::Unavailable, None),
            (409, "", "Quota of disks", Kind::Quota, Some("x.disk")),
            (409, "", "busy", Kind::Unavailable, None),
            (404, "", "", Kind::NotFound, None),
        ] {
            let found = Meaning::find(ROWS, Some(status), code, words);
            assert_eq!(found, (kind, attribute), "{status} {code} {words}");
        }
    }

    #[test]
    fn only_a_create_that_may_have_left_is_ambiguous() {
        let refused = |status| Failure::Refused {
            status,
            words: String::new(),
            retry_after: None,
        };
        let lost = || Failure::Lost("nothing".to_owned());
        let too_large = || Failure::TooLarge("more than 9 bytes".to_owned());
        for (failure, effect, kind) in [
            (lost(), Effect::Creates, Kind::Ambiguous),
            (lost(), Effect::Repeats, Kind::Unavailable),
            (lost(), Effect::Reads, Kind::Unavailable),
            (too_large(), Effect::Creates, Kind::Ambiguous),
            (too_large(), Effect::Repeats, Kind::BadRequest),
            (too_large(), Effect::Reads, Kind::BadRequest),
            (refused(500), Effect::Creates, Kind::Ambiguous),
            (refused(500), Effect::Repeats, Kind::Unavailable),
            (refused(409), Effect::Creates, Kind::Unavailable),
            (
                Failure::NotSent(String::new()),
                Effect::Creates,
                Kind::Unavailable,
            ),
            (
                Failure::Impossible(String::new()),
                Effect::Creates,
                Kind::BadRequest,
            ),
        ] {
            let says = format!("{failure:?} {effect:?}");
            let error = CloudError::unanswered("Do", "it", effect, failure, ROWS);
            assert_eq!(error.kind, kind, "{says}");
        }
    }

    #[test]
    fn what_a_client_said_is_kept_and_in_no_debug_output() {
        let error = CloudError::new(Kind::BadRequest, "Do", "it", "400 No");
        assert_eq!(error.code(), "");
        let error = error.caused_by("InvalidThing", Some("s3cret".into()));
        assert_eq!(error.code(), "InvalidThing");
        assert_eq!(Error::source(&error).unwrap().to_string(), "s3cret");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}
