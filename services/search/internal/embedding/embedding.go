// Package embedding has texts turned into vectors by the inference service, in
// batches of a size that a query is not stuck behind. It knows no documents;
// start reading at Client.
package embedding

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

// Kind says what a text is to the model.
type Kind string

// The kinds of texts.
const (
	Query   Kind = "query"
	Passage Kind = "passage"
)

// Vectors is what texts became, in their order.
type Vectors struct {
	// Digest is the version of the model that made them; "" when it has none.
	Digest string
	Values [][]float32
}

// Options tune a client.
type Options struct {
	// Batch is the most texts of one call, and BatchBytes the most bytes.
	Batch      int
	BatchBytes int
	// Concurrency is how many calls with passages may be in flight together.
	// Queries do not wait for it.
	Concurrency int
	// PassageTimeout and QueryTimeout bound one call.
	PassageTimeout time.Duration
	QueryTimeout   time.Duration
	// Background has everything wait behind the other work of the model.
	Background bool
}

// Client embeds through the inference service. It is safe for concurrent use.
type Client struct {
	inference inferencev1.InferenceServiceClient
	opts      Options
	slots     chan struct{}
}

// New returns a client.
func New(c inferencev1.InferenceServiceClient, o Options) *Client {
	return &Client{inference: c, opts: o, slots: make(chan struct{}, o.Concurrency)}
}

// Embed returns the vectors of texts, all made by one version of the model.
func (c *Client) Embed(ctx context.Context, model string, kind Kind, texts []string) (Vectors, error) {
	out := Vectors{Values: make([][]float32, len(texts))}
	batches := c.batches(texts)
	digests := make([]string, len(batches))
	g, ctx := errgroup.WithContext(ctx)
	if kind == Passage {
		g.SetLimit(c.opts.Concurrency)
	}
	start := 0
	for i, batch := range batches {
		into := out.Values[start : start+len(batch)]
		start += len(batch)
		g.Go(func() error {
			var err error
			digests[i], err = c.call(ctx, model, kind, batch, into)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Vectors{}, err
	}
	for i, v := range out.Values {
		if len(v) != len(out.Values[0]) {
			return Vectors{}, apierr.New(apierr.EngineFailed, "the embedding model gave vectors of %d and of %d dimensions",
				len(out.Values[0]), len(out.Values[i]))
		}
	}
	for _, d := range digests {
		if d != digests[0] {
			return Vectors{}, apierr.New(apierr.Unavailable, "the embedding model changed its version meanwhile")
		}
		out.Digest = d
	}
	return out, nil
}

// Check returns why texts cannot be embedded with the model that a new collection
// names: INVALID_ARGUMENT when there is none of that name or it does another
// task, UNAVAILABLE when that cannot be found out now.
func (c *Client) Check(ctx context.Context, model string) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.QueryTimeout)
	defer cancel()
	resp, err := c.inference.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: model})
	if err != nil {
		switch e := apierr.From(err); e.Reason {
		case apierr.ModelNotFound, apierr.NotFound, apierr.InvalidArgument:
			return apierr.Wrap(apierr.InvalidArgument, err, "%s: %s", fieldModel, e.Message).WithField(fieldModel)
		case apierr.Cancelled:
			return e
		default:
			return apierr.Wrap(apierr.Unavailable, err, "the embedding model cannot be checked now: %s", e.Message)
		}
	}
	if task := resp.GetModel().GetTask(); task != commonv1.Task_TASK_EMBEDDING {
		return apierr.Invalid(fieldModel, "%s: the model %q does not embed", fieldModel, model)
	}
	return nil
}

const fieldModel = "embedding_model"

// batches cuts texts into runs that fit one call; a text that is too long for
// any goes alone.
func (c *Client) batches(texts []string) [][]string {
	var out [][]string
	start, size := 0, 0
	for i, t := range texts {
		if i > start && (i-start == c.opts.Batch || size+len(t) > c.opts.BatchBytes) {
			out = append(out, texts[start:i])
			start, size = i, 0
		}
		size += len(t)
	}
	if start < len(texts) {
		out = append(out, texts[start:])
	}
	return out
}

func (c *Client) call(ctx context.Context, model string, kind Kind, texts []string, into [][]float32) (digest string, err error) {
	timeout := c.opts.QueryTimeout
	if kind == Passage {
		timeout = c.opts.PassageTimeout
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req := &inferencev1.EmbedRequest{Model: model, InputType: string(kind), Inputs: make([]*workerv1.EmbedInput, len(texts))}
	if c.opts.Background {
		req.Priority = inferencev1.Priority_PRIORITY_BATCH
	}
	for i, t := range texts {
		req.Inputs[i] = &workerv1.EmbedInput{Input: &workerv1.EmbedInput_Text{Text: t}}
	}
	resp, err := c.inference.Embed(ctx, req)
	if err != nil {
		return "", err
	}
	modelwork.From(ctx).Note(modelwork.Embed, resp.GetServedBy(), resp.GetUsage(), 0)
	if len(resp.GetEmbeddings()) != len(texts) {
		return "", apierr.New(apierr.EngineFailed, "the embedding model gave %d vectors for %d texts", len(resp.GetEmbeddings()), len(texts))
	}
	for i, e := range resp.GetEmbeddings() {
		if what := wrong(e.GetValues()); what != "" {
			return "", apierr.New(apierr.EngineFailed, "the embedding model gave a vector that %s", what)
		}
		into[i] = e.GetValues()
	}
	return resp.GetServedBy().GetDigest(), nil
}

// MaxDimensions is the most that a model's vectors may have.
const MaxDimensions = 4096

// wrong returns what is wrong with a vector; "" for nothing. One of zeros only
// points nowhere, and is near nothing.
func wrong(v []float32) string {
	zero := true
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return "is not finite"
		}
		zero = zero && x == 0
	}
	switch {
	case len(v) == 0:
		return "is empty"
	case len(v) > MaxDimensions:
		return fmt.Sprintf("has %d dimensions; at most %d can be searched", len(v), MaxDimensions)
	case zero:
		return "has only zeros"
	default:
		return ""
	}
}
