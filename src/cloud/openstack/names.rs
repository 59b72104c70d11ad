//! What the names of a shape stand for: ids of Glance, Nova and Neutron.
//!
//! In: an image and a shape. Out: ids; two things of one name are refused, for which one is taken would
//! be chance. See: Image API 2 `GET /images`, Compute API 2.1 `GET /flavors`, Network API 2.0 `GET
//! /networks`, `/security-groups`.

use serde::Deserialize;

use super::api::{Answered, GLANCE, NEUTRON, NOVA, Session, absent, read};
use super::shape::{ATTRIBUTE, Named, Shape};
use crate::http::api::Call;
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
    pub(super) wanting: Option<Wanting>,
}

/// What a server is to have: a floating address.
#[derive(Clone)]
pub(super) struct Wanting {
    /// The pool as the user names it, and as metadata have it.
    pub(super) named: String,
    /// Id of the external network.
    pub(super) pool: String,
    /// Ids of the server's networks in the user's order: the first that can be reached from outside has the address.
    pub(super) networks: Vec<String>,
}

impl Wanting {
    /// That of a shape, where its pool has this id.
    pub(super) fn of(shape: &Shape, pool: Option<String>, networks: &[String]) -> Option<Self> {
        Some(Self {
            named: shape.floating_ip_pool.clone()?,
            pool: pool?,
            networks: networks.to_vec(),
        })
    }
}

/// Looks all of them up.
pub(super) async fn resolve(session: &Session, named: &str, shape: &Shape) -> Answered<Ids> {
    let pool = pool(session, shape).await?;
    let image = image(session, named).await?.id;
    let flavor = flavor(session, &shape.flavor()).await?.id;
    let networks = networks(session, shape).await?;
    Ok(Ids {
        wanting: Wanting::of(shape, pool, &networks),
        image,
        flavor,
        networks,
    })
}

/// The floating address that servers of a shape are to have.
pub(super) async fn wanting(session: &Session, shape: &Shape) -> Answered<Option<Wanting>> {
    let Some(pool) = pool(session, shape).await? else {
        return Ok(None);
    };
    let networks = networks(session, shape).await?;
    Ok(Wanting::of(shape, Some(pool), &networks))
}

/// The id of the external network of a shape.
pub(super) async fn pool(session: &Session, shape: &Shape) -> Answered<Option<String>> {
    match &shape.floating_ip_pool {
        Some(named) => POOLS.id(session, &Named::of(named)).await.map(Some),
        None => Ok(None),
    }
}

async fn networks(session: &Session, shape: &Shape) -> Answered<Vec<String>> {
    let mut networks = Vec::new();
    for one in &shape.networks {
        networks.push(NETWORKS.id(session, &one.named()).await?);
    }
    Ok(networks)
}

/// By id or name.
pub(super) async fn image(session: &Session, image: &str) -> Answered<Image> {
    let name = match Named::of(image) {
        Named::Name(name) => name,
        Named::Id(id) => {
            let call = Call::get(format!("images/{id}"));
            let answer = absent(session.send(GLANCE, IMAGES.action, &id, call).await)?;
            return read(answer.ok_or_else(|| IMAGES.missing(&id))?, IMAGES.action);
        }
    };
    let call = Call::get(IMAGES.path).query("name", &name);
    let found = session.get(GLANCE, IMAGES.action, &name, call, IMAGES.path);
    IMAGES.one(found.await?, &name)
}

/// By id or name.
pub(super) async fn flavor(session: &Session, named: &Named) -> Answered<Flavor> {
    const ACTION: &str = "Nova GET flavors";
    let missing = |name: &str, attribute, words: String| {
        CloudError::new(Kind::BadRequest, ACTION, name, words).blaming(attribute)
    };
    match named {
        Named::Id(id) => {
            let call = Call::get(format!("flavors/{id}"));
            let answer = absent(session.get(NOVA, ACTION, id, call, "flavor").await)?;
            let words = "no such flavor".to_owned();
            answer.ok_or_else(|| missing(id, "openstack.flavor_id", words))
        }
        Named::Name(name) => {
            let call = || Call::get("flavors/detail");
            let all = session.all(NOVA, ACTION, name, "flavors", call);
            let mut all: Vec<Flavor> = all.await?;
            if let Some(at) = all.iter().position(|flavor| flavor.name == *name) {
                return Ok(all.swap_remove(at));
            }
            let known: Vec<&str> = all.iter().map(|flavor| flavor.name.as_str()).collect();
            let words = format!("no such flavor; there are {}", known.join(", "));
            Err(missing(name, "openstack.flavor_name", words))
        }
    }
}

/// Where things have names, and what they are called to a user.
pub(super) struct Place {
    path: &'static str,
    /// What is asked for beside the name.
    filter: &'static [(&'static str, &'static str)],
    action: &'static str,
    what: &'static str,
    attribute: &'static str,
}

const fn place(
    path: &'static str,
    action: &'static str,
    what: &'static str,
    attribute: &'static str,
) -> Place {
    Place {
        path,
        filter: &[],
        action,
        what,
        attribute,
    }
}

const IMAGES: Place = place("images", "Glance GET images", "image", "image");
const LISTED: &str = "Neutron GET networks";
pub(super) const NETWORKS: Place = place("networks", LISTED, "network", "openstack.networks");
const POOLS: Place = Place {
    filter: &[("router:external", "true")],
    ..place("networks", LISTED, "external network", ATTRIBUTE)
};
/// Nova takes their names and ids, and of two of one name neither.
pub(super) const SECURITY_GROUPS: Place = place(
    "security-groups",
    "Neutron GET security-groups",
    "security group",
    "openstack.security_groups",
);

#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Place {
    /// The id of a thing of Neutron, which finds by name as by id.
    pub(super) async fn id(&self, session: &Session, named: &Named) -> Answered<String> {
        let (key, value) = match named {
            Named::Id(id) => ("id", id),
            Named::Name(name) => ("name", name),
        };
        let call = Call::get(self.path).query(key, value).query("fields", "id");
        let filter = self.filter.iter();
        let call = filter.fold(call, |call, (key, value)| call.query(key, *value));
        let list = self.path.replace('-', "_");
        let found = session
            .get(NEUTRON, self.action, value, call, &list)
            .await?;
        self.one(found, value).map(|Id { id }| id)
    }

    fn one<T>(&self, mut found: Vec<T>, name: &str) -> Answered<T> {
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
        let place = IMAGES;
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
