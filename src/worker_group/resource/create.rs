//! The creation of a group: what earlier creations left behind, what belongs to other states, and what falls short.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::provider::{Attr, Context, Diagnostic, Diagnostics, Outcome, Path, Severity, Stored};
use crate::worker_group::apply::{self, Before, Job, Performed};
use crate::worker_group::basis::Basis;
use crate::worker_group::cloud::{Machine, Mark, Phase};
use crate::worker_group::generation::Generation;
use crate::worker_group::model::{CREATE_TIMEOUT, Group, Private, Whole, timeout, timeout_text};
use crate::worker_group::plan::{Changes, Member};
use crate::worker_group::roll::{Known, Leftovers, Problem, take_twins};
use crate::worker_group::wanted::Wanted;

use super::place::{ids, within, without_twins};
use super::report::{count, is, names, paused_creation, shortfall, taken_over, was};
use super::{WorkerGroup, diagnostic, errors, live_member, recorded, user_data_of};

impl WorkerGroup {
    /// Remembers what this process creates: two blocks with one (cluster, name) would take each other's machines for leftovers.
    pub(super) fn register(&self, wanted: &Wanted, uid: &str) -> Result<(), Diagnostic> {
        let key = key(&wanted.cluster, &wanted.name, wanted.entry.name);
        match self.created().entry(key) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(uid.to_owned());
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(_) => Err(Diagnostic::error(
                "Two groups have one cluster and name",
                format!(
                    "This run has created a group {:?} of cluster {:?} already. Give each group a name of its own.",
                    wanted.name, wanted.cluster
                ),
            )
            .at(Path::of("name"))),
        }
    }

    /// The uid of the group of this name that this process has created.
    pub(super) fn uid_created(&self, cluster: &str, name: &str, cloud: &str) -> Option<String> {
        self.created().get(&key(cluster, name, cloud)).cloned()
    }

    /// Forgets it when it is gone.
    pub(super) fn unregister(&self, cluster: &str, name: &str, cloud: &str, uid: &str) {
        let key = key(cluster, name, cloud);
        let mut created = self.created();
        if created.get(&key).is_some_and(|known| known == uid) {
            created.remove(&key);
        }
    }

    pub(super) async fn create_registered(
        &self,
        context: &Context,
        model: &mut Group,
        config: &Group,
        wanted: &Wanted,
        private: Private,
        uid: &str,
    ) -> Outcome<Stored<Group>> {
        let started = SystemTime::now();
        let limit = timeout(&model.fields, |timeouts| &timeouts.create, CREATE_TIMEOUT);
        let deadline = Instant::now() + limit;
        model.fields.uid = Attr::Known(uid.to_owned());
        model.fields.cloud = Attr::Known(wanted.entry.name.to_owned());
        model.fields.scope = Attr::Null;
        let place = match self.place(context, model, deadline).await {
            Ok(place) => place,
            Err(problems) => return Outcome::failed(problems),
        };
        let scope = async {
            place.cloud.scope().await.map_err(|error| {
                diagnostic(&Problem::of("Could not ask the cloud where it is", &error)).into()
            })
        };
        match within(context, deadline, scope).await {
            Ok(scope) => model.fields.scope = Attr::Known(scope),
            Err(problems) => return Outcome::failed(problems),
        }
        let basis = Basis::of(wanted, None, &private);
        let generation = basis.generation.clone();
        model.fields.generation = Attr::Known(generation.to_string());
        model.fields.rollout = Whole::Known(Vec::new());

        let calls = place.calls(context, deadline);
        let others = match place.observe(calls, model, &private, started).await {
            Ok(observed) => observed.others,
            Err(problems) => return Outcome::failed(problems),
        };
        // What is left of a create of this configuration that never returned. Machines of another generation may run for somebody whose
        // state has not been refreshed since it made them.
        let others = others.into_iter();
        let (mut leftovers, foreign): (Vec<Machine>, Vec<Machine>) = others
            .filter(|machine| machine.phase != Phase::Deleting)
            .partition(|machine| {
                let of = Generation::parse(&machine.mark.generation);
                machine.mark.unsaved && basis.translated(&of).serves(&generation, wanted.rolls)
            });
        // Some clouds let nobody mark a machine that has failed, and of two of one name only one can be taken over.
        let mut useless = take_twins(&mut leftovers, &[]);
        useless.extend(leftovers.extract_if(.., |machine| machine.phase == Phase::Failed));
        let mut problems = Diagnostics::none();
        let adopted = match on_existing(&model.fields.on_existing, foreign, &mut problems) {
            Some(adopted) => adopted,
            None => return Outcome::failed(problems),
        };

        // What is adopted is left as it is: the next plan shows what would change. So is whatever runs or is about to.
        let deletable: BTreeSet<String> = leftovers
            .iter()
            .filter(|machine| machine.phase == Phase::Stopped)
            .map(|machine| machine.name.clone())
            .collect();
        let taken: Vec<Machine> = leftovers.into_iter().chain(adopted).collect();
        let mark = Mark {
            unsaved: true,
            ..place.mark(generation.to_string())
        };
        let known = |machine: &Machine| Known {
            machine: machine.clone(),
            node: String::new(),
        };
        let existing: Vec<Known> = taken.iter().map(known).collect();
        let members: Vec<Member> = existing
            .iter()
            .map(|known| live_member(known, wanted))
            .collect();
        let before = Before {
            wanted: None,
            generation: None,
            private: &private,
        };
        let outlook = apply::outlook(wanted, &before, uid, &members, Some(&deletable));
        let changes = match wanted.paused {
            true => Changes {
                next_ordinal: private.next_ordinal,
                ..Changes::default()
            },
            false => outlook.changes,
        };
        let takes_silently = model.fields.on_existing.known().map(String::as_str) == Some("adopt");
        problems.extend(
            place
                .preflight(context, deadline, wanted, &changes, existing.len())
                .await,
        );
        if problems.has_errors() {
            return Outcome::failed(problems);
        }
        if !wanted.paused {
            problems.extend(without_twins(&calls, &useless).await);
        }
        if problems.has_errors() {
            return Outcome::failed(problems);
        }
        if let Err(error) =
            apply::remark(&calls, &mark, &taken, &crate::protocol::value::Value::Null).await
        {
            let problem = Problem::of("Could not take over existing machines", &error);
            problems.push(diagnostic(&problem));
            return Outcome::failed(problems);
        }
        if wanted.paused {
            if !takes_silently {
                problems.extend(taken_over(&taken));
            }
            problems.push(paused_creation(existing.len()));
            let performed = Performed {
                next_ordinal: changes.next_ordinal,
                machines: existing,
                problems: Vec::new(),
                not_updated: BTreeSet::new(),
            };
            let private = Private {
                history: outlook.history,
                shapes: outlook.shapes,
                ..private
            };
            let promised = model.fields.slots.keys();
            let performed = (None, performed);
            let mut value = recorded(model.clone(), private, &place, performed, &changes);
            within_plan(&mut value, &promised);
            return Outcome {
                value: Some(value),
                problems,
            };
        }
        let job = Job {
            wanted,
            calls,
            nodes: self.nodes.as_ref(),
            mark,
            user_data: &user_data_of(wanted, config),
            leftovers: Leftovers::TakeFrom(started, wanted.rolls),
            aside: ids(&useless),
            max_failures: wanted.pace.max_failures.max(TOLERATED_IN_CREATE),
            timeout: timeout_text(&model.fields, |timeouts| &timeouts.create, CREATE_TIMEOUT),
        };
        let performed = apply::perform(job, &changes, existing).await;
        // From here on it is only words that may fail.
        context.ledger.write(&recorded(
            model.clone(),
            private.clone(),
            &place,
            (None, performed.clone()),
            &changes,
        ));
        let prefix = apply::prefix(wanted, uid);
        if !takes_silently {
            // What a list showed only later, too.
            let found: BTreeSet<&str> = taken.iter().map(|machine| machine.name.as_str()).collect();
            let later = performed.machines.iter().map(|known| &known.machine);
            let later = later.filter(|machine| {
                !machine.name.starts_with(&prefix) && !found.contains(machine.name.as_str())
            });
            let all: Vec<Machine> = taken.iter().chain(later).cloned().collect();
            problems.extend(taken_over(&all));
        }
        let private = Private {
            history: outlook.history,
            shapes: outlook.shapes,
            ..private
        };
        let exists = performed.machines.len();
        let policy = model.fields.on_incomplete_create.known();
        let taints = exists > 0 && policy.is_none_or(|word| word != "warn");
        let hint = shortfall(&performed.machines, wanted.replicas, taints);
        let mut fell_short = errors(&performed.problems, &hint, &prefix);
        if exists > 0 && !taints {
            for problem in &mut fell_short.0 {
                problem.severity = Severity::Warning;
            }
        }
        problems.extend(fell_short);
        // Nothing exists, so nothing has to be recorded: the next apply creates anew.
        if exists == 0 && problems.has_errors() {
            return Outcome::failed(problems);
        }
        let performed = (None, performed);
        let promised = model.fields.slots.keys();
        let mut value = recorded(model.clone(), private, &place, performed, &changes);
        within_plan(&mut value, &promised);
        Outcome {
            value: Some(value),
            problems,
        }
    }

    fn created(&self) -> std::sync::MutexGuard<'_, super::Created> {
        self.created
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A group that has taken over more machines than it should have gives the others their slots at the next refresh: the plan had no more.
fn within_plan(value: &mut Stored<Group>, promised: &BTreeSet<String>) {
    if let Whole::Known(slots) = &mut value.model.fields.slots {
        slots.retain(|slot, _| promised.contains(slot));
    }
}

