# Nothing is asked, no account is needed: what the module makes of its variables.
mock_provider "google" {}

variables {
  name   = "prod"
  region = "europe-west3"
}

run "nothing_from_outside_gets_in_by_itself" {
  command = plan

  assert {
    condition     = length(google_compute_firewall.outside) == 0 && google_compute_firewall.inside.source_ranges == toset(["10.0.0.0/20"])
    error_message = "Something from outside gets in."
  }

  assert {
    condition     = google_compute_firewall.inside.target_tags == toset(output.network_tags)
    error_message = "The rules are for other machines."
  }
}

run "the_rules_are_those_that_are_named" {
  command = plan

  variables {
    ingress = {
      ssh       = { from_port = 22, cidrs = ["203.0.113.0/24"] }
      nodeports = { protocol = "udp", from_port = 30000, to_port = 32767, cidrs = ["203.0.113.0/24"] }
    }
  }

  assert {
    condition     = one(google_compute_firewall.outside["ssh"].allow).ports == tolist(["22-22"]) && one(google_compute_firewall.outside["ssh"].allow).protocol == "tcp"
    error_message = "SSH is let in in another way."
  }

  assert {
    condition     = one(google_compute_firewall.outside["nodeports"].allow).ports == tolist(["30000-32767"])
    error_message = "The node ports are let in in another way."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    name    = "Prod"
    region  = "europe-west3-a"
    cidr    = "10.0.0.0"
    ingress = { ssh = { protocol = "ssh", from_port = 22, cidrs = ["everybody"] } }
  }

  expect_failures = [var.name, var.region, var.cidr, var.ingress]
}
