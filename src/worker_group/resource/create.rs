//! The creation of a group: what earlier creations left behind, what belongs to other states, and
//! what falls short.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::kubernetes::Destroys;
use crate::provider::{Attr, Context, Diagnostics, Outcome, Severity, Stored, Value};
use crate::worker_group::apply::{self, Assessment, Before, Job, Performed};
use crate::worker_group::basis::Basis;
use crate::worker_group::cloud::{Machine, Mark, Phase};
use crate::worker_group::generation::Generation;
use crate::worker_group::model::{CREATE_TIMEOUT, Group, Private, Whole, timeout, timeout_text};
use crate::worker_group::plan::{Changes, Member};
use crate::worker_group::proof::is_name_of;
use crate::worker_group::roll::{Calls, Known, Leftovers, Problem, take_twins};
use crate::worker_group::wanted::Wanted;

use super::connected::{ConnectedGroup, clear_unsaved, ids, within, without};
use super::holders::{Decided, Foreign, on_existing};
use super::report::{paused_creation, shortfall, taken_over, warnings};
use super::{WorkerGroup, diagnostic, errors, live_member, recorded, user_data_of};

/// One creation, and what it works with.
struct Creation<'a> {
    context: &'a Context,
    config: &'a Group,
    wanted: &'a Wanted,
    private: &'a Private,
    uid: &'a str,
    started: SystemTime,
    deadline: Instant,
}

/// Machines of the group's name that exist already.
struct Found {
    /// Left by a create of this state and configuration that never returned, and of use.
    leftovers: Vec<Machine>,
    /// Left by it, and of none.
    useless: Vec<Machine>,
    /// Of others, and taken over because the user says so.
    adopted: Vec<Machine>,
    /// Of others, and left alone.
    left: Vec<Machine>,
}

impl WorkerGroup {
    /// Creates a group that no other block of this run creates.
    pub(super) async fn create_registered(
        &self,
        context: &Context,
        model: &mut Group,
        config: &Group,
        wanted: &Wanted,
        private: Private,
        uid: &str,
    ) -> Outcome<Stored<Group>> {
        let limit = timeout(&model.fields, |timeouts| &timeouts.create, CREATE_TIMEOUT);
        let creation = Creation {
            context,
            config,
            wanted,
            private: &private,
            uid,
            started: SystemTime::now(),
            deadline: Instant::now() + limit,
        };
        let mut problems = Diagnostics::none();
        match self.create_in_steps(&creation, model, &mut problems).await {
            Ok(value) => Outcome { value, problems },
            Err(more) => {
                problems.extend(more);
                Outcome::failed(problems)
            }
        }
    }

    /// The group as it is recorded; `None`: nothing exists, so nothing has to be.
    async fn create_in_steps(
        &self,
        creation: &Creation<'_>,
        model: &mut Group,
        problems: &mut Diagnostics,
    ) -> Result<Option<Stored<Group>>, Diagnostics> {
        let Creation {
            context,
            wanted,
            private,
            deadline,
            ..
        } = *creation;
        let place = self.place_of_new(creation, model).await?;
        let basis = Basis::of(wanted, None, private);
        model.fields.generation = Attr::Known(basis.generation.to_string());
        model.fields.rollout = Whole::Known(Vec::new());
        let found = self
            .found(creation, model, &place, &basis, problems)
            .await?;
        let mark = Mark {
            unsaved: true,
            ..place.mark(basis.generation.to_string())
        };
        let existing = found.taken_under(&mark);
        let assessment = assessment_of_new(creation, &found, &existing);
        let exist = existing.len();
        let asked = place.preflight(context, deadline, wanted, &assessment.changes, exist);
        problems.extend(asked.await);
        halted(problems)?;
        let cluster = self.cluster(context, model, deadline).await?;
        let calls = place.calls(context, deadline);
        found.take_over(&calls, &mark, wanted, problems).await?;

        let mut private = private.clone();
        private.history = assessment.history;
        private.shapes = assessment.shapes;
        let changes = assessment.changes;
        let performed = match wanted.paused {
            true => untouched(existing, &changes),
            false => {
                let job = Job {
                    wanted,
                    calls,
                    cluster: cluster.as_ref(),
                    destroys: Destroys::Machines,
                    mark,
                    secret: &private.secret,
                    user_data: &user_data_of(wanted, creation.config),
                    leftovers: Leftovers::TakeFrom(creation.started, wanted.rolls),
                    gives_way: says(&model.fields.on_existing) != Some("keep"),
                    ignored_ids: found.ignored_ids(),
                    vanished: Vec::new(),
                    max_failures: wanted.pace.max_failures.max(TOLERATED_IN_CREATE),
                    window_closes: None,
                    timeout: timeout_text(&model.fields, |of| &of.create, CREATE_TIMEOUT),
                };
                let performed = apply::perform(job, &changes, existing).await;
                // From here on it is only words that may fail.
                let now = (None, performed.clone());
                let now = recorded(model.clone(), private.clone(), &place, now, &changes);
                context.ledger.write(&now);
                performed
            }
        };
        // State is saved next. What is killed in between the next create reports, and none takes
        // over.
        let made = performed.machines.iter().map(|known| &known.machine);
        clear_unsaved(&calls, &place.mark(String::new()), made).await;
        problems.extend(said_of(creation, model, &found, &performed));
        // The next apply creates anew.
        if performed.machines.is_empty() && problems.has_errors() {
            return Ok(None);
        }
        let promised = model.fields.slots.keys();
        let performed = (None, performed);
        let mut value = recorded(model.clone(), private, &place, performed, &changes);
        within_plan(&mut value, &promised);
        Ok(Some(value))
    }

