package search_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

func (h *harness) batch(ctx context.Context, collection string, docs ...*searchv1.Document) string {
	h.t.Helper()
	resp, err := h.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: collection, Documents: docs})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, r := range resp.GetResults() {
		s := r.GetStatus()
		if e := r.GetError(); e != nil {
			s += "(" + e.GetCode() + " " + e.GetField() + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestEachDocumentStandsForItself(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	got := h.batch(ctx, "c",
		doc("good", "text"),
		doc("a/b", "text"),
		doc("", "text"),
		doc(strings.Repeat("x", 257), "text"),
		doc("tab\t", "text"),
		doc("empty", " \n"),
		doc("nul", "a\x00b"),
		&searchv1.Document{Id: "title", Text: "x", Title: strings.Repeat("t", 1025)},
		doc("huge", strings.Repeat("x", 4<<20+1)),
		withMetadata(t, doc("list", "x"), map[string]any{"a": []any{[]any{"b"}}}),
		withMetadata(t, doc("wide", "x"), map[string]any{"a": strings.Repeat("y", 64<<10)}),
		withACL(doc("principal", "x"), "user:a", ""),
		withACL(doc("principals", "x"), strings.Split(strings.Repeat("p,", 256)+"p", ",")...),
		doc("good", "again"),
		&searchv1.Document{Id: "only-a-title", Title: "Heading"},
	)
	want := "created failed(INVALID_ARGUMENT documents[1].id) failed(INVALID_ARGUMENT documents[2].id)" +
		" failed(INVALID_ARGUMENT documents[3].id) failed(INVALID_ARGUMENT documents[4].id)" +
		" failed(INVALID_ARGUMENT documents[5].text) failed(INVALID_ARGUMENT documents[6].text)" +
		" failed(INVALID_ARGUMENT documents[7].title) failed(INVALID_ARGUMENT documents[8].text)" +
		" failed(INVALID_ARGUMENT documents[9].metadata) failed(INVALID_ARGUMENT documents[10].metadata)" +
		" failed(INVALID_ARGUMENT documents[11].acl.principals[1]) failed(INVALID_ARGUMENT documents[12].acl.principals)" +
		" failed(INVALID_ARGUMENT documents[13].id) created"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := chunkIDs(h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "heading", Mode: "lexical"})); got != "only-a-title#0" {
		t.Errorf("by its title: %q", got)
	}
}

func TestUnchangedDocumentsAreNotEmbeddedAgain(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	full := func() *searchv1.Document {
		return withACL(withMetadata(t, doc("a", "some text"), map[string]any{"x": 1.0, "y": "z"}), "user:ada", "group:b")
	}
	if got := h.batch(ctx, "c", full()); got != "created" {
		t.Fatal(got)
	}
	before := h.inference.embedded()
	g := h.put(ctx, "c", full()).GetGeneration()
	reordered := full()
	reordered.Acl.Principals = []string{"group:b", "user:ada", "user:ada"}
	if got := h.batch(ctx, "c", full()) + " " + h.batch(ctx, "c", reordered); got != "unchanged unchanged" {
		t.Error(got)
	}
	if resp := h.put(ctx, "c", full()); resp.GetGeneration() != g {
		t.Errorf("generation %d grew to %d without a change", g, resp.GetGeneration())
	}
	// Only what the vectors are made from needs the model: the rest changes
	// even while it is away.
	h.inference.set(func(f *fakeInference) { f.away = true })
	if got := h.batch(ctx, "c", withACL(full(), "user:ada")); got != "updated" {
		t.Errorf("a new access list: %s", got)
	}
	if got := h.inference.embedded(); got != before {
		t.Errorf("%d passages were embedded again", got-before)
	}
	h.inference.set(func(f *fakeInference) { f.away = false })
	if got := h.batch(ctx, "c", doc("a", "other text")); got != "updated" || h.inference.embedded() != before+1 {
		t.Errorf("a new text: %s, %d embedded", got, h.inference.embedded()-before)
	}
}

func TestWithoutEmbeddingNothingIsHalfWritten(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("kept", "old text"))
	h.inference.set(func(f *fakeInference) { f.away = true })
	if got := h.batch(ctx, "c", doc("new", "text"), doc("kept", "new text"), doc("a/b", "x"), doc("kept2", "y")); got !=
		"failed(UNAVAILABLE ) failed(UNAVAILABLE ) failed(INVALID_ARGUMENT documents[2].id) failed(UNAVAILABLE )" {
		t.Error(got)
	}
	_, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "new"})
	h.wantReason(err, apierr.NotFound, "")
	kept, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "kept"})
	if err != nil || kept.GetDocument().GetText() != "old text" {
		t.Errorf("%v, %v", kept, err)
	}
}

