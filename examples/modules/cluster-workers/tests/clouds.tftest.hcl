# The provider plans on each cloud, which asks none: what it would refuse is refused here.
variables {
  cluster = "prod"
  content = "variant: flatcar\nversion: 1.1.0\n"
}

# The release servers are not asked.
override_data {
  target = data.flatcar_image.this
  values = {
    image   = "an-image"
    version = "4593.2.5"
  }
}

run "on_aws_zones_are_subnets" {
  command = plan

  variables {
    cloud = { aws = { subnets = { "eu-central-1a" = "subnet-0a1b2c3d", "eu-central-1b" = "subnet-1a1b2c3d" }, security_group_ids = ["sg-0a1b2c3d"] } }
    groups = {
      general = { replicas = 3, machine_type = "m7i.large", disk_size_gb = 40, image = "ami-0a1b2c3d" }
      spot    = { replicas = 2, machine_type = "m7g.large", architecture = "arm64", spot = true, zones = ["eu-central-1b"], image = "ami-1a1b2c3d" }
    }
  }

  assert {
    condition     = flatcar_worker_group.this["general"].aws.subnet_ids == tolist(["subnet-0a1b2c3d", "subnet-1a1b2c3d"]) && flatcar_worker_group.this["spot"].aws.subnet_ids == tolist(["subnet-1a1b2c3d"])
    error_message = "A group is in other subnets."
  }

  assert {
    condition     = flatcar_worker_group.this["spot"].aws.spot != null && flatcar_worker_group.this["general"].aws.spot == null
    error_message = "The wrong group is spot."
  }

  assert {
    condition     = flatcar_worker_group.this["general"].aws.root_volume.size == 40 && flatcar_worker_group.this["general"].aws.root_volume.encrypted
    error_message = "The root volume is another one."
  }
}

run "on_azure" {
  command = plan

  variables {
    cloud = { azure = {
      resource_group_name = "workers"
      location            = "westeurope"
      subnet_id           = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/prod/subnets/workers"
    } }
    groups = {
      general = { replicas = 3, machine_type = "Standard_D2s_v5", image = "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5" }
      spot    = { replicas = 2, machine_type = "Standard_D2s_v5", spot = true, zones = ["2"], image = "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5" }
    }
  }

  assert {
    condition     = length(flatcar_worker_group.this["general"].azure.zones) == 3 && flatcar_worker_group.this["spot"].azure.priority == "Spot"
    error_message = "The groups are in other zones, or the wrong one is spot."
  }
}

run "on_gcp" {
  command = plan

  variables {
    cloud = { gcp = { zones = ["europe-west3-a", "europe-west3-b"], subnetwork = "workers", network_tags = ["workers"] } }
    groups = {
      general = { replicas = 3, machine_type = "e2-standard-2", image = "projects/kinvolk-public/global/images/flatcar-stable-4593-2-5" }
      spot    = { replicas = 2, machine_type = "e2-standard-2", spot = true, zones = ["europe-west3-b"], image = "projects/kinvolk-public/global/images/flatcar-stable-4593-2-5" }
    }
  }

  assert {
    condition     = length(flatcar_worker_group.this["general"].gcp.zones) == 2 && flatcar_worker_group.this["spot"].gcp.spot.instance_termination_action == "DELETE"
    error_message = "The groups are in other zones, or the wrong one is spot."
  }
}

run "on_openstack" {
  command = plan

  variables {
    cloud      = { openstack = { network_ids = ["3f6c1b5e-7c0f-4b59-9d0c-0f4b8a3d1c2e"], zones = ["a", "b"], security_groups = ["workers"] } }
    kubernetes = {}
    groups = {
      general = { replicas = 3, machine_type = "m1.medium", image = "flatcar" }
      b       = { replicas = 1, machine_type = "m1.medium", image = "flatcar", zones = ["b"], disk_size_gb = 40, node_labels = { disk = "volume" } }
    }
  }

  assert {
    condition     = length(flatcar_worker_group.this["general"].openstack.availability_zones) == 2 && flatcar_worker_group.this["b"].openstack.boot_volume.size == 40
    error_message = "The groups are in other zones, or have another disk."
  }

  assert {
    condition     = flatcar_worker_group.this["general"].kubernetes.node_labels == tomap({ worker-group = "general" }) && flatcar_worker_group.this["b"].kubernetes.node_labels == tomap({ worker-group = "b", disk = "volume" })
    error_message = "The Nodes have other labels."
  }
}

run "there_is_one_cloud" {
  command = plan

  variables {
    cloud  = {}
    groups = {}
  }

  expect_failures = [var.cloud]
}

run "groups_that_cannot_be_are_refused" {
  command = plan

  variables {
    cloud  = { sandbox = {} }
    groups = { "Batch" = { replicas = 1.5, architecture = "x86_64", zones = [] } }
  }

  expect_failures = [var.groups]
}

run "what_a_cloud_has_not_is_refused" {
  command = plan

  variables {
    cloud  = { openstack = { network_ids = ["3f6c1b5e-7c0f-4b59-9d0c-0f4b8a3d1c2e"], zones = ["a"] } }
    groups = { general = { replicas = 1, spot = true, zones = ["c"] } }
  }

  expect_failures = [flatcar_worker_group.this]
}

run "labels_of_nodes_need_a_cluster" {
  command = plan

  variables {
    cloud  = { sandbox = {} }
    groups = { general = { replicas = 1, image = "flatcar", node_labels = { pool = "web" } } }
  }

  expect_failures = [flatcar_worker_group.this]
}
