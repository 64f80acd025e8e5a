package search_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// TestRequiredFilter: what the policy requires holds besides what the caller asks,
// whatever that is, in hits, facets and suggestions.
func TestRequiredFilter(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("alice")
	h.create(ctx, "c")
	h.put(ctx, "c",
		withMetadata(t, doc("public", "gates of the fortress"), map[string]any{"class": "public", "year": 2020}),
		withMetadata(t, doc("secret", "gates of the treasury"), map[string]any{"class": "secret", "year": 2020}),
		withMetadata(t, doc("both", "gates of the tower"), map[string]any{"class": []any{"public", "secret"}, "year": 2021}),
		withMetadata(t, doc("none", "gates of the garden"), map[string]any{"year": 2022}),
	)
	for required, want := range map[string]string{
		`NOT class:"secret"`: "none public", `class = "public"`: "public", `class = "public" OR NOT class:* OR class = ""`: "none public", "": "both none public secret",
	} {
		for _, mode := range []string{"hybrid", "lexical", "vector"} {
			for _, filter := range []string{"", "year >= 2020", `class = "secret" OR year > 0`, "NOT year = 0"} {
				resp := h.search(ctx, &searchv1.SearchRequest{
					Collection: "c", Query: "gates", Mode: mode, Filter: filter, RequiredFilter: required, Suggest: true,
					Facets: []*searchv1.FacetRequest{{Field: "class"}},
				})
				var ids []string
				for _, id := range []string{"both", "none", "public", "secret"} {
					for _, hit := range resp.GetHits() {
						if hit.GetDocumentId() == id {
							ids = append(ids, id)
						}
					}
				}
				if got := strings.Join(ids, " "); got != want {
					t.Errorf("%s, %q, %q: %q, want %q", mode, filter, required, got, want)
				}
				if text := resp.GetFacets()[0].String(); required != "" && strings.Contains(text, "secret") {
					t.Errorf("%s, %q, %q: a facet tells of it: %s", mode, filter, required, text)
				}
			}
		}
	}
	// The caller's filter cannot close a bracket of ours.
	_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "gates", Filter: `year > 0) OR (year > 0`, RequiredFilter: `class = "public"`})
	h.wantReason(err, apierr.InvalidArgument, "filter")
	if resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "treasurry", Mode: "lexical", RequiredFilter: `class = "public"`, Suggest: true}); resp.GetSuggestion() != "" {
		t.Errorf("suggested %q", resp.GetSuggestion())
	}
}

// TestPagesUnderARequiredFilter: the token of a search without it goes on with none
// under it.
func TestPagesUnderARequiredFilter(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("alice")
	h.create(ctx, "c")
	for _, id := range []string{"a", "b", "c", "d"} {
		h.put(ctx, "c", withMetadata(t, doc(id, "gates of "+id), map[string]any{"class": "secret"}))
	}
	open := &searchv1.SearchRequest{Collection: "c", Query: "gates", Mode: "lexical", TopK: 1}
	first := h.search(ctx, open)
	if first.GetNextPageToken() == "" {
		t.Fatal("there is one page")
	}
	held := proto.CloneOf(open)
	held.RequiredFilter, held.PageToken = `NOT class:"secret"`, first.GetNextPageToken()
	_, err := h.client.Search(ctx, held)
	h.wantReason(err, apierr.InvalidArgument, "page_token")
}
