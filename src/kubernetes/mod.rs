//! Places for Kubernetes in a machine's life: *joined* after running, *drained* before delete.
