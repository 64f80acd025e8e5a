package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Gauges are read when the metrics are.
type Gauges struct {
	Waiting func() int64
	// Queued returns how many requests wait for their turn, by class.
	Queued   func() map[string]int64
	Revision func() int64
	Current  func() bool
	// Workers returns how many workers are connected and how many are not.
	Workers func() (connected, away int64)
	// Ready returns how many workers can be asked for each model's versions.
	Ready func() map[string]int64
	// Desired returns how many workers should have each model's versions.
	Desired func() map[string]int64
	// Poison returns how many requests are remembered under which engines ended.
	Poison func() int64
}

// Observe registers the gauges. The returned function ends that.
func (m *Metrics) Observe(g Gauges) (stop func() error, err error) {
	var errs [8]error
	var waiting, revision, current, workers, ready, queued, desired, poison metric.Int64ObservableGauge
	waiting, errs[0] = m.meter.Int64ObservableGauge(nameWaiting, metric.WithDescription("Requests that wait for a version to be loaded, or its engine to be started again."))
	revision, errs[1] = m.meter.Int64ObservableGauge(nameRevision, metric.WithDescription("The registry's revision that is followed."))
	current, errs[2] = m.meter.Int64ObservableGauge(nameCurrent, metric.WithDescription("1 while the registry's watch stream is up."))
	workers, errs[3] = m.meter.Int64ObservableGauge(nameWorkers, metric.WithDescription("Workers known, by state: connected or away."))
	ready, errs[4] = m.meter.Int64ObservableGauge(nameReady, metric.WithDescription("Workers that have a version of the model ready, by model."))
	desired, errs[5] = m.meter.Int64ObservableGauge(nameDesired, metric.WithDescription("Workers that should have the model's versions, by model."))
	poison, errs[6] = m.meter.Int64ObservableGauge(namePoison, metric.WithDescription("Requests remembered under which engines ended."))
	queued, errs[7] = m.meter.Int64ObservableGauge(nameQueued, metric.WithDescription("Requests that wait for their turn, by class."))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	reg, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(waiting, g.Waiting())
		o.ObserveInt64(revision, g.Revision())
		o.ObserveInt64(current, btoi(g.Current()))
		connected, away := g.Workers()
		o.ObserveInt64(workers, connected, metric.WithAttributes(attribute.String(KeyState, "connected")))
		o.ObserveInt64(workers, away, metric.WithAttributes(attribute.String(KeyState, "away")))
		for model, n := range g.Ready() {
			o.ObserveInt64(ready, n, metric.WithAttributes(attribute.String(KeyModel, model)))
		}
		for model, n := range g.Desired() {
			o.ObserveInt64(desired, n, metric.WithAttributes(attribute.String(KeyModel, model)))
		}
		o.ObserveInt64(poison, g.Poison())
		for class, n := range g.Queued() {
			o.ObserveInt64(queued, n, metric.WithAttributes(attribute.String(KeyClass, class)))
		}
		return nil
	}, waiting, revision, current, workers, ready, queued, desired, poison)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return reg.Unregister, nil
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
