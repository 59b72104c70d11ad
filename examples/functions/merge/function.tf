output "merged" {
  value = provider::flatcar::merge(
    jsonencode({ ignition = { version = "3.4.0" }, passwd = { users = [{ name = "core" }] } }),
    jsonencode({ ignition = { version = "3.4.0" }, passwd = { users = [{ name = "core", shell = "/bin/bash" }] } }),
  )
}
