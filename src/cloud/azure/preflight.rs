//! What only Azure knows, asked before the first machine is touched: resource group, network, size,
//! zones, quota, image and plan.
//!
//! In: an image, a shape, how many machines are to come. Out: every problem, on its attribute. What
//! the credentials may not ask is no fault: the create decides. See: Compute `ResourceSkus_List`
//! 2021-07-01, `Usage_List`, `VirtualMachineImages_Get`, MarketplaceOrdering
//! `MarketplaceAgreements_Get` 2021-01-01.

use serde_json::Value as Json;

use super::api::{COMPUTE, GALLERIES, MARKETPLACE, NETWORK, RESOURCES, SKUS, Session};
use super::failure::missing_group;
use super::fit::{check_image, check_network, check_size, lack};
use super::machine::place as normal;
use super::request::Place;
use super::shape::{POOLS_ATTRIBUTE, Shape};
use crate::http::api::Call;
use crate::provider::{Diagnostics, Path};
use crate::worker_group::cloud::{Answered, CloudError, Findings, Growth, Kind, Refusal, absent};

/// Every problem at once. Where nothing is to be created, only what changes in place is asked
/// about: the pools.
pub(super) async fn check(
    session: &Session,
    place: &Place,
    image: &str,
    shape: &Shape,
    growth: Growth,
) -> Answered<Diagnostics> {
    let asks = Asks {
        session,
        place,
        shape,
    };
    let pools = asks.pools();
    let mut found = Findings::new(refusal);
    if growth.created == 0 {
        lost(pools.await, &mut found)?;
        return Ok(found.told());
    }
    let (group, network, skus, usages, image, terms, pools) = tokio::join!(
        asks.group(),
        asks.network(),
        asks.skus(),
        asks.usages(),
        asks.image(image),
        asks.terms(),
        pools
    );
    if let Some(None) = found.of(group)? {
        let detail = format!(
            "There is no {:?} in the subscription. Create it first, or correct the name.",
            shape.resource_group_name
        );
        found.misfit(
            Path::of("azure.resource_group_name"),
            "Azure has no such resource group",
            detail,
        );
    }
    if let Some(network) = found.of(network)? {
        check_network(network.as_ref(), shape, &mut found);
    }
    let skus = found.of(skus)?;
    let size = skus
        .as_ref()
        .map(|skus| check_size(skus, shape, &mut found));
    if let (Some(usages), Some(Some(size))) = (found.of(usages)?, &size) {
        lack(&usages, size, shape, growth, &mut found);
    }
    if let Some(image) = found.of(image)? {
        check_image(image.as_ref(), size.flatten(), shape, &mut found);
    }
    if let Some(Some(terms)) = found.of(terms)?
        && terms["properties"]["accepted"] == false
    {
        let plan = shape
            .plan
            .as_ref()
            .map(|plan| format!("{}:{}:{}", plan.publisher, plan.product, plan.name));
        let urn = plan.unwrap_or_default();
        let detail = format!(
            "Nobody has accepted the terms of {urn} for this subscription. Accept them once: az vm image terms accept --urn {urn}:latest."
        );
        found.misfit(
            Path::of("azure.plan"),
            "Terms of the image are not accepted",
            detail,
        );
    }
    lost(pools, &mut found)?;
    Ok(found.told())
}

/// What may not be asked is asked by the create.
fn refusal(error: &CloudError) -> Option<Refusal> {
    (error.kind != Kind::Forbidden).then(|| Refusal {
        cause: error.to_string(),
        summary: "Azure refused before anything was changed",
        advice: "No machine has been touched.",
    })
}

struct Asks<'a> {
    session: &'a Session,
    place: &'a Place,
    shape: &'a Shape,
}

