package search_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// numbered are documents with a common word and a number each, in no order.
func numbered(t *testing.T, from, to int) []*searchv1.Document {
	t.Helper()
	var out []*searchv1.Document
	for i := from; i < to; i++ {
		d := doc(fmt.Sprintf("d%03d", i*37%1000), strings.Repeat("common ", 1+i%5)+fmt.Sprintf("word%d thing%d", i, i%17))
		out = append(out, withMetadata(t, d, map[string]any{"n": i * 37 % 1000}))
	}
	return out
}

// The pages of an ordered search are that search in pages, whatever is written
// between them: a search by words goes on to its end, others to the best hundred.
func TestPagesGoOnInOrder(t *testing.T) {
	for mode, many := range map[string]int{"lexical": 130, "vector": 100, "hybrid": 100} {
		t.Run(mode, func(t *testing.T) {
			h := newHarness(t)
			ctx := h.as("ada")
			h.create(ctx, "c")
			h.put(ctx, "c", numbered(t, 0, 130)...)
			req := &searchv1.SearchRequest{Collection: "c", Query: "common", Mode: mode, OrderBy: "metadata.n desc", TopK: int32(many)}
			var want []string
			for _, hit := range h.search(ctx, req).GetHits() {
				want = append(want, hit.GetChunkId())
			}
			if len(want) != many || !slices.IsSortedFunc(want, func(a, b string) int { return strings.Compare(b, a) }) {
				t.Fatalf("at once: %v", want)
			}
			req.TopK = 33
			gone := want[len(want)-1]
			hits := h.pages(ctx, req, func(page int) {
				h.put(ctx, "c", numbered(t, 130+20*page, 135+20*page)...)
				if page == 1 {
					if _, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: gone[:4]}); err != nil {
						t.Fatal(err)
					}
				}
			})
			var got []string
			for _, hit := range hits {
				got = append(got, hit.GetChunkId())
			}
			if want = want[:len(want)-1]; !slices.Equal(got, want) {
				t.Errorf("in pages: %v, want %v", got, want)
			}
		})
	}
}

// What a query says is the same on every page; what is counted and suggested is
// on the first.
func TestPagesOfWhatAQuerySays(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	docs := numbered(t, 0, 90)
	for i, d := range docs {
		d.Text += []string{" draft", " les nageurs <plongent>", " the swimmers dive"}[i%3]
	}
	h.put(ctx, "c", docs...)
	suggested := false
	for _, req := range []*searchv1.SearchRequest{
		{Query: `"common word7" swimming`},
		{Query: `common -draft +dive`, Language: "en"},
		{Query: `common -draft`, Filter: "n > 300", OrderBy: "metadata.n"},
		{Query: `common -draft`, Plain: true},
		{Query: `comon "les nageurs"`, Explain: true, Deduplicate: true},
	} {
		for _, mode := range []string{"lexical", "vector", "hybrid"} {
			req.Collection, req.Mode, req.TopK, req.PageToken = "c", mode, 90, ""
			req.Suggest, req.Facets = true, []*searchv1.FacetRequest{{Field: "n", Limit: 3}}
			whole := h.search(ctx, req)
			req.TopK = 21
			first := h.search(ctx, req)
			if len(first.GetFacets()) != 1 || !proto.Equal(first.GetFacets()[0], whole.GetFacets()[0]) || first.GetSuggestion() != whole.GetSuggestion() {
				t.Errorf("%s, %s: the first page has %v and %q", req.GetQuery(), mode, first.GetFacets(), first.GetSuggestion())
			}
			suggested = suggested || first.GetSuggestion() != ""
			got := first.GetHits()
			for token := first.GetNextPageToken(); token != "" && len(got) < len(whole.GetHits()); {
				req.PageToken = token
				resp := h.search(ctx, req)
				if len(resp.GetFacets()) > 0 || resp.GetSuggestion() != "" || resp.GetLanguage() != whole.GetLanguage() {
					t.Errorf("%s, %s: a later page has %v, %q and %q", req.GetQuery(), mode, resp.GetFacets(), resp.GetSuggestion(), resp.GetLanguage())
				}
				got, token = append(got, resp.GetHits()...), resp.GetNextPageToken()
			}
			for i, want := range whole.GetHits() {
				if i >= len(got) || !proto.Equal(got[i], want) {
					t.Errorf("%s, %s: hit %d of %d is not %v", req.GetQuery(), mode, i, len(got), want)
					break
				}
			}
		}
	}
	if !suggested {
		t.Error("nothing was suggested anywhere")
	}
}

