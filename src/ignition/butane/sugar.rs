//! Butane's sugar taken out of a config, in place: contents embedded, mount and swap units written,
//! keys read from files.
//!
//! What is made remembers what it was made from, so that a later problem is blamed on the line that
//! the user wrote. Trees and quadlets have files of their own.

use std::collections::HashSet;

use crate::ignition::butane::desugar::{Desugar, set_contents};
use crate::ignition::butane::{quadlets, trees};
use crate::ignition::config::fields::UNIT;
use crate::ignition::config::{At, Object, Path, Source, Value, merge};
use crate::text::go::lossy;

/// Turns a Butane config into an Ignition config.
pub(crate) fn take_out(config: &mut Object, desugar: &mut Desugar<'_>) {
    embed(config, &At::ROOT, desugar);
    add_mount_units(config, desugar);
    trees::add_trees(config, desugar);
    quadlets::add_quadlets(config, desugar);
}

/// Embeds what `inline` and `local` and their like name, all the way down.
fn embed(object: &mut Object, at: &At<'_>, desugar: &mut Desugar<'_>) {
    match object.shape.name {
        "Resource" => embed_resource(object, at, desugar),
        "PasswdUser" => embed_keys(object, at, desugar),
        "Dropin" => embed_contents(object, at, desugar),
        "Tree" | "Quadlet" => return,
        _ => {}
    }
    for (field, value) in object.entries_mut() {
        let at = at.name(field.name);
        match value {
            Value::Object(object) => embed(object, &at, desugar),
            Value::Objects(objects) => {
                for (index, object) in objects.iter_mut().enumerate() {
                    embed(object, &at.index(index), desugar);
                }
            }
            _ => {}
        }
    }
    // The reference looks into a unit's drop-ins first.
    if object.shape.name == "Unit" {
        embed_contents(object, at, desugar);
    }
}

fn embed_resource(resource: &mut Object, at: &At<'_>, desugar: &mut Desugar<'_>) {
    if let Value::Text(local) = resource.take("local") {
        let path = at.path().name("local");
        match desugar.files.read(&local) {
            Ok(bytes) => set_contents(resource, &bytes, path, desugar),
            Err(message) => desugar.problems.error(path, message),
        }
    }
    if let Value::Bytes(bytes) = resource.take("inline") {
        set_contents(resource, &bytes, at.path().name("inline"), desugar);
    }
}

fn embed_keys(user: &mut Object, at: &At<'_>, desugar: &mut Desugar<'_>) {
    let Value::Texts(locals) = user.take("ssh_authorized_keys_local") else {
        return;
    };
    if locals.is_empty() {
        return;
    }
    let path = at.path().name("ssh_authorized_keys_local");
    if let Err(message) = desugar.files.check_given() {
        desugar.problems.error(path, message);
        return;
    }
    let mut keys = user.texts("ssh_authorized_keys").to_vec();
    for (file, local) in locals.iter().enumerate() {
        let path = path.clone().index(file);
        let text = match desugar.files.read(local) {
            Ok(bytes) => lossy(&bytes),
            Err(message) => {
                desugar.problems.error(path, message);
                continue;
            }
        };
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let mut blame = desugar.blame("ssh_authorized_keys", path.clone());
            blame.index = Some(keys.len());
            user.field_sources.push(blame);
            keys.push(line.to_owned());
        }
    }
    user.set("ssh_authorized_keys", Value::Texts(keys));
}

fn embed_contents(unit: &mut Object, at: &At<'_>, desugar: &mut Desugar<'_>) {
    let Value::Text(local) = unit.take("contents_local") else {
        return;
    };
    if local.is_empty() {
        return;
    }
    let path = at.path().name("contents_local");
    match desugar.files.read(&local) {
        Ok(bytes) => {
            unit.set("contents", Value::Text(lossy(&bytes)));
            unit.field_sources.push(desugar.blame("contents", path));
        }
        Err(message) => desugar.problems.error(path, message),
    }
}

/// Puts a unit for each filesystem `with_mount_unit` before the user's units, and merges those over
/// them.
fn add_mount_units(config: &mut Object, desugar: &Desugar<'_>) {
    let Some(storage) = config.object("storage") else {
        return;
    };
    let remote = remote_devices(storage.objects("luks"));
    let mut units = Vec::new();
    for (index, filesystem) in storage.objects("filesystems").iter().enumerate() {
        if filesystem.is_true("with_mount_unit") {
            let path = Path::of(&["storage", "filesystems"])
                .index(index)
                .name("with_mount_unit");
            let mut unit = mount_unit(filesystem, remote.contains(filesystem.name("device")));
            unit.source = desugar.blame_whole(path);
            units.push(unit);
        }
    }
    if units.is_empty() {
        return;
    }
    let systemd = config.object_mut("systemd");
    let Value::Objects(mut users) = systemd.take("units") else {
        systemd.set("units", Value::Objects(units));
        return;
    };
    for (index, unit) in users.iter_mut().enumerate() {
        unit.source = Some(Box::new(Source {
            document: desugar.document,
            path: Path::of(&["systemd", "units"]).index(index),
            whole: false,
        }));
    }
    systemd.set("units", Value::Objects(merge::lists(units, users)));
}

fn mount_unit(filesystem: &Object, remote: bool) -> Object {
    let (device, format) = (filesystem.name("device"), filesystem.name("format"));
    let swap = format == "swap";
    let mut options = filesystem.texts("mount_options").to_vec();
    if remote {
        options.push("_netdev".to_owned());
    }
    let options = match options.is_empty() {
        true => String::new(),
        false => format!("Options={}\n", options.join(",")),
    };
    let (name, contents) = if swap {
        (
            format!("{}.swap", escape(device)),
            format!(
                "# Generated by Butane\n[Swap]\nWhat={device}\n{options}\n[Install]\nRequiredBy=swap.target"
            ),
        )
    } else {
        let path = filesystem.name("path");
        let fsck = format!("systemd-fsck@{}.service", escape(device));
        let target = if remote {
            "remote-fs.target"
        } else {
            "local-fs.target"
        };
        (
            format!("{}.mount", escape(path)),
            format!(
                "# Generated by Butane\n[Unit]\nRequires={fsck}\nAfter={fsck}\n\n[Mount]\nWhere={path}\nWhat={device}\n\
                 Type={format}\n{options}\n[Install]\nRequiredBy={target}"
            ),
        )
    };
    let mut unit = Object::new(&UNIT);
    unit.set("name", Value::Text(name));
    unit.set("enabled", Value::Bool(true));
    unit.set("contents", Value::Text(contents));
    unit
}

/// The LUKS devices that a Tang server opens, by both of their names.
fn remote_devices(luks: &[Object]) -> HashSet<String> {
    let remote = luks.iter().filter(|luks| {
        luks.object("clevis")
            .is_some_and(|clevis| !clevis.objects("tang").is_empty())
    });
    remote
        .flat_map(|luks| {
            let name = luks.name("name");
            [
                format!("/dev/mapper/{name}"),
                format!("/dev/disk/by-id/dm-name-{name}"),
            ]
        })
        .collect()
}

/// systemd's escaping of a path, as the reference does it: hex digits are not padded.
fn escape(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut escaped = String::new();
    for (index, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if index == 0 => escaped.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => {
                escaped.push(char::from(byte))
            }
            byte => escaped.push_str(&format!("\\x{byte:x}")),
        }
    }
    escaped
}
