// Package metering is the place between a handler and the work that it has a model
// do: whoever limits or bills such work is asked before it begins, and told what
// it came to. It counts nothing itself. Start reading at Meter.
package metering

import (
	"context"

	"google.golang.org/grpc/metadata"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// Kind is what a model is asked for.
type Kind string

// The kinds.
const (
	Generate Kind = "generate"
	Embed    Kind = "embed"
	Rerank   Kind = "rerank"
)

// Demand is work that is about to be asked for, as the policy, the detectors and
// the context builder left it.
type Demand struct {
	Kind Kind
	// Model is as the request names it: `name`, `name@alias`, `name@v3`.
	Model string
	// User is the request's own `user`; it may be empty.
	User string
	// PromptBytes is the size of what the model reads. No tokeniser of bytes makes more
	// tokens than that.
	PromptBytes int
	// MaxTokens is the most that may be generated, over all answers; 0 when the request
	// does not bound it, or nothing is generated.
	MaxTokens int64
	// Answers is over how many answers MaxTokens is, where asking for fewer tokens changes
	// nothing else of the work; 0 where it may, or where that is not known.
	Answers int64
	// Documents is how many documents are ranked; of the kind Rerank only.
	Documents int
	// Beside says that this is not the work that the request is for, or not the first
	// of it: the request's Idempotency-Key is not about it.
	Beside bool
	// Optional says that the request goes on without this work: a refusal of it is no
	// refusal of the request, and is neither told to anybody nor counted.
	Optional bool
	// Part, unless it is empty, names this work among what is done beside a request's
	// own, once for each request.
	Part string
	// Count asks the model's own tokeniser how many tokens the prompt has, which costs
	// a call to a worker; nil where that cannot be counted.
	Count func(ctx context.Context) (int64, error)
}

// Use is what was used so far.
type Use struct {
	// By says who works on it; nil as long as that is not known.
	By *inferencev1.ServedBy
	// Tokens is counted by the engine; nil as long as it said nothing.
	Tokens *commonv1.TokenUsage
	// Documents is how many were ranked; 0: as many as were demanded.
	Documents int
}

// Meter admits work. Implementations are safe for concurrent use.
type Meter interface {
	// Begin reserves what the demand may come to, or refuses it with an error for the
	// caller (package apierr). setHeader adds to the header of the response.
	Begin(ctx context.Context, d Demand, setHeader func(metadata.MD) error) (Hold, error)
}

// Hold is what is reserved for one request. Its methods are called by one
// goroutine at a time.
type Hold interface {
	// Note says what was used so far: totals, not what was added. It is called for
	// every chunk of a stream, and must be cheap.
	Note(u Use)
	// End gives back what was not used. It is called once, on every way out; err is
	// nil when the answer is whole. ctx may have ended.
	End(ctx context.Context, err error)
}

// Meters asks several meters, in their order. A refusal gives back what those
// before it had reserved. No meters admit everything.
type Meters []Meter

var _ Meter = Meters(nil)

// Begin implements Meter.
func (m Meters) Begin(ctx context.Context, d Demand, setHeader func(metadata.MD) error) (Hold, error) {
	if len(m) == 0 {
		return holds(nil), nil
	}
	all := make(holds, 0, len(m))
	for _, meter := range m {
		h, err := meter.Begin(ctx, d, setHeader)
		if err != nil {
			all.End(ctx, err)
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

type holds []Hold

func (h holds) Note(u Use) {
	for _, hold := range h {
		hold.Note(u)
	}
}

func (h holds) End(ctx context.Context, err error) {
	for _, hold := range h {
		hold.End(ctx, err)
	}
}
