# The provider itself plans, which asks no cloud: what it would refuse is refused here.
variables {
  cluster             = "prod"
  resource_group_name = "workers"
  location            = "westeurope"
  subnet_id           = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/prod/subnets/workers"
  content             = "variant: flatcar\nversion: 1.1.0\n"
}

# The release servers are not asked.
override_data {
  target = data.flatcar_image.this
  values = {
    image   = "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5"
    version = "4593.2.5"
  }
}

run "the_defaults_are_three_machines_in_three_zones" {
  command = plan

  assert {
    condition     = flatcar_worker_group.this.replicas == 3 && length(flatcar_worker_group.this.azure.zones) == 3
    error_message = "The group has another size, or other zones."
  }

  assert {
    condition     = flatcar_worker_group.this.azure.priority == "Regular" && !flatcar_worker_group.this.azure.public_ip
    error_message = "The machines are spot machines, or can be reached from outside."
  }

  assert {
    condition     = output.image == "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5" && output.release == "4593.2.5"
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
    zones               = []
    spot                = true
    identity_ids        = ["/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/workers/providers/Microsoft.ManagedIdentity/userAssignedIdentities/workers"]
    ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA core"]
    rolling_update      = { max_surge = "25%" }
    kubernetes          = { node_labels = { pool = "web" } }
  }

  assert {
    condition     = flatcar_worker_group.this.azure.zones == null && flatcar_worker_group.this.azure.priority == "Spot" && flatcar_worker_group.this.azure.eviction_policy == "Delete"
    error_message = "The machines are not spot machines without zones."
  }

  assert {
    condition     = flatcar_worker_group.this.azure.identity.type == "UserAssigned"
    error_message = "The machines have another identity."
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
    image = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/images/providers/Microsoft.Compute/images/flatcar"
  }

  assert {
    condition     = length(data.flatcar_image.this) == 0 && endswith(output.image, "/images/flatcar") && output.release == null
    error_message = "The image is not the one that was given."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    cluster      = "Prod"
    name         = "workers-"
    replicas     = 2.5
    subnet_id    = "workers"
    zones        = ["westeurope-1"]
    architecture = "x86_64"
    channel      = "edge"
    image_update = "always"
  }

  expect_failures = [
    var.cluster, var.name, var.replicas, var.subnet_id, var.zones, var.architecture, var.channel, var.image_update,
  ]
}
