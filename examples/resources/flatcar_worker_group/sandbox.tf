# Three machines in a directory: no account, no network.
resource "flatcar_worker_group" "demo" {
  cluster   = "demo"
  name      = "workers"
  replicas  = 3
  image     = "flatcar-stable"
  user_data = provider::flatcar::ignition(file("${path.module}/worker.yaml"))

  sandbox = {
    boot_time = "2s"
    tags      = { owner = "demo" }
  }
}
