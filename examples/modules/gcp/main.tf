data "flatcar_image" "this" {
  count = var.image == null ? 1 : 0

  platform = "gcp"
  channel  = var.channel
  version  = var.release
}

data "flatcar_ignition" "this" {
  content             = var.content
  snippets            = var.snippets
  ssh_authorized_keys = var.ssh_authorized_keys
  platform            = "gcp"
  flatcar_version     = one(data.flatcar_image.this[*].version)
}

resource "flatcar_worker_group" "this" {
  cluster             = var.cluster
  name                = var.name
  replicas            = var.replicas
  image               = var.image == null ? one(data.flatcar_image.this[*].image) : var.image
  user_data           = data.flatcar_ignition.this.rendered
  image_update        = var.image_update
  rolling_update      = var.rolling_update
  kubernetes          = var.kubernetes
  deletion_protection = var.deletion_protection

  gcp = {
    zones           = var.zones
    machine_type    = var.machine_type
    subnetwork      = var.subnetwork
    network_tags    = var.network_tags
    boot_disk       = { size_gb = var.boot_disk_size_gb, type = var.boot_disk_type }
    service_account = var.service_account == null ? null : { email = var.service_account, scopes = ["https://www.googleapis.com/auth/cloud-platform"] }
    instance_groups = length(var.instance_groups) == 0 ? null : var.instance_groups
    spot            = var.spot ? { instance_termination_action = "DELETE" } : null
    labels          = var.labels
  }
}
