//! What Flatcar publishes into clouds: AMIs, Azure offers and galleries, GCP images. Names are made
//! here; only AMI ids are looked up.
//!
//! In: channel, release, architecture. Out:
//! `kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5` and its parts. Sources:
//! flatcar/mantle `cmd/plume`, flatcar/scripts
//! `ci-automation/release/azure_marketplace_publish.py`, flatcar/flatcar-website `deploy/cloud/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flatcar::{Architecture, Version};

use super::Notice;
use super::release::Channel;

/// Account that owns Flatcar's AMIs in the commercial partition. Never match by name alone:
/// look-alikes exist.
pub const AWS_OWNER: &str = "075585003325";

/// Project of Flatcar's GCP images.
pub const GCP_PROJECT: &str = "kinvolk-public";

/// Flatcar's own community gallery on Azure; it has stable for amd64 only.
pub const AZURE_GALLERY: &str = "flatcar-23485951-527a-48d6-9d11-6931ff0afc2e";

/// AMIs are taken back after nine months, though the list that names them stays.
pub const AWS_KEPT_DAYS: i64 = 274;

/// So many older images of a channel stay on GCP.
pub const GCP_KEPT: usize = 10;

/// An AMI, and how to find it without the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Aws {
    pub owner: String,
    /// `Flatcar-stable-4593.2.5-hvm`
    pub name: String,
    /// `x86_64` or `arm64`
    pub architecture: String,
    pub region: String,
    /// Region to AMI id.
    pub amis: BTreeMap<String, String>,
}

impl Aws {
    /// Name and owner of a release's AMI.
    pub fn new(
        channel: Channel,
        version: Version,
        architecture: Architecture,
        region: &str,
        amis: BTreeMap<String, String>,
    ) -> Self {
        let (suffix, machine) = match architecture {
            Architecture::Amd64 => ("", "x86_64"),
            Architecture::Arm64 => ("-arm64", "arm64"),
        };
        Self {
            owner: AWS_OWNER.to_owned(),
            name: format!("Flatcar-{}-{version}{suffix}-hvm", channel.name),
            architecture: machine.to_owned(),
            region: region.to_owned(),
            amis,
        }
    }

    /// The filter that finds it where there is no list: for messages.
    pub fn filter(&self) -> String {
        format!(
            "data \"aws_ami\" with owners = [\"{}\"] and filter name = \"{}\"",
            self.owner, self.name
        )
    }
}

/// Why a region cannot have Flatcar's AMIs, where one knows.
pub fn aws_region_hint(region: &str) -> Option<&'static str> {
    match region {
        "me-south-1" => Some("Flatcar publishes nothing to me-south-1 since April 2026."),
        _ if region.starts_with("cn-") => {
            Some("Flatcar publishes nothing to AWS China; import an image of your own.")
        }
        _ if region.starts_with("us-gov-") => Some(
            "Flatcar publishes nothing to GovCloud, and images there that carry its name are not Flatcar's; import an image of your own.",
        ),
        _ => None,
    }
}

/// Which of Flatcar's Azure images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AzureOffer {
    /// No plan, no terms.
    CoreVm,
    /// A plan, whose terms have to be accepted.
    Free,
}

impl AzureOffer {
    /// The words for them.
    pub const WORDS: &[&str] = &["corevm", "free"];

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "corevm" => Some(AzureOffer::CoreVm),
            "free" => Some(AzureOffer::Free),
            _ => None,
        }
    }
}

/// What the user asks of Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AzureWish {
    pub offer: AzureOffer,
    /// `true`: `V1`.
    pub first_generation: bool,
    /// Public name of a community gallery, instead of the marketplace.
    pub gallery: Option<String>,
}

/// An image of the marketplace, or of a community gallery (then `gallery_image_id` is set and the
/// rest is null).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Azure {
    pub publisher: Option<String>,
    pub offer: Option<String>,
    pub sku: Option<String>,
    pub version: String,
    pub urn: Option<String>,
    pub plan: Option<Plan>,
    pub gallery_image_id: Option<String>,
}

/// A purchase plan, as `azurerm_linux_virtual_machine` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Plan {
    pub name: String,
    pub product: String,
    pub publisher: String,
}

