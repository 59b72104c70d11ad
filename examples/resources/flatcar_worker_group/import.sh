# <cloud>/<scope>/<cluster>/<name>
terraform import flatcar_worker_group.workers aws/123456789012/eu-central-1/prod/workers
