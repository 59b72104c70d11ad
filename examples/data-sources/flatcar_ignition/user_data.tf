# For a resource of another provider: `user_data` is what the platform's API takes, compressed where the config is too large for it.
data "flatcar_ignition" "server" {
  content         = file("${path.module}/server.yaml")
  files_dir       = "${path.module}/files"
  platform        = "hetzner"
  flatcar_version = "4593.2.5"
}

output "server_user_data" {
  value     = data.flatcar_ignition.server.user_data
  sensitive = true
}
