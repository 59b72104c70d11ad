//! `ephemeral "flatcar_bootstrap_token"`: a token by which machines join a cluster, there while the
//! provider needs it, or until it ends.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::provider_block::api;
use super::token::{GROUPS, Kept, Published, Terms, Token, USUAL_GROUP, is_group};
use crate::http::pin;
use crate::protocol::log;
use crate::protocol::visible::is_hidden;
use crate::provider::{
    Attr, Attribute, Context, Diagnostic, Diagnostics, Ephemeral, Opened, Outcome, Path, Renewed,
    Schema, Type, Value, duration,
};

/// `ephemeral "flatcar_bootstrap_token"`.
pub struct FlatcarBootstrapToken;

/// The attributes. It holds a secret: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Model {
    ttl: Attr<String>,
    description: Attr<String>,
    groups: Attr<Vec<Attr<String>>>,
    keep: Attr<bool>,
    token: Option<String>,
    ca_certificate: Option<String>,
    ca_cert_hash: Option<String>,
    server: Option<String>,
    expiration: Option<String>,
}

impl Ephemeral for FlatcarBootstrapToken {
    type Model = Model;
    const NAME: &'static str = "bootstrap_token";

    fn schema(&self) -> Schema {
        Schema::new(
            0,
            "Bootstrap token of a Kubernetes cluster, by which machines join it: a Secret in `kube-system` of the cluster that `kubernetes` of the \
             provider block names. It is in no plan and no state. A core opens it in each plan and in each apply; it is taken back when that has used it, \
             unless `keep` says otherwise, and prolonged while a long apply still does.",
            vec![
                Attribute::string("ttl", "Time that the token is good.")
                    .default("30m")
                    .duration()
                    .check("From `1m` to `168h`", is_of_use),
                Attribute::string("description", "What the token is for; others read it in the Secret.")
                    .optional()
                    .length(0..=MOST_DESCRIPTION)
                    .pattern("One line, without control characters", |text| !text.contains(is_hidden)),
                Attribute::list("groups", "Groups that whoever shows the token is in, beside `system:bootstrappers`. What they may do is up to the cluster's roles. Defaults to the one that clusters of kubeadm let join, `system:bootstrappers:kubeadm:default-node-token`.", Type::String)
                    .default([USUAL_GROUP])
                    .length(1..=MOST_GROUPS)
                    .check(&format!("Each begins with `{GROUPS}`, and goes on with lower-case letters, digits, `:` and `-`"), is_one_of_tokens),
                Attribute::bool("keep", "Whether the token stays until it ends, for machines that boot after the apply. Each plan leaves one then, too.")
                    .default(false),
                Attribute::string("token", "The token, `abcdef.0123456789abcdef`.").computed().sensitive(),
                Attribute::string("ca_certificate", "PEM certificates of the cluster's authority, as the provider itself trusts them; null where it trusts those of the system.").computed(),
                Attribute::string("ca_cert_hash", "Hash of the first of them, as `kubeadm join --discovery-token-ca-cert-hash` takes it: `sha256:7c4d...`.").computed(),
                Attribute::string("server", "URL of the API as the provider reaches it; machines may have to ask another one.").computed(),
                Attribute::string("expiration", "When the token ends, unless it is prolonged: `2026-11-24T09:00:00Z`.").computed(),
            ],
        )
    }

    fn validate(&self, _config: Model) -> Diagnostics {
        Diagnostics::none()
    }

    async fn open(&self, context: &Context, config: Model) -> Outcome<Opened<Model>> {
        let opened = async {
            let api = api(context).await?;
            let groups = config.groups();
            let terms = Terms {
                ttl: config.ttl(),
                description: config.description.known().map_or("", String::as_str),
                groups: &groups,
            };
            let now = SystemTime::now();
            let mut draws = DRAWS;
            let (token, kept) = loop {
                let token = Token::new().ok_or_else(no_random)?;
                draws -= 1;
                let error = match token.published(&api, &terms, now).await {
                    Ok(Published::Ours(kept)) => break (token, kept),
                    Ok(Published::Taken(_)) if draws > 0 => continue,
                    Ok(Published::Taken(error)) | Err(error) => error,
                };
                return Err(Diagnostics::from(Diagnostic::error(
                    "Could not make a bootstrap token",
                    format!("{error}. {}", advice(error.retryable)),
                )));
            };
            let authority = api.authority().map(String::from_utf8_lossy);
            let pins = authority.as_deref().map(pin::pins).transpose();
            let ends_itself = config.keep.known() == Some(&true);
            Ok::<_, Diagnostics>(Opened {
                // What is to be left alone is not known to close.
                private: match ends_itself {
                    true => Vec::new(),
                    false => serde_json::to_vec(&kept).unwrap_or_default(),
                },
                renew_at: (!ends_itself).then_some(now + terms.ttl / 2),
                model: Model {
                    token: Some(token.text()),
                    ca_cert_hash: pins.ok().flatten().and_then(|pins| pins.into_iter().next()),
                    ca_certificate: authority.map(String::from),
                    server: Some(api.server().to_owned()),
                    expiration: Some(kept.expiration(now)),
                    ..config.clone()
                },
            })
        };
        tokio::select! {
            biased;
            opened = opened => match opened {
                Ok(opened) => Outcome::of(opened),
                Err(problems) => Outcome::failed(problems),
            },
            () = context.cancel.cancelled() => Outcome::failed(Diagnostic::error(
                "Interrupted",
                "The provider was asked to stop while it made a bootstrap token. One that the cluster has made all the same ends by itself.",
            )),
        }
    }

