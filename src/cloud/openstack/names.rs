//! What the names of a shape stand for: ids of Glance, Nova and Neutron.
//!
//! In: an image and a shape. Out: ids; two things of one name are refused, for which one is taken would
//! be chance. See: Image API 2 `GET /images`, Compute API 2.1 `GET /flavors`, Network API 2.0 `GET
//! /networks`, `/security-groups`.

use serde::Deserialize;

use super::api::{Call, Service, Session, absent, read};
use super::shape::{ATTRIBUTE, Named, Shape};
use crate::worker_group::cloud::{CloudError, Kind};

/// An image of Glance.
#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) id: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) min_disk: i64,
    #[serde(default)]
    pub(super) min_ram: i64,
}

/// A flavor of Nova.
#[derive(Deserialize)]
pub(super) struct Flavor {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) ram: i64,
    #[serde(default)]
    pub(super) disk: i64,
    #[serde(default)]
    pub(super) vcpus: i64,
}

/// Ids of what a shape names.
pub(super) struct Ids {
    pub(super) image: String,
    pub(super) flavor: String,
    pub(super) networks: Vec<String>,
    /// The external network that floating addresses are of, by name and by id.
    pub(super) pool: Option<(String, String)>,
}

/// Looks all of them up.
pub(super) async fn resolve(
    session: &Session,
    image_name: &str,
    shape: &Shape,
) -> Result<Ids, CloudError> {
    let pool = match &shape.floating_ip_pool {
        Some(named) => Some((named.clone(), pool(session, named).await?)),
        None => None,
    };
    Ok(Ids {
        image: image(session, image_name).await?.id,
        flavor: flavor(session, &shape.flavor()).await?.id,
        networks: networks(session, shape).await?,
        pool,
    })
}

/// By id or name.
pub(super) async fn image(session: &Session, image: &str) -> Result<Image, CloudError> {
    const IMAGES: Place = Place {
        action: "Glance GET images",
        what: "image",
        attribute: "image",
    };
    match Named::of(image) {
        Named::Id(id) => {
            let call = Call::get(Service::Image, format!("images/{id}"));
            let answer = absent(session.send(IMAGES.action, &id, call).await)?;
            let found = answer.map(|answer| read(answer, IMAGES.action));
            found.unwrap_or_else(|| Err(IMAGES.missing(&id)))
        }
        Named::Name(name) => {
            let call = Call::get(Service::Image, "images").query("name", name.clone());
            let found = session.get(IMAGES.action, &name, call, "images").await?;
            IMAGES.one(found, &name)
        }
    }
}

/// By id or name.
pub(super) async fn flavor(session: &Session, named: &Named) -> Result<Flavor, CloudError> {
    const ACTION: &str = "Nova GET flavors";
    let missing =
        |name: &str, words: String| CloudError::new(Kind::BadRequest, ACTION, name, words);
    match named {
        Named::Id(id) => {
            let call = Call::get(Service::Compute, format!("flavors/{id}"));
            let answer = absent(session.get(ACTION, id, call, "flavor").await)?;
            let missing = || missing(id, "no such flavor".to_owned());
            answer.ok_or_else(|| missing().blaming("openstack.flavor_id"))
        }
        Named::Name(name) => {
            let call = || Call::get(Service::Compute, "flavors/detail");
            let mut all: Vec<Flavor> = session.all(ACTION, name, "flavors", call).await?;
            if let Some(at) = all.iter().position(|flavor| flavor.name == *name) {
                return Ok(all.swap_remove(at));
            }
            let known: Vec<&str> = all.iter().map(|flavor| flavor.name.as_str()).collect();
            let words = format!("no such flavor; there are {}", known.join(", "));
            Err(missing(name, words).blaming("openstack.flavor_name"))
        }
    }
}

/// Ids of the networks of a shape.
pub(super) async fn networks(session: &Session, shape: &Shape) -> Result<Vec<String>, CloudError> {
    let mut networks = Vec::new();
    for one in &shape.networks {
        networks.push(network(session, &one.named()).await?);
    }
    Ok(networks)
}

/// The id of a network by id or name.
pub(super) async fn network(session: &Session, named: &Named) -> Result<String, CloudError> {
    const NETWORKS: Place = Place {
        action: "Neutron GET networks",
        what: "network",
        attribute: "openstack.networks",
    };
    let call = Call::get(Service::Network, "networks");
    NETWORKS.id(session, call, "networks", named).await
}

/// The id of an external network by id or name.
pub(super) async fn pool(session: &Session, pool: &str) -> Result<String, CloudError> {
    const POOLS: Place = Place {
        action: "Neutron GET networks",
        what: "external network",
        attribute: ATTRIBUTE,
    };
    let call = Call::get(Service::Network, "networks").query("router:external", "true");
    POOLS.id(session, call, "networks", &Named::of(pool)).await
}

/// The id of a security group. Nova takes names and ids, and of two of one name neither.
pub(super) async fn security_group(session: &Session, group: &str) -> Result<String, CloudError> {
    const GROUPS: Place = Place {
        action: "Neutron GET security-groups",
        what: "security group",
        attribute: "openstack.security_groups",
    };
    let call = Call::get(Service::Network, "security-groups");
    GROUPS
        .id(session, call, "security_groups", &Named::of(group))
        .await
}

/// Where things have names, and what they are called to a user.
struct Place {
    action: &'static str,
    what: &'static str,
    attribute: &'static str,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Place {
    /// Of Neutron, which finds by name as by id.
    async fn id(
        &self,
        session: &Session,
        call: Call,
        list: &str,
        named: &Named,
    ) -> Result<String, CloudError> {
        let (key, value) = match named {
            Named::Id(id) => ("id", id),
            Named::Name(name) => ("name", name),
        };
        let call = call.query(key, value.clone()).query("fields", "id");
        let found = session.get(self.action, value, call, list).await?;
        self.one(found, value).map(|Id { id }| id)
    }

    fn one<T>(&self, mut found: Vec<T>, name: &str) -> Result<T, CloudError> {
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(self.missing(name)),
            (Some(_), more) => {
                let words = format!("{} {}s of this name; give the id", more + 1, self.what);
                Err(self.bad(name, words))
            }
        }
    }

    fn missing(&self, name: &str) -> CloudError {
        self.bad(name, format!("no such {} in this project", self.what))
    }

    fn bad(&self, name: &str, words: String) -> CloudError {
        CloudError::new(Kind::BadRequest, self.action, name, words).blaming(self.attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_not_guessed_between() {
        let place = Place {
            action: "test",
            what: "image",
            attribute: "image",
        };
        assert_eq!(place.one(vec![1], "x").unwrap(), 1);
        for (found, words) in [
            (vec![], "no such image"),
            (vec![1, 2], "2 images of this name"),
        ] {
            let error = place.one(found, "x").unwrap_err();
            assert!(error.message.contains(words), "{error}");
            assert_eq!(error.attribute, Some("image"));
        }
    }

    #[test]
    fn only_ids_are_ids() {
        for (text, expected) in [
            ("0f3c6a0e-1111-2222-3333-444455556666", true),
            ("0f3c6a0e111122223333444455556666", true),
            ("flatcar-stable", false),
            ("", false),
        ] {
            assert_eq!(matches!(Named::of(text), Named::Id(_)), expected, "{text}");
        }
    }
}
