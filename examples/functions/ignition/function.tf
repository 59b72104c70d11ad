# Pure: no provider block, no data source.
output "ignition" {
  value = provider::flatcar::ignition(
    yamlencode({
      variant = "flatcar"
      version = "1.1.0"
      passwd  = { users = [{ name = "core", ssh_authorized_keys = ["ssh-ed25519 AAAA admin"] }] }
    }),
    # Snippets are merged over it; null ones are skipped.
    null,
  )
}
