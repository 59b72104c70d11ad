//! What a cloud is to a worker group: a table row, and answers to questions about machines.
//!
//! Order, surge, waiting, retry of steps, orphan search and draining are written once, in this
//! room. A cloud answers which machines carry the group's mark, creates and deletes one, and
//! changes those that exist; what it is like, and what it lacks, its row says. The engine asks a
//! [`Cloud`]; a cloud implements [`Answers`], with its own shape read and user data packed
//! (`opening`). Beside them is what clouds would else write each for itself: addresses that the
//! user lists (`addresses`), what is answered (`answer`), what machines show of their shape
//! (`facets`), failures and what codes mean (`failure`), what a preflight finds (`findings`), pages
//! and calls for many machines (`many`), addresses that outlive machines (`lent`), what users name
//! (`named`), what is asked once (`once`), what is taken before a cloud shows it (`pool`), where a
//! machine is tried (`spread`), tags (`tagging`), who gets traffic of a load balancer (`traffic`).

pub mod addresses;
mod answer;
mod facets;
mod failure;
mod findings;
pub mod lent;
mod many;
mod named;
mod once;
mod opening;
mod pool;
mod spread;
pub mod tagging;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

pub use self::answer::{Answered, absent, read};
pub use self::facets::{Facet, Looks, OwnTags, listed};
pub use self::failure::{CloudError, Kind, Meaning};
pub use self::findings::{Findings, Refusal};
pub use self::many::{Pages, all_of, some_at_a_time};
pub use self::named::{Lookup, Named, is_uuid};
pub use self::once::Once;
pub use self::opening::{Answers, Connect, Connecting, authority, logged_in, or_variable, packed};
pub use self::pool::Pool;
pub use self::spread::{Spread, in_turn};
pub use self::traffic::{Backends, Member, Traffic, Transfer};
use crate::kubernetes::Host;
use crate::provider::{Attribute, Diagnostics, Value};

/// One row of the table of clouds (`cloud::ALL`).
pub struct Entry {
    /// The user's word: `"aws"`, both the attribute of the group and of the provider.
    pub name: &'static str,
    /// The attribute `name` of the provider block.
    pub provider_schema: fn() -> Attribute,
    /// The attribute `name` of the worker group: one machine's shape.
    pub group_schema: fn() -> Attribute,
    /// What a change of a field of the shape does to machines that exist, by the field's path
    /// (`networks.fixed_ips`); a field without a row replaces them. A field that equals its default
    /// in the schema counts as unset, so a default that changes in a later release would roll
    /// groups: it never does.
    pub fields: &'static [(&'static str, Change)],
    /// Whether machines get `/etc/hostname` unless the user says otherwise.
    pub set_hostname: bool,
    /// Row of `flatcar::PLATFORMS` with the user-data limit and encoding.
    pub platform: &'static str,
    /// What tells scopes apart, in the user's words: `"AWS account or region"`.
    pub scope: &'static str,
    /// How its answers come.
    pub manner: Manner,
    /// What it has not, and why: it is never asked for.
    pub lacks: &'static [(Lack, &'static str)],
    /// Pure checks of the shape beyond the schema; values may be unknown. Paths are relative to the
    /// shape.
    pub validate: fn(&Value) -> Diagnostics,
    /// Opens a client. The first place where credentials and endpoints are looked at. Called by
    /// [`Entry::open`].
    pub connect: for<'a> fn(Connect<'a>) -> Connecting<'a>,
}

/// How the answers of a cloud come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// How long after a create a list may not show it yet.
    pub consistency_window: Duration,
    /// The longest pause between two lists of a wait; a wait begins with shorter ones.
    pub poll_interval: Duration,
    /// Whether [`Cloud::find`] makes a call for each machine. What was deleted there, and two lists
    /// do not show, is taken for gone unasked.
    pub finds_one_by_one: bool,
}

/// What a cloud may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A machine takes all that it has with it: there is nothing for [`Cloud::sweep`].
    Leftovers,
    /// Nobody enters machines where they get traffic: there are no [`Members`].
    Members,
}

