# The provider itself, on the sandbox: there are machines, and they are gone at the end.
variables {
  cluster = "prod"
  cloud   = { sandbox = { zones = ["a", "b"] } }
  content = "variant: flatcar\nversion: 1.1.0\n"
  groups = {
    general-a = { replicas = 2, zones = ["a"] }
    general-b = { replicas = 2, zones = ["b"] }
    batch = {
      replicas     = 1
      zones        = ["a"]
      machine_type = "large"
      snippets     = ["variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: /etc/motd, contents: {inline: may be interrupted}}]}\n"]
    }
    arm = { replicas = 1, zones = ["b"], architecture = "arm64" }
  }
}

# The release servers are not asked.
override_data {
  target = data.flatcar_image.this
  values = {
    image   = "flatcar"
    version = "4593.2.5"
  }
}

run "four_groups_of_one_map" {
  assert {
    condition     = { for name, machines in output.machines : name => length(machines) } == { general-a = 2, general-b = 2, batch = 1, arm = 1 }
    error_message = "The groups have other sizes."
  }

  assert {
    condition     = keys(data.flatcar_image.this) == ["stable-amd64", "stable-arm64"]
    error_message = "Not every kind of image is looked up once."
  }

  assert {
    condition     = alltrue([for machine in output.machines["general-b"] : machine.zone == "b"])
    error_message = "A machine is in another zone than its group."
  }

  assert {
    condition     = strcontains(nonsensitive(data.flatcar_ignition.this["batch"].rendered), "/etc/motd") && !strcontains(nonsensitive(data.flatcar_ignition.this["arm"].rendered), "/etc/motd")
    error_message = "A snippet is not in its group, or in another one."
  }

  assert {
    condition     = length(output.addresses) == 6
    error_message = "A machine has no address."
  }
}

run "a_group_that_comes_and_one_that_goes_touch_no_other" {
  variables {
    groups = {
      general-a = { replicas = 3, zones = ["a"] }
      general-b = { replicas = 2, zones = ["b"] }
      arm       = { replicas = 1, zones = ["b"], architecture = "arm64" }
      more      = { replicas = 1, zones = ["a"], image = "flatcar-of-our-own" }
    }
  }

  # What a group did last: nothing since its creation.
  assert {
    condition     = length(flatcar_worker_group.this["general-b"].rollout) == 0 && length(flatcar_worker_group.this["arm"].rollout) == 0
    error_message = "A machine of another group was touched."
  }

  assert {
    condition     = length(flatcar_worker_group.this["general-a"].rollout) == 1 && startswith(flatcar_worker_group.this["general-a"].rollout[0], "create ") && length(output.ids["general-a"]) == 3
    error_message = "Scaling did more than to make one machine."
  }

  assert {
    condition     = output.images["more"].image == "flatcar-of-our-own" && output.images["more"].release == null
    error_message = "The image is not the one that was given."
  }
}
