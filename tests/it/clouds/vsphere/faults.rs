//! vCenter's simulator behind a proxy: what befalls a call, it does not know of.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;

use super::subject::{fault_of, status};
use super::world::{IMAGES, Server, World};
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::Wire;
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

/// Only where it is asked for (`make faults-full CLOUDS=vsphere`): its rows are not on the page
/// yet.
#[tokio::test(flavor = "multi_thread")]
async fn vsphere_carries_on_or_says_so() {
    if std::env::var_os("FLATCAR_FAULTS").is_none() {
        println!("not asked for: make faults-full CLOUDS=vsphere");
        return;
    }
    let Some(server) = Server::find() else {
        return;
    };
    show(&VSphere { server }, Some(SAMPLE)).await;
}

struct VSphere {
    server: Server,
}

struct Place {
    world: World,
    wire: Wire,
}

impl FaultyCloud for VSphere {
    fn name(&self) -> &'static str {
        "vsphere"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let place: Box<dyn FaultyLife> = Box::new(Place {
                world: World::of(self.server.clone()).await,
                wire: Wire::default(),
            });
            place
        }
        .boxed()
    }

    fn can_meet(&self, _: &Step, call: &str, fault: Fault) -> bool {
        // Properties are of the moment at which they are asked for. And nobody who was told a task
        // alone knows what it came to, as long as the server cannot be reached: of a clone there is
        // no id that could be recorded, and the next apply finds it by its mark. That is among the
        // crash points.
        let is_never_told = call == TASK && fault == Fault::Refused;
        !matches!(fault, Fault::NotYet | Fault::Still) && !is_never_told
    }

    fn action(&self, call: &str) -> String {
        let words: Vec<&str> = call.split(' ').take(2).collect();
        match words[..] {
            [_, "content" | "Login"] => "vSphere".to_owned(),
            _ => words.join(" "),
        }
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused"],
            Fault::ResetBefore | Fault::ResetAfter => &["connection"],
            Fault::Silence => &["in time", "within"],
            Fault::Error500 => &["SystemError"],
            Fault::Error503 => &["503"],
            Fault::Throttled | Fault::RetryAfter => &["429"],
            Fault::Expired => &["NotAuthenticated"],
            Fault::Forbidden => &["NoPermission"],
            Fault::Truncated => &["not JSON", "connection"],
            Fault::NotYet | Fault::Still => &[],
        }
    }

    fn at_once(&self) -> usize {
        8
    }

    fn stops(&self) -> bool {
        true
    }
}

impl FaultyLife for Place {
    fn provider(&self) -> Json {
        json!({"vsphere": self.world.block()})
    }

    fn shape(&self, tags: &Json) -> Json {
        let mut shape = self.world.placed();
        shape["extra_config"] = tags.clone();
        json!({"cluster": self.world.cluster, "image": IMAGES[0], "vsphere": shape})
    }

    fn order(&self, call: &str, fault: Fault) {
        let answer = move || refused(fault);
        self.wire.order(&self.world.proxy, call, fault, answer);
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.world.proxy))
    }

    fn stop(&self) {
        let stopped = async {
            let mut machines = self.world.machines().await;
            machines.sort_by(|one, other| one.name.cmp(&other.name));
            // Where it could not be started, it is off still.
            if let Some(one) = machines.first().filter(|one| one.is_on) {
                self.world.stop(&one.id).await;
            }
        };
        // On a thread of its own: waiting on this one would take the wakes of other lives.
        let runtime = Handle::current();
        std::thread::scope(|scope| {
            let stopped = scope.spawn(move || runtime.block_on(stopped));
            stopped.join().expect("is stopped");
        });
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        self.world.alive().boxed()
    }
}

/// In vCenter's words, or in those of what stands before it.
fn refused(fault: Fault) -> Fate {
    match fault {
        Fault::Error500 => fault_of("SystemError"),
        Fault::Error503 => status(503),
        Fault::Throttled => status(429),
        Fault::RetryAfter => Fate::Answer {
            status: 429,
            headers: vec![("Retry-After".to_owned(), "1".to_owned())],
            body: String::new(),
        },
        Fault::Expired => fault_of("NotAuthenticated"),
        _ => fault_of("NoPermission"),
    }
}

const TASK: &str = "vSphere RetrievePropertiesEx Task";
/// Cells of a run without more words.
const SAMPLE: usize = 40;
