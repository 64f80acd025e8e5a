package search_test

import (
	"context"
	"fmt"
	"html"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/search/internal/analysis"
)

// Every path that tells something of documents is compared with an oracle that
// knows all of them and whom they let read, while they are written, given to
// others and removed.
func TestNobodyLearnsOfWhatTheyMayNotRead(t *testing.T) {
	w := newWorld(t, 11, nil)
	for round := range 7 {
		w.change()
		if round == 4 {
			w.h.stop()
			w.h.start()
		}
		for range 2 {
			w.compare(round)
		}
	}
}

// world is two tenants with a collection of the same name each, and what the
// oracle knows of them.
type world struct {
	t     *testing.T
	h     *harness
	rng   *rand.Rand
	words []string
	// docs are by tenant and id.
	docs map[string]map[string]*record
}

// The cast. Principals of one tenant are also named by the other's documents.
var (
	tenants    = []string{"acme", "globex"}                                                    //nolint:gochecknoglobals // of the test
	principals = []string{"user:ada", "user:bob", "group:staff", "group:board", "role:reader"} //nolint:gochecknoglobals // of the test
	readers    = append([]string{"tenant:acme", "tenant:globex", "public"}, principals...)     //nolint:gochecknoglobals // of the test
)

func newWorld(t *testing.T, seed uint64, change func(*search.Config)) *world {
	t.Helper()
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, seed)), docs: make(map[string]map[string]*record)}
	w.words = vocabulary(w.rng, 30)
	for _, word := range w.words {
		if p := analysis.PhraseOf(word); len(p) != 1 || !slices.Equal(p[0], []string{word}) {
			t.Fatalf("the oracle's words must be terms, and %s is %v", word, p)
		}
	}
	w.h = newHarness(t, func(c *search.Config) {
		c.Chunking.MaxWords, c.Chunking.OverlapWords = oracleMaxWords, 0
		if change != nil {
			change(c)
		}
	})
	for _, tenant := range tenants {
		w.docs[tenant] = make(map[string]*record)
		w.h.create(w.h.admin(tenant, "root"), "c")
	}
	return w
}

func (w *world) pick(from []string) string { return from[w.rng.IntN(len(from))] }

// subset returns some of from, often few.
func (w *world) subset(from []string, chance float64) []string {
	out := []string{}
	for _, s := range from {
		if w.rng.Float64() < chance {
			out = append(out, s)
		}
	}
	return out
}

// change writes and removes a few documents of each tenant.
func (w *world) change() {
	w.t.Helper()
	for _, tenant := range tenants {
		ctx := w.h.admin(tenant, "root")
		var batch []*searchv1.Document
		for range 1 + w.rng.IntN(4) {
			r := w.randomRecord()
			if slices.ContainsFunc(batch, func(d *searchv1.Document) bool { return d.GetId() == r.id }) {
				continue
			}
			d := withMetadata(w.t, r.document(), r.metadata())
			if r.readers != nil {
				d = withACL(d, r.readers...)
			}
			batch, w.docs[tenant][r.id] = append(batch, d), r
		}
		w.h.put(ctx, "c", batch...)
		if id := fmt.Sprintf("d%02d", w.rng.IntN(16)); w.rng.IntN(3) == 0 && w.docs[tenant][id] != nil {
			if _, err := w.h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: id}); err != nil {
				w.t.Fatal(err)
			}
			delete(w.docs[tenant], id)
		}
	}
}

func (w *world) randomRecord() *record {
	r := &record{id: fmt.Sprintf("d%02d", w.rng.IntN(16)), n: float64(w.rng.IntN(5) - 1), team: w.pick([]string{"", "t1", "t2", "t3"})}
	var text []string
	for range 3 + w.rng.IntN(45) {
		text = append(text, w.pick(w.words))
	}
	if w.rng.IntN(4) == 0 {
		text = w.nearly(text)
	}
	r.text = strings.Join(text, " ")
	if w.rng.IntN(2) == 0 {
		r.title = w.pick(w.words)
	}
	if w.rng.IntN(3) > 0 {
		r.tags = w.subset([]string{"x", "y", "z"}, 0.5)
	}
	if w.rng.IntN(5) > 0 {
		r.readers = w.subset(readers, 0.2)
	}
	return r
}

// caller is somebody, and what they may read.
type caller struct {
	ctx        context.Context
	tenant     string
	principals []string
	// readable and hidden are the tenant's documents, by id.
	readable, hidden []*record
}

func (w *world) caller() caller { return w.callerOf(w.pick(tenants)) }

