//! Ignition's rules for disks, filesystems, encrypted devices, arrays, and files, directories and
//! links.
//!
//! Source: Ignition 2.26.0 (facts, section 12.2). Each message is a constant.

use std::collections::{HashMap, HashSet};

use crate::ignition::config::report::Problems;
use crate::ignition::config::{At, Object, url};
use crate::text::go::clean;
use crate::text::json;

const NO_PATH: &str = "path not specified";
const PATH_RELATIVE: &str = "path not absolute";
const PATH_DIRTY: &str = "path is not fully simplified";
const DIRECTORY_USED_SYMLINK: &str = "directory path includes link in config";
const FILE_USED_SYMLINK: &str = "file path includes link in config";
const LINK_USED_SYMLINK: &str = "link path includes link in config";
const LINK_TARGET_REQUIRED: &str = "link target is required";
const HARD_LINK_TO_DIRECTORY: &str = "hard link target is a directory";
const HARD_LINK_OWNER: &str = "user/group ignored for hard link";
const PARTITIONS_OVERWRITTEN: &str = "filesystem overwrites partitioned device";
const IMPLICIT_WIPE: &str = "device matches disk with wipeTable enabled; filesystem will be wiped";
const ILLEGAL_MODE: &str = "illegal file mode";
const SPECIAL_BITS: &str =
    "setuid/setgid/sticky bits are not supported or functional in spec versions older than 3.6.0";
const OVERWRITE_WITHOUT_SOURCE: &str = "overwrite must be false if source is unspecified";
const DEVICE_REQUIRED: &str = "disk device is required";
const NUMBERS_COLLIDE: &str = "partition numbers collide";
const PARTITIONS_OVERLAP: &str = "partitions overlap";
const ZEROES_WITH_NONEXISTENCE: &str =
    "shouldExist is false for a partition and other partition(s) has start or size 0";
const LABELS_COLLIDE: &str = "cannot use the same partition label twice";
const NONEXISTENCE_WITH_OTHERS: &str =
    "shouldExist specified false with other options also specified";
const NUMBER_OR_LABEL: &str = "a partition number >= 1 or a label must be specified";
const PARTITION_LABEL_TOO_LONG: &str = "partition labels may not exceed 36 characters";
const PARTITION_LABEL_COLON: &str = "partition label will be truncated to text before the colon";
const GUID_FORM: &str = "doesn't match the form \"01234567-89AB-CDEF-EDCB-A98765432101\"";
const FORMAT_REQUIRED: &str = "format cannot be empty when path, label, uuid, wipeFilesystem, options, or mountOptions is specified";
const FORMAT_INVALID: &str = "invalid filesystem format";
const LABEL_WITHOUT_FORMAT: &str = "filesystem must specify format if label is specified";
const LUKS_NAME_SLASH: &str = "device names cannot contain slashes";
const LUKS_LABEL_TOO_LONG: &str = "luks device labels cannot be longer than 47 characters";
const CLEVIS_CUSTOM_WITH_OTHERS: &str =
    "cannot use custom clevis config with tpm2, tang, or threshold";
const KEY_FILE_INVALID: &str = "invalid key-file source";
const CEX_WITH_CLEVIS: &str = "cannot use cex with clevis";
const CEX_WITH_KEY_FILE: &str = "cannot use key file with cex";
const CLEVIS_PIN_REQUIRED: &str = "missing required custom clevis pin";
const CLEVIS_CONFIG_REQUIRED: &str = "missing required custom clevis config";
const CLEVIS_PIN_UNKNOWN: &str = "unsupported clevis pin";
const THUMBPRINT_REQUIRED: &str = "thumbprint is required";
const ADVERTISEMENT_INVALID: &str = "advertisement is not valid JSON";
const RAID_LEVEL_REQUIRED: &str = "raid level is required";
const RAID_LEVEL_UNRECOGNIZED: &str = "unrecognized raid level";
const RAID_SPARES_UNSUPPORTED: &str = "spares unsupported for linear and raid0 arrays";
const RAID_DEVICES_REQUIRED: &str = "raid devices required";

