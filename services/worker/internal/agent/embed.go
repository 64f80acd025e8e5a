package agent

import (
	"context"
	"strconv"

	"golang.org/x/sync/semaphore"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/batch"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// EmbeddingConfig bounds what embedding may take of a model.
type EmbeddingConfig struct {
	// Concurrency is how many batches, or parts of calls without batching, one
	// model's engine is given at once. 0 is as many as it computes at once, and
	// without batching one more than its slots, so that it has the next one at hand.
	Concurrency int
	// Batching gathers the inputs of several calls, as Batch says; its bounds on
	// bytes and calls follow from the others here.
	Batching bool
	Batch    batch.Config
	// ContextMultiple is how many times the model's context an input may have in
	// tokens, by engine.Input.LeastTokens: engines cut longer ones into windows.
	ContextMultiple int
	// MaxBytes bounds the inputs of one call together.
	MaxBytes int
}

// Embed returns a vector for each input. The inputs of several calls are
// computed together where the engine allows it; a call of many inputs does not
// hold up the others either way.
func (a *Agent) Embed(ctx context.Context, req *workerv1.EmbedRequest) (resp *workerv1.EmbedResponse, err error) {
	w, err := a.begin(req.GetDigest(), opEmbed, req.GetReplica())
	if err != nil {
		return nil, err
	}
	defer func() { err = w.end(ctx, resp.GetUsage(), err) }()
	inputs := make([]engine.Input, len(req.GetInputs()))
	for i, in := range req.GetInputs() {
		inputs[i] = engine.Input{Text: in.GetText(), Tokens: in.GetTokens().GetIds()}
	}
	if err := a.cfg.Embedding.check(inputs, w.model.contextLength()); err != nil {
		return nil, err
	}
	out, err := a.embed(ctx, w, engine.EmbedRequest{
		Inputs: inputs, InputType: req.GetInputType(), Dimensions: int(req.GetDimensions()), Extra: req.GetExtra(),
	})
	if err != nil {
		return nil, err
	}
	resp = &workerv1.EmbedResponse{Embeddings: make([]*workerv1.Embedding, len(out.Vectors)), Usage: out.Usage}
	for i, v := range out.Vectors {
		resp.Embeddings[i] = &workerv1.Embedding{Values: v}
	}
	return resp, nil
}

func (a *Agent) embed(ctx context.Context, w *work, r engine.EmbedRequest) (engine.Embeddings, error) {
	if e, can := w.engine.(batch.Engine); can && a.cfg.Embedding.Batching {
		slots, _, _, _ := w.model.gate.load("")
		return w.model.batcher.Embed(ctx, e, r, slots)
	}
	// A call of many inputs waits in line again for each part of them.
	r.Turn = w.model.turn
	return w.engine.Embed(ctx, r)
}

// check refuses what would occupy the engine for long. context is the model's,
// 0 when not known: the engine is then left to judge.
func (c EmbeddingConfig) check(inputs []engine.Input, context int) error {
	size := 0
	for _, in := range inputs {
		size += in.Bytes()
	}
	if size > c.MaxBytes {
		return apierr.New(apierr.PayloadTooLarge, "the inputs have %d bytes together, the limit is %d", size, c.MaxBytes)
	}
	if context == 0 {
		return nil
	}
	for i, in := range inputs {
		if n := in.LeastTokens(); n > c.ContextMultiple*context {
			return apierr.New(apierr.ContextLengthExceeded,
				"input %d has at least about %d tokens; the model's context is %d, and inputs of up to %d times as many are taken",
				i, n, context, c.ContextMultiple).
				WithField("input["+strconv.Itoa(i)+"]").WithMetadata("context_length", strconv.Itoa(context))
		}
	}
	return nil
}

// batcher returns what gathers the inputs for one model.
func (a *Agent) batcher(s *series) *batch.Batcher {
	c := a.cfg.Embedding
	c.Batch.Calls, c.Batch.MaxBatchBytes = c.Concurrency, c.MaxBytes
	return batch.New(c.Batch, a.parts.Clock, s)
}

// turns returns the line in which parts of calls wait, first come first served.
// How many calls wait is bounded by the model's gate.
func (c EmbeddingConfig) turns(slots int) *semaphore.Weighted {
	if c.Concurrency > 0 {
		return semaphore.NewWeighted(int64(c.Concurrency))
	}
	return semaphore.NewWeighted(int64(slots) + 1)
}

// turn waits until the engine may be given a part.
func (m *model) turn(ctx context.Context) (done func(), err error) {
	if m.turns.Acquire(ctx, 1) != nil {
		return nil, context.Cause(ctx)
	}
	return func() { m.turns.Release(1) }, nil
}
