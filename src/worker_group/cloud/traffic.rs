//! Machines that get traffic by being entered in a backend of a load balancer (a pool, an instance
//! group): entered when they are ready, taken out, and waited for, before they go.
//!
//! In: the backends of a shape, the names of those that each machine says it is in, and how the
//! members of one are asked for and changed ([`Backends`]). Out: [`Members`], and what machines
//! show of it in [`Machine::observed`]. One question a backend is about all machines, whatever
//! their number. A machine carries the names of its backends from its create on (in a tag): one
//! that leaves the shape, or a machine that leaves the group, is found by them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::{CloudError, Looks, Machine, Members, Phase};
use crate::kubernetes::Host;

/// What a cloud knows of its backends, and does with them. A backend is what the shape says: an id,
/// a URL.
#[async_trait]
pub trait Backends: Send + Sync + 'static {
    /// The field of the shape that lists backends: `"pool_ids"`.
    const FIELD: &'static str;
    /// How many machines one call enters, or takes out.
    const AT_ONCE: usize;

    /// What a machine's list calls a backend: as short as it may be and still tells those of one
    /// scope apart.
    fn name_of(backend: &str) -> &str;

    /// A machine that has been entered a moment ago.
    fn fresh(backend: &str) -> Member;

    /// The machines in a backend by id; none in one that does not exist: a group has to be
    /// readable, and to be destroyed, all the same.
    async fn members(&self, backend: &str) -> Result<HashMap<String, Member>, CloudError>;

    /// Enters machines; that one is in it already is no error.
    async fn enter(&self, backend: &str, ids: &[String]) -> Result<(), CloudError>;

    /// Takes machines out; that one is not in it, or that there is no such backend, is no error.
    async fn take_out(&self, backend: &str, ids: &[String]) -> Result<(), CloudError>;

    /// The backends of these names that exist.
    async fn named(&self, names: &BTreeSet<String>) -> Result<Vec<String>, CloudError>;

    /// How long a backend lets machines that were taken out finish, at most.
    async fn delay(&self, backend: &str) -> Result<Duration, CloudError>;
}

/// How a machine is in one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// It gets traffic: it was found well, or nobody judges it.
    pub serves: bool,
    /// It is entered, to stay.
    pub stays: bool,
    /// Connections may be open: it has been, or may have been, in service.
    pub had_traffic: bool,
    /// Nothing is sent to it, and nothing is open any more.
    pub is_unused: bool,
    /// How it is, in the cloud's words.
    pub words: String,
}

/// The traffic of one group of machines.
pub struct Traffic<B> {
    backends: B,
    /// Of the shape.
    list: Vec<String>,
    known: Mutex<Known>,
    /// One look at a time: who waits for it takes what it found.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    look: Option<Look>,
    /// Machine to the names of the backends that it says it is in.
    claims: HashMap<String, BTreeSet<String>>,
    /// Backends that are not in the shape, by their names; `None` for one that does not exist.
    others: BTreeMap<String, Option<String>>,
    /// Machines that have been taken out, to go.
    leaving: HashMap<String, Leaving>,
    delays: HashMap<String, Duration>,
    /// The last refusal to enter machines.
    refused: Option<String>,
}

struct Look {
    taken: Instant,
    /// Backend to machine.
    members: HashMap<String, HashMap<String, Member>>,
}

#[derive(Clone)]
struct Leaving {
    since: Instant,
    /// After this nobody waits any more.
    until: Instant,
    /// Backends in which it may have had traffic.
    from: Vec<String>,
}

/// From the backends that machines say they are in to those of a shape. They say all of them
/// meanwhile, so that an apply that is cut off leaves no machine where nobody looks for it.
pub struct Transfer {
    to: Vec<String>,
    names: BTreeSet<String>,
    left: BTreeSet<String>,
}

impl Transfer {
    /// Names that machines carry before it, where there is a backend at all.
    pub fn meanwhile(&self) -> Option<impl Iterator<Item = &str>> {
        let names = || self.names.iter().chain(&self.left).map(String::as_str);
        names().next().map(|_| names())
    }