/// Formats of filesystems, with the longest label in bytes and the words for a longer one.
const FORMATS: [(&str, usize, &str); 6] = [
    (
        "ext4",
        16,
        "filesystem labels cannot be longer than 16 characters when using ext4",
    ),
    (
        "btrfs",
        256,
        "filesystem labels cannot be longer than 256 characters when using btrfs",
    ),
    (
        "xfs",
        12,
        "filesystem labels cannot be longer than 12 characters when using xfs",
    ),
    (
        "swap",
        15,
        "filesystem labels cannot be longer than 15 characters when using swap",
    ),
    (
        "vfat",
        11,
        "filesystem labels cannot be longer than 11 characters when using vfat",
    ),
    ("none", usize::MAX, ""),
];

/// Levels of arrays that take spares.
const RAID_LEVELS: [&str; 11] = [
    "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6", "6", "raid10", "10",
];
/// Levels of arrays that do not.
const RAID_LEVELS_WITHOUT_SPARES: [&str; 4] = ["linear", "raid0", "0", "stripe"];

/// The rules for one object, not for those below it.
pub(crate) fn rules(object: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    match object.shape.name {
        "Storage" => storage(object, at, problems),
        "Directory" | "File" | "Link" => node(object, at, minor, problems),
        "Disk" => disk(object, at, problems),
        "Partition" => partition(object, at, problems),
        "Filesystem" => filesystem(object, at, problems),
        "Luks" => luks(object, at, minor, problems),
        "ClevisCustom" => clevis_custom(object, at, minor, problems),
        "Tang" => tang(object, at, minor, problems),
        "Raid" => raid(object, at, problems),
        _ => {}
    }
}

fn storage(storage: &Object, at: &At<'_>, problems: &mut Problems) {
    let links = LinkPaths::of(storage.objects("links"));
    for (list, message) in [
        ("directories", DIRECTORY_USED_SYMLINK),
        ("files", FILE_USED_SYMLINK),
    ] {
        for (index, node) in storage.objects(list).iter().enumerate() {
            let path = || at.path().name(list).index(index);
            problems.errors(links.above(node.name("path")), path, message);
        }
    }
    let mut directories: HashMap<&str, usize> = HashMap::new();
    for directory in storage.objects("directories") {
        *directories.entry(directory.name("path")).or_default() += 1;
    }
    for (index, link) in storage.objects("links").iter().enumerate() {
        let path = || at.path().name("links").index(index);
        problems.errors(links.above(link.name("path")), path, LINK_USED_SYMLINK);
        let Some(target) = link.filled("target") else {
            problems.error(path().name("target"), LINK_TARGET_REQUIRED);
            continue;
        };
        if !link.is_true("hard") {
            continue;
        }
        let target = match target.starts_with('/') {
            true => clean(target),
            false if link.name("path").is_empty() => clean(target),
            false => clean(&format!("{}/{target}", link.name("path"))),
        };
        // Directories may repeat; the reference reports this once for each of that path.
        let repeats = directories.get(target.as_str()).copied().unwrap_or(0);
        problems.errors(repeats, path, HARD_LINK_TO_DIRECTORY);
        for owner in ["user", "group"] {
            for name in ["id", "name"] {
                if link.object(owner).is_some_and(|o| o.is_set(name)) {
                    problems.warning(path().name(owner).name(name), HARD_LINK_OWNER);
                }
            }
        }
    }
    let disks: HashMap<&str, &Object> = storage
        .objects("disks")
        .iter()
        .map(|d| (d.name("device"), d))
        .collect();
    for (index, filesystem) in storage.objects("filesystems").iter().enumerate() {
        let Some(disk) = disks.get(filesystem.name("device")) else {
            continue;
        };
        let message = if !disk.objects("partitions").is_empty() {
            PARTITIONS_OVERWRITTEN
        } else if disk.is_true("wipe_table") && !filesystem.is_true("wipe_filesystem") {
            IMPLICIT_WIPE
        } else {
            continue;
        };
        problems.warning(
            at.path().name("filesystems").index(index).name("device"),
            message,
        );
    }
}

/// The paths of links, part by part: a part below another one is found by that one's number.
struct LinkPaths<'a> {
    parts: HashMap<(usize, &'a str), usize>,
    /// How many links end at each part. The first part is the root, where all paths begin.
    links: Vec<usize>,
}

impl<'a> LinkPaths<'a> {
    fn of(links: &'a [Object]) -> Self {
        let mut paths = Self {
            parts: HashMap::new(),
            links: vec![0],
        };
        for link in links {
            let mut here = 0;
            for part in link.name("path").split('/') {
                let next = paths.links.len();
                here = *paths.parts.entry((here, part)).or_insert(next);
                if here == next {
                    paths.links.push(0);
                }
            }
            paths.links[here] += 1;
        }
        paths
    }

