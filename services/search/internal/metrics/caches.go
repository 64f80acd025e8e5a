package metrics

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The metrics of the lists of words that the embedded index has in memory.
const (
	namePostings      = "poterne.search.postings_reads"
	namePostingsBytes = "poterne.search.postings_memory" // By
)

// Postings is how often lists of words were looked for in memory, and what they
// take there.
type Postings struct{ Hits, Misses, Bytes int64 }

// WatchPostings reports what read returns whenever metrics are collected, until
// stop is called.
func (m *Metrics) WatchPostings(read func() Postings) (stop func() error, err error) {
	reads, err := m.meter.Int64ObservableCounter(namePostings,
		metric.WithDescription("Lists of words that searches read, by whether they were in memory: hit or miss."))
	size, more := m.meter.Int64ObservableGauge(namePostingsBytes, metric.WithUnit("By"),
		metric.WithDescription("Memory of the lists of words that are kept, in bytes."))
	if err = errors.Join(err, more); err != nil {
		return nil, fmt.Errorf("metrics of the lists of words: %w", err)
	}
	registered, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := read()
		o.ObserveInt64(reads, now.Hits, metric.WithAttributes(attribute.String(KeyResult, "hit")))
		o.ObserveInt64(reads, now.Misses, metric.WithAttributes(attribute.String(KeyResult, "miss")))
		o.ObserveInt64(size, now.Bytes)
		return nil
	}, reads, size)
	if err != nil {
		return nil, fmt.Errorf("metrics of the lists of words: %w", err)
	}
	return registered.Unregister, nil
}
