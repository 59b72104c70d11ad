//! What is asked of EC2 and what its answers mean, without EC2. `UPDATE=1` rewrites the golden
//! requests in `tests/fixtures/aws`.

mod answers;
mod refused;
mod requests;

use aws_sdk_ec2::error::{ErrorMetadata, ProvideErrorMetadata as _};
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{
    GroupIdentifier, Instance, InstanceState, InstanceType, Placement, StateReason,
};

use serde_json::json;

use super::failure::{CODES, fault};
use super::*;
use crate::cloud::tests::{are_as_recorded, complete};
use crate::provider::{Attribute, Context, Model as _, Severity, Value, convert};
use crate::worker_group::cloud::Meaning;

fn shape(text: &str) -> Value {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    complete(&shape::group_schema(), &json)
}

fn mark() -> Mark {
    Mark {
        cluster: "prod".to_owned(),
        group: "workers".to_owned(),
        uid: "k3x9".to_owned(),
        generation: "0123-4567".to_owned(),
        unsaved: true,
        origin: String::new(),
        proof: String::new(),
    }
}

fn spec<'a>(mark: &'a Mark, shape: &'a Value) -> Spec<'a> {
    Spec {
        name: "workers-k3x9-0",
        attempt: 0,
        ordinal: 0,
        mark,
        image: "ami-0a",
        user_data: b"{}",
        shape,
    }
}
