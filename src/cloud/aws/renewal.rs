//! What the SDK does not see: answers that are cut short, and credentials that have ended.
//!
//! In: `<Code>RequestExpired</Code>`. Out: the call is made once more, within the SDK's own
//! retries, with what the files, the role or the process say by then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_ec2::config::interceptors::{
    AfterDeserializationInterceptorContextRef, InterceptorContext,
};
use aws_sdk_ec2::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_ec2::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::failure::is_too_long;

/// Credentials that last until they end or AWS says so: the SDK's own cache believes the date
/// alone.
pub(super) struct Renewable {
    /// Reads configuration, variables and files again.
    read: Box<dyn Fn() -> BoxFuture<'static, Option<SharedCredentialsProvider>> + Send + Sync>,
    held: Mutex<Held>,
    refused: AtomicBool,
}

struct Held {
    provider: SharedCredentialsProvider,
    credentials: Option<Credentials>,
}

impl Renewable {
    /// Begins with a provider that has been read already.
    pub(super) fn new(
        provider: SharedCredentialsProvider,
        read: impl Fn() -> BoxFuture<'static, Option<SharedCredentialsProvider>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Box::new(read),
            held: Mutex::new(Held {
                provider,
                credentials: None,
            }),
            refused: AtomicBool::new(false),
        }
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        let mut held = self.held.lock().await;
        if self.refused.swap(false, Ordering::Relaxed) {
            held.credentials = None;
            if let Some(provider) = (self.read)().await {
                held.provider = provider;
            }
        }
        if let Some(credentials) = held.credentials.as_ref().filter(|held| lasts(held)) {
            return Ok(credentials.clone());
        }
        let credentials = held.provider.provide_credentials().await?;
        held.credentials = Some(credentials.clone());
        Ok(credentials)
    }
}

fn lasts(credentials: &Credentials) -> bool {
    let end = credentials.expiry();
    end.is_none_or(|end| end > SystemTime::now() + MARGIN)
}

impl ProvideCredentials for Renewable {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

impl fmt::Debug for Renewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewable")
    }
}

/// Tries again where an answer was cut short, or its credentials have ended.
#[derive(Debug, Clone)]
pub(super) struct RetryExpired(pub(super) Arc<Renewable>);

impl ClassifyRetry for RetryExpired {
    fn name(&self) -> &'static str {
        "RetryExpired"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        if is_too_long(error) {
            return RetryAction::RetryForbidden;
        }
        let Some(response) = context.response() else {
            return RetryAction::NoActionIndicated;
        };
        let body = response.body().bytes().unwrap_or_default();
        if has_ended(body) {
            self.0.refused.store(true, Ordering::Relaxed);
            return RetryAction::transient_error();
        }
        // A proxy's refusal may have no body at all: that is nothing to ask for twice.
        let is_told = response.status().is_success() || !body.is_empty();
        if is_told && !is_whole(body) {
            return RetryAction::transient_error();
        }
        RetryAction::NoActionIndicated
    }
}

fn has_ended(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>");
    let code = code.and_then(|(_, rest)| rest.split_once("</Code>"));
    code.is_some_and(|(code, _)| ENDED.contains(&code))
}

/// The SDK takes XML that ends too early for complete: a list would lack machines that exist.
#[derive(Debug)]
pub(super) struct WholeAnswers;

impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        match response.body().bytes() {
            Some(body) if response.status().is_success() && !is_whole(body) => {
                Err("the answer is cut short".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an XML document closes the element that it opens.
fn is_whole(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut tags = text.split('<').skip(1);
    let Some(root) = tags.find(|tag| !tag.starts_with(['?', '!'])) else {
        return false;
    };
    let is_end = |letter: char| letter.is_whitespace() || "/>".contains(letter);
    let name = root.split(is_end).next().unwrap_or_default();
    text.trim_end().ends_with(&format!("</{name}>"))
}

/// Codes of EC2, STS and Elastic Load Balancing for keys that have ended. The last two come for
/// keys that were never good as well: those are read anew to no avail.
const ENDED: [&str; 5] = [
    "RequestExpired",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "AuthFailure",
];
/// What a call may take before it is signed and arrives.
const MARGIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn an_answer_that_ends_too_early_is_told_from_a_whole_one() {
        let whole = "<?xml version=\"1.0\"?>\n<DescribeInstancesResponse xmlns=\"x\"><a/></DescribeInstancesResponse>\n";
        assert!(is_whole(whole.as_bytes()));
        for end in 0..whole.len() - 2 {
            assert!(!is_whole(&whole.as_bytes()[..end]), "{}", &whole[..end]);
        }
    }

    #[test]
    fn keys_that_have_ended_are_told_from_other_refusals() {
        for (code, expected) in [
            ("RequestExpired", true),
            ("ExpiredToken", true),
            ("UnauthorizedOperation", false),
            ("RequestLimitExceeded", false),
        ] {
            let body =
                format!("<Response><Errors><Error><Code>{code}</Code></Error></Errors></Response>");
            assert_eq!(has_ended(body.as_bytes()), expected, "{code}");
        }
        assert!(!has_ended(b"<Code>ExpiredTok"));
    }

    #[tokio::test]
    async fn credentials_are_read_anew_only_when_they_were_refused() {
        let keys = |key: &str| {
            SharedCredentialsProvider::new(Credentials::new(key, "secret", None, None, "a test"))
        };
        let reads = Arc::new(AtomicUsize::new(0));
        let read = {
            let reads = Arc::clone(&reads);
            move || {
                reads.fetch_add(1, Ordering::Relaxed);
                let keys = keys("second");
                async move { Some(keys) }.boxed()
            }
        };
        let renewable = Renewable::new(keys("first"), read);
        let key = async || {
            let credentials = renewable.provide_credentials().await.unwrap();
            credentials.access_key_id().to_owned()
        };
        assert_eq!((key().await, key().await), ("first".into(), "first".into()));
        renewable.refused.store(true, Ordering::Relaxed);
        assert_eq!(
            (key().await, key().await),
            ("second".into(), "second".into())
        );
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }
}