/// What to do about machines that are, or may be, somebody else's; those that are adopted, or `None`: stop.
fn on_existing(
    policy: &Attr<String>,
    foreign: Vec<Machine>,
    problems: &mut Diagnostics,
) -> Option<Vec<Machine>> {
    let policy = policy.known().map(String::as_str);
    if policy == Some("adopt") {
        return Some(foreign);
    }
    let (unsaved, saved): (Vec<Machine>, Vec<Machine>) = foreign
        .into_iter()
        .partition(|machine| machine.mark.unsaved);
    let kept = policy == Some("keep");
    if !saved.is_empty() {
        let whose = format!(
            "{} of this cluster and name {} held by another state",
            count(saved.len(), "machine"),
            is(saved.len())
        );
        let names = names(&saved);
        problems.push(match kept {
            true => Diagnostic::warning(
                "Another group of this name exists",
                format!("{whose}, and left alone: {names}. Destroy that group from there when it is not needed any more."),
            )
            .at(Path::of("on_existing")),
            false => Diagnostic::error(
                "Group exists already",
                format!(
                    "{whose}: {names}. Choose another name, import the group, or write on_existing = \"keep\" to leave them alone or \
                     \"adopt\" to take them over."
                ),
            )
            .at(Path::of("name")),
        });
    }
    if !unsaved.is_empty() {
        let whose = format!(
            "{} of this cluster and name {} made from another configuration, by a creation whose state was never seen",
            count(unsaved.len(), "machine"),
            was(unsaved.len())
        );
        let names = names(&unsaved);
        problems.push(match kept {
            true => Diagnostic::warning(
                "Another group of this name exists",
                format!("{whose}, and left alone: {names}. Delete in the cloud what nothing needs any more."),
            )
            .at(Path::of("on_existing")),
            false => Diagnostic::error(
                "Group exists already",
                format!(
                    "{whose}: {names}. They may serve: nothing was touched. Where another state has them, choose another name. Where a \
                     creation was cut off, write on_existing = \"adopt\" to take them over (the next plan shows what it would replace), \
                     import the group, or delete them in the cloud."
                ),
            )
            .at(Path::of("name")),
        });
    }
    (!problems.has_errors()).then(Vec::new)
}

fn key(cluster: &str, name: &str, cloud: &str) -> (String, String, String) {
    (cloud.to_owned(), cluster.to_owned(), name.to_owned())
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
