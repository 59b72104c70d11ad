//! EC2 and load balancing from behind: a region of one stand-in, asked directly.

use aws_sdk_ec2 as ec2;
use aws_sdk_elasticloadbalancingv2 as elb;
use serde_json::{Value as Json, json};

/// A region.
pub(super) struct World {
    pub(super) region: &'static str,
    pub(super) ec2: ec2::Client,
    pub(super) elb: elb::Client,
    /// Of its default VPC.
    pub(super) subnets: Vec<String>,
}

impl World {
    pub(super) async fn at(endpoint: &str, region: &'static str) -> Self {
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ec2 = ec2::Client::from_conf(
            ec2::Config::builder()
                .behavior_version(ec2::config::BehaviorVersion::latest())
                .region(ec2::config::Region::new(region))
                .credentials_provider(ec2::config::Credentials::new(
                    "test", "test", None, None, "test",
                ))
                .endpoint_url(endpoint)
                .build(),
        );
        let elb = elb::Client::from_conf(
            elb::Config::builder()
                .behavior_version(elb::config::BehaviorVersion::latest())
                .region(elb::config::Region::new(region))
                .credentials_provider(elb::config::Credentials::new(
                    "test", "test", None, None, "test",
                ))
                .endpoint_url(endpoint)
                .build(),
        );
        let subnets = ec2.describe_subnets().send().await.expect("has subnets");
        let ids = subnets.subnets().iter();
        let ids = ids.filter_map(|subnet| subnet.subnet_id().map(str::to_owned));
        Self {
            region,
            subnets: ids.collect(),
            ec2,
            elb,
        }
    }

    /// The attribute of the provider block, of which this is the endpoint.
    pub(super) fn block(&self, endpoint: &str) -> Json {
        json!({
            "access_key": "test",
            "secret_key": "test",
            "region": self.region,
            "endpoint": endpoint,
        })
    }
}
