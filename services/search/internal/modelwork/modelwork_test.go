package modelwork_test

import (
	"math"
	"slices"
	"sync"
	"testing"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

func used(n int32) *commonv1.TokenUsage { return &commonv1.TokenUsage{PromptTokens: n} }

// What one version did is one sum, and versions and kinds are apart.
func TestWorkIsSummedByVersionAndKind(t *testing.T) {
	ctx, tally := modelwork.NewContext(t.Context())
	one, two := &inferencev1.ServedBy{Model: "e5", Version: 1, Digest: "sha256:1"}, &inferencev1.ServedBy{Model: "e5", Version: 2, Digest: "sha256:2"}
	modelwork.From(ctx).Note(modelwork.Embed, one, used(3), 0)
	modelwork.From(ctx).Note(modelwork.Embed, two, used(5), 0)
	modelwork.From(ctx).Note(modelwork.Rerank, one, used(7), 2)
	modelwork.From(ctx).Note(modelwork.Embed, one, used(4), 0)
	first, second := modelwork.By{Model: "e5", Version: 1, Digest: "sha256:1"}, modelwork.By{Model: "e5", Version: 2, Digest: "sha256:2"}
	want := []modelwork.Work{
		{Kind: modelwork.Embed, By: first, Tokens: 7}, {Kind: modelwork.Embed, By: second, Tokens: 5}, {Kind: modelwork.Rerank, By: first, Tokens: 7, Documents: 2},
	}
	if got := tally.Take(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := tally.Take(); len(got) != 0 {
		t.Errorf("what was taken is told again: %+v", got)
	}
}

func TestNobodysWorkIsNotedNowhere(t *testing.T) {
	tally := modelwork.From(t.Context())
	tally.Note(modelwork.Embed, nil, used(3), 0)
	if got := tally.Take(); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestSumsDoNotWrapAround(t *testing.T) {
	_, tally := modelwork.NewContext(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { tally.Note(modelwork.Embed, nil, used(math.MaxInt32), 0) })
	}
	all.Wait()
	tally.Note(modelwork.Rerank, nil, used(-5), 0)
	if got := tally.Take(); len(got) != 2 || got[0].Tokens != math.MaxInt32 || got[1].Tokens != 0 {
		t.Errorf("got %+v", got)
	}
}
