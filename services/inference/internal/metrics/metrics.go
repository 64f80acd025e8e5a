// Package metrics holds the names of everything that the inference service
// counts and logs, and the instruments. It knows no other package of the
// service; start reading at New.
package metrics

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Scope is the name of the meter.
const Scope = "github.com/poterne/poterne/services/inference"

// The metrics. A model and an arm come from the registry, a worker from
// discovery, a reason from the taxonomy and an operation from the contract, so
// every label is bounded; the meter bounds the series besides.
const (
	nameRequests   = "poterne.inference.requests"
	nameInFlight   = "poterne.inference.in_flight"
	nameDuration   = "poterne.inference.duration"          // s
	nameFirstToken = "gen_ai.server.time_to_first_token"   //nolint:gosec // seconds, not a credential
	nameTokens     = "poterne.inference.tokens"            //nolint:gosec // a count, not a credential
	namePerToken   = "gen_ai.server.time_per_output_token" //nolint:gosec // seconds, not a credential
	nameAttempts   = "poterne.inference.attempts"
	nameContinued  = "poterne.inference.continuations"
	namePlacement  = "poterne.inference.placement_requests"
	nameWaiting    = "poterne.inference.waiting_requests"
	nameQueued     = "poterne.inference.queued_requests"
	nameQueueTime  = "poterne.inference.queue_time" // s
	nameOverhead   = "poterne.inference.overhead"   // s
	nameRefused    = "poterne.inference.refused_requests"
	nameRevision   = "poterne.inference.registry_revision"
	nameCurrent    = "poterne.inference.registry_current"
	nameWorkers    = "poterne.inference.workers"
	nameReady      = "poterne.inference.ready_copies"
	nameDesired    = "poterne.inference.desired_replicas"
	namePoison     = "poterne.inference.suspect_requests"
)

// The labels, which are also the keys of log records.
const (
	KeyModel      = "model"
	KeyArm        = "arm"
	KeyExperiment = "experiment"
	KeyOperation  = "operation"
	KeyReason     = "reason"
	KeyWorker     = "worker"
	KeyWhat       = "what"
	KeyState      = "state"
	KeyClass      = "class"
	KeyWhy        = "why"
	KeyKind       = "kind"
)

// The labels of the metrics that OpenTelemetry's semantic conventions for
// generative AI name.
const (
	keyRequestModel  = "gen_ai.request.model"
	keyOperationName = "gen_ai.operation.name"
)

// reasonOK is the reason of what went well.
const reasonOK = "OK"

// Metrics counts. It is safe for concurrent use.
type Metrics struct {
	requests   metric.Int64Counter
	inFlight   metric.Int64UpDownCounter
	duration   metric.Float64Histogram
	firstToken metric.Float64Histogram
	attempts   metric.Int64Counter
	continued  metric.Int64Counter
	placement  metric.Int64Counter
	queueTime  metric.Float64Histogram
	overhead   metric.Float64Histogram
	tokens     metric.Int64Counter
	perToken   metric.Float64Histogram
	refused    metric.Int64Counter
	meter      metric.Meter
	sets       sync.Map // series → metric.MeasurementOption
}

// series names one combination of labels.
type series struct{ a, b, c, d, e string }

// New makes the instruments on meter.
func New(meter metric.Meter) (*Metrics, error) {
	m := &Metrics{meter: meter}
	// From a millisecond, a simulated engine, to a minute, a long prompt.
	bounds := metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300)
	var errs [12]error
	m.requests, errs[0] = meter.Int64Counter(nameRequests, metric.WithDescription("Requests that ended, by model, experiment, arm, operation and reason."))
	m.inFlight, errs[1] = meter.Int64UpDownCounter(nameInFlight, metric.WithDescription("Requests that have begun and not ended, by model."))
	m.duration, errs[2] = meter.Float64Histogram(nameDuration, metric.WithUnit("s"), bounds,
		metric.WithDescription("Time from the arrival of a request to its end, by model and operation."))
	m.firstToken, errs[3] = meter.Float64Histogram(nameFirstToken, metric.WithUnit("s"), bounds,
		metric.WithDescription("Time from the arrival of a streamed request to its first chunk, by model and operation."))
	m.attempts, errs[4] = meter.Int64Counter(nameAttempts, metric.WithDescription("Tries of requests on workers, by worker and reason."))
	m.placement, errs[5] = meter.Int64Counter(namePlacement, metric.WithDescription("Requests to workers to load or unload, by reason."))
	m.queueTime, errs[6] = meter.Float64Histogram(nameQueueTime, metric.WithUnit("s"), bounds,
		metric.WithDescription("Time that requests waited for their turn, by class."))
	m.overhead, errs[11] = meter.Float64Histogram(nameOverhead, metric.WithUnit("s"), overheadBounds(),
		metric.WithDescription("Time that this service itself took for a request that was answered: finding the version and the worker, and the end; not what waiting and the worker took."))
	m.tokens, errs[9] = meter.Int64Counter(nameTokens,
		metric.WithDescription("Tokens as the engines counted them, by model and kind: input, cached (those of the input that were found cached) and output."))
	m.perToken, errs[10] = meter.Float64Histogram(namePerToken, metric.WithUnit("s"), perTokenBounds(),
		metric.WithDescription("Time for each token of a streamed answer after the first one, by model and operation."))
	m.refused, errs[7] = meter.Int64Counter(nameRefused,
		metric.WithDescription("Requests refused because too much waits, by class and by why: full, late, waited or displaced."))
	m.continued, errs[8] = meter.Int64Counter(nameContinued,
		metric.WithDescription("Answers that went on with another worker after one was lost in their middle, by model."))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

