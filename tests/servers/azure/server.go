package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

type object = map[string]any

// A resource is one thing in Resource Manager. hidden holds what is written and never read back (customData), or only on
// request (userData).
type resource struct {
	id, kind   string
	body       object
	hidden     object
	ready      time.Time // until then the provisioning goes on
	gone       time.Time // when a deletion is complete; zero: none is going on
	order      int
	broken     bool   // the provisioning ends in failure
	code, text string // of that
}

type operation struct {
	start, end time.Time
	code, text string // of a failure
}

type server struct {
	subscription string
	// Where the caller has asked: `https://127.0.0.1:8990`.
	base  string
	front *front

	mu         sync.Mutex
	resources  map[string]*resource // by id in lower case
	operations map[string]*operation
	accepted   map[string]bool // plans whose terms are accepted
	control    control
	counter    int
	pages      int // of lists, but the last of each
}

// control is what PUT /_control sets.
type control struct {
	Seconds    map[string]float64 `json:"seconds"`     // "create:microsoft.compute/virtualmachines", "delete:...", "action", "token"
	RetryAfter int                `json:"retry_after"` // in answers to long-running operations
	Page       int                `json:"page"`        // entries in one page of a list
	Cores      int                `json:"cores"`       // quota of cores, of each family and of the region
	Full       []string           `json:"full"`        // zones without room: a machine is refused there
	Pages      int                `json:"pages"`       // told, not taken: pages of lists that were not the last one
	Faults     []*fault           `json:"faults"`
}

// A fault matches "METHOD /path?query". Kind: status (code, text, retry_after), operation (the long-running operation is
// accepted and fails with code and text), reset (before), lost (carried out, the answer dropped), delay.
type fault struct {
	Match      string  `json:"match"`
	Kind       string  `json:"kind"`
	Status     int     `json:"status"`
	Code       string  `json:"code"`
	Text       string  `json:"text"`
	RetryAfter string  `json:"retry_after"`
	Seconds    float64 `json:"seconds"`
	After      int     `json:"after"`
	Times      int     `json:"times"`
	Seen       int     `json:"seen"`
	Hits       int     `json:"hits"`
}

func newServer(front *front, subscription string) *server {
	s := &server{front: front, subscription: subscription}
	s.reset()
	return s
}

func (s *server) reset() {
	s.resources, s.operations, s.accepted = map[string]*resource{}, map[string]*operation{}, map[string]bool{}
	s.control = control{Seconds: map[string]float64{}, RetryAfter: 1, Page: 50, Cores: 1000}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hit := s.pick(r)
	s.mu.Unlock()
	if hit == nil {
		s.serve(w, r, nil)
		return
	}
	time.Sleep(time.Duration(hit.Seconds * float64(time.Second)))
	switch hit.Kind {
	case "status":
		if hit.RetryAfter != "" {
			w.Header().Set("Retry-After", hit.RetryAfter)
		}
		fail(w, hit.Status, hit.Code, hit.Text)
	case "reset":
		panic(http.ErrAbortHandler)
	case "lost":
		s.serve(httptest.NewRecorder(), r, nil)
		panic(http.ErrAbortHandler)
	case "operation":
		s.serve(w, r, hit)
	default:
		s.serve(w, r, nil)
	}
}

func (s *server) pick(r *http.Request) *fault {
	for _, f := range s.control.Faults {
		if ok, _ := regexp.MatchString(f.Match, r.Method+" "+r.URL.RequestURI()); !ok {
			continue
		}
		f.Seen++
		if f.Seen > f.After && (f.Times == 0 || f.Hits < f.Times) {
			f.Hits++
			return f
		}
	}
	return nil
}

