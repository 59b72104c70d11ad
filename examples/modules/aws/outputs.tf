output "machines" {
  description = "Machines by name: id, zone, addresses, image, Node, phase."
  value       = flatcar_worker_group.this.machines
}

output "names" {
  description = "Names of the machines."
  value       = sort(keys(flatcar_worker_group.this.machines))
}

output "ids" {
  description = "The cloud's own ids of the machines, by name."
  value       = { for name, machine in flatcar_worker_group.this.machines : name => machine.id }
}

output "addresses" {
  description = "Addresses of the machines by name, private ones first."
  value       = { for name, machine in flatcar_worker_group.this.machines : name => machine.addresses }
}

output "slots" {
  description = "Names of machines by a number that outlives them. Its keys are known before there are machines: use it for `for_each`."
  value       = flatcar_worker_group.this.slots
}

output "uid" {
  description = "Identity of this group among others of its name."
  value       = flatcar_worker_group.this.uid
}

output "image" {
  description = "Image that new machines boot."
  value       = flatcar_worker_group.this.image
}

output "release" {
  description = "Flatcar release of that image; null where the image was given."
  value       = one(data.flatcar_image.this[*].version)
}
