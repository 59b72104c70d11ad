data "flatcar_releases" "stable" {
  channel      = "stable"
  architecture = "amd64"
}

variable "flatcar_version" {
  description = "Release that the workers boot."
  type        = string
  default     = "4593.2.5"
}

# A policy: the pinned release is one of the newest three.
check "flatcar_version_is_recent" {
  assert {
    condition     = contains(slice(data.flatcar_releases.stable.releases[*].version, 0, 3), var.flatcar_version)
    error_message = "The newest release is ${data.flatcar_releases.stable.releases[0].version}; ${var.flatcar_version} is not among the newest three."
  }
}
