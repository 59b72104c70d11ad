package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const sessionHeader = "vmware-api-session-id"

// A call makes the empty request and response bodies of one method.
type call func() (request, response soap.HasFault)

var calls = map[string]call{}

func on[B any, P interface {
	*B
	soap.HasFault
}]() {
	name := strings.TrimSuffix(reflect.TypeFor[B]().Name(), "Body")
	calls[name] = func() (soap.HasFault, soap.HasFault) { return P(new(B)), P(new(B)) }
}

func init() {
	on[methods.RetrieveServiceContentBody]()
	on[methods.CurrentTimeBody]()
	on[methods.LoginBody]()
	on[methods.LogoutBody]()
	on[methods.SessionIsActiveBody]()
	on[methods.TerminateSessionBody]()
	on[methods.CreateFilterBody]()
	on[methods.DestroyPropertyFilterBody]()
	on[methods.CreatePropertyCollectorBody]()
	on[methods.DestroyPropertyCollectorBody]()
	on[methods.RetrievePropertiesBody]()
	on[methods.RetrievePropertiesExBody]()
	on[methods.ContinueRetrievePropertiesExBody]()
	on[methods.CancelRetrievePropertiesExBody]()
	on[methods.WaitForUpdatesBody]()
	on[methods.WaitForUpdatesExBody]()
	on[methods.CancelWaitForUpdatesBody]()
	on[methods.CheckForUpdatesBody]()
	on[methods.CreateContainerViewBody]()
	on[methods.CreateListViewBody]()
	on[methods.DestroyViewBody]()
	on[methods.FindByInventoryPathBody]()
	on[methods.FindByUuidBody]()
	on[methods.FindAllByUuidBody]()
	on[methods.FindByDnsNameBody]()
	on[methods.FindByIpBody]()
	on[methods.FindChildBody]()
	on[methods.CloneVM_TaskBody]()
	on[methods.InstantClone_TaskBody]()
	on[methods.CreateVM_TaskBody]()
	on[methods.RegisterVM_TaskBody]()
	on[methods.UnregisterVMBody]()
	on[methods.ReconfigVM_TaskBody]()
	on[methods.RelocateVM_TaskBody]()
	on[methods.PowerOnVM_TaskBody]()
	on[methods.PowerOffVM_TaskBody]()
	on[methods.ResetVM_TaskBody]()
	on[methods.SuspendVM_TaskBody]()
	on[methods.ShutdownGuestBody]()
	on[methods.RebootGuestBody]()
	on[methods.StandbyGuestBody]()
	on[methods.CustomizeVM_TaskBody]()
	on[methods.UpgradeVM_TaskBody]()
	on[methods.MarkAsTemplateBody]()
	on[methods.MarkAsVirtualMachineBody]()
	on[methods.CreateSnapshot_TaskBody]()
	on[methods.RemoveSnapshot_TaskBody]()
	on[methods.RemoveAllSnapshots_TaskBody]()
	on[methods.RevertToSnapshot_TaskBody]()
	on[methods.RevertToCurrentSnapshot_TaskBody]()
	on[methods.Destroy_TaskBody]()
	on[methods.Rename_TaskBody]()
	on[methods.MoveIntoFolder_TaskBody]()
	on[methods.CreateFolderBody]()
	on[methods.CreateDatacenterBody]()
	on[methods.CreateResourcePoolBody]()
	on[methods.SetCustomValueBody]()
	on[methods.AddCustomFieldDefBody]()
	on[methods.RemoveCustomFieldDefBody]()
	on[methods.SetFieldBody]()
	on[methods.CancelTaskBody]()
	on[methods.CreateTaskBody]()
	on[methods.CreateCollectorForTasksBody]()
	on[methods.ReadNextTasksBody]()
	on[methods.QueryEventsBody]()
	on[methods.QueryOptionsBody]()
	on[methods.QueryConfigOptionBody]()
	on[methods.QueryConfigOptionExBody]()
	on[methods.QueryConfigTargetBody]()
	on[methods.ImportVAppBody]()
	on[methods.CreateImportSpecBody]()
	on[methods.ParseDescriptorBody]()
	on[methods.HttpNfcLeaseCompleteBody]()
	on[methods.HttpNfcLeaseAbortBody]()
	on[methods.HttpNfcLeaseProgressBody]()
	on[methods.SearchDatastore_TaskBody]()
	on[methods.SearchDatastoreSubFolders_TaskBody]()
	on[methods.DeleteDatastoreFile_TaskBody]()
	on[methods.MakeDirectoryBody]()
	on[methods.ReconfigureCluster_TaskBody]()
	on[methods.RecommendDatastoresBody]()
	on[methods.HasPrivilegeOnEntitiesBody]()
	on[methods.FetchUserPrivilegeOnEntitiesBody]()
}