func (w *world) callerOf(tenant string) caller {
	c := caller{tenant: tenant, principals: w.subset(principals, 0.4)}
	c.ctx = w.h.of(c.tenant, "somebody", c.principals...)
	for _, r := range w.docs[c.tenant] {
		if r.readable(c.tenant, c.principals) {
			c.readable = append(c.readable, r)
		} else {
			c.hidden = append(c.hidden, r)
		}
	}
	for _, list := range [][]*record{c.readable, c.hidden} {
		slices.SortFunc(list, func(a, b *record) int { return strings.Compare(a.id, b.id) })
	}
	return c
}

// compare asks every path once on behalf of somebody.
func (w *world) compare(round int) {
	w.t.Helper()
	c := w.caller()
	q := w.question()
	for name, path := range map[string]func(caller, question) string{
		"get":             w.gets,
		"list":            w.lists,
		"search":          w.searches,
		"order":           w.orders,
		"suggestions":     w.suggests,
		"near-duplicates": w.deduplicates,
		"reranking":       w.reranks,
		"pages":           w.turnsPages,
		"explanations":    w.explains,
		"counts":          w.counts,
		"writes":          w.writes,
	} {
		if wrong := path(c, q); wrong != "" {
			w.t.Fatalf("round %d, %s, %s as %v, asked %v with filter %q: %s", round, name, c.tenant, c.principals, q, q.filter, wrong)
		}
	}
	// Last, for it changes the world.
	if wrong := w.turnsPagesMeanwhile(c, q); wrong != "" {
		w.t.Fatalf("round %d, pages meanwhile, %s as %v, asked %v with filter %q: %s", round, c.tenant, c.principals, q, q.filter, wrong)
	}
}

func (w *world) question() question {
	q := question{words: []string{w.pick(w.words), w.pick(w.words), w.pick(w.words)}}
	switch w.rng.IntN(6) {
	case 0, 1:
		// Words that stand together somewhere, so that there is something to find.
		for _, r := range w.docs[w.pick(tenants)] {
			if words := strings.Fields(r.text); len(words) > 4 {
				q.phrase = words[2:4]
			}
			break
		}
	case 2:
		q.require = w.pick(w.words)
	case 3:
		q.exclude = w.pick(w.words)
	case 4:
		q.require, q.exclude = w.pick(w.words), w.pick(w.words)
	}
	switch w.rng.IntN(5) {
	case 0:
		q.filter, q.passes = `n >= 2`, func(r *record) bool { return r.n >= 2 }
	case 1:
		q.filter, q.passes = `tags:x OR team = "t1"`, func(r *record) bool { return slices.Contains(r.tags, "x") || r.team == "t1" }
	case 2:
		q.filter, q.passes = `NOT team = "t2"`, func(r *record) bool { return r.team != "t2" }
	}
	return q
}

func (w *world) gets(c caller, _ question) string {
	for _, r := range c.readable {
		got, err := w.h.client.GetDocument(c.ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: r.id})
		if err != nil || got.GetDocument().GetText() != r.text || got.GetDocument().GetTitle() != r.title {
			return fmt.Sprintf("%s: %v, %v", r.id, got, err)
		}
	}
	for _, r := range c.hidden {
		_, err := w.h.client.GetDocument(c.ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: r.id})
		_, none := w.h.client.GetDocument(c.ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "none"})
		if err == nil || strings.ReplaceAll(err.Error(), r.id, "none") != none.Error() || apierr.ReasonOf(err) != apierr.NotFound {
			return fmt.Sprintf("%s is refused by %v, and what is not there by %v", r.id, err, none)
		}
	}
	return ""
}

func (w *world) lists(c caller, _ question) string {
	var got, want []string
	for token, first := "", true; first || token != ""; first = false {
		resp, err := w.h.client.ListDocuments(c.ctx, &searchv1.ListDocumentsRequest{Collection: "c", PageSize: 3, PageToken: token})
		if err != nil {
			return err.Error()
		}
		for _, d := range resp.GetDocuments() {
			got = append(got, d.GetId())
		}
		token = resp.GetNextPageToken()
	}
	for _, r := range c.readable {
		want = append(want, r.id)
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("got %v, want %v", got, want)
	}
	return ""
}

// searches compares hits, highlights, explanations and facets in every mode.
func (w *world) searches(c caller, q question) string {
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{
			Collection: "c", Query: q.String(), Filter: q.filter, Mode: mode, TopK: 1000, Explain: true,
			Facets: []*searchv1.FacetRequest{
				{Field: "team"},
				{Field: "n", Ranges: []*searchv1.FacetRange{{From: structpb.NewNumberValue(2)}}},
				{Field: "tags"},
			},
		})
		if err != nil {
			return err.Error()
		}
		want := expected(c.readable, q, mode == "lexical")
		if wrong := sameHits(resp, want, q); wrong != "" {
			return mode + ": " + wrong
		}
		if got := facetsOf(resp.GetFacets()); got != expectedFacets(want) {
			return fmt.Sprintf("%s: facets %s, want %s", mode, got, expectedFacets(want))
		}
	}
	return ""
}

