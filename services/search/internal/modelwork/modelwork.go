// Package modelwork takes down what models do for one request, so that whoever
// asked can be billed for it. Who asks a model notes it in the context's tally; work
// that no request asked for has none, and is noted nowhere. Start reading at Tally.
package modelwork

import (
	"context"
	"math"
	"sync"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// Kind is what a model did.
type Kind string

// The kinds, as the API shows them.
const (
	Embed  Kind = "embed"
	Rerank Kind = "rerank"
)

// By says which version did it, and by which experiment that was chosen.
type By struct {
	Model, Digest          string
	Version                int32
	Variant, VariantDigest string
	Experiment, Arm        string
}

// Work is what one version did.
type Work struct {
	Kind Kind
	By   By
	// Tokens were read, as the engine counted them, and Documents ranked.
	Tokens, Documents int32
}

// Tally is the work for one request, one for each version and kind. It is safe for
// concurrent use. A nil Tally takes nothing down.
type Tally struct {
	mu    sync.Mutex
	works []Work
}

type key struct{}

// NewContext returns ctx with a tally of its own.
func NewContext(ctx context.Context) (context.Context, *Tally) {
	t := new(Tally)
	return context.WithValue(ctx, key{}, t), t
}

// From returns the context's tally; nil: nobody asked for the work.
func From(ctx context.Context) *Tally {
	t, _ := ctx.Value(key{}).(*Tally)
	return t
}

// Note takes down an answer of the inference service.
func (t *Tally) Note(k Kind, by *inferencev1.ServedBy, used *commonv1.TokenUsage, documents int) {
	t.Add([]Work{{Kind: k, By: By{
		Model: by.GetModel(), Version: by.GetVersion(), Digest: by.GetDigest(), Variant: by.GetVariant(), VariantDigest: by.GetVariantDigest(),
		Experiment: by.GetExperiment(), Arm: by.GetArm(),
	}, Tokens: max(used.GetPromptTokens(), 0), Documents: sum(0, documents)}})
}

// Add takes down what another tally had.
func (t *Tally) Add(works []Work) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range works {
		t.add(w)
	}
}

func (t *Tally) add(w Work) {
	for i := range t.works {
		if have := &t.works[i]; have.Kind == w.Kind && have.By == w.By {
			have.Tokens, have.Documents = sum(have.Tokens, int(w.Tokens)), sum(have.Documents, int(w.Documents))
			return
		}
	}
	t.works = append(t.works, w)
}

// Take returns what was taken down since it was last asked, in the order in which
// versions began.
func (t *Tally) Take() []Work {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.works
	t.works = nil
	return out
}

// sum adds without wrapping around.
func sum(a int32, b int) int32 {
	return int32(min(int64(a)+int64(b), math.MaxInt32))
}