/// What a change of one field of the shape does to machines that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Replaces them, where it is more than another order: the field is a set.
    Set,
    /// Nothing: the field says where new machines are placed. One is replaced when it is where the
    /// field no longer allows it to be. Where it is stands in [`Machine::observed`] under the
    /// field's path, several with commas between.
    Place,
    /// Is made on machines as they are.
    InPlace,
    /// The same; release 0.1.0 replaced machines for it, and its marks tell of the field. Where it
    /// is null, machines keep what they have.
    NowInPlace,
}

impl Entry {
    /// What a change of the field at this path does; `None`: it replaces machines.
    pub fn change_of(&self, path: &str) -> Option<Change> {
        let row = self.fields.iter().find(|(known, _)| *known == path);
        row.map(|(_, change)| *change)
    }

    /// Fields whose change is made on machines as they are.
    pub fn in_place(&self) -> impl Iterator<Item = &'static str> + use<> {
        let rows = self.fields.iter();
        rows.filter(|(_, change)| matches!(change, Change::InPlace | Change::NowInPlace))
            .map(|(path, _)| *path)
    }

    /// Whether machines keep what they have of this field where it is null.
    pub(crate) fn keeps(&self, field: &str) -> bool {
        self.change_of(field) == Some(Change::NowInPlace)
    }

    /// Whether it has said that it has no such thing.
    pub fn lacks(&self, what: Lack) -> bool {
        self.lacks.iter().any(|(lack, _)| *lack == what)
    }

    /// Whether a change of this field is made on machines as they are.
    pub fn changes_in_place(&self, field: &str) -> bool {
        self.in_place().any(|known| known == field)
    }
}

/// Who a machine belongs to, written on it by the very call that creates it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// With `group` the group's identity on a cloud.
    pub cluster: String,
    /// The group's `name`.
    pub group: String,
    /// Made once at creation: tells two groups of one name apart.
    pub uid: String,
    /// What the user wrote when it was made, as hashes: 51 characters of `[0-9a-f-]`. Never
    /// interpreted by a cloud.
    pub generation: String,
    /// Set from creation until a state that holds the uid is about to be saved, or known to be.
    pub unsaved: bool,
    /// Which state's create wrote it: `[0-9a-f]{16}`, a hash of what tells that state from others.
    /// `""` where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// That a create of this group made a machine of this name: `[0-9a-f]{32}`, keyed by a secret
    /// of the group. Tags can be copied to another machine, and this then proves nothing of it.
    /// `""` in a mark that is rewritten: what is on the machine stays.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proof: String,
}

