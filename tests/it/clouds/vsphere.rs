//! govmomi's vCenter simulator, with an API in JSON before it (`tests/servers/vsphere.sh`).

mod depth;
mod faults;
mod stage;
mod subject;
mod world;
