package metrics

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The metrics of copies that other versions get. Model and experiment come from the
// registry, an outcome is one of a few words, and a side is request or copy.
const (
	nameShadowCopies     = "poterne.inference.shadow.copies"
	nameShadowDuration   = "poterne.inference.shadow.duration" // s
	nameShadowTokens     = "poterne.inference.shadow.tokens"   //nolint:gosec // a count, not a credential
	nameShadowBytes      = "poterne.inference.shadow.text"     // By
	nameShadowSimilarity = "poterne.inference.shadow.similarity"
)

// The labels of these.
const (
	KeyOutcome = "outcome"
	KeySide    = "side"
)

// The sides.
const (
	sideRequest = "request"
	sideCopy    = "copy"
)

// Shadows counts copies. It is safe for concurrent use.
type Shadows struct {
	copies     metric.Int64Counter
	duration   metric.Float64Histogram
	tokens     metric.Int64Counter
	bytes      metric.Int64Counter
	similarity metric.Float64Histogram
}

// NewShadows makes the instruments on meter.
func NewShadows(meter metric.Meter) (*Shadows, error) {
	s := new(Shadows)
	var errs [5]error
	s.copies, errs[0] = meter.Int64Counter(nameShadowCopies,
		metric.WithDescription("Copies of requests for another version, by model, experiment and outcome."))
	s.duration, errs[1] = meter.Float64Histogram(nameShadowDuration, metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300),
		metric.WithDescription("Time to the end of compared answers, by model, experiment and side."))
	s.tokens, errs[2] = meter.Int64Counter(nameShadowTokens,
		metric.WithDescription("Tokens of compared answers, by model, experiment and side."))
	s.bytes, errs[3] = meter.Int64Counter(nameShadowBytes, metric.WithUnit("By"),
		metric.WithDescription("Length of the text of compared answers, by model, experiment and side."))
	s.similarity, errs[4] = meter.Float64Histogram(nameShadowSimilarity,
		metric.WithExplicitBucketBoundaries(0, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .99, 1),
		metric.WithDescription("How alike compared answers are, from 0 to 1, by model and experiment."))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return s, nil
}

// ShadowSide is what is measured of one of two answers.
type ShadowSide struct {
	Took   time.Duration
	Tokens int64
	Bytes  int64
}

// Outcome notes what came of a copy.
func (s *Shadows) Outcome(ctx context.Context, model, experiment, outcome string) {
	s.copies.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyModel, model),
		attribute.String(KeyExperiment, experiment), attribute.String(KeyOutcome, outcome)))
}

// Compared notes two whole answers and how alike they are.
func (s *Shadows) Compared(ctx context.Context, model, experiment string, request, copied ShadowSide, similarity float64) {
	labels := func(side string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String(KeyModel, model),
			attribute.String(KeyExperiment, experiment), attribute.String(KeySide, side))
	}
	for side, m := range map[string]ShadowSide{sideRequest: request, sideCopy: copied} {
		opt := labels(side)
		s.duration.Record(ctx, m.Took.Seconds(), opt)
		s.tokens.Add(ctx, m.Tokens, opt)
		s.bytes.Add(ctx, m.Bytes, opt)
	}
	s.similarity.Record(ctx, similarity, metric.WithAttributes(attribute.String(KeyModel, model), attribute.String(KeyExperiment, experiment)))
}
