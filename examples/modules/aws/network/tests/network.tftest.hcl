# Nothing is asked, no account is needed: what the module makes of its variables.
mock_provider "aws" {}

variables {
  name    = "prod"
  subnets = { "eu-central-1a" = "10.0.0.0/20", "eu-central-1b" = "10.0.16.0/20" }
}

run "nothing_from_outside_gets_in_by_itself" {
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.outside) == 0
    error_message = "Something from outside gets in."
  }

  assert {
    condition     = keys(output.subnets) == ["eu-central-1a", "eu-central-1b"] && output.subnet_ids == [output.subnets["eu-central-1a"], output.subnets["eu-central-1b"]]
    error_message = "There is not one subnet a zone."
  }

  assert {
    condition     = output.security_group_ids == [aws_security_group.this.id]
    error_message = "The security group is another one."
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
    condition     = keys(aws_vpc_security_group_ingress_rule.outside) == ["nodeports 203.0.113.0/24", "ssh 198.51.100.7/32", "ssh 203.0.113.0/24"]
    error_message = "The rules are other ones."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.outside["ssh 198.51.100.7/32"].to_port == 22 && aws_vpc_security_group_ingress_rule.outside["nodeports 203.0.113.0/24"].to_port == 32767
    error_message = "A rule has other ports."
  }
}

run "what_cannot_be_is_refused_by_name" {
  command = plan

  variables {
    name    = "Prod"
    cidr    = "10.0.0.0"
    subnets = {}
    ingress = { ssh = { protocol = "ssh", from_port = 22, cidrs = ["everybody"] } }
  }

  expect_failures = [var.name, var.cidr, var.subnets, var.ingress]
}
