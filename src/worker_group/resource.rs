//! `resource "flatcar_worker_group"`: validates, plans, reads, creates, updates, deletes, imports.
//!
//! What decides or performs is in `plan`, `apply` and `roll`; here it meets Terraform's state.

mod assessment;
mod check;
mod cluster;
mod connected;
mod create;
mod delete;
mod drift;
mod holders;
mod import;
mod many;
mod promise;
mod report;
mod slots;
mod taken_up;
mod turn;
mod window;

use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use tokio::time::Instant;

use super::apply::{self, Job};
use super::cloud::{Connect, Entry};
use super::model::{
    Chosen, Fields, Group, Private, READ_TIMEOUT, Step, UPDATE_TIMEOUT, Whole, identity,
    identity_schema, schema, timeout, timeout_text,
};
use super::plan::Action;
use super::proof::Secret;
use super::roll::{Calls, Leftovers, Problem};
use super::user_data;
use super::wanted::Wanted;
use crate::kubernetes::Destroys;
use crate::provider::{
    Attr, Context, Diagnostic, Diagnostics, IdentityAttribute, Outcome, Path, PlanRequest, Planned,
    Resource, Schema, Stored, Value,
};

use self::assessment::{assessment_of_cloud, live_member, recorded, still_missing};
use self::check::{
    check_cloud, check_user_data, nobody_knows, of_a_change, refuse_made_up, renamed,
};
use self::cluster::OpenCluster;
use self::connected::{clear_unsaved, existing, ids, refreshed, within};
use self::create::new_uid;
use self::holders::Holders;
use self::import::{import_id, imported, one_uid, own_machines};
use self::promise::{ended, promised};
use self::report::{
    LIFT, adopted_meanwhile, are, bug, diagnostic, errors, found_since_the_plan, refuses, replaces,
    strangers, taken_since_the_plan, unproven, warnings,
};
use self::slots::open_slots;
use self::taken_up::{lifted, taken_up};
use self::turn::Turn;
use self::window::window_closes;

/// Groups on these clouds.
pub struct WorkerGroup {
    clouds: &'static [&'static Entry],
    /// `None`: no group is part of a cluster, whatever it says.
    open_cluster: Option<OpenCluster>,
    /// [`LIFT`] of this run: groups whose protection is lifted from their deletion.
    lift: String,
    /// Which groups this process has created, and which ones are in its state.
    holders: Mutex<Holders>,
    /// Which state this process works for ([`super::origin`]); read when it is first asked for.
    origin: OnceLock<String>,
}

impl WorkerGroup {
    /// Of the clouds that this build has.
    pub fn new(clouds: &'static [&'static Entry]) -> Self {
        Self {
            clouds,
            open_cluster: Some(cluster::open),
            lift: std::env::var(LIFT).unwrap_or_default(),
            holders: Mutex::default(),
            origin: OnceLock::new(),
        }
    }

    fn origin(&self) -> &str {
        self.origin.get_or_init(super::origin::read)
    }
}

impl Resource for WorkerGroup {
    type Model = Group;
    const NAME: &'static str = "worker_group";

    fn schema(&self) -> Schema {
        schema(self.clouds)
    }

    fn identity_schema(&self) -> Vec<IdentityAttribute> {
        identity_schema()
    }

    fn identity(&self, model: &Group) -> Value {
        identity(&model.fields)
    }

    fn validate(&self, config: Group) -> Diagnostics {
        let mut problems = Diagnostics::none();
        let fields = &config.fields;
        let entry = match config.chosen(self.clouds) {
            Chosen::One(entry) => Some(entry),
            Chosen::None | Chosen::Many => None,
        };
        problems.extend(check_cloud(&config, self.clouds));
        if let Some(entry) = entry {
            let shape = (entry.validate)(config.shape(entry));
            problems.extend(shape.under(&Path::of(entry.name)));
        }
        problems.extend(check_user_data(fields, entry));
        problems
    }

