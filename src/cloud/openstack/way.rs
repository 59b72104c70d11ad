//! The ways to log in at Keystone: what each needs, and what Keystone is asked with. Pure.
//!
//! In: what is known of a login, `{"user_name": "demo", "password": "..."}`. Out: the body of `POST
//! /v3/auth/tokens`.
//! See: Identity API 3.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::http::rest::whole;

/// What is known of a login, in the words of `clouds.yaml`, be they below its `auth` or beside it;
/// the name of a user is `user_name`, as names of other things are. None is empty. Holds secrets:
/// not for any output.
pub(super) type Said = BTreeMap<String, String>;

/// What one of these fields has to say, and what that is called to a user.
pub(super) type Need = (&'static [&'static str], &'static str);

/// Who somebody says to be.
pub(super) struct Way {
    /// As `auth_type` says it after its `v3`, which may be left out.
    pub(super) name: &'static str,
    /// As Keystone calls it.
    method: &'static str,
    /// Fields that nobody sets for another way.
    marks: &'static [&'static str],
    pub(super) needs: &'static [Need],
    /// What to look at where Keystone refuses.
    pub(super) check: &'static str,
}

/// The first one whose marks are there is meant, where nobody says which.
static WAYS: [Way; 3] = [
    Way {
        name: "applicationcredential",
        method: "application_credential",
        marks: &["application_credential_id", "application_credential_secret"],
        needs: &[
            (
                &["application_credential_id", "application_credential_name"],
                "the application credential's id (openstack.application_credential_id or OS_APPLICATION_CREDENTIAL_ID)",
            ),
            (
                &["application_credential_secret"],
                "the application credential's secret (openstack.application_credential_secret or OS_APPLICATION_CREDENTIAL_SECRET)",
            ),
        ],
        check: "Check openstack.application_credential_id and its secret, whether it has expired or was deleted, and openstack.auth_url; or \
                the OS_* variables and clouds.yaml where the provider block leaves them out.",
    },
    Way {
        name: "token",
        method: "token",
        marks: &["token"],
        needs: &[(&["token"], "the token (openstack.token or OS_TOKEN)")],
        check: "Check openstack.token (or OS_TOKEN), whether it has expired, and openstack.auth_url.",
    },
    Way {
        name: "password",
        method: "password",
        marks: &["user_name", "user_id", "password"],
        needs: &[
            (
                &["user_name", "user_id"],
                "the user (openstack.user_name or OS_USERNAME)",
            ),
            (
                &["password"],
                "the user's password (openstack.password or OS_PASSWORD)",
            ),
        ],
        check: "Check openstack.auth_url, the user, its domain and the project in the provider block, or the OS_* variables and clouds.yaml \
                where it leaves them out.",
    },
];

impl Way {
    /// That of an `auth_type`: `"v3password"`, `"password"`.
    pub(super) fn of(auth_type: &str) -> Option<&'static Self> {
        let name = auth_type.strip_prefix("v3").unwrap_or(auth_type);
        WAYS.iter().find(|way| way.name == name)
    }

    /// That which these fields are for.
    pub(super) fn by(said: &Said) -> Option<&'static Self> {
        let is_said = |mark: &&str| said.contains_key(*mark);
        WAYS.iter().find(|way| way.marks.iter().any(is_said))
    }

    /// What Keystone is asked for a token with.
    pub(super) fn body(&self, said: &Said) -> Json {
        let domain = |of: &str| named(said, of, None);
        let user = || named(said, "user", domain("user_domain"));
        let credential = match self.method {
            "token" => json!({"id": said.get("token")}),
            "password" => {
                let mut user = user().unwrap_or_default();
                user["password"] = json!(said.get("password"));
                json!({"user": user})
            }
            _ => {
                let mut credential = domain(self.method).unwrap_or_default();
                credential["secret"] = json!(said.get("application_credential_secret"));
                // A name is one of its user's.
                if let (true, Some(user)) = (credential["id"].is_null(), user()) {
                    credential["user"] = user;
                }
                credential
            }
        };
        let project = || named(said, "project", domain("project_domain"));
        let scope = if self.method == "application_credential" {
            // It is its own scope.
            None
        } else if let Some(project) = project() {
            Some(json!({"project": project}))
        } else if let Some(domain) = domain("domain") {
            Some(json!({"domain": domain}))
        } else if said.get("system_scope").is_some_and(|of| of == "all") {
            Some(json!({"system": {"all": true}}))
        } else {
            Some(json!("unscoped"))
        };
        let identity = json!({"methods": [self.method], self.method: credential});
        json!({"auth": whole(json!({"identity": identity, "scope": scope}))})
    }
}

