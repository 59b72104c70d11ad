# The bare .img is qcow2 with compressed clusters: Glance fetches it itself, with no decompression plugin.
data "flatcar_image" "openstack" {
  platform = "openstack"
  channel  = "lts-2024"
}

resource "openstack_images_image_v2" "flatcar" {
  name             = "flatcar-${data.flatcar_image.openstack.version}"
  image_source_url = data.flatcar_image.openstack.url
  web_download     = true
  container_format = "bare"
  disk_format      = data.flatcar_image.openstack.disk_format

  properties = {
    hw_qemu_guest_agent = "yes"
    os_distro           = "flatcar"
    os_version          = data.flatcar_image.openstack.version
  }
}
