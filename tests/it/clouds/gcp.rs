//! Compute Engine as ours is, held to Google's discovery document (`tests/servers/gcp.sh`).

mod depth;
mod faults;
mod login;
mod stage;
mod subject;
mod world;
