package metrics

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The metrics of routes. The names of routes are as many as there may be routes.
const (
	nameRouted        = "poterne.edge.route.requests" // by route
	nameRouteAttempts = "poterne.edge.route.attempts" // by route, kind and outcome
	nameRouteOpened   = "poterne.edge.route.models_opened"
	nameOverloadLimit = "poterne.edge.overload.limit" // requests at once
	nameOverloadShed  = "poterne.edge.overload.shed"  // by priority
)

// Routes counts what routes do. It is safe for concurrent use.
type Routes struct{ routed, attempts, opened metric.Int64Counter }

// NewRoutes makes the instruments.
func NewRoutes(m metric.Meter) (*Routes, error) {
	routed, err1 := m.Int64Counter(nameRouted, metric.WithDescription("Requests that a route was about."))
	attempts, err2 := m.Int64Counter(nameRouteAttempts, metric.WithDescription("Attempts besides a request's first: retry, fallback, hedge or mirror, and what came of them."))
	opened, err3 := m.Int64Counter(nameRouteOpened, metric.WithDescription("Times that a model was not asked for a while, since it failed too often."))
	return &Routes{routed: routed, attempts: attempts, opened: opened}, errors.Join(err1, err2, err3)
}

// Routed implements route.Observer.
func (r *Routes) Routed(ctx context.Context, route string) {
	r.routed.Add(ctx, 1, metric.WithAttributes(attribute.String("route", route)))
}

// Attempted implements route.Observer.
func (r *Routes) Attempted(ctx context.Context, route, what, outcome string) {
	r.attempts.Add(ctx, 1, metric.WithAttributes(attribute.String("route", route), attribute.String("kind", what), attribute.String("outcome", outcome)))
}

// Opened implements route.Observer.
func (r *Routes) Opened(ctx context.Context) { r.opened.Add(ctx, 1) }

// Overload counts what the limit of requests at once does. It is safe for concurrent use.
type Overload struct {
	shed    metric.Int64Counter
	limit   metric.Int64Gauge
	backend attribute.KeyValue // which of three
}

// NewOverload makes the instruments for the limit of the calls to one backend.
func NewOverload(m metric.Meter, backend string) (*Overload, error) {
	shed, err1 := m.Int64Counter(nameOverloadShed, metric.WithDescription("Requests that were turned away since as much is in hand as the backend can do."))
	limit, err2 := m.Int64Gauge(nameOverloadLimit, metric.WithDescription("How many requests may be in hand at the backend at once."))
	return &Overload{shed: shed, limit: limit, backend: attribute.String("backend", backend)}, errors.Join(err1, err2)
}

// Shed implements overload.Observer.
func (o *Overload) Shed(ctx context.Context, priority string) {
	o.shed.Add(ctx, 1, metric.WithAttributes(attribute.String("priority", priority), o.backend))
}

// Limit implements overload.Observer.
func (o *Overload) Limit(ctx context.Context, limit int) {
	o.limit.Record(ctx, int64(limit), metric.WithAttributes(o.backend))
}
