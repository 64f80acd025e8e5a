package telemetry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Counter is a metric that is counted up, or up and down, on the way of every request:
// who counts holds the Series and adds to a number. OpenTelemetry's own instruments find
// the series of each addition by its labels, which costs as much as ten of these. It is
// safe for concurrent use.
//
// Where metrics are sent by OTLP, additions go to OpenTelemetry's instrument one by one:
// it notes for some of them the trace that they were made in.
type Counter struct {
	adder adder // nil: the numbers are read when somebody asks

	byLabels Kept[attribute.Distinct, *Series]
	mu       sync.Mutex
	series   []*Series // in the order of their making: OpenTelemetry has room for the first
}

// Series is one combination of labels of a Counter. It is safe for concurrent use.
type Series struct {
	adder  adder
	adding []metric.AddOption
	labels metric.MeasurementOption
	n      atomic.Int64
	told   atomic.Bool // something was added, if only nothing
}

// adder is what of OpenTelemetry's instruments is used.
type adder interface {
	Add(ctx context.Context, n int64, options ...metric.AddOption)
}

// counters are those that were made, by their meter and name: OpenTelemetry asks only the
// one that was made first for its numbers.
type counters struct {
	mu   sync.Mutex
	made map[[2]string]*Counter
}

// Counter returns the metric of that name, which only grows, of the named package.
func (t *Telemetry) Counter(scope, name, description string) (*Counter, error) {
	return t.counter(scope, name, func(meter metric.Meter, c *Counter) (err error) {
		if t.exemplars {
			c.adder, err = meter.Int64Counter(name, metric.WithDescription(description))
		} else {
			_, err = meter.Int64ObservableCounter(name, metric.WithDescription(description), metric.WithInt64Callback(c.observe))
		}
		return err
	})
}

// UpDownCounter returns the metric of that name, of what there is at the moment, of the
// named package.
func (t *Telemetry) UpDownCounter(scope, name, description string) (*Counter, error) {
	return t.counter(scope, name, func(meter metric.Meter, c *Counter) (err error) {
		if t.exemplars {
			c.adder, err = meter.Int64UpDownCounter(name, metric.WithDescription(description))
		} else {
			_, err = meter.Int64ObservableUpDownCounter(name, metric.WithDescription(description), metric.WithInt64Callback(c.observe))
		}
		return err
	})
}

func (t *Telemetry) counter(scope, name string, open func(metric.Meter, *Counter) error) (*Counter, error) {
	t.counters.mu.Lock()
	defer t.counters.mu.Unlock()
	key := [2]string{scope, name}
	if c, ok := t.counters.made[key]; ok {
		return c, nil
	}
	c := new(Counter)
	if err := open(t.Meter(scope), c); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	if t.counters.made == nil {
		t.counters.made = make(map[[2]string]*Counter)
	}
	t.counters.made[key] = c
	return c, nil
}

// Series returns the series with these labels, which appears with the first addition. It
// is there for as long as the counter is, so labels must be few.
func (c *Counter) Series(labels ...attribute.KeyValue) *Series {
	set := attribute.NewSet(labels...)
	return c.byLabels.Get(set.Equivalent(), func(attribute.Distinct) *Series {
		opt := metric.WithAttributeSet(set)
		s := &Series{adder: c.adder, labels: opt, adding: []metric.AddOption{opt}}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.series = append(c.series, s)
		return s
	})
}

// Add adds n. The context's trace may be noted beside it.
func (s *Series) Add(ctx context.Context, n int64) {
	if s.adder != nil {
		s.adder.Add(ctx, n, s.adding...)
		return
	}
	s.n.Add(n)
	if !s.told.Load() {
		s.told.Store(true)
	}
}

func (c *Counter) observe(_ context.Context, o metric.Int64Observer) error {
	c.mu.Lock()
	all := c.series // what is appended is behind it
	c.mu.Unlock()
	for _, s := range all {
		if s.told.Load() {
			o.Observe(s.n.Load(), s.labels)
		}
	}
	return nil
}
