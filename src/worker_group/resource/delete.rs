//! The deletion of a group: every machine that state knows, and none that no plan has named.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::kubernetes::Destroys;
use crate::provider::{Context, Outcome, Stored};
use crate::worker_group::apply::{self, Before, Job};
use crate::worker_group::model::{DELETE_TIMEOUT, Group, Private, timeout, timeout_text};
use crate::worker_group::plan::{Changes, Limits, Member, Share};
use crate::worker_group::roll::{Known, Leftovers};
use crate::worker_group::wanted::Wanted;

use super::assessment::{live_member, recorded};
use super::connected::{existing, ids};
use super::report::{
    adopted_meanwhile, are, bug, errors, left_alone, not_in_the_plan, refuses, unproven, warnings,
};
use super::{WorkerGroup, kept};

impl WorkerGroup {
    /// Deletes a group; what is left of it, or that nothing is.
    pub(super) async fn delete_group(
        &self,
        context: &Context,
        prior: Stored<Group>,
    ) -> Outcome<Stored<Group>> {
        let refused = refuses(&prior.model.fields, &self.lift);
        if refused.has_errors() {
            return kept(prior, refused);
        }
        let fields = &prior.model.fields;
        let limit = timeout(fields, |timeouts| &timeouts.delete, DELETE_TIMEOUT);
        let deadline = Instant::now() + limit;
        let place = match self.place(context, &prior.model, deadline).await {
            Ok(place) => place,
            Err(problems) => return kept(prior, problems),
        };
        let calls = place.calls(context, deadline);
        self.is_in_state(fields);
        let private = match Private::of(&prior) {
            Ok(private) => private,
            Err(problem) => return kept(prior, problem.into()),
        };
        let observed = place.observe(calls, &prior.model, &private, SystemTime::now());
        let observed = match observed.await {
            Ok(observed) => observed,
            Err(problem) => return kept(prior, problem),
        };
        // What the plan has not shown is recorded, and left for the next one.
        let (observed, unplanned) = observed.only_planned(&[]);
        let mark = place.mark(String::new());
        let existing = existing(&observed, &prior.model, &mark);
        let wanted = match prior.model.wanted(place.entry, &private) {
            Some(wanted) => Wanted {
                replicas: 0,
                limits: Limits::new(0, Share::Count(0), Share::Count(0), false),
                ..wanted
            },
            None => return kept(prior, bug("the state holds unknown values").into()),
        };
        let members: Vec<Member> = existing
            .iter()
            .map(|known| live_member(known, &wanted))
            .collect();
        let before = Before {
            wanted: None,
            generation: None,
            private: &private,
        };
        let assessment = apply::assessment(&wanted, &before, &place.uid, &members, None);
        let (cluster, unopened) = match self.cluster_to_leave(context, &prior.model, deadline).await
        {
            Ok(opened) => opened,
            Err(problems) => return kept(prior, problems),
        };
        let mut ignored_ids = ids(&observed.strangers);
        ignored_ids.extend(ids(&unplanned));
        let job = Job {
            wanted: &wanted,
            calls,
            cluster: cluster.as_ref(),
            destroys: Destroys::Group,
            mark,
            secret: &private.secret,
            user_data: &|_| Vec::new(),
            leftovers: Leftovers::Leave,
            gives_way: false,
            ignored_ids,
            vanished: private.vanished(&observed.gone),
            max_failures: 0,
            window_closes: None,
            timeout: timeout_text(fields, |timeouts| &timeouts.delete, DELETE_TIMEOUT),
        };
        let mut performed = apply::perform(job, &assessment.changes, existing).await;
        // The successor that this process has made is no stranger.
        let successor = self.uid_created(&place.cluster, &place.name, place.entry.name);
        let successor = successor.filter(|uid| *uid != place.uid);
        let mut adopted = observed.adopted.clone();
        adopted.append(&mut performed.adopted);
        let mut left_alone = left_alone(&observed, successor.as_deref());
        left_alone.extend(adopted_meanwhile(&adopted, successor.as_deref()));
        left_alone.extend(unproven(&observed));
        left_alone.extend(unopened);
        let prefix = apply::prefix(&wanted, &place.uid);
        left_alone.extend(warnings(&performed.warnings, &prefix));
        if performed.machines.is_empty() && performed.problems.is_empty() && unplanned.is_empty() {
            self.unregister(&place.cluster, &place.name, place.entry.name, &place.uid);
            return Outcome {
                value: None,
                problems: left_alone,
            };
        }
        let left = are(performed.machines.len(), "machine");
        let hint = format!("{left} left and recorded. Destroy again to go on.");
        let mut problems = errors(&performed.problems, &hint, &prefix);
        problems.extend(not_in_the_plan(&unplanned));
        problems.extend(left_alone);
        let unplanned = unplanned.into_iter().map(|machine| Known {
            machine,
            node: String::new(),
        });
        performed.machines.extend(unplanned);
        let changes = Changes {
            next_ordinal: private.next_ordinal,
            ..Changes::default()
        };
        let model = prior.model.clone();
        let performed = (Some(&prior.model), performed);
        Outcome {
            value: Some(recorded(model, private, &place, performed, &changes)),
            problems,
        }
    }
}
