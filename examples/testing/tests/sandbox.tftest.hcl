# The provider itself, on the sandbox: the configuration is rendered and checked, and there are machines.
variables {
  sandbox = true
}

# The release servers are not asked.
override_data {
  target = data.flatcar_image.stable
  values = {
    image   = "ami-0a1b2c3d"
    version = "4593.2.5"
  }
}

run "every_machine_has_an_address" {
  assert {
    condition     = length(flatcar_worker_group.workers.machines) == 3
    error_message = "There are not three machines."
  }

  assert {
    condition     = length(output.addresses) == 3
    error_message = "A machine has no address."
  }
}

run "a_larger_group_has_one_more" {
  variables {
    replicas = 4
  }

  assert {
    condition     = length(flatcar_worker_group.workers.machines) == 4
    error_message = "There are not four machines."
  }
}
