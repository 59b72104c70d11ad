//! A Resource Manager of our own, held to Microsoft's types (`tests/servers/azure.sh`).

mod depth;
mod faults;
mod login;
mod stage;
mod subject;
mod world;
