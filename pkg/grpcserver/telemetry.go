package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
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

// Telemetry records a span, the rate, errors and duration of every call, and
// one log record a call: debug when it went well or the caller was at fault,
// warn when the service was.
func Telemetry(tel *telemetry.Telemetry, c clock.Clock) (Interceptor, error) {
	meter := tel.Meter(scope)
	duration, err := meter.Float64Histogram(metricDuration, metric.WithUnit("s"),
		metric.WithDescription("Time from the arrival of a call to its end."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60))
	if err != nil {
		return Interceptor{}, fmt.Errorf("grpcserver: %w", err)
	}
	inFlight, err := meter.Int64UpDownCounter(metricInFlight,
		metric.WithDescription("Calls that have arrived and not ended."))
	if err != nil {
		return Interceptor{}, fmt.Errorf("grpcserver: %w", err)
	}
	o := &observer{tel: tel, tracer: tel.Tracer(scope), clock: c, duration: duration, inFlight: inFlight}
	return Interceptor{
		Name: NameTelemetry,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
			ctx, end := o.begin(ctx, info.FullMethod)
			err = errPanicked
			defer func() { end(err) }()
			resp, err = handler(ctx, req)
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			ctx, end := o.begin(ss.Context(), info.FullMethod)
			err = errPanicked
			defer func() { end(err) }()
			err = handler(srv, WithContext(ss, ctx))
			return err
		},
	}, nil
}

type observer struct {
	tel      *telemetry.Telemetry
	tracer   trace.Tracer
	clock    clock.Clock
	duration metric.Float64Histogram
	inFlight metric.Int64UpDownCounter
	sets     sync.Map // seriesKey → metric.MeasurementOption
}

type seriesKey struct{ method, reason string }

// series returns the attributes of one series, made once.
func (o *observer) series(method, reason string) metric.MeasurementOption {
	key := seriesKey{method, reason}
	if v, ok := o.sets.Load(key); ok {
		if opt, ok := v.(metric.MeasurementOption); ok {
			return opt
		}
	}
	attrs := []attribute.KeyValue{attribute.String(keyMethod, method)}
	if reason != "" {
		attrs = append(attrs, attribute.String(keyReason, reason))
	}
	opt := metric.WithAttributeSet(attribute.NewSet(attrs...))
	o.sets.Store(key, opt)
	return opt
}

// errPanicked is what is recorded of a handler that did not return.
var errPanicked = errors.New("panic")

// begin opens the span of one call, which the function returned ends.
func (o *observer) begin(ctx context.Context, fullMethod string) (context.Context, func(error)) {
	start := o.clock.Now()
	ctx = o.tel.Propagator.Extract(ctx, telemetry.Incoming(ctx))
	method := strings.TrimPrefix(fullMethod, "/")
	ctx, span := o.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer)) //nolint:spancheck // ended by end
	o.inFlight.Add(ctx, 1, o.series(method, ""))
	return ctx, func(err error) { //nolint:spancheck // ended by end
		o.end(ctx, span, method, o.clock.Now().Sub(start), err)
	}
}

// levelOf tells a failure of this service from one of what it needs, which the
// one that failed says louder, and from what is not offered here, which is none.
func levelOf(r apierr.Reason) slog.Level {
	if r == apierr.Unavailable || r == apierr.Overloaded || r == apierr.Unimplemented {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func (o *observer) end(ctx context.Context, span trace.Span, method string, took time.Duration, err error) {
	defer span.End()
	reason, level := reasonOK, slog.LevelDebug
	if err != nil {
		e := apierr.From(err)
		reason = string(e.Reason)
		if e.HTTPStatus() >= 500 {
			level = levelOf(e.Reason)
			span.SetStatus(codes.Error, reason)
		}
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.String("rpc.system", "grpc"), attribute.String("poterne.reason", reason))
	}
	o.inFlight.Add(ctx, -1, o.series(method, ""))
	o.duration.Record(ctx, took.Seconds(), o.series(method, reason))
	if !o.tel.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(keyMethod, method), slog.String(keyReason, reason),
		slog.Float64(keyDuration, float64(took.Microseconds())/1000),
	}
	if err != nil {
		attrs = append(attrs, telemetry.Err(err))
	}
	o.tel.Logger.LogAttrs(ctx, level, "rpc", attrs...)
}
