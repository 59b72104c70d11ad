terraform {
  required_providers {
    flatcar = { source = "flatcar-iac/flatcar" }
  }
}

variable "replicas" {
  type    = number
  default = 3
}

variable "subnet_ids" {
  type    = list(string)
  default = []
}

variable "sandbox" {
  description = "Set by tests: machines on the sandbox in place of EC2."
  type        = bool
  default     = false
}

data "flatcar_image" "stable" {
  platform = "aws"
  region   = "eu-central-1"
}

data "flatcar_ignition" "worker" {
  content         = file("${path.module}/worker.yaml")
  flatcar_version = data.flatcar_image.stable.version
}

resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = var.replicas
  image     = data.flatcar_image.stable.image
  user_data = data.flatcar_ignition.worker.rendered

  aws     = var.sandbox ? null : { instance_type = "m7i.large", subnet_ids = var.subnet_ids }
  sandbox = var.sandbox ? {} : null
}

output "addresses" {
  value = flatten([for machine in flatcar_worker_group.workers.machines : machine.addresses])
}
