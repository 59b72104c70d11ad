//! Bootstrap tokens: Secrets in `kube-system` by which machines may ask for a certificate, for a
//! while.
//!
//! In: [`Terms`] (30 minutes, a description, groups). Out: a [`Token`], `abcdef.0123456789abcdef`,
//! that the cluster knows, and [`Kept`], by which it is prolonged and taken back. A call whose
//! answer was lost is made again; what nobody takes back the cluster itself removes once it has
//! ended.
//!
//! See: Kubernetes, *Authenticating with Bootstrap Tokens*.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::NodeError;
use super::api::{Api, Body, Call, Failed};
use super::endpoint::Secret;
use crate::flatcar::Date;

/// A token: a public name and a secret.
#[derive(Debug)]
pub(super) struct Token {
    /// `abcdef`
    id: String,
    secret: Secret,
}

/// What a token is for.
pub(super) struct Terms<'a> {
    /// How long it is good.
    pub(super) ttl: Duration,
    /// `""`: none.
    pub(super) description: &'a str,
    /// What whoever shows it belongs to.
    pub(super) groups: &'a [String],
}

/// By what a Secret is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    name: String,
    /// `""` where the answer that said it was lost.
    uid: String,
    pub(super) ttl_secs: u64,
    /// How far the cluster's clock is ahead of ours, where that is more than a little.
    #[serde(default)]
    ahead_secs: i64,
}

/// What became of a token that was to be made known.
pub(super) enum Published {
    /// It is known.
    Ours(Kept),
    /// Another one has its name.
    Taken(NodeError),
}

impl Token {
    /// Another one; `None` where the system has no random numbers.
    pub(super) fn new() -> Option<Self> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut letters = Vec::new();
        while letters.len() < ID + SECRET {
            let mut random = [0_u8; 32];
            provider.secure_random.fill(&mut random).ok()?;
            letters.extend(random.into_iter().filter_map(letter));
        }
        let text = String::from_utf8(letters).ok()?;
        Some(Self {
            id: text.get(..ID)?.to_owned(),
            secret: Secret::new(text.get(ID..ID + SECRET)?),
        })
    }

    /// `abcdef.0123456789abcdef`
    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret.reveal())
    }

    fn name(&self) -> String {
        format!("bootstrap-token-{}", self.id)
    }

    /// The Secret that makes a cluster know it, until then.
    fn object(&self, terms: &Terms<'_>, until: SystemTime) -> Json {
        let mut data = json!({
            "token-id": self.id,
            "token-secret": self.secret.reveal(),
            "expiration": Date::stamp(until),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": terms.groups.join(","),
        });
        if !terms.description.is_empty() {
            data["description"] = terms.description.into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name(), "namespace": NAMESPACE},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": data,
        })
    }

    /// Makes it known to the cluster, from now on.
    ///
    /// # Errors
    /// The cluster refuses, or cannot be asked.
    pub(super) async fn published(
        &self,
        api: &Api,
        terms: &Terms<'_>,
        now: SystemTime,
    ) -> Result<Published, NodeError> {
        let kept = |made: &Json| {
            let text = |name: &str| made["metadata"][name].as_str().unwrap_or_default();
            Kept {
                name: self.name(),
                uid: text("uid").to_owned(),
                ttl_secs: terms.ttl.as_secs(),
                ahead_secs: ahead_secs(text("creationTimestamp"), now),
            }
        };
        let object = self.object(terms, now + terms.ttl);
        let mut pauses = PAUSES.into_iter();
        let mut was_lost = false;
        let made = loop {
            let body = Body::Json(object.clone());
            let failed = match ask(api, Method::POST, None, body, "create").await {
                Ok(made) => break made,
                // The one whose answer was lost: it would be chance that somebody else has drawn
                // this name just then.
                Err(there) if there.is_conflict() && was_lost => {
                    break kept(&Json::Null).prolonged(api, now).await?;
                }
                Err(failed) => failed,
            };
            was_lost |= failed.status.is_none_or(|status| status >= 500);
            let is_taken = failed.is_conflict();
            match pauses.next().filter(|_| failed.is_passing() && !is_taken) {
                Some(pause) => sleep(pause).await,
                None => {
                    let error = failed.error("Kubernetes Create", object_of(&self.name()));
                    return match is_taken {
                        true => Ok(Published::Taken(error)),
                        false => Err(error),
                    };
                }
            }
        };
        let kept = kept(&made);
        // By its clock it would end too soon, or far too late.
        if kept.ahead_secs != 0
            && let Err(error) = kept.prolonged(api, now).await
        {
            // Nobody is told of it, so nobody else would take it back.
            let _ = kept.taken_back(api).await;
            return Err(error);
        }
        Ok(Published::Ours(kept))
    }
}

