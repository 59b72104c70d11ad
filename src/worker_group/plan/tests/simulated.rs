//! Groups of any size, through events of any order: what holds for every plan.

use super::*;

/// What the environment and the user do between two moments of an apply.
#[derive(Debug, Clone)]
enum Event {
    /// The n-th starting machine comes up.
    Ready(usize),
    /// The n-th starting machine never will.
    Fails(usize),
    /// The n-th machine vanishes.
    Lost(usize),
    /// The n-th machine stops.
    Stops(usize),
    /// The n-th deletion is through.
    Deleted(usize),
    /// The next call fails and changes nothing.
    CallFails,
    /// The user wants another number of another version: a new plan.
    Wants(usize, u8),
    /// A new apply of the same configuration: a new plan.
    Again,
}

fn event() -> impl Strategy<Value = Event> {
    let any = 0..20_usize;
    prop_oneof![
        6 => any.clone().prop_map(Event::Ready),
        1 => any.clone().prop_map(Event::Fails),
        1 => any.clone().prop_map(Event::Lost),
        1 => any.clone().prop_map(Event::Stops),
        4 => any.prop_map(Event::Deleted),
        2 => Just(Event::CallFails),
        1 => (0..12_usize, 1..4_u8).prop_map(|(replicas, version)| Event::Wants(replicas, version)),
        1 => Just(Event::Again),
    ]
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![
        (0..4_usize).prop_map(Share::Count),
        (0..=100_usize).prop_map(Share::Percent),
    ]
}

#[derive(Debug, Clone)]
struct Sim {
    machines: Vec<(Member, Readiness)>,
    replicas: usize,
    version: u8,
    next_ordinal: u64,
    shares: (Share, Share, bool),
    to_create: Vec<String>,
    to_delete: BTreeSet<String>,
    /// Deletes that were begun since the last plan.
    deleted: BTreeSet<String>,
}

impl Sim {
    fn limits(&self) -> Limits {
        Limits::new(self.replicas, self.shares.0, self.shares.1, self.shares.2)
    }

    fn observed(&self) -> Vec<Member> {
        let health = |state: &Readiness| match state {
            Readiness::Starting | Readiness::Ready => Health::Good,
            Readiness::Broken => Health::Broken("stopped".to_owned()),
            Readiness::Leaving => Health::Leaving,
        };
        self.machines
            .iter()
            .map(|(member, state)| Member {
                health: health(state),
                ..member.clone()
            })
            .collect()
    }

    fn changes(&self) -> Changes {
        let none = BTreeSet::new();
        changes(
            &Desired {
                prefix: "w-u-",
                replicas: self.replicas,
                generation: &generation(&self.version.to_string()),
                rolls: ROLLS,
                remove_first: &none,
                replace: &none,
                next_ordinal: self.next_ordinal,
                deletable: None,
                in_place: &[],
                reason: &|_, _| "user_data changed".to_owned(),
            },
            &self.observed(),
        )
    }

    fn plan(&mut self) {
        let changes = self.changes();
        self.to_create = changes.names(Action::Create).map(str::to_owned).collect();
        self.to_create.reverse();
        self.to_delete = changes.names(Action::Delete).map(str::to_owned).collect();
        self.deleted.clear();
    }

