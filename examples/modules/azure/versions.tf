terraform {
  required_version = ">= 1.7"

  required_providers {
    flatcar = {
      source = "flatcar-iac/flatcar"
    }
  }
}
