//! The faces: `data "flatcar_image"` here, `data "flatcar_releases"` and `release_server` of the
//! provider block beside it.

mod release_server;
mod releases;

use serde::{Deserialize, Serialize};

use crate::flatcar::{Architecture, PLATFORMS, known_platform};
use crate::provider::{
    Attr, Attribute, Context, DataSource, Diagnostic, Diagnostics, Outcome, Path, Schema, Type,
    Value, unknown_settings,
};

pub use release_server::release_server;
use release_server::{source, unverified};
pub use releases::FlatcarReleases;

use super::published::{AZURE_GALLERY, Aws, Azure, AzureOffer, AzureWish, Gcp};
use super::release::{Channel, Components, Wanted};
use super::{FileFacts, Image, Notice, Request, advice, check, resolve};

/// `data "flatcar_image"`.
pub struct FlatcarImage;

/// Its attributes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Model {
    pub platform: Attr<String>,
    pub channel: Attr<String>,
    pub architecture: Attr<String>,
    pub version: Attr<String>,
    pub region: Attr<String>,
    pub azure_offer: Attr<String>,
    pub azure_generation: Attr<String>,
    pub azure_gallery: Attr<String>,
    pub image: Option<String>,
    pub release_date: Option<String>,
    pub components: Option<Components>,
    pub ignition_spec: Option<String>,
    pub url: Option<String>,
    pub file_name: Option<String>,
    pub disk_format: Option<String>,
    pub compression: Option<String>,
    pub sha512: Option<String>,
    pub signature_url: Option<String>,
    pub kernel_url: Option<String>,
    pub kernel_sha512: Option<String>,
    pub aws: Option<Aws>,
    pub azure: Option<Azure>,
    pub gcp: Option<Gcp>,
    pub verified_by: Option<String>,
}

impl DataSource for FlatcarImage {
    type Model = Model;
    const NAME: &'static str = "image";

    fn schema(&self) -> Schema {
        let mut attributes = image_inputs();
        attributes.extend(image_outputs());
        Schema::new(
            0,
            "The image of a Flatcar release for one platform, proven to be Flatcar's by its OpenPGP signature, and what is inside it. \
             `version`, `image`, `sha512` and `components` come from signed data only; `release_date` comes from the release feed, \
             which is not signed. With `version = \"current\"` (the default) a new release shows in the next plan; write an exact \
             version to pin it.",
            attributes,
        )
    }

    fn validate(&self, config: Model) -> Diagnostics {
        let (request, mut problems) = request(&config);
        if let Some(request) = request {
            problems.extend(errors(check(&request)));
            problems.extend(warnings(advice::without_effect(&request)));
        }
        problems
    }

    async fn read(&self, context: &Context, config: Model) -> Outcome<Model> {
        let (request, problems) = request(&config);
        let Some(mut request) = request else {
            return Outcome::failed(problems);
        };
        if request.platform.name == "aws" && request.region.is_none() {
            request.region = match provider_region(context) {
                Ok(region) => region,
                Err(problems) => return Outcome::failed(problems),
            };
        }
        let source = match source(context).await {
            Ok(source) => source,
            Err(problems) => return Outcome::failed(problems),
        };
        let resolved = tokio::select! {
            resolved = resolve(&source, &request) => resolved,
            () = context.cancel.cancelled() => return Outcome::failed(interrupted()),
        };
        match resolved {
            Err(notices) => Outcome::failed(errors(notices)),
            Ok((image, notices)) => {
                let mut problems = warnings(notices);
                problems.extend(unverified(&source));
                Outcome {
                    value: Some(answer(config, &request, image)),
                    problems,
                }
            }
        }
    }
}

