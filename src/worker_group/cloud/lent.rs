//! Addresses that a cloud lends to machines and that outlive them: taken when a machine runs,
//! handed from one that is gone to one that is new, given back when nobody has use for them.
//!
//! In: machines that show that they are to have one, and a [`Lender`]. Out: the same with their
//! addresses; one that cannot have its own has failed. An address carries its group's mark as a
//! text, from the call that takes it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Answered, CLUSTER, CloudError, GROUP, Kind, Machine, Mark, Phase, UID, all_of};

/// Who lends addresses. As few calls as the cloud allows.
#[async_trait]
pub trait Lender: Send + Sync {
    /// The field of the shape that asks for an address; a machine shows there where it has one
    /// from, or is to have one from.
    fn field(&self) -> &'static str;

    /// What users call one: `"floating IP"`.
    fn word(&self) -> &'static str;

    /// All whose text [`begins`] as those of this (cluster, group) do.
    async fn all(&self, of: Of<'_>) -> Answered<Vec<Lent>>;

    /// Takes an address for each machine, and answers by the machine's id.
    async fn take(&self, asked: Vec<Ask<'_>>) -> Vec<(String, Answered<Lent>)>;

    /// Gives one back; one that is gone is given back.
    async fn give_back(&self, lent: &Lent) -> Answered<()>;
}

/// A (cluster, group).
pub type Of<'a> = (&'a str, &'a str);

/// An address that is lent.
#[derive(Debug, Clone)]
pub struct Lent {
    /// The cloud's own id.
    pub id: String,
    /// `"203.0.113.9"`
    pub address: String,
    /// Id of the pool that it is from.
    pub pool: String,
    /// The mark of its group.
    pub text: String,
    /// Who has it.
    pub holder: Holder,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// It is free.
    Nobody,
    /// The machine of this id.
    Machine(String),
    /// Who has this address of its own, where the cloud does not say more.
    Address(String),
    /// No machine, or nobody knows which.
    Other,
}

/// What a machine is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The pool as the user names it, and as machines show it.
    pub named: String,
    /// Its id.
    pub pool: String,
    /// Ids of the machine's networks in the user's order: the first that can be reached from
    /// outside has the address.
    pub networks: Vec<String>,
}

/// An address to take.
pub struct Ask<'a> {
    /// Who is to have it.
    pub machine: &'a Machine,
    /// Where from.
    pub wish: &'a Wish,
    /// The mark of its group.
    pub text: String,
    /// One of the group's that is free; else a new one is taken.
    pub free: Option<Lent>,
}

impl Lent {
    fn serves(&self, machine: &Machine) -> bool {
        match &self.holder {
            Holder::Machine(id) => *id == machine.id,
            Holder::Address(address) => machine.addresses.contains(address),
            Holder::Nobody | Holder::Other => false,
        }
    }
}

/// How the text on an address of a (cluster, group) begins.
pub fn begins((cluster, group): Of<'_>) -> String {
    format!("{CLUSTER}={cluster} {GROUP}={group}")
}

fn text(of: Of<'_>, uid: &str) -> String {
    format!("{} {UID}={uid}", begins(of))
}

/// The uid in a text of this (cluster, group); `""` where an older release wrote it without; `None`
/// where it is none of theirs.
pub fn uid_of<'a>(text: &'a str, of: Of<'_>) -> Option<&'a str> {
    match text.strip_prefix(&begins(of))? {
        "" => Some(""),
        rest => rest.strip_prefix(' ')?.strip_prefix(UID)?.strip_prefix('='),
    }
}

/// What one operation knows of lent addresses.
#[derive(Default)]
pub struct Lending(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Machines that were made or changed here, or were still being built, and are to have one, by
    /// name: where the answer of a create is lost, nobody knows the id.
    wishes: BTreeMap<String, Wish>,
    /// What the group's shape wants; known once something is made or changed, for a refresh takes
    /// nothing.
    shape: Option<Wish>,
    /// Whether the group has a pool or had one: the lender is not asked otherwise.
    used: bool,
    /// Addresses that a listed machine had, by id, with the machine's uid: those of older releases
    /// do not say it themselves.
    seen: BTreeMap<String, String>,
}

