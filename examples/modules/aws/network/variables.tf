variable "name" {
  description = "Name of the network, and the beginning of the names of its parts."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.name))
    error_message = "A name is at most 40 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "cidr" {
  description = "Addresses of the VPC."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.cidr, 0))
    error_message = "It is a CIDR such as 10.0.0.0/16."
  }
}

variable "subnets" {
  description = "Addresses of the subnets by their zone, such as `{ \"eu-central-1a\" = \"10.0.0.0/20\" }`. A zone that comes or goes touches no other."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.subnets) > 0 && alltrue([for cidr in values(var.subnets) : can(cidrhost(cidr, 0))])
    error_message = "There is at least one subnet, and each has a CIDR such as 10.0.0.0/20."
  }
}

variable "ingress" {
  description = "What may reach the machines from outside, by a name of the rule: protocol, ports and CIDRs. `{}` is nothing."
  type = map(object({
    protocol  = optional(string, "tcp")
    from_port = number
    to_port   = optional(number)
    cidrs     = list(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for rule in var.ingress : contains(["tcp", "udp"], rule.protocol)])
    error_message = "The protocol of a rule is tcp or udp."
  }

  validation {
    condition     = alltrue(flatten([for rule in var.ingress : [for cidr in rule.cidrs : can(cidrhost(cidr, 0))]]))
    error_message = "Each CIDR is such as 203.0.113.0/24."
  }
}

variable "tags" {
  description = "Tags of all that is made."
  type        = map(string)
  default     = {}
  nullable    = false
}