func (s *server) steer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodPut:
		next := s.control
		next.Faults, next.Seconds, next.Full = nil, map[string]float64{}, nil
		if err := json.NewDecoder(r.Body).Decode(&next); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.control = next
	case http.MethodDelete:
		s.reset()
	}
	told := s.control
	told.Pages = s.pages
	answer(w, http.StatusOK, told)
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, hit *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = base(r)
	w.Header().Set("x-ms-request-id", token()[:32])
	w.Header().Set("x-ms-ratelimit-remaining-subscription-reads", "11999")
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if end, ok := s.front.token(bearer); !ok || time.Now().After(end) {
		code, text := "InvalidAuthenticationToken", "The access token is invalid."
		if ok {
			code, text = "ExpiredAuthenticationToken", "The access token expiry UTC time is in the past."
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization_uri="%s/%s", error="invalid_token", error_description="%s"`, s.base, s.front.tenant, text))
		fail(w, http.StatusUnauthorized, code, text)
		return
	}
	version := r.URL.Query().Get("api-version")
	if !regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`).MatchString(version) {
		fail(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
		return
	}
	s.settle()
	s.route(w, r, hit)
}

// settle completes what is due.
func (s *server) settle() {
	now := time.Now()
	for id, one := range s.resources {
		switch {
		case !one.gone.IsZero() && now.After(one.gone):
			delete(s.resources, id)
		case !one.gone.IsZero():
			set(one.body, "Deleting", "properties", "provisioningState")
		case now.After(one.ready) && one.broken:
			set(one.body, "Failed", "properties", "provisioningState")
		case now.After(one.ready):
			set(one.body, "Succeeded", "properties", "provisioningState")
		}
	}
}

// A target is a path of Resource Manager, taken apart.
type target struct {
	group, provider, kind string
	names                 []string
	collection            bool
	action                string
}

func parse(path string) (t target, subscription string, ok bool) {
	part := strings.Split(strings.Trim(path, "/"), "/")
	if len(part) < 2 || !strings.EqualFold(part[0], "subscriptions") {
		return t, "", false
	}
	subscription, part = part[1], part[2:]
	if len(part) >= 1 && strings.EqualFold(part[0], "resourcegroups") {
		if len(part) == 1 {
			return target{kind: "microsoft.resources/resourcegroups", collection: true}, subscription, true
		}
		t.group, part = part[1], part[2:]
		if len(part) == 0 {
			return target{group: t.group, kind: "microsoft.resources/resourcegroups", names: []string{t.group}}, subscription, true
		}
	}
	if len(part) == 1 && strings.EqualFold(part[0], "resources") {
		t.kind, t.collection = "resources", true
		return t, subscription, true
	}
	if len(part) < 3 || !strings.EqualFold(part[0], "providers") {
		return t, subscription, false
	}
	t.provider = part[1]
	t.kind = strings.ToLower(part[1])
	for i := 2; i < len(part); i += 2 {
		if _, known := models[t.kind]; known && i == len(part)-1 {
			if _, deeper := models[t.kind+"/"+strings.ToLower(part[i])]; !deeper {
				t.action = strings.ToLower(part[i])
				return t, subscription, true
			}
		}
		t.kind += "/" + strings.ToLower(part[i])
		if i+1 < len(part) {
			t.names = append(t.names, part[i+1])
		} else {
			t.collection = true
		}
	}
	return t, subscription, true
}

func (s *server) route(w http.ResponseWriter, r *http.Request, hit *fault) {
	t, subscription, ok := parse(r.URL.Path)
	if !ok {
		fail(w, http.StatusNotFound, "InvalidRequestUri", "The request URI is not valid: "+r.URL.Path)
		return
	}
	if !strings.EqualFold(subscription, s.subscription) {
		fail(w, http.StatusNotFound, "SubscriptionNotFound", "The subscription '"+subscription+"' could not be found.")
		return
	}
	if strings.Contains(t.kind, "/locations") {
		s.location(w, r)
		return
	}
	if s.facts(w, r, t) || s.retag(w, r) {
		return
	}
	if t.group != "" && t.kind != "microsoft.resources/resourcegroups" && s.resources[s.groupID(t.group)] == nil {
		fail(w, http.StatusNotFound, "ResourceGroupNotFound", "Resource group '"+t.group+"' could not be found.")
		return
	}
	if _, known := models[t.kind]; !known && t.kind != "resources" {
		fail(w, http.StatusBadRequest, "InvalidResourceType", "The resource type could not be found in the namespace '"+t.provider+"' for api version '"+r.URL.Query().Get("api-version")+"'.")
		return
	}
	if t.collection {
		s.list(w, r, t)
		return
	}
	id := r.URL.Path
	if t.action != "" {
		id = id[:strings.LastIndex(strings.TrimRight(id, "/"), "/")]
	}
	one := s.resources[strings.ToLower(strings.TrimRight(id, "/"))]
	if t.kind == poolKind && r.Method == http.MethodGet && one == nil {
		one = s.pool(strings.TrimRight(id, "/"))
	}
	if one == nil && !(r.Method == http.MethodPut && t.action == "") {
		if r.Method == http.MethodDelete && t.action == "" && t.kind != "microsoft.resources/resourcegroups" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if t.kind == "microsoft.resources/resourcegroups" {
			fail(w, http.StatusNotFound, "ResourceGroupNotFound", "Resource group '"+t.group+"' could not be found.")
			return
		}
		fail(w, http.StatusNotFound, "ResourceNotFound", fmt.Sprintf("The Resource '%s/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", t.provider+t.kind[len(t.provider):], strings.Join(t.names, "/"), t.group))
		return
	}
	switch {
	case t.action != "":
		s.act(w, r, t, one, hit)
	case r.Method == http.MethodGet:
		s.show(w, http.StatusOK, one, r.URL.Query().Get("$expand"))
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.put(w, r, t, strings.TrimRight(id, "/"), one, hit)
	case r.Method == http.MethodPatch:
		s.patch(w, r, t, one)
	case r.Method == http.MethodDelete:
		s.remove(w, r, t, one, hit)
	default:
		fail(w, http.StatusMethodNotAllowed, "HttpMethodNotAllowed", "The method is not allowed.")
	}
}

func (s *server) groupID(name string) string {
	return strings.ToLower("/subscriptions/" + s.subscription + "/resourceGroups/" + name)
}

func (s *server) list(w http.ResponseWriter, r *http.Request, t target) {
	query := r.URL.Query()
	parent := strings.ToLower(strings.TrimRight(r.URL.Path, "/"))
	var found []*resource
	for id, one := range s.resources {
		switch {
		case t.kind == "resources":
			if one.kind == "microsoft.resources/resourcegroups" || !fitsFilter(one, query.Get("$filter")) {
				continue
			}
		case one.kind != t.kind:
			continue
		case len(t.names) > 0 && !strings.HasPrefix(id, parent+"/"):
			continue
		}
		if t.group != "" && !strings.HasPrefix(id, s.groupID(t.group)+"/") {
			continue
		}
		found = append(found, one)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].order < found[j].order })
	skip, _ := strconv.Atoi(query.Get("$skiptoken"))
	page := s.control.Page
	if n, err := strconv.Atoi(query.Get("$top")); err == nil && n > 0 && n < page {
		page = n
	}
	out := object{"value": []any{}}
	statusOnly := strings.EqualFold(query.Get("statusOnly"), "true")
	if statusOnly && t.group != "" {
		fail(w, http.StatusBadRequest, "InvalidParameter", "statusOnly is of a subscription, not of a resource group.")
		return
	}
	if strings.Contains(strings.ToLower(query.Get("$expand")), "instanceview") {
		fail(w, http.StatusBadRequest, "InvalidParameter", "instanceView can be expanded with a filter by virtualMachineScaleSet/id only.")
		return
	}
	if skip < len(found) {
		end := min(skip+page, len(found))
		var values []any
		for _, one := range found[skip:end] {
			body := one.body
			if statusOnly {
				body = object{"id": one.body["id"], "name": one.body["name"], "type": one.body["type"], "location": one.body["location"],
					"properties": object{"vmId": get(one.body, "properties", "vmId"), "instanceView": s.view(one)}}
			}
			if t.kind == "resources" {
				body = object{}
				for _, name := range []string{"id", "name", "type", "location", "tags", "zones"} {
					if v, ok := one.body[name]; ok {
						body[name] = v
					}
				}
			}
			values = append(values, body)
		}
		out["value"] = values
		if end < len(found) {
			s.pages++
			query.Set("$skiptoken", strconv.Itoa(end))
			out["nextLink"] = s.base + r.URL.Path + "?" + query.Encode()
		}
	}
	answer(w, http.StatusOK, out)
}

