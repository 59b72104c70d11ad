//! The attribute `kubernetes` of the provider block: how the cluster is reached, and what is opened
//! from it.

use std::sync::Arc;

use super::Api;
use super::access::{
    Access, Block, CA, CERTIFICATE, CONTEXT, HOST, INSECURE, KEY, KUBECONFIG, PATH, PROXY,
    SERVER_NAME, TOKEN, Unusable,
};
use crate::protocol::log;
use crate::provider::{Attribute, Context, Diagnostic, Diagnostics, Path, Type, Value};

/// The attribute `kubernetes` of the provider block; names are those of the provider
/// `hashicorp/kubernetes`.
pub fn schema() -> Attribute {
    let block = Block::default();
    Attribute::object(
        block.name,
        "Access to the cluster that machines are Nodes of, as the provider `hashicorp/kubernetes` has it. Without any of it, and without the \
         variables, the cluster is the one that the provider itself runs in.",
        attributes(block),
    )
    .optional()
}

/// What says how a cluster is reached, of any block.
pub(crate) fn attributes(block: Block) -> Vec<Attribute> {
    let text = |name, description, variable| {
        Attribute::string(name, description)
            .environment(&[&block.variable(variable)], "")
            .optional()
    };
    vec![
            Attribute::string("config_path", "Kubeconfig; `~/` is the home directory.").environment(&[&block.variable(PATH), KUBECONFIG], "").optional(),
            Attribute::string("config_content", "Contents of a kubeconfig, in place of `config_path`.").optional().sensitive(),
            text("config_context", "Context of the kubeconfig.", CONTEXT),
            text("host", "URL of the API: `https://api.example:6443`.", HOST),
            text("token", "Bearer token.", TOKEN).sensitive(),
            text("cluster_ca_certificate", "PEM certificates that are trusted for the API.", CA),
            text("client_certificate", "PEM certificate to log in with.", CERTIFICATE),
            text("client_key", "PEM key of `client_certificate`.", KEY).sensitive(),
            text("tls_server_name", "Name that the API's certificate has, where it is not that of `host`.", SERVER_NAME),
            text("proxy_url", "Proxy for all calls to the API. Without it the usual variables (`HTTPS_PROXY`, `NO_PROXY`) count.", PROXY).sensitive(),
            Attribute::bool("insecure", "Whether certificates go unchecked; draws a warning.")
                .environment(&[&block.variable(INSECURE)], "")
                .check("", insecure)
                .optional(),
            Attribute::object("exec", "Program that logs in, as in a kubeconfig.", vec![
                Attribute::string("api_version", "Version of what it answers: `client.authentication.k8s.io/v1` or `client.authentication.k8s.io/v1beta1`.").required(),
                Attribute::string("command", "Program.").required(),
                Attribute::list("args", "Its arguments.", Type::String).optional(),
                Attribute::map("env", "Variables for it, beside those of the provider.", Type::String).optional().sensitive(),
            ])
            .optional(),
    ]
}

fn insecure(value: &Value, path: &Path) -> Diagnostics {
    match value {
        Value::Bool(true) => Diagnostic::warning(
            "Certificates of the cluster go unchecked",
            "Whoever stands between reads the token. Write cluster_ca_certificate in place of insecure.",
        )
        .at(path.clone())
        .into(),
        _ => Diagnostics::none(),
    }
}

/// The API of the cluster, with one login for all who ask it. Nothing is dialled before the first
/// question.
///
/// # Errors
/// What is written cannot be used, or nothing says which cluster.
pub(crate) async fn api(context: &Context) -> Result<Arc<Api>, Diagnostics> {
    context.shared.try_of(|| async { opened(context) }).await
}

fn opened(context: &Context) -> Result<Api, Diagnostics> {
    let access: Access = context.checked_setting(&schema())?;
    reached(&access)
}

/// The API that settings lead to, of any block.
///
/// # Errors
/// What is written cannot be used, or nothing says which cluster.
pub(crate) fn reached(access: &Access) -> Result<Api, Diagnostics> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let api = access.endpoint(&environment).and_then(Api::new);
    let api = api.map_err(|Unusable(why)| {
        Diagnostic::error(
            "Cluster is not configured as it should be",
            format!("The cluster cannot be reached: {why}."),
        )
    })?;
    if api.is_insecure() {
        log::warn("certificates of the cluster go unchecked", &[]);
    }
    Ok(api)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::convert::from_value;
    use crate::provider::schema::null_object;

    #[test]
    fn what_is_read_is_what_may_be_written() {
        let nothing = null_object(&attributes(Block::default()));
        let read = from_value::<Access>(&nothing, &Path::of("kubernetes"));
        assert!(read.is_ok(), "{:?}", read.err());
    }
}
