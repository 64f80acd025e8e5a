// Package telemetry makes the logger, tracer, meter and metrics registry of a
// process and serves its ops port. Everything is a value to be handed around:
// no global of OpenTelemetry, Prometheus or slog is set. Start reading at New.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry is what a process reports itself through. It is safe for
// concurrent use; its fields are not changed after New.
type Telemetry struct {
	Service string
	Version string
	// Logger adds trace_id, span_id and request_id from the context.
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Registry holds the process's Prometheus metrics, those of MeterProvider
	// among them.
	Registry *prometheus.Registry
	// Propagator carries traces between processes (W3C Trace Context, Baggage).
	Propagator propagation.TextMapPropagator

	// exemplars says that counts are kept with traces that they were made in.
	exemplars  bool
	counters   counters
	histograms histograms
	shutdown   []func(context.Context) error
}

// Option changes what New makes.
type Option func(*options)

type options struct{ logs io.Writer }

// WithLogWriter sends logs to w instead of standard error.
func WithLogWriter(w io.Writer) Option { return func(o *options) { o.logs = w } }

// New returns the telemetry of the given service. Nothing is sent anywhere,
// and no goroutine is started, unless cfg names an OTLP endpoint. Call Shutdown
// when done.
func New(ctx context.Context, service, version string, cfg Config, opts ...Option) (*Telemetry, error) {
	o := options{logs: os.Stderr}
	for _, opt := range opts {
		opt(&o)
	}
	logger, err := newLogger(o.logs, service, version, cfg)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{
		Service: service, Version: version, Logger: logger, Registry: newRegistry(service, version),
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
	if err := t.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// Discard returns telemetry for tests: it logs nothing and keeps its metrics.
func Discard() *Telemetry {
	t, err := New(context.Background(), "test", "test", DefaultConfig(""), WithLogWriter(io.Discard))
	if err != nil {
		panic(fmt.Sprintf("telemetry: the defaults do not work: %v", err)) // a programmer's mistake
	}
	return t
}

// Tracer returns the tracer for the named package.
func (t *Telemetry) Tracer(name string) trace.Tracer {
	return t.TracerProvider.Tracer(name, trace.WithInstrumentationVersion(t.Version))
}

// SpanKind is what a tracer is given to begin spans of a kind: nothing where no span is
// recorded, since each one would look at it.
func (t *Telemetry) SpanKind(kind trace.SpanKind) []trace.SpanStartOption {
	if _, ok := t.TracerProvider.(unrecorded); ok {
		return nil
	}
	return []trace.SpanStartOption{trace.WithSpanKind(kind)}
}

// Meter returns the meter for the named package. Instruments appear on the ops
// port as Prometheus names them: rpc.server.duration in s becomes
// rpc_server_duration_seconds.
func (t *Telemetry) Meter(name string) metric.Meter {
	return t.MeterProvider.Meter(name, metric.WithInstrumentationVersion(t.Version))
}

// Shutdown sends what is left, within ctx, and releases everything.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, v := range slices.Backward(t.shutdown) {
		errs = append(errs, v(ctx))
	}
	t.shutdown = nil
	return errors.Join(errs...)
}

func newRegistry(service, version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "poterne_build_info",
		Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{
			"service": service, "version": version, "go_version": runtime.Version(),
		},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}
