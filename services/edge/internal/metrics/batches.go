package metrics

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	nameBatchesEnded   = "poterne.edge.batches.ended"         // by status: one of package batches'
	nameBatchesRunning = "poterne.edge.batches.running"       //
	nameBatchRequests  = "poterne.edge.batches.requests"      // by outcome: completed or failed
	nameBatchTries     = "poterne.edge.batches.tries"         // by status_class: 2xx to 5xx
	nameBatchesLost    = "poterne.edge.batches.leases_lost"   //
	nameBatchFailures  = "poterne.edge.batches.work_failures" //
)

// Batches counts the work on batches. It is safe for concurrent use, and a nil one
// counts nothing.
type Batches struct {
	ended, requests, tries, lost, failures metric.Int64Counter
	running                                metric.Int64UpDownCounter
}

// NewBatches makes the instruments.
func NewBatches(m metric.Meter) (*Batches, error) {
	var errs []error
	counter := func(name, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	b := &Batches{
		ended:    counter(nameBatchesEnded, "Batches that came to their end, by status."),
		requests: counter(nameBatchRequests, "Requests of batches that are answered, by outcome."),
		tries:    counter(nameBatchTries, "Times that requests of batches were asked, by the class of the HTTP status."),
		lost:     counter(nameBatchesLost, "Batches that another edge took over while this one worked on them."),
		failures: counter(nameBatchFailures, "Times that the work on a batch was given up for a while, since something failed."),
	}
	var err error
	b.running, err = m.Int64UpDownCounter(nameBatchesRunning, metric.WithDescription("Batches that this edge works on."))
	return b, errors.Join(append(errs, err)...)
}

// Ended counts a batch.
func (b *Batches) Ended(ctx context.Context, status string) {
	if b != nil {
		b.ended.Add(ctx, 1, metric.WithAttributes(attribute.String("status", status)))
	}
}

// Running counts batches that are begun, or with -1 left.
func (b *Batches) Running(ctx context.Context, n int64) {
	if b != nil {
		b.running.Add(ctx, n)
	}
}

// Answered counts requests.
func (b *Batches) Answered(ctx context.Context, completed, failed int64) {
	if b != nil {
		b.requests.Add(ctx, completed, metric.WithAttributes(attribute.String("outcome", "completed")))
		b.requests.Add(ctx, failed, metric.WithAttributes(attribute.String("outcome", "failed")))
	}
}

// Tried counts an answer of an HTTP status.
func (b *Batches) Tried(ctx context.Context, status int) {
	if b == nil {
		return
	}
	class := "5xx"
	switch status / 100 {
	case 2:
		class = "2xx"
	case 3:
		class = "3xx"
	case 4:
		class = "4xx"
	}
	b.tries.Add(ctx, 1, metric.WithAttributes(attribute.String("status_class", class)))
}

// Lost counts a lease.
func (b *Batches) Lost(ctx context.Context) {
	if b != nil {
		b.lost.Add(ctx, 1)
	}
}

// Failed counts work that was given up for a while.
func (b *Batches) Failed(ctx context.Context) {
	if b != nil {
		b.failures.Add(ctx, 1)
	}
}