var filterPart = regexp.MustCompile(`(?i)(resourceType|tagName|tagValue|name|location) eq '([^']*)'`)

func fitsFilter(one *resource, filter string) bool {
	var tag string
	for _, m := range filterPart.FindAllStringSubmatch(filter, -1) {
		switch strings.ToLower(m[1]) {
		case "resourcetype":
			if !strings.EqualFold(one.kind, m[2]) {
				return false
			}
		case "tagname":
			tag = m[2]
			if text(one.body, "tags", tag) == "" {
				return false
			}
		case "tagvalue":
			if text(one.body, "tags", tag) != m[2] {
				return false
			}
		case "name", "location":
			if !strings.EqualFold(text(one.body, strings.ToLower(m[1])), m[2]) {
				return false
			}
		}
	}
	return true
}

// show sends a resource, after Microsoft's type has accepted it.
func (s *server) show(w http.ResponseWriter, status int, one *resource, expand string) {
	body := one.body
	if expand != "" {
		body = clone(body)
		if strings.Contains(strings.ToLower(expand), "userdata") && one.hidden["userData"] != nil {
			set(body, one.hidden["userData"], "properties", "userData")
		}
		if strings.Contains(strings.ToLower(expand), "instanceview") {
			set(body, s.view(one), "properties", "instanceView")
		}
	}
	data, _ := json.Marshal(body)
	if err := fits(data, models[one.kind]()); err != nil {
		fail(w, http.StatusInternalServerError, "AnswerDoesNotFit", "this server's own answer does not fit Microsoft's type: "+err.Error())
		return
	}
	answer(w, status, body)
}

