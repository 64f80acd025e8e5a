package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// The metrics and log keys of the worker. Models are those that were loaded,
// of which there are few; outcomes come from the taxonomy.
const (
	scope            = "github.com/poterne/poterne/services/worker"
	metricRequests   = "poterne.worker.requests" // by model, operation, outcome
	metricFirstChunk = "poterne.worker.first_chunk"
	metricTokens     = "poterne.worker.tokens" //nolint:gosec // no credential; by model, kind
	metricRestarts   = "poterne.worker.engine.restarts"
	metricImpossible = "poterne.worker.engine.impossible_counts" // by model
	metricModels     = "poterne.worker.models"                   // by state
	metricMemory     = "poterne.worker.memory"                   // by pool, kind
	metricInFlight   = "poterne.worker.in_flight"
	// The models that were unloaded to make room, and the versions quarantined.
	metricEvictions   = "poterne.worker.evictions"
	metricQuarantines = "poterne.worker.quarantines"
	// The GPUs, by pool.
	metricGPUMemory      = "poterne.worker.gpu.memory" // by kind, too
	metricGPUUtilization = "poterne.worker.gpu.utilization"
	metricGPUTemperature = "poterne.worker.gpu.temperature"
	metricGPUErrors      = "poterne.worker.gpu.ecc_errors"
	metricGPUProcesses   = "poterne.worker.gpu.processes"

	metricFetches      = "poterne.worker.fetch.files" // by scheme, outcome
	metricFetchBytes   = "poterne.worker.fetch.size"  // by scheme
	metricCacheLookups = "poterne.worker.cache.lookups"
	metricCacheEvicted = "poterne.worker.cache.evictions"
	metricCacheSize    = "poterne.worker.cache.size"
	metricCacheFiles   = "poterne.worker.cache.files"

	metricQuantizations = "poterne.worker.quantizations" // by outcome
	metricQuantizing    = "poterne.worker.quantizing"

	keyModel     = "model"
	keyDigest    = "digest"
	keyEngine    = "engine"
	keyPort      = "port"
	keyMemory    = "memory_bytes"
	keyRestarts  = "restarts"
	keyInFlight  = "in_flight"
	keyOperation = "operation"
	keyOutcome   = "outcome"
	keyKind      = "kind"
	keyState     = "state"
	keyPool      = "pool"
	keyGPUs      = "gpus"
	keyScheme    = "scheme"
	keyType      = "type"

	opChat       = "chat"
	opCompletion = "completion"
	opEmbed      = "embed"
	opRerank     = "rerank"
	opInfer      = "infer"
	outcomeOK    = "OK"
)

type metrics struct {
	requests   *telemetry.Counter
	firstChunk metric.Float64Histogram
	tokens     *telemetry.Counter
	restarts   metric.Int64Counter
	impossible metric.Int64Counter

	evictions, quarantines metric.Int64Counter
	quantizations          metric.Int64Counter
	batches                batchMetrics
}

func newMetrics(tel *telemetry.Telemetry, a *Agent) (*metrics, error) {
	meter := tel.Meter(scope)
	m := &metrics{}
	var errs [15]error
	m.requests, errs[0] = tel.Counter(scope, metricRequests, "Requests that an engine was given.")
	m.firstChunk, errs[1] = meter.Float64Histogram(metricFirstChunk, metric.WithUnit("s"),
		metric.WithDescription("Time from the arrival of a streamed request to its first chunk."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60))
	m.tokens, errs[2] = tel.Counter(scope, metricTokens, "Tokens, as engines counted them; of a stream that ended early those told by then.")
	m.restarts, errs[3] = meter.Int64Counter(metricRestarts, metric.WithDescription("Starts of engines after the first of each."))
	_, errs[4] = meter.Int64ObservableGauge(metricModels, metric.WithDescription("Models on this worker."),
		metric.WithInt64Callback(a.observeModels))
	_, errs[5] = meter.Int64ObservableGauge(metricMemory, metric.WithUnit("By"), metric.WithDescription("Memory for models."),
		metric.WithInt64Callback(a.observeMemory))
	_, errs[6] = meter.Int64ObservableGauge(metricInFlight, metric.WithDescription("Requests in flight."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(a.inFlight.Load())
			return nil
		}))
	m.evictions, errs[7] = meter.Int64Counter(metricEvictions, metric.WithDescription("Models that were unloaded to make room."))
	m.quarantines, errs[8] = meter.Int64Counter(metricQuarantines, metric.WithDescription("Versions whose engines failed again and again."))
	errs[9] = a.observeGPUs(meter)
	errs[10] = registerCacheMetrics(meter, a.parts.Artifacts.CacheStats)
	errs[11] = a.observeEngines(meter)
	m.quantizations, errs[12] = meter.Int64Counter(metricQuantizations, metric.WithDescription("Requests to quantise weights that ended."))
	_, errs[13] = meter.Int64ObservableGauge(metricQuantizing, metric.WithDescription("Weights that are being quantised, 0 or 1."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			var n int64
			if a.currentQuantizing() != nil {
				n = 1
			}
			o.Observe(n)
			return nil
		}))
	m.impossible, errs[14] = meter.Int64Counter(metricImpossible, metric.WithDescription("Answers whose engine counted tokens that they cannot have had."))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	var err error
	if m.batches, err = newBatchMetrics(meter); err != nil {
		return nil, err
	}
	return m, nil
}