func sameHits(resp *searchv1.SearchResponse, want []match, q question) string {
	byID := make(map[string]match, len(want))
	for _, f := range want {
		byID[f.id] = f
	}
	if len(resp.GetHits()) != len(want) {
		return fmt.Sprintf("%d hits (%s), want %d", len(resp.GetHits()), chunkIDs(resp), len(want))
	}
	for _, hit := range resp.GetHits() {
		f, ok := byID[hit.GetChunkId()]
		if !ok || hit.GetText() != f.text || hit.GetTitle() != f.record.title {
			return fmt.Sprintf("%s is found with %q", hit.GetChunkId(), hit.GetText())
		}
		delete(byID, f.id)
		if wrong := sameHighlights(hit.GetHighlights(), f, q); wrong != "" {
			return f.id + ": " + wrong
		}
		for _, leg := range hit.GetExplanation().GetLegs() {
			if int(leg.GetRank()) > len(want) || leg.GetLeg() == "lexical" && (leg.GetRank() > 0) != f.any {
				return fmt.Sprintf("%s: explained by %v", f.id, leg)
			}
		}
	}
	return ""
}

// sameHighlights wants the query's words to be marked, no others, in parts of
// the passage.
func sameHighlights(highlights []string, f match, q question) string {
	has := slices.ContainsFunc(strings.Fields(f.text), func(w string) bool { return slices.Contains(q.scored(), w) })
	if (len(highlights) > 0) != has {
		return fmt.Sprintf("highlights %q", highlights)
	}
	for _, h := range highlights {
		plain := html.UnescapeString(strings.NewReplacer("<em>", "", "</em>", "").Replace(h))
		if !strings.Contains(f.text, plain) {
			return fmt.Sprintf("%q is no part of it", plain)
		}
		for _, part := range strings.Split(h, "<em>")[1:] {
			if word, _, _ := strings.Cut(part, "</em>"); !slices.Contains(q.scored(), word) {
				return fmt.Sprintf("%q is marked", word)
			}
		}
	}
	return ""
}

func facetsOf(facets []*searchv1.Facet) string {
	lines := make([]string, len(facets))
	for i, f := range facets {
		counts := make(map[string]int)
		for _, v := range f.GetValues() {
			counts[fmt.Sprint(v.GetValue().AsInterface())] = int(v.GetCount())
		}
		lines[i] = facetLine(counts, int(f.GetMissingCount()))
		for _, r := range f.GetRanges() {
			n, m, _ := strings.Cut(lines[i], "missing")
			lines[i] = fmt.Sprintf("%smissing%s [%d]", n, m, r.GetCount())
		}
		if f.GetOtherCount() != 0 {
			lines[i] += fmt.Sprintf(" other=%d", f.GetOtherCount())
		}
	}
	return strings.Join(lines, " / ")
}

func (w *world) orders(c caller, q question) string {
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		for _, k := range []int32{5, 1000} {
			resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{
				Collection: "c", Query: q.String(), Filter: q.filter, Mode: mode, TopK: k, OrderBy: "metadata.n desc, title",
			})
			if err != nil {
				return err.Error()
			}
			want := expected(c.readable, q, mode == "lexical")
			slices.SortFunc(want, byNThenTitle)
			var ids []string
			for _, f := range want[:min(int(k), len(want))] {
				ids = append(ids, f.id)
			}
			if got := chunkIDs(resp); got != strings.Join(ids, " ") {
				return fmt.Sprintf("%s: got %s, want %v", mode, got, ids)
			}
		}
	}
	return ""
}

// suggests misspells a word, which is corrected exactly if the caller may read
// it somewhere.
func (w *world) suggests(c caller, _ question) string {
	word := w.pick(w.words)
	wrong := word[:2] + word[3:4] + word[2:3] + word[4:] // no other word is as near
	query := wrong + " " + w.pick(w.words)
	want := ""
	if slices.ContainsFunc(c.readable, func(r *record) bool { return slices.Contains(strings.Fields(r.title+" "+r.text), word) }) {
		want = word + query[len(wrong):]
	}
	resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{Collection: "c", Query: query, Mode: "lexical", Suggest: true})
	if err != nil {
		return err.Error()
	}
	if resp.GetSuggestion() != want {
		return fmt.Sprintf("for %q got %q, want %q", query, resp.GetSuggestion(), want)
	}
	return ""
}