    /// Connects, and writes down where the group is.
    async fn place_of_new(
        &self,
        creation: &Creation<'_>,
        model: &mut Group,
    ) -> Result<ConnectedGroup, Diagnostics> {
        let (context, deadline) = (creation.context, creation.deadline);
        model.fields.uid = Attr::Known(creation.uid.to_owned());
        model.fields.cloud = Attr::Known(creation.wanted.entry.name.to_owned());
        model.fields.scope = Attr::Null;
        let place = self.place(context, model, deadline).await?;
        let scope = async {
            place.cloud.scope().await.map_err(|error| {
                diagnostic(&Problem::of("Could not ask the cloud where it is", &error)).into()
            })
        };
        model.fields.scope = Attr::Known(within(context, deadline, scope).await?);
        Ok(place)
    }

    /// Looks for machines of the group's name, and decides what becomes of them.
    async fn found(
        &self,
        creation: &Creation<'_>,
        model: &Group,
        place: &ConnectedGroup,
        basis: &Basis,
        problems: &mut Diagnostics,
    ) -> Result<Found, Diagnostics> {
        let (wanted, started) = (creation.wanted, creation.started);
        let calls = place.calls(creation.context, creation.deadline);
        let looks = place.observe(calls, model, creation.private, started);
        let others = looks.await?.others.into_iter();
        // What is left of a create of this state and configuration that never returned. Machines of
        // another origin may be somebody's whose create runs, and those of another generation serve
        // somebody.
        let origin = self.origin();
        let (mut leftovers, machines): (Vec<Machine>, Vec<Machine>) = others
            .filter(|machine| machine.phase != Phase::Deleting)
            .partition(|machine| {
                let of = Generation::parse(&machine.mark.generation);
                machine.mark.is_unfinished_of(origin)
                    && is_name_of(&machine.name, &wanted.name)
                    && basis
                        .translated(&of)
                        .serves(&basis.generation, wanted.rolls)
            });
        // Some clouds let nobody mark a machine that has failed, and of two of one name only one
        // can be taken over.
        let mut useless = take_twins(&mut leftovers);
        useless.extend(leftovers.extract_if(.., |machine| machine.phase == Phase::Failed));
        let foreign = Foreign {
            machines,
            name: &wanted.name,
            origin,
            in_state: self.uids_in_state(wanted),
            now: started,
        };
        let decided = on_existing(&model.fields.on_existing, foreign, problems);
        let Some(Decided { mut adopted, left }) = decided else {
            return Err(Diagnostics::none());
        };
        let is_taken = |name: &str| leftovers.iter().any(|machine| machine.name == name);
        adopted.retain(|machine| !is_taken(&machine.name));
        Ok(Found {
            leftovers,
            useless,
            adopted,
            left,
        })
    }
}

impl Found {
    /// Those that the group takes over.
    fn taken(&self) -> impl Iterator<Item = &Machine> {
        self.leftovers.iter().chain(&self.adopted)
    }

    /// As they are once they are taken over under this mark.
    fn taken_under(&self, mark: &Mark) -> Vec<Known> {
        let known = |machine: &Machine| Known {
            machine: Machine {
                mark: Mark {
                    generation: machine.mark.generation.clone(),
                    ..mark.clone()
                }
                .over(&machine.mark),
                ..machine.clone()
            },
            node: String::new(),
        };
        self.taken().map(known).collect()
    }

    /// Ids of those that no other step is to touch.
    fn ignored_ids(&self) -> BTreeSet<String> {
        let mut ignored_ids = ids(&self.useless);
        ignored_ids.extend(ids(&self.left));
        ignored_ids
    }

