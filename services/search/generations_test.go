package search_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// quickly has background work looked for often, and not held up.
func quickly(cfg *search.Config) {
	cfg.Index.PollInterval = 20 * time.Millisecond
	cfg.Embedding.Rebuild.ChunksPerSecond, cfg.Embedding.Rebuild.Share = 0, 1
}

func (h *harness) regenerate(req *searchv1.CreateEmbeddingGenerationRequest) *searchv1.EmbeddingGeneration {
	h.t.Helper()
	req.Collection = "c"
	resp, err := h.client.CreateEmbeddingGeneration(h.admin("acme", "root"), req)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.GetEmbeddingGeneration()
}

func (h *harness) generation(number int32) (*searchv1.EmbeddingGeneration, error) {
	resp, err := h.client.GetEmbeddingGeneration(h.admin("acme", "root"), &searchv1.GetEmbeddingGenerationRequest{Collection: "c", Number: number})
	return resp.GetEmbeddingGeneration(), err
}

// until waits for an embedding generation to be in a state.
func (h *harness) until(number int32, state string) *searchv1.EmbeddingGeneration {
	h.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		g, err := h.generation(number)
		if err != nil {
			h.t.Fatal(err)
		}
		if g.GetState() == state {
			return g
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			h.t.Fatalf("embedding generation %d is not %s: %v", number, state, g)
		}
	}
}

// gone waits until there is no such embedding generation any more.
func (h *harness) gone(number int32) {
	h.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		_, err := h.generation(number)
		if err != nil && apierr.From(err).Reason == apierr.NotFound {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			h.t.Fatalf("embedding generation %d is still there: %v", number, err)
		}
	}
}

func (h *harness) served() *searchv1.Collection {
	h.t.Helper()
	resp, err := h.client.GetCollection(h.as("ada"), &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.GetCollection()
}

func TestACollectionIsEmbeddedAnew(t *testing.T) {
	h := newHarness(t, quickly)
	fill(h)
	before := answers(h)
	other := "sha256:" + strings.Repeat("2", 64)
	h.inference.set(func(f *fakeInference) { f.digest = other })

	if g := h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{}); g.GetNumber() != 2 || !g.GetServeWhenReady() {
		t.Fatalf("%v", g)
	}
	g := h.until(2, "serving")
	if g.GetEmbeddingDigest() != other || g.GetDocumentsDone() != 49 || g.GetDocumentsTotal() != 49 || g.GetDocumentsPerSecond() <= 0 {
		t.Errorf("%v", g)
	}
	if c := h.served(); c.GetEmbeddingGeneration() != 2 || c.GetBuildingEmbeddingGeneration() != 0 || c.GetEmbeddingDigest() != other || c.GetDocumentCount() != 49 {
		t.Errorf("%v", c)
	}
	if got := answers(h); got != before {
		t.Errorf("the same model answers otherwise:\n got %s\nwant %s", got, before)
	}
	// Writes are embedded by the new version, and by the old one for a rollback.
	h.inference.set(func(f *fakeInference) { f.models = nil })
	h.put(h.as("ada"), "c", doc("late", "word7 latecomer"))
	if got := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "latecomer", Mode: "lexical"}); chunkIDs(got) != "late#0" {
		t.Errorf("found %s", chunkIDs(got))
	}
	after := answers(h)
	if _, err := h.client.RollbackEmbeddingGeneration(h.admin("acme", "root"), &searchv1.RollbackEmbeddingGenerationRequest{Collection: "c"}); err != nil {
		t.Fatal(err)
	}
	if c := h.served(); c.GetEmbeddingGeneration() != 1 || c.GetEmbeddingDigest() == other {
		t.Errorf("%v", c)
	}
	if got := answers(h); got != after {
		t.Errorf("a rollback lost a write:\n got %s\nwant %s", got, after)
	}
	h.stop()
	h.start()
	if got := answers(h); got != after {
		t.Errorf("a restart forgets what serves:\n got %s\nwant %s", got, after)
	}
	// The next one makes room: what was retired goes, in truth and index.
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{Chunking: &searchv1.Chunking{MaxWords: 20}})
	h.until(3, "serving")
	h.gone(2)
	if got := answers(h); got != after {
		t.Errorf("got %s\nwant %s", got, after)
	}
}