impl Kept {
    /// When it ends, prolonged at this moment, by the cluster's clock.
    pub(super) fn expiration(&self, now: SystemTime) -> String {
        let ttl = Duration::from_secs(self.ttl_secs);
        let ahead = Duration::from_secs(self.ahead_secs.unsigned_abs());
        Date::stamp(match self.ahead_secs < 0 {
            true => now + ttl - ahead,
            false => now + ttl + ahead,
        })
    }

    /// Prolongs it: it is good for its whole time from now on. What the cluster has of it then.
    ///
    /// # Errors
    /// It is gone, or the cluster refuses, or cannot be asked.
    pub(super) async fn prolonged(&self, api: &Api, now: SystemTime) -> Result<Json, NodeError> {
        let until = self.expiration(now);
        let patch = json!({"metadata": self.metadata(), "stringData": {"expiration": until}});
        let patch = Body::Merge(patch);
        let patched = self.persist(api, Method::PATCH, &patch, "patch");
        patched
            .await
            .map_err(|failed| failed.error("Kubernetes Patch", object_of(&self.name)))
    }

    /// Takes it back; one that is gone, or another one by now, is left as it is.
    ///
    /// # Errors
    /// The cluster refuses, or cannot be asked.
    pub(super) async fn taken_back(&self, api: &Api) -> Result<(), NodeError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": self.metadata(),
        });
        let options = Body::Json(options);
        let deleted = self.persist(api, Method::DELETE, &options, "delete");
        match deleted.await {
            Err(failed) if !failed.is_not_found() && !failed.is_conflict() => {
                Err(failed.error("Kubernetes Delete", object_of(&self.name)))
            }
            _ => Ok(()),
        }
    }

    /// What names this one and no later one of its name.
    fn metadata(&self) -> Json {
        match self.uid.as_str() {
            "" => json!({}),
            uid => json!({"uid": uid}),
        }
    }

    async fn persist(
        &self,
        api: &Api,
        method: Method,
        body: &Body,
        verb: &'static str,
    ) -> Result<Json, Failed> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let asked = ask(api, method.clone(), Some(&self.name), body.clone(), verb).await;
            let failed = match asked {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match pauses
                .next()
                .filter(|_| failed.is_passing() && !failed.is_conflict())
            {
                Some(pause) => sleep(pause).await,
                None => return Err(failed),
            }
        }
    }
}

async fn ask(
    api: &Api,
    method: Method,
    name: Option<&str>,
    body: Body,
    verb: &'static str,
) -> Result<Json, Failed> {
    let mut path = vec!["api", "v1", "namespaces", NAMESPACE, "secrets"];
    path.extend(name);
    let call = Call {
        method,
        path: &path,
        query: &[],
        body: Some(body),
        rule: ("", "secrets", verb),
    };
    api.call(call).await
}

fn object_of(name: &str) -> String {
    format!("Secret {NAMESPACE}/{name}")
}

/// How far the cluster's clock is ahead of ours, by what it has just made; none where that is what
/// a call takes, or more than any clock is wrong.
fn ahead_secs(created: &str, now: SystemTime) -> i64 {
    let Some(created) = Date::moment(created) else {
        return 0;
    };
    let (secs, sign) = match created.duration_since(now) {
        Ok(ahead) => (ahead.as_secs(), 1),
        Err(behind) => (behind.duration().as_secs(), -1),
    };
    match i64::try_from(secs) {
        Ok(secs) if (LEAST_SKEW..=MOST_SKEW).contains(&secs) => secs * sign,
        _ => 0,
    }
}

/// Whether a group is one that a bootstrap token may give.
pub(super) fn is_group(text: &str) -> bool {
    let rest = text.strip_prefix(GROUPS).unwrap_or_default();
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-".contains(&byte);
    let ends = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= 256 && rest.bytes().all(fits) && rest.as_bytes().last().is_some_and(ends)
}

/// A letter of a token, each as likely as the others; `None`: this byte is none.
fn letter(byte: u8) -> Option<u8> {
    let letters = u8::try_from(LETTERS.len()).ok()?;
    let is_even = byte < u8::MAX - u8::MAX % letters;
    is_even.then(|| LETTERS[usize::from(byte % letters)])
}

