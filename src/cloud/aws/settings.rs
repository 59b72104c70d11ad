//! Access to AWS: the attribute `aws` of the provider block, as schema and as struct.
//!
//! In: `{ region = "eu-central-1", profile = "prod" }`. Out: a struct in which nothing is empty.

use serde::Deserialize;

use super::checks::TAG_RULES;
use crate::http::{ENDPOINT_SAYS, is_endpoint};
use crate::provider::rules::missing_half;
use crate::provider::{Attribute, Diagnostic, Diagnostics, Path, Type, Value};
use crate::worker_group::cloud::tagging::{self, DefaultTags, IgnoreTags};

/// The attribute `aws` of the provider block.
pub(super) fn provider_schema() -> Attribute {
    let mut attributes = access();
    attributes.extend(tagging::attributes(&TAG_RULES));
    Attribute::object(
        "aws",
        "Access to AWS. What is left out, or is an empty string, comes from AWS's own environment variables and files, as with its command \
         line.",
        attributes,
    )
    .optional()
    .check("", |aws, at| Diagnostics(keys_together(aws, at).into_iter().collect()))
}

fn access() -> Vec<Attribute> {
    vec![
            Attribute::string("region", "Region.")
                .environment(&["AWS_REGION", "AWS_DEFAULT_REGION"], "the profile's")
                .optional()
                .pattern(REGION_SAYS, is_region)
                .or_empty(),
            Attribute::string("profile", "Profile.").environment(&["AWS_PROFILE"], "`default`").optional(),
            Attribute::string("access_key", "Access key id; `secret_key` goes with it.")
                .environment(&["AWS_ACCESS_KEY_ID"], "the profile's")
                .optional()
                .sensitive(),
            Attribute::string("secret_key", "Secret access key; `access_key` goes with it.")
                .optional()
                .sensitive(),
            Attribute::string("token", "Session token of temporary keys.").optional().sensitive(),
            Attribute::object(
                "assume_role",
                "A role to take on with those credentials.",
                vec![
                    Attribute::string("role_arn", "ARN of the role.").required().filled(),
                    Attribute::string("external_id", "External id that the role wants.").optional(),
                    Attribute::string("session_name", "Session name, for the account's logs.").default(SESSION_NAME),
                ],
            )
            .optional(),
            Attribute::string(
                "account_id",
                "Account that the credentials belong to, 12 digits; part of what state records. Without it STS is asked. Set it where STS \
                 cannot be reached.",
            )
            .optional()
            .pattern("12 digits", |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .or_empty(),
            Attribute::list("shared_config_files", "Files to read in place of `~/.aws/config`.", Type::String)
                .optional()
                .filled(),
            Attribute::list("shared_credentials_files", "Files to read in place of `~/.aws/credentials`.", Type::String)
                .optional()
                .filled(),
            Attribute::string(
                "endpoint",
                "URL of EC2, load balancing and STS.",
            )
            .environment(&["AWS_ENDPOINT_URL"], "the profile's, then Amazon's. The variable is refused when it is set to an empty string")
            .optional()
            .pattern(ENDPOINT_SAYS, is_endpoint)
            .or_empty(),
            Attribute::string(
                "ca_bundle",
                "File of PEM certificates that are trusted beside the system's.",
            )
            .environment(&["AWS_CA_BUNDLE"], "")
            .optional(),
            Attribute::number("max_retries", "Most retries of a call.")
                .environment(&["AWS_MAX_ATTEMPTS"], "2")
                .optional()
                .range(0..=100),
    ]
}

/// Half a pair of keys.
fn keys_together(aws: &Value, at: &Path) -> Option<Diagnostic> {
    let missing = missing_half(aws, ["access_key", "secret_key"])?;
    let detail =
        "aws.access_key and aws.secret_key of the provider block go together. Set both or none.";
    Some(Diagnostic::error("AWS keys are incomplete", detail).at(at.attribute(missing)))
}

/// What stands in a host name and in a signature.
pub(super) fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The attribute `aws` of the provider block, as a struct. Holds secrets: no `Debug`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) region: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) access_key: Option<String>,
    pub(super) secret_key: Option<String>,
    pub(super) token: Option<String>,
    pub(super) assume_role: Option<AssumeRole>,
    pub(super) account_id: Option<String>,
    pub(super) shared_config_files: Option<Vec<String>>,
    pub(super) shared_credentials_files: Option<Vec<String>>,
    pub(super) endpoint: Option<String>,
    pub(super) ca_bundle: Option<String>,
    pub(super) max_retries: Option<u32>,
    pub(super) default_tags: Option<DefaultTags>,
    pub(super) ignore_tags: Option<IgnoreTags>,
}

#[derive(Clone, Deserialize)]
pub(super) struct AssumeRole {
    pub(super) role_arn: String,
    pub(super) external_id: Option<String>,
    pub(super) session_name: Option<String>,
}

pub(super) const REGION_SAYS: &str = "Lower-case letters, digits and hyphens";
pub(super) const SESSION_NAME: &str = "terraform-provider-flatcar";