/// The addresses of a (cluster, group).
struct Held<'a> {
    of: Of<'a>,
    all: Vec<Lent>,
    /// As [`Known::seen`].
    seen: BTreeMap<String, String>,
}

impl Held<'_> {
    /// That of a machine.
    fn of(&self, machine: &Machine) -> Option<&Lent> {
        self.all.iter().find(|lent| lent.serves(machine))
    }

    /// Whether it is free, and the group's of this uid: it says so, or it served such a machine.
    fn is_left(&self, lent: &Lent, uid: &str) -> bool {
        let is_of = uid_of(&lent.text, self.of) == Some(uid)
            || self.seen.get(&lent.id).is_some_and(|known| known == uid);
        is_of && lent.holder == Holder::Nobody
    }

    /// Takes an address for each machine: one of its group's that is free, else a new one. Answers
    /// the refusals by the machine's id.
    async fn take(
        &mut self,
        lender: &dyn Lender,
        lacking: &[(&Machine, &Wish)],
    ) -> BTreeMap<String, CloudError> {
        let mut asked = Vec::new();
        for (machine, wish) in lacking {
            let uid = &machine.mark.uid;
            let is_free = |lent: &Lent| lent.pool == wish.pool && self.is_left(lent, uid);
            let free = self.all.iter().position(is_free);
            asked.push(Ask {
                machine,
                wish,
                text: text(self.of, uid),
                free: free.map(|at| self.all.swap_remove(at)),
            });
        }
        let mut refused = BTreeMap::new();
        for (id, answer) in lender.take(asked).await {
            match answer {
                Ok(lent) => self.all.push(lent),
                Err(error) => refused.extend([(id, error)]),
            }
        }
        refused
    }
}

impl Lending {
    /// The group has a pool.
    pub fn used(&self) {
        self.known().used = true;
    }

    /// A machine of this name is to have an address: the next list that shows it running takes one.
    pub fn want(&self, name: &str, wish: Option<&Wish>) {
        let Some(wish) = wish else { return };
        let mut known = self.known();
        known.shape.get_or_insert_with(|| wish.clone());
        known.wishes.insert(name.to_owned(), wish.clone());
    }

    /// Adds addresses to listed machines, and takes those that are wanted: one call for the group,
    /// and those that change something.
    ///
    /// # Errors
    /// The lender does not say what there is. A refusal of one address is the message of its
    /// machine.
    pub async fn complete(
        &self,
        lender: &dyn Lender,
        of: Of<'_>,
        machines: &mut [Machine],
    ) -> Answered<()> {
        let field = lender.field();
        if !machines.iter().any(|machine| has_pool(machine, field)) {
            return Ok(());
        }
        self.want_later(field, machines);
        let mut held = self.held(lender, of, machines).await?;
        let wishes = self.known().wishes.clone();
        let lacking: Vec<(&Machine, &Wish)> = machines
            .iter()
            .filter(|machine| machine.phase == Phase::Running && held.of(machine).is_none())
            .filter_map(|machine| Some((machine, wishes.get(&machine.name)?)))
            .collect();
        let refused = held.take(lender, &lacking).await;
        let mut known = self.known();
        for machine in machines.iter_mut().filter(|one| has_pool(one, field)) {
            if let Some(lent) = held.of(machine) {
                // From here on one that somebody takes away is drift.
                known.wishes.remove(&machine.name);
                if !machine.addresses.contains(&lent.address) {
                    machine.addresses.push(lent.address.clone());
                }
                continue;
            }
            // Before it runs nothing can be reached that would have one: that is no drift.
            if machine.phase != Phase::Running {
                continue;
            }
            machine.observed.insert(field.to_owned(), String::new());
            if wishes.contains_key(&machine.name) {
                match refused.get(&machine.id) {
                    Some(error) if !is_passing(error) => {
                        machine.phase = Phase::Failed;
                        machine.message = Some(format!("no {}: {error}", lender.word()));
                    }
                    _ => machine.phase = Phase::Pending,
                }
            }
        }
        Ok(())
    }

