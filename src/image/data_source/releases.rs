//! `data "flatcar_releases"`: the list of releases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flatcar::Architecture;
use crate::image::advice;
use crate::image::release::Channel;
use crate::provider::{Attr, Attribute, Context, DataSource, Diagnostics, Outcome, Schema, Type};

use super::release_server::source;
use super::{errors, interrupted, parsed};

/// `data "flatcar_releases"`.
pub struct FlatcarReleases;

/// Its attributes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ReleasesModel {
    pub channel: Attr<String>,
    pub architecture: Attr<String>,
    pub releases: Option<Vec<ReleaseModel>>,
}

/// One release.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ReleaseModel {
    pub version: String,
    pub channel: String,
    pub architectures: Vec<String>,
    pub release_date: Option<String>,
    pub components: BTreeMap<String, String>,
    pub ignition_spec: Option<String>,
}

impl DataSource for FlatcarReleases {
    type Model = ReleasesModel;
    const NAME: &'static str = "releases";

    fn schema(&self) -> Schema {
        let text = |name, description| Attribute::string(name, description).computed();
        let words: Vec<String> = Channel::words()
            .iter()
            .map(|word| format!("`{word}`"))
            .collect();
        Schema::new(
            0,
            "The releases of Flatcar, newest first, for policies written in HCL. They come from the release feed, which is not signed:              what `flatcar_image` finds for a version is checked there.",
            vec![
                Attribute::string(
                    "channel",
                    &format!("Only releases of this channel: {}. Absent: all.", words.join(", ")),
                )
                .optional(),
                Attribute::string("architecture", "Only releases for this processor. Absent: all.")
                    .optional()
                    .one_of(Architecture::ALL.iter().map(|known| known.name())),
                Attribute::list_of(
                    "releases",
                    "Releases, newest first.",
                    vec![
                        text("version", "Number of the release."),
                        text("channel", "Channel of the release; `lts` for every stream of long-term support."),
                        Attribute::list("architectures", "Processors that it was built for.", Type::String)
                            .computed(),
                        text("release_date", "Time of publication."),
                        Attribute::map(
                            "components",
                            "Versions of kernel, systemd, containerd, docker and ignition, as far as the feed names them.",
                            Type::String,
                        )
                        .computed(),
                        text("ignition_spec", "Newest version of the Ignition specification that it reads."),
                    ],
                )
                .computed(),
            ],
        )
    }

    fn validate(&self, config: ReleasesModel) -> Diagnostics {
        releases_channel(&config).1
    }

    async fn read(&self, context: &Context, config: ReleasesModel) -> Outcome<ReleasesModel> {
        let (channel, problems) = releases_channel(&config);
        if problems.has_errors() {
            return Outcome::failed(problems);
        }
        let source = match source(context).await {
            Ok(source) => source,
            Err(problems) => return Outcome::failed(problems),
        };
        if !source.has_feed() {
            return Outcome::failed(errors(vec![advice::no_feed()]));
        }
        let feed = tokio::select! {
            feed = source.feed(channel) => feed,
            () = context.cancel.cancelled() => return Outcome::failed(interrupted()),
        };
        let feed = match feed {
            Ok(feed) => feed,
            Err(fault) => {
                return Outcome::failed(errors(vec![advice::fault(
                    &source,
                    "release feed",
                    &fault,
                )]));
            }
        };
        let architecture = config.architecture.known();
        let releases = feed
            .0
            .iter()
            .filter(|release| channel.is_none_or(|channel| channel.has(release)))
            .filter(|release| architecture.is_none_or(|name| release.architectures.contains(name)))
            .map(|release| ReleaseModel {
                version: release.version.to_string(),
                channel: release.channel.clone(),
                architectures: release.architectures.clone(),
                release_date: Some(release.release_date.clone()).filter(|date| !date.is_empty()),
                components: release.components.clone(),
                ignition_spec: release.ignition_spec().map(str::to_owned),
            })
            .collect();
        Outcome::of(ReleasesModel {
            releases: Some(releases),
            ..config
        })
    }
}

fn releases_channel(config: &ReleasesModel) -> (Option<Channel>, Diagnostics) {
    let mut problems = Diagnostics::none();
    let channel = match config.channel.is_null() {
        true => None,
        false => parsed(
            &mut problems,
            "channel",
            &config.channel,
            "",
            Channel::named,
        ),
    };
    (channel, problems)
}
