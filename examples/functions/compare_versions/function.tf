output "is_older" {
  value = provider::flatcar::compare_versions("4459.2.4", "4593.2.5") < 0
}
