# A worker that joins a Kubernetes cluster. Everything that it fetches is checked by a hash.
data "flatcar_ignition" "kubernetes" {
  kubernetes = {
    version         = "v1.34.2"
    server          = "https://api.example.com:6443"
    ca_certificate  = file("${path.module}/files/cluster-ca.crt")
    bootstrap_token = "abcdef.0123456789abcdef"
    sysext          = { sha256 = "5f4dcc3b5aa765d61d8327deb882cf99f4dcc3b5aa765d61d8327deb882cf990" }
    node_labels     = { "example.com/pool" = "web" }
    registry_mirrors = {
      "docker.io" = ["https://mirror.example.com"]
    }
  }
}
