//! `systemd.quadlets`: Podman units as files below `/etc/containers/systemd`.

use crate::ignition::butane::files::clean;
use crate::ignition::butane::sugar::{Kitchen, path, set_contents};
use crate::ignition::butane::trees::{NODE_EXISTS, Nodes};
use crate::ignition::config::fields::{FILE, LINK};
use crate::ignition::config::{Object, Path, Value};

/// The extensions of quadlets.
pub(crate) const EXTENSIONS: [&str; 8] = [
    ".container",
    ".volume",
    ".network",
    ".kube",
    ".image",
    ".build",
    ".pod",
    ".artifact",
];

/// The template of an instance: `foo@.container` of `foo@bar.container`.
pub(crate) fn template_of(name: &str) -> Option<String> {
    let at = name.find('@')?;
    let dot = name.rfind('.').filter(|dot| *dot > at + 1)?;
    Some(format!("{}@{}", &name[..at], &name[dot..]))
}

/// Adds the files and links of all quadlets, in order.
pub(crate) fn add_quadlets(config: &mut Object, kitchen: &mut Kitchen<'_>) {
    if config
        .object("systemd")
        .is_none_or(|systemd| systemd.objects("quadlets").is_empty())
    {
        return;
    }
    let Value::Objects(quadlets) = config.object_mut("systemd").take("quadlets") else {
        return;
    };
    let storage = config.object_mut("storage");
    let mut nodes = Nodes::of(storage);
    for (index, quadlet) in quadlets.iter().enumerate() {
        let blame = path(&["systemd", "quadlets"]).index(index);
        let root = match quadlet.is_true("rootful") {
            true => "/etc/containers/systemd",
            false => "/etc/containers/systemd/users",
        };
        let name = quadlet.name("name");
        let target = clean(&format!("{root}/{name}"));
        add_quadlet(quadlet, &target, &blame, &mut nodes, storage, kitchen);
        for (index, dropin) in quadlet.objects("dropins").iter().enumerate() {
            let target = format!("{target}.d/{}", dropin.name("name"));
            let blame = blame.clone().name("dropins").index(index);
            add_file(dropin, target, &blame, &mut nodes, storage, kitchen);
        }
    }
}

fn add_quadlet(
    quadlet: &Object,
    target: &str,
    blame: &Path,
    nodes: &mut Nodes,
    storage: &mut Object,
    kitchen: &mut Kitchen<'_>,
) {
    let Some(template) = template_of(quadlet.name("name")) else {
        return add_file(quadlet, target.to_owned(), blame, nodes, storage, kitchen);
    };
    if nodes.has(target) {
        return kitchen.problems.error(blame.clone(), NODE_EXISTS);
    }
    let mut link = Object::new(&LINK);
    link.set("path", Value::Text(target.to_owned()));
    link.set("target", Value::Text(template));
    link.source = kitchen.blame_whole(blame.clone());
    link.field_sources
        .push(kitchen.blame("path", blame.clone().name("name")));
    nodes.add(storage, link);
}

fn add_file(
    unit: &Object,
    target: String,
    blame: &Path,
    nodes: &mut Nodes,
    storage: &mut Object,
    kitchen: &mut Kitchen<'_>,
) {
    if nodes.has(&target) {
        return kitchen.problems.error(blame.clone(), NODE_EXISTS);
    }
    let mut file = Object::new(&FILE);
    file.set("path", Value::Text(target));
    file.source = kitchen.blame_whole(blame.clone());
    file.field_sources
        .push(kitchen.blame("path", blame.clone().name("name")));
    match (unit.filled("contents_local"), unit.text("contents")) {
        (Some(local), _) => {
            let path = blame.clone().name("contents_local");
            match kitchen.files.read(local) {
                Ok(bytes) => set_contents(file.object_mut("contents"), &bytes, path, kitchen),
                Err(message) => kitchen.problems.error(path, message),
            }
        }
        (None, contents) => {
            let path = blame.clone().name("contents");
            let contents = contents.unwrap_or("").as_bytes();
            set_contents(file.object_mut("contents"), contents, path, kitchen);
        }
    }
    file.set("mode", Value::Int(0o644));
    nodes.add(storage, file);
}
