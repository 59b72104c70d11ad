//! The services beside the provider's own, which go-plugin's client expects: controller, broker,
//! stdio, health.

use std::pin::Pin;

use futures::future::ready;
use futures::stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::health::health_check_response::ServingStatus;
use super::health::health_server::{Health, HealthServer};
use super::health::{HealthCheckRequest, HealthCheckResponse};
use super::plugin::grpc_broker_server::{GrpcBroker, GrpcBrokerServer};
use super::plugin::grpc_controller_server::{GrpcController, GrpcControllerServer};
use super::plugin::grpc_stdio_server::{GrpcStdio, GrpcStdioServer};
use super::plugin::{ConnInfo, Empty, StdioData};
use super::{End, log};

/// Ends the process when the core says so.
pub(super) fn controller(end: &End) -> GrpcControllerServer<Side> {
    GrpcControllerServer::new(Side { end: end.clone() })
}

/// Further connections between the two, of which neither needs any.
pub(super) fn broker(end: &End) -> GrpcBrokerServer<Side> {
    GrpcBrokerServer::new(Side { end: end.clone() })
}

/// What the provider prints; it prints nothing.
pub(super) fn stdio(end: &End) -> GrpcStdioServer<Side> {
    GrpcStdioServer::new(Side { end: end.clone() })
}

/// Whether the service named `plugin` serves.
pub(super) fn health(end: &End) -> HealthServer<Side> {
    HealthServer::new(Side { end: end.clone() })
}

/// Answers all four.
pub(super) struct Side {
    end: End,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Side {
    /// `first`, and then nothing until the end: a client takes a stream that closes for a plugin
    /// that broke.
    fn held_open<T: Send + 'static>(&self, first: Option<T>) -> Answers<T> {
        let end = self.end.soon.clone().cancelled_owned();
        let rest = stream::once(end).filter_map(|()| ready(None));
        Box::pin(stream::iter(first.map(Ok)).chain(rest))
    }
}

#[async_trait]
impl GrpcController for Side {
    async fn shutdown(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        log::write(
            log::Module::Sdk,
            log::Level::Debug,
            "the core asks for the end",
            &[],
        );
        self.end.now();
        Ok(Response::new(Empty {}))
    }
}

#[async_trait]
impl GrpcBroker for Side {
    async fn start_stream(
        &self,
        _request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Answers<ConnInfo>>, Status> {
        Ok(Response::new(self.held_open(None)))
    }
}

#[async_trait]
impl GrpcStdio for Side {
    async fn stream_stdio(
        &self,
        _request: Request<()>,
    ) -> Result<Response<Answers<StdioData>>, Status> {
        Ok(Response::new(self.held_open(None)))
    }
}

#[async_trait]
impl Health for Side {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // Empty asks for the server as a whole.
        match request.get_ref().service.as_str() {
            "plugin" | "" => Ok(Response::new(serving())),
            _ => Err(Status::not_found(
                "the service that is checked is called plugin",
            )),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Answers<HealthCheckResponse>>, Status> {
        let first = match request.get_ref().service.as_str() {
            "plugin" | "" => serving(),
            _ => HealthCheckResponse {
                status: ServingStatus::ServiceUnknown.into(),
            },
        };
        Ok(Response::new(self.held_open(Some(first))))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}
