# Nothing is asked, no account is needed: what the module makes of its variables.
mock_provider "flatcar" {}

run "a_group_is_as_large_as_asked_for" {
  command = plan

  variables {
    replicas   = 5
    subnet_ids = ["subnet-0a1b2c3d"]
  }

  assert {
    condition     = flatcar_worker_group.workers.replicas == 5
    error_message = "The group has another size."
  }

  assert {
    condition     = flatcar_worker_group.workers.aws.instance_type == "m7i.large"
    error_message = "The machines have another type."
  }
}
