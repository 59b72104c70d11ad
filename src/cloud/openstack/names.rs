//! What the names of a shape stand for: ids of Glance, Nova and Neutron.
//!
//! In: an image and a shape. Out: ids; two things of one name are refused, for which one is taken would
//! be chance. See: Image API 2 `GET /images`, Compute API 2.1 `GET /flavors`, Network API 2.0 `GET
//! /networks`, `/security-groups`.

use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::api::{GLANCE, NEUTRON, NOVA, Session};
use super::shape::{ATTRIBUTE, Named, Shape};
use crate::http::api::Call;
use crate::worker_group::cloud::{Answered, CloudError, Findings, Kind, absent, read};

/// Ids of what the group's shape names: asked once in an operation, by the preflight where there is one.
#[derive(Default)]
pub(super) struct Resolved(OnceCell<(String, Arc<Ids>)>);

impl Resolved {
    /// Keeps them. Another preflight of this operation was of the same group.
    pub(super) fn keep(&self, image: &str, shape: &Shape, ids: Ids) {
        let _ = self.0.set((shape.names(image), Arc::new(ids)));
    }

    /// Those of an image and a shape.
    pub(super) async fn of(
        &self,
        session: &Session,
        image: &str,
        shape: &Shape,
    ) -> Answered<Arc<Ids>> {
        let key = shape.names(image);
        let resolve = async || {
            let names = Names::look_up(session, image, shape, &mut Findings::strict()).await?;
            let ids = names.ids(shape).ok_or_else(|| IMAGES.missing(image))?;
            Ok::<_, CloudError>((key.clone(), Arc::new(ids)))
        };
        let (of, ids) = self.0.get_or_try_init(&resolve).await?;
        match *of == key {
            true => Ok(Arc::clone(ids)),
            false => Ok(resolve().await?.1),
        }
    }
}

/// What names stand for, each that stands for something.
pub(super) struct Names {
    pub(super) image: Option<Image>,
    pub(super) flavor: Option<Flavor>,
    networks: Vec<String>,
    /// The id of the external network.
    pub(super) pool: Option<String>,
}

impl Names {
    /// Looks all of them up.
    pub(super) async fn look_up(
        session: &Session,
        image_name: &str,
        shape: &Shape,
        found: &mut Findings,
    ) -> Answered<Self> {
        Ok(Self {
            pool: found.of(pool(session, shape).await)?.flatten(),
            image: found.of(image(session, image_name).await)?,
            flavor: found.of(flavor(session, &shape.flavor()).await)?,
            networks: networks(session, shape, found).await?,
        })
    }

    /// The ids alone, where each has one.
    pub(super) fn ids(self, shape: &Shape) -> Option<Ids> {
        Some(Ids {
            image: self.image?.id,
            flavor: self.flavor?.id,
            wanting: Wanting::of(shape, self.pool, &self.networks),
            networks: self.networks,
        })
    }
}

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
    fn of(shape: &Shape, pool: Option<String>, networks: &[String]) -> Option<Self> {
        Some(Self {
            named: shape.floating_ip_pool.clone()?,
            pool: pool?,
            networks: networks.to_vec(),
        })
    }
}

/// The floating address that servers of a shape are to have.
pub(super) async fn wanting(session: &Session, shape: &Shape) -> Answered<Option<Wanting>> {
    let Some(pool) = pool(session, shape).await? else {
        return Ok(None);
    };
    let networks = networks(session, shape, &mut Findings::strict()).await?;
    Ok(Wanting::of(shape, Some(pool), &networks))
}

/// The id of the external network of a shape.
pub(super) async fn pool(session: &Session, shape: &Shape) -> Answered<Option<String>> {
    match &shape.floating_ip_pool {
        Some(named) => POOLS.id(session, &Named::of(named)).await.map(Some),
        None => Ok(None),
    }
}

async fn networks(session: &Session, shape: &Shape, found: &mut Findings) -> Answered<Vec<String>> {
    let mut networks = Vec::new();
    for one in &shape.networks {
        networks.extend(found.of(NETWORKS.id(session, &one.named()).await)?);
    }
    Ok(networks)
}

/// By id or name.
async fn image(session: &Session, image: &str) -> Answered<Image> {
    let Named::Id(id) = Named::of(image) else {
        let call = Call::get(IMAGES.path).query("name", image);
        let found = session.get(GLANCE, IMAGES.action, image, call, IMAGES.path);
        return IMAGES.one(found.await?, image);
    };
    let call = Call::get(format!("images/{id}"));
    let answer = session.send(GLANCE, IMAGES.action, &id, call).await;
    let answer = absent(answer)?.ok_or_else(|| IMAGES.missing(&id))?;
    read(answer, IMAGES.action)
}

/// By id or name.
async fn flavor(session: &Session, named: &Named) -> Answered<Flavor> {
    const ACTION: &str = "Nova GET flavors";
    let (name, attribute, words) = match named {
        Named::Id(id) => {
            let call = Call::get(format!("flavors/{id}"));
            let answer = session.get(NOVA, ACTION, id, call, "flavor").await;
            if let Some(flavor) = absent(answer)? {
                return Ok(flavor);
            }
            (id, "openstack.flavor_id", "no such flavor".to_owned())
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
            (name, "openstack.flavor_name", words)
        }
    };
    Err(CloudError::new(Kind::BadRequest, ACTION, name, words).blaming(attribute))
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
