data "flatcar_image" "stable" {
  platform = "aws"
  region   = "eu-central-1"
}

data "flatcar_ignition" "worker" {
  content         = file("${path.module}/worker.yaml")
  flatcar_version = data.flatcar_image.stable.version
}

# A change of the user data replaces the machines a quarter at a time; the first new one has to run before others go.
resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = 6
  image     = data.flatcar_image.stable.image
  user_data = data.flatcar_ignition.worker.rendered

  aws = {
    instance_type          = "m6i.large"
    subnet_ids             = ["subnet-0a1b2c3d4e5f60718", "subnet-1a1b2c3d4e5f60718"]
    vpc_security_group_ids = ["sg-0a1b2c3d4e5f60718"]

    # A new machine counts when the target group finds it healthy; an old one is drained before it goes.
    target_group_arns = [
      "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0a1b2c3d4e5f6071",
    ]

    tags = { owner = "platform" }
  }

  rolling_update = {
    max_surge       = "25%"
    max_unavailable = "0"
    canary          = true
    min_ready       = "30s"
  }

  # A newer image is for new machines only; "roll" replaces the others too.
  image_update = "new_only"

  timeouts = {
    update = "3h"
  }
}
