# Machines that something else made are emptied before they go: what is destroyed first is what depends on others.
resource "terraform_data" "machines" {
  input = "whatever runs the Nodes"
}

resource "flatcar_node_drain" "ubuntu" {
  selector   = "os=ubuntu"
  depends_on = [terraform_data.machines]
}
