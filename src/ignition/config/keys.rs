//! What a key that a schema lacks was meant to be: one of Container Linux Config or of the other
//! format, one of a later version, or a slip.
//!
//! `enable` of a unit is `enabled`, `passwordHash` of a user is `password_hash`. The schemas answer
//! what they can; the rest is a table.

use crate::ignition::config::versions::VERSIONS;
use crate::ignition::config::{Field, Format, Shape};
use crate::ignition::release::unread;

/// Keys of Container Linux Config, of Ignition 2 and of habit that no spelling leads from to what
/// to write: shape, key, one imperative sentence.
#[rustfmt::skip]
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("Config", "etcd", "Write a unit `etcd-member.service` or a quadlet of your own: Butane has no section for etcd"),
    ("Config", "flannel", "Write a unit of your own: Butane has no section for flannel"),
    ("Config", "docker", "Write a drop-in of `docker.service` with DOCKER_OPTS: Butane has no section for Docker"),
    ("Config", "update", "Write a file `/etc/flatcar/update.conf`, or use the preset updates: Butane has no section for updates"),
    ("Config", "locksmith", "Write a file `/etc/flatcar/update.conf`, or use the preset updates: Butane has no section for locksmith"),
    ("Config", "networkd", "Write files below `/etc/systemd/network`: Butane has no section for networkd"),
    ("Config", "files", "Write it below `storage`"),
    ("Config", "directories", "Write it below `storage`"),
    ("Config", "links", "Write it below `storage`"),
    ("Config", "disks", "Write it below `storage`"),
    ("Config", "filesystems", "Write it below `storage`"),
    ("Config", "trees", "Write it below `storage`"),
    ("Config", "units", "Write it below `systemd`"),
    ("Config", "users", "Write it below `passwd`"),
    ("Config", "groups", "Write it below `passwd`"),
    ("Config", "hostname", "Write a file `/etc/hostname`"),
    ("Config", "write_files", "Write files below `storage`: this is a key of cloud-config"),
    ("Config", "ssh_authorized_keys", "Write it below a user in `passwd.users`: this is a key of cloud-config"),
    ("Config", "coreos", "Write units below `systemd`: this is a key of cloud-config"),
    ("IgnitionConfig", "append", "Write `merge`"),
    ("PasswdUser", "create", "Write what is in it beside the user's name, and leave `create` out"),
    ("PasswdUser", "homedir", "Write `home_dir`"),
    ("PasswdUser", "passwd", "Write `password_hash`"),
    ("PasswdUser", "password", "Write `password_hash` with a hash, such as `mkpasswd --method=yescrypt` prints"),
    ("PasswdUser", "ssh_keys", "Write `ssh_authorized_keys`"),
    ("PasswdUser", "ssh_public_keys", "Write `ssh_authorized_keys`"),
    ("PasswdUser", "authorized_keys", "Write `ssh_authorized_keys`"),
    ("PasswdUser", "coreos_ssh_import_github", "Write the keys into `ssh_authorized_keys`: nothing is fetched"),
    ("File", "filesystem", "Leave it out: `path` begins at the root of the machine"),
    ("File", "content", "Write `contents`, with `inline`, `local` or `source` below it"),
    ("File", "inline", "Write it below `contents`"),
    ("File", "local", "Write it below `contents`"),
    ("File", "source", "Write it below `contents`"),
    ("File", "owner", "Write `user` and `group`, each with `id` or `name` below it"),
    ("File", "permissions", "Write `mode`"),
    ("Directory", "filesystem", "Leave it out: `path` begins at the root of the machine"),
    ("Link", "filesystem", "Leave it out: `path` begins at the root of the machine"),
    ("Resource", "remote", "Write its address as `source`, beside `compression` and `verification`"),
    ("Resource", "url", "Write `source`"),
    ("Verification", "hash_function", "Write `hash` as function and sum: `sha512-…`"),
    ("Partition", "size", "Write `size_mib`, a number of MiB"),
    ("Partition", "start", "Write `start_mib`, a number of MiB"),
    ("Filesystem", "mount", "Write what is in it beside `path`, and leave `mount` out"),
    ("Filesystem", "create", "Write `wipe_filesystem` in place of its `force`, and `options` beside `device`"),
    ("Filesystem", "name", "Leave it out: files are put there by their `path`"),
    ("Unit", "enable", "Write `enabled`"),
    ("Unit", "content", "Write `contents`"),
    ("Unit", "drop-ins", "Write `dropins`"),
    ("Unit", "command", "Leave it out: a unit starts with what wants it"),
    ("Dropin", "content", "Write `contents`"),
];

