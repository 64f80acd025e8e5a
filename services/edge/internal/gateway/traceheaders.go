package gateway

import (
	"encoding/hex"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceHeaders are those of a trace in a request's header, under the names that net/http
// has for them already.
type traceHeaders struct{ propagation.HeaderCarrier }

// Get returns the first value of a header.
func (c traceHeaders) Get(key string) string {
	if values := c.Values(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns the values of a header.
func (c traceHeaders) Values(key string) []string {
	switch key {
	case "traceparent":
		return c.HeaderCarrier["Traceparent"]
	case "tracestate":
		return c.HeaderCarrier["Tracestate"]
	case "baggage":
		return c.HeaderCarrier["Baggage"]
	default:
		return c.HeaderCarrier.Values(key)
	}
}

// Set does nothing: what came is not changed.
func (traceHeaders) Set(string, string) {}

// traceparentSize is that of the one header of version 00 (W3C Trace Context, section 3.2).
const traceparentSize = 55

// tellTrace sets the answer's traceparent as the propagator of the standard does; the
// request's state and baggage are for those that are asked on its behalf.
func tellTrace(header http.Header, sc trace.SpanContext) {
	if !sc.IsValid() {
		return
	}
	id, span, flags := sc.TraceID(), sc.SpanID(), [1]byte{byte(sc.TraceFlags() & (trace.FlagsSampled | trace.FlagsRandom))}
	var room [traceparentSize]byte
	b := append(room[:0], "00-"...)
	b = append(hex.AppendEncode(b, id[:]), '-')
	b = append(hex.AppendEncode(b, span[:]), '-')
	header["Traceparent"] = []string{string(hex.AppendEncode(b, flags[:]))}
}
