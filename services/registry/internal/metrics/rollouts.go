package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

func newDecisions(meter metric.Meter) (metric.Int64Counter, error) {
	decisions, err := meter.Int64Counter(nameDecisions,
		metric.WithDescription("Moves of rollouts that this process decided by itself, by what it decided."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return decisions, nil
}

// Decided counts a decision, which is one of a few words.
func (m *Metrics) Decided(ctx context.Context, decision string) {
	m.decisions.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyDecision, decision)))
}

// ObserveRollouts reports how many rollouts are in each state that is not an end,
// until stop is called. The states are a few words.
func (m *Metrics) ObserveRollouts(active func() map[string]int64) (stop func() error, err error) {
	gauge, err := m.meter.Int64ObservableGauge(nameRollouts,
		metric.WithDescription("Rollouts that are not over, by state."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	reg, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for state, n := range active() {
			o.ObserveInt64(gauge, n, metric.WithAttributes(attribute.String(KeyState, state)))
		}
		return nil
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return reg.Unregister, nil
}
