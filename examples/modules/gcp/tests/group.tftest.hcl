# The provider itself plans, which asks no cloud: what it would refuse is refused here.
variables {
  cluster    = "prod"
  zones      = ["europe-west3-a", "europe-west3-b"]
  subnetwork = "workers"
  content    = "variant: flatcar\nversion: 1.1.0\n"
}

# The release servers are not asked.
override_data {
  target = data.flatcar_image.this
  values = {
    image   = "projects/kinvolk-public/global/images/flatcar-stable-4593-2-5"
    version = "4593.2.5"
  }
}

run "the_defaults_are_three_machines_on_demand_without_external_addresses" {
  command = plan

  assert {
    condition     = flatcar_worker_group.this.replicas == 3
    error_message = "The group has another size."
  }

  assert {
    condition     = flatcar_worker_group.this.gcp.access_config == null && flatcar_worker_group.this.gcp.spot == null && flatcar_worker_group.this.gcp.service_account == null
    error_message = "Something is set that nobody asked for."
  }

  assert {
    condition     = output.image == "projects/kinvolk-public/global/images/flatcar-stable-4593-2-5" && output.release == "4593.2.5"
    error_message = "The image is not the channel's."
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
    spot                = true
    network_tags        = ["workers"]
    service_account     = "workers@my-project.iam.gserviceaccount.com"
    ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA core"]
    rolling_update      = { max_surge = "25%" }
    kubernetes          = { node_labels = { pool = "web" } }
  }

  assert {
    condition     = flatcar_worker_group.this.gcp.spot.instance_termination_action == "DELETE" && contains(flatcar_worker_group.this.gcp.network_tags, "workers")
    error_message = "The machines are no Spot VMs, or have no tag."
  }

  assert {
    condition     = flatcar_worker_group.this.gcp.service_account.email == "workers@my-project.iam.gserviceaccount.com"
    error_message = "The machines have another service account."
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

run "an_image_of_ones_own_needs_no_release_server" {
  command = plan

  variables {
    image = "projects/my-project/global/images/flatcar"
  }

  assert {
    condition     = length(data.flatcar_image.this) == 0 && output.image == "projects/my-project/global/images/flatcar" && output.release == null
    error_message = "The image is not the one that was given."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    cluster      = "Prod"
    name         = "workers-"
    replicas     = 2.5
    zones        = ["europe-west3"]
    channel      = "edge"
    image_update = "always"
  }

  expect_failures = [var.cluster, var.name, var.replicas, var.zones, var.channel, var.image_update]
}
