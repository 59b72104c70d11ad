output "network" {
  description = "The network, by its id."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "The machines' subnetwork, by its self link."
  value       = google_compute_subnetwork.this.self_link

  # A machine needs the way out when it boots.
  depends_on = [google_compute_router_nat.this]
}

output "network_tags" {
  description = "The network tags that the firewall rules are for."
  value       = ["${var.name}-workers"]

  depends_on = [google_compute_firewall.inside, google_compute_firewall.outside]
}
