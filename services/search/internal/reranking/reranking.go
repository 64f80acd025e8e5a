// Package reranking has a model of the inference service score passages for a
// query. Start reading at Client.Rerank.
package reranking

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

// Scores is how relevant texts are, in their order: more is more relevant.
type Scores struct {
	Values []float64
	// By is the version of the model that gave them, name@v3.
	By string
}

// Client asks the inference service. It is safe for concurrent use.
type Client struct {
	inference inferencev1.InferenceServiceClient
	timeout   time.Duration
	clock     clock.Clock
	rests     rests
}

// New returns a client whose calls take timeout at most.
func New(c inferencev1.InferenceServiceClient, timeout time.Duration, t clock.Clock) *Client {
	return &Client{inference: c, timeout: timeout, clock: t}
}

// headroom is the part of a caller's time, as a divisor, that is left to answer
// without the scores when they do not come.
const headroom = 4

// Rerank returns the scores of texts. They are computed on the caller's behalf. A
// model that has failed of late is UNAVAILABLE at once.
func (c *Client) Rerank(ctx context.Context, model, query string, texts []string) (Scores, error) {
	if c.rests.resting(model, c.clock.Now()) {
		return Scores{}, apierr.New(apierr.Unavailable, "the reranking model has given no scores of late, and is asked again in a while")
	}
	scores, err := c.ask(ctx, model, query, texts)
	if ctx.Err() == nil {
		c.rests.note(model, away(err), c.clock.Now())
	}
	return scores, err
}

// away reports whether it is the model that did not answer, and not the request
// that was wrong.
func away(err error) bool {
	switch apierr.ReasonOf(err) {
	case apierr.Unavailable, apierr.DeadlineExceeded, apierr.EngineFailed:
		return true
	default:
		return false
	}
}

func (c *Client) ask(ctx context.Context, model, query string, texts []string) (Scores, error) {
	timeout := c.timeout
	if until, ok := ctx.Deadline(); ok {
		left := until.Sub(c.clock.Now())
		timeout = min(timeout, left-left/headroom)
	}
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.inference.Rerank(waiting, &inferencev1.RerankRequest{Model: model, Query: query, Documents: texts})
	if apierr.ReasonOf(err) == apierr.DeadlineExceeded && ctx.Err() == nil {
		// The caller is answered all the same, and reads this as a warning. The
		// service gives up a little earlier than waiting ends.
		return Scores{}, apierr.Wrap(apierr.DeadlineExceeded, err, "the reranking model gave no scores within %v", timeout.Round(time.Millisecond))
	}
	if err != nil {
		return Scores{}, err
	}
	modelwork.From(ctx).Note(modelwork.Rerank, resp.GetServedBy(), resp.GetUsage(), len(texts))
	got := resp.GetRelevanceScores()
	if len(got) != len(texts) {
		return Scores{}, apierr.New(apierr.EngineFailed, "the reranking model gave %d scores for %d passages", len(got), len(texts))
	}
	for _, s := range got {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return Scores{}, apierr.New(apierr.EngineFailed, "the reranking model gave a score that is not finite")
		}
	}
	by := resp.GetServedBy()
	return Scores{Values: got, By: fmt.Sprintf("%s@v%d", by.GetModel(), by.GetVersion())}, nil
}
