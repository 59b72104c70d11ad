# Workers that join a cluster, and leave it politely: an apply is done when their Nodes are Ready, and a machine goes after its pods have gone.
# `make demo-kubernetes` walks through it against a real API server, with machines on the embedded sandbox cloud.
terraform {
  required_version = ">= 1.11.0" # what holds the token is write-only
  required_providers {
    flatcar = {
      source = "flatcar-iac/flatcar"
    }
  }
}

variable "kubeconfig" {
  description = "Of somebody with the roles that the guide Machines that are Nodes shows."
  default     = "~/.kube/config"
}

variable "image" {
  description = "What the workers boot; on a cloud, data.flatcar_image.stable.image."
  default     = "flatcar-4593.2.4"
}

variable "replicas" {
  description = "How many workers."
  default     = 3
}

provider "flatcar" {
  kubernetes = {
    config_path = var.kubeconfig
  }
  sandbox = {
    directory = ".flatcar-sandbox"
  }
}

# A token that is good while the apply runs, and is taken back at its end.
ephemeral "flatcar_bootstrap_token" "join" {
  description = "Workers of examples/kubernetes"
}

# Rendered with it, in no plan and no state. With `data` in place of `ephemeral`, and `user_data` below, it works with older cores, and the token
# stands in the state.
ephemeral "flatcar_ignition" "worker" {
  kubernetes = {
    version         = "v1.34.2"
    server          = ephemeral.flatcar_bootstrap_token.join.server
    ca_certificate  = ephemeral.flatcar_bootstrap_token.join.ca_certificate
    bootstrap_token = ephemeral.flatcar_bootstrap_token.join.token
    cluster_dns     = ["10.96.0.10"]
    # Left out, it is looked up in the list of Flatcar's sysext bakery.
    sysext = { sha256 = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f" }
  }
}

resource "flatcar_worker_group" "workers" {
  cluster              = "demo"
  name                 = "workers"
  replicas             = var.replicas
  image                = var.image
  user_data_wo         = ephemeral.flatcar_ignition.worker.rendered
  user_data_wo_version = 1 # another number rolls the group

  sandbox = {
    boot_time = "1s"
  }

  kubernetes = {
    node_labels = { pool = "workers" }
    drain       = { timeout = "20s" }
  }

  image_update = "roll"
  rolling_update = {
    max_surge       = "1"
    max_unavailable = "0"
  }
}

output "machines" {
  description = "The machines and their Nodes."
  value       = { for name, machine in flatcar_worker_group.workers.machines : name => "${machine.phase}, Node ${machine.node_name}, booted ${machine.image}" }
}