func TestRetiredGenerationsAreNotKeptForEver(t *testing.T) {
	h := newHarness(t, quickly, func(cfg *search.Config) { cfg.Embedding.KeepRetired = 0 })
	fill(h)
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{})
	h.until(2, "serving")
	h.gone(1)
	_, err := h.client.RollbackEmbeddingGeneration(h.admin("acme", "root"), &searchv1.RollbackEmbeddingGenerationRequest{Collection: "c"})
	h.wantReason(err, apierr.FailedPrecondition, "")
	if len(answers(h)) == 0 {
		t.Error("nothing is found")
	}
}

func TestChunkingIsTheGenerations(t *testing.T) {
	h := newHarness(t, quickly)
	ctx := h.as("ada")
	h.create(ctx, "c")
	text := strings.TrimSpace(strings.Repeat("Some words make a sentence. ", 30))
	h.put(ctx, "c", doc("long", text))
	if got := h.served().GetChunkCount(); got != 1 {
		t.Fatalf("%d chunks", got)
	}
	overlap := int32(0)
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{Chunking: &searchv1.Chunking{MaxWords: 50, OverlapWords: &overlap}})
	h.until(2, "serving")
	if got := h.served().GetChunkCount(); got != 3 {
		t.Errorf("%d chunks after the switch", got)
	}
	resp := h.put(ctx, "c", doc("other", text))
	if got := resp.GetResults()[0].GetChunkCount(); got != 3 {
		t.Errorf("a new document has %d chunks", got)
	}
	if got := h.put(ctx, "c", doc("long", text)).GetResults()[0]; got.GetStatus() != "unchanged" || got.GetChunkCount() != 3 {
		t.Errorf("%v", got)
	}
	for _, hit := range h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "sentence", TopK: 100}).GetHits() {
		if got := text[hit.GetStartOffset():hit.GetEndOffset()]; got != hit.GetText() {
			t.Errorf("%s: %q is not %q", hit.GetChunkId(), hit.GetText(), got)
		}
	}
}

// What cannot be embedded fails the embedding generation, which says so; nothing
// is lost by a switch. It is tried again when asked to serve.
func TestADocumentThatCannotBeEmbedded(t *testing.T) {
	h := newHarness(t, quickly)
	fill(h)
	want := answers(h)
	refuse := func(req *inferencev1.EmbedRequest) error {
		for _, in := range req.GetInputs() {
			if strings.Contains(in.GetText(), "word33 ") {
				return apierr.New(apierr.ContextLengthExceeded, "too long")
			}
		}
		return nil
	}
	other := "sha256:" + strings.Repeat("2", 64)
	h.inference.set(func(f *fakeInference) { f.hook, f.digest = refuse, other })
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{})
	g := h.until(2, "failed")
	if g.GetDocumentsFailed() != 1 || g.GetDocumentsDone() != 48 || !strings.Contains(g.GetReason(), `"d33"`) {
		t.Errorf("%v", g)
	}
	if c := h.served(); c.GetEmbeddingGeneration() != 1 || answers(h) != want {
		t.Errorf("%v", c)
	}
	h.inference.set(func(f *fakeInference) { f.hook = nil })
	if _, err := h.client.ServeEmbeddingGeneration(h.admin("acme", "root"), &searchv1.ServeEmbeddingGenerationRequest{Collection: "c", Number: 2}); err != nil {
		t.Fatal(err)
	}
	h.until(2, "serving")
	if got := answers(h); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	// A document that the retired one cannot have keeps it from serving.
	h.inference.set(func(f *fakeInference) {
		f.hook = func(req *inferencev1.EmbedRequest) error {
			if strings.HasSuffix(req.GetModel(), other) {
				return nil
			}
			return refuse(req)
		}
	})
	h.put(h.as("ada"), "c", doc("x", "alpha word33 again"))
	_, err := h.client.RollbackEmbeddingGeneration(h.admin("acme", "root"), &searchv1.RollbackEmbeddingGenerationRequest{Collection: "c"})
	h.wantReason(err, apierr.FailedPrecondition, "")
	if !strings.Contains(apierr.From(err).Message, `"x"`) || h.served().GetEmbeddingGeneration() != 2 {
		t.Errorf("%v", err)
	}
}

