variable "name" {
  description = "Name of the network, and the beginning of the names of its parts."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.name))
    error_message = "A name is at most 40 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "region" {
  description = "Region of the subnetwork, such as `europe-west3`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is a name such as europe-west3."
  }
}

variable "cidr" {
  description = "Addresses of the subnetwork."
  type        = string
  default     = "10.0.0.0/20"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.cidr, 0))
    error_message = "It is a CIDR such as 10.0.0.0/20."
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
