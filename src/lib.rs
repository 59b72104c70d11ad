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

use provider::{Provider, Schema};

/// Source address of the provider.
pub const ADDRESS: &str = "registry.terraform.io/flatcar-iac/flatcar";

/// Everything that the provider serves.
pub fn provider() -> Provider {
    Provider::new("flatcar", ADDRESS, provider_schema)
        .data_source(ignition::data_source::FlatcarIgnition)
        .ephemeral(ignition::ephemeral::FlatcarIgnition)
        .function(ignition::function::Render)
        .function(ignition::function::Merge)
        .function(ignition::function::PackUserData)
        .function(ignition::function::CompareVersions)
        .data_source(image::data_source::FlatcarImage)
        .data_source(image::data_source::FlatcarReleases)
        .resource(worker_group::resource::WorkerGroup::new(cloud::ALL))
}

fn provider_schema() -> Schema {
    let mut attributes = vec![image::data_source::release_server()];
    attributes.extend(cloud::ALL.iter().map(|entry| (entry.provider_schema)()));
    Schema::new(
        0,
        "Worker machines on Flatcar Container Linux: their Ignition configuration, their image, and groups of them on a cloud. Everything \
         in the provider block is optional; nothing is dialled before it is needed.",
        attributes,
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_schema_is_one_that_core_takes_and_every_model_fits_it() {
        let faults = crate::provider::validity::faults(&crate::provider());
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
