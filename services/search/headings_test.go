package search_test

import (
	"strings"
	"testing"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Hits say which headings their passages stand under; they are shown and nothing
// more, and change with the document.
func TestHitsTellTheirHeadings(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	if _, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{
		Id: "c", Chunking: &searchv1.Chunking{By: "structure"},
	}); err != nil {
		t.Fatal(err)
	}
	h.put(ctx, "c", doc("guide", "# Guide\n\n## Install\n\n### Linux\n\nRun make.\n\n## Use\n\nPress the button."), doc("plain", "Press nothing."))
	headings := func(query string) string {
		t.Helper()
		var out []string
		for _, hit := range h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: query, Mode: "lexical"}).GetHits() {
			out = append(out, hit.GetDocumentId()+": "+strings.Join(hit.GetHeadings(), " > "))
		}
		return strings.Join(out, "; ")
	}
	if got := headings("make"); got != "guide: Guide > Install > Linux" {
		t.Errorf("got %q", got)
	}
	if got := headings("+press"); got != "plain: ; guide: Guide > Use" {
		t.Errorf("got %q", got)
	}
	h.put(ctx, "c", doc("guide", "# Handbook\n\nRun make."))
	if got := headings("make"); got != "guide: Handbook" {
		t.Errorf("got %q", got)
	}
	before := h.inference.embedded()
	h.put(ctx, "c", withACL(doc("guide", "# Handbook\n\nRun make."), "user:ada"))
	if got := headings("make"); got != "guide: Handbook" || h.inference.embedded() != before {
		t.Errorf("got %q", got)
	}
}