    /// The number of links that a path leads through.
    fn above(&self, path: &str) -> usize {
        let Some((parents, _)) = path.rsplit_once('/') else {
            return 0;
        };
        let mut here = Some(0);
        let found = parents.split('/').map_while(|part| {
            here = here.and_then(|above| self.parts.get(&(above, part)).copied());
            here.map(|here| self.links[here])
        });
        found.sum()
    }
}

fn node(node: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    if let Err(message) = path(node.name("path")) {
        problems.error(at.path().name("path"), message);
    }
    if node.shape.name == "Link" {
        return;
    }
    if let Some(mode) = node.int("mode") {
        if !(0..=0o7777).contains(&mode) {
            problems.error(at.path().name("mode"), ILLEGAL_MODE);
        }
        if mode & 0o7000 != 0 && minor < 6 {
            problems.warning(at.path().name("mode"), SPECIAL_BITS);
        }
    }
    let has_source = |file: &Object| {
        file.object("contents")
            .is_some_and(|contents| contents.is_set("source"))
    };
    if node.shape.name == "File" && node.is_true("overwrite") && !has_source(node) {
        problems.error(at.path().name("overwrite"), OVERWRITE_WITHOUT_SOURCE);
    }
}

fn disk(disk: &Object, at: &At<'_>, problems: &mut Problems) {
    let device = disk.name("device");
    if device.is_empty() {
        return problems.error(at.path().name("device"), DEVICE_REQUIRED);
    }
    if let Err(message) = path(device) {
        problems.error(at.path().name("device"), message);
    }
    let partitions = disk.objects("partitions");
    let numbers = partitions
        .iter()
        .map(|p| p.int("number").filter(|number| *number != 0));
    if let Some(index) = first_repeat(numbers) {
        problems.error(at.path().name("partitions").index(index), NUMBERS_COLLIDE);
    }
    if let Some(index) = first_overlap(partitions) {
        problems.error(
            at.path().name("partitions").index(index),
            PARTITIONS_OVERLAP,
        );
    }
    let unnumbered = partitions.iter().any(|p| p.int("number").unwrap_or(0) == 0);
    if unnumbered
        && partitions
            .iter()
            .any(|p| p.bool("should_exist") == Some(false))
    {
        problems.error(at.path().name("partitions"), ZEROES_WITH_NONEXISTENCE);
    }
    if let Some(index) = first_repeat(partitions.iter().map(|p| p.text("label"))) {
        problems.error(at.path().name("partitions").index(index), LABELS_COLLIDE);
    }
}

fn first_repeat<T: std::hash::Hash + Eq>(values: impl Iterator<Item = Option<T>>) -> Option<usize> {
    let mut seen = HashSet::new();
    values.enumerate().find_map(|(index, value)| {
        value
            .is_some_and(|value| !seen.insert(value))
            .then_some(index)
    })
}

/// The second of the first two partitions that share a megabyte.
fn first_overlap(partitions: &[Object]) -> Option<usize> {
    let extents: Vec<Option<(i64, i64)>> = partitions.iter().map(extent).collect();
    let overlap = Overlaps::of(&extents);
    let first = (0..extents.len()).find(|p| overlap.any(*p))?;
    let (start, end) = extents[first]?;
    (0..extents.len()).find(|other| {
        extents[*other].is_some_and(|(other_start, other_end)| {
            let range = other_start..=other_end;
            *other != first
                && (range.contains(&start)
                    || range.contains(&end)
                    || (start < other_start && end > other_end))
        })
    })
}

/// Extents by their start, so that one is compared with all the others at once. They may end before
/// they start.
struct Overlaps<'a> {
    extents: &'a [Option<(i64, i64)>],
    /// Start and number.
    sorted: Vec<(i64, usize)>,
    /// Of those up to each place the two with the highest ends: end and number.
    highest: Vec<[Option<(i64, usize)>; 2]>,
    /// The lowest end of those from each place on.
    lowest: Vec<i64>,
}

