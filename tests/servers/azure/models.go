package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
)

// models are Microsoft's own types: every request body and every answer of ours must fit them.
var models = map[string]func() any{
	"microsoft.resources/resourcegroups":          func() any { return new(armresources.ResourceGroup) },
	"microsoft.compute/virtualmachines":           func() any { return new(armcompute.VirtualMachine) },
	"microsoft.compute/disks":                     func() any { return new(armcompute.Disk) },
	"microsoft.compute/images":                    func() any { return new(armcompute.Image) },
	"microsoft.compute/availabilitysets":          func() any { return new(armcompute.AvailabilitySet) },
	"microsoft.compute/galleries":                 func() any { return new(armcompute.Gallery) },
	"microsoft.compute/galleries/images":          func() any { return new(armcompute.GalleryImage) },
	"microsoft.compute/galleries/images/versions": func() any { return new(armcompute.GalleryImageVersion) },
	"microsoft.network/networkinterfaces":         func() any { return new(armnetwork.Interface) },
	"microsoft.network/publicipaddresses":         func() any { return new(armnetwork.PublicIPAddress) },
	"microsoft.network/networksecuritygroups":     func() any { return new(armnetwork.SecurityGroup) },
	"microsoft.network/applicationsecuritygroups": func() any { return new(armnetwork.ApplicationSecurityGroup) },
	"microsoft.network/loadbalancers":             func() any { return new(armnetwork.LoadBalancer) },
	poolKind:                                      func() any { return new(armnetwork.BackendAddressPool) },
	"microsoft.network/virtualnetworks":           func() any { return new(armnetwork.VirtualNetwork) },
	"microsoft.network/virtualnetworks/subnets":   func() any { return new(armnetwork.Subnet) },
}

// patches are the types of PATCH bodies, where they differ.
var patches = map[string]func() any{
	"microsoft.compute/virtualmachines":   func() any { return new(armcompute.VirtualMachineUpdate) },
	"microsoft.compute/disks":             func() any { return new(armcompute.DiskUpdate) },
	"microsoft.compute/images":            func() any { return new(armcompute.ImageUpdate) },
	"microsoft.network/networkinterfaces": func() any { return new(armnetwork.TagsObject) },
	"microsoft.network/publicipaddresses": func() any { return new(armnetwork.TagsObject) },
	"microsoft.resources/resourcegroups":  func() any { return new(armresources.ResourceGroupPatchable) },
}

// fits reads a body into Microsoft's type and back, and names what did not survive.
func fits(body []byte, model any) error {
	if err := json.Unmarshal(body, model); err != nil {
		return err
	}
	back, err := json.Marshal(model)
	if err != nil {
		return err
	}
	var sent, kept any
	_ = json.Unmarshal(body, &sent)
	_ = json.Unmarshal(back, &kept)
	return lost(sent, kept, "")
}

func lost(sent, kept any, where string) error {
	switch s := sent.(type) {
	case map[string]any:
		k, _ := kept.(map[string]any)
		for name, value := range s {
			if value == nil {
				continue
			}
			other, ok := k[name]
			if !ok {
				if empty(value) {
					continue
				}
				return fmt.Errorf("Could not find member '%s' on object of type '%s'. Path '%s'", name, last(where), strings.TrimPrefix(where+"."+name, "."))
			}
			if err := lost(value, other, where+"."+name); err != nil {
				return err
			}
		}
	case []any:
		k, _ := kept.([]any)
		for i, value := range s {
			if i >= len(k) {
				return fmt.Errorf("Path '%s[%d]'", where, i)
			}
			if err := lost(value, k[i], fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func empty(v any) bool {
	switch x := v.(type) {
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

func last(where string) string {
	if i := strings.LastIndex(where, "."); i >= 0 {
		return where[i+1:]
	}
	return "ResourceDefinition"
}
