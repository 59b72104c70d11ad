data "flatcar_image" "this" {
  count = var.image == null ? 1 : 0

  platform     = "aws"
  region       = var.region
  channel      = var.channel
  version      = var.release
  architecture = var.architecture
}

data "flatcar_ignition" "this" {
  content             = var.content
  snippets            = var.snippets
  ssh_authorized_keys = var.ssh_authorized_keys
  platform            = "aws"
  flatcar_version     = one(data.flatcar_image.this[*].version)
}

resource "flatcar_worker_group" "this" {
  cluster             = var.cluster
  name                = var.name
  replicas            = var.replicas
  image               = var.image == null ? one(data.flatcar_image.this[*].image) : var.image
  user_data           = data.flatcar_ignition.this.rendered
  image_update        = var.image_update
  rolling_update      = var.rolling_update
  kubernetes          = var.kubernetes
  deletion_protection = var.deletion_protection

  aws = {
    instance_type          = var.instance_type
    subnet_ids             = var.subnet_ids
    vpc_security_group_ids = length(var.security_group_ids) == 0 ? null : var.security_group_ids
    target_group_arns      = length(var.target_group_arns) == 0 ? null : var.target_group_arns
    iam_instance_profile   = var.iam_instance_profile
    root_volume            = { size = var.root_volume_size }
    spot                   = var.spot ? {} : null
    tags                   = var.tags
  }
}