// quantized counts a request to quantise; outcomes come from the taxonomy.
func (m *metrics) quantized(ctx context.Context, err error) {
	m.quantizations.Add(context.WithoutCancel(ctx), 1, metric.WithAttributes(attribute.String(keyOutcome, quantizeOutcome(err))))
}

func (a *Agent) observeModels(_ context.Context, o metric.Int64Observer) error {
	count := make(map[string]int64)
	for _, m := range a.list() {
		state := m.snapshot("").GetState().String()
		count[strings.ToLower(strings.TrimPrefix(state, "MODEL_STATE_"))]++
	}
	if n := len(a.quarantine.list(a.parts.Clock.Now())); n > 0 {
		count["quarantined"] = int64(n)
	}
	for state, n := range count {
		o.Observe(n, metric.WithAttributes(attribute.String(keyState, state)))
	}
	return nil
}

func (a *Agent) observeMemory(_ context.Context, o metric.Int64Observer) error {
	for _, p := range a.parts.Pools.List() {
		pool := attribute.String(keyPool, p.ID)
		o.Observe(p.Used, metric.WithAttributes(pool, attribute.String(keyKind, "used")))
		o.Observe(p.Total, metric.WithAttributes(pool, attribute.String(keyKind, "total")))
		o.Observe(p.Free(), metric.WithAttributes(pool, attribute.String(keyKind, "free")))
	}
	return nil
}

// series is one model's metrics, with the attributes made once.
type series struct {
	all       *metrics
	model     attribute.KeyValue
	set       metric.MeasurementOption
	prompt    *telemetry.Series
	generated *telemetry.Series
	cached    *telemetry.Series
	good      map[string]*telemetry.Series // by operation
}

func (m *metrics) of(model string) *series {
	label := attribute.String(keyModel, model)
	s := &series{
		all: m, model: label, set: metric.WithAttributeSet(attribute.NewSet(label)), good: make(map[string]*telemetry.Series),
		prompt:    m.tokens.Series(attribute.String(keyKind, "prompt"), label),
		generated: m.tokens.Series(attribute.String(keyKind, "completion"), label),
		cached:    m.tokens.Series(attribute.String(keyKind, "cached_prompt"), label),
	}
	for _, op := range []string{opChat, opCompletion, opEmbed, opRerank, opInfer} {
		s.good[op] = m.requests.Series(attribute.String(keyOperation, op), attribute.String(keyOutcome, outcomeOK), label)
	}
	return s
}

// ended counts a request, also one whose caller left.
func (s *series) ended(ctx context.Context, op string, usage *commonv1.TokenUsage, err error) {
	counted := s.good[op]
	if err != nil {
		counted = s.all.requests.Series(s.model, attribute.String(keyOperation, op), attribute.String(keyOutcome, string(apierr.ReasonOf(err))))
	}
	counted.Add(ctx, 1)
	s.prompt.Add(ctx, int64(usage.GetPromptTokens()))
	s.generated.Add(ctx, int64(usage.GetCompletionTokens()))
	s.cached.Add(ctx, int64(usage.GetCachedPromptTokens()))
}

func (s *series) firstChunk(ctx context.Context, took time.Duration) {
	s.all.firstChunk.Record(ctx, took.Seconds(), s.set)
}

func (s *series) restarted(ctx context.Context) { s.all.restarts.Add(ctx, 1, s.set) }
