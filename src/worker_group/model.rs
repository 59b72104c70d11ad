//! The group as Terraform knows it: its schema, its attributes as structs, and what is kept in
//! private state.
//!
//! In: `{name = "workers", cluster = "prod", replicas = 3, sandbox = {...}}`. Out: a [`Group`], and
//! from it, once everything is known, [`Wanted`]: what a plan or an apply works with.

mod computed;
mod identity;
mod kubernetes;
mod private;
mod shape;
mod whole;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::computed::computed;
pub(crate) use self::computed::{Machine, Step};
pub(crate) use self::identity::{identity, identity_schema};
pub(crate) use self::kubernetes::Kubernetes;
pub(crate) use self::private::{Note, Private};
pub(crate) use self::shape::{
    as_compared, attributes, completions, first_form, in_place_of, lacks_required, observed_value,
    rolling, untold,
};
pub(crate) use self::whole::Whole;
pub(crate) use self::window::{RollWindow, Stands, Window};
use super::cloud::Entry;
use super::generation::Rolls;
use super::plan::{Limits, Share};
use super::proof::Secret;
use super::slots::Slots;
use super::wanted::{OnStopped, Pace, Wanted};
use crate::provider::convert::to_value;
use crate::provider::{
    Attr, Attribute, Diagnostic, Diagnostics, Model, Path, Schema, Type, Value, convert, duration,
};

/// A group, planned, stored or configured.
#[derive(Clone, PartialEq)]
pub struct Group {
    pub(crate) fields: Fields,
    /// The attribute of each cloud, by its name.
    pub(crate) clouds: BTreeMap<String, Value>,
}

/// The attributes that every group has. User data is a secret: no `Debug`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Fields {
    pub(crate) name: Attr<String>,
    pub(crate) cluster: Attr<String>,
    pub(crate) replicas: Attr<i64>,
    pub(crate) image: Attr<String>,
    pub(crate) user_data: Attr<String>,
    pub(crate) user_data_wo: Attr<String>,
    pub(crate) user_data_wo_version: Attr<i64>,
    pub(crate) set_hostname: Attr<bool>,
    pub(crate) rolling_update: Attr<RollingUpdate>,
    pub(crate) roll_window: Attr<RollWindow>,
    pub(crate) image_update: Attr<String>,
    pub(crate) user_data_update: Attr<String>,
    pub(crate) replace_triggers: Attr<BTreeMap<String, Attr<String>>>,
    pub(crate) machine_timeout: Attr<String>,
    pub(crate) remove_first: Attr<Vec<Attr<String>>>,
    pub(crate) on_stopped: Attr<String>,
    pub(crate) replace_machines: Attr<Vec<Attr<String>>>,
    pub(crate) paused: Attr<bool>,
    pub(crate) deletion_protection: Attr<bool>,
    pub(crate) on_existing: Attr<String>,
    pub(crate) on_incomplete_create: Attr<String>,
    pub(crate) kubernetes: Attr<Kubernetes>,
    pub(crate) timeouts: Attr<Timeouts>,
    pub(crate) uid: Attr<String>,
    pub(crate) proof_key: Attr<Secret>,
    pub(crate) cloud: Attr<String>,
    pub(crate) scope: Attr<String>,
    pub(crate) generation: Attr<String>,
    pub(crate) machines: Whole<BTreeMap<String, Machine>>,
    pub(crate) slots: Whole<Slots>,
    pub(crate) rollout: Whole<Vec<String>>,
}

/// `rolling_update`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct RollingUpdate {
    pub(crate) max_surge: Attr<String>,
    pub(crate) max_unavailable: Attr<String>,
    pub(crate) canary: Attr<bool>,
    pub(crate) min_ready: Attr<String>,
    pub(crate) max_failures: Attr<i64>,
    pub(crate) parallelism: Attr<i64>,
}

/// `timeouts`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Timeouts {
    pub(crate) create: Attr<String>,
    pub(crate) read: Attr<String>,
    pub(crate) update: Attr<String>,
    pub(crate) delete: Attr<String>,
}

