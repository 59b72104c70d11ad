//! Azure: machines are virtual machines with a network interface each, found and marked by tags.
//!
//! In: the group's questions. Out: calls of Resource Manager. Names are derived, and a machine is
//! never put over another: it is looked for by its interface first, and put with `If-None-Match`.
//! What a machine looks like is in `shape` and `checks`, who logs in in `settings` and `auth`,
//! calls in `api`, what their refusals mean in `failure`, bodies in `request`, the create in
//! `create`, answers in `machine`, what is changed in `change` and `nic`, load balancers in `pools`
//! and `claims`, what machines are known by in `known`, what is left over in `sweep`, and what is
//! asked before an apply in `preflight` and `fit`.

mod api;
mod auth;
mod change;
mod checks;
mod claims;
mod create;
mod failure;
mod fit;
mod known;
mod machine;
mod nic;
mod pools;
mod preflight;
mod request;
mod settings;
mod shape;
mod sweep;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::{Value as Json, json};

use self::api::{COMPUTE, NETWORK, Session};
use self::create::Maker;
use self::failure::missing_group;
use self::known::{Known, id_of, number, number_of, path};
use self::machine::{FACETS, Seen, joined};
use self::pools::{Balanced, Pools};
use self::request::{ADDRESSES, MACHINES, NICS, Parts, Place};
use self::shape::{POOLS, Shape};
use crate::http::api::Call;
use crate::provider::Diagnostics;
use crate::worker_group::cloud::{
    Answered, Answers, CLUSTER, Change, Connect, Connecting, Deletion, Entry, Facet, GROUP, Growth,
    Kind, Looks, Machine, Manner, Mark, Members, Pool, Spec, Spread, absent,
};

/// The row of the table of clouds.
pub(super) static ENTRY: Entry = Entry {
    name: "azure",
    provider_schema: settings::provider_schema,
    group_schema: shape::group_schema,
    fields: &[
        ("zones", Change::Place),
        (shape::NSG, Change::InPlace),
        (shape::ASGS, Change::InPlace),
        (POOLS, Change::InPlace),
        ("tags", Change::InPlace),
    ],
    set_hostname: false,
    platform: "azure",
    scope: "Azure subscription or resource group",
    manner: Manner {
        // Resource Manager answers a PUT when the resource is there; its front ends lag for
        // moments.
        consistency_window: Duration::from_secs(10),
        poll_interval: Duration::from_secs(5),
        finds_one_by_one: false,
    },
    lacks: &[],
    validate: checks::validate,
    connect,
};

