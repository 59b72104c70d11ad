//! The planner: which machines change and why, and which of those changes may start now. Pure: no
//! clock, no random, no network.
//!
//! [`changes`] answers the first question for a whole group, at plan and again at the start of an
//! apply: desired `{replicas: 3, generation: B}` and members `workers-k3v9x2ab-0..2` of generation
//! A give three deletes and three creates, `workers-k3v9x2ab-3..5`. [`steps`] answers the second at
//! every moment of an apply: three ready machines, all leaving, surge 1, unavailable 0 give "create
//! one". Whatever fails or vanishes meanwhile, asking again is right: there is no memory between
//! calls.

mod order;

use std::collections::BTreeSet;
use std::fmt;

pub(crate) use self::order::in_order;
use super::generation::{Generation, Rolls};

/// What a group should be.
pub(crate) struct Desired<'a> {
    /// `<name>-<uid>-`: what the names of new machines begin with.
    pub(crate) prefix: &'a str,
    /// How many machines.
    pub(crate) replicas: usize,
    /// Of what the user wrote.
    pub(crate) generation: &'a Generation,
    /// Which parts of the generation matter to machines that exist.
    pub(crate) rolls: Rolls,
    /// Names that scale-in and rolls take first.
    pub(crate) remove_first: &'a BTreeSet<String>,
    /// Names that are replaced though nothing is wrong with them.
    pub(crate) replace: &'a BTreeSet<String>,
    /// The lowest ordinal that was never used.
    pub(crate) next_ordinal: u64,
    /// What may be deleted: the deletes of the plan that the user has seen. `None` at plan.
    pub(crate) deletable: Option<&'a BTreeSet<String>>,
    /// Fields of the shape that changed and are changed in place, with the cloud's name:
    /// `aws.tags`.
    pub(crate) in_place: &'a [String],
    /// Why a machine of this generation, booted from this image, is outdated.
    pub(crate) reason: &'a dyn Fn(&Generation, &str) -> String,
}

/// A machine that is recorded or was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// `workers-k3v9x2ab-0`.
    pub(crate) name: String,
    /// As marked.
    pub(crate) generation: Generation,
    /// What it booted.
    pub(crate) image: String,
    /// How it is.
    pub(crate) health: Health,
    /// It is stopped, and is to be started; the cloud's words for it.
    pub(crate) starts: Option<String>,
    /// Why it may no longer be where it is: `aws.subnet_ids does not allow subnet-1`.
    pub(crate) misplaced: Option<String>,
    /// Fields of the shape that are no longer as the group made them, and roll:
    /// `aws.instance_type`.
    pub(crate) drift: Vec<String>,
    /// The same, mended in place: `aws.tags`.
    pub(crate) drift_in_place: Vec<String>,
    /// Fields that change in place and that it has as they are wanted already.
    pub(crate) settled: Vec<String>,
}

/// How a machine is, as far as planning goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// Running, or on its way.
    Good,
    /// It will not serve: `stopped`.
    Broken(String),
    /// It is being deleted by somebody.
    Leaving,
    /// It definitely does not exist any more.
    Gone,
}

/// What happens to one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its name.
    pub(crate) machine: String,
    /// What.
    pub(crate) action: Action,
    /// Why, without contents: `user_data: file /etc/motd changed`.
    pub(crate) reason: String,
    /// Of a create: the machine in whose place it comes.
    pub(crate) replaces: Option<String>,
}

/// Kinds of [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It does not exist yet.
    Create,
    /// It was stopped, and is started.
    Start,
    /// Marks and the in-place part of its shape are rewritten.
    Update,
    /// It goes.
    Delete,
}

impl Action {
    /// The user's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Start => "start",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}

/// The answer of [`changes`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// Grouped by kind; [`in_order`] makes it the order in which they begin.
    pub(crate) list: Vec<Change>,
    /// The lowest ordinal that is unused after them.
    pub(crate) next_ordinal: u64,
    /// Machines that ought to go and are not in [`Desired::deletable`], with the reason.
    pub(crate) refused: Vec<(String, String)>,
    /// Machines that ought to be created and for which no name is left.
    pub(crate) unnamed: usize,
    /// How many machines are replaced that are neither broken nor gone.
    pub(crate) rolled: usize,
}

impl Changes {
    /// Names of one action, in order.
    pub(crate) fn names(&self, action: Action) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .filter(move |change| change.action == action)
            .map(|change| change.machine.as_str())
    }
}