/// By its id, else by its name and the domain that this is of.
fn named(said: &Said, of: &str, domain: Option<Json>) -> Option<Json> {
    if let Some(id) = said.get(&format!("{of}_id")) {
        return Some(json!({"id": id}));
    }
    let name = said.get(&format!("{of}_name"))?;
    Some(whole(json!({"name": name, "domain": domain})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_log_in_is_that_of_the_fields() {
        for (fields, expected) in [
            (json!({}), None),
            (json!({"auth_url": "http://keystone"}), None),
            (
                json!({"user_name": "demo", "password": "x"}),
                Some("v3password"),
            ),
            (json!({"token": "x"}), Some("v3token")),
            (
                json!({"application_credential_secret": "x"}),
                Some("v3applicationcredential"),
            ),
            (
                json!({"application_credential_id": "1", "user_name": "demo"}),
                Some("v3applicationcredential"),
            ),
        ] {
            let said = serde_json::from_value(fields.clone()).unwrap();
            let names = [Way::by(&said), expected.and_then(Way::of)];
            let [found, expected] = names.map(|way| way.map(|way| way.name));
            assert_eq!(found, expected, "{fields}");
        }
    }

    #[test]
    fn a_login_says_who_and_for_what() {
        let password = |user: Json| json!({"methods": ["password"], "password": {"user": user}});
        for (way, fields, identity, scope) in [
            (
                "v3password",
                json!({"user_name": "demo", "user_domain_name": "Default", "password": "x", "project_name": "p",
                    "project_domain_id": "default", "application_credential_id": "a"}),
                password(json!({"name": "demo", "domain": {"name": "Default"}, "password": "x"})),
                Some(json!({"project": {"name": "p", "domain": {"id": "default"}}})),
            ),
            (
                "v3password",
                json!({"user_id": "u", "password": "x", "project_id": "p", "project_name": "q"}),
                password(json!({"id": "u", "password": "x"})),
                Some(json!({"project": {"id": "p"}})),
            ),
            (
                "v3token",
                json!({"token": "t", "domain_name": "d"}),
                json!({"methods": ["token"], "token": {"id": "t"}}),
                Some(json!({"domain": {"name": "d"}})),
            ),
            (
                "v3token",
                json!({"token": "t"}),
                json!({"methods": ["token"], "token": {"id": "t"}}),
                Some(json!("unscoped")),
            ),
            (
                "v3applicationcredential",
                json!({"application_credential_id": "a", "application_credential_secret": "s", "user_name": "demo", "project_name": "p"}),
                json!({"methods": ["application_credential"], "application_credential": {"id": "a", "secret": "s"}}),
                None,
            ),
            (
                "v3applicationcredential",
                json!({"application_credential_name": "a", "application_credential_secret": "s", "user_id": "u"}),
                json!({"methods": ["application_credential"],
                    "application_credential": {"name": "a", "secret": "s", "user": {"id": "u"}}}),
                None,
            ),
        ] {
            let said: Said = serde_json::from_value(fields.clone()).unwrap();
            let body = Way::of(way).unwrap().body(&said);
            assert_eq!(body["auth"]["identity"], identity, "{fields}");
            assert_eq!(body["auth"].get("scope"), scope.as_ref(), "{fields}");
        }
    }
}
