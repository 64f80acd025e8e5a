package gateway

import (
	"slices"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func TestRoutes(t *testing.T) {
	var rs routes
	for _, s := range []struct{ err error }{
		{rs.add(searchv1.File_poterne_search_v1_search_proto.Services().Get(0))},
		{rs.add(edgev1.File_poterne_edge_v1_openai_proto.Services().Get(0))},
	} {
		if s.err != nil {
			t.Fatal(s.err)
		}
	}
	rs.page("GET", "/", "")
	tests := []struct {
		method, path, template string
		allowed                []string
	}{
		{"POST", "/v1/collections/c:search", "/v1/collections/{collection}:search", nil},
		{"GET", "/v1/collections/c:search", "/v1/collections/{collection}", nil}, // a collection of that name
		{"POST", "/v1/collections/c/documents:batchUpsert", "/v1/collections/{collection}/documents:batchUpsert", nil},
		{"HEAD", "/v1/collections/c/documents/a:b", "/v1/collections/{collection}/documents/{document}", nil},
		{"GET", "/v1/models/m@sha256:ab", "/v1/models/{model}", nil},
		{"GET", "/", "/", nil},
		{"GET", "/v1/models/", "", nil},
		{"GET", "//v1/models", "", nil},
		{"GET", "/v1/models/a/b", "", nil},
		{"PATCH", "/v1/models", "", []string{"GET", "HEAD", "OPTIONS"}},
		{"GET", "/v1/chat/completions", "", []string{"OPTIONS", "POST"}},
		{"PUT", "/v1/collections/c", "", []string{"DELETE", "GET", "HEAD", "OPTIONS"}},
	}
	for _, tt := range tests {
		rt, allowed := rs.find(tt.method, tt.path)
		got := ""
		if rt != nil {
			got = rt.template
		}
		if got != tt.template || !slices.Equal(allowed, tt.allowed) {
			t.Errorf("%s %s: %q, %v; want %q, %v", tt.method, tt.path, got, allowed, tt.template, tt.allowed)
		}
	}
}
