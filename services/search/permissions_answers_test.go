package search_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// What is done with what was found, compared with the oracle.

// nearly returns the words of somebody's document, one of them another; words
// when there is no document.
func (w *world) nearly(words []string) []string {
	var all []string
	for _, tenant := range tenants {
		for _, id := range slices.Sorted(maps.Keys(w.docs[tenant])) {
			all = append(all, w.docs[tenant][id].text)
		}
	}
	if len(all) == 0 {
		return words
	}
	words = strings.Fields(w.pick(all))
	words[len(words)-1] = w.pick(w.words)
	return words
}

// resemblance is the share of runs of three words that two texts have in common.
func resemblance(a, b string) float64 {
	runs := func(text string) map[string]bool {
		words, out := strings.Fields(text), make(map[string]bool)
		for i := range max(1, len(words)-2) {
			out[strings.Join(words[i:min(i+3, len(words))], " ")] = true
		}
		return out
	}
	first, second := runs(a), runs(b)
	common := 0
	for run := range first {
		if second[run] {
			common++
		}
	}
	return float64(common) / float64(len(first)+len(second)-common)
}

// whole is what a search finds at once; the other paths hold that it is right.
func (w *world) whole(c caller, q question, mode string) ([]*searchv1.Hit, error) {
	resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{
		Collection: "c", Query: q.String(), Filter: q.filter, Mode: mode, TopK: 1000,
	})
	return resp.GetHits(), err
}

func (w *world) deduplicates(c caller, q question) string {
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		whole, err := w.whole(c, q, mode)
		if err != nil {
			return err.Error()
		}
		var kept []*searchv1.Hit
		folded := make(map[*searchv1.Hit][]*searchv1.Hit)
		for _, hit := range whole {
			better := slices.IndexFunc(kept, func(k *searchv1.Hit) bool { return resemblance(k.GetText(), hit.GetText()) >= 0.7 })
			if better < 0 {
				kept = append(kept, hit)
			} else {
				folded[kept[better]] = append(folded[kept[better]], hit)
			}
		}
		resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{
			Collection: "c", Query: q.String(), Filter: q.filter, Mode: mode, TopK: 1000, Deduplicate: true,
		})
		if err != nil {
			return err.Error()
		}
		if len(resp.GetHits()) != len(kept) {
			return fmt.Sprintf("%s: %d hits are kept, want %d", mode, len(resp.GetHits()), len(kept))
		}
		for i, hit := range resp.GetHits() {
			var ids []string
			for _, f := range folded[kept[i]] {
				ids = append(ids, f.GetDocumentId())
			}
			slices.Sort(ids)
			n := hit.GetNearDuplicates()
			if hit.GetChunkId() != kept[i].GetChunkId() || int(n.GetCount()) != len(ids) || !slices.Equal(n.GetDocumentIds(), slices.Compact(ids)) {
				return fmt.Sprintf("%s: hit %d is %s with %v, want %s with %v", mode, i, hit.GetChunkId(), n, kept[i].GetChunkId(), ids)
			}
		}
	}
	return ""
}

// reranks compares the order, and what the model was sent.
func (w *world) reranks(c caller, q question) string {
	const best = 5
	score := func(text string) float64 { return float64(strings.Count(text, "a")) }
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		whole, err := w.whole(c, q, mode)
		if err != nil {
			return err.Error()
		}
		w.h.inference.set(func(f *fakeInference) { f.judged, f.score = nil, score })
		resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{
			Collection: "c", Query: q.String(), Filter: q.filter, Mode: mode, TopK: 1000,
			Rerank: &searchv1.Rerank{Model: "judge", TopN: best},
		})
		if err != nil {
			return err.Error()
		}
		text := func(hit *searchv1.Hit) string { return strings.TrimPrefix(hit.GetTitle()+"\n"+hit.GetText(), "\n") }
		first := whole[:min(best, len(whole))]
		var sent, judged []string
		for _, hit := range first {
			sent = append(sent, text(hit))
		}
		w.h.inference.set(func(f *fakeInference) { judged = f.judged })
		if !slices.Equal(judged, sent) {
			return fmt.Sprintf("%s: the model was sent %q, want %q", mode, judged, sent)
		}
		slices.SortStableFunc(first, func(a, b *searchv1.Hit) int { return int(score(text(b)) - score(text(a))) })
		if got, want := chunkIDs(resp), chunkIDs(&searchv1.SearchResponse{Hits: whole}); got != want {
			return fmt.Sprintf("%s: got %s, want %s", mode, got, want)
		}
	}
	return ""
}

