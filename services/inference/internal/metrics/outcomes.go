package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

const (
	nameOutcomesHeld    = "poterne.inference.outcome_batches"
	nameOutcomesDropped = "poterne.inference.outcomes_dropped"
)

// ObserveOutcomes reports how many batches of outcomes wait for the registry, and
// how many outcomes could not be counted, until stop is called.
func (m *Metrics) ObserveOutcomes(held, dropped func() int64) (stop func() error, err error) {
	waiting, err := m.meter.Int64ObservableGauge(nameOutcomesHeld,
		metric.WithDescription("Batches of outcomes that wait for the registry."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	lost, err := m.meter.Int64ObservableCounter(nameOutcomesDropped,
		metric.WithDescription("Requests that were not counted for experiments: there was no room."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	reg, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(waiting, held())
		o.ObserveInt64(lost, dropped())
		return nil
	}, waiting, lost)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return reg.Unregister, nil
}
