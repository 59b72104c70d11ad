resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  name                     = "${var.name}-workers"
  network                  = google_compute_network.this.id
  region                   = var.region
  ip_cidr_range            = var.cidr
  private_ip_google_access = true
}

# Machines have no external address: this is their way out.
resource "google_compute_router" "this" {
  name    = var.name
  network = google_compute_network.this.id
  region  = var.region
}

resource "google_compute_router_nat" "this" {
  name                               = var.name
  router                             = google_compute_router.this.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}

resource "google_compute_firewall" "inside" {
  name          = "${var.name}-inside"
  network       = google_compute_network.this.id
  source_ranges = [var.cidr]
  target_tags   = ["${var.name}-workers"]

  allow {
    protocol = "all"
  }
}

resource "google_compute_firewall" "outside" {
  for_each = var.ingress

  name          = "${var.name}-${each.key}"
  network       = google_compute_network.this.id
  source_ranges = each.value.cidrs
  target_tags   = ["${var.name}-workers"]

  allow {
    protocol = each.value.protocol
    ports    = ["${each.value.from_port}-${coalesce(each.value.to_port, each.value.from_port)}"]
  }
}