const AZURE_PUBLISHER: &str = "kinvolk";

impl Azure {
    /// What Azure calls a release.
    pub fn new(
        wish: &AzureWish,
        channel: Channel,
        version: Version,
        architecture: Architecture,
    ) -> Self {
        if let Some(gallery) = &wish.gallery {
            let definition = format!("flatcar-{}-{}", channel.name, architecture.name());
            return Self {
                publisher: None,
                offer: None,
                sku: None,
                version: version.to_string(),
                urn: None,
                plan: None,
                gallery_image_id: Some(format!(
                    "/communityGalleries/{gallery}/images/{definition}/versions/{version}"
                )),
            };
        }
        let offer = match (wish.offer, architecture) {
            (AzureOffer::Free, _) => "flatcar-container-linux-free",
            (AzureOffer::CoreVm, Architecture::Amd64) => "flatcar-container-linux-corevm-amd64",
            (AzureOffer::CoreVm, Architecture::Arm64) => "flatcar-container-linux-corevm",
        };
        let stream = match Channel::year_of(channel.name, version).or(channel.year) {
            Some(year) => format!("lts{year}"),
            None => channel.name.to_owned(),
        };
        // arm64 is generation 2 only, and its SKUs do not say so.
        let sku = match (architecture, wish.first_generation) {
            (Architecture::Amd64, false) => format!("{stream}-gen2"),
            _ => stream,
        };
        let plan = (wish.offer == AzureOffer::Free).then(|| Plan {
            name: sku.clone(),
            product: offer.to_owned(),
            publisher: AZURE_PUBLISHER.to_owned(),
        });
        Self {
            publisher: Some(AZURE_PUBLISHER.to_owned()),
            offer: Some(offer.to_owned()),
            urn: Some(format!("{AZURE_PUBLISHER}:{offer}:{sku}:{version}")),
            sku: Some(sku),
            version: version.to_string(),
            plan,
            gallery_image_id: None,
        }
    }
}

impl AzureWish {
    /// What cannot be had, whatever the release.
    pub fn check(&self, channel: Channel, architecture: Architecture) -> Vec<Notice> {
        let mut notices = Vec::new();
        if self.gallery.is_some() {
            let own = self.gallery.as_deref() == Some(AZURE_GALLERY);
            if own && (channel.name != "stable" || architecture != Architecture::Amd64) {
                notices.push(Notice::on(
                    "azure_gallery",
                    "The community gallery lacks this image",
                    "Flatcar's community gallery has channel stable for amd64 only. Leave azure_gallery out to take the image from the marketplace.",
                ));
            }
            return notices;
        }
        if architecture == Architecture::Arm64 && self.offer == AzureOffer::Free {
            notices.push(Notice::on(
                "azure_offer",
                "The free offer has no arm64 image",
                "Use azure_offer = \"corevm\", which has arm64 and needs neither plan nor terms.",
            ));
        }
        if architecture == Architecture::Arm64 && self.first_generation {
            notices.push(Notice::on(
                "azure_generation",
                "arm64 machines are of generation 2",
                "Azure has no arm64 machines of generation V1. Use azure_generation = \"V2\".",
            ));
        }
        notices
    }
}

/// An image of the public project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Gcp {
    pub project: String,
    /// `flatcar-stable`; of all LTS streams `flatcar-lts`.
    pub family: String,
    /// `flatcar-stable-4593-2-5`
    pub name: String,
    /// `projects/kinvolk-public/global/images/family/flatcar-stable`
    pub family_image: String,
}

impl Gcp {
    /// What GCP calls a release.
    pub fn new(channel: Channel, version: Version) -> Self {
        let family = format!("flatcar-{}", channel.name);
        Self {
            project: GCP_PROJECT.to_owned(),
            name: format!("{family}-{}", version.to_string().replace('.', "-")),
            family_image: format!("projects/{GCP_PROJECT}/global/images/family/{family}"),
            family,
        }
    }