impl Mark {
    /// The mark as keys and values that every cloud's tags, labels or metadata can hold.
    /// `flatcar-unsaved` is `true` or `false` and the origin (`true-0f3c9a1e5b7d2468`), never left
    /// out: clouds that only add and overwrite tags can take it off. An empty proof is left out.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let unsaved = match self.origin.as_str() {
            "" => self.unsaved.to_string(),
            origin => format!("{}-{origin}", self.unsaved),
        };
        let mut pairs = vec![
            (CLUSTER, self.cluster.clone()),
            (GROUP, self.group.clone()),
            (UID, self.uid.clone()),
            (GENERATION, self.generation.clone()),
            (UNSAVED, unsaved),
        ];
        if !self.proof.is_empty() {
            pairs.push((PROOF, self.proof.clone()));
        }
        pairs
    }

    /// The same, as a map.
    pub fn written(&self) -> BTreeMap<String, String> {
        let pairs = self.pairs().into_iter();
        pairs.map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The inverse of [`Mark::pairs`]; `None` for a machine that belongs to no group, be it that a
    /// part of its mark is empty or missing.
    pub fn from_pairs<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let mark = Self::parts(find);
        mark.is_whole().then_some(mark)
    }

    /// Whether it says whose the machine is: cluster, group and uid.
    pub fn is_whole(&self) -> bool {
        let needed = [&self.cluster, &self.group, &self.uid];
        needed.iter().all(|part| !part.is_empty())
    }

    /// What there is of a mark; what is missing is empty.
    pub fn parts<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Self {
        let text = |key| find(key).unwrap_or_default().to_owned();
        let unsaved = find(UNSAVED).unwrap_or_default();
        let (unsaved, origin) = unsaved.split_once('-').unwrap_or((unsaved, ""));
        Self {
            cluster: text(CLUSTER),
            group: text(GROUP),
            uid: text(UID),
            generation: text(GENERATION),
            unsaved: unsaved == "true",
            origin: origin.to_owned(),
            proof: text(PROOF),
        }
    }

    /// Whether a create for the state of this origin wrote it, and has not returned.
    pub fn is_unfinished_of(&self, origin: &str) -> bool {
        self.unsaved && !origin.is_empty() && self.origin == origin
    }

    /// Of a machine that is never made.
    pub fn trial() -> Self {
        Self {
            cluster: TRIAL.to_owned(),
            group: TRIAL.to_owned(),
            unsaved: true,
            ..Self::default()
        }
    }

    /// The mark that takes this one's place on a machine: a proof stays as it is.
    #[must_use]
    pub fn over(self, before: &Self) -> Self {
        Self {
            proof: match self.proof.as_str() {
                "" => before.proof.clone(),
                _ => self.proof,
            },
            ..self
        }
    }
}

const TRIAL: &str = "preflight";

/// Key of [`Mark::cluster`]; clouds that filter by tag ask for this one and [`GROUP`].
pub const CLUSTER: &str = "flatcar-cluster";
/// Key of [`Mark::group`].
pub const GROUP: &str = "flatcar-group";
/// Key of [`Mark::uid`].
pub const UID: &str = "flatcar-uid";
/// Key of [`Mark::generation`].
pub const GENERATION: &str = "flatcar-generation";
/// Key of [`Mark::unsaved`] and [`Mark::origin`].
pub const UNSAVED: &str = "flatcar-unsaved";
/// Key of [`Mark::proof`].
pub const PROOF: &str = "flatcar-proof";

/// A machine to create. Everything is settled: two creates of one spec are the same machine.
pub struct Spec<'a> {
    /// `<group>-<uid>-<ordinal>`.
    pub name: &'a str,
    /// Raised when an earlier create of this name ended in a dead machine: part of client tokens.
    pub attempt: u32,
    /// The group's index of the machine, to spread over zones and subnets.
    pub ordinal: u64,
    /// Written on it at once.
    pub mark: &'a Mark,
    /// What the cloud boots, in its own form.
    pub image: &'a str,
    /// Ignition JSON, host name merged, before it is packed. A secret.
    pub user_data: &'a [u8],
    /// The attribute of the group named like the cloud, wholly known.
    pub shape: &'a Value,
}

impl<'a> Spec<'a> {
    /// A machine that is never made, for a create that is only tried (a dry run); its mark is
    /// [`Mark::trial`].
    pub fn trial(mark: &'a Mark, image: &'a str) -> Self {
        Self {
            name: TRIAL,
            attempt: 0,
            ordinal: 0,
            mark,
            image,
            user_data: b"",
            shape: &Value::Null,
        }
    }
}

/// How many machines an apply makes, and how many exist at a time meanwhile: what it needs room
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    /// Machines that are created.
    pub created: usize,
    /// How many more than now exist at a time, at most.
    pub at_once: usize,
    /// The same, were `max_surge` zero.
    pub without_surge: usize,
}

impl Growth {
    /// So many machines are created, and none is deleted.
    pub fn by(machines: usize) -> Self {
        Self {
            created: machines,
            at_once: machines,
            without_surge: machines,
        }
    }

    /// What to do where there is room for no more than `left` machines, before what the cloud
    /// itself advises (`""`: nothing more); `None`: there is enough.
    pub fn advice(&self, left: usize) -> Option<&'static str> {
        if self.at_once <= left {
            return None;
        }
        match self.without_surge <= left {
            true => Some(WITHOUT_SURGE),
            false => Some(""),
        }
    }
}

