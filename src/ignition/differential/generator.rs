//! Butane documents made from the schema: mostly right, partly wrong, laid out in many ways.

use std::fmt::Write as _;

use crate::ignition::config::fields::CONFIG;
use crate::ignition::config::{Field, Kind, Shape};

/// xorshift.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// YAML before it is laid out.
enum Yaml {
    Scalar(String),
    Map(Vec<(String, Yaml)>),
    List(Vec<Yaml>),
    Anchored(String, Box<Yaml>),
}

pub(super) struct Generator<'r> {
    random: &'r mut Random,
    /// How likely something is wrong: one in so many.
    wrong: usize,
    anchors: Vec<String>,
}

impl<'r> Generator<'r> {
    pub(super) fn new(random: &'r mut Random) -> Self {
        let wrong = [8, 40, 200, 100_000][random.below(4)];
        Self {
            random,
            wrong,
            anchors: Vec::new(),
        }
    }

    pub(super) fn document(mut self) -> String {
        let version = self
            .random
            .pick(&["1.0.0", "1.1.0", "1.1.0", "1.2.0-experimental"]);
        let mut pairs = self.pairs(&CONFIG, 0);
        pairs.retain(|(key, _)| key != "version" && key != "variant");
        pairs.insert(
            0,
            ("variant".to_owned(), Yaml::Scalar("flatcar".to_owned())),
        );
        pairs.insert(1, ("version".to_owned(), Yaml::Scalar(version.to_owned())));
        let mut text = String::new();
        if self.random.one_in(12) {
            self.flow(&Yaml::Map(pairs), &mut text);
            text.push('\n');
        } else {
            self.block(&Yaml::Map(pairs), 0, &mut text);
        }
        if self.random.one_in(6) {
            text.pop();
        }
        text
    }

    fn pairs(&mut self, shape: &'static Shape, depth: usize) -> Vec<(String, Yaml)> {
        let dense = [2, 3, 5][self.random.below(3)];
        let mut pairs = Vec::new();
        for field in shape.fields {
            let wanted = field.always
                || field.name == shape.key
                || field.name == "local" && shape.name == "Tree";
            // Sections come often, sugar that contradicts itself seldom.
            let take = match (depth, wanted) {
                (0, _) => self.random.one_in(2),
                (_, true) => !self.random.one_in(self.wrong * 2),
                _ if shape.name == "Resource" => self.random.one_in(5),
                _ => self.random.one_in(dense),
            };
            if take {
                let value = self.value(field, shape, depth);
                pairs.push((field.name.to_owned(), value));
            }
        }
        if shape.name == "Resource" && self.wrong > 50 {
            // Mostly one source.
            let keep = self.random.pick(&["inline", "inline", "local", "source"]);
            pairs.retain(|(key, _)| {
                !matches!(key.as_str(), "inline" | "local" | "source") || key == keep
            });
        }
        if self.random.one_in(self.wrong * 3) {
            let key = self
                .random
                .pick(&["bogus", "Path", "1", "a b", "é", "~", "true"]);
            pairs.push((key.to_owned(), Yaml::Scalar("x".to_owned())));
        }
        if self.random.one_in(self.wrong * 8)
            && let Some(anchor) = self.anchors.last()
        {
            pairs.push(("<<".to_owned(), Yaml::Scalar(format!("*{anchor}"))));
        }
        if self.random.one_in(self.wrong * 12) && !pairs.is_empty() {
            let (key, _) = &pairs[self.random.below(pairs.len())];
            pairs.push((key.clone(), Yaml::Scalar("twice".to_owned())));
        }
        if self.random.one_in(3) && depth > 0 {
            let at = self.random.below(pairs.len().max(1));
            if at < pairs.len() {
                let pair = pairs.remove(at);
                pairs.push(pair);
            }
        }
        pairs
    }