/// What to write in place of a key that this version of the schema lacks; nothing where nobody
/// knows. `version` counts Butane's versions or Ignition's minor ones.
pub(crate) fn advice(shape: &Shape, key: &str, version: u8, format: Format) -> Option<String> {
    let speller = Speller { format, version };
    let later = shape
        .fields
        .iter()
        .find(|field| speller.spelling(field) == key && speller.first(field) != u8::MAX);
    if let Some(field) = later {
        return Some(speller.in_a_later_version(field));
    }
    if format == Format::Butane
        && let Some((_, _, advice)) = ELSEWHERE
            .iter()
            .find(|(name, other, _)| *name == shape.name && *other == key)
    {
        return Some((*advice).to_owned());
    }
    let known = || shape.fields.iter().filter(|field| speller.knows(field));
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.collect::<String>().to_ascii_lowercase()
    };
    let wanted = letters(key);
    let same = known().find(|field| {
        [field.name, field.json]
            .iter()
            .any(|name| letters(name) == wanted)
    });
    let near = || {
        let mut near = known().filter(|field| is_one_letter_off(speller.spelling(field), key));
        near.next().filter(|_| near.next().is_none())
    };
    match same {
        Some(field) => Some(format!("Write `{}`", speller.spelling(field))),
        None => near().map(|field| {
            format!(
                "Write `{}` if that is meant; this key is ignored",
                speller.spelling(field)
            )
        }),
    }
}

/// Whose names count, and which fields there are.
struct Speller {
    format: Format,
    version: u8,
}

impl Speller {
    fn spelling(&self, field: &Field) -> &'static str {
        match self.format {
            Format::Butane => field.name,
            Format::Ignition => field.json,
        }
    }

    /// The first version that has a field.
    fn first(&self, field: &Field) -> u8 {
        match self.format {
            Format::Butane => field.since,
            Format::Ignition => field.spec,
        }
    }

    fn knows(&self, field: &Field) -> bool {
        self.first(field) <= self.version
    }

    /// A version that no release reads is not recommended.
    fn in_a_later_version(&self, field: &Field) -> String {
        let first = self.first(field);
        let (version, spec) = match self.format {
            Format::Butane => {
                let found = VERSIONS.iter().find(|version| version.order >= first);
                found.map_or((String::new(), String::new()), |version| {
                    (version.name.to_owned(), version.spec.to_owned())
                })
            }
            Format::Ignition => (format!("3.{first}.0"), format!("3.{first}.0")),
        };
        match unread(&spec) {
            None => format!("Write `version: {version}`, the first that has this key"),
            Some(_) => format!(
                "Leave it out: the first version that has this key is {version}, which no release of Flatcar reads yet"
            ),
        }
    }
}