fn image_inputs() -> Vec<Attribute> {
    let platforms: Vec<String> = PLATFORMS
        .iter()
        .map(|platform| format!("`{}`", platform.name))
        .collect();
    let channels: Vec<String> = Channel::words()
        .iter()
        .map(|word| format!("`{word}`"))
        .collect();
    let architectures = Architecture::ALL.iter().map(|known| known.name());
    vec![
        Attribute::string(
            "platform",
            &format!("Platform that the image is for. One of {}.", platforms.join(", ")),
        )
        .required(),
        Attribute::string(
            "channel",
            &format!(
                "Release channel: {}. `lts` is the newest stream of long-term support, `lts-2024` that of one year. Read back, \
                 `lts` is the stream.",
                channels.join(", ")
            ),
        )
        .default("stable"),
        Attribute::string("architecture", "Processor of the machines.")
            .default(Architecture::Amd64.name())
            .one_of(architectures),
        Attribute::string(
            "version",
            "Release: `current`, an exact one such as `4593.2.5`, or constraints such as `~> 4593.2` or `>= 4459.2.0, < 4600` (the \
             newest that meets them), by Terraform's own rules: `= 4593.2` is 4593.2.0 alone, `~> 4593.2.0` every 4593.2. Read \
             back, it is the exact release.",
        )
        .default("current"),
        Attribute::string(
            "region",
            "AWS region of the AMI, for example `eu-central-1`. Defaults to `aws.region` of the provider, then to `AWS_REGION` and \
             `AWS_DEFAULT_REGION`. Only for platform `aws`.",
        )
        .optional()
        .computed(),
        Attribute::string(
            "azure_offer",
            "Offer on Azure's marketplace: `corevm` needs no plan and no terms, `free` needs both. Only for platform `azure`.",
        )
        .null_means("corevm")
        .one_of(AzureOffer::WORDS),
        Attribute::string(
            "azure_generation",
            "Generation of the virtual machine on Azure. Only for platform `azure`.",
        )
        .null_means("V2")
        .one_of(["V2", "V1"]),
        Attribute::string(
            "azure_gallery",
            &format!(
                "Public name of a community gallery on Azure to take the image from, instead of the marketplace. Flatcar's own, \
                 `{AZURE_GALLERY}` (or `flatcar` for short), has stable for amd64. Only for platform `azure`."
            ),
        )
        .optional(),
    ]
}

fn image_outputs() -> Vec<Attribute> {
    let text = |name, description| Attribute::string(name, description).computed();
    vec![
        text(
            "image",
            "What the platform's API takes: the AMI id, the Azure URN or gallery image id, the path of the GCP image; on all other \
             platforms the URL of the image file.",
        ),
        text(
            "release_date",
            "Time of publication, for example `2026-08-13 15:48:35 +0000`, from the release feed; null where that does not have it.",
        ),
        Attribute::map(
            "components",
            "Versions of kernel, systemd, containerd, docker and ignition, from the release's signed package lists; null where a \
             release has none.",
            Type::String,
        )
        .computed(),
        text(
            "ignition_spec",
            "Newest version of the Ignition specification that this release reads, for example `3.5.0`.",
        ),
        text("url", "URL of the image file. Null on aws, azure and gcp, as are the other attributes of the file."),
        text("file_name", "Name of the image file."),
        text(
            "disk_format",
            "Format of the disk, after decompression: `qcow2`, `raw`, `vmdk`, `vhd`, `vhdx`, `ova`, `iso`, `cpio` or `box`.",
        ),
        text("compression", "Compression of the file: `none`, `gz`, `bz2` or `zip`."),
        text("sha512", "SHA-512 of the file as it is downloaded, hexadecimal, from the signed digests."),
        text("signature_url", "URL of the file's detached OpenPGP signature."),
        text("kernel_url", "URL of the kernel that goes with the image. Only on platform pxe."),
        text("kernel_sha512", "SHA-512 of the kernel. Only on platform pxe."),
        Attribute::object(
            "aws",
            "The AMI on AWS.",
            vec![
                text("owner", "Account that owns it."),
                text("name", "Its name, for the filter of `aws_ami`; always together with the owner."),
                text("architecture", "Its architecture in AWS's words: `x86_64` or `arm64`."),
                text("region", "Region that `image` is in."),
                Attribute::map("amis", "AMI ids of this release by region.", Type::String).computed(),
            ],
        )
        .computed(),
        Attribute::object(
            "azure",
            "The image on Azure.",
            vec![
                text("publisher", "Publisher on the marketplace."),
                text("offer", "Offer on the marketplace."),
                text("sku", "SKU on the marketplace."),
                text("version", "Version of the image."),
                text("urn", "Publisher, offer, SKU and version in one."),
                Attribute::object(
                    "plan",
                    "Purchase plan that a virtual machine has to name; null where there is none.",
                    vec![
                        text("name", "Name of the plan."),
                        text("product", "Product of the plan."),
                        text("publisher", "Publisher of the plan."),
                    ],
                )
                .computed(),
                text("gallery_image_id", "Id in the community gallery; null for the marketplace."),
            ],
        )
        .computed(),
        Attribute::object(
            "gcp",
            "The image on GCP.",
            vec![
                text("project", "Project that owns it."),
                text("family", "Its family."),
                text("name", "Its name."),
                text("family_image", "Path that always leads to the newest image of the family."),
            ],
        )
        .computed(),
        text(
            "verified_by",
            "Fingerprint of the primary key that signed the release's `version.txt`; empty with `release_server.verify = \"none\"`. \
             Every other file that is read is signed by an accepted key too. A signature binds the version, the channel (by the \
             number), the name of an image file and, within weeks, the time; that AMI ids, digests and package lists are of this very \
             release and architecture no signed file says: see the guide on release data.",
        ),
    ]
}