// No sweeper runs here. What ends between the pages is on none of them and is
// nobody's near-duplicate, and so it is with what is hidden.
func TestWhatHasEndedIsOnNoPage(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Expiry.Interval = time.Hour })
	eve := h.as("eve")
	h.create(eve, "c")
	docs := numbered(t, 0, 60)
	for i, d := range docs {
		docs = append(docs, doc("copy-"+d.GetId(), d.GetText()))
		if i%3 == 0 {
			withTTL(docs[len(docs)-1], time.Second)
		}
		if i%4 == 0 {
			withTTL(d, time.Second)
		}
	}
	h.put(eve, "c", docs...)
	ends := time.Now().Add(time.Second) // or before
	ended := func(id string) bool {
		return slices.ContainsFunc(docs, func(d *searchv1.Document) bool { return d.GetId() == id && d.GetTtl() != nil })
	}
	var asked []*searchv1.SearchRequest
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		for _, order := range []string{"", "id"} {
			req := &searchv1.SearchRequest{Collection: "c", Query: "common", Mode: mode, OrderBy: order, TopK: 10, Deduplicate: true}
			req.PageToken = h.search(eve, req).GetNextPageToken()
			asked = append(asked, req)
		}
	}
	hidden := docs[1]
	h.put(eve, "c", withACL(doc(hidden.GetId(), hidden.GetText()), "user:eve"))
	<-time.After(time.Until(ends) + 200*time.Millisecond)
	for _, req := range asked {
		hits := h.pages(h.as("bob"), req, nil)
		if len(hits) < 20 {
			t.Errorf("%s by %q: %d hits", req.GetMode(), req.GetOrderBy(), len(hits))
		}
		for _, hit := range hits {
			for _, id := range append(hit.GetNearDuplicates().GetDocumentIds(), hit.GetDocumentId()) {
				if ended(id) || id == hidden.GetId() {
					t.Errorf("%s by %q: %s is shown", req.GetMode(), req.GetOrderBy(), id)
				}
			}
		}
	}
}

func TestAnOrderIsTheOnlyOne(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("b", notice), doc("a", notice+"!"), doc("z", "The key of the tower opens no gate at all"))
	for _, req := range []*searchv1.SearchRequest{{Rerank: &searchv1.Rerank{Model: "judge"}}, {Diversity: 0.1}} {
		req.Collection, req.Query, req.OrderBy = "c", "gate", "id"
		_, err := h.client.Search(ctx, req)
		h.wantReason(err, apierr.InvalidArgument, "order_by")
	}
	// Of near-duplicates the first in order stays.
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		for order, want := range map[string]string{"id": "a#0 z#0", "id desc": "z#0 b#0"} {
			req := &searchv1.SearchRequest{Collection: "c", Query: "gate", Mode: mode, OrderBy: order, Deduplicate: true}
			if got := chunkIDs(h.search(ctx, req)); got != want {
				t.Errorf("%s by %s: %s, want %s", mode, order, got, want)
			}
		}
	}
}

// Models get what is looked for: neither marks nor what must not be there. Plain
// queries are what they are.
func TestModelsGetWhatIsLookedFor(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	ctx := h.as("ada")
	asked := func(query string, plain bool) []string {
		h.inference.set(func(f *fakeInference) { f.queries = nil })
		h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: query, Plain: plain, Rerank: &searchv1.Rerank{Model: "judge"}})
		var out []string
		h.inference.set(func(f *fakeInference) {
			for _, q := range f.queries {
				out = append(out, strings.TrimSpace(q))
			}
		})
		return out
	}
	for _, tc := range []struct {
		query string
		plain bool
		want  []string
	}{
		{`flow -shock over`, false, []string{"flow   over", "flow   over"}},
		{`flow -heat over`, false, []string{"flow   over"}}, // its vector is known
		{`flow -heat over`, true, []string{"flow -heat over", "flow -heat over"}},
		{`"flow" over`, true, []string{`"flow" over`, `"flow" over`}},
	} {
		if got := asked(tc.query, tc.plain); !slices.Equal(got, tc.want) {
			t.Errorf("%s: asked %q, want %q", tc.query, got, tc.want)
		}
	}
}

// The times of the legs are counted where the index was asked.
func TestLegTimesOfPages(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.crowd(ctx, 150)
	legs := func() (n uint64) {
		families, err := h.telemetry.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "poterne_search_leg_duration_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
			}
		}
		return n
	}
	req := &searchv1.SearchRequest{Collection: "c", Query: "common", TopK: 60}
	for page, want := range []uint64{2, 4, 4} {
		req.PageToken = h.search(ctx, req).GetNextPageToken()
		if got := legs(); got != want {
			t.Errorf("page %d: %d legs were timed, want %d", page+1, got, want)
		}
	}
}
