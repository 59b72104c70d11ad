//! The creation of a group: what earlier creations left behind, what belongs to other states, and what falls short.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::kubernetes::Destroys;
use crate::provider::{Attr, Context, Diagnostics, Outcome, Severity, Stored};
use crate::worker_group::apply::{self, Before, Job, Performed};
use crate::worker_group::basis::Basis;
use crate::worker_group::cloud::{Machine, Mark, Phase};
use crate::worker_group::generation::Generation;
use crate::worker_group::model::{CREATE_TIMEOUT, Group, Private, Whole, timeout, timeout_text};
use crate::worker_group::plan::{Changes, Member};
use crate::worker_group::proof::is_name_of;
use crate::worker_group::roll::{Known, Leftovers, Problem, take_twins};
use crate::worker_group::wanted::Wanted;

use super::holders::{Decided, Foreign, on_existing};
use super::place::{ids, saved_is_saved, within, without};
use super::report::{paused_creation, shortfall, taken_over, warnings};
use super::{WorkerGroup, diagnostic, errors, live_member, recorded, user_data_of};

impl WorkerGroup {
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
        // What is left of a create of this state and configuration that never returned. Machines of another origin may be somebody's whose
        // create runs, and those of another generation serve somebody.
        let origin = self.origin();
        let others = others.into_iter();
        let (mut leftovers, machines): (Vec<Machine>, Vec<Machine>) = others
            .filter(|machine| machine.phase != Phase::Deleting)
            .partition(|machine| {
                let of = Generation::parse(&machine.mark.generation);
                machine.mark.unsaved
                    && machine.mark.origin == origin
                    && is_name_of(&machine.name, &wanted.name)
                    && basis.translated(&of).serves(&generation, wanted.rolls)
            });
        // Some clouds let nobody mark a machine that has failed, and of two of one name only one can be taken over.
        let mut useless = take_twins(&mut leftovers);
        useless.extend(leftovers.extract_if(.., |machine| machine.phase == Phase::Failed));
        let mut problems = Diagnostics::none();
        let foreign = Foreign {
            machines,
            name: &wanted.name,
            origin,
            in_state: self.uids_in_state(wanted),
            now: started,
        };
        let decided = on_existing(&model.fields.on_existing, foreign, &mut problems);
        let Some(Decided { adopted, left }) = decided else {
            return Outcome::failed(problems);
        };
        let is_taken = |name: &str| leftovers.iter().any(|machine| machine.name == name);
        let adopted = adopted
            .into_iter()
            .filter(|machine| !is_taken(&machine.name));
        let adopted: Vec<Machine> = adopted.collect();

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
        // As they are once they are taken over.
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
        let cluster = match self.cluster(context, model, deadline).await {
            Ok(cluster) => cluster,
            Err(more) => {
                problems.extend(more);
                return Outcome::failed(problems);
            }
        };
        if !wanted.paused {
            problems.extend(without(&calls, &useless).await);
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
            let taken = existing.iter().map(|known| &known.machine);
            saved_is_saved(&calls, &place.mark(String::new()), taken).await;
            let performed = Performed {
                adopted: Vec::new(),
                next_ordinal: changes.next_ordinal,
                machines: existing,
                problems: Vec::new(),
                warnings: Vec::new(),
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
        let mut aside = ids(&useless);
        aside.extend(ids(&left));
        let job = Job {
            wanted,
            calls,
            cluster: cluster.as_ref(),
            destroys: Destroys::Machines,
            mark,
            secret: &private.secret,
            user_data: &user_data_of(wanted, config),
            leftovers: Leftovers::TakeFrom(started, wanted.rolls),
            gives_way: model.fields.on_existing.known().map(String::as_str) != Some("keep"),
            aside,
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
        // State is saved next. What is killed in between the next create reports, and none takes over.
        let made = performed.machines.iter().map(|known| &known.machine);
        saved_is_saved(&calls, &place.mark(String::new()), made).await;
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
        problems.extend(warnings(&performed.warnings, &prefix));
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
}

/// A group that has taken over more machines than it should have gives the others their slots at the next refresh: the plan had no more.
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
