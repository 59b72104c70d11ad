data "flatcar_ignition" "worker" {
  content  = file("${path.module}/worker.yaml")
  platform = "azure"
}

data "flatcar_image" "stable" {
  platform = "azure"
}

resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = 3
  image     = data.flatcar_image.stable.image
  user_data = data.flatcar_ignition.worker.rendered

  azure = {
    resource_group_name       = "workers"
    location                  = "westeurope"
    vm_size                   = "Standard_D2s_v5"
    subnet_id                 = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/prod/subnets/workers"
    network_security_group_id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/network/providers/Microsoft.Network/networkSecurityGroups/workers"
    zones                     = ["1", "2", "3"]
    os_disk                   = { size_gb = 64, storage_account_type = "Premium_LRS" }
    tags                      = { team = "platform" }

    # Null with the default offer; with azure_offer = "free" the plan whose terms were accepted.
    plan = data.flatcar_image.stable.azure.plan
  }
}
