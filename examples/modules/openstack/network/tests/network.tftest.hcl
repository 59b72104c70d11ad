# Nothing is asked, no account is needed: what the module makes of its variables.
mock_provider "openstack" {}

variables {
  name             = "prod"
  external_network = "public"
}

run "nothing_from_outside_gets_in_by_itself" {
  assert {
    condition     = length(openstack_networking_secgroup_rule_v2.outside) == 0
    error_message = "Something from outside gets in."
  }

  assert {
    condition     = output.network_ids == [openstack_networking_network_v2.this.id] && output.security_groups == ["prod-workers"]
    error_message = "The network or the security group is another one."
  }
}

run "each_cidr_is_a_rule" {
  variables {
    ingress = {
      ssh       = { from_port = 22, cidrs = ["203.0.113.0/24", "198.51.100.7/32"] }
      nodeports = { from_port = 30000, to_port = 32767, cidrs = ["203.0.113.0/24"] }
    }
  }

  assert {
    condition     = keys(openstack_networking_secgroup_rule_v2.outside) == ["nodeports 203.0.113.0/24", "ssh 198.51.100.7/32", "ssh 203.0.113.0/24"]
    error_message = "The rules are other ones."
  }

  assert {
    condition     = openstack_networking_secgroup_rule_v2.outside["ssh 198.51.100.7/32"].port_range_max == 22 && openstack_networking_secgroup_rule_v2.outside["nodeports 203.0.113.0/24"].port_range_max == 32767
    error_message = "A rule has other ports."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    name    = "Prod"
    cidr    = "10.0.0.0"
    ingress = { ssh = { protocol = "ssh", from_port = 22, cidrs = ["everybody"] } }
  }

  expect_failures = [var.name, var.cidr, var.ingress]
}