    fn plan(&self, request: PlanRequest<Group>) -> Outcome<Planned<Group>> {
        let mut model = request.proposed;
        let refused = refuse_made_up(&model.fields);
        if refused.has_errors() {
            return Outcome::failed(refused);
        }
        let Some(prior) = request.prior else {
            return Outcome::of(self.plan_create(model));
        };
        let mut private = match Private::of(&prior) {
            Ok(private) => private,
            Err(problem) => {
                let unchanged = Planned {
                    model,
                    requires_replace: Vec::new(),
                    private: prior.private,
                };
                return Outcome {
                    value: Some(unchanged),
                    problems: problem.into(),
                };
            }
        };
        self.is_in_state(&prior.model.fields);
        let known_cloud = prior.model.fields.cloud.known();
        let entry = match model.chosen(self.clouds) {
            Chosen::One(entry) => Some(entry),
            Chosen::None | Chosen::Many => None,
        };
        if let (Some(entry), Some(was)) = (entry, known_cloud)
            && was != entry.name
        {
            let problems = replaces(&prior.model.fields, &model.fields, &[was, entry.name]);
            return Outcome {
                value: Some(replaced_by_another_cloud(model, was, entry, prior.private)),
                problems,
            };
        }
        let mut problems = of_a_change(&model.fields, &prior.model.fields);
        let renamed = renamed(&model.fields, &prior.model.fields);
        if !renamed.is_empty() {
            problems.extend(replaces(&prior.model.fields, &model.fields, &renamed));
        }
        if private.first_image.is_none() {
            let image = prior.model.fields.image.known();
            private.first_image = image.or(model.fields.image.known()).cloned();
        }
        let wanted = entry.and_then(|entry| model.wanted(entry, &private));
        let Some(wanted) = wanted else {
            private.configured.clear();
            model.fields.generation = Attr::Unknown;
            model.fields.machines = Whole::Unknown;
            model.fields.slots = open_slots(&model.fields, Some(&prior.model.fields));
            model.fields.rollout = Whole::Unknown;
            return Outcome {
                value: Some(planned(model, &private)),
                problems,
            };
        };
        let prior = &prior.model;
        problems.extend(promised(&mut model, prior, &mut private, &wanted));
        Outcome {
            value: Some(planned(model, &private)),
            problems,
        }
    }

    fn plan_destroy(&self, prior: &Group) -> Diagnostics {
        refuses(&prior.fields, &self.lift)
    }

    async fn read(&self, context: &Context, state: Stored<Group>) -> Outcome<Stored<Group>> {
        let fields = &state.model.fields;
        let limit = timeout(fields, |timeouts| &timeouts.read, READ_TIMEOUT);
        let deadline = Instant::now() + limit;
        let place = match self.place(context, &state.model, deadline).await {
            Ok(place) => place,
            Err(problems) => return kept(state, problems),
        };
        let calls = place.calls(context, deadline);
        self.is_in_state(&state.model.fields);
        let private = match Private::of(&state) {
            Ok(private) => private,
            Err(problem) => return kept(state, problem.into()),
        };
        let now = SystemTime::now();
        let observed = match place.observe(calls, &state.model, &private, now).await {
            Ok(observed) => observed,
            Err(problem) => return kept(state, problem),
        };
        let mark = place.mark(String::new());
        clear_unsaved(&calls, &mark, observed.ours.iter()).await;
        let mut problems = unproven(&observed);
        problems.extend(strangers(&observed));
        let looked = self
            .look(context, &state.model, &observed.ours, deadline)
            .await;
        let (nodes, settings) = looked.unwrap_or_else(|untold| {
            problems.extend(untold);
            Default::default()
        });
        let seen = (observed, &nodes);
        Outcome {
            value: Some(refreshed(state, private, &place, seen, &settings, now)),
            problems,
        }
    }

