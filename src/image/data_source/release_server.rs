//! `release_server` of the provider block.

use std::sync::Arc;

use serde::Deserialize;

use crate::flatcar::{FEED_URL, RELEASE_URL};
use crate::image::signature::Keyring;
use crate::image::source::{Settings, Source};
use crate::provider::{Attribute, Context, Diagnostic, Diagnostics, Path, Value};

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
        .pattern(URL_SAYS, is_url),
        Attribute::string(
            "feed_url",
            &format!(
                "Directory of the release feed, `releases.json` in it: for constraints, dates and history. Defaults to `{FEED_URL}` \
                 where `url` is Flatcar's, and to no feed where it is not."
            ),
        )
        .optional()
        .pattern(URL_SAYS, is_url),
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
        .optional()
        .check("", |keys, path| told(keys, path, "Signing keys cannot be read", |keys| Keyring::new(keys).map(drop))),
        Attribute::string(
            "ca_certificate",
            "Certificates of authorities to trust beside the system's, PEM: for a mirror inside a company.",
        )
        .optional()
        .check("", |roots, path| told(roots, path, "Certificates cannot be read", |roots| match roots.is_empty() {
            true => Ok(()),
            false => crate::http::check_roots(roots.as_bytes()),
        })),
    ];
    Attribute::object(
        "release_server",
        "Where release data and images come from.",
        attributes,
    )
    .defaulted()
}

/// Paths are put behind it, so that nothing may come after its own.
fn is_url(text: &str) -> bool {
    let schemes = ["https://", "http://", "file://"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    // Folders may be called as they like; only a server makes something else of these two.
    let plain = text.starts_with("file://") || !text.contains(['?', '#']);
    rest.is_some_and(|rest| !rest.is_empty()) && plain
}

const URL_SAYS: &str =
    "A URL that begins with `https://`, `http://` or `file://`, without a query and a fragment";

/// What cannot be used is told before anything is fetched, and without a word of it.
fn told(
    value: &Value,
    path: &Path,
    summary: &str,
    check: fn(&str) -> Result<(), String>,
) -> Diagnostics {
    let Value::String(text) = value else {
        return Diagnostics::none();
    };
    match check(text) {
        Ok(()) => Diagnostics::none(),
        Err(why) => {
            let detail = format!("`{path}` of the provider block: {why}.");
            Diagnostic::error(summary, detail).at(path.clone()).into()
        }
    }
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
        clock: defaults.clock,
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

    #[test]
    fn what_could_never_be_used_is_refused_before_anything_is_fetched() {
        let crate::provider::schema::Kind::Object(attributes) = release_server().kind else {
            unreachable!()
        };
        let private = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n";
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases = [
            ("url", "https://m.example/{channel}?key=s3cret", "query"),
            ("url", "https://m.example/{channel}#top", "fragment"),
            ("url", "ftp://m.example", "https://"),
            ("url", "file:///srv/why?/x", ""),
            ("url", "http://m.example/{channel}", ""),
            ("feed_url", "https://m.example/?a", "query"),
            ("signing_keys", "s3cret", "no armored key"),
            ("signing_keys", private, "public one"),
            ("signing_keys", "", ""),
            ("ca_certificate", "s3cret", "no PEM certificate"),
            ("ca_certificate", certificate, "ca_certificate"),
            ("ca_certificate", "", ""),
        ];
        for (name, text, says) in cases {
            let attribute = attributes.iter().find(|known| known.name == name).unwrap();
            let value = Value::String(text.to_owned());
            let path = Path::of("release_server").attribute(name);
            let checks = attribute.checks.iter();
            let problems: Vec<_> = checks.flat_map(|check| check(&value, &path).0).collect();
            assert_eq!(
                problems.len(),
                usize::from(!says.is_empty()),
                "{name} {text}"
            );
            for problem in problems {
                assert!(problem.detail.contains(says), "{}", problem.detail);
                assert!(!problem.detail.contains("s3cret"), "{}", problem.detail);
                assert_eq!(problem.path, Some(path.clone()));
            }
        }
    }

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
