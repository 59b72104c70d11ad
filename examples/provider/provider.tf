terraform {
  required_providers {
    flatcar = {
      source = "flatcar-iac/flatcar"
    }
  }
}

provider "flatcar" {
  # Credentials come from the AWS variables, profiles or the instance's role, unless they stand here.
  aws = {
    region = "eu-central-1"
  }
}