/// Whether one letter added, left out or changed turns one word into the other. Words of under four
/// letters are too short for that.
fn is_one_letter_off(one: &str, other: &str) -> bool {
    let (short, long) = match one.len() <= other.len() {
        true => (one.as_bytes(), other.as_bytes()),
        false => (other.as_bytes(), one.as_bytes()),
    };
    if short.len() < 4 || long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let rest = if short.len() == long.len() {
        same + 1
    } else {
        same
    };
    short != long && short.get(rest..) == long.get(same + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ignition::config::Kind;
    use crate::ignition::config::fields::{CONFIG, PASSWD_USER, TREE, UNIT};

    #[test]
    fn a_key_of_another_format_is_told_what_it_is_called_here() {
        let butane = |shape, key| advice(shape, key, 1, Format::Butane);
        for (shape, key, words) in [
            (&UNIT, "enable", Some("Write `enabled`")),
            (
                &UNIT,
                "enabld",
                Some("Write `enabled` if that is meant; this key is ignored"),
            ),
            (&PASSWD_USER, "passwordHash", Some("Write `password_hash`")),
            (
                &PASSWD_USER,
                "sshAuthorizedKeys",
                Some("Write `ssh_authorized_keys`"),
            ),
            (
                &PASSWD_USER,
                "ssh-authorized-keys",
                Some("Write `ssh_authorized_keys`"),
            ),
            (
                &PASSWD_USER,
                "ssh_authorized_key",
                Some("Write `ssh_authorized_keys` if that is meant; this key is ignored"),
            ),
            (&CONFIG, "kernelArguments", Some("Write `kernel_arguments`")),
            (&CONFIG, "units", Some("Write it below `systemd`")),
            (&CONFIG, "odd", None),
            (
                &TREE,
                "user",
                Some(
                    "Leave it out: the first version that has this key is 1.2.0-experimental, which no release of Flatcar reads yet",
                ),
            ),
        ] {
            assert_eq!(butane(shape, key).as_deref(), words, "{key}");
        }
        assert_eq!(
            advice(&UNIT, "contents_local", 0, Format::Butane).as_deref(),
            Some("Write `version: 1.1.0`, the first that has this key")
        );
        for (key, words) in [
            ("password_hash", Some("Write `passwordHash`")),
            (
                "shouldExist",
                Some("Write `version: 3.2.0`, the first that has this key"),
            ),
            ("odd", None),
        ] {
            assert_eq!(
                advice(&PASSWD_USER, key, 1, Format::Ignition).as_deref(),
                words,
                "{key}"
            );
        }
    }

    /// Every shape that can be reached.
    fn shapes(shape: &'static Shape, found: &mut Vec<&'static Shape>) {
        if found.iter().any(|known| std::ptr::eq(*known, shape)) {
            return;
        }
        found.push(shape);
        for field in shape.fields {
            if let Kind::Object(inner) | Kind::Objects(inner, _) = field.kind {
                shapes(inner, found);
            }
        }
    }

    #[test]
    fn the_table_names_shapes_and_keys_that_there_are() {
        let mut all = Vec::new();
        shapes(&CONFIG, &mut all);
        for (name, key, advice) in ELSEWHERE {
            let shape = all.iter().find(|shape| shape.name == *name);
            let shape = shape.unwrap_or_else(|| panic!("no shape is called {name}"));
            assert!(
                shape.fields.iter().all(|field| field.name != *key),
                "{name} has {key}"
            );
            assert!(
                advice.starts_with("Write ") || advice.starts_with("Leave "),
                "{advice}"
            );
            assert!(!advice.ends_with('.'), "{advice}");
        }
    }

    #[test]
    fn no_hint_leads_to_a_version_that_no_release_reads() {
        let mut all = Vec::new();
        shapes(&CONFIG, &mut all);
        for shape in all {
            for field in shape.fields {
                for (key, version, format) in [
                    (field.name, 0, Format::Butane),
                    (field.name, 1, Format::Butane),
                    (field.json, 0, Format::Ignition),
                    (field.json, 5, Format::Ignition),
                ] {
                    let found = advice(shape, key, version, format).unwrap_or_default();
                    let named = found.split("Write `version: ").nth(1);
                    let named = named.and_then(|rest| rest.split('`').next());
                    let Some(named) = named else { continue };
                    let spec = VERSIONS.iter().find(|known| known.name == named);
                    let spec = spec.map_or(named, |known| known.spec);
                    assert_eq!(unread(spec), None, "{}.{key}: {found}", shape.name);
                }
            }
        }
    }
}
