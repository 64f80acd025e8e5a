package gateway

import (
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The answer says of its trace what the standard's propagator would.
func TestTheTraceIsToldAsStandardsHaveIt(t *testing.T) {
	id, span := trace.TraceID{1, 2, 0xab, 15: 0xff}, trace.SpanID{0xfe, 7: 1}
	for _, config := range []trace.SpanContextConfig{
		{TraceID: id, SpanID: span},
		{TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled, Remote: true},
		{TraceID: id, SpanID: span, TraceFlags: 0xff},
		{TraceID: id},
		{},
	} {
		sc := trace.NewSpanContext(config)
		got, want := http.Header{}, http.Header{}
		tellTrace(got, sc)
		propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(t.Context(), sc), propagation.HeaderCarrier(want))
		if got.Get("Traceparent") != want.Get("Traceparent") || len(got) != len(want) {
			t.Errorf("%+v: %v, want %v", config, got, want)
		}
	}
}
