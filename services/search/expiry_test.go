package search_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

func withTTL(d *searchv1.Document, ttl time.Duration) *searchv1.Document {
	d.Ttl = durationpb.New(ttl)
	return d
}

// No sweeper runs in this test: nobody is shown the document all the same.
func TestWhatHasEndedIsShownToNobody(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Expiry.Interval = time.Hour })
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("stays", "common words"), withTTL(doc("ends", "common words too"), 500*time.Millisecond),
		withTTL(withACL(doc("eves", "common words of eve"), "user:ada"), 500*time.Millisecond))
	if got := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common words"}); len(got.GetHits()) != 3 {
		t.Fatalf("before its end: %s", chunkIDs(got))
	}
	d, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "ends"})
	if err != nil || d.GetDocument().GetExpireTime() == nil {
		t.Fatalf("%v, %v", d, err)
	}
	<-time.After(time.Until(d.GetDocument().GetExpireTime().AsTime()) + 200*time.Millisecond)
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		if got := chunkIDs(h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common words", Mode: mode})); got != "stays#0" {
			t.Errorf("%s finds %q", mode, got)
		}
	}
	_, err = h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "ends"})
	h.wantReason(err, apierr.NotFound, "")
	_, err = h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "ends"})
	h.wantReason(err, apierr.NotFound, "")
	list, err := h.client.ListDocuments(ctx, &searchv1.ListDocumentsRequest{Collection: "c"})
	if err != nil || len(list.GetDocuments()) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	c, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil || c.GetCollection().GetDocumentCount() != 1 || c.GetCollection().GetChunkCount() != 1 {
		t.Errorf("%v, %v", c, err)
	}
	// Its id is free, also for somebody who could not read it.
	if got := h.batch(h.as("bob"), "c", doc("eves", "new words")); got != "created" {
		t.Errorf("written again: %s", got)
	}
}

// Nor do its words correct others, or count as known.
func TestWhatHasEndedSuggestsNothing(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Expiry.Interval = time.Hour })
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("stays", "the boundary"), withTTL(doc("ends", "boundery zeppelin"), 500*time.Millisecond))
	ends := time.After(700 * time.Millisecond)
	suggestion := func() string {
		return h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "boundery zepelin", Mode: "lexical", Suggest: true}).GetSuggestion()
	}
	if got := suggestion(); got != "boundery zeppelin" {
		t.Errorf("before its end: %q", got)
	}
	<-ends
	if got := suggestion(); got != "boundary zepelin" {
		t.Errorf("after its end: %q", got)
	}
}

func TestWhatHasEndedIsRemoved(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Expiry.Interval = 50 * time.Millisecond })
	ctx := h.as("ada")
	h.create(ctx, "c")
	before := h.put(ctx, "c", doc("stays", "x"), withTTL(doc("ends", "y"), 100*time.Millisecond)).GetGeneration()
	for {
		c, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"})
		if err != nil {
			t.Fatal(err)
		}
		if c.GetCollection().GetGeneration() > before {
			if c.GetCollection().GetDocumentCount() != 1 {
				t.Errorf("%v", c)
			}
			return
		}
		<-time.After(20 * time.Millisecond) // of the service's own time
	}
}

func TestAnEndMayBeMoved(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", withTTL(doc("a", "text"), time.Hour))
	embedded := h.inference.embedded()
	if got := h.batch(ctx, "c", withTTL(doc("a", "text"), 2*time.Hour)) + " " + h.batch(ctx, "c", doc("a", "text")); got != "updated updated" {
		t.Error(got)
	}
	if h.inference.embedded() != embedded {
		t.Error("it was embedded again")
	}
	past := doc("past", "x")
	past.ExpireTime = timestamppb.New(time.Unix(1, 0))
	both := withTTL(doc("both", "x"), time.Hour)
	both.ExpireTime = timestamppb.New(time.Unix(1<<33, 0))
	got := h.batch(ctx, "c", past, both, withTTL(doc("now", "x"), 0), withTTL(doc("ever", "x"), 101*366*24*time.Hour))
	if strings.Count(got, "failed") != 4 || !strings.Contains(got, "documents[0].expire_time") || !strings.Contains(got, "documents[1].ttl") {
		t.Error(got)
	}
}

func TestChunkingIsTheCollections(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	resp, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{
		Id: "c", Chunking: &searchv1.Chunking{By: "structure", MaxTokens: 40},
	})
	if err != nil || resp.GetCollection().GetChunking().GetBy() != "structure" || resp.GetCollection().GetChunking().GetMaxTokens() != 40 {
		t.Fatalf("%v, %v", resp, err)
	}
	h.create(ctx, "plain")
	text := "# One\n\nfirst words\n\n# Two\n\nsecond words"
	for name, want := range map[string]int32{"c": 2, "plain": 1} {
		if got := h.put(ctx, name, doc("d", text)).GetResults()[0].GetChunkCount(); got != want {
			t.Errorf("%s: %d chunks", name, got)
		}
	}
	for _, bad := range []*searchv1.Chunking{{By: "magic"}, {MaxWords: 3}, {MaxTokens: -1}, {MaxTokens: 9000}} {
		_, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "bad", Chunking: bad})
		h.wantReason(err, apierr.InvalidArgument, "")
	}
}