    async fn create(
        &self,
        context: &Context,
        planned: Stored<Group>,
        config: Group,
    ) -> Outcome<Stored<Group>> {
        let private = match Private::read(&planned.private) {
            Ok(private) => private,
            Err(problem) => return Outcome::failed(problem),
        };
        let mut model = planned.model;
        let Chosen::One(entry) = model.chosen(self.clouds) else {
            return Outcome::failed(bug("no cloud is chosen"));
        };
        let private = Private {
            first_image: private.first_image.or(model.fields.image.known().cloned()),
            secret: Secret::new(),
            ..private
        };
        let Some(wanted) = model.wanted(entry, &private) else {
            return Outcome::failed(bug("the plan holds unknown values"));
        };
        let Some(uid) = new_uid() else {
            return Outcome::failed(Diagnostic::error(
                "Could not make an identity for the group",
                "The system has no random numbers. Try again.",
            ));
        };
        if let Err(problem) = self.register(&wanted, &uid) {
            return Outcome::failed(problem);
        }
        let outcome = self.create_registered(context, &mut model, &config, &wanted, private, &uid);
        let outcome = outcome.await;
        if outcome.value.is_none() {
            self.unregister(&wanted.cluster, &wanted.name, entry.name, &uid);
        }
        outcome
    }

    async fn update(
        &self,
        context: &Context,
        prior: Stored<Group>,
        planned: Stored<Group>,
        config: Group,
    ) -> Outcome<Stored<Group>> {
        let mut private = match Private::of(&planned) {
            Ok(private) => Private {
                secret: private.secret.or_new(),
                ..private
            },
            Err(problem) => return Outcome::failed(problem),
        };
        self.is_in_state(&prior.model.fields);
        let mut model = planned.model;
        // A plan without a step is a promise to touch no machine.
        if model.fields.rollout.known().is_some_and(Vec::is_empty) {
            let paused = model.fields.paused.known() == Some(&true);
            // Where nothing is missing, nothing will be made in place of what is gone.
            let gone = private.gone.into_iter().filter(|_| paused).collect();
            return Outcome::of(stored(model, &Private { gone, ..private }));
        }
        let limit = timeout(&model.fields, |timeouts| &timeouts.update, UPDATE_TIMEOUT);
        let deadline = Instant::now() + limit;
        let place = match self.place(context, &model, deadline).await {
            Ok(place) => place,
            Err(problems) => return Outcome::failed(problems),
        };
        let Some(wanted) = model.wanted(place.entry, &private) else {
            return Outcome::failed(bug("the plan holds unknown values"));
        };
        let rollout = model.fields.rollout.known().cloned().unwrap_or_default();
        let rollout: Vec<Step> = rollout
            .iter()
            .filter_map(|line| Step::parse(line))
            .collect();
        let calls = place.calls(context, deadline);
        let now = SystemTime::now();
        let observed = match place.observe(calls, &prior.model, &private, now).await {
            Ok(observed) => observed,
            Err(problem) => return Outcome::failed(problem),
        };
        let taken = taken_since_the_plan(&observed);
        if taken.has_errors() {
            return Outcome::failed(taken);
        }
        let (observed, unplanned) = observed.only_planned(&rollout);
        private.begin_apply(&unplanned);
        let mark = place.mark(String::new());
        clear_unsaved(&calls, &mark, observed.ours.iter()).await;
        let existing = existing(&observed, &prior.model, &mark);
        let assessment = assessment_of_cloud(
            &wanted,
            &prior.model,
            &private,
            &place,
            (&existing, &observed),
            &rollout,
        );
        let unknown = nobody_knows(&assessment, &wanted);
        if unknown.has_errors() {
            return Outcome::failed(unknown);
        }
        let window_closes = match window_closes(&model.fields, &assessment.changes, now) {
            Ok(closes) => closes,
            Err(closed) => return Outcome::failed(closed),
        };
        let news = apply::differences(&rollout, &assessment.changes);
        let mut problems = Diagnostics::none();
        problems.extend(
            place
                .preflight(
                    context,
                    deadline,
                    &wanted,
                    &assessment.changes,
                    existing.len(),
                )
                .await,
        );
        if problems.has_errors() {
            return Outcome::failed(problems);
        }
        let cluster = match self.cluster(context, &model, deadline).await {
            Ok(cluster) => cluster,
            Err(more) => {
                problems.extend(more);
                return Outcome::failed(problems);
            }
        };
        problems.extend(found_since_the_plan(&unplanned));
        problems.extend(unproven(&observed));
        let mut ignored_ids = ids(&observed.strangers);
        ignored_ids.extend(ids(&unplanned));

        let holder = format!("{}/{}-{}", wanted.cluster, wanted.name, place.uid);
        let drains = assessment.changes.names(Action::Delete).next();
        let drains = drains.and(cluster.as_ref());
        let Some(turn) = Turn::taken(context, drains, holder, limit, &mut problems).await else {
            return Outcome::failed(problems);
        };
        let calls = place.calls(context, Instant::now() + limit);
        let job = Job {
            wanted: &wanted,
            calls,
            cluster: cluster.as_ref(),
            destroys: Destroys::Machines,
            mark: place.mark(assessment.generation.to_string()),
            secret: &private.secret,
            user_data: &user_data_of(&wanted, &config),
            leftovers: Leftovers::Leave,
            gives_way: false,
            ignored_ids,
            vanished: private.vanished(&observed.gone),
            max_failures: wanted.pace.max_failures,
            window_closes,
            timeout: timeout_text(&model.fields, |timeouts| &timeouts.update, UPDATE_TIMEOUT),
        };
        let work = apply::perform(job, &assessment.changes, existing);
        let performed = turn.during(work).await;
        // From here on it is only words that may fail.
        context.ledger.write(&recorded(
            model.clone(),
            private.clone(),
            &place,
            (Some(&prior.model), performed.clone()),
            &assessment.changes,
        ));
        let hint = format!(
            "{} recorded, of {} wanted. Apply again to go on.",
            are(performed.machines.len(), "machine"),
            wanted.replicas
        );
        let prefix = apply::prefix(&wanted, &place.uid);
        problems.extend(errors(&performed.problems, &hint, &prefix));
        problems.extend(warnings(&performed.warnings, &prefix));
        problems.extend(adopted_meanwhile(&performed.adopted, None));
        let private = Private {
            copies: observed.copies,
            gone: still_missing(&private.gone, &assessment.changes, &performed),
            nodes_left: performed.nodes_left.clone(),
            history: assessment.history,
            shapes: assessment.shapes,
            ..private
        };
        let promises = model.fields.clone();
        let not_updated = performed.not_updated.clone();
        model.fields.generation = Attr::Known(assessment.generation.to_string());
        let performed = (Some(&prior.model), performed);
        let mut value = recorded(model, private, &place, performed, &assessment.changes);
        let fields = (&promises, &mut value.model.fields);
        ended(
            fields,
            &assessment.changes,
            &not_updated,
            &news,
            &mut problems,
        );
        Outcome {
            value: Some(value),
            problems,
        }
    }

