data "flatcar_image" "gcp" {
  platform = "gcp"
}

resource "google_compute_instance" "worker" {
  name         = "worker"
  machine_type = "e2-small"
  zone         = "europe-west1-b"

  boot_disk {
    initialize_params {
      image = data.flatcar_image.gcp.image
    }
  }

  network_interface {
    network = "default"
  }
}
