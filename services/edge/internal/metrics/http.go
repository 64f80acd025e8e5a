package metrics

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
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
	duration metric.Float64Histogram
	streams  metric.Int64UpDownCounter
	series   atomic.Pointer[map[answered][]metric.RecordOption]
	mu       sync.Mutex // of who adds a series
}

// answered is one series of the duration.
type answered struct {
	method, route string
	status        int
}

// of returns what one series is recorded with. There are few, and each is made once, so
// that looking it up takes a map that nobody writes to.
func (h *HTTP) of(a answered) []metric.RecordOption {
	if known := h.series.Load(); known != nil && (*known)[a] != nil {
		return (*known)[a]
	}
	opt := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", a.method), attribute.String("route", a.route), attribute.String("status", strconv.Itoa(a.status))))}
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[answered][]metric.RecordOption)
	if known := h.series.Load(); known != nil {
		maps.Copy(all, *known)
	}
	all[a] = opt
	h.series.Store(&all)
	return opt
}

// NewHTTP makes the instruments.
func NewHTTP(m metric.Meter) (*HTTP, error) {
	duration, err1 := m.Float64Histogram(nameHTTPDuration, metric.WithUnit("s"),
		metric.WithDescription("Time from a request's header to the end of its answer."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60))
	streams, err2 := m.Int64UpDownCounter(nameHTTPStreams,
		metric.WithDescription("Streams that have begun and not ended."))
	return &HTTP{duration: duration, streams: streams}, errors.Join(err1, err2)
}

// Request records one request. Method and route must come from the table of
// routes, so that both are bounded.
func (h *HTTP) Request(ctx context.Context, method, route string, status int, took time.Duration) {
	h.duration.Record(ctx, took.Seconds(), h.of(answered{method, route, status})...)
}

// StreamOpened counts a stream that begins.
func (h *HTTP) StreamOpened(ctx context.Context) { h.streams.Add(ctx, 1) }

// StreamClosed counts a stream that ended.
func (h *HTTP) StreamClosed(ctx context.Context) { h.streams.Add(ctx, -1) }
