//! Worker groups whose machines are Nodes of a real cluster: the API server, controllers and
//! scheduler are Kubernetes' own (`tests/servers/kube.sh`), kubelets are played by kwok.
//! Kubernetes' own kubelet and kubeadm join with what the preset writes.

mod demo;
mod faults;
mod guide;
mod joining;
mod kubelets;
mod life;
mod node_drain;
mod nodes;
mod server;
mod stage;
mod token;
mod world;
