data "flatcar_sysext" "tailscale" {
  name    = "tailscale"
  version = "v1.78.1"
  # The one in https://extensions.flatcar.org/extensions/tailscale/SHA256SUMS; left out, it is read from there.
  sha256 = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"
}

data "flatcar_ignition" "worker" {
  content = <<-YAML
    variant: flatcar
    version: 1.1.0
  YAML

  snippets = [data.flatcar_sysext.tailscale.snippet]
}

output "ignition" {
  value     = data.flatcar_ignition.worker.rendered
  sensitive = true
}
