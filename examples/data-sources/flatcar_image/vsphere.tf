data "flatcar_image" "vsphere" {
  platform = "vsphere"
}

data "vsphere_ovf_vm_template" "flatcar" {
  name             = "flatcar-${data.flatcar_image.vsphere.version}"
  remote_ovf_url   = data.flatcar_image.vsphere.url
  resource_pool_id = data.vsphere_resource_pool.pool.id
  host_system_id   = data.vsphere_host.host.id
  datastore_id     = data.vsphere_datastore.datastore.id
}
