// Package metrics holds the names of everything that the inference service
// counts and logs, and the instruments. It knows no other package of the
// service; start reading at New.
package metrics

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/telemetry"
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
	requests   *telemetry.Counter
	inFlight   *telemetry.Counter
	duration   *telemetry.Histogram
	firstToken *telemetry.Histogram
	attempts   *telemetry.Counter
	continued  metric.Int64Counter
	placement  metric.Int64Counter
	queueTime  *telemetry.Histogram
	overhead   *telemetry.Histogram
	tokens     *telemetry.Counter
	perToken   *telemetry.Histogram
	refused    metric.Int64Counter
	meter      metric.Meter

	kept telemetry.Kept[series, *held]
	ends telemetry.Kept[ended, *telemetry.Series]
}

// series names what is counted together: of a model and an operation, a class or a worker.
type series struct{ what, a, b string }

// ended names the end of a request.
type ended struct{ model, experiment, arm, operation, reason string }

// held is one series of whatever it is of.
type held struct {
	counted  *telemetry.Series
	observed *telemetry.HistogramSeries
}

// New makes the instruments.
func New(tel *telemetry.Telemetry) (*Metrics, error) {
	meter := tel.Meter(Scope)
	m := &Metrics{meter: meter}
	var errs [12]error
	m.requests, errs[0] = tel.Counter(Scope, nameRequests, "Requests that ended, by model, experiment, arm, operation and reason.")
	m.inFlight, errs[1] = tel.UpDownCounter(Scope, nameInFlight, "Requests that have begun and not ended, by model.")
	m.duration, errs[2] = tel.Histogram(Scope, telemetry.HistogramOptions{
		Name: nameDuration, Unit: "s", Bounds: durationBounds(),
		Description: "Time from the arrival of a request to its end, by model and operation.",
	})
	m.firstToken, errs[3] = tel.Histogram(Scope, telemetry.HistogramOptions{
		Name: nameFirstToken, Unit: "s", Bounds: durationBounds(),
		Description: "Time from the arrival of a streamed request to its first chunk, by model and operation.",
	})
	m.attempts, errs[4] = tel.Counter(Scope, nameAttempts, "Tries of requests on workers, by worker and reason.")
	m.placement, errs[5] = meter.Int64Counter(namePlacement, metric.WithDescription("Requests to workers to load or unload, by reason."))
	m.queueTime, errs[6] = tel.Histogram(Scope, telemetry.HistogramOptions{
		Name: nameQueueTime, Unit: "s", Bounds: durationBounds(),
		Description: "Time that requests waited for their turn, by class.",
	})
	m.overhead, errs[11] = tel.Histogram(Scope, telemetry.HistogramOptions{
		Name: nameOverhead, Unit: "s", Bounds: overheadBounds(),
		Description: "Time that this service itself took for a request that was answered: finding the version and the worker, and the end; not what waiting and the worker took.",
	})
	m.tokens, errs[9] = tel.Counter(Scope, nameTokens,
		"Tokens as the engines counted them, by model and kind: input, cached (those of the input that were found cached) and output.")
	m.perToken, errs[10] = tel.Histogram(Scope, telemetry.HistogramOptions{
		Name: namePerToken, Unit: "s", Bounds: perTokenBounds(),
		Description: "Time for each token of a streamed answer after the first one, by model and operation.",
	})
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

// Overhead notes what this service itself took for a request.
func (m *Metrics) Overhead(ctx context.Context, d time.Duration) {
	m.observed(m.overhead, "overhead", "", "").Record(ctx, d.Seconds())
}

// Tokens notes what a request used.
func (m *Metrics) Tokens(ctx context.Context, model string, input, cached, output int64) {
	m.counted(m.tokens, "tokens", KeyModel, model, KeyKind, "input").Add(ctx, input)
	m.counted(m.tokens, "tokens", KeyModel, model, KeyKind, "cached").Add(ctx, cached)
	m.counted(m.tokens, "tokens", KeyModel, model, KeyKind, "output").Add(ctx, output)
}

// PerToken notes how long a token of a streamed answer took, on average.
func (m *Metrics) PerToken(ctx context.Context, model, operation string, d time.Duration) {
	m.conventional(m.perToken, "per token", model, operation).Record(ctx, d.Seconds())
}

// conventional is a series with the labels that the semantic conventions ask for.
func (m *Metrics) conventional(h *telemetry.Histogram, what, model, operation string) *telemetry.HistogramSeries {
	return m.kept.Get(series{what, model, operation}, func(s series) *held {
		if s.b == "completion" {
			s.b = "text_completion"
		}
		return &held{observed: h.Series(attribute.String(keyRequestModel, s.a), attribute.String(keyOperationName, s.b))}
	}).observed
}

// observed returns a series of up to two labels that was met before, or makes it.
func (m *Metrics) observed(h *telemetry.Histogram, what, a, b string, keys ...string) *telemetry.HistogramSeries {
	return m.kept.Get(series{what, a, b}, func(s series) *held {
		labels := make([]attribute.KeyValue, len(keys))
		for i, key := range keys {
			labels[i] = attribute.String(key, [...]string{s.a, s.b}[i])
		}
		return &held{observed: h.Series(labels...)}
	}).observed
}

// counted returns a series of two labels that was met before, or makes it.
func (m *Metrics) counted(c *telemetry.Counter, what, keyA, a, keyB, b string) *telemetry.Series {
	return m.kept.Get(series{what, a, b}, func(s series) *held {
		return &held{counted: c.Series(attribute.String(keyA, s.a), attribute.String(keyB, s.b))}
	}).counted
}

// running is the requests of a model.
func (m *Metrics) running(model string) *telemetry.Series {
	return m.kept.Get(series{"running", model, ""}, func(s series) *held {
		return &held{counted: m.inFlight.Series(attribute.String(KeyModel, s.a))}
	}).counted
}

// Begin notes the arrival of a request.
func (m *Metrics) Begin(ctx context.Context, model string) { m.running(model).Add(ctx, 1) }

// End notes the end of a request; reason is "" when it went well.
func (m *Metrics) End(ctx context.Context, model, experiment, arm, operation, reason string, took time.Duration) {
	m.running(model).Add(ctx, -1)
	m.observed(m.duration, "operation", model, operation, KeyModel, KeyOperation).Record(ctx, took.Seconds())
	m.ends.Get(ended{model, experiment, arm, operation, orOK(reason)}, func(e ended) *telemetry.Series {
		return m.requests.Series(attribute.String(KeyModel, e.model), attribute.String(KeyExperiment, e.experiment),
			attribute.String(KeyArm, e.arm), attribute.String(KeyOperation, e.operation), attribute.String(KeyReason, e.reason))
	}).Add(ctx, 1)
}

func orOK(reason string) string {
	if reason == "" {
		return reasonOK
	}
	return reason
}

// FirstToken notes when the first chunk of a stream came.
func (m *Metrics) FirstToken(ctx context.Context, model, operation string, took time.Duration) {
	m.conventional(m.firstToken, "first token", model, operation).Record(ctx, took.Seconds())
}

// Attempt notes a try on a worker; reason is "" when it went well.
func (m *Metrics) Attempt(ctx context.Context, worker, reason string) {
	m.counted(m.attempts, "attempt", KeyWorker, worker, KeyReason, orOK(reason)).Add(ctx, 1)
}

// Continued notes that an answer went on with another worker.
func (m *Metrics) Continued(ctx context.Context, model string) {
	m.continued.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyModel, model)))
}

// Placement notes a question to a worker; reason is "" when it agreed.
func (m *Metrics) Placement(ctx context.Context, what, reason string) {
	m.placement.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyWhat, what), attribute.String(KeyReason, orOK(reason))))
}

// Waited notes how long a request waited for its turn.
func (m *Metrics) Waited(ctx context.Context, class string, d time.Duration) {
	m.observed(m.queueTime, "waited", class, "", KeyClass).Record(ctx, d.Seconds())
}

// Refused notes that a request was refused because too much waits.
func (m *Metrics) Refused(ctx context.Context, class, why string) {
	m.refused.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyClass, class), attribute.String(KeyWhy, why)))
}
