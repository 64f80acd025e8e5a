package search_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// A document that was deleted is nowhere: no table has a row of it, no leg finds
// it, no answer holds its words, also after a restart.
func TestADeletedDocumentIsGoneFromEverywhere(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	long := strings.Repeat("The xylophone of the deleted document plays. ", 80)
	gone := withACL(withMetadata(t, doc("gone", long), map[string]any{"kind": "marimba"}), "user:ada")
	gone.Title = "Glockenspiel"
	h.put(ctx, "c", gone, doc("stays", "An open piano."))
	if got := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "xylophone", Mode: "lexical"}); len(got.GetHits()) < 2 {
		t.Fatalf("before: %v", got)
	}
	h.put(ctx, "c", withACL(doc("gone", long+"Rewritten."), "user:ada")) // an older version is gone likewise
	if _, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "gone"}); err != nil {
		t.Fatal(err)
	}
	nowhere := func() {
		t.Helper()
		for _, query := range []string{"xylophone", "glockenspiel", "the deleted document plays", "rewritten"} {
			for _, mode := range []string{"lexical", "vector", "hybrid"} {
				for _, only := range []string{"", `kind = "marimba"`, `NOT kind = "marimba"`} {
					resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: query, Mode: mode, Filter: only, TopK: 1000, Explain: true})
					for _, word := range []string{"xylophone", "Glockenspiel", "marimba", "gone", "Rewritten"} {
						if s := fmt.Sprint(resp.GetHits()); strings.Contains(s, word) {
							t.Errorf("%s %q %s: %s", mode, query, only, s)
						}
					}
				}
			}
		}
		_, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "gone"})
		h.wantReason(err, apierr.NotFound, "")
		list, err := h.client.ListDocuments(ctx, &searchv1.ListDocumentsRequest{Collection: "c"})
		if err != nil || len(list.GetDocuments()) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		c, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"})
		if err != nil || c.GetCollection().GetDocumentCount() != 1 || c.GetCollection().GetChunkCount() != 1 {
			t.Errorf("%v, %v", c, err)
		}
	}
	nowhere()
	h.stop()
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(h.dir, "truth.db")))
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]int{"search_documents": 1, "search_chunks": 1, "search_principals": 1} {
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != want {
			t.Errorf("%s has %d rows, %v", table, n, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h.start()
	nowhere()
}
