# A group of Flatcar workers on the embedded sandbox cloud: no account, no network.
# `make demo` walks through it; by hand: `make install`, then `terraform apply` in this folder.
terraform {
  required_version = ">= 1.8.0"
  required_providers {
    flatcar = {
      source = "flatcar-iac/flatcar"
    }
  }
}

variable "message" {
  description = "Shown at login on every worker."
  default     = "Welcome to the first generation."
}

variable "replicas" {
  description = "How many workers."
  default     = 3
}

provider "flatcar" {
  # A small mirror, signed by a key made for this demonstration: the signature is really checked. Leave this out to use Flatcar's own.
  release_server = {
    url          = "file://${abspath(path.module)}/release/{channel}/{arch}"
    feed_url     = "file://${abspath(path.module)}/release"
    signing_keys = file("${path.module}/release/demo-key.asc")
  }
  sandbox = {
    directory = ".flatcar-sandbox"
  }
}

data "flatcar_image" "stable" {
  platform = "openstack"
  channel  = "stable"
  version  = "4593.2.5" # the one that the small mirror has; left out, it is the channel's current one
}

data "flatcar_ignition" "worker" {
  content         = templatefile("${path.module}/worker.yaml", { message = var.message })
  strict          = true
  flatcar_version = data.flatcar_image.stable.version
}

resource "flatcar_worker_group" "workers" {
  cluster   = "demo"
  name      = "workers"
  replicas  = var.replicas
  image     = data.flatcar_image.stable.image
  user_data = data.flatcar_ignition.worker.rendered

  sandbox = {
    boot_time = "1s"
  }

  rolling_update = {
    max_surge       = "1"
    max_unavailable = "0"
  }
}

output "flatcar" {
  description = "The release that the workers boot, and the key that signed it."
  value       = "${data.flatcar_image.stable.version}, signed by ${data.flatcar_image.stable.verified_by}"
}

output "machines" {
  description = "The machines: how and where they are, and what they booted."
  value       = { for name, machine in flatcar_worker_group.workers.machines : name => "${machine.phase} at ${join(" ", machine.addresses)}, booted ${basename(machine.image)}" }
}
