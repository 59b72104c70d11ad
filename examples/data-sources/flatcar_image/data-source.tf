# The newest stable release on AWS, for amd64.
data "flatcar_image" "aws" {
  platform = "aws"
  region   = "eu-central-1"
}

resource "aws_instance" "worker" {
  ami           = data.flatcar_image.aws.image
  instance_type = "t3.small"
}
