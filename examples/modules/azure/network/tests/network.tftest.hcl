# Nothing is asked, no account is needed: what the module makes of its variables.
mock_provider "azurerm" {}

variables {
  name                = "prod"
  resource_group_name = "network"
  location            = "westeurope"
}

run "nothing_from_outside_gets_in_by_itself" {
  command = plan

  assert {
    condition     = length(azurerm_network_security_rule.outside) == 0
    error_message = "Something from outside gets in."
  }

  assert {
    condition     = azurerm_subnet.this.address_prefixes == tolist(["10.0.0.0/20"]) && azurerm_subnet.this.virtual_network_name == "prod"
    error_message = "The subnet is another one."
  }
}

run "the_rules_are_those_that_are_named" {
  command = plan

  variables {
    ingress = {
      ssh       = { from_port = 22, cidrs = ["203.0.113.0/24"], priority = 100 }
      nodeports = { protocol = "udp", from_port = 30000, to_port = 32767, cidrs = ["203.0.113.0/24"], priority = 110 }
    }
  }

  assert {
    condition     = azurerm_network_security_rule.outside["ssh"].destination_port_range == "22-22" && azurerm_network_security_rule.outside["ssh"].protocol == "Tcp"
    error_message = "SSH is let in in another way."
  }

  assert {
    condition     = azurerm_network_security_rule.outside["nodeports"].destination_port_range == "30000-32767" && azurerm_network_security_rule.outside["nodeports"].priority == 110
    error_message = "The node ports are let in in another way."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    name        = "Prod"
    cidr        = "10.0.0.0"
    subnet_cidr = "10.0.0.0"
    ingress     = { ssh = { protocol = "ssh", from_port = 22, cidrs = ["everybody"], priority = 1 } }
  }

  expect_failures = [var.name, var.cidr, var.subnet_cidr, var.ingress]
}
