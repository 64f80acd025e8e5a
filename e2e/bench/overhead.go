package bench

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// overheadName is the inference service's metric of what it takes itself for a
// request.
const overheadName = "poterne.inference.overhead"

// overheads keeps every value of that metric, where a histogram keeps how many
// fell between its bounds.
type overheads struct {
	metric.MeterProvider

	mu   sync.Mutex
	seen []time.Duration
}

// take returns what was seen since the last call.
func (o *overheads) take() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.seen
	o.seen = make([]time.Duration, 0, costRequests)
	return out
}

// Meter returns one whose histogram of that name tells o.
func (o *overheads) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return overheadMeter{Meter: o.MeterProvider.Meter(name, opts...), to: o}
}

type overheadMeter struct {
	metric.Meter

	to *overheads
}

func (m overheadMeter) Float64Histogram(name string, opts ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	h, err := m.Meter.Float64Histogram(name, opts...)
	if err != nil || name != overheadName {
		return h, err
	}
	return overheadHistogram{Float64Histogram: h, to: m.to}, nil
}

type overheadHistogram struct {
	metric.Float64Histogram

	to *overheads
}

func (h overheadHistogram) Record(ctx context.Context, seconds float64, opts ...metric.RecordOption) {
	h.Float64Histogram.Record(ctx, seconds, opts...)
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	h.to.seen = append(h.to.seen, time.Duration(seconds*float64(time.Second)))
}