    /// One round of what may begin, with the promises checked after every single step.
    fn begin(&mut self, mut call_fails: bool) -> usize {
        let limits = self.limits();
        let current = generation(&self.version.to_string());
        let slots: Vec<Slot> = self
            .machines
            .iter()
            .map(|(member, state)| Slot {
                state: *state,
                leaves: self.to_delete.contains(&member.name),
                current: member.generation == current,
            })
            .collect();
        let steps = steps(&limits, &slots);
        let begun = steps.delete.len() + steps.create;
        for index in steps.delete {
            if std::mem::take(&mut call_fails) {
                continue;
            }
            let ready_before = self.ready();
            let (member, state) = &mut self.machines[index];
            assert!(
                self.to_delete.contains(&member.name),
                "deletes more than planned"
            );
            assert!(*state != Readiness::Leaving, "deletes twice");
            let was_ready = *state == Readiness::Ready;
            *state = Readiness::Leaving;
            self.deleted.insert(member.name.clone());
            if was_ready {
                let floor = limits.replicas.saturating_sub(limits.unavailable);
                assert!(ready_before > floor, "goes below availability");
            }
        }
        for _ in 0..steps.create {
            if std::mem::take(&mut call_fails) {
                continue;
            }
            let name = self.to_create.pop().unwrap_or_else(|| {
                let name = format!("w-u-{}", self.next_ordinal);
                name
            });
            let used = ordinal(&name).unwrap();
            self.next_ordinal = self.next_ordinal.max(used + 1);
            let member = Member {
                name,
                generation: current.clone(),
                ..members("0").remove(0)
            };
            assert!(
                self.machines
                    .iter()
                    .all(|(other, _)| other.name != member.name)
            );
            self.machines.push((member, Readiness::Starting));
            assert!(
                self.machines.len() <= limits.replicas + limits.surge,
                "exceeds surge"
            );
        }
        begun
    }

    fn ready(&self) -> usize {
        let ready = |(_, state): &&(Member, Readiness)| *state == Readiness::Ready;
        self.machines.iter().filter(ready).count()
    }

    fn nth(&self, n: usize, state: Readiness) -> Option<usize> {
        let of: Vec<usize> = (0..self.machines.len())
            .filter(|index| self.machines[*index].1 == state)
            .collect();
        (!of.is_empty()).then(|| of[n % of.len()])
    }

    fn happens(&mut self, event: &Event) {
        let set = |sim: &mut Self, index: Option<usize>, state| {
            if let Some(index) = index {
                sim.machines[index].1 = state;
            }
        };
        match event {
            Event::Ready(n) => set(self, self.nth(*n, Readiness::Starting), Readiness::Ready),
            Event::Fails(n) => set(self, self.nth(*n, Readiness::Starting), Readiness::Broken),
            Event::Stops(n) => set(self, self.nth(*n, Readiness::Ready), Readiness::Broken),
            Event::Lost(n) if !self.machines.is_empty() => {
                self.machines.remove(n % self.machines.len());
            }
            Event::Deleted(n) => {
                if let Some(index) = self.nth(*n, Readiness::Leaving) {
                    self.machines.remove(index);
                }
            }
            Event::Wants(replicas, version) => {
                self.replicas = *replicas;
                self.version = *version;
                self.plan();
            }
            Event::Again => self.plan(),
            Event::Lost(_) | Event::CallFails => {}
        }
    }

    /// Applies of one configuration in an environment that does as it is told.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.plan();
            loop {
                let begun = self.begin(false);
                let before = self.machines.len();
                self.machines
                    .retain(|(_, state)| *state != Readiness::Leaving);
                let mut moved = before - self.machines.len();
                for (_, state) in &mut self.machines {
                    if *state == Readiness::Starting {
                        *state = Readiness::Ready;
                        moved += 1;
                    }
                }
                if begun + moved == 0 {
                    break;
                }
            }
            if self.changes().list.is_empty() {
                return;
            }
        }
        panic!("does not end: {self:?}");
    }
}

