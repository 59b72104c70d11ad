//! `release_server` of the provider block.

use std::sync::Arc;

use serde::Deserialize;

use crate::flatcar::{FEED_URL, RELEASE_URL};
use crate::image::source::{Settings, Source};
use crate::provider::{Attribute, Context, Diagnostic, Diagnostics};

/// What the user wrote.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ReleaseServer {
    url: Option<String>,
    feed_url: Option<String>,
    verify: Option<String>,
    signing_keys: Option<String>,
    ca_certificate: Option<String>,
}

/// The attribute `release_server` of the provider block.
pub fn release_server() -> Attribute {
    let attributes = vec![
        Attribute::string(
            "url",
            "Directory of a channel's releases, with `{channel}` and `{arch}` in it; a mirror has the same files below it.",
        )
        .default(RELEASE_URL)
        .pattern("A URL that begins with `https://`, `http://` or `file://`", is_url),
        Attribute::string(
            "feed_url",
            &format!(
                "Directory of the release feed, `releases.json` in it: for constraints, dates and history. Defaults to `{FEED_URL}` \
                 where `url` is Flatcar's, and to no feed where it is not."
            ),
        )
        .optional()
        .pattern("A URL that begins with `https://`, `http://` or `file://`", is_url),
        Attribute::string(
            "verify",
            "How release data is checked: `signature` wants an OpenPGP signature by an accepted key, `none` believes whoever answers, \
             and warns.",
        )
        .default("signature")
        .one_of(["signature", "none"]),
        Attribute::string(
            "signing_keys",
            "More accepted OpenPGP public keys, armored, one after another: for builds of one's own, or for a new key of Flatcar's. \
             Flatcar's key is built in.",
        )
        .optional(),
        Attribute::string(
            "ca_certificate",
            "Certificates of authorities to trust beside the system's, PEM: for a mirror inside a company.",
        )
        .optional(),
    ];
    Attribute::object(
        "release_server",
        "Where release data and images come from.",
        attributes,
    )
    .defaulted()
}

fn is_url(text: &str) -> bool {
    ["https://", "http://", "file://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    })
}

/// The release server of the provider block, one for the process.
pub(super) async fn source(context: &Context) -> Result<Arc<Source>, Diagnostics> {
    let configured: Option<ReleaseServer> = context.known_setting("release_server")?;
    context
        .shared
        .try_of(|| async { open(configured.unwrap_or_default()) })
        .await
}

fn open(configured: ReleaseServer) -> Result<Source, Diagnostics> {
    let url = configured.url.unwrap_or_else(|| RELEASE_URL.to_owned());
    let feed_url = configured
        .feed_url
        .or_else(|| (url == RELEASE_URL).then(|| FEED_URL.to_owned()));
    let defaults = Settings::default();
    Source::new(Settings {
        url,
        feed_url,
        verify: configured.verify.as_deref() != Some("none"),
        signing_keys: configured.signing_keys.unwrap_or_default(),
        http: crate::http::Settings {
            extra_roots: configured.ca_certificate.unwrap_or_default().into_bytes(),
            ..defaults.http
        },
    })
    .map_err(|why| {
        Diagnostic::error(
            "The signing keys cannot be read",
            format!("release_server.signing_keys of the provider block: {why}."),
        )
        .into()
    })
}

pub(super) fn unverified(source: &Source) -> Diagnostics {
    match source.verifies() {
        true => Diagnostics::none(),
        false => Diagnostic::warning(
            "Release data is not checked",
            "release_server.verify is \"none\": whoever answers for the release server decides what the machines boot. Set it to \
             \"signature\", and give the keys of own builds in release_server.signing_keys.",
        )
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Value;
    use crate::provider::schema::null_object;

    #[tokio::test]
    async fn what_is_not_known_in_the_provider_block_is_named() {
        let crate::provider::schema::Kind::Object(attributes) = release_server().kind else {
            unreachable!()
        };
        let with_unknown = |name: &str| {
            let mut server = null_object(&attributes);
            if let Value::Map(values) = &mut server {
                values.insert(name.to_owned(), Value::unknown());
            }
            server
        };
        for (server, named) in [
            (with_unknown("url"), "`release_server.url`"),
            (
                with_unknown("ca_certificate"),
                "`release_server.ca_certificate`",
            ),
            (Value::unknown(), "`release_server`"),
        ] {
            let block = [("release_server".to_owned(), server)];
            let context = Context::of(Value::Map(block.into()));
            let problems = source(&context).await.unwrap_err().0;
            assert_eq!(problems.len(), 1);
            let problem = &problems[0];
            // A path would be one of the data source.
            assert_eq!(problem.path, None);
            assert!(problem.detail.starts_with(named), "{}", problem.detail);
            assert!(problem.detail.contains("-target"), "{}", problem.detail);
        }
    }
}
