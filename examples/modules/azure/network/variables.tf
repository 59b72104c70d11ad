variable "name" {
  description = "Name of the network, and the beginning of the names of its parts."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.name))
    error_message = "A name is at most 40 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "resource_group_name" {
  description = "Resource group of the network. It exists already."
  type        = string
  nullable    = false
}

variable "location" {
  description = "Region, such as `westeurope`."
  type        = string
  nullable    = false
}

variable "cidr" {
  description = "Addresses of the virtual network."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.cidr, 0))
    error_message = "It is a CIDR such as 10.0.0.0/16."
  }
}

variable "subnet_cidr" {
  description = "Addresses of the machines' subnet, part of the network's."
  type        = string
  default     = "10.0.0.0/20"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.subnet_cidr, 0))
    error_message = "It is a CIDR such as 10.0.0.0/20."
  }
}

variable "ingress" {
  description = "What may reach the machines from outside, by a name of the rule: protocol, ports and CIDRs, and the priority that Azure wants of each, from 100 to 4096. `{}` is nothing."
  type = map(object({
    protocol  = optional(string, "tcp")
    from_port = number
    to_port   = optional(number)
    cidrs     = list(string)
    priority  = number
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

  validation {
    condition     = length(distinct([for rule in var.ingress : rule.priority])) == length(var.ingress) && alltrue([for rule in var.ingress : rule.priority >= 100 && rule.priority <= 4096])
    error_message = "Each rule has a priority of its own, from 100 to 4096."
  }
}

variable "tags" {
  description = "Tags of all that is made."
  type        = map(string)
  default     = {}
  nullable    = false
}
