data "flatcar_ignition" "worker" {
  content  = file("${path.module}/worker.yaml")
  platform = "gcp"
}

data "flatcar_image" "stable" {
  platform = "gcp"
}

resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = 3
  image     = data.flatcar_image.stable.image
  user_data = data.flatcar_ignition.worker.rendered

  gcp = {
    zones        = ["europe-west3-a", "europe-west3-b", "europe-west3-c"]
    machine_type = "e2-standard-4"
    subnetwork   = "workers"
    network_tags = ["workers"]
    boot_disk    = { size_gb = 40, type = "pd-balanced" }
    labels       = { team = "platform" }

    service_account = {
      email = "workers@my-project.iam.gserviceaccount.com"
    }
  }
}
