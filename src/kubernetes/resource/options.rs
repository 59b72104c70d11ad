//! The options of a drain as users write them, for whatever drains: those of `kubectl drain`, and
//! what comes after its time.
//!
//! In: `{timeout = "5m", force = true}`, an attribute each. Out: [`Drain`] and [`Rules`].

use std::time::Duration;

use crate::kubernetes::{Drain, OnTimeout, Rules};
use crate::provider::{Attr, Attribute, duration};

/// What is written of them.
pub(crate) struct Options<'a> {
    pub(crate) timeout: &'a Attr<String>,
    pub(crate) on_timeout: &'a Attr<String>,
    pub(crate) grace_period: &'a Attr<String>,
    pub(crate) delete_emptydir_data: &'a Attr<bool>,
    pub(crate) ignore_daemonsets: &'a Attr<bool>,
    pub(crate) force: &'a Attr<bool>,
}

impl Options<'_> {
    /// All of them; `None` while some are unknown.
    pub(crate) fn known(&self) -> Option<(Drain, Rules)> {
        let usual = Rules::default();
        let rules = Rules {
            ignore_daemonsets: or(self.ignore_daemonsets, usual.ignore_daemonsets)?,
            delete_emptydir_data: or(self.delete_emptydir_data, usual.delete_emptydir_data)?,
            force: or(self.force, usual.force)?,
            grace_period: match self.grace_period {
                Attr::Null => None,
                written => Some(time(written, Duration::ZERO)?),
            },
        };
        let drain = Drain {
            timeout: time(self.timeout, TIMEOUT)?,
            on_timeout: match or(self.on_timeout, String::new())?.as_str() {
                "fail" => Some(OnTimeout::Fail),
                "force" => Some(OnTimeout::Force),
                "skip" => Some(OnTimeout::Skip),
                _ => None,
            },
        };
        Some((drain, rules))
    }
}

/// Their attributes; `on_timeout` says what each word of it means there.
pub(crate) fn attributes(on_timeout: &str) -> Vec<Attribute> {
    vec![
        Attribute::string("timeout", "Time that the pods of one Node have.")
            .null_means("15m")
            .duration(),
        Attribute::string("on_timeout", on_timeout)
            .optional()
            .one_of(["fail", "force", "skip"]),
        Attribute::string(
            "grace_period",
            "Time that a pod has to end. Without it each pod's own.",
        )
        .optional()
        .duration(),
        Attribute::bool("delete_emptydir_data", "Whether pods with `emptyDir` volumes are evicted, which loses these; else they end a drain.").null_means(true),
        Attribute::bool("ignore_daemonsets", "Whether pods of DaemonSets stay; else they end a drain.").null_means(true),
        Attribute::bool("force", "Whether pods that no controller makes anew are evicted, too; else they end a drain.").null_means(false),
    ]
}

fn or<T: Clone>(value: &Attr<T>, default: T) -> Option<T> {
    match value {
        Attr::Known(value) => Some(value.clone()),
        Attr::Null => Some(default),
        Attr::Unknown => None,
    }
}

fn time(value: &Attr<String>, default: Duration) -> Option<Duration> {
    match value {
        Attr::Known(text) => duration::parse(text),
        Attr::Null => Some(default),
        Attr::Unknown => None,
    }
}

const TIMEOUT: Duration = Duration::from_secs(900);
