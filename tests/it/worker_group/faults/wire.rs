//! Faults on the wire: a proxy in front of a cloud's servers, which lets a fault befall the calls of one name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Fault;
use crate::proxy::{Fate, Proxy};

/// One life's own.
pub(crate) struct Wire {
    pub(crate) proxy: Proxy,
    pub(crate) met: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn start(upstreams: &[&str]) -> Self {
        Self {
            proxy: Proxy::start(upstreams),
            met: Arc::default(),
        }
    }

    /// From now on the first calls of this name meet the fault; `answer` makes what the cloud itself would say.
    pub(crate) fn order(
        &self,
        call: &str,
        fault: Fault,
        answer: impl Fn() -> Fate + Send + Sync + 'static,
    ) {
        let (call, met) = (call.to_owned(), Arc::clone(&self.met));
        let count = AtomicUsize::new(0);
        self.proxy.order(move |_, name| {
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

    pub(crate) fn calm(&self) {
        self.proxy.order(|_, _| Fate::Pass);
        self.proxy.open();
        self.met.store(false, Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> BTreeSet<String> {
        self.proxy.calls().into_iter().collect()
    }
}
