package telemetry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Histogram is a metric of how long, or how much, that is observed with every request: as
// with Counter who observes holds a series, which OpenTelemetry reads when somebody asks.
// It is safe for concurrent use.
//
// Where metrics are sent by OTLP, observations go to OpenTelemetry's instrument.
type Histogram struct {
	name, unit, description string

	bounds   []float64
	recorder metric.Float64Histogram // nil: the series are read when somebody asks

	byLabels Kept[attribute.Distinct, *HistogramSeries]
	mu       sync.Mutex
	series   []*HistogramSeries
}

// HistogramSeries is one combination of labels of a Histogram. It is safe for concurrent use.
type HistogramSeries struct {
	of        *Histogram
	labels    attribute.Set
	recording []metric.RecordOption

	mu     sync.Mutex
	counts []uint64 // by bound, and of what is above them
	sum    float64
	since  time.Time
}

// HistogramOptions describes a Histogram.
type HistogramOptions struct {
	Name, Unit, Description string
	// Bounds are the greatest value of each bucket but the last, in increasing order.
	Bounds []float64
}

// Histogram returns the metric of that name of the named package.
func (t *Telemetry) Histogram(scope string, o HistogramOptions) (*Histogram, error) {
	t.histograms.mu.Lock()
	defer t.histograms.mu.Unlock()
	key := [2]string{scope, o.Name}
	if h, ok := t.histograms.made[key]; ok {
		return h, nil
	}
	h := &Histogram{name: o.Name, unit: o.Unit, description: o.Description, bounds: slices.Clone(o.Bounds)}
	if t.exemplars {
		var err error
		if h.recorder, err = t.Meter(scope).Float64Histogram(o.Name, metric.WithUnit(o.Unit), metric.WithDescription(o.Description),
			metric.WithExplicitBucketBoundaries(o.Bounds...)); err != nil {
			return nil, fmt.Errorf("telemetry: %w", err)
		}
	}
	if t.histograms.made == nil {
		t.histograms.made = make(map[[2]string]*Histogram)
	}
	t.histograms.made[key] = h
	return h, nil
}

// Series returns the series with these labels, which appears with the first observation.
// It is there for as long as the histogram is; beyond maxSeries all share one.
func (h *Histogram) Series(labels ...attribute.KeyValue) *HistogramSeries {
	set := attribute.NewSet(labels...)
	if s, ok := h.byLabels.Had(set.Equivalent()); ok {
		return s
	}
	h.mu.Lock()
	full := len(h.series) >= maxSeries-1
	h.mu.Unlock()
	if full {
		set = attribute.NewSet(attribute.Bool("otel.metric.overflow", true)) // as OpenTelemetry names it
	}
	return h.byLabels.Get(set.Equivalent(), func(attribute.Distinct) *HistogramSeries {
		s := &HistogramSeries{
			of: h, labels: set, counts: make([]uint64, len(h.bounds)+1), recording: []metric.RecordOption{metric.WithAttributeSet(set)},
			since: time.Now(), //nolint:forbidigo // as OpenTelemetry's own
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.series = append(h.series, s)
		return s
	})
}

// Record observes a value. The context's trace may be noted beside it.
func (s *HistogramSeries) Record(ctx context.Context, value float64) {
	if r := s.of.recorder; r != nil {
		r.Record(ctx, value, s.recording...)
		return
	}
	at, _ := slices.BinarySearch(s.of.bounds, value)
	s.mu.Lock()
	s.counts[at]++
	s.sum += value
	s.mu.Unlock()
}

// histograms are those that were made, by their meter and name.
type histograms struct {
	mu   sync.Mutex
	made map[[2]string]*Histogram
}

var _ sdkmetric.Producer = (*histograms)(nil)

// Produce gives OpenTelemetry what was observed.
func (all *histograms) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	var out metricdata.ScopeMetrics
	for _, h := range all.made {
		if points := h.points(time.Now()); len(points) > 0 { //nolint:forbidigo // as OpenTelemetry's own
			out.Metrics = append(out.Metrics, metricdata.Metrics{
				Name: h.name, Unit: h.unit, Description: h.description,
				Data: metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: points},
			})
		}
	}
	return []metricdata.ScopeMetrics{out}, nil
}

func (h *Histogram) points(now time.Time) (points []metricdata.HistogramDataPoint[float64]) {
	if h.recorder != nil {
		return nil // OpenTelemetry has them
	}
	h.mu.Lock()
	series := h.series // what is appended is behind it
	h.mu.Unlock()
	for _, s := range series {
		s.mu.Lock()
		p := metricdata.HistogramDataPoint[float64]{
			Attributes: s.labels, StartTime: s.since, Time: now, Bounds: h.bounds, BucketCounts: slices.Clone(s.counts), Sum: s.sum,
		}
		s.mu.Unlock()
		for _, n := range p.BucketCounts {
			p.Count += n
		}
		if p.Count > 0 {
			points = append(points, p)
		}
	}
	return points
}