// long starts a long-running operation and sets its headers.
func (s *server) long(w http.ResponseWriter, t target, place string, seconds float64, hit *fault, location bool) {
	op := &operation{start: time.Now(), end: time.Now().Add(time.Duration(seconds * float64(time.Second)))}
	if hit != nil {
		op.code, op.text = hit.Code, hit.Text
	}
	id := uuid()
	s.operations[id] = op
	if place == "" {
		place = "westeurope"
	}
	provider := t.provider
	if provider == "" {
		provider = "Microsoft.Resources"
	}
	at := fmt.Sprintf("%s/subscriptions/%s/providers/%s/locations/%s/operations/%s?api-version=2024-07-01", s.base, s.subscription, provider, place, id)
	w.Header().Set("Azure-AsyncOperation", at)
	if location {
		w.Header().Set("Location", at+"&monitor=true")
	}
	w.Header().Set("Retry-After", strconv.Itoa(s.control.RetryAfter))
}

func (s *server) seconds(what, kind string) float64 {
	if v, ok := s.control.Seconds[what+":"+kind]; ok {
		return v
	}
	return s.control.Seconds[what]
}

// location answers operations and the image catalogue.
func (s *server) location(w http.ResponseWriter, r *http.Request) {
	if i := strings.Index(strings.ToLower(r.URL.Path), "/operations/"); i >= 0 {
		id := r.URL.Path[i+len("/operations/"):]
		op := s.operations[id]
		if op == nil {
			fail(w, http.StatusNotFound, "OperationNotFound", "The operation '"+id+"' was not found.")
			return
		}
		done := time.Now().After(op.end)
		w.Header().Set("Retry-After", strconv.Itoa(s.control.RetryAfter))
		if r.URL.Query().Get("monitor") == "true" {
			switch {
			case !done:
				w.Header().Set("Location", s.base+r.URL.RequestURI())
				w.WriteHeader(http.StatusAccepted)
			case op.code != "":
				fail(w, http.StatusConflict, op.code, op.text)
			default:
				w.WriteHeader(http.StatusNoContent)
			}
			return
		}
		out := object{"name": id, "startTime": op.start.UTC().Format(time.RFC3339Nano), "status": "InProgress"}
		if done {
			out["endTime"], out["status"] = op.end.UTC().Format(time.RFC3339Nano), "Succeeded"
			if op.code != "" {
				out["status"], out["error"] = "Failed", object{"code": op.code, "message": op.text}
			}
		}
		answer(w, http.StatusOK, out)
		return
	}
	s.catalogue(w, r)
}

func fail(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("x-ms-error-code", code)
	answer(w, status, object{"error": object{"code": code, "message": text}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func clone(in object) (out object) {
	data, _ := json.Marshal(in)
	_ = json.Unmarshal(data, &out)
	return out
}

func get(in any, path ...string) any {
	for _, name := range path {
		m, ok := in.(map[string]any)
		if !ok {
			return nil
		}
		in = m[name]
	}
	return in
}

func text(in any, path ...string) string {
	s, _ := get(in, path...).(string)
	return s
}

func list(in any, path ...string) []any {
	l, _ := get(in, path...).([]any)
	return l
}

func set(in object, value any, path ...string) {
	for _, name := range path[:len(path)-1] {
		next, ok := in[name].(map[string]any)
		if !ok {
			next = object{}
			in[name] = next
		}
		in = next
	}
	in[path[len(path)-1]] = value
}

func token() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func uuid() string {
	t := token()
	return t[:8] + "-" + t[8:12] + "-4" + t[13:16] + "-8" + t[17:20] + "-" + t[20:32]
}

func read(r *http.Request) []byte {
	data, _ := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	return bytes.TrimSpace(data)
}