    async fn renew(&self, context: &Context, private: Vec<u8>) -> Outcome<Renewed> {
        let Some(kept) = kept(&private) else {
            return Outcome::failed(unreadable());
        };
        let now = SystemTime::now();
        let ttl = Duration::from_secs(kept.ttl_secs);
        let prolonged = async {
            let api = api(context).await.map_err(|problems| (problems, None))?;
            kept.prolonged(&api, now).await.map_err(|error| {
                let words = format!(
                    "{error}. Machines that boot once it has ended do not join. {}",
                    advice(error.retryable)
                );
                let warning = Diagnostic::warning("Bootstrap token was not prolonged", words);
                // Half of its time is left: there is time to try again.
                let again = error.retryable.then_some(now + ttl / 8);
                (Diagnostics::from(warning), again)
            })
        };
        let (problems, renew_at) = match prolonged.await {
            Ok(_) => (Diagnostics::none(), Some(now + ttl / 2)),
            Err(told) => told,
        };
        Outcome {
            value: Some(Renewed { private, renew_at }),
            problems,
        }
    }

    async fn close(&self, context: &Context, private: Vec<u8>) -> Diagnostics {
        if private.is_empty() {
            return Diagnostics::none();
        }
        let Some(kept) = kept(&private) else {
            return unreadable().into();
        };
        let taken_back = async {
            let api = api(context).await?;
            kept.taken_back(&api).await.map_err(|error| {
                let words = format!(
                    "{error}. It ends by itself. To remove it now: kubectl delete secret, with that name."
                );
                Diagnostics::from(Diagnostic::warning("Bootstrap token was not removed", words))
            })
        };
        // Also after an interrupt: what was opened is closed.
        match tokio::time::timeout(CLOSE, taken_back).await {
            Ok(ended) => ended.err().unwrap_or_default(),
            Err(_) => {
                log::warn(
                    "a bootstrap token was not removed in time, and ends by itself",
                    &[],
                );
                Diagnostic::warning(
                    "Bootstrap token was not removed",
                    "The cluster did not answer in the time that there is for it. The token ends by itself.",
                )
                .into()
            }
        }
    }
}

impl Model {
    fn ttl(&self) -> Duration {
        let written = self.ttl.known().and_then(|text| duration::parse(text));
        written.unwrap_or(SHORTEST)
    }

    fn groups(&self) -> Vec<String> {
        let groups = self.groups.known().into_iter().flatten();
        groups.filter_map(Attr::known).cloned().collect()
    }
}

fn kept(private: &[u8]) -> Option<Kept> {
    serde_json::from_slice(private).ok()
}

fn unreadable() -> Diagnostic {
    Diagnostic::error(
        "Could not read what was opened",
        "The core has handed back something else than the provider gave it. This is a bug; please report it with the log.",
    )
}

fn no_random() -> Diagnostics {
    Diagnostic::error(
        "Could not make a bootstrap token",
        "The system gives no random numbers.",
    )
    .into()
}

/// What to do about a refusal.
fn advice(may_pass: bool) -> &'static str {
    match may_pass {
        true => "Try again when the cluster answers.",
        false => "The guide Machines that are Nodes has the Role that the login needs for it.",
    }
}

fn is_of_use(value: &Value, path: &Path) -> Diagnostics {
    let Value::String(text) = value else {
        return Diagnostics::none();
    };
    match duration::parse(text) {
        Some(ttl) if !(SHORTEST..=LONGEST).contains(&ttl) => Diagnostic::error(
            "Value is out of range",
            format!("Accepted for `{path}`: from `1m` to `168h`. Machines need a while to boot, and what is good for longer than a week is a password."),
        )
        .at(path.clone())
        .into(),
        _ => Diagnostics::none(),
    }
}

fn is_one_of_tokens(value: &Value, path: &Path) -> Diagnostics {
    match value {
        Value::String(text) if !is_group(text) => Diagnostic::error(
            "Group is none of a bootstrap token",
            format!(
                "Accepted for `{path}`: each begins with `{GROUPS}`, and goes on with lower-case letters, digits, `:` and `-`, a letter or digit last."
            ),
        )
        .at(path.clone())
        .into(),
        _ => Diagnostics::none(),
    }
}

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
const MOST_DESCRIPTION: usize = 200;
const MOST_GROUPS: usize = 16;
/// Names that are drawn where others have them.
const DRAWS: u32 = 3;
/// For the end of a run.
const CLOSE: Duration = Duration::from_secs(30);
