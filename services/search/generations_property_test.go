package search_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// own is what the documents of one writer should be.
type own struct {
	texts   map[string]string
	readers map[string]string // user:ada, user:eve, or "" for everybody
}

// Documents are written, deleted and given other readers while collections are
// embedded anew, switched and rolled back. Versions of the model give vectors
// that have nothing in common, so a search that asked one by the other's, or an
// index by the other's passages, would find nothing near.
func TestNoWriteIsLostByASwitch(t *testing.T) {
	h := newHarness(t, quickly)
	h.inference.set(func(f *fakeInference) { f.salted = true })
	switchesUnderWrites(t, h, 3, 12)
}

func switchesUnderWrites(t *testing.T, h *harness, switches, writes int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h.create(h.as("ada"), "c")
	const fixed = "a fixed point that never moves"
	h.put(h.as("ada"), "c", doc("fixed", fixed))
	ctx, stop := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		for ctx.Err() == nil {
			found := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: fixed, Mode: "vector", TopK: 1})
			if hits := found.GetHits(); len(hits) != 1 || hits[0].GetDocumentId() != "fixed" || hits[0].GetScore() < .999 {
				t.Errorf("the fixed point moved: %v", hits)
				return
			}
			<-time.After(10 * time.Millisecond)
		}
	})
	worlds := make([]own, 2)
	for w := range worlds {
		worlds[w] = own{texts: map[string]string{}, readers: map[string]string{}}
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for n := range switches * writes {
				worlds[w].change(h, rng, fmt.Sprintf("w%d-%d", w, rng.IntN(12)), n)
				if t.Failed() {
					return
				}
			}
		})
	}
	number := int32(1)
	for n := range switches {
		h.inference.set(func(f *fakeInference) { f.digest = "sha256:" + strings.Repeat(fmt.Sprint(n%8+2), 64) })
		no := false
		number = h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{ServeWhenReady: &no}).GetNumber()
		h.until(number, "ready")
		if _, err := h.client.ServeEmbeddingGeneration(h.admin("acme", "root"), &searchv1.ServeEmbeddingGenerationRequest{Collection: "c", Number: number}); err != nil {
			t.Error(err)
		}
		if n%2 == 1 {
			if _, err := h.client.RollbackEmbeddingGeneration(h.admin("acme", "root"), &searchv1.RollbackEmbeddingGenerationRequest{Collection: "c"}); err != nil {
				t.Error(err)
			}
		}
	}
	writers.Wait()
	stop()
	readers.Wait()
	for w := range worlds {
		worlds[w].compare(h)
	}
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{})
	h.until(number+1, "serving")
	h.stop()
	h.start()
	for w := range worlds {
		worlds[w].compare(h)
	}
}

// change makes one write and looks at once whether it can be seen.
func (w own) change(h *harness, rng *rand.Rand, id string, n int) {
	if _, there := w.texts[id]; there && rng.IntN(4) == 0 {
		if _, err := h.client.DeleteDocument(h.admin("acme", "root"), &searchv1.DeleteDocumentRequest{Collection: "c", Document: id}); err != nil {
			h.t.Errorf("delete %s: %v", id, err)
		}
		delete(w.texts, id)
		return
	}
	if text, there := w.texts[id]; !there || rng.IntN(2) == 0 {
		w.texts[id] = strings.TrimSpace(fmt.Sprintf("%s says %d and %s", id, n, text[:min(len(text), 10)]))
	}
	w.readers[id] = []string{"", "user:ada", "user:eve"}[rng.IntN(3)]
	d := doc(id, w.texts[id])
	if w.readers[id] != "" {
		d = withACL(d, w.readers[id])
	}
	resp, err := h.client.BatchUpsertDocuments(h.admin("acme", "root"), &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: []*searchv1.Document{d}})
	if err != nil || resp.GetFailed() > 0 {
		h.t.Errorf("write %s: %v, %v", id, resp, err)
	}
	if rng.IntN(4) == 0 {
		w.look(h, id)
	}
}

// look compares what both readers find of a document, by words and by meaning.
func (w own) look(h *harness, id string) {
	for _, who := range []string{"ada", "eve"} {
		text, there := w.texts[id]
		want := there && (w.readers[id] == "" || w.readers[id] == "user:"+who)
		for _, mode := range []string{"lexical", "vector"} {
			resp, err := h.client.Search(h.as(who), &searchv1.SearchRequest{Collection: "c", Query: text + " " + id, Mode: mode, TopK: 50})
			if err != nil {
				h.t.Errorf("%s: %v", mode, apierr.From(err))
				return
			}
			found := ""
			for _, hit := range resp.GetHits() {
				if hit.GetDocumentId() == id {
					found = hit.GetText()
				}
			}
			if want && found != text || !want && found != "" {
				h.t.Errorf("%s finds of %s by %s %q, want %q (%v)", who, id, mode, found, text, want)
			}
		}
	}
}

func (w own) compare(h *harness) {
	for id := range w.readers {
		w.look(h, id)
	}
}