const WITHOUT_SURGE: &str = "Write max_surge = \"0\" in rolling_update, and each machine goes before the one in its place comes. ";

/// A machine as the cloud has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The cloud's own id.
    pub id: String,
    /// As in [`Spec::name`].
    pub name: String,
    /// Availability zone, `""` where there is none.
    pub zone: String,
    /// Private first.
    pub addresses: Vec<String>,
    /// What it booted, in the form of [`Spec::image`].
    pub image: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// The cloud's own words for a failed or stopped one.
    pub message: Option<String>,
    /// As read back.
    pub mark: Mark,
    /// When the cloud says that it was created.
    pub created: Option<SystemTime>,
    /// Attributes of the shape as they are now, for those that the cloud reports; compared with
    /// [`Cloud::wanted`]. A key is the field's path in the shape: `instance_type`, `tags.owner`;
    /// its first name tells whether a difference is mended in place.
    pub observed: BTreeMap<String, String>,
}

impl Machine {
    /// One whose create was answered with no more than its id: what it will be is what was asked
    /// for.
    pub fn asked_for(spec: &Spec<'_>, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: spec.name.to_owned(),
            zone: String::new(),
            addresses: Vec::new(),
            image: spec.image.to_owned(),
            phase: Phase::Pending,
            message: None,
            mark: spec.mark.clone(),
            created: None,
            observed: BTreeMap::new(),
        }
    }

    /// Whether it was created within this time, as far as its cloud says when it was.
    pub fn is_younger_than(&self, age: Duration) -> bool {
        let elapsed = self.created.and_then(|created| created.elapsed().ok());
        elapsed.is_some_and(|elapsed| elapsed < age)
    }

    /// Keys of the user's tags that it was seen to have and that left the configuration. `prefix`
    /// is what they begin with in [`Machine::observed`]: `"tags."`.
    pub fn no_longer(&self, prefix: &str, is_kept: impl Fn(&str) -> bool) -> Vec<&str> {
        let keys = self.observed.keys();
        let keys = keys.filter_map(|key| key.strip_prefix(prefix));
        keys.filter(|key| !is_kept(key)).collect()
    }
}

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Phase {
    Pending,
    Running,
    Stopped,
    Failed,
    Deleting,
}

/// What a delete answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It no longer exists, or never did.
    Gone,
    /// The cloud has taken it on; ask by [`Cloud::list`] until it is no longer there.
    Going,
}

/// One cloud, connected, for one group's shape, as the engine asks it. A cloud implements
/// [`Answers`].
#[async_trait]
pub trait Cloud: Send + Sync {
    /// What state records as the scope: `"123456789012/eu-central-1"`. May ask the cloud once.
    async fn scope(&self) -> Result<String, CloudError>;

    /// Every machine of (cluster, group), whatever its uid, that is not gone; one that is going is
    /// [`Phase::Deleting`]. One call a page, none per machine.
    async fn list(&self, cluster: &str, group: &str) -> Result<Vec<Machine>, CloudError>;

    /// Those of these ids that exist, in as few calls as the cloud allows; absence here is
    /// definite. A machine that lacks its mark, or a part of it, is answered too: somebody may have
    /// taken its tags off. What is there of the mark is as it is, also where it is another group's,
    /// and what is not is `""`; the name is the best that the cloud has, or `""`. Callers tell
    /// machines apart by id. A list, in contrast, answers only what carries cluster, group and uid.
    async fn find(&self, ids: &[String]) -> Result<Vec<Machine>, CloudError>;

