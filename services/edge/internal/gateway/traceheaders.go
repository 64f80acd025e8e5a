package gateway

import (
	"strings"

	"go.opentelemetry.io/otel/propagation"
)

// traceHeaders are those of a trace in a request's, or an answer's, header, under the
// names that net/http has for them already. It keeps the answer free of the request's
// baggage.
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

// Set sets traceparent and nothing else.
func (c traceHeaders) Set(key, value string) {
	if strings.EqualFold(key, "traceparent") {
		c.HeaderCarrier["Traceparent"] = []string{value}
	}
}
