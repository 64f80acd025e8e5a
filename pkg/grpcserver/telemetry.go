package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
)

// The metrics and log keys of every gRPC server. Method and reason come from
// this program and the taxonomy, so both are bounded.
const (
	scope          = "github.com/poterne/poterne/pkg/grpcserver"
	metricDuration = "poterne.rpc.server.duration" // s, by method and reason
	metricInFlight = "poterne.rpc.server.in_flight"
	keyMethod      = "method"
	keyReason      = "reason"
	keyDuration    = "duration_ms"
	reasonOK       = "OK"
)

// Telemetry records a span, the rate, errors and duration of every call, and one log
// record a call, as loud as Level says. Probes are the methods by which others see, again
// and again, whether the service can be used: that it cannot yet is no failure of theirs.
func Telemetry(tel *telemetry.Telemetry, c clock.Clock, probes ...string) (Interceptor, error) {
	duration, err := tel.Histogram(scope, telemetry.HistogramOptions{
		Name: metricDuration, Unit: "s", Description: "Time from the arrival of a call to its end.",
		Bounds: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	})
	if err != nil {
		return Interceptor{}, fmt.Errorf("grpcserver: %w", err)
	}
	inFlight, err := tel.UpDownCounter(scope, metricInFlight, "Calls that have arrived and not ended.")
	if err != nil {
		return Interceptor{}, fmt.Errorf("grpcserver: %w", err)
	}
	o := &observer{
		tel: tel, tracer: tel.Tracer(scope), clock: c, duration: duration, inFlight: inFlight,
		kind: tel.SpanKind(trace.SpanKindServer), probes: probes,
	}
	return Interceptor{
		Name: NameTelemetry,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
			call := o.begin(ctx, info.FullMethod)
			err = errPanicked
			defer func() { o.end(&call, err) }()
			resp, err = handler(call.ctx, req) //nolint:contextcheck // it is made of the call's
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			call := o.begin(ss.Context(), info.FullMethod)
			err = errPanicked
			defer func() { o.end(&call, err) }()
			err = handler(srv, WithContext(ss, call.ctx))
			return err
		},
	}, nil
}

type observer struct {
	tel      *telemetry.Telemetry
	tracer   trace.Tracer
	clock    clock.Clock
	duration *telemetry.Histogram
	inFlight *telemetry.Counter
	kind     []trace.SpanStartOption
	probes   []string
	methods  telemetry.Kept[string, *observed]
}

// observed is one method, with its series; name is without the slash before it.
type observed struct {
	name     string
	probe    bool
	inFlight *telemetry.Series
	duration telemetry.Kept[string, *telemetry.HistogramSeries] // by reason
}

// method returns what is kept of a method, /package.Service/Method.
func (o *observer) method(full string) *observed {
	return o.methods.Get(full, func(full string) *observed {
		name := strings.TrimPrefix(full, "/")
		return &observed{name: name, probe: slices.Contains(o.probes, full), inFlight: o.inFlight.Series(attribute.String(keyMethod, name))}
	})
}

// lasted notes how long a call took that ended for the reason.
func (o *observer) lasted(ctx context.Context, m *observed, reason string, took time.Duration) {
	m.duration.Get(reason, func(reason string) *telemetry.HistogramSeries {
		return o.duration.Series(attribute.String(keyMethod, m.name), attribute.String(keyReason, reason))
	}).Record(ctx, took.Seconds())
}

// errPanicked is what is recorded of a handler that did not return.
var errPanicked = errors.New("panic")

// observation is one call while it lasts.
type observation struct {
	ctx    context.Context //nolint:containedctx // the call's
	span   trace.Span
	method *observed
	start  time.Time
}

// begin opens the span of one call, which end ends.
func (o *observer) begin(ctx context.Context, fullMethod string) observation {
	start := o.clock.Now()
	ctx = o.tel.Propagator.Extract(ctx, telemetry.Incoming(ctx))
	m := o.method(fullMethod)
	ctx, span := o.tracer.Start(ctx, m.name, o.kind...) //nolint:spancheck // ended by end
	m.inFlight.Add(ctx, 1)
	return observation{ctx: ctx, span: span, method: m, start: start} //nolint:spancheck // ended by end
}

// Level is how loud the log of one service tells of a call that ended with err: warn where
// it failed in this service; debug where the caller was at fault, or where another service
// answered so and has told of it as loud, so that one failure is one line; between the two
// what only says that a service cannot be used now, which its other lines say why, or that
// something is not offered here.
func Level(err error) slog.Level {
	level := levelOf(apierr.From(err))
	if level > slog.LevelDebug && Told(err) >= level {
		return slog.LevelDebug
	}
	return level
}

// Told is how loud another service has told of err in its log; debug where none has.
func Told(err error) slog.Level { return levelOf(apierr.Passed(err)) }

func levelOf(e *apierr.Error) slog.Level {
	switch {
	case e == nil || !e.Reason.Failure():
		return slog.LevelDebug
	case e.Reason == apierr.Unavailable || e.Reason == apierr.Overloaded || e.Reason == apierr.Unimplemented:
		return slog.LevelInfo
	default:
		return slog.LevelWarn
	}
}

// level is Level, but of panics, which the step around has told of, and of probes.
func (m *observed) level(err error) slog.Level {
	if errors.Is(err, errPanicked) || m.probe && apierr.ReasonOf(err) == apierr.Unavailable {
		return slog.LevelDebug
	}
	return Level(err)
}

func (o *observer) end(call *observation, err error) {
	ctx, span, took := call.ctx, call.span, o.clock.Now().Sub(call.start)
	defer span.End()
	reason, level := reasonOK, slog.LevelDebug
	if err != nil {
		e := apierr.From(err)
		reason = string(e.Reason)
		if e.Reason.Failure() {
			level = call.method.level(err)
			span.SetStatus(codes.Error, reason)
		}
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.String("rpc.system", "grpc"), attribute.String("poterne.reason", reason))
	}
	call.method.inFlight.Add(ctx, -1)
	o.lasted(ctx, call.method, reason, took)
	if !o.tel.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(keyMethod, call.method.name), slog.String(keyReason, reason),
		slog.Float64(keyDuration, float64(took.Microseconds())/1000),
	}
	if err != nil {
		attrs = append(attrs, telemetry.Err(err))
	}
	o.tel.Logger.LogAttrs(ctx, level, "rpc", attrs...)
}
