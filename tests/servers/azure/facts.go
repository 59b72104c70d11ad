package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
)

const poolKind = "microsoft.network/loadbalancers/backendaddresspools"

// The sizes that there are, with their cores; one is restricted for the subscription, one is to be had in zone 1 only.
var sizes = []struct {
	name, family, architecture string
	cores                      int
	zones                      []string
	restricted                 string
}{
	{"Standard_D2s_v5", "standardDSv5Family", "x64", 2, []string{"1", "2", "3"}, ""},
	{"Standard_D2ps_v5", "standardDPSv5Family", "Arm64", 2, []string{"1", "2", "3"}, ""},
	{"Standard_L8s_v3", "standardLSv3Family", "x64", 8, []string{"1"}, ""},
	{"Standard_M128s", "standardMSFamily", "x64", 128, []string{"1", "2", "3"}, "NotAvailableForSubscription"},
}

var agreement = regexp.MustCompile(`(?i)/offertypes/virtualmachine/publishers/([^/]+)/offers/([^/]+)/plans/([^/]+)/agreements/current$`)

// facts answers what a location has: sizes, what is used of them, and whose terms are accepted.
func (s *server) facts(w http.ResponseWriter, r *http.Request, t target) bool {
	path := strings.ToLower(r.URL.Path)
	switch m := agreement.FindStringSubmatch(path); {
	case m != nil:
		plan := strings.Join(m[1:], ":")
		if r.Method == http.MethodPut {
			s.accepted[plan] = true
		}
		answer(w, http.StatusOK, object{"name": m[3], "properties": object{"publisher": m[1], "product": m[2], "plan": m[3], "accepted": s.accepted[plan]}})
	case strings.HasSuffix(path, "/providers/microsoft.compute/skus"):
		var values []any
		for _, size := range sizes {
			sku := object{"resourceType": "virtualMachines", "name": size.name, "family": size.family, "locations": []any{"westeurope"},
				"locationInfo": []any{object{"location": "westeurope", "zones": size.zones}},
				"capabilities": []any{object{"name": "vCPUs", "value": fmt.Sprint(size.cores)}, object{"name": "CpuArchitectureType", "value": size.architecture},
					object{"name": "MaxDataDiskCount", "value": "4"}, object{"name": "EphemeralOSDiskSupported", "value": "False"}, object{"name": "AcceleratedNetworkingEnabled", "value": "True"}},
				"restrictions": []any{}}
			if size.restricted != "" {
				sku["restrictions"] = []any{object{"type": "Location", "values": []any{"westeurope"}, "reasonCode": size.restricted, "restrictionInfo": object{"locations": []any{"westeurope"}}}}
			}
			s.checked(w, sku, new(armcompute.ResourceSKU))
			values = append(values, sku)
		}
		answer(w, http.StatusOK, object{"value": values})
	default:
		return false
	}
	return true
}

func (s *server) checked(w http.ResponseWriter, body object, model any) {
	data, _ := json.Marshal(body)
	if err := fits(data, model); err != nil {
		panic("this server's own answer does not fit Microsoft's type: " + err.Error())
	}
}

// used counts cores by family, and all of them.
func (s *server) used() (families map[string]int, all, machines int) {
	families = map[string]int{}
	for _, one := range s.resources {
		if one.kind != machine || !one.gone.IsZero() {
			continue
		}
		machines++
		for _, size := range sizes {
			if strings.EqualFold(size.name, text(one.body, "properties", "hardwareProfile", "vmSize")) {
				families[size.family] += size.cores
				all += size.cores
			}
		}
	}
	return families, all, machines
}

func (s *server) usages(w http.ResponseWriter) {
	families, all, machines := s.used()
	usage := func(name, title string, used, limit int) any {
		u := object{"unit": "Count", "currentValue": used, "limit": limit, "name": object{"value": name, "localizedValue": title}}
		s.checked(w, u, new(armcompute.Usage))
		return u
	}
	values := []any{usage("cores", "Total Regional vCPUs", all, s.control.Cores), usage("virtualMachines", "Virtual Machines", machines, 25000),
		usage("lowPriorityCores", "Total Regional Spot vCPUs", 0, s.control.Cores)}
	for _, size := range sizes {
		values = append(values, usage(size.family, size.family+" vCPUs", families[size.family], s.control.Cores))
	}
	answer(w, http.StatusOK, object{"value": values})
}

