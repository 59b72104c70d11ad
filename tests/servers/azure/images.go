package main

import (
	"net/http"
	"regexp"
	"sort"
	"strings"
)

// A small marketplace and a community gallery, as Flatcar publishes them.
var (
	offers    = map[string][]string{"flatcar-container-linux-free": {"stable", "stable-gen2", "lts2024-gen2"}, "flatcar-container-linux-corevm-amd64": {"stable-gen2"}}
	releases  = []string{"4230.2.2", "4230.2.3", "4230.2.4"}
	community = "flatcar-23485951-527a-48d6-9d11-6931ff0afc2e"
	galleries = []string{"flatcar-stable-amd64", "flatcar-stable-arm64"}
)

var catalogPath = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/providers/Microsoft\.Compute/locations/([^/]+)/(publishers|communityGalleries)/([^/]+)/(.*)$`)

func (s *server) catalogue(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(strings.ToLower(r.URL.Path), "/usages") {
		s.usages(w)
		return
	}
	m := catalogPath.FindStringSubmatch(strings.TrimRight(r.URL.Path, "/"))
	if m == nil {
		fail(w, http.StatusNotFound, "InvalidResourceType", "This server does not know "+r.URL.Path)
		return
	}
	place, part := m[1], strings.Split(m[4], "/")
	entry := func(name string) object {
		return object{"location": place, "name": name, "id": r.URL.Path + "/" + name}
	}
	if strings.EqualFold(m[2], "communityGalleries") {
		if m[3] != community || len(part) < 1 || (len(part) > 1 && !contains(galleries, part[1])) {
			fail(w, http.StatusNotFound, "ResourceNotFound", "The community gallery image was not found.")
			return
		}
		unique := func(name string) object { return object{"uniqueId": "/CommunityGalleries/" + community + name} }
		switch {
		case len(part) == 2:
			answer(w, http.StatusOK, object{"name": part[1], "location": place, "identifier": unique("/Images/" + part[1]), "properties": object{"architecture": "x64", "osType": "Linux"}})
		case len(part) == 3: // images/NAME/versions
			values := []any{}
			for _, v := range releases {
				values = append(values, object{"name": v, "location": place, "type": "Microsoft.Compute/galleries/images/versions", "identifier": unique("/Images/" + part[1] + "/Versions/" + v), "properties": object{"publishedDate": "2026-01-01T00:00:00Z"}})
			}
			answer(w, http.StatusOK, object{"value": values})
		case len(part) == 4 && (contains(releases, part[3]) || part[3] == "latest"):
			answer(w, http.StatusOK, object{"name": part[3], "location": place, "identifier": unique("/Images/" + part[1] + "/Versions/" + part[3])})
		default:
			fail(w, http.StatusNotFound, "ResourceNotFound", "The community gallery image version was not found.")
		}
		return
	}
	if m[3] != "kinvolk" || len(part) < 3 {
		fail(w, http.StatusNotFound, "NotFound", "Artifact: "+r.URL.Path+" was not found.")
		return
	}
	out := []any{} // artifacttypes/vmimage/offers[/OFFER/skus[/SKU/versions[/VERSION]]]
	switch {
	case len(part) == 3:
		for offer := range offers {
			out = append(out, entry(offer))
		}
	case offers[part[3]] == nil:
		fail(w, http.StatusNotFound, "NotFound", "Artifact: "+r.URL.Path+" was not found.")
		return
	case len(part) == 5:
		for _, sku := range offers[part[3]] {
			out = append(out, entry(sku))
		}
	case len(part) >= 7 && !contains(offers[part[3]], part[5]):
		fail(w, http.StatusNotFound, "NotFound", "Artifact: "+r.URL.Path+" was not found.")
		return
	case len(part) == 7:
		names := append([]string{}, releases...)
		if strings.Contains(strings.ToLower(r.URL.Query().Get("$orderby")), "desc") {
			sort.Sort(sort.Reverse(sort.StringSlice(names)))
		}
		if top := r.URL.Query().Get("$top"); top == "1" {
			names = names[:1]
		}
		for _, v := range names {
			out = append(out, entry(v))
		}
	case len(part) == 8 && contains(releases, part[7]):
		e := entry(part[7])
		e["id"] = r.URL.Path
		properties := object{"osDiskImage": object{"operatingSystem": "Linux", "sizeInGb": 9}, "hyperVGeneration": "V2", "architecture": "x64"}
		if needsPlan(part[3]) {
			properties["plan"] = object{"publisher": "kinvolk", "name": part[5], "product": part[3]}
		}
		e["properties"] = properties
		answer(w, http.StatusOK, e)
		return
	default:
		fail(w, http.StatusNotFound, "NotFound", "Artifact: "+r.URL.Path+" was not found.")
		return
	}
	sort.Slice(out, func(i, j int) bool { return len(part) != 7 && text(out[i], "name") < text(out[j], "name") })
	answer(w, http.StatusOK, out)
}

// image checks a machine's imageReference.
func (s *server) image(p object, one *resource) (code, message string, status int) {
	ref, _ := get(p, "storageProfile", "imageReference").(map[string]any)
	if ref == nil {
		return "InvalidParameter", "Required parameter 'storageProfile.imageReference' is missing (null).", http.StatusBadRequest
	}
	switch {
	case text(ref, "communityGalleryImageId") != "":
		id := text(ref, "communityGalleryImageId")
		for _, name := range galleries {
			base := "/CommunityGalleries/" + community + "/Images/" + name
			if strings.EqualFold(id, base) || strings.EqualFold(id, base+"/Versions/latest") {
				ref["exactVersion"] = releases[len(releases)-1]
				return "", "", 0
			}
			for _, v := range releases {
				if strings.EqualFold(id, base+"/Versions/"+v) {
					ref["exactVersion"] = v
					return "", "", 0
				}
			}
		}
		return "GalleryImageNotFound", "The gallery image " + id + " is not available in " + text(one.body, "location") + " region.", http.StatusNotFound
	case text(ref, "id") != "":
		if s.resources[strings.ToLower(text(ref, "id"))] == nil {
			return "ImageNotFound", "The Image '" + text(ref, "id") + "' cannot be found in '" + text(one.body, "location") + "' region.", http.StatusNotFound
		}
	default:
		version := text(ref, "version")
		if text(ref, "publisher") != "kinvolk" || !contains(offers[text(ref, "offer")], text(ref, "sku")) || (version != "latest" && !contains(releases, version)) {
			return "PlatformImageNotFound", "The platform image '" + text(ref, "publisher") + ":" + text(ref, "offer") + ":" + text(ref, "sku") + ":" + version + "' is not available.", http.StatusNotFound
		}
		if needsPlan(text(ref, "offer")) && (text(one.body, "plan", "name") != text(ref, "sku") || text(one.body, "plan", "product") != text(ref, "offer")) {
			return "VMMarketplaceInvalidInput", "Creating a virtual machine from Marketplace image requires Plan information in the request. VM: '" + one.id + "'.", http.StatusBadRequest
		}
		ref["exactVersion"] = version
		if version == "latest" {
			ref["exactVersion"] = releases[len(releases)-1]
		}
	}
	return "", "", 0
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if strings.EqualFold(s, one) {
			return true
		}
	}
	return false
}

// needsPlan says whether an offer is sold by a plan.
func needsPlan(offer string) bool {
	return strings.HasSuffix(offer, "-free")
}
