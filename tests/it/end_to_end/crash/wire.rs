//! A cloud that is reached over a wire: a proxy there counts the calls of an apply, and ends it at
//! any of them.

use super::super::Stage;
use super::{Ground, Meets, TIMEOUT};
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

    fn order(&self, _: &Workspace, number: usize, meets: Meets) {
        self.ready();
        self.proxy().order(move |k, _| match meets {
            _ if k != number => Fate::Pass,
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

    fn timeout(&self) -> &'static str {
        Self::TIMEOUT
    }
}
