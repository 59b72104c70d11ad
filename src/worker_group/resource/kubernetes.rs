//! How the cluster of a group is reached: the attribute `kubernetes` of the provider block, and what is
//! opened from it.

use crate::kubernetes::access::{
    Access, CA, CERTIFICATE, CONTEXT, HOST, INSECURE, KEY, KUBECONFIG, PATH, PROXY, SERVER_NAME,
    TOKEN, Unusable,
};
use crate::kubernetes::{Api, Cluster, Connection};
use crate::protocol::log;
use crate::provider::{Attribute, Context, Diagnostic, Diagnostics, Path, Type, Value};
use crate::worker_group::cloud::settings_of;
use crate::worker_group::model::Group;

use super::cluster::Opening;

/// The attribute `kubernetes` of the provider block; names are those of the provider `hashicorp/kubernetes`.
pub fn provider_schema() -> Attribute {
    let text = |name, description, variable| {
        Attribute::string(name, description)
            .environment(&[variable], "")
            .optional()
    };
    Attribute::object(
        NAME,
        "Access to the cluster that machines are Nodes of, as the provider `hashicorp/kubernetes` has it. Without any of it, and without the \
         variables, the cluster is the one that the provider itself runs in.",
        vec![
            Attribute::string("config_path", "Kubeconfig; `~/` is the home directory.").environment(&[PATH, KUBECONFIG], "").optional(),
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
                .environment(&[INSECURE], "")
                .check("", insecure)
                .optional(),
            Attribute::object("exec", "Program that logs in, as in a kubeconfig.", vec![
                Attribute::string("api_version", "Version of what it answers: `client.authentication.k8s.io/v1` or `client.authentication.k8s.io/v1beta1`.").required(),
                Attribute::string("command", "Program.").required(),
                Attribute::list("args", "Its arguments.", Type::String).optional(),
                Attribute::map("env", "Variables for it, beside those of the provider.", Type::String).optional().sensitive(),
            ])
            .optional(),
        ],
    )
    .optional()
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

/// Opens the cluster of a group that has the attribute `kubernetes`. Nothing is dialled before the first
/// question.
pub(super) fn open<'a>(context: &'a Context, group: &'a Group) -> Option<Opening<'a>> {
    let wants = group.fields.kubernetes.known()?.wants()?;
    Some(Opening {
        on_timeout: wants.drain.and_then(|drain| drain.on_timeout),
        settings: wants.settings.clone(),
        waits: wants.wait_for_node,
        cluster: Box::pin(async move {
            // One login for all groups of a cluster.
            let api = context.shared.try_of(|| async { api(context) }).await?;
            Ok(Cluster {
                nodes: Box::new(Connection::new(api, wants.rules)),
                wait_for_node: wants.wait_for_node,
                settings: wants.settings,
                delete_node: wants.delete_node,
                drain: wants.drain,
            })
        }),
    })
}

fn api(context: &Context) -> Result<Api, Diagnostics> {
    let access: Access = settings_of(context, NAME, provider_schema())?;
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let api = access.endpoint(&environment).and_then(Api::new);
    let api = api.map_err(|Unusable(why)| {
        Diagnostic::error(
            "Cluster is not configured as it should be",
            format!(
                "The group has the attribute kubernetes, and its cluster cannot be reached: {why}."
            ),
        )
    })?;
    if api.is_insecure() {
        log::warn("certificates of the cluster go unchecked", &[]);
    }
    Ok(api)
}

const NAME: &str = "kubernetes";
