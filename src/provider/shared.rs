//! What the operations of one configuration share: an HTTP cache, an open connection. One value of
//! each type, made at first need.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

/// One lazily made value per type, until the provider is configured anew.
#[derive(Default)]
pub struct Shared {
    cells: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    /// The value of this type; the first caller makes it, others wait for it.
    pub async fn of<T, F>(&self, make: impl FnOnce() -> F) -> Arc<T>
    where
        T: Send + Sync + 'static,
        F: Future<Output = T>,
    {
        let made = self
            .try_of(|| async { Ok::<T, Infallible>(make().await) })
            .await;
        match made {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// The value of this type; one that could not be made is tried again by the next caller.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn try_of<T, F, E>(&self, make: impl FnOnce() -> F) -> Result<Arc<T>, E>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let cell = self.cell::<T>();
        let value = cell
            .get_or_try_init(|| async { make().await.map(Arc::new) })
            .await?;
        Ok(Arc::clone(value))
    }

    fn cell<T: Send + Sync + 'static>(&self) -> Arc<OnceCell<Arc<T>>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(OnceCell::<Arc<T>>::new()));
        // The key is the type of the value: another type cannot stand there.
        Arc::clone(cell).downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_value_of_each_type_is_made_once() {
        let shared = Shared::default();
        let first = shared.of(|| async { 1_u8 }).await;
        let second = shared.of(|| async { 2_u8 }).await;
        let other = shared.of(|| async { 3_u16 }).await;
        assert_eq!((*first, *second, *other), (1, 1, 3));
    }

    #[tokio::test]
    async fn a_value_that_could_not_be_made_is_tried_again() {
        let shared = Shared::default();
        let failed: Result<Arc<u8>, &str> = shared.try_of(|| async { Err("refused") }).await;
        assert_eq!(failed, Err("refused"));
        let made: Result<Arc<u8>, &str> = shared.try_of(|| async { Ok(7) }).await;
        assert_eq!(made, Ok(Arc::new(7)));
    }
}