    /// Deletes what is of no use, unless the group is paused, and marks what is taken over.
    async fn take_over(
        &self,
        calls: &Calls<'_>,
        mark: &Mark,
        wanted: &Wanted,
        problems: &mut Diagnostics,
    ) -> Result<(), Diagnostics> {
        if !wanted.paused {
            problems.extend(without(calls, &self.useless).await);
        }
        halted(problems)?;
        let taken: Vec<Machine> = self.taken().cloned().collect();
        let marked = apply::remark(calls, mark, &taken, &Value::Null).await;
        marked.map_err(|error| {
            diagnostic(&Problem::of(
                "Could not take over existing machines",
                &error,
            ))
            .into()
        })
    }
}

/// Which machines are created, and which of those that are taken over go.
fn assessment_of_new(creation: &Creation<'_>, found: &Found, existing: &[Known]) -> Assessment {
    let (wanted, private) = (creation.wanted, creation.private);
    // What is adopted is left as it is: the next plan shows what would change. So is whatever runs
    // or is about to.
    let stopped = found.leftovers.iter();
    let stopped = stopped.filter(|machine| machine.phase == Phase::Stopped);
    let deletable = stopped.map(|machine| machine.name.clone()).collect();
    let members = existing.iter().map(|known| live_member(known, wanted));
    let members: Vec<Member> = members.collect();
    let before = Before {
        wanted: None,
        generation: None,
        private,
    };
    let assessment = apply::assessment(wanted, &before, creation.uid, &members, Some(&deletable));
    match wanted.paused {
        true => Assessment {
            changes: Changes {
                next_ordinal: private.next_ordinal,
                ..Changes::default()
            },
            ..assessment
        },
        false => assessment,
    }
}

/// Nothing was done, for the group is paused.
fn untouched(machines: Vec<Known>, changes: &Changes) -> Performed {
    Performed {
        adopted: Vec::new(),
        nodes_left: Vec::new(),
        next_ordinal: changes.next_ordinal,
        machines,
        problems: Vec::new(),
        warnings: Vec::new(),
        not_updated: BTreeSet::new(),
    }
}

/// What the user gets to know of what exists now: what was taken over, and what falls short.
fn said_of(
    creation: &Creation<'_>,
    model: &Group,
    found: &Found,
    performed: &Performed,
) -> Diagnostics {
    let wanted = creation.wanted;
    let prefix = apply::prefix(wanted, creation.uid);
    let mut said = Diagnostics::none();
    if says(&model.fields.on_existing) != Some("adopt") {
        let known: BTreeSet<&str> = found.taken().map(|machine| machine.name.as_str()).collect();
        // What a list showed only later, too.
        let later = performed.machines.iter().map(|known| &known.machine);
        let later = later.filter(|machine| {
            !machine.name.starts_with(&prefix) && !known.contains(machine.name.as_str())
        });
        let all: Vec<Machine> = found.taken().chain(later).cloned().collect();
        said.extend(taken_over(&all));
    }
    let exist = performed.machines.len();
    if wanted.paused {
        said.push(paused_creation(exist));
    }
    let policy = says(&model.fields.on_incomplete_create);
    let taints = exist > 0 && policy != Some("warn");
    let hint = shortfall(&performed.machines, wanted.replicas, taints);
    let mut fell_short = errors(&performed.problems, &hint, &prefix);
    if exist > 0 && !taints {
        for problem in &mut fell_short.0 {
            problem.severity = Severity::Warning;
        }
    }
    said.extend(fell_short);
    said.extend(warnings(&performed.warnings, &prefix));
    said
}

/// What the user says.
fn says(word: &Attr<String>) -> Option<&str> {
    word.known().map(String::as_str)
}

/// Whether one of them is an error: it ends the creation.
fn halted(problems: &mut Diagnostics) -> Result<(), Diagnostics> {
    match problems.has_errors() {
        true => Err(std::mem::take(problems)),
        false => Ok(()),
    }
}

/// A group that has taken over more machines than it should have gives the others their slots at
/// the next refresh: the plan had no more.
fn within_plan(value: &mut Stored<Group>, promised: &BTreeSet<String>) {
    if let Whole::Known(slots) = &mut value.model.fields.slots {
        slots.retain(|slot, _| promised.contains(slot));
    }
}

/// Eight letters and digits that are not mistaken for each other.
pub(super) fn new_uid() -> Option<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; 8];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut random).ok()?;
    let letters = random
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)));
    Some(letters.map(|letter| char::from(*letter)).collect())
}

/// A creation that fails taints the group: single machines are made again before it comes to that.
const TOLERATED_IN_CREATE: usize = 5;