    /// Names that machines carry after it, where these are others.
    pub fn afterwards(&self) -> Option<impl Iterator<Item = &str>> {
        let names = self.names.iter().map(String::as_str);
        (!self.left.is_empty()).then_some(names)
    }
}

impl<B: Backends> Traffic<B> {
    /// Of a shape that lists these backends.
    pub fn new(backends: B, list: Vec<String>) -> Self {
        Self {
            backends,
            list,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// What machines of a shape with these backends show below [`Backends::FIELD`], as a part of
    /// their looks.
    pub fn wanted<'a>(list: impl IntoIterator<Item = &'a String>) -> Looks {
        let list = list.into_iter();
        list.map(|backend| (backend.clone(), ENTERED.to_owned()))
            .collect()
    }

    /// Looks at all backends, once each: a cloud asks for this with every list of machines.
    ///
    /// # Errors
    /// One of them does not answer.
    pub async fn look(&self) -> Result<(), CloudError> {
        let backends = self.concerned();
        if backends.is_empty() {
            return Ok(());
        }
        let taken = Instant::now();
        let looks = backends.into_iter().map(|backend| self.members_of(backend));
        let members = try_join_all(looks).await?;
        let mut known = self.known();
        // One that began earlier may end later.
        if known.look.as_ref().is_none_or(|last| last.taken <= taken) {
            known.look = Some(Look {
                taken,
                members: members.into_iter().collect(),
            });
        }
        Ok(())
    }

    async fn members_of(
        &self,
        backend: String,
    ) -> Result<(String, HashMap<String, Member>), CloudError> {
        let members = self.backends.members(&backend).await?;
        Ok((backend, members))
    }

    /// Those of the shape, and those where a machine is that leaves.
    fn concerned(&self) -> BTreeSet<String> {
        let known = self.known();
        let others = known.others.values().flatten();
        self.list.iter().chain(others).cloned().collect()
    }

    /// Takes the last look where it is from after this moment.
    async fn look_since(&self, moment: Instant) -> Result<(), CloudError> {
        let _one = self.looking.lock().await;
        let backends = self.concerned();
        let is_fresh = |look: &Look| {
            let mut backends = backends.iter();
            look.taken >= moment && backends.all(|one| look.members.contains_key(one))
        };
        if self.known().look.as_ref().is_some_and(is_fresh) {
            return Ok(());
        }
        self.look().await
    }

    /// Adds to a machine where it is entered, and why it gets no traffic, by the last look.
    /// `claims` are the names that it carries. Only of a running one an absence counts: before, and
    /// after, it may not be entered.
    pub fn tell(&self, machine: &mut Machine, claims: BTreeSet<String>) {
        let mut known = self.known();
        known.claims.insert(machine.id.clone(), claims);
        for backend in &self.list {
            let member = known.member(backend, &machine.id);
            let is_in = member.is_some_and(|member| member.stays);
            let is_known = known.look.is_some() && machine.phase == Phase::Running;
            if is_in || !is_known {
                let key = format!("{}.{backend}", B::FIELD);
                machine.observed.insert(key, ENTERED.to_owned());
            }
            let words = match member {
                Some(member) if !member.serves => Some(member.words.clone()),
                None if is_known => known.refused.clone(),
                _ => None,
            };
            if machine.phase == Phase::Running && machine.message.is_none() {
                machine.message = words;
            }
        }
    }

    /// What has to be done that machines which carry these names are in the backends of this list.
    pub fn transfer(
        to: impl IntoIterator<Item = String>,
        claims: impl IntoIterator<Item = String>,
    ) -> Transfer {
        let to: Vec<String> = to.into_iter().collect();
        let names: BTreeSet<String> = to.iter().map(|one| B::name_of(one).to_owned()).collect();
        let claims: BTreeSet<String> = claims.into_iter().collect();
        Transfer {
            left: claims.difference(&names).cloned().collect(),
            to,
            names,
        }
    }

    /// Moves machines that stay. Only those that run can be entered; the others are when they are
    /// ready.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn carry_out(
        &self,
        transfer: &Transfer,
        running: &[String],
        all: Vec<String>,
    ) -> Result<(), CloudError> {
        for backend in &transfer.to {
            self.enter_all(backend, running).await?;
        }
        for backend in self.of_names(&transfer.left).await? {
            self.take_all_out(&backend, &all).await?;
        }
        let claims = all.into_iter().map(|id| (id, transfer.names.clone()));
        self.known().claims.extend(claims);
        Ok(())
    }

