data "flatcar_ignition" "worker" {
  content  = file("${path.module}/worker.yaml")
  platform = "kubevirt"
}

data "flatcar_image" "stable" {
  platform = "kubevirt"
}

resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = 3
  image     = data.flatcar_image.stable.url
  user_data = data.flatcar_ignition.worker.rendered

  kubevirt = {
    namespace    = "vms"
    instancetype = { name = "u1.medium" }
    labels       = { team = "platform" }

    data_volume = {
      storage            = "20Gi"
      storage_class_name = "replicated"
      access_modes       = ["ReadWriteMany"]
      checksum           = "sha512:${data.flatcar_image.stable.sha512}"
    }

    topology_spread_constraints = [{ topology_key = "kubernetes.io/hostname" }]
    eviction_strategy           = "LiveMigrate"
  }
}
