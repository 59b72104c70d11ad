//! A cloud that is reached over a wire: a proxy there counts the calls of an apply, and ends it at
//! any of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::Stage;
use super::{Call, Ground, Meets, TIMEOUT};
use crate::core::Workspace;
use crate::proxy::{Fate, Proxy};

/// A stage whose provider talks to nobody but this proxy.
pub(crate) trait Wired: Stage {
    /// [`Ground::timeout`]
    const TIMEOUT: &str = TIMEOUT;

    fn proxy(&self) -> &Proxy;
    /// Waits until what the next apply needs is there.
    fn ready(&self) {}
}

impl<W: Wired> Ground for W {
    fn stage(&self) -> &dyn Stage {
        self
    }

    /// The call is known by its name: calls overtake each other.
    fn order(&self, _: &Workspace, call: Call<'_>, meets: Meets) {
        self.ready();
        let (name, nth) = (call.name.to_owned(), call.nth);
        let seen = AtomicUsize::new(0);
        self.proxy().order(move |_, call| match meets {
            _ if call != name => Fate::Pass,
            _ if seen.fetch_add(1, Ordering::Relaxed) + 1 != nth => Fate::Pass,
            Meets::Nothing => Fate::Pass,
            Meets::HoldBefore => Fate::HoldBefore,
            Meets::HoldAfter => Fate::HoldAfter,
            Meets::Lost => Fate::ResetAfter,
        });
    }

    fn holds(&self) -> bool {
        self.proxy().holds()
    }

    fn release(&self) {
        self.proxy().release();
    }

    fn end(&self, _: &Workspace) -> Vec<String> {
        let calls = self.proxy().calls();
        self.proxy().order(|_, _| Fate::Pass);
        self.release();
        calls
    }

    fn has_made(&self, calls: &[String], call: Call<'_>) -> bool {
        calls.iter().filter(|name| *name == call.name).count() >= call.nth
    }

    fn timeout(&self) -> &'static str {
        Self::TIMEOUT
    }
}
