//! Where release data comes from: a release server or a mirror, each file fetched once, its
//! signature checked, parsed once.
//!
//! In: `https://{channel}.release.flatcar-linux.net/{arch}-usr`, a directory and a file's name.
//! Out: what the file says, with who signed it. Nothing of a file is looked at before its signature
//! is checked.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::flatcar::{Architecture, Date, FEED_URL, RELEASE_URL};
use crate::http::cache::Cache;
use crate::http::{self, Client, File, redacted};

use super::release::{Channel, Digests, Feed};
use super::signature::{self, Keyring, Refusal, Signer};

/// No list of a release is longer; the longest, of packages, has some 40 KB.
const MOST_LIST_BYTES: usize = 4 * 1024 * 1024;

/// Where to look, and what to believe.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of a channel's releases, with `{channel}` and `{arch}` in it; `https://`,
    /// `http://` or `file://`.
    pub url: String,
    /// The directory of `releases.json`; absent where there is no feed.
    pub feed_url: Option<String>,
    /// Whether signatures are checked.
    pub verify: bool,
    /// More keys to accept, armored.
    pub signing_keys: String,
    /// How patient the client is.
    pub http: http::Settings,
    /// What time it is: for signatures that are of the future or have ended, and for what is old.
    pub clock: fn() -> SystemTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: RELEASE_URL.to_owned(),
            feed_url: Some(FEED_URL.to_owned()),
            verify: true,
            signing_keys: String::new(),
            http: http::Settings::default(),
            clock: SystemTime::now,
        }
    }
}

/// A release server, for the life of the process.
#[derive(Debug)]
pub struct Source {
    url: String,
    feed_url: Option<String>,
    /// Absent: nothing is checked.
    keyring: Option<Arc<Keyring>>,
    cache: Cache,
    /// For what one can do without: gives up sooner.
    hasty: Cache,
    clock: fn() -> SystemTime,
    kept: Mutex<HashMap<String, Slot>>,
}

/// Held while its value is made: two hundred askers parse and verify once.
type Slot = Arc<tokio::sync::Mutex<Option<Kept>>>;

#[derive(Debug)]
struct Kept {
    file: Arc<File>,
    signature: Option<Arc<File>>,
    value: Arc<dyn Any + Send + Sync>,
}

/// What a file says, and who says so.
#[derive(Debug)]
pub struct Signed<T> {
    /// The contents.
    pub value: T,
    /// Absent where signatures are not checked.
    pub signer: Option<Signer>,
}

/// Why a file is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It was not brought.
    Http(http::Error),
    /// It is there, its signature is not: the signature's URL.
    Unsigned(String),
    /// The signature proves nothing: the file's URL, and why.
    Refused(String, Refusal),
    /// It is not what it should be: its URL, and why.
    Unparsable(String, String),
}

impl Fault {
    /// Whether the file is definitely not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Fault::Http(error) if error.is_not_found())
    }
}

impl From<http::Error> for Fault {
    fn from(error: http::Error) -> Self {
        Fault::Http(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Http(error) => error.fmt(f),
            Fault::Unsigned(url) => write!(f, "{url} does not exist, so its file is not signed"),
            Fault::Refused(url, refusal) => write!(f, "{url} was refused: {refusal}"),
            Fault::Unparsable(url, why) => write!(f, "{url} cannot be read: {why}"),
        }
    }
}

type Parse<T> = fn(&str) -> Result<T, String>;

