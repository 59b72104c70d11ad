package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	machine   = "microsoft.compute/virtualmachines"
	nic       = "microsoft.network/networkinterfaces"
	address   = "microsoft.network/publicipaddresses"
	disk      = "microsoft.compute/disks"
	groupKind = "microsoft.resources/resourcegroups"
)

func (s *server) put(w http.ResponseWriter, r *http.Request, t target, id string, old *resource, hit *fault) {
	data := read(r)
	var body object
	if err := json.Unmarshal(data, &body); err != nil {
		fail(w, http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '"+err.Error()+"'.")
		return
	}
	if err := fits(data, models[t.kind]()); err != nil {
		fail(w, http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '"+err.Error()+"'.")
		return
	}
	if t.kind == machine && r.Header.Get("If-None-Match") == "*" && old != nil {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed", "The resource '"+id+"' exists already.")
		return
	}
	if etag := r.Header.Get("If-Match"); etag != "" && etag != "*" && (old == nil || text(old.body, "etag") != etag) {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed", "Precondition failed for If-Match.")
		return
	}
	if old != nil && !old.gone.IsZero() {
		fail(w, http.StatusConflict, "OperationNotAllowed", "The resource is being deleted.")
		return
	}
	if text(body, "location") == "" && !strings.HasSuffix(t.kind, "/subnets") {
		fail(w, http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
		return
	}
	if old != nil && text(body, "location") != "" && !strings.EqualFold(text(body, "location"), text(old.body, "location")) {
		fail(w, http.StatusConflict, "InvalidResourceLocation", fmt.Sprintf("The resource '%s' already exists in location '%s'. A resource with the same name cannot be created in location '%s'.", t.names[len(t.names)-1], text(old.body, "location"), text(body, "location")))
		return
	}
	s.counter++
	one := &resource{id: id, kind: t.kind, body: body, hidden: object{}, order: s.counter}
	if old != nil {
		one.id, one.order, one.hidden = old.id, old.order, old.hidden
	}
	if code, message, status := s.prepare(one, old); code != "" {
		fail(w, status, code, message)
		return
	}
	segment := strings.Split(strings.Trim(id, "/"), "/")
	body["id"], body["name"] = one.id, segment[len(segment)-1]
	if t.kind == groupKind {
		body["type"] = "Microsoft.Resources/resourceGroups"
	} else {
		body["type"] = typeName(segment)
	}
	body["etag"] = `W/"` + uuid() + `"`
	if t.kind == machine || strings.HasPrefix(t.kind, "microsoft.compute/galler") || t.kind == "microsoft.compute/disks" || t.kind == "microsoft.compute/images" || t.kind == groupKind || t.kind == "microsoft.compute/availabilitysets" {
		delete(body, "etag")
	}
	seconds := s.seconds("create", t.kind)
	one.ready = time.Now().Add(time.Duration(seconds * float64(time.Second)))
	state := "Succeeded"
	if seconds > 0 || hit != nil {
		state = map[bool]string{true: "Creating", false: "Updating"}[old == nil]
	}
	if one.broken = hit != nil; one.broken {
		one.code, one.text = hit.Code, hit.Text
	}
	set(body, state, "properties", "provisioningState")
	s.resources[strings.ToLower(id)] = one
	status := http.StatusCreated
	switch { // the codes that Microsoft's own clients accept
	case t.kind == disk:
		status = http.StatusAccepted
	case old != nil || t.kind == "microsoft.compute/availabilitysets":
		status = http.StatusOK
	}
	if t.kind != groupKind {
		s.long(w, t, text(body, "location"), seconds, hit, false)
	}
	s.show(w, status, one, "")
}

// typeName reads "Microsoft.Compute/virtualMachines" out of an id as it was written.
func typeName(segment []string) string {
	for i, word := range segment {
		if strings.EqualFold(word, "providers") && i+2 < len(segment) {
			name := segment[i+1]
			for j := i + 2; j < len(segment); j += 2 {
				name += "/" + segment[j]
			}
			return name
		}
	}
	return ""
}

// prepare checks what a resource refers to, and fills in what Azure fills in.
func (s *server) prepare(one, old *resource) (code, message string, status int) {
	missing := func(ref string) (string, string, int) {
		return "InvalidResourceReference", "Resource " + ref + " referenced by resource " + one.id + " was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", http.StatusBadRequest
	}
	switch one.kind {
	case nic:
		configs := list(one.body, "properties", "ipConfigurations")
		if len(configs) == 0 {
			return "NetworkInterfaceMustHaveIpConfiguration", "Network interface must have at least one IP configuration.", http.StatusBadRequest
		}
		for i, config := range configs {
			c := config.(map[string]any)
			subnet := text(c, "properties", "subnet", "id")
			if s.resources[strings.ToLower(subnet)] == nil {
				return missing(subnet)
			}
			if pip := text(c, "properties", "publicIPAddress", "id"); pip != "" {
				a := s.resources[strings.ToLower(pip)]
				if a == nil {
					return missing(pip)
				}
				holder := text(a.body, "properties", "ipConfiguration", "id")
				if holder != "" && !strings.HasPrefix(strings.ToLower(holder), strings.ToLower(one.id)+"/") {
					return "PublicIPAddressInUse", "Resource " + one.id + " is referencing public IP address " + pip + " that is already allocated to resource " + holder + ".", http.StatusBadRequest
				}
				set(a.body, one.id+"/ipConfigurations/"+text(c, "name"), "properties", "ipConfiguration", "id")
			}
			c["id"] = one.id + "/ipConfigurations/" + text(c, "name")
			if text(c, "properties", "privateIPAddress") == "" {
				set(c, fmt.Sprintf("10.0.%d.%d", one.order/250%250, one.order%250+4), "properties", "privateIPAddress")
			}
			set(c, "Succeeded", "properties", "provisioningState")
			set(c, i == 0, "properties", "primary")
		}
		if nsg := text(one.body, "properties", "networkSecurityGroup", "id"); nsg != "" && s.resources[strings.ToLower(nsg)] == nil {
			return missing(nsg)
		}
		for _, config := range configs {
			for _, group := range list(config, "properties", "applicationSecurityGroups") {
				if s.resources[strings.ToLower(text(group, "id"))] == nil {
					return missing(text(group, "id"))
				}
			}
			for _, pool := range list(config, "properties", "loadBalancerBackendAddressPools") {
				if s.pool(text(pool, "id")) == nil {
					return missing(text(pool, "id"))
				}
			}
		}
		if old != nil {
			if vm := get(old.body, "properties", "virtualMachine"); vm != nil {
				set(one.body, vm, "properties", "virtualMachine")
			}
		}
	case address:
		set(one.body, fmt.Sprintf("203.0.113.%d", one.order%250+1), "properties", "ipAddress")
		if old != nil {
			set(one.body, text(old.body, "properties", "ipAddress"), "properties", "ipAddress")
			if c := get(old.body, "properties", "ipConfiguration"); c != nil {
				set(one.body, c, "properties", "ipConfiguration")
			}
		}
	case "microsoft.network/virtualnetworks":
		for _, subnet := range list(one.body, "properties", "subnets") {
			b := clone(subnet.(map[string]any))
			s.counter++
			id := one.id + "/subnets/" + text(b, "name")
			subnet.(map[string]any)["id"] = id
			b["id"], b["type"] = id, "Microsoft.Network/virtualNetworks/subnets"
			set(b, "Succeeded", "properties", "provisioningState")
			s.resources[strings.ToLower(id)] = &resource{id: id, kind: "microsoft.network/virtualnetworks/subnets", body: b, hidden: object{}, order: s.counter}
		}
	case disk:
		set(one.body, uuid(), "properties", "uniqueId")
		if text(one.body, "properties", "diskState") == "" {
			set(one.body, "Unattached", "properties", "diskState")
		}
	case machine:
		return s.prepareMachine(one, old)
	}
	return "", "", 0
}

func (s *server) prepareMachine(one, old *resource) (code, message string, status int) {
	p, _ := one.body["properties"].(map[string]any)
	if p == nil {
		return "InvalidParameter", "Required parameter 'properties' is missing (null).", http.StatusBadRequest
	}
	if size := text(p, "hardwareProfile", "vmSize"); !strings.HasPrefix(size, "Standard_") && !strings.HasPrefix(size, "Basic_") {
		return "InvalidParameter", "The value '" + size + "' provided for the VM size is not valid.", http.StatusBadRequest
	}
	for _, field := range []struct{ where, name string }{{"osProfile", "customData"}, {"", "userData"}} {
		at := object(p)
		if field.where != "" {
			at, _ = p[field.where].(map[string]any)
		}
		if at == nil || at[field.name] == nil {
			continue
		}
		value := at[field.name].(string)
		raw, err := base64.StdEncoding.DecodeString(value)
		switch {
		case err != nil:
			return "InvalidParameter", "Parameter '" + field.name + "' must be a Base64 encoded string.", http.StatusBadRequest
		case len(raw) > 65535 && field.name == "customData":
			return "InvalidParameter", "Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 characters.", http.StatusBadRequest
		case len(raw) > 65536:
			return "InvalidParameter", "User data must be in Base64 encoding and with a maximum length of 87380 characters.", http.StatusBadRequest
		case old != nil && field.name == "customData" && old.hidden[field.name] != value:
			return "PropertyChangeNotAllowed", "Changing property 'osProfile.customData' is not allowed.", http.StatusConflict
		}
		one.hidden[field.name] = value
		delete(at, field.name) // never read back, or only on request
	}
	if at, ok := p["osProfile"].(map[string]any); ok {
		delete(at, "adminPassword")
		if old == nil && text(at, "computerName") == "" {
			return "InvalidParameter", "Required parameter 'osProfile.computerName' is missing (null).", http.StatusBadRequest
		}
		if text(at, "adminUsername") == "" {
			return "InvalidParameter", "Required parameter 'osProfile.adminUsername' is missing (null).", http.StatusBadRequest
		}
	}
	if old == nil {
		if c, m, st := s.image(p, one); c != "" {
			return c, m, st
		}
		if c, m, st := s.room(p, one); c != "" {
			return c, m, st
		}
	}
	nics := list(p, "networkProfile", "networkInterfaces")
	if len(nics) == 0 {
		return "NetworkProfileMissing", "Virtual machine must have at least one network interface.", http.StatusBadRequest
	}
	for _, ref := range nics {
		id := text(ref, "id")
		n := s.resources[strings.ToLower(id)]
		if n == nil {
			return "InvalidResourceReference", "Resource " + id + " referenced by resource " + one.id + " was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", http.StatusBadRequest
		}
		if holder := text(n.body, "properties", "virtualMachine", "id"); holder != "" && !strings.EqualFold(holder, one.id) {
			return "NicInUse", "Network Interface " + id + " is used by existing resource " + holder + ".", http.StatusBadRequest
		}
	}
	for _, ref := range nics {
		set(s.resources[strings.ToLower(text(ref, "id"))].body, object{"id": one.id}, "properties", "virtualMachine")
	}
	if old != nil {
		p["vmId"], p["timeCreated"] = get(old.body, "properties", "vmId"), get(old.body, "properties", "timeCreated")
		one.hidden["power"] = old.hidden["power"]
		if p["storageProfile"] == nil {
			p["storageProfile"] = get(old.body, "properties", "storageProfile")
		}
		return "", "", 0
	}
	one.hidden["power"] = "running"
	p["vmId"], p["timeCreated"] = uuid(), time.Now().UTC().Format(time.RFC3339Nano)
	name := text(p, "storageProfile", "osDisk", "name")
	segment := strings.Split(strings.Trim(one.id, "/"), "/")
	vm := segment[len(segment)-1]
	if name == "" {
		name = vm + "_OsDisk_1_" + token()[:32]
		set(p, name, "storageProfile", "osDisk", "name")
	}
	id := strings.Join(append([]string{""}, segment[:4]...), "/") + "/providers/Microsoft.Compute/disks/" + name
	set(p, object{"id": id, "storageAccountType": "Premium_LRS"}, "storageProfile", "osDisk", "managedDisk")
	s.implicit(one, id, name)
	for _, data := range list(p, "storageProfile", "dataDisks") {
		d := data.(map[string]any)
		id := strings.Join(append([]string{""}, segment[:4]...), "/") + "/providers/Microsoft.Compute/disks/" + text(d, "name")
		set(d, object{"id": id, "storageAccountType": "Premium_LRS"}, "managedDisk")
		s.implicit(one, id, text(d, "name"))
	}
	return "", "", 0
}

// implicit makes a disk that a machine's create asks for: it has the machine's tags.
func (s *server) implicit(one *resource, id, name string) {
	s.counter++
	s.resources[strings.ToLower(id)] = &resource{id: id, kind: disk, order: s.counter, hidden: object{}, body: object{"id": id, "name": name, "type": "Microsoft.Compute/disks", "location": one.body["location"],
		"managedBy": one.id, "tags": clone(object{"tags": one.body["tags"]})["tags"], "properties": object{"osType": "Linux", "diskState": "Attached", "provisioningState": "Succeeded", "uniqueId": uuid(), "creationData": object{"createOption": "FromImage"}}}}
}

func (s *server) patch(w http.ResponseWriter, r *http.Request, t target, one *resource) {
	data := read(r)
	model := models[t.kind]
	if p, ok := patches[t.kind]; ok {
		model = p
	}
	var change object
	if err := json.Unmarshal(data, &change); err != nil {
		fail(w, http.StatusBadRequest, "InvalidRequestContent", err.Error())
		return
	}
	if err := fits(data, model()); err != nil {
		fail(w, http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '"+err.Error()+"'.")
		return
	}
	if ud := text(change, "properties", "userData"); ud != "" {
		one.hidden["userData"] = ud
		delete(change["properties"].(map[string]any), "userData")
	}
	if tags, ok := change["tags"]; ok { // a map as a whole
		one.body["tags"] = tags
		delete(change, "tags")
	}
	merge(one.body, change)
	if t.kind == machine {
		s.long(w, t, text(one.body, "location"), s.seconds("action", t.kind), nil, false)
	}
	s.show(w, http.StatusOK, one, "")
}

func merge(into, from object) {
	for name, value := range from {
		inner, ok := value.(map[string]any)
		if old, is := into[name].(map[string]any); ok && is {
			merge(old, inner)
		} else {
			into[name] = value
		}
	}
}

func (s *server) remove(w http.ResponseWriter, r *http.Request, t target, one *resource, hit *fault) {
	seconds := s.seconds("delete", t.kind)
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	switch one.kind {
	case nic:
		if vm := text(one.body, "properties", "virtualMachine", "id"); vm != "" {
			fail(w, http.StatusBadRequest, "NicInUse", "Network Interface "+one.id+" is used by existing resource "+vm+". In order to delete the network interface, it must be dissociated from the resource.")
			return
		}
	case address:
		if holder := text(one.body, "properties", "ipConfiguration", "id"); holder != "" {
			fail(w, http.StatusBadRequest, "PublicIPAddressCannotBeDeleted", "Public IP address "+one.id+" can not be deleted since it is still allocated to resource "+holder+".")
			return
		}
	case disk:
		if vm := text(one.body, "managedBy"); vm != "" {
			fail(w, http.StatusConflict, "OperationNotAllowed", "Disk "+one.id+" is attached to VM "+vm+".")
			return
		}
	}
	if hit == nil {
		one.gone = end
		s.release(one, end)
		if seconds > 0 {
			set(one.body, "Deleting", "properties", "provisioningState")
		}
		if one.kind == groupKind {
			for id, other := range s.resources {
				if strings.HasPrefix(id, strings.ToLower(one.id)+"/") {
					other.gone = end
				}
			}
		}
	}
	s.long(w, t, text(one.body, "location"), seconds, hit, true)
	w.WriteHeader(http.StatusAccepted)
}

// release lets go of what a machine or a network interface holds, and deletes what asked to go with it.
func (s *server) release(one *resource, end time.Time) {
	at := func(id string) *resource { return s.resources[strings.ToLower(id)] }
	switch one.kind {
	case machine:
		for _, of := range append([]any{get(one.body, "properties", "storageProfile", "osDisk")}, list(one.body, "properties", "storageProfile", "dataDisks")...) {
			if d := at(text(of, "managedDisk", "id")); d != nil {
				delete(d.body, "managedBy")
				set(d.body, "Unattached", "properties", "diskState")
				if text(of, "deleteOption") == "Delete" {
					d.gone = end
				}
			}
		}
		for _, ref := range list(one.body, "properties", "networkProfile", "networkInterfaces") {
			if n := at(text(ref, "id")); n != nil {
				if p, ok := n.body["properties"].(map[string]any); ok {
					delete(p, "virtualMachine")
				}
				if text(ref, "properties", "deleteOption") == "Delete" {
					n.gone = end
					s.release(n, end)
					s.addresses(n, end)
				}
			}
		}
	case nic:
		for _, config := range list(one.body, "properties", "ipConfigurations") {
			if a := at(text(config, "properties", "publicIPAddress", "id")); a != nil {
				if p, ok := a.body["properties"].(map[string]any); ok {
					delete(p, "ipConfiguration")
				}
			}
		}
	}
}

// addresses go with the interface of a machine that is deleted, where they ask for it; an interface that is deleted by itself takes none.
func (s *server) addresses(nic *resource, end time.Time) {
	for _, config := range list(nic.body, "properties", "ipConfigurations") {
		if a := s.resources[strings.ToLower(text(config, "properties", "publicIPAddress", "id"))]; a != nil && text(config, "properties", "publicIPAddress", "properties", "deleteOption") == "Delete" {
			a.gone = end
		}
	}
}

func (s *server) act(w http.ResponseWriter, r *http.Request, t target, one *resource, hit *fault) {
	power := map[string]string{"start": "running", "restart": "running", "poweroff": "stopped", "deallocate": "deallocated", "redeploy": "running", "reapply": ""}
	switch {
	case t.kind == machine && t.action == "instanceview" && r.Method == http.MethodGet:
		answer(w, http.StatusOK, s.view(one))
	case t.kind == machine && t.action == "retrievebootdiagnosticsdata" && r.Method == http.MethodPost:
		if get(one.body, "properties", "diagnosticsProfile", "bootDiagnostics", "enabled") != true {
			fail(w, http.StatusConflict, "OperationNotAllowed", "Boot diagnostics is not enabled for VM "+one.id+".")
			return
		}
		answer(w, http.StatusOK, object{"serialConsoleLogBlobUri": s.base + "/_blob/" + s.subscription + "/" + text(one.body, "name") + ".serialconsole.log?sig=s3cret"})
	case t.kind == machine && t.action == "simulateeviction" && r.Method == http.MethodPost:
		if text(one.body, "properties", "priority") != "Spot" {
			fail(w, http.StatusConflict, "OperationNotAllowed", "Only spot machines can be evicted.")
			return
		}
		if text(one.body, "properties", "evictionPolicy") == "Delete" {
			one.gone = time.Now()
			s.release(one, one.gone)
		}
		one.hidden["power"] = "deallocated"
		w.WriteHeader(http.StatusNoContent)
	case t.kind == machine && r.Method == http.MethodPost:
		state, ok := power[t.action]
		if !ok {
			fail(w, http.StatusBadRequest, "InvalidAction", "The action '"+t.action+"' is not known to this server.")
			return
		}
		if state != "" && hit == nil {
			one.hidden["power"] = state
		}
		s.long(w, t, text(one.body, "location"), s.seconds("action", t.kind), hit, true)
		w.WriteHeader(http.StatusAccepted)
	default:
		fail(w, http.StatusNotFound, "InvalidAction", "The action '"+t.action+"' is not known to this server.")
	}
}

func (s *server) view(one *resource) object {
	state := strings.ToLower(text(one.body, "properties", "provisioningState"))
	code := "ProvisioningState/" + state
	if one.broken && state == "failed" && one.code != "" {
		code += "/" + one.code
	}
	statuses := []any{object{"code": code, "message": one.text, "level": "Info", "displayStatus": "Provisioning " + state, "time": time.Now().UTC().Format(time.RFC3339Nano)}}
	if state == "succeeded" || state == "updating" {
		statuses = append(statuses, object{"code": "PowerState/" + one.hidden["power"].(string), "level": "Info", "displayStatus": "VM " + one.hidden["power"].(string)})
	}
	return object{"statuses": statuses}
}