impl<'a> Overlaps<'a> {
    fn of(extents: &'a [Option<(i64, i64)>]) -> Self {
        let starts = extents.iter().enumerate();
        let mut sorted: Vec<(i64, usize)> = starts
            .filter_map(|(number, extent)| extent.map(|(start, _)| (start, number)))
            .collect();
        sorted.sort_unstable();
        let end = |number: usize| extents[number].map_or(0, |(_, end)| end);
        let mut best = [None, None];
        let highest = sorted.iter().map(|(_, number)| {
            let this = Some((end(*number), *number));
            best = if this > best[0] {
                [this, best[0]]
            } else {
                [best[0], best[1].max(this)]
            };
            best
        });
        let highest = highest.collect();
        let mut least = i64::MAX;
        let lowest = sorted.iter().rev().map(|(_, number)| {
            least = least.min(end(*number));
            least
        });
        let mut lowest: Vec<i64> = lowest.collect();
        lowest.reverse();
        Self {
            extents,
            sorted,
            highest,
            lowest,
        }
    }

    /// Whether it starts or ends within another one, or has another one inside.
    fn any(&self, number: usize) -> bool {
        let Some((start, end)) = self.extents[number] else {
            return false;
        };
        let within = |point: i64| {
            let before = self.sorted.partition_point(|(start, _)| *start <= point);
            let highest = before.checked_sub(1).map(|last| self.highest[last]);
            highest
                .into_iter()
                .flatten()
                .flatten()
                .any(|(end, other)| other != number && end >= point)
        };
        let after = self.sorted.partition_point(|(other, _)| *other <= start);
        within(start) || within(end) || self.lowest.get(after).is_some_and(|least| *least < end)
    }
}

/// First and last megabyte, where both are given and the start is not left to the machine.
fn extent(partition: &Object) -> Option<(i64, i64)> {
    let start = partition.int("start_mib").filter(|start| *start != 0)?;
    match partition.int("size_mib")? {
        0 => Some((start, start)),
        size => Some((start, start.wrapping_add(size).wrapping_sub(1))),
    }
}

fn partition(partition: &Object, at: &At<'_>, problems: &mut Problems) {
    let described = ["label", "start_mib", "size_mib"]
        .iter()
        .any(|name| partition.is_set(name))
        || ["type_guid", "guid"]
            .iter()
            .any(|name| partition.filled(name).is_some());
    if partition.bool("should_exist") == Some(false) && described {
        problems.error(at.path(), NONEXISTENCE_WITH_OTHERS);
    }
    let label = partition.text("label");
    if partition.int("number").unwrap_or(0) == 0 && label.is_none() {
        problems.error(at.path(), NUMBER_OR_LABEL);
    }
    match label {
        Some(label) if label.len() > 36 => {
            problems.error(at.path().name("label"), PARTITION_LABEL_TOO_LONG)
        }
        Some(label) if label.contains(':') => {
            problems.error(at.path().name("label"), PARTITION_LABEL_COLON)
        }
        _ => {}
    }
    for name in ["guid", "type_guid"] {
        if partition.filled(name).is_some_and(|guid| !is_guid(guid)) {
            problems.error(at.path().name(name), GUID_FORM);
        }
    }
}

fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    lengths && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn filesystem(filesystem: &Object, at: &At<'_>, problems: &mut Problems) {
    if let Some(Err(message)) = filesystem.filled("path").map(path) {
        problems.error(at.path().name("path"), message);
    }
    if let Err(message) = path(filesystem.name("device")) {
        problems.error(at.path().name("device"), message);
    }
    let format = filesystem.filled("format");
    let known = FORMATS.iter().find(|(name, ..)| Some(*name) == format);
    if format.is_none() {
        let used = ["path", "label", "uuid"]
            .iter()
            .any(|name| filesystem.filled(name).is_some())
            || filesystem.is_true("wipe_filesystem")
            || ["options", "mount_options"]
                .iter()
                .any(|name| !filesystem.texts(name).is_empty());
        if used {
            problems.error(at.path().name("format"), FORMAT_REQUIRED);
        }
    } else if known.is_none() {
        problems.error(at.path().name("format"), FORMAT_INVALID);
    }
    let Some(label) = filesystem.filled("label") else {
        return;
    };
    match (format, known) {
        (None, _) => problems.error(at.path().name("label"), LABEL_WITHOUT_FORMAT),
        (_, Some((_, longest, message))) if label.len() > *longest => {
            problems.error(at.path().name("label"), *message);
        }
        _ => {}
    }
}

