package search_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// pages asks for one page after another until there is none, and calls between
// before each but the first.
func (h *harness) pages(ctx context.Context, req *searchv1.SearchRequest, between func(page int)) []*searchv1.Hit {
	h.t.Helper()
	var out []*searchv1.Hit
	for page := 1; ; page++ {
		resp := h.search(ctx, req)
		if len(resp.GetHits()) > int(req.GetTopK()) {
			h.t.Fatalf("page %d has %d hits", page, len(resp.GetHits()))
		}
		out = append(out, resp.GetHits()...)
		if resp.GetNextPageToken() == "" {
			return out
		}
		if page > 200 {
			h.t.Fatal("the pages do not end")
		}
		req = proto.CloneOf(req)
		req.PageToken = resp.GetNextPageToken()
		if between != nil {
			between(page)
		}
	}
}

// crowd writes documents that all have a word in common.
func (h *harness) crowd(ctx context.Context, n int) {
	h.t.Helper()
	h.create(ctx, "c")
	var docs []*searchv1.Document
	for i := range n {
		docs = append(docs, doc(fmt.Sprintf("d%03d", i), strings.Repeat("common ", 1+i%5)+fmt.Sprintf("word%d other%d", i, i%17)))
	}
	h.put(ctx, "c", docs...)
}

// TestPagesAreStable writes, deletes, hides and restarts between the pages: no
// hit is shown twice, and none is missed that was there all along.
func TestPagesAreStable(t *testing.T) {
	const n = 150
	for _, mode := range []string{"hybrid", "lexical", "vector"} {
		t.Run(mode, func(t *testing.T) {
			h := newHarness(t)
			ctx := h.as("ada")
			h.crowd(ctx, n)
			r := rand.New(rand.NewPCG(5, 6))
			touched := make(map[string]bool)
			hits := h.pages(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common", TopK: 43, Mode: mode}, func(page int) {
				id := func() string {
					s := fmt.Sprintf("d%03d", r.IntN(n))
					touched[s] = true
					return s
				}
				h.put(ctx, "c", doc(fmt.Sprintf("new%d", page), "common common common"), doc(id(), "common anew"), withACL(doc(id(), "common"), "user:bob"))
				_, _ = h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: id()})
				if page == 2 {
					h.stop()
					h.start()
				}
			})
			seen := make(map[string]bool)
			for _, hit := range hits {
				if seen[hit.GetChunkId()] {
					t.Errorf("%s is shown twice", hit.GetChunkId())
				}
				seen[hit.GetChunkId()] = true
			}
			for i := range n {
				if id := fmt.Sprintf("d%03d", i); !touched[id] && !seen[id+"#0"] {
					t.Errorf("%s is missed", id)
				}
			}
		})
	}
}

// TestPagesAreTheWholeAnswer: cut into pages, the answer is the same, with its
// explanations.
func TestPagesAreTheWholeAnswer(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.crowd(ctx, 60)
	for name, req := range map[string]*searchv1.SearchRequest{
		"plain": {}, "explained": {Explain: true}, "by words": {Mode: "lexical", Explain: true},
		"all steps": {Explain: true, Deduplicate: true, Diversity: 0.4, Rerank: &searchv1.Rerank{Model: "judge", TopN: 20}},
	} {
		req.Collection, req.Query, req.TopK = "c", "common word7", 100
		whole := h.search(ctx, req)
		if whole.GetNextPageToken() != "" || len(whole.GetHits()) == 0 {
			t.Fatalf("%s: %d hits, and more", name, len(whole.GetHits()))
		}
		req.TopK = 7
		got := h.pages(ctx, req, nil)
		if len(got) != len(whole.GetHits()) {
			t.Errorf("%s: %d hits in pages, %d at once", name, len(got), len(whole.GetHits()))
			continue
		}
		for i, hit := range got {
			if want := whole.GetHits()[i]; !proto.Equal(hit, want) {
				t.Errorf("%s: hit %d is %v, want %v", name, i, hit, want)
				break
			}
		}
	}
}