func TestOneRefusedTextFailsAlone(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Embedding.Batch, c.Embedding.Concurrency = 1, 1 })
	h.inference.hook = func(req *inferencev1.EmbedRequest) error {
		if strings.Contains(req.GetInputs()[0].GetText(), "poison") {
			return apierr.Invalid("inputs[0]", "cannot be embedded")
		}
		return nil
	}
	ctx := h.as("ada")
	h.create(ctx, "c")
	var docs []*searchv1.Document
	for i := range 12 { // four to a group
		docs = append(docs, doc(fmt.Sprint("d", i), "fine"))
	}
	docs[5].Text = "poison"
	got := strings.Split(strings.ReplaceAll(h.batch(ctx, "c", docs...), "T doc", "T_doc"), " ")
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], "_doc", " doc")
	}
	for i, status := range got {
		if i == 5 != (status == "failed(INVALID_ARGUMENT documents[5].text)") {
			t.Errorf("document %d: %s", i, status)
		}
	}
}

func TestModelVersionIsPinned(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("a", "text"))
	first := h.inference.digest
	h.inference.set(func(f *fakeInference) { f.digest, f.models = "sha256:"+strings.Repeat("2", 64), nil })
	h.put(ctx, "c", doc("b", "text"))
	h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "text"})
	for _, m := range h.inference.models {
		if !strings.HasSuffix(m, "@"+first) {
			t.Errorf("asked for %s", m)
		}
	}
	for _, c := range h.inference.callers {
		if c.Tenant != "acme" || c.Subject != "ada" {
			t.Errorf("embedding on behalf of %+v", c)
		}
	}
}

func TestDocumentsAreReadBackAsTheyWereWritten(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	d := withACL(withMetadata(t, &searchv1.Document{Id: "é # 1", Title: "Tître", Text: "Le texte.\n\nSuite."},
		map[string]any{"n": 1.5, "s": "x", "b": true, "l": []any{"a", 2.0}, "o": map[string]any{"k": "v"}}), "user:ada")
	h.put(ctx, "c", d)
	resp, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "é # 1"})
	if err != nil {
		t.Fatal(err)
	}
	got := resp.GetDocument()
	if got.GetTitle() != d.GetTitle() || got.GetText() != d.GetText() || got.GetMetadata().String() != d.GetMetadata().String() ||
		got.GetAcl().String() != d.GetAcl().String() || len(got.GetContentHash()) != 64 || got.GetUpdateTime() == nil {
		t.Errorf("got %v", got)
	}
}

func TestDeletedDocumentsAreGone(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	before := h.put(ctx, "c", doc("a", "needle one"), doc("b", "needle two")).GetGeneration()
	if _, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "a"}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"hybrid", "lexical", "vector"} {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "needle", Mode: mode})
		if got := chunkIDs(resp); got != "b#0" || resp.GetGeneration() <= before {
			t.Errorf("%s finds %q in generation %d", mode, got, resp.GetGeneration())
		}
	}
	_, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "a"})
	h.wantReason(err, apierr.NotFound, "")
	c, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil || c.GetCollection().GetDocumentCount() != 1 || c.GetCollection().GetChunkCount() != 1 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestConcurrentWritesOfTheSameIDs(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	const writers, rounds = 4, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for r := range rounds {
				word := fmt.Sprintf("w%dr%d", w, r)
				resp, err := h.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: []*searchv1.Document{
					doc("a", "common "+word), doc("b", "common "+word), doc(fmt.Sprint("own", w), "common "+word),
				}})
				if err != nil || resp.GetFailed() > 0 {
					t.Errorf("%v, %v", resp, err)
				}
			}
		})
	}
	wg.Wait()
	c, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil || c.GetCollection().GetDocumentCount() != 2+writers {
		t.Errorf("%v, %v", c, err)
	}
	for _, mode := range []string{"lexical", "vector"} {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common", Mode: mode, TopK: 100})
		if len(resp.GetHits()) != 2+writers {
			t.Errorf("%s finds %s", mode, chunkIDs(resp))
		}
		for _, hit := range resp.GetHits() {
			d, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: hit.GetDocumentId()})
			if err != nil || d.GetDocument().GetText() != hit.GetText() {
				t.Errorf("%s: the index has %q, the truth %q, %v", hit.GetChunkId(), hit.GetText(), d.GetDocument().GetText(), err)
			}
		}
	}
}
