package agent

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/services/worker/internal/batch"
)

// The metrics of batches of inputs to embed, by model.
const (
	metricBatchInputs  = "poterne.worker.embed.batch.inputs"
	metricBatchCallers = "poterne.worker.embed.batch.callers"
	metricBatchWait    = "poterne.worker.embed.batch.wait"
	metricBatchSplits  = "poterne.worker.embed.batch.splits" // by cause
	metricUnclaimed    = "poterne.worker.embed.batch.unclaimed_tokens"

	keyCause = "cause"
)

type batchMetrics struct {
	inputs, callers metric.Int64Histogram
	wait            metric.Float64Histogram
	splits          metric.Int64Counter
	unclaimed       metric.Int64Counter
}

func newBatchMetrics(meter metric.Meter) (m batchMetrics, err error) {
	var errs [5]error
	sizes := metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
	m.inputs, errs[0] = meter.Int64Histogram(metricBatchInputs, metric.WithUnit("{input}"),
		metric.WithDescription("Inputs that were given to an engine in one call to embed."), sizes)
	m.callers, errs[1] = meter.Int64Histogram(metricBatchCallers, metric.WithUnit("{request}"),
		metric.WithDescription("Requests whose inputs one such call held."), sizes)
	m.wait, errs[2] = meter.Float64Histogram(metricBatchWait, metric.WithUnit("s"),
		metric.WithDescription("Time from the arrival of a request to embed until its first input was given to the engine."),
		metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30))
	m.splits, errs[3] = meter.Int64Counter(metricBatchSplits,
		metric.WithDescription("Calls to embed that were sent again in parts: refused by the engine, or failed."))
	m.unclaimed, errs[4] = meter.Int64Counter(metricUnclaimed, metric.WithUnit("{token}"),
		metric.WithDescription("Tokens that were embedded for requests that had ended meanwhile."))
	for _, err := range errs {
		if err != nil {
			return m, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

// series is told what becomes of its model's batches.
var _ batch.Observer = (*series)(nil)

// Sent counts a batch.
func (s *series) Sent(inputs, callers int) {
	s.all.batches.inputs.Record(context.Background(), int64(inputs), s.set)
	s.all.batches.callers.Record(context.Background(), int64(callers), s.set)
}

// Waited counts a request's wait.
func (s *series) Waited(d time.Duration) {
	s.all.batches.wait.Record(context.Background(), d.Seconds(), s.set)
}

// Split counts a batch that is sent again in parts.
func (s *series) Split(cause batch.Cause) {
	s.all.batches.splits.Add(context.Background(), 1, metric.WithAttributes(s.model, attribute.String(keyCause, string(cause))))
}

// Unclaimed counts tokens that nobody waits for.
func (s *series) Unclaimed(tokens int) {
	s.all.batches.unclaimed.Add(context.Background(), int64(tokens), s.set)
}