    fn value(&mut self, field: &'static Field, shape: &'static Shape, depth: usize) -> Yaml {
        if self.random.one_in(self.wrong * 4) {
            return self.oddity();
        }
        match &field.kind {
            Kind::Object(inner) => {
                let value = Yaml::Map(self.pairs(inner, depth + 1));
                if self.random.one_in(10) {
                    let anchor = format!("a{}", self.anchors.len());
                    self.anchors.push(anchor.clone());
                    return Yaml::Anchored(anchor, Box::new(value));
                }
                value
            }
            Kind::Objects(inner, _) => {
                let count = [0, 1, 1, 2, 3][self.random.below(5)];
                Yaml::List(
                    (0..count)
                        .map(|_| match self.random.one_in(self.wrong * 6) {
                            true => self.oddity(),
                            false => Yaml::Map(self.pairs(inner, depth + 1)),
                        })
                        .collect(),
                )
            }
            Kind::Texts(_) => {
                let count = self.random.below(4);
                Yaml::List(
                    (0..count)
                        .map(|_| match self.random.one_in(self.wrong * 6) {
                            true => self.oddity(),
                            false => Yaml::Scalar(self.text(field.name, shape.name)),
                        })
                        .collect(),
                )
            }
            Kind::Bool => Yaml::Scalar(
                self.random
                    .pick(&["true", "false", "true", "yes", "off", "\"on\"", "True"])
                    .to_owned(),
            ),
            Kind::Int => Yaml::Scalar(self.int(field.name)),
            Kind::Text | Kind::Bytes => Yaml::Scalar(self.text(field.name, shape.name)),
        }
    }

    fn int(&mut self, name: &str) -> String {
        let from: &[&str] = match name {
            "mode" | "file_mode" | "dir_mode" => &[
                "0644", "0755", "0o600", "420", "644", "755", "01777", "0x1a4", "0", "-1", "07777",
                "4095", "010000", "1e2",
            ],
            "number" => &["1", "2", "3", "0", "4"],
            "start_mib" | "size_mib" => &["0", "1", "5", "10", "2048", "4095", "-3"],
            _ => &[
                "0",
                "1",
                "500",
                "1_000",
                "0o17",
                "-5",
                "3.7",
                "9223372036854775807",
            ],
        };
        self.random.pick(from).to_owned()
    }