    async fn delete(&self, context: &Context, prior: Stored<Group>) -> Outcome<Stored<Group>> {
        self.delete_group(context, prior).await
    }

    async fn import(
        &self,
        context: &Context,
        id: String,
        identity: Value,
    ) -> Outcome<Stored<Group>> {
        let (wanted, uid) = match import_id(&id, &identity) {
            Ok(asked) => asked,
            Err(problem) => return Outcome::failed(problem),
        };
        let [cloud, scope, cluster, name] = wanted;
        let Some(entry) = self.entry(&cloud) else {
            return Outcome::failed(self.unknown_cloud(&cloud));
        };
        let limit = timeout(&Fields::default(), |t| &t.read, READ_TIMEOUT);
        let deadline = Instant::now() + limit;
        let connect = Connect {
            context: &context.until(deadline),
            shape: &Value::Null,
            scope: Some(&scope),
        };
        let cloud = match within(context, deadline, entry.open(connect)).await {
            Ok(cloud) => cloud,
            Err(problems) => return Outcome::failed(problems),
        };
        let calls = Calls {
            cloud: cloud.as_ref(),
            cancel: &context.cancel,
            deadline,
        };
        let machines = match calls.list(&cluster, &name).await {
            Ok(machines) => machines,
            Err(error) => {
                return Outcome::failed(diagnostic(&Problem::of(
                    "Could not list the group",
                    &error,
                )));
            }
        };
        let uid = match one_uid(&machines, uid, &cluster, &name) {
            Ok(uid) => uid,
            Err(problem) => return Outcome::failed(problem),
        };
        let machines = machines.into_iter();
        let (machines, problems) = own_machines(machines.filter(|m| m.mark.uid == uid), &name);
        match imported(self, entry, [scope, cluster, name, uid], machines) {
            Ok(state) => Outcome {
                value: Some(state),
                problems,
            },
            Err(problems) => Outcome::failed(problems),
        }
    }