impl Model for Group {
    fn from_value(value: &Value) -> Result<Self, Diagnostics> {
        let mut fixed = match to_value(&Fields::default()) {
            Value::Map(fixed) => fixed,
            _ => BTreeMap::new(),
        };
        let mut clouds = BTreeMap::new();
        if let Value::Map(attributes) = value {
            for (name, value) in attributes {
                match fixed.get_mut(name) {
                    Some(field) => field.clone_from(value),
                    None => {
                        clouds.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        let fields = convert::from_value(&Value::Map(fixed), &Path::root())?;
        Ok(Self { fields, clouds })
    }

    fn to_value(&self) -> Value {
        let mut attributes = match to_value(&self.fields) {
            Value::Map(attributes) => attributes,
            _ => BTreeMap::new(),
        };
        attributes.extend(self.clouds.clone());
        Value::Map(attributes)
    }
}

/// Where the attribute of the group's cloud is.
pub(crate) enum Chosen {
    /// The attribute of this cloud is written.
    One(&'static Entry),
    /// None is written, or it is not known yet which one is.
    None,
    /// More than one is written.
    Many,
}

impl Group {
    /// Which cloud's attribute is written.
    pub(crate) fn chosen(&self, clouds: &'static [&'static Entry]) -> Chosen {
        let mut written = clouds.iter().filter(|entry| {
            let shape = self.clouds.get(entry.name).unwrap_or(&Value::Null);
            !matches!(shape, Value::Null | Value::Unknown(_))
        });
        match (written.next(), written.next()) {
            (Some(one), None) => Chosen::One(one),
            (None, _) => Chosen::None,
            (Some(_), Some(_)) => Chosen::Many,
        }
    }

    /// The attribute of this cloud; null where it is not written.
    pub(crate) fn shape(&self, entry: &Entry) -> &Value {
        self.clouds.get(entry.name).unwrap_or(&Value::Null)
    }

    /// What the group should be, if every input is known: `image` is what new machines boot.
    pub(crate) fn wanted(&self, entry: &'static Entry, private: &Private) -> Option<Wanted> {
        let fields = &self.fields;
        let shape = self.shape(entry).clone();
        let update = match &fields.rolling_update {
            Attr::Known(update) => update.clone(),
            Attr::Null => RollingUpdate::default(),
            Attr::Unknown => return None,
        };
        if !shape.is_wholly_known() || fields.user_data.is_unknown() {
            return None;
        }
        let image_update = or(&fields.image_update, "new_only".to_owned())?;
        let own = or(&fields.image, String::new())?;
        let image = match (image_update.as_str(), &private.first_image) {
            ("pinned", Some(first)) => first.clone(),
            _ => own,
        };
        let share = |text: &Attr<String>, default: Share| match text {
            Attr::Known(text) => Share::parse(text),
            Attr::Null => Some(default),
            Attr::Unknown => None,
        };
        let replicas = usize::try_from(or(&fields.replicas, 0)?).unwrap_or_default();
        let triggers = match &fields.replace_triggers {
            Attr::Null => BTreeMap::new(),
            Attr::Unknown => return None,
            Attr::Known(triggers) => triggers
                .iter()
                .map(|(key, value)| Some((key.clone(), or(value, String::new())?)))
                .collect::<Option<_>>()?,
        };
        Some(Wanted {
            entry,
            name: fields.name.known()?.clone(),
            cluster: fields.cluster.known()?.clone(),
            replicas,
            limits: Limits::new(
                replicas,
                share(&update.max_surge, Share::Count(1))?,
                share(&update.max_unavailable, Share::Count(0))?,
                or(&update.canary, true)?,
            ),
            pace: Pace {
                parallelism: usize::try_from(or(&update.parallelism, PARALLELISM)?)
                    .ok()?
                    .max(1),
                min_ready: time(&update.min_ready, Duration::ZERO)?,
                machine_timeout: time(&fields.machine_timeout, MACHINE_TIMEOUT)?,
                max_failures: usize::try_from(or(&update.max_failures, 0)?).unwrap_or_default(),
            },
            rolls: Rolls {
                user_data: or(&fields.user_data_update, "roll".to_owned())? == "roll",
                image: image_update == "roll",
                shape: true,
                triggers: true,
            },
            image,
            set_hostname: or(&fields.set_hostname, entry.set_hostname)?,
            user_data: fields.user_data.known().cloned(),
            version: match &fields.user_data_wo_version {
                Attr::Known(version) => Some(version.to_string()),
                Attr::Null => None,
                Attr::Unknown => return None,
            },
            rolling: rolling(entry, &shape),
            first_form: first_form(entry, &shape, &private.configured),
            in_place: shape::in_place(entry, &shape),
            places: shape::places(entry, &shape),
            on_nodes: kubernetes::in_place(&fields.kubernetes)?,
            shape,
            triggers,
            remove_first: names(&fields.remove_first)?,
            replace_machines: names(&fields.replace_machines)?,
            on_stopped: OnStopped::of(&or(&fields.on_stopped, String::new())?),
            paused: or(&fields.paused, false)?,
        })
    }
}

/// Names of machines; none where there is no list.
fn names(value: &Attr<Vec<Attr<String>>>) -> Option<BTreeSet<String>> {
    let names = or(value, Vec::new())?;
    names.iter().map(|name| or(name, String::new())).collect()
}

fn or<T: Clone>(value: &Attr<T>, default: T) -> Option<T> {
    match value {
        Attr::Known(value) => Some(value.clone()),
        Attr::Null => Some(default),
        Attr::Unknown => None,
    }
}

fn time(value: &Attr<String>, default: Duration) -> Option<Duration> {
    match value {
        Attr::Known(text) => duration::parse(text),
        Attr::Null => Some(default),
        Attr::Unknown => None,
    }
}

/// How long an operation may take: `timeouts.create` and so on, of a state or plan.
pub(crate) fn timeout(
    fields: &Fields,
    of: fn(&Timeouts) -> &Attr<String>,
    default: &str,
) -> Duration {
    let text = timeout_text(fields, of, default);
    duration::parse(&text).unwrap_or(Duration::from_secs(3600))
}

/// The same as the user says it: `30m`.
pub(crate) fn timeout_text(
    fields: &Fields,
    of: fn(&Timeouts) -> &Attr<String>,
    default: &str,
) -> String {
    let written = fields.timeouts.known().and_then(|all| of(all).known());
    written.map_or(default, String::as_str).to_owned()
}

/// The schema, with an attribute for each of these clouds.
pub(crate) fn schema(clouds: &[&'static Entry]) -> Schema {
    let mut attributes = vec![
        Attribute::string("name", "Name of the group; with `cluster` its identity on a cloud, and the beginning of its machines' names.")
            .required()
            .pattern(NAME_SAYS, |text| is_name(text, NAME_LENGTH))
            .requires_replace(),
        Attribute::string("cluster", "Name of the cluster that the group belongs to.")
            .required()
            .pattern(CLUSTER_SAYS, |text| is_name(text, CLUSTER_LENGTH))
            .requires_replace(),
        Attribute::number("replicas", "Number of machines. A change of it alone rolls nothing.")
            .required()
            .range(0..=MOST_REPLICAS),
        Attribute::string("image", "Image that new machines boot, in the cloud's own form; `data.flatcar_image.<name>.image` has it.")
            .required()
            .pattern(IMAGE_SAYS, is_image),
        Attribute::string("user_data", "Ignition JSON that machines boot with: `data.flatcar_ignition.<name>.rendered`. It is packed and encoded for the cloud here.")
            .optional()
            .sensitive(),
        Attribute::string("user_data_wo", "The same as `user_data`, never in plan or state; needs `user_data_wo_version`, and Terraform or OpenTofu 1.11.")
            .optional()
            .sensitive()
            .write_only(),
        Attribute::number("user_data_wo_version", "Version of `user_data_wo`: another number is what counts as a change of it.")
            .optional(),
        Attribute::bool("set_hostname", "Whether `/etc/hostname` is written with the machine's name. Defaults to `true` where the platform names no hosts (vsphere, vcd, kubevirt, sandbox), `false` elsewhere.")
            .optional(),
        Attribute::object("rolling_update", "How machines are replaced.", rolling_update())
            .check("Zero for both `max_surge` and `max_unavailable` is refused", check_shares)
            .defaulted(),
        window::schema(),
        Attribute::string("image_update", "What a change of `image` does to machines that exist: nothing (`new_only`), replaces them (`roll`); `pinned` makes new machines too from the image of the group's creation.")
            .default("new_only")
            .one_of(["new_only", "roll", "pinned"]),
        Attribute::string("user_data_update", "What a change of user data does to machines that exist: replaces them (`roll`), or nothing (`new_only`).")
            .default("roll")
            .one_of(["roll", "new_only"]),
        Attribute::map("replace_triggers", "Values any change of which replaces all machines, one after the other.", Type::String)
            .optional(),
        Attribute::string("machine_timeout", "Time from the creation of a machine until it has to run, and to have joined.")
            .default("15m")
            .duration()
            .pattern(SOME_TIME, is_some_time),
        Attribute::list("remove_first", "Names of machines that scale-in and rolls take first.", Type::String)
            .optional(),
        Attribute::string("on_stopped", "What an apply does about a machine that somebody stopped: makes another in its place (`replace`), starts it (`start`), or leaves it stopped and counts it (`leave`). Defaults to `replace`.")
            .optional()
            .one_of(OnStopped::WORDS),
        Attribute::list("replace_machines", "Names of machines that are replaced, as in a roll, though nothing is wrong with them. A name that is gone stays without effect: it never comes back.", Type::String)
            .optional(),
        Attribute::bool("paused", "Whether an apply leaves all machines alone; plans say what it would do otherwise.")
            .default(false),
        Attribute::bool("deletion_protection", "Whether the group refuses to be destroyed, to be replaced by another group, and to be scaled to no machine.")
            .default(false),
        Attribute::string("on_existing", "What a creation does when another state has machines of this (cluster, name): stops (`fail`), leaves them alone with a warning (`keep`, for create_before_destroy), or takes them over (`adopt`). What an earlier creation of this same state and configuration left that was cut off is taken over in any case, with a warning that names it; a group that this state has under another address is never adopted.")
            .default("fail")
            .one_of(["fail", "keep", "adopt"]),
        Attribute::string("on_incomplete_create", "What a creation that falls short is: an `error`, which taints the group until `terraform untaint`, or a `warn`ing, after which the next apply completes it.")
            .default("error")
            .one_of(["error", "warn"]),
        kubernetes::schema(),
        Attribute::object("timeouts", "How long operations may take.", vec![
            Attribute::string("create", "Of the creation.").default(CREATE_TIMEOUT).duration().pattern(SOME_TIME, is_some_time),
            Attribute::string("read", "Of a refresh.").default(READ_TIMEOUT).duration().pattern(SOME_TIME, is_some_time),
            Attribute::string("update", "Of a change, a whole roll included.").default(UPDATE_TIMEOUT).duration().pattern(SOME_TIME, is_some_time),
            Attribute::string("delete", "Of the deletion.").default(DELETE_TIMEOUT).duration().pattern(SOME_TIME, is_some_time),
        ])
        .optional(),
    ];
    attributes.extend(computed());
    attributes.extend(clouds.iter().map(|entry| (entry.group_schema)()));
    Schema::new(
        VERSION,
        "Machines on one cloud with the life of a MachineDeployment and no management cluster: scaled, rolled, repaired and imported as \
         one. Exactly one of the clouds' attributes is written.",
        attributes,
    )
}

/// As the user wrote them: a roll that may neither add nor take away could never begin. Where one
/// is left to its default, or they come to zero by rounding, one machine may be missing.
fn check_shares(update: &Value, _path: &Path) -> Diagnostics {
    let zero = |name: &str| match update {
        Value::Map(written) => match written.get(name) {
            Some(Value::String(text)) => matches!(
                Share::parse(text),
                Some(Share::Count(0) | Share::Percent(0))
            ),
            _ => false,
        },
        _ => false,
    };
    if !zero("max_surge") || !zero("max_unavailable") {
        return Diagnostics::none();
    }
    refusal(
        Path::of("rolling_update.max_unavailable"),
        "A roll could never begin",
        "max_surge and max_unavailable are both zero. Allow one more machine or one fewer.",
    )
    .into()
}

/// An operation, or a machine, without any time could never do anything.
fn is_some_time(text: &str) -> bool {
    duration::parse(text).is_none_or(|time| !time.is_zero())
}

fn rolling_update() -> Vec<Attribute> {
    vec![
        Attribute::string("max_surge", "Machines that may exist beyond `replicas` during a roll.")
            .default("1")
            .pattern(SHARE_SAYS, |text| Share::parse(text).is_some()),
        Attribute::string("max_unavailable", "Machines that may be missing from `replicas` during a roll; one where it and `max_surge` come to zero.")
            .default("0")
            .pattern(SHARE_SAYS, |text| Share::parse(text).is_some()),
        Attribute::bool("canary", "Whether one new machine has to serve before others are replaced.")
            .default(true),
        Attribute::string("min_ready", "Time that a new machine has to be up before it counts.")
            .default("0s")
            .duration(),
        Attribute::number("max_failures", "New machines that may fail in one apply and are made again; one more stops it. A creation tolerates at least 5.")
            .default(0)
            .range(0..=MOST_REPLICAS),
        Attribute::number("parallelism", "Machines that are created or deleted at a time. What is drained, or waits until its traffic has ended, does not count.")
            .default(PARALLELISM)
            .range(1..=1000),
    ]
}

/// Blanks around an image are never part of its name: they come from a file that was read with its
/// line feed.
fn is_image(text: &str) -> bool {
    (1..=1024).contains(&text.chars().count())
        && text.trim() == text
        && !text.contains(char::is_control)
}

/// One error that says what is allowed.
pub(crate) fn refusal(path: Path, summary: &str, detail: impl Into<String>) -> Diagnostic {
    Diagnostic::error(summary, detail).at(path)
}

/// What is wrong with names that are asked for by hand: those of a cluster and of a group, in the
/// words of the schema.
pub(crate) fn wrong_names(cluster: &str, name: &str) -> Option<String> {
    let wrong = [
        (cluster, "cluster", CLUSTER_LENGTH, CLUSTER_SAYS),
        (name, "name", NAME_LENGTH, NAME_SAYS),
    ];
    let wrong = wrong
        .into_iter()
        .find(|(text, _, most, _)| !is_name(text, *most));
    wrong.map(|(text, what, _, says)| format!("The {what} {text:?} is no name of one. {says}."))
}

fn is_name(text: &str, most: usize) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase();
    let inner = |byte: u8| letter(byte) || byte.is_ascii_digit() || byte == b'-';
    let bytes = text.as_bytes();
    (1..=most).contains(&bytes.len())
        && bytes.first().copied().is_some_and(letter)
        && bytes.last().copied().is_some_and(|byte| byte != b'-')
        && bytes.iter().copied().all(inner)
}

/// Of the stored state. In 0 a step of `rollout` was an object.
const VERSION: i64 = 1;
/// `timeouts.create` unless the user says otherwise; so the others.
pub(crate) const CREATE_TIMEOUT: &str = "30m";
pub(crate) const READ_TIMEOUT: &str = "5m";
pub(crate) const UPDATE_TIMEOUT: &str = "2h";
pub(crate) const DELETE_TIMEOUT: &str = "1h";

const MACHINE_TIMEOUT: Duration = Duration::from_secs(900);
const PARALLELISM: i64 = 10;
const MOST_REPLICAS: i64 = 10_000;
/// With a uid of 8 and an ordinal a machine's name stays a host name of at most 63.
const NAME_LENGTH: usize = 40;
const CLUSTER_LENGTH: usize = 63;
const NAME_SAYS: &str =
    "At most 40 lower-case letters, digits and hyphens, a letter first, no hyphen last";
const CLUSTER_SAYS: &str =
    "At most 63 lower-case letters, digits and hyphens, a letter first, no hyphen last";
const IMAGE_SAYS: &str =
    "From 1 to 1024 characters, none of them a control character, no blank first or last";
const SOME_TIME: &str = "Longer than `0s`";
const SHARE_SAYS: &str = "A number of machines such as `1`, or a percentage from `0%` to `100%`";
