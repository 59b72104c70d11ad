//! The provider's executable.

use std::process::ExitCode;

use flatcar::protocol::{self, Options};
use flatcar::provider::Service;
use tokio_util::sync::CancellationToken;

// With musl's own a translation costs 1.7 times as much.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Of every TLS client in the process; a second call would find the first one's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cancel = CancellationToken::new();
    let options = Options {
        address: flatcar::ADDRESS,
        version: env!("CARGO_PKG_VERSION"),
        cancel: cancel.clone(),
    };
    protocol::serve(Service::new(flatcar::provider(), cancel), options)
}
