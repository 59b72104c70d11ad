output "machines" {
  description = "Machines of each group by name: id, zone, addresses, image, Node, phase."
  value       = { for name, group in flatcar_worker_group.this : name => group.machines }
}

output "ids" {
  description = "The cloud's own ids of the machines of each group, by name."
  value       = { for name, group in flatcar_worker_group.this : name => { for machine, it in group.machines : machine => it.id } }
}

output "addresses" {
  description = "Addresses of all machines by name, private ones first."
  value       = merge([for group in flatcar_worker_group.this : { for machine, it in group.machines : machine => it.addresses }]...)
}

output "slots" {
  description = "Names of the machines of each group by a number that outlives them. The keys are known before there are machines."
  value       = { for name, group in flatcar_worker_group.this : name => group.slots }
}

output "images" {
  description = "Image and Flatcar release of each group; the release is null where the image was given."
  value = {
    for name, group in flatcar_worker_group.this : name => {
      image   = group.image
      release = try(data.flatcar_image.this[local.lookups[name]].version, null)
    }
  }
}
