//! Keystone, Nova, Glance and Neutron themselves, over a hypervisor that pretends.

mod addresses;
mod depth;
mod faults;
mod login;
mod server;
mod stage;
mod subject;
mod world;
