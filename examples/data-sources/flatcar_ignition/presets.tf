# Presets are the lowest layer: what `content` says wins.
data "flatcar_ignition" "behind_a_proxy" {
  updates = {
    reboot_strategy = "reboot"
    reboot_window   = { start = "Thu 04:00", length = "1h" }
    channel         = "stable"
  }

  proxy = {
    http_proxy  = "http://proxy.example.com:3128"
    https_proxy = "http://proxy.example.com:3128"
    no_proxy    = ["localhost", "127.0.0.1", "10.0.0.0/8", ".example.com"]
  }
}
