package metrics

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const nameCacheResolutions = "poterne.edge.cache.resolutions" // by source: remembered or asked, and reason

// Resolutions counts how it was found out what would answer. It is safe for concurrent
// use, and a nil one counts nothing.
type Resolutions struct {
	count      metric.Int64Counter
	remembered metric.AddOption
}

// NewResolutions makes the instrument.
func NewResolutions(m metric.Meter) (*Resolutions, error) {
	count, err := m.Int64Counter(nameCacheResolutions, metric.WithDescription("Requests of which the response cache had to know what would answer, by whether that was asked, and why."))
	if err != nil {
		return nil, err
	}
	return &Resolutions{count: count, remembered: resolution("remembered", "")}, nil
}

func resolution(source, reason string) metric.AddOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("source", source), attribute.String("reason", reason)))
}

// Remembered counts a request for which nobody was asked.
func (r *Resolutions) Remembered(ctx context.Context) {
	if r != nil {
		r.count.Add(ctx, 1, r.remembered)
	}
}

// Asked counts a request for which inference was asked; reason is one of package
// serving's.
func (r *Resolutions) Asked(ctx context.Context, reason string) {
	if r != nil {
		r.count.Add(ctx, 1, resolution("asked", reason))
	}
}
