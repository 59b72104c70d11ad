data "flatcar_image" "qemu" {
  platform     = "qemu"
  architecture = "amd64"
}

resource "libvirt_volume" "flatcar" {
  name   = "flatcar-${data.flatcar_image.qemu.version}.qcow2"
  source = data.flatcar_image.qemu.url
  format = data.flatcar_image.qemu.disk_format
}
