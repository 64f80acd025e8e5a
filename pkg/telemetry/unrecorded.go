package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// unrecorded makes spans where nobody receives any: they have the ids that logs name and
// that travel on, with a caller's decision to sample, and nothing is kept of them.
type unrecorded struct{ embedded.TracerProvider }

func (unrecorded) Tracer(string, ...trace.TracerOption) trace.Tracer {
	t := new(idTracer)
	trace.SpanFromContext(asked{context.Background(), &t.key})
	return t
}

// asked learns the key of what is looked for in it: that of package trace is private.
type asked struct {
	context.Context //nolint:containedctx // it is a context
	key             *any
}

func (a asked) Value(key any) any {
	*a.key = key
	return nil
}

type idTracer struct {
	embedded.Tracer
	key any // what a context is asked for to find its span
}

// Start begins a span in the trace of ctx, or in a new one that is not sampled. What is
// done within one of this process is that one: nobody would see another inside of it.
func (t *idTracer) Start(ctx context.Context, _ string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	var parent trace.SpanContext
	if len(options) == 0 || !rooted(options) {
		around, _ := ctx.Value(t.key).(trace.Span)
		if own, ok := around.(*idSpan); ok {
			return ctx, own
		}
		if around != nil {
			parent = around.SpanContext()
		}
	}
	cfg := trace.SpanContextConfig{SpanID: newSpanID(), TraceState: parent.TraceState()}
	if parent.HasTraceID() {
		cfg.TraceID, cfg.TraceFlags = parent.TraceID(), parent.TraceFlags()
	} else {
		cfg.TraceID = newTraceID()
	}
	s := &spanContext{Context: ctx, span: idSpan{ids: trace.NewSpanContext(cfg)}, key: t.key}
	return s, &s.span
}

func rooted(options []trace.SpanStartOption) bool {
	cfg := trace.NewSpanStartConfig(options...)
	return cfg.NewRoot()
}

// spanContext is a context with its span.
type spanContext struct {
	context.Context //nolint:containedctx // it is a context
	span            idSpan
	key             any
}

func (s *spanContext) Value(key any) any {
	if key == s.key {
		return &s.span
	}
	return s.Context.Value(key)
}

// idSpan is a span of which nothing but its ids is known.
type idSpan struct {
	noop.Span
	ids trace.SpanContext
}

func (s *idSpan) SpanContext() trace.SpanContext { return s.ids }

func (*idSpan) TracerProvider() trace.TracerProvider { return unrecorded{} }

// Ids must not be all zeros (W3C Trace Context, sections 3.2.2.3 and 3.2.2.4); they are no
// secrets.
func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.LittleEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id is no secret
		binary.LittleEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // an id is no secret
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.LittleEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // an id is no secret
	}
	return id
}
