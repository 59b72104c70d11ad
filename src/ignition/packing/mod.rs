//! Bytes into what is sent: contents as data URLs, compressed where that is shorter, and a config
//! as a platform's user data.

pub(super) mod data_url;
pub(super) mod deflate;
pub mod user_data;
