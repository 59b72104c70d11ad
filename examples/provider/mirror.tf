# A mirror in one's own network, with builds signed by a key of one's own.
provider "flatcar" {
  alias = "mirror"
  release_server = {
    url          = "https://flatcar.example.com/{channel}/{arch}-usr"
    signing_keys = <<-EOT
      -----BEGIN PGP PUBLIC KEY BLOCK-----
      ...
      -----END PGP PUBLIC KEY BLOCK-----
    EOT
  }
}