    async fn enter_all(&self, backend: &str, ids: &[String]) -> Result<(), CloudError> {
        for ids in ids.chunks(B::AT_ONCE) {
            let answer = self.backends.enter(backend, ids).await;
            let mut known = self.known();
            known.refused = answer.as_ref().err().map(ToString::to_string);
            answer?;
            if let Some(look) = &mut known.look {
                let members = look.members.entry(backend.to_owned()).or_default();
                members.extend(ids.iter().map(|id| (id.clone(), B::fresh(backend))));
            }
        }
        Ok(())
    }

    async fn take_all_out(&self, backend: &str, ids: &[String]) -> Result<(), CloudError> {
        for ids in ids.chunks(B::AT_ONCE) {
            self.backends.take_out(backend, ids).await?;
        }
        Ok(())
    }

    /// The backends of these names; those that do not exist are left out.
    async fn of_names(&self, names: &BTreeSet<String>) -> Result<Vec<String>, CloudError> {
        let mut backends: BTreeMap<String, Option<String>> = self.known().others.clone();
        let of_shape = self.list.iter();
        backends.extend(of_shape.map(|one| (B::name_of(one).to_owned(), Some(one.clone()))));
        let unknown = names.iter().filter(|name| !backends.contains_key(*name));
        let unknown: BTreeSet<String> = unknown.cloned().collect();
        if !unknown.is_empty() {
            let named = self.backends.named(&unknown).await?;
            let mut found: BTreeMap<String, Option<String>> =
                unknown.into_iter().map(|name| (name, None)).collect();
            let named = named.into_iter();
            found.extend(named.map(|one| (B::name_of(&one).to_owned(), Some(one))));
            self.known().others.extend(found.clone());
            backends.extend(found);
        }
        Ok(names
            .iter()
            .filter_map(|name| backends.remove(name)?)
            .collect())
    }

    async fn delay(&self, backend: &str) -> Result<Duration, CloudError> {
        if let Some(delay) = self.known().delays.get(backend) {
            return Ok(*delay);
        }
        let delay = self.backends.delay(backend).await?;
        self.known().delays.insert(backend.to_owned(), delay);
        Ok(delay)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn member(&self, backend: &str, id: &str) -> Option<&Member> {
        self.look.as_ref()?.members.get(backend)?.get(id)
    }

    fn claims(&self, name: &str, id: &str) -> bool {
        let claims = self.claims.get(id);
        claims.is_some_and(|claims| claims.contains(name))
    }
}

#[async_trait]
impl<B: Backends> Members for Traffic<B> {
    /// By the last list: what is entered here gets traffic at the next one. A machine belongs where
    /// it says: one that was adopted is left as it is until a plan has shown what changes.
    async fn enter(&self, hosts: &[Host]) -> Result<BTreeSet<String>, CloudError> {
        for backend in &self.list {
            let missing: Vec<String> = {
                let known = self.known();
                let is_in = |id: &str| known.member(backend, id).is_some_and(|one| one.stays);
                let ids = hosts.iter().map(|host| host.id.clone());
                ids.filter(|id| known.claims(B::name_of(backend), id) && !is_in(id))
                    .collect()
            };
            self.enter_all(backend, &missing).await?;
        }
        let known = self.known();
        let serves = |host: &&Host| {
            let list = self.list.iter();
            let mut own = list.filter(|one| known.claims(B::name_of(one), &host.id));
            own.all(|one| known.member(one, &host.id).is_some_and(|one| one.serves))
        };
        Ok(names(hosts.iter().filter(serves)))
    }

