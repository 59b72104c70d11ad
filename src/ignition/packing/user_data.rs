//! Ignition JSON to what a platform's API takes as user data: base64 where it wants that, and
//! wrapped where the config outgrows the platform's limit.
//!
//! On AWS (16,384 bytes before base64) 5 KB of config come out as base64 of themselves, 40 KB as
//! base64 of
//! `{"ignition":{"config":{"replace":{"compression":"gzip","source":"data:;base64,H4sI..."}},"version":"3.3.0"}}`.
//! Same input, same bytes: nothing here depends on time or machine.
//!
//! Source: Ignition's `docs/configuration-v3_3.md` (`ignition.config.replace`), the platforms'
//! limits in [`crate::flatcar`].

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::deflate;
use crate::flatcar::{Encoding, Limit, Measured, Platform};

/// When to wrap a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// When it is larger than the platform takes, than is known to make trouble there, or, where
    /// nothing is known, than fits everywhere.
    #[default]
    Auto,
    /// Not at all.
    Never,
    /// Whatever its size.
    Always,
}

impl Compress {
    /// The words for it, [`Compress::Auto`] first.
    pub const NAMES: [&str; 3] = ["auto", "never", "always"];

    /// By its word.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "never" => Some(Self::Never),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// What a platform's API takes. A secret: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData {
    /// As the API wants it: base64 or not.
    pub text: String,
    /// Its bytes as the platform counts them against its limit: before or after base64.
    pub size: usize,
    /// Whether it is a wrapper around the config.
    pub wrapped: bool,
    /// That it is larger than is known to work everywhere on this platform.
    pub warning: Option<String>,
}

/// Packs a config for a platform.
/// # Errors
/// When it does not fit, wrapped as far as `compress` allows.
pub fn pack(rendered: &str, platform: &Platform, compress: Compress) -> Result<UserData, TooLarge> {
    let room = platform.user_data;
    let fits = |size: usize, most: Option<usize>| most.is_none_or(|most| size <= most);
    let plain = measure(rendered, room.measured);
    let wrap = match compress {
        Compress::Never => false,
        Compress::Always => true,
        Compress::Auto => !fits(plain, room.wary_above().or(room.limit.most())),
    };
    let wrapper = wrap.then(|| wrapper(rendered));
    let wrapped = wrapper
        .as_ref()
        .map(|wrapper| measure(wrapper, room.measured));
    // What does not compress grows in a wrapper.
    let wrapper = wrapper
        .filter(|_| compress == Compress::Always || wrapped.is_some_and(|wrapped| wrapped < plain));
    let (text, size) = match (&wrapper, wrapped) {
        (Some(wrapper), Some(wrapped)) => (wrapper.as_str(), wrapped),
        _ => (rendered, plain),
    };
    if let Some(limit) = room.limit.most().filter(|limit| size > *limit) {
        return Err(TooLarge {
            platform: platform.name,
            limit,
            measured: room.measured,
            documented: matches!(room.limit, Limit::Documented(..)),
            plain,
            wrapped,
            largest: largest(rendered),
        });
    }
    let warning = room.wary_above().filter(|most| size > *most).map(|most| {
        let than = match room.limit {
            Limit::Unknown => format!(
                "the {} that fit every platform, and how much {} takes is not known here",
                grouped(most),
                platform.title
            ),
            _ => format!("the {} that work on every {}", grouped(most), platform.title),
        };
        format!(
            "User data of {} bytes{} is more than {than}. Make it smaller, or fetch a part of it with ignition.config.merge.",
            grouped(size),
            counted(room.measured),
        )
    });
    Ok(UserData {
        text: match room.encoding {
            Encoding::Plain => text.to_owned(),
            Encoding::Base64 => STANDARD.encode(text),
        },
        size,
        wrapped: wrapper.is_some(),
        warning,
    })
}

/// A config that does not fit. Its `Display` is for the user: both sizes, the limit, and what takes
/// the space, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    /// The platform's name.
    pub platform: &'static str,
    /// Most bytes that it takes.
    pub limit: usize,
    /// What `limit`, `plain` and `wrapped` count.
    pub measured: Measured,
    /// Whether the platform itself documents the limit.
    pub documented: bool,
    /// The config's size as it is.
    pub plain: usize,
    /// Its size in a wrapper; absent when there must be none.
    pub wrapped: Option<usize>,
    /// What takes the space in the config, largest first: `("file /etc/motd", 1234)`, the bytes as
    /// they stand in it.
    pub largest: Vec<(String, usize)>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            platform,
            limit,
            plain,
            ..
        } = self;
        write!(
            f,
            "The config has {} bytes{}",
            grouped(*plain),
            counted(self.measured)
        )?;
        match self.wrapped {
            Some(wrapped) => write!(f, ", compressed {}", grouped(wrapped))?,
            None => write!(f, " and compress = \"never\" keeps it so")?,
        }
        let stated = if self.documented {
            "takes"
        } else {
            "is said to take"
        };
        write!(f, "; {platform} {stated} at most {}.", grouped(*limit))?;
        for (position, (what, bytes)) in self.largest.iter().take(SHOWN).enumerate() {
            let lead = if position == 0 {
                " What takes the space: "
            } else {
                ", "
            };
            write!(f, "{lead}{what} {}", grouped(*bytes))?;
        }
        match self.largest.len().saturating_sub(SHOWN) {
            0 => {}
            more => write!(f, ", and {more} more")?,
        }
        f.write_str(
            ". Let the machine fetch the largest ones: contents.source with verification.hash, or ignition.config.merge of a config \
             that it can reach.",
        )
    }
}

