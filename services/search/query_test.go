package search_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func library(t *testing.T, h *harness) {
	t.Helper()
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c",
		withMetadata(t, &searchv1.Document{Id: "wing", Title: "Wings", Text: "The flow over a wing & its <tip>.\n\nLift grows."}, map[string]any{"year": 1960, "lang": "en"}),
		withMetadata(t, doc("heat", "Heat flows through a slab of copper."), map[string]any{"year": 1955, "lang": "en"}),
		withMetadata(t, doc("aile", "L'écoulement autour de l'aile d'un avion est étudié dans la soufflerie."), map[string]any{"year": 1965, "lang": "fr"}),
	)
}

func TestModes(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	ctx := h.as("ada")
	for mode, want := range map[string]string{"": "hybrid", "hybrid": "hybrid", "lexical": "lexical", "vector": "vector"} {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "flow over wings", Mode: mode, Explain: true})
		if resp.GetMode() != want || len(resp.GetHits()) == 0 || resp.GetHits()[0].GetDocumentId() != "wing" || len(resp.GetWarnings()) > 0 {
			t.Errorf("%q: mode %s, hits %s, %v", mode, resp.GetMode(), chunkIDs(resp), resp.GetWarnings())
			continue
		}
		checkExplanation(t, resp)
	}
	if got := chunkIDs(h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "ECOULEMENT avions", Mode: "lexical"})); got != "aile#0" {
		t.Errorf("without accents: %q", got)
	}
}

func checkExplanation(t *testing.T, resp *searchv1.SearchResponse) {
	t.Helper()
	last := math.Inf(1)
	for _, hit := range resp.GetHits() {
		if hit.GetScore() > last {
			t.Errorf("%s is out of order", hit.GetChunkId())
		}
		last = hit.GetScore()
		e := hit.GetExplanation()
		sum := 0.0
		for _, l := range e.GetLegs() {
			sum += l.GetWeight() * l.GetNormalizedScore()
			if l.GetRank() == 0 && l.GetScore() != 0 {
				t.Errorf("%s: %v", hit.GetChunkId(), l)
			}
		}
		if math.Abs(sum-hit.GetScore()) > 1e-9 {
			t.Errorf("%s: the explanation sums up to %v, the score is %v", hit.GetChunkId(), sum, hit.GetScore())
		}
		hybrid := resp.GetMode() == "hybrid"
		if hybrid != (len(e.GetLegs()) == 2) || hybrid != (e.GetFusion() == "standardised") {
			t.Errorf("explanation %v", e)
		}
	}
}

func TestHitsShowThePassage(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "wing flow", TopK: 1})
	hit := resp.GetHits()[0]
	const text = "The flow over a wing & its <tip>.\n\nLift grows."
	if hit.GetText() != text[hit.GetStartOffset():hit.GetEndOffset()] || hit.GetTitle() != "Wings" || hit.GetMetadata().AsMap()["year"] != 1960.0 {
		t.Errorf("got %v", hit)
	}
	want := "The <em>flow</em> over a <em>wing</em> &amp; its &lt;tip&gt;."
	if got := strings.Join(hit.GetHighlights(), "|"); !strings.HasPrefix(got, want) {
		t.Errorf("highlights %q", got)
	}
	if hit.GetExplanation() != nil {
		t.Error("nobody asked for an explanation")
	}
}

func TestWithoutEmbeddingSearchesByWords(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	h.inference.set(func(f *fakeInference) { f.away = true })
	ctx := h.as("ada")
	resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "copper", Explain: true})
	if resp.GetMode() != "lexical" || len(resp.GetWarnings()) != 1 || chunkIDs(resp) != "heat#0" {
		t.Errorf("mode %s, warnings %v, hits %s", resp.GetMode(), resp.GetWarnings(), chunkIDs(resp))
	}
	_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "copper", Mode: "vector"})
	h.wantReason(err, apierr.Unavailable, "")
	if resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "copper", Mode: "lexical"}); len(resp.GetWarnings()) > 0 {
		t.Errorf("warnings %v", resp.GetWarnings())
	}
}

func TestFilters(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	ctx := h.as("ada")
	for filter, want := range map[string]string{
		`year >= 1960 AND lang = "fr"`: "aile#0",
		`lang = "en" AND year < 1960`:  "heat#0",
		`NOT lang:*`:                   "",
	} {
		for _, mode := range []string{"hybrid", "lexical", "vector"} {
			resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "flows écoulement heat", Filter: filter, Mode: mode})
			if got := chunkIDs(resp); got != want {
				t.Errorf("%s, %s: got %q, want %q", mode, filter, got, want)
			}
		}
	}
	_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "x", Filter: `year >= 1960 AND lang =`})
	h.wantReason(err, apierr.InvalidArgument, "filter")
	if e := apierr.From(err); !strings.Contains(e.Message, "column") {
		t.Errorf("the message does not say where: %s", e.Message)
	}
}

func TestBadSearches(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	for field, req := range map[string]*searchv1.SearchRequest{
		"query":  {Query: "  "},
		"top_k":  {Query: "x", TopK: 1001},
		"mode":   {Query: "x", Mode: "magic"},
		"filter": {Query: "x", Filter: strings.Repeat("x", 4097)},
	} {
		req.Collection = "c"
		_, err := h.client.Search(h.as("ada"), req)
		h.wantReason(err, apierr.InvalidArgument, field)
	}
	_, err := h.client.Search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: strings.Repeat("é", 8193)})
	h.wantReason(err, apierr.InvalidArgument, "query")
	if resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "?!", Mode: "lexical"}); len(resp.GetHits()) > 0 {
		t.Errorf("a query without words finds %s", chunkIDs(resp))
	}
}

func TestTopKWidensTheLegs(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	var docs []*searchv1.Document
	for i := range 400 {
		docs = append(docs, doc(fmt.Sprintf("d%03d", i), fmt.Sprintf("common word%d", i)))
	}
	h.put(ctx, "c", docs...)
	for _, mode := range []string{"hybrid", "lexical", "vector"} {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common", TopK: 300, Mode: mode})
		if len(resp.GetHits()) != 300 {
			t.Errorf("%s: %d hits", mode, len(resp.GetHits()))
		}
	}
	if resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common"}); len(resp.GetHits()) != 10 {
		t.Errorf("%d hits without top_k", len(resp.GetHits()))
	}
}

func TestLongDocumentsAreFoundByTheirPassage(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "Sentence number%d says some words, été comprise. ", i)
	}
	d := doc("long", text.String())
	if got := h.put(ctx, "c", d).GetResults()[0].GetChunkCount(); got < 5 {
		t.Fatalf("%d chunks", got)
	}
	for _, mode := range []string{"lexical", "vector"} {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "number150", Mode: mode, TopK: 1})
		hit := resp.GetHits()[0]
		if d.GetText()[hit.GetStartOffset():hit.GetEndOffset()] != hit.GetText() {
			t.Errorf("%s: offsets %d to %d are not those of %q", mode, hit.GetStartOffset(), hit.GetEndOffset(), hit.GetText())
		}
		if mode == "lexical" && !strings.Contains(hit.GetText(), "number150 ") {
			t.Errorf("found %q", hit.GetText())
		}
	}
}
