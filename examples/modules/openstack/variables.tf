variable "cluster" {
  description = "Name of the cluster that the machines belong to. With `name` it is the group's identity: a change of either makes another group."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.cluster))
    error_message = "A cluster's name is at most 63 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "name" {
  description = "Name of the group, and the beginning of its machines' names."
  type        = string
  default     = "workers"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.name))
    error_message = "A group's name is at most 40 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "replicas" {
  description = "Number of machines. A change of it replaces none."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.replicas >= 0 && floor(var.replicas) == var.replicas
    error_message = "The number of machines is a whole number, zero or more."
  }
}

variable "image" {
  description = "Image of Glance, by name or id. Flatcar publishes none on OpenStack clouds: `flatcar_image` with `platform = \"openstack\"` says where its file is."
  type        = string
  nullable    = false
}

variable "release" {
  description = "Flatcar release of the image, such as `4593.2.5`: the config is then checked against what it reads."
  type        = string
  default     = null

  validation {
    condition     = var.release == null || can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.release))
    error_message = "A release is three numbers with dots, such as 4593.2.5."
  }
}

variable "flavor_name" {
  description = "Name of the flavor."
  type        = string
  nullable    = false
}

variable "network_ids" {
  description = "Networks of the servers by id, one port in each."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.network_ids) > 0 && alltrue([for id in var.network_ids : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "There is at least one network, and each is an id such as 3f6c1b5e-7c0f-4b59-9d0c-0f4b8a3d1c2e."
  }
}

variable "security_groups" {
  description = "Names of security groups; `[]` is the project's default group."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "key_pair" {
  description = "Name of a key pair."
  type        = string
  default     = null
}

variable "availability_zones" {
  description = "Zones that the servers are spread over in turn; `[]` is the cloud's choice."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "server_group_id" {
  description = "Server group of the servers, for affinity or anti-affinity."
  type        = string
  default     = null
}

variable "boot_volume_size" {
  description = "Size in GiB of a volume that each server boots from; null is the flavor's own disk."
  type        = number
  default     = null
}

variable "floating_ip_pool" {
  description = "External network, by name or id, that each server has a floating IP of; null is none."
  type        = string
  default     = null
}

variable "metadata" {
  description = "Metadata of the servers."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "image_update" {
  description = "What another image does to machines that exist: nothing (`new_only`), or it replaces them one by one (`roll`). `pinned` keeps the image of the group's creation for new machines too."
  type        = string
  default     = "new_only"
  nullable    = false

  validation {
    condition     = contains(["new_only", "roll", "pinned"], var.image_update)
    error_message = "image_update is new_only, roll or pinned."
  }
}

variable "content" {
  description = "Butane (`variant: flatcar`) or Ignition JSON that the machines boot with. A change of it replaces them one by one."
  type        = string
  sensitive   = true
  nullable    = false
}

variable "snippets" {
  description = "More documents of either kind, merged over `content` in order."
  type        = list(string)
  default     = []
  sensitive   = true
  nullable    = false
}

variable "ssh_authorized_keys" {
  description = "Public keys of user `core`."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "rolling_update" {
  description = "How machines are replaced, as in the resource: how many more (`max_surge`) and how many fewer (`max_unavailable`) there may be, as a number or a percentage, whether one new machine goes first (`canary`), and how long it has to be up (`min_ready`)."
  type = object({
    max_surge       = optional(string, "1")
    max_unavailable = optional(string, "0")
    canary          = optional(bool, true)
    min_ready       = optional(string, "0s")
  })
  default  = {}
  nullable = false
}

variable "kubernetes" {
  description = "Set where the machines join a Kubernetes cluster (`{}` is enough): they are done when their Nodes are Ready, and drained before they go. The provider's `kubernetes` says how to reach it."
  type = object({
    kubelet_version = optional(string)
    node_labels     = optional(map(string))
    node_taints = optional(list(object({
      key    = string
      value  = optional(string)
      effect = string
    })))
    drain = optional(object({
      timeout    = optional(string, "15m")
      on_timeout = optional(string)
    }), {})
  })
  default = null
}

variable "deletion_protection" {
  description = "Whether the group refuses to be destroyed."
  type        = bool
  default     = false
  nullable    = false
}