/// The request, where the configuration is known and makes sense; and what does not.
fn request(config: &Model) -> (Option<Request>, Diagnostics) {
    let mut problems = Diagnostics::none();
    let platform = parsed(
        &mut problems,
        "platform",
        &config.platform,
        "",
        known_platform,
    );
    let channel = parsed(
        &mut problems,
        "channel",
        &config.channel,
        "stable",
        Channel::named,
    );
    let wanted = parsed(
        &mut problems,
        "version",
        &config.version,
        "current",
        Wanted::parse,
    );
    let architecture = parsed(
        &mut problems,
        "architecture",
        &config.architecture,
        "amd64",
        |word| {
            let names: Vec<_> = Architecture::ALL.iter().map(|known| known.name()).collect();
            Architecture::named(word).ok_or_else(|| format!("Accepted: {}.", names.join(", ")))
        },
    );
    let offer = parsed(
        &mut problems,
        "azure_offer",
        &config.azure_offer,
        "corevm",
        |word| {
            let words = AzureOffer::WORDS.join(", ");
            AzureOffer::named(word).ok_or_else(|| format!("Accepted: {words}."))
        },
    );
    let (Some(platform), Some(channel), Some(wanted), Some(architecture), Some(offer)) =
        (platform, channel, wanted, architecture, offer)
    else {
        return (None, problems);
    };
    let filled = |value: &Attr<String>| value.known().filter(|word| !word.is_empty()).cloned();
    let request = Request {
        platform,
        channel,
        architecture,
        wanted,
        region: filled(&config.region),
        azure: AzureWish {
            offer,
            first_generation: config
                .azure_generation
                .known()
                .is_some_and(|word| word == "V1"),
            gallery: filled(&config.azure_gallery).map(|gallery| match gallery.as_str() {
                "flatcar" => AZURE_GALLERY.to_owned(),
                _ => gallery,
            }),
        },
    };
    (Some(request), problems)
}

/// An attribute as what it means; `None` where it is unknown yet, or wrong, which is then told.
fn parsed<T>(
    problems: &mut Diagnostics,
    attribute: &str,
    value: &Attr<String>,
    default: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let word = match value {
        Attr::Known(word) => word.as_str(),
        Attr::Null => default,
        Attr::Unknown => return None,
    };
    match parse(word) {
        Ok(meaning) => Some(meaning),
        Err(accepted) => {
            let summary = format!("Value of {attribute} is not known here");
            problems.push(Diagnostic::error(summary, accepted).at(Path::of(attribute)));
            None
        }
    }
}

fn answer(config: Model, request: &Request, image: Image) -> Model {
    // `lts` is read back as the stream that it was.
    let stream = Channel {
        year: request
            .channel
            .year
            .or_else(|| Channel::year_of(request.channel.name, image.version)),
        ..request.channel
    };
    let file = image.file;
    let of_file = |fact: fn(&FileFacts) -> String| file.as_ref().map(fact);
    Model {
        channel: Attr::Known(stream.to_string()),
        version: Attr::Known(image.version.to_string()),
        region: match &image.aws {
            Some(aws) => Attr::Known(aws.region.clone()),
            None => config.region,
        },
        image: Some(image.image),
        release_date: image.release_date,
        components: image.components,
        ignition_spec: image.ignition_spec.map(str::to_owned),
        url: of_file(|file| file.url.clone()),
        file_name: of_file(|file| file.file.name.to_owned()),
        disk_format: of_file(|file| file.file.disk_format.to_owned()),
        compression: of_file(|file| match file.file.compression {
            "" => "none".to_owned(),
            compression => compression.to_owned(),
        }),
        sha512: of_file(|file| file.sha512.clone()),
        signature_url: of_file(|file| file.signature_url.clone()),
        kernel_url: file.as_ref().and_then(|file| file.kernel_url.clone()),
        kernel_sha512: file.as_ref().and_then(|file| file.kernel_sha512.clone()),
        aws: image.aws,
        azure: image.azure,
        gcp: image.gcp,
        verified_by: Some(image.verified_by),
        ..config
    }
}

/// `aws.region` of the provider, or what AWS's own tools read.
fn provider_region(context: &Context) -> Result<Option<String>, Diagnostics> {
    let (region, at) = match context.setting("aws") {
        Value::Map(aws) => (
            aws.get("region").unwrap_or(&Value::Null),
            Path::of("aws.region"),
        ),
        aws => (aws, Path::of("aws")),
    };
    if let Some(unknown) = unknown_settings(region, &at) {
        return Err(unknown.into());
    }
    let configured = match region {
        Value::String(region) => Some(region.clone()),
        _ => None,
    };
    Ok(["AWS_REGION", "AWS_DEFAULT_REGION"]
        .iter()
        .fold(configured, |found, name| {
            found.or_else(|| std::env::var(name).ok())
        })
        .filter(|region| !region.is_empty()))
}

