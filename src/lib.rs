//! Terraform and OpenTofu provider for worker machines on Flatcar Container Linux. Composition only: the rooms, lowest rank first,
//! and the tables of what the provider serves.
pub mod cloud;
pub mod flatcar;
pub mod http;
pub mod ignition;
pub mod image;
pub mod kubernetes;
pub mod protocol;
pub mod provider;
pub mod worker_group;

use provider::{Attribute, Provider, Schema};

/// Source address of the provider.
pub const ADDRESS: &str = "registry.terraform.io/flatcar-iac/flatcar";

/// Everything that the provider serves.
pub fn provider() -> Provider {
    Provider::new("flatcar", ADDRESS, provider_schema)
}

fn provider_schema() -> Schema {
    let mut attributes = vec![release_server()];
    attributes.extend(cloud::ALL.iter().map(|entry| (entry.provider_schema)()));
    Schema::new(
        0,
        "Worker machines on Flatcar Container Linux: their Ignition configuration, their image, and groups of them on a cloud. Everything \
         in the provider block is optional; nothing is dialled before it is needed.",
        attributes,
    )
}

fn release_server() -> Attribute {
    let description = "Where release data and images come from.";
    let attributes = vec![
        Attribute::string(
            "url",
            "Template of the release server's address, with `{channel}` and `{arch}` in it. `https://`, `http://` or `file://` (a mirror).",
        )
        .default(flatcar::RELEASE_URL)
        .pattern("A template that starts with `https://`, `http://` or `file://`", is_url),
        Attribute::string("feed_url", "Address of the feed of releases, for dates and history.")
            .default(flatcar::FEED_URL)
            .pattern("An address that starts with `https://`, `http://` or `file://`", is_url),
        Attribute::string(
            "verify",
            "How release data is checked: `signature` wants an OpenPGP signature of an accepted key, `none` takes what comes.",
        )
        .default("signature")
        .one_of(["signature", "none"]),
        Attribute::string(
            "signing_keys",
            "More accepted OpenPGP keys, armored, for builds of one's own. The key of the Flatcar project is built in.",
        )
        .optional(),
    ];
    Attribute::object("release_server", description, attributes).defaulted()
}

fn is_url(text: &str) -> bool {
    ["https://", "http://", "file://"]
        .iter()
        .any(|scheme| text.starts_with(scheme) && text.len() > scheme.len())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_schema_is_one_that_core_takes_and_every_model_fits_it() {
        let faults = crate::provider::validity::faults(&crate::provider());
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
