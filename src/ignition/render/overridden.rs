//! What a preset writes and a later document changes: a file, a drop-in, a setting.
//!
//! The preset `updates` writes `/etc/flatcar/update.conf`. A document that has a file of that path
//! takes its place by Ignition's rules, and the preset's settings are gone without a word: machines
//! would reboot by themselves. So they are where it appends to that file, and where another config
//! replaces this one (`ignition.config.replace`). Nothing here knows what presets write: each
//! preset's config is compared with what is left of it after merging.

use crate::ignition::config::report::Origin;
use crate::ignition::config::{Field, Object, Path, Source, Value, blame};

/// Something of a preset that another document changed.
pub(crate) struct Overridden {
    /// The preset's attribute: `updates`.
    pub(crate) preset: &'static str,
    /// `/etc/flatcar/update.conf`, `10-proxy.conf of containerd.service`,
    /// `ignition.proxy.http_proxy`.
    pub(crate) what: String,
    /// Where the other value was written.
    pub(crate) by: Source,
}

/// What of the presets among `configs` did not come through to `merged`; one for each file, drop-in
/// or other element.
pub(crate) fn find(configs: &[Object], merged: &Object, origins: &[Origin]) -> Vec<Overridden> {
    let mut found = Vec::new();
    for (config, origin) in configs.iter().zip(origins) {
        let Origin::Preset(preset) = *origin else {
            continue;
        };
        let mut search = Search {
            preset,
            merged,
            found: Vec::new(),
        };
        match replaced(merged) {
            Some(path) => search.note(path, &[]),
            None => {
                search.object(config, merged, &Path::default(), &[]);
            }
        }
        found.append(&mut search.found);
    }
    found
}

/// Where another config takes the place of all of this one.
fn replaced(merged: &Object) -> Option<Path> {
    let config = merged.object("ignition")?.object("config")?;
    config.object("replace")?.filled("source")?;
    let path = Path::default().name("ignition").name("config");
    Some(path.name("replace"))
}

struct Search<'a> {
    preset: &'static str,
    merged: &'a Object,
    found: Vec<Overridden>,
}

impl Search<'_> {
    /// Whether all of an object is still there. `path` leads to it in the merged config, `names`
    /// are those of the elements on the way.
    fn object(&mut self, wrote: &Object, is: &Object, path: &Path, names: &[String]) -> bool {
        let mut whole = true;
        let both = wrote.entries().zip(is.entries());
        // What Butane alone has is the document's own: its version and its variant.
        for ((field, wrote), (_, is_now)) in both.filter(|((field, _), _)| field.spec != u8::MAX) {
            let path = path.clone().name(field.name);
            let same = match (wrote, is_now) {
                (Value::Object(wrote), Value::Object(is)) => self.object(wrote, is, &path, names),
                (Value::Objects(wrote), _) => {
                    self.list(field, wrote, is, &path, names);
                    true
                }
                // Lists of texts are united.
                (Value::Texts(_), _) => true,
                (wrote, is) => wrote.is_empty() || wrote == is,
            };
            if !same && names.is_empty() {
                self.note(path, names);
            } else {
                whole &= same;
            }
        }
        whole
    }

    fn list(
        &mut self,
        field: &'static Field,
        wrote: &[Object],
        holder: &Object,
        path: &Path,
        names: &[String],
    ) {
        let merged = holder.objects(field.name);
        for element in wrote {
            let key = element.key();
            let mut names = names.to_vec();
            names.push(key.clone());
            match merged.iter().position(|other| other.key() == key) {
                Some(index) => {
                    let at = path.clone().index(index);
                    // What is appended counts last where a file is read line by line.
                    let appended = |file: &Object| match field.name {
                        "files" => file.objects("append").len(),
                        _ => 0,
                    };
                    let is_longer = appended(&merged[index]) > appended(element);
                    if !self.object(element, &merged[index], &at, &names) || is_longer {
                        self.note(at, &names);
                    }
                }
                None => self.note(elsewhere(holder, &key, path), &names),
            }
        }
    }

    fn note(&mut self, path: Path, names: &[String]) {
        let what = match names {
            [] => path.to_string().trim_start_matches("$.").to_owned(),
            [name] => name.clone(),
            [holder, .., name] => format!("{name} of {holder}"),
        };
        self.found.push(Overridden {
            preset: self.preset,
            what,
            by: blame::written_at(self.merged, 0, &path),
        });
    }
}

/// Where a key went that another list of its object has now: a path that was a file is a link.
fn elsewhere(holder: &Object, key: &str, path: &Path) -> Path {
    let found = holder
        .entries()
        .filter(|(field, _)| field.shared_keys)
        .find_map(|(field, value)| match value {
            Value::Objects(list) => {
                let index = list.iter().position(|other| other.key() == key)?;
                Some((field.name, index))
            }
            _ => None,
        });
    let mut steps = path.clone();
    if let Some((name, index)) = found {
        steps.0.pop();
        return steps.name(name).index(index);
    }
    steps
}