// inProcess hands a request to a handler without a socket.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(request *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	if request.Body == nil {
		request.Body = http.NoBody
	}
	request.RequestURI = request.URL.RequestURI()
	p.handler.ServeHTTP(recorder, request)
	return recorder.Result(), nil
}

type vijson struct {
	soap http.Handler
	base *url.URL

	mu       sync.Mutex
	sessions map[string]*soap.Client
	clones   int
}

func (v *vijson) expire() {
	v.mu.Lock()
	v.sessions = map[string]*soap.Client{}
	v.mu.Unlock()
}

func (v *vijson) newClient() *soap.Client {
	client := soap.NewClient(v.base, true)
	client.Transport = inProcess{v.soap}
	client.Namespace, client.Version = "urn:vim25", "8.0.1.0"
	return client
}

// ServeHTTP answers /sdk/vim25/{release}/{type}/{id}/{method or property}.
func (v *vijson) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/sdk/vim25/"), "/")
	if len(part) != 4 {
		http.NotFound(w, r)
		return
	}
	if !strings.HasPrefix(part[0], "8.") && !strings.HasPrefix(part[0], "9.") {
		http.NotFound(w, r) // releases before 8.0.1.0 have no VI/JSON
		return
	}
	this := types.ManagedObjectReference{Type: part[1], Value: part[2]}

	id := r.Header.Get(sessionHeader)
	v.mu.Lock()
	client := v.sessions[id]
	v.mu.Unlock()
	if client == nil {
		// "NotAuthenticated: thrown when a request is made without a session", vSphere Web Services API, Faults. The simulator answers a
		// query without one by objects that lack their properties.
		if !isOpen(part[1], part[3]) {
			writeFault(w, http.StatusInternalServerError, types.NotAuthenticated{}, "The session is not authenticated.")
			return
		}
		client = v.newClient()
	}

	switch r.Method {
	case http.MethodPost:
		v.method(w, r, client, this, part[3])
	case http.MethodGet:
		v.property(w, r, client, this, part[3])
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// isOpen says what may be asked before a login: see ServiceInstance and SessionManager.Login in the API reference.
func isOpen(kind, name string) bool {
	return kind == "ServiceInstance" || (kind == "SessionManager" && name == "Login")
}

func (v *vijson) method(w http.ResponseWriter, r *http.Request, client *soap.Client, this types.ManagedObjectReference, name string) {
	make, ok := calls[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	request, response := make()
	field := reflect.ValueOf(request).Elem().FieldByName("Req")
	params := reflect.New(field.Type().Elem())
	body, err := io.ReadAll(r.Body)
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); media != "application/json" && media != "" { // VMware's own client sends none
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		decoder := types.NewJSONDecoder(bytes.NewReader(body))
		if err = strict(body, params.Type()); err == nil {
			err = decoder.Decode(params.Interface())
		}
	}
	if err != nil {
		writeFault(w, http.StatusBadRequest, types.InvalidRequest{}, err.Error())
		return
	}
	params.Elem().FieldByName("This").Set(reflect.ValueOf(this))
	if clone, ok := params.Interface().(*types.CloneVM_Task); ok {
		v.guest(clone)
	}
	field.Set(params)

	if err := client.RoundTrip(context.Background(), request, response); err != nil {
		writeError(w, err)
		return
	}
	switch name {
	case "Login":
		id := v.cookie(client)
		v.mu.Lock()
		v.sessions[id] = client
		v.mu.Unlock()
		w.Header().Set(sessionHeader, id)
	case "Logout":
		v.mu.Lock()
		delete(v.sessions, r.Header.Get(sessionHeader))
		v.mu.Unlock()
	}
	result := reflect.ValueOf(response).Elem().FieldByName("Res").Elem().FieldByName("Returnval")
	if !result.IsValid() || (result.Kind() == reflect.Pointer && result.IsNil()) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeValue(w, http.StatusOK, result.Interface())
}

// guest makes VMware Tools of a clone come up at once, with an address of its own; the simulator has no guests.
func (v *vijson) guest(clone *types.CloneVM_Task) {
	v.mu.Lock()
	v.clones++
	n := v.clones
	v.mu.Unlock()
	if clone.Spec.Config == nil {
		clone.Spec.Config = &types.VirtualMachineConfigSpec{}
	}
	clone.Spec.Config.ExtraConfig = append(clone.Spec.Config.ExtraConfig,
		&types.OptionValue{Key: "SET.guest.ipAddress", Value: fmt.Sprintf("10.%d.%d.%d", 1+n/62500%250, n/250%250, 1+n%250)},
		&types.OptionValue{Key: "SET.guest.toolsRunningStatus", Value: "guestToolsRunning"})
}

func (v *vijson) property(w http.ResponseWriter, r *http.Request, client *soap.Client, this types.ManagedObjectReference, name string) {
	if this.Type == "ServiceInstance" && name == "content" {
		response, err := methods.RetrieveServiceContent(r.Context(), client, &types.RetrieveServiceContent{This: this})
		if err != nil {
			writeError(w, err)
			return
		}
		writeValue(w, http.StatusOK, response.Returnval)
		return
	}
	response, err := methods.RetrievePropertiesEx(r.Context(), client, &types.RetrievePropertiesEx{
		This: types.ManagedObjectReference{Type: "PropertyCollector", Value: "propertyCollector"},
		SpecSet: []types.PropertyFilterSpec{{
			ObjectSet: []types.ObjectSpec{{Obj: this}},
			PropSet:   []types.PropertySpec{{Type: this.Type, PathSet: []string{name}}},
		}},
	})
	switch {
	case err != nil:
		writeError(w, err)
	case response.Returnval == nil || len(response.Returnval.Objects) == 0 || len(response.Returnval.Objects[0].PropSet) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeValue(w, http.StatusOK, response.Returnval.Objects[0].PropSet[0].Val)
	}
}

func (v *vijson) cookie(client *soap.Client) string {
	for _, cookie := range client.Jar.Cookies(v.base) {
		if cookie.Name == soap.SessionCookieName {
			return cookie.Value
		}
	}
	return ""
}

func writeError(w http.ResponseWriter, err error) {
	if soap.IsSoapFault(err) {
		fault := soap.ToSoapFault(err)
		writeFault(w, http.StatusInternalServerError, fault.VimFault(), fault.String)
		return
	}
	var inner interface{ Fault() types.BaseMethodFault }
	if errors.As(err, &inner) {
		writeFault(w, http.StatusInternalServerError, inner.Fault(), err.Error())
		return
	}
	http.Error(w, err.Error(), http.StatusBadGateway)
}

func writeFault(w http.ResponseWriter, status int, fault any, text string) {
	var out bytes.Buffer
	if fault == nil {
		fault = types.RuntimeFault{}
	}
	if err := types.NewJSONEncoder(&out).Encode(fault); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := bytes.TrimSuffix(bytes.TrimSpace(out.Bytes()), []byte("}"))
	quoted, _ := json.Marshal(text)
	comma := ","
	if bytes.Equal(body, []byte("{")) {
		comma = ""
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `%s%s"faultstring":%s}`, body, comma, quoted)
}

func writeValue(w http.ResponseWriter, status int, value any) {
	var out bytes.Buffer
	if err := types.NewJSONEncoder(&out).Encode(value); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}
