package metrics

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/poterne/poterne/pkg/telemetry"
)

// The metrics of the HTTP side.
const (
	nameHTTPDuration = "poterne.edge.http.duration" // s, by method, route and status
	nameHTTPStreams  = "poterne.edge.http.open_streams"
)

// The log keys of the HTTP side.
const (
	KeyAttempt = "attempt"
	KeyStack   = "stack"
	// Of requests over HTTP.
	KeyHTTPMethod = "http_method"
	KeyRoute      = "route"
	KeyStatus     = "status"
	KeyDuration   = "duration_ms"
)

// HTTP measures the HTTP side. It is safe for concurrent use.
type HTTP struct {
	duration *telemetry.Histogram
	series   telemetry.Kept[answered, *telemetry.HistogramSeries] // of duration
	streams  *telemetry.Series
}

// answered is one series of the duration.
type answered struct {
	method, route string
	status        int
}

// NewHTTP makes the instruments.
func NewHTTP(t *telemetry.Telemetry) (*HTTP, error) {
	duration, err1 := t.Histogram(Scope, telemetry.HistogramOptions{
		Name: nameHTTPDuration, Unit: "s", Description: "Time from a request's header to the end of its answer.",
		Bounds: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	})
	streams, err2 := t.UpDownCounter(Scope, nameHTTPStreams, "Streams that have begun and not ended.")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return &HTTP{duration: duration, streams: streams.Series()}, nil
}

// Request records one request. Method and route must come from the table of
// routes, so that both are bounded.
func (h *HTTP) Request(ctx context.Context, method, route string, status int, took time.Duration) {
	h.series.Get(answered{method, route, status}, func(a answered) *telemetry.HistogramSeries {
		return h.duration.Series(attribute.String("method", a.method), attribute.String("route", a.route), attribute.String("status", strconv.Itoa(a.status)))
	}).Record(ctx, took.Seconds())
}

// StreamOpened counts a stream that begins.
func (h *HTTP) StreamOpened(ctx context.Context) { h.streams.Add(ctx, 1) }

// StreamClosed counts a stream that ended.
func (h *HTTP) StreamClosed(ctx context.Context) { h.streams.Add(ctx, -1) }
