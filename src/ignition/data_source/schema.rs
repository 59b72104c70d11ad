//! The attributes of `flatcar_ignition`, of the data source and of its ephemeral twin.
//!
//! What may hold a secret is sensitive, as what is rendered from it is: documents, and addresses
//! that may have a password in them.

mod kubernetes;

use crate::flatcar::{PLATFORMS, Version, known_platform};
use crate::ignition::user_data::Compress;
use crate::ignition::{Style, preset};
use crate::provider::{Attribute, Diagnostic, Diagnostics, Path, Schema, Type, Value, is_made_up};

/// Of the data source and of its ephemeral twin.
pub(in crate::ignition) fn schema() -> Schema {
    let platforms: Vec<String> = PLATFORMS
        .iter()
        .map(|platform| format!("`{}`", platform.name))
        .collect();
    Schema::new(
        0,
        "Ignition configuration from Butane (`variant: flatcar`), Ignition JSON and typed presets: translated, merged and checked while \
         planning. Everything that is wrong is reported, with path, line and column, on the attribute that caused it. Presets are the \
         lowest layer, `content` is merged over them, then `snippets` in order, by Ignition's rules: objects member by member, files by \
         path, units and users by name.",
        vec![
            Attribute::string(
                "content",
                "Butane YAML (`variant: flatcar`, version 1.0.0 or 1.1.0) or Ignition JSON (3.0 to 3.5). Version 1.2.0-experimental is \
                 rendered too, with a warning, for no release of Flatcar reads what comes of it. A null in Butane stands for what is left \
                 out. At least one of `content`, `snippets` and the presets must be set.",
            )
            .optional()
            .sensitive(),
            Attribute::list(
                "snippets",
                "Further documents of either kind, merged over `content` in order. Null ones, and those with nothing in them but blanks and \
                 comments, are skipped.",
                Type::String,
            )
            .optional()
            .sensitive()
            .skips_nulls(),
            Attribute::string(
                "files_dir",
                "Directory of the files that `local:` and `trees:` name. Nothing outside it is read: a symbolic link is followed as long as it stays inside.",
            )
            .optional(),
            Attribute::bool("strict", "Whether warnings are errors.").null_means(false),
            Attribute::bool("pretty_print", "Whether `rendered` is indented.").null_means(false),
            Attribute::string(
                "output_format",
                "Form of `rendered`: `butane` is byte for byte what the `butane` command prints, `ct` what `ct_config` of \
                 terraform-provider-ct renders, so that moving from it changes no machine.",
            )
            .null_means(OUTPUT_FORMATS[0].0)
            .one_of(OUTPUT_FORMATS.map(|(name, _)| name)),
            Attribute::string("platform", "Platform that `user_data` is for; without it there is none.")
                .optional()
                .check(&format!("One of {}", platforms.join(", ")), check_platform),
            Attribute::string(
                "compress",
                "When `user_data` is wrapped in a small config that holds the real one compressed: `auto` when it is larger than the platform \
                 takes, or, where that is not known, than 16 KiB.",
            )
            .null_means(Compress::NAMES[0])
            .one_of(Compress::NAMES),
            Attribute::string(
                "flatcar_version",
                "Release that must be able to read the config, such as `data.flatcar_image.x.version`, or the `ignition_spec` of an image. \
                 Without it there is a warning of a config that no release reads.",
            )
            .optional()
            .pattern("Three numbers with dots, such as `4593.2.5`", |text| text.parse::<Version>().is_ok() || is_made_up(text)),
            Attribute::list(
                "ssh_authorized_keys",
                "Preset: public keys of user `core`, each as in `authorized_keys`. An element may be a whole such file.",
                Type::String,
            )
            .optional()
            .skips_nulls(),
            updates(),
            kubernetes::kubernetes(),
            proxy(),
            Attribute::string("rendered", "Ignition JSON.").computed().sensitive(),
            Attribute::string(
                "user_data",
                "What the API of `platform` takes as user data, wrapped where the config is too large, in base64 where the API wants that. For \
                 `aws_instance` and the like; `flatcar_worker_group` takes `rendered`.",
            )
            .computed()
            .sensitive(),
            Attribute::string("sha256", "SHA-256 of `rendered`, in hexadecimal.").computed(),
            Attribute::number("size", "Size of `rendered` in bytes.").computed(),
            Attribute::number(
                "user_data_size",
                "Size of `user_data` in bytes as `platform` counts them against its limit: before base64 on most, after it on some.",
            )
            .computed(),
            Attribute::string("ignition_spec", "Version of the Ignition specification of `rendered`.").computed(),
            Attribute::list("warnings", "Warnings of the translation, one line each, as the `butane` command prints them.", Type::String)
                .computed(),
        ],
    )
}