    fn out(&self, hosts: &[Host]) -> BTreeSet<String> {
        let known = self.known();
        // In one that is not on the list it may be still.
        let is_out_of = |name: &String, host: &Host| {
            let backend = self.list.iter().find(|one| B::name_of(one) == name);
            let member = |backend| known.member(backend, &host.id);
            backend.is_some_and(|backend| !member(backend).is_some_and(|one| one.stays))
        };
        let is_out = |host: &&Host| {
            let claims = known.claims.get(&host.id);
            let claims = claims.filter(|claims| !claims.is_empty() && known.look.is_some());
            claims.is_some_and(|claims| claims.iter().all(|name| is_out_of(name, host)))
        };
        names(hosts.iter().filter(is_out))
    }

    async fn leave(&self, hosts: &[Host]) -> Result<(), CloudError> {
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        {
            let known = self.known();
            let staying = hosts.iter().map(|host| &host.id);
            for host in staying.filter(|id| !known.leaving.contains_key(*id)) {
                let of_shape = self.list.iter().map(|one| B::name_of(one));
                let claimed = known.claims.get(host).into_iter().flatten();
                let all: BTreeSet<&str> = of_shape.chain(claimed.map(String::as_str)).collect();
                for name in all {
                    let ids = by_name.entry(name.to_owned()).or_default();
                    ids.push(host.clone());
                }
            }
        }
        let backends = self.of_names(&by_name.keys().cloned().collect()).await?;
        if backends.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.look_since(now.checked_sub(RECENT).unwrap_or(now))
            .await?;
        let mut leaving: HashMap<String, Leaving> = HashMap::new();
        for backend in backends {
            let ids = by_name.remove(B::name_of(&backend)).unwrap_or_default();
            let delay = self.delay(&backend).await?;
            self.take_all_out(&backend, &ids).await?;
            let since = Instant::now();
            let known = self.known();
            for id in ids {
                let member = known.member(&backend, &id);
                let had_traffic = member.is_some_and(|member| member.had_traffic);
                let leaving = leaving.entry(id).or_insert(Leaving {
                    since,
                    until: since,
                    from: Vec::new(),
                });
                leaving.since = since;
                leaving.until = leaving.until.max(since + delay + PATIENCE);
                if had_traffic {
                    leaving.from.push(backend.clone());
                }
            }
        }
        self.known().leaving.extend(leaving);
        Ok(())
    }

    async fn left(&self, host: &Host) -> Result<(), CloudError> {
        let leaving = self.known().leaving.get(&host.id).cloned();
        let Some(leaving) = leaving.filter(|leaving| !leaving.from.is_empty()) else {
            return Ok(());
        };
        let mut pause = FIRST_POLL;
        loop {
            let now = Instant::now();
            let is_over = now >= leaving.until;
            let recent = now.checked_sub(pause).unwrap_or(now);
            match self.look_since(recent.max(leaving.since)).await {
                Ok(()) => {
                    let known = self.known();
                    let member = |backend| known.member(backend, &host.id);
                    let mut from = leaving.from.iter();
                    if from.all(|backend| member(backend).is_none_or(|one| one.is_unused)) {
                        return Ok(());
                    }
                }
                // Once its time is over, nobody waits for an answer either.
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            }
            // Its connections have had the time that the backend gives them.
            if is_over {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(POLL);
        }
    }
}

fn names<'a>(hosts: impl Iterator<Item = &'a Host>) -> BTreeSet<String> {
    hosts.map(|host| host.name.clone()).collect()
}

/// How [`Machine::observed`] says that a machine is entered.
const ENTERED: &str = "registered";
/// A wait begins with shorter pauses, which grow to the longest.
const FIRST_POLL: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(5);
/// A look that is not older says whether a machine has traffic.
const RECENT: Duration = Duration::from_secs(1);
/// How much longer than its delay a backend may show a machine as finishing.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker_group::cloud::{Kind, Mark};

    /// Backends `pool/<name>`; a machine that is taken out finishes when the test says so.
    #[derive(Default)]
    struct Fake {
        members: Mutex<HashMap<String, HashMap<String, Member>>>,
        is_silent: Mutex<bool>,
        calls: Mutex<Vec<String>>,
    }

