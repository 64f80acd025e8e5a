package search_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// CountTokens counts as tokens does.
func (f *fakeInference) CountTokens(_ context.Context, req *inferencev1.CountTokensRequest) (*inferencev1.CountTokensResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body struct {
		Prompt string `json:"prompt"`
	}
	if err := json.Unmarshal(req.GetBody(), &body); err != nil {
		return nil, err
	}
	if f.tokens == nil {
		f.uncounted++
		return nil, apierr.New(apierr.Unimplemented, "this model's engine has no call that counts tokens")
	}
	if f.away {
		f.uncounted++
		return nil, apierr.New(apierr.Unavailable, "no worker has the model")
	}
	f.counts++
	return &inferencev1.CountTokensResponse{PromptTokens: int32(f.tokens(body.Prompt)), ContextLength: int32(f.context)}, nil
}

// bounded refuses what has more tokens than the context.
func (f *fakeInference) bounded(req *inferencev1.EmbedRequest) error {
	for _, in := range req.GetInputs() {
		if n := f.tokens(in.GetText()); n > f.context {
			return apierr.New(apierr.ContextLengthExceeded, "the input has %d tokens; at most %d are taken", n, f.context)
		}
	}
	return nil
}

func (h *harness) chunks(ctx context.Context, collection string) int {
	h.t.Helper()
	resp, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: collection})
	if err != nil {
		h.t.Fatal(err)
	}
	return int(resp.GetCollection().GetChunkCount())
}

// whole checks that the document's passages hold all of its text, each where it
// says.
func (h *harness) whole(ctx context.Context, collection, id, text string) {
	h.t.Helper()
	var hits []*searchv1.Hit
	for token := ""; ; {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: collection, Query: "keys", Mode: "lexical", TopK: 100, PageToken: token})
		for _, hit := range resp.GetHits() {
			if hit.GetDocumentId() == id {
				hits = append(hits, hit)
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	slices.SortFunc(hits, func(a, b *searchv1.Hit) int { return int(a.GetStartOffset() - b.GetStartOffset()) })
	covered := 0
	for _, hit := range hits {
		start, end := int(hit.GetStartOffset()), int(hit.GetEndOffset())
		if hit.GetText() != text[start:end] {
			h.t.Fatalf("a passage from %d to %d is %q", start, end, hit.GetText())
		}
		if start > covered && strings.TrimFunc(text[covered:start], unicode.IsSpace) != "" {
			h.t.Fatalf("text from %d to %d is in no passage", covered, start)
		}
		covered = max(covered, end)
	}
	if strings.TrimSpace(text[covered:]) != "" {
		h.t.Fatalf("text from %d on is in no passage of %d", covered, len(hits))
	}
}
