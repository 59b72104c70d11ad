# One record for each machine of a group, under a name that stays when the machine is replaced. `terraform_data` stands for what a cloud has:
# `aws_route53_record`, `openstack_dns_recordset_v2`, a check of a monitoring system.

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

variable "replicas" {
  type    = number
  default = 3
}

variable "message" {
  type    = string
  default = "first"
}

data "flatcar_ignition" "worker" {
  content = yamlencode({
    variant = "flatcar"
    version = "1.1.0"
    storage = { files = [{ path = "/etc/motd", contents = { inline = var.message } }] }
  })
}

resource "flatcar_worker_group" "workers" {
  name      = "workers"
  cluster   = "prod"
  replicas  = var.replicas
  image     = "flatcar"
  user_data = data.flatcar_ignition.worker.rendered
  sandbox   = {}

  lifecycle {
    # A roll of more than half of the group asks for a look at it first.
    postcondition {
      condition     = length([for step in self.rollout : step if startswith(step, "delete ")]) <= 5
      error_message = "More than five machines would be deleted."
    }
  }
}

# The keys "0", "1", "2" are known before the first machine exists. A slot that no machine holds is null.
resource "terraform_data" "record" {
  for_each = flatcar_worker_group.workers.slots

  input = {
    name    = "worker-${each.key}.example.com"
    address = each.value == null ? null : try(flatcar_worker_group.workers.machines[each.value].addresses[0], null)
  }
}

output "addresses" {
  value = { for slot, name in flatcar_worker_group.workers.slots : slot => try(flatcar_worker_group.workers.machines[name].addresses[0], null) }
}
