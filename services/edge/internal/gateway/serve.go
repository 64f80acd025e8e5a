package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rs/cors"
	"go.opentelemetry.io/otel/propagation"

	"github.com/poterne/poterne/pkg/requestid"
)

const headerRequestID = "X-Request-Id"

// withRequestID gives a request its id, which the answer has: the client's, when it is
// valid.
func (h *handler) withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(headerRequestID)
		if !requestid.Valid(id) {
			id = h.IDs.New()
		}
		w.Header()[headerRequestID] = []string{id}
		next.ServeHTTP(w, r)
	})
}

// withCORS answers preflights, and allows what is configured.
func (h *handler) withCORS(next http.Handler) http.Handler {
	if len(h.cfg.CORS.Origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: h.cfg.CORS.Origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: slices.Concat([]string{
			"Authorization", "DPoP", "Content-Type", headerJSONLength, "X-Request-Id", "Traceparent", "Tracestate", "OpenAI-Organization",
			"OpenAI-Project",
			// What OpenAI's SDK sends from a browser.
			"X-Stainless-Arch", "X-Stainless-Async", "X-Stainless-Custom-Poll-Interval", "X-Stainless-Helper-Method",
			"X-Stainless-Lang", "X-Stainless-OS", "X-Stainless-Package-Version", "X-Stainless-Poll-Helper",
			"X-Stainless-Retry-Count", "X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Timeout",
			// What clients of the Model Context Protocol send from one.
			"Mcp-Protocol-Version", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name", "Last-Event-Id",
		}, h.Hints),
		ExposedHeaders: []string{
			"X-Request-Id", "Traceparent", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "DPoP-Nonce",
			"X-RateLimit-Limit-Requests", "X-RateLimit-Remaining-Requests", "X-RateLimit-Reset-Requests",
			"X-RateLimit-Limit-Tokens", "X-RateLimit-Remaining-Tokens", "X-RateLimit-Reset-Tokens",
			"X-Poterne-Model", "X-Poterne-Variant", "X-Poterne-Variant-Reason", "X-Poterne-Experiment", "X-Poterne-Arm", "X-Poterne-Prompt", "X-Poterne-Cache", "X-Poterne-Redacted", headerJSONLength,
		},
		MaxAge: int(h.cfg.CORS.MaxAge.Seconds()),
	}).Handler(next)
}

// ServeHTTP gives a request its context and its trace, and answers it.
func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	start := h.Clock.Now()
	w := rw.(*writer) //nolint:errcheck // withLimits stands before
	header := w.Header()
	ctx, place := requestid.Hold(r.Context())
	place.Fill(header[headerRequestID][0]) // withRequestID stands before
	ctx = h.Telemetry.Propagator.Extract(ctx, traceHeaders{propagation.HeaderCarrier(r.Header)})
	path := r.URL.EscapedPath()
	rt, allowed := h.find(r.Method, path)
	name, spans := unknownRoute, unknownSpan
	if rt != nil {
		name, spans = rt.template, rt.span
	}
	ctx, span := h.tracer.Start(ctx, spans, h.kind...)
	defer span.End()

	tellTrace(header, span.SpanContext())

	w.request = *r.WithContext(h.withArrival(ctx, r)) // a copy: the server looks at the body of its own
	r = &w.request
	r.Body = &w.body
	defer func() {
		if v := recover(); v != nil {
			h.panicked(w, r, v)
		}
		now := h.Clock.Now()
		h.metrics.Request(ctx, methodName(r.Method), name, w.code(), now.Sub(start))
		h.access.request(ctx, r, name, w.code(), w.failure, now, now.Sub(start))
	}()
	h.serve(w, r, rt, allowed)
}

// unknownRoute names what no route matches, for metrics, and unknownSpan for traces.
const (
	unknownRoute = "unknown"
	unknownSpan  = spanPrefix + unknownRoute
)

// find returns the route of a request, pages that answer for whole trees
// included.
func (h *handler) find(method, path string) (*route, []string) {
	if rt := h.literal[place{method, path}]; rt != nil {
		return rt, nil
	}
	rt, allowed := h.routes.find(method, path)
	if rt != nil || len(allowed) > 0 {
		return rt, allowed
	}
	for tree := range h.Pages {
		if tree == "/" || !strings.HasSuffix(tree, "/") || !strings.HasPrefix(path, tree) {
			continue
		}
		if method == http.MethodGet || method == http.MethodHead {
			return &route{method: http.MethodGet, template: tree, span: spanPrefix + tree}, nil
		}
		return nil, []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	}
	return nil, nil
}