    /// What an earlier apply began is still being built: its address is taken like those of the
    /// machines made here.
    fn want_later(&self, field: &str, machines: &[Machine]) {
        let mut known = self.known();
        let Some(shape) = known.shape.clone() else {
            return;
        };
        let built = machines.iter().filter(|one| one.phase == Phase::Pending);
        for machine in built.filter(|one| one.observed.get(field) == Some(&shape.named)) {
            let wish = known.wishes.entry(machine.name.clone());
            wish.or_insert_with(|| shape.clone());
        }
    }

    /// Gives machines an address of this pool, or none; those that do not run yet get it from the
    /// list that shows them running.
    ///
    /// # Errors
    /// The first refusal; what could be done was done.
    pub async fn change(
        &self,
        lender: &dyn Lender,
        mark: &Mark,
        machines: &[Machine],
        wish: Option<&Wish>,
    ) -> Answered<()> {
        let field = lender.field();
        if wish.is_none() && !machines.iter().any(|machine| has_pool(machine, field)) {
            return Ok(());
        }
        let of = (&*mark.cluster, &*mark.group);
        let mut held = self.held(lender, of, &[]).await?;
        let is_right = |lent: &Lent| wish.is_some_and(|wish| lent.pool == wish.pool);
        let serves_one = |lent: &Lent| machines.iter().any(|machine| lent.serves(machine));
        let wrong = held
            .all
            .extract_if(.., |one| serves_one(one) && !is_right(one));
        let wrong: Vec<Lent> = wrong.collect();
        all_of(wrong.iter().map(|one| lender.give_back(one)).collect()).await?;
        let Some(wish) = wish else {
            return Ok(());
        };
        let is_pending = |machine: &&Machine| machine.phase == Phase::Pending;
        for machine in machines.iter().filter(is_pending) {
            self.want(&machine.name, Some(wish));
        }
        let lacking: Vec<(&Machine, &Wish)> = machines
            .iter()
            .filter(|machine| !matches!(machine.phase, Phase::Pending | Phase::Deleting))
            .filter(|machine| held.of(machine).is_none())
            .map(|machine| (machine, wish))
            .collect();
        let refused = held.take(lender, &lacking).await;
        refused.into_values().next().map_or(Ok(()), Err)
    }

    /// Gives back addresses of this uid whose machines are gone.
    ///
    /// # Errors
    /// The lender does not say what there is, or does not take one back.
    pub async fn sweep(&self, lender: &dyn Lender, mark: &Mark) -> Answered<()> {
        if !self.known().used {
            return Ok(());
        }
        let of = (&*mark.cluster, &*mark.group);
        let held = self.held(lender, of, &[]).await?;
        let left = held.all.iter().filter(|one| held.is_left(one, &mark.uid));
        all_of(left.map(|one| lender.give_back(one)).collect()).await
    }

    /// The addresses of a group; remembers whose machines they serve.
    async fn held<'a>(
        &self,
        lender: &dyn Lender,
        of: Of<'a>,
        machines: &[Machine],
    ) -> Answered<Held<'a>> {
        self.used();
        let all = lender.all(of).await?;
        let mut known = self.known();
        for lent in &all {
            if let Some(machine) = machines.iter().find(|machine| lent.serves(machine)) {
                let uid = machine.mark.uid.clone();
                known.seen.insert(lent.id.clone(), uid);
            }
        }
        let seen = known.seen.clone();
        Ok(Held { of, all, seen })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a machine shows that it has an address, or is to have one.
fn has_pool(machine: &Machine, field: &str) -> bool {
    let pool = machine.observed.get(field);
    pool.is_some_and(|pool| !pool.is_empty())
}

