//! `systemd.quadlets`: Podman units as files below `/etc/containers/systemd`.

use crate::ignition::butane::desugar::{Desugar, NODE_EXISTS, TakenPaths, set_contents};
use crate::ignition::config::fields::{FILE, LINK};
use crate::ignition::config::{Object, Path, Value};
use crate::text::go::clean;

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
pub(crate) fn add_quadlets(config: &mut Object, desugar: &mut Desugar<'_>) {
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
    let mut taken = TakenPaths::of(storage);
    for (index, quadlet) in quadlets.iter().enumerate() {
        let blame = Path::of(&["systemd", "quadlets"]).index(index);
        let root = match quadlet.is_true("rootful") {
            true => "/etc/containers/systemd",
            false => "/etc/containers/systemd/users",
        };
        let name = quadlet.name("name");
        let target = clean(&format!("{root}/{name}"));
        add_quadlet(quadlet, &target, &blame, &mut taken, storage, desugar);
        for (index, dropin) in quadlet.objects("dropins").iter().enumerate() {
            let target = format!("{target}.d/{}", dropin.name("name"));
            let blame = blame.clone().name("dropins").index(index);
            add_file(dropin, target, &blame, &mut taken, storage, desugar);
        }
    }
}

fn add_quadlet(
    quadlet: &Object,
    target: &str,
    blame: &Path,
    taken: &mut TakenPaths,
    storage: &mut Object,
    desugar: &mut Desugar<'_>,
) {
    let Some(template) = template_of(quadlet.name("name")) else {
        return add_file(quadlet, target.to_owned(), blame, taken, storage, desugar);
    };
    if taken.has(target) {
        return desugar.problems.error(blame.clone(), NODE_EXISTS);
    }
    let mut link = Object::new(&LINK);
    link.set("path", Value::Text(target.to_owned()));
    link.set("target", Value::Text(template));
    link.source = desugar.blame_whole(blame.clone());
    link.field_sources
        .push(desugar.blame("path", blame.clone().name("name")));
    taken.add(storage, link);
}

fn add_file(
    unit: &Object,
    target: String,
    blame: &Path,
    taken: &mut TakenPaths,
    storage: &mut Object,
    desugar: &mut Desugar<'_>,
) {
    if taken.has(&target) {
        return desugar.problems.error(blame.clone(), NODE_EXISTS);
    }
    let mut file = Object::new(&FILE);
    file.set("path", Value::Text(target));
    file.source = desugar.blame_whole(blame.clone());
    file.field_sources
        .push(desugar.blame("path", blame.clone().name("name")));
    match (unit.filled("contents_local"), unit.text("contents")) {
        (Some(local), _) => {
            let path = blame.clone().name("contents_local");
            match desugar.files.read(local) {
                Ok(bytes) => set_contents(file.object_mut("contents"), &bytes, path, desugar),
                Err(message) => desugar.problems.error(path, message),
            }
        }
        (None, contents) => {
            let path = blame.clone().name("contents");
            let contents = contents.unwrap_or("").as_bytes();
            set_contents(file.object_mut("contents"), contents, path, desugar);
        }
    }
    file.set("mode", Value::Int(0o644));
    taken.add(storage, file);
}