    fn text(&mut self, name: &str, shape: &str) -> String {
        if self.random.one_in(self.wrong) {
            return self
                .random
                .pick(&[
                    "\"\"",
                    "~",
                    "x",
                    "/a//b",
                    "../a",
                    "\"a\\tb\\n\"",
                    "yes",
                    "0644",
                    "1.5",
                    "2020-01-01",
                    "!!binary aGVsbG8=",
                    "!!str 5",
                    "'it''s <&>'",
                    "\"\\u2028\\x07\"",
                    "é",
                    "!foo x",
                    "!!binary /w==",
                    ".inf",
                    "<<",
                    "=",
                    "- ",
                ])
                .trim_start_matches("- ")
                .to_owned();
        }
        let from: &[&str] = match (name, shape) {
            ("path", "Filesystem") => &["/var/lib/a", "/", "/srv/b c", "/x", "/a-b/.c"],
            ("path", "Tree") => &["/", "/opt", "/etc/", "/a/../b", "x"],
            ("path", _) => &[
                "/a",
                "/b",
                "/etc/a",
                "/etc/deep/b",
                "/link",
                "/link/x",
                "/a/b",
                "/etc/systemd/system/a.service",
                "/a-b",
                "/etc/containers/systemd/q.container",
            ],
            ("device" | "devices", _) => &[
                "/dev/a",
                "/dev/b",
                "/dev/mapper/l",
                "/dev/disk/by-id/dm-name-l",
                "dev",
                "/dev/a/",
            ],
            ("name", "Unit") => &[
                "a.service",
                "b.mount",
                "c@.service",
                "c@x.service",
                "srv-b\\x20c.mount",
                "x.mount",
                "bad",
                "a.conf",
            ],
            ("name", "Dropin") => &["a.conf", "b.conf", "c.txt"],
            ("name", "Quadlet") => &[
                "q.container",
                "q@.container",
                "q@i.container",
                "v.volume",
                "q.bad",
                "a/../q.pod",
            ],
            ("name", "HTTPHeader") => &["A", "B", "Accept"],
            ("name", "Luks") => &["l", "m", "l/x"],
            ("name", _) => &["core", "a", "b", "root"],
            ("contents" | "inline", "Unit" | "Dropin" | "Quadlet") => &[
                "\"[Unit]\\nA=b\\n\"",
                "\"[Install]\\nWantedBy=x\\n\"",
                "\"[Install]\\n\"",
                "\"[Unit\"",
                "\"[Unit] x\\n\"",
                "\"[Unit]\\nnothing\\n\"",
                "\"\"",
                "\"# c\\n[Service]\\nExecStart=a \\\\\\n b\\n\"",
            ],
            ("inline", _) => &[
                "x",
                "\"hello world\\n\"",
                "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
                "'{\"ignition\":{\"version\":\"3.4.0\"}}'",
                "'{\"ignition\":{\"version\":\"3.3.0\"},\"x\":1}'",
                "'{\"ignition\":{\"version\":\"3.4.0\"},\"storage\":{\"files\":[{\"path\":\"a\"}]}}'",
                "'{\"ignition\":{\"version\":3}}'",
                "'{\"a\": }'",
                "!!binary AAECAwT/",
            ],
            ("local" | "contents_local", "Tree") => {
                &["tree", "tree/etc", ".", "none", "a", "tree/link"]
            }
            ("local" | "contents_local", _) => &[
                "a",
                "b.service",
                "long",
                "bytes",
                "none",
                "../x",
                "tree",
                "./a",
            ],
            ("ssh_authorized_keys_local", _) => &["keys", "a", "none"],
            ("source" | "url" | "http_proxy" | "https_proxy", _) => &[
                "http://x/y",
                "https://x:443/y?z#f",
                "s3://b/k",
                "\"s3://b/k?versionId=\"",
                "arn:aws:s3:::b/k",
                "arn:aws:s3:::b",
                "gs://b/k",
                "tftp://x/y",
                "\"data:,x\"",
                "\"data:;base64,eA==\"",
                "\"data:;base64,e\"",
                "\"data:text/plain,a b\"",
                "oem:///x",
                "\"http://[::1\"",
                "\"http://a b/\"",
                "\"http://x/%zz\"",
                "http://u:p@x/",
                "\"http://x:y/\"",
                "x/y",
                "HTTP://X",
            ],
            ("hash", _) => &[
                "sha256-0000000000000000000000000000000000000000000000000000000000000000",
                "sha512-1",
                "md5-1",
                "nothing",
            ],
            ("compression", _) => &["gzip", "\"\"", "gzip", "bzip2"],
            ("format", _) => &[
                "ext4", "xfs", "swap", "vfat", "btrfs", "none", "ext3", "\"\"",
            ],
            ("label", _) => &["root", "data", "a:b", "a-label-that-is-rather-long", "\"\""],
            ("level", _) => &["raid1", "linear", "0", "stripe", "raid7", "10"],
            ("guid" | "type_guid" | "uuid", _) => {
                &["01234567-89AB-CDEF-EDCB-A98765432101", "01234567", "\"\""]
            }
            ("pin", _) => &["tpm2", "tang", "other"],
            ("target", _) => &["/a", "../b", ".", "/etc/deep", "\"\""],
            ("advertisement", _) => &["'{\"a\": 1}'", "'{'", "\"\""],
            ("should_exist" | "should_not_exist", _) => &["quiet", "a=b", "console=ttyS0"],
            _ => &["one", "two", "three", "a b"],
        };
        self.random.pick(from).to_owned()
    }

