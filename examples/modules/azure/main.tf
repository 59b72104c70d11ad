data "flatcar_image" "this" {
  count = var.image == null ? 1 : 0

  platform     = "azure"
  channel      = var.channel
  version      = var.release
  architecture = var.architecture
}

data "flatcar_ignition" "this" {
  content             = var.content
  snippets            = var.snippets
  ssh_authorized_keys = var.ssh_authorized_keys
  platform            = "azure"
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

  azure = {
    resource_group_name                    = var.resource_group_name
    location                               = var.location
    vm_size                                = var.vm_size
    subnet_id                              = var.subnet_id
    network_security_group_id              = var.network_security_group_id
    zones                                  = length(var.zones) == 0 ? null : var.zones
    os_disk                                = { size_gb = var.os_disk_size_gb, storage_account_type = var.storage_account_type }
    identity                               = length(var.identity_ids) == 0 ? null : { type = "UserAssigned", identity_ids = var.identity_ids }
    load_balancer_backend_address_pool_ids = length(var.backend_address_pool_ids) == 0 ? null : var.backend_address_pool_ids
    priority                               = var.spot ? "Spot" : "Regular"
    eviction_policy                        = var.spot ? "Delete" : null
    tags                                   = var.tags
  }
}