// turnsPages compares pages of one mode with the answer at once, and then gives
// the token to others.
func (w *world) turnsPages(c caller, q question) string {
	mode := w.pick([]string{"lexical", "vector", "hybrid"})
	for name, req := range map[string]*searchv1.SearchRequest{
		"by score": {Explain: true}, "in order": {OrderBy: "metadata.n desc, title"}, "deduplicated": {Deduplicate: true},
		"in order, deduplicated": {OrderBy: "id desc", Deduplicate: true},
		"reranked":               {Rerank: &searchv1.Rerank{Model: "judge", TopN: 5}, Deduplicate: true, Diversity: 0.3},
	} {
		req.Collection, req.Query, req.Filter, req.Mode, req.TopK = "c", q.String(), q.filter, mode, 1000
		whole, err := w.h.client.Search(c.ctx, req)
		if err != nil {
			return err.Error()
		}
		req.TopK = 3
		got := &searchv1.SearchResponse{Hits: w.h.pages(c.ctx, req, nil)}
		if !slices.EqualFunc(got.GetHits(), whole.GetHits(), func(a, b *searchv1.Hit) bool { return proto.Equal(a, b) }) {
			return fmt.Sprintf("%s, %s: pages have %s, at once it is %s", mode, name, chunkIDs(got), chunkIDs(whole))
		}
		if wrong := w.stolen(c, req, whole.GetHits()); wrong != "" {
			return fmt.Sprintf("%s, %s: %s", mode, name, wrong)
		}
	}
	return ""
}

// stolen gives the token of the second page to others: of the tenant, who see
// what they may read of what c would, and of another, who are refused.
func (w *world) stolen(c caller, req *searchv1.SearchRequest, whole []*searchv1.Hit) string {
	first, err := w.h.client.Search(c.ctx, req)
	if err != nil || first.GetNextPageToken() == "" {
		return ""
	}
	req = proto.CloneOf(req)
	req.PageToken = first.GetNextPageToken()
	thief := w.callerOf(c.tenant)
	may := func(id string) bool {
		return slices.ContainsFunc(thief.readable, func(r *record) bool { return r.id == id })
	}
	want := slices.DeleteFunc(slices.Clone(whole[3:]), func(hit *searchv1.Hit) bool { return !may(hit.GetDocumentId()) })
	got := w.h.pages(thief.ctx, req, nil)
	if !slices.EqualFunc(got, want, func(a, b *searchv1.Hit) bool { return a.GetChunkId() == b.GetChunkId() && a.GetText() == b.GetText() }) {
		return fmt.Sprintf("%v see %s by another's token, want %s", thief.principals,
			chunkIDs(&searchv1.SearchResponse{Hits: got}), chunkIDs(&searchv1.SearchResponse{Hits: want}))
	}
	for _, hit := range got {
		for _, id := range hit.GetNearDuplicates().GetDocumentIds() {
			if !may(id) {
				return fmt.Sprintf("%v hear of %s by another's token", thief.principals, id)
			}
		}
	}
	for _, tenant := range tenants {
		if tenant == c.tenant {
			continue
		}
		if _, err := w.h.client.Search(w.callerOf(tenant).ctx, req); apierr.ReasonOf(err) != apierr.InvalidArgument {
			return fmt.Sprintf("another tenant's token: %v", err)
		}
	}
	return ""
}