fn connect(connect: Connect<'_>) -> Connecting<'_> {
    async move {
        let context = connect.context;
        let open = || async { Session::open(ENTRY.settings(context)?).await };
        let session = context.shared.try_of(open).await?;
        // Where nothing is known of the shape, the scope says it.
        let group = connect.shape.field("resource_group_name").text();
        let group = group.or_else(|| Some(connect.scope?.split_once('/')?.1));
        let pools = connect.shape.field(POOLS).elements().iter();
        let pools = pools
            .filter_map(|pool| pool.text().map(str::to_owned))
            .collect();
        let known = Arc::new(Known::default());
        let of_pools = Pools::new(Arc::clone(&session), Arc::clone(&known));
        let cloud = Azure {
            place: Place::new(&session.subscription, group),
            balanced: Balanced::new(of_pools, pools),
            session,
            known,
            turns: Pool::default(),
            spread: Spread::default(),
            claims: Mutex::default(),
        };
        Ok(cloud.opened())
    }
    .boxed()
}

/// A resource group, for one group's shape.
struct Azure {
    session: Arc<Session>,
    place: Place,
    known: Arc<Known>,
    balanced: Balanced,
    turns: Pool,
    spread: Spread,
    /// Of a machine, the backend address pools that it says it is in, as of the last list.
    claims: Mutex<HashMap<String, BTreeSet<String>>>,
}

#[async_trait]
impl Answers for Azure {
    type Shape = Shape;
    const ENTRY: &'static Entry = &ENTRY;

    async fn scope(&self) -> Answered<String> {
        Ok(format!(
            "{}/{}",
            self.place.subscription,
            self.place.group.as_deref().unwrap_or_default()
        ))
    }

    async fn list(&self, cluster: &str, group: &str) -> Answered<Vec<Machine>> {
        let is_of = |seen: &Json| seen["tags"][CLUSTER] == cluster && seen["tags"][GROUP] == group;
        let mut machines = self.machines(group, is_of).await?;
        machines.retain(|machine| machine.mark.is_whole());
        Ok(machines)
    }

    async fn find(&self, ids: &[String]) -> Answered<Vec<Machine>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let is_one = |seen: &Json| id_of(seen).is_some_and(|id| ids.contains(&id));
        self.machines("the machines", is_one).await
    }

    async fn create(&self, spec: &Spec<'_>, shape: Shape, user_data: String) -> Answered<Machine> {
        let turn = self.turns.turn(spec.name);
        let _turn = turn.lock().await;
        let parts = Parts::of(&self.place, spec);
        let maker = Maker {
            session: &self.session,
            spread: &self.spread,
        };
        match maker.made(spec, &shape, &parts, &user_data).await {
            // What is not seen yet is as it was asked for.
            Ok(mut machine) => {
                let seen = std::mem::replace(&mut machine.observed, self.wanted(&shape));
                machine.observed.extend(seen);
                Ok(machine)
            }
            // Of a create only what it names can be missing.
            Err(error) if error.is_not_found() => Err(error.being(Kind::BadRequest)),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, machine: &Machine) -> Answered<Deletion> {
        let (session, path) = (&self.session, path(&machine.id));
        // A delete knows no number, and somebody may have put a machine of his own there.
        let call = Call::get(path).query("api-version", COMPUTE);
        let answer = session.send("Azure GET virtualMachines", &machine.name, call);
        let there = absent(missing_group(answer.await))?;
        let number_there = there.as_ref().and_then(number_of);
        if number_there.is_none_or(|there| there != number(&machine.id)) {
            return Ok(Deletion::Gone);
        }
        let call = Call::delete(path).query("api-version", COMPUTE);
        let answer = session.ask("Azure DELETE virtualMachines", &machine.name, call);
        Ok(match absent(missing_group(answer.await))? {
            // 204 is said of what does not exist.
            Some(reply) if reply.status != 204 => Deletion::Going,
            _ => Deletion::Gone,
        })
    }

    async fn sweep(&self, group: &Mark, first: u64) -> Answered<()> {
        sweep::sweep(&self.session, &self.place, group, first).await
    }

    async fn mark(&self, machines: &[Machine], mark: &Mark, shape: Option<Shape>) -> Answered<()> {
        let claims = {
            let known = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
            machines
                .iter()
                .filter_map(|machine| known.get(&machine.id))
                .flatten()
                .cloned()
                .collect()
        };
        change::rewrite(
            &self.session,
            &self.balanced,
            machines,
            mark,
            shape.as_ref(),
            claims,
        )
        .await
    }

    async fn start(&self, machines: &[Machine]) -> Answered<()> {
        change::start(&self.session, machines).await
    }

    fn wanted(&self, shape: &Shape) -> Looks {
        let mut wanted = Facet::wanted(FACETS, shape);
        let pools = Balanced::wanted(&shape.load_balancer_backend_address_pool_ids);
        wanted.extend(
            pools
                .into_iter()
                .map(|(pool, is)| (format!("{POOLS}.{pool}"), is)),
        );
        wanted
    }

    async fn preflight(&self, image: &str, shape: Shape, growth: Growth) -> Answered<Diagnostics> {
        preflight::check(&self.session, &self.place, image, &shape, growth).await
    }

    async fn console(&self, machine: &Machine) -> Answered<Option<String>> {
        let call = Call::post(
            format!("{}/retrieveBootDiagnosticsData", path(&machine.id)),
            json!({}),
        )
        .repeatable();
        let call = call.query("api-version", COMPUTE);
        let answer = self.session.send(
            "Azure POST retrieveBootDiagnosticsData",
            &machine.name,
            call,
        );
        let answer = match answer.await {
            // It keeps none, or none yet.
            Err(error)
                if error.kind == Kind::BadRequest && error.message.contains("iagnostics") =>
            {
                return Ok(None);
            }
            answer => answer?,
        };
        let address = answer["serialConsoleLogBlobUri"]
            .as_str()
            .unwrap_or_default();
        let log = self.session.read_signed(address).await;
        let text = log.map(|log| String::from_utf8_lossy(&log).into_owned());
        Ok(text.filter(|text| !text.trim().is_empty()))
    }

    fn members(&self) -> Option<&dyn Members> {
        Some(&self.balanced)
    }
}

impl Azure {
    /// Those machines that are wanted, with what the lists of states, interfaces and addresses say
    /// of them.
    async fn machines(
        &self,
        object: &str,
        is_wanted: impl Fn(&Json) -> bool + Send,
    ) -> Answered<Vec<Machine>> {
        let list =
            async |action: &'static str, path: String, version: &str, status: Option<&str>| {
                let call = Call::get(path)
                    .query("api-version", version)
                    .queries("statusOnly", status);
                let all = self.session.all(action, object, call).await;
                Answered::Ok(absent(missing_group(all))?.unwrap_or_default())
            };
        let all = list(
            "Azure GET virtualMachines",
            self.place.all(MACHINES),
            COMPUTE,
            None,
        );
        let machines: Vec<Json> = all.await?.into_iter().filter(is_wanted).collect();
        let ids = machines.iter().filter_map(id_of);
        ids.for_each(|id| self.known.remember(&id));
        // Pools name machines by their paths.
        self.balanced.look().await?;
        if machines.is_empty() {
            return Ok(Vec::new());
        }
        // States are listed by subscription alone.
        let states = list(
            "Azure GET virtualMachines",
            self.place.of_subscription(MACHINES),
            COMPUTE,
            Some("true"),
        );
        let nics = list(
            "Azure GET networkInterfaces",
            self.place.all(NICS),
            NETWORK,
            None,
        );
        let (states, nics) = tokio::try_join!(states, nics)?;
        let mut seen = joined(machines, states, nics);
        if seen.iter().any(Seen::is_public) {
            let addresses = list(
                "Azure GET publicIPAddresses",
                self.place.all(ADDRESSES),
                NETWORK,
                None,
            )
            .await?;
            let text = |json: &Json| json.as_str().map(str::to_owned);
            let addresses = addresses.iter().filter_map(|one| {
                Some((
                    text(&one["id"])?.to_lowercase(),
                    text(&one["properties"]["ipAddress"])?,
                ))
            });
            let public: HashMap<String, String> = addresses.collect();
            seen.iter_mut().for_each(|one| one.public = public.clone());
        }
        let told = seen.iter().filter_map(|one| {
            let mut machine = one.found()?;
            let claims = one.claims();
            self.claims
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(machine.id.clone(), claims.clone());
            self.balanced.tell(&mut machine, claims);
            Some(machine)
        });
        Ok(told.collect())
    }
}