fn interrupted() -> Diagnostic {
    Diagnostic::error(
        "Interrupted",
        "The read was stopped before the release server answered.",
    )
}

fn errors(notices: Vec<Notice>) -> Diagnostics {
    diagnostics(notices, |summary, detail| {
        Diagnostic::error(summary, detail)
    })
}

fn warnings(notices: Vec<Notice>) -> Diagnostics {
    diagnostics(notices, |summary, detail| {
        Diagnostic::warning(summary, detail)
    })
}

fn diagnostics(notices: Vec<Notice>, make: fn(String, String) -> Diagnostic) -> Diagnostics {
    let each = |notice: Notice| {
        let diagnostic = make(notice.summary, notice.detail);
        match notice.attribute {
            Some(attribute) => diagnostic.at(Path::of(attribute)),
            None => diagnostic,
        }
    };
    Diagnostics(notices.into_iter().map(each).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(word: &str) -> Attr<String> {
        Attr::Known(word.to_owned())
    }

    fn validated(config: Model) -> Vec<String> {
        let problems = FlatcarImage.validate(config).0.into_iter();
        problems
            .map(|problem| format!("{}: {}", problem.path.unwrap_or_default(), problem.detail))
            .collect()
    }

    #[test]
    fn every_fault_of_the_configuration_is_told_at_once() {
        let told = validated(Model {
            platform: known("libvirt"),
            channel: known("edge"),
            version: known("newest"),
            ..Model::default()
        });
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].starts_with("platform: It is called qemu here."));
        assert!(told[1].starts_with("channel: The channel edge ended"));
        assert!(told[2].starts_with("version: Accepted: current"));
    }

    #[test]
    fn what_is_not_known_yet_is_not_a_fault() {
        let unknown = Model {
            platform: Attr::Unknown,
            channel: Attr::Unknown,
            version: Attr::Unknown,
            ..Model::default()
        };
        assert_eq!(validated(unknown), Vec::<String>::new());
        let told = validated(Model {
            platform: Attr::Unknown,
            version: known("newest"),
            ..Model::default()
        });
        assert_eq!(told.len(), 1, "{told:#?}");
    }

    #[test]
    fn what_belongs_to_another_platform_is_told_on_its_attribute() {
        let all = |platform: &str| Model {
            platform: known(platform),
            region: known("eu-central-1"),
            azure_offer: known("free"),
            azure_generation: known("V1"),
            azure_gallery: known("flatcar"),
            ..Model::default()
        };
        let defaults = Model {
            platform: known("openstack"),
            azure_offer: known("corevm"),
            azure_generation: known("V2"),
            ..Model::default()
        };
        let azure = ["azure_offer", "azure_generation", "azure_gallery"];
        for (config, attributes) in [
            (
                all("gcp"),
                vec!["region", "azure_offer", "azure_generation", "azure_gallery"],
            ),
            (all("aws"), azure.to_vec()),
            (defaults, vec![]),
        ] {
            let told = validated(config);
            assert_eq!(told.len(), attributes.len(), "{told:#?}");
            for (line, attribute) in told.iter().zip(attributes) {
                assert!(
                    line.starts_with(&format!("{attribute}: {attribute} is for platform ")),
                    "{line}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_region_that_is_not_known_yet_is_not_taken_from_elsewhere() {
        for (aws, named) in [
            (
                Value::Map([("region".to_owned(), Value::unknown())].into()),
                "`aws.region`",
            ),
            (Value::unknown(), "`aws`"),
        ] {
            let context = Context::of(Value::Map([("aws".to_owned(), aws)].into()));
            let config = Model {
                platform: known("aws"),
                ..Model::default()
            };
            let problems = FlatcarImage.read(&context, config).await.problems.0;
            assert_eq!(problems.len(), 1);
            assert!(
                problems[0].detail.starts_with(named),
                "{}",
                problems[0].detail
            );
        }
    }

    #[test]
    fn a_platform_without_an_image_for_the_processor_is_refused_before_anything_is_fetched() {
        for (platform, architecture, count) in [
            ("gcp", "arm64", 1),
            ("vsphere", "arm64", 1),
            ("openstack", "arm64", 0),
            ("gcp", "amd64", 0),
        ] {
            let told = validated(Model {
                platform: known(platform),
                architecture: known(architecture),
                ..Model::default()
            });
            assert_eq!(told.len(), count, "{platform} {architecture}: {told:#?}");
        }
    }
}
