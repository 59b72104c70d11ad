data "flatcar_ignition" "worker" {
  content  = file("${path.module}/worker.yaml")
  platform = "openstack"
}

# `image` is a name or an id in Glance; flatcar_image says where the file for it is.
resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = 3
  image     = "flatcar-stable-4593.2.5"
  user_data = data.flatcar_ignition.worker.rendered

  openstack = {
    flavor_name        = "m1.medium"
    networks           = [{ name = "workers" }]
    security_groups    = ["workers"]
    key_pair           = "ops"
    availability_zones = ["zone-a", "zone-b"]
    metadata           = { team = "platform" }

    # Leave it out where nobody outside has to reach the machines.
    floating_ip_pool = "public"
  }
}
