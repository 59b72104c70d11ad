//! KubeVirt's own definitions and controller on a real API server (`tests/servers/kubevirt.sh`).

mod depth;
mod faults;
mod stage;
mod subject;
mod world;