// room refuses a machine that its zone or the quota has no room for.
func (s *server) room(p object, one *resource) (code, message string, status int) {
	zones, _ := one.body["zones"].([]any)
	for _, zone := range zones {
		if contains(s.control.Full, fmt.Sprint(zone)) {
			return "SkuNotAvailable", "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: " + text(p, "hardwareProfile", "vmSize") + "' is currently not available in location '" + text(one.body, "location") + "', zones '" + fmt.Sprint(zone) + "'.", http.StatusConflict
		}
	}
	families, _, _ := s.used()
	for _, size := range sizes {
		if strings.EqualFold(size.name, text(p, "hardwareProfile", "vmSize")) && families[size.family]+size.cores > s.control.Cores {
			return "OperationNotAllowed", fmt.Sprintf("Operation could not be completed as it results in exceeding approved %s Cores quota. Additional details - Deployment Model: Resource Manager, Location: %s, Current Limit: %d, Current Usage: %d, Additional Required: %d, (Minimum) New Limit Required: %d.",
				size.family, text(one.body, "location"), s.control.Cores, families[size.family], size.cores, families[size.family]+size.cores), http.StatusConflict
		}
	}
	return "", "", 0
}

// retag changes the tags of a resource without the rest of it.
func (s *server) retag(w http.ResponseWriter, r *http.Request) bool {
	id, ok := strings.CutSuffix(strings.ToLower(r.URL.Path), "/providers/microsoft.resources/tags/default")
	if !ok {
		return false
	}
	one := s.resources[id]
	if one == nil {
		fail(w, http.StatusNotFound, "ResourceNotFound", "The Resource '"+id+"' was not found.")
		return true
	}
	data := read(r)
	var change object
	err := json.Unmarshal(data, &change)
	if err == nil {
		err = fits(data, new(armresources.TagsPatchResource))
	}
	if err != nil || r.Method != http.MethodPatch {
		fail(w, http.StatusBadRequest, "InvalidRequestContent", fmt.Sprint("The request content was invalid: ", err))
		return true
	}
	tags, _ := one.body["tags"].(map[string]any)
	if tags == nil {
		tags = object{}
	}
	changed, _ := get(change, "properties", "tags").(map[string]any)
	switch text(change, "operation") {
	case "Merge":
		for name, value := range changed {
			for known := range tags { // keys differ by more than their case
				if strings.EqualFold(known, name) {
					delete(tags, known)
				}
			}
			tags[name] = value
		}
	case "Delete":
		for name, value := range changed {
			if tags[name] == value {
				delete(tags, name)
			}
		}
	case "Replace":
		tags = changed
	}
	if len(tags) > 50 {
		fail(w, http.StatusBadRequest, "InvalidTagCount", "The number of tags must not exceed 50.")
		return true
	}
	one.body["tags"] = tags
	answer(w, http.StatusOK, object{"id": one.id + "/providers/Microsoft.Resources/tags/default", "name": "default", "type": "Microsoft.Resources/tags", "properties": object{"tags": tags}})
	return true
}

// pool is a backend address pool of a load balancer that is there, with the interfaces that are in it.
func (s *server) pool(id string) *resource {
	at := strings.LastIndex(strings.ToLower(id), "/backendaddresspools/")
	if at < 0 {
		return nil
	}
	balancer := s.resources[strings.ToLower(id[:at])]
	if balancer == nil {
		return nil
	}
	for _, known := range list(balancer.body, "properties", "backendAddressPools") {
		if !strings.EqualFold(text(known, "name"), id[at+len("/backendaddresspools/"):]) {
			continue
		}
		properties := object{"provisioningState": "Succeeded"}
		if seconds := get(known, "properties", "drainPeriodInSeconds"); seconds != nil {
			properties["drainPeriodInSeconds"] = seconds
		}
		var members []any
		for _, one := range s.resources {
			if one.kind != nic || !one.gone.IsZero() {
				continue
			}
			for _, config := range list(one.body, "properties", "ipConfigurations") {
				for _, of := range list(config, "properties", "loadBalancerBackendAddressPools") {
					if strings.EqualFold(text(of, "id"), id) {
						members = append(members, object{"id": text(config, "id")})
					}
				}
			}
		}
		if members != nil {
			properties["backendIPConfigurations"] = members
		}
		return &resource{id: id, kind: poolKind, hidden: object{}, body: object{"id": id, "name": text(known, "name"), "type": "Microsoft.Network/loadBalancers/backendAddressPools", "properties": properties}}
	}
	return nil
}

// blob is where Azure keeps what machines said on their serial ports; who has the address may read it.
func (s *server) blob(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" || r.URL.Query().Get("sig") != "s3cret" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	name := strings.TrimSuffix(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], ".serialconsole.log")
	fmt.Fprintf(w, "[    0.000000] Linux version 6.12.61-flatcar\n%s login: \n", name)
}

var _ = armnetwork.BackendAddressPool{}