func TestPageTokensShowNothingToOthers(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada", "group:board"), h.as("eve")
	h.create(ada, "c")
	var docs []*searchv1.Document
	for i := range 30 {
		d := doc(fmt.Sprintf("d%02d", i), fmt.Sprintf("common plan number%d", i))
		if i%2 == 0 {
			withACL(d, "group:board")
		}
		docs = append(docs, d)
	}
	h.put(ada, "c", docs...)
	req := &searchv1.SearchRequest{Collection: "c", Query: "common plan", TopK: 3, Deduplicate: true}
	req.PageToken = h.search(ada, req).GetNextPageToken()
	for _, hit := range h.pages(eve, req, nil) {
		if last := hit.GetDocumentId()[2]; (last-'0')%2 == 0 {
			t.Errorf("by a stolen token eve reads %s", hit.GetDocumentId())
		}
	}
	// Who may read no longer is shown nothing, either.
	for _, d := range docs {
		h.put(ada, "c", withACL(d, "user:ada"))
	}
	if got := h.pages(eve, req, nil); len(got) > 0 {
		t.Errorf("eve reads %d hits that were hidden", len(got))
	}
}

func TestBadPageTokens(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.crowd(ctx, 30)
	h.create(ctx, "d")
	h.create(h.of("evil", "eve"), "c")
	ask := func() *searchv1.SearchRequest {
		return &searchv1.SearchRequest{Collection: "c", Query: "common", TopK: 5}
	}
	token := h.search(ctx, ask()).GetNextPageToken()
	with := func(change func(*searchv1.SearchRequest)) *searchv1.SearchRequest {
		req := ask()
		req.PageToken = token
		change(req)
		return req
	}
	if got := h.search(ctx, with(func(r *searchv1.SearchRequest) { r.TopK = 9 })); len(got.GetHits()) != 9 {
		t.Errorf("another top_k: %d hits", len(got.GetHits()))
	}
	for name, req := range map[string]*searchv1.SearchRequest{
		"another query":      with(func(r *searchv1.SearchRequest) { r.Query = "other" }),
		"another filter":     with(func(r *searchv1.SearchRequest) { r.Filter = "a = 1" }),
		"another mode":       with(func(r *searchv1.SearchRequest) { r.Mode = "lexical" }),
		"another collection": with(func(r *searchv1.SearchRequest) { r.Collection = "d" }),
		"rubbish":            with(func(r *searchv1.SearchRequest) { r.PageToken = "rubbish" }),
		"cut":                with(func(r *searchv1.SearchRequest) { r.PageToken = token[:len(token)-8] }),
		"too long":           with(func(r *searchv1.SearchRequest) { r.PageToken = strings.Repeat("A", 131073) }),
	} {
		_, err := h.client.Search(ctx, req)
		if e := apierr.From(err); e == nil || e.Reason != apierr.InvalidArgument || e.Field != "page_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := h.client.Search(h.of("evil", "eve"), with(func(*searchv1.SearchRequest) {}))
	h.wantReason(err, apierr.InvalidArgument, "page_token")
	if _, err := h.client.DeleteCollection(ctx, &searchv1.DeleteCollectionRequest{Collection: "c"}); err != nil {
		t.Fatal(err)
	}
	h.crowd(ctx, 30)
	_, err = h.client.Search(ctx, with(func(*searchv1.SearchRequest) {}))
	h.wantReason(err, apierr.InvalidArgument, "page_token")
}

// A page that needs the query's vector and cannot have it is asked for again
// later; what was found already is shown without it.
func TestPagesWithoutEmbedding(t *testing.T) {
	h := newHarness(t, withoutQueryCache)
	ctx := h.as("ada")
	h.crowd(ctx, 150)
	req := &searchv1.SearchRequest{Collection: "c", Query: "common", TopK: 40}
	req.PageToken = h.search(ctx, req).GetNextPageToken()
	h.inference.set(func(f *fakeInference) { f.away = true })
	second := h.search(ctx, req)
	if len(second.GetHits()) != 40 || len(second.GetWarnings()) > 0 || second.GetMode() != "hybrid" {
		t.Errorf("%d hits as %s, warnings %v", len(second.GetHits()), second.GetMode(), second.GetWarnings())
	}
	for req.PageToken = second.GetNextPageToken(); ; {
		resp, err := h.client.Search(ctx, req)
		if err != nil {
			h.wantReason(err, apierr.Unavailable, "")
			break
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			t.Fatal("the pages ended")
		}
	}
	h.inference.set(func(f *fakeInference) { f.away = false })
	if resp := h.search(ctx, req); len(resp.GetHits()) == 0 {
		t.Error("the token is used up")
	}
}
