//! Files kept for the life of the process: one fetch per URL, even for a hundred askers at once; an
//! old one is validated by its ETag.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Client, Error, File};

/// So long a file is taken as it is, and so is its absence: all of one plan sees one state of the
/// world.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);

/// So long any other failure stands: a server that is down is asked once, not once per data source.
const DOWN_FOR: Duration = Duration::from_secs(60);

/// A client with a memory.
#[derive(Debug)]
pub struct Cache {
    client: Client,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Debug, Default)]
struct Slot {
    file: Option<(Arc<File>, Instant)>,
    failure: Option<(Error, Instant)>,
}

impl Cache {
    /// Empty.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            slots: Mutex::default(),
        }
    }

    /// The file of a URL. The same version of it is the same allocation, so callers may keep by
    /// `Arc::ptr_eq` what they parsed.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get(&self, url: &str, max_bytes: usize) -> Result<Arc<File>, Error> {
        let slot = {
            // A panic under this lock leaves a map that is still whole.
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(url.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some((file, at)) = &slot.file
            && at.elapsed() < FRESH_FOR
        {
            return Ok(file.clone());
        }
        if let Some((error, at)) = &slot.failure {
            let stands_for = match error.is_not_found() {
                true => FRESH_FOR,
                false => DOWN_FOR,
            };
            if at.elapsed() < stands_for {
                return Err(error.clone());
            }
        }
        let etag = slot.file.as_ref().and_then(|(file, _)| file.etag.clone());
        match self.client.get(url, etag.as_deref(), max_bytes).await {
            Ok(answer) => {
                let file = match (answer, slot.file.take()) {
                    (Answer::File(file), _) => Arc::new(file),
                    (Answer::NotModified, Some((file, _))) => file,
                    // Asked without an ETag, so there is no such answer; an empty file fails every
                    // check above.
                    (Answer::NotModified, None) => Arc::new(File {
                        body: Vec::new(),
                        etag: None,
                    }),
                };
                *slot = Slot {
                    file: Some((file.clone(), Instant::now())),
                    failure: None,
                };
                Ok(file)
            }
            Err(error) => {
                slot.failure = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Settings;

    #[tokio::test(start_paused = true)]
    async fn a_file_is_fetched_once_and_validated_when_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("version.txt");
        std::fs::write(&path, "one").unwrap();
        let url = format!("file://{}", path.display());
        let cache = Cache::new(Client::new(Settings::default()));
        let first = cache.get(&url, 100).await.unwrap();
        std::fs::write(&path, "other").unwrap();
        let second = cache.get(&url, 100).await.unwrap();
        assert!(
            Arc::ptr_eq(&first, &second),
            "not fetched again while fresh"
        );
        tokio::time::advance(FRESH_FOR).await;
        let third = cache.get(&url, 100).await.unwrap();
        assert_eq!(third.body, b"other");
        tokio::time::advance(FRESH_FOR).await;
        let fourth = cache.get(&url, 100).await.unwrap();
        assert!(
            Arc::ptr_eq(&third, &fourth),
            "unchanged, so the same allocation"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn absence_stands_as_long_as_a_file_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("late");
        let url = format!("file://{}", path.display());
        let cache = Cache::new(Client::new(Settings::default()));
        assert!(cache.get(&url, 100).await.unwrap_err().is_not_found());
        std::fs::write(&path, "here").unwrap();
        assert!(cache.get(&url, 100).await.unwrap_err().is_not_found());
        tokio::time::advance(FRESH_FOR).await;
        assert_eq!(cache.get(&url, 100).await.unwrap().body, b"here");
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_failure_is_tried_again_after_a_minute() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        std::fs::write(&path, "longer than allowed").unwrap();
        let url = format!("file://{}", path.display());
        let cache = Cache::new(Client::new(Settings::default()));
        assert!(cache.get(&url, 5).await.is_err());
        std::fs::write(&path, "short").unwrap();
        assert!(cache.get(&url, 5).await.is_err());
        tokio::time::advance(DOWN_FOR).await;
        assert_eq!(cache.get(&url, 5).await.unwrap().body, b"short");
    }
}
