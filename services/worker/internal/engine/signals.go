package engine

import (
	"bytes"
	"context"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/poterne/poterne/pkg/apierr"
)

// Signals is one reading of how busy an engine is. What it does not tell is
// nil, which is not the same as zero.
type Signals struct {
	// Running and Waiting are requests that run, and that the engine holds back.
	Running, Waiting *float64
	// KVCacheUsage is the share of the KV cache that requests hold, 0 to 1.
	KVCacheUsage *float64
	// PromptTokens and GeneratedTokens are counted from the engine's start.
	PromptTokens, GeneratedTokens *float64
	// CacheLookups and CacheHits are tokens looked up and found in the prefix
	// cache, counted from the engine's start.
	CacheLookups, CacheHits *float64
	// CacheHitRate, 0 to 1, and GenerationRate, in tokens per second, are told by
	// engines that work them out themselves.
	CacheHitRate, GenerationRate *float64
	// MemoryBytes is what the model takes.
	MemoryBytes *int64
}

// Told reports whether the engine told anything.
func (s Signals) Told() bool { return s != Signals{} }

// maxMetricsBytes bounds a page of metrics. vLLM's has about 100 KB.
const maxMetricsBytes = 4 << 20

// Signals reads the engine's own metrics.
func (c *client) Signals(ctx context.Context) (Signals, error) {
	if c.d.signals == nil {
		return Signals{}, nil
	}
	return c.d.signals(ctx, c)
}

// metrics is a page in Prometheus' text format, by metric name.
type metrics map[string]*dto.MetricFamily

func (c *client) metrics(ctx context.Context, url string) (metrics, error) {
	body, err := c.getAtMost(ctx, url, maxMetricsBytes)
	if err != nil {
		return nil, err
	}
	return parseMetrics(body)
}

func parseMetrics(page []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, apierr.Wrap(apierr.EngineFailed, err, "the engine's metrics cannot be read")
	}
	return families, nil
}

// sum adds up the first of the metrics that is there, over its labels: engines
// with several schedulers have one series for each. Nil when none is there.
func (m metrics) sum(names ...string) *float64 {
	total, _, ok := m.first(names)
	if !ok {
		return nil
	}
	return &total
}

// share is the mean of the first of the metrics that is there, a share of 1.
func (m metrics) share(names ...string) *float64 {
	total, n, ok := m.first(names)
	if !ok {
		return nil
	}
	mean := min(total/float64(n), 1)
	return &mean
}

func (m metrics) first(names []string) (total float64, n int, ok bool) {
	for _, name := range names {
		for _, series := range m[name].GetMetric() {
			v, is := valueOf(series)
			if !is || math.IsNaN(v) || v < 0 || v > maxSample {
				continue // a gauge that was not set yet
			}
			total += v
			n++
		}
		if n > 0 {
			return total, n, true
		}
	}
	return 0, 0, false
}

// maxSample is more than any count or rate of an engine: numbers beyond are no
// reading.
const maxSample = 1e15

func valueOf(s *dto.Metric) (float64, bool) {
	switch {
	case s.GetGauge() != nil:
		return s.GetGauge().GetValue(), true
	case s.GetCounter() != nil:
		return s.GetCounter().GetValue(), true
	case s.GetUntyped() != nil:
		return s.GetUntyped().GetValue(), true
	}
	return 0, false
}
