//! What an `image` stands for, and whether that fits the rest of a shape. Pure.
//!
//! In: `"pvc:images/flatcar"`. Out: a [`Source`]: the clone of a volume of the namespace `images`.

use super::shape::{Shape, is_name};
use crate::kubernetes::label;

/// What an `image` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// `quay.io/example/flatcar:4593.2.5`
    ContainerDisk(&'a str),
    /// `https://stable.release.flatcar-linux.net/…/flatcar_production_kubevirt_image.qcow2`
    Http(&'a str),
    /// `docker://quay.io/example/flatcar:4593.2.5`
    Registry(&'a str),
    /// `pvc:flatcar`, `pvc:images/flatcar`
    Claim(Option<&'a str>, &'a str),
    /// `snapshot:flatcar`, `snapshot:images/flatcar`
    Snapshot(Option<&'a str>, &'a str),
}

impl<'a> Source<'a> {
    /// `None`: it is of no such form.
    pub(super) fn of(image: &'a str) -> Option<Self> {
        let place = |rest: &'a str| match rest.split_once('/') {
            Some((namespace, name)) => {
                (is_name(namespace) && label::is_name(name)).then_some((Some(namespace), name))
            }
            None => label::is_name(rest).then_some((None, rest)),
        };
        if let Some(rest) = image.strip_prefix("pvc:") {
            return place(rest).map(|(namespace, name)| Self::Claim(namespace, name));
        }
        if let Some(rest) = image.strip_prefix("snapshot:") {
            return place(rest).map(|(namespace, name)| Self::Snapshot(namespace, name));
        }
        let is_text = image.bytes().all(|byte| byte.is_ascii_graphic());
        let source = match image.split_once("://") {
            Some(("http" | "https", rest)) if !rest.is_empty() => Self::Http(image),
            Some(("docker", rest)) if !rest.is_empty() => Self::Registry(image),
            None if !image.is_empty() => Self::ContainerDisk(image),
            _ => return None,
        };
        is_text.then_some(source)
    }

    /// The same, of this namespace where it names none.
    pub(super) fn within(self, namespace: &'a str) -> Self {
        match self {
            Self::Claim(None, name) => Self::Claim(Some(namespace), name),
            Self::Snapshot(None, name) => Self::Snapshot(Some(namespace), name),
            source => source,
        }
    }
}

/// Why an image and the rest of a shape do not fit together, and what to do: of `image`.
pub(super) fn misfit(image: &str, shape: &Shape) -> Option<String> {
    let has_volume = shape.data_volume.is_some();
    match Source::of(image) {
        None => Some(format!("{image:?} is no image. {IMAGE_SAYS}.")),
        Some(Source::ContainerDisk(_)) if has_volume => Some(format!(
            "{image} is a container image that is booted as it is, and kubevirt.data_volume is a disk that is made from an image. \
             Write docker://{image} as image, or leave out kubevirt.data_volume."
        )),
        Some(Source::ContainerDisk(_)) => None,
        Some(_) if !has_volume => Some(format!(
            "A disk has to be made from {image}, and nothing says how large. Set kubevirt.data_volume."
        )),
        Some(Source::Http(_)) => None,
        Some(_)
            if shape
                .data_volume
                .as_ref()
                .is_some_and(|of| of.checksum.is_some()) =>
        {
            Some(format!(
                "kubevirt.data_volume has a checksum, and CDI checks images at a URL alone. Leave it out for {image}."
            ))
        }
        Some(_) => None,
    }
}

const IMAGE_SAYS: &str = "Write a container image, a URL, docker:// and a container image, or pvc: or snapshot: and a name";