    fn member(serves: bool, stays: bool, is_unused: bool) -> Member {
        Member {
            serves,
            stays,
            had_traffic: serves || !stays,
            is_unused,
            words: "not well".to_owned(),
        }
    }

    impl Fake {
        fn has(&self, backend: &str, id: &str, member: Member) {
            let mut members = self.members.lock().unwrap();
            let members = members.entry(backend.to_owned()).or_default();
            members.insert(id.to_owned(), member);
        }

        fn called(&self, call: &str, backend: &str, ids: &[String]) {
            let call = format!("{call} {backend} {}", ids.join(","));
            self.calls.lock().unwrap().push(call);
        }
    }

    #[async_trait]
    impl Backends for Fake {
        const FIELD: &'static str = "pools";
        const AT_ONCE: usize = 2;

        fn name_of(backend: &str) -> &str {
            backend.trim_start_matches("pool/")
        }

        fn fresh(_: &str) -> Member {
            member(false, true, false)
        }

        async fn members(&self, backend: &str) -> Result<HashMap<String, Member>, CloudError> {
            if *self.is_silent.lock().unwrap() {
                let kind = Kind::Unavailable;
                return Err(CloudError::new(kind, "Look", backend, "nothing"));
            }
            let members = self.members.lock().unwrap();
            Ok(members.get(backend).cloned().unwrap_or_default())
        }

        async fn enter(&self, backend: &str, ids: &[String]) -> Result<(), CloudError> {
            self.called("enter", backend, ids);
            for id in ids {
                self.has(backend, id, member(true, true, false));
            }
            Ok(())
        }

        async fn take_out(&self, backend: &str, ids: &[String]) -> Result<(), CloudError> {
            self.called("take out", backend, ids);
            for id in ids {
                self.has(backend, id, member(false, false, false));
            }
            Ok(())
        }

        async fn named(&self, names: &BTreeSet<String>) -> Result<Vec<String>, CloudError> {
            let there = names.iter().filter(|name| *name != "gone");
            Ok(there.map(|name| format!("pool/{name}")).collect())
        }

        async fn delay(&self, _: &str) -> Result<Duration, CloudError> {
            Ok(Duration::from_secs(300))
        }
    }

    fn traffic(list: &[&str]) -> Traffic<Fake> {
        let list = list.iter().map(|one| (*one).to_owned());
        Traffic::new(Fake::default(), list.collect())
    }

