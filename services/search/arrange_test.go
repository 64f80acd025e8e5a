package search_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

func withoutQueryCache(cfg *search.Config) { cfg.Embedding.QueryCacheBytes = 0 }

const notice = "The gate of the fortress is closed at night and opened again in the morning by the guard who holds the key"

func TestNearDuplicatesAreFolded(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	h.put(ada, "c",
		doc("a", notice), doc("b", strings.ToUpper(notice)+"!"), doc("c", strings.Replace(notice, "morning", "evening", 1)),
		withACL(doc("secret", notice+" ."), "user:ada"),
		doc("other", "The key of the tower opens no gate at all"))
	for _, mode := range []string{"hybrid", "lexical", "vector"} {
		req := &searchv1.SearchRequest{Collection: "c", Query: "gate key", Mode: mode}
		if got := h.search(eve, req); len(got.GetHits()) != 4 || got.GetHits()[0].GetNearDuplicates() != nil {
			t.Errorf("%s: nobody asked: %s", mode, chunkIDs(got))
		}
		req.Deduplicate = true
		for who, want := range map[string]struct{ kept, folded int }{"eve": {2, 2}, "ada": {2, 3}} {
			resp := h.search(h.as(who), req)
			folded, documents := 0, []string(nil)
			for _, hit := range resp.GetHits() {
				folded += int(hit.GetNearDuplicates().GetCount())
				documents = append(documents, hit.GetNearDuplicates().GetDocumentIds()...)
			}
			if len(resp.GetHits()) != want.kept || folded != want.folded || len(documents) != want.folded || !slices.IsSorted(documents) {
				t.Errorf("%s, %s: %s, folded %d: %v", mode, who, chunkIDs(resp), folded, documents)
			}
			if who == "eve" && slices.Contains(documents, "secret") {
				t.Errorf("%s: eve hears of a document that she may not read", mode)
			}
		}
	}
}

// TestNearDuplicatesAreFoldedOnEveryPage has more of them than the first look at
// the index brings.
func TestNearDuplicatesAreFoldedOnEveryPage(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	var docs []*searchv1.Document
	for i := range 40 {
		for copies := range 4 {
			docs = append(docs, doc(fmt.Sprintf("d%02d-%d", i, copies), fmt.Sprintf("common text%d about thing%d and place%d with name%d", i, i, i, i)))
		}
	}
	h.put(ctx, "c", docs...)
	hits := h.pages(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common", TopK: 13, Deduplicate: true}, nil)
	seen := make(map[string]bool)
	for _, hit := range hits {
		if group := hit.GetDocumentId()[:3]; seen[group] {
			t.Errorf("%s repeats another hit", hit.GetDocumentId())
		} else {
			seen[group] = true
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 are found", len(seen))
	}
}

func TestDiversity(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c",
		doc("gate1", "gate key gate key lock"), doc("gate2", "gate key gate key lock bolt"), doc("gate3", "gate key gate key bolt lock hinge"),
		doc("tower", "key tower stair window"))
	req := &searchv1.SearchRequest{Collection: "c", Query: "gate key", Explain: true}
	plain := h.search(ctx, req)
	if plain.GetHits()[0].GetExplanation().GetDiversity() != nil {
		t.Error("nobody asked for diversity")
	}
	req.Diversity = 0.8
	resp := h.search(ctx, req)
	if resp.GetHits()[0].GetDocumentId() != plain.GetHits()[0].GetDocumentId() || resp.GetHits()[1].GetDocumentId() != "tower" {
		t.Errorf("%s became %s", chunkIDs(plain), chunkIDs(resp))
	}
	before := make([]string, len(plain.GetHits()))
	for i, hit := range resp.GetHits() {
		d := hit.GetExplanation().GetDiversity()
		if want := 0.2*d.GetRelevance() - 0.8*d.GetSimilarity(); math.Abs(d.GetScore()-want) > 1e-9 || i == 0 && d.GetSimilarity() != 0 {
			t.Errorf("%s: %v", hit.GetChunkId(), d)
		}
		before[d.GetRankBefore()-1] = hit.GetChunkId()
	}
	if got := strings.Join(before, " "); got != chunkIDs(plain) {
		t.Errorf("the places before are %s, want %s", got, chunkIDs(plain))
	}
	if again := h.search(ctx, req); chunkIDs(again) != chunkIDs(resp) {
		t.Errorf("%s the second time", chunkIDs(again))
	}
	for _, bad := range []float64{-0.1, 1.1, math.NaN()} {
		_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "x", Diversity: bad})
		h.wantReason(err, apierr.InvalidArgument, "diversity")
	}
}

