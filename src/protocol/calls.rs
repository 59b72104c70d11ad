//! A line in the log when a call comes and when it is answered, with the keys that HashiCorp's own providers use. What was asked and
//! answered stays out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;

use super::log::{self, Level, Module};

/// A service whose calls are logged.
#[derive(Clone)]
pub(super) struct Logged<S> {
    inner: S,
    calls: Arc<AtomicU64>,
}

impl<S> Logged<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            calls: Arc::default(),
        }
    }
}

impl<S: NamedService> NamedService for Logged<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Logged<S>
where
    S: Service<
            http::Request<Body>,
            Future = BoxFuture<
                <S as Service<http::Request<Body>>>::Response,
                <S as Service<http::Request<Body>>>::Error,
            >,
        >,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !log::enabled(Module::Sdk, Level::Debug) {
            return self.inner.call(request);
        }
        let path = request.uri().path().to_owned();
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let start = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let rpc = path.rsplit('/').next().unwrap_or_default();
            log::write(
                Module::Sdk,
                Level::Trace,
                "got a call",
                &[("tf_rpc", &rpc), ("tf_req_id", &number)],
            );
            let answer = answer.await;
            let millis = start.elapsed().as_millis();
            log::write(
                Module::Sdk,
                Level::Debug,
                "answered a call",
                &[
                    ("tf_rpc", &rpc),
                    ("tf_req_id", &number),
                    ("tf_req_duration_ms", &millis),
                ],
            );
            answer
        })
    }
}
