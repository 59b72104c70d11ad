//! `clouds.yaml`, where OpenStack's tools find it, and `clouds-public.yaml` and `secure.yaml`.
//!
//! In: the name of an entry. Out: the entry; or which file is wrong, and where, without a value of
//! it, for it may be a secret.

use std::path::PathBuf;

use openstack_sdk_core::config::{self, CloudConfig, ConfigFile, ConfigFileBuilderError};

use crate::http::small_file;
use crate::protocol::visible::without_values;
use crate::provider::{Diagnostic, Diagnostics};

/// An entry of the files; `client_config_file` is what `OS_CLIENT_CONFIG_FILE` names.
///
/// # Errors
/// A file cannot be read, or none has such an entry.
pub(super) fn entry(
    cloud: &str,
    client_config_file: Option<&String>,
) -> Result<CloudConfig, Diagnostics> {
    let clouds: Vec<PathBuf> = match client_config_file {
        Some(file) => vec![file.into()],
        None => {
            let named = config::find_config_files_specified_in_env().into_iter();
            named.chain(config::find_clouds_file()).collect()
        }
    };
    let mut builder = ConfigFile::builder();
    let vendor = config::find_vendor_file().into_iter();
    let files = vendor.chain(clouds.clone());
    for file in files.chain(config::find_secure_file()) {
        let unread = |why: &str| unread(&format!("{}: {why}", file.display()));
        match small_file(&file) {
            // That it is not there is for the SDK to say.
            Err(why) if file.exists() => return Err(unread(&why)),
            _ => {}
        }
        builder = builder.add_source(&file).map_err(|error| {
            let (what, source) = match error {
                ConfigFileBuilderError::FileParse { source, .. } => ("it is no YAML", source),
                ConfigFileBuilderError::ConfigDeserialize { source, .. }
                | ConfigFileBuilderError::ConfigBuild { source } => {
                    ("it says something unexpected", source)
                }
                _ => return unread("nobody knows why"),
            };
            unread(&without_values(&format!("{what}: {source}")))
        })?;
    }
    let files = builder.build();
    let files = files.map_err(|error| unread(&without_values(&error.to_string())))?;
    if let Some(found) = files.get_cloud_config(cloud).ok().flatten() {
        return Ok(found);
    }
    let places: Vec<String> = clouds
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut known = match places.is_empty() {
        true => NO_FILE.to_owned(),
        false => format!("It was looked for in {}", places.join(", ")),
    };
    let mut entries = files.get_available_clouds();
    entries.sort();
    if !entries.is_empty() {
        known = format!("{known}; there are {}", entries.join(", "));
    }
    Err(Diagnostic::error(
        "clouds.yaml has no such entry",
        format!("There is no {cloud:?}. {known}. Name one of its entries in openstack.cloud or OS_CLOUD."),
    )
    .into())
}

fn unread(why: &str) -> Diagnostics {
    let detail = format!("{why}. Correct the file.");
    Diagnostic::error("Could not read clouds.yaml", detail).into()
}

const NO_FILE: &str =
    "There is no clouds.yaml in this directory, in ~/.config/openstack or /etc/openstack";