func TestRerank(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	h.put(ada, "c",
		&searchv1.Document{Id: "best", Title: "Gates", Text: "gate gate gate"}, doc("worse", "gate of the tower"), doc("long", "gate of the wall, the tower and the yard behind"),
		withACL(doc("secret", "gate gate of the treasury, where everything is that may be kept from everybody"), "user:ada"))
	req := &searchv1.SearchRequest{Collection: "c", Query: "gate", Mode: "lexical", Explain: true}
	plain := h.search(eve, req)
	req.Rerank = &searchv1.Rerank{Model: "judge", TopN: 2}
	resp := h.search(eve, req)
	if resp.GetRerankedBy() != "judge@v2" || len(resp.GetWarnings()) > 0 || len(resp.GetHits()) != 3 {
		t.Fatalf("got %v", resp)
	}
	h.inference.set(func(f *fakeInference) {
		for _, d := range f.judged {
			if strings.Contains(d, "treasury") {
				t.Errorf("the model was sent what eve may not read: %q", d)
			}
		}
		if len(f.judged) != 2 || !slices.Contains(f.judged, "Gates\ngate gate gate") {
			t.Errorf("the model was sent %q", f.judged)
		}
		if who := f.callers[len(f.callers)-1]; who.Subject != "eve" {
			t.Errorf("on behalf of %v", who)
		}
		f.score = func(d string) float64 { return -float64(strings.Count(d, "gate")) }
	})
	req.Rerank.TopN = 0 // all of so few
	resp = h.search(eve, req)
	for i, hit := range resp.GetHits() {
		e := hit.GetExplanation().GetRerank()
		if int(e.GetRank()) != i+1 || plain.GetHits()[e.GetRankBefore()-1].GetChunkId() != hit.GetChunkId() || e.GetScore() != hit.GetRelevanceScore() {
			t.Errorf("hit %d, %s: %v", i, hit.GetChunkId(), e)
		}
		if want := plain.GetHits()[e.GetRankBefore()-1].GetScore(); hit.GetScore() != want {
			t.Errorf("%s: the legs' score became %v, was %v", hit.GetChunkId(), hit.GetScore(), want)
		}
	}
	if last := resp.GetHits()[2].GetDocumentId(); last != "best" {
		t.Errorf("got %s", chunkIDs(resp))
	}
}

func TestWithoutTheRerankingModel(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	library(t, h)
	req := &searchv1.SearchRequest{Collection: "c", Query: "flow over wings", Mode: "lexical", Rerank: &searchv1.Rerank{Model: "judge"}}
	h.inference.set(func(f *fakeInference) { f.away = true })
	resp := h.search(ctx, req)
	if len(resp.GetHits()) == 0 || resp.GetRerankedBy() != "" || len(resp.GetWarnings()) != 1 || !strings.Contains(resp.GetWarnings()[0], "not reranked") {
		t.Errorf("got %v", resp)
	}
	if resp.GetHits()[0].RelevanceScore != nil {
		t.Error("a score of nobody's")
	}
	h.inference.set(func(f *fakeInference) { f.away = false })
	for _, model := range []string{"nothing", "chatty"} {
		req.Rerank.Model = model
		_, err := h.client.Search(ctx, req)
		h.wantReason(err, apierr.InvalidArgument, "rerank.model")
	}
	for field, bad := range map[string]*searchv1.Rerank{"rerank.model": {}, "rerank.top_n": {Model: "judge", TopN: 201}} {
		req.Rerank = bad
		_, err := h.client.Search(ctx, req)
		h.wantReason(err, apierr.InvalidArgument, field)
	}
}

// Queries are embedded once, for each tenant, and anew for another version.
func TestQueriesAreEmbeddedOnce(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	asked := func() (n int) {
		h.inference.set(func(f *fakeInference) { n = len(f.models) })
		return n
	}
	before := asked()
	for _, who := range []string{"ada", "eve", "ada"} {
		h.search(h.as(who), &searchv1.SearchRequest{Collection: "c", Query: "flow over wings"})
	}
	if n := asked() - before; n != 1 {
		t.Errorf("%d calls for one query", n)
	}
	h.inference.set(func(f *fakeInference) { f.away = true })
	if resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "flow over wings"}); resp.GetMode() != "hybrid" {
		t.Errorf("a known query is answered as %s while the model is away", resp.GetMode())
	}
}