fn sim() -> impl Strategy<Value = Sim> {
    let machine = (0..4_u8, 1..4_u8);
    (
        prop::collection::vec(machine, 0..10),
        0..12_usize,
        (share(), share(), any::<bool>()),
    )
        .prop_map(|(machines, replicas, shares)| {
            let machines: Vec<(Member, Readiness)> = machines
                .into_iter()
                .enumerate()
                .map(|(ordinal, (state, version))| {
                    let member = Member {
                        name: format!("w-u-{ordinal}"),
                        generation: generation(&version.to_string()),
                        ..members("0").remove(0)
                    };
                    let states = [
                        Readiness::Ready,
                        Readiness::Ready,
                        Readiness::Broken,
                        Readiness::Starting,
                    ];
                    (member, states[usize::from(state)])
                })
                .collect();
            Sim {
                next_ordinal: machines.len() as u64,
                machines,
                replicas,
                version: 2,
                shares,
                to_create: Vec::new(),
                to_delete: BTreeSet::new(),
                deleted: BTreeSet::new(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_environment_steps_keep_the_promises_and_end_in_the_desired_state(
        mut sim in sim(),
        events in prop::collection::vec(event(), 0..80),
    ) {
        sim.plan();
        for event in &events {
            sim.begin(matches!(event, Event::CallFails));
            sim.happens(event);
        }
        sim.settle();
        let current = generation(&sim.version.to_string());
        prop_assert_eq!(sim.machines.len(), sim.replicas);
        for (member, state) in &sim.machines {
            prop_assert_eq!(&member.generation, &current);
            prop_assert_eq!(*state, Readiness::Ready);
        }
        let settled = sim.clone();
        sim.settle();
        prop_assert_eq!(settled.machines, sim.machines, "doing it twice changes something");
    }

    #[test]
    fn an_undisturbed_apply_does_exactly_what_the_plan_said(mut sim in sim()) {
        let before: BTreeSet<String> = sim.machines.iter().map(|(m, _)| m.name.clone()).collect();
        // A machine that is still on its way may not be waited for by a plan.
        let planned = sim.changes();
        sim.settle();
        let after: BTreeSet<String> = sim.machines.iter().map(|(m, _)| m.name.clone()).collect();
        let created: BTreeSet<String> = planned.names(Action::Create).map(str::to_owned).collect();
        let deleted: BTreeSet<String> = planned.names(Action::Delete).map(str::to_owned).collect();
        let expected: BTreeSet<String> = before.union(&created).filter(|n| !deleted.contains(*n)).cloned().collect();
        prop_assert_eq!(after, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_a_plan_is_that_of_an_apply_to_which_nothing_happens(mut sim in sim()) {
        for (_, state) in &mut sim.machines {
            if *state == Readiness::Starting {
                *state = Readiness::Ready;
            }
        }
        let mut changes = sim.changes();
        let all: BTreeSet<String> = changes.list.iter().map(|change| change.machine.clone()).collect();
        let current = generation(&sim.version.to_string());
        in_order(&mut changes, &sim.limits(), usize::MAX, &current, &sim.observed());
        let listed: Vec<String> = changes.list.iter().map(|change| change.machine.clone()).collect();
        prop_assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), all, "none is lost");
        prop_assert_eq!(listed.len(), changes.list.len());
        // The same, one round after the other, over machines in the order in which they go.
        sim.machines.sort_by_key(|(member, _)| listed.iter().position(|name| *name == member.name));
        sim.plan();
        let mut begun: Vec<BTreeSet<String>> = Vec::new();
        loop {
            let names = |sim: &Sim| sim.machines.iter().map(|(m, _)| m.name.clone()).collect::<BTreeSet<_>>();
            let before = names(&sim);
            let deleted = sim.deleted.clone();
            sim.begin(false);
            let mut round: BTreeSet<String> = names(&sim).difference(&before).cloned().collect();
            round.extend(sim.deleted.difference(&deleted).cloned());
            let going = sim.machines.len();
            sim.machines.retain(|(_, state)| *state != Readiness::Leaving);
            for (_, state) in &mut sim.machines {
                if *state == Readiness::Starting {
                    *state = Readiness::Ready;
                }
            }
            if round.is_empty() && going == sim.machines.len() {
                break;
            }
            begun.push(round);
        }
        let mut rest = listed.as_slice();
        for round in begun {
            let (now, later) = rest.split_at(round.len());
            prop_assert_eq!(now.iter().cloned().collect::<BTreeSet<_>>(), round, "{:?}", listed);
            rest = later;
        }
        prop_assert_eq!(rest.len(), 0);
    }
}
