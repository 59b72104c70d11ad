//! `ephemeral "flatcar_ignition"`: what `data "flatcar_ignition"` is, in no plan and in no state.

use super::data_source::{self, Model};
use crate::provider::{Context, Diagnostics, Ephemeral, Opened, Outcome, Schema};

/// `ephemeral "flatcar_ignition"`.
pub struct FlatcarIgnition;

impl Ephemeral for FlatcarIgnition {
    type Model = Model;
    const NAME: &'static str = "ignition";

    fn schema(&self) -> Schema {
        data_source::schema()
    }
    fn validate(&self, config: Model) -> Diagnostics {
        data_source::validate(&config)
    }
    async fn open(&self, context: &Context, config: Model) -> Outcome<Opened<Model>> {
        let read = data_source::read(context, config).await;
        read.map(|model| Opened {
            model,
            private: Vec::new(),
            renew_at: None,
        })
    }
    async fn close(&self, _context: &Context, _private: Vec<u8>) -> Diagnostics {
        Diagnostics::none()
    }
}
