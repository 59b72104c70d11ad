# The same as the data source, in no plan and in no state: for configs that hold a token.
variable "join_token" {
  type      = string
  ephemeral = true
}

ephemeral "flatcar_ignition" "worker" {
  content = <<-EOT
    variant: flatcar
    version: 1.1.0
    storage:
      files:
        - path: /etc/join-token
          mode: 0600
          contents:
            inline: ${jsonencode(var.join_token)}
  EOT
}
