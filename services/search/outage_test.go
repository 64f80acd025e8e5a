package search_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// TestAnIndexThatCannotBeWritten puts a file where the index's directory was,
// and then gives the directory back.
func TestAnIndexThatCannotBeWritten(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Index.PollInterval = 5 * time.Millisecond })
	turned := make(chan bool, 8)
	h.service.Readiness().Subscribe(func(ready bool) { turned <- ready })
	if !<-turned {
		t.Fatal("not ready at first")
	}
	if err := os.RemoveAll(h.cfg.Index.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.cfg.Index.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := h.as("ada")
	h.create(ctx, "c")
	// What is written is kept, and its caller told that it is not found yet.
	if resp := h.put(ctx, "c", doc("a", "plan"), doc("b", "plan")); len(resp.GetWarnings()) != 1 || resp.GetSucceeded() != 2 {
		t.Errorf("got %v", resp)
	}
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	_ = call.Send(lines(doc("a", "plan"), doc("streamed", "plan")))
	_ = call.CloseSend()
	if got, p, err := rest(call); err != nil || told(got) != "1:a:unchanged 2:streamed:created" || !p.GetDone() || len(p.GetWarnings()) != 1 {
		t.Errorf("%s, %v, %v", told(got), p, err)
	}
	if _, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "b"}); err != nil {
		t.Errorf("delete: %v", err)
	}
	_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan"})
	h.wantReason(err, apierr.Unavailable, "")
	if e := apierr.From(err); strings.Contains(e.Message, h.cfg.Index.Dir) || e.RetryAfter == 0 {
		t.Errorf("the caller is shown the cause, or not told when to come back: %+v", e)
	}
	if <-turned {
		t.Fatal("ready without an index")
	}
	for _, c := range h.service.Readiness().Report().Checks {
		if c.Name == search.CheckDocuments && (c.Ready || !strings.Contains(c.Reason, "the collection's index cannot be used")) {
			t.Errorf("%+v", c)
		}
	}
	if err := os.Remove(h.cfg.Index.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.cfg.Index.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if !<-turned {
		t.Fatal("not ready again")
	}
	if got := chunkIDs(h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan"})); got != "a#0 streamed#0" {
		t.Errorf("found %q", got)
	}
}
