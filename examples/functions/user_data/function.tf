output "user_data" {
  value = provider::flatcar::user_data(jsonencode({ ignition = { version = "3.4.0" } }), "aws")
}