/// Whether the next list may take what this one could not.
fn is_passing(error: &CloudError) -> bool {
    error.is_retryable() || error.kind == Kind::Unauthenticated
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pools; one address of `small` is all that there is.
    #[derive(Default)]
    struct Fake {
        lent: Mutex<Vec<Lent>>,
        refuses: Option<Kind>,
    }

    const OF: Of<'static> = ("prod", "web");

    #[async_trait]
    impl Lender for Fake {
        fn field(&self) -> &'static str {
            "pool"
        }

        fn word(&self) -> &'static str {
            "address"
        }

        async fn all(&self, of: Of<'_>) -> Answered<Vec<Lent>> {
            let all = self.lent.lock().unwrap().clone().into_iter();
            Ok(all.filter(|one| uid_of(&one.text, of).is_some()).collect())
        }

        async fn take(&self, asked: Vec<Ask<'_>>) -> Vec<(String, Answered<Lent>)> {
            let one = |ask: Ask<'_>| {
                let id = ask.machine.id.clone();
                if let Some(kind) = self.refuses {
                    return (id.clone(), Err(CloudError::new(kind, "Take", id, "no")));
                }
                let mut all = self.lent.lock().unwrap();
                let number = all.len();
                let lent = ask.free.unwrap_or_else(|| Lent {
                    id: format!("a{number}"),
                    address: format!("203.0.113.{number}"),
                    pool: ask.wish.pool.clone(),
                    text: ask.text,
                    holder: Holder::Nobody,
                });
                let holder = Holder::Machine(id.clone());
                let lent = Lent { holder, ..lent };
                all.retain(|known| known.id != lent.id);
                all.push(lent.clone());
                (id, Ok(lent))
            };
            asked.into_iter().map(one).collect()
        }

        async fn give_back(&self, lent: &Lent) -> Answered<()> {
            self.lent.lock().unwrap().retain(|one| one.id != lent.id);
            Ok(())
        }
    }

    fn machine(id: &str, phase: Phase) -> Machine {
        let mark = Mark {
            cluster: "prod".to_owned(),
            group: "web".to_owned(),
            uid: "k3x9".to_owned(),
            ..Mark::default()
        };
        let spec = super::super::Spec::trial(&mark, "image");
        Machine {
            name: format!("w-{id}"),
            addresses: vec![format!("10.0.0.{id}")],
            phase,
            observed: [("pool".to_owned(), "public".to_owned())].into(),
            ..Machine::asked_for(&spec, id)
        }
    }

    fn wish() -> Wish {
        Wish {
            named: "public".to_owned(),
            pool: "p".to_owned(),
            networks: Vec::new(),
        }
    }

    fn lent(id: &str, text: String, holder: Holder) -> Lent {
        Lent {
            id: id.to_owned(),
            address: format!("203.0.113.{id}"),
            pool: "p".to_owned(),
            text,
            holder,
        }
    }

    #[test]
    fn an_address_is_of_the_group_whose_uid_it_says_or_whose_machine_had_it() {
        let old = begins(OF);
        for (text, uid) in [
            (old.clone(), Some("")),
            (text(OF, "k3x9"), Some("k3x9")),
            (format!("{old}2 flatcar-uid=k3x9"), None),
            (format!("{old} of mine"), None),
            ("mine".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(uid_of(&text, OF), uid, "{text}");
        }
        let held = Held {
            of: OF,
            all: Vec::new(),
            seen: BTreeMap::from([("f1".to_owned(), "k3x9".to_owned())]),
        };
        for (id, text, is_ours) in [
            ("f1", old.clone(), true),
            ("f2", old.clone(), false),
            ("f2", text(OF, "k3x9"), true),
            ("f2", text(OF, "b7q2"), false),
        ] {
            let one = lent(id, text, Holder::Nobody);
            assert_eq!(held.is_left(&one, "k3x9"), is_ours, "{one:?}");
            let holder = Holder::Other;
            assert!(!held.is_left(&Lent { holder, ..one }, "k3x9"));
        }
    }

    #[test]
    fn an_address_serves_the_machine_that_has_it() {
        let one = machine("1", Phase::Running);
        for (holder, serves) in [
            (Holder::Machine("1".to_owned()), true),
            (Holder::Machine("2".to_owned()), false),
            (Holder::Address("10.0.0.1".to_owned()), true),
            (Holder::Address("10.0.0.2".to_owned()), false),
            (Holder::Nobody, false),
            (Holder::Other, false),
        ] {
            let lent = lent("f", String::new(), holder.clone());
            assert_eq!(lent.serves(&one), serves, "{holder:?}");
        }
    }

    #[tokio::test]
    async fn a_machine_has_its_address_once_it_runs_and_its_successor_takes_it_over() {
        let (lender, lending) = (Fake::default(), Lending::default());
        lending.want("w-1", Some(&wish()));
        for (phase, address) in [
            (Phase::Pending, None),
            (Phase::Running, Some("203.0.113.0")),
        ] {
            let mut machines = [machine("1", phase)];
            lending.complete(&lender, OF, &mut machines).await.unwrap();
            assert_eq!(machines[0].phase, phase);
            assert_eq!(machines[0].addresses.get(1).map(String::as_str), address);
        }
        lender.lent.lock().unwrap()[0].holder = Holder::Nobody;
        // What is still being built, whoever made it, takes its address when it runs.
        for phase in [Phase::Pending, Phase::Running] {
            let mut machines = [machine("2", phase)];
            lending.complete(&lender, OF, &mut machines).await.unwrap();
            assert_eq!(machines[0].addresses.len() == 2, phase == Phase::Running);
        }
        assert_eq!(lender.lent.lock().unwrap().len(), 1);
        let mark = machine("2", Phase::Running).mark;
        lending.sweep(&lender, &mark).await.unwrap();
        assert_eq!(lender.lent.lock().unwrap().len(), 1, "it is in use");
        lender.lent.lock().unwrap()[0].holder = Holder::Nobody;
        lending.sweep(&lender, &mark).await.unwrap();
        assert!(lender.lent.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_cannot_have_an_address_has_failed_and_who_may_have_it_later_is_pending() {
        for (refuses, is_wanted, phase) in [
            (Some(Kind::Quota), true, Phase::Failed),
            (Some(Kind::Unavailable), true, Phase::Pending),
            (Some(Kind::Unauthenticated), true, Phase::Pending),
            // A refresh takes nothing: that it has none is drift.
            (None, false, Phase::Running),
        ] {
            let lender = Fake {
                refuses,
                ..Fake::default()
            };
            let lending = Lending::default();
            lending.want("w-1", is_wanted.then(wish).as_ref());
            let mut machines = [machine("1", Phase::Running)];
            lending.complete(&lender, OF, &mut machines).await.unwrap();
            let shown = machines[0].observed["pool"].as_str();
            assert_eq!((machines[0].phase, shown), (phase, ""), "{refuses:?}");
        }
    }

    #[tokio::test]
    async fn a_change_gives_back_what_is_wrong_and_takes_what_is_right() {
        let holder = || Holder::Machine("1".to_owned());
        let other = Wish {
            pool: "q".to_owned(),
            ..wish()
        };
        for (wish, pools) in [
            (Some(&wish()), vec!["p"]),
            (Some(&other), vec!["q"]),
            (None, vec![]),
        ] {
            let (lender, lending) = (Fake::default(), Lending::default());
            let had = lent("9", text(OF, "k3x9"), holder());
            lender.lent.lock().unwrap().push(had);
            let machines = [machine("1", Phase::Running), machine("2", Phase::Pending)];
            let change = lending.change(&lender, &machines[0].mark, &machines, wish);
            change.await.unwrap();
            let lent = lender.lent.lock().unwrap();
            let found: Vec<&str> = lent.iter().map(|one| one.pool.as_str()).collect();
            assert_eq!(found, pools);
        }
    }
}