/// Which machines change, and why.
pub(crate) fn changes(desired: &Desired<'_>, members: &[Member]) -> Changes {
    let mut out = Changes {
        next_ordinal: first_unused(desired, members),
        ..Changes::default()
    };
    let mut alive: Vec<Candidate<'_>> = members
        .iter()
        .filter(|member| matches!(member.health, Health::Good | Health::Broken(_)))
        .map(|member| Candidate::of(desired, member))
        .collect();
    let surplus = alive.len().saturating_sub(desired.replicas);

    alive.sort_by(|a, b| a.scale_in_rank().cmp(&b.scale_in_rank()));
    let mut left = surplus;
    let (leaving, mut staying): (Vec<_>, Vec<_>) = alive.into_iter().partition(|candidate| {
        let goes = left > 0 && candidate.deletable;
        left -= usize::from(goes);
        goes
    });
    if left > 0 {
        let still = staying.iter().take(left);
        let reason = format!("{left} more than replicas = {}", desired.replicas);
        out.refused
            .extend(still.map(|candidate| (candidate.member.name.clone(), reason.clone())));
    }

    staying.sort_by(|a, b| a.roll_rank().cmp(&b.roll_rank()));
    for candidate in &staying {
        if let (None, Some(why)) = (&candidate.fault, &candidate.member.starts) {
            out.push(&candidate.member.name, Action::Start, why.clone());
        }
    }
    for candidate in &staying {
        let fields: Vec<&str> = in_place_fields(desired, candidate);
        if candidate.fault.is_none() && !fields.is_empty() {
            let reason = format!("{} changed", fields.join(", "));
            out.push(&candidate.member.name, Action::Update, reason);
        }
    }
    for candidate in &leaving {
        let mut reason = format!("scale in to {}", desired.replicas);
        if candidate.named {
            reason.push_str(" (named in remove_first)");
        } else if let Some(fault) = &candidate.fault {
            reason = format!("{reason} ({fault})");
        }
        out.push(&candidate.member.name, Action::Delete, reason);
    }
    for candidate in staying {
        let Some(fault) = candidate.fault else {
            continue;
        };
        let name = &candidate.member.name;
        if candidate.deletable {
            out.rolled += usize::from(!candidate.broken);
            out.push(name, Action::Delete, fault);
            out.create(desired, format!("replaces {name}"), Some(name));
        } else {
            out.refused.push((name.clone(), fault));
        }
    }
    let present = out.present_after(members);
    let lost = members.iter().filter_map(|member| {
        let name = member.name.as_str();
        match member.health {
            Health::Gone => Some((format!("replaces {name}, which is gone"), Some(name))),
            Health::Leaving => Some((
                format!("replaces {name}, which is being deleted"),
                Some(name),
            )),
            Health::Good | Health::Broken(_) => None,
        }
    });
    let out_to = (format!("scale out to {}", desired.replicas), None);
    let reasons = lost.chain(std::iter::repeat(out_to));
    for (reason, replaces) in reasons.take(desired.replicas.saturating_sub(present)) {
        out.create(desired, reason, replaces);
    }
    out
}

/// The ordinal at the end of a machine's name, as this provider writes it: up to nine digits,
/// without zeros before them. What else a name ends with is none of ours, and is not believed.
pub(crate) fn ordinal(name: &str) -> Option<u64> {
    let (_, digits) = name.rsplit_once('-')?;
    let plain = digits.len() <= ORDINAL_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let as_written = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain && as_written)
}

/// The name of a new machine; `None`: this group has used up its names.
pub(crate) fn name(prefix: &str, ordinal: u64) -> Option<String> {
    (ordinal < ORDINALS).then(|| format!("{prefix}{ordinal}"))
}

/// The lowest ordinal that was never used, by what is recorded of it and by the machines that there
/// are. A record that no machine of ours can have led to is not believed.
pub(crate) fn next_ordinal<'a>(recorded: u64, names: impl IntoIterator<Item = &'a str>) -> u64 {
    let used = names.into_iter().filter_map(ordinal);
    used.map(|used| used + 1)
        .chain([recorded].into_iter().filter(|next| *next <= ORDINALS))
        .max()
        .unwrap_or_default()
}

/// What there is to do for a group whose names are used up.
pub(crate) const NO_NAMES: &str = "Each machine that a group ever had counts, and the last number that a name can hold is used. Make \
     another group, under another name, in place of this one.";

/// With a group's name of 40 and a uid of 8 characters, a machine's name has 59: any host name may
/// have 63.
const ORDINAL_DIGITS: usize = 9;
/// Names that a group has in all its life.
const ORDINALS: u64 = 1_000_000_000;

