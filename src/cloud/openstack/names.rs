//! What the names of a shape stand for: ids of Glance, Nova and Neutron.
//!
//! In: an image and a shape. Out: ids; two things of one name are refused, for which one is taken
//! would be chance. See: Image API 2 `GET /images`, Compute API 2.1 `GET /flavors`, Network API 2.0
//! `GET /networks`, `/security-groups`.

use serde::Deserialize;

use super::api::{GLANCE, NEUTRON, NOVA, Session};
use super::shape::{ATTRIBUTE, Shape};
use crate::http::api::Call;
use crate::worker_group::cloud::lent::Wish;
use crate::worker_group::cloud::{
    Answered, CloudError, Findings, Kind, Lookup, Named, absent, read,
};

/// Ids of all that a shape names.
pub(super) async fn ids(session: &Session, image: &str, shape: &Shape) -> Answered<Ids> {
    let names = Names::look_up(session, image, shape, &mut Findings::strict()).await?;
    names.ids(shape).ok_or_else(|| IMAGES.missing(image))
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
            flavor: found.of(flavor(session, shape.flavor()).await)?,
            networks: networks(session, shape, found).await?,
        })
    }

    /// The ids alone, where each has one.
    pub(super) fn ids(self, shape: &Shape) -> Option<Ids> {
        Some(Ids {
            image: self.image?.id,
            flavor: self.flavor?.id,
            wish: self
                .pool
                .and_then(|pool| wish_for(shape, pool, &self.networks)),
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
    pub(super) wish: Option<Wish>,
}

/// The floating address that servers of a shape are to have.
pub(super) async fn wish(session: &Session, shape: &Shape) -> Answered<Option<Wish>> {
    let Some(pool) = pool(session, shape).await? else {
        return Ok(None);
    };
    let networks = networks(session, shape, &mut Findings::strict()).await?;
    Ok(wish_for(shape, pool, &networks))
}

fn wish_for(shape: &Shape, pool: String, networks: &[String]) -> Option<Wish> {
    Some(Wish {
        named: shape.floating_ip_pool.clone()?,
        pool,
        networks: networks.to_vec(),
    })
}

/// The id of the external network of a shape.
pub(super) async fn pool(session: &Session, shape: &Shape) -> Answered<Option<String>> {
    match &shape.floating_ip_pool {
        Some(named) => POOLS.id(session, Named::of(named)).await.map(Some),
        None => Ok(None),
    }
}

async fn networks(session: &Session, shape: &Shape, found: &mut Findings) -> Answered<Vec<String>> {
    let mut networks = Vec::new();
    for one in &shape.networks {
        networks.extend(found.of(NETWORKS.id(session, one.named()).await)?);
    }
    Ok(networks)
}

/// By id or name.
async fn image(session: &Session, image: &str) -> Answered<Image> {
    let Named::Id(id) = Named::of(image) else {
        let call = Call::get("images").query("name", image);
        let found = session.get(GLANCE, IMAGES.action, image, call, "images");
        return IMAGES.one(found.await?, image);
    };
    let call = Call::get(format!("images/{id}"));
    let answer = session.send(GLANCE, IMAGES.action, id, call).await;
    let answer = absent(answer)?.ok_or_else(|| IMAGES.missing(id))?;
    read(answer, IMAGES.action)
}

/// By id or name.
async fn flavor(session: &Session, named: Named<'_>) -> Answered<Flavor> {
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

const IMAGES: Lookup = Lookup::new("Glance GET images", "image", "image");

/// Things of Neutron, which finds them by name as by id.
pub(super) struct Place {
    path: &'static str,
    /// Whether only networks of the outside are.
    is_external: bool,
    lookup: Lookup,
}

const LISTED: &str = "Neutron GET networks";
const NETWORKS: Place = Place {
    path: "networks",
    is_external: false,
    lookup: Lookup::new(LISTED, "network", "openstack.networks"),
};
const POOLS: Place = Place {
    is_external: true,
    lookup: Lookup::new(LISTED, "external network", ATTRIBUTE),
    ..NETWORKS
};
const OF_GROUPS: &str = "openstack.security_groups";
/// Nova takes their names and ids, and of two of one name neither.
pub(super) const SECURITY_GROUPS: Place = Place {
    path: "security-groups",
    is_external: false,
    lookup: Lookup::new("Neutron GET security-groups", "security group", OF_GROUPS),
};

#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Place {
    /// The id of one.
    pub(super) async fn id(&self, session: &Session, named: Named<'_>) -> Answered<String> {
        let (key, value) = match named {
            Named::Id(id) => ("id", id),
            Named::Name(name) => ("name", name),
        };
        let call = Call::get(self.path).query(key, value).query("fields", "id");
        let call = call.queries("router:external", self.is_external.then_some("true"));
        let (action, list) = (self.lookup.action, self.path.replace('-', "_"));
        let found = session.get(NEUTRON, action, value, call, &list).await?;
        self.lookup.one(found, value).map(|Id { id }| id)
    }
}
