# The same AMI by name, where a policy wants it from aws_ami. Always with the owner: look-alikes exist.
data "aws_ami" "flatcar" {
  owners = [data.flatcar_image.aws.aws.owner]

  filter {
    name   = "name"
    values = [data.flatcar_image.aws.aws.name]
  }
}