    /// The path that instances take.
    pub fn image(&self) -> String {
        format!("projects/{}/global/images/{}", self.project, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(word: &str) -> Channel {
        Channel::named(word).unwrap()
    }

    #[test]
    fn azure_names_follow_offer_generation_and_architecture() {
        use Architecture::{Amd64, Arm64};
        use AzureOffer::{CoreVm, Free};
        for (word, version, architecture, offer, first_generation, urn) in [
            (
                "stable",
                "4593.2.5",
                Amd64,
                CoreVm,
                false,
                "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5",
            ),
            (
                "stable",
                "4593.2.5",
                Amd64,
                CoreVm,
                true,
                "kinvolk:flatcar-container-linux-corevm-amd64:stable:4593.2.5",
            ),
            (
                "beta",
                "4757.1.0",
                Arm64,
                CoreVm,
                false,
                "kinvolk:flatcar-container-linux-corevm:beta:4757.1.0",
            ),
            (
                "stable",
                "4593.2.5",
                Amd64,
                Free,
                false,
                "kinvolk:flatcar-container-linux-free:stable-gen2:4593.2.5",
            ),
            (
                "lts",
                "4081.3.10",
                Amd64,
                CoreVm,
                false,
                "kinvolk:flatcar-container-linux-corevm-amd64:lts2024-gen2:4081.3.10",
            ),
            (
                "lts-2024",
                "4081.3.10",
                Arm64,
                CoreVm,
                false,
                "kinvolk:flatcar-container-linux-corevm:lts2024:4081.3.10",
            ),
            (
                "lts-2026",
                "4900.3.0",
                Amd64,
                CoreVm,
                true,
                "kinvolk:flatcar-container-linux-corevm-amd64:lts2026:4900.3.0",
            ),
        ] {
            let wish = AzureWish {
                offer,
                first_generation,
                gallery: None,
            };
            let azure = Azure::new(&wish, channel(word), version.parse().unwrap(), architecture);
            assert_eq!(azure.urn.as_deref(), Some(urn));
            assert_eq!(azure.plan.is_some(), offer == Free, "{urn}");
            assert!(wish.check(channel(word), architecture).is_empty(), "{urn}");
        }
    }

    #[test]
    fn a_gallery_image_has_an_id_and_no_urn() {
        let wish = AzureWish {
            offer: AzureOffer::CoreVm,
            first_generation: false,
            gallery: Some(AZURE_GALLERY.to_owned()),
        };
        let azure = Azure::new(
            &wish,
            channel("stable"),
            Version::of(4593, 2, 5),
            Architecture::Amd64,
        );
        assert_eq!(
            azure.gallery_image_id.unwrap(),
            "/communityGalleries/flatcar-23485951-527a-48d6-9d11-6931ff0afc2e/images/flatcar-stable-amd64/versions/4593.2.5"
        );
        assert_eq!(azure.urn, None);
        assert_eq!(wish.check(channel("beta"), Architecture::Amd64).len(), 1);
        assert_eq!(wish.check(channel("stable"), Architecture::Arm64).len(), 1);
    }

    #[test]
    fn what_azure_has_not_is_told_on_its_attribute() {
        let wish = AzureWish {
            offer: AzureOffer::Free,
            first_generation: true,
            gallery: None,
        };
        let attributes: Vec<_> = wish
            .check(channel("stable"), Architecture::Arm64)
            .into_iter()
            .map(|notice| notice.attribute)
            .collect();
        assert_eq!(attributes, [Some("azure_offer"), Some("azure_generation")]);
    }

    #[test]
    fn gcp_and_aws_names_are_flatcars() {
        let gcp = Gcp::new(channel("lts-2024"), Version::of(4081, 3, 10));
        assert_eq!(
            gcp.image(),
            "projects/kinvolk-public/global/images/flatcar-lts-4081-3-10"
        );
        let name = |architecture| {
            Aws::new(
                channel("beta"),
                Version::of(3033, 1, 0),
                architecture,
                "x",
                BTreeMap::new(),
            )
            .name
        };
        assert_eq!(name(Architecture::Amd64), "Flatcar-beta-3033.1.0-hvm");
        assert_eq!(name(Architecture::Arm64), "Flatcar-beta-3033.1.0-arm64-hvm");
    }
}