impl Source {
    /// Dials nothing.
    ///
    /// # Errors
    /// A sentence about `signing_keys`.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let keyring = settings
            .verify
            .then(|| Keyring::new(&settings.signing_keys).map(Arc::new))
            .transpose()?;
        let hasty = http::Settings {
            attempts: settings.http.attempts.min(2),
            deadline: settings.http.deadline.min(Duration::from_secs(20)),
            connect_timeout: settings.http.connect_timeout.min(Duration::from_secs(5)),
            ..settings.http.clone()
        };
        Ok(Self {
            url: settings.url,
            feed_url: settings.feed_url,
            keyring,
            cache: Cache::new(Client::new(settings.http)),
            hasty: Cache::new(Client::new(hasty)),
            clock: settings.clock,
            kept: Mutex::default(),
        })
    }

    /// Whether signatures are checked.
    pub fn verifies(&self) -> bool {
        self.keyring.is_some()
    }

    /// Whether there is a feed to ask.
    pub fn has_feed(&self) -> bool {
        self.feed_url.is_some()
    }

    /// Accepted primary keys.
    pub fn fingerprints(&self) -> Vec<&str> {
        self.keyring
            .iter()
            .flat_map(|keyring| keyring.fingerprints())
            .collect()
    }

    /// The day that it is.
    pub fn today(&self) -> Date {
        Date::of((self.clock)())
    }

    /// The URL of a directory of a channel: `directory(stable, amd64, "4593.2.5")`.
    pub fn directory(&self, channel: Channel, architecture: Architecture, name: &str) -> String {
        let base = self
            .url
            .replace("{channel}", channel.name)
            .replace("{arch}", architecture.name());
        format!("{}/{name}", base.trim_end_matches('/'))
    }

    /// A file with its detached signature beside it.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn signed<T>(&self, url: &str, parse: Parse<T>) -> Result<Arc<Signed<T>>, Fault>
    where
        T: Send + Sync + 'static,
    {
        let signature_url = format!("{url}.sig");
        let (file, signature) = match &self.keyring {
            None => (self.cache.get(url, MOST_LIST_BYTES).await?, None),
            Some(_) => {
                let (file, signature) = tokio::join!(
                    self.cache.get(url, MOST_LIST_BYTES),
                    self.cache.get(&signature_url, signature::MOST_BYTES)
                );
                let file = file?;
                let signature = signature.map_err(|error| match error.is_not_found() {
                    true => Fault::Unsigned(redacted(&signature_url)),
                    false => Fault::Http(error),
                })?;
                (file, Some(signature))
            }
        };
        let shown = redacted(url);
        let (keyring, now) = (self.keyring.clone(), (self.clock)());
        let (of, by) = (file.clone(), signature.clone());
        let make = move || {
            let signer = match (&keyring, &by) {
                (Some(keyring), Some(by)) => Some(
                    keyring
                        .verify_detached(&of.body, &by.body, now)
                        .map_err(|refusal| Fault::Refused(shown.clone(), refusal))?,
                ),
                _ => None,
            };
            let value = text(&shown, &of).and_then(|text| {
                parse(text).map_err(|why| Fault::Unparsable(shown.clone(), why))
            })?;
            Ok(Signed { value, signer })
        };
        self.keep(url, file, signature, make).await
    }

    /// The digests of a file: clear-signed, or bare where signatures are not checked.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn digests(&self, url: &str) -> Result<Arc<Signed<Digests>>, Fault> {
        let Some(keyring) = self.keyring.clone() else {
            let bare = url.strip_suffix(".asc").unwrap_or(url);
            return self.signed(bare, Digests::parse).await;
        };
        let file = self.cache.get(url, signature::MOST_BYTES).await?;
        let (shown, of, now) = (redacted(url), file.clone(), (self.clock)());
        let make = move || {
            let (signer, digests) = keyring
                .verify_clear(text(&shown, &of)?, now)
                .map_err(|refusal| Fault::Refused(shown.clone(), refusal))?;
            Ok(Signed {
                value: Digests::parse(&digests).map_err(|why| Fault::Unparsable(shown, why))?,
                signer: Some(signer),
            })
        };
        self.keep(url, file, None, make).await
    }

    /// The release feed: of one channel where there is such a file, else the whole one.
    ///
    /// # Errors
    /// See [`Fault`]. Without a feed: not found.
    pub async fn feed(&self, channel: Option<Channel>) -> Result<Arc<Feed>, Fault> {
        let base = self.feed_url.as_deref().unwrap_or_default();
        let base = base.trim_end_matches('/');
        let whole = format!("{base}/releases.json");
        if let Some(channel) = channel {
            let part = format!("{base}/releases-{}.json", channel.name);
            match self.feed_file(&part).await {
                Err(fault) if fault.is_not_found() => {}
                answer => return answer,
            }
        }
        self.feed_file(&whole).await
    }

    async fn feed_file(&self, url: &str) -> Result<Arc<Feed>, Fault> {
        let file = self.hasty.get(url, http::MOST_BYTES).await?;
        let (shown, of) = (redacted(url), file.clone());
        let make = move || {
            text(&shown, &of).and_then(|text| {
                Feed::parse(text).map_err(|why| Fault::Unparsable(shown.clone(), why))
            })
        };
        self.keep(url, file, None, make).await
    }

    /// What was made of these very files before, or what `make` makes of them now. That computes,
    /// so it is done beside the runtime: a call that is stopped meanwhile does not wait for it, and
    /// no other call does.
    async fn keep<T>(
        &self,
        url: &str,
        file: Arc<File>,
        signature: Option<Arc<File>>,
        make: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<Arc<T>, Fault>
    where
        T: Send + Sync + 'static,
    {
        let same = |kept: &&Kept| {
            let same_signature = match (&kept.signature, &signature) {
                (None, None) => true,
                (Some(kept), Some(signature)) => Arc::ptr_eq(kept, signature),
                _ => false,
            };
            same_signature && Arc::ptr_eq(&kept.file, &file)
        };
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.entry(url.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        let known = slot.as_ref().filter(same).map(|kept| kept.value.clone());
        if let Some(value) = known.and_then(|value| value.downcast::<T>().ok()) {
            return Ok(value);
        }
        let made = match tokio::task::spawn_blocking(make).await {
            Ok(made) => made?,
            Err(broken) => match broken.try_into_panic() {
                // It is this call's, which says that there is a bug.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => {
                    let why = "the process is about to end".to_owned();
                    return Err(Fault::Unparsable(redacted(url), why));
                }
            },
        };
        let value = Arc::new(made);
        *slot = Some(Kept {
            file,
            signature,
            value: value.clone(),
        });
        Ok(value)
    }
}

/// `shown` is its URL as it may be told.
fn text<'a>(shown: &str, file: &'a File) -> Result<&'a str, Fault> {
    std::str::from_utf8(&file.body)
        .map_err(|_| Fault::Unparsable(shown.to_owned(), "it is not UTF-8 text".to_owned()))
}

/// A URL for state and outputs: without the user and password of a mirror.
pub(super) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url
        .split_once("://")
        .filter(|(scheme, _)| *scheme != "file")
    else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_have_no_user_and_no_password() {
        for (url, shown) in [
            (
                "https://user:pa@ss@m.example:8443/a/b.img",
                "https://m.example:8443/a/b.img",
            ),
            ("http://user@m.example/a@b.img", "http://m.example/a@b.img"),
            ("https://m.example/a@b.img", "https://m.example/a@b.img"),
            ("file:///srv/a@b/c.img", "file:///srv/a@b/c.img"),
            ("file://relative@here/c.img", "file://relative@here/c.img"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