/// What every group of a bootstrap token begins with.
pub(super) const GROUPS: &str = "system:bootstrappers:";
/// What clusters of kubeadm let join.
pub(super) const USUAL_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// Seconds.
const LEAST_SKEW: i64 = 30;
const MOST_SKEW: i64 = 10 * 365 * 24 * 3600;
const NAMESPACE: &str = "kube-system";
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ID: usize = 6;
const SECRET: usize = 16;
/// Between questions that may be answered a little later.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_form_that_clusters_take_and_is_never_the_same() {
        let tokens: Vec<Token> = (0..200).filter_map(|_| Token::new()).collect();
        let mut texts: Vec<String> = tokens.iter().map(Token::text).collect();
        for text in &texts {
            let (id, secret) = text.split_once('.').unwrap();
            assert_eq!((id.len(), secret.len()), (6, 16), "{text}");
            let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
            assert!(id.chars().chain(secret.chars()).all(fits), "{text}");
        }
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 200);
        // All letters occur, and none far more often than another.
        let all = texts.concat();
        for letter in LETTERS {
            let count = all.bytes().filter(|byte| byte == letter).count();
            assert!(
                (40..300).contains(&count),
                "{} {count}",
                char::from(*letter)
            );
        }
        let secret = texts[0].split_once('.').unwrap().1;
        assert!(!format!("{tokens:?}").contains(secret));
    }

    #[test]
    fn each_byte_is_the_letter_of_as_many_others() {
        let mut counts = [0; 36];
        for byte in 0..=u8::MAX {
            if let Some(letter) = letter(byte) {
                counts[LETTERS.iter().position(|one| *one == letter).unwrap()] += 1;
            }
        }
        assert_eq!(counts, [7; 36]);
    }

    #[test]
    fn a_secret_says_what_a_token_is_for_and_until_when() {
        let token = Token {
            id: "abcdef".to_owned(),
            secret: Secret::new("0123456789abcdef"),
        };
        let groups = [USUAL_GROUP.to_owned(), format!("{GROUPS}team-a")];
        let terms = |description| Terms {
            ttl: Duration::from_secs(60),
            description,
            groups: &groups,
        };
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801);
        let object = token.object(&terms("of workers"), until);
        let expected = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": "abcdef",
                "token-secret": "0123456789abcdef",
                "description": "of workers",
                "expiration": "2026-11-24T09:00:01Z",
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:team-a",
            },
        });
        assert_eq!(object, expected);
        let without = token.object(&terms(""), until);
        assert_eq!(without["stringData"]["description"], Json::Null);
    }

    #[test]
    fn a_token_ends_by_the_clock_of_its_cluster() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_510_801);
        for (created, ahead, expiration) in [
            ("2026-11-24T09:00:01Z", 0, "2026-11-24T09:10:01Z"),
            ("2026-11-24T09:00:30Z", 0, "2026-11-24T09:10:01Z"),
            ("2026-11-24T09:00:31Z", 30, "2026-11-24T09:10:31Z"),
            ("2026-11-24T10:00:01Z", 3600, "2026-11-24T10:10:01Z"),
            ("2026-11-24T08:00:01Z", -3600, "2026-11-24T08:10:01Z"),
            ("1970-01-01T00:00:00Z", 0, "2026-11-24T09:10:01Z"),
            ("", 0, "2026-11-24T09:10:01Z"),
        ] {
            let kept = Kept {
                name: String::new(),
                uid: String::new(),
                ttl_secs: 600,
                ahead_secs: ahead_secs(created, now),
            };
            assert_eq!(kept.ahead_secs, ahead, "{created}");
            assert_eq!(kept.expiration(now), expiration, "{created}");
        }
    }

    #[test]
    fn groups_are_such_as_the_authenticator_takes() {
        let long = format!("{GROUPS}{}", "a".repeat(256));
        for group in [USUAL_GROUP, "system:bootstrappers:a", &long] {
            assert!(is_group(group), "{group}");
        }
        let too_long = format!("{long}a");
        for group in [
            "",
            "a",
            "system:masters",
            "system:bootstrappers:",
            "system:bootstrappers:a-",
            "system:bootstrappers:A",
            "system:bootstrappers:a,system:masters",
            "system:bootstrappers:a\n",
            &too_long,
        ] {
            assert!(!is_group(group), "{group:?}");
        }
    }
}
