//! The attribute `kubevirt` of the provider block: which cluster machines run on, and the namespace
//! that they are in where their group names none.
//!
//! In: `{config_path: "~/.kube/vms", namespace: "prod"}`. Out: a [`Session`]. Keys are those of the
//! block `kubernetes`, and variables those of it with `KUBEVIRT_` in place of `KUBE_`: what
//! machines are Nodes of is another cluster, as a rule.

use std::collections::BTreeMap;

use super::api::Session;
use super::shape::{NAME_SAYS, is_name};
use crate::kubernetes::access::{Access, Block};
use crate::kubernetes::provider_block;
use crate::protocol::log;
use crate::provider::convert::from_value;
use crate::provider::{Attribute, Context, Diagnostics, Path, Value};
use crate::worker_group::cloud::or_variable;

/// The attribute `kubevirt` of the provider block.
pub(super) fn provider_schema() -> Attribute {
    let mut attributes = provider_block::attributes(BLOCK);
    let namespace = Attribute::string("namespace", "Namespace of machines whose group names none.");
    let namespace = namespace
        .environment(&[NAMESPACE], "`default`")
        .pattern(NAME_SAYS, is_name);
    attributes.push(namespace.optional().or_empty());
    let says = "Access to the cluster that machines run on as virtual machines of KubeVirt. Keys are those of `kubernetes`, which is the cluster that \
                they are Nodes of. Without any of it, and without the variables, it is the one that the provider itself runs in.";
    Attribute::object(BLOCK.name, says, attributes).optional()
}

/// Dials nothing.
///
/// # Errors
/// What is written cannot be used, or nothing says which cluster.
pub(super) fn login(context: &Context) -> Result<Session, Diagnostics> {
    let mut settings: BTreeMap<String, Value> = super::ENTRY.settings(context)?;
    let namespace = match settings.remove("namespace") {
        Some(Value::String(namespace)) => Some(namespace),
        _ => None,
    };
    let access = match settings.is_empty() {
        true => Access::default(),
        false => from_value(&Value::Map(settings), &Path::of(BLOCK.name))?,
    };
    let access = Access {
        block: BLOCK,
        ..access
    };
    let api = provider_block::reached(&access)?;
    if api.is_insecure() {
        log::warn("certificates of KubeVirt's cluster go unchecked", &[]);
    }
    let namespace = or_variable(namespace, &[NAMESPACE]);
    Ok(Session {
        api,
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
    })
}

const BLOCK: Block = Block {
    name: "kubevirt",
    variables: "KUBEVIRT_",
};
const NAMESPACE: &str = "KUBEVIRT_NAMESPACE";
