# The provider itself plans, which asks no cloud: what it would refuse is refused here.
variables {
  cluster     = "prod"
  image       = "flatcar-stable-4593.2.5"
  flavor_name = "m1.medium"
  network_ids = ["3f6c1b5e-7c0f-4b59-9d0c-0f4b8a3d1c2e"]
  content     = "variant: flatcar\nversion: 1.1.0\n"
}

run "the_defaults_are_three_servers_on_the_flavors_disk" {
  command = plan

  assert {
    condition     = flatcar_worker_group.this.replicas == 3
    error_message = "The group has another size."
  }

  assert {
    condition     = flatcar_worker_group.this.openstack.boot_volume == null && flatcar_worker_group.this.openstack.floating_ip_pool == null && flatcar_worker_group.this.openstack.security_groups == null
    error_message = "Something is set that nobody asked for."
  }

  assert {
    condition     = flatcar_worker_group.this.openstack.networks[0].uuid == "3f6c1b5e-7c0f-4b59-9d0c-0f4b8a3d1c2e"
    error_message = "The servers are in another network."
  }

  assert {
    condition     = length(output.slots) == 3
    error_message = "The slots are not known before there are machines."
  }
}

run "what_is_said_reaches_the_group" {
  command = plan

  variables {
    replicas            = 5
    release             = "4593.2.5"
    security_groups     = ["workers"]
    availability_zones  = ["zone-a", "zone-b"]
    boot_volume_size    = 40
    floating_ip_pool    = "public"
    ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA core"]
    rolling_update      = { max_surge = "25%" }
    kubernetes          = { node_labels = { pool = "web" } }
  }

  assert {
    condition     = flatcar_worker_group.this.openstack.boot_volume.size == 40 && flatcar_worker_group.this.openstack.security_groups[0] == "workers"
    error_message = "The servers have no volume, or another security group."
  }

  assert {
    condition     = length(flatcar_worker_group.this.openstack.availability_zones) == 2 && flatcar_worker_group.this.openstack.floating_ip_pool == "public"
    error_message = "The servers are in other zones, or have no floating IP."
  }

  assert {
    condition     = flatcar_worker_group.this.rolling_update.max_surge == "25%" && flatcar_worker_group.this.kubernetes.node_labels.pool == "web"
    error_message = "The group rolls in another way, or its Nodes have no label."
  }

  assert {
    condition     = strcontains(nonsensitive(data.flatcar_ignition.this.rendered), "ssh-ed25519")
    error_message = "The key is not in the user data."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    cluster      = "Prod"
    name         = "workers-"
    replicas     = 2.5
    release      = "current"
    network_ids  = ["workers"]
    image_update = "always"
  }

  expect_failures = [var.cluster, var.name, var.replicas, var.release, var.network_ids, var.image_update]
}