    /// Something of another type than the field's.
    fn oddity(&mut self) -> Yaml {
        match self.random.below(4) {
            0 => Yaml::List(vec![Yaml::Scalar("x".to_owned())]),
            1 => Yaml::Map(vec![("k".to_owned(), Yaml::Scalar("v".to_owned()))]),
            _ => Yaml::Scalar(
                self.random
                    .pick(&[
                        "~",
                        "5",
                        "x",
                        "\"5\"",
                        "true",
                        "1.5",
                        "!!int x",
                        "2020-01-01",
                        "a rather long text",
                        "!foo 5",
                        "!!null x",
                        "'yes'",
                    ])
                    .to_owned(),
            ),
        }
    }

    fn block(&mut self, yaml: &Yaml, indent: usize, out: &mut String) {
        let pad = "  ".repeat(indent);
        match yaml {
            Yaml::Map(pairs) if !pairs.is_empty() => {
                for (key, value) in pairs {
                    if self.random.one_in(30) {
                        out.push_str(self.random.pick(&["# note\n", "\n", "    # ünder\n"]));
                    }
                    let _ = write!(out, "{pad}{key}:");
                    self.nested(value, indent, out);
                }
            }
            Yaml::List(items) if !items.is_empty() => {
                for item in items {
                    let _ = write!(out, "{pad}-");
                    match item {
                        Yaml::Map(pairs) if !pairs.is_empty() && !self.random.one_in(8) => {
                            let mut inner = String::new();
                            self.block(item, indent + 1, &mut inner);
                            out.push(' ');
                            out.push_str(inner.trim_start());
                        }
                        item => self.nested(item, indent, out),
                    }
                }
            }
            other => {
                out.push_str(&pad);
                self.flow(other, out);
                out.push('\n');
            }
        }
    }

    /// What comes after `key:` or `-`.
    fn nested(&mut self, yaml: &Yaml, indent: usize, out: &mut String) {
        let mut inner = yaml;
        if let Yaml::Anchored(anchor, value) = yaml {
            let _ = write!(out, " &{anchor}");
            inner = value;
        }
        if let Yaml::Scalar(text) = inner
            && let Some(lines) = text
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix("\\n\""))
            && !lines.contains(['\\', '"'])
            && self.random.one_in(2)
        {
            // What ends in a line feed can be a block scalar.
            let style = self.random.pick(&["|", "|-", ">", "|+", ">2", "| # note"]);
            let _ = writeln!(out, " {style}\n{}{lines}", "  ".repeat(indent + 1));
            return;
        }
        let empty = matches!(inner, Yaml::Map(pairs) if pairs.is_empty())
            || matches!(inner, Yaml::List(items) if items.is_empty());
        if empty || matches!(inner, Yaml::Scalar(_)) || self.random.one_in(9) {
            out.push(' ');
            self.flow(inner, out);
            out.push('\n');
        } else {
            out.push('\n');
            self.block(inner, indent + 1, out);
        }
    }

    fn flow(&mut self, yaml: &Yaml, out: &mut String) {
        match yaml {
            Yaml::Scalar(text) => out.push_str(text),
            Yaml::Anchored(anchor, value) => {
                let _ = write!(out, "&{anchor} ");
                self.flow(value, out);
            }
            Yaml::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.flow(item, out);
                }
                out.push(']');
            }
            Yaml::Map(pairs) => {
                out.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    let _ = write!(out, "{key}: ");
                    self.flow(value, out);
                }
                out.push('}');
            }
        }
    }
}

/// The text with a few characters lost, doubled, or replaced by ones that mean something to YAML.
pub(super) fn torn(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(chars.len());
        let strange: Vec<char> = ":-?,[]{}#&*!|>'\"%@` \t\n\r~\\/<=.0aé\u{7f}\u{85}\u{2028}"
            .chars()
            .collect();
        let c = strange[random.below(strange.len())];
        match random.below(4) {
            0 => {
                chars.remove(at);
            }
            1 => chars.insert(at, chars[at]),
            2 => chars.insert(at, c),
            _ => chars[at] = c,
        }
    }
    chars.into_iter().collect()
}
