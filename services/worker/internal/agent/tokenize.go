package agent

import (
	"context"
	"math"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// maxCounts is how many prompts of a model are counted at once. They take none
// of its slots, but some of its engine's time.
const maxCounts = 32

// Tokenize counts a prompt with the engine's tokeniser. It is answered also
// when the model takes no more requests: the count is asked before one.
func (a *Agent) Tokenize(ctx context.Context, req *workerv1.TokenizeRequest) (*workerv1.TokenizeResponse, error) {
	op, _, err := operationOf(req.GetOperation())
	if err != nil {
		return nil, err
	}
	m, life, err := a.lookup(req.GetDigest())
	if err != nil {
		return nil, err
	}
	if m.counts.Add(1) > maxCounts {
		m.counts.Add(-1)
		return nil, apierr.New(apierr.Overloaded, "too many prompts are being counted on this worker").WithRetryAfter(time.Second)
	}
	defer m.counts.Add(-1)
	n, err := life.engine.CountTokens(ctx, op, req.GetBody())
	if err != nil {
		return nil, err
	}
	return &workerv1.TokenizeResponse{
		PromptTokens: int32(min(n, math.MaxInt32)), ContextLength: int32(min(m.contextLength(), math.MaxInt32)),
	}, nil
}
