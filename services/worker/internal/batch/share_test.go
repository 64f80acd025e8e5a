package batch

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

func TestApportion(t *testing.T) {
	for _, c := range []struct {
		total   int32
		weights []int64
		want    []int32
	}{
		{0, []int64{3, 4}, []int32{0, 0}},
		{7, []int64{3, 4}, []int32{3, 4}},
		{10, []int64{1, 1, 1}, []int32{4, 3, 3}},
		{10, []int64{0, 0, 0, 0}, []int32{3, 3, 2, 2}},
		{5, []int64{9}, []int32{5}},
		{100, []int64{1, 0, 2}, []int32{33, 0, 67}},
		{1<<31 - 1, []int64{1 << 25, 1 << 25}, []int32{1 << 30, 1<<30 - 1}},
	} {
		if got := apportion(c.total, c.weights); !slices.Equal(got, c.want) {
			t.Errorf("%d by %v: %v, want %v", c.total, c.weights, got, c.want)
		}
	}
}

func TestSharesAddUp(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		weights := make([]int64, 1+rnd.IntN(20))
		for i := range weights {
			weights[i] = rnd.Int64N(1 << rnd.IntN(22))
		}
		total := &commonv1.TokenUsage{PromptTokens: rnd.Int32N(1 << (1 + rnd.IntN(30)))}
		total.CachedPromptTokens = rnd.Int32N(total.GetPromptTokens() + 1)
		var prompt, cached int32
		for i, part := range shares(total, weights) {
			if p, c := part.GetPromptTokens(), part.GetCachedPromptTokens(); c < 0 || c > p {
				t.Errorf("part %d of %v by %v: %v", i, total, weights, part)
			}
			prompt += part.GetPromptTokens()
			cached += part.GetCachedPromptTokens()
		}
		if prompt != total.GetPromptTokens() || cached != total.GetCachedPromptTokens() {
			t.Errorf("%v by %v: %d and %d", total, weights, prompt, cached)
		}
	}
}

// counting is a fakeEngine whose tokeniser can be asked.
type counting struct {
	*fakeEngine

	takes time.Duration
	err   error
}

func (f *counting) CountTokens(ctx context.Context, op engine.Operation, body []byte) (int, error) {
	var of struct {
		Prompt string `json:"prompt"`
	}
	if err := json.Unmarshal(body, &of); err != nil || op != engine.Completion {
		f.t.Errorf("asked to count %s: %v", body, err)
	}
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	return tokensOf(engine.Input{Text: of.Prompt}), f.err
}

func TestCounts(t *testing.T) {
	short, long := "a", "internationalisation of everything, at once"
	exact := []int32{int32(tokensOf(engine.Input{Text: short})), int32(tokensOf(engine.Input{Text: long}))}
	for _, c := range []struct {
		name  string
		off   bool
		takes time.Duration
		err   error
		exact bool
		took  time.Duration
	}{
		{"counted", false, time.Millisecond, nil, true, 20 * time.Millisecond},
		{"a little late", false, 12 * time.Millisecond, nil, true, 22 * time.Millisecond},
		{"too late", false, time.Minute, nil, false, 20*time.Millisecond + countGrace},
		{"cannot", false, 0, errors.New("no"), false, 20 * time.Millisecond},
		{"off", true, 0, nil, false, 20 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Config{CountTokens: !c.off}, func(r *rig) {
				e := &counting{r.engine, c.takes, c.err}
				embed := func(text string) <-chan answer {
					done := make(chan answer, 1)
					begun := time.Now()
					go func() {
						out, err := r.batcher.Embed(r.Context(), e, request(text), 1)
						done <- answer{out, err, time.Since(begun)}
					}()
					pass(1) // they come in this order
					return done
				}
				<-embed("alone is not counted")
				first, one, two := embed("first"), embed(short), embed(long)
				<-first
				a, b := <-one, <-two
				got := []int32{a.out.Usage.GetPromptTokens(), b.out.Usage.GetPromptTokens()}
				if slices.Equal(got, exact) != c.exact || got[0]+got[1] != exact[0]+exact[1] {
					r.Errorf("usage %v, counted %v", got, exact)
				}
				if took := a.took.Round(time.Millisecond); took != c.took {
					r.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}