    fn upgrade(&self, version: i64, state: serde_json::Value) -> Result<Group, Diagnostics> {
        if version == 0 {
            return lifted(self.clouds, state);
        }
        Err(Diagnostic::error(
            "State is of an unknown version",
            format!("Version {version} of the group's state was never released. Use the release of the provider that wrote it."),
        )
        .into())
    }

    fn taken_up(&self, state: Value) -> Value {
        taken_up(state)
    }
}

impl WorkerGroup {
    /// A plan without a prior state: nothing exists, and all that the cloud gives is unknown.
    fn plan_create(&self, mut model: Group) -> Planned<Group> {
        let image = model.fields.image.known().cloned();
        let private = Private {
            first_image: image,
            ..Private::default()
        };
        model.fields.uid = Attr::Unknown;
        model.fields.proof_key = Attr::Unknown;
        model.fields.scope = Attr::Unknown;
        model.fields.machines = Whole::Unknown;
        model.fields.cloud = Attr::Unknown;
        model.fields.generation = Attr::Unknown;
        // Every machine is created, for one reason.
        model.fields.rollout = Whole::Known(Vec::new());
        model.fields.slots = open_slots(&model.fields, None);
        if let Chosen::One(entry) = model.chosen(self.clouds) {
            model.fields.cloud = Attr::Known(entry.name.to_owned());
            if let Some(wanted) = model.wanted(entry, &private) {
                model.fields.generation = Attr::Known(wanted.generation().to_string());
            }
        }
        planned(model, &private)
    }
}

fn planned(model: Group, private: &Private) -> Planned<Group> {
    Planned {
        model,
        requires_replace: Vec::new(),
        private: private.bytes(),
    }
}

fn replaced_by_another_cloud(
    mut model: Group,
    was: &str,
    entry: &Entry,
    private: Vec<u8>,
) -> Planned<Group> {
    model.fields.machines = Whole::Unknown;
    model.fields.generation = Attr::Unknown;
    model.fields.slots = Whole::Unknown;
    model.fields.rollout = Whole::Unknown;
    Planned {
        model,
        requires_replace: vec![Path::of(was), Path::of(entry.name)],
        private,
    }
}

fn stored(mut model: Group, private: &Private) -> Stored<Group> {
    // The plan of a group that an earlier release made, without a refresh, promised null.
    if !matches!(model.fields.proof_key, Attr::Null) {
        model.fields.proof_key = Attr::Known(private.secret.clone());
    }
    Stored {
        model,
        private: private.bytes(),
    }
}

/// What state has stays.
fn kept(state: Stored<Group>, problems: Diagnostics) -> Outcome<Stored<Group>> {
    Outcome {
        value: Some(state),
        problems,
    }
}

/// What each new machine boots with.
fn user_data_of(wanted: &Wanted, config: &Group) -> impl Fn(&str) -> Vec<u8> + Send + Sync {
    let write_only = config.fields.user_data_wo.known();
    let text = write_only.or(wanted.user_data.as_ref()).cloned();
    let set_hostname = wanted.set_hostname;
    move |name| match (&text, set_hostname) {
        (Some(text), true) => user_data::with_hostname(text, name).into_bytes(),
        (None, true) => user_data::with_hostname(user_data::EMPTY, name).into_bytes(),
        (Some(text), false) => text.clone().into_bytes(),
        (None, false) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
