package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// Artifacts is what is kept and what is open, as was last looked.
type Artifacts struct{ Count, Bytes, Uploads, UploadBytes int64 }

func (m *Metrics) newArtifacts() error {
	for _, c := range []struct {
		counter           *metric.Int64Counter
		name, description string
		unit              string
	}{
		{&m.uploaded, nameUploaded, "Uploads that this process completed.", ""},
		{&m.kept, nameKept, "Bytes of uploads that this process has kept.", "By"},
		{&m.swept, nameSwept, "Artifacts that this process deleted.", ""},
	} {
		var err error
		if *c.counter, err = m.meter.Int64Counter(c.name, metric.WithDescription(c.description), metric.WithUnit(c.unit)); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	m.artifacts.Store(new(Artifacts))
	return nil
}

// Uploaded counts an upload that was completed.
func (m *Metrics) Uploaded(ctx context.Context) { m.uploaded.Add(ctx, 1) }

// Kept counts bytes of an upload.
func (m *Metrics) Kept(ctx context.Context, bytes int64) { m.kept.Add(ctx, bytes) }

// Swept counts artifacts that were deleted.
func (m *Metrics) Swept(ctx context.Context, n int64) { m.swept.Add(ctx, n) }

// Artifacts notes what is kept and open.
func (m *Metrics) Artifacts(a Artifacts) { m.artifacts.Store(&a) }

// ObserveArtifacts reports what Artifacts noted last, until stop is called.
func (m *Metrics) ObserveArtifacts() (stop func() error, err error) {
	gauges := []struct {
		name, description, unit string
		value                   func(*Artifacts) int64
		gauge                   metric.Int64ObservableGauge
	}{
		{name: nameArtifacts, description: "Artifacts that are kept.", value: func(a *Artifacts) int64 { return a.Count }},
		{name: nameArtifactBytes, description: "Bytes of the artifacts that are kept.", unit: "By", value: func(a *Artifacts) int64 { return a.Bytes }},
		{name: nameUploads, description: "Uploads that are open.", value: func(a *Artifacts) int64 { return a.Uploads }},
		{name: nameUploadBytes, description: "Bytes that are kept of open uploads.", unit: "By", value: func(a *Artifacts) int64 { return a.UploadBytes }},
	}
	var all []metric.Observable
	for i := range gauges {
		g := &gauges[i]
		if g.gauge, err = m.meter.Int64ObservableGauge(g.name, metric.WithDescription(g.description), metric.WithUnit(g.unit)); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		all = append(all, g.gauge)
	}
	reg, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		a := m.artifacts.Load()
		for _, g := range gauges {
			o.ObserveInt64(g.gauge, g.value(a))
		}
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return reg.Unregister, nil
}
