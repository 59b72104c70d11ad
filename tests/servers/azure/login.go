package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A front is what all subscriptions share: Entra ID, the metadata service of a machine, and a CI system that gives tokens.
type front struct {
	tenant, client, secret string

	mu     sync.Mutex
	worlds map[string]*server
	tokens map[string]time.Time
}

func newFront() *front {
	return &front{tenant: "22222222-2222-2222-2222-222222222222", client: "33333333-3333-3333-3333-333333333333", secret: "secret",
		worlds: map[string]*server{}, tokens: map[string]time.Time{}}
}

// The subscription of who names none.
const usual = "11111111-1111-1111-1111-111111111111"

func (f *front) world(subscription string) *server {
	f.mu.Lock()
	defer f.mu.Unlock()
	subscription = strings.ToLower(subscription)
	s := f.worlds[subscription]
	if s == nil {
		s = newServer(f, subscription)
		f.worlds[subscription] = s
	}
	return s
}

func (f *front) token(bearer string) (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end, ok := f.tokens[bearer]
	return end, ok
}

func base(r *http.Request) string {
	if r.TLS == nil {
		return "http://" + r.Host
	}
	return "https://" + r.Host
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/_control":
		subscription := r.URL.Query().Get("subscription")
		if subscription == "" {
			subscription = usual
		}
		f.world(subscription).steer(w, r)
	case part[0] == "_blob" && len(part) > 1:
		f.world(part[1]).blob(w, r)
	case strings.EqualFold(part[0], "subscriptions") && len(part) > 1:
		if !isUUID(part[1]) {
			fail(w, http.StatusNotFound, "SubscriptionNotFound", "The subscription '"+part[1]+"' could not be found.")
			return
		}
		f.world(part[1]).ServeHTTP(w, r)
	default:
		f.login(w, r)
	}
}

func isUUID(text string) bool {
	return len(text) == 36 && strings.Count(text, "-") == 4
}

func (f *front) give(w http.ResponseWriter, form func(object)) {
	life := 3599.0
	if seconds, ok := f.world(usual).control.Seconds["token"]; ok {
		life = seconds
	}
	t := token()
	f.mu.Lock()
	f.tokens[t] = time.Now().Add(time.Duration(life * float64(time.Second)))
	f.mu.Unlock()
	said := object{"token_type": "Bearer", "expires_in": int(life), "ext_expires_in": int(life), "access_token": t}
	form(said)
	answer(w, http.StatusOK, said)
}

// A token that the CI system gives, and Entra ID takes: the tests have it in a file, too.
const federated = "oidc-token-of-the-tests"

func (f *front) login(w http.ResponseWriter, r *http.Request) {
	base := base(r)
	switch {
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		answer(w, http.StatusOK, object{"tenant_discovery_endpoint": base + "/" + f.tenant + "/v2.0/.well-known/openid-configuration", "api-version": "1.1",
			"metadata": []any{object{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host}}}})
	case strings.HasSuffix(r.URL.Path, "/v2.0/.well-known/openid-configuration"):
		answer(w, http.StatusOK, object{"token_endpoint": base + "/" + f.tenant + "/oauth2/v2.0/token", "authorization_endpoint": base + "/" + f.tenant + "/oauth2/v2.0/authorize",
			"issuer": base + "/" + f.tenant + "/v2.0"})
	case r.URL.Path == "/metadata/identity/oauth2/token":
		query := r.URL.Query()
		if r.Header.Get("Metadata") != "true" || query.Get("api-version") != "2018-02-01" || query.Get("resource") == "" {
			answer(w, http.StatusBadRequest, object{"error": "invalid_request", "error_description": "Required metadata header, version or resource is not specified"})
			return
		}
		if client := query.Get("client_id"); client != "" && client != f.client {
			answer(w, http.StatusBadRequest, object{"error": "invalid_request", "error_description": "Identity not found"})
			return
		}
		f.give(w, func(said object) { said["expires_in"] = fmt.Sprint(said["expires_in"]) }) // a string there
	case r.URL.Path == "/_ci/token":
		if r.Header.Get("Authorization") != "Bearer request-token" || r.URL.Query().Get("audience") != "api://AzureADTokenExchange" {
			answer(w, http.StatusUnauthorized, object{"message": "no"})
			return
		}
		answer(w, http.StatusOK, object{"count": 1, "value": federated})
	case r.URL.Path == "/"+f.tenant+"/oauth2/v2.0/token" && r.Method == http.MethodPost:
		f.exchange(w, r)
	case strings.Contains(r.URL.Path, "/oauth2/"):
		answer(w, http.StatusBadRequest, object{"error": "invalid_request", "error_description": "AADSTS90002: Tenant not found. Trace ID: 0"})
	default:
		fail(w, http.StatusNotFound, "InvalidRequestUri", "The request URI is not valid: "+r.URL.Path)
	}
}

func (f *front) exchange(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	form := r.PostForm
	refuse := func(status int, code, number, text string) {
		answer(w, status, object{"error": code, "error_description": "AADSTS" + number + ": " + text + " Trace ID: 0 Correlation ID: 0", "error_codes": []string{number}})
	}
	scope := form.Get("scope")
	switch {
	case form.Get("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", "70003", "The app requested an unsupported grant type.")
	case !strings.HasSuffix(scope, "/.default") && !strings.Contains(scope, "/.default "):
		refuse(http.StatusBadRequest, "invalid_scope", "1002012", "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.")
	case form.Get("client_id") != f.client:
		refuse(http.StatusBadRequest, "unauthorized_client", "700016", "Application with identifier '"+form.Get("client_id")+"' was not found in the directory.")
	case form.Get("client_assertion") != "":
		if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			refuse(http.StatusBadRequest, "invalid_request", "50027", "Invalid assertion type.")
		} else if assertion := form.Get("client_assertion"); assertion != federated && !f.signed(assertion, base(r)) {
			refuse(http.StatusUnauthorized, "invalid_client", "700027", "Client assertion contains an invalid signature.")
		} else {
			f.give(w, func(object) {})
		}
	case form.Get("client_secret") != f.secret:
		refuse(http.StatusUnauthorized, "invalid_client", "7000215", "Invalid client secret provided.")
	default:
		f.give(w, func(object) {})
	}
}

// signed says whether an assertion has the form and the claims that Entra ID wants; whose certificate it is, it does not know.
func (f *front) signed(assertion, base string) bool {
	part := strings.Split(assertion, ".")
	if len(part) != 3 || part[2] == "" {
		return false
	}
	read := func(text string) (out object) {
		data, _ := base64.RawURLEncoding.DecodeString(text)
		_ = json.Unmarshal(data, &out)
		return out
	}
	head, claims := read(part[0]), read(part[1])
	end, _ := claims["exp"].(float64)
	return text(head, "alg") == "RS256" && len(text(head, "x5t#S256")) == 43 && text(claims, "aud") == base+"/"+f.tenant+"/oauth2/v2.0/token" &&
		text(claims, "iss") == f.client && text(claims, "sub") == f.client && text(claims, "jti") != "" && int64(end) > time.Now().Unix()
}
