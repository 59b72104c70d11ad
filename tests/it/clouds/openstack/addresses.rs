//! A group with floating IPs under a real core: what a machine's end leaves behind is used again or
//! given back, however it ended.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::server::{EXTERNAL_NETWORK, FLAVOR, IMAGES, NETWORK};
use super::world::World;
use crate::core::{Core, Workspace};
use crate::harness::wait_until;

const GROUP: &str = "flatcar_worker_group.workers";

#[tokio::test(flavor = "multi_thread")]
async fn a_group_keeps_its_floating_ips_and_gives_them_back_in_the_end() {
    let Some(openstack) = World::find("demo").await else {
        return;
    };
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let cluster = format!("life-{}", std::process::id());
    let workspace = Workspace::new(&core);
    configure(&workspace, &openstack, &cluster, json!(EXTERNAL_NETWORK));

    tokio::task::block_in_place(|| workspace.apply());
    let before = addresses(&openstack, &cluster).await;
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(outside(&workspace), before, "state has them");
    settled(&workspace);

    // Somebody deletes a machine: the one that comes instead has its address.
    vanish(&openstack, &workspace).await;
    tokio::task::block_in_place(|| {
        // One so young might only not be listed yet.
        wait_until("the machine is missed", || {
            (workspace.plan().actions(GROUP) != ["no-op"]).then_some(())
        });
        workspace.apply();
    });
    assert_eq!(addresses(&openstack, &cluster).await, before);
    assert_eq!(outside(&workspace), before);
    settled(&workspace);

    // In place: no machine is replaced, and nothing is left of the pool.
    let machines = ids(&workspace);
    configure(&workspace, &openstack, &cluster, Json::Null);
    tokio::task::block_in_place(|| workspace.apply());
    assert_eq!(ids(&workspace), machines);
    assert!(addresses(&openstack, &cluster).await.is_empty());
    assert!(outside(&workspace).is_empty());
    configure(&workspace, &openstack, &cluster, json!(EXTERNAL_NETWORK));
    tokio::task::block_in_place(|| workspace.apply());
    assert_eq!(ids(&workspace), machines);
    assert_eq!(outside(&workspace), addresses(&openstack, &cluster).await);
    settled(&workspace);

    // What is not there any more when the group goes leaves nothing behind either.
    vanish(&openstack, &workspace).await;
    vanish(&openstack, &workspace).await;
    tokio::task::block_in_place(|| workspace.destroy());
    assert!(addresses(&openstack, &cluster).await.is_empty());
}

fn configure(workspace: &Workspace, openstack: &World, cluster: &str, pool: Json) {
    let configuration = json!({
        "terraform": {"required_providers": {"flatcar": {"source": "flatcar-iac/flatcar"}}},
        "provider": {"flatcar": {"openstack": openstack.server.block()}},
        "resource": {"flatcar_worker_group": {"workers": {
            "cluster": cluster, "name": "workers", "replicas": 2, "image": IMAGES[0],
            "openstack": {"flavor_name": FLAVOR, "networks": [{"name": NETWORK}], "floating_ip_pool": pool},
        }}},
    });
    workspace.write("main.tf.json", &configuration.to_string());
}

/// A plan that finds nothing to do.
fn settled(workspace: &Workspace) {
    let plan = tokio::task::block_in_place(|| workspace.plan());
    assert_eq!(plan.actions(GROUP), ["no-op"], "{}", plan.text);
}

fn machines(workspace: &Workspace) -> Vec<Json> {
    let group = tokio::task::block_in_place(|| workspace.state(GROUP)).expect("is in state");
    let machines = group["machines"].as_object().expect("machines");
    machines.values().cloned().collect()
}

fn ids(workspace: &Workspace) -> BTreeSet<String> {
    let id = |machine: Json| machine["id"].as_str().expect("an id").to_owned();
    machines(workspace).into_iter().map(id).collect()
}

/// The second address of each machine.
fn outside(workspace: &Workspace) -> BTreeSet<String> {
    let second = |machine: Json| machine["addresses"][1].as_str().map(str::to_owned);
    machines(workspace).into_iter().filter_map(second).collect()
}

/// What Neutron has for the group.
async fn addresses(openstack: &World, cluster: &str) -> BTreeSet<String> {
    let mark = format!("flatcar-cluster={cluster} flatcar-group=workers flatcar-uid=");
    let all = openstack.client.get("network", "/v2.0/floatingips").await;
    let all = all["floatingips"].as_array().expect("a list");
    all.iter()
        .filter(|address| {
            let description = address["description"].as_str();
            description.is_some_and(|text| text.starts_with(&mark))
        })
        .filter_map(|address| address["floating_ip_address"].as_str().map(str::to_owned))
        .collect()
}

/// Deletes a server that is still there, behind the provider's back.
async fn vanish(openstack: &World, workspace: &Workspace) {
    for id in ids(workspace) {
        if !is_there(openstack, &id).await {
            continue;
        }
        openstack.remove(&id).await;
        while is_there(openstack, &id).await {
            tokio::task::yield_now().await;
        }
        return;
    }
    panic!("none is left");
}

/// A list shows a server for a moment after it is not found by its id any more; the provider lists.
async fn is_there(openstack: &World, id: &str) -> bool {
    let all = openstack.client.get("compute", "/servers/detail").await;
    let mut all = all["servers"].as_array().expect("a list").iter();
    all.any(|server| server["id"] == id)
}
