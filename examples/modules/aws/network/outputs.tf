output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "subnets" {
  description = "Subnets by their zone: what `cluster-workers` takes."
  value       = { for zone, subnet in aws_subnet.this : zone => subnet.id }

  # A machine needs the way out when it boots.
  depends_on = [aws_route.out, aws_route_table_association.this]
}

output "subnet_ids" {
  description = "Subnets in the order of their zones' names: what `aws` takes."
  value       = [for zone in sort(keys(var.subnets)) : aws_subnet.this[zone].id]

  depends_on = [aws_route.out, aws_route_table_association.this]
}

output "security_group_ids" {
  description = "The security group of the machines, as a list."
  value       = [aws_security_group.this.id]

  depends_on = [aws_vpc_security_group_ingress_rule.inside, aws_vpc_security_group_ingress_rule.outside, aws_vpc_security_group_egress_rule.out]
}