    /// Creates a machine, marked by the same call. A second create of the same spec (name and
    /// attempt) answers the same machine, even one that is dead or going by now: the caller raises
    /// the attempt. Never waits for it to run.
    async fn create(&self, spec: &Spec<'_>) -> Result<Machine, CloudError>;

    /// Deletes a machine. One that is already gone is [`Deletion::Gone`].
    async fn delete(&self, machine: &Machine) -> Result<Deletion, CloudError>;

    /// Starts machines that are stopped, in as few calls as the cloud allows, and waits for
    /// nothing. One that runs or is gone is passed over.
    async fn start(&self, machines: &[Machine]) -> Result<(), CloudError>;

    /// Releases what machines of the group of this uid that are gone have left behind (addresses,
    /// say); asked at the end of every apply. A mark that is unsaved is a create's: it takes over
    /// machines that a create of its origin which never returned has left
    /// ([`Mark::is_unfinished_of`]), and what that left beside machines, and nobody uses, goes.
    /// Machines with ordinals from `first` on were in no state when this apply began: what holds
    /// data of earlier ones is not left behind, but kept by somebody.
    async fn sweep(&self, group: &Mark, first: u64) -> Result<(), CloudError>;

    /// Rewrites marks and the in-place part of the shape on machines, in as few calls as the cloud
    /// allows. A null shape: marks alone.
    async fn mark(
        &self,
        machines: &[Machine],
        mark: &Mark,
        shape: &Value,
    ) -> Result<(), CloudError>;

    /// What [`Machine::observed`] should say for this shape; keys as there.
    fn wanted(&self, shape: &Value) -> BTreeMap<String, String>;

    /// What only the cloud knows (zone, image, architecture, quota, permissions by dry run), asked
    /// at the start of an apply. Paths are relative to the group (`image`, `aws.subnet_ids`). Where
    /// no machine is to be created, only what changes in place is asked about.
    ///
    /// # Errors
    /// A question that was not answered and is worth another try; every other fault is a
    /// diagnostic.
    async fn preflight(
        &self,
        image: &str,
        shape: &Value,
        growth: Growth,
    ) -> Result<Diagnostics, CloudError>;

    /// The machine's console, for the diagnostic of one that does not come up; `None` where the
    /// cloud has none.
    async fn console(&self, machine: &Machine) -> Result<Option<String>, CloudError>;

    /// Where machines are entered when they are ready, if this cloud has such a place. What it
    /// knows is as of the last list.
    fn members(&self) -> Option<&dyn Members>;

    /// How its answers come.
    fn manner(&self) -> Manner;
}

impl dyn Cloud + '_ {
    /// As [`Manner::consistency_window`].
    pub fn consistency_window(&self) -> Duration {
        self.manner().consistency_window
    }

    /// As [`Manner::poll_interval`].
    pub fn poll_interval(&self) -> Duration {
        self.manner().poll_interval
    }

    /// As [`Manner::finds_one_by_one`].
    pub fn finds_one_by_one(&self) -> bool {
        self.manner().finds_one_by_one
    }
}

/// Who gets traffic: machines are entered once they run and have joined, and taken out before they
/// are drained and deleted (the target groups of a load balancer). Calls are idempotent, and few:
/// one a place for all hosts.
#[async_trait]
pub trait Members: Send + Sync {
    /// Enters those of these hosts that are not entered where they belong, and answers the names of
    /// those that get traffic everywhere. Hosts that leave are not asked for here.
    async fn enter(&self, hosts: &[Host]) -> Result<BTreeSet<String>, CloudError>;

    /// Of hosts that leave, the names of those that get no traffic any more.
    fn out(&self, hosts: &[Host]) -> BTreeSet<String>;

    /// Begins to take hosts out; waits for nothing.
    async fn leave(&self, hosts: &[Host]) -> Result<(), CloudError>;

    /// Waits until a host that [`Members::leave`] was called for gets no traffic any more, or for
    /// as long as the place allows.
    async fn left(&self, host: &Host) -> Result<(), CloudError>;
}

/// The [`CloudError::object`] of a call about so many machines: `1 machine`, `2 machines`.
pub(crate) fn machines_of(number: usize) -> String {
    match number {
        1 => "1 machine".to_owned(),
        number => format!("{number} machines"),
    }
}

#[cfg(test)]
pub(crate) mod memory;
