data "flatcar_ignition" "this" {
  content             = var.content
  snippets            = var.snippets
  ssh_authorized_keys = var.ssh_authorized_keys
  platform            = "openstack"
  flatcar_version     = var.release
}

resource "flatcar_worker_group" "this" {
  cluster             = var.cluster
  name                = var.name
  replicas            = var.replicas
  image               = var.image
  user_data           = data.flatcar_ignition.this.rendered
  image_update        = var.image_update
  rolling_update      = var.rolling_update
  kubernetes          = var.kubernetes
  deletion_protection = var.deletion_protection

  openstack = {
    flavor_name        = var.flavor_name
    networks           = [for id in var.network_ids : { uuid = id }]
    security_groups    = length(var.security_groups) == 0 ? null : var.security_groups
    key_pair           = var.key_pair
    availability_zones = length(var.availability_zones) == 0 ? null : var.availability_zones
    server_group_id    = var.server_group_id
    boot_volume        = var.boot_volume_size == null ? null : { size = var.boot_volume_size }
    floating_ip_pool   = var.floating_ip_pool
    metadata           = var.metadata
  }
}
