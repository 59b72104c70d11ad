# Machines of a cluster: done when their Nodes are Ready, drained before they go.
provider "flatcar" {
  kubernetes = {
    config_path = "~/.kube/config"
  }
}

resource "flatcar_worker_group" "nodes" {
  cluster   = "prod"
  name      = "nodes"
  replicas  = 3
  image     = "flatcar-a"
  user_data = data.flatcar_ignition.worker.rendered

  kubernetes = {
    node_labels = { pool = "web" }
    node_taints = [{ key = "dedicated", value = "web", effect = "NoSchedule" }]

    drain = {
      timeout    = "10m"
      on_timeout = "fail"
    }
  }

  sandbox = {}
}

data "flatcar_ignition" "worker" {
  strict  = true
  content = file("${path.module}/worker.yaml")
}