impl Asks<'_> {
    async fn ask(
        &self,
        action: &'static str,
        path: String,
        version: &str,
    ) -> Answered<Option<Json>> {
        let object = path.rsplit('/').next().unwrap_or_default().to_owned();
        let call = Call::get(path).query("api-version", version);
        absent(missing_group(
            self.session.send(action, &object, call).await,
        ))
    }

    async fn group(&self) -> Answered<Option<Json>> {
        let path = format!(
            "/subscriptions/{}/resourceGroups/{}",
            self.place.subscription, self.shape.resource_group_name
        );
        self.ask("Azure GET resourceGroups", path, RESOURCES).await
    }

    async fn network(&self) -> Answered<Option<Json>> {
        let subnet = &self.shape.subnet_id;
        let network = subnet.rsplitn(3, '/').nth(2).unwrap_or(subnet);
        let network = network.to_owned();
        self.ask("Azure GET virtualNetworks", network, NETWORK)
            .await
    }

    async fn skus(&self) -> Answered<Vec<Json>> {
        let filter = format!(
            "location eq '{}'",
            normal(&self.shape.location).replace('\'', "")
        );
        let call = Call::get(self.place.of_subscription("Microsoft.Compute/skus"));
        let call = call.query("api-version", SKUS).query("$filter", filter);
        self.session
            .all("Azure GET skus", &self.shape.location, call)
            .await
    }

    async fn usages(&self) -> Answered<Vec<Json>> {
        let path = format!(
            "Microsoft.Compute/locations/{}/usages",
            normal(&self.shape.location)
        );
        let call = Call::get(self.place.of_subscription(&path)).query("api-version", COMPUTE);
        self.session
            .all("Azure GET usages", &self.shape.location, call)
            .await
    }

    /// `None` is an image that does not exist.
    async fn image(&self, image: &str) -> Answered<Option<Json>> {
        const IMAGE: &str = "Azure GET images";
        let location = normal(&self.shape.location);
        let of_location = |path: String| {
            self.place
                .of_subscription(&format!("Microsoft.Compute/locations/{location}/{path}"))
        };
        let urn: Vec<&str> = image.split(':').collect();
        let id: Vec<&str> = image.trim_start_matches('/').split('/').collect();
        let answer = match (&urn[..], &id[..]) {
            ([publisher, offer, sku, version], _) => {
                let path = of_location(format!(
                    "publishers/{publisher}/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions"
                ));
                let path = match *version {
                    "latest" => {
                        let call = Call::get(path.clone())
                            .query("api-version", COMPUTE)
                            .query("$top", "1")
                            .query("$orderby", "name desc");
                        let newest = absent(self.session.send(IMAGE, image, call).await)?;
                        let newest =
                            newest.and_then(|newest| Some(newest[0]["name"].as_str()?.to_owned()));
                        let Some(newest) = newest else {
                            return Ok(None);
                        };
                        format!("{path}/{newest}")
                    }
                    version => format!("{path}/{version}"),
                };
                self.ask(IMAGE, path, COMPUTE).await
            }
            (_, [kind, gallery, _, name, rest @ ..])
                if kind.to_lowercase().ends_with("galleries") =>
            {
                let kind = if kind.to_lowercase().starts_with("community") {
                    "communityGalleries"
                } else {
                    "sharedGalleries"
                };
                // Without a version it is the definition, which says the architecture too.
                let version = rest
                    .get(1)
                    .filter(|version| **version != "latest")
                    .map(|version| format!("/versions/{version}"));
                self.ask(
                    IMAGE,
                    of_location(format!(
                        "{kind}/{gallery}/images/{name}{}",
                        version.unwrap_or_default()
                    )),
                    GALLERIES,
                )
                .await
            }
            (_, id) if id.len() >= 8 => {
                let is_of_gallery = id[6].eq_ignore_ascii_case("galleries");
                self.ask(
                    IMAGE,
                    image.to_owned(),
                    if is_of_gallery { GALLERIES } else { COMPUTE },
                )
                .await
            }
            _ => Ok(None),
        };
        match answer {
            Err(error) if error.attribute == Some("image") => Ok(None),
            answer => answer,
        }
    }

    async fn terms(&self) -> Answered<Option<Json>> {
        let Some(plan) = &self.shape.plan else {
            return Ok(None);
        };
        let path = format!(
            "Microsoft.MarketplaceOrdering/offerTypes/virtualmachine/publishers/{}/offers/{}/plans/{}/agreements/current",
            plan.publisher, plan.product, plan.name
        );
        self.ask(
            "Azure GET agreements",
            self.place.of_subscription(&path),
            MARKETPLACE,
        )
        .await
    }

    /// The pools that do not exist.
    async fn pools(&self) -> Answered<Vec<String>> {
        let mut missing = Vec::new();
        for pool in &self.shape.load_balancer_backend_address_pool_ids {
            let answer = self.ask("Azure GET backendAddressPools", pool.clone(), NETWORK);
            if answer.await?.is_none() {
                missing.push(pool.clone());
            }
        }
        Ok(missing)
    }
}

fn lost(pools: Answered<Vec<String>>, found: &mut Findings) -> Answered<()> {
    for pool in found.of(pools)?.unwrap_or_default() {
        let detail = format!("There is no {pool}. Create it first, or correct the id.");
        found.misfit(
            Path::of(POOLS_ATTRIBUTE),
            "Azure has no such backend address pool",
            detail,
        );
    }
    Ok(())
}
