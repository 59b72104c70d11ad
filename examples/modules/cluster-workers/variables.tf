variable "cluster" {
  description = "Name of the cluster that all groups belong to. A change of it makes other groups."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.cluster))
    error_message = "A cluster's name is at most 63 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "groups" {
  description = <<-EOT
    The groups by name. The name is the key of everything that is made, so that a group that is added or taken out touches no other.
    - `replicas`: number of machines.
    - `machine_type`: instance type, size, machine type or flavor, as the cloud calls it. On the sandbox any word.
    - `architecture`: `amd64` or `arm64`; `machine_type` has to be of the same.
    - `channel`, `release`: which Flatcar; without `release` the newest of the channel. `image` names another image in their place, and is needed on OpenStack.
    - `zones`: some of the cloud's zones; without it all of them.
    - `spot`: whether the cloud may take the machines back at any time, for a lower price.
    - `disk_size_gb`: size of the disk that the system is on; without it the image's (on OpenStack the flavor's own disk).
    - `snippets`: Butane or Ignition JSON merged over what all groups have. Nothing secret belongs here.
    - `node_labels`, `node_taints`: of the Nodes, where `kubernetes` is set.
    - `image_update`: what another image does to machines that exist: nothing (`new_only`), or it replaces them (`roll`).
    - `rolling_update`: how many machines more and fewer there may be while some are replaced.
  EOT
  type = map(object({
    replicas     = number
    machine_type = optional(string)
    architecture = optional(string, "amd64")
    channel      = optional(string, "stable")
    release      = optional(string)
    image        = optional(string)
    zones        = optional(list(string))
    spot         = optional(bool, false)
    disk_size_gb = optional(number)
    snippets     = optional(list(string), [])
    node_labels  = optional(map(string))
    node_taints = optional(list(object({
      key    = string
      value  = optional(string)
      effect = string
    })))
    image_update = optional(string, "new_only")
    rolling_update = optional(object({
      max_surge       = optional(string, "1")
      max_unavailable = optional(string, "0")
      canary          = optional(bool, true)
      min_ready       = optional(string, "0s")
    }), {})
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.groups) : can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", name))])
    error_message = "A group's name is at most 40 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }

  validation {
    condition     = alltrue([for group in var.groups : group.replicas >= 0 && floor(group.replicas) == group.replicas])
    error_message = "The number of machines of a group is a whole number, zero or more."
  }

  validation {
    condition     = alltrue([for group in var.groups : contains(["amd64", "arm64"], group.architecture)])
    error_message = "The architecture of a group is amd64 or arm64."
  }

  validation {
    condition     = alltrue([for group in var.groups : group.zones == null ? true : length(group.zones) > 0])
    error_message = "A group that names zones names at least one."
  }
}

variable "cloud" {
  description = <<-EOT
    The cloud that all groups are on, with what they share there: exactly one of
    - `aws`: `subnets` by the name of their zone, security groups, instance profile, tags; `region` where it is not the provider's.
    - `azure`: resource group, region, subnet, `zones`, network security group, tags.
    - `gcp`: `zones`, subnetwork, network tags, e-mail address of the service account, labels.
    - `openstack`: networks by id, `zones`, names of security groups, key pair, floating IP pool, metadata.
    - `sandbox`: records in a directory, for tests and demonstrations; `{}` is enough.
  EOT
  type = object({
    aws = optional(object({
      region               = optional(string)
      subnets              = map(string)
      security_group_ids   = optional(list(string))
      iam_instance_profile = optional(string)
      tags                 = optional(map(string))
    }))
    azure = optional(object({
      resource_group_name       = string
      location                  = string
      subnet_id                 = string
      zones                     = optional(list(string), ["1", "2", "3"])
      network_security_group_id = optional(string)
      tags                      = optional(map(string))
    }))
    gcp = optional(object({
      zones           = list(string)
      subnetwork      = string
      network_tags    = optional(list(string))
      service_account = optional(string)
      labels          = optional(map(string))
    }))
    openstack = optional(object({
      network_ids      = list(string)
      zones            = optional(list(string), [])
      security_groups  = optional(list(string))
      key_pair         = optional(string)
      floating_ip_pool = optional(string)
      metadata         = optional(map(string))
    }))
    sandbox = optional(object({
      zones     = optional(list(string), ["sandbox-a"])
      boot_time = optional(string)
      tags      = optional(map(string))
    }))
  })
  nullable = false

  validation {
    condition     = length([for settings in values(var.cloud) : true if settings != null]) == 1
    error_message = "Exactly one of aws, azure, gcp, openstack and sandbox is set."
  }
}

variable "content" {
  description = "Butane (`variant: flatcar`) or Ignition JSON that all machines boot with. A change of it replaces them one by one in each group."
  type        = string
  sensitive   = true
  nullable    = false
}

variable "ssh_authorized_keys" {
  description = "Public keys of user `core` on all machines."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "kubernetes" {
  description = "Set where the machines join a Kubernetes cluster (`{}` is enough): they are done when their Nodes are Ready, and drained before they go. Each Node is then labelled with its group's name under `group_label`."
  type = object({
    kubelet_version = optional(string)
    group_label     = optional(string, "worker-group")
    drain = optional(object({
      timeout    = optional(string, "15m")
      on_timeout = optional(string)
    }), {})
  })
  default = null
}
