# Three machines in a directory: no account, no network.
resource "flatcar_worker_group" "demo" {
  cluster   = "demo"
  name      = "workers"
  replicas  = 3
  image     = data.flatcar_image.stable.image
  user_data = data.flatcar_ignition.worker.rendered

  sandbox = {
    boot_time = "2s"
    tags      = { owner = "demo" }
  }
}
