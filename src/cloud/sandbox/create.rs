//! A create of the sandbox: what is asked for, whether it is a repeat, and what this sandbox
//! refuses.
//!
//! In: a spec, the records and the conditions. Out: one more record, or the refusal with the
//! attribute to blame.

use std::io;
use std::time::Duration;

use super::calls::{Moment, later};
use super::faults::{Conditions, Fault};
use super::record::{Boot, Record};
use super::shape::Shape;
use super::store::{Locked, is_name, sha256_hex};
use crate::provider::duration;
use crate::worker_group::cloud::{CloudError, Kind, Machine, Mark, Spec};

/// What a create asks for, read and digested.
pub(super) struct Wanted {
    name: String,
    attempt: u32,
    mark: Mark,
    image: String,
    shape: Shape,
    boot: Duration,
    user_data_sha256: String,
    user_data_bytes: usize,
    spec_sha256: String,
}

impl Wanted {
    pub(super) fn read(spec: &Spec<'_>, shape: Shape, user_data: &str) -> Result<Self, CloudError> {
        let refuse = |message| CloudError::new(Kind::BadRequest, CREATE, spec.name, message);
        if !is_name(spec.name) {
            let words =
                "a machine's name is made of lower-case letters, digits and hyphens, 63 at most";
            return Err(refuse(words).blaming("name"));
        }
        let boot = duration::parse(&shape.boot_time);
        let boot = boot.ok_or_else(|| refuse("no duration").blaming("sandbox.boot_time"))?;
        let user_data_sha256 = sha256_hex(spec.user_data);
        let Mark {
            cluster,
            group,
            uid,
            generation,
            ..
        } = spec.mark;
        let everything = format!(
            "{}\n{}\n{cluster:?} {group:?} {uid:?} {generation:?}\n{}\n{user_data_sha256}\n{shape:?}",
            spec.name, spec.attempt, spec.image
        );
        Ok(Self {
            name: spec.name.to_owned(),
            attempt: spec.attempt,
            mark: spec.mark.clone(),
            image: spec.image.to_owned(),
            shape,
            boot,
            user_data_sha256,
            user_data_bytes: user_data.len(),
            spec_sha256: sha256_hex(everything.as_bytes()),
        })
    }
}

/// Makes the machine; a repeat answers the one that there is.
pub(super) fn create(
    locked: &Locked<'_>,
    moment: &Moment,
    wanted: Wanted,
) -> io::Result<Result<Machine, CloudError>> {
    if let Some(record) = locked.record(&wanted.name)? {
        if record.spec_sha256 == wanted.spec_sha256 {
            return Ok(Ok(record.machine(moment.now_ms)));
        }
        let message = format!("a machine of this name exists: {}", record.id);
        return Ok(Err(CloudError::new(
            Kind::AlreadyExists,
            CREATE,
            &wanted.name,
            message,
        )));
    }
    let conditions = &moment.conditions;
    let missing = missing_image(conditions, &wanted.image)
        .or_else(|| missing_zone(conditions, &wanted.shape.zone));
    if let Some(error) = missing {
        return Ok(Err(CloudError {
            object: wanted.name,
            ..error
        }));
    }
    if let Some(quota) = conditions.quota
        && locked.count()? >= quota
    {
        let message = format!("quota exceeded: {quota} machines at most");
        return Ok(Err(CloudError::new(
            Kind::Quota,
            CREATE,
            &wanted.name,
            message,
        )));
    }
    let id =
        sha256_hex(format!("{} {} {}", wanted.spec_sha256, moment.now_ms, locked.id()?).as_bytes());
    let octets: Vec<u8> = (0..3)
        .map(|at| u8::from_str_radix(&id[at * 2..at * 2 + 2], 16).unwrap_or(0))
        .collect();
    let lag = conditions
        .list_lag_seconds
        .max(moment.seconds_of(Fault::Unlisted));
    let record = Record {
        id: format!("sbx-{}", &id[..16]),
        name: wanted.name,
        mark: wanted.mark,
        image: wanted.image,
        user_data_sha256: wanted.user_data_sha256,
        user_data_bytes: wanted.user_data_bytes,
        zone: wanted.shape.zone,
        size: wanted.shape.size,
        tags: wanted.shape.tags.unwrap_or_default(),
        address: format!("10.{}.{}.{}", octets[0], octets[1], octets[2]),
        attempt: wanted.attempt,
        created_ms: moment.now_ms,
        booted_ms: later(moment.now_ms, wanted.boot.as_secs_f64()),
        boot: match moment.met.map(|met| met.fault) {
            Some(Fault::BootFails) => Boot::Fails,
            Some(Fault::BootHangs) => Boot::Hangs,
            _ => Boot::Runs,
        },
        listed_ms: later(moment.now_ms, lag),
        gone_ms: None,
        stopped: false,
        spec_sha256: wanted.spec_sha256,
    };
    locked.save(&record)?;
    Ok(Ok(record.machine(moment.now_ms)))
}

/// Whether this sandbox boots such an image.
pub(super) fn missing_image(conditions: &Conditions, image: &str) -> Option<CloudError> {
    let known = conditions.images.as_ref()?;
    let words = "no such image here".to_owned();
    (!known.iter().any(|known| known == image)).then(|| missing(words, "image"))
}

/// Whether this sandbox has such a zone.
pub(super) fn missing_zone(conditions: &Conditions, zone: &str) -> Option<CloudError> {
    let known = conditions.zones.as_ref()?;
    let words = format!("no such zone here; there are {}", known.join(", "));
    (!known.iter().any(|known| known == zone)).then(|| missing(words, "sandbox.zone"))
}

fn missing(words: String, attribute: &'static str) -> CloudError {
    CloudError::new(Kind::BadRequest, CREATE, "the group", words).blaming(attribute)
}

/// The word for this call.
pub(super) const CREATE: &str = "Sandbox create";