    fn texts(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn host(id: &str) -> Host {
        Host {
            name: format!("w-{id}"),
            id: id.to_owned(),
            addresses: Vec::new(),
            created: None,
        }
    }

    fn told(traffic: &Traffic<Fake>, id: &str, phase: Phase, claims: &[&str]) -> Machine {
        let mut machine = Machine {
            id: id.to_owned(),
            name: format!("w-{id}"),
            zone: String::new(),
            addresses: Vec::new(),
            image: String::new(),
            phase,
            message: None,
            mark: Mark::default(),
            created: None,
            observed: Looks::new(),
        };
        traffic.tell(&mut machine, texts(claims));
        machine
    }

    fn calls(traffic: &Traffic<Fake>) -> Vec<String> {
        std::mem::take(&mut *traffic.backends.calls.lock().unwrap())
    }

    #[tokio::test]
    async fn a_machine_shows_where_it_is_and_its_absence_counts_while_it_runs() {
        let traffic = traffic(&["pool/web"]);
        let shows = |id: &str, phase| {
            let machine = told(&traffic, id, phase, &["web"]);
            (machine.observed.len(), machine.message)
        };
        assert_eq!(
            shows("none", Phase::Running),
            (1, None),
            "nobody has looked"
        );
        let well = member(true, true, false);
        traffic.backends.has("pool/web", "well", well);
        traffic
            .backends
            .has("pool/web", "ill", member(false, true, false));
        traffic
            .backends
            .has("pool/web", "going", member(false, false, false));
        traffic.look().await.unwrap();
        let ill = Some("not well".to_owned());
        for (id, phase, expected) in [
            ("well", Phase::Running, (1, None)),
            ("ill", Phase::Running, (1, ill.clone())),
            ("going", Phase::Running, (0, ill)),
            ("none", Phase::Running, (0, None)),
            ("none", Phase::Pending, (1, None)),
        ] {
            assert_eq!(shows(id, phase), expected, "{id} {phase:?}");
        }
    }

    #[tokio::test]
    async fn those_that_belong_there_are_entered_some_at_a_time() {
        let traffic = traffic(&["pool/web"]);
        let ids = ["a", "b", "c", "adopted"];
        for id in ids {
            let claims: &[&str] = if id == "adopted" { &[] } else { &["web"] };
            told(&traffic, id, Phase::Running, claims);
        }
        let hosts = ids.map(host);
        traffic.look().await.unwrap();
        assert_eq!(traffic.enter(&hosts).await.unwrap(), texts(&["w-adopted"]));
        assert_eq!(calls(&traffic), ["enter pool/web a,b", "enter pool/web c"]);
        // They get traffic at the next look, and are not entered again meanwhile.
        assert_eq!(traffic.enter(&hosts).await.unwrap(), texts(&["w-adopted"]));
        traffic.look().await.unwrap();
        assert_eq!(traffic.enter(&hosts).await.unwrap().len(), 4);
        assert!(calls(&traffic).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_leaves_is_waited_for_until_it_is_out_or_its_time_is_over() {
        for (becomes_unused, falls_silent, longest) in
            [(true, false, 20), (false, false, 370), (false, true, 370)]
        {
            let traffic = traffic(&["pool/web"]);
            traffic
                .backends
                .has("pool/web", "a", member(true, true, false));
            traffic.look().await.unwrap();
            told(&traffic, "a", Phase::Running, &["web", "old", "gone"]);
            let hosts = [host("a")];
            assert!(traffic.out(&hosts).is_empty());
            traffic.leave(&hosts).await.unwrap();
            assert_eq!(
                calls(&traffic),
                ["take out pool/old a", "take out pool/web a"]
            );
            traffic.leave(&hosts).await.unwrap();
            assert!(calls(&traffic).is_empty(), "it is leaving already");
            let begun = Instant::now();
            let change = async {
                sleep(Duration::from_secs(10)).await;
                *traffic.backends.is_silent.lock().unwrap() = falls_silent;
                if becomes_unused {
                    traffic
                        .backends
                        .has("pool/web", "a", member(false, false, true));
                }
            };
            let (left, ()) = tokio::join!(traffic.left(&hosts[0]), change);
            left.unwrap();
            let waited = begun.elapsed().as_secs();
            assert!((10..=longest).contains(&waited), "{waited}");
            assert_eq!(becomes_unused, waited < 360, "{waited}");
        }
    }

    #[tokio::test]
    async fn machines_say_all_their_backends_while_they_are_moved() {
        let traffic = traffic(&["pool/new"]);
        let to = || ["pool/new".to_owned(), "pool/both".to_owned()];
        let claims = texts(&["old", "both", "gone"]);
        let transfer = Traffic::<Fake>::transfer(to(), claims);
        let names = transfer.meanwhile().unwrap().collect::<Vec<_>>();
        assert_eq!(names, ["both", "new", "gone", "old"]);
        let names = transfer.afterwards().unwrap().collect::<Vec<_>>();
        assert_eq!(names, ["both", "new"]);
        let all = vec!["a".to_owned(), "b".to_owned()];
        traffic
            .carry_out(&transfer, &all[..1], all.clone())
            .await
            .unwrap();
        let expected = [
            "enter pool/new a",
            "enter pool/both a",
            "take out pool/old a,b",
        ];
        assert_eq!(calls(&traffic), expected);
        let stays = Traffic::<Fake>::transfer(to(), texts(&["new"]));
        assert!(stays.meanwhile().is_some() && stays.afterwards().is_none());
        let nothing = Traffic::<Fake>::transfer([], []);
        assert!(nothing.meanwhile().is_none() && nothing.afterwards().is_none());
    }
}