// While the model is away the building says why it waits, and goes on from where
// it was, also in another process.
func TestABuildGoesOn(t *testing.T) {
	h := newHarness(t, quickly)
	fill(h)
	want := answers(h)
	var calls int
	h.inference.set(func(f *fakeInference) {
		f.passages = 0
		f.hook = func(req *inferencev1.EmbedRequest) error {
			if req.GetInputType() != "passage" {
				return nil
			}
			if calls++; calls > 5 {
				return apierr.New(apierr.Unavailable, "no worker has the model")
			}
			return nil
		}
	})
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{})
	deadline := time.After(20 * time.Second)
	for g := h.until(2, "building"); g.GetReason() == ""; g = h.until(2, "building") {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("no reason is told")
		}
	}
	g := h.until(2, "building")
	if !strings.Contains(g.GetReason(), "no worker has the model") || g.GetDocumentsDone() == 0 || h.served().GetBuildingEmbeddingGeneration() != 2 {
		t.Errorf("%v", g)
	}
	h.stop()
	h.inference.set(func(f *fakeInference) { f.hook = nil })
	h.start()
	h.until(2, "serving")
	if got := answers(h); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if n := h.inference.embedded(); n > 49+16 {
		t.Errorf("%d passages were embedded for 49", n)
	}
}

func TestGenerationsAreForAdministrators(t *testing.T) {
	h := newHarness(t, quickly)
	fill(h)
	const number = 1
	for who, ctx := range map[string]context.Context{
		"a reader":         h.as("ada"),
		"another's tenant": h.admin("other", "root"),
	} {
		want := apierr.PermissionDenied
		if who != "a reader" {
			want = apierr.NotFound
		}
		_, err := h.client.CreateEmbeddingGeneration(ctx, &searchv1.CreateEmbeddingGenerationRequest{Collection: "c"})
		h.wantReason(err, want, "")
		_, err = h.client.ListEmbeddingGenerations(ctx, &searchv1.ListEmbeddingGenerationsRequest{Collection: "c"})
		h.wantReason(err, want, "")
		_, err = h.client.GetEmbeddingGeneration(ctx, &searchv1.GetEmbeddingGenerationRequest{Collection: "c", Number: number})
		h.wantReason(err, want, "")
		_, err = h.client.ServeEmbeddingGeneration(ctx, &searchv1.ServeEmbeddingGenerationRequest{Collection: "c", Number: number})
		h.wantReason(err, want, "")
		_, err = h.client.RollbackEmbeddingGeneration(ctx, &searchv1.RollbackEmbeddingGenerationRequest{Collection: "c"})
		h.wantReason(err, want, "")
		_, err = h.client.DeleteEmbeddingGeneration(ctx, &searchv1.DeleteEmbeddingGenerationRequest{Collection: "c", Number: number})
		h.wantReason(err, want, "")
	}
}

func TestGenerationsThatCannotBe(t *testing.T) {
	h := newHarness(t, quickly)
	fill(h)
	ctx := h.admin("acme", "root")
	for name, req := range map[string]*searchv1.CreateEmbeddingGenerationRequest{
		"no model":         {EmbeddingModel: "nothing"},
		"another task":     {EmbeddingModel: "chatty"},
		"no name":          {EmbeddingModel: "../x"},
		"short passages":   {Chunking: &searchv1.Chunking{MaxWords: 3}},
		"endless passages": {Chunking: &searchv1.Chunking{MaxWords: 5000}},
	} {
		req.Collection = "c"
		_, err := h.client.CreateEmbeddingGeneration(ctx, req)
		if apierr.From(err).Reason != apierr.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	no := false
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{ServeWhenReady: &no})
	_, err := h.client.CreateEmbeddingGeneration(ctx, &searchv1.CreateEmbeddingGenerationRequest{Collection: "c"})
	h.wantReason(err, apierr.FailedPrecondition, "")
	h.until(2, "ready")
	_, err = h.client.DeleteEmbeddingGeneration(ctx, &searchv1.DeleteEmbeddingGenerationRequest{Collection: "c", Number: 1})
	h.wantReason(err, apierr.FailedPrecondition, "")
	_, err = h.client.ServeEmbeddingGeneration(ctx, &searchv1.ServeEmbeddingGenerationRequest{Collection: "c", Number: 7})
	h.wantReason(err, apierr.NotFound, "embedding_generation")
	if _, err = h.client.DeleteEmbeddingGeneration(ctx, &searchv1.DeleteEmbeddingGenerationRequest{Collection: "c", Number: 2}); err != nil {
		t.Error(err)
	}
	h.gone(2)
	if g := h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{}); g.GetNumber() != 3 {
		t.Errorf("a number is used again: %v", g)
	}
	h.until(3, "serving")
	resp, err := h.client.ListEmbeddingGenerations(ctx, &searchv1.ListEmbeddingGenerationsRequest{Collection: "c"})
	if got := fmt.Sprint(resp.GetEmbeddingGenerations()[0].GetNumber(), len(resp.GetEmbeddingGenerations())); err != nil || got != "3 2" {
		t.Errorf("%s, %v", got, err)
	}
}
