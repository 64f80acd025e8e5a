package agent

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// The gauges of engines' own figures, by model. What an engine does not tell has
// no sample.
const (
	metricEngineRunning    = "poterne.worker.engine.requests_running"
	metricEngineWaiting    = "poterne.worker.engine.requests_waiting"
	metricEngineKV         = "poterne.worker.engine.kv_cache_usage"
	metricEngineHits       = "poterne.worker.engine.prefix_cache_hit_rate"
	metricEnginePrompt     = "poterne.worker.engine.prompt_tokens_rate"
	metricEngineGeneration = "poterne.worker.engine.generation_tokens_rate"
)

// observeEngines registers the gauges.
func (a *Agent) observeEngines(meter metric.Meter) error {
	for _, g := range []struct {
		name, unit, what string
		of               func(*reading) *float64
	}{
		{metricEngineRunning, "{request}", "Requests that run, by the engine's own account.", func(r *reading) *float64 { return r.Running }},
		{metricEngineWaiting, "{request}", "Requests that wait, by the engine's own account.", func(r *reading) *float64 { return r.Waiting }},
		{metricEngineKV, "1", "Share of the KV cache that requests hold.", func(r *reading) *float64 { return r.KVCacheUsage }},
		{metricEngineHits, "1", "Share of prompts' tokens found in the prefix cache.", func(r *reading) *float64 { return r.hitRate }},
		{metricEnginePrompt, "{token}/s", "Tokens of prompts taken in, a second.", func(r *reading) *float64 { return r.promptRate }},
		{metricEngineGeneration, "{token}/s", "Tokens generated, a second.", func(r *reading) *float64 { return r.generationRate }},
	} {
		_, err := meter.Float64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.what),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				for _, m := range a.list() {
					if r := m.load.get(); r != nil && g.of(r) != nil {
						o.Observe(*g.of(r), m.series.set)
					}
				}
				return nil
			}))
		if err != nil {
			return err
		}
	}
	return nil
}
