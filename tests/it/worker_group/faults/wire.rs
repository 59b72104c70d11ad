//! Faults on the wire: a proxy in front of a cloud's servers, which lets a fault befall the calls
//! of one name.

#[cfg(any(
    feature = "aws",
    feature = "azure",
    feature = "gcp",
    feature = "openstack"
))]
mod lag;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[cfg(any(
    feature = "aws",
    feature = "azure",
    feature = "gcp",
    feature = "openstack"
))]
pub(crate) use self::lag::{Lag, Listing, not_yet, still};
use super::Fault;
use crate::proxy::{Fate, Proxy};

/// What has befallen the calls of one life.
#[derive(Default)]
pub(crate) struct Wire {
    met: Arc<AtomicBool>,
}

impl Wire {
    /// From now on the first calls of this name meet the fault; `answer` makes what the cloud
    /// itself would say.
    pub(crate) fn order(
        &self,
        proxy: &Proxy,
        call: &str,
        fault: Fault,
        answer: impl Fn() -> Fate + Send + Sync + 'static,
    ) {
        let (call, met) = (call.to_owned(), Arc::clone(&self.met));
        let count = AtomicUsize::new(0);
        proxy.order(move |_, name| {
            if name != call || count.fetch_add(1, Ordering::SeqCst) >= fault.times() {
                return Fate::Pass;
            }
            met.store(true, Ordering::SeqCst);
            match fault {
                Fault::Refused => Fate::Down,
                Fault::ResetBefore => Fate::ResetBefore,
                Fault::ResetAfter => Fate::ResetAfter,
                Fault::Silence => Fate::Silent(Duration::from_secs(10)),
                Fault::Truncated => Fate::Truncated,
                _ => answer(),
            }
        });
    }

    pub(crate) fn met(&self) -> bool {
        self.met.load(Ordering::SeqCst)
    }

    pub(crate) fn calm(&self, proxy: &Proxy) {
        proxy.order(|_, _| Fate::Pass);
        proxy.open();
        self.met.store(false, Ordering::SeqCst);
    }
}