/// The words of `output_format`, the default first.
pub(super) const OUTPUT_FORMATS: [(&str, Style); 2] =
    [("butane", Style::Butane), ("ct", Style::Ct)];

pub(super) fn check_platform(value: &Value, path: &Path) -> Diagnostics {
    let Value::String(word) = value else {
        return Diagnostics::none();
    };
    known_platform(word).map_or_else(
        |accepted| {
            Diagnostic::error("Platform is not known here", accepted)
                .at(path.clone())
                .into()
        },
        |_| Diagnostics::none(),
    )
}

fn profile() -> Attribute {
    Attribute::number(
        "profile",
        "Version of what the preset writes. What a profile writes for an input never changes.",
    )
    .null_means(preset::PROFILE)
    .range(1..=preset::PROFILE)
}

const ADDRESS: &str = "An address that starts with `http://` or `https://`, of printable ASCII without blanks, line breaks, quotes, `\\`, `$` \
                       and backquotes: in a password they are written as in `%20`";

fn updates() -> Attribute {
    Attribute::object(
        "updates",
        "Preset: how machines update themselves. Writes `/etc/flatcar/update.conf`.",
        vec![
            Attribute::bool(
                "automatic",
                "Whether the machine fetches updates. Without, `SERVER=disabled` is written, as Flatcar documents: an update by hand still works.",
            )
            .null_means(true),
            Attribute::string(
                "reboot_strategy",
                "How the machine reboots into an update. Left out it is `reboot`, and `off` with `automatic = false`.",
            )
            .optional()
            .one_of(preset::REBOOT_STRATEGIES),
            Attribute::object(
                "reboot_window",
                "Time in which the machine may reboot.",
                vec![
                    Attribute::string("start", "Beginning of the window, of every week or day.")
                        .required()
                        .pattern(preset::WINDOW_START, preset::is_window_start),
                    Attribute::string("length", "Length of the window.").required().duration(),
                ],
            )
            .optional(),
            Attribute::string("channel", "Channel to follow in place of the image's, or group of one's own update server.")
                .optional()
                .pattern("A word of letters, digits, `-`, `_` and `.`", preset::is_group),
            Attribute::string("server", "Address of an update server of one's own, such as Nebraska.")
                .optional()
                .sensitive()
                .pattern(ADDRESS, preset::is_address),
            profile(),
        ],
    )
    .optional()
}

fn proxy() -> Attribute {
    let address = |name, description| {
        Attribute::string(name, description)
            .optional()
            .sensitive()
            .pattern(ADDRESS, preset::is_address)
    };
    Attribute::object(
        "proxy",
        "Preset: a proxy for Ignition itself, all services (containerd, kubelet and update-engine among them) and shells.",
        vec![
            address("http_proxy", "Proxy for `http://`."),
            address("https_proxy", "Proxy for `https://`."),
            Attribute::list("no_proxy", "Hosts, domains and networks that are reached directly.", Type::String)
                .optional()
                .pattern("Words of printable ASCII without blanks, line breaks, commas, quotes, `\\`, `$` and backquotes", preset::is_direct),
            profile(),
        ],
    )
    .optional()
}
