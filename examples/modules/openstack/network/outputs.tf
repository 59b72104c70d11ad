output "network_ids" {
  description = "The network of the machines, as a list."
  value       = [openstack_networking_network_v2.this.id]

  # A machine needs its subnet, and the way out when it boots.
  depends_on = [openstack_networking_router_interface_v2.this]
}

output "security_groups" {
  description = "The name of the machines' security group, as a list."
  value       = [openstack_networking_secgroup_v2.this.name]

  depends_on = [openstack_networking_secgroup_rule_v2.inside, openstack_networking_secgroup_rule_v2.outside]
}

output "router_id" {
  description = "The router to the external network."
  value       = openstack_networking_router_v2.this.id
}
