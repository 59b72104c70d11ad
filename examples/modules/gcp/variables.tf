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

variable "zones" {
  description = "Zones that the machines are spread over in turn, such as `europe-west3-a`."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.zones) > 0 && alltrue([for zone in var.zones : can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", zone))])
    error_message = "There is at least one zone, and each is a name such as europe-west3-a."
  }
}

variable "machine_type" {
  description = "Machine type, of amd64: Flatcar publishes no other image for Google."
  type        = string
  default     = "e2-standard-2"
  nullable    = false
}

variable "subnetwork" {
  description = "Subnetwork, by self link, or by the name that it has in the zones' region."
  type        = string
  nullable    = false
}

variable "network_tags" {
  description = "Network tags, by which firewall rules find the machines."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "boot_disk_size_gb" {
  description = "Size of the boot disk in GB; null is the image's."
  type        = number
  default     = 40
}

variable "boot_disk_type" {
  description = "Type of the boot disk, such as `pd-ssd`; null is Google's default."
  type        = string
  default     = "pd-balanced"
}

variable "service_account" {
  description = "E-mail address of the machines' service account; null is none."
  type        = string
  default     = null
}

variable "instance_groups" {
  description = "Unmanaged instance groups, by self link or id, that the machines are entered in when they are ready: those of their own zone."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "spot" {
  description = "Whether the machines are Spot VMs. One that Google takes back is deleted, and replaced by the next apply."
  type        = bool
  default     = false
  nullable    = false
}

variable "labels" {
  description = "Labels of the instances."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "channel" {
  description = "Flatcar's channel: `stable`, `beta`, `alpha`, `lts`, or one stream such as `lts-2024`."
  type        = string
  default     = "stable"
  nullable    = false

  validation {
    condition     = can(regex("^(stable|beta|alpha|lts(-20[0-9]{2})?)$", var.channel))
    error_message = "The channel is stable, beta, alpha, lts, or a stream such as lts-2024."
  }
}

variable "release" {
  description = "Release in the channel: an exact one such as `4593.2.5`, or constraints such as `~> 4593.2`; null is the newest."
  type        = string
  default     = null
}


variable "image" {
  description = "Path of an image, such as `projects/my-project/global/images/flatcar`, in place of the channel's: no release server is asked then."
  type        = string
  default     = null
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
