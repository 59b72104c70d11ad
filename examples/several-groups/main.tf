# One cluster, several groups: what tells them apart is one map.

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

variable "groups" {
  type = map(object({
    replicas = number
    size     = optional(string, "small")
    motd     = optional(string, "a worker")
  }))
  default = {
    general = { replicas = 3 }
    batch   = { replicas = 2, size = "large", motd = "a worker for what may be interrupted" }
  }
}

# What all have is written once, what one has comes after it.
data "flatcar_ignition" "worker" {
  for_each = var.groups
  content  = file("${path.module}/worker.yaml")
  snippets = [yamlencode({
    variant = "flatcar"
    version = "1.1.0"
    storage = { files = [{ path = "/etc/motd", contents = { inline = each.value.motd } }] }
  })]
}

resource "flatcar_worker_group" "all" {
  for_each = var.groups

  cluster   = "prod"
  name      = each.key
  replicas  = each.value.replicas
  image     = "flatcar-stable-4593.2.5"
  user_data = data.flatcar_ignition.worker[each.key].rendered
  sandbox   = { size = each.value.size }
}

output "machines" {
  value = { for name, group in flatcar_worker_group.all : name => length(group.machines) }
}
