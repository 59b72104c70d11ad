# A release of Flatcar goes to one machine first, then to the others.

terraform {
  required_providers {
    flatcar = {
      source = "flatcar-iac/flatcar"
    }
  }
}

provider "flatcar" {
  sandbox = {
    directory = ".flatcar-sandbox"
  }
}

variable "next" {
  description = "The image that is tried."
  type        = string
  default     = "flatcar-stable-4593.2.5"
}

variable "proved" {
  description = "The image that the canaries have run for long enough. Write the value of `next` here when they have."
  type        = string
  default     = "flatcar-stable-4593.2.4"
}

locals {
  groups = {
    canary  = { replicas = 1, image = var.next }
    workers = { replicas = 3, image = var.proved }
  }
}

# A machine is what its image says, so it does not update itself.
data "flatcar_ignition" "worker" {
  updates = { automatic = false }
  content = file("${path.module}/worker.yaml")
}

resource "flatcar_worker_group" "all" {
  for_each = local.groups

  cluster      = "prod"
  name         = each.key
  replicas     = each.value.replicas
  image        = each.value.image
  image_update = "roll"
  user_data    = data.flatcar_ignition.worker.rendered
  sandbox      = {}

  # Each new machine serves for a while before the next old one goes, and the first failure ends the roll.
  rolling_update = {
    canary       = true
    min_ready    = "0s" # minutes, where machines are real
    max_failures = 0
  }
}

output "images" {
  value = { for name, group in flatcar_worker_group.all : name => group.image }
}
