package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// A rule makes something go wrong. Either Method names a vSphere method and Fault one of vSphere's fault types, which the
// simulator's own fault injection answers with, or Match is a pattern over "METHOD /path\nbody" and Kind says what
// happens to the HTTP exchange: status, reset (before), lost (after: carried out, the answer dropped), delay.
type rule struct {
	Method string `json:"method"`
	Type   string `json:"type"`
	Object string `json:"object"`
	Fault  string `json:"fault"`
	Text   string `json:"text"`

	Match  string `json:"match"`
	Kind   string `json:"kind"`
	Status int    `json:"status"`
	Body   string `json:"body"`
	Retry  string `json:"retry_after"`

	DelayMs int `json:"delay_ms"`
	After   int `json:"after"`
	Times   int `json:"times"`

	Seen int `json:"seen"`
	Hits int `json:"hits"`
}

type front struct {
	service *simulator.Service
	mux     http.Handler
	json    *vijson
	api     *automation

	mu    sync.Mutex
	rules []*rule
}

func newFront(service *simulator.Service, inner *url.URL, open string) *front {
	base := *inner
	return &front{
		service: service,
		mux:     service.ServeMux,
		json:    &vijson{soap: service.ServeMux, base: &base, sessions: map[string]*soap.Client{}},
		api:     &automation{inner: service.ServeMux, base: &base, open: open},
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/_control/faults" {
		f.control(w, r)
		return
	}
	if r.URL.Path == "/_control/delays" { // {"task": {"CloneVm": 2000}}: how long a task of that kind runs, in milliseconds
		f.delays(w, r)
		return
	}
	if r.URL.Path == "/_control/guest" { // {"name": "vm", "ip": "10.0.0.5"}: as if VMware Tools had come up
		f.guest(w, r)
		return
	}
	if r.URL.Path == "/_control/sessions" { // DELETE: all sessions end, as after half an hour without a call
		f.json.expire()
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	hit := f.pick(r.Method + " " + r.URL.RequestURI() + "\n" + string(body))
	if hit == nil {
		f.serve(w, r)
		return
	}
	time.Sleep(time.Duration(hit.DelayMs) * time.Millisecond)
	switch hit.Kind {
	case "status":
		if hit.Retry != "" {
			w.Header().Set("Retry-After", hit.Retry)
		}
		w.WriteHeader(hit.Status)
		_, _ = io.WriteString(w, hit.Body)
	case "reset":
		panic(http.ErrAbortHandler)
	case "lost":
		f.serve(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		f.serve(w, r)
	}
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/sdk/vim25/"):
		f.json.ServeHTTP(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/"):
		f.api.ServeHTTP(w, r)
	default:
		f.mux.ServeHTTP(w, r)
	}
}

func (f *front) pick(text string) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Match == "" {
			continue
		}
		if ok, _ := regexp.MatchString(r.Match, text); !ok {
			continue
		}
		r.Seen++
		if r.Seen <= r.After || (r.Times > 0 && r.Hits >= r.Times) {
			continue
		}
		r.Hits++
		return r
	}
	return nil
}

func (f *front) control(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Method {
	case http.MethodDelete:
		f.rules = nil
		f.service.ClearFaultRules()
	case http.MethodPut:
		var rules []*rule
		if err := json.NewDecoder(r.Body).Decode(&rules); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.service.ClearFaultRules()
		for _, one := range rules {
			if one.Method == "" {
				continue
			}
			fault := &simulator.FaultInjectionRule{MethodName: one.Method, ObjectType: star(one.Type), ObjectName: star(one.Object), Probability: 1,
				Message: one.Text, Delay: one.DelayMs, MaxCount: one.Times, SkipCount: one.After, Enabled: true, FaultType: simulator.FaultTypeCustom}
			kind, ok := types.TypeFunc()(one.Fault)
			if !ok {
				http.Error(w, "no such fault: "+one.Fault, http.StatusBadRequest)
				return
			}
			value, ok := reflect.New(kind).Interface().(types.BaseMethodFault)
			if !ok {
				http.Error(w, "not a fault: "+one.Fault, http.StatusBadRequest)
				return
			}
			fault.Fault = value
			f.service.AddFaultRule(fault)
		}
		f.rules = rules
	}
	writeJSON(w, http.StatusOK, map[string]any{"rules": f.rules, "simulator": f.service.GetFaultStats()})
}

func star(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

func (f *front) delays(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Task map[string]int `json:"task"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	delay := map[string]int{"LockHandoff": 0}
	for name, ms := range in.Task {
		delay[name] = ms
	}
	simulator.TaskDelay.MethodDelay = delay
	w.WriteHeader(http.StatusNoContent)
}

func (f *front) guest(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name string `json:"name"`
		IP   string `json:"ip"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx := context.Background()
	client, err := f.api.login(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = client.Logout(ctx) }()
	machine := named(ctx, client.Client, in.Name)
	if machine == nil {
		http.Error(w, "no machine "+strconv.Quote(in.Name), http.StatusNotFound)
		return
	}
	task, err := machine.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "SET.guest.ipAddress", Value: in.IP}, // the simulator's own door into the property tree
		&types.OptionValue{Key: "SET.guest.toolsRunningStatus", Value: "guestToolsRunning"},
	}})
	if err == nil {
		err = task.Wait(ctx)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func named(ctx context.Context, client *vim25.Client, name string) *object.VirtualMachine {
	for _, vm := range findAll(ctx, client) {
		if vm.Name() == name {
			return vm
		}
	}
	return nil
}