// perTokenBounds are from a simulated engine to one that is hardly bearable.
func perTokenBounds() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .015, .02, .03, .05, .075, .1, .15, .25, .5, 1)
}

// overheadBounds are from what a decision takes to where something is wrong.
func overheadBounds() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(.00001, .00002, .00005, .0001, .0002, .0005, .001, .005, .025, .1)
}

// Overhead notes what this service itself took for a request.
func (m *Metrics) Overhead(ctx context.Context, d time.Duration) { m.overhead.Record(ctx, d.Seconds()) }

// Tokens notes what a request used.
func (m *Metrics) Tokens(ctx context.Context, model string, input, cached, output int64) {
	for _, t := range []struct {
		kind string
		n    int64
	}{{"input", input}, {"cached", cached}, {"output", output}} {
		s := series{"tokens", model, t.kind, "", ""}
		opt, ok := m.cached(s)
		if !ok {
			opt = m.option(s, attribute.String(KeyModel, model), attribute.String(KeyKind, t.kind))
		}
		m.tokens.Add(ctx, t.n, opt)
	}
}

// PerToken notes how long a token of a streamed answer took, on average.
func (m *Metrics) PerToken(ctx context.Context, model, operation string, d time.Duration) {
	m.perToken.Record(ctx, d.Seconds(), m.conventional(model, operation))
}

// conventional is the labels that the semantic conventions ask for.
func (m *Metrics) conventional(model, operation string) metric.MeasurementOption {
	s := series{"gen_ai", model, operation, "", ""}
	if opt, ok := m.cached(s); ok {
		return opt
	}
	name := operation
	if operation == "completion" {
		name = "text_completion"
	}
	return m.option(s, attribute.String(keyRequestModel, model), attribute.String(keyOperationName, name))
}

// option returns the labels of a series, made once.
func (m *Metrics) option(s series, attrs ...attribute.KeyValue) metric.MeasurementOption {
	opt := metric.WithAttributeSet(attribute.NewSet(attrs...))
	m.sets.Store(s, opt)
	return opt
}

// cached returns the labels of a series that was met before.
func (m *Metrics) cached(s series) (metric.MeasurementOption, bool) {
	v, ok := m.sets.Load(s)
	if !ok {
		return nil, false
	}
	opt, ok := v.(metric.MeasurementOption)
	return opt, ok
}

func (m *Metrics) byModel(model string) metric.MeasurementOption {
	s := series{"model", model, "", "", ""}
	if opt, ok := m.cached(s); ok {
		return opt
	}
	return m.option(s, attribute.String(KeyModel, model))
}

func (m *Metrics) byOperation(model, operation string) metric.MeasurementOption {
	s := series{"operation", model, operation, "", ""}
	if opt, ok := m.cached(s); ok {
		return opt
	}
	return m.option(s, attribute.String(KeyModel, model), attribute.String(KeyOperation, operation))
}

// Begin notes the arrival of a request.
func (m *Metrics) Begin(ctx context.Context, model string) {
	m.inFlight.Add(ctx, 1, m.byModel(model))
}

// End notes the end of a request; reason is "" when it went well.
func (m *Metrics) End(ctx context.Context, model, experiment, arm, operation, reason string, took time.Duration) {
	if reason == "" {
		reason = reasonOK
	}
	m.inFlight.Add(ctx, -1, m.byModel(model))
	m.duration.Record(ctx, took.Seconds(), m.byOperation(model, operation))
	s := series{model, experiment, arm, operation, reason}
	opt, ok := m.cached(s)
	if !ok {
		opt = m.option(s, attribute.String(KeyModel, model), attribute.String(KeyExperiment, experiment), attribute.String(KeyArm, arm),
			attribute.String(KeyOperation, operation), attribute.String(KeyReason, reason))
	}
	m.requests.Add(ctx, 1, opt)
}

// FirstToken notes when the first chunk of a stream came.
func (m *Metrics) FirstToken(ctx context.Context, model, operation string, took time.Duration) {
	m.firstToken.Record(ctx, took.Seconds(), m.conventional(model, operation))
}

// Attempt notes a try on a worker; reason is "" when it went well.
func (m *Metrics) Attempt(ctx context.Context, worker, reason string) {
	if reason == "" {
		reason = reasonOK
	}
	s := series{"attempt", worker, reason, "", ""}
	opt, ok := m.cached(s)
	if !ok {
		opt = m.option(s, attribute.String(KeyWorker, worker), attribute.String(KeyReason, reason))
	}
	m.attempts.Add(ctx, 1, opt)
}

// Continued notes that an answer went on with another worker.
func (m *Metrics) Continued(ctx context.Context, model string) {
	m.continued.Add(ctx, 1, m.byModel(model))
}

// Placement notes a question to a worker; reason is "" when it agreed.
func (m *Metrics) Placement(ctx context.Context, what, reason string) {
	if reason == "" {
		reason = reasonOK
	}
	m.placement.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyWhat, what), attribute.String(KeyReason, reason)))
}

// Waited notes how long a request waited for its turn.
func (m *Metrics) Waited(ctx context.Context, class string, d time.Duration) {
	s := series{"waited", class, "", "", ""}
	opt, ok := m.cached(s)
	if !ok {
		opt = m.option(s, attribute.String(KeyClass, class))
	}
	m.queueTime.Record(ctx, d.Seconds(), opt)
}

// Refused notes that a request was refused because too much waits.
func (m *Metrics) Refused(ctx context.Context, class, why string) {
	m.refused.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyClass, class), attribute.String(KeyWhy, why)))
}