impl std::error::Error for TooLarge {}

/// How many of the largest are named.
const SHOWN: usize = 5;

/// A config that any Flatcar with Ignition 2 reads, and that is replaced by `rendered`.
fn wrapper(rendered: &str) -> String {
    format!(
        r#"{{"ignition":{{"config":{{"replace":{{"compression":"gzip","source":"data:;base64,{}"}}}},"version":"3.3.0"}}}}"#,
        STANDARD.encode(deflate::gzip(rendered.as_bytes()))
    )
}

fn measure(text: &str, measured: Measured) -> usize {
    match measured {
        Measured::Raw => text.len(),
        Measured::Encoded => text.len().div_ceil(3) * 4,
    }
}

fn counted(measured: Measured) -> &'static str {
    match measured {
        Measured::Raw => "",
        Measured::Encoded => " in base64",
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Everything in a config that can be large, with the bytes of its text; largest first, equals in
/// the config's order.
fn largest(rendered: &str) -> Vec<(String, usize)> {
    let Ok(config) = serde_json::from_str::<Value>(rendered) else {
        return Vec::new();
    };
    let length = |value: &Value| value.as_str().map_or(0, str::len);
    let mut parts = Vec::new();
    for file in each(&config["storage"]["files"]) {
        let appended: usize = each(&file["append"])
            .map(|resource| length(&resource["source"]))
            .sum();
        parts.push((
            format!("file {}", name(&file["path"])),
            length(&file["contents"]["source"]) + appended,
        ));
    }
    for unit in each(&config["systemd"]["units"]) {
        let dropins: usize = each(&unit["dropins"])
            .map(|dropin| length(&dropin["contents"]))
            .sum();
        parts.push((
            format!("unit {}", name(&unit["name"])),
            length(&unit["contents"]) + dropins,
        ));
    }
    for user in each(&config["passwd"]["users"]) {
        let keys = each(&user["sshAuthorizedKeys"]).map(length).sum();
        parts.push((format!("keys of user {}", name(&user["name"])), keys));
    }
    for device in each(&config["storage"]["luks"]) {
        parts.push((
            format!("key of {}", name(&device["name"])),
            length(&device["keyFile"]["source"]),
        ));
    }
    let ignition = &config["ignition"];
    for (position, merged) in each(&ignition["config"]["merge"]).enumerate() {
        parts.push((
            format!("ignition.config.merge[{position}]"),
            length(&merged["source"]),
        ));
    }
    parts.push((
        "ignition.config.replace".into(),
        length(&ignition["config"]["replace"]["source"]),
    ));
    for (position, authority) in
        each(&ignition["security"]["tls"]["certificateAuthorities"]).enumerate()
    {
        parts.push((
            format!("certificate authority {position}"),
            length(&authority["source"]),
        ));
    }
    parts.retain(|(_, bytes)| *bytes > 0);
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    parts
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatcar::platform;

    fn on(name: &str) -> &'static Platform {
        platform(name).expect("a platform of the table")
    }

    /// A config of exactly `bytes` bytes that does not compress well if `random`.
    fn config(bytes: usize, random: bool) -> String {
        let frame = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:,"}}]}}"#;
        let (head, tail) = frame.split_at(frame.len() - r#""}}]}}"#.len());
        let mut state = 1u32;
        let filling: String = (0..bytes - frame.len())
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let letter = if random { (state >> 24) % 64 } else { 0 };
                char::from(
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                        [letter as usize],
                )
            })
            .collect();
        format!("{head}{filling}{tail}")
    }

    fn unwrapped(user_data: &UserData, platform: &Platform) -> String {
        let text = match platform.user_data.encoding {
            Encoding::Plain => user_data.text.clone(),
            Encoding::Base64 => {
                String::from_utf8(STANDARD.decode(&user_data.text).expect("base64")).expect("text")
            }
        };
        if !user_data.wrapped {
            return text;
        }
        let wrapper: ignition_config::v3_3::Config =
            serde_json::from_str(&text).expect("a config of 3.3.0");
        let replace = wrapper
            .ignition
            .config
            .and_then(|config| config.replace)
            .expect("a replacement");
        assert_eq!(replace.compression.flatten_text(), "gzip");
        let source = replace.source.flatten_text();
        let zipped = STANDARD
            .decode(source.strip_prefix("data:;base64,").expect("a data URL"))
            .expect("base64");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped[..]), &mut text)
            .expect("gzip");
        text
    }

    trait FlattenText {
        fn flatten_text(self) -> String;
    }

    impl FlattenText for Option<String> {
        fn flatten_text(self) -> String {
            self.unwrap_or_default()
        }
    }

    #[test]
    fn every_platform_gets_the_config_back_from_what_its_api_takes() {
        for platform in crate::flatcar::PLATFORMS {
            for compress in [Compress::Auto, Compress::Always] {
                for bytes in [200, 16_384, 16_385, 60_000] {
                    let rendered = config(bytes, false);
                    let user_data =
                        pack(&rendered, platform, compress).expect("a config that compresses fits");
                    assert_eq!(
                        unwrapped(&user_data, platform),
                        rendered,
                        "{} {bytes}",
                        platform.name
                    );
                    assert!(
                        platform
                            .user_data
                            .limit
                            .most()
                            .is_none_or(|limit| user_data.size <= limit)
                    );
                }
            }
        }
    }

    #[test]
    fn a_config_is_wrapped_from_the_first_byte_above_the_limit() {
        for (name, most) in [
            ("aws", 16_384),
            ("openstack", 49_149),
            ("gcp", 262_144),
            ("vsphere", 49_152),
            ("oraclecloud", 24_000),
            ("nutanix", 24_576),
            ("vcd", 49_152),
            ("exoscale", 24_573),
            ("cloudstack", 24_576),
            ("brightbox", 12_288),
            ("scaleway", 16_384),
            ("hyperv", 16_384),
            ("vagrant", 16_384),
        ] {
            let pack =
                |bytes| pack(&config(bytes, false), on(name), Compress::Auto).expect("it fits");
            assert!(!pack(most).wrapped, "{name}");
            assert!(pack(most + 1).wrapped, "{name}");
        }
        for file in ["qemu", "baremetal", "pxe", "iso", "proxmoxve"] {
            let packed = pack(&config(1 << 20, false), on(file), Compress::Auto);
            assert!(!packed.expect("no limit").wrapped, "{file}");
        }
    }

    #[test]
    fn never_means_never_and_always_means_always() {
        let error = pack(&config(16_385, false), on("aws"), Compress::Never)
            .err()
            .expect("too large");
        assert_eq!((error.plain, error.wrapped), (16_385, None));
        assert!(
            pack(&config(200, true), on("aws"), Compress::Always)
                .expect("it fits")
                .wrapped
        );
    }

    #[test]
    fn what_does_not_fit_even_compressed_is_told_with_sizes_and_names() {
        let rendered = config(50_000, true).replacen(
            r#""storage""#,
            r#""passwd":{"users":[{"name":"core","sshAuthorizedKeys":["ssh-ed25519 AAAA"]}]},"systemd":{"units":[{"name":"a.service","contents":"[Unit]","dropins":[{"name":"b.conf","contents":"12"}]},{"name":"c.service"}]},"storage""#,
            1,
        );
        let error = pack(&rendered, on("aws"), Compress::Auto)
            .err()
            .expect("too large");
        assert!(
            error
                .wrapped
                .is_some_and(|wrapped| wrapped > error.limit && wrapped < 70_000)
        );
        let names: Vec<_> = error
            .largest
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["file /a", "keys of user core", "unit a.service"]);
        let text = error.to_string();
        for part in [
            "The config has 50,",
            " bytes, compressed ",
            "; aws takes at most 16,384. What takes the space: file /a 49,",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn a_size_that_makes_trouble_on_some_is_a_warning() {
        let large =
            pack(&config(400_000, true), on("vsphere"), Compress::Auto).expect("under a MiB");
        assert!(large.warning.is_some_and(|text| {
            text.contains("more than the 65,536 that work on every VMware vSphere")
        }));
        let unknown =
            pack(&config(40_000, true), on("scaleway"), Compress::Auto).expect("no limit");
        assert!(unknown.warning.is_some_and(|text| {
            text.contains(
                "the 16,384 that fit every platform, and how much Scaleway takes is not known here",
            )
        }));
        for name in ["vsphere", "scaleway"] {
            let small = pack(&config(1000, true), on(name), Compress::Auto).expect("small");
            assert_eq!(small.warning, None, "{name}");
        }
    }
}