/// A member and what speaks for its going.
struct Candidate<'a> {
    member: &'a Member,
    ordinal: u64,
    broken: bool,
    named: bool,
    deletable: bool,
    /// Why it has to be replaced.
    fault: Option<String>,
}

impl<'a> Candidate<'a> {
    fn of(desired: &Desired<'_>, member: &'a Member) -> Self {
        let broken = matches!(member.health, Health::Broken(_));
        let fault = match &member.health {
            Health::Broken(why) => Some(why.clone()),
            _ if member.generation.differs(desired.generation, desired.rolls) => {
                Some((desired.reason)(&member.generation, &member.image))
            }
            _ if member.misplaced.is_some() => member.misplaced.clone(),
            _ if !member.drift.is_empty() => Some(format!(
                "{} changed outside of this configuration",
                member.drift.join(", ")
            )),
            _ if desired.replace.contains(&member.name) => {
                Some("named in replace_machines".to_owned())
            }
            _ => None,
        };
        Self {
            member,
            ordinal: ordinal(&member.name).unwrap_or_default(),
            broken,
            named: desired.remove_first.contains(&member.name),
            deletable: desired
                .deletable
                .is_none_or(|names| names.contains(&member.name)),
            fault,
        }
    }

    /// Lowest goes first: what the user has seen in the plan, named, broken, outdated, newest.
    fn scale_in_rank(&self) -> impl Ord + use<'a> {
        (
            !self.deletable,
            !self.named,
            !self.broken,
            self.fault.is_none(),
            std::cmp::Reverse(self.ordinal),
            self.member.name.as_str(),
        )
    }

    /// Lowest goes first: broken, named, oldest.
    fn roll_rank(&self) -> impl Ord + use<'a> {
        (
            !self.broken,
            !self.named,
            self.ordinal,
            self.member.name.as_str(),
        )
    }
}

impl Changes {
    fn push(&mut self, machine: &str, action: Action, reason: String) {
        self.list.push(Change {
            machine: machine.to_owned(),
            action,
            reason,
            replaces: None,
        });
    }

    fn create(&mut self, desired: &Desired<'_>, reason: String, replaces: Option<&str>) {
        let Some(machine) = name(desired.prefix, self.next_ordinal) else {
            self.unnamed += 1;
            return;
        };
        self.list.push(Change {
            machine,
            action: Action::Create,
            reason,
            replaces: replaces.map(str::to_owned),
        });
        self.next_ordinal += 1;
    }

    fn present_after(&self, members: &[Member]) -> usize {
        let alive = members
            .iter()
            .filter(|member| matches!(member.health, Health::Good | Health::Broken(_)))
            .count();
        alive + self.names(Action::Create).count() - self.names(Action::Delete).count()
    }
}

fn in_place_fields<'a>(desired: &'a Desired<'_>, candidate: &Candidate<'a>) -> Vec<&'a str> {
    let member = candidate.member;
    let fields: BTreeSet<&str> = desired
        .in_place
        .iter()
        .filter(|field| !member.settled.contains(field))
        .chain(&member.drift_in_place)
        .map(String::as_str)
        .collect();
    fields.into_iter().collect()
}

fn first_unused(desired: &Desired<'_>, members: &[Member]) -> u64 {
    let names = members.iter().map(|member| member.name.as_str());
    let ours = names.filter(|name| name.starts_with(desired.prefix));
    next_ordinal(desired.next_ordinal, ours)
}

/// How far a roll may go from the desired number of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many machines there should be.
    pub(crate) replicas: usize,
    /// How many more may exist meanwhile.
    pub(crate) surge: usize,
    /// How many fewer may be ready meanwhile.
    pub(crate) unavailable: usize,
    /// One new machine has to be ready before a second one is replaced.
    pub(crate) canary: bool,
}

impl Limits {
    /// Resolves shares against the number of machines: surge rounds up, unavailable down, and where
    /// both come to zero unavailable is one.
    pub(crate) fn new(replicas: usize, surge: Share, unavailable: Share, canary: bool) -> Self {
        let surge = surge.of(replicas, usize::div_ceil);
        let unavailable = unavailable.of(replicas, |whole, part| whole / part);
        Self {
            replicas,
            surge,
            unavailable: if surge == 0 {
                unavailable.max(1)
            } else {
                unavailable
            },
            canary,
        }
    }

    /// The same for a roll that is to begin with no further machine: what is too many goes, what is
    /// missing comes.
    pub(crate) fn without_rolls(self) -> Self {
        Self {
            surge: 0,
            unavailable: 0,
            ..self
        }
    }
}

/// A number of machines: `1` or `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// So many.
    Count(usize),
    /// Of a hundred.
    Percent(usize),
}

