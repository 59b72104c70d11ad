//! Lists that lag behind what a call has changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::Fault;
use super::Wire;
use crate::proxy::{Fate, Proxy};

/// A call that lists something.
pub(crate) struct Listing<T> {
    pub(crate) call: &'static str,
    /// What an answer shows, by id.
    pub(crate) read: Arc<Read<T>>,
    /// The same answer, which shows these.
    pub(crate) write: Arc<Write<T>>,
}

type Read<T> = dyn Fn(&str) -> BTreeMap<String, T> + Send + Sync;
type Write<T> = dyn Fn(&str, BTreeMap<String, T>) -> String + Send + Sync;

/// Makes what a list shows of what it would, and of what lists before have shown.
pub(crate) type Lag<T> = fn(&mut BTreeMap<String, T>, &BTreeMap<String, T>);

/// What has just been created is not there yet.
pub(crate) fn not_yet<T>(shown: &mut BTreeMap<String, T>, known: &BTreeMap<String, T>) {
    shown.retain(|id, _| known.contains_key(id));
}

/// What has just been deleted is still there, as it was.
pub(crate) fn still<T: Clone>(shown: &mut BTreeMap<String, T>, known: &BTreeMap<String, T>) {
    shown.extend(known.clone());
}

impl Wire {
    /// From now on what lists show is remembered, and those that come after the first call of this
    /// name meet the fault: they lag behind what it has changed.
    pub(crate) fn lag<T: Clone + Send + 'static>(
        &self,
        proxy: &Proxy,
        list: Listing<T>,
        behind: &'static str,
        fault: Fault,
        lag: Lag<T>,
    ) {
        let Listing { call, read, write } = list;
        let begun = AtomicBool::new(false);
        let changed = AtomicUsize::new(0);
        let known = Arc::<Mutex<BTreeMap<String, T>>>::default();
        let met = Arc::clone(&self.met);
        proxy.order(move |_, name| {
            if name == behind {
                begun.store(true, Ordering::SeqCst);
            }
            if name != call {
                return Fate::Pass;
            }
            let (known, read, write) = (Arc::clone(&known), Arc::clone(&read), Arc::clone(&write));
            if !begun.load(Ordering::SeqCst) {
                return Fate::Changed(Box::new(move |body| {
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.extend(read(&body));
                    body
                }));
            }
            if changed.fetch_add(1, Ordering::SeqCst) >= fault.times() {
                return Fate::Pass;
            }
            met.store(true, Ordering::SeqCst);
            Fate::Changed(Box::new(move |body| {
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let mut shown = read(&body);
                lag(&mut shown, &known);
                write(&body, shown)
            }))
        });
    }
}
