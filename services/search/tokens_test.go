package search_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// dense makes of a model one that has a token for every two letters: no word is in
// its vocabulary.
func dense(f *fakeInference) {
	f.context = 512
	f.tokens = func(text string) int { return 2 + len(strings.Join(strings.Fields(text), ""))/2 }
	f.hook = f.bounded
}

// keyed is a text of long words, as of keys and hashes.
func keyed(words int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for i := range words {
		fmt.Fprintf(&b, "%016x%016x", rng.Uint64(), rng.Uint64())
		b.WriteString([]string{" ", ". ", "\n\n"}[i%3])
	}
	return b.String()
}

// Passages are never longer than the model takes, whatever its tokeniser makes of
// them, and hold the whole text all the same.
func TestPassagesFitTheModelsTokeniser(t *testing.T) {
	h := newHarness(t)
	h.inference.set(dense)
	ctx := h.as("ada")
	h.create(ctx, "c")
	plain := strings.Repeat("short text of few words. ", 4)
	h.put(ctx, "c", &searchv1.Document{Id: "keys", Title: "Keys", Text: keyed(400)}, doc("plain", plain), doc("long", strings.Repeat("the plan of it all. ", 900)))
	h.inference.mu.Lock()
	counts := h.inference.counts
	h.inference.mu.Unlock()
	chunks := h.chunks(ctx, "c")
	if counts == 0 || counts > 4*chunks {
		t.Errorf("%d texts were counted for %d passages", counts, chunks)
	}
	h.whole(ctx, "c", "keys", keyed(400))
	// Who may read it changes without the model, which cut it anew before.
	h.inference.set(func(f *fakeInference) { f.away = true })
	before := h.inference.embedded()
	h.put(ctx, "c", withACL(&searchv1.Document{Id: "keys", Title: "Keys", Text: keyed(400)}, "user:ada"))
	if h.inference.embedded() != before || h.chunks(ctx, "c") != chunks {
		t.Error("a change of readers cut or embedded the document again")
	}
	h.inference.set(func(f *fakeInference) { f.away = false })
	// A bound of the collection's is kept by the count, too, when it is embedded anew.
	if _, err := h.client.CreateEmbeddingGeneration(h.admin("acme", "root"), &searchv1.CreateEmbeddingGenerationRequest{
		Collection: "c", Chunking: &searchv1.Chunking{MaxTokens: 100},
	}); err != nil {
		t.Fatal(err)
	}
	h.inference.set(func(f *fakeInference) { f.context = 100 + 16 })
	h.until(2, "serving")
	h.whole(ctx, "c", "keys", keyed(400))
	if now := h.chunks(ctx, "c"); now < 4*chunks {
		t.Errorf("%d passages became %d", chunks, now)
	}
}

// Without a tokeniser passages stay as the estimate has them, and nobody asks for
// every passage whether there is one by now.
func TestPassagesWithoutATokeniser(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	for i := range 5 {
		h.put(ctx, "c", doc(fmt.Sprint("d", i), keyed(100)))
	}
	h.inference.mu.Lock()
	defer h.inference.mu.Unlock()
	// Once by the name, and once by the version that the first document told.
	if h.inference.uncounted != 2 {
		t.Errorf("tokens were asked for %d times", h.inference.uncounted)
	}
}

// A title that leaves no room is that document's own error.
func TestATitleThatLeavesNoRoom(t *testing.T) {
	h := newHarness(t)
	h.inference.set(dense)
	ctx := h.as("ada")
	h.create(ctx, "c")
	resp, err := h.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: []*searchv1.Document{
		{Id: "titled", Title: strings.Repeat("x", 1024), Text: "text"}, doc("other", "text"),
	}})
	if err != nil || resp.GetSucceeded() != 1 || resp.GetResults()[0].GetError().GetField() != "documents[0].title" ||
		resp.GetResults()[0].GetError().GetCode() != string(apierr.InvalidArgument) {
		t.Errorf("%v, %v", resp, err)
	}
}