impl Share {
    /// Reads `"1"` or `"25%"`; a percentage is at most 100, a number at most 10000.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_suffix('%').unwrap_or(text);
        if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: usize = digits.parse().ok()?;
        match text.ends_with('%') {
            true => (number <= 100).then_some(Share::Percent(number)),
            false => (number <= 10_000).then_some(Share::Count(number)),
        }
    }

    fn of(self, replicas: usize, divide: fn(usize, usize) -> usize) -> usize {
        match self {
            Share::Count(count) => count,
            Share::Percent(percent) => divide(replicas * percent, 100),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(count) => write!(f, "{count}"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A machine that exists, in the eyes of [`steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// How far it is.
    pub(crate) state: Readiness,
    /// It is to be deleted.
    pub(crate) leaves: bool,
    /// It is of the desired generation.
    pub(crate) current: bool,
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Being created, booting, joining, or not up for long enough.
    Starting,
    /// It serves.
    Ready,
    /// It does not serve and will not.
    Broken,
    /// Its deletion has begun.
    Leaving,
}

/// What may begin now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Steps {
    /// Indexes of the slots whose deletion may begin.
    pub(crate) delete: Vec<usize>,
    /// How many creates may begin.
    pub(crate) create: usize,
}

impl Steps {
    /// Whether nothing may begin.
    pub(crate) fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.create == 0
    }
}

/// What may begin now, given every machine that exists (creates under way count). Never more than
/// `replicas + surge` exist because of a create, never fewer than `replicas - unavailable` are
/// ready because of a delete.
pub(crate) fn steps(limits: &Limits, slots: &[Slot]) -> Steps {
    let count = |wanted: &dyn Fn(&Slot) -> bool| slots.iter().filter(|slot| wanted(slot)).count();
    let ready = count(&|slot| slot.state == Readiness::Ready);
    let current = |slot: &Slot| slot.current && !slot.leaves;
    let allowed = limits.allowed(&Counts {
        slots: slots.len(),
        ready,
        staying: count(&|slot| !slot.leaves && slot.state != Readiness::Leaving),
        trying: count(&|slot| current(slot) && slot.state == Readiness::Starting),
        going: count(&|slot| slot.state == Readiness::Leaving),
        replaceable: count(&|slot| slot.leaves && slot.state == Readiness::Ready),
        proven: slots
            .iter()
            .any(|slot| current(slot) && slot.state == Readiness::Ready),
    });
    let mut delete_ready = allowed.delete_ready;

    let delete = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.leaves)
        .filter(|(_, slot)| match slot.state {
            Readiness::Broken | Readiness::Starting => true,
            Readiness::Ready if delete_ready > 0 => {
                delete_ready -= 1;
                true
            }
            Readiness::Ready | Readiness::Leaving => false,
        })
        .map(|(index, _)| index)
        .collect();
    Steps {
        delete,
        create: allowed.create,
    }
}

/// How many of the machines that exist are how far.
struct Counts {
    /// All, creates under way among them.
    slots: usize,
    /// Those that serve.
    ready: usize,
    /// Those that are neither to be deleted nor being deleted.
    staying: usize,
    /// Those of the desired generation that are on their way.
    trying: usize,
    /// Those that are being deleted.
    going: usize,
    /// Those that serve and are to be deleted.
    replaceable: usize,
    /// Whether one of the desired generation serves and stays.
    proven: bool,
}

/// What may begin, in numbers.
struct Allowed {
    create: usize,
    /// Of machines that serve: others may go at once.
    delete_ready: usize,
}

impl Limits {
    fn allowed(&self, counts: &Counts) -> Allowed {
        let ceiling = self.replicas + self.surge;
        let floor = self.replicas.saturating_sub(self.unavailable);
        let mut allowed = Allowed {
            create: self
                .replicas
                .saturating_sub(counts.staying)
                .min(ceiling.saturating_sub(counts.slots)),
            delete_ready: counts.ready.saturating_sub(floor),
        };
        let rolling =
            counts.replaceable > 0 && (counts.staying < self.replicas || counts.trying > 0);
        if self.canary && rolling && !counts.proven {
            allowed.create = allowed.create.min(1_usize.saturating_sub(counts.trying));
            let over = counts.slots.saturating_sub(ceiling);
            let make_room = counts.slots == ceiling && counts.trying + counts.going == 0;
            let going = over.saturating_sub(counts.going) + usize::from(make_room);
            allowed.delete_ready = allowed.delete_ready.min(going);
        }
        allowed
    }
}

#[cfg(test)]
mod tests;
