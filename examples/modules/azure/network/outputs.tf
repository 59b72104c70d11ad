output "virtual_network_id" {
  description = "The virtual network."
  value       = azurerm_virtual_network.this.id
}

output "subnet_id" {
  description = "The machines' subnet."
  value       = azurerm_subnet.this.id

  # A machine needs the way out when it boots, and the rules before it can be reached.
  depends_on = [
    azurerm_nat_gateway_public_ip_association.this,
    azurerm_subnet_nat_gateway_association.this,
    azurerm_subnet_network_security_group_association.this,
    azurerm_network_security_rule.outside,
  ]
}

output "network_security_group_id" {
  description = "The network security group, which is the subnet's: machines need none of their own."
  value       = azurerm_network_security_group.this.id
}

output "outbound_address" {
  description = "The address that the machines' connections come from."
  value       = azurerm_public_ip.out.ip_address
}
