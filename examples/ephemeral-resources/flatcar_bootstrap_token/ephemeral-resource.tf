# Machines of the group join with it while the apply runs; at its end it is taken back.
ephemeral "flatcar_bootstrap_token" "join" {
  description = "Workers of prod"
}

ephemeral "flatcar_ignition" "worker" {
  kubernetes = {
    version         = "v1.34.2"
    server          = ephemeral.flatcar_bootstrap_token.join.server
    ca_certificate  = ephemeral.flatcar_bootstrap_token.join.ca_certificate
    bootstrap_token = ephemeral.flatcar_bootstrap_token.join.token
  }
}

resource "flatcar_worker_group" "workers" {
  cluster              = "prod"
  name                 = "workers"
  replicas             = 3
  image                = "flatcar-4593.2.5"
  user_data_wo         = ephemeral.flatcar_ignition.worker.rendered
  user_data_wo_version = 1
  kubernetes           = {}
  sandbox              = {}
}
