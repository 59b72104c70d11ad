locals {
  platform = one([for name, settings in var.cloud : name if settings != null])

  # One lookup for all groups that want the same image.
  lookups = {
    for name, group in var.groups : name => join("-", compact([group.channel, group.architecture, group.release]))
    if group.image == null
  }
  images = {
    for lookup in distinct(values(local.lookups)) : lookup => one(distinct([
      for name, group in var.groups : {
        channel      = group.channel
        architecture = group.architecture
        release      = group.release
      } if lookup(local.lookups, name, null) == lookup
    ]))
  }

  # A zone is where a subnet is on AWS, and a name elsewhere.
  all_zones = {
    aws       = try(keys(var.cloud.aws.subnets), [])
    azure     = try(var.cloud.azure.zones, [])
    gcp       = try(var.cloud.gcp.zones, [])
    openstack = try(var.cloud.openstack.zones, [])
    sandbox   = try(var.cloud.sandbox.zones, [])
  }[local.platform]
  zones = { for name, group in var.groups : name => group.zones == null ? local.all_zones : group.zones }
}

data "flatcar_image" "this" {
  for_each = local.images

  platform     = local.platform
  region       = local.platform == "aws" ? var.cloud.aws.region : null
  channel      = each.value.channel
  version      = each.value.release
  architecture = each.value.architecture
}

data "flatcar_ignition" "this" {
  for_each = var.groups

  content             = var.content
  snippets            = each.value.snippets
  ssh_authorized_keys = var.ssh_authorized_keys
  platform            = local.platform
  flatcar_version     = each.value.image == null ? data.flatcar_image.this[local.lookups[each.key]].version : null
}

resource "flatcar_worker_group" "this" {
  for_each = var.groups

  cluster        = var.cluster
  name           = each.key
  replicas       = each.value.replicas
  image          = each.value.image == null ? data.flatcar_image.this[local.lookups[each.key]].image : each.value.image
  user_data      = data.flatcar_ignition.this[each.key].rendered
  image_update   = each.value.image_update
  rolling_update = each.value.rolling_update

  kubernetes = var.kubernetes == null ? null : {
    kubelet_version = var.kubernetes.kubelet_version
    node_labels     = merge({ (var.kubernetes.group_label) = each.key }, each.value.node_labels)
    node_taints     = each.value.node_taints
    drain           = var.kubernetes.drain
  }

  aws = local.platform != "aws" ? null : {
    instance_type          = each.value.machine_type
    subnet_ids             = [for zone in local.zones[each.key] : lookup(var.cloud.aws.subnets, zone, "")]
    vpc_security_group_ids = var.cloud.aws.security_group_ids
    iam_instance_profile   = var.cloud.aws.iam_instance_profile
    root_volume            = { size = each.value.disk_size_gb }
    spot                   = each.value.spot ? {} : null
    tags                   = var.cloud.aws.tags
  }

  azure = local.platform != "azure" ? null : {
    resource_group_name       = var.cloud.azure.resource_group_name
    location                  = var.cloud.azure.location
    vm_size                   = each.value.machine_type
    subnet_id                 = var.cloud.azure.subnet_id
    network_security_group_id = var.cloud.azure.network_security_group_id
    zones                     = length(local.zones[each.key]) == 0 ? null : local.zones[each.key]
    os_disk                   = { size_gb = each.value.disk_size_gb }
    priority                  = each.value.spot ? "Spot" : "Regular"
    eviction_policy           = each.value.spot ? "Delete" : null
    tags                      = var.cloud.azure.tags
  }

  gcp = local.platform != "gcp" ? null : {
    zones           = local.zones[each.key]
    machine_type    = each.value.machine_type
    subnetwork      = var.cloud.gcp.subnetwork
    network_tags    = var.cloud.gcp.network_tags
    service_account = var.cloud.gcp.service_account == null ? null : { email = var.cloud.gcp.service_account, scopes = ["https://www.googleapis.com/auth/cloud-platform"] }
    boot_disk       = { size_gb = each.value.disk_size_gb }
    spot            = each.value.spot ? { instance_termination_action = "DELETE" } : null
    labels          = var.cloud.gcp.labels
  }

  openstack = local.platform != "openstack" ? null : {
    flavor_name        = each.value.machine_type
    networks           = [for id in var.cloud.openstack.network_ids : { uuid = id }]
    availability_zones = length(local.zones[each.key]) == 0 ? null : local.zones[each.key]
    security_groups    = var.cloud.openstack.security_groups
    key_pair           = var.cloud.openstack.key_pair
    floating_ip_pool   = var.cloud.openstack.floating_ip_pool
    boot_volume        = each.value.disk_size_gb == null ? null : { size = each.value.disk_size_gb }
    metadata           = var.cloud.openstack.metadata
  }

  sandbox = local.platform != "sandbox" ? null : {
    size      = each.value.machine_type
    zone      = local.zones[each.key][0]
    boot_time = var.cloud.sandbox.boot_time
    tags      = var.cloud.sandbox.tags
  }

  lifecycle {
    precondition {
      condition     = local.platform == "sandbox" || each.value.machine_type != null
      error_message = "Group ${each.key} has no machine_type, which ${local.platform} needs."
    }

    precondition {
      condition     = length(setsubtract(local.zones[each.key], local.all_zones)) == 0
      error_message = "Group ${each.key} is in zones that the cloud has not: ${join(", ", setsubtract(local.zones[each.key], local.all_zones))}. Known are ${join(", ", local.all_zones)}."
    }

    precondition {
      condition     = local.platform != "openstack" || !each.value.spot
      error_message = "Group ${each.key} is spot, which OpenStack does not have."
    }

    precondition {
      condition     = local.platform != "openstack" || each.value.image != null
      error_message = "Group ${each.key} has no image: on OpenStack it is a name or an id of Glance."
    }

    precondition {
      condition     = var.kubernetes != null || (each.value.node_labels == null && each.value.node_taints == null)
      error_message = "Group ${each.key} has node_labels or node_taints, which need kubernetes to be set."
    }

    precondition {
      condition     = local.platform != "sandbox" || length(local.zones[each.key]) == 1
      error_message = "Group ${each.key} is in more than one zone, and a group on the sandbox is in one."
    }
  }
}
