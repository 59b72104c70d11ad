//! The SDK's HTTP client, which reads whole bodies into memory, with an end to them.
//!
//! In: a client. Out: the same, whose answers end with [`TooLong`] where they are too long.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
pub(super) use http_body_util::LengthLimitError as TooLong;
use http_body_util::Limited;

use crate::http::MOST_BYTES;

/// The same client, with the bound of all answers.
pub(super) fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(client))
}

#[derive(Debug)]
struct Bounded<T>(T);

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| {
                // Where the answer says how long it is, nothing of it has to be read.
                let is_too_long = body.content_length() > Some(MOST_BYTES as u64);
                let most = if is_too_long { 0 } else { MOST_BYTES };
                SdkBody::from_body_1_x(Limited::new(body, most))
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_sts::Client;
    use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
    use aws_sdk_sts::error::SdkError;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::Error;
    use futures::FutureExt as _;
    use http_body::{Body, Frame, SizeHint};

    use super::super::failure::{fault, fault_of_create};
    use super::super::renewal::{Renewable, RetryExpired};
    use super::*;
    use crate::worker_group::cloud::Kind;

    /// A service that answers with so many blanks in its XML, in pieces; `None`: without end.
    #[derive(Debug, Clone)]
    struct Service {
        blanks: Option<u64>,
        says_length: bool,
        calls: Arc<AtomicUsize>,
        read: Arc<AtomicU64>,
    }

    impl HttpConnector for Service {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let body = SdkBody::from_body_1_x(Answer {
                service: self.clone(),
                left: self.blanks,
                at: 0,
            });
            let status = StatusCode::try_from(200_u16).unwrap();
            HttpConnectorFuture::ready(Ok(HttpResponse::new(status, body)))
        }
    }

    impl HttpClient for Service {
        fn http_connector(
            &self,
            _: &HttpConnectorSettings,
            _: &RuntimeComponents,
        ) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    struct Answer {
        service: Service,
        left: Option<u64>,
        at: usize,
    }

    const PIECE: usize = 64 * 1024;
    const BEGIN: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>\
                         </GetCallerIdentityResult>";
    const END: &str = "</GetCallerIdentityResponse>";

    impl Body for Answer {
        type Data = <SdkBody as Body>::Data;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Error>>> {
            self.at += 1;
            let piece = match (self.at, self.left) {
                (1, _) => BEGIN.to_owned(),
                (_, None) => " ".repeat(PIECE),
                (_, Some(0)) => {
                    self.left = Some(u64::MAX);
                    END.to_owned()
                }
                (_, Some(u64::MAX)) => return Poll::Ready(None),
                (_, Some(left)) => {
                    let now = left.min(PIECE as u64);
                    self.left = Some(left - now);
                    " ".repeat(usize::try_from(now).unwrap())
                }
            };
            let read = &self.service.read;
            read.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(piece.into()))))
        }

        fn size_hint(&self) -> SizeHint {
            let around = (BEGIN.len() + END.len()) as u64;
            match self.left {
                Some(left) if self.service.says_length && self.at == 0 => {
                    SizeHint::with_exact(left + around)
                }
                _ => SizeHint::default(),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_the_bound_and_asked_for_once() {
        let around = (BEGIN.len() + END.len()) as u64;
        let most = MOST_BYTES as u64;
        let keys = Credentials::new("key", "secret", None, None, "a test");
        let provider = SharedCredentialsProvider::new(keys.clone());
        let again = RetryExpired(Arc::new(Renewable::new(provider, || {
            async { None }.boxed()
        })));
        for (blanks, says_length, is_read) in [
            (Some(0), false, true),
            (Some(most - around), false, true),
            (Some(most - around), true, true),
            (Some(most - around + 1), false, false),
            (Some(most - around + 1), true, false),
            (None, false, false),
        ] {
            let service = Service {
                blanks,
                says_length,
                calls: Arc::default(),
                read: Arc::default(),
            };
            let client = Bounded(SharedHttpClient::new(service.clone()));
            let config = aws_sdk_sts::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .credentials_provider(keys.clone())
                .http_client(client)
                .retry_classifier(again.clone())
                .build();
            let answer = Client::from_conf(config).get_caller_identity().send().await;
            let what = format!("{blanks:?} {says_length}");
            assert_eq!(service.calls.load(Ordering::Relaxed), 1, "{what}");
            let read = service.read.load(Ordering::Relaxed);
            assert!(read <= most + PIECE as u64, "{what}: {read}");
            let is_begun = read > BEGIN.len() as u64;
            assert_eq!(!is_begun, says_length && !is_read, "{what}: {read}");
            let error = match (answer, is_read) {
                (Ok(answer), true) => {
                    assert_eq!(answer.account(), Some("123456789012"));
                    continue;
                }
                (Err(error), false) => error,
                (answer, _) => panic!("{what}: {answer:?}"),
            };
            assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
            const ACTION: &str = "STS GetCallerIdentity";
            // It would be no shorter the next time; what was asked for may have been done.
            let (told, kind) = match says_length {
                true => (fault(ACTION, "the account", error), Kind::BadRequest),
                false => (
                    fault_of_create(ACTION, "the account", error),
                    Kind::Ambiguous,
                ),
            };
            assert_eq!(told.kind, kind, "{what}");
            let said = "an answer of more than 33554432 bytes";
            assert!(told.message.ends_with(said), "{}", told.message);
        }
    }
}
