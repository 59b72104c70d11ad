# Two Nodes are cordoned and empty for as long as this says so.
resource "flatcar_node_drain" "maintenance" {
  nodes   = ["worker-1", "worker-2"]
  drained = true
  timeout = "10m"
}
