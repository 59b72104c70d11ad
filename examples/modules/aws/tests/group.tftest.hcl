# The provider itself plans, which asks no cloud: what it would refuse is refused here.
variables {
  cluster    = "prod"
  subnet_ids = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
  content    = "variant: flatcar\nversion: 1.1.0\n"
}

# The release servers are not asked.
override_data {
  target = data.flatcar_image.this
  values = {
    image   = "ami-0a1b2c3d"
    version = "4593.2.5"
  }
}

run "the_defaults_are_three_encrypted_machines_on_demand" {
  command = plan

  assert {
    condition     = flatcar_worker_group.this.replicas == 3
    error_message = "The group has another size."
  }

  assert {
    condition     = flatcar_worker_group.this.aws.root_volume.encrypted && flatcar_worker_group.this.aws.root_volume.size == 40
    error_message = "The root volume is another one."
  }

  assert {
    condition     = flatcar_worker_group.this.aws.spot == null && flatcar_worker_group.this.aws.vpc_security_group_ids == null
    error_message = "Something is set that nobody asked for."
  }

  assert {
    condition     = output.image == "ami-0a1b2c3d" && output.release == "4593.2.5"
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
    architecture        = "arm64"
    instance_type       = "m7g.large"
    spot                = true
    security_group_ids  = ["sg-0a1b2c3d"]
    ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA core"]
    rolling_update      = { max_surge = "25%" }
    kubernetes          = { node_labels = { pool = "web" }, node_taints = [{ key = "dedicated", value = "web", effect = "NoSchedule" }] }
  }

  assert {
    condition     = data.flatcar_image.this[0].architecture == "arm64"
    error_message = "The image is for another processor."
  }

  assert {
    condition     = flatcar_worker_group.this.aws.spot != null && contains(flatcar_worker_group.this.aws.vpc_security_group_ids, "sg-0a1b2c3d")
    error_message = "The machines are not spot instances in their security group."
  }

  assert {
    condition     = flatcar_worker_group.this.rolling_update.max_surge == "25%" && flatcar_worker_group.this.rolling_update.canary
    error_message = "The group rolls in another way."
  }

  assert {
    condition     = flatcar_worker_group.this.kubernetes.node_labels.pool == "web" && flatcar_worker_group.this.kubernetes.node_taints[0].key == "dedicated"
    error_message = "The Nodes have other labels or taints."
  }

  assert {
    condition     = strcontains(nonsensitive(data.flatcar_ignition.this.rendered), "ssh-ed25519")
    error_message = "The key is not in the user data."
  }
}

run "an_image_of_ones_own_needs_no_release_server" {
  command = plan

  variables {
    image = "ami-1a1b2c3d"
  }

  assert {
    condition     = length(data.flatcar_image.this) == 0 && output.image == "ami-1a1b2c3d" && output.release == null
    error_message = "The image is not the one that was given."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    cluster            = "Prod"
    name               = "workers-"
    replicas           = 2.5
    subnet_ids         = []
    security_group_ids = ["default"]
    architecture       = "x86_64"
    channel            = "edge"
    image_update       = "always"
  }

  expect_failures = [
    var.cluster, var.name, var.replicas, var.subnet_ids, var.security_group_ids, var.architecture, var.channel, var.image_update,
  ]
}