fn luks(luks: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    if luks.name("name").contains('/') {
        problems.error(at.path().name("name"), LUKS_NAME_SLASH);
    }
    if luks.filled("label").is_some_and(|label| label.len() > 47) {
        problems.error(at.path().name("label"), LUKS_LABEL_TOO_LONG);
    }
    match luks.filled("device") {
        None => problems.error(at.path().name("device"), DEVICE_REQUIRED),
        Some(device) => {
            if let Err(message) = path(device) {
                problems.error(at.path().name("device"), message);
            }
        }
    }
    let clevis = luks.object("clevis");
    let pin = clevis
        .and_then(|c| c.object("custom"))
        .and_then(|custom| custom.filled("pin"));
    let others = clevis.is_some_and(|clevis| {
        !clevis.objects("tang").is_empty()
            || clevis.is_true("tpm2")
            || clevis.int("threshold").is_some_and(|t| t != 0)
    });
    if pin.is_some() && others {
        problems.error(at.path().name("clevis"), CLEVIS_CUSTOM_WITH_OTHERS);
    }
    let cex = luks.object("cex").is_some_and(|cex| cex.is_true("enabled"));
    let key_source = luks
        .object("key_file")
        .and_then(|file| file.filled("source"));
    if cex && (pin.is_some() || others) {
        problems.error(at.path().name("cex"), CEX_WITH_CLEVIS);
    }
    if cex && key_source.is_some() {
        problems.error(at.path().name("cex"), CEX_WITH_KEY_FILE);
    }
    if key_source.is_some_and(|source| url::check_source(source, minor).is_err()) {
        // The reference blames a field that no config has.
        problems.error(at.path().name("keys"), KEY_FILE_INVALID);
    }
}

fn clevis_custom(custom: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    let (pin, config) = (custom.filled("pin"), custom.filled("config"));
    if pin.is_none() && config.is_none() && !custom.is_true("needs_network") {
        return;
    }
    match pin {
        None => problems.error(at.path().name("pin"), CLEVIS_PIN_REQUIRED),
        Some("tpm2" | "tang" | "sss") => {}
        Some(_) if minor < 6 => problems.error(at.path().name("pin"), CLEVIS_PIN_UNKNOWN),
        Some(_) => {}
    }
    if config.is_none() {
        problems.error(at.path().name("config"), CLEVIS_CONFIG_REQUIRED);
    }
}

fn tang(tang: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    match url::parse(tang.name("url")) {
        Err(message) => problems.error(at.path().name("url"), message),
        Ok(url) if matches!(url.scheme.as_str(), "http" | "https") => {}
        Ok(_) => problems.error(at.path().name("url"), url::SCHEME_INVALID),
    }
    if tang.filled("thumbprint").is_none() {
        problems.error(at.path().name("thumbprint"), THUMBPRINT_REQUIRED);
    }
    let invalid = tang
        .filled("advertisement")
        .is_some_and(|text| json::parse(text).is_err());
    if invalid && minor >= 4 {
        problems.error(at.path().name("advertisement"), ADVERTISEMENT_INVALID);
    }
}

fn raid(raid: &Object, at: &At<'_>, problems: &mut Problems) {
    let spares = raid.int("spares").is_some_and(|spares| spares != 0);
    let message = match raid.filled("level") {
        None => Some(RAID_LEVEL_REQUIRED),
        Some(level) if RAID_LEVELS_WITHOUT_SPARES.contains(&level) => {
            spares.then_some(RAID_SPARES_UNSUPPORTED)
        }
        Some(level) if RAID_LEVELS.contains(&level) => None,
        Some(_) => Some(RAID_LEVEL_UNRECOGNIZED),
    };
    if let Some(message) = message {
        problems.error(at.path().name("level"), message);
    }
    if raid.texts("devices").is_empty() {
        problems.error(at.path().name("devices"), RAID_DEVICES_REQUIRED);
    }
    for (index, device) in raid.texts("devices").iter().enumerate() {
        if let Err(message) = path(device) {
            problems.error(at.path().name("devices").index(index), message);
        }
    }
}

/// An absolute path in its simplest form.
fn path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        Err(NO_PATH)
    } else if !path.starts_with('/') {
        Err(PATH_RELATIVE)
    } else if clean(path) != path {
        Err(PATH_DIRTY)
    } else {
        Ok(())
    }
}
