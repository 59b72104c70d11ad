# Without a plan (the default), and with one: the free offer needs its terms accepted once per subscription.
data "flatcar_image" "azure" {
  platform = "azure"
  version  = "~> 4593.2"
}

data "flatcar_image" "azure_free" {
  platform    = "azure"
  azure_offer = "free"
}

resource "azurerm_linux_virtual_machine" "worker" {
  name                  = "worker"
  resource_group_name   = "workers"
  location              = "westeurope"
  size                  = "Standard_B2s"
  admin_username        = "core"
  network_interface_ids = [azurerm_network_interface.worker.id]

  admin_ssh_key {
    username   = "core"
    public_key = file("~/.ssh/id_rsa.pub")
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
  }

  source_image_reference {
    publisher = data.flatcar_image.azure_free.azure.publisher
    offer     = data.flatcar_image.azure_free.azure.offer
    sku       = data.flatcar_image.azure_free.azure.sku
    version   = data.flatcar_image.azure_free.azure.version
  }

  # Writes no block where the image has no plan.
  dynamic "plan" {
    for_each = data.flatcar_image.azure_free.azure.plan[*]

    content {
      name      = plan.value.name
      product   = plan.value.product
      publisher = plan.value.publisher
    }
  }
}

resource "azurerm_marketplace_agreement" "flatcar" {
  publisher = data.flatcar_image.azure_free.azure.plan.publisher
  offer     = data.flatcar_image.azure_free.azure.plan.product
  plan      = data.flatcar_image.azure_free.azure.plan.name
}
