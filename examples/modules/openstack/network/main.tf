locals {
  # A rule of a security group has one CIDR.
  ingress = merge([
    for name, rule in var.ingress : { for cidr in rule.cidrs : "${name} ${cidr}" => merge(rule, { cidr = cidr, name = name }) }
  ]...)
}

data "openstack_networking_network_v2" "external" {
  name     = var.external_network
  external = true
}

resource "openstack_networking_network_v2" "this" {
  name = var.name
}

resource "openstack_networking_subnet_v2" "this" {
  name            = var.name
  network_id      = openstack_networking_network_v2.this.id
  cidr            = var.cidr
  ip_version      = 4
  dns_nameservers = var.dns_nameservers
}

resource "openstack_networking_router_v2" "this" {
  name                = var.name
  external_network_id = data.openstack_networking_network_v2.external.id
}

resource "openstack_networking_router_interface_v2" "this" {
  router_id = openstack_networking_router_v2.this.id
  subnet_id = openstack_networking_subnet_v2.this.id
}

# A new group lets all out by rules of Neutron's own.
resource "openstack_networking_secgroup_v2" "this" {
  name        = "${var.name}-workers"
  description = "Flatcar workers of ${var.name}"
}

resource "openstack_networking_secgroup_rule_v2" "inside" {
  security_group_id = openstack_networking_secgroup_v2.this.id
  remote_group_id   = openstack_networking_secgroup_v2.this.id
  direction         = "ingress"
  ethertype         = "IPv4"
  description       = "All between the machines"
}

resource "openstack_networking_secgroup_rule_v2" "outside" {
  for_each = local.ingress

  security_group_id = openstack_networking_secgroup_v2.this.id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = each.value.protocol
  port_range_min    = each.value.from_port
  port_range_max    = coalesce(each.value.to_port, each.value.from_port)
  remote_ip_prefix  = each.value.cidr
  description       = each.value.name
}
